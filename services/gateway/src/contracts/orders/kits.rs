use actix_web::{HttpRequest, HttpResponse, web};
use tidings_domain as domain;
use tidings_domain::{OrderId, SequencingType, ShippingInfo, ShippingLine};
use tidings_events::data::Order;

use super::context::{RequestContext, path_id};
use super::fields::Wrong;
use super::{List, Refusal};
use crate::application::Application;
use crate::application::idempotency::Answer;
use crate::application::orders::{self, NewOrder};
use crate::contracts::body::Body;
use crate::contracts::fields::Fields;
use crate::contracts::repeatable::{self, IdempotencyKey};

/// `{user_id, sequencing_type, shipping_info, channel?}`.
fn read_new(body: &Body) -> Result<NewOrder, Refusal> {
    let (mut fields, mut wrong) = (Fields::read(body.bytes())?, Wrong::default());
    let user = wrong.user_id(&mut fields);
    let sequencing = wrong.parse(fields.required("sequencing_type"), SequencingType::parse);
    let shipping = read_shipping(&mut fields, &mut wrong);
    let channel = wrong.channel(&mut fields);
    let Some((((user, sequencing), shipping), channel)) = user.zip(sequencing).zip(shipping).zip(channel) else {
        return Err(Refusal::Wrong(wrong));
    };
    Ok(NewOrder {
        user,
        sequencing,
        shipping,
        channel,
    })
}

fn read_shipping(fields: &mut Fields, wrong: &mut Wrong) -> Option<ShippingInfo> {
    let mut lines = wrong.note(fields.required_object("shipping_info"))?;
    let names = [
        "delivery_name",
        "first_line",
        "second_line",
        "town",
        "postcode",
        "country",
    ];
    // All of them first, so that everything that is wrong is noted.
    let [delivery_name, first_line, second_line, town, postcode, country] = names.map(|name| {
        let path = format!("shipping_info.{name}");
        wrong.parse(lines.required(name), |line| ShippingLine::parse(&path, line))
    });
    Some(ShippingInfo {
        delivery_name: delivery_name?,
        first_line: first_line?,
        second_line: second_line?,
        town: town?,
        postcode: postcode?,
        country: country?,
    })
}

fn created(order: &domain::Order) -> serde_json::Result<Answer> {
    repeatable::created(&Order::from(order))
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
    let once = key.once("POST /orders", caller.id(), &body, created);
    let outcome = orders::place(&app, new, caller.origin(), once).await?;
    Ok(repeatable::answer_at(outcome, created, |order: Order| {
        format!("{base}/orders/{}", order.id)
    })?)
}

pub(super) async fn list(_: RequestContext, app: web::Data<Application>) -> Result<HttpResponse, Refusal> {
    let all: Vec<_> = orders::list(&app).await?.iter().map(Order::from).collect();
    Ok(HttpResponse::Ok().json(List::from(all)))
}

pub(super) async fn find(
    _: RequestContext,
    request: HttpRequest,
    app: web::Data<Application>,
) -> Result<HttpResponse, Refusal> {
    let id: OrderId = path_id(&request, "order")?;
    let order = orders::find(&app, id).await?.ok_or(Refusal::NotFound("order"))?;
    Ok(HttpResponse::Ok().json(Order::from(&order)))
}
