//! Signatures that others have published.

use base64::{Engine, engine::general_purpose::STANDARD};
use tidings_signing::sign;

use crate::{NOW, secret};

/// RFC 4231, test cases 1, 2, 3 and 6: the last key is longer than a block of SHA-256.
#[test]
fn hmac_sha256_of_rfc_4231() {
    let cases: [(&[u8], &[u8], &str); 4] = [
        (
            &[0x0b; 20],
            b"Hi There",
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
        ),
        (
            b"Jefe",
            b"what do ya want for nothing?",
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
        ),
        (
            &[0xaa; 20],
            &[0xdd; 50],
            "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe",
        ),
        (
            &[0xaa; 131],
            b"Test Using Larger Than Block-Size Key - Hash Key First",
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
        ),
    ];
    for (key, data, expected) in cases {
        let secret = secret(&format!("whsec_{}", STANDARD.encode(key)));
        let headers = sign(&[secret], "id", NOW, data).unwrap();
        assert_eq!(headers.authorization, format!("Signature {expected}"));
    }
}

#[test]
fn a_plain_secret_is_its_own_key() {
    let headers = sign(&[secret("Jefe")], "id", NOW, b"what do ya want for nothing?").unwrap();
    assert_eq!(
        headers.authorization,
        "Signature 5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    );
}

/// The reference signature of Standard Webhooks.
#[test]
fn standard_webhooks() {
    let headers = sign(
        &[secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")],
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1_614_265_330,
        br#"{"test": 2432232314}"#,
    )
    .unwrap();
    assert_eq!(headers.webhook_id, "msg_p5jXN8AQM9LWM0D4loKWxJek");
    assert_eq!(headers.webhook_timestamp, "1614265330");
    assert_eq!(
        headers.webhook_signature,
        "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    );
}

#[test]
fn every_secret_has_its_signature_and_the_first_the_authorization() {
    let (new, old) = (secret("new"), secret("old"));
    let both = sign(&[new.clone(), old.clone()], "id", NOW, b"{}").unwrap();
    let [only_new, only_old] = [new, old].map(|secret| sign(&[secret], "id", NOW, b"{}").unwrap());
    assert_eq!(both.authorization, only_new.authorization);
    assert_eq!(
        both.webhook_signature,
        format!("{} {}", only_new.webhook_signature, only_old.webhook_signature)
    );
}
