//! What can go wrong, as RFC 9457 has it: each kind of problem has a name, under which a page explains it.

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_TYPE, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{Error, HttpRequest, HttpResponse, web};
use serde::Serialize;

use super::Refusal;
use crate::contracts::{Methods, Surroundings};
use crate::observe::Trace;

/// One kind of problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct Kind {
    /// Part of its address, so it stays.
    pub(super) name: &'static str,
    pub(super) status: u16,
    pub(super) title: &'static str,
    /// What a client can do about it.
    pub(super) remedy: &'static str,
}

/// Declares kinds and lists them.
macro_rules! kinds {
    ($($constant:ident: $name:literal, $status:literal, $title:literal, $remedy:literal;)*) => {
        $(pub(super) const $constant: Kind = Kind {
            name: $name,
            status: $status,
            title: $title,
            remedy: $remedy,
        };)*

        /// Every kind there is.
        pub(super) const CATALOGUE: &[Kind] = &[$($constant,)*];
    };
}

kinds! {
    MALFORMED: "malformed-body", 400, "The body cannot be read",
        "Send one JSON object in UTF-8; `detail` says where reading it ended.";
    INVALID: "validation-failed", 400, "Something in the request is not as it must be",
        "`errors` has everything that is wrong: `pointer` says where (a JSON pointer into the body, or `?name` for a parameter), `code` and `message` what.";
    BAD_KEY: "invalid-idempotency-key", 400, "The Idempotency-Key cannot be used",
        "Send one header of 1 to 255 visible ASCII characters.";
    UNAUTHORIZED: "unauthorized", 401, "The API key is missing or wrong",
        "Send a key that is valid now as `Authorization: Bearer <key>`.";
    FORBIDDEN: "forbidden", 403, "The API key is not good for this",
        "Use a key with the scope or role that `detail` names, or ask an administrator for one.";
    NOT_FOUND: "not-found", 404, "There is nothing at this address",
        "Check the path and the id.";
    METHOD: "method-not-allowed", 405, "The method is not allowed here",
        "The header `Allow` has those that are.";
    TOO_SLOW: "request-timeout", 408, "The body took too long to arrive",
        "Send the request again.";
    IN_FLIGHT: "request-in-flight", 409, "The same request is being carried out",
        "Send it again after the time in `Retry-After`, to get its answer.";
    CONFLICT: "conflict", 409, "The state of the resource speaks against it",
        "Read the resource, and decide again.";
    PRECONDITION: "precondition-failed", 412, "The resource has been changed meanwhile",
        "Read it again, and send the new `ETag` as `If-Match`.";
    TOO_LARGE: "body-too-large", 413, "The body is larger than 1 MiB",
        "Send less at a time.";
    MEDIA_TYPE: "unsupported-media-type", 415, "The body is of a type that is not read here",
        "Send JSON in UTF-8 as `application/json`.";
    REUSED: "idempotency-key-reused", 422, "The Idempotency-Key was used for another request",
        "Use a new key for each request, and an old one for a repetition with the same body only.";
    TOO_MANY: "too-many-requests", 429, "There were too many requests",
        "Wait as long as `Retry-After` says. `RateLimit` has what is left, `RateLimit-Policy` the limits.";
    INTERNAL: "internal-error", 500, "Something went wrong here",
        "Tell whoever runs this the `correlation_id`, which finds the cause in the log.";
    UNAVAILABLE: "unavailable", 503, "The service cannot do this at the moment",
        "Try again after the time in `Retry-After`, with an `Idempotency-Key` if it is a POST.";
}

/// One thing that is wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Fault {
    /// A JSON pointer into the body, or `?name` for a parameter.
    pub(super) pointer: String,
    pub(super) code: &'static str,
    pub(super) message: String,
}

/// What a refusal leaves for [`tell`], which knows the request.
#[derive(Debug, Clone)]
pub(super) struct Problem {
    pub(super) kind: Kind,
    pub(super) detail: String,
    pub(super) faults: Vec<Fault>,
}

#[derive(Serialize)]
struct Form<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    instance: &'a str,
    correlation_id: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [Fault],
}

/// Writes problems down. Around everything else that a path does.
pub(super) async fn tell(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let mut answer = next.call(request).await?.map_into_boxed_body();
    let Some(problem) = answer.response_mut().extensions_mut().remove::<Problem>() else {
        return Ok(answer);
    };
    let body = form(answer.request(), &problem);
    let mut answer = answer.map_body(|_, _| BoxBody::new(body));
    let media_type = HeaderValue::from_static("application/problem+json");
    answer.headers_mut().insert(CONTENT_TYPE, media_type);
    Ok(answer)
}

fn form(request: &HttpRequest, problem: &Problem) -> Vec<u8> {
    let trace = Trace::find(request);
    let form = Form {
        r#type: format!("{}/problems/{}", base(request), problem.kind.name),
        title: problem.kind.title,
        status: problem.kind.status,
        detail: &problem.detail,
        instance: request.path(),
        correlation_id: trace.as_ref().map_or("", |trace| trace.correlation_id.as_str()),
        errors: &problem.faults,
    };
    serde_json::to_vec(&form).unwrap_or_default()
}

/// What absolute links begin with.
pub(super) fn base(request: &HttpRequest) -> String {
    let surroundings = request.app_data::<web::Data<Surroundings>>();
    surroundings.map_or_else(String::new, |surroundings| surroundings.base(request))
}

pub(super) fn status(kind: Kind) -> StatusCode {
    StatusCode::from_u16(kind.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// The catalogue, for everybody.
pub(super) fn pages() -> Vec<(&'static str, Methods)> {
    vec![
        ("/problems", super::page(async || HttpResponse::Ok().json(CATALOGUE))),
        ("/problems/{name}", super::page(explain)),
    ]
}

async fn explain(name: web::Path<String>) -> Result<HttpResponse, Refusal> {
    let kind = CATALOGUE.iter().find(|kind| kind.name == *name);
    Ok(HttpResponse::Ok().json(kind.ok_or(Refusal::NotFound)?))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_kind_has_a_name_of_its_own_and_the_status_of_an_error() {
        let names: BTreeSet<_> = CATALOGUE.iter().map(|kind| kind.name).collect();
        assert_eq!(names.len(), CATALOGUE.len());
        for kind in CATALOGUE {
            assert!(status(*kind).is_client_error() || status(*kind).is_server_error());
            assert!(kind.name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'));
        }
    }
}
