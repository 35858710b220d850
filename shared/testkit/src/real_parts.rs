//! A PostgreSQL, an Apache Kafka and a Redis of a test's own, which it may take away.

use std::path::Path;
use std::process::Stdio;

use tempfile::TempDir;
use tokio::process::Command;

use crate::backends;

/// Servers that `deploy/scripts/real-parts` starts, in a folder of their own. Killed when dropped.
#[derive(Debug)]
pub struct RealParts {
    script: String,
    folder: TempDir,
}

/// One of the servers, by the name that the script has for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RealPart {
    Postgres,
    Kafka,
    Redis,
}

impl RealPart {
    pub const ALL: [Self; 3] = [Self::Postgres, Self::Kafka, Self::Redis];
    /// Those that services of their own cannot do without.
    pub const ESSENTIAL: [Self; 2] = [Self::Postgres, Self::Kafka];

    pub fn name(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::Kafka => "kafka",
            Self::Redis => "redis",
        }
    }
}

impl RealParts {
    /// Starts these, if real parts are wanted and there is a script that starts them.
    pub async fn start(parts: &[RealPart]) -> Option<Self> {
        let own = Self {
            script: backends::real_parts()?,
            folder: TempDir::new().unwrap(),
        };
        for part in parts {
            own.up(*part).await;
        }
        Some(own)
    }

    /// Starts one that does not run, where it was before and with what it had.
    pub async fn up(&self, part: RealPart) {
        self.script("up", part).await;
    }

    /// Ends one as a power failure would.
    pub async fn kill(&self, part: RealPart) {
        self.script("kill", part).await;
    }

    /// The `host:port` of Kafka, which must be running.
    pub async fn brokers(&self) -> String {
        self.told(RealPart::Kafka, "KAFKA_BROKERS").await
    }

    /// The URL of an empty database on PostgreSQL, which must be running.
    pub async fn database(&self) -> String {
        self.told(RealPart::Postgres, "DATABASE_URL").await
    }

    /// The URL of a Redis, which must be running.
    pub async fn redis(&self) -> String {
        self.told(RealPart::Redis, "REDIS_URL").await
    }

    /// Where the servers keep what they write, their logs for example.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    async fn told(&self, part: RealPart, variable: &str) -> String {
        let told = self.script("env", part).await;
        let value = told
            .lines()
            .find_map(|line| line.strip_prefix(&format!("export {variable}=")));
        value.unwrap_or_else(|| panic!("no {variable} in {told}")).to_owned()
    }

    async fn script(&self, command: &str, part: RealPart) -> String {
        let script = &self.script;
        let run = Command::new(script)
            .args([command, part.name()])
            .arg(self.folder.path())
            .stdin(Stdio::null())
            .output();
        let output = run
            .await
            .unwrap_or_else(|error| panic!("{script} cannot be run: {error}"));
        assert!(
            output.status.success(),
            "{script} {command} {}: {output:?}",
            part.name()
        );
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for RealParts {
    fn drop(&mut self) {
        for part in RealPart::ALL {
            // Fails if it is not running.
            let _ = std::process::Command::new(&self.script)
                .args(["kill", part.name()])
                .arg(self.folder.path())
                .stderr(Stdio::null())
                .status();
        }
    }
}
