//! Whatever may come instead of a signed webhook. Nobody who does not know the secret gets past.

#![no_main]

use tidings_signing::{ReceivedHeaders, Secret, verify};

libfuzzer_sys::fuzz_target!(|input: ([Option<&str>; 4], &[u8], i64, &str)| {
    let ([authorization, webhook_id, webhook_timestamp, webhook_signature], body, now, text) = input;
    let headers = ReceivedHeaders {
        authorization,
        webhook_id,
        webhook_timestamp,
        webhook_signature,
    };
    let _ = Secret::from_text(text);
    let secret = Secret::from_text("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("a secret");
    assert!(verify(&headers, body, &[secret], now).is_err());
});
