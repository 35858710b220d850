//! Repeated requests, with this contract's answers.

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest, HttpResponse};

use super::Refusal;
use super::body::Body;
use crate::access::Caller;
use crate::application::idempotency::{Once, Outcome, Present};
use crate::contracts::repeatable;
pub(super) use crate::contracts::repeatable::created;

/// The key of a request, if it has one.
#[derive(Debug)]
pub(super) struct IdempotencyKey(repeatable::IdempotencyKey);

impl IdempotencyKey {
    pub(super) fn once<T>(self, operation: &str, caller: &Caller, body: &Body, answer: Present<T>) -> Option<Once<T>> {
        self.0.once(operation, caller.id(), body.whole(), answer)
    }
}

impl FromRequest for IdempotencyKey {
    type Error = Refusal;
    type Future = Ready<Result<Self, Refusal>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let key = repeatable::IdempotencyKey::read(request.headers());
        ready(key.map(Self).map_err(Refusal::from))
    }
}

pub(super) fn answer<T>(outcome: Outcome<T>, present: Present<T>) -> Result<HttpResponse, Refusal> {
    let (mut response, body) = repeatable::answer(outcome, present)?;
    Ok(response.body(body))
}
