use serde_json::json;
use tidings_testkit::eventually;

use super::path;
use crate::harness::on_each_database;

const REPLAYED: &str = "idempotency-replayed";

#[tokio::test]
async fn a_repetition_is_answered_as_the_first_time() {
    on_each_database(async |gateway| {
        let body = json!({"user": "Jay"});
        let existing = path();
        for path in ["/guid", &existing] {
            let first = gateway.post_once(path, "key", &body).await;
            assert_eq!((first.status.as_u16(), first.header(REPLAYED)), (201, None));
            for end in ["", "/"] {
                let again = gateway.post_once(&format!("{path}{end}"), "key", &body).await;
                assert_eq!((again.status.as_u16(), again.header(REPLAYED)), (201, Some("true")));
                assert_eq!(again.body, first.body);
            }
            let reused = gateway.post_once(path, "key", &json!({"user": "Ada"})).await;
            assert_eq!(
                (reused.status.as_u16(), reused.error().contains("Idempotency-Key")),
                (422, true)
            );
        }
        // The key belongs to what is asked for, the GUID included.
        let other = gateway.post_once(&path(), "key", &body).await;
        assert_eq!((other.status.as_u16(), other.header(REPLAYED)), (201, None));
        let bad = gateway.post_once("/guid", "a b", &body).await;
        assert_eq!(
            (bad.status.as_u16(), bad.error().contains("Idempotency-Key")),
            (400, true)
        );
        // What was refused may be corrected under the same key.
        let refused = gateway.post_once(&existing, "another", &body).await;
        assert_eq!(refused.status, 409);
        gateway.delete(&existing).await;
        assert_eq!(gateway.post_once(&existing, "another", &body).await.status, 201);
        assert_eq!(gateway.events().await.len(), 5);
    })
    .await;
}

#[tokio::test]
async fn what_fails_for_want_of_the_database_can_be_sent_again() {
    on_each_database(async |gateway| {
        let (path, body) = (path(), json!({"user": "Jay"}));
        let outage = gateway.database.outage().await;
        let answer = gateway.post_once(&path, "key", &body).await;
        assert_eq!(answer.status, 503, "{answer:?}");
        assert!(answer.error().contains("database"));
        outage.end().await;
        let done = eventually("the database is back", async || {
            let answer = gateway.post_once(&path, "key", &body).await;
            if answer.status == 201 {
                Ok(answer)
            } else {
                Err(answer.status)
            }
        })
        .await;
        assert_eq!(done.header(REPLAYED), None, "the first one did nothing");
        assert_eq!(gateway.event_types().await, ["tidings.guid.created"]);
    })
    .await;
}
