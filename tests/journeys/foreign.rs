//! Programs that others made, in front of what a stack shows: Kafka clients and a browser.

use serde_json::Value;
use tidings_testkit::{Behavior, TestStack, WebhookReceiver, backends};
use tokio::process::Command;

use crate::{TIDINGS, stacks};

pub async fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).kill_on_drop(true).output().await;
    let output = output.unwrap_or_else(|error| panic!("{program} cannot be run: {error}"));
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{program}: {out}\n{err}");
    out.into_owned()
}

/// Sends a message, and waits until all about it is published.
async fn deliver(stack: &TestStack) -> String {
    let id = stack.send_message(1).await;
    stack.message_becomes(&id, "delivered").await;
    stack.settle().await;
    id
}

#[tokio::test(flavor = "multi_thread")]
async fn kcat_shows_queued_and_delivered() {
    if !backends::wanted("foreign") {
        return;
    }
    let receiver = WebhookReceiver::start(Behavior::Acknowledge).await;
    let mut stacks = stacks(&receiver.url(), &[]);
    while let Some(stack) = stacks.next().await {
        let id = deliver(&stack).await;
        let read = [
            "-b",
            stack.broker(),
            "-t",
            "messages-events",
            "-C",
            "-e",
            "-q",
            "-f",
            "%h %k %s\\n",
        ];
        let lines = output("kcat", &read).await;
        let lines: Vec<_> = lines.lines().collect();
        assert_eq!(lines.len(), 2, "{lines:?}");
        for (line, kind) in lines
            .iter()
            .zip(["tidings.message.queued", "tidings.message.delivered"])
        {
            assert!(
                line.contains(&format!("ce_type={kind}")) && line.contains(&format!(" {id} {{")),
                "{line}"
            );
        }
        stack.finish().await;
    }
}

const READ_WITH_KAFKA_PYTHON: &str = r#"
import json, sys
from kafka import KafkaConsumer

consumer = KafkaConsumer(
    bootstrap_servers=sys.argv[1],
    auto_offset_reset="earliest",
    consumer_timeout_ms=20000,
    value_deserializer=lambda value: json.loads(value.decode("utf-8")),
)
consumer.subscribe([sys.argv[2]])
wanted = int(sys.argv[3])
for record in consumer:
    print(json.dumps({"key": record.key.decode(), "value": record.value, "headers": {k: v.decode() for k, v in record.headers}}))
    wanted -= 1
    if wanted == 0:
        break
consumer.close()
"#;

#[tokio::test(flavor = "multi_thread")]
async fn kafka_python_reads_every_topic() {
    if !backends::wanted("foreign") {
        return;
    }
    let receiver = WebhookReceiver::start(Behavior::Acknowledge).await;
    let mut stacks = stacks(&receiver.url(), &[]);
    while let Some(stack) = stacks.next().await {
        let id = deliver(&stack).await;
        for (topic, count, kind) in [("messages-events", "2", "message"), ("contacts-events", "1", "contact")] {
            let arguments = ["-c", READ_WITH_KAFKA_PYTHON, stack.broker(), topic, count];
            let lines = output(&backends::python(), &arguments).await;
            let records: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            assert_eq!(records.len().to_string(), count, "{lines}");
            assert!(
                records[0]["headers"]["ce_type"]
                    .as_str()
                    .unwrap()
                    .starts_with(&format!("tidings.{kind}."))
            );
            assert_eq!(records[0]["value"]["action"], "create");
            if kind == "message" {
                assert!(records.iter().all(|record| record["key"] == id));
            }
        }
        stack.finish().await;
    }
}

/// Under the names that distributions and its makers give it.
fn browser() -> &'static str {
    const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
    let path = std::env::var_os("PATH").unwrap_or_default();
    let there = |name: &&&str| std::env::split_paths(&path).any(|folder| folder.join(name).is_file());
    NAMES.iter().find(there).expect("a browser: chromium or google-chrome")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_shows_every_operation() {
    if !backends::wanted("foreign") {
        return;
    }
    let receiver = WebhookReceiver::start(Behavior::Acknowledge).await;
    let stack = TestStack::start(TIDINGS, &receiver.url(), &[]).await;
    let document = stack
        .client()
        .get(stack.url("/docs/openapi.yaml"))
        .send()
        .await
        .unwrap();
    let document = document.text().await.unwrap();
    let operations: Vec<_> = document
        .lines()
        // By its place in the document, that of an operation.
        .filter_map(|line| line.strip_prefix("      summary: "))
        .collect();
    assert_eq!(operations.len(), 9, "{operations:?}");
    let profile = format!("--user-data-dir={}", stack.folder().join("browser").display());
    for path in ["/docs/", "/redoc"] {
        let url = stack.url(path);
        let page = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            // Of a clock that stands still while anything is loading.
            "--virtual-time-budget=10000",
            &profile,
            "--dump-dom",
            &url,
        ];
        let page = output(browser(), &page).await;
        for operation in &operations {
            assert!(page.contains(operation), "{path} does not show `{operation}`:\n{page}");
        }
    }
    stack.finish().await;
}
