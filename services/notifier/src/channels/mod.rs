//! The ways to reach people. Each is a [`Channel`]; the rest of the service knows nothing else of them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tidings_domain::{ChannelName, NotificationId};
use tidings_events::Origin;

/// One way to hand a message to somebody who passes it on.
pub trait Channel: fmt::Debug + Send + Sync {
    /// Hands one letter to the provider and waits for the answer, no longer than `deadline` in all. It may be
    /// called with the same letter again, after an attempt whose end nobody knows; the provider is given the
    /// letter's id each time, to tell it by.
    fn send<'a>(&'a self, letter: &'a Letter, deadline: Duration) -> BoxFuture<'a, Result<Receipt, Failure>>;
}

/// The channels that there are.
pub type Channels = BTreeMap<ChannelName, Arc<dyn Channel>>;

/// What is handed over.
#[derive(Debug, Clone)]
pub struct Letter {
    pub id: NotificationId,
    /// The person as the provider knows them.
    pub recipient: String,
    pub subject: String,
    pub message: String,
    /// Whose request led to it.
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
