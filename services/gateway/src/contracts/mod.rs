//! The published contracts, each in the form that its clients know.
//!
//! What every contract needs of a request is here, without any contract's form of errors: the key, the body
//! and its fields, the idempotency key, where the request comes from and where it was sent, and what may go wrong.

mod auth;
mod body;
mod caller;
mod failure;
mod fault;
mod fields;
mod repeatable;
mod surroundings;

pub(crate) mod guids;
pub(crate) mod messaging;
pub(crate) mod orders;
pub(crate) mod users;

use actix_web::http::Method;
use actix_web::{Resource, Responder, Route, web};

pub(crate) use self::auth::ApiKey;
pub(crate) use self::body::{Body, BodyError};
use self::fault::Fault;
pub(crate) use self::surroundings::Surroundings;

/// What a path answers to.
pub(crate) type Methods = Vec<(Method, Route)>;

/// For the header `Allow`.
pub(crate) fn allowed(methods: &Methods) -> String {
    let names: Vec<_> = methods.iter().map(|(method, _)| method.as_str()).collect();
    names.join(", ")
}

/// Answers to these methods under each of these paths.
pub(crate) fn resource(paths: Vec<String>, methods: Methods) -> Resource {
    let answering = |resource: Resource, (method, route): (Method, Route)| resource.route(route.method(method));
    methods.into_iter().fold(web::resource(paths), answering)
}

/// The same under a path, with and without a slash at its end. Other methods are refused.
fn at<R: From<Fault> + Responder + 'static>(path: &str, methods: Methods) -> Resource {
    let allow = allowed(&methods);
    resource(vec![path.to_owned(), format!("{path}/")], methods).default_service(web::to(move || {
        let allow = allow.clone();
        async move { R::from(Fault::MethodNotAllowed { allow }) }
    }))
}
