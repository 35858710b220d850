use std::collections::BTreeMap;
use std::fmt;

use secrecy::SecretString;
use tidings_domain::{EmailAddress, Password, PersonName, PostalAddress, TextFault};

use super::Needed;

/// A user as someone describes it, or what is to be different about one. Fields may be missing or nonsense.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) first_name: Given,
    pub(crate) last_name: Given,
    pub(crate) email: Given,
    pub(crate) password: Given,
    pub(crate) address: Given,
}

/// What someone put into a field.
pub(crate) enum Given {
    Nothing,
    Null,
    /// A value that is neither text nor a number.
    NotText,
    Text(String),
}

/// Shows no contents: one of the fields is a password.
impl fmt::Debug for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nothing => "Nothing",
            Self::Null => "Null",
            Self::NotText => "NotText",
            Self::Text(_) => "Text",
        })
    }
}

/// In the order in which problems are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Field {
    FirstName,
    LastName,
    Email,
    Password,
    Address,
}

impl Field {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::FirstName => "first_name",
            Self::LastName => "last_name",
            Self::Email => "email",
            Self::Password => "password",
            Self::Address => "address",
        }
    }
}

/// What is wrong with a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Problem {
    Missing,
    Null,
    NotText,
    Text(TextFault),
    /// Another user has it.
    Taken,
}

/// What is wrong, by field.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Problems(BTreeMap<Field, Vec<Problem>>);

impl Problems {
    pub(super) fn email_taken() -> Self {
        Self(BTreeMap::from([(Field::Email, vec![Problem::Taken])]))
    }

    pub(super) fn add(&mut self, field: Field, problem: Problem) {
        self.0.entry(field).or_default().push(problem);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Field, &[Problem])> {
        self.0.iter().map(|(field, problems)| (*field, problems.as_slice()))
    }
}

/// The fields that are there and as they must be, and what is wrong with the others.
#[derive(Debug, Default)]
pub(super) struct Parsed {
    pub(super) first_name: Option<PersonName>,
    pub(super) last_name: Option<PersonName>,
    pub(super) email: Option<EmailAddress>,
    pub(super) password: Option<Password>,
    pub(super) address: Option<PostalAddress>,
    pub(super) problems: Problems,
}

impl Draft {
    pub(super) fn parse(self, needed: Needed) -> Parsed {
        let mut problems = Problems::default();
        let mut check = Check {
            needed: needed == Needed::All,
            problems: &mut problems,
        };
        let mut parsed = Parsed {
            first_name: check.field(Field::FirstName, self.first_name, PersonName::parse),
            last_name: check.field(Field::LastName, self.last_name, PersonName::parse),
            email: check.field(Field::Email, self.email, EmailAddress::parse),
            password: check.field(Field::Password, self.password, |text: String| {
                Password::parse(&SecretString::from(text))
            }),
            ..Parsed::default()
        };
        check.needed = false;
        parsed.address = check.field(Field::Address, self.address, PostalAddress::parse);
        parsed.problems = problems;
        parsed
    }
}

struct Check<'a> {
    needed: bool,
    problems: &'a mut Problems,
}

impl Check<'_> {
    fn field<T>(
        &mut self,
        field: Field,
        given: Given,
        parse: impl FnOnce(String) -> Result<T, Vec<TextFault>>,
    ) -> Option<T> {
        let problem = match given {
            Given::Nothing if !self.needed => return None,
            Given::Nothing => Problem::Missing,
            Given::Null => Problem::Null,
            Given::NotText => Problem::NotText,
            // No field begins or ends with a space, passwords included.
            Given::Text(text) => match parse(text.trim().to_owned()) {
                Ok(value) => return Some(value),
                Err(faults) => {
                    for fault in faults {
                        self.problems.add(field, Problem::Text(fault));
                    }
                    return None;
                }
            },
        };
        self.problems.add(field, problem);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Given {
        Given::Text(text.to_owned())
    }

    #[test]
    fn everything_wrong_is_found_at_once() {
        let draft = Draft {
            first_name: Given::Nothing,
            last_name: text(" "),
            email: text("serge"),
            password: Given::Null,
            address: Given::NotText,
        };
        assert!(!format!("{draft:?}").contains("serge"));
        let problems = draft.parse(Needed::All).problems;
        let found: Vec<_> = problems
            .iter()
            .map(|(field, problems)| (field.name(), problems[0]))
            .collect();
        assert_eq!(
            found,
            [
                ("first_name", Problem::Missing),
                ("last_name", Problem::Text(TextFault::Blank)),
                ("email", Problem::Text(TextFault::NotAnEmail)),
                ("password", Problem::Null),
                ("address", Problem::NotText),
            ]
        );
    }

    #[test]
    fn what_is_not_needed_may_be_missing() {
        let draft = |email| Draft {
            first_name: Given::Nothing,
            last_name: Given::Nothing,
            email,
            password: Given::Nothing,
            address: Given::Nothing,
        };
        assert!(draft(Given::Nothing).parse(Needed::None).problems.is_empty());
        let parsed = draft(text(" serge@example.com\n")).parse(Needed::None);
        assert_eq!(parsed.email.unwrap().as_str(), "serge@example.com");
        assert_eq!(draft(Given::Null).parse(Needed::None).problems.iter().count(), 1);
        // The address need never be there.
        assert_eq!(draft(Given::Nothing).parse(Needed::All).problems.iter().count(), 4);
    }
}
