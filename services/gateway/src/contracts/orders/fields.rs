use std::fmt;
use std::str::FromStr;

use tidings_domain::{ChannelName, Invalid, UserId};

use super::Refusal;
use crate::contracts::fields::{BadBody, Fields};

/// Everything that is wrong with a body or a query, each in words of its own.
#[derive(Debug, Default)]
pub(super) struct Wrong(Vec<String>);

impl Wrong {
    /// The value, if nothing is wrong.
    pub(super) fn or<T>(self, value: T) -> Result<T, Refusal> {
        if self.0.is_empty() {
            Ok(value)
        } else {
            Err(Refusal::Wrong(self))
        }
    }

    /// What was read, unless something is wrong with it, which is noted.
    pub(super) fn note<T>(&mut self, read: Result<T, impl fmt::Display>) -> Option<T> {
        read.map_err(|error| self.0.push(error.to_string())).ok()
    }

    /// The same of a text that has to be parsed.
    pub(super) fn parse<T>(
        &mut self,
        read: Result<String, BadBody>,
        parse: impl FnOnce(String) -> Result<T, Invalid>,
    ) -> Option<T> {
        let text = self.note(read)?;
        self.note(parse(text))
    }

    /// An id by the name under which it was sent.
    pub(super) fn id<T: FromStr<Err = Invalid>>(&mut self, name: &str, text: &str) -> Option<T> {
        self.note(text.parse().map_err(|invalid| format!("{name} is {invalid}")))
    }

    /// `user_id`, as a number or as its digits.
    pub(super) fn user_id(&mut self, fields: &mut Fields) -> Option<UserId> {
        match self.note(fields.optional_number("user_id"))? {
            Some(text) => self.id("user_id", &text),
            None => self.note(Err("user_id is required")),
        }
    }

    /// `channel`, if there is one.
    pub(super) fn channel(&mut self, fields: &mut Fields) -> Option<Option<ChannelName>> {
        match self.note(fields.optional("channel"))? {
            Some(name) => self.note(name.parse()).map(Some),
            None => Some(None),
        }
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("; "))
    }
}
