//! What a user of Tidings lives through, with the real program, real HTTP and real Kafka.
//!
//! Each test has a stack of its own, in a process of its own. On the embedded parts always; on
//! PostgreSQL and on Apache Kafka too where there are such; with clients of other makers where they
//! are installed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod architecture;
mod contracts;
mod crashes;
mod delivery;
mod foreign;
mod guids;
mod keys;
mod orders;
mod orders_killed;
mod refusals;
mod startup;
mod topic;
mod traces;
mod upgrades;
mod users;
mod visibility;

use tidings_testkit::{ExternalParts, TestDatabase, TestKafka, TestStack, backends};

/// The program under test.
const TIDINGS: &str = env!("CARGO_BIN_EXE_tidings");

/// What a stack runs on.
#[derive(Debug, Clone, Copy)]
enum Backend {
    Embedded,
    /// A PostgreSQL beside the embedded broker.
    Postgres,
    /// An Apache Kafka, and a PostgreSQL if there is one.
    Kafka,
}

/// A stack on each backend that is wanted, one at a time: they take turns on the external Kafka, and
/// who is not at work yet shall not keep it from others.
struct Stacks {
    webhook_url: String,
    settings: Vec<(String, String)>,
    backends: std::vec::IntoIter<Backend>,
}

fn stacks(webhook_url: &str, settings: &[(&str, &str)]) -> Stacks {
    let mut backends = vec![Backend::Embedded];
    backends.extend(backends::postgres().map(|_| Backend::Postgres));
    backends.extend(backends::kafka().map(|_| Backend::Kafka));
    let settings = settings
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Stacks {
        webhook_url: webhook_url.to_owned(),
        settings: settings.collect(),
        backends: backends.into_iter(),
    }
}

impl Stacks {
    async fn next(&mut self) -> Option<TestStack> {
        let backend = self.backends.next()?;
        // Shown if the test fails.
        eprintln!("on {backend:?}");
        let mut parts = ExternalParts::default();
        if matches!(backend, Backend::Kafka)
            && let Some(brokers) = backends::kafka()
        {
            parts.kafka = Some(TestKafka::exclusive(&brokers).await);
        }
        if matches!(backend, Backend::Postgres | Backend::Kafka)
            && let Some(admin) = backends::postgres()
        {
            parts.database = Some(TestDatabase::postgres(&admin).await);
        }
        let settings: Vec<_> = self
            .settings
            .iter()
            .map(|(name, value)| (&name[..], &value[..]))
            .collect();
        Some(TestStack::start_on(parts, TIDINGS, &self.webhook_url, &settings).await)
    }
}
