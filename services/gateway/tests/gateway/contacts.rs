use serde_json::{Value, json};

use crate::harness::on_each_database;

const NOBODY: &str = "01912d3c-7a10-7c3e-9a52-3f0d7d1c9b11";

#[tokio::test]
async fn a_contact_is_created_read_changed_and_deleted() {
    on_each_database(async |gateway| {
        let created = gateway.contact("Ada", "+41791234567").await;
        let id = created["id"].as_str().unwrap();
        assert_eq!(created, json!({"id": id, "name": "Ada", "phone": "+41791234567"}));
        let path = format!("/contacts/{id}");
        assert_eq!(gateway.get(&path).await.json(), created);

        let changed = gateway.patch(&path, &json!({"name": "Ada Lovelace"})).await;
        assert_eq!(changed.status, 200);
        assert_eq!(
            changed.json(),
            json!({"id": id, "name": "Ada Lovelace", "phone": "+41791234567"})
        );
        let changed = gateway.patch(&path, &json!({"phone": "+12"})).await;
        assert_eq!(
            changed.json(),
            json!({"id": id, "name": "Ada Lovelace", "phone": "+12"})
        );

        let deleted = gateway.delete(&path).await;
        assert_eq!((deleted.status.as_u16(), deleted.body.len()), (204, 0));
        for answer in [
            gateway.get(&path).await,
            gateway.delete(&path).await,
            gateway.patch(&path, &json!({"name": "x"})).await,
        ] {
            answer.assert_not_found(id, "contact");
        }

        let events = gateway.events().await;
        let seen: Vec<_> = events
            .iter()
            .map(|event| {
                let payload: Value = serde_json::from_slice(&event.payload).unwrap();
                assert_eq!(event.key, id);
                (
                    event.event_type.as_str(),
                    event.sequence,
                    payload["action"].clone(),
                    payload["data"]["name"].clone(),
                )
            })
            .collect();
        assert_eq!(
            seen,
            [
                ("tidings.contact.created", 1, json!("create"), json!("Ada")),
                ("tidings.contact.updated", 2, json!("update"), json!("Ada Lovelace")),
                ("tidings.contact.updated", 3, json!("update"), json!("Ada Lovelace")),
                ("tidings.contact.deleted", 4, json!("delete"), json!("Ada Lovelace")),
            ]
        );
    })
    .await;
}

#[tokio::test]
async fn what_changes_nothing_is_no_event() {
    on_each_database(async |gateway| {
        let contact = gateway.contact("Ada", "+41791234567").await;
        let path = format!("/contacts/{}", contact["id"].as_str().unwrap());
        for same in [
            json!({}),
            json!({"name": "Ada"}),
            json!({"name": "Ada", "phone": "+41791234567"}),
            json!({"id": NOBODY, "unknown": [1, 2]}),
        ] {
            let answer = gateway.patch(&path, &same).await;
            assert_eq!(
                (answer.status.as_u16(), answer.json()),
                (200, contact.clone()),
                "{same}"
            );
        }
        assert_eq!(gateway.event_types().await, ["tidings.contact.created"]);
    })
    .await;
}

#[tokio::test]
async fn a_phone_belongs_to_one_contact_at_a_time() {
    on_each_database(async |gateway| {
        let ada = gateway.contact("Ada", "+41791234567").await;
        let bob = gateway.contact("Bob", "+41797654321").await;
        let taken = gateway
            .post("/contacts", &json!({"name": "Eve", "phone": "+41791234567"}))
            .await;
        assert_eq!(taken.status, 400);
        assert!(taken.error().contains("phone"), "{taken:?}");

        let bobs = format!("/contacts/{}", bob["id"].as_str().unwrap());
        let taken = gateway
            .patch(&bobs, &json!({"name": "Bobby", "phone": "+41791234567"}))
            .await;
        assert_eq!(taken.status, 400);
        assert!(taken.error().contains("phone"), "{taken:?}");
        assert_eq!(gateway.get(&bobs).await.json(), bob, "nothing of it was done");

        gateway
            .delete(&format!("/contacts/{}", ada["id"].as_str().unwrap()))
            .await;
        gateway.contact("Eve", "+41791234567").await;
        assert_eq!(gateway.events().await.len(), 4);
    })
    .await;
}

#[tokio::test]
async fn what_the_client_says_about_the_id_is_ignored() {
    on_each_database(async |gateway| {
        let body = json!({"id": NOBODY, "name": "Ada", "phone": "+41791234567", "createdAt": 5, "nested": {"a": null}});
        let answer = gateway.post("/contacts", &body).await;
        assert_eq!(answer.status, 201);
        assert_ne!(answer.json()["id"], NOBODY);
    })
    .await;
}

#[tokio::test]
async fn contacts_are_listed_in_pages_under_two_names() {
    on_each_database(async |gateway| {
        let empty = gateway.get("/contacts").await;
        assert_eq!(
            empty.json(),
            json!({"contactsList": [], "contacts": [], "pageNumber": 1, "pageSize": 10})
        );
        let mut contacts = Vec::new();
        for number in 0..12 {
            contacts.push(
                gateway
                    .contact(&format!("contact {number}"), &format!("+4179000{number:04}"))
                    .await,
            );
        }
        for (query, page, size, expected) in [
            ("", 1, 10, &contacts[..10]),
            ("?pageIndex=0", 1, 10, &contacts[..10]),
            ("?pageIndex=-3", 1, 10, &contacts[..10]),
            ("?pageIndex=2", 2, 10, &contacts[10..]),
            ("?pageIndex=3", 3, 10, &[]),
            ("?pageIndex=2&max=5", 2, 5, &contacts[5..10]),
            ("?pageIndex=two&max=many", 1, 10, &contacts[..10]),
            ("?pageIndex=&max=", 1, 10, &contacts[..10]),
            ("?max=0", 1, 10, &contacts[..10]),
            ("?max=-1", 1, 10, &contacts[..10]),
            ("?max=100000", 1, 1000, &contacts[..]),
            ("?page=2&limit=1", 1, 10, &contacts[..10]),
            ("?pageIndex=9223372036854775807&max=1000", (1_u64 << 53) - 1, 1000, &[]),
            ("?pageIndex=123456789012345678901234567890", (1_u64 << 53) - 1, 10, &[]),
        ] {
            for path in [format!("/contacts{query}"), format!("/contacts/{query}")] {
                let answer = gateway.get(&path).await;
                assert_eq!(answer.status, 200, "{path}");
                assert_eq!(
                    answer.json(),
                    json!({"contactsList": expected, "contacts": expected, "pageNumber": page, "pageSize": size}),
                    "{path}"
                );
            }
        }
    })
    .await;
}
