use std::future::{Ready, ready};
use std::net::IpAddr;

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest, web};
use tidings_domain::UserId;

use super::Refusal;
use crate::access::Caller;
use crate::application::users::UserUrl;
use crate::contracts::Surroundings;
use crate::contracts::failure::Failure;

/// Who asks, and from where.
#[derive(Debug, Clone)]
pub(super) struct RequestContext {
    pub(super) caller: Caller,
    /// Where the request comes from, as far as that can be told.
    pub(super) client: Option<IpAddr>,
    /// What absolute links begin with.
    pub(super) base: String,
}

impl RequestContext {
    pub(super) fn users(&self) -> UserUrl {
        super::url(&self.base)
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
        client: surroundings.client(request),
        base: surroundings.base(request),
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
