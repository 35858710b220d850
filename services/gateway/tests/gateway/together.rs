//! Messages that are accepted together: whoever waits at the same time shares a transaction, and nobody else's luck.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::harness::{Answer, TestGateway, on_each_database};

/// Sends these while nobody can write, so that they wait together; the keys are idempotency keys.
async fn together(gateway: &TestGateway, requests: &[(Option<String>, Value)]) -> Vec<Answer> {
    let held = gateway.hold_writes().await;
    let sending = join_all(requests.iter().map(async |(key, body)| match key {
        Some(key) => gateway.post_once("/messages", key, body).await,
        None => gateway.post("/messages", body).await,
    }));
    let releasing = async {
        // The first group waits for the database, and all others behind it.
        tokio::task::yield_now().await;
        held.release().await;
    };
    tokio::join!(sending, releasing).0
}

fn message(to: Value, content: &str) -> Value {
    json!({"from": "+41790000001", "to": to, "content": content})
}

async fn counts(gateway: &TestGateway) -> (usize, usize, usize) {
    let listed = |list: Value, name: &str| list[name].as_array().unwrap().len();
    let messages = listed(gateway.get("/messages?limit=1000").await.json(), "messages");
    let contacts = listed(gateway.get("/contacts?max=1000").await.json(), "contacts");
    (messages, contacts, gateway.events().await.len())
}

#[tokio::test]
async fn each_is_answered_for_itself() {
    on_each_database(async |gateway| {
        let known = gateway.contact("Known", "+41791111111").await;
        let mut requests = Vec::new();
        for number in 0..12 {
            let own = json!({"name": format!("Own {number}"), "phone": format!("+4178000{number:04}")});
            requests.push((None, message(own, "to a contact of its own")));
            requests.push((
                None,
                message(json!({"name": "Same", "phone": "+41792222222"}), "to one for all"),
            ));
            requests.push((
                Some(format!("key-{number}")),
                message(json!({"id": known["id"]}), "under a key"),
            ));
            let nobody = json!({"id": "01a00000-0000-7000-8000-000000000000"});
            requests.push((None, message(nobody, "to nobody")));
            let never = json!({"name": "Never", "phone": format!("+4177000{number:04}")});
            let mut from_nobody = message(never, "from nobody");
            from_nobody["from"] = json!("01a00000-0000-7000-8000-000000000000");
            requests.push((Some(format!("refused-{number}")), from_nobody));
        }
        let answers = together(gateway, &requests).await;
        for ((_, body), answer) in requests.iter().zip(&answers) {
            let refused = body["content"].as_str().unwrap().contains("nobody");
            assert_eq!(answer.status, if refused { 400 } else { 201 }, "{body} {answer:?}");
            if !refused {
                assert_eq!(answer.json()["content"], body["content"]);
            }
        }
        let to_same: BTreeSet<_> = answers
            .iter()
            .skip(1)
            .step_by(5)
            .map(|answer| answer.json()["to"].to_string())
            .collect();
        assert_eq!(to_same.len(), 1);
        // One event per message and per contact, and nothing of those that were refused.
        assert_eq!(counts(gateway).await, (36, 14, 36 + 14));

        // Again: those under keys are answered as before, and those that were refused can be corrected.
        for (at, ((key, body), before)) in requests.iter().zip(&answers).enumerate() {
            let Some(key) = key else { continue };
            let again = gateway.post_once("/messages", key, body).await;
            assert_eq!((again.status, &again.body), (before.status, &before.body), "{at}");
        }
        assert_eq!(counts(gateway).await, (36, 14, 36 + 14));
    })
    .await;
}

#[tokio::test]
async fn one_that_the_database_refuses_takes_no_other_with_it() {
    on_each_database(async |gateway| {
        // As a defect would: nothing that the gateway could know of beforehand.
        let refuse = match gateway.database.name {
            "PostgreSQL" => "ALTER TABLE messages ADD CHECK (content <> 'poison')",
            _ => {
                "CREATE TRIGGER poison BEFORE INSERT ON messages WHEN NEW.content = 'poison' \
                 BEGIN SELECT RAISE(ABORT, 'poison'); END"
            }
        };
        gateway.database.tamper(refuse).await;
        let requests: Vec<_> = (0..40)
            .map(|number| {
                let content = if number % 10 == 7 { "poison" } else { "fine" };
                let to = json!({"name": "One", "phone": format!("+4178000{number:04}")});
                (None, message(to, content))
            })
            .collect();
        let answers = together(gateway, &requests).await;
        for ((_, body), answer) in requests.iter().zip(&answers) {
            let expected = if body["content"] == "poison" { 500 } else { 201 };
            assert_eq!(answer.status, expected, "{body} {answer:?}");
        }
        assert_eq!(counts(gateway).await, (36, 36, 72));
    })
    .await;
}
