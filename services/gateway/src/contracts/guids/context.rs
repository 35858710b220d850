use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest};
use tidings_domain::Guid;

use super::Refusal;
use crate::access::Caller;

/// Who asks, and in which correlation.
#[derive(Debug, Clone)]
pub(super) struct RequestContext(pub(super) Caller);

impl FromRequest for RequestContext {
    type Error = Refusal;
    type Future = Ready<Result<Self, Refusal>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Caller::of(request).map(Self).map_err(Refusal::from))
    }
}

/// The GUID in the path.
#[derive(Debug, Clone, Copy)]
pub(super) struct PathGuid(pub(super) Guid);

impl FromRequest for PathGuid {
    type Error = Refusal;
    type Future = Ready<Result<Self, Refusal>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let guid = request.match_info().get("guid").unwrap_or_default().parse();
        ready(guid.map(Self).map_err(Refusal::Invalid))
    }
}
