//! Who gets in, and what they may do.
//!
//! Guaranteed: a route that [`contracts::resource`](crate::contracts) builds does nothing for anybody whom
//! its line in the [table of policies](policy::TABLE) does not admit, and one without a line does nothing at
//! all. That is decided before a handler sees the request, so that none can forget it, and before anything of
//! a body is read. Handlers learn who asks from [`Caller`], and from nowhere else.
//!
//! How often somebody may ask, and how much is done at a time, is in [`limits`].
//!
//! Not guaranteed: that a key which was revoked in another process opens nothing from the next moment on. It
//! takes as long as `application/api_keys/ring.rs` says.

mod caller;
mod guard;
mod limits;
mod policy;

use actix_web::HttpResponseBuilder;
use actix_web::http::StatusCode;
use actix_web::http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use tidings_domain::{Role, Scope};

pub(crate) use self::caller::Caller;
pub(crate) use self::guard::{Gatekeeper, guarded};
pub use self::limits::Limits;
pub(crate) use self::policy::{Policy, policy};
use crate::contracts::{Failure, RETRY};

/// Why a request is not let in. Every contract says it in a form of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Denied {
    #[error("the API key is missing or wrong: send it as `Authorization: Bearer <key>`")]
    Unauthorized,
    #[error("this API key does not have the scope {0}")]
    Scope(Scope),
    #[error("this is for keys with the role {0}")]
    Role(Role),
    #[error("too many requests; the next one is let through in {seconds} s")]
    TooMany { seconds: u64 },
    #[error("the service has more to do than it can at the moment; try again")]
    Busy,
    /// Given up. It may have been carried out all the same.
    #[error("the request took too long; try again, with an Idempotency-Key if it is a POST")]
    TooLong,
    #[error(transparent)]
    Failed(#[from] Failure),
}

impl Denied {
    pub(crate) fn status(self) -> StatusCode {
        match self {
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Scope(_) | Self::Role(_) => StatusCode::FORBIDDEN,
            Self::TooMany { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::Busy | Self::TooLong => StatusCode::SERVICE_UNAVAILABLE,
            Self::Failed(failure) => failure.status(),
        }
    }

    /// Adds what goes with it in every contract.
    pub(crate) fn insert_headers(self, answer: &mut HttpResponseBuilder) {
        match self {
            Self::Unauthorized => answer.insert_header((WWW_AUTHENTICATE, "Bearer")),
            Self::TooMany { seconds } => answer.insert_header((RETRY_AFTER, seconds.to_string())),
            Self::Busy | Self::TooLong | Self::Failed(Failure::Unavailable) => {
                answer.insert_header((RETRY_AFTER, RETRY))
            }
            _ => answer,
        };
    }
}
