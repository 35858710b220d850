use serde_json::{Value, json};

use super::{COLLECTION, ITEM, USERS, user, with};
use crate::harness::on_each_database;

#[tokio::test]
async fn a_user_is_created_read_changed_and_deleted() {
    on_each_database(async |gateway| {
        let answer = gateway.post(USERS, &user("Serge", "Karamazov")).await;
        assert_eq!(answer.status, 201);
        let created = answer.json();
        let id = created["id"].as_i64().unwrap();
        let url = format!("http://{}{USERS}/{id}", gateway.addr);
        let shown = |address: &str| {
            json!({
                "url": url,
                "id": id,
                "first_name": "Serge",
                "last_name": "Karamazov",
                "email": "skaramazov@example.com",
                "address": address,
            })
        };
        assert_eq!(created, shown(""));
        for (name, value) in [("location", &url[..]), ("allow", COLLECTION), ("vary", "Accept")] {
            assert_eq!(answer.header(name), Some(value), "{name}");
        }

        let path = gateway.path(&created);
        let read = gateway.get(&path).await;
        assert_eq!((read.status.as_u16(), read.json()), (200, shown("")));
        assert_eq!(
            (read.header("allow"), read.header("vary")),
            (Some(ITEM), Some("Accept"))
        );

        let patched = gateway.patch(&path, &json!({"address": "NYC"})).await;
        assert_eq!((patched.status.as_u16(), patched.json()), (200, shown("NYC")));
        // Without an address the one that there is stays.
        let body = with(user("Serge", "Karamazov"), json!({"address": null}));
        let put = gateway.put(&path, &body).await;
        assert_eq!((put.status.as_u16(), put.json()), (200, shown("NYC")));
        let put = gateway.put(&path, &with(body, json!({"address": "Paris"}))).await;
        assert_eq!(put.json(), shown("Paris"));

        let deleted = gateway.delete(&path).await;
        assert_eq!((deleted.status.as_u16(), deleted.body.len()), (204, 0));
        assert_eq!(deleted.header("allow"), Some(ITEM));
        for answer in [
            gateway.get(&path).await,
            gateway.delete(&path).await,
            gateway.patch(&path, &json!({"address": "NYC"})).await,
            gateway.put(&path, &user("Serge", "Karamazov")).await,
        ] {
            assert_eq!(
                (answer.status.as_u16(), answer.detail()),
                (404, "Not found.".to_owned())
            );
            assert_eq!(answer.header("allow"), Some(ITEM));
        }
        assert_eq!(gateway.user_count().await, 0);

        // One event for each success, and none for anything else.
        let events = gateway.events().await;
        let seen: Vec<_> = events
            .iter()
            .map(|event| {
                assert_eq!((event.topic.as_str(), &event.key), ("users-events", &id.to_string()));
                let payload: Value = serde_json::from_slice(&event.payload).unwrap();
                (event.event_type.as_str(), event.sequence, payload)
            })
            .collect();
        let event = |action: &str, address: &str| json!({"action": action, "data": shown(address)});
        assert_eq!(
            seen,
            [
                ("tidings.user.created", 1, event("create", "")),
                ("tidings.user.updated", 2, event("update", "NYC")),
                ("tidings.user.updated", 3, event("update", "NYC")),
                ("tidings.user.updated", 4, event("update", "Paris")),
                ("tidings.user.deleted", 5, event("delete", "Paris")),
            ]
        );
    })
    .await;
}

#[tokio::test]
async fn any_subset_can_be_changed() {
    on_each_database(async |gateway| {
        let mut expected = gateway.user(&user("Serge", "Karamazov")).await;
        let path = gateway.path(&expected);
        for (field, value) in [
            ("first_name", "Odile"),
            ("last_name", "Deray"),
            ("email", "odile@example.com"),
            ("address", "Cannes"),
            ("address", ""),
        ] {
            let answer = gateway.patch(&path, &json!({field: value})).await;
            expected[field] = json!(value);
            assert_eq!(
                (answer.status.as_u16(), answer.json()),
                (200, expected.clone()),
                "{field}"
            );
        }
        for same in [
            json!({}),
            json!({"password": "another"}),
            json!({"id": 7, "url": 7, "unknown": [1]}),
        ] {
            let answer = gateway.patch(&path, &same).await;
            assert_eq!(
                (answer.status.as_u16(), answer.json()),
                (200, expected.clone()),
                "{same}"
            );
        }
        assert_eq!(gateway.events().await.len(), 9, "one each");
    })
    .await;
}

