use serde_json::json;
use tidings_domain::{Clock, Guid, SystemClock};

use super::{LATER, path};
use crate::harness::on_each_database;

#[tokio::test]
async fn a_guid_is_registered_read_changed_and_deleted() {
    on_each_database(async |gateway| {
        let path = "/guid/9094E4C980C74043A4B586B420E69DDF";
        let created = gateway
            .post(path, &json!({"expire": LATER, "user": "Salemount Labs"}))
            .await;
        assert_eq!(created.status, 201);
        let expected = json!({"guid": "9094E4C980C74043A4B586B420E69DDF", "expire": LATER, "user": "Salemount Labs"});
        assert_eq!(created.json(), expected);
        assert!(created.text().starts_with("{\"guid\":"), "in the contract's order");
        let found = gateway.get(path).await;
        assert_eq!((found.status.as_u16(), found.json()), (200, expected.clone()));

        let changed = gateway.patch(path, &json!({"expire": "4102448400"})).await;
        let expected = json!({"guid": expected["guid"], "expire": "4102448400", "user": "Salemount Labs"});
        assert_eq!((changed.status.as_u16(), changed.json()), (200, expected.clone()));
        assert_eq!(gateway.get(path).await.json(), expected);
        let changed = gateway.patch(path, &json!({"user": "Jay Patel"})).await;
        assert_eq!(changed.json()["user"], "Jay Patel");
        assert_eq!(gateway.get(path).await.json(), changed.json());

        let deleted = gateway.delete(path).await;
        assert_eq!((deleted.status.as_u16(), deleted.body.len()), (204, 0));
        for answer in [
            gateway.get(path).await,
            gateway.patch(path, &json!({"user": "Ada"})).await,
            gateway.delete(path).await,
        ] {
            assert_eq!(answer.status, 404);
            assert!(answer.error().contains("GUID"));
        }
        assert_eq!(
            gateway.event_types().await,
            [
                "tidings.guid.created",
                "tidings.guid.updated",
                "tidings.guid.updated",
                "tidings.guid.deleted"
            ]
        );
    })
    .await;
}

#[tokio::test]
async fn without_a_guid_one_is_made_and_without_an_expiry_it_is_valid_for_thirty_days() {
    on_each_database(async |gateway| {
        let before = SystemClock.now().timestamp();
        let (one, other) = (
            gateway.guid(&json!({"user": "Jay Patel"})).await,
            gateway.guid(&json!({"user": "Jay Patel"})).await,
        );
        let after = SystemClock.now().timestamp();
        assert_ne!(one["guid"], other["guid"]);
        for record in [one, other] {
            let guid = record["guid"].as_str().unwrap();
            assert!(guid.parse::<Guid>().is_ok());
            let expire: i64 = record["expire"].as_str().unwrap().parse().unwrap();
            let days = 30 * 24 * 60 * 60;
            assert!((before + days..=after + days).contains(&expire));
            assert_eq!(gateway.get(&format!("/guid/{guid}")).await.json(), record);
        }
    })
    .await;
}

/// Integers are taken, text is given.
#[tokio::test]
async fn times_may_be_integers_and_are_answered_as_text() {
    on_each_database(async |gateway| {
        let path = path();
        let created = gateway
            .post(&path, &json!({"user": "Jay", "expire": 4_102_444_800_i64}))
            .await;
        assert_eq!(
            (created.status.as_u16(), &created.json()["expire"]),
            (201, &json!(LATER))
        );
        let changed = gateway.patch(&path, &json!({"expire": 4_102_444_801_i64})).await;
        assert_eq!(
            (changed.status.as_u16(), &changed.json()["expire"]),
            (200, &json!("4102444801"))
        );
        assert_eq!(gateway.get(&path).await.json()["expire"], "4102444801");
    })
    .await;
}

#[tokio::test]
async fn each_change_is_one_event_and_what_changes_nothing_is_none() {
    on_each_database(async |gateway| {
        let path = path();
        gateway.register(&path, "Jay").await;
        for nothing in [
            json!({}),
            json!({"user": "Jay"}),
            json!({"expire": LATER, "user": "Jay"}),
            json!({"guid": "F".repeat(32)}),
        ] {
            let answer = gateway.patch(&path, &nothing).await;
            assert_eq!((answer.status.as_u16(), &answer.json()["user"]), (200, &json!("Jay")));
        }
        let both = json!({"user": "Ada", "expire": 4_102_444_801_i64, "guid": "F".repeat(32)});
        let changed = gateway.patch(&path, &both).await.json();
        assert_eq!(
            format!("/guid/{}", changed["guid"].as_str().unwrap()),
            path,
            "never changed"
        );
        gateway.delete(&path).await;
        gateway.register(&path, "Eve").await;

        let events = gateway.events().await;
        let guid = path.strip_prefix("/guid/").unwrap();
        let seen: Vec<_> = events
            .iter()
            .map(|event| {
                assert_eq!((event.topic.as_str(), event.key.as_str()), ("guids-events", guid));
                let payload: serde_json::Value = serde_json::from_slice(&event.payload).unwrap();
                let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
                (event.sequence, text(&payload["action"]), text(&payload["data"]["user"]))
            })
            .collect();
        let expected = [
            (1, "create", "Jay"),
            (2, "update", "Ada"),
            (3, "delete", "Ada"),
            (4, "create", "Eve"),
        ];
        assert_eq!(
            seen,
            expected.map(|(sequence, action, user)| (sequence, action.to_owned(), user.to_owned()))
        );
    })
    .await;
}

#[tokio::test]
async fn a_guid_that_exists_is_not_registered_again() {
    on_each_database(async |gateway| {
        let path = path();
        gateway.register(&path, "Jay").await;
        let again = gateway.post(&path, &json!({"user": "Ada"})).await;
        assert_eq!(again.status, 409);
        assert!(again.error().contains("exists"));
        assert_eq!(gateway.user_of(&path).await.as_deref(), Some("Jay"));
        assert_eq!(gateway.events().await.len(), 1);
    })
    .await;
}
