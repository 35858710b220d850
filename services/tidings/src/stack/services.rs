//! The services of a process, each as a task under supervision.

use anyhow::{Context, Result};
use tidings_events::TOPICS;
use tidings_gateway::Gateway;
use tidings_messaging::{TopicsError, relay, topics};
use tidings_runtime::http_client::OutwardClient;
use tidings_runtime::shutdown::Supervisor;
use tidings_storage::outbox::{self, RelayOutbox};

use super::{Parts, Role, health};
use crate::BUILD;

/// Starts these services, the gateway on the port that it has got.
pub(super) async fn spawn(
    parts: &Parts,
    roles: &[Role],
    mut gateway: Option<Gateway>,
    supervisor: &mut Supervisor,
) -> Result<()> {
    health::register(parts)?;
    spawn_topics(parts, supervisor);
    for role in roles {
        match role {
            Role::Gateway => {
                let gateway = gateway.take().context("the gateway has no port")?;
                spawn_gateway(gateway, parts, supervisor);
            }
            Role::Delivery => spawn_delivery(parts, supervisor).await?,
            Role::Audit => {
                health::register_audit(parts);
                spawn_audit(parts, supervisor);
            }
        }
    }
    if roles.iter().any(|role| matches!(role, Role::Gateway | Role::Delivery)) {
        spawn_relay(parts, supervisor);
    }
    Ok(())
}

/// Creates the topics as soon as the broker answers. What needs them waits for that; the gateway does not.
fn spawn_topics(parts: &Parts, supervisor: &mut Supervisor) {
    let (connection, ready, cancel) = (parts.connection.clone(), parts.topics.clone(), supervisor.token());
    supervisor.spawn("topics", async move {
        match topics::ensure_with_retry(&connection, TOPICS, &cancel).await {
            Ok(()) => ready.cancel(),
            Err(TopicsError::Cancelled) => {}
            Err(error) => return Err(anyhow::Error::new(error)),
        }
        cancel.cancelled().await;
        Ok(())
    });
}

fn spawn_gateway(gateway: Gateway, parts: &Parts, supervisor: &mut Supervisor) {
    let parts = tidings_gateway::Parts {
        db: parts.db.clone(),
        clock: parts.clock.clone(),
        api_key: parts.settings.api_key.clone(),
        health: parts.health.clone(),
        metrics: parts.in_development().then(|| parts.metrics.clone()),
        build: BUILD,
    };
    supervisor.spawn("gateway", gateway.run(parts, supervisor.token()));
}

async fn spawn_delivery(parts: &Parts, supervisor: &mut Supervisor) -> Result<()> {
    let settings = &parts.settings;
    tidings_delivery::endpoints::ensure_default(&parts.db, &parts.clock, &parts.webhook_url, &settings.webhook_secret)
        .await
        .context("the default webhook endpoint could not be set up")?;
    let delivery = tidings_delivery::Parts {
        db: parts.db.clone(),
        clock: parts.clock.clone(),
        connection: parts.connection.clone(),
        client: OutwardClient::new(settings.webhook_allow.clone())?,
        schedule: settings.retry_schedule.clone(),
        attempt_timeout: settings.attempt_timeout,
    };
    let (topics, cancel) = (parts.topics.clone(), supervisor.token());
    supervisor.spawn("delivery", async move {
        match cancel.run_until_cancelled(topics.cancelled()).await {
            Some(()) => tidings_delivery::run(delivery, cancel).await,
            None => Ok(()),
        }
    });
    Ok(())
}

fn spawn_audit(parts: &Parts, supervisor: &mut Supervisor) {
    let audit = tidings_audit::Parts {
        db: parts.db.clone(),
        clock: parts.clock.clone(),
        connection: parts.connection.clone(),
    };
    let (topics, cancel) = (parts.topics.clone(), supervisor.token());
    supervisor.spawn("audit", async move {
        match cancel.run_until_cancelled(topics.cancelled()).await {
            Some(()) => tidings_audit::run(audit, cancel).await,
            None => Ok(()),
        }
    });
}

/// One relay per process publishes for all of its services.
fn spawn_relay(parts: &Parts, supervisor: &mut Supervisor) {
    let (db, cancel) = (parts.db.clone(), supervisor.token());
    supervisor.spawn("outbox signals", async move {
        outbox::exchange(db, cancel.clone()).await;
        cancel.cancelled().await;
        anyhow::Ok(())
    });
    let (source, connection) = (RelayOutbox::new(parts.db.clone()), parts.connection.clone());
    let (topics, cancel) = (parts.topics.clone(), supervisor.token());
    supervisor.spawn("relay", async move {
        match cancel.run_until_cancelled(topics.cancelled()).await {
            Some(()) => relay::run(source, &connection, cancel).await,
            None => Ok(()),
        }
    });
}
