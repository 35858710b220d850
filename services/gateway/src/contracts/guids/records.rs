use actix_web::{HttpRequest, HttpResponse, web};
use tidings_domain as domain;
use tidings_domain::Guid;
use tidings_events::data::GuidRecord;

use super::Refusal;
use super::context::{PathGuid, RequestContext};
use crate::application::Application;
use crate::application::guids::{self, GuidChange, NewGuid};
use crate::application::idempotency::Answer;
use crate::contracts::body::Body;
use crate::contracts::fields::Fields;
use crate::contracts::repeatable::{self, IdempotencyKey};

/// `{user, expire?}`.
fn read_new(id: Option<Guid>, body: &Body) -> Result<NewGuid, Refusal> {
    let mut fields = Fields::read(body.bytes())?;
    Ok(NewGuid {
        id,
        user: fields.required("user")?,
        expires: fields.optional_number("expire")?,
    })
}

/// `{user?, expire?}`.
fn read_change(body: &Body) -> Result<GuidChange, Refusal> {
    let mut fields = Fields::read(body.bytes())?;
    Ok(GuidChange {
        user: fields.optional("user")?,
        expires: fields.optional_number("expire")?,
    })
}

fn created(record: &domain::GuidRecord) -> serde_json::Result<Answer> {
    repeatable::created(&GuidRecord::from(record))
}

pub(super) async fn create_any(
    context: RequestContext,
    request: HttpRequest,
    payload: web::Payload,
    app: web::Data<Application>,
) -> Result<HttpResponse, Refusal> {
    create(context, None, &request, payload, &app).await
}

pub(super) async fn create_this(
    context: RequestContext,
    PathGuid(id): PathGuid,
    request: HttpRequest,
    payload: web::Payload,
    app: web::Data<Application>,
) -> Result<HttpResponse, Refusal> {
    create(context, Some(id), &request, payload, &app).await
}

async fn create(
    RequestContext(caller): RequestContext,
    id: Option<Guid>,
    request: &HttpRequest,
    payload: web::Payload,
    app: &Application,
) -> Result<HttpResponse, Refusal> {
    let key = IdempotencyKey::read(request.headers())?;
    let body = Body::read(request.headers(), payload.into_inner()).await?;
    let new = read_new(id, &body)?;
    // The GUID is as much part of what is asked for as the body is.
    let operation = match id {
        Some(id) => format!("POST /guid/{id}"),
        None => "POST /guid".to_owned(),
    };
    let once = key.once(&operation, caller.id(), &body, created);
    let outcome = guids::create(app, new, caller.origin(), once).await?;
    let (mut answer, body) = repeatable::answer(outcome, created)?;
    Ok(answer.body(body))
}

pub(super) async fn find(
    _: RequestContext,
    PathGuid(id): PathGuid,
    app: web::Data<Application>,
) -> Result<HttpResponse, Refusal> {
    let record = guids::find(&app, id).await?.ok_or(Refusal::NotFound)?;
    Ok(HttpResponse::Ok().json(GuidRecord::from(&*record)))
}

pub(super) async fn update(
    RequestContext(caller): RequestContext,
    PathGuid(id): PathGuid,
    request: HttpRequest,
    payload: web::Payload,
    app: web::Data<Application>,
) -> Result<HttpResponse, Refusal> {
    let body = Body::read(request.headers(), payload.into_inner()).await?;
    let record = guids::update(&app, id, read_change(&body)?, caller.origin()).await?;
    let record = record.ok_or(Refusal::NotFound)?;
    Ok(HttpResponse::Ok().json(GuidRecord::from(&record)))
}

pub(super) async fn delete(
    RequestContext(caller): RequestContext,
    PathGuid(id): PathGuid,
    app: web::Data<Application>,
) -> Result<HttpResponse, Refusal> {
    if guids::delete(&app, id, caller.origin()).await? {
        Ok(HttpResponse::NoContent().finish())
    } else {
        Err(Refusal::NotFound)
    }
}
