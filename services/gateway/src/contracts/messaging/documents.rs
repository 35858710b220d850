//! The contract's OpenAPI document, and two pages that show it. Open to everyone.
//!
//! Both pages come from the binary alone. Their content security policies keep them from loading anything
//! from elsewhere, such as the logo that Redoc would fetch from its maker.

use std::borrow::Cow;
use std::sync::LazyLock;

use actix_web::http::Method;
use actix_web::http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, CONTENT_ENCODING, CONTENT_SECURITY_POLICY};
use actix_web::{HttpResponse, web};
use aide::redoc::Redoc;
use bytes::Bytes;
use utoipa_swagger_ui::Config;

use super::{Methods, Refusal};
use crate::contracts::failure::Failure;

/// Written by hand, so that it can say more than types do.
pub(super) const OPENAPI: &str = include_str!("openapi.yaml");

const TITLE: &str = "Tidings messaging API";
const OPENAPI_PATH: &str = "/docs/openapi.yaml";
const SWAGGER_UI_POLICY: &str = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:";
/// Redoc is one script inside its page; it searches in a worker that it makes from its own text, and
/// compiles templates.
const REDOC_POLICY: &str = "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; \
     style-src 'unsafe-inline'; img-src data:; connect-src 'self'; worker-src blob:";

/// A path that answers to GET, and so to HEAD.
macro_rules! page {
    ($path:expr, $handler:expr) => {
        (
            $path,
            vec![(Method::GET, web::to($handler)), (Method::HEAD, web::to($handler))],
        )
    };
}

pub(super) fn pages() -> Vec<(&'static str, Methods)> {
    vec![
        page!(OPENAPI_PATH, openapi),
        page!("/docs", swagger_ui),
        page!("/docs/{file}", swagger_ui_file),
        page!("/redoc", redoc),
    ]
}

async fn openapi() -> HttpResponse {
    HttpResponse::Ok()
        .content_type("application/yaml")
        .insert_header((ACCESS_CONTROL_ALLOW_ORIGIN, "*"))
        .body(OPENAPI)
}

async fn redoc() -> HttpResponse {
    static PAGE: LazyLock<Bytes> = LazyLock::new(|| {
        let page = Redoc::new(OPENAPI_PATH).with_title(TITLE).html();
        Bytes::from(page)
    });
    HttpResponse::Ok()
        .content_type("text/html; charset=utf-8")
        .insert_header((CONTENT_SECURITY_POLICY, REDOC_POLICY))
        .body(PAGE.clone())
}

async fn swagger_ui(request: actix_web::HttpRequest) -> Result<HttpResponse, Refusal> {
    let (mut response, page) = swagger_ui_asset("index.html")?;
    if request.path().ends_with('/') {
        return Ok(response.body(page));
    }
    // The page names its scripts relative to the folder that it would be in.
    let page = String::from_utf8_lossy(&page).replacen("<head>", "<head><base href=\"docs/\">", 1);
    Ok(response.body(page))
}

async fn swagger_ui_file(file: web::Path<String>) -> Result<HttpResponse, Refusal> {
    let (mut response, body) = swagger_ui_asset(&file)?;
    Ok(response.body(body))
}

fn swagger_ui_asset(file: &str) -> Result<(actix_web::HttpResponseBuilder, Bytes), Refusal> {
    // Without a validator, or it would send the document's address to one in the internet.
    let config = Config::from(OPENAPI_PATH).validator_url("none");
    let asset = utoipa_swagger_ui::serve(file, config.into())
        .map_err(|error| {
            tracing::error!(%error, file, "a page of the documentation failed");
            Failure::Internal
        })?
        .ok_or(Refusal::UnknownPath)?;
    let mut response = HttpResponse::Ok();
    response
        .content_type(asset.content_type)
        .insert_header((CONTENT_SECURITY_POLICY, SWAGGER_UI_POLICY));
    if asset.gzpipped {
        response.insert_header((CONTENT_ENCODING, "gzip"));
    }
    Ok((
        response,
        match asset.bytes {
            Cow::Borrowed(bytes) => Bytes::from_static(bytes),
            Cow::Owned(bytes) => bytes.into(),
        },
    ))
}
