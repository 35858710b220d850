//! Two gateways on one database and one broker, each of which hears of what the other changes.

use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;
use tidings_broker::{Broker, Config, Handle};
use tidings_events::TOPICS;
use tidings_gateway::Parts;
use tidings_messaging::{Connection, relay, topics};
use tidings_storage::outbox::{self, RelayOutbox};
use tidings_testkit::{TestDatabase, TestKafka, backends, databases, eventually};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::path;
use crate::harness::{TestGateway, loopback};

pub struct Pair {
    pub one: TestGateway,
    pub other: TestGateway,
    broker: Option<TestBroker>,
    publishing: JoinSet<()>,
    cancel: CancellationToken,
}

enum TestBroker {
    Embedded { broker: Handle, _folder: TempDir },
    Kafka(TestKafka),
}

impl TestBroker {
    async fn start(database: &TestDatabase) -> Self {
        // Real ones go together.
        if let Some(brokers) = backends::kafka().filter(|_| database.name == "PostgreSQL") {
            return Self::Kafka(TestKafka::exclusive(&brokers).await);
        }
        let folder = TempDir::new().unwrap();
        let broker = Broker::start(Config::new(loopback(), folder.path())).await.unwrap();
        Self::Embedded {
            broker,
            _folder: folder,
        }
    }

    fn connection(&self) -> Connection {
        match self {
            Self::Embedded { broker, .. } => Connection::plain(broker.addr().to_string()),
            Self::Kafka(kafka) => Connection::plain(kafka.brokers()),
        }
    }
}

/// Runs a test on each database, with what entries of the caches live.
pub async fn on_each_pair(life: Duration, test: impl AsyncFn(&mut Pair)) {
    for database in databases().await {
        println!("on {}", database.name);
        let mut pair = Pair::start(database, life).await;
        test(&mut pair).await;
        pair.stop().await;
    }
}

impl Pair {
    async fn start(database: TestDatabase, life: Duration) -> Self {
        let broker = TestBroker::start(&database).await;
        let (connection, cancel) = (broker.connection(), CancellationToken::new());
        topics::ensure_with_retry(&connection, TOPICS, &cancel).await.unwrap();
        let caching = |parts: &mut Parts| {
            parts.guids.life = life;
            parts.guids.changes = Some(connection.clone());
        };
        let one = TestGateway::start_with(database, caching).await;
        let other = one.start_beside_with(caching).await;
        let mut publishing = JoinSet::new();
        let (db, token) = (one.db().clone(), cancel.clone());
        publishing.spawn(outbox::exchange(db, token));
        let (queue, token) = (RelayOutbox::new(one.db().clone()), cancel.clone());
        publishing.spawn(async move { relay::run(queue, &connection, token).await.unwrap() });
        let pair = Self {
            one,
            other,
            broker: Some(broker),
            publishing,
            cancel,
        };
        pair.hear_of_each_other().await;
        pair
    }

    /// What is changed before a gateway follows the topic does not reach it, so this uses other GUIDs.
    async fn hear_of_each_other(&self) {
        for (one, other) in [(&self.one, &self.other), (&self.other, &self.one)] {
            let mut known = Vec::new();
            eventually("changes are heard of", async || {
                let path = path();
                one.register(&path, "before").await;
                other.user_of(&path).await;
                one.patch(&path, &json!({"user": "after"})).await;
                known.push(path);
                for path in &known {
                    if other.user_of(path).await.as_deref() == Some("after") {
                        return Ok(());
                    }
                }
                Err("what it knew before")
            })
            .await;
        }
    }

    /// Takes the broker away, if it is one that may be.
    pub async fn stop_broker(&mut self) {
        match self.broker.take() {
            Some(TestBroker::Embedded { broker, .. }) => broker.shutdown().await,
            kafka => self.broker = kafka,
        }
    }

    async fn stop(self) {
        self.one.stop().await;
        self.other.stop().await;
        self.cancel.cancel();
        self.publishing.join_all().await;
        if let Some(TestBroker::Embedded { broker, .. }) = self.broker {
            broker.shutdown().await;
        }
    }
}
