//! What `verify` finds when someone has taken the database's guards away.

use chrono::TimeDelta;
use tidings_audit::{Broken, Problem, Progress, Report, VerifyError, chain, verify};
use tidings_domain::{Clock, SystemClock};
use tidings_storage::Error;
use tidings_storage::audit::{self, Record};
use tidings_testkit::{TestDatabase, databases};

/// A log of that many records.
pub(crate) async fn recorded(database: &TestDatabase, count: i64) -> Vec<Record> {
    let mut records: Vec<Record> = Vec::new();
    for seq in 1..=count {
        let prev_hash = records.last().map_or(chain::GENESIS, |last| &last.hash).to_owned();
        records.push(sealed(Record {
            seq,
            event_id: format!("event-{seq}"),
            occurred_at: SystemClock.now() - TimeDelta::seconds(1),
            recorded_at: SystemClock.now(),
            actor: (seq % 2 == 0).then(|| "default".to_owned()),
            action: "tidings.contact.created".to_owned(),
            resource: format!("contacts-events/{seq}"),
            data_hash: "ab".repeat(32),
            prev_hash,
            hash: String::new(),
            canonical: Vec::new(),
        }));
    }
    for part in records.chunks(200) {
        let part = part.to_vec();
        let appended = database.db.write(move |tx| {
            Box::pin(async move {
                audit::lock_head(tx).await?;
                audit::append(tx, part).await
            })
        });
        appended.await.map_err(|error: Error| error).unwrap();
    }
    records
}

fn sealed(mut record: Record) -> Record {
    record.canonical = chain::canonical(&record).unwrap();
    record.hash = chain::link(&record.prev_hash, &record.canonical);
    record
}

/// Lets the log be changed.
async fn unguard(database: &TestDatabase) {
    match database.name {
        "SQLite" => {
            for trigger in ["replace", "update", "delete"] {
                database.tamper(&format!("DROP TRIGGER audit_log_no_{trigger}")).await;
            }
        }
        _ => drop(database.tamper("ALTER TABLE audit_log DISABLE TRIGGER ALL").await),
    }
}

/// Databases with ten records and without guards, each changed by these statements.
async fn tampered(statements: &[&str]) -> Vec<(TestDatabase, Vec<Record>)> {
    let mut all = Vec::new();
    for database in databases().await {
        let records = recorded(&database, 10).await;
        unguard(&database).await;
        for sql in statements {
            assert!(database.tamper(sql).await > 0, "{sql} changed nothing");
        }
        all.push((database, records));
    }
    all
}

async fn sound(database: &TestDatabase, anchor: Option<&str>) -> Report {
    verify(&database.db, anchor, |_| {}).await.unwrap()
}

async fn broken(database: &TestDatabase, anchor: Option<&str>) -> Broken {
    match verify(&database.db, anchor, |_| {}).await {
        Err(VerifyError::Broken(broken)) => broken,
        other => panic!("{other:?} on {}", database.name),
    }
}

