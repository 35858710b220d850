//! What can be done with webhook endpoints. Each change emits its event in the same transaction.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretString};
use tidings_domain::{Clock, EndpointId, EndpointState, EventTypes, WebhookEndpoint, WebhookUrl};
use tidings_events::{
    Event, EventType, MessageQueued, Origin, REGISTRY, WebhookEndpointCreated, WebhookEndpointDeleted,
    WebhookEndpointUpdated,
};
use tidings_signing::{Secret, SecretError};
use tidings_storage::{Db, Tx, deliveries, endpoints, outbox};

use crate::GROUP;

/// Random bytes of a secret that is made for an endpoint.
const SECRET_BYTES: usize = 32;

/// Why nothing was done.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    #[error("there is no event type {unknown}; there are: {}", known_types())]
    UnknownType { unknown: String },
    #[error("the secret cannot be used: {0}")]
    Secret(#[from] SecretError),
    #[error("the default endpoint is set by WEBHOOK_URL and WEBHOOK_SECRET and cannot be removed")]
    Default,
    #[error("there is no endpoint {0}")]
    Unknown(EndpointId),
    #[error("no random bytes can be had for a secret: {0}")]
    Random(getrandom::Error),
    #[error(transparent)]
    Database(#[from] tidings_storage::Error),
}

fn known_types() -> String {
    let names: Vec<_> = REGISTRY.iter().map(|declared| declared.name).collect();
    names.join(", ")
}

/// Makes the endpoint `default` what the settings say. Processes that do this at the same time agree.
pub async fn ensure_default(
    db: &Db,
    clock: &Arc<dyn Clock>,
    url: &WebhookUrl,
    secret: &SecretString,
) -> Result<WebhookEndpoint, EndpointError> {
    Secret::from_text(secret.expose_secret())?;
    let wanted = WebhookEndpoint {
        id: EndpointId::default_endpoint(),
        url: url.clone(),
        secret: secret.clone(),
        event_types: EventTypes::Only(vec![MessageQueued::TYPE.to_owned()]),
        state: EndpointState::Enabled,
        created_at: clock.now(),
        failing_since: None,
        version: 1,
    };
    let once = || {
        let (wanted, clock) = (wanted.clone(), clock.clone());
        db.write(move |tx| Box::pin(async move { put_default(tx, wanted, &*clock).await }))
    };
    match once().await {
        // Another process has just created it. Now there is one to compare with.
        Err(EndpointError::Database(tidings_storage::Error::Conflict(_))) => once().await,
        done => done,
    }
}

async fn put_default(
    tx: &Tx<'_>,
    wanted: WebhookEndpoint,
    clock: &dyn Clock,
) -> Result<WebhookEndpoint, EndpointError> {
    let origin = Origin::own(GROUP, clock);
    let Some(known) = endpoints::find(tx.conn(), &wanted.id).await? else {
        endpoints::insert(tx, &wanted).await?;
        outbox::enqueue(tx, &WebhookEndpointCreated(&wanted), &origin, clock).await?;
        return Ok(wanted);
    };
    if known.url == wanted.url && known.secret.expose_secret() == wanted.secret.expose_secret() {
        return Ok(known);
    }
    let changed = WebhookEndpoint {
        created_at: known.created_at,
        ..wanted
    };
    let Some(changed) = endpoints::replace(tx, &changed).await? else {
        return Err(EndpointError::Unknown(changed.id));
    };
    outbox::enqueue(tx, &WebhookEndpointUpdated(&changed), &origin, clock).await?;
    Ok(changed)
}

/// Adds an endpoint, which is told of what happens from now on. Without a secret it gets a new one.
pub async fn add(
    db: &Db,
    clock: &Arc<dyn Clock>,
    url: WebhookUrl,
    secret: Option<SecretString>,
    event_types: EventTypes,
) -> Result<WebhookEndpoint, EndpointError> {
    if let EventTypes::Only(types) = &event_types
        && let Some(unknown) = types.iter().find(|name| EventType::from_name(name).is_none())
    {
        let unknown = unknown.clone();
        return Err(EndpointError::UnknownType { unknown });
    }
    let secret = secret.map_or_else(new_secret, Ok)?;
    Secret::from_text(secret.expose_secret())?;
    let endpoint = WebhookEndpoint {
        id: EndpointId::generate(&**clock),
        url,
        secret,
        event_types,
        state: EndpointState::Enabled,
        created_at: clock.now(),
        failing_since: None,
        version: 1,
    };
    let clock = clock.clone();
    db.write(move |tx| {
        Box::pin(async move {
            endpoints::insert(tx, &endpoint).await?;
            let origin = Origin::own(GROUP, &*clock);
            outbox::enqueue(tx, &WebhookEndpointCreated(&endpoint), &origin, &*clock).await?;
            Ok(endpoint)
        })
    })
    .await
}

fn new_secret() -> Result<SecretString, EndpointError> {
    let mut key = [0; SECRET_BYTES];
    getrandom::fill(&mut key).map_err(EndpointError::Random)?;
    Ok(format!("whsec_{}", STANDARD.encode(key)).into())
}

/// All endpoints, disabled ones included, oldest first.
pub async fn list(db: &Db) -> Result<Vec<WebhookEndpoint>, EndpointError> {
    Ok(endpoints::list(db.read()).await?)
}

/// Removes an endpoint and cancels what it is owed. Answers what it was.
pub async fn remove(db: &Db, clock: &Arc<dyn Clock>, id: &EndpointId) -> Result<WebhookEndpoint, EndpointError> {
    if id.is_default() {
        return Err(EndpointError::Default);
    }
    let (id, clock) = (id.clone(), clock.clone());
    let (removed, canceled) = db
        .write(move |tx| {
            Box::pin(async move {
                let Some(removed) = endpoints::delete(tx, &id, clock.now()).await? else {
                    return Err(EndpointError::Unknown(id));
                };
                let canceled = deliveries::cancel_orphans(tx).await?;
                let origin = Origin::own(GROUP, &*clock);
                outbox::enqueue(tx, &WebhookEndpointDeleted(&removed), &origin, &*clock).await?;
                Ok((removed, canceled))
            })
        })
        .await?;
    metrics::counter!("tidings_deliveries_total", "result" => "canceled").increment(canceled);
    Ok(removed)
}
