use serde_json::Value;
use tidings_runtime::telemetry;

use crate::child;

const TEST: &str = "telemetry::logs_are_json_lines_on_stderr_within_their_filter";

#[tokio::test]
async fn logs_are_json_lines_on_stderr_within_their_filter() {
    if child::is_child() {
        telemetry::init();
        let span = tracing::info_span!("attempt", message_id = "0190");
        span.in_scope(|| tracing::info!(status = 204, "delivered"));
        tracing::debug!("a detail");
        tracing::info!(target: "sqlx::query", "a statement");
        return;
    }
    let output = child::output(TEST, &[("RUST_LOG", "")]).await;
    let lines = json_lines(&output.stderr);
    assert_eq!(lines.len(), 1, "{lines:?}");
    let line = &lines[0];
    assert_eq!(
        (&line["level"], &line["message"], &line["status"]),
        (&"INFO".into(), &"delivered".into(), &204.into())
    );
    assert_eq!(line["span"]["message_id"], "0190");
    assert!(!String::from_utf8(output.stdout).unwrap().contains("delivered"));

    let asked = child::output(TEST, &[("RUST_LOG", "debug")]).await;
    assert_eq!(json_lines(&asked.stderr).len(), 3);

    let refused = json_lines(&child::output(TEST, &[("RUST_LOG", "runtime=loudly")]).await.stderr);
    assert_eq!(refused[0]["message"], "RUST_LOG cannot be read and is ignored");
    assert_eq!(refused.len(), 2);
}

fn json_lines(bytes: &[u8]) -> Vec<Value> {
    bytes
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect()
}
