//! The messaging contract: contacts and messages under a bearer key.
//!
//! [`operations`] says what there is; the `Allow` headers and the test against the OpenAPI document follow
//! it. Every path is also answered with a slash at its end. A request is routed first, so that an unknown
//! path or method is told as such to anyone; then its key is looked at, before anything of its body is.

mod body;
mod contacts;
mod context;
mod documents;
mod messages;
mod paging;
mod refusal;
mod repeatable;

use actix_web::http::Method;
use actix_web::web;

use self::refusal::Refusal;
use super::{Methods, at};

/// Everything that needs a key.
fn operations() -> Vec<(&'static str, Methods)> {
    vec![
        (
            "/contacts",
            vec![
                (Method::GET, web::to(contacts::list)),
                (Method::POST, web::to(contacts::create)),
            ],
        ),
        (
            "/contacts/{id}",
            vec![
                (Method::GET, web::to(contacts::find)),
                (Method::PATCH, web::to(contacts::update)),
                (Method::DELETE, web::to(contacts::delete)),
            ],
        ),
        (
            "/messages",
            vec![
                (Method::GET, web::to(messages::list)),
                (Method::POST, web::to(messages::create)),
            ],
        ),
        ("/messages/{id}", vec![(Method::GET, web::to(messages::find))]),
    ]
}

/// Adds the contract, its documents, and its answer to paths where nothing is.
pub(crate) fn routes(app: &mut web::ServiceConfig) {
    for (path, methods) in operations().into_iter().chain(documents::pages()) {
        app.service(at::<Refusal>(path, methods));
    }
    app.default_service(web::to(|| async { Refusal::UnknownPath }));
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The document must not promise what is not there, nor keep quiet about what is.
    #[test]
    fn the_document_and_the_routes_are_the_same() {
        let document: serde_json::Value = serde_saphyr::from_str(documents::OPENAPI).unwrap();
        let documented: BTreeSet<_> = document["paths"]
            .as_object()
            .unwrap()
            .iter()
            .flat_map(|(path, item)| {
                let methods = item.as_object().unwrap().keys().filter(|key| *key != "parameters");
                methods.map(move |method| format!("{} {path}", method.to_uppercase()))
            })
            .collect();
        let routed: BTreeSet<_> = operations()
            .into_iter()
            .flat_map(|(path, methods)| methods.into_iter().map(move |(method, _)| format!("{method} {path}")))
            .collect();
        assert_eq!(documented, routed);
    }
}
