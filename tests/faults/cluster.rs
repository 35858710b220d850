//! Two of each service, each a process of its own, and the servers that they share.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::future::join_all;
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use tempfile::TempDir;
use tidings_testkit::{Output, RealPart, RealParts, TestProcess, eventually_within};

use crate::TIDINGS;

/// How long a process may take to be ready again, Kafka's own restart included, on a busy machine.
pub const RECOVERY: Duration = Duration::from_secs(120);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    Gateway,
    Delivery,
    Audit,
}

impl Role {
    pub fn command(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Delivery => "delivery",
            Self::Audit => "audit",
        }
    }
}

/// One of the processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Service {
    pub role: Role,
    /// 0 or 1.
    pub number: usize,
}

impl Service {
    pub const ALL: [Self; 6] = [
        Self::new(Role::Gateway, 0),
        Self::new(Role::Gateway, 1),
        Self::new(Role::Delivery, 0),
        Self::new(Role::Delivery, 1),
        Self::new(Role::Audit, 0),
        Self::new(Role::Audit, 1),
    ];

    pub const fn new(role: Role, number: usize) -> Self {
        Self { role, number }
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.role.command(), self.number + 1)
    }
}

struct Running {
    process: TestProcess,
    ops: SocketAddr,
}

pub struct Cluster {
    processes: BTreeMap<Service, Running>,
    /// What processes had said that have ended.
    said: BTreeMap<Service, String>,
    settings: BTreeMap<String, String>,
    /// Where each gateway is, however often it is started.
    pub gateways: [SocketAddr; 2],
    pub brokers: String,
    pub database: PgPool,
    pub client: reqwest::Client,
    folder: TempDir,
    /// Where the logs of a run that fails are kept.
    logs: PathBuf,
    // After the processes: they go first.
    pub parts: RealParts,
}