#[tokio::test]
async fn an_email_belongs_to_one_user_at_a_time() {
    on_each_database(async |gateway| {
        let taken = json!({"email": ["user with this email already exists."]});
        let serge = gateway.user(&user("Serge", "Karamazov")).await;
        let odile = gateway.user(&user("Odile", "Deray")).await;
        for answer in [
            gateway
                .post(
                    USERS,
                    &with(user("Simon", "Jeremi"), json!({"email": " skaramazov@example.com "})),
                )
                .await,
            gateway
                .patch(&gateway.path(&odile), &json!({"email": "skaramazov@example.com"}))
                .await,
            gateway
                .put(
                    &gateway.path(&odile),
                    &with(user("Odile", "Deray"), json!({"email": serge["email"]})),
                )
                .await,
        ] {
            assert_eq!((answer.status.as_u16(), answer.json()), (400, taken.clone()));
        }
        // One's own is not somebody else's, and another case is another email.
        for body in [
            json!({"email": serge["email"]}),
            json!({"email": "SKaramazov@example.com"}),
        ] {
            assert_eq!(gateway.patch(&gateway.path(&serge), &body).await.status, 200);
        }
        let again = gateway.user(&user("Serge", "Karamazov")).await;
        assert_ne!(again["id"], serge["id"]);
        // Free again once its user is gone; nobody gets the id again.
        assert_eq!(gateway.delete(&gateway.path(&again)).await.status, 204);
        let next = gateway.user(&user("Serge", "Karamazov")).await;
        assert!(next["id"].as_i64() > again["id"].as_i64());
        assert_eq!(gateway.user_count().await, 3);
    })
    .await;
}

#[tokio::test]
async fn of_many_users_with_one_email_one_is_created() {
    on_each_database(async |gateway| {
        let bodies: Vec<_> = (0..12)
            .map(|number| {
                with(
                    user("Serge", "Karamazov"),
                    json!({"first_name": format!("number {number}")}),
                )
            })
            .collect();
        let answers = futures_util::future::join_all(bodies.iter().map(|body| gateway.post(USERS, body))).await;
        let created: Vec<_> = answers.iter().filter(|answer| answer.status == 201).collect();
        assert_eq!(created.len(), 1);
        for refused in answers.iter().filter(|answer| answer.status != 201) {
            assert_eq!(
                (refused.status.as_u16(), refused.json()),
                (400, json!({"email": ["user with this email already exists."]}))
            );
        }
        assert_eq!(gateway.get(USERS).await.json()["results"], json!([created[0].json()]));
        assert_eq!(gateway.events().await.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn of_two_changes_to_one_email_one_is_refused() {
    on_each_database(async |gateway| {
        let mut paths = Vec::new();
        for name in ["Serge", "Odile", "Simon", "Emile"] {
            paths.push(gateway.path(&gateway.user(&user(name, name)).await));
        }
        let change = json!({"email": "one@example.com"});
        let answers = futures_util::future::join_all(paths.iter().map(|path| gateway.patch(path, &change))).await;
        let mut statuses: Vec<_> = answers.iter().map(|answer| answer.status.as_u16()).collect();
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 400, 400, 400]);
        assert_eq!(gateway.events().await.len(), 5);
    })
    .await;
}

#[tokio::test]
async fn nothing_personal_is_left_of_a_deleted_user() {
    on_each_database(async |gateway| {
        let created = gateway.user(&with(user("Serge", "Karamazov"), json!({"address": "Paris"}))).await;
        assert_eq!(gateway.delete(&gateway.path(&created)).await.status, 204);
        let left = "UPDATE users SET version = version WHERE deleted_at IS NOT NULL AND first_name || last_name || email \
                    || address || password_hash || email_folded || last_name_folded || address_words = ''";
        assert_eq!(gateway.database.tamper(left).await, 1);
    })
    .await;
}
