//! The brokers to test with. The only place that knows how they are started.

use std::net::SocketAddr;
use std::time::Duration;

use tempfile::TempDir;
use tidings_broker::{Broker, Config, Handle};
use tidings_messaging::{Connection, topics};
use tidings_testkit::{RealPart, RealParts, backends};
use uuid::Uuid;

pub struct TestBroker {
    pub connection: Connection,
    server: Server,
}

enum Server {
    Embedded(Embedded),
    /// An Apache Kafka that others use at the same time.
    Shared,
    /// An Apache Kafka of a test's own.
    Own(RealParts),
}

struct Embedded {
    data: TempDir,
    addr: SocketAddr,
    running: Option<Handle>,
}

impl TestBroker {
    async fn embedded() -> Self {
        let data = tempfile::tempdir().unwrap();
        let running = start(([127, 0, 0, 1], 0).into(), &data).await;
        let addr = running.addr();
        Self {
            connection: Connection::plain(addr.to_string()),
            server: Server::Embedded(Embedded {
                data,
                addr,
                running: Some(running),
            }),
        }
    }

    fn shared() -> Option<Self> {
        backends::kafka().map(|brokers| Self {
            connection: Connection::plain(brokers),
            server: Server::Shared,
        })
    }

    async fn own() -> Option<Self> {
        let own = RealParts::start(&[RealPart::Kafka]).await?;
        Some(Self {
            connection: Connection::plain(own.brokers().await),
            server: Server::Own(own),
        })
    }

    /// A topic of its own for a test, with a name that no other run has used.
    pub async fn topic(&self, partitions: i32) -> String {
        let name = format!("test-{}", Uuid::new_v4());
        topics::ensure_named(&self.connection, &name, partitions, Duration::from_secs(3600))
            .await
            .unwrap();
        name
    }

    /// Takes the broker away: the embedded one in good order, the other by force.
    pub async fn stop(&mut self) {
        match &mut self.server {
            Server::Embedded(embedded) => embedded.running.take().unwrap().shutdown().await,
            Server::Own(own) => own.kill(RealPart::Kafka).await,
            Server::Shared => panic!("others use this broker too"),
        }
    }

    /// Brings it back where it was, with what it had.
    pub async fn start(&mut self) {
        match &mut self.server {
            Server::Embedded(embedded) => embedded.running = Some(start(embedded.addr, &embedded.data).await),
            Server::Own(own) => own.up(RealPart::Kafka).await,
            Server::Shared => {}
        }
    }

    async fn end(self) {
        if let Server::Embedded(Embedded {
            running: Some(running), ..
        }) = self.server
        {
            running.shutdown().await;
        }
    }
}

async fn start(listen: SocketAddr, data: &TempDir) -> Handle {
    Broker::start(Config::new(listen, data.path())).await.unwrap()
}

fn show_logs() {
    let _ = tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_test_writer()
        .try_init();
}

/// Runs a test on each broker there is.
pub async fn on_each_broker(test: impl AsyncFn(&TestBroker)) {
    show_logs();
    for broker in [Some(TestBroker::embedded().await), TestBroker::shared()]
        .into_iter()
        .flatten()
    {
        test(&broker).await;
        broker.end().await;
    }
}

/// Runs a test on a broker of each kind that it may take away: the embedded one, and an Apache Kafka
/// where `TEST_REAL_PARTS` names the script that starts and kills one.
pub async fn on_each_mortal_broker(test: impl AsyncFn(&mut TestBroker)) {
    show_logs();
    let mut broker = TestBroker::embedded().await;
    test(&mut broker).await;
    broker.end().await;
    if let Some(mut broker) = TestBroker::own().await {
        test(&mut broker).await;
        broker.end().await;
    }
}
