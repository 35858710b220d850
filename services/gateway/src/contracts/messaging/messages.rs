use std::collections::BTreeMap;

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use tidings_domain as domain;
use tidings_domain::ContactId;
use tidings_events::data::Message;

use super::Refusal;
use super::body::Body;
use super::contacts::read_new as read_new_contact;
use super::context::PathId;
use super::paging;
use super::repeatable::{self, IdempotencyKey};
use crate::access::Caller;
use crate::application::Application;
use crate::application::idempotency::Answer;
use crate::application::messages::{self, NewMessage, Recipient};
use crate::contracts::fields::Fields;

const WHAT: &str = "message";
const DEFAULT_PAGE_SIZE: u64 = 100;

/// `{from, content, to}`.
fn read_new(fields: &mut Fields) -> Result<NewMessage, Refusal> {
    Ok(NewMessage {
        from: fields.required("from")?,
        content: fields.required("content")?,
        to: read_recipient(fields.required_object("to")?)?,
    })
}

/// `{id}` or `{name, phone}`; of an object that has all of them, the id counts.
fn read_recipient(mut fields: Fields) -> Result<Recipient, Refusal> {
    match fields.optional("id")? {
        Some(id) => Ok(Recipient::Known(id)),
        None if fields.is_empty() => Err(Refusal::BadRequest(
            "to must have an id, or a name and a phone".to_owned(),
        )),
        None => read_new_contact(&mut fields).map(Recipient::Described),
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct MessagePage {
    messages: Vec<Message>,
    page: u64,
    quantity_per_page: u64,
    data: PageData,
}

/// What the messages of a page refer to.
#[derive(Serialize)]
struct PageData {
    contacts: BTreeMap<ContactId, ContactEntry>,
}

#[derive(Serialize)]
struct ContactEntry {
    name: String,
    phone: String,
}

fn created(message: &domain::Message) -> serde_json::Result<Answer> {
    repeatable::created(&Message::from(message))
}

pub(super) async fn create(
    caller: Caller,
    key: IdempotencyKey,
    body: Body,
    app: web::Data<Application>,
) -> Result<HttpResponse, Refusal> {
    let new = read_new(&mut body.fields()?)?;
    let once = key.once("POST /messages", &caller, &body, created);
    let outcome = messages::create(&app, new, caller.origin(), once).await?;
    repeatable::answer(outcome, created)
}

pub(super) async fn list(
    _: Caller,
    request: HttpRequest,
    app: web::Data<Application>,
) -> Result<HttpResponse, Refusal> {
    let page = paging::page(&request, "page", "limit", DEFAULT_PAGE_SIZE);
    let found = messages::list(&app, page).await?;
    let entry = |contact: &domain::Contact| ContactEntry {
        name: contact.name.as_str().to_owned(),
        phone: contact.phone.as_str().to_owned(),
    };
    Ok(HttpResponse::Ok().json(MessagePage {
        messages: found.messages.iter().map(Message::from).collect(),
        page: page.number,
        quantity_per_page: page.size,
        data: PageData {
            contacts: found
                .recipients
                .iter()
                .map(|contact| (contact.id, entry(contact)))
                .collect(),
        },
    }))
}

pub(super) async fn find(_: Caller, id: PathId, app: web::Data<Application>) -> Result<HttpResponse, Refusal> {
    let message = messages::find(&app, id.parse(WHAT)?).await?;
    let message = message.ok_or_else(|| id.unknown(WHAT))?;
    Ok(HttpResponse::Ok().json(Message::from(&message)))
}
