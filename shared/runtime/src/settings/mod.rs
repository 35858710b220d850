//! Everything that can be configured, read once at start and parsed into types.
//!
//! The environment wins over `tidings.toml`, which wins over the profile's defaults. Both sources use
//! the same names, those of [`TABLE`]. The table alone says which settings exist: it holds the defaults,
//! it is what unknown names are checked against, and `docs/settings.md` is generated from it.
//!
//! An unknown name is an error rather than a setting that silently does nothing. In the environment only
//! names that begin with `TIDINGS_` can be judged; every other variable belongs to someone else.

mod docs;
mod error;
mod parse;
mod providers;
mod rate;
mod sources;
mod table;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use secrecy::{ExposeSecret, SecretString};
use tidings_domain::{Country, RetrySchedule, WebhookUrl};

pub use docs::markdown_table;
pub use error::{SettingsError, Source};
pub use providers::{Provider, Providers, Smtp};
pub use rate::RateLimit;
use sources::Sources;
pub use table::{Fallback, Setting, TABLE};

/// The file that is read from the folder in which a process starts.
pub const FILE: &str = "tidings.toml";

/// How strict a process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// Everything has a default, demo secrets included.
    Development,
    /// Demo secrets are refused, and so are webhooks to addresses that are not public.
    Production,
}

impl Profile {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Development => "development",
            Self::Production => "production",
        }
    }
}

/// The settings of a process. Secrets are not shown by `Debug`.
#[derive(Debug, Clone)]
pub struct Settings {
    pub profile: Profile,
    /// Where the gateway listens.
    pub listen: SocketAddr,
    /// Where a service that runs alone serves health and metrics.
    pub ops_listen: SocketAddr,
    pub data_dir: PathBuf,
    /// `None`: SQLite in the data folder. It may contain a password.
    pub database_url: Option<SecretString>,
    /// `None`: the embedded broker.
    pub kafka_brokers: Option<String>,
    /// What else the Kafka client is to be told, under librdkafka's own names.
    pub kafka_properties: Vec<(String, SecretString)>,
    /// What gateways share of GUIDs. It may contain a password. `None`: nothing.
    pub redis_url: Option<SecretString>,
    /// Where the embedded broker listens.
    pub broker_listen: SocketAddr,
    /// Where the built-in webhook receiver listens.
    pub receiver_listen: SocketAddr,
    pub api_key: SecretString,
    /// One key or several, each 32 bytes in base64, separated by commas.
    pub encryption_keys: Option<SecretString>,
    /// Without a slash at its end. `None`: each request's own scheme and host.
    pub public_url: Option<String>,
    /// Whether contracts that were published without authentication need none.
    pub open_contracts: bool,
    /// Of one key; `None`: as often as it likes.
    pub rate_limit_per_key: Option<RateLimit>,
    /// Of one address; `None`: as often as it likes.
    pub rate_limit_per_address: Option<RateLimit>,
    /// Whose `X-Forwarded-For` counts.
    pub trusted_proxies: Vec<IpNet>,
    /// With `{ip}` where the address goes. It may contain a key.
    pub geoip_url: SecretString,
    /// A file in MaxMind's format.
    pub geoip_database: Option<PathBuf>,
    /// Of private and loopback addresses. `None`: they are in no country.
    pub local_country: Option<Country>,
    /// Networks that webhooks may reach although they are not public.
    pub webhook_allow: Vec<IpNet>,
    /// The total deadline of one delivery attempt.
    pub attempt_timeout: Duration,
    /// `None`: the built-in receiver.
    pub webhook_url: Option<WebhookUrl>,
    pub webhook_secret: SecretString,
    pub retry_schedule: RetrySchedule,
    pub providers: Providers,
    /// A collector of traces, without a slash at its end.
    pub otlp_endpoint: Option<String>,
    /// Of the traces that begin here, how many are sampled: from 0 to 1.
    pub traces_sampled: f64,
}

impl Settings {
    /// Reads the settings of this process: its environment, and [`FILE`] in the current folder.
    pub fn from_process() -> Result<Self, SettingsError> {
        let mut env = Vec::new();
        for (name, value) in std::env::vars_os() {
            // A name that is not Unicode is none of ours.
            let Ok(name) = name.into_string() else { continue };
            match value.into_string() {
                Ok(value) => env.push((name, value)),
                Err(_) => {
                    if let Some(setting) = table::find(&name) {
                        let reason = "the value is not valid UTF-8".to_owned();
                        return Err(SettingsError::invalid(setting, Source::Environment, reason));
                    }
                }
            }
        }
        Self::load(env.into_iter(), Some(Path::new(FILE)))
    }