/// After these statements the chain is broken at this record, in this way.
type Case<'a> = (&'a [&'a str], i64, Problem);

/// Tries one case after the other on the same databases.
async fn found(cases: &[Case<'_>]) {
    for (database, _) in tampered(&[]).await {
        for (statements, seq, problem) in cases {
            let records = begin_anew(&database).await;
            for sql in *statements {
                assert!(database.tamper(sql).await > 0, "{sql} changed nothing");
            }
            let broken = broken(&database, None).await;
            assert_eq!(
                (broken.seq, &broken.problem),
                (*seq, problem),
                "{statements:?} on {}",
                database.name
            );
            let sound = records.iter().find(|record| record.seq == broken.sound.seq);
            assert_eq!(sound.map_or(chain::GENESIS, |record| &record.hash), broken.sound.hash);
        }
    }
}

async fn begin_anew(database: &TestDatabase) -> Vec<Record> {
    database.tamper("DELETE FROM audit_log").await;
    database.tamper("DELETE FROM audit_head").await;
    let head = format!("INSERT INTO audit_head VALUES (1, 0, '{}')", chain::GENESIS);
    database.tamper(&head).await;
    recorded(database, 10).await
}

#[tokio::test]
async fn a_changed_column_is_named() {
    let cases = [
        ("event_id = 'event-x'", "event_id"),
        (
            "occurred_at = recorded_at, recorded_at = '2020-01-01T00:00:00+00:00'",
            "occurred_at",
        ),
        ("recorded_at = '2020-01-01T00:00:00+00:00'", "recorded_at"),
        ("actor = 'nobody'", "actor"),
        ("actor = NULL", "actor"),
        ("action = 'tidings.contact.updated'", "action"),
        ("resource = 'contacts-events/5'", "resource"),
        ("data_hash = hash", "data_hash"),
    ];
    for (database, _) in tampered(&[]).await {
        for (assignment, field) in cases {
            begin_anew(&database).await;
            let sql = format!("UPDATE audit_log SET {assignment} WHERE seq = 4");
            assert_eq!(database.tamper(&sql).await, 1);
            let broken = broken(&database, None).await;
            assert_eq!((broken.seq, broken.event_id.is_some()), (4, true));
            assert_eq!(
                broken.problem,
                Problem::Changed { field },
                "{assignment} on {}",
                database.name
            );
        }
    }
}

#[tokio::test]
async fn a_changed_hash_or_link_is_found() {
    found(&[
        (
            &["UPDATE audit_log SET hash = data_hash WHERE seq = 4"],
            4,
            Problem::Hash,
        ),
        (
            &["UPDATE audit_log SET prev_hash = data_hash WHERE seq = 4"],
            4,
            Problem::NotLinked,
        ),
        (
            &["UPDATE audit_log SET hash = data_hash WHERE seq = 10"],
            10,
            Problem::Hash,
        ),
    ])
    .await;
}

#[tokio::test]
async fn changed_bytes_are_found() {
    for (database, records) in tampered(&[]).await {
        let mut bytes = records[6].canonical.clone();
        let last = bytes.len() - 3;
        bytes[last] = b'0';
        let bytes = hex::encode(bytes);
        let literal = match database.name {
            "SQLite" => format!("X'{bytes}'"),
            _ => format!("'\\x{bytes}'"),
        };
        database
            .tamper(&format!("UPDATE audit_log SET record = {literal} WHERE seq = 7"))
            .await;
        let broken = broken(&database, None).await;
        assert_eq!((broken.seq, broken.event_id.as_deref()), (7, Some("event-7")));
        assert_eq!(broken.problem, Problem::Changed { field: "record" });
    }
}

#[tokio::test]
async fn a_removed_record_is_missed() {
    // The last of them numbers the rest anew, so that no gap is left.
    let closed = [
        "DELETE FROM audit_log WHERE seq = 9",
        "UPDATE audit_log SET seq = 9 WHERE seq = 10",
        "UPDATE audit_head SET seq = 9",
    ];
    found(&[
        (
            &["DELETE FROM audit_log WHERE seq = 5"],
            5,
            Problem::Missing { found: 6 },
        ),
        (
            &["DELETE FROM audit_log WHERE seq = 1"],
            1,
            Problem::Missing { found: 2 },
        ),
        (&closed, 9, Problem::NotLinked),
    ])
    .await;
}

#[tokio::test]
async fn an_inserted_or_moved_record_is_found() {
    let before = "INSERT INTO audit_log SELECT seq - 1, 'event-x', occurred_at, recorded_at, actor, action, \
                  resource, data_hash, 'x', hash, record FROM audit_log WHERE seq = 1";
    let behind = "INSERT INTO audit_log SELECT 11, 'event-x', occurred_at, recorded_at, actor, action, resource, \
                  data_hash, hash, hash, record FROM audit_log WHERE seq = 10";
    let swap = [
        "UPDATE audit_log SET seq = 99 WHERE seq = 3",
        "UPDATE audit_log SET seq = 3 WHERE seq = 6",
        "UPDATE audit_log SET seq = 6 WHERE seq = 99",
    ];
    found(&[
        (&[before], 1, Problem::Missing { found: 0 }),
        (&[behind], 11, Problem::Hash),
        (&swap, 3, Problem::NotLinked),
    ])
    .await;
}

#[tokio::test]
async fn a_cut_end_shows_in_the_head_or_against_an_anchor() {
    found(&[
        (&["DELETE FROM audit_log WHERE seq > 7"], 8, Problem::Cut { head: 10 }),
        (&["DELETE FROM audit_log"], 1, Problem::Cut { head: 10 }),
        (&["UPDATE audit_head SET seq = 9"], 10, Problem::Head { head: 9 }),
        (&["DELETE FROM audit_head"], 0, Problem::NoHead),
    ])
    .await;

    let cut = [
        "DELETE FROM audit_log WHERE seq > 7",
        "UPDATE audit_head SET seq = 7, hash = (SELECT hash FROM audit_log WHERE seq = 7)",
    ];
    for (database, records) in tampered(&cut).await {
        let unanchored = sound(&database, None).await;
        assert_eq!(unanchored.anchored, None);
        assert!(unanchored.to_string().contains("not checked"), "{unanchored}");

        let later = &records[8].hash;
        let broken = broken(&database, Some(later)).await;
        assert_eq!(
            (broken.seq, broken.problem),
            (7, Problem::NotAnchored { anchor: later.clone() })
        );

        let earlier = records[4].hash.to_uppercase();
        let anchored = sound(&database, Some(&earlier)).await;
        assert_eq!((anchored.head.seq, anchored.anchored), (7, Some(5)));
    }
}

/// Whoever computes everything anew deceives all but those who know an old hash.
#[tokio::test]
async fn a_chain_that_was_computed_anew_lacks_the_anchor() {
    for (database, records) in tampered(&[]).await {
        let mut last = records[8].clone();
        last.actor = Some("nobody".to_owned());
        for mut record in [last, records[9].clone()] {
            if record.seq == 10 {
                record.prev_hash = hash_of(&database, 9).await;
            }
            let record = sealed(record);
            let form = hex::encode(&record.canonical);
            let form = match database.name {
                "SQLite" => format!("X'{form}'"),
                _ => format!("'\\x{form}'"),
            };
            let actor = record.actor.as_deref().unwrap_or_default();
            let sql = format!(
                "UPDATE audit_log SET actor = '{actor}', prev_hash = '{}', hash = '{}', record = {form} WHERE seq = {}",
                record.prev_hash, record.hash, record.seq
            );
            assert_eq!(database.tamper(&sql).await, 1);
        }
        let head = hash_of(&database, 10).await;
        database.tamper(&format!("UPDATE audit_head SET hash = '{head}'")).await;

        assert_eq!(sound(&database, None).await.head.hash, head);
        assert_eq!(sound(&database, Some(&records[7].hash)).await.anchored, Some(8));
        let broken = broken(&database, Some(&records[9].hash)).await;
        let anchor = records[9].hash.clone();
        assert_eq!(broken.problem, Problem::NotAnchored { anchor });
    }
}

async fn hash_of(database: &TestDatabase, seq: i64) -> String {
    let record = audit::list(database.db.read(), seq - 1, 1).await.unwrap().remove(0);
    record.hash
}

#[tokio::test]
async fn what_cannot_be_read_is_named() {
    let database = TestDatabase::sqlite().await;
    recorded(&database, 10).await;
    unguard(&database).await;
    database
        .tamper("UPDATE audit_log SET occurred_at = 'yesterday' WHERE seq = 6")
        .await;
    let broken = broken(&database, None).await;
    assert_eq!(broken.seq, 6);
    assert!(matches!(broken.problem, Problem::Unreadable { .. }), "{broken}");
}

#[tokio::test]
async fn a_long_chain_is_read_page_by_page() {
    for database in databases().await {
        let records = recorded(&database, 2_300).await;
        let mut told = Vec::new();
        let anchor = records[1_999].hash.as_str();
        let report = verify(&database.db, Some(anchor), |progress| told.push(progress))
            .await
            .unwrap();
        assert_eq!(report.anchored, Some(2_000));
        let pages = [1_000, 2_000, 2_300].map(|seq| Progress { seq, of: 2_300 });
        assert_eq!(told, pages);
    }
}

#[tokio::test]
async fn what_is_not_a_hash_is_not_searched_for() {
    let database = TestDatabase::sqlite().await;
    for text in ["", "abc", &"g".repeat(64), &"0".repeat(65)] {
        let error = verify(&database.db, Some(text), |_| {}).await.expect_err(text);
        assert!(matches!(error, VerifyError::Anchor(_)));
    }
}
