//! Events on a broker, for the audit service to read.

use std::sync::Arc;

use rdkafka::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use tempfile::TempDir;
use tidings_audit::Parts;
use tidings_broker::{Broker, Config, Handle};
use tidings_domain::{Clock, Contact, ContactId, ContactName, PhoneNumber, SystemClock};
use tidings_events::{ContactCreated, EventRecord, Origin, TOPICS};
use tidings_messaging::{Connection, topics};
use tidings_storage::Db;
use tidings_testkit::eventually;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// A broker with the topics on it.
pub(crate) struct Feed {
    broker: Handle,
    connection: Connection,
    producer: FutureProducer,
    _folder: TempDir,
}

impl Feed {
    pub(crate) async fn start() -> Self {
        let folder = TempDir::new().unwrap();
        let config = Config::new(([127, 0, 0, 1], 0).into(), folder.path());
        let broker = Broker::start(config).await.unwrap();
        let connection = Connection::plain(broker.addr().to_string());
        topics::ensure(&connection, TOPICS).await.unwrap();
        let producer = ClientConfig::new()
            .set("bootstrap.servers", &connection.brokers)
            .set("linger.ms", "1")
            .create()
            .unwrap();
        Self {
            broker,
            connection,
            producer,
            _folder: folder,
        }
    }

    /// Publishes events as the relay does.
    pub(crate) async fn publish(&self, events: &[EventRecord]) {
        let sent: Vec<_> = events
            .iter()
            .map(|event| {
                let headers = event.headers();
                let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
                self.send(&event.topic, Some(event.key.as_bytes()), Some(&event.payload), &headers)
            })
            .collect();
        for sent in sent {
            sent.await.unwrap();
        }
    }

    /// Publishes any record, and returns once it is acknowledged.
    pub(crate) fn send(
        &self,
        topic: &str,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(&str, &[u8])],
    ) -> JoinHandle<()> {
        let all = headers.iter().fold(OwnedHeaders::new(), |all, (key, value)| {
            all.insert(Header {
                key,
                value: Some(*value),
            })
        });
        let mut record = FutureRecord::<[u8], [u8]>::to(topic).headers(all);
        record.key = key;
        record.payload = value;
        let sent = self.producer.send_result(record).map_err(|(error, _)| error).unwrap();
        tokio::spawn(async move {
            sent.await.unwrap().map_err(|(error, _)| error).unwrap();
        })
    }

    /// Runs the service on this broker.
    pub(crate) fn audit(&self, db: Db) -> Service {
        let cancel = CancellationToken::new();
        let parts = Parts {
            db,
            clock: Arc::new(SystemClock),
            connection: self.connection.clone(),
        };
        Service {
            task: tokio::spawn(tidings_audit::run(parts, cancel.clone())),
            cancel,
        }
    }

    pub(crate) async fn stop(self) {
        self.broker.shutdown().await;
    }
}

/// The service under test.
pub(crate) struct Service {
    task: JoinHandle<Result<(), tidings_audit::Error>>,
    cancel: CancellationToken,
}

impl Service {
    pub(crate) async fn stop(self) {
        self.cancel.cancel();
        self.task.await.unwrap().unwrap();
    }
}

/// Events of that many new contacts.
pub(crate) fn contacts(count: usize) -> Vec<EventRecord> {
    (0..count)
        .map(|number| {
            let contact = Contact {
                id: ContactId::generate(&SystemClock),
                name: ContactName::parse("Odile Deray").unwrap(),
                phone: PhoneNumber::parse(format!("+4179{number:07}")).unwrap(),
                created_at: SystemClock.now(),
                version: 1,
            };
            let origin = Origin {
                actor: Some("default".to_owned()),
                ..Origin::own("gateway", &SystemClock)
            };
            EventRecord::new(&ContactCreated(&contact), &origin, &SystemClock).unwrap()
        })
        .collect()
}

/// Waits until the log has that many records.
pub(crate) async fn records(db: &Db, count: i64) {
    eventually("the log grows", async || match tidings_audit::head(db).await {
        Ok(head) if head.seq >= count => Ok(()),
        other => Err(other),
    })
    .await;
}
