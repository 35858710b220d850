use std::future::{Ready, ready};
use std::net::IpAddr;

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest, web};
use tidings_domain::UserId;
use tidings_events::Origin;

use super::{PATH, Refusal};
use crate::application::users::UserUrl;
use crate::contracts::failure::Failure;
use crate::contracts::{ApiKey, Surroundings};
use crate::observe::Trace;

/// Under what the idempotency keys of those who show no key are kept.
const ANYONE: &str = "anyone";

/// Who asks, from where, and in which correlation.
///
/// Comes first among a handler's arguments, so that nothing is read of a request that lacks its key.
#[derive(Debug, Clone)]
pub(super) struct RequestContext {
    /// The id of the key that was shown. Without one nobody in particular asks.
    key: Option<&'static str>,
    /// Where the request comes from, as far as that can be told.
    pub(super) client: Option<IpAddr>,
    /// What absolute links begin with.
    pub(super) base: String,
    trace: Trace,
}

impl RequestContext {
    pub(super) fn caller(&self) -> &'static str {
        self.key.unwrap_or(ANYONE)
    }

    /// Whose doing the events of this request are.
    pub(super) fn origin(&self) -> Origin {
        self.trace.origin(self.key)
    }

    pub(super) fn users(&self) -> UserUrl {
        UserUrl(format!("{}{PATH}/", self.base))
    }
}

impl FromRequest for RequestContext {
    type Error = Refusal;
    type Future = Ready<Result<Self, Refusal>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(context(request))
    }
}

fn context(request: &HttpRequest) -> Result<RequestContext, Refusal> {
    let surroundings = request.app_data::<web::Data<Surroundings>>().ok_or(Failure::Internal)?;
    let key = ApiKey::shown_by(request);
    if key.is_none() && !surroundings.open_contracts {
        return Err(Refusal::Unauthorized);
    }
    Ok(RequestContext {
        key,
        client: surroundings.client(request),
        base: surroundings.base(request),
        trace: Trace::find(request).ok_or(Failure::Internal)?,
    })
}

/// The number in the path. What is none is the number of nobody.
#[derive(Debug, Clone, Copy)]
pub(super) struct PathId(pub(super) UserId);

impl FromRequest for PathId {
    type Error = Refusal;
    type Future = Ready<Result<Self, Refusal>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let id = request.match_info().get("id").unwrap_or_default();
        let id = id.strip_suffix(".json").unwrap_or(id).parse();
        ready(id.map(Self).map_err(|_| Refusal::NotFound))
    }
}
