use actix_web::{HttpRequest, web};
use tidings_events::Origin;

use super::failure::Failure;
use super::{ApiKey, Surroundings};
use crate::observe::Trace;

/// Under what the idempotency keys of those who show no key are kept.
const ANYONE: &str = "anyone";

/// Who asks, and in which correlation, where a key need not be shown unless the settings say so.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    /// The id of the key that was shown. Without one nobody in particular asks.
    key: Option<&'static str>,
    trace: Trace,
}

/// Why somebody may not ask.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotAdmitted {
    #[error("the key is missing or wrong")]
    Unauthorized,
    #[error(transparent)]
    Failed(#[from] Failure),
}

impl Caller {
    pub(super) fn of(request: &HttpRequest) -> Result<Self, NotAdmitted> {
        let surroundings = request.app_data::<web::Data<Surroundings>>().ok_or(Failure::Internal)?;
        let key = ApiKey::shown_by(request);
        if key.is_none() && !surroundings.open_contracts {
            return Err(NotAdmitted::Unauthorized);
        }
        let trace = Trace::find(request).ok_or(Failure::Internal)?;
        Ok(Self { key, trace })
    }

    /// Whose idempotency keys the request's are.
    pub(super) fn id(&self) -> &'static str {
        self.key.unwrap_or(ANYONE)
    }

    /// Whose doing the events of this request are.
    pub(super) fn origin(&self) -> Origin {
        self.trace.origin(self.key)
    }
}
