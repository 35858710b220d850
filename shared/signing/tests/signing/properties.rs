//! What holds for every webhook, and for every single bit of it.

use proptest::prelude::*;
use tidings_signing::*;

use crate::{authorization_only, received, secret};

prop_compose! {
    fn webhook()(
        key in "[ -~]{1,100}",
        id in "[!-\\-/-~]{1,40}",
        timestamp in 0..4_000_000_000_i64,
        body in prop::collection::vec(any::<u8>(), 1..200),
    ) -> (Secret, String, i64, Vec<u8>) {
        // A key that happens to start so would have to go on in base64.
        (secret(key.strip_prefix("whsec_").unwrap_or(&key)), id, timestamp, body)
    }
}

/// `text` with one bit changed, and still ASCII as a header must be.
fn flip(text: &str, at: prop::sample::Index, bit: u8) -> String {
    let mut bytes = text.as_bytes().to_vec();
    let at = at.index(bytes.len());
    bytes[at] ^= 1 << bit;
    String::from_utf8(bytes).unwrap()
}

proptest! {
    #[test]
    fn what_is_signed_verifies((secret, id, timestamp, body) in webhook(), off in -300..=300_i64) {
        let headers = sign(std::slice::from_ref(&secret), &id, timestamp, &body).unwrap();
        let secrets = [secret];
        prop_assert_eq!(
            verify(&received(&headers), &body, &secrets, timestamp + off),
            Ok(Verified::Standard { id: &id, timestamp })
        );
        prop_assert_eq!(
            verify(&authorization_only(&headers), &body, &secrets, timestamp + off),
            Ok(Verified::BodyOnly)
        );
    }

    #[test]
    fn any_of_the_secrets_will_do((first, id, timestamp, body) in webhook(), (second, ..) in webhook()) {
        let headers = sign(&[first.clone(), second.clone()], &id, timestamp, &body).unwrap();
        let other = secret("another one altogether");
        for known in [vec![first.clone()], vec![second.clone()], vec![other.clone(), second], vec![other.clone(), first]] {
            prop_assert!(verify(&received(&headers), &body, &known, timestamp).is_ok());
        }
        prop_assert_eq!(verify(&received(&headers), &body, &[other], timestamp), Err(VerifyError::NoMatch));
    }

    #[test]
    fn a_changed_body_is_refused(
        (secret, id, timestamp, mut body) in webhook(),
        at in any::<prop::sample::Index>(),
        bit in 0..8_u8,
    ) {
        let headers = sign(std::slice::from_ref(&secret), &id, timestamp, &body).unwrap();
        let at = at.index(body.len());
        body[at] ^= 1 << bit;
        for headers in [received(&headers), authorization_only(&headers)] {
            prop_assert_eq!(
                verify(&headers, &body, std::slice::from_ref(&secret), timestamp),
                Err(VerifyError::NoMatch)
            );
        }
    }

    #[test]
    fn a_changed_header_is_refused(
        (secret, id, timestamp, body) in webhook(),
        at in any::<prop::sample::Index>(),
        bit in 0..7_u8,
    ) {
        let headers = sign(std::slice::from_ref(&secret), &id, timestamp, &body).unwrap();
        let changed_id = flip(&headers.webhook_id, at, bit);
        let changed_timestamp = flip(&headers.webhook_timestamp, at, bit);
        let changed_signature = flip(&headers.webhook_signature, at, bit);
        for changed in [
            ReceivedHeaders { webhook_id: Some(&changed_id), ..received(&headers) },
            ReceivedHeaders { webhook_timestamp: Some(&changed_timestamp), ..received(&headers) },
            ReceivedHeaders { webhook_signature: Some(&changed_signature), ..received(&headers) },
        ] {
            prop_assert!(verify(&changed, &body, std::slice::from_ref(&secret), timestamp).is_err());
        }
        // Scheme and hexadecimal digits mean the same in either case.
        let changed_authorization = flip(&headers.authorization, at, bit);
        if !changed_authorization.eq_ignore_ascii_case(&headers.authorization) {
            let changed = ReceivedHeaders {
                authorization: Some(&changed_authorization),
                ..ReceivedHeaders::default()
            };
            prop_assert!(verify(&changed, &body, std::slice::from_ref(&secret), timestamp).is_err());
        }
    }

    #[test]
    fn nothing_received_makes_it_panic(
        values in prop::array::uniform4(prop::option::of(any::<String>())),
        body in prop::collection::vec(any::<u8>(), 0..50),
        now in any::<i64>(),
    ) {
        let headers = ReceivedHeaders {
            authorization: values[0].as_deref(),
            webhook_id: values[1].as_deref(),
            webhook_timestamp: values[2].as_deref(),
            webhook_signature: values[3].as_deref(),
        };
        prop_assert!(verify(&headers, &body, &[secret("mySecret")], now).is_err());
    }

    #[test]
    fn no_text_of_a_secret_makes_it_panic(text in any::<String>(), encoded in any::<String>()) {
        prop_assert_eq!(text.parse::<Secret>().is_ok(), !text.is_empty() && !text.starts_with("whsec_"));
        let _ = Secret::from_text(&format!("whsec_{encoded}"));
    }
}