impl Cluster {
    /// Starts everything, or nothing if real parts are not wanted or cannot be started.
    pub async fn start(run: &str, webhook_url: &str) -> Option<Self> {
        let parts = RealParts::start(&RealPart::ESSENTIAL).await?;
        tidings_runtime::http_client::install_crypto_provider();
        let (brokers, database) = (parts.brokers().await, parts.database().await);
        let settings = [
            ("TIDINGS_ENCRYPTION_KEY", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="),
            ("DATABASE_URL", &database[..]),
            ("KAFKA_BROKERS", &brokers),
            ("WEBHOOK_URL", webhook_url),
            ("TIDINGS_OPS_LISTEN", "127.0.0.1:0"),
            // On a busy machine an answer may take a while, and that is not what is tried here.
            ("TIDINGS_ATTEMPT_TIMEOUT", "10s"),
            ("TIDINGS_RETRY_SCHEDULE", "0s,1s,2s,2s"),
        ];
        let mut cluster = Self {
            processes: BTreeMap::new(),
            said: BTreeMap::new(),
            settings: settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            gateways: [([127, 0, 0, 1], 0).into(); 2],
            database: PgPoolOptions::new().max_connections(4).connect_lazy(&database).unwrap(),
            client: reqwest::Client::builder()
                .no_proxy()
                .timeout(Duration::from_secs(10))
                .build()
                .unwrap(),
            folder: TempDir::new().unwrap(),
            logs: Path::new(env!("CARGO_TARGET_TMPDIR")).join(run),
            brokers,
            parts,
        };
        let migrated = cluster.run(&["migrate"]).await;
        assert!(migrated.status.success(), "{migrated:?}");
        for service in Service::ALL {
            cluster.start_one(service).await;
        }
        cluster.all_ready().await;
        Some(cluster)
    }

    /// Runs another command of the program to its end.
    pub async fn run(&self, arguments: &[&str]) -> Output {
        TestProcess::run(TIDINGS, arguments, self.folder.path(), &self.settings).await
    }

    /// Starts a service that does not run; a gateway where it was before.
    pub async fn start_one(&mut self, service: Service) {
        let mut settings = self.settings.clone();
        if service.role == Role::Gateway {
            settings.insert("TIDINGS_LISTEN".to_owned(), self.gateways[service.number].to_string());
        }
        let mut process = TestProcess::spawn(TIDINGS, &[service.role.command()], self.folder.path(), &settings);
        let said = process.says_within(RECOVERY, "health and metrics on http://").await;
        let address = |label: &str| -> Option<SocketAddr> {
            let (_, rest) = said.split_once(label)?;
            rest.split_whitespace().next()?.parse().ok()
        };
        let ops = address("health and metrics on http://").unwrap_or_else(|| panic!("no address in:\n{said}"));
        if service.role == Role::Gateway {
            self.gateways[service.number] =
                address("API on http://").unwrap_or_else(|| panic!("no address in:\n{said}"));
        }
        let before = self.processes.insert(service, Running { process, ops });
        assert!(before.is_none(), "{service} was running");
    }

    fn take(&mut self, service: Service) -> TestProcess {
        let running = self.processes.remove(&service);
        running.unwrap_or_else(|| panic!("{service} is not running")).process
    }

    fn note(&mut self, service: Service, said: &str) {
        self.said.entry(service).or_default().push_str(said);
    }

    /// Ends a service as a power failure would.
    pub async fn kill(&mut self, service: Service) {
        let said = self.take(service).kill().await;
        self.note(service, &said);
    }

    /// Ends a service in good order.
    pub async fn stop(&mut self, service: Service) {
        let (status, said) = self.take(service).stop().await;
        assert!(status.success(), "{service} ended with {status}:\n{said}");
        self.note(service, &said);
    }

    /// Ends all of them at once, in good order.
    pub async fn stop_all(&mut self) {
        let processes = std::mem::take(&mut self.processes).into_iter();
        let ended = join_all(processes.map(async |(service, running)| (service, running.process.stop().await))).await;
        for (service, (status, said)) in ended {
            assert!(status.success(), "{service} ended with {status}:\n{said}");
            self.note(service, &said);
        }
    }

    /// Fails if a process has ended by itself.
    pub fn nobody_gave_up(&mut self) {
        for (service, running) in &mut self.processes {
            let ended = running.process.ended();
            assert!(
                ended.is_none(),
                "{service} ended by itself with {ended:?}:\n{}",
                running.process.output()
            );
        }
    }

    /// Waits until every process that runs is ready to work.
    pub async fn all_ready(&mut self) {
        eventually_within(RECOVERY, "everything is ready", async || {
            self.nobody_gave_up();
            let services: Vec<_> = self.processes.keys().copied().collect();
            for service in services {
                match self.health(service).await {
                    (200, _) => {}
                    other => return Err((service, other)),
                }
            }
            Ok(())
        })
        .await;
    }

    /// What a service's own listener says of its health: status and body, or 0 if it does not answer.
    pub async fn health(&self, service: Service) -> (u16, String) {
        self.ops(service, "/health/ready").await
    }

    /// The sum of a service's metric over all labels that hold this text.
    pub async fn metric(&self, service: Service, name: &str, label: &str) -> f64 {
        let (status, metrics) = self.ops(service, "/metrics").await;
        assert_eq!(status, 200, "{metrics}");
        let values = metrics.lines().filter_map(|line| {
            let rest = line.strip_prefix(name)?;
            let (labels, value) = rest.rsplit_once(' ')?;
            let is_it = labels.is_empty() || labels.starts_with('{');
            (is_it && labels.contains(label)).then(|| value.parse::<f64>().unwrap())
        });
        values.sum()
    }

    async fn ops(&self, service: Service, path: &str) -> (u16, String) {
        let url = format!("http://{}{path}", self.processes[&service].ops);
        match self.client.get(url).send().await {
            Ok(answer) => (answer.status().as_u16(), answer.text().await.unwrap_or_default()),
            Err(error) => (0, error.to_string()),
        }
    }

    /// Everything a service has said, over all its starts.
    pub fn said(&self, service: Service) -> String {
        let mut said = self.said.get(&service).cloned().unwrap_or_default();
        if let Some(running) = self.processes.get(&service) {
            said.push_str(&running.process.output());
        }
        said
    }

    /// Writes down what all services have said.
    fn keep_logs(&self) {
        // Left from the last run under this name.
        let _ = std::fs::remove_dir_all(&self.logs);
        std::fs::create_dir_all(&self.logs).unwrap();
        for service in Service::ALL {
            let file = format!("{}-{}.log", service.role.command(), service.number + 1);
            std::fs::write(self.logs.join(file), self.said(service)).unwrap();
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.keep_logs();
            eprintln!("the logs of the services are in {}", self.logs.display());
        }
    }
}
