//! Members of a group, and what passes between them and it.

use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::error::ResponseError;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// A member as it introduces itself.
#[derive(Debug, Clone)]
pub(crate) struct Introduction {
    pub member_id: String,
    pub instance_id: Option<String>,
    pub client_id: String,
    pub client_host: String,
    pub session_timeout: Duration,
    pub rebalance_timeout: Duration,
    pub protocol_type: String,
    /// Assignment strategies in order of preference, each with the member's subscription.
    pub protocols: Vec<(String, Bytes)>,
}

impl Introduction {
    pub(super) fn knows(&self, protocol: &str) -> bool {
        self.protocols.iter().any(|(name, _)| name == protocol)
    }
}

/// What a member learns when a rebalance gathered everyone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Joined {
    pub generation: i32,
    pub protocol_type: String,
    pub protocol: String,
    pub leader: String,
    pub member_id: String,
    /// Only for the leader, who assigns partitions: id, instance id and subscription.
    pub members: Vec<(String, Option<String>, Bytes)>,
    /// A leader that came back under its instance id keeps the assignment it made before.
    pub skip_assignment: bool,
}

/// Why a join failed, and the member id to use next.
pub(crate) type JoinResult = Result<Joined, (ResponseError, String)>;

/// What a member learns when the leader has assigned partitions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Synced {
    pub protocol_type: String,
    pub protocol: String,
    pub assignment: Bytes,
}

pub(crate) type SyncResult = Result<Synced, ResponseError>;

/// How a member identifies itself after it joined.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Caller<'a> {
    pub member_id: &'a str,
    pub instance_id: Option<&'a str>,
    pub generation: i32,
}

#[derive(Debug)]
pub(crate) struct Member {
    pub id: String,
    pub who: Introduction,
    pub assignment: Bytes,
    pub(super) expires: Instant,
    joining: Option<oneshot::Sender<JoinResult>>,
    syncing: Option<oneshot::Sender<SyncResult>>,
}

impl Member {
    pub(super) fn new(who: Introduction, now: Instant) -> Self {
        let (id, expires) = (who.member_id.clone(), now + who.session_timeout);
        Self {
            id,
            who,
            assignment: Bytes::new(),
            expires,
            joining: None,
            syncing: None,
        }
    }

    /// Keeps it in the group for another session timeout.
    pub(super) fn touch(&mut self, now: Instant) {
        self.expires = now + self.who.session_timeout;
    }

    /// The subscription that goes with a strategy.
    pub fn subscription(&self, protocol: &str) -> Bytes {
        self.who
            .protocols
            .iter()
            .find(|(name, _)| name == protocol)
            .map(|(_, s)| s.clone())
            .unwrap_or_default()
    }

    pub(super) fn is_joining(&self) -> bool {
        self.joining.is_some()
    }

    pub(super) fn is_syncing(&self) -> bool {
        self.syncing.is_some()
    }

    /// Someone who waits for an answer cannot send heartbeats meanwhile.
    pub(super) fn is_waiting(&self) -> bool {
        self.is_joining() || self.is_syncing()
    }

    /// Has it wait for the others to join. A request that it replaces was given up by its sender, which
    /// asked again.
    pub(super) fn wait_to_join(&mut self, reply: oneshot::Sender<JoinResult>) {
        self.answer_join(Err((ResponseError::RebalanceInProgress, self.id.clone())));
        self.joining = Some(reply);
    }

    /// Has it wait for its assignment.
    pub(super) fn wait_to_sync(&mut self, reply: oneshot::Sender<SyncResult>) {
        self.answer_sync(Err(ResponseError::RebalanceInProgress));
        self.syncing = Some(reply);
    }

    /// Answers its join, if it waits for that. The member may be gone; that is noticed by its silence.
    pub(super) fn answer_join(&mut self, result: JoinResult) {
        if let Some(waiting) = self.joining.take() {
            let _ = waiting.send(result);
        }
    }

    pub(super) fn answer_sync(&mut self, result: SyncResult) {
        if let Some(waiting) = self.syncing.take() {
            let _ = waiting.send(result);
        }
    }

    /// Answers whatever it waits for.
    pub(super) fn dismiss(&mut self, error: ResponseError) {
        self.answer_join(Err((error, self.id.clone())));
        self.answer_sync(Err(error));
    }
}
