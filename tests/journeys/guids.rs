//! The registry of GUIDs, as the contract's own examples have it, and what becomes of them on Kafka.

use std::time::{SystemTime, UNIX_EPOCH};

use reqwest::Method;
use serde_json::{Value, json};
use tidings_testkit::{Behavior, TestProcess, TestStack, WebhookReceiver, eventually};

use crate::stacks;
use crate::topic::consume;

const GUID: &str = "/guid/9094E4C980C74043A4B586B420E69DDF";

async fn send(stack: &TestStack, method: Method, url: String, body: &Value) -> (u16, Value) {
    let request = stack.client().request(method, url).json(body);
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    let bytes = response.bytes().await.unwrap();
    (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
}

#[allow(clippy::disallowed_methods, reason = "a client has no other clock")]
fn in_seconds(seconds: u64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    (now + seconds).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_of_a_guid_is_told_and_its_end_too() {
    let receiver = WebhookReceiver::start(Behavior::Acknowledge).await;
    let mut stacks = stacks(&receiver.url(), &[]);
    while let Some(stack) = stacks.next().await {
        let call = async |method, path: &str, body: Value| send(&stack, method, stack.url(path), &body).await;
        let record = |expire: &str, user: &str| json!({"guid": &GUID[6..], "expire": expire, "user": user});
        let created = call(
            Method::POST,
            GUID,
            json!({"expire": "4102444800", "user": "Salemount Labs"}),
        )
        .await;
        assert_eq!(created, (201, record("4102444800", "Salemount Labs")));
        let (status, random) = call(Method::POST, "/guid", json!({"user": "Jay Patel"})).await;
        assert_eq!((status, &random["user"]), (201, &json!("Jay Patel")));
        let found = call(Method::GET, GUID, json!({})).await;
        assert_eq!(found, (200, record("4102444800", "Salemount Labs")));
        let changed = call(Method::PATCH, GUID, json!({"expire": "4102448400"})).await;
        assert_eq!(changed, (200, record("4102448400", "Salemount Labs")));
        assert_eq!(call(Method::GET, GUID, json!({})).await, changed);
        assert_eq!(call(Method::DELETE, GUID, json!({})).await, (204, Value::Null));
        assert_eq!(call(Method::GET, GUID, json!({})).await.0, 404);

        let soon = in_seconds(3);
        let again = call(Method::POST, GUID, json!({"expire": soon, "user": "Jay Patel"})).await;
        assert_eq!(again.0, 201);
        eventually("its time is over", async || {
            match call(Method::GET, GUID, json!({})).await.0 {
                404 => Ok(()),
                status => Err(status),
            }
        })
        .await;
        let records = consume(&stack, "guids-events", |records| records.len() >= 6).await;
        let told: Vec<_> = records
            .iter()
            .filter(|record| record.key == GUID[6..])
            .map(|record| {
                let header = |name: &str| record.headers[name].as_str();
                let kind = header("ce_type").strip_prefix("tidings.guid.").unwrap();
                (header("ce_sequence"), kind, record.value["action"].as_str().unwrap())
            })
            .collect();
        let expected = [
            ("1", "created", "create"),
            ("2", "updated", "update"),
            ("3", "deleted", "delete"),
            ("4", "created", "create"),
            ("5", "expired", "delete"),
        ];
        assert_eq!(told, expected);
        let last = records.iter().rfind(|record| record.key == GUID[6..]).unwrap();
        assert_eq!(last.value["data"], record(&soon, "Jay Patel"), "as it was last");
        stack.finish().await;
    }
}

/// Where a second gateway says that it serves.
async fn address(gateway: &mut TestProcess) -> String {
    let said = gateway.says("gateway is ready").await;
    let line = said.lines().find_map(|line| line.split_once("API on "));
    line.unwrap().1.trim().to_owned()
}

/// Each in a process of its own, on a PostgreSQL and a Kafka that others run.
#[tokio::test(flavor = "multi_thread")]
async fn what_changes_through_one_gateway_is_seen_through_another() {
    let receiver = WebhookReceiver::start(Behavior::Acknowledge).await;
    let mut stacks = stacks(&receiver.url(), &[]);
    while let Some(stack) = stacks.next().await {
        if !stack.on_servers() {
            stack.finish().await;
            continue;
        }
        let mut beside = stack.spawn_beside("gateway");
        let other = address(&mut beside).await;
        let seen = async |user: Option<&str>| {
            eventually("it is seen", async || {
                let (status, record) = send(&stack, Method::GET, format!("{other}{GUID}"), &json!({})).await;
                let shown = (status == 200).then(|| record["user"].as_str().unwrap().to_owned());
                if shown.as_deref() == user { Ok(()) } else { Err(record) }
            })
            .await;
        };
        seen(None).await;
        send(&stack, Method::POST, stack.url(GUID), &json!({"user": "0"})).await;
        for number in 1..20 {
            let user = number.to_string();
            let changed = send(&stack, Method::PATCH, stack.url(GUID), &json!({"user": user})).await;
            assert_eq!(changed.0, 200);
            let here = send(&stack, Method::GET, stack.url(GUID), &json!({})).await;
            assert_eq!(here, changed, "at once");
            seen(Some(&user)).await;
        }
        assert_eq!(send(&stack, Method::DELETE, stack.url(GUID), &json!({})).await.0, 204);
        seen(None).await;
        let (status, said) = beside.stop().await;
        assert!(status.success(), "{said}");
        stack.finish().await;
    }
}
