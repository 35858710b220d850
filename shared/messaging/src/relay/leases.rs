//! Which shards this relay may publish.
//!
//! The leases are renewed beside everything else the relay does. What counts is the database's
//! clock; here it is enough to give up early: a lease is held for nine tenths of its term from when
//! its last renewal was *asked for*.
//!
//! What is more than its share the relay stops reading, and gives back once nothing of it is under way: so
//! another relay that joins publishes nothing a second time.

use std::convert::Infallible;
use std::time::Duration;

use tidings_events::{Granted, Outbox, OutboxEntry, ShardLease};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::backoff::{Backoff, Outage};

/// After which part of their term leases are renewed.
const RENEW: f64 = 0.3;
/// For which part of their term they are trusted.
const TRUST: f64 = 0.9;
/// How long a renewal may take, at most.
const PATIENCE: Duration = Duration::from_secs(3);

#[derive(Debug, Clone, Default)]
pub(super) struct Held {
    pub(super) granted: Granted,
    /// Counts the renewals that were answered.
    round: u64,
}

impl Held {
    /// All that is held, also what is to be given back.
    pub(super) fn all(&self) -> impl Iterator<Item = &ShardLease> {
        self.granted.leases.iter().chain(&self.granted.surplus)
    }

    pub(super) fn covers(&self, entry: &OutboxEntry) -> bool {
        self.all().any(|lease| lease.shard == entry.shard)
    }

    /// The leases under which these entries are published.
    pub(super) fn needed_for(&self, batch: &[OutboxEntry]) -> Vec<ShardLease> {
        let mut needed = self.granted.leases.clone();
        needed.retain(|lease| batch.iter().any(|entry| entry.shard == lease.shard));
        needed
    }
}

#[derive(Debug)]
pub(super) struct Leases {
    held: watch::Sender<Held>,
    asked: Notify,
}

#[derive(Debug, thiserror::Error)]
#[error("the database does not answer in time")]
struct TooSlow;

impl Leases {
    pub(super) fn new() -> Self {
        Self {
            held: watch::Sender::new(Held::default()),
            asked: Notify::new(),
        }
    }

    pub(super) fn held(&self) -> Held {
        self.held.borrow().clone()
    }

    /// Completes when other leases are held than now.
    pub(super) async fn changed(&self) {
        let mut held = self.held.subscribe();
        let before = held.borrow_and_update().granted.clone();
        // The sender lives as long as `self`, so the wait ends only as it should.
        let _ = held.wait_for(|now| now.granted != before).await;
    }

    /// Completes when one of these leases is not held any more.
    pub(super) async fn lost(&self, needed: &[ShardLease]) {
        let mut held = self.held.subscribe();
        let _ = held
            .wait_for(|now| needed.iter().any(|lease| !now.all().any(|held| held == lease)))
            .await;
    }

    /// Notes that these were given back.
    pub(super) fn gave_back(&self, surplus: &[ShardLease]) {
        self.held.send_modify(|held| {
            held.granted.surplus.retain(|lease| !surplus.contains(lease));
        });
    }

    /// Asks for a renewal and waits for its answer.
    pub(super) async fn renewed(&self) {
        let mut held = self.held.subscribe();
        let before = held.borrow_and_update().round;
        self.asked.notify_one();
        let _ = held.wait_for(|now| now.round > before).await;
    }

    /// Holds as many leases as the outbox grants.
    pub(super) async fn keep<O: Outbox>(&self, outbox: &O) -> Infallible {
        let mut outage = Outage::new(
            "renewing the relay's leases",
            Backoff::new(Duration::from_millis(100), Duration::from_secs(2)),
        );
        let (renew, trust) = (outbox.term().mul_f64(RENEW), outbox.term().mul_f64(TRUST));
        let mut trusted_until = Instant::now();
        loop {
            let asked_at = Instant::now();
            let patience = asked_at + PATIENCE.min(renew);
            let deadline = if trusted_until > asked_at {
                patience.min(trusted_until)
            } else {
                patience
            };
            let pause = match timeout_at(deadline, outbox.lease()).await {
                Ok(Ok(granted)) => {
                    outage.worked();
                    trusted_until = asked_at + trust;
                    self.hold(granted);
                    renew
                }
                Ok(Err(error)) => outage.failed(&error),
                Err(_) => outage.failed(&TooSlow),
            };
            let mut next = asked_at + pause;
            if trusted_until <= Instant::now() {
                self.hold(Granted::default());
            } else {
                next = next.min(trusted_until);
            }
            tokio::select! {
                () = sleep_until(next) => {}
                () = self.asked.notified() => {}
            }
        }
    }

    fn hold(&self, granted: Granted) {
        metrics::gauge!("tidings_relay_leases").set(granted.leases.len() as f64);
        self.held.send_modify(|held| {
            if held.granted != granted {
                tracing::debug!(
                    shards = granted.leases.len(),
                    surplus = granted.surplus.len(),
                    "leases held"
                );
            }
            held.round += 1;
            held.granted = granted;
        });
    }
}
