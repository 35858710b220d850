//! Whether a consumer group has come past a certain point.
//!
//! Guaranteed: when a milestone is passed, every record that lay on its topics when it was set has taken
//! effect or was set aside, whichever members the group had meanwhile, for that is when consumers commit
//! an offset. Not guaranteed: that it counts as passed at once. Offsets are committed each second.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::{Offset, TopicPartitionList};
use tidings_events::Topic;
use tokio::time::{sleep, timeout};

use crate::Connection;
use crate::connection::ClientLog;

/// How long the broker may take to answer.
const DEADLINE: Duration = Duration::from_secs(5);

/// How often it is looked whether a group has come far enough. Consumers commit each second.
const GLANCE: Duration = Duration::from_millis(500);

/// Where topics ended at a moment.
pub struct Milestone {
    client: Arc<BaseConsumer<ClientLog>>,
    ends: TopicPartitionList,
}

impl std::fmt::Debug for Milestone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Milestone").field("ends", &self.ends).finish()
    }
}

/// Why nothing can be said about a group.
#[derive(Debug, thiserror::Error)]
#[error("the broker does not say how far a group has come")]
pub struct MilestoneError(#[source] KafkaError);

impl Milestone {
    /// Sets one for a group at the present ends of these topics. It is no member of the group.
    pub async fn set<T: Into<String>>(
        connection: &Connection,
        group: &str,
        topics: impl IntoIterator<Item = T>,
    ) -> Result<Self, MilestoneError> {
        let mut config = connection.client_config("milestone");
        config.set("group.id", group);
        let names: Vec<String> = topics.into_iter().map(Into::into).collect();
        blocking(move || {
            let client: BaseConsumer<ClientLog> = config.create_with_context(ClientLog::new("milestone"))?;
            let mut ends = TopicPartitionList::new();
            for name in names {
                let metadata = client.fetch_metadata(Some(&name), DEADLINE)?;
                for partition in metadata.topics().iter().flat_map(|topic| topic.partitions()) {
                    let (start, end) = client.fetch_watermarks(&name, partition.id(), DEADLINE)?;
                    if start < end {
                        ends.add_partition_offset(&name, partition.id(), Offset::Offset(end))?;
                    }
                }
            }
            let client = Arc::new(client);
            Ok(Self { client, ends })
        })
        .await
    }

    pub async fn is_passed(&self) -> Result<bool, MilestoneError> {
        let (client, ends) = (self.client.clone(), self.ends.clone());
        blocking(move || {
            // What the client has to say besides, which nobody else takes.
            client.poll(Duration::ZERO);
            let committed = client.committed_offsets(ends.clone(), DEADLINE)?;
            let committed = committed.to_topic_map();
            let is_passed = |(place, end): (&(String, i32), &Offset)| match (committed.get(place), end) {
                (Some(Offset::Offset(committed)), Offset::Offset(end)) => committed >= end,
                _ => false,
            };
            Ok(ends.to_topic_map().iter().all(is_passed))
        })
        .await
    }
}

/// Waits until a group has handled everything that lies on these topics now; answers whether it has, which it
/// may not have after `patience`.
pub async fn has_come_to_now(connection: &Connection, group: &str, topics: &[Topic], patience: Duration) -> bool {
    let passing = async {
        let now = Milestone::set(connection, group, topics.iter().map(|topic| topic.name())).await?;
        while !now.is_passed().await? {
            sleep(GLANCE).await;
        }
        Ok::<_, MilestoneError>(())
    };
    match timeout(patience, passing).await {
        Ok(Ok(())) => true,
        Ok(Err(error)) => {
            tracing::debug!(
                group,
                error = &error as &dyn std::error::Error,
                "the consumers are not seen"
            );
            false
        }
        Err(_) => false,
    }
}

/// The client blocks its thread.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, KafkaError> + Send + 'static,
) -> Result<T, MilestoneError> {
    let worked = tokio::task::spawn_blocking(work).await;
    worked.unwrap_or(Err(KafkaError::Canceled)).map_err(MilestoneError)
}
