use serde_json::{Value, json};

use crate::harness::on_each_database;

#[tokio::test]
async fn a_message_to_a_contact_is_queued() {
    on_each_database(async |gateway| {
        let ada = gateway.contact("Ada", "+41791234567").await;
        let body = json!({"from": "+41790000001", "to": {"id": ada["id"]}, "content": "Grüezi 👋\n\"quoted\""});
        let answer = gateway.post("/messages", &body).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        let message = answer.json();
        let id = message["id"].as_str().unwrap();
        let created_at = message["createdAt"].as_str().unwrap();
        assert_eq!(
            message,
            json!({
                "id": id,
                "from": "+41790000001",
                "to": ada["id"],
                "content": "Grüezi 👋\n\"quoted\"",
                "status": "queued",
                "createdAt": created_at,
                "deliveredAt": null,
            })
        );
        assert!(created_at.ends_with('Z') && created_at.len() == "2026-01-02T03:04:05.678Z".len());
        assert_eq!(gateway.get(&format!("/messages/{id}")).await.json(), message);

        let events = gateway.events().await;
        assert_eq!(events.len(), 2);
        let queued = &events[1];
        assert_eq!(
            (queued.event_type.as_str(), queued.key.as_str()),
            ("tidings.message.queued", id)
        );
        let payload: Value = serde_json::from_slice(&queued.payload).unwrap();
        assert_eq!(payload, json!({"action": "create", "data": message}));
    })
    .await;
}

#[tokio::test]
async fn a_described_recipient_is_created_once() {
    on_each_database(async |gateway| {
        let to = |name: &str| json!({"from": "+41790000001", "to": {"name": name, "phone": "+41791234567"}, "content": "hello"});
        let first = gateway.post("/messages", &to("Ada")).await.json();
        let second = gateway.post("/messages", &to("Somebody else")).await.json();
        assert_eq!(first["to"], second["to"]);
        assert_ne!(first["id"], second["id"]);
        let contact = gateway.get(&format!("/contacts/{}", first["to"].as_str().unwrap())).await;
        assert_eq!(contact.json()["name"], "Ada", "a contact keeps its name");
        assert_eq!(
            gateway.event_types().await,
            ["tidings.contact.created", "tidings.message.queued", "tidings.message.queued"]
        );

        // A contact that was deleted does not come back: the next message makes a new one.
        gateway.delete(&format!("/contacts/{}", first["to"].as_str().unwrap())).await;
        let third = gateway.post("/messages", &to("Ada")).await.json();
        assert_ne!(third["to"], first["to"]);
    })
    .await;
}

#[tokio::test]
async fn where_a_recipient_has_both_the_id_counts() {
    on_each_database(async |gateway| {
        let ada = gateway.contact("Ada", "+41791234567").await;
        let to = json!({"id": ada["id"], "name": "Bob", "phone": "+41797654321", "more": true});
        let answer = gateway
            .post("/messages", &json!({"from": "+12", "to": to, "content": "hello"}))
            .await;
        assert_eq!((answer.status.as_u16(), &answer.json()["to"]), (201, &ada["id"]));
        assert_eq!(gateway.events().await.len(), 2);
    })
    .await;
}

#[tokio::test]
async fn a_contact_can_be_the_sender() {
    on_each_database(async |gateway| {
        let ada = gateway.contact("Ada", "+41791234567").await;
        let message = json!({"from": ada["id"], "to": {"id": ada["id"]}, "content": "note to self"});
        let answer = gateway.post("/messages", &message).await;
        assert_eq!((answer.status.as_u16(), &answer.json()["from"]), (201, &ada["id"]));

        gateway
            .delete(&format!("/contacts/{}", ada["id"].as_str().unwrap()))
            .await;
        let message = json!({"from": ada["id"], "to": {"name": "Bob", "phone": "+41797654321"}, "content": "x"});
        let answer = gateway.post("/messages", &message).await;
        assert_eq!(answer.status, 400);
        assert!(answer.error().contains("from"));
        let contacts = gateway.get("/contacts").await.json();
        assert_eq!(contacts["contacts"], json!([]), "Bob was not created either");
    })
    .await;
}

