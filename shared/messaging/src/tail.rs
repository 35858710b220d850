//! Reads topics from their ends on, for those who only want to hear what is new.
//!
//! Guaranteed: whatever is published after [`Tailed::Following`] was handed on is handed on, too, in order per
//! partition. Partitions and topics that come later are read from their beginning. A broker that goes away
//! and returns leaves no gap: reading goes on where it was.
//!
//! Not guaranteed: that a record comes only once, since those who publish may repeat themselves. And nothing
//! is kept: whoever starts again begins at the ends of that moment. Records that the broker drops before
//! they were read are not heard of.
//!
//! May be changed safely: how often new partitions are looked for. There is no group and no offset is
//! committed, so any number can follow the same topics without knowing each other. (Kafka's client wants the name of
//! a group all the same, which it never joins.)

use std::collections::BTreeSet;
use std::pin::pin;
use std::time::Duration;

use rdkafka::consumer::{Consumer, StreamConsumer};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::{Offset, TopicPartitionList};
use tidings_events::{RawRecord, Topic};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::backoff::{Backoff, Outage};
use crate::connection::ClientLog;
use crate::consumer::raw;
use crate::{Connection, apart};

/// How long one question to the broker may take. Nothing is read meanwhile.
const REQUEST: Duration = Duration::from_secs(2);
/// How soon a topic is looked for again that is not there yet.
const SOON: Duration = Duration::from_secs(1);

/// Who follows what.
#[derive(Debug, Clone)]
pub struct TailConfig {
    /// What the broker's logs call it.
    pub name: String,
    pub topics: Vec<String>,
    /// How often new partitions are looked for.
    pub look: Duration,
}

impl TailConfig {
    pub fn new(name: &str, topics: &[Topic]) -> Self {
        Self::of_topics(name, topics.iter().map(|topic| topic.name()))
    }

    /// For topics that are not among the declared ones.
    pub fn of_topics<T: Into<String>>(name: &str, topics: impl IntoIterator<Item = T>) -> Self {
        Self {
            name: name.to_owned(),
            topics: topics.into_iter().map(Into::into).collect(),
            look: Duration::from_secs(30),
        }
    }
}

/// What is handed on.
#[derive(Debug)]
pub enum Tailed {
    /// The first, and only once: from now on nothing is missed.
    Following,
    Record(RawRecord),
}

/// Why following ended without being asked to.
#[derive(Debug, thiserror::Error)]
pub enum TailError {
    #[error("the settings of the connection to Kafka are not accepted")]
    Settings(#[source] KafkaError),
    #[error("kafka's client has given up")]
    Client(#[source] KafkaError),
    #[error("the thread that follows topics cannot be started")]
    Thread(#[source] std::io::Error),
    #[error("the thread that follows topics has panicked")]
    Panicked,
}

/// Follows topics until cancelled. `hand_on` is called on a thread of its own, which it must not keep: what
/// it takes long over delays everything behind.
pub async fn run(
    config: TailConfig,
    connection: &Connection,
    cancel: CancellationToken,
    hand_on: impl FnMut(Tailed) + Send + 'static,
) -> Result<(), TailError> {
    let cancel = cancel.child_token();
    let _ended_with_this = cancel.clone().drop_guard();
    let (connection, span) = (connection.clone(), tracing::info_span!("tail", name = config.name));
    let name = config.name.clone();
    let work = move || {
        let work = async move {
            match Tail::start(config, &connection) {
                Ok(mut tail) => (tail.follow(cancel, hand_on).await, Some(tail)),
                Err(error) => (Err(TailError::Settings(error)), None),
            }
        };
        work.instrument(span)
    };
    let ended = apart::run(&name, work).await.map_err(TailError::Thread)?;
    ended.output.unwrap_or(Err(TailError::Panicked))
}

struct Tail {
    config: TailConfig,
    consumer: StreamConsumer<ClientLog>,
    /// What is read.
    known: BTreeSet<(String, i32)>,
    /// Whether the ends of the topics were found out, where reading began.
    following: bool,
}

impl Tail {
    fn start(config: TailConfig, connection: &Connection) -> KafkaResult<Self> {
        let mut client = connection.client_config(&config.name);
        client
            .set("group.id", format!("tidings-{}", config.name))
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            // Where what should come next is not kept any more.
            .set("auto.offset.reset", "earliest")
            // The broker answers as soon as there is something; this is for when there is nothing.
            .set("fetch.wait.max.ms", "1000")
            .set("queued.min.messages", "1000")
            .set("queued.max.messages.kbytes", "4096")
            .set("fetch.queue.backoff.ms", "5");
        Ok(Self {
            consumer: client.create_with_context(ClientLog::new(&config.name))?,
            config,
            known: BTreeSet::new(),
            following: false,
        })
    }

    async fn follow(&mut self, cancel: CancellationToken, mut hand_on: impl FnMut(Tailed)) -> Result<(), TailError> {
        let backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));
        let mut outage = Outage::new("looking for partitions to follow", backoff);
        loop {
            let pause = match self.look() {
                Ok(complete) => {
                    outage.worked();
                    if !std::mem::replace(&mut self.following, true) {
                        hand_on(Tailed::Following);
                    }
                    if complete { self.config.look } else { SOON }
                }
                Err(error) => outage.failed(&error),
            };
            let mut again = pin!(sleep(pause));
            loop {
                let received = tokio::select! {
                    biased;
                    () = cancel.cancelled() => return Ok(()),
                    () = &mut again => break,
                    received = self.consumer.recv() => received,
                };
                match received {
                    Ok(message) => hand_on(Tailed::Record(raw(&message))),
                    Err(error @ KafkaError::MessageConsumptionFatal(_)) => return Err(TailError::Client(error)),
                    // The client goes on by itself, and has logged it.
                    Err(_) => {}
                }
            }
        }
    }

    /// Reads on from the end of each partition, or from the beginning of those that were not there when
    /// reading began. Answers whether all topics are there.
    fn look(&mut self) -> KafkaResult<bool> {
        let metadata = self.consumer.fetch_metadata(None, REQUEST)?;
        let (mut new, mut complete) = (TopicPartitionList::new(), true);
        for name in &self.config.topics {
            let topic = metadata
                .topics()
                .iter()
                .find(|topic| topic.name() == name && topic.error().is_none());
            let partitions = topic.map(|topic| topic.partitions()).unwrap_or_default();
            complete &= !partitions.is_empty();
            for partition in partitions.iter().map(|partition| partition.id()) {
                if self.known.contains(&(name.clone(), partition)) {
                    continue;
                }
                let from = match self.following {
                    true => Offset::Beginning,
                    // Now, rather than whenever the client would come to ask for it.
                    false => Offset::Offset(self.consumer.fetch_watermarks(name, partition, REQUEST)?.1),
                };
                new.add_partition_offset(name, partition, from)?;
            }
        }
        if new.count() > 0 {
            self.consumer.incremental_assign(&new)?;
            self.known.extend(new.to_topic_map().into_keys());
        }
        Ok(complete)
    }
}
