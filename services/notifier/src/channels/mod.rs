//! The ways to reach people. Each is a [`Channel`]; the rest of the service knows nothing else of them.
//!
//! Guaranteed of every channel: an attempt ends by its deadline, whatever the provider does. It reaches what
//! the resolver admits and nothing else. The provider is given the letter's id with every attempt. What a
//! provider answers is handed on without the secrets that it was told.
//!
//! Not guaranteed: that a letter which was not taken did not arrive.

mod answer;
mod http;
mod smtp;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tidings_domain::{ChannelName, Clock, NotificationId};
use tidings_events::Origin;
use tidings_runtime::http_client::{BuildError, OutwardClient};
use tidings_runtime::reach::Resolver;

use self::http::HttpChannel;
pub use self::http::HttpProvider;
pub use self::smtp::MailServer;
use self::smtp::SmtpChannel;

/// One way to hand a message to somebody who passes it on.
pub trait Channel: fmt::Debug + Send + Sync {
    /// Hands one letter to the provider and waits for the answer, no longer than `deadline` in all. It may be
    /// called with the same letter again, after an attempt whose end nobody knows; the provider is given the
    /// letter's id each time, to tell it by.
    fn send<'a>(&'a self, letter: &'a Letter, deadline: Duration) -> BoxFuture<'a, Result<Receipt, Failure>>;
}

/// The channels that there are.
pub type Channels = BTreeMap<ChannelName, Arc<dyn Channel>>;

/// Who there is to hand letters to. A channel without a provider is left out.
#[derive(Debug)]
pub struct Providers {
    pub email: Option<EmailProvider>,
    pub sms: Option<HttpProvider>,
    /// Decides whom providers may be. They are what the operator chose, so that is anybody but in tests.
    pub resolver: Resolver,
    pub clock: Arc<dyn Clock>,
}

#[derive(Debug)]
pub enum EmailProvider {
    Http(HttpProvider),
    Smtp(MailServer),
}

/// Why a channel cannot be used as it is configured; one line that names the setting.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("{setting}: {reason}")]
    Unusable { setting: &'static str, reason: String },
    #[error(transparent)]
    Client(#[from] BuildError),
}

impl OpenError {
    fn new(setting: &'static str, reason: impl fmt::Display) -> Self {
        Self::Unusable {
            setting,
            reason: reason.to_string(),
        }
    }
}

/// Makes ready to send. Nobody is called yet.
pub fn open(providers: Providers) -> Result<Channels, OpenError> {
    let client = OutwardClient::new(providers.resolver.clone())?;
    let (resolver, clock) = (providers.resolver, providers.clock);
    let over_http = |provider: &HttpProvider, setting| -> Result<Arc<dyn Channel>, OpenError> {
        let channel = HttpChannel::new(provider, http::recipient_and_message, client.clone(), clock.clone());
        channel
            .map(|channel| Arc::new(channel) as _)
            .map_err(|reason| OpenError::new(setting, reason))
    };
    let mut channels = Channels::new();
    match &providers.email {
        Some(EmailProvider::Http(provider)) => {
            channels.insert(ChannelName::Email, over_http(provider, "EMAIL_PROVIDER_URL")?);
        }
        Some(EmailProvider::Smtp(server)) => {
            let channel = SmtpChannel::new(server, resolver, clock.clone())?;
            channels.insert(ChannelName::Email, Arc::new(channel));
        }
        None => {}
    }
    if let Some(provider) = &providers.sms {
        channels.insert(ChannelName::Sms, over_http(provider, "SMS_PROVIDER_URL")?);
    }
    Ok(channels)
}

/// What is handed over.
#[derive(Debug, Clone)]
pub struct Letter {
    pub id: NotificationId,
    /// The person as the provider knows them.
    pub recipient: String,
    pub subject: String,
    pub message: String,
    /// Whose request led to it, and the attempt as a part of its trace.
    pub origin: Origin,
}

/// The provider took it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// What it said.
    pub answer: String,
}

/// The provider did not take it, or nobody knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What it said, or why it could not be asked.
    pub answer: String,
    pub again: Again,
}

/// Whether another attempt is of any use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Again {
    Never,
    /// Not before this time, if the provider has named one.
    Later(Option<Duration>),
}
