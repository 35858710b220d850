use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use tidings_domain as domain;
use tidings_domain::{PhoneNumber, User, UserId};
use tidings_events::data::{Order, timestamp};

use super::context::{RequestContext, path_id};
use super::fields::Wrong;
use super::{List, Refusal};
use crate::application::Application;
use crate::application::{orders, users};
use crate::contracts::body::Body;
use crate::contracts::fields::Fields;

const WHAT: &str = "user";

/// A user as those see them who order kits.
#[derive(Serialize)]
struct Person {
    id: UserId,
    email: String,
    name: String,
    phone: Option<String>,
    created_at: String,
    orders: Vec<Order>,
}

impl From<(User, Vec<domain::Order>)> for Person {
    fn from((user, orders): (User, Vec<domain::Order>)) -> Self {
        Self {
            id: user.id,
            name: user.name(),
            email: user.email.as_str().to_owned(),
            phone: user.phone.map(|phone| phone.as_str().to_owned()),
            created_at: timestamp(user.created_at),
            orders: orders.iter().map(Order::from).collect(),
        }
    }
}

/// `{phone}`; null is none.
fn read_phone(body: &Body) -> Result<Option<PhoneNumber>, Refusal> {
    let phone = Fields::read(body.bytes())?.required_or_null("phone")?;
    let mut wrong = Wrong::default();
    let phone = phone.and_then(|phone| wrong.note(PhoneNumber::parse(phone)));
    wrong.or(phone)
}

pub(super) async fn list(_: RequestContext, app: web::Data<Application>) -> Result<HttpResponse, Refusal> {
    let all: Vec<_> = orders::by_user(&app).await?.into_iter().map(Person::from).collect();
    Ok(HttpResponse::Ok().json(List::from(all)))
}

pub(super) async fn update(
    context: RequestContext,
    request: HttpRequest,
    payload: web::Payload,
    app: web::Data<Application>,
) -> Result<HttpResponse, Refusal> {
    let id: UserId = path_id(&request, WHAT)?;
    // Before the body is read.
    users::find(&app, id).await?.ok_or(Refusal::NotFound(WHAT))?;
    let body = Body::read(request.headers(), payload.into_inner()).await?;
    let phone = read_phone(&body)?;
    let changed = users::set_phone(&app, id, phone, context.users(), context.caller.origin()).await?;
    let changed = changed.ok_or(Refusal::NotFound(WHAT))?;
    Ok(HttpResponse::Ok().json(Person::from(changed)))
}
