use std::fmt;
use std::str::FromStr;

use secrecy::{ExposeSecret, ExposeSecretMut, SecretBox, SecretString};

use crate::{ApiKeyId, Invalid};

const PREFIX: &str = "tdg_";

/// The part of a key that nobody else knows: 32 random bytes.
pub struct KeySecret(SecretBox<[u8; Self::BYTES]>);

impl KeySecret {
    pub const BYTES: usize = 32;

    /// One that `fill` makes, which must be a source of randomness fit for keys.
    pub fn generate<E>(fill: impl FnOnce(&mut [u8]) -> Result<(), E>) -> Result<Self, E> {
        let mut secret = SecretBox::new(Box::new([0; Self::BYTES]));
        fill(secret.expose_secret_mut())?;
        Ok(Self(secret))
    }

    pub fn expose(&self) -> &[u8; Self::BYTES] {
        self.0.expose_secret()
    }
}

impl fmt::Debug for KeySecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeySecret(hidden)")
    }
}

/// A key as its holder sends it: `tdg_<id>_<secret>`, the secret in hexadecimal digits.
#[derive(Debug)]
pub struct KeyToken {
    pub id: ApiKeyId,
    pub secret: KeySecret,
}

impl KeyToken {
    /// What keys are recognised by, and may be shown.
    pub fn prefix(id: ApiKeyId) -> String {
        format!("{PREFIX}{id}")
    }

    pub fn expose(&self) -> SecretString {
        format!("{}_{}", Self::prefix(self.id), hex::encode(self.secret.expose())).into()
    }
}

/// Takes lower-case digits only: a key has one spelling.
impl FromStr for KeyToken {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let malformed = || Invalid::new("not a key of the form tdg_<id>_<secret>");
        let (id, digits) = text
            .strip_prefix(PREFIX)
            .and_then(|rest| rest.split_once('_'))
            .ok_or_else(malformed)?;
        if digits.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(malformed());
        }
        Ok(Self {
            id: id.parse().map_err(|_| malformed())?,
            secret: KeySecret::generate(|secret| hex::decode_to_slice(digits, secret)).map_err(|_| malformed())?,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

    #[test]
    fn a_key_has_one_spelling() {
        let text = format!("tdg_{ID}_{}", "0a".repeat(32));
        let token: KeyToken = text.parse().unwrap();
        assert_eq!(token.id.to_string(), ID);
        assert_eq!(token.secret.expose(), &[10; 32]);
        assert_eq!(token.expose().expose_secret(), text);
        assert!(!format!("{token:?}").contains("10, 10") && !format!("{token:?}").contains("0a0a"));
        for bad in [
            String::new(),
            "tdg_".to_owned(),
            ID.to_owned(),
            format!("tdg_{ID}"),
            format!("tdg_{ID}_"),
            format!("tdg_{ID}_{}", "0A".repeat(32)),
            format!("tdg_{ID}_{}", "0a".repeat(31)),
            format!("tdg_{ID}_{}", "0a".repeat(33)),
            format!("tdg_{ID}_{}", "xy".repeat(32)),
            format!("TDG_{ID}_{}", "0a".repeat(32)),
            format!("tdg_{}_{}", ID.replace('-', ""), "0a".repeat(32)),
            format!("{text} "),
        ] {
            assert!(bad.parse::<KeyToken>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(bytes in any::<[u8; 32]>(), id in any::<u128>()) {
            let secret = KeySecret::generate(|secret| { secret.copy_from_slice(&bytes); Ok::<_, ()>(()) }).unwrap();
            let token = KeyToken { id: uuid::Uuid::from_u128(id).into(), secret };
            let read: KeyToken = token.expose().expose_secret().parse().unwrap();
            prop_assert_eq!((read.id, read.secret.expose()), (token.id, &bytes));
        }

        #[test]
        fn no_input_panics(text in ".*", tail in ".*") {
            let _ = text.parse::<KeyToken>();
            let _ = format!("tdg_{tail}").parse::<KeyToken>();
            let _ = format!("tdg_{ID}_{tail}").parse::<KeyToken>();
        }
    }
}
