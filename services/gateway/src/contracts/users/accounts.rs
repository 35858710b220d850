use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use tidings_domain as domain;
use tidings_events::data::{LinkedUser, User};

use super::Refusal;
use super::context::{PathId, RequestContext};
use super::fields::draft;
use super::listing::Listing;
use crate::application::Application;
use crate::application::idempotency::Answer;
use crate::application::users::{self, Needed};
use crate::contracts::body::Body;
use crate::contracts::repeatable::{self, IdempotencyKey};

/// One page.
#[derive(Serialize)]
struct Page {
    count: u64,
    next: Option<String>,
    previous: Option<String>,
    results: Vec<User>,
}

fn shown(context: &RequestContext, user: domain::User) -> User {
    let url = context.users().of(user.id);
    User::from(&LinkedUser { user, url })
}

fn created(user: &LinkedUser) -> serde_json::Result<Answer> {
    repeatable::created(&User::from(user))
}

pub(super) async fn list(
    context: RequestContext,
    request: HttpRequest,
    app: web::Data<Application>,
) -> Result<HttpResponse, Refusal> {
    let listing = Listing::read(request.query_string())?;
    let found = users::list(
        &app,
        listing.filter.clone(),
        listing.sort.clone(),
        listing.wanted,
        listing.size,
    );
    let page = found.await?.ok_or(Refusal::InvalidPage)?;
    let link = |number| listing.link(&context.base, request.path(), number);
    let results = page.users.into_iter().map(|user| shown(&context, user));
    Ok(HttpResponse::Ok().json(Page {
        count: page.total,
        next: (page.number < page.pages).then(|| link(page.number + 1)),
        previous: (page.number > 1).then(|| link(page.number - 1)),
        results: results.collect(),
    }))
}

pub(super) async fn create(
    context: RequestContext,
    request: HttpRequest,
    payload: web::Payload,
    app: web::Data<Application>,
) -> Result<HttpResponse, Refusal> {
    let admitted = users::admit(&app, context.client).await?;
    let key = IdempotencyKey::read(request.headers())?;
    let body = Body::read(request.headers(), payload.into_inner()).await?;
    let draft = draft(body.bytes())?;
    let once = key.once("POST /api/v1/users", context.caller.id(), &body, created);
    let outcome = users::create(&app, admitted, draft, context.users(), context.caller.origin(), once).await?;
    Ok(repeatable::answer_at(outcome, created, |user: User| user.url)?)
}

pub(super) async fn find(
    context: RequestContext,
    PathId(id): PathId,
    app: web::Data<Application>,
) -> Result<HttpResponse, Refusal> {
    let user = users::find(&app, id).await?.ok_or(Refusal::NotFound)?;
    Ok(HttpResponse::Ok().json(shown(&context, user)))
}

pub(super) async fn replace(
    context: RequestContext,
    id: PathId,
    request: HttpRequest,
    payload: web::Payload,
    app: web::Data<Application>,
) -> Result<HttpResponse, Refusal> {
    change(context, id, &request, payload, &app, Needed::All).await
}

pub(super) async fn update(
    context: RequestContext,
    id: PathId,
    request: HttpRequest,
    payload: web::Payload,
    app: web::Data<Application>,
) -> Result<HttpResponse, Refusal> {
    change(context, id, &request, payload, &app, Needed::None).await
}

async fn change(
    context: RequestContext,
    PathId(id): PathId,
    request: &HttpRequest,
    payload: web::Payload,
    app: &Application,
    needed: Needed,
) -> Result<HttpResponse, Refusal> {
    // Before the body is read.
    users::find(app, id).await?.ok_or(Refusal::NotFound)?;
    let body = Body::read(request.headers(), payload.into_inner()).await?;
    let draft = draft(body.bytes())?;
    let user = users::update(app, id, draft, needed, context.users(), context.caller.origin()).await?;
    let user = user.ok_or(Refusal::NotFound)?;
    Ok(HttpResponse::Ok().json(User::from(&user)))
}

pub(super) async fn delete(
    context: RequestContext,
    PathId(id): PathId,
    app: web::Data<Application>,
) -> Result<HttpResponse, Refusal> {
    if users::delete(&app, id, context.users(), context.caller.origin()).await? {
        Ok(HttpResponse::NoContent().finish())
    } else {
        Err(Refusal::NotFound)
    }
}
