//! An Apache Kafka that others run, for one stack at a time.
//!
//! The names of topics and consumer groups are fixed, for outside consumers rely on them. Stacks that
//! share a Kafka at the same time would therefore do each other's work. A Kafka for each stack would
//! cost seconds and hundreds of megabytes, and a prefix for the names would be a setting for nobody but
//! these tests. So stacks take turns: whoever has a [`TestKafka`] has the only one, and finds no
//! topic, no record and no offset of the stack before.
//!
//! The lock is one of the operating system. It holds between threads and processes of this machine,
//! and goes with the process that has it, however that ends.

use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tidings_events::TOPICS;

use crate::eventually;

/// The groups of the services. Offsets also go with their topics, but members that were killed with
/// the stack before would keep the partitions of the next one for a while.
const GROUPS: &[&str] = &["audit", "delivery", "notifier"];

/// How long the broker may take to answer.
const REQUEST: Duration = Duration::from_secs(10);

/// A Kafka that knows nothing of Tidings, until dropped.
#[derive(Debug)]
pub struct TestKafka {
    brokers: String,
    _turn: File,
}

impl TestKafka {
    /// Waits for its turn, for as long as others take, and then deletes what they left behind.
    pub async fn exclusive(brokers: &str) -> Self {
        let turn = tokio::task::spawn_blocking({
            let name: String = brokers
                .chars()
                .map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '-' })
                .collect();
            let path = std::env::temp_dir().join(format!("tidings-test-{name}.lock"));
            move || {
                let file = File::options()
                    .create(true)
                    .truncate(false)
                    .write(true)
                    .open(path)
                    .unwrap();
                file.lock().unwrap();
                file
            }
        });
        let kafka = Self {
            brokers: brokers.to_owned(),
            _turn: turn.await.unwrap(),
        };
        kafka.clear().await;
        kafka
    }

    pub fn brokers(&self) -> &str {
        &self.brokers
    }

    async fn clear(&self) {
        let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
            .set("bootstrap.servers", &self.brokers)
            .create()
            .unwrap();
        let (admin, options) = (
            Arc::new(admin),
            AdminOptions::new()
                .request_timeout(Some(REQUEST))
                .operation_timeout(Some(REQUEST)),
        );
        let topics: Vec<_> = TOPICS.iter().map(|topic| topic.name()).collect();
        // Waits for the broker to give up members that were killed.
        eventually("the groups of the stack before are deleted", async || {
            let deleted = admin.delete_groups(GROUPS, &options).await?;
            gone(deleted, RDKafkaErrorCode::GroupIdNotFound)
        })
        .await;
        eventually("the topics of the stack before are deleted", async || {
            let deleted = admin.delete_topics(&topics, &options).await?;
            gone(deleted, RDKafkaErrorCode::UnknownTopicOrPartition)
        })
        .await;
        // The next stack takes topics that are still shown for its own.
        eventually("the topics of the stack before are not shown any more", async || {
            let admin = admin.clone();
            let shown = tokio::task::spawn_blocking(move || admin.inner().fetch_metadata(None, REQUEST)).await;
            let shown = shown.unwrap()?;
            match shown.topics().iter().any(|topic| topics.contains(&topic.name())) {
                true => Err(KafkaError::AdminOp(RDKafkaErrorCode::TopicAlreadyExists)),
                false => Ok(()),
            }
        })
        .await;
    }
}

/// Whether nothing is left of what was to be deleted.
fn gone(deleted: Vec<Result<String, (String, RDKafkaErrorCode)>>, absent: RDKafkaErrorCode) -> Result<(), KafkaError> {
    let mut errors = deleted.into_iter().filter_map(Result::err);
    match errors.find(|(_, code)| *code != absent) {
        Some((_, code)) => Err(KafkaError::AdminOp(code)),
        None => Ok(()),
    }
}
