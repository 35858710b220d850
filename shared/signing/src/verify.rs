use base64::{Engine, engine::general_purpose::STANDARD};
use subtle::{Choice, ConstantTimeEq};

use crate::{
    AUTHORIZATION, SCHEME, Secret, TOLERANCE_SECONDS, VERSION, WEBHOOK_ID, WEBHOOK_SIGNATURE, WEBHOOK_TIMESTAMP,
    sign::{is_fit, standard_content},
};

/// The headers of a request that say who sent it.
#[derive(Debug, Clone, Copy, Default)]
pub struct ReceivedHeaders<'a> {
    pub authorization: Option<&'a str>,
    pub webhook_id: Option<&'a str>,
    pub webhook_timestamp: Option<&'a str>,
    pub webhook_signature: Option<&'a str>,
}

impl<'a> ReceivedHeaders<'a> {
    /// Asks for each header by its name, in lower case.
    pub fn from_lookup(mut header: impl FnMut(&'static str) -> Option<&'a str>) -> Self {
        Self {
            authorization: header(AUTHORIZATION),
            webhook_id: header(WEBHOOK_ID),
            webhook_timestamp: header(WEBHOOK_TIMESTAMP),
            webhook_signature: header(WEBHOOK_SIGNATURE),
        }
    }
}

/// What a verified webhook vouches for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verified<'a> {
    /// Body, id and time, in Unix seconds: Standard Webhooks.
    Standard { id: &'a str, timestamp: i64 },
    /// The body and nothing else: `Authorization: Signature`.
    BodyOnly,
}

/// Verifies `body`, byte for byte as it was received, against any of the `secrets`, at `now` in Unix seconds.
///
/// A single `webhook-*` header makes the request one of Standard Webhooks: all three must be there and be
/// right, whatever `Authorization` says. Only without any does `Authorization: Signature` decide.
///
/// # Errors
/// Says why the webhook must not be believed. A receiver answers 401 to all of them.
pub fn verify<'a>(
    headers: &ReceivedHeaders<'a>,
    body: &[u8],
    secrets: &[Secret],
    now: i64,
) -> Result<Verified<'a>, VerifyError> {
    if secrets.is_empty() {
        return Err(VerifyError::NoSecret);
    }
    match (headers.webhook_id, headers.webhook_timestamp, headers.webhook_signature) {
        (None, None, None) => {
            let value = headers.authorization.ok_or(VerifyError::Missing)?;
            verify_authorization(value, body, secrets)
        }
        (id, timestamp, signature) => verify_standard(
            id.ok_or(VerifyError::MissingHeader(WEBHOOK_ID))?,
            timestamp.ok_or(VerifyError::MissingHeader(WEBHOOK_TIMESTAMP))?,
            signature.ok_or(VerifyError::MissingHeader(WEBHOOK_SIGNATURE))?,
            body,
            secrets,
            now,
        ),
    }
}

fn verify_authorization<'a>(value: &str, body: &[u8], secrets: &[Secret]) -> Result<Verified<'a>, VerifyError> {
    let malformed = VerifyError::Malformed(AUTHORIZATION, "expected `Signature` and 64 hexadecimal digits");
    let (scheme, digits) = value.split_once(' ').ok_or(malformed)?;
    let mut received = [0; 32];
    if !scheme.eq_ignore_ascii_case(SCHEME) || hex::decode_to_slice(digits, &mut received).is_err() {
        return Err(malformed);
    }
    if any_fits(&[received], &[body], secrets) {
        Ok(Verified::BodyOnly)
    } else {
        Err(VerifyError::NoMatch)
    }
}

fn verify_standard<'a>(
    id: &'a str,
    timestamp: &str,
    signature: &str,
    body: &[u8],
    secrets: &[Secret],
    now: i64,
) -> Result<Verified<'a>, VerifyError> {
    if !is_fit(id) {
        return Err(VerifyError::Malformed(
            WEBHOOK_ID,
            "expected visible ASCII without a full stop",
        ));
    }
    let sent = parse_timestamp(timestamp)?;
    let age = now.saturating_sub(sent);
    if age > TOLERANCE_SECONDS {
        return Err(VerifyError::TooOld { seconds: age });
    }
    if age < -TOLERANCE_SECONDS {
        return Err(VerifyError::TooNew {
            seconds: age.saturating_neg(),
        });
    }
    let received = parse_signatures(signature)?;
    // The header's own text is what was signed, not what its number would look like written anew.
    if any_fits(&received, &standard_content(id, timestamp, body), secrets) {
        Ok(Verified::Standard { id, timestamp: sent })
    } else {
        Err(VerifyError::NoMatch)
    }
}

fn parse_timestamp(text: &str) -> Result<i64, VerifyError> {
    let malformed = VerifyError::Malformed(WEBHOOK_TIMESTAMP, "expected whole seconds since 1970");
    // `parse` alone would take a sign, too.
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(malformed);
    }
    text.parse().map_err(|_| malformed)
}

/// The signatures of the version known here. Others are skipped, which lets senders introduce new ones.
fn parse_signatures(header: &str) -> Result<Vec<[u8; 32]>, VerifyError> {
    let malformed = VerifyError::Malformed(
        WEBHOOK_SIGNATURE,
        "expected `v1,` and 32 bytes in base64, once or more, separated by spaces",
    );
    header
        .split(' ')
        .filter(|entry| !entry.is_empty())
        .filter_map(|entry| match entry.split_once(',') {
            Some((VERSION, encoded)) => {
                let code = STANDARD.decode(encoded).ok().and_then(|code| code.try_into().ok());
                Some(code.ok_or(malformed))
            }
            Some(_) => None,
            None => Some(Err(malformed)),
        })
        .collect()
}

/// Compares every received code with every secret's and stops at none, so that the time taken depends
/// only on how many there are.
fn any_fits(received: &[[u8; 32]], content: &[&[u8]], secrets: &[Secret]) -> bool {
    let mut fits = Choice::from(0);
    for secret in secrets {
        let expected = secret.authenticate(content);
        for code in received {
            fits |= expected.ct_eq(code);
        }
    }
    fits.into()
}

/// Why a webhook must not be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    #[error("there is no secret to verify with")]
    NoSecret,
    #[error("the request carries no signature")]
    Missing,
    #[error("the header {0} is missing beside the other webhook headers")]
    MissingHeader(&'static str),
    #[error("the header {0} is malformed: {1}")]
    Malformed(&'static str, &'static str),
    #[error("the webhook was signed {seconds} s ago, at most {TOLERANCE_SECONDS} s are accepted")]
    TooOld { seconds: i64 },
    #[error("the webhook was signed {seconds} s in the future, at most {TOLERANCE_SECONDS} s are accepted")]
    TooNew { seconds: i64 },
    #[error("the signature fits none of the secrets")]
    NoMatch,
}
