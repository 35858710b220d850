//! The Python library of Standard Webhooks, when the tests may use other makers' clients.

use std::io::Write;
use std::process::{Command, Stdio};

use tidings_domain::{Clock, SystemClock};
use tidings_signing::{Secret, sign};

/// Takes a secret and the headers as arguments and the body as input; fails unless the library accepts them.
const VERIFY: &str = r#"
import sys
from standardwebhooks.webhooks import Webhook

secret, id, timestamp, signature = sys.argv[1:]
Webhook(secret).verify(
    sys.stdin.buffer.read(),
    {"webhook-id": id, "webhook-timestamp": timestamp, "webhook-signature": signature},
)
"#;

fn accepted_by_python(theirs: &str, secrets: &[Secret], sent: &[u8], received: &[u8]) -> bool {
    let headers = sign(secrets, "msg_1", SystemClock.now().timestamp(), sent).unwrap();
    let mut python = Command::new("python3")
        .args(["-c", VERIFY, theirs])
        .args([headers.webhook_id, headers.webhook_timestamp, headers.webhook_signature])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    python.stdin.take().unwrap().write_all(received).unwrap();
    let output = python.wait_with_output().unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() || complaint.contains("WebhookVerificationError"),
        "{complaint}"
    );
    output.status.success()
}

#[test]
fn the_python_library_verifies_ours() {
    let backends = std::env::var("TIDINGS_TEST_BACKENDS").unwrap_or_default();
    if !backends.split([' ', ',']).any(|name| name == "foreign") {
        return;
    }
    let secrets = ["new".parse().unwrap(), "mySecret".parse().unwrap()];
    // "mySecret" in base64.
    let theirs = "whsec_bXlTZWNyZXQ=";
    assert!(accepted_by_python(theirs, &secrets, b"{}", b"{}"));
    assert!(!accepted_by_python(theirs, &secrets, b"{}", b"[]"));
    assert!(!accepted_by_python(theirs, &secrets[..1], b"{}", b"{}"));
}
