//! The published contracts, each in the form that its clients know.
//!
//! What every contract needs of a request is here, without any contract's form of errors: the key, the
//! body and its fields, the idempotency key, where the request comes from and where it was sent, and what may go wrong.

mod auth;
mod body;
mod caller;
mod failure;
mod fields;
mod repeatable;
mod surroundings;

pub(crate) mod guids;
pub(crate) mod messaging;
pub(crate) mod users;

use actix_web::http::Method;
use actix_web::{Resource, Route, web};

pub(crate) use self::auth::ApiKey;
pub(crate) use self::surroundings::Surroundings;

/// What a path answers to.
type Methods = Vec<(Method, Route)>;

/// For the header `Allow`.
fn allowed(methods: &Methods) -> String {
    let names: Vec<_> = methods.iter().map(|(method, _)| method.as_str()).collect();
    names.join(", ")
}

/// Answers to these methods under each of these paths.
fn resource(paths: Vec<String>, methods: Methods) -> Resource {
    let answering = |resource: Resource, (method, route): (Method, Route)| resource.route(route.method(method));
    methods.into_iter().fold(web::resource(paths), answering)
}
