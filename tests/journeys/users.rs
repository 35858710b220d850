//! Users, as the contract's own examples have it.

use serde_json::{Value, json};
use tidings_testkit::{Behavior, Received, TestStack, WebhookReceiver, backends};
use tokio::process::Command;

use crate::foreign::output;
use crate::stacks;

const USERS: &str = "/api/v1/users";
const PASSWORD: &str = "myP@ssW0ord52";

fn serge() -> Value {
    json!({
        "first_name": "Serge",
        "last_name": "Karamazov",
        "email": "serge@example.com",
        "password": PASSWORD,
        "address": "",
    })
}

async fn send(stack: &TestStack, method: reqwest::Method, path: &str, body: &Value) -> (u16, Value) {
    let request = stack.client().request(method, stack.url(path)).json(body);
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    let bytes = response.bytes().await.unwrap();
    (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
}

/// Status, headers and body of an answer as curl prints it.
pub(crate) async fn curl(arguments: &[&str]) -> (String, Vec<String>, Value) {
    let printed = output("curl", &[&["-sS", "-i", "--max-time", "30"], arguments].concat()).await;
    let (head, body) = printed.split_once("\r\n\r\n").unwrap();
    let mut lines = head.lines().map(|line| line.trim().to_lowercase());
    let status = lines.next().unwrap();
    (
        status,
        lines.collect(),
        serde_json::from_str(body).unwrap_or(Value::Null),
    )
}

/// The calls of the contract's page, one after the other, without any key.
#[tokio::test(flavor = "multi_thread")]
async fn the_examples_of_the_contract_are_answered() {
    let receiver = WebhookReceiver::start(Behavior::Acknowledge).await;
    let mut stacks = stacks(&receiver.url(), &[]);
    while let Some(stack) = stacks.next().await {
        let collection = stack.url(USERS);
        let body = serge().to_string();
        let post = [
            "-X",
            "POST",
            "-H",
            "Content-Type: application/json",
            "-d",
            &body,
            &collection,
        ];
        let (status, headers, user) = curl(&post).await;
        assert_eq!(status, "http/1.1 201 created");
        let url = format!("{collection}/{}", user["id"]);
        let shown = |address: &str| {
            json!({
                "url": url,
                "id": user["id"],
                "first_name": "Serge",
                "last_name": "Karamazov",
                "email": "serge@example.com",
                "address": address,
            })
        };
        assert_eq!(user, shown(""));
        for header in [
            "allow: get, post, head, options",
            "content-type: application/json",
            "vary: accept",
            &format!("location: {url}"),
        ] {
            assert!(headers.iter().any(|line| line == header), "{header} in {headers:?}");
        }

        let accept = "Accept: application/json; indent=4";
        let (status, headers, read) = curl(&["-X", "GET", "-H", accept, &url]).await;
        assert_eq!((&status[..], read), ("http/1.1 200 ok", shown("")));
        let allow = "allow: get, put, patch, delete, head, options".to_owned();
        assert!(headers.contains(&allow), "{headers:?}");

        let (status, _, list) = curl(&[&format!("{collection}/?last_name=Karamazov&first_name=Serge")]).await;
        assert_eq!(status, "http/1.1 200 ok");
        assert_eq!(
            list,
            json!({"count": 1, "next": null, "previous": null, "results": [shown("")]})
        );

        let incomplete =
            json!({"first_name": "Serge", "last_name": "Karamazov", "email": "serge@example.com", "address": ""});
        assert_eq!(
            send(&stack, reqwest::Method::POST, USERS, &incomplete).await,
            (
                400,
                json!({"email": ["user with this email already exists."], "password": ["This field is required."]})
            )
        );
        let path = format!("{USERS}/{}", user["id"]);
        let nyc = json!({"address": "NYC"});
        assert_eq!(
            send(&stack, reqwest::Method::PATCH, &path, &nyc).await,
            (200, shown("NYC"))
        );
        assert_eq!(
            send(&stack, reqwest::Method::DELETE, &path, &Value::Null).await,
            (204, Value::Null)
        );
        for method in [reqwest::Method::GET, reqwest::Method::PATCH, reqwest::Method::DELETE] {
            let gone = send(&stack, method, &path, &nyc).await;
            assert_eq!(gone, (404, json!({"detail": "Not found."})));
        }
        stack.finish().await;
    }
}

/// Whoever comes from elsewhere is refused, and a locator that is down stalls nobody for long.
#[tokio::test(flavor = "multi_thread")]
async fn sign_up_is_for_switzerland() {
    let receiver = WebhookReceiver::start(Behavior::Acknowledge).await;
    let locator = WebhookReceiver::start(Behavior::Json(Box::new(|_: &Received| {
        json!({"country_code": "ES", "country_name": "Spain"}).to_string()
    })))
    .await;
    let url = format!("http://{}/{{ip}}/json/", locator.addr());
    let stack = TestStack::start(crate::TIDINGS, &receiver.url(), &[("GEOIP_URL", &url)]).await;
    let sign_up = async |address: &str, body: &'static str| {
        let request = stack.client().post(stack.url(USERS)).header("X-Forwarded-For", address);
        let response = request.body(body).send().await.unwrap();
        (response.status().as_u16(), response.json::<Value>().await.unwrap())
    };
    let refused = |country: &str| {
        let text = format!("Only users located in Switzerland can be created (remote address in {country})");
        (403, json!({ "detail": text }))
    };
    // Nothing is looked at of what Spain sends.
    for body in ["{}", "{", ""] {
        assert_eq!(sign_up("203.0.113.7", body).await, refused("Spain"));
    }
    assert_eq!(locator.received().len(), 1);
    locator.set(Behavior::Refuse(500));
    for number in 0..30 {
        assert_eq!(
            sign_up(&format!("198.51.100.{number}"), "{}").await,
            refused("Undefined")
        );
    }
    assert_eq!(
        locator.received().len(),
        1 + 3,
        "after three failures nobody asks any more"
    );
    stack.finish().await;
}

