//! The brokers to test with. The only place that knows how the embedded one is started.

use std::net::SocketAddr;
use std::time::Duration;

use tempfile::TempDir;
use tidings_broker::{Broker, Config, Handle};
use tidings_messaging::{Connection, topics};
use uuid::Uuid;

pub struct TestBroker {
    pub connection: Connection,
    embedded: Option<Embedded>,
}

struct Embedded {
    data: TempDir,
    addr: SocketAddr,
    running: Option<Handle>,
}

impl TestBroker {
    pub async fn embedded() -> Self {
        let data = tempfile::tempdir().unwrap();
        let running = start(([127, 0, 0, 1], 0).into(), &data).await;
        let addr = running.addr();
        Self {
            connection: Connection::plain(addr.to_string()),
            embedded: Some(Embedded {
                data,
                addr,
                running: Some(running),
            }),
        }
    }

    fn external() -> Option<Self> {
        let backends = std::env::var("TIDINGS_TEST_BACKENDS").unwrap_or_default();
        let listed = backends.split([',', ' ']).any(|backend| backend == "external");
        let brokers = std::env::var("TEST_KAFKA_BROKERS")
            .ok()
            .filter(|brokers| !brokers.is_empty())?;
        listed.then(|| Self {
            connection: Connection::plain(brokers),
            embedded: None,
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

    /// Takes the embedded broker away.
    pub async fn stop(&mut self) {
        let embedded = self.embedded.as_mut().unwrap();
        embedded.running.take().unwrap().shutdown().await;
    }

    /// Brings it back where it was, with what it had.
    pub async fn start(&mut self) {
        let embedded = self.embedded.as_mut().unwrap();
        embedded.running = Some(start(embedded.addr, &embedded.data).await);
    }

    pub async fn end(self) {
        if let Some(Embedded {
            running: Some(running), ..
        }) = self.embedded
        {
            running.shutdown().await;
        }
    }
}

async fn start(listen: SocketAddr, data: &TempDir) -> Handle {
    Broker::start(Config::new(listen, data.path())).await.unwrap()
}

/// Runs a test on each broker there is.
pub async fn on_each_broker(test: impl AsyncFn(&TestBroker)) {
    let _ = tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_test_writer()
        .try_init();
    for broker in [Some(TestBroker::embedded().await), TestBroker::external()]
        .into_iter()
        .flatten()
    {
        test(&broker).await;
        broker.end().await;
    }
}
