use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpMessage, HttpRequest, ResponseError};
use tidings_events::Origin;

use crate::application::api_keys::Holder;
use crate::contracts::Failure;
use crate::observe::Trace;

/// Under what the idempotency keys of those who show no key are kept.
const ANYONE: &str = "anyone";

/// Who asks, and in which correlation. The guard of each route finds that out; this is how a handler gets it.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    /// Whose key was shown. Without one nobody in particular asks.
    holder: Option<Holder>,
    trace: Trace,
}

/// A route is not guarded, which is a defect.
#[derive(Debug, thiserror::Error)]
#[error("something went wrong; the correlation id of this answer finds it in the log")]
pub(crate) struct Unguarded;

impl ResponseError for Unguarded {}

impl Caller {
    pub(super) fn new(holder: Option<Holder>, trace: Trace) -> Self {
        Self { holder, trace }
    }

    /// Of a request that has passed its guard.
    pub(crate) fn of(request: &HttpRequest) -> Result<Self, Failure> {
        let caller = request.extensions().get().cloned();
        if caller.is_none() {
            tracing::error!("a handler asks for the caller of a route that is not guarded");
        }
        caller.ok_or(Failure::Internal)
    }

    /// What the idempotency keys of this caller are kept under.
    pub(crate) fn id(&self) -> &str {
        self.holder.as_ref().map_or(ANYONE, |holder| &holder.id)
    }

    pub(crate) fn holder(&self) -> Option<&Holder> {
        self.holder.as_ref()
    }

    /// Whose doing the events of this request are.
    pub(crate) fn origin(&self) -> Origin {
        self.trace.origin(self.holder.as_ref().map(|holder| &*holder.id))
    }
}

impl FromRequest for Caller {
    type Error = Unguarded;
    type Future = Ready<Result<Self, Unguarded>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Self::of(request).map_err(|_| Unguarded))
    }
}
