use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest};
use tidings_events::Origin;

use super::{ApiKey, Refusal};
use crate::contracts::failure::Failure;
use crate::contracts::fault::Fault;
use crate::observe::Trace;

/// Who asks, and in which correlation. To get one, a request must carry the key.
///
/// Comes first among a handler's arguments: they are polled in that order, so that the body of a request
/// without the key is never read.
#[derive(Debug, Clone)]
pub(super) struct RequestContext {
    pub(super) caller: &'static str,
    trace: Trace,
}

impl RequestContext {
    /// Whose doing the events of this request are.
    pub(super) fn origin(&self) -> Origin {
        self.trace.origin(Some(self.caller))
    }
}

impl FromRequest for RequestContext {
    type Error = Refusal;
    type Future = Ready<Result<Self, Refusal>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let Some(caller) = ApiKey::shown_by(request) else {
            return ready(Err(Fault::Unauthorized.into()));
        };
        let trace = Trace::find(request).ok_or(Failure::Internal);
        ready(trace.map(|trace| Self { caller, trace }).map_err(Refusal::from))
    }
}

/// What stands in the path's place for an id, whatever it is.
#[derive(Debug)]
pub(super) struct PathId(pub(super) String);

impl PathId {
    /// The id; what cannot be one is the id of nothing.
    pub(super) fn parse<T: std::str::FromStr>(&self, what: &'static str) -> Result<T, Refusal> {
        self.0.parse().map_err(|_| self.unknown(what))
    }

    pub(super) fn unknown(&self, what: &'static str) -> Refusal {
        Refusal::NotFound {
            what,
            id: self.0.clone(),
        }
    }
}

impl FromRequest for PathId {
    type Error = Refusal;
    type Future = Ready<Result<Self, Refusal>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let id = request.match_info().get("id").unwrap_or_default();
        ready(Ok(Self(id.to_owned())))
    }
}
