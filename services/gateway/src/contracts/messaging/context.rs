use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest};

use super::Refusal;

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
