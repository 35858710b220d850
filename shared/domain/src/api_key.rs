//! Keys to the API: who holds one, what it opens, and how one is written.

mod scope;
mod token;

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};

pub use self::scope::{Scope, Scopes};
pub use self::token::{KeySecret, KeyToken};
use crate::{ApiKeyId, Invalid, text};

/// A key without its secret, of which nobody keeps more than a hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    pub id: ApiKeyId,
    pub name: KeyName,
    pub role: Role,
    pub scopes: Scopes,
    pub created_at: DateTime<Utc>,
    /// From then on it opens nothing. `None`: it does not expire.
    pub expires_at: Option<DateTime<Utc>>,
    /// The same, by somebody's decision. It lies ahead while a key and its successor are both valid.
    pub revoked_at: Option<DateTime<Utc>>,
    /// Written down from time to time, so up to some minutes behind.
    pub last_used_at: Option<DateTime<Utc>>,
    /// Counts the key's events; the first is 1.
    pub version: i64,
}

/// Whether a key opens anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyState {
    Active,
    Expired,
    Revoked,
}

impl KeyState {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        }
    }
}

impl ApiKey {
    pub fn state(&self, now: DateTime<Utc>) -> KeyState {
        let over = |end: Option<DateTime<Utc>>| end.is_some_and(|end| end <= now);
        match (over(self.revoked_at), over(self.expires_at)) {
            (true, _) => KeyState::Revoked,
            (_, true) => KeyState::Expired,
            _ => KeyState::Active,
        }
    }
}

/// What a key is called: 1 to 100 characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyName(String);

impl KeyName {
    pub const MAX_CHARS: usize = 100;

    pub fn parse(name: impl Into<String>) -> Result<Self, Invalid> {
        text::checked("name", name.into(), Self::MAX_CHARS).map(Self)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for KeyName {
    type Err = Invalid;
    fn from_str(name: &str) -> Result<Self, Invalid> {
        Self::parse(name)
    }
}

/// Whose hands a key is in. Some operations are for people of the house only, whatever a key's scopes are;
/// and only an administrator's key can have to do with keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// A program.
    Service,
    /// Somebody who works with what there is.
    Staff,
    /// Somebody who also decides who else gets in.
    Admin,
}

impl Role {
    pub const ALL: [Self; 3] = [Self::Service, Self::Staff, Self::Admin];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Staff => "staff",
            Self::Admin => "admin",
        }
    }

    /// Whether a key with this role can have that scope.
    pub fn may_have(self, scope: Scope) -> bool {
        self == Self::Admin || !matches!(scope, Scope::ApiKeysRead | Scope::ApiKeysWrite)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let role = Self::ALL.into_iter().find(|role| role.as_str() == text);
        role.ok_or_else(|| Invalid::new("role must be admin, staff or service"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_active_until_it_expires_or_is_revoked() {
        let at = |second| DateTime::from_timestamp(second, 0).unwrap();
        let key = |expires: Option<i64>, revoked: Option<i64>| ApiKey {
            id: "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap(),
            name: KeyName::parse("till").unwrap(),
            role: Role::Service,
            scopes: Scopes::of_role(Role::Service),
            created_at: at(0),
            expires_at: expires.map(at),
            revoked_at: revoked.map(at),
            last_used_at: None,
            version: 1,
        };
        for (expires, revoked, expected) in [
            (None, None, KeyState::Active),
            (Some(11), Some(11), KeyState::Active),
            (Some(10), None, KeyState::Expired),
            (None, Some(10), KeyState::Revoked),
            (Some(1), Some(10), KeyState::Revoked),
        ] {
            assert_eq!(key(expires, revoked).state(at(10)), expected, "{expires:?} {revoked:?}");
        }
    }

    #[test]
    fn a_role_has_one_spelling_and_only_an_administrator_has_to_do_with_keys() {
        for role in Role::ALL {
            assert_eq!(role.to_string().parse::<Role>().unwrap(), role);
            assert_eq!(role.may_have(Scope::ApiKeysWrite), role == Role::Admin);
            assert!(role.may_have(Scope::MessagesWrite));
        }
        for bad in ["", "Admin", "root", "admin "] {
            assert!(bad.parse::<Role>().is_err(), "{bad}");
        }
        assert!(Role::Admin > Role::Staff && Role::Staff > Role::Service);
    }
}
