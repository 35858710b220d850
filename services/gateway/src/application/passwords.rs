//! Passwords become hashes, away from the threads that serve requests.
//!
//! Argon2id with the parameters that OWASP recommends: 19 MiB of memory, two passes, one lane. Each takes
//! some hundredths of a second of a core, so that only a few are made at a time, and the rest wait.

use std::sync::Arc;
use std::thread::available_parallelism;

use argon2::{Algorithm, Argon2, Params, PasswordHasher, Version};
use tidings_domain::{Password, PasswordHash};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;
/// Hashes at a time at most, however many cores there are.
const AT_A_TIME: usize = 4;

/// Why a password could not be hashed; nothing that whoever sent it could change.
#[derive(Debug, thiserror::Error)]
#[error("a password could not be hashed: {0}")]
pub(crate) struct HashError(String);

/// Clones share the limit.
#[derive(Debug, Clone)]
pub(super) struct Passwords {
    turns: Arc<Semaphore>,
}

impl Passwords {
    pub(super) fn new() -> Self {
        let cores = available_parallelism().map_or(1, usize::from);
        Self {
            turns: Arc::new(Semaphore::new(cores.min(AT_A_TIME))),
        }
    }

    /// Hashes a password under a salt of its own. Whoever gives up while waiting leaves the queue.
    pub(super) async fn hash(&self, runtime: &Handle, password: Password) -> Result<PasswordHash, HashError> {
        let failed = |error: &dyn std::fmt::Display| HashError(error.to_string());
        let turn = self
            .turns
            .clone()
            .acquire_owned()
            .await
            .map_err(|error| failed(&error))?;
        let hashing = runtime.spawn_blocking(move || {
            // Until the work is done, even if nobody waits for it any more.
            let _turn = turn;
            hash(&password)
        });
        hashing.await.map_err(|error| failed(&error))?
    }
}

fn hash(password: &Password) -> Result<PasswordHash, HashError> {
    let parameters = Params::new(MEMORY_KIB, PASSES, LANES, None).map_err(|error| HashError(error.to_string()))?;
    let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, parameters);
    let hash = argon
        .hash_password(password.expose().as_bytes())
        .map_err(|error| HashError(error.to_string()))?;
    Ok(PasswordHash::new(hash.to_string()))
}

#[cfg(test)]
mod tests {
    use argon2::PasswordVerifier;

    use super::*;

    fn password(text: &str) -> Password {
        Password::parse(&text.into()).unwrap()
    }

    #[tokio::test]
    async fn a_hash_is_argon2id_with_a_salt_of_its_own_and_fits_its_password_only() {
        let passwords = Passwords::new();
        let make = async || {
            passwords
                .hash(&Handle::current(), password("myP@ssW0ord52"))
                .await
                .unwrap()
        };
        let (one, other) = (make().await, make().await);
        assert!(
            one.expose().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
            "{}",
            one.expose()
        );
        assert_ne!(one.expose(), other.expose());
        let kept = argon2::PasswordHash::new(one.expose()).unwrap();
        let fits = |text: &str| Argon2::default().verify_password(text.as_bytes(), &kept).is_ok();
        assert!(fits("myP@ssW0ord52") && !fits("myP@ssW0ord5"));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn only_some_are_made_at_a_time() {
        let passwords = Passwords {
            turns: Arc::new(Semaphore::new(1)),
        };
        let turn = passwords.turns.clone().acquire_owned().await.unwrap();
        let waiting = passwords.clone();
        let hashing = tokio::spawn(async move { waiting.hash(&Handle::current(), password("x")).await });
        tokio::task::yield_now().await;
        assert!(!hashing.is_finished());
        drop(turn);
        hashing.await.unwrap().unwrap();
        assert_eq!(passwords.turns.available_permits(), 1);
    }
}
