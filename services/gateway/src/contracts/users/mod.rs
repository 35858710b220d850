//! The users contract: accounts under `/api/v1/users`, open to everyone unless keys are asked for.
//!
//! Each path is answered with and without a slash at its end, and with `.json`. Every answer of a path
//! carries its `Allow`, whatever its status. A request is routed first, then its key is looked at, where
//! there must be one. Whether somebody may sign up, or whether there is such a user, comes before anything
//! is read of the body.

mod accounts;
mod context;
mod fields;
mod listing;
mod refusal;

use actix_web::http::Method;
use actix_web::http::header::{ALLOW, VARY};
use actix_web::middleware::DefaultHeaders;
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json;

use self::context::RequestContext;
use self::refusal::Refusal;
use super::{Methods, allowed, resource};
use crate::application::users::UserUrl;

const PATH: &str = "/api/v1/users";

/// Where users are shown, for a request that was sent to `base`.
pub(super) fn url(base: &str) -> UserUrl {
    UserUrl(format!("{base}{PATH}/"))
}

/// Adds the contract.
pub(crate) fn routes(app: &mut web::ServiceConfig) {
    let collection = ["", "/", ".json", ".json/"].map(|end| format!("{PATH}{end}"));
    // What stands in the id's place may end with `.json`.
    let item = ["", "/"].map(|end| format!("{PATH}/{{id}}{end}"));
    let to_collection = vec![
        (Method::GET, web::to(accounts::list)),
        (Method::POST, web::to(accounts::create)),
        (Method::HEAD, web::to(accounts::list)),
        (Method::OPTIONS, web::to(|context| describe(context, "User List"))),
    ];
    let to_item = vec![
        (Method::GET, web::to(accounts::find)),
        (Method::PUT, web::to(accounts::replace)),
        (Method::PATCH, web::to(accounts::update)),
        (Method::DELETE, web::to(accounts::delete)),
        (Method::HEAD, web::to(accounts::find)),
        (Method::OPTIONS, web::to(|context| describe(context, "User Instance"))),
    ];
    app.service(at(collection.to_vec(), to_collection));
    app.service(at(item.to_vec(), to_item));
    app.service(web::resource(format!("{PATH}/{{rest:.*}}")).default_service(web::to(|| async { Refusal::NotFound })));
}

fn at(paths: Vec<String>, methods: Methods) -> impl actix_web::dev::HttpServiceFactory {
    let headers = DefaultHeaders::new()
        .add((ALLOW, allowed(&methods)))
        .add((VARY, "Accept"));
    resource::<Refusal>(paths, methods)
        .default_service(web::to(|request: HttpRequest| async move {
            Refusal::MethodNotAllowed(request.method().clone())
        }))
        .wrap(headers)
}

/// What a path is for.
async fn describe(_: RequestContext, name: &'static str) -> HttpResponse {
    HttpResponse::Ok().json(json!({
        "name": name,
        "description": "",
        "renders": ["application/json"],
        "parses": ["application/json"],
    }))
}
