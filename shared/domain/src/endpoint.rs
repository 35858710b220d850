use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use url::Url;

use crate::{EndpointId, Invalid, SealedSecret};

/// A receiver of webhooks.
#[derive(Debug, Clone)]
pub struct WebhookEndpoint {
    pub id: EndpointId,
    pub url: WebhookUrl,
    pub secret: SealedSecret,
    pub event_types: EventTypes,
    pub state: EndpointState,
    pub created_at: DateTime<Utc>,
    /// Since when attempts have failed without one success between them.
    pub failing_since: Option<DateTime<Utc>>,
    /// Counts the endpoint's events; the first is 1.
    pub version: i64,
}

/// An absolute `http` or `https` URL with a host and without credentials. Whether the host may be
/// reached is decided when a connection is made, not here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookUrl(Url);

impl WebhookUrl {
    pub fn as_url(&self) -> &Url {
        &self.0
    }
}

impl FromStr for WebhookUrl {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let url = Url::parse(text).map_err(|error| Invalid::new(format!("the webhook URL cannot be read: {error}")))?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err(Invalid::new(
                "the webhook URL must begin with http:// or https:// and name a host",
            ));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Invalid::new("the webhook URL must not contain a user name or password"));
        }
        Ok(Self(url))
    }
}

impl fmt::Display for WebhookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str())
    }
}

/// Which events an endpoint is owed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventTypes {
    All,
    Only(Vec<String>),
}

impl EventTypes {
    pub fn includes(&self, event_type: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(types) => types.iter().any(|wanted| wanted == event_type),
        }
    }
}

/// Written as `*` or as type names separated by commas.
impl fmt::Display for EventTypes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("*"),
            Self::Only(types) => f.write_str(&types.join(",")),
        }
    }
}

impl FromStr for EventTypes {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        if text.trim() == "*" {
            return Ok(Self::All);
        }
        let types: Vec<_> = text.split(',').map(|name| name.trim().to_owned()).collect();
        if types.iter().any(String::is_empty) {
            return Err(Invalid::new(
                "event types are `*` or names such as tidings.message.queued, separated by commas",
            ));
        }
        Ok(Self::Only(types))
    }
}

/// Whether an endpoint is sent anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndpointState {
    Enabled,
    /// It answered 410, or failed for too long; what it is owed waits.
    Disabled,
}

impl EndpointState {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enabled => "enabled",
            Self::Disabled => "disabled",
        }
    }
}

impl FromStr for EndpointState {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        match text {
            "enabled" => Ok(Self::Enabled),
            "disabled" => Ok(Self::Disabled),
            _ => Err(Invalid::new("not an endpoint state")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_web_addresses_are_webhook_urls() {
        assert!("http://localhost:3010/webhooks".parse::<WebhookUrl>().is_ok());
        for bad in [
            "",
            "localhost",
            "/webhooks",
            "ftp://host/",
            "file:///etc/passwd",
            "http://",
            "http://u:p@host/",
        ] {
            assert!(bad.parse::<WebhookUrl>().is_err(), "{bad}");
        }
    }

    #[test]
    fn event_types_select() {
        let types: EventTypes = "tidings.message.queued, tidings.contact.created".parse().unwrap();
        assert!(types.includes("tidings.contact.created"));
        assert!(!types.includes("tidings.contact.deleted"));
        assert_eq!(types.to_string().parse::<EventTypes>().unwrap(), types);
        assert!("*".parse::<EventTypes>().unwrap().includes("anything"));
        assert!("a,,b".parse::<EventTypes>().is_err());
    }
}
