use std::fmt;

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, ExposeSecretMut, SecretBox, zeroize::Zeroizing};
use sha2::{Digest, Sha256};

/// The block of SHA-256, in bytes.
const BLOCK: usize = 64;
const PREFIX: &str = "whsec_";

/// A key that sender and receiver share.
///
/// Kept as HMAC-SHA256 uses it (RFC 2104): filled up to one block with zeros, a longer one hashed
/// first. That way making an authentication code cannot fail.
pub struct Secret(SecretBox<[u8; BLOCK]>);

impl Secret {
    /// Takes a secret as people write it down: `whsec_` and base64 of the key, or any other text,
    /// whose bytes are the key.
    ///
    /// # Errors
    /// When the key would be empty, or when what follows `whsec_` is not base64.
    pub fn from_text(text: &str) -> Result<Self, SecretError> {
        match text.strip_prefix(PREFIX) {
            Some(encoded) => {
                // The decoder's own error quotes a byte of its input, so it is not passed on.
                let key = STANDARD.decode(encoded).map_err(|_| SecretError::NotBase64)?;
                Self::from_key(&Zeroizing::new(key))
            }
            None => Self::from_key(text.as_bytes()),
        }
    }

    fn from_key(key: &[u8]) -> Result<Self, SecretError> {
        if key.is_empty() {
            return Err(SecretError::Empty);
        }
        let mut kept = SecretBox::new(Box::new([0; BLOCK]));
        let block = kept.expose_secret_mut();
        if key.len() > BLOCK {
            block[..32].copy_from_slice(&Sha256::digest(key));
        } else {
            block[..key.len()].copy_from_slice(key);
        }
        Ok(Self(kept))
    }

    /// HMAC-SHA256 over `parts`, one after the other.
    pub(crate) fn authenticate(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut mac = Hmac::<Sha256>::new(self.0.expose_secret().into());
        for part in parts {
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }
}

impl Clone for Secret {
    fn clone(&self) -> Self {
        Self(SecretBox::new(Box::new(*self.0.expose_secret())))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(hidden)")
    }
}

impl std::str::FromStr for Secret {
    type Err = SecretError;

    fn from_str(text: &str) -> Result<Self, SecretError> {
        Self::from_text(text)
    }
}

/// Why a text is no secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    #[error("a webhook secret must not be empty")]
    Empty,
    #[error("a webhook secret that starts with `whsec_` must go on in base64")]
    NotBase64,
}
