//! Those who only hear what is new.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions};
use rdkafka::client::DefaultClientContext;
use rdkafka::producer::{FutureProducer, FutureRecord};
use tidings_messaging::{Connection, TailConfig, TailError, Tailed, tail, topics};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::broker::{on_each_broker, on_each_mortal_broker};
use crate::outbox::MemoryOutbox;
use crate::{eventually, in_time};

/// What was handed on, the values of records in their order. `None` stands for the beginning.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<Option<String>>>>);

impl Heard {
    fn all(&self) -> Vec<Option<String>> {
        self.0.lock().unwrap().clone()
    }

    fn records(&self) -> BTreeSet<String> {
        self.all().into_iter().flatten().collect()
    }

    fn is_following(&self) -> bool {
        self.all().contains(&None)
    }
}

struct Following {
    heard: Heard,
    cancel: CancellationToken,
    task: JoinHandle<Result<(), TailError>>,
}

impl Following {
    fn start(topic: &str, connection: &Connection) -> Self {
        let (heard, cancel) = (Heard::default(), CancellationToken::new());
        let config = TailConfig {
            look: Duration::from_millis(100),
            ..TailConfig::of_topics("test", [topic])
        };
        let (connection, token, all) = (connection.clone(), cancel.clone(), heard.0.clone());
        let hand_on = move |tailed| {
            let value = match tailed {
                Tailed::Following => None,
                Tailed::Record(record) => Some(String::from_utf8(record.value.unwrap().to_vec()).unwrap()),
            };
            all.lock().unwrap().push(value);
        };
        let task = tokio::spawn(async move { tail::run(config, &connection, token, hand_on).await });
        Self { heard, cancel, task }
    }

    async fn stop(self) {
        self.cancel.cancel();
        in_time("the tail", self.task).await.unwrap().unwrap();
    }
}

struct Publisher(FutureProducer);

impl Publisher {
    fn new(connection: &Connection) -> Self {
        let producer = ClientConfig::new()
            .set("bootstrap.servers", &connection.brokers)
            .create();
        Self(producer.unwrap())
    }

    async fn publish(&self, topic: &str, partition: i32, value: &str) {
        let record = FutureRecord::<str, str>::to(topic).partition(partition).payload(value);
        self.0.send(record, Duration::from_secs(60)).await.unwrap();
    }
}

fn set<const N: usize>(values: [&str; N]) -> BTreeSet<String> {
    values.map(str::to_owned).into()
}

#[tokio::test(flavor = "multi_thread")]
async fn all_that_is_new_is_heard_of_and_nothing_else() {
    on_each_broker(async |broker| {
        let topic = broker.topic(2).await;
        let publisher = Publisher::new(&broker.connection);
        publisher.publish(&topic, 0, "old").await;
        let both = [0, 1].map(|_| Following::start(&topic, &broker.connection));
        for following in &both {
            eventually("it follows", || following.heard.is_following()).await;
        }
        for (partition, value) in [(0, "a"), (1, "b"), (0, "c")] {
            publisher.publish(&topic, partition, value).await;
        }
        for following in both {
            eventually("all that is new", || following.heard.records() == set(["a", "b", "c"])).await;
            let all = following.heard.all();
            assert_eq!(all[0], None, "before any record");
            let at = |value: &str| all.iter().position(|heard| heard.as_deref() == Some(value));
            assert!(at("a") < at("c"), "{all:?}");
            following.stop().await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_later_is_read_from_its_beginning() {
    on_each_broker(async |broker| {
        let topic = format!("test-{}", Uuid::new_v4());
        let following = Following::start(&topic, &broker.connection);
        eventually("it follows, without a topic", || following.heard.is_following()).await;
        let hour = Duration::from_secs(3600);
        topics::ensure_named(&broker.connection, &topic, 1, hour).await.unwrap();
        Publisher::new(&broker.connection).publish(&topic, 0, "first").await;
        eventually("the topic's first record", || {
            following.heard.records() == set(["first"])
        })
        .await;

        let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
            .set("bootstrap.servers", &broker.connection.brokers)
            .create()
            .unwrap();
        let more = [NewPartitions::new(&topic, 3)];
        admin.create_partitions(&more, &AdminOptions::new()).await.unwrap();
        // It need not have noticed them yet.
        let publisher = Publisher::new(&broker.connection);
        for partition in [1, 2] {
            publisher.publish(&topic, partition, &format!("on {partition}")).await;
        }
        eventually("the new partitions' first records", || {
            following.heard.records() == set(["first", "on 1", "on 2"])
        })
        .await;
        following.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_leaves_no_gap() {
    on_each_mortal_broker(async |broker| {
        let topic = broker.topic(3).await;
        let following = Following::start(&topic, &broker.connection);
        eventually("it follows", || following.heard.is_following()).await;
        let outbox = MemoryOutbox::default();
        let relay = outbox.relay(&broker.connection);
        let mut expected = BTreeSet::new();
        for round in 0..3 {
            let mut write = |part: &str| {
                for number in 0..20 {
                    let value = format!("{round} {part} {number}");
                    outbox.write_payload(&topic, &format!("key-{number}"), value.clone().into());
                    expected.insert(value);
                }
            };
            write("before");
            eventually("published", || outbox.depth() == 0).await;
            broker.stop().await;
            write("while it is away");
            broker.start().await;
            eventually("all of it", || following.heard.records() == expected).await;
        }
        relay.stop().await;
        following.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_broker_it_waits_and_ends_when_asked() {
    let following = Following::start("anything", &Connection::plain("127.0.0.1:9"));
    tokio::task::yield_now().await;
    assert!(!following.heard.is_following());
    following.stop().await;
}
