//! Puts the services together: all of them in one process, or one of them alone.
//!
//! The services do not know each other. Here they get the same database, the same broker and the same
//! clock, and run side by side until the first of them fails or the process is asked to end.
//!
//! Listeners come first. Then the database is opened and the topics are made sure of, each for as long as
//! it takes, and whatever works on them begins when they are there. Nothing gets at the database before its
//! schema was found to be the one of this version: there is no [`Db`] until then.

mod broker;
mod channels;
pub(crate) mod database;
mod gauges;
mod health;
mod services;
pub(crate) mod vault;

use std::net::SocketAddr;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use secrecy::ExposeSecret;
use tidings_domain::{Clock, SystemClock, WebhookUrl};
use tidings_gateway::Gateway;
use tidings_messaging::Connection;
use tidings_runtime::data_dir::DataDir;
use tidings_runtime::health::Health;
use tidings_runtime::http_client::OutwardClient;
use tidings_runtime::reach::Reach;
use tidings_runtime::settings::{Profile, Settings};
use tidings_runtime::shutdown::{Supervisor, SupervisorError, on_signals};
use tidings_runtime::telemetry::traces::{self, Traces};
use tidings_runtime::telemetry::{self, MetricsHandle};
use tidings_runtime::{http_client, ops};
use tidings_signing::Secret;
use tidings_storage::{Db, Location};
use tidings_vault::Vault;
use tokio::sync::SetOnce;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use self::database::Schema;
use crate::banner::{self, Places};
use crate::receiver::Receiver;
use crate::{BUILD, banner::say};

/// Where webhooks go if nothing is said about it.
const DEFAULT_WEBHOOK_URL: &str = "http://localhost:3010/webhooks";

/// What takes longer than this to be there is worth a word to whoever waits for it.
const PROMPT: Duration = Duration::from_secs(2);

/// A service that can run in a process of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Gateway,
    Delivery,
    Notifier,
    Audit,
}

impl Role {
    const ALL: &[Self] = &[Self::Gateway, Self::Delivery, Self::Notifier, Self::Audit];

    fn name(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Delivery => "delivery",
            Self::Notifier => "notifier",
            Self::Audit => "audit",
        }
    }
}

/// What all services of a process share.
struct Parts {
    settings: Settings,
    clock: Arc<dyn Clock>,
    location: Location,
    schema: Schema,
    /// Set once the database answers, has the right schema, and has in it what a service begins with.
    db: Arc<SetOnce<Db>>,
    connection: Connection,
    vault: Vault,
    /// Where the gateway is, in this process or in another.
    api: SocketAddr,
    /// Where the default endpoint is.
    webhook_url: WebhookUrl,
    health: Health,
    metrics: MetricsHandle,
    /// Cancelled once the topics exist.
    topics: CancellationToken,
}

/// Runs everything until Ctrl-C.
pub(crate) async fn up(settings: Settings) -> Result<()> {
    let started = Instant::now();
    up_until(settings, on_signals()?, |places| {
        banner::welcome(places, started.elapsed());
    })
    .await
}

