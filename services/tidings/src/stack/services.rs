//! The services of a process, each as a task under supervision.

use std::sync::Arc;

use anyhow::{Context, Result};
use tidings_delivery::endpoints;
use tidings_events::TOPICS;
use tidings_gateway::guid_cache::{GuidCaching, Redis, RedisError};
use tidings_gateway::location::{Locator, LocatorError, Tuning};
use tidings_gateway::{Gateway, Limits, SandboxTokens};
use tidings_messaging::{TopicsError, relay, topics};
use tidings_runtime::http_client::OutwardClient;
use tidings_runtime::reach::Reach;
use tidings_runtime::shutdown::Supervisor;
use tidings_storage::outbox::{self, RelayOutbox};
use tidings_storage::{Db, Location};

use super::database::{self, Attempts, Failure};
use super::gauges::Gauges;
use super::{Parts, Role, channels, health};
use crate::BUILD;

/// Starts these services, the gateway on the port that it has got.
pub(super) fn spawn(
    parts: &Parts,
    roles: &[Role],
    gateway: Option<Gateway>,
    supervisor: &mut Supervisor,
) -> Result<()> {
    health::register(parts)?;
    // Before anything is written: a file or a URL may be refused.
    let mut gateway = match gateway {
        Some(gateway) => Some((gateway, locator(parts)?, guid_caching(parts)?)),
        None => None,
    };
    spawn_database(parts, roles, supervisor);
    spawn_topics(parts, supervisor);
    spawn_gauges(parts, roles, supervisor);
    for role in roles {
        match role {
            Role::Gateway => {
                let (gateway, locator, guids) = gateway.take().context("the gateway has no port")?;
                spawn_gateway(gateway, parts, locator, guids, supervisor);
            }
            Role::Delivery => spawn_delivery(parts, supervisor)?,
            Role::Notifier => spawn_notifier(parts, supervisor)?,
            Role::Audit => spawn_audit(parts, supervisor),
        }
    }
    // The audit log alone writes no events.
    if roles.iter().any(|role| *role != Role::Audit) {
        spawn_relay(parts, supervisor);
    }
    Ok(())
}

/// What there is to do before a service can begin; the name of its tasks.
const START: &str = "the start";

/// Opens the database as soon as it answers, and hands it out once it has in it what services begin with.
fn spawn_database(parts: &Parts, roles: &[Role], supervisor: &mut Supervisor) {
    let (location, schema) = (parts.location.clone(), parts.schema);
    let (opened, health, clock) = (parts.db.clone(), parts.health.clone(), parts.clock.clone());
    let vault = parts.vault.clone();
    let (url, secret) = (parts.webhook_url.clone(), parts.settings.webhook_secret.clone());
    let (delivers, audits) = (roles.contains(&Role::Delivery), roles.contains(&Role::Audit));
    let cancel = supervisor.token();
    supervisor.spawn(START, async move {
        let attempt = async || -> Result<Db, Failure> {
            let (db, _) = database::open(&location, schema).await?;
            if matches!(location, Location::Sqlite(_)) {
                // This process holds the lock of the database's folder, so whoever had leases is gone.
                tidings_delivery::clear_leases(&db).await?;
                tidings_notifier::clear_leases(&db).await?;
            }
            if delivers {
                endpoints::ensure_default(&db, &clock, &vault, &url, &secret).await?;
            }
            Ok(db)
        };
        let opening = async {
            let mut attempts = Attempts::at(&location, None);
            loop {
                match attempt().await {
                    Ok(db) => {
                        attempts.worked();
                        break anyhow::Ok(db);
                    }
                    Err(failure) => attempts.failed(failure).await?,
                }
            }
        };
        let db = match location {
            // Short, and not to be left half done.
            Location::Sqlite(_) => Some(opening.await),
            Location::Postgres(_) => cancel.run_until_cancelled(opening).await,
        };
        if let Some(db) = db.transpose()? {
            health::register_database(&health, &db);
            if audits {
                health::register_audit(&health, &db);
            }
            opened.set(db)?;
        }
        cancel.cancelled().await;
        anyhow::Ok(())
    });
}

/// Creates the topics as soon as the broker answers. What needs them waits for that; the gateway does not.
fn spawn_topics(parts: &Parts, supervisor: &mut Supervisor) {
    let (connection, ready, cancel) = (parts.connection.clone(), parts.topics.clone(), supervisor.token());
    supervisor.spawn(START, async move {
        match topics::ensure_with_retry(&connection, TOPICS, &cancel).await {
            Ok(()) => ready.cancel(),
            Err(TopicsError::Cancelled) => {}
            Err(error) => return Err(anyhow::Error::new(error)),
        }
        cancel.cancelled().await;
        Ok(())
    });
}

/// Shows how what the process works with is, from the start on.
fn spawn_gauges(parts: &Parts, roles: &[Role], supervisor: &mut Supervisor) {
    let cancel = supervisor.token();
    let gauges = Gauges {
        db: parts.db.clone(),
        health: parts.health.clone(),
        topics: parts.topics.clone(),
        roles: roles.to_vec(),
    };
    supervisor.spawn("gauges", async move {
        gauges.keep(&cancel).await;
        cancel.cancelled().await;
        anyhow::Ok(())
    });
}

