//! The GUID contract: a registry under `/guid`, open to everyone unless keys are asked for.
//!
//! Each path is answered with and without a slash at its end. A request is routed first, then its key is
//! looked at, where there must be one, then the GUID in its path, then its body.

mod context;
mod records;
mod refusal;

use actix_web::http::Method;
use actix_web::web;

use self::refusal::Refusal;
use super::at;

/// Adds the contract.
pub(crate) fn routes(app: &mut web::ServiceConfig) {
    let one = vec![
        (Method::GET, web::to(records::find)),
        (Method::POST, web::to(records::create_this)),
        (Method::PATCH, web::to(records::update)),
        (Method::DELETE, web::to(records::delete)),
    ];
    app.service(at::<Refusal>(
        "/guid",
        vec![(Method::POST, web::to(records::create_any))],
    ));
    app.service(at::<Refusal>("/guid/{guid}", one));
}