/// Runs everything until cancelled; `ready` is told where it is.
pub(crate) async fn up_until(
    settings: Settings,
    cancel: CancellationToken,
    ready: impl FnOnce(&Places<'_>),
) -> Result<()> {
    refuse_missing_tls(&settings)?;
    http_client::install_crypto_provider();
    let location = database::location(&settings);
    let folder = database::lock(&location)?;
    let _broker_folder = match &settings.kafka_brokers {
        None if !is_locked(folder.as_ref(), &settings.data_dir) => Some(DataDir::lock(&settings.data_dir)?),
        _ => None,
    };
    let traces = traces(&settings, "tidings")?;
    let mut supervisor = Supervisor::new(cancel);

    let (receiver, webhook_url) = match &settings.webhook_url {
        Some(url) => (None, url.clone()),
        None => {
            let secret = Secret::from_text(settings.webhook_secret.expose_secret()).context("WEBHOOK_SECRET")?;
            let receiver = Receiver::bind(settings.receiver_listen, secret)?;
            let url = receiver.url().parse()?;
            (Some(receiver), url)
        }
    };
    let built_in_receiver = receiver.is_some();
    // Before anything is written: a port that is taken is the usual reason not to start.
    let gateway = Gateway::bind(settings.listen)?;
    let api = gateway.addr();
    let vault = vault::for_stack(&settings)?;
    let broker = match &settings.kafka_brokers {
        Some(_) => None,
        None => Some(broker::start(&settings).await?),
    };
    let embedded_broker = broker.is_some();
    let brokers = match (&settings.kafka_brokers, &broker) {
        (Some(brokers), _) => brokers.clone(),
        (None, Some(broker)) => broker.addr().to_string(),
        (None, None) => bail!("no broker"),
    };
    let parts = parts(
        settings,
        (location, Schema::Migrate),
        brokers.clone(),
        vault,
        api,
        webhook_url.clone(),
    );

    if let Some(broker) = broker {
        supervisor.spawn_support("broker", broker::watch(broker, supervisor.support_token()));
    }
    if let Some(receiver) = receiver {
        supervisor.spawn_support("receiver", receiver.run(supervisor.support_token()));
    }
    services::spawn(&parts, Role::ALL, Some(gateway), &mut supervisor)?;
    let announce = async {
        if timeout(PROMPT, parts.db.wait()).await.is_err() {
            say(&format!(
                "not ready yet: http://{api}/health/ready says what is missing"
            ));
        }
        parts.db.wait().await;
        // An external broker may be away, which keeps nobody from sending messages.
        let _ = timeout(PROMPT, parts.topics.cancelled()).await;
        ready(&Places {
            settings: &parts.settings,
            database: database::describe(&parts.location),
            api,
            broker: (brokers, embedded_broker),
            publishing: parts.topics.is_cancelled(),
            webhooks: (webhook_url.to_string(), built_in_receiver),
        });
    };
    run(supervisor, announce).await?;
    close(parts, traces).await;
    Ok(())
}

/// Runs until the end, and announces meanwhile what there is to announce.
async fn run(supervisor: Supervisor, announce: impl Future<Output = ()>) -> Result<(), SupervisorError> {
    let mut running = pin!(supervisor.run());
    tokio::select! {
        ended = &mut running => ended,
        () = announce => running.await,
    }
}

async fn close(parts: Parts, traces: Option<Traces>) {
    if let Some(traces) = traces {
        traces.finish().await;
    }
    if let Some(db) = parts.db.get() {
        db.clone().close().await;
    }
}

/// Whether it is this folder that was locked.
fn is_locked(locked: Option<&DataDir>, folder: &Path) -> bool {
    locked.is_some_and(|locked| folder.canonicalize().is_ok_and(|folder| folder == locked.path()))
}

/// Runs one service on a database and a broker that others run.
pub(crate) async fn alone(settings: Settings, role: Role) -> Result<()> {
    refuse_missing_tls(&settings)?;
    http_client::install_crypto_provider();
    let location = database::location(&settings);
    let Location::Postgres(_) = location else {
        bail!(
            "tidings {0} needs a database that processes can share: set DATABASE_URL to a PostgreSQL, or run `tidings up`, \
             which has {0} in it",
            role.name()
        );
    };
    let Some(brokers) = settings.kafka_brokers.clone() else {
        bail!(
            "tidings {0} needs a broker that processes can share: set KAFKA_BROKERS, or run `tidings up`, which has {0} in it",
            role.name()
        );
    };
    let vault = vault::required(&settings, &format!("tidings {}", role.name()))?;
    let webhook_url = match &settings.webhook_url {
        Some(url) => url.clone(),
        None => DEFAULT_WEBHOOK_URL.parse()?,
    };
    let gateway = match role {
        Role::Gateway => Some(Gateway::bind(settings.listen)?),
        Role::Delivery | Role::Notifier | Role::Audit => None,
    };
    let traces = traces(&settings, &format!("tidings-{}", role.name()))?;
    let own_api = gateway.as_ref().map(Gateway::addr);
    let api = own_api.unwrap_or(settings.listen);
    let mut supervisor = Supervisor::new(on_signals()?);
    let parts = parts(settings, (location, Schema::Check), brokers, vault, api, webhook_url);
    let listen = parts.settings.ops_listen;
    let (ops, serving) = ops::serve(
        listen,
        parts.health.clone(),
        parts.metrics.clone(),
        BUILD,
        supervisor.support_token(),
    )?;
    supervisor.spawn_support("ops listener", serving);
    services::spawn(&parts, &[role], gateway, &mut supervisor)?;
    if let Some(api) = own_api {
        say(&format!("API on http://{api}"));
    }
    say(&format!(
        "{} is running · health and metrics on http://{ops} · Ctrl-C stops",
        role.name()
    ));
    let announce = async {
        parts.db.wait().await;
        parts.topics.cancelled().await;
        say(&format!("{} is ready", role.name()));
    };
    run(supervisor, announce).await?;
    close(parts, traces).await;
    Ok(())
}

/// Sends traces from now on, if somebody collects them.
fn traces(settings: &Settings, service: &str) -> Result<Option<Traces>> {
    let Some(endpoint) = &settings.otlp_endpoint else {
        return Ok(None);
    };
    // Whoever runs this process chose it, and may have it in the house.
    let client = OutwardClient::new(Reach::Anything)?;
    let traces = traces::start(
        endpoint,
        settings.traces_sampled,
        service,
        BUILD.version,
        client,
        Arc::new(SystemClock),
    )?;
    Ok(Some(traces))
}

/// What the Kafka client would say about it helps nobody.
fn refuse_missing_tls(settings: &Settings) -> Result<()> {
    let wanted = settings.exposed_kafka_properties().any(|property| {
        matches!(
            property,
            ("security.protocol", "ssl" | "sasl_ssl") | ("sasl.mechanism", "SCRAM-SHA-256" | "SCRAM-SHA-512")
        )
    });
    if wanted && !cfg!(feature = "kafka-tls") {
        bail!(
            "this binary was built without TLS for Kafka: build it with `--features kafka-tls`, or choose another \
             KAFKA_SECURITY_PROTOCOL and KAFKA_SASL_MECHANISM"
        );
    }
    Ok(())
}

fn parts(
    settings: Settings,
    (location, schema): (Location, Schema),
    brokers: String,
    vault: Vault,
    api: SocketAddr,
    webhook_url: WebhookUrl,
) -> Parts {
    let properties = settings
        .exposed_kafka_properties()
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
    let connection = Connection {
        brokers,
        properties: properties.collect(),
    };
    Parts {
        clock: Arc::new(SystemClock),
        location,
        schema,
        db: Arc::default(),
        connection,
        vault,
        api,
        webhook_url,
        health: Health::new(),
        metrics: telemetry::install_metrics(),
        topics: CancellationToken::new(),
        settings,
    }
}

impl Parts {
    fn in_development(&self) -> bool {
        self.settings.profile == Profile::Development
    }
}
