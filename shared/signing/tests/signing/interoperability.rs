//! The `standardwebhooks` library on the other side: it verifies what is signed here, and the other way round.

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderValue};
use standardwebhooks::Webhook;
use tidings_domain::{Clock, SystemClock};
use tidings_signing::*;

use crate::secret;

const ID: &str = "019b7c3e-0000-7000-8000-000000000001";
const BODY: &[u8] = br#"{"from":"contact","text":"gr\u00fcezi"}"#;

/// The text of a secret here, and what the library is given for it.
fn secrets() -> [(String, String); 3] {
    let standard = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
    let long = "a passphrase of more than sixty-four bytes, which is a whole block of SHA-256";
    let encoded = |plain: &str| format!("whsec_{}", STANDARD.encode(plain));
    [
        (standard.to_owned(), standard.to_owned()),
        ("mySecret".to_owned(), encoded("mySecret")),
        (long.to_owned(), encoded(long)),
    ]
}

/// The library goes by the machine's clock.
fn now() -> i64 {
    SystemClock.now().timestamp()
}

fn header_map(headers: &SignatureHeaders) -> HeaderMap {
    headers
        .iter()
        .map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_str(value).unwrap()))
        .collect()
}

#[test]
fn the_library_verifies_ours() {
    for (ours, theirs) in secrets() {
        let headers = sign(&[secret(&ours)], ID, now(), BODY).unwrap();
        let library = Webhook::new(&theirs).unwrap();
        library.verify(BODY, &header_map(&headers)).unwrap();
        library.verify(b"{}", &header_map(&headers)).unwrap_err();
    }
}

#[test]
fn the_library_verifies_ours_while_two_secrets_are_valid() {
    for (old, theirs) in secrets() {
        let headers = sign(&[secret("the new one"), secret(&old)], ID, now(), BODY).unwrap();
        Webhook::new(&theirs)
            .unwrap()
            .verify(BODY, &header_map(&headers))
            .unwrap();
    }
}

#[test]
fn we_verify_the_librarys() {
    for (ours, theirs) in secrets() {
        let timestamp = now();
        let signature = Webhook::new(&theirs).unwrap().sign(ID, timestamp, BODY).unwrap();
        let headers = ReceivedHeaders {
            authorization: None,
            webhook_id: Some(ID),
            webhook_timestamp: Some(&timestamp.to_string()),
            webhook_signature: Some(&signature),
        };
        assert_eq!(
            verify(&headers, BODY, &[secret(&ours)], now()),
            Ok(Verified::Standard { id: ID, timestamp })
        );
        assert_eq!(
            verify(&headers, b"{}", &[secret(&ours)], now()),
            Err(VerifyError::NoMatch)
        );
    }
}
