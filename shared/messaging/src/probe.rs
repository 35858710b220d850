use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::metadata::MetadataTopic;
use tidings_events::Topic;
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::Connection;
use crate::connection::ClientLog;

/// How long the broker may take to answer.
const DEADLINE: Duration = Duration::from_secs(1);

impl ConsumerContext for ClientLog {}

/// Asks the broker whether it is there. Keeps one connection for all questions.
#[derive(Clone)]
pub struct Probe {
    // One question at a time: those who ask while the broker hangs must not use up threads.
    client: Arc<Mutex<BaseConsumer<ClientLog>>>,
}

impl std::fmt::Debug for Probe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Probe").finish_non_exhaustive()
    }
}

/// Why the broker does not count as ready.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    #[error("the settings of the connection to Kafka are not accepted")]
    Settings(#[source] KafkaError),
    #[error("the broker does not answer")]
    Silent(#[source] KafkaError),
    #[error("the broker has no topic {0}")]
    Missing(&'static str),
    #[error("the broker leaves earlier questions unanswered")]
    Busy,
}

impl Probe {
    pub fn new(connection: &Connection) -> Result<Self, ProbeError> {
        let client = connection
            .client_config("probe")
            .create_with_context(ClientLog::new("probe"))
            .map_err(ProbeError::Settings)?;
        Ok(Self {
            client: Arc::new(Mutex::new(client)),
        })
    }

    /// Whether the broker answers within a second and has these topics.
    pub async fn check(&self, topics: &[Topic]) -> Result<(), ProbeError> {
        let locked = timeout(DEADLINE, self.client.clone().lock_owned()).await;
        let (client, topics) = (locked.map_err(|_| ProbeError::Busy)?, topics.to_vec());
        tokio::task::spawn_blocking(move || {
            let asked = client.fetch_metadata(None, DEADLINE);
            // Nobody else takes what this client has to say, and it would keep all of it. A call
            // takes one log line or error, and does not tell whether there are more.
            for _ in 0..100 {
                client.poll(Duration::ZERO);
            }
            let metadata = asked.map_err(ProbeError::Silent)?;
            let exists = |name| {
                let found = |topic: &MetadataTopic| topic.name() == name && topic.error().is_none();
                metadata.topics().iter().any(found)
            };
            match topics.iter().find(|topic| !exists(topic.name())) {
                Some(missing) => Err(ProbeError::Missing(missing.name())),
                None => Ok(()),
            }
        })
        .await
        .unwrap_or(Err(ProbeError::Silent(KafkaError::Canceled)))
    }
}
