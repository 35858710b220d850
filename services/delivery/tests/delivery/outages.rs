use std::time::Duration;

use bytes::Bytes;
use tidings_delivery::{GROUP, ReplayError, replay};
use tidings_domain::MessageStatus;
use tidings_storage::{Db, Location, dead_letters};
use tidings_testkit::{Behavior, TestDatabase, WebhookReceiver, eventually};

use crate::receivers::{Gate, Wire};
use crate::stage::{AMPLE, Stage, on_each_database};

/// The same database over a wire that can be cut; `None` where there is none.
async fn over_a_wire(database: &TestDatabase) -> Option<(Wire, Db)> {
    let Location::Postgres(_) = &database.location else {
        return None;
    };
    let mut url: url::Url = database.url().parse().unwrap();
    let wire = Wire::to(url.socket_addrs(|| None).unwrap()[0]).await;
    url.set_host(Some("127.0.0.1")).unwrap();
    url.set_port(Some(wire.port())).unwrap();
    let location = Location::Postgres(url.to_string().into());
    let db = Db::open::<sea_orm::DbErr, _>(&location, async |_| Ok(()))
        .await
        .unwrap();
    Some((wire, db))
}

async fn nothing_is_set_aside(stage: &Stage) {
    assert_eq!(dead_letters::count(stage.db.read()).await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_away_sets_nothing_aside() {
    on_each_database(async |stage| {
        let Some((wire, db)) = over_a_wire(&stage.database).await else {
            return;
        };
        let receiver = WebhookReceiver::start(Behavior::Acknowledge).await;
        stage.default_endpoint(&receiver.url()).await;
        let service = stage.run_with(db, "0s,50ms", AMPLE);
        let (first, _) = stage.send().await;
        stage.message_becomes(first.id, MessageStatus::Delivered).await;
        wire.cut();
        let sent = stage.send_many(20).await;
        // It has tried, in vain.
        wire.turned_away(3).await;
        wire.mend();
        for id in sent {
            stage.message_becomes(id, MessageStatus::Delivered).await;
        }
        service.stop().await;
        nothing_is_set_aside(&stage).await;
        assert_eq!(receiver.counts().values().max(), Some(&1));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_database_refuses_is_not_the_records_fault() {
    on_each_database(async |stage| {
        let receiver = WebhookReceiver::start(Behavior::Acknowledge).await;
        stage.default_endpoint(&receiver.url()).await;
        let service = stage.run("0s,50ms");
        let (first, _) = stage.send().await;
        stage.message_becomes(first.id, MessageStatus::Delivered).await;
        let metrics = tidings_runtime::telemetry::install_metrics();
        let retries = || {
            let text = metrics.render();
            let line = text
                .lines()
                .find(|line| line.starts_with("tidings_consumer_retries_total{"));
            line.and_then(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
                .unwrap_or_default()
        };
        stage
            .database
            .tamper("ALTER TABLE deliveries RENAME TO elsewhere")
            .await;
        let before = retries();
        let (second, _) = stage.send().await;
        eventually("it is tried again", async || match retries() {
            now if now > before => Ok(()),
            now => Err(now),
        })
        .await;
        stage
            .database
            .tamper("ALTER TABLE elsewhere RENAME TO deliveries")
            .await;
        stage.message_becomes(second.id, MessageStatus::Delivered).await;
        service.stop().await;
        nothing_is_set_aside(&stage).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outcome_is_recorded_when_the_database_is_back() {
    on_each_database(async |stage| {
        let Some((wire, db)) = over_a_wire(&stage.database).await else {
            return;
        };
        let receiver = Gate::holding(1).await;
        stage.default_endpoint(receiver.url()).await;
        let service = stage.run_with(db, "0s,50ms", AMPLE);
        let (message, _) = stage.send().await;
        receiver.has(1).await;
        wire.cut();
        receiver.open(200);
        wire.turned_away(3).await;
        wire.mend();
        stage.message_becomes(message.id, MessageStatus::Delivered).await;
        service.stop().await;
        assert_eq!(receiver.arrived(), 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_set_aside_and_can_be_replayed() {
    on_each_database(async |mut stage| {
        let receiver = WebhookReceiver::start(Behavior::Acknowledge).await;
        stage.default_endpoint(&receiver.url()).await;
        stage.stop_relay().await;
        let (damaged, event) = stage.send().await;
        let (sound, _) = stage.send().await;
        stage
            .database
            .tamper(&format!(
                "UPDATE events SET key = 'not-an-id' WHERE id = {}",
                literal(&stage, event)
            ))
            .await;
        stage.start_relay();
        let service = stage.run("0s,50ms");
        stage.message_becomes(sound.id, MessageStatus::Delivered).await;
        let letter = eventually("the record is set aside", async || {
            dead_letters::list(stage.db.read(), 10)
                .await
                .unwrap()
                .pop()
                .ok_or("none")
        })
        .await;
        assert_eq!(letter.consumer, GROUP);
        assert_eq!(letter.reason, "the key of a queued message is not a message's id");
        let again = replay(&stage.db, &stage.clock, &letter.record).await;
        assert!(matches!(again, Err(ReplayError::Rejected(_))));

        // As it is after whatever was wrong has been put right.
        let mut record = letter.record;
        record.key = Some(Bytes::from(damaged.id.to_string()));
        assert_eq!(replay(&stage.db, &stage.clock, &record).await.unwrap(), 1);
        stage.message_becomes(damaged.id, MessageStatus::Delivered).await;
        service.stop().await;
    })
    .await;
}

/// An id as the database writes it.
fn literal(stage: &Stage, event: tidings_domain::EventId) -> String {
    match &stage.database.location {
        Location::Sqlite(_) => format!("x'{}'", event.as_uuid().simple()),
        Location::Postgres(_) => format!("'{event}'"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_type_that_nobody_knows_is_no_error() {
    on_each_database(async |stage| {
        let (default, other) = (
            WebhookReceiver::start(Behavior::Acknowledge).await,
            WebhookReceiver::start(Behavior::Acknowledge).await,
        );
        stage.default_endpoint(&default.url()).await;
        stage.endpoint_for(&other.url(), "*").await;
        let (_, event) = stage.send().await;
        let mut record = stage.record_of(event).await;
        for (name, value) in &mut record.headers {
            if name == "ce_type" {
                *value = Bytes::from_static(b"tidings.message.archived");
            }
        }
        assert_eq!(replay(&stage.db, &stage.clock, &record).await.unwrap(), 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_must_fit_into_its_lease() {
    on_each_database(async |stage| {
        let service = stage.run_with(stage.db.clone(), "0s", Duration::from_secs(60));
        let ended = service.ended().await;
        assert!(matches!(ended, Err(tidings_delivery::Error::AttemptTimeout(_))));
    })
    .await;
}
