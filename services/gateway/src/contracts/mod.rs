//! The published contracts, each in the form that its clients know.
//!
//! What every contract needs of a request is here, without any contract's form of errors: the key, the
//! body, the idempotency key, where the request comes from and where it was sent.

mod auth;
mod body;
mod repeatable;
mod surroundings;

pub(crate) mod messaging;
pub(crate) mod users;

use actix_web::Route;
use actix_web::http::Method;

pub(crate) use self::auth::ApiKey;
pub(crate) use self::surroundings::Surroundings;

/// What a path answers to.
type Methods = Vec<(Method, Route)>;