fn locator(parts: &Parts) -> Result<Locator, LocatorError> {
    let settings = &parts.settings;
    Locator::new(
        settings.geoip_url.clone(),
        settings.geoip_database.as_deref(),
        settings.local_country.clone(),
        Tuning::default(),
        parts.clock.clone(),
    )
}

fn guid_caching(parts: &Parts) -> Result<GuidCaching, RedisError> {
    let redis = parts.settings.redis_url.as_ref().map(Redis::at).transpose()?;
    Ok(GuidCaching {
        changes: Some(parts.connection.clone()),
        redis,
        ..GuidCaching::default()
    })
}

fn spawn_gateway(gateway: Gateway, parts: &Parts, locator: Locator, guids: GuidCaching, supervisor: &mut Supervisor) {
    let settings = &parts.settings;
    let parts = tidings_gateway::Parts {
        db: parts.db.clone(),
        clock: parts.clock.clone(),
        api_key: settings.api_key.clone(),
        open_contracts: settings.open_contracts,
        limits: Limits {
            per_key: settings.rate_limit_per_key,
            per_address: settings.rate_limit_per_address,
            ..Limits::default()
        },
        public_url: settings.public_url.clone(),
        trusted_proxies: settings.trusted_proxies.clone(),
        locator: Arc::new(locator),
        guids,
        sandbox: sandbox(parts),
        health: parts.health.clone(),
        metrics: parts.in_development().then(|| parts.metrics.clone()),
        build: BUILD,
    };
    supervisor.spawn("gateway", gateway.run(parts, supervisor.token()));
}

/// Development stands in for the providers that it does not have.
fn sandbox(parts: &Parts) -> Option<SandboxTokens> {
    let providers = &parts.settings.providers;
    let tokens = (providers.email.token.clone(), providers.sms.token.clone());
    match tokens {
        (Some(email), Some(sms)) if parts.in_development() => Some(SandboxTokens { email, sms }),
        _ => None,
    }
}

fn spawn_delivery(parts: &Parts, supervisor: &mut Supervisor) -> Result<()> {
    let settings = &parts.settings;
    let and = settings.webhook_allow.clone();
    let client = OutwardClient::new(Reach::Public { and })?;
    let vault = parts.vault.clone();
    let (clock, connection) = (parts.clock.clone(), parts.connection.clone());
    let (schedule, attempt_timeout) = (settings.retry_schedule.clone(), settings.attempt_timeout);
    let (ground, cancel) = (parts.ground(), supervisor.token());
    supervisor.spawn("delivery", async move {
        let Some(db) = cancel.run_until_cancelled(ground).await else {
            return Ok(());
        };
        let parts = tidings_delivery::Parts {
            db,
            clock,
            connection,
            client,
            vault,
            schedule,
            attempt_timeout,
        };
        tidings_delivery::run(parts, cancel).await
    });
    Ok(())
}

fn spawn_notifier(parts: &Parts, supervisor: &mut Supervisor) -> Result<()> {
    let settings = &parts.settings;
    let channels = channels::open(parts)?;
    let (clock, connection) = (parts.clock.clone(), parts.connection.clone());
    let (schedule, attempt_timeout) = (settings.retry_schedule.clone(), settings.attempt_timeout);
    let (ground, cancel) = (parts.ground(), supervisor.token());
    supervisor.spawn("notifier", async move {
        let Some(db) = cancel.run_until_cancelled(ground).await else {
            return Ok(());
        };
        let parts = tidings_notifier::Parts {
            db,
            clock,
            connection,
            channels,
            schedule,
            attempt_timeout,
        };
        tidings_notifier::run(parts, cancel).await
    });
    Ok(())
}

fn spawn_audit(parts: &Parts, supervisor: &mut Supervisor) {
    let (clock, connection) = (parts.clock.clone(), parts.connection.clone());
    let (ground, cancel) = (parts.ground(), supervisor.token());
    supervisor.spawn("audit", async move {
        match cancel.run_until_cancelled(ground).await {
            Some(db) => tidings_audit::run(tidings_audit::Parts { db, clock, connection }, cancel).await,
            None => Ok(()),
        }
    });
}

/// One relay per process publishes for all of its services.
fn spawn_relay(parts: &Parts, supervisor: &mut Supervisor) {
    let (db, cancel) = (parts.db.clone(), supervisor.token());
    supervisor.spawn("outbox signals", async move {
        if let Some(db) = cancel.run_until_cancelled(db.wait()).await {
            outbox::exchange(db.clone(), cancel.clone()).await;
        }
        cancel.cancelled().await;
        anyhow::Ok(())
    });
    let connection = parts.connection.clone();
    let (ground, cancel) = (parts.ground(), supervisor.token());
    supervisor.spawn("relay", async move {
        match cancel.run_until_cancelled(ground).await {
            Some(db) => relay::run(RelayOutbox::new(db), &connection, cancel).await,
            None => Ok(()),
        }
    });
}

impl Parts {
    /// What a service stands on: completes with the database when that is open and the topics are there.
    fn ground(&self) -> impl Future<Output = Db> + Send + 'static {
        let (db, topics) = (self.db.clone(), self.topics.clone());
        async move {
            topics.cancelled().await;
            db.wait().await.clone()
        }
    }
}
