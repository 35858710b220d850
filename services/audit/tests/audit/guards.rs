//! What the database refuses by itself.

use tidings_storage::{ConnectionTrait, Db, Error};
use tidings_testkit::databases;

use crate::tampering::recorded;

async fn attempt(db: &Db, sql: &'static str) -> Result<(), Error> {
    db.write(move |tx| {
        Box::pin(async move {
            tx.conn().execute_unprepared(sql).await?;
            Ok(())
        })
    })
    .await
}

#[tokio::test]
async fn the_database_refuses_every_change() {
    for database in databases().await {
        let before = recorded(&database, 3).await;
        let mut refused = vec![
            "UPDATE audit_log SET actor = 'nobody' WHERE seq = 2",
            "UPDATE audit_log SET seq = seq + 10",
            "DELETE FROM audit_log WHERE seq = 3",
            "DELETE FROM audit_log",
            "INSERT INTO audit_log SELECT * FROM audit_log WHERE seq = 1",
            "INSERT INTO audit_log SELECT * FROM audit_log WHERE seq = 1 ON CONFLICT (seq) DO UPDATE SET actor = 'nobody'",
        ];
        refused.extend(match database.name {
            "SQLite" => [
                "REPLACE INTO audit_log SELECT seq, event_id, occurred_at, recorded_at, 'nobody', action, resource, \
                 data_hash, prev_hash, hash, record FROM audit_log WHERE seq = 2",
                "INSERT OR REPLACE INTO audit_log SELECT 9, event_id, occurred_at, recorded_at, 'nobody', action, \
                 resource, data_hash, prev_hash || 'x', hash, record FROM audit_log WHERE seq = 2",
                "INSERT OR REPLACE INTO audit_log SELECT 9, event_id || 'x', occurred_at, recorded_at, 'nobody', \
                 action, resource, data_hash, prev_hash, hash, record FROM audit_log WHERE seq = 2",
            ]
            .as_slice(),
            _ => ["TRUNCATE audit_log", "TRUNCATE audit_log CASCADE"].as_slice(),
        });
        for sql in refused {
            let error = attempt(&database.db, sql).await.expect_err(sql);
            assert!(
                matches!(error, Error::Refused(_) | Error::Conflict(_)),
                "{sql}: {error:?}"
            );
        }
        let after = tidings_storage::audit::list(database.db.read(), 0, 10).await.unwrap();
        assert_eq!(after, before, "on {}", database.name);
    }
}
