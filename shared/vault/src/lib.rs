//! Encrypts the secrets that Tidings keeps, so that whoever reads the database has none of them.
//!
//! # Guaranteed
//!
//! - What [`Vault::seal`] made, [`Vault::open`] gives back as long as the vault has the key it was made with,
//!   and only for the same owner: a sealed secret that is copied to another row does not open there.
//! - A sealed secret that was changed in any way does not open (XChaCha20-Poly1305).
//! - Sealing the same secret twice gives two texts that have nothing in common but their beginning.
//! - Keys and secrets are wiped from memory when dropped and never appear in debug output or in an error.
//!
//! # Not guaranteed
//!
//! - That nobody puts an older sealed secret of the same owner back.
//! - Anything once the key is lost: what it sealed is lost with it.
//!
//! # Safe to change
//!
//! Texts of errors. A further form of sealed secrets needs a mark of its own beside [`FORM`]; the form that
//! there is stands in databases and must stay readable.

use std::fmt;
use std::sync::Arc;

use base64::{Engine, engine::general_purpose::STANDARD};
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretBox, SecretString};
use sha2::{Digest, Sha256};
use tidings_domain::SealedSecret;

/// What a sealed secret begins with. What begins otherwise is from before secrets were sealed.
const FORM: &str = "sealed:v1:";
const KEY: usize = 32;
const NONCE: usize = 24;

/// One key, and by what it is known beside what it sealed.
struct Key {
    id: String,
    key: SecretBox<[u8; KEY]>,
}

/// The keys of this process. The first one seals, all of them open. Clones share them.
#[derive(Clone)]
pub struct Vault(Arc<[Key]>);

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|key| &key.id)).finish()
    }
}

/// Why a text is not a list of keys. It never has a part of the text in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a key is 32 bytes in base64, as `openssl rand -base64 32` makes them; several are separated by commas")]
pub struct KeyFault;

/// Why a secret was not sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    #[error("there is no key to encrypt it with")]
    NoKey,
    #[error("no random bytes can be had: {0}")]
    Random(getrandom::Error),
    #[error("it cannot be encrypted")]
    Failed,
}

/// Why a sealed secret does not open.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    #[error("it was encrypted with the key {id}, which TIDINGS_ENCRYPTION_KEY does not have")]
    UnknownKey { id: String },
    #[error("it was changed, or belongs to something else")]
    Damaged,
}

impl Vault {
    /// One that seals nothing, and opens only what is not sealed.
    pub fn without_keys() -> Self {
        Self(Arc::new([]))
    }

    /// Reads keys as settings have them: each 32 bytes in base64, separated by commas.
    pub fn from_text(text: &SecretString) -> Result<Self, KeyFault> {
        let key = |text: &str| {
            let bytes = Zeroizing::new(STANDARD.decode(text.trim()).map_err(|_| KeyFault)?);
            let mut key = SecretBox::new(Box::new([0; KEY]));
            if bytes.len() != KEY {
                return Err(KeyFault);
            }
            secrecy::ExposeSecretMut::expose_secret_mut(&mut key).copy_from_slice(&bytes);
            let id = Sha256::new()
                .chain_update(b"tidings encryption key ")
                .chain_update(&*bytes)
                .finalize();
            Ok(Key {
                // Enough to tell a handful of keys apart, and nothing that leads back to one.
                id: hex::encode(&id[..4]),
                key,
            })
        };
        let keys: Result<Vec<_>, _> = text.expose_secret().split(',').map(key).collect();
        Ok(Self(keys?.into()))
    }

    /// A new key, as settings have it.
    pub fn new_key() -> Result<SecretString, SealError> {
        let mut key = Zeroizing::new([0; KEY]);
        getrandom::fill(&mut *key).map_err(SealError::Random)?;
        Ok(STANDARD.encode(*key).into())
    }

    /// Seals a secret for its owner.
    pub fn seal(&self, owner: &str, secret: &SecretString) -> Result<SealedSecret, SealError> {
        let key = self.0.first().ok_or(SealError::NoKey)?;
        let mut nonce = [0; NONCE];
        getrandom::fill(&mut nonce).map_err(SealError::Random)?;
        let sealed = Payload {
            msg: secret.expose_secret().as_bytes(),
            aad: owner.as_bytes(),
        };
        let sealed = key.cipher().encrypt(&XNonce::from(nonce), sealed);
        let sealed = [&nonce[..], &sealed.map_err(|_| SealError::Failed)?].concat();
        Ok(SealedSecret::from_stored(format!(
            "{FORM}{}:{}",
            key.id,
            STANDARD.encode(sealed)
        )))
    }

    /// Opens what was sealed for this owner. What is from before secrets were sealed is open already.
    pub fn open(&self, owner: &str, sealed: &SealedSecret) -> Result<SecretString, OpenError> {
        let Some(rest) = sealed.as_stored().strip_prefix(FORM) else {
            return Ok(sealed.as_stored().to_owned().into());
        };
        let (id, encoded) = rest.split_once(':').ok_or(OpenError::Damaged)?;
        let key = self.0.iter().find(|key| key.id == id);
        let key = key.ok_or_else(|| OpenError::UnknownKey {
            id: id.escape_debug().to_string(),
        })?;
        let bytes = STANDARD.decode(encoded).map_err(|_| OpenError::Damaged)?;
        let (nonce, sealed) = bytes.split_first_chunk::<NONCE>().ok_or(OpenError::Damaged)?;
        let sealed = Payload {
            msg: sealed,
            aad: owner.as_bytes(),
        };
        let opened = key.cipher().decrypt(&XNonce::from(*nonce), sealed);
        let opened = Zeroizing::new(opened.map_err(|_| OpenError::Damaged)?);
        let text = str::from_utf8(&opened).map_err(|_| OpenError::Damaged)?;
        Ok(text.to_owned().into())
    }

