use std::future::{Ready, ready};
use std::str::FromStr;

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest, web};

use super::Refusal;
use crate::access::Caller;
use crate::application::users::UserUrl;
use crate::contracts::failure::Failure;
use crate::contracts::{Surroundings, users};

/// Who asks, and where.
#[derive(Debug, Clone)]
pub(super) struct RequestContext {
    pub(super) caller: Caller,
    /// What absolute links begin with.
    pub(super) base: String,
}

impl RequestContext {
    pub(super) fn users(&self) -> UserUrl {
        users::url(&self.base)
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
    let caller = Caller::of(request)?;
    let surroundings = request.app_data::<web::Data<Surroundings>>().ok_or(Failure::Internal)?;
    Ok(RequestContext {
        caller,
        base: surroundings.base(request),
    })
}

/// The id in the path; what cannot be one is the id of nothing.
pub(super) fn path_id<T: FromStr>(request: &HttpRequest, what: &'static str) -> Result<T, Refusal> {
    let id = request.match_info().get("id").unwrap_or_default();
    id.parse().map_err(|_| Refusal::NotFound(what))
}
