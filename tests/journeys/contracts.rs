//! A client that follows the published documents of 2024 and 2025 to the letter.

use serde_json::{Value, json};
use tidings_testkit::{Behavior, TestStack, WebhookReceiver};

use crate::stacks;

/// A field's name, and whether a value is of its type.
type Field = (&'static str, fn(&Value) -> bool);

/// What both documents say of each answer: its fields and their types.
fn has(answer: &Value, fields: &[Field]) {
    for (name, fits) in fields {
        assert!(answer.get(name).is_some_and(fits), "{name} of {answer}");
    }
}

const CONTACT: &[Field] = &[
    ("id", Value::is_string),
    ("name", Value::is_string),
    ("phone", Value::is_string),
];

#[tokio::test(flavor = "multi_thread")]
async fn contacts_live_as_documented() {
    let receiver = WebhookReceiver::start(Behavior::Acknowledge).await;
    let mut stacks = stacks(&receiver.url(), &[]);
    while let Some(stack) = stacks.next().await {
        let (status, contact) = stack
            .post("/contacts", &json!({"name": "Odile", "phone": "+41791234567"}))
            .await;
        assert_eq!(status, 201);
        has(&contact, CONTACT);
        let path = format!("/contacts/{}", contact["id"].as_str().unwrap());
        assert_eq!(stack.get(&path).await, (200, contact.clone()));

        // 2024 knows `contactsList`, its public server and clients `contacts`.
        let (status, list) = stack.get("/contacts?pageIndex=1&max=5").await;
        assert_eq!(status, 200);
        has(
            &list,
            &[
                ("contactsList", Value::is_array),
                ("pageNumber", Value::is_number),
                ("pageSize", Value::is_number),
            ],
        );
        assert_eq!(list["contactsList"], list["contacts"]);
        assert_eq!((&list["pageNumber"], &list["pageSize"]), (&json!(1), &json!(5)));

        let patch = async |body: Value| {
            let request = stack
                .client()
                .patch(stack.url(&path))
                .bearer_auth("there-is-no-key")
                .json(&body);
            let response = request.send().await.unwrap();
            (response.status().as_u16(), response.json::<Value>().await.unwrap())
        };
        let (status, renamed) = patch(json!({"name": "Serge", "phone": "+41791234568"})).await;
        assert_eq!(
            (status, &renamed["name"], &renamed["id"]),
            (200, &json!("Serge"), &contact["id"])
        );
        let (status, error) = patch(json!({"phone": "079 123"})).await;
        assert_eq!(status, 400);
        has(&error, &[("error", Value::is_string)]);

        let delete = stack.client().delete(stack.url(&path)).bearer_auth("there-is-no-key");
        let gone = delete.send().await.unwrap();
        assert_eq!((gone.status().as_u16(), gone.bytes().await.unwrap().len()), (204, 0));
        let (status, missing) = stack.get(&path).await;
        assert_eq!((status, &missing["id"]), (404, &contact["id"]));
        has(&missing, &[("message", Value::is_string)]);
        stack.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_live_as_documented() {
    let receiver = WebhookReceiver::start(Behavior::Acknowledge).await;
    let mut stacks = stacks(&receiver.url(), &[]);
    while let Some(stack) = stacks.next().await {
        let (_, contact) = stack
            .post("/contacts", &json!({"name": "Odile", "phone": "+41791234567"}))
            .await;
        // To a known contact, as both documents have it; and to one described by name and phone.
        let by_id = json!({"from": "+41440000000", "content": "one", "to": {"id": contact["id"]}});
        let described = json!({"name": "Odile", "phone": "+41791234567"});
        let by_details = json!({"from": "+41440000000", "content": "two", "to": described});
        for body in [by_id, by_details] {
            let (status, message) = stack.post("/messages", &body).await;
            assert_eq!((status, &message["status"]), (201, &json!("queued")), "{message}");
            has(
                &message,
                &[
                    ("id", Value::is_string),
                    ("from", Value::is_string),
                    ("to", Value::is_string),
                    ("content", Value::is_string),
                    ("createdAt", |time| {
                        time.as_str().is_some_and(|time| time.ends_with('Z'))
                    }),
                    ("deliveredAt", Value::is_null),
                ],
            );
            assert_eq!(message["to"], contact["id"], "the contact is reused");
            let id = message["id"].as_str().unwrap();
            let delivered = stack.message_becomes(id, "delivered").await;
            has(&delivered, &[("deliveredAt", Value::is_string)]);
        }
        let (status, list) = stack.get("/messages?page=1&limit=10").await;
        assert_eq!(status, 200);
        has(
            &list,
            &[
                ("messages", Value::is_array),
                ("page", Value::is_number),
                ("quantityPerPage", Value::is_number),
            ],
        );
        assert_eq!(list["messages"].as_array().unwrap().len(), 2);
        // 2025: the contacts that messages refer to come along.
        let id = contact["id"].as_str().unwrap();
        assert_eq!(
            list["data"]["contacts"][id],
            json!({"name": "Odile", "phone": "+41791234567"})
        );
        let (status, missing) = stack.get("/messages/01890a5d-ac96-774b-bcce-b302099a8057").await;
        assert_eq!(status, 404);
        has(&missing, &[("id", Value::is_string), ("message", Value::is_string)]);
        stack.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_leaves_nothing_behind() {
    let receiver = WebhookReceiver::start(Behavior::Acknowledge).await;
    let mut stacks = stacks(&receiver.url(), &[]);
    while let Some(stack) = stacks.next().await {
        let good = json!({"from": "+41440000000", "to": {"name": "A", "phone": "+41790000001"}, "content": "x"});
        let with = |field: &str, value: Value| {
            let mut body = good.clone();
            body[field] = value;
            body.to_string()
        };
        let unknown = json!({"id": "01890a5d-ac96-774b-bcce-b302099a8057"});
        let bodies = [
            ("malformed JSON", "{".to_owned(), 400),
            ("a wrong type", with("content", json!(7)), 400),
            ("an unknown contact", with("to", unknown), 400),
            (
                "a bad phone",
                with("to", json!({"name": "A", "phone": "0790000001"})),
                400,
            ),
            ("a bad sender", with("from", json!("me")), 400),
            (
                "a body that is too large",
                with("content", json!("x".repeat(2 << 20))),
                413,
            ),
        ];
        for (what, body, expected) in bodies {
            let (status, answer) = raw(&stack, "application/json", body).await;
            assert_eq!(status, expected, "{what}: {answer}");
            has(&answer, &[("error", Value::is_string)]);
        }
        let (status, answer) = raw(&stack, "text/plain", good.to_string()).await;
        assert_eq!(status, 415, "{answer}");
        assert_eq!(stack.get("/messages?page=nonsense&limit=-3").await.0, 200);
        let (_, contacts) = stack.get("/contacts").await;
        let (_, messages) = stack.get("/messages").await;
        assert_eq!((&contacts["contacts"], &messages["messages"]), (&json!([]), &json!([])));
        let db = stack.database().await;
        let head = tidings_storage::audit::head(db.read()).await.unwrap();
        let events = tidings_storage::audit::list(db.read(), 0, 100).await.unwrap();
        assert!(
            events
                .iter()
                .all(|event| event.action.starts_with("tidings.webhook-endpoint.")),
            "{head:?} {events:?}"
        );
        stack.finish().await;
    }
}

async fn raw(stack: &TestStack, kind: &str, body: String) -> (u16, Value) {
    let request = stack
        .client()
        .post(stack.url("/messages"))
        .bearer_auth("there-is-no-key");
    let response = request.header("content-type", kind).body(body).send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}
