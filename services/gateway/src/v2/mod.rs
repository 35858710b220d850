//! The product's own API under `/api/v2`: one style for every resource.
//!
//! Errors are problem details (RFC 9457) from one [catalogue](problem::CATALOGUE), which is served, too. Lists
//! go by [cursors](page). POSTs take an `Idempotency-Key`. A resource is a file here, and lines in
//! [`routes`] and in the table of policies.

mod api_keys;
mod fields;
mod page;
mod problem;
mod refusal;

use actix_web::http::Method;
use actix_web::middleware::from_fn;
use actix_web::{HttpRequest, web};

use self::refusal::Refusal;
use crate::contracts::{Methods, allowed, resource};

const ROOT: &str = "/api/v2";

/// Adds everything under `/api/v2`, and the catalogue of problems.
pub(crate) fn routes(app: &mut web::ServiceConfig) {
    for (path, methods) in api_keys::operations().into_iter().chain(problem::pages()) {
        app.service(at(path, methods));
    }
    let elsewhere = web::resource(format!("{ROOT}/{{rest:.*}}"))
        .default_service(web::to(|| async { Refusal::NotFound }))
        .wrap(from_fn(problem::tell));
    app.service(elsewhere);
}

fn at(path: &str, methods: Methods) -> impl actix_web::dev::HttpServiceFactory {
    let allow = allowed(&methods);
    resource::<Refusal>(vec![path.to_owned(), format!("{path}/")], methods)
        .default_service(web::to(move |_: HttpRequest| {
            let allow = allow.clone();
            async move { Refusal::MethodNotAllowed { allow } }
        }))
        .wrap(from_fn(problem::tell))
}

/// A path that answers to GET, and so to HEAD.
fn page<F, Args>(handler: F) -> Methods
where
    F: actix_web::Handler<Args> + Clone,
    Args: actix_web::FromRequest + 'static,
    F::Output: actix_web::Responder + 'static,
{
    vec![
        (Method::GET, web::to(handler.clone())),
        (Method::HEAD, web::to(handler)),
    ]
}
