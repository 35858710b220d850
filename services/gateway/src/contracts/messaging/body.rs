use std::pin::Pin;
use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap};
use actix_web::{FromRequest, HttpRequest};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::Refusal;
use super::fields::Fields;

/// The largest body that is read.
const LIMIT: usize = 1024 * 1024;
/// For all of a body to arrive.
const DEADLINE: Duration = Duration::from_secs(20);

/// A request's body: at most [`LIMIT`] bytes that say of themselves that they are JSON.
#[derive(Debug)]
pub(super) struct Body(Bytes);

impl Body {
    /// Reads it as the JSON object that it has to be.
    pub(super) fn fields(&self) -> Result<Fields, Refusal> {
        match serde_json::from_slice(&self.0) {
            Ok(Value::Object(fields)) => Ok(Fields::new(fields)),
            Ok(_) => Err(Refusal::BadRequest("the body must be a JSON object".to_owned())),
            Err(error) => Err(Refusal::BadRequest(format!("the body is not valid JSON: {error}"))),
        }
    }

    /// What it is recognised by: hexadecimal SHA-256.
    pub(super) fn fingerprint(&self) -> String {
        hex::encode(Sha256::digest(&self.0))
    }
}

impl FromRequest for Body {
    type Error = Refusal;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Refusal>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let accepted = check(request.headers());
        let payload = payload.take();
        Box::pin(async move {
            accepted?;
            tokio::time::timeout(DEADLINE, read(payload))
                .await
                .unwrap_or(Err(Refusal::TooSlow))
                .map(Self)
        })
    }
}

async fn read(mut payload: Payload) -> Result<Bytes, Refusal> {
    let mut body = BytesMut::new();
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|_| Refusal::BadRequest("the body ended before its time".to_owned()))?;
        if body.len() + chunk.len() > LIMIT {
            return Err(Refusal::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

/// Judges a body by its headers.
fn check(headers: &HeaderMap) -> Result<(), Refusal> {
    let plain = headers
        .get(CONTENT_ENCODING)
        .is_none_or(|encoding| encoding.as_bytes().eq_ignore_ascii_case(b"identity"));
    let json = headers
        .get(CONTENT_TYPE)
        .is_none_or(|value| value.to_str().is_ok_and(is_json));
    if !(plain && json) {
        return Err(Refusal::UnsupportedMediaType);
    }
    let announced = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    if announced
        .and_then(|length| length.parse::<u64>().ok())
        .is_some_and(|length| length > LIMIT as u64)
    {
        return Err(Refusal::TooLarge);
    }
    Ok(())
}

/// Whether a media type is JSON in UTF-8, which is the only encoding JSON has.
fn is_json(content_type: &str) -> bool {
    let mut parts = content_type.split(';').map(str::trim);
    let essence = parts.next().unwrap_or_default().to_ascii_lowercase();
    let json = match essence.split_once('/') {
        Some(("application", subtype)) => subtype == "json" || subtype.ends_with("+json"),
        Some((_, subtype)) => subtype.ends_with("+json"),
        None => essence.is_empty(),
    };
    let charset = parts
        .filter_map(|parameter| parameter.split_once('='))
        .find(|(name, _)| name.trim().eq_ignore_ascii_case("charset"));
    json && charset.is_none_or(|(_, charset)| charset.trim().trim_matches('"').eq_ignore_ascii_case("utf-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_types_that_are_json() {
        for json in [
            "",
            "application/json",
            "application/json; charset=utf-8",
            "application/json;charset=\"UTF-8\"",
            "Application/JSON; Charset=UTF-8; x=y",
            "application/merge-patch+json",
            "application/vnd.example+json",
        ] {
            assert!(is_json(json), "{json}");
        }
        for other in [
            "text/plain",
            "text/json",
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=json",
            "application/json; charset=iso-8859-1",
            "application/jsonp",
            "json",
        ] {
            assert!(!is_json(other), "{other}");
        }
    }
}