/// The program of the contract's page, but for three things. It says when it is listening, since it reads
/// what comes from then on; it stops after as many messages as it is told; and it names its topic in a
/// list, since newer versions of the library take nothing else.
const CONSUMER: &str = r#"
import sys
from kafka import KafkaConsumer
import json
consumer = KafkaConsumer(bootstrap_servers=sys.argv[1], value_deserializer=lambda x: json.loads(x.decode('utf-8')))
consumer.subscribe(['users-events'])
while not consumer.assignment():
    consumer.poll(timeout_ms=100)
for partition in consumer.assignment():
    consumer.position(partition)
print("listening", flush=True)
count = 0
for msg in consumer:
    print(json.dumps(msg.value), flush=True)
    count += 1
    if count == int(sys.argv[2]):
        break
"#;

#[tokio::test(flavor = "multi_thread")]
async fn the_kafka_snippet_of_the_contract_prints_the_events() {
    use tokio::io::{AsyncBufReadExt, BufReader};

    if !backends::wanted("foreign") {
        return;
    }
    let receiver = WebhookReceiver::start(Behavior::Acknowledge).await;
    let mut stacks = stacks(&receiver.url(), &[]);
    while let Some(stack) = stacks.next().await {
        let mut consumer = Command::new(backends::python())
            .args(["-c", CONSUMER, stack.broker(), "4"])
            .stdout(std::process::Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(consumer.stdout.take().unwrap()).lines();
        let mut next = async || {
            let line = tokio::time::timeout(tidings_testkit::PATIENCE, lines.next_line()).await;
            line.expect("the consumer prints").unwrap().expect("the consumer runs")
        };
        // It reads what comes from now on.
        assert_eq!(next().await, "listening");

        let (status, user) = send(&stack, reqwest::Method::POST, USERS, &serge()).await;
        assert_eq!(status, 201);
        let path = format!("{USERS}/{}", user["id"]);
        let paris = json!({"address": "Paris"});
        assert_eq!(send(&stack, reqwest::Method::PATCH, &path, &paris).await.0, 200);
        // What fails is not told.
        assert_eq!(send(&stack, reqwest::Method::POST, USERS, &serge()).await.0, 400);
        assert_eq!(
            send(&stack, reqwest::Method::PATCH, &path, &json!({"email": "x"}))
                .await
                .0,
            400
        );
        assert_eq!(send(&stack, reqwest::Method::PUT, &path, &serge()).await.0, 200);
        assert_eq!(send(&stack, reqwest::Method::DELETE, &path, &Value::Null).await.0, 204);
        assert_eq!(send(&stack, reqwest::Method::DELETE, &path, &Value::Null).await.0, 404);

        let shown = |address: &str| {
            let mut shown = user.clone();
            shown["address"] = json!(address);
            shown
        };
        for (action, address) in [("create", ""), ("update", "Paris"), ("update", ""), ("delete", "")] {
            let event: Value = serde_json::from_str(&next().await).unwrap();
            assert_eq!(event, json!({"action": action, "data": shown(address)}));
        }
        assert!(consumer.wait().await.unwrap().success());
        stack.finish().await;
    }
}

/// Whether a text is among what is kept, as it is or as PostgreSQL shows bytes.
fn is_kept(kept: &[u8], text: &str) -> bool {
    let hex: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
    [text, &hex]
        .into_iter()
        .any(|text| kept.windows(text.len()).any(|window| window == text.as_bytes()))
}

/// Whatever is done with a password, it is in no answer, event, log line or audit record, nor in anything
/// else that is kept.
#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_nowhere_to_be_found() {
    let receiver = WebhookReceiver::start(Behavior::Acknowledge).await;
    let mut stacks = stacks(
        &receiver.url(),
        &[("RUST_LOG", "debug,tidings_gateway=trace,tidings_storage=trace")],
    );
    while let Some(stack) = stacks.next().await {
        let mut answers = Vec::new();
        let mut take = async |request: reqwest::RequestBuilder| {
            let response = request.send().await.unwrap();
            let (status, headers) = (response.status().as_u16(), format!("{:?}", response.headers()));
            let body = response.text().await.unwrap();
            answers.push(format!("{headers} {body}"));
            (status, serde_json::from_str::<Value>(&body).unwrap_or(Value::Null))
        };
        let request = |method: reqwest::Method, path: &str| stack.client().request(method, stack.url(path));
        let post = || request(reqwest::Method::POST, USERS);
        let with = |field: &str, value: Value| {
            let mut body = serge();
            body[field] = value;
            body
        };
        let (status, user) = take(post().header("Idempotency-Key", "key").json(&serge())).await;
        assert_eq!(status, 201);
        let path = format!("{USERS}/{}", user["id"]);
        let item = |method| request(method, &path);
        for (expected, sent) in [
            (201, post().header("Idempotency-Key", "key").json(&serge())),
            (
                422,
                post()
                    .header("Idempotency-Key", "key")
                    .json(&with("address", json!("x"))),
            ),
            (400, post().json(&serge())),
            (400, post().json(&with("email", json!("nonsense")))),
            (400, post().json(&with("password", json!(PASSWORD.repeat(20))))),
            (400, post().json(&with("password", json!([PASSWORD])))),
            (400, post().json(&with("password", json!({"value": PASSWORD})))),
            (400, post().json(&json!([serge()]))),
            (400, post().body(format!("{}}}", serge()))),
            (400, post().body(format!("{{\"password\": \"{PASSWORD}"))),
            (
                415,
                post().header("content-type", "text/plain").body(serge().to_string()),
            ),
            (403, post().header("X-Forwarded-For", "unknown").json(&serge())),
            (200, item(reqwest::Method::PATCH).json(&json!({"password": PASSWORD}))),
            (
                400,
                item(reqwest::Method::PATCH).json(&json!({"password": PASSWORD, "email": null})),
            ),
            (200, item(reqwest::Method::PUT).json(&serge())),
            (404, request(reqwest::Method::PUT, "/api/v1/users/99").json(&serge())),
            (405, item(reqwest::Method::POST).json(&serge())),
            (200, item(reqwest::Method::GET)),
            (200, request(reqwest::Method::GET, USERS)),
            (200, request(reqwest::Method::GET, "/metrics")),
            (204, item(reqwest::Method::DELETE)),
        ] {
            let (status, answer) = take(sent).await;
            assert_eq!(status, expected, "{answer}");
        }
        // The audit log is the last to hear of it.
        let db = stack.database().await;
        tidings_testkit::eventually("everything is recorded", async || {
            let recorded = tidings_storage::audit::list(db.read(), 0, 100).await.unwrap();
            let deleted = |entry: &tidings_storage::audit::Record| entry.action == "tidings.user.deleted";
            if recorded.iter().any(deleted) {
                Ok(())
            } else {
                Err(recorded.len())
            }
        })
        .await;
        for (place, text) in [("output", stack.output()), ("answers", answers.join("\n"))] {
            for trace in [PASSWORD, "$argon2"] {
                assert!(!text.contains(trace), "`{trace}` is in the {place}: {text}");
            }
        }
        assert!(
            stack.output().contains("TRACE") || stack.output().contains("DEBUG"),
            "the log says a lot"
        );
        // Events, audit records, kept answers, and whatever else there is; of the embedded broker, its records.
        let kept = stack.kept().await;
        assert!(is_kept(&kept, "Karamazov"), "what is kept can be searched");
        assert!(!is_kept(&kept, PASSWORD));
        stack.finish().await;
    }
}
