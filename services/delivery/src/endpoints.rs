//! What can be done with webhook endpoints. Each change emits its event in the same transaction.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretString};
use tidings_domain::{Clock, EndpointId, EndpointState, EventTypes, SealedSecret, WebhookEndpoint, WebhookUrl};
use tidings_events::{
    Event, EventType, MessageQueued, Origin, REGISTRY, WebhookEndpointCreated, WebhookEndpointDeleted,
    WebhookEndpointUpdated,
};
use tidings_runtime::http_client::{CallError, OutwardClient};
use tidings_signing::{Secret, SecretError};
use tidings_storage::{Db, Tx, deliveries, endpoints, outbox};
use tidings_vault::{OpenError, SealError, Vault};

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
    #[error("the URL cannot be used: {0}")]
    Url(CallError),
    #[error("the secret cannot be kept: {0}; set TIDINGS_ENCRYPTION_KEY")]
    Seal(#[from] SealError),
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
    vault: &Vault,
    url: &WebhookUrl,
    secret: &SecretString,
) -> Result<WebhookEndpoint, EndpointError> {
    Secret::from_text(secret.expose_secret())?;
    let id = EndpointId::default_endpoint();
    let wanted = WebhookEndpoint {
        secret: vault.seal(&owner(&id), secret)?,
        id,
        url: url.clone(),
        event_types: EventTypes::Only(vec![MessageQueued::TYPE.to_owned()]),
        state: EndpointState::Enabled,
        created_at: clock.now(),
        failing_since: None,
        version: 1,
    };
    let once = || {
        let (wanted, clock, vault, secret) = (wanted.clone(), clock.clone(), vault.clone(), secret.clone());
        db.write(move |tx| Box::pin(async move { put_default(tx, wanted, &vault, &secret, &*clock).await }))
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
    vault: &Vault,
    secret: &SecretString,
    clock: &dyn Clock,
) -> Result<WebhookEndpoint, EndpointError> {
    let origin = Origin::own(GROUP, clock);
    let Some(known) = endpoints::find(tx.conn(), &wanted.id).await? else {
        endpoints::insert(tx, &wanted).await?;
        outbox::enqueue(tx, &WebhookEndpointCreated(&wanted), &origin, clock).await?;
        return Ok(wanted);
    };
    // One that does not open any more counts as another one: the settings have it.
    let same_secret =
        open(vault, &known.id, &known.secret).is_ok_and(|it| it.expose_secret() == secret.expose_secret());
    if known.url == wanted.url && same_secret {
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

/// An endpoint that is to be.
#[derive(Debug, Clone)]
pub struct NewEndpoint {
    pub url: WebhookUrl,
    /// Without one it gets a new one.
    pub secret: Option<SecretString>,
    pub event_types: EventTypes,
}

/// Adds an endpoint, which is told of what happens from now on. Answers also the secret, which is kept
/// encrypted. A URL that `client` would refuse to call is refused here already; a name that cannot be resolved
/// now may be later, and every connection is judged anew.
pub async fn add(
    db: &Db,
    clock: &Arc<dyn Clock>,
    vault: &Vault,
    client: &OutwardClient,
    new: NewEndpoint,
) -> Result<(WebhookEndpoint, SecretString), EndpointError> {
    let NewEndpoint {
        url,
        secret,
        event_types,
    } = new;
    if let EventTypes::Only(types) = &event_types
        && let Some(unknown) = types.iter().find(|name| EventType::from_name(name).is_none())
    {
        let unknown = unknown.clone();
        return Err(EndpointError::UnknownType { unknown });
    }
    client.check(url.as_url()).await.map_err(EndpointError::Url)?;
    let secret = secret.map_or_else(new_secret, Ok)?;
    Secret::from_text(secret.expose_secret())?;
    let id = EndpointId::generate(&**clock);
    let endpoint = WebhookEndpoint {
        secret: vault.seal(&owner(&id), &secret)?,
        id,
        url,
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
            Ok((endpoint, secret))
        })
    })
    .await
}

fn new_secret() -> Result<SecretString, EndpointError> {
    let mut key = [0; SECRET_BYTES];
    getrandom::fill(&mut key).map_err(EndpointError::Random)?;
    Ok(format!("whsec_{}", STANDARD.encode(key)).into())
}

/// By what the vault knows whose secret it is.
fn owner(id: &EndpointId) -> String {
    format!("webhook-endpoint/{id}")
}

pub(crate) fn open(vault: &Vault, id: &EndpointId, secret: &SealedSecret) -> Result<SecretString, OpenError> {
    vault.open(&owner(id), secret)
}

/// What became of the secrets when they were to be encrypted anew.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Reencrypted {
    /// Those that are encrypted with the newest key now and were not before.
    pub anew: usize,
    /// Those that were already.
    pub before: usize,
    /// Those that no key opens, and why.
    pub unreadable: Vec<(EndpointId, OpenError)>,
}

/// Encrypts every secret with the newest key that is not, those from before secrets were encrypted included.
/// Services may run meanwhile.
pub async fn reencrypt(db: &Db, vault: &Vault) -> Result<Reencrypted, EndpointError> {
    let mut done = Reencrypted::default();
    for (id, old) in endpoints::secrets(db.read()).await? {
        if vault.is_current(&old) {
            done.before += 1;
            continue;
        }
        match open(vault, &id, &old) {
            Ok(secret) => {
                let new = vault.seal(&owner(&id), &secret)?;
                // One that was changed meanwhile was encrypted by whoever did that.
                let changed: Result<bool, tidings_storage::Error> = db
                    .write(move |tx| Box::pin(async move { endpoints::reseal(tx, &id, &old, &new).await }))
                    .await;
                changed?;
                done.anew += 1;
            }
            Err(error) => done.unreadable.push((id, error)),
        }
    }
    Ok(done)
}

/// All endpoints, disabled ones included, oldest first.
pub async fn list(db: &Db) -> Result<Vec<WebhookEndpoint>, EndpointError> {
    Ok(endpoints::list(db.read()).await?)
}

/// Removes an endpoint and cancels what it is owed: some of it at once, and whatever is more with the sweeper's next
/// rounds. None of it is sent any more. Answers what it was.
pub async fn remove(db: &Db, clock: &Arc<dyn Clock>, id: &EndpointId) -> Result<WebhookEndpoint, EndpointError> {
    if id.is_default() {
        return Err(EndpointError::Default);
    }
    let (id, clock) = (id.clone(), clock.clone());
    let some = db.rows_per_write() as u64;
    let (removed, canceled) = db
        .write(move |tx| {
            Box::pin(async move {
                let Some(removed) = endpoints::delete(tx, &id, clock.now()).await? else {
                    return Err(EndpointError::Unknown(id));
                };
                let canceled = deliveries::cancel_orphans(tx, some).await?;
                let origin = Origin::own(GROUP, &*clock);
                outbox::enqueue(tx, &WebhookEndpointDeleted(&removed), &origin, &*clock).await?;
                Ok((removed, canceled))
            })
        })
        .await?;
    metrics::counter!("tidings_deliveries_total", "result" => "canceled").increment(canceled);
    Ok(removed)
}
