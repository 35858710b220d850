//! The stack under load.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tidings_testkit::{ExternalParts, TestDatabase, TestKafka, TestStack};

use crate::flow;
use crate::receiver::Receiver;

pub(crate) struct Target {
    pub(crate) stack: TestStack,
    pub(crate) receiver: Receiver,
}

impl Target {
    pub(crate) async fn start(binary: &Path) -> Result<Self> {
        let binary = binary.canonicalize().with_context(|| {
            format!(
                "{} is not there: cargo build --release -p tidings, or name another with --binary",
                binary.display()
            )
        })?;
        let receiver = Receiver::start()?;
        let mut parts = ExternalParts::default();
        if let Ok(brokers) = std::env::var("KAFKA_BROKERS") {
            parts.kafka = Some(TestKafka::exclusive(&brokers).await);
        }
        if let Ok(admin) = std::env::var("DATABASE_URL") {
            parts.database = Some(TestDatabase::postgres(&admin).await);
        }
        let database = if parts.database.is_some() {
            "PostgreSQL"
        } else {
            "SQLite"
        };
        let broker = if parts.kafka.is_some() {
            "Kafka"
        } else {
            "embedded broker"
        };
        println!("stack: {database} + {broker}");
        // Logs cost time, and this is not about them.
        let stack = TestStack::start_on(parts, binary, &receiver.url(), &[("RUST_LOG", "warn")]).await;
        Ok(Self { stack, receiver })
    }

    /// Until connections, caches and the broker's own compiler have settled.
    pub(crate) async fn warm_up(&self) -> Result<()> {
        let measured = flow::steady(self, 300, Duration::from_secs(5)).await?;
        match measured.missing() {
            0 => Ok(()),
            missing => bail!("{missing} messages of the warm-up did not arrive"),
        }
    }

    /// Processor time that the stack's process has used.
    pub(crate) fn processor_time(&self) -> Result<Duration> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.stack.pid()))?;
        // The name in brackets may contain spaces; the times are the 12th and 13th field after it.
        let after = stat.rsplit(')').next().unwrap_or_default();
        let ticks: u64 = after
            .split_whitespace()
            .skip(11)
            .take(2)
            .filter_map(|ticks| ticks.parse::<u64>().ok())
            .sum();
        Ok(Duration::from_millis(ticks * 10))
    }

    pub(crate) async fn stop(mut self) -> Result<()> {
        let status = self.stack.stop().await;
        if status.success() {
            Ok(())
        } else {
            bail!("the stack ended with {status}")
        }
    }
}
