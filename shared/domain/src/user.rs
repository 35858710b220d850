use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret, SecretString};

use crate::{EmailAddress, PhoneNumber, TextFault, UserId, text};

/// Someone with an account. The password is not part of it, so that whoever has a user cannot show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    pub id: UserId,
    pub first_name: PersonName,
    pub last_name: PersonName,
    /// Unique among the users that are not deleted.
    pub email: EmailAddress,
    pub address: PostalAddress,
    /// Not needed for an account; who has none gets no SMS.
    pub phone: Option<PhoneNumber>,
    pub created_at: DateTime<Utc>,
    /// Counts the user's events; the first is 1.
    pub version: i64,
}

impl User {
    /// First and last name.
    pub fn name(&self) -> String {
        format!("{} {}", self.first_name.as_str(), self.last_name.as_str())
    }
}

/// A user who is to be. The database gives the id.
#[derive(Debug, Clone)]
pub struct NewUser {
    pub first_name: PersonName,
    pub last_name: PersonName,
    pub email: EmailAddress,
    pub password: PasswordHash,
    pub address: PostalAddress,
    pub created_at: DateTime<Utc>,
}

/// What is to be different about a user; `None` stays as it is.
#[derive(Debug, Clone, Default)]
pub struct UserChange {
    pub first_name: Option<PersonName>,
    pub last_name: Option<PersonName>,
    pub email: Option<EmailAddress>,
    pub password: Option<PasswordHash>,
    pub address: Option<PostalAddress>,
    /// `Some(None)`: they have one no longer.
    pub phone: Option<Option<PhoneNumber>>,
}

/// A first or a last name: 1 to 70 characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PersonName(String);

impl PersonName {
    pub const MAX_CHARS: usize = 70;

    pub fn parse(name: impl Into<String>) -> Result<Self, Vec<TextFault>> {
        text::faultless(name.into(), Self::MAX_CHARS).map(Self)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Where someone lives, in their own words: at most 300 characters, and perhaps none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PostalAddress(String);

impl PostalAddress {
    pub const MAX_CHARS: usize = 300;

    pub fn parse(address: impl Into<String>) -> Result<Self, Vec<TextFault>> {
        let address = address.into();
        if address.is_empty() {
            return Ok(Self::default());
        }
        text::faultless(address, Self::MAX_CHARS).map(Self)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A password in the clear, on its way to be hashed: 1 to 128 characters.
#[derive(Debug, Clone)]
pub struct Password(SecretString);

impl Password {
    pub const MAX_CHARS: usize = 128;

    pub fn parse(password: &SecretString) -> Result<Self, Vec<TextFault>> {
        let faults = text::faults(password.expose_secret(), Self::MAX_CHARS);
        if faults.is_empty() {
            Ok(Self(password.clone()))
        } else {
            Err(faults)
        }
    }

    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

/// What is kept of a password: a string in PHC form, which names its algorithm and parameters.
#[derive(Debug, Clone)]
pub struct PasswordHash(SecretString);

impl PasswordHash {
    pub fn new(phc: String) -> Self {
        Self(phc.into())
    }

    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_have_bounds() {
        assert!(PersonName::parse("é".repeat(70)).is_ok());
        assert!(PostalAddress::parse("").is_ok() && PostalAddress::parse("é".repeat(300)).is_ok());
        assert!(Password::parse(&"é".repeat(128).into()).is_ok());
        let too_long = |max| vec![TextFault::TooLong { max }];
        assert_eq!(PersonName::parse("x".repeat(71)).unwrap_err(), too_long(70));
        assert_eq!(PostalAddress::parse("x".repeat(301)).unwrap_err(), too_long(300));
        assert_eq!(Password::parse(&"x".repeat(129).into()).unwrap_err(), too_long(128));
        for blank in ["", " \t"] {
            assert_eq!(PersonName::parse(blank).unwrap_err(), [TextFault::Blank]);
            assert_eq!(Password::parse(&blank.into()).unwrap_err(), [TextFault::Blank]);
        }
        assert_eq!(PersonName::parse("a\0b").unwrap_err(), [TextFault::Nul]);
        assert_eq!(
            PersonName::parse("\0".repeat(71)).unwrap_err(),
            [TextFault::TooLong { max: 70 }, TextFault::Nul]
        );
    }

    #[test]
    fn passwords_and_their_hashes_do_not_print() {
        let password = Password::parse(&"hunter2".into()).unwrap();
        let hash = PasswordHash::new("$argon2id$hunter2".to_owned());
        let shown = format!("{password:?} {hash:?}");
        assert!(!shown.contains("hunter2") && !shown.contains("argon2"), "{shown}");
    }
}
