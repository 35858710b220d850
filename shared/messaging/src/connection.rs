use std::fmt;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

/// Where the brokers are, and how to speak to them.
#[derive(Clone, PartialEq, Eq)]
pub struct Connection {
    /// `host:port`, several of them with commas between.
    pub brokers: String,
    /// Further settings of librdkafka by their own names: `security.protocol`, `sasl.username` and
    /// the like. Those on which a guarantee rests cannot be changed with it.
    pub properties: Vec<(String, String)>,
}

impl Connection {
    /// Without encryption or authentication.
    pub fn plain(brokers: impl Into<String>) -> Self {
        Self {
            brokers: brokers.into(),
            properties: Vec::new(),
        }
    }

    /// What all clients have in common. `name` is what the broker's logs call this client.
    pub(crate) fn client_config(&self, name: &str) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("client.id", format!("tidings-{name}"))
            .set("socket.keepalive.enable", "true")
            .set("socket.nagle.disable", "true")
            .set("socket.connection.setup.timeout.ms", "5000")
            // A broker that returns is noticed within a second, and costs next to nothing while away.
            .set("reconnect.backoff.ms", "50")
            .set("reconnect.backoff.max.ms", "1000")
            .set("log.connection.close", "false")
            .set_log_level(RDKafkaLogLevel::Info);
        for (name, value) in &self.properties {
            config.set(name, value);
        }
        config.set("bootstrap.servers", &self.brokers);
        config
    }
}

/// Shows the names of the properties only: a password may be among their values.
impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.properties.iter().map(|(name, _)| name).collect();
        f.debug_struct("Connection")
            .field("brokers", &self.brokers)
            .field("properties", &names)
            .finish()
    }
}

/// Passes what a client says on to `tracing`.
///
/// While a broker is away, librdkafka reports each attempt to reach it. That goes to debug level,
/// but for one warning every so often.
#[derive(Debug)]
pub(crate) struct ClientLog {
    client: String,
    /// What was warned of last, and when. `None` stands for a broker that is away.
    warned: Mutex<Option<(Option<RDKafkaErrorCode>, Instant)>>,
}

/// How often the same trouble is worth a line.
const REMIND_EVERY: Duration = Duration::from_secs(30);

impl ClientLog {
    pub(crate) fn new(client: &str) -> Self {
        Self {
            client: client.to_owned(),
            warned: Mutex::new(None),
        }
    }

    fn due(&self, trouble: Option<RDKafkaErrorCode>) -> bool {
        let mut warned = self.warned.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let due = warned.is_none_or(|(last, at)| last != trouble || at.elapsed() >= REMIND_EVERY);
        if due {
            *warned = Some((trouble, Instant::now()));
        }
        due
    }
}

impl ClientContext for ClientLog {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        let client = &self.client;
        // The first two repeat what `error` is told, the third warns of settings made here on purpose.
        if matches!(facility, "FAIL" | "ERROR" | "CONFWARN") {
            tracing::debug!(client, facility, "{message}");
            return;
        }
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical | RDKafkaLogLevel::Error => {
                tracing::error!(client, facility, "{message}");
            }
            RDKafkaLogLevel::Warning => tracing::warn!(client, facility, "{message}"),
            RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => tracing::info!(client, facility, "{message}"),
            RDKafkaLogLevel::Debug => tracing::debug!(client, facility, "{message}"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let client = &self.client;
        let away = is_connection_trouble(&error);
        let due = self.due(error.rdkafka_error_code().filter(|_| !away));
        match (away, due) {
            (true, true) => tracing::warn!(client, reason, "cannot reach the broker, still trying"),
            (false, true) => tracing::warn!(client, %error, reason, "kafka client reports an error"),
            (_, false) => tracing::debug!(client, %error, reason, "kafka client reports an error again"),
        }
    }
}

/// Whether an error says no more than that a broker is away for now.
pub(crate) fn is_connection_trouble(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::BrokerTransportFailure
                | RDKafkaErrorCode::AllBrokersDown
                | RDKafkaErrorCode::Resolve
                | RDKafkaErrorCode::OperationTimedOut
                | RDKafkaErrorCode::RequestTimedOut
                | RDKafkaErrorCode::BrokerNotAvailable
                | RDKafkaErrorCode::CoordinatorNotAvailable
                | RDKafkaErrorCode::CoordinatorLoadInProgress
        )
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_shown() {
        let connection = Connection {
            brokers: "kafka:9092".into(),
            properties: vec![("sasl.password".into(), "open sesame".into())],
        };
        let shown = format!("{connection:?}");
        assert!(shown.contains("sasl.password") && !shown.contains("sesame"), "{shown}");
    }

    #[test]
    fn an_absent_broker_is_worth_one_line() {
        let log = ClientLog::new("test");
        assert!(log.due(None));
        assert!(!log.due(None));
        assert!(log.due(Some(RDKafkaErrorCode::TopicAuthorizationFailed)));
    }
}
