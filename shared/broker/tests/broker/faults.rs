//! What goes wrong: at the start, in the database, in what clients send.

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::*;
use sqlx::Connection;
use tidings_broker::{Broker, Config, Error};

use crate::support::Running;
use crate::wire::{batch, produce};

/// A message that one line of a log or a terminal can hold.
fn line(error: &Error) -> String {
    let line = error.to_string();
    assert!(!line.contains('\n') && line.len() < 300, "{line}");
    line
}

#[tokio::test(flavor = "multi_thread")]
async fn what_keeps_it_from_starting_is_told_in_one_line() {
    let broker = Running::start().await;
    let other = tempfile::tempdir().unwrap();
    let start = async |config: &Config| Broker::start(config.clone()).await.unwrap_err();

    let taken = Config::new(broker.broker.addr(), other.path());
    let error = start(&taken).await;
    assert!(
        matches!(error, Error::AddressInUse { addr } if addr == taken.listen),
        "{error:?}"
    );
    assert!(line(&error).starts_with(&format!("{} is already in use", taken.listen)));

    // An address of the range that is reserved for documentation, so no machine's.
    let elsewhere = Config::new(([192, 0, 2, 1], 0).into(), other.path());
    let error = start(&elsewhere).await;
    assert!(matches!(error, Error::Listen { .. }), "{error:?}");
    line(&error);

    let error = start(&broker.config).await;
    assert!(
        matches!(&error, Error::DataDirInUse { path } if path == broker.dir.path()),
        "{error:?}"
    );
    assert!(line(&error).contains("in use by another process"));

    let occupied = other.path().join("file");
    std::fs::write(&occupied, "").unwrap();
    let error = start(&Config::new(([127, 0, 0, 1], 0).into(), &occupied)).await;
    assert!(
        matches!(&error, Error::DataDir { path, .. } if *path == occupied),
        "{error:?}"
    );
    assert!(line(&error).contains(&occupied.display().to_string()));

    let mut none = broker.config.clone();
    none.default_partitions = 0;
    let error = start(&none).await;
    assert_eq!(line(&error), "default_partitions must be between 1 and 1000, not 0");

    let config = broker.config.clone();
    let dir = broker.dir;
    broker.broker.shutdown().await;
    let path = dir.path().join("broker.db");
    let mut db = sqlx::SqliteConnection::connect(&format!("sqlite://{}", path.display()))
        .await
        .unwrap();
    sqlx::raw_sql("PRAGMA user_version = 99")
        .execute(&mut db)
        .await
        .unwrap();
    db.close().await.unwrap();
    let error = start(&config).await;
    assert!(
        matches!(
            &error,
            Error::Newer {
                found: 99,
                known: 1,
                ..
            }
        ),
        "{error:?}"
    );
    assert!(line(&error).contains("newer version"));

    // What the last connection left behind would be read instead.
    for leftover in ["broker.db-wal", "broker.db-shm"] {
        let _ = std::fs::remove_file(dir.path().join(leftover));
    }
    std::fs::write(&path, "this is no database ".repeat(100)).unwrap();
    let error = start(&config).await;
    assert!(matches!(&error, Error::Database { .. }), "{error:?}");
    assert!(line(&error).contains(&path.display().to_string()));
    assert!(
        std::error::Error::source(&error)
            .unwrap()
            .to_string()
            .contains("not a database")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_write_is_reported_and_got_over() {
    let broker = Running::start().await;
    let mut c = broker.connect().await;
    c.create("t", 1, &[]).await;
    assert_eq!(c.produce("t", batch(1, (1, 0, 0))).await, (0, 0));
    // Ends the transaction from within, as SQLite does when the disk is full.
    let path = format!("sqlite://{}", broker.dir.path().join("broker.db").display());
    let mut db = sqlx::SqliteConnection::connect(&path).await.unwrap();
    let trigger = "CREATE TRIGGER full BEFORE INSERT ON batches BEGIN SELECT raise(ROLLBACK, 'full'); END";
    sqlx::raw_sql(trigger).execute(&mut db).await.unwrap();
    for _ in 0..3 {
        assert_eq!(
            c.produce("t", batch(1, (1, 0, 1))).await.0,
            ResponseError::KafkaStorageError.code()
        );
    }
    assert_eq!(c.offset("t", -1).await, 1);
    sqlx::raw_sql("DROP TRIGGER full").execute(&mut db).await.unwrap();
    assert_eq!(c.produce("t", batch(1, (1, 0, 1))).await, (0, 1));
    assert_eq!(c.produce("t", batch(1, (1, 0, 1))).await, (0, 1), "a duplicate");
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_overtakes_a_batch_whose_commit_failed() {
    let broker = Running::start().await;
    let mut c = broker.connect().await;
    c.create("t", 1, &[]).await;
    let id = c.producer_id().await;
    assert!(id > 0);
    // The insert works, the commit does not.
    let path = format!("sqlite://{}", broker.dir.path().join("broker.db").display());
    let mut db = sqlx::SqliteConnection::connect(&path).await.unwrap();
    let broken = "CREATE TABLE orphans (parent INTEGER REFERENCES none (id) DEFERRABLE INITIALLY DEFERRED); \
         CREATE TABLE none (id INTEGER PRIMARY KEY); \
         CREATE TRIGGER orphan AFTER INSERT ON batches BEGIN INSERT INTO orphans VALUES (1); END";
    sqlx::raw_sql(broken).execute(&mut db).await.unwrap();
    let (failed, gap) = (
        ResponseError::KafkaStorageError.code(),
        ResponseError::OutOfOrderSequenceNumber.code(),
    );
    assert_eq!(c.produce("t", batch(2, (id, 0, 0))).await.0, failed);
    sqlx::raw_sql("DROP TRIGGER orphan").execute(&mut db).await.unwrap();
    // In flight behind it, then its retry, pipelined.
    let rest = [(2, failed), (3, failed), (0, 0), (2, 0), (3, 0), (5, gap), (0, 0)];
    for (sequence, _) in rest {
        let count = if sequence == 0 { 2 } else { 1 };
        c.send(9, &produce("t", batch(count, (id, 0, sequence)))).await;
    }
    for (sequence, error) in rest {
        let response = c.receive::<ProduceRequest>(9).await;
        let p = &response.responses[0].partition_responses[0];
        let offset = if error == 0 { i64::from(sequence) } else { -1 };
        assert_eq!((p.error_code, p.base_offset), (error, offset), "sequence {sequence}");
    }
    assert_eq!(c.offset("t", -1).await, 4);
    broker.stop().await;
}