    /// Reads the settings from an environment and a file. A file that does not exist counts as empty.
    pub fn load(env: impl Iterator<Item = (String, String)>, toml_path: Option<&Path>) -> Result<Self, SettingsError> {
        let sources = Sources::read(env, toml_path)?;
        let from = sources.with_profile(sources.profile()?);
        Ok(Self {
            profile: from.profile(),
            listen: from.required("TIDINGS_LISTEN", parse::socket_address)?,
            ops_listen: from.required("TIDINGS_OPS_LISTEN", parse::socket_address)?,
            data_dir: from.required("TIDINGS_DATA_DIR", |text| Ok(PathBuf::from(text)))?,
            database_url: from.optional("DATABASE_URL", parse::database_url)?,
            kafka_brokers: from.optional("KAFKA_BROKERS", parse::brokers)?,
            kafka_properties: kafka_properties(&from)?,
            redis_url: from.optional("REDIS_URL", parse::redis_url)?,
            broker_listen: from.required("TIDINGS_BROKER_LISTEN", parse::socket_address)?,
            receiver_listen: from.required("TIDINGS_RECEIVER_LISTEN", parse::socket_address)?,
            api_key: from.secret("TIDINGS_API_KEY", parse::api_key)?,
            encryption_keys: from.optional("TIDINGS_ENCRYPTION_KEY", parse::encryption_keys)?,
            public_url: from.optional("TIDINGS_PUBLIC_URL", parse::public_url)?,
            open_contracts: from.required("TIDINGS_OPEN_CONTRACTS", parse::yes_or_no)?,
            rate_limit_per_key: from.required("TIDINGS_RATE_LIMIT_PER_KEY", rate::parse)?,
            rate_limit_per_address: from.required("TIDINGS_RATE_LIMIT_PER_ADDRESS", rate::parse)?,
            trusted_proxies: from
                .optional("TIDINGS_TRUSTED_PROXIES", parse::networks)?
                .unwrap_or_default(),
            geoip_url: from.required("GEOIP_URL", parse::geoip_url)?,
            geoip_database: from.optional("GEOIP_DATABASE", |text| Ok(PathBuf::from(text)))?,
            local_country: from.optional("TIDINGS_LOCAL_COUNTRY", parse::country)?,
            webhook_allow: from
                .optional("TIDINGS_WEBHOOK_ALLOW", parse::networks)?
                .unwrap_or_default(),
            attempt_timeout: from.required("TIDINGS_ATTEMPT_TIMEOUT", parse::attempt_timeout)?,
            webhook_url: from.optional("WEBHOOK_URL", parse::from_str)?,
            webhook_secret: from.secret("WEBHOOK_SECRET", parse::secret)?,
            retry_schedule: from.required("TIDINGS_RETRY_SCHEDULE", parse::from_str)?,
            providers: Providers::read(&from)?,
            otlp_endpoint: from.optional("OTEL_EXPORTER_OTLP_ENDPOINT", parse::public_url)?,
            traces_sampled: from.required("OTEL_TRACES_SAMPLER_ARG", parse::share)?,
        })
    }

    /// The Kafka properties in the clear, for the client that is to be built from them.
    pub fn exposed_kafka_properties(&self) -> impl Iterator<Item = (&str, &str)> {
        self.kafka_properties
            .iter()
            .map(|(name, value)| (name.as_str(), value.expose_secret()))
    }
}

fn kafka_properties(from: &sources::Profiled<'_>) -> Result<Vec<(String, SecretString)>, SettingsError> {
    let mut properties = Vec::new();
    for (setting, property) in [
        ("KAFKA_SECURITY_PROTOCOL", "security.protocol"),
        ("KAFKA_SASL_MECHANISM", "sasl.mechanism"),
        ("KAFKA_SASL_USERNAME", "sasl.username"),
        ("KAFKA_SASL_PASSWORD", "sasl.password"),
        ("KAFKA_SSL_CA_LOCATION", "ssl.ca.location"),
    ] {
        let value = if setting == "KAFKA_SECURITY_PROTOCOL" {
            from.optional(setting, parse::security_protocol)?
        } else {
            from.optional(setting, parse::secret)?
        };
        properties.extend(value.map(|value| (property.to_owned(), value)));
    }
    Ok(properties)
}
