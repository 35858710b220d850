use std::sync::{Arc, Mutex, PoisonError};

use chrono::SubsecRound;
use secrecy::ExposeSecret;
use tidings_domain::{EndpointId, EndpointState, EventTypes, WebhookEndpoint};
use tidings_runtime::http_client::Url;
use tidings_signing::{Secret, SecretError};
use tidings_storage::{Db, endpoints};
use tidings_vault::{OpenError, Vault};

use crate::endpoints::open;

/// An endpoint, ready to be sent to.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) id: EndpointId,
    pub(crate) url: Url,
    /// All that is valid now, the newest first.
    pub(crate) secrets: Result<Vec<Secret>, BadSecret>,
    pub(crate) event_types: EventTypes,
    pub(crate) enabled: bool,
    pub(crate) created_at: chrono::DateTime<chrono::Utc>,
}

/// Why an endpoint's secret cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadSecret {
    #[error(transparent)]
    Sealed(#[from] OpenError),
    #[error(transparent)]
    Unfit(#[from] SecretError),
}

impl Endpoint {
    fn new(endpoint: WebhookEndpoint, vault: &Vault) -> Self {
        let secret = || -> Result<_, BadSecret> {
            let text = open(vault, &endpoint.id, &endpoint.secret)?;
            Ok(vec![Secret::from_text(text.expose_secret())?])
        };
        Self {
            secrets: secret(),
            id: endpoint.id,
            url: endpoint.url.as_url().clone(),
            event_types: endpoint.event_types,
            enabled: endpoint.state == EndpointState::Enabled,
            // Records carry milliseconds: what happened within this one must not seem to be earlier.
            created_at: endpoint.created_at.trunc_subsecs(3),
        }
    }
}

pub(crate) type Endpoints = Arc<Vec<Arc<Endpoint>>>;

/// The endpoints as they are now. Read again only when one of them has changed, which costs a look at
/// their versions each time.
#[derive(Debug)]
pub(crate) struct Directory {
    vault: Vault,
    known: Mutex<Option<((i64, i64), Endpoints)>>,
}

impl Directory {
    pub(crate) fn new(vault: Vault) -> Self {
        Self {
            vault,
            known: Mutex::default(),
        }
    }

    /// Read outside of any transaction, so that only what is committed is ever remembered.
    pub(crate) async fn current(&self, db: &Db) -> Result<Endpoints, tidings_storage::Error> {
        let conn = db.read();
        // Before the endpoints: one that changes in between is read again the next time.
        let revision = endpoints::revision(conn).await?;
        if let Some((known, endpoints)) = &*self.known.lock().unwrap_or_else(PoisonError::into_inner)
            && *known == revision
        {
            return Ok(endpoints.clone());
        }
        let endpoints = endpoints::list(conn).await?;
        let endpoints: Endpoints = Arc::new(
            endpoints
                .into_iter()
                .map(|it| Arc::new(Endpoint::new(it, &self.vault)))
                .collect(),
        );
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Some((revision, endpoints.clone()));
        Ok(endpoints)
    }
}
