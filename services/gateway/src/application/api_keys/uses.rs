//! When keys were last used.
//!
//! Kept in memory and written down from time to time, so that using a key writes nothing. What was not
//! written when a process is killed is lost; a process that ends in good order writes it.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tidings_domain::ApiKeyId;
use tidings_storage::{Error, api_keys as rows};
use tokio_util::sync::CancellationToken;

use crate::application::Application;

/// How often uses are written down.
const INTERVAL: Duration = Duration::from_secs(30);

/// Those that are not written yet. There are never more than there are keys.
#[derive(Debug, Default)]
pub(crate) struct Uses(Mutex<HashMap<ApiKeyId, DateTime<Utc>>>);

impl Uses {
    /// Only for keys that are known to be valid, or somebody could make this grow.
    pub(super) fn note(&self, id: ApiKeyId, at: DateTime<Utc>) {
        let mut uses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let latest = uses.entry(id).or_insert(at);
        *latest = at.max(*latest);
    }

    fn take(&self) -> HashMap<ApiKeyId, DateTime<Utc>> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Application {
    /// Writes down when keys were used, until cancelled.
    pub(crate) async fn record_key_uses(self, cancel: CancellationToken) {
        let mut timer = tokio::time::interval(INTERVAL);
        while cancel.run_until_cancelled(timer.tick()).await.is_some() {
            self.write_key_uses().await;
        }
    }

    /// Writes down when keys were used since the last time.
    pub(crate) async fn write_key_uses(&self) {
        let uses = self.keys.uses().take();
        if uses.is_empty() {
            return;
        }
        let written = uses.clone();
        let done = self.write(move |tx| {
            Box::pin(async move {
                for (id, at) in written {
                    rows::note_use(tx, id, at).await?;
                }
                Ok::<_, Error>(())
            })
        });
        if let Err(error) = done.await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the last uses of API keys could not be written"
            );
            for (id, at) in uses {
                self.keys.uses().note(id, at);
            }
        }
    }
}
