//! A receiver that answers when it is told to, and a wire that can be cut.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tidings_testkit::eventually;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

/// Holds its first requests back until it is opened; acknowledges all others at once.
pub struct Gate {
    url: String,
    arrived: Arc<Mutex<Vec<String>>>,
    answer: watch::Sender<Option<u16>>,
    _task: AbortOnDropHandle<()>,
}

impl Gate {
    pub async fn holding(first: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/webhooks", listener.local_addr().unwrap());
        let arrived = Arc::new(Mutex::new(Vec::new()));
        let answer = watch::Sender::new(None);
        let (all, opened) = (arrived.clone(), answer.subscribe());
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(stream, first, all.clone(), opened.clone()));
            }
        });
        Self {
            url,
            arrived,
            answer,
            _task: AbortOnDropHandle::new(task),
        }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// Answers what is held back with this status.
    pub fn open(&self, status: u16) {
        self.answer.send_replace(Some(status));
    }

    pub fn arrived(&self) -> usize {
        self.arrived.lock().unwrap().len()
    }

    /// How often each delivery arrived.
    pub fn counts(&self) -> HashMap<String, usize> {
        let mut counts = HashMap::new();
        for id in self.arrived.lock().unwrap().iter() {
            *counts.entry(id.clone()).or_default() += 1;
        }
        counts
    }

    pub async fn has(&self, requests: usize) {
        eventually(&format!("{requests} requests arrive"), async || match self.arrived() {
            seen if seen >= requests => Ok(()),
            seen => Err(seen),
        })
        .await;
    }
}

async fn serve(
    stream: TcpStream,
    held: usize,
    arrived: Arc<Mutex<Vec<String>>>,
    mut opened: watch::Receiver<Option<u16>>,
) -> Option<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if stream.read_line(&mut head).await.ok()? == 0 {
                return None;
            }
        }
        let header = |name: &str| {
            let line = head.lines().find(|line| line.to_lowercase().starts_with(name));
            line.and_then(|line| line.split_once(": "))
                .map(|(_, value)| value.to_owned())
        };
        let length = header("content-length").map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.ok()?;
        let place = {
            let mut arrived = arrived.lock().unwrap();
            arrived.push(header("webhook-id").unwrap());
            arrived.len()
        };
        let status = if place <= held {
            opened.wait_for(Option::is_some).await.ok()?.unwrap_or_default()
        } else {
            200
        };
        let answer = format!("HTTP/1.1 {status} Status\r\nContent-Length: 0\r\n\r\n");
        stream.write_all(answer.as_bytes()).await.ok()?;
    }
}

/// Passes bytes on to a server until it is cut.
pub struct Wire {
    port: u16,
    whole: watch::Sender<bool>,
    turned_away: Arc<AtomicUsize>,
    _task: AbortOnDropHandle<()>,
}

impl Wire {
    pub async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let whole = watch::Sender::new(true);
        let turned_away = Arc::new(AtomicUsize::new(0));
        let (state, refused) = (whole.subscribe(), turned_away.clone());
        let task = tokio::spawn(async move {
            loop {
                let (mut client, _) = listener.accept().await.unwrap();
                let mut state = state.clone();
                if !*state.borrow() {
                    refused.fetch_add(1, Ordering::SeqCst);
                    continue;
                }
                tokio::spawn(async move {
                    let mut upstream = TcpStream::connect(server).await.unwrap();
                    tokio::select! {
                        _ = copy_bidirectional(&mut client, &mut upstream) => {}
                        _ = state.wait_for(|whole| !whole) => {}
                    }
                });
            }
        });
        Self {
            port,
            whole,
            turned_away,
            _task: AbortOnDropHandle::new(task),
        }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn cut(&self) {
        self.whole.send_replace(false);
    }

    pub fn mend(&self) {
        self.whole.send_replace(true);
    }

    /// Waits until so many connections were refused.
    pub async fn turned_away(&self, times: usize) {
        eventually("connections are refused", async || {
            match self.turned_away.load(Ordering::SeqCst) {
                seen if seen >= times => Ok(()),
                seen => Err(seen),
            }
        })
        .await;
    }
}