#[tokio::test]
async fn messages_are_listed_with_their_contacts_even_deleted_ones() {
    on_each_database(async |gateway| {
        let empty = gateway.get("/messages").await;
        assert_eq!(
            empty.json(),
            json!({"messages": [], "page": 1, "quantityPerPage": 100, "data": {"contacts": {}}})
        );
        let ada = gateway.contact("Ada", "+41791234567").await;
        let bob = gateway.contact("Bob", "+41797654321").await;
        let mut messages = Vec::new();
        for (number, contact) in [&ada, &ada, &bob].into_iter().enumerate() {
            let body = json!({"from": "+41790000001", "to": {"id": contact["id"]}, "content": format!("{number}")});
            messages.push(gateway.post("/messages", &body).await.json());
        }
        let ids = [ada["id"].as_str().unwrap(), bob["id"].as_str().unwrap()];
        assert_eq!(gateway.delete(&format!("/contacts/{}", ids[0])).await.status, 204);

        let entry = |contact: &Value| json!({"name": contact["name"], "phone": contact["phone"]});
        assert_eq!(
            gateway.get("/messages").await.json(),
            json!({
                "messages": messages,
                "page": 1,
                "quantityPerPage": 100,
                "data": {"contacts": {ids[0]: entry(&ada), ids[1]: entry(&bob)}},
            })
        );
        let second = gateway.get("/messages/?page=2&limit=2").await.json();
        assert_eq!(
            second,
            json!({"messages": [messages[2]], "page": 2, "quantityPerPage": 2, "data": {"contacts": {ids[1]: entry(&bob)}}})
        );
        for (query, page, size, count) in [
            ("page=0&limit=0", 1, 100, 3),
            ("page=-1&limit=x", 1, 100, 3),
            ("page=4", 4, 100, 0),
            ("limit=5000", 1, 1000, 3),
            ("page=18446744073709551615&limit=1000", (1u64 << 53) - 1, 1000, 0),
            ("pageIndex=2&max=1", 1, 100, 3),
        ] {
            let answer = gateway.get(&format!("/messages?{query}")).await.json();
            assert_eq!((&answer["page"], &answer["quantityPerPage"]), (&json!(page), &json!(size)), "{query}");
            assert_eq!(answer["messages"].as_array().unwrap().len(), count, "{query}");
        }
        let first = messages[0]["id"].as_str().unwrap();
        assert_eq!(gateway.get(&format!("/messages/{first}/")).await.json(), messages[0]);
    })
    .await;
}

#[tokio::test]
async fn a_message_shows_when_it_was_delivered() {
    use tidings_storage::messages::{Settlement, settle};

    on_each_database(async |gateway| {
        let body = json!({"from": "+12", "to": {"name": "Ada", "phone": "+41791234567"}, "content": "hello"});
        let queued = gateway.post("/messages", &body).await.json();
        let id: tidings_domain::MessageId = queued["id"].as_str().unwrap().parse().unwrap();
        let at = "2026-01-02T03:04:05.678901Z".parse().unwrap();
        let settled: tidings_storage::Result<_> = gateway
            .db()
            .write(move |tx| Box::pin(async move { settle(tx, &[(id, Settlement::Delivered { at })]).await }))
            .await;
        assert_eq!(settled.unwrap().len(), 1);
        let delivered = gateway.get(&format!("/messages/{id}")).await.json();
        assert_eq!(delivered["status"], "delivered");
        assert_eq!(delivered["deliveredAt"], "2026-01-02T03:04:05.678Z");
        assert_eq!(delivered["createdAt"], queued["createdAt"]);
    })
    .await;
}
