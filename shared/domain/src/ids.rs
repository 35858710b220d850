use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Clock, Invalid, new_id};

/// Declares the id of one kind of thing, so that the id of another cannot be passed in its place.
macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            pub fn generate(clock: &dyn Clock) -> Self {
                Self(new_id(clock))
            }
            pub fn as_uuid(self) -> Uuid {
                self.0
            }
        }

        impl From<Uuid> for $name {
            fn from(id: Uuid) -> Self {
                Self(id)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        /// Takes the lower-case, hyphenated form only: one thing has one address.
        impl FromStr for $name {
            type Err = Invalid;
            fn from_str(text: &str) -> Result<Self, Invalid> {
                match Uuid::try_parse(text) {
                    Ok(id) if id.hyphenated().encode_lower(&mut Uuid::encode_buffer()) == text => Ok(Self(id)),
                    _ => Err(Invalid::new("not a lower-case UUID")),
                }
            }
        }
    )*};
}

ids! {
    /// Names a key wherever it must not be shown: in events, to idempotency keys, in logs.
    ApiKeyId;
    ContactId;
    MessageId;
    OrderId;
    /// Names one notification: it is the key under which its provider is called, over all attempts.
    NotificationId;
    /// Names one event everywhere: it is the record's `ce_id`, by which consumers know it again.
    EventId;
    /// Names one event owed to one endpoint: it is the `webhook-id` of every attempt.
    DeliveryId;
}

/// A user's id: a number from the database, because that is what clients of the users contract know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UserId(i64);

impl UserId {
    pub fn as_i64(self) -> i64 {
        self.0
    }
}

impl From<i64> for UserId {
    fn from(id: i64) -> Self {
        Self(id)
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Takes decimal digits only.
impl FromStr for UserId {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        match text.parse() {
            Ok(id) if digits => Ok(Self(id)),
            _ => Err(Invalid::new("not the number of a user")),
        }
    }
}

/// A webhook endpoint's id: a UUID, or `default` for the one that comes from the settings.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EndpointId(String);

impl EndpointId {
    pub fn generate(clock: &dyn Clock) -> Self {
        Self(new_id(clock).to_string())
    }

    /// The endpoint that `WEBHOOK_URL` describes. Messages are settled by it, and it is never disabled.
    pub fn default_endpoint() -> Self {
        Self("default".to_owned())
    }

    pub fn is_default(&self) -> bool {
        self.0 == "default"
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for EndpointId {
    fn from(id: String) -> Self {
        Self(id)
    }
}

impl fmt::Display for EndpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_one_spelling() {
        let text = "01890a5d-ac96-774b-bcce-b302099a8057";
        assert_eq!(text.parse::<MessageId>().unwrap().to_string(), text);
        for other in [
            "",
            "42",
            &text.to_uppercase(),
            &text.replace('-', ""),
            &format!("{{{text}}}"),
            &format!("urn:uuid:{text}"),
        ] {
            assert!(other.parse::<MessageId>().is_err(), "{other}");
        }
    }

    #[test]
    fn a_user_is_known_by_digits() {
        assert_eq!("42".parse::<UserId>().unwrap().to_string(), "42");
        for other in ["", "+42", "-1", "4 2", "42.0", "0x2a", "٤٢", "9223372036854775808"] {
            assert!(other.parse::<UserId>().is_err(), "{other}");
        }
    }
}
