//! The kit-order contract: kits that staff order for users, and what users are told. Open to everyone unless
//! keys are asked for.
//!
//! [`operations`] says what there is. Every path is also answered with a slash at its end. A request is routed
//! first, so that an unknown path or method is told as such to anyone; then its key is looked at, where there
//! must be one, and only then its body. Everything that is wrong with a body is told at once.
//!
//! The users are those of the users contract, whose events they keep.

mod context;
mod fields;
mod kits;
mod notifications;
mod people;
mod refusal;

use actix_web::http::Method;
use actix_web::web;
use serde::Serialize;

use self::refusal::Refusal;
use super::{Methods, at};

fn operations() -> Vec<(&'static str, Methods)> {
    vec![
        ("/users", vec![(Method::GET, web::to(people::list))]),
        ("/users/{id}", vec![(Method::PATCH, web::to(people::update))]),
        (
            "/orders",
            vec![
                (Method::GET, web::to(kits::list)),
                (Method::POST, web::to(kits::create)),
            ],
        ),
        ("/orders/{id}", vec![(Method::GET, web::to(kits::find))]),
        (
            "/notifications",
            vec![
                (Method::GET, web::to(notifications::list)),
                (Method::POST, web::to(notifications::create)),
            ],
        ),
        ("/notifications/{id}", vec![(Method::GET, web::to(notifications::find))]),
    ]
}

/// Adds the contract.
pub(crate) fn routes(app: &mut web::ServiceConfig) {
    for (path, methods) in operations() {
        app.service(at::<Refusal>(path, methods));
    }
}

/// What is listed, and how much that is.
#[derive(Serialize)]
struct List<T> {
    data: Vec<T>,
    count: usize,
}

impl<T> From<Vec<T>> for List<T> {
    fn from(data: Vec<T>) -> Self {
        Self {
            count: data.len(),
            data,
        }
    }
}
