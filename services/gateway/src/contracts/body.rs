use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use sha2::{Digest, Sha256};

/// The largest body that is read.
const LIMIT: usize = 1024 * 1024;
/// For all of a body to arrive.
const DEADLINE: Duration = Duration::from_secs(20);

/// A request's body: at most [`LIMIT`] bytes that say of themselves that they are JSON.
#[derive(Debug)]
pub(crate) struct Body(Bytes);

/// Why a body was not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BodyError {
    #[error("the body ended before its time")]
    CutOff,
    #[error("the body took too long to arrive")]
    TooSlow,
    #[error("the body is larger than 1 MiB")]
    TooLarge,
    #[error("the body must be JSON in UTF-8: send it as application/json, without a content encoding")]
    UnsupportedMediaType,
}

impl BodyError {
    /// How every contract answers it.
    pub(crate) fn status(self) -> StatusCode {
        match self {
            Self::CutOff => StatusCode::BAD_REQUEST,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        }
    }
}

impl Body {
    pub(crate) async fn read(headers: &HeaderMap, payload: Payload) -> Result<Self, BodyError> {
        check(headers)?;
        tokio::time::timeout(DEADLINE, collect(payload))
            .await
            .unwrap_or(Err(BodyError::TooSlow))
            .map(Self)
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// What it is recognised by: hexadecimal SHA-256.
    pub(crate) fn fingerprint(&self) -> String {
        hex::encode(Sha256::digest(&self.0))
    }
}

async fn collect(mut payload: Payload) -> Result<Bytes, BodyError> {
    let mut body = BytesMut::new();
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|_| BodyError::CutOff)?;
        if body.len() + chunk.len() > LIMIT {
            return Err(BodyError::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

/// Judges a body by its headers.
fn check(headers: &HeaderMap) -> Result<(), BodyError> {
    let plain = headers
        .get(CONTENT_ENCODING)
        .is_none_or(|encoding| encoding.as_bytes().eq_ignore_ascii_case(b"identity"));
    let json = headers
        .get(CONTENT_TYPE)
        .is_none_or(|value| value.to_str().is_ok_and(is_json));
    if !(plain && json) {
        return Err(BodyError::UnsupportedMediaType);
    }
    let announced = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    if announced
        .and_then(|length| length.parse::<u64>().ok())
        .is_some_and(|length| length > LIMIT as u64)
    {
        return Err(BodyError::TooLarge);
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
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_media_type_panics(text in ".*", parameters in "[a-z=;\" -]*") {
            let _ = is_json(&text);
            let _ = is_json(&format!("application/json;{parameters}"));
        }
    }

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
