//! Mail to a server of another maker, aiosmtpd, which reads it with Python's own parser.

use std::path::Path;
use std::process::Stdio;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::{Value, json};
use tempfile::TempDir;
use tidings_testkit::backends;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

use super::{AMPLE, failed, letter, mail};

/// Names the folder with the certificates, and by that the process in which they are trusted.
const CERTIFICATES: &str = "TIDINGS_TEST_CERTIFICATES";

struct Aiosmtpd {
    port: u16,
    mails: Lines<BufReader<ChildStdout>>,
    _process: Child,
}

impl Aiosmtpd {
    async fn start(arguments: &[&str]) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/notifier/channels/mail_server.py");
        let mut process = Command::new(backends::python())
            .arg(script)
            .args(arguments)
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut mails = BufReader::new(process.stdout.take().unwrap()).lines();
        let port = mails.next_line().await.unwrap().expect("aiosmtpd has started");
        Self {
            port: port.parse().unwrap(),
            mails,
            _process: process,
        }
    }

    async fn next_mail(&mut self) -> Value {
        let line = timeout(AMPLE, self.mails.next_line()).await.expect("a mail came");
        serde_json::from_str(&line.unwrap().unwrap()).unwrap()
    }
}

#[tokio::test]
async fn a_mail_is_read_as_it_was_written() {
    if !backends::wanted("foreign") {
        return;
    }
    let mut server = Aiosmtpd::start(&["plain"]).await;
    let channel = mail(&format!("smtp://127.0.0.1:{}", server.port)).unwrap();
    let mut letter = letter("odile@example.org");
    letter.subject = "Ihre Bestellung ist da – schön, nicht? 🧬".to_owned();
    letter.message = "Grüezi Odile\n\n.\nDas Kit kostet 100 €, çà et là.\nFrom here on".to_owned();
    let mut dates = Vec::new();
    for _ in 0..2 {
        channel.send(&letter, AMPLE).await.unwrap();
        let mut mail = server.next_mail().await;
        let headers = mail["headers"].as_object_mut().unwrap();
        dates.push(headers.remove("date").unwrap());
        for technical in ["mime-version", "content-type", "content-transfer-encoding"] {
            headers.remove(technical).unwrap();
        }
        let body = mail["body"].take();
        assert_eq!(body.as_str().unwrap().replace("\r\n", "\n").trim_end(), letter.message);
        assert_eq!(
            mail,
            json!({
                "from": "kits@example.com",
                "to": ["odile@example.org"],
                "headers": {
                    "message-id": format!("<{}@example.com>", letter.id),
                    "from": "Kits <kits@example.com>",
                    "to": "odile@example.org",
                    "subject": letter.subject,
                },
                "body": null,
                "encrypted": false,
                "user": null,
            })
        );
    }
    assert!(dates.iter().all(|date| !date.as_str().unwrap().is_empty()));
}

#[tokio::test]
async fn a_mailbox_may_be_gone_or_busy() {
    if !backends::wanted("foreign") {
        return;
    }
    let server = Aiosmtpd::start(&["plain"]).await;
    let channel = mail(&format!("smtp://127.0.0.1:{}", server.port)).unwrap();
    let answer = failed(channel.send(&letter("gone@example.org"), AMPLE).await, false);
    assert_eq!(answer, "550: 5.1.1 no such mailbox");
    let answer = failed(channel.send(&letter("busy@example.org"), AMPLE).await, true);
    assert_eq!(answer, "450: 4.2.0 the mailbox is busy");
}

/// A certificate for localhost and the authority that it is from, which nobody knows.
fn certificates(folder: &Path) {
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let server = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let server = server.signed_by(&key, &authority).unwrap();
    std::fs::write(folder.join("authority.pem"), authority.pem()).unwrap();
    std::fs::write(folder.join("server.pem"), server.pem()).unwrap();
    std::fs::write(folder.join("server.key"), key.serialize_pem()).unwrap();
}

/// Which certificates are trusted is a matter of the environment, so the mail is sent by a process that has
/// one of its own: this test once more.
#[tokio::test]
async fn mail_is_encrypted_with_a_login_for_a_server_that_is_trusted() {
    if !backends::wanted("foreign") {
        return;
    }
    if let Ok(folder) = std::env::var(CERTIFICATES) {
        return send_encrypted(&folder).await;
    }
    let folder = TempDir::new().unwrap();
    certificates(folder.path());
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture"])
        .arg("channels::foreign::mail_is_encrypted_with_a_login_for_a_server_that_is_trusted")
        .env(CERTIFICATES, folder.path())
        .env("SSL_CERT_FILE", folder.path().join("authority.pem"))
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("1 passed"), "{said}");
}

async fn send_encrypted(folder: &str) {
    for (mode, scheme, query) in [
        ("starttls", "smtp", "?tls=required"),
        ("starttls", "smtp", "?tls=opportunistic"),
        ("tls", "smtps", ""),
    ] {
        let mut server = Aiosmtpd::start(&[mode, folder]).await;
        let url = |login: &str, host: &str| format!("{scheme}://{login}{host}:{}{query}", server.port);
        let letter = letter("odile@example.org");

        // The certificate is that of another name.
        let channel = mail(&url("kits:p%40ss%20word@", "127.0.0.1")).unwrap();
        let answer = failed(channel.send(&letter, AMPLE).await, true);
        assert!(answer.contains("certificate"), "{answer}");

        let channel = mail(&url("kits:wrong%20word@", "localhost")).unwrap();
        let answer = failed(channel.send(&letter, AMPLE).await, false);
        assert!(
            answer.starts_with("535: ") && !answer.contains("wrong word"),
            "{answer}"
        );

        let channel = mail(&url("kits:p%40ss%20word@", "localhost")).unwrap();
        channel.send(&letter, AMPLE).await.unwrap();
        let mail = server.next_mail().await;
        assert_eq!(
            (&mail["encrypted"], &mail["user"], &mail["to"][0]),
            (&json!(true), &json!("kits"), &json!("odile@example.org"))
        );
    }
}

#[tokio::test]
async fn a_server_that_nobody_vouches_for_gets_no_mail() {
    if !backends::wanted("foreign") {
        return;
    }
    let folder = TempDir::new().unwrap();
    certificates(folder.path());
    for (mode, scheme, query) in [("starttls", "smtp", "?tls=required"), ("tls", "smtps", "")] {
        let server = Aiosmtpd::start(&[mode, folder.path().to_str().unwrap()]).await;
        let url = format!("{scheme}://kits:p%40ss%20word@localhost:{}{query}", server.port);
        let answer = failed(
            mail(&url).unwrap().send(&letter("odile@example.org"), AMPLE).await,
            true,
        );
        assert!(answer.contains("certificate"), "{answer}");
    }
}