    /// Whether it is sealed with the key that seals now.
    pub fn is_current(&self, sealed: &SealedSecret) -> bool {
        let id = sealed
            .as_stored()
            .strip_prefix(FORM)
            .and_then(|rest| rest.split_once(':'));
        matches!((id, self.0.first()), (Some((id, _)), Some(key)) if id == key.id)
    }
}

impl Key {
    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(self.key.expose_secret().into())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OLD: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    const NEW: &str = "ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=";

    fn vault(keys: &str) -> Vault {
        Vault::from_text(&keys.into()).unwrap()
    }

    fn opened(vault: &Vault, owner: &str, sealed: &SealedSecret) -> Result<String, OpenError> {
        let secret = vault.open(owner, sealed)?;
        Ok(secret.expose_secret().to_owned())
    }

    #[test]
    fn a_key_is_32_bytes_in_base64() {
        for bad in [
            "",
            "key",
            &OLD[..40],
            &format!("{OLD},"),
            &format!("{OLD}{NEW}"),
            &OLD.replace('=', ""),
        ] {
            let fault = Vault::from_text(&bad.into()).unwrap_err();
            assert!(!fault.to_string().contains(&OLD[..20]), "{bad}");
        }
        let made = Vault::new_key().unwrap();
        assert_ne!(made.expose_secret(), Vault::new_key().unwrap().expose_secret());
        let vault = Vault::from_text(&made).unwrap();
        assert!(!format!("{vault:?}").contains(made.expose_secret()));
    }

    #[test]
    fn keys_are_replaced_by_putting_another_one_in_front() {
        let (old, both, new) = (vault(OLD), vault(&format!("{NEW}, {OLD}")), vault(NEW));
        let sealed = old.seal("endpoint/1", &"mySecret".into()).unwrap();
        assert!(!sealed.as_stored().contains("mySecret") && old.is_current(&sealed));
        assert_eq!(opened(&both, "endpoint/1", &sealed).unwrap(), "mySecret");
        assert!(!both.is_current(&sealed));
        let again = both
            .seal("endpoint/1", &both.open("endpoint/1", &sealed).unwrap())
            .unwrap();
        assert!(both.is_current(&again) && new.is_current(&again));
        assert_eq!(opened(&new, "endpoint/1", &again).unwrap(), "mySecret");
        let unknown = opened(&new, "endpoint/1", &sealed).unwrap_err();
        let OpenError::UnknownKey { id } = &unknown else {
            panic!("{unknown}")
        };
        assert!(sealed.as_stored().contains(id.as_str()) && unknown.to_string().contains("TIDINGS_ENCRYPTION_KEY"));
    }

    #[test]
    fn what_is_from_before_is_open_and_not_current() {
        let plain = SealedSecret::from_stored("mySecret".to_owned());
        for vault in [vault(OLD), Vault::without_keys()] {
            assert_eq!(opened(&vault, "endpoint/1", &plain).unwrap(), "mySecret");
            assert!(!vault.is_current(&plain));
        }
        let none = Vault::without_keys().seal("endpoint/1", &"mySecret".into());
        assert_eq!(none.unwrap_err(), SealError::NoKey);
        let sealed = vault(OLD).seal("endpoint/1", &"x".into()).unwrap();
        assert!(matches!(
            opened(&Vault::without_keys(), "endpoint/1", &sealed),
            Err(OpenError::UnknownKey { .. })
        ));
    }

    /// What was written once must be readable for ever.
    #[test]
    fn a_sealed_secret_of_the_first_version_opens() {
        let stored = "sealed:v1:65b9b430:j1sNxGlEgM55N1UL6eLQfP9113wntSvqEMuXkR8QDjD8nF5LLaJ56MdKrCLMHrI1";
        let sealed = SealedSecret::from_stored(stored.to_owned());
        assert_eq!(
            opened(&vault(OLD), "webhook-endpoint/default", &sealed).unwrap(),
            "mySecret"
        );
    }

    proptest! {
        #[test]
        fn a_secret_opens_for_its_owner_only(secret in ".*", owner in ".{0,40}", other in ".{0,40}") {
            let vault = vault(OLD);
            let sealed = vault.seal(&owner, &secret.clone().into()).unwrap();
            prop_assert_eq!(opened(&vault, &owner, &sealed).unwrap(), secret);
            if owner != other {
                prop_assert_eq!(opened(&vault, &other, &sealed), Err(OpenError::Damaged));
            }
            prop_assert_ne!(vault.seal(&owner, &"x".into()).unwrap(), vault.seal(&owner, &"x".into()).unwrap());
        }

        #[test]
        fn whatever_was_changed_does_not_open(secret in ".{1,40}", place in any::<prop::sample::Index>(), bit in 0..8_u8) {
            let vault = vault(OLD);
            let sealed = vault.seal("a", &secret.into()).unwrap();
            let (head, encoded) = sealed.as_stored().rsplit_once(':').unwrap();
            let mut bytes = STANDARD.decode(encoded).unwrap();
            let place = place.index(bytes.len());
            bytes[place] ^= 1 << bit;
            let changed = SealedSecret::from_stored(format!("{head}:{}", STANDARD.encode(bytes)));
            prop_assert_eq!(opened(&vault, "a", &changed), Err(OpenError::Damaged));
        }

        #[test]
        fn no_input_panics(text in ".*", rest in ".*", encoded in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = Vault::from_text(&text.clone().into());
            let vault = vault(OLD);
            for stored in [text, format!("{FORM}{rest}"), format!("{FORM}65b9b430:{}", STANDARD.encode(encoded))] {
                let _ = vault.open("a", &SealedSecret::from_stored(stored));
            }
        }
    }
}
