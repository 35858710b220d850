//! A broker of its own for each test, and the clients to talk to it.

use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::admin::AdminClient;
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{Consumer, StreamConsumer};
use rdkafka::error::KafkaError;
use rdkafka::message::OwnedMessage;
use rdkafka::producer::FutureProducer;
use rdkafka::types::RDKafkaErrorCode;
use tempfile::TempDir;
use tidings_broker::{Broker, Config, Handle};

/// How long anything may take that is waited for. Far more than it does take.
pub const DEADLINE: Duration = Duration::from_secs(60);

pub struct Running {
    pub broker: Handle,
    pub config: Config,
    pub dir: TempDir,
}

impl Running {
    pub async fn start() -> Self {
        Self::with(|_| {}).await
    }

    pub async fn with(adjust: impl FnOnce(&mut Config)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::new(([127, 0, 0, 1], 0).into(), dir.path());
        adjust(&mut config);
        Self {
            broker: Broker::start(config.clone()).await.unwrap(),
            config,
            dir,
        }
    }

    /// Stops the broker and starts it again on the same address.
    pub async fn restart(self) -> Self {
        let Self {
            broker,
            mut config,
            dir,
        } = self;
        config.listen = broker.addr();
        stop(broker).await;
        Self {
            broker: Broker::start(config.clone()).await.unwrap(),
            config,
            dir,
        }
    }

    pub async fn stop(self) {
        stop(self.broker).await;
    }

    pub fn client(&self) -> ClientConfig {
        client(&self.broker.addr().to_string())
    }

    pub fn producer(&self, settings: &[(&str, &str)]) -> FutureProducer {
        set(self.client(), settings).create().unwrap()
    }

    /// A member of a group that starts from the earliest record and commits only when told to.
    pub fn consumer(&self, group: &str, settings: &[(&str, &str)]) -> StreamConsumer {
        let mut config = self.client();
        config
            .set("group.id", group)
            .set("auto.offset.reset", "earliest")
            .set("enable.auto.commit", "false")
            .set("session.timeout.ms", "6000")
            .set("heartbeat.interval.ms", "200")
            .set("topic.metadata.refresh.interval.ms", "500");
        set(config, settings).create().unwrap()
    }

    pub fn admin(&self) -> AdminClient<DefaultClientContext> {
        self.client().create().unwrap()
    }
}

async fn stop(broker: Handle) {
    tokio::time::timeout(DEADLINE, broker.shutdown())
        .await
        .expect("the broker stops");
}

pub fn client(bootstrap: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", bootstrap)
        .set("reconnect.backoff.ms", "20")
        .set("reconnect.backoff.max.ms", "200");
    config
}

fn set(mut config: ClientConfig, settings: &[(&str, &str)]) -> ClientConfig {
    for (name, value) in settings {
        config.set(*name, *value);
    }
    config
}

/// A topic that was created a moment ago, or a broker that is started again: the client tries again.
fn passes(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode::{AllBrokersDown, BrokerTransportFailure, UnknownTopicOrPartition};
    matches!(code, UnknownTopicOrPartition | AllBrokersDown | BrokerTransportFailure)
}

/// The next so many records.
pub async fn receive(consumer: &StreamConsumer, count: usize) -> Vec<OwnedMessage> {
    let mut records = Vec::with_capacity(count);
    while records.len() < count {
        let next = tokio::time::timeout(DEADLINE, consumer.recv()).await;
        match next.unwrap_or_else(|_| panic!("{} of {count} records arrived", records.len())) {
            Ok(record) => records.push(record.detach()),
            Err(KafkaError::MessageConsumption(code)) if passes(code) => {}
            Err(error) => panic!("{error}"),
        }
    }
    records
}

/// Asks again and again until it holds.
pub async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < DEADLINE, "in vain waited until {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// How many partitions a consumer has been given.
pub fn assigned(consumer: &StreamConsumer) -> usize {
    consumer.assignment().unwrap().count()
}
