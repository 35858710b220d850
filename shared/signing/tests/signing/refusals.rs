//! What is not signed and what is not believed, and what is said about it.

use tidings_signing::*;

use crate::{NOW, authorization_only, received, secret};

const BODY: &[u8] = br#"{"id":"1"}"#;

fn signed() -> SignatureHeaders {
    sign(&[secret("mySecret")], "msg_1", NOW, BODY).unwrap()
}

fn verify_text(headers: &ReceivedHeaders<'_>) -> String {
    verify(headers, BODY, &[secret("mySecret")], NOW)
        .unwrap_err()
        .to_string()
}

#[test]
fn secrets_that_are_none() {
    for (text, error) in [
        ("", SecretError::Empty),
        ("whsec_", SecretError::Empty),
        ("whsec_not base64", SecretError::NotBase64),
        ("whsec_bXlTZWNyZXQ", SecretError::NotBase64),
    ] {
        assert_eq!(Secret::from_text(text).unwrap_err(), error, "{text:?}");
    }
}

#[test]
fn debug_output_hides_the_secret() {
    assert_eq!(format!("{:?}", secret("mySecret")), "Secret(hidden)");
}

#[test]
fn ids_that_cannot_be_signed() {
    for id in ["", "msg.1", "msg 1", "msg\r\nx: y", "mäg"] {
        assert_eq!(sign(&[secret("s")], id, NOW, BODY), Err(SignError::UnfitId), "{id:?}");
    }
}

#[test]
fn nothing_works_without_a_secret() {
    assert_eq!(sign(&[], "msg_1", NOW, BODY), Err(SignError::NoSecret));
    assert_eq!(verify(&received(&signed()), BODY, &[], NOW), Err(VerifyError::NoSecret));
}

#[test]
fn a_request_without_signature() {
    assert_eq!(
        verify_text(&ReceivedHeaders::default()),
        "the request carries no signature"
    );
}

#[test]
fn each_webhook_header_calls_for_the_others() {
    let headers = signed();
    for (name, without) in [
        (
            WEBHOOK_ID,
            ReceivedHeaders {
                webhook_id: None,
                ..received(&headers)
            },
        ),
        (
            WEBHOOK_TIMESTAMP,
            ReceivedHeaders {
                webhook_timestamp: None,
                ..received(&headers)
            },
        ),
        (
            WEBHOOK_SIGNATURE,
            ReceivedHeaders {
                webhook_signature: None,
                ..received(&headers)
            },
        ),
    ] {
        assert_eq!(
            verify_text(&without),
            format!("the header {name} is missing beside the other webhook headers")
        );
    }
}

#[test]
fn a_right_authorization_does_not_save_wrong_webhook_headers() {
    let headers = signed();
    let forged = ReceivedHeaders {
        webhook_id: Some("msg_2"),
        ..received(&headers)
    };
    assert_eq!(verify_text(&forged), "the signature fits none of the secrets");
}

#[test]
fn the_time_may_differ_by_five_minutes() {
    let headers = signed();
    let at = |now| verify(&received(&headers), BODY, &[secret("mySecret")], now);
    assert!(at(NOW - 300).is_ok());
    assert!(at(NOW + 300).is_ok());
    assert_eq!(at(NOW - 301), Err(VerifyError::TooNew { seconds: 301 }));
    assert_eq!(at(NOW + 301), Err(VerifyError::TooOld { seconds: 301 }));
    assert_eq!(
        at(NOW + 301).unwrap_err().to_string(),
        "the webhook was signed 301 s ago, at most 300 s are accepted"
    );
    assert!(at(i64::MIN).is_err() && at(i64::MAX).is_err());
}

#[test]
fn malformed_timestamps() {
    let headers = signed();
    for timestamp in ["", "soon", "-5", "+1767323045", "1767323045.5", "99999999999999999999"] {
        let malformed = ReceivedHeaders {
            webhook_timestamp: Some(timestamp),
            ..received(&headers)
        };
        assert_eq!(
            verify_text(&malformed),
            "the header webhook-timestamp is malformed: expected whole seconds since 1970",
            "{timestamp:?}"
        );
    }
}

#[test]
fn malformed_signatures() {
    let headers = signed();
    for signature in ["v1", "v1,", "v1,AAAA", "v1,%%%%", "no version"] {
        let malformed = ReceivedHeaders {
            webhook_signature: Some(signature),
            ..received(&headers)
        };
        let text = verify_text(&malformed);
        assert!(
            text.starts_with("the header webhook-signature is malformed"),
            "{signature:?}: {text}"
        );
    }
}

#[test]
fn unknown_versions_are_skipped() {
    let headers = signed();
    let with = |signature: &str| {
        let changed = ReceivedHeaders {
            webhook_signature: Some(signature),
            ..received(&headers)
        };
        verify(&changed, BODY, &[secret("mySecret")], NOW).map(|_| ())
    };
    let known = &headers.webhook_signature;
    assert_eq!(with(&format!("v1a,anything v2,{known} {known}")), Ok(()));
    assert_eq!(with("v1a,anything"), Err(VerifyError::NoMatch));
    assert_eq!(with(""), Err(VerifyError::NoMatch));
}

#[test]
fn authorization_of_other_kinds() {
    let digits = "0".repeat(64);
    for value in [
        "",
        "Signature",
        "Bearer there-is-no-key",
        "Signature 00",
        &format!("Signature {digits}00"),
        &format!("Signature  {digits}"),
        &format!("Signature {}", "g".repeat(64)),
        &digits,
    ] {
        let headers = ReceivedHeaders {
            authorization: Some(value),
            ..ReceivedHeaders::default()
        };
        assert_eq!(
            verify_text(&headers),
            "the header authorization is malformed: expected `Signature` and 64 hexadecimal digits",
            "{value:?}"
        );
    }
}

#[test]
fn the_case_of_scheme_and_digits_does_not_matter() {
    let headers = signed();
    let shouted = headers.authorization.to_uppercase();
    let shouted = ReceivedHeaders {
        authorization: Some(&shouted),
        ..authorization_only(&headers)
    };
    assert_eq!(
        verify(&shouted, BODY, &[secret("mySecret")], NOW),
        Ok(Verified::BodyOnly)
    );
}
