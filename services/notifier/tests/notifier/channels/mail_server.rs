use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// What a server does at one place of the conversation, which is named by the command that it answers, or
/// `greeting` or `mail`. Everywhere else it agrees.
#[derive(Debug, Clone, Copy)]
pub enum Quirk {
    None,
    Says(&'static str, &'static str),
    Hangs(&'static str),
    Drips(&'static str),
    Closes(&'static str),
}

/// A mail server that has every weakness on demand.
pub struct MailServer {
    pub port: u16,
    said: Arc<Mutex<Vec<String>>>,
}

impl MailServer {
    pub async fn start(quirk: Quirk) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let said = Arc::new(Mutex::new(Vec::new()));
        let lines = said.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(converse(stream, quirk, lines.clone()));
            }
        });
        Self { port, said }
    }

    pub fn url(&self) -> String {
        format!("smtp://127.0.0.1:{}", self.port)
    }

    /// All lines that clients have sent, those of mails included.
    pub fn said(&self) -> Vec<String> {
        self.said.lock().unwrap().clone()
    }
}

async fn converse(stream: TcpStream, quirk: Quirk, said: Arc<Mutex<Vec<String>>>) {
    let mut stream = BufReader::new(stream);
    if answer(&mut stream, quirk, "greeting", "220 loopback").await.is_none() {
        return;
    }
    let (mut in_mail, mut line) = (false, String::new());
    while stream.read_line(&mut line).await.is_ok_and(|read| read > 0) {
        let text = std::mem::take(&mut line).trim_end().to_owned();
        said.lock().unwrap().push(text.clone());
        let place = text.split(' ').next().unwrap().to_owned();
        let (place, usual) = match (in_mail, place.as_str()) {
            (true, ".") => ("mail".to_owned(), "250 2.0.0 taken as 4711"),
            (true, _) => continue,
            (false, "EHLO") => (place, "250-loopback\r\n250 AUTH PLAIN LOGIN"),
            (false, "AUTH") => (place, "235 2.7.0 welcome"),
            (false, "DATA") => (place, "354 go on"),
            (false, _) => (place, "250 2.0.0 fine"),
        };
        let Some(said) = answer(&mut stream, quirk, &place, usual).await else {
            return;
        };
        in_mail = said.starts_with("354");
    }
}

/// Says what is to be said there; `None` ends the conversation.
async fn answer<'a>(stream: &mut BufReader<TcpStream>, quirk: Quirk, place: &str, usual: &'a str) -> Option<&'a str> {
    let says = match quirk {
        Quirk::Says(at, what) if at == place => what,
        Quirk::Hangs(at) if at == place => return std::future::pending().await,
        Quirk::Closes(at) if at == place => return None,
        Quirk::Drips(at) if at == place => {
            let mut drip = tokio::time::interval(Duration::from_millis(20));
            while stream.write_all(b"2").await.is_ok() {
                drip.tick().await;
            }
            return None;
        }
        _ => usual,
    };
    stream.write_all(format!("{says}\r\n").as_bytes()).await.ok()?;
    Some(says)
}
