//! `Idempotency-Key`: how a client may send a POST again without it taking effect again.

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::{FromRequest, HttpRequest, HttpResponse};
use serde::Serialize;
use tidings_storage::idempotency::RequestKey;

use super::Refusal;
use super::body::Body;
use super::context::RequestContext;
use crate::application::idempotency::{Answer, Once, Outcome, Present};

const KEY: &str = "Idempotency-Key";
const REPLAYED: &str = "Idempotency-Replayed";
const LONGEST: usize = 255;

/// The key of a request, if it has one: 1 to 255 visible ASCII characters.
#[derive(Debug)]
pub(super) struct IdempotencyKey(Option<String>);

impl IdempotencyKey {
    /// What makes the request recognisable. `operation` is the same for every spelling of its path.
    pub(super) fn once<T>(
        self,
        operation: &str,
        context: &RequestContext,
        body: &Body,
        answer: Present<T>,
    ) -> Option<Once<T>> {
        self.0.map(|key| Once {
            request: RequestKey {
                caller: context.caller.to_owned(),
                operation: operation.to_owned(),
                key,
            },
            fingerprint: body.fingerprint(),
            answer,
        })
    }
}

impl FromRequest for IdempotencyKey {
    type Error = Refusal;
    type Future = Ready<Result<Self, Refusal>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let keys: Vec<_> = request.headers().get_all(KEY).collect();
        let key = match keys.as_slice() {
            [] => Ok(Self(None)),
            [key] => key.to_str().ok().and_then(parse).ok_or_else(refused),
            _ => Err(refused()),
        };
        ready(key)
    }
}

fn parse(key: &str) -> Option<IdempotencyKey> {
    let valid = (1..=LONGEST).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic());
    valid.then(|| IdempotencyKey(Some(key.to_owned())))
}

fn refused() -> Refusal {
    Refusal::BadRequest(format!(
        "{KEY} must be one header of 1 to {LONGEST} visible ASCII characters"
    ))
}

/// 201 with that body.
pub(super) fn created(body: &impl Serialize) -> serde_json::Result<Answer> {
    Ok(Answer {
        status: StatusCode::CREATED.as_u16(),
        body: serde_json::to_vec(body)?,
    })
}

/// Answers now as a repetition will be answered, but for the header that tells them apart.
pub(super) fn answer<T>(outcome: Outcome<T>, present: Present<T>) -> Result<HttpResponse, Refusal> {
    let (answer, replayed) = match outcome {
        Outcome::Done(done) => (present(&done)?, false),
        Outcome::Replayed(answer) => (answer, true),
    };
    let status = StatusCode::from_u16(answer.status).map_err(|_| Refusal::Internal)?;
    let mut response = HttpResponse::build(status);
    if replayed {
        response.insert_header((REPLAYED, "true"));
    }
    Ok(response.content_type("application/json").body(answer.body))
}
