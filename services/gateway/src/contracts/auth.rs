use std::fmt;

use actix_web::http::header::AUTHORIZATION;
use actix_web::{HttpRequest, web};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// The key from the settings. Only its hash is kept; both sides being hashed, the comparison takes the same
/// time whatever a client sends, and does not tell how long the key is.
pub(crate) struct ApiKey([u8; 32]);

impl ApiKey {
    /// By what the key is known wherever it must not be shown: in events, and to idempotency keys.
    const ID: &str = "default";

    pub(crate) fn new(key: &SecretString) -> Self {
        Self(Sha256::digest(key.expose_secret()).into())
    }

    /// The id of the key that the request carries, if it is the right one.
    pub(super) fn shown_by(request: &HttpRequest) -> Option<&'static str> {
        let key = request.app_data::<web::Data<Self>>()?;
        key.admits(request).then_some(Self::ID)
    }

    /// Whether the request carries the key, as `Authorization: Bearer <key>`.
    fn admits(&self, request: &HttpRequest) -> bool {
        let Some(header) = request.headers().get(AUTHORIZATION) else {
            return false;
        };
        let mut parts = header.as_bytes().splitn(2, |byte| *byte == b' ');
        let (Some(scheme), Some(token)) = (parts.next(), parts.next()) else {
            return false;
        };
        let sent: [u8; 32] = Sha256::digest(token.trim_ascii()).into();
        scheme.eq_ignore_ascii_case(b"bearer") && bool::from(sent.ct_eq(&self.0))
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey")
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn admitted(header: &str) -> bool {
        let request = TestRequest::default().insert_header((AUTHORIZATION, header));
        ApiKey::new(&SecretString::from("there-is-no-key")).admits(&request.to_http_request())
    }

    #[test]
    fn the_scheme_may_be_written_any_way_and_the_key_only_one() {
        for good in [
            "Bearer there-is-no-key",
            "bearer there-is-no-key",
            "BEARER  there-is-no-key ",
        ] {
            assert!(admitted(good), "{good}");
        }
        for bad in [
            "there-is-no-key",
            "Bearer",
            "Bearer ",
            "Bearer There-Is-No-Key",
            "Bearer there-is-no-key, there-is-no-key",
            "Basic there-is-no-key",
            "Signature there-is-no-key",
        ] {
            assert!(!admitted(bad), "{bad}");
        }
    }
}
