use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::{Invalid, text};

/// A GUID that someone has registered. It is valid until it expires.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuidRecord {
    pub id: Guid,
    pub user: GuidUser,
    pub expires: Expiry,
    pub created_at: DateTime<Utc>,
    /// Counts the GUID's events, the first being 1, and goes on counting when a GUID that is no more is
    /// registered again.
    pub version: i64,
}

/// What is to be different about a registered GUID; `None` stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GuidChange {
    pub user: Option<GuidUser>,
    pub expires: Option<Expiry>,
}

/// 128 bits, written as 32 hexadecimal digits in upper case. Any of them will do: clients bring GUIDs from
/// elsewhere, which need not be UUIDs of any version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Guid(Uuid);

impl Guid {
    /// One that nobody can guess, unlike ids, which begin with their time.
    pub fn random() -> Self {
        Self(Uuid::new_v4())
    }

    pub fn as_uuid(self) -> Uuid {
        self.0
    }
}

impl From<Uuid> for Guid {
    fn from(guid: Uuid) -> Self {
        Self(guid)
    }
}

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.simple().encode_upper(&mut Uuid::encode_buffer()))
    }
}

/// Takes the form that it is shown in and no other: one thing has one address.
impl FromStr for Guid {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let digit = |byte: u8| byte.is_ascii_digit() || (b'A'..=b'F').contains(&byte);
        let well_formed = text.len() == 32 && text.bytes().all(digit);
        let guid = well_formed.then(|| u128::from_str_radix(text, 16).ok()).flatten();
        guid.map(|guid| Self(Uuid::from_u128(guid)))
            .ok_or_else(|| Invalid::new("a GUID must be 32 hexadecimal digits in upper case"))
    }
}

/// Whose a GUID is: 1 to 255 characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuidUser(String);

impl GuidUser {
    pub const MAX_CHARS: usize = 255;

    pub fn parse(user: impl Into<String>) -> Result<Self, Invalid> {
        text::checked("user", user.into(), Self::MAX_CHARS).map(Self)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// When a GUID ceases to be valid: a second of Unix time, from 1970 to the end of the year 9999.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Expiry(i64);

impl Expiry {
    /// The last second of which the year has four digits, as times in RFC 3339 need.
    const LATEST: i64 = 253_402_300_799;
    /// What a GUID gets for which no expiry is given.
    pub const DEFAULT_DAYS: i64 = 30;

    pub fn from_unix(seconds: i64) -> Result<Self, Invalid> {
        if (0..=Self::LATEST).contains(&seconds) {
            Ok(Self(seconds))
        } else {
            Err(Self::refused())
        }
    }

    /// The default for what is registered now.
    pub fn by_default(now: DateTime<Utc>) -> Self {
        Self((now.timestamp() + Self::DEFAULT_DAYS * 24 * 60 * 60).clamp(0, Self::LATEST))
    }

    pub fn as_unix(self) -> i64 {
        self.0
    }

    /// Whether it lies in the past. In the second of its expiry a GUID is expired.
    pub fn has_come(self, now: DateTime<Utc>) -> bool {
        self.0 <= now.timestamp()
    }

    fn refused() -> Invalid {
        Invalid::new("expire must be a Unix time in seconds, such as \"1893456000\"")
    }
}

impl fmt::Display for Expiry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Takes decimal digits only, with no zeros before them.
impl FromStr for Expiry {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let canonical = text == "0" || !text.starts_with('0');
        match text.parse() {
            Ok(seconds) if digits && canonical => Self::from_unix(seconds),
            _ => Err(Self::refused()),
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeZone;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn guids_of_the_one_form_are_kept_as_given(guid in "[0-9A-F]{32}") {
            prop_assert_eq!(guid.parse::<Guid>().unwrap().to_string(), guid);
        }

        #[test]
        fn nothing_else_is_a_guid(text in "[0-9A-Fa-fG+\\- \u{660}-\u{669}]{30,34}|.*") {
            let form = text.chars().count() == 32 && text.chars().all(|c| matches!(c, '0'..='9' | 'A'..='F'));
            prop_assert_eq!(text.parse::<Guid>().is_ok(), form);
        }

        #[test]
        fn seconds_are_kept_as_given(seconds in 0..=Expiry::LATEST) {
            let read: Expiry = seconds.to_string().parse().unwrap();
            prop_assert_eq!(read, Expiry::from_unix(seconds).unwrap());
            prop_assert_eq!(read.to_string(), seconds.to_string());
        }

        #[test]
        fn no_other_number_is_an_expiry(seconds in prop_oneof![i64::MIN..0, Expiry::LATEST + 1..=i64::MAX]) {
            prop_assert!(Expiry::from_unix(seconds).is_err());
            prop_assert!(seconds.to_string().parse::<Expiry>().is_err());
        }

        #[test]
        fn no_other_text_is_an_expiry(text in "[0-9eE+\\-. _x\u{660}-\u{669}]{0,14}|.*") {
            let number = text.parse().ok().filter(|number: &i64| number.to_string() == text);
            let form = number.is_some_and(|number| (0..=Expiry::LATEST).contains(&number));
            prop_assert_eq!(text.parse::<Expiry>().is_ok(), form);
        }
    }

    #[test]
    fn the_edges_of_a_guid() {
        assert!("9094E4C980C74043A4B586B420E69DDF".parse::<Guid>().is_ok());
        assert!("F".repeat(32).parse::<Guid>().is_ok() && "0".repeat(32).parse::<Guid>().is_ok());
        for bad in [
            "",
            "9094e4c980c74043a4b586b420e69ddf",
            "9094E4C980C74043A4B586B420E69DD",
            "9094E4C980C74043A4B586B420E69DDF0",
            "9094E4C9-80C7-4043-A4B5-86B420E69DDF",
            "+094E4C980C74043A4B586B420E69DDF",
            "9094E4C980C74043A4B586B420E69DDG",
            "9094E4C980C74043A4B586B420E69DD\n",
        ] {
            assert!(bad.parse::<Guid>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn random_ones_differ() {
        let (one, other) = (Guid::random(), Guid::random());
        assert_ne!(one, other);
        assert_eq!(one.to_string().parse::<Guid>().unwrap(), one);
    }

    #[test]
    fn a_guid_is_expired_in_the_second_of_its_expiry() {
        let at = |seconds: i64, millis| Utc.timestamp_millis_opt(seconds * 1000 + millis).unwrap();
        let expires = Expiry::from_unix(1_427_736_345).unwrap();
        assert!(!expires.has_come(at(1_427_736_344, 999)));
        assert!(expires.has_come(at(1_427_736_345, 0)));
        assert_eq!(
            Expiry::by_default(at(1_427_736_345, 999)).as_unix(),
            1_427_736_345 + 2_592_000
        );
    }

    #[test]
    fn users_have_bounds() {
        assert!(GuidUser::parse("é".repeat(255)).is_ok());
        for bad in ["", "  \t", "a\0b", &"x".repeat(256)] {
            assert!(GuidUser::parse(bad).is_err(), "{bad:?}");
        }
    }
}
