use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};

use crate::{ContactId, Invalid, PhoneNumber, text};

/// One message to one contact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub id: crate::MessageId,
    pub from: Sender,
    pub to: ContactId,
    pub content: Content,
    pub status: MessageStatus,
    pub created_at: DateTime<Utc>,
    /// When the attempt was made that the receiver acknowledged; set exactly while `delivered`.
    pub delivered_at: Option<DateTime<Utc>>,
    /// Counts the message's events; the first is 1.
    pub version: i64,
}

/// Whom a message comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sender {
    Phone(PhoneNumber),
    Contact(ContactId),
}

impl FromStr for Sender {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        if let Ok(id) = text.parse() {
            return Ok(Self::Contact(id));
        }
        PhoneNumber::parse(text)
            .map(Self::Phone)
            .map_err(|_| Invalid::new("from must be an E.164 number such as +41791234567 or the id of a contact"))
    }
}

impl fmt::Display for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Phone(phone) => phone.fmt(f),
            Self::Contact(id) => id.fmt(f),
        }
    }
}

/// The text of a message: 1 to 65,536 characters, so that its event fits into one Kafka record
/// however much of it JSON has to escape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content(String);

impl Content {
    pub const MAX_CHARS: usize = 65_536;

    pub fn parse(content: impl Into<String>) -> Result<Self, Invalid> {
        text::checked("content", content.into(), Self::MAX_CHARS).map(Self)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Where a message stands. It leaves `Queued` once, and what it became then is final.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageStatus {
    /// Accepted; the receiver has not acknowledged it yet.
    Queued,
    /// The receiver acknowledged it.
    Delivered,
    /// Every attempt was refused or unanswered; nothing more is sent.
    Failed,
}

impl MessageStatus {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Delivered => "delivered",
            Self::Failed => "failed",
        }
    }
}

impl FromStr for MessageStatus {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        [Self::Queued, Self::Delivered, Self::Failed]
            .into_iter()
            .find(|status| status.as_str() == text)
            .ok_or_else(|| Invalid::new("not a message status"))
    }
}
