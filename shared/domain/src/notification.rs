//! What users are told, and by which channel.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};

use crate::{Invalid, NotificationId, OrderId, User, UserId, text};

/// One thing that a user is told by one channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    pub id: NotificationId,
    pub user: UserId,
    /// What it is about, if it is about an order.
    pub order: Option<OrderId>,
    /// What was asked for. It differs from the route's if the user cannot be reached that way.
    pub wanted: ChannelName,
    pub route: Route,
    /// Of channels that have one, such as email.
    pub subject: String,
    pub message: NotificationText,
    pub status: NotificationStatus,
    pub attempts: i32,
    /// What the provider said to the last attempt, or why it could not be asked.
    pub answer: Option<String>,
    pub created_at: DateTime<Utc>,
    /// When the attempt was made that the provider took; set exactly while `sent`.
    pub sent_at: Option<DateTime<Utc>>,
    /// Counts the notification's events; the first is 1.
    pub version: i64,
}

/// The ways to reach a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ChannelName {
    Email,
    Sms,
}

impl ChannelName {
    pub const ALL: &[Self] = &[Self::Email, Self::Sms];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Sms => "sms",
        }
    }
}

impl FromStr for ChannelName {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let found = Self::ALL.iter().find(|channel| channel.as_str() == text);
        found.copied().ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(|channel| channel.as_str()).collect();
            Invalid::new(format!("channel must be one of {}", names.join(", ")))
        })
    }
}

impl fmt::Display for ChannelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How a user is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    pub channel: ChannelName,
    /// The user as this channel's provider knows them. `None` if there is no such user any more.
    pub recipient: Option<String>,
    /// Why it is not the channel that was asked for.
    pub fallback: Option<String>,
}

impl Route {
    /// The way to a user by this channel, or by email if they cannot be reached by it: everyone has an email.
    pub fn to(user: &User, wanted: ChannelName) -> Self {
        let by = |channel, recipient: &str, fallback: Option<&str>| Self {
            channel,
            recipient: Some(recipient.to_owned()),
            fallback: fallback.map(str::to_owned),
        };
        let email = user.email.as_str();
        match (wanted, &user.phone) {
            (ChannelName::Email, _) => by(wanted, email, None),
            (ChannelName::Sms, Some(phone)) => by(wanted, phone.as_str(), None),
            (ChannelName::Sms, None) => by(ChannelName::Email, email, Some("the user has no phone number")),
        }
    }

    /// For a user who was deleted meanwhile.
    pub fn nowhere(wanted: ChannelName) -> Self {
        Self {
            channel: wanted,
            recipient: None,
            fallback: None,
        }
    }
}

/// What a user is told: 1 to 10,000 characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotificationText(String);

impl NotificationText {
    pub const MAX_CHARS: usize = 10_000;

    pub fn parse(message: impl Into<String>) -> Result<Self, Invalid> {
        text::checked("message", message.into(), Self::MAX_CHARS).map(Self)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Where a notification stands. It leaves `Requested` once, and what it became then is final.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotificationStatus {
    /// To be sent, or to be tried again.
    Requested,
    /// The provider took it.
    Sent,
    /// The provider refused it for good, every attempt failed, or its time was over.
    Failed,
}

impl NotificationStatus {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Sent => "sent",
            Self::Failed => "failed",
        }
    }
}

impl FromStr for NotificationStatus {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        [Self::Requested, Self::Sent, Self::Failed]
            .into_iter()
            .find(|status| status.as_str() == text)
            .ok_or_else(|| Invalid::new("not a notification status"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EmailAddress, PersonName, PhoneNumber};

    fn user(phone: Option<&str>) -> User {
        User {
            id: UserId::from(7),
            first_name: PersonName::parse("Odile").unwrap(),
            last_name: PersonName::parse("Deray").unwrap(),
            email: EmailAddress::parse("odile@example.com").unwrap(),
            address: Default::default(),
            phone: phone.map(|phone| PhoneNumber::parse(phone).unwrap()),
            created_at: DateTime::UNIX_EPOCH,
            version: 1,
        }
    }

    #[test]
    fn whoever_has_no_phone_is_written_to() {
        let route = Route::to(&user(Some("+41791234567")), ChannelName::Sms);
        assert_eq!(
            (route.channel, route.recipient.as_deref()),
            (ChannelName::Sms, Some("+41791234567"))
        );
        assert_eq!(route.fallback, None);
        let route = Route::to(&user(None), ChannelName::Sms);
        assert_eq!(
            (route.channel, route.recipient.as_deref()),
            (ChannelName::Email, Some("odile@example.com"))
        );
        assert_eq!(route.fallback.as_deref(), Some("the user has no phone number"));
        assert_eq!(Route::to(&user(None), ChannelName::Email).fallback, None);
    }

    #[test]
    fn a_channel_has_a_name() {
        for channel in ChannelName::ALL {
            assert_eq!(channel.as_str().parse(), Ok(*channel));
        }
        for bad in ["", "Email", "pigeon"] {
            let refusal = bad.parse::<ChannelName>().unwrap_err().to_string();
            assert!(refusal.contains("email, sms"), "{refusal}");
        }
    }

    #[test]
    fn texts_have_bounds() {
        assert!(NotificationText::parse("é".repeat(10_000)).is_ok());
        for bad in ["", " ", "a\0b", &"x".repeat(10_001)] {
            assert!(NotificationText::parse(bad).is_err());
        }
    }
}
