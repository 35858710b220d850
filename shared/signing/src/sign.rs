use base64::{Engine, engine::general_purpose::STANDARD};

use crate::{AUTHORIZATION, SCHEME, Secret, VERSION, WEBHOOK_ID, WEBHOOK_SIGNATURE, WEBHOOK_TIMESTAMP};

/// The headers that make a request a signed webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignatureHeaders {
    pub authorization: String,
    pub webhook_id: String,
    pub webhook_timestamp: String,
    pub webhook_signature: String,
}

impl SignatureHeaders {
    /// Names and values, as they go into a request.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &str)> {
        [
            (AUTHORIZATION, self.authorization.as_str()),
            (WEBHOOK_ID, &self.webhook_id),
            (WEBHOOK_TIMESTAMP, &self.webhook_timestamp),
            (WEBHOOK_SIGNATURE, &self.webhook_signature),
        ]
        .into_iter()
    }
}

/// Signs `body` with every secret that is valid now, the newest first.
///
/// `Authorization` has room for one signature and gets the first secret's, so a receiver that goes by it
/// takes over the new secret before it becomes the first. `id` stays the same when a webhook is sent again;
/// `timestamp`, in Unix seconds, is that of this attempt.
///
/// # Errors
/// When there is no secret, or when `id` is unfit for a header or holds the full stop that separates
/// what is signed: `a.1` at time 2 would have the signature of `a` at time 1 with `2.` before its body.
pub fn sign(secrets: &[Secret], id: &str, timestamp: i64, body: &[u8]) -> Result<SignatureHeaders, SignError> {
    let first = secrets.first().ok_or(SignError::NoSecret)?;
    if !is_fit(id) {
        return Err(SignError::UnfitId);
    }
    let webhook_timestamp = timestamp.to_string();
    let signatures: Vec<_> = secrets
        .iter()
        .map(|secret| {
            let code = secret.authenticate(&standard_content(id, &webhook_timestamp, body));
            format!("{VERSION},{}", STANDARD.encode(code))
        })
        .collect();
    Ok(SignatureHeaders {
        authorization: format!("{SCHEME} {}", hex::encode(first.authenticate(&[body]))),
        webhook_id: id.to_owned(),
        webhook_timestamp,
        webhook_signature: signatures.join(" "),
    })
}

/// What Standard Webhooks signs.
pub(crate) fn standard_content<'a>(id: &'a str, timestamp: &'a str, body: &'a [u8]) -> [&'a [u8]; 5] {
    [id.as_bytes(), b".", timestamp.as_bytes(), b".", body]
}

pub(crate) fn is_fit(id: &str) -> bool {
    !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'.')
}

/// Why a webhook was not signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    #[error("there is no secret to sign with")]
    NoSecret,
    #[error("the id of a webhook must be visible ASCII without a full stop")]
    UnfitId,
}
