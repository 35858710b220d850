use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use tidings_domain as domain;
use tidings_domain::{ChannelName, NotificationId, NotificationText};
use tidings_events::data::Notification;
use url::form_urlencoded;

use super::context::{RequestContext, path_id};
use super::fields::Wrong;
use super::{List, Refusal};
use crate::application::Application;
use crate::application::idempotency::Answer;
use crate::application::notifications::{self, NewNotification, NotificationFilter};
use crate::contracts::body::Body;
use crate::contracts::fields::Fields;
use crate::contracts::repeatable::{self, IdempotencyKey};

const WHAT: &str = "notification";

/// What whoever asks for a notification learns of it at once.
#[derive(Serialize, Deserialize)]
struct Accepted {
    id: NotificationId,
    status: String,
}

/// `{user_id, message, channel?}`.
fn read_new(body: &Body) -> Result<NewNotification, Refusal> {
    let (mut fields, mut wrong) = (Fields::read(body.bytes())?, Wrong::default());
    let user = wrong.user_id(&mut fields);
    let message = wrong.parse(fields.required("message"), NotificationText::parse);
    let channel = wrong.channel(&mut fields);
    let Some(((user, message), channel)) = user.zip(message).zip(channel) else {
        return Err(Refusal::Wrong(wrong));
    };
    Ok(NewNotification {
        user,
        message,
        channel: channel.unwrap_or(ChannelName::Email),
    })
}

/// `user_id` and `order_id`, either or both. What is empty was left out in a form.
fn read_filter(query: &str) -> Result<NotificationFilter, Refusal> {
    let (mut filter, mut wrong) = (NotificationFilter::default(), Wrong::default());
    for (name, value) in form_urlencoded::parse(query.as_bytes()).filter(|(_, value)| !value.is_empty()) {
        match &*name {
            "user_id" => filter.user = wrong.id(&name, &value),
            "order_id" => filter.order = wrong.id(&name, &value),
            _ => {}
        }
    }
    wrong.or(filter)
}

fn accepted(notification: &domain::Notification) -> serde_json::Result<Answer> {
    repeatable::accepted(&Accepted {
        id: notification.id,
        status: notification.status.as_str().to_owned(),
    })
}

pub(super) async fn create(
    RequestContext { caller, base }: RequestContext,
    request: HttpRequest,
    payload: web::Payload,
    app: web::Data<Application>,
) -> Result<HttpResponse, Refusal> {
    let key = IdempotencyKey::read(request.headers())?;
    let body = Body::read(request.headers(), payload.into_inner()).await?;
    let new = read_new(&body)?;
    let once = key.once("POST /notifications", caller.id(), &body, accepted);
    let outcome = notifications::notify(&app, new, caller.origin(), once).await?;
    Ok(repeatable::answer_at(outcome, accepted, |notification: Accepted| {
        format!("{base}/notifications/{}", notification.id)
    })?)
}

pub(super) async fn list(
    _: RequestContext,
    request: HttpRequest,
    app: web::Data<Application>,
) -> Result<HttpResponse, Refusal> {
    let found = notifications::list(&app, read_filter(request.query_string())?).await?;
    let newest: Vec<_> = found.iter().map(Notification::from).collect();
    Ok(HttpResponse::Ok().json(List::from(newest)))
}

pub(super) async fn find(
    _: RequestContext,
    request: HttpRequest,
    app: web::Data<Application>,
) -> Result<HttpResponse, Refusal> {
    let id: NotificationId = path_id(&request, WHAT)?;
    let found = notifications::find(&app, id).await?.ok_or(Refusal::NotFound(WHAT))?;
    Ok(HttpResponse::Ok().json(Notification::from(&found)))
}
