//! `Idempotency-Key`: how a client may send a POST again without it taking effect again.

use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderMap, LOCATION};
use actix_web::{HttpResponse, HttpResponseBuilder};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tidings_storage::idempotency::RequestKey;

use super::body::Body;
use crate::application::idempotency::{Answer, Once, Outcome, Present, Refused};

const KEY: &str = "Idempotency-Key";
const REPLAYED: &str = "Idempotency-Replayed";
const LONGEST: usize = 255;

/// The key of a request, if it has one: 1 to 255 visible ASCII characters.
#[derive(Debug)]
pub(crate) struct IdempotencyKey(Option<String>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{KEY} must be one header of 1 to {LONGEST} visible ASCII characters")]
pub(crate) struct BadKey;

impl IdempotencyKey {
    pub(crate) fn read(headers: &HeaderMap) -> Result<Self, BadKey> {
        let keys: Vec<_> = headers.get_all(KEY).collect();
        match keys.as_slice() {
            [] => Ok(Self(None)),
            [key] => key.to_str().ok().and_then(parse).ok_or(BadKey),
            _ => Err(BadKey),
        }
    }

    /// What makes the request recognisable. `operation` is the same for every spelling of its path.
    pub(crate) fn once<T>(self, operation: &str, caller: &str, body: &Body, answer: Present<T>) -> Option<Once<T>> {
        self.0.map(|key| Once {
            request: RequestKey {
                caller: caller.to_owned(),
                operation: operation.to_owned(),
                key,
            },
            fingerprint: body.fingerprint(),
            answer,
        })
    }
}

fn parse(key: &str) -> Option<IdempotencyKey> {
    let valid = (1..=LONGEST).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic());
    valid.then(|| IdempotencyKey(Some(key.to_owned())))
}

/// How every contract answers a request that is not carried out.
pub(crate) fn status(refused: Refused) -> StatusCode {
    match refused {
        Refused::InFlight => StatusCode::CONFLICT,
        Refused::Reused => StatusCode::UNPROCESSABLE_ENTITY,
    }
}

/// 201 with that body.
pub(crate) fn created(body: &impl Serialize) -> serde_json::Result<Answer> {
    answered(StatusCode::CREATED, body)
}

/// 202 with that body.
pub(crate) fn accepted(body: &impl Serialize) -> serde_json::Result<Answer> {
    answered(StatusCode::ACCEPTED, body)
}

fn answered(status: StatusCode, body: &impl Serialize) -> serde_json::Result<Answer> {
    Ok(Answer {
        status: status.as_u16(),
        body: serde_json::to_vec(body)?,
    })
}

/// Answers now as a repetition will be answered, but for the header that tells them apart.
pub(crate) fn answer<T>(
    outcome: Outcome<T>,
    present: Present<T>,
) -> serde_json::Result<(HttpResponseBuilder, Vec<u8>)> {
    let (answer, replayed) = match outcome {
        Outcome::Done(done) => (present(&done)?, false),
        Outcome::Replayed(answer) => (answer, true),
    };
    // A status that is none cannot have been stored.
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = HttpResponse::build(status);
    if replayed {
        response.insert_header((REPLAYED, "true"));
    }
    response.content_type("application/json");
    Ok((response, answer.body))
}

/// The same with the address of what was made. That is told by the body, so that a repetition gets it as well.
pub(crate) fn answer_at<T, B: DeserializeOwned>(
    outcome: Outcome<T>,
    present: Present<T>,
    address: impl FnOnce(B) -> String,
) -> serde_json::Result<HttpResponse> {
    let (mut response, body) = answer(outcome, present)?;
    let address = address(serde_json::from_slice(&body)?);
    Ok(response.insert_header((LOCATION, address)).body(body))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// What is taken fits into a header as it stands.
        #[test]
        fn a_key_is_visible_ascii_of_a_bounded_length(text in prop_oneof![any::<String>(), "[!-~]{0,300}"]) {
            let taken = parse(&text).is_some();
            let fits = (1..=LONGEST).contains(&text.len()) && text.chars().all(|character| ('!'..='~').contains(&character));
            prop_assert_eq!(taken, fits);
        }
    }
}
