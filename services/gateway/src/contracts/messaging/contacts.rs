use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use tidings_domain as domain;
use tidings_events::data::Contact;

use super::Refusal;
use super::body::Body;
use super::context::PathId;
use super::paging;
use super::repeatable::{self, IdempotencyKey};
use crate::access::Caller;
use crate::application::Application;
use crate::application::contacts::{self, ContactChange, NewContact};
use crate::application::idempotency::Answer;
use crate::contracts::fields::Fields;

const WHAT: &str = "contact";
const DEFAULT_PAGE_SIZE: u64 = 10;

/// `{name, phone}`, in a body of its own and in a message's `to`.
pub(super) fn read_new(fields: &mut Fields) -> Result<NewContact, Refusal> {
    Ok(NewContact {
        name: fields.required("name")?,
        phone: fields.required("phone")?,
    })
}

/// `{name?, phone?}`.
fn read_change(fields: &mut Fields) -> Result<ContactChange, Refusal> {
    Ok(ContactChange {
        name: fields.optional("name")?,
        phone: fields.optional("phone")?,
    })
}

/// One list under two names: the contract's documents call it one thing, its clients the other.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ContactPage<'a> {
    contacts_list: &'a [Contact],
    contacts: &'a [Contact],
    page_number: u64,
    page_size: u64,
}

fn created(contact: &domain::Contact) -> serde_json::Result<Answer> {
    repeatable::created(&Contact::from(contact))
}

pub(super) async fn create(
    caller: Caller,
    key: IdempotencyKey,
    body: Body,
    app: web::Data<Application>,
) -> Result<HttpResponse, Refusal> {
    let new = read_new(&mut body.fields()?)?;
    let once = key.once("POST /contacts", &caller, &body, created);
    let outcome = contacts::create(&app, new, caller.origin(), once).await?;
    repeatable::answer(outcome, created)
}

pub(super) async fn list(
    _: Caller,
    request: HttpRequest,
    app: web::Data<Application>,
) -> Result<HttpResponse, Refusal> {
    let page = paging::page(&request, "pageIndex", "max", DEFAULT_PAGE_SIZE);
    let contacts = contacts::list(&app, page).await?;
    let contacts: Vec<_> = contacts.iter().map(Contact::from).collect();
    Ok(HttpResponse::Ok().json(ContactPage {
        contacts_list: &contacts,
        contacts: &contacts,
        page_number: page.number,
        page_size: page.size,
    }))
}

pub(super) async fn find(_: Caller, id: PathId, app: web::Data<Application>) -> Result<HttpResponse, Refusal> {
    let contact = contacts::find(&app, id.parse(WHAT)?).await?;
    let contact = contact.ok_or_else(|| id.unknown(WHAT))?;
    Ok(HttpResponse::Ok().json(Contact::from(&contact)))
}

pub(super) async fn update(
    caller: Caller,
    id: PathId,
    body: Body,
    app: web::Data<Application>,
) -> Result<HttpResponse, Refusal> {
    let contact_id = id.parse(WHAT)?;
    let change = read_change(&mut body.fields()?)?;
    let contact = contacts::update(&app, contact_id, change, caller.origin()).await?;
    let contact = contact.ok_or_else(|| id.unknown(WHAT))?;
    Ok(HttpResponse::Ok().json(Contact::from(&contact)))
}

pub(super) async fn delete(caller: Caller, id: PathId, app: web::Data<Application>) -> Result<HttpResponse, Refusal> {
    if contacts::delete(&app, id.parse(WHAT)?, caller.origin()).await? {
        Ok(HttpResponse::NoContent().finish())
    } else {
        Err(id.unknown(WHAT))
    }
}
