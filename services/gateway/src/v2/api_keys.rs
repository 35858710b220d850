//! `/api/v2/api-keys`. A key is shown once, in the answer to the request that makes it. What is kept for a
//! repetition of that request does not have it: only its hash is kept, and there it would lie in the clear.

use actix_web::http::header::{CACHE_CONTROL, ETAG, HeaderMap, IF_MATCH, LOCATION};
use actix_web::http::{Method, StatusCode};
use actix_web::{FromRequest, HttpRequest, HttpResponse, web};
use secrecy::ExposeSecret;
use serde::Serialize;
use serde_json::{Value, json};
use std::future::{Ready, ready};
use tidings_domain::{ApiKey, ApiKeyId, KeyName, KeyState, Role, Scopes};
use tidings_events::data::{self, timestamp};

use super::fields::Fields;
use super::page::Asked;
use super::problem::base;
use super::{ROOT, Refusal};
use crate::access::Caller;
use crate::application::Application;
use crate::application::api_keys::{self, Issued, NewKey};
use crate::application::idempotency::Answer;
use crate::contracts::body::Body;
use crate::contracts::repeatable::{self, IdempotencyKey};
use crate::contracts::{Failure, Methods};

const PATH: &str = "/api/v2/api-keys";

pub(super) fn operations() -> Vec<(&'static str, Methods)> {
    vec![
        (
            PATH,
            vec![(Method::GET, web::to(list)), (Method::POST, web::to(create))],
        ),
        (
            "/api/v2/api-keys/{id}",
            vec![(Method::GET, web::to(find)), (Method::DELETE, web::to(revoke))],
        ),
    ]
}

/// A key as it is shown.
#[derive(Serialize)]
struct Form {
    #[serde(flatten)]
    key: data::ApiKey,
    /// `active`, `expired` or `revoked`.
    state: &'static str,
    last_used_at: Option<String>,
    /// In the answer to the request that made it.
    #[serde(rename = "key", skip_serializing_if = "Option::is_none")]
    token: Option<String>,
    _links: Value,
}

/// The id in the path. What is none is the id of nothing.
struct PathId(ApiKeyId);

impl FromRequest for PathId {
    type Error = Refusal;
    type Future = Ready<Result<Self, Refusal>>;

    fn from_request(request: &HttpRequest, _: &mut actix_web::dev::Payload) -> Self::Future {
        let id = request.match_info().get("id").unwrap_or_default().parse();
        ready(id.map(Self).map_err(|_| Refusal::NotFound))
    }
}

fn form(key: &ApiKey, state: KeyState, token: Option<String>) -> Form {
    // Relative to the host, because what is kept for a repetition may be asked for under another name.
    let own = format!("{ROOT}/api-keys/{}", key.id);
    let mut links = json!({ "self": { "href": own } });
    if state == KeyState::Active {
        links["revoke"] = json!({ "href": own, "method": "DELETE" });
    }
    Form {
        key: key.into(),
        state: state.as_str(),
        last_used_at: key.last_used_at.map(timestamp),
        token,
        _links: links,
    }
}

fn show(app: &Application, key: &ApiKey) -> Form {
    form(key, key.state(app.clock().now()), None)
}

/// For whoever asked for it.
fn issued(issued: &Issued) -> serde_json::Result<Answer> {
    let token = issued.token.expose_secret().to_owned();
    repeatable::created(&form(&issued.key, KeyState::Active, Some(token)))
}

/// For a repetition.
fn kept(issued: &Issued) -> serde_json::Result<Answer> {
    repeatable::created(&form(&issued.key, KeyState::Active, None))
}

fn read(body: &Body) -> Result<NewKey, Refusal> {
    let mut fields = Fields::read(body.bytes())?;
    let name = fields.text("name").map(KeyName::parse);
    let name = name.and_then(|name| fields.judged("name", name));
    let role = match fields.optional_text("role") {
        Some(role) => fields.judged("role", role.parse()),
        None => Some(Role::Service),
    };
    let scopes = fields.texts("scopes").zip(role);
    let scopes = scopes.and_then(|(names, role)| {
        let scopes = Scopes::parse(names.iter().map(String::as_str), role);
        fields.judged("scopes", scopes)
    });
    let expires_at = fields.time("expires_at");
    let new = name.zip(role).zip(scopes).map(|((name, role), scopes)| NewKey {
        name,
        role,
        scopes,
        expires_at,
    });
    fields.finish(new)
}

async fn create(
    caller: Caller,
    request: HttpRequest,
    payload: web::Payload,
    app: web::Data<Application>,
) -> Result<HttpResponse, Refusal> {
    let key = IdempotencyKey::read(request.headers())?;
    let body = Body::read(request.headers(), payload.into_inner()).await?;
    let new = read(&body)?;
    let by = caller.holder().ok_or(Failure::Internal)?;
    let once = key.once("POST /api/v2/api-keys", caller.id(), &body, kept);
    let outcome = api_keys::issue(&app, by, new, caller.origin(), once).await?;
    let (mut answer, body) = repeatable::answer(outcome, issued)?;
    // From the body, so that a repetition gets it as well.
    let id = serde_json::from_slice::<Value>(&body)?["id"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    answer.insert_header((LOCATION, format!("{}{PATH}/{id}", base(&request))));
    Ok(answer.insert_header((CACHE_CONTROL, "no-store")).body(body))
}

async fn list(request: HttpRequest, _: Caller, app: web::Data<Application>) -> Result<HttpResponse, Refusal> {
    let asked = Asked::read(request.query_string())?;
    let found = api_keys::page(&app, asked.place, asked.rows()).await?;
    let show = |key: &ApiKey| Ok(serde_json::to_value(show(&app, key))?);
    asked.answer(&request, found, |key| key.id, show)
}

async fn find(_: Caller, PathId(id): PathId, app: web::Data<Application>) -> Result<HttpResponse, Refusal> {
    let key = api_keys::find(&app, id).await?.ok_or(Refusal::NotFound)?;
    let mut answer = HttpResponse::Ok();
    answer.insert_header((ETAG, etag(key.version)));
    Ok(answer.json(show(&app, &key)))
}

async fn revoke(
    caller: Caller,
    PathId(id): PathId,
    request: HttpRequest,
    app: web::Data<Application>,
) -> Result<HttpResponse, Refusal> {
    let version = expected(request.headers())?;
    api_keys::withdraw(&app, id, version, caller.origin()).await?;
    Ok(HttpResponse::build(StatusCode::NO_CONTENT).finish())
}

fn etag(version: i64) -> String {
    format!("\"{version}\"")
}

/// The version that `If-Match` names, if it names one. A tag that was never given out is that of no version.
fn expected(headers: &HeaderMap) -> Result<Option<i64>, Refusal> {
    let Some(tag) = headers.get(IF_MATCH) else {
        return Ok(None);
    };
    let tag = tag.to_str().unwrap_or_default().trim();
    if tag == "*" {
        return Ok(None);
    }
    let version = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"'));
    let version = version.and_then(|version| version.parse().ok());
    version.map(Some).ok_or(Refusal::Changed)
}
