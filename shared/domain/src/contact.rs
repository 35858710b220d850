use std::fmt;

use chrono::{DateTime, Utc};

use crate::{ContactId, Invalid, text};

/// Someone who receives messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contact {
    pub id: ContactId,
    pub name: ContactName,
    pub phone: PhoneNumber,
    pub created_at: DateTime<Utc>,
    /// Counts the contact's events; the first is 1.
    pub version: i64,
}

/// What a contact is called: 1 to 255 characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContactName(String);

impl ContactName {
    pub const MAX_CHARS: usize = 255;

    pub fn parse(name: impl Into<String>) -> Result<Self, Invalid> {
        text::checked("name", name.into(), Self::MAX_CHARS).map(Self)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A telephone number in E.164 form: `+`, then 2 to 15 digits, the first not 0. Kept exactly as given.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PhoneNumber(String);

impl PhoneNumber {
    pub fn parse(phone: impl Into<String>) -> Result<Self, Invalid> {
        let phone = phone.into();
        let well_formed = phone.strip_prefix('+').is_some_and(|digits| {
            (2..=15).contains(&digits.len())
                && !digits.starts_with('0')
                && digits.bytes().all(|digit| digit.is_ascii_digit())
        });
        if well_formed {
            Ok(Self(phone))
        } else {
            Err(Invalid::new("phone must be an E.164 number such as +41791234567"))
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PhoneNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn phones_of_the_standard_form_are_kept_as_given(phone in r"\+[1-9][0-9]{1,14}") {
            let kept = PhoneNumber::parse(phone.clone()).unwrap();
            prop_assert_eq!(kept.as_str(), phone);
        }

        #[test]
        fn nothing_else_is_a_phone(text in ".*") {
            let standard = text.strip_prefix('+').is_some_and(|d| {
                d.chars().all(|c| c.is_ascii_digit()) && (2..=15).contains(&d.chars().count()) && !d.starts_with('0')
            });
            prop_assert_eq!(PhoneNumber::parse(text).is_ok(), standard);
        }
    }

    #[test]
    fn the_edges_of_a_phone() {
        for good in ["+12", "+123456789012345"] {
            assert!(PhoneNumber::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "+",
            "+1",
            "+1234567890123456",
            "+0123",
            "41791234567",
            "+41 79 123",
            "+4179\n",
            "+٤١٧٩",
        ] {
            assert!(PhoneNumber::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn names_have_bounds() {
        assert!(ContactName::parse("é".repeat(255)).is_ok());
        for bad in ["", "  \t", "a\0b", &"x".repeat(256)] {
            assert!(ContactName::parse(bad).is_err(), "{bad:?}");
        }
    }
}
