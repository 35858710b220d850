use actix_web::http::header::HeaderMap;
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Value, json};
use tidings_domain::ChannelName;
use tokio::time::sleep;

use super::outbox::Sent;
use super::{Refusal, Sandbox};
use crate::contracts::Body;

const KEY: &str = "Idempotency-Key";
/// In bytes.
const LONGEST_KEY: usize = 255;

pub(super) async fn email(
    request: HttpRequest,
    payload: web::Payload,
    sandbox: web::Data<Sandbox>,
) -> Result<HttpResponse, Refusal> {
    take(ChannelName::Email, &request, payload, &sandbox).await
}

pub(super) async fn sms(
    request: HttpRequest,
    payload: web::Payload,
    sandbox: web::Data<Sandbox>,
) -> Result<HttpResponse, Refusal> {
    take(ChannelName::Sms, &request, payload, &sandbox).await
}

async fn take(
    channel: ChannelName,
    request: &HttpRequest,
    payload: web::Payload,
    sandbox: &Sandbox,
) -> Result<HttpResponse, Refusal> {
    if !sandbox.admits(channel, request) {
        return Err(Refusal::Unauthorized);
    }
    let body = Body::read(request.headers(), payload.into_inner()).await?;
    let fault = sandbox.faults().befalls(channel);
    if let Some((status, fault)) = fault.and_then(|fault| Some((fault.status?, fault))) {
        sleep(fault.delay).await;
        return Err(Refusal::Told {
            status,
            retry_after: fault.retry_after,
        });
    }
    let sent = sent(channel, request.headers(), body.bytes())?;
    sandbox.outbox().take(sent, sandbox.clock.now());
    // A provider that is late has taken the message all the same.
    if let Some(fault) = fault {
        sleep(fault.delay).await;
    }
    Ok(HttpResponse::Ok().json(json!({ "status": "accepted" })))
}

fn sent(channel: ChannelName, headers: &HeaderMap, body: &[u8]) -> Result<Sent, Refusal> {
    let body: Value =
        serde_json::from_slice(body).map_err(|error| Refusal::Bad(format!("the body is not valid JSON: {error}")))?;
    let text = |name: &str| match body.get(name).and_then(Value::as_str) {
        Some(text) if !text.trim().is_empty() => Ok(text.to_owned()),
        _ => Err(Refusal::Bad(format!("{name} must be a string that is not empty"))),
    };
    Ok(Sent {
        channel,
        recipient: text("recipient")?,
        message: text("message")?,
        idempotency_key: key(headers)?,
    })
}

fn key(headers: &HeaderMap) -> Result<Option<String>, Refusal> {
    let Some(key) = headers.get(KEY) else {
        return Ok(None);
    };
    match key.to_str() {
        Ok(key) if (1..=LONGEST_KEY).contains(&key.len()) => Ok(Some(key.to_owned())),
        _ => Err(Refusal::Bad(format!(
            "{KEY} must be 1 to {LONGEST_KEY} ASCII characters"
        ))),
    }
}
