//! A broker that is killed, again and again, while an idempotent producer sends.

use std::collections::VecDeque;
use std::io::Read;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;

use rdkafka::Message;
use rdkafka::consumer::{Consumer, StreamConsumer};
use rdkafka::producer::{DeliveryFuture, FutureProducer, FutureRecord};
use rdkafka::{Offset, TopicPartitionList};
use tidings_broker::{Broker, Config};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::support::{DEADLINE, client, receive};

/// Tells this very program to be nothing but a broker: the address, a space, the data folder.
const ALONE: &str = "TIDINGS_BROKER_ALONE";
const READY: &str = "broker ready on ";

/// Not a test by itself: it is what the other one starts and kills. It ends with its parent, when its
/// standard input does.
#[tokio::test(flavor = "multi_thread")]
async fn the_broker_alone() {
    let Ok(told) = std::env::var(ALONE) else { return };
    let (addr, dir) = told.split_once(' ').unwrap();
    let broker = Broker::start(Config::new(addr.parse().unwrap(), dir)).await.unwrap();
    println!("\n{READY}{}", broker.addr());
    tokio::task::spawn_blocking(|| std::io::stdin().read(&mut [0]))
        .await
        .unwrap()
        .unwrap();
    broker.shutdown().await;
}

async fn spawn(addr: SocketAddr, dir: &Path) -> (Child, SocketAddr) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "durability::the_broker_alone", "--nocapture"])
        .env(ALONE, format!("{addr} {}", dir.display()))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let ready = async {
        loop {
            let line = lines.next_line().await.unwrap().expect("the broker starts");
            if let Some(addr) = line.strip_prefix(READY) {
                return addr.parse().unwrap();
            }
        }
    };
    let addr = timeout(DEADLINE, ready).await.unwrap();
    (child, addr)
}

const PARTITIONS: i64 = 2;

/// Sends numbers, which take turns at the partitions, with up to this many unacknowledged.
struct Numbers {
    producer: FutureProducer,
    next: i64,
    unacknowledged: VecDeque<DeliveryFuture>,
}

const WINDOW: usize = 500;

impl Numbers {
    async fn send(&mut self, count: i64) {
        for _ in 0..count {
            if self.unacknowledged.len() == WINDOW {
                self.acknowledged().await;
            }
            let (value, partition) = (self.next.to_string(), (self.next % PARTITIONS) as i32);
            let record = FutureRecord::<(), str>::to("t").partition(partition).payload(&value);
            self.unacknowledged
                .push_back(self.producer.send_result(record).unwrap());
            self.next += 1;
        }
    }

    /// Waits for the oldest one.
    async fn acknowledged(&mut self) {
        let oldest = self.unacknowledged.pop_front().unwrap();
        timeout(DEADLINE, oldest)
            .await
            .expect("records are acknowledged")
            .unwrap()
            .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_kill_9_once_and_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let (mut child, addr) = spawn(([127, 0, 0, 1], 0).into(), dir.path()).await;
    let mut settings = client(&addr.to_string());
    settings
        .set("enable.idempotence", "true")
        .set("message.timeout.ms", "0")
        .set("batch.num.messages", "20");
    let admin: rdkafka::admin::AdminClient<_> = settings.create().unwrap();
    let topic = rdkafka::admin::NewTopic::new("t", PARTITIONS as i32, rdkafka::admin::TopicReplication::Fixed(1));
    admin.create_topics([&topic], &Default::default()).await.unwrap()[0]
        .as_ref()
        .unwrap();
    let producer = settings.create().unwrap();
    let mut numbers = Numbers {
        producer,
        next: 0,
        unacknowledged: VecDeque::new(),
    };

    for _ in 0..3 {
        // With many acknowledged and many on their way.
        numbers.send(3 * WINDOW as i64).await;
        child.kill().await.unwrap();
        numbers
            .send(100.min((WINDOW - numbers.unacknowledged.len()) as i64))
            .await;
        (child, _) = spawn(addr, dir.path()).await;
    }
    numbers.send(WINDOW as i64).await;
    while !numbers.unacknowledged.is_empty() {
        numbers.acknowledged().await;
    }

    let consumer: StreamConsumer = client(&addr.to_string()).set("group.id", "g").create().unwrap();
    for partition in 0..PARTITIONS {
        let (start, end) = consumer.fetch_watermarks("t", partition as i32, DEADLINE).unwrap();
        assert_eq!((start, end), (0, numbers.next / PARTITIONS), "each once");
        let mut from = TopicPartitionList::new();
        from.add_partition_offset("t", partition as i32, Offset::Beginning)
            .unwrap();
        consumer.assign(&from).unwrap();
        for (offset, record) in (start..).zip(receive(&consumer, end as usize).await) {
            let number: i64 = std::str::from_utf8(record.payload().unwrap()).unwrap().parse().unwrap();
            assert_eq!(
                (record.offset(), number),
                (offset, offset * PARTITIONS + partition),
                "in order"
            );
        }
    }
    // The clients, which are dropped first, take their leave of it.
    drop((consumer, numbers, admin));
    child.kill().await.unwrap();
}
