//! The published contracts, each in the form that its clients know.
//!
//! What every contract needs of a request is here, without any contract's form of errors: the body and its
//! fields, the idempotency key, where the request comes from and where it was sent, and what may go wrong.

pub(crate) mod body;
mod failure;
mod fault;
mod fields;
pub(crate) mod repeatable;
mod surroundings;

pub(crate) mod guids;
pub(crate) mod messaging;
pub(crate) mod orders;
pub(crate) mod users;

use actix_web::http::Method;
use actix_web::{Resource, Responder, ResponseError, Route, web};

pub(crate) use self::body::{Body, BodyError};
pub(crate) use self::failure::{Failure, RETRY};
use self::fault::Fault;
pub(crate) use self::surroundings::Surroundings;
use crate::access::{Denied, guarded, policy};

/// What a path answers to.
pub(crate) type Methods = Vec<(Method, Route)>;

/// For the header `Allow`.
pub(crate) fn allowed(methods: &Methods) -> String {
    let names: Vec<_> = methods.iter().map(|(method, _)| method.as_str()).collect();
    names.join(", ")
}

/// Answers to these methods under each of these paths, for those whom the policy of the operation admits. The
/// first path is the one under which the table of policies has it. Refusals have the form of `R`.
pub(crate) fn resource<R>(paths: Vec<String>, methods: Methods) -> Resource
where
    R: ResponseError + From<Denied> + 'static,
{
    let policies: Vec<_> = methods
        .iter()
        .map(|(method, _)| paths.first().and_then(|path| policy(path, method)))
        .collect();
    let answering = |resource: Resource, ((method, route), policy)| {
        let route: Route = route;
        resource.route(guarded::<R>(route.method(method), policy))
    };
    methods.into_iter().zip(policies).fold(web::resource(paths), answering)
}

/// The same under a path, with and without a slash at its end. Other methods are refused.
fn at<R>(path: &str, methods: Methods) -> Resource
where
    R: ResponseError + Responder + From<Denied> + From<Fault> + 'static,
{
    let allow = allowed(&methods);
    resource::<R>(vec![path.to_owned(), format!("{path}/")], methods).default_service(web::to(move || {
        let allow = allow.clone();
        async move { R::from(Fault::MethodNotAllowed { allow }) }
    }))
}
