use std::error::Error;
use std::time::Duration;

use crate::EventRecord;

/// The outbox as its relay sees it.
///
/// The database implements this and the relay uses it, without either knowing the other.
///
/// Rows are spread over shards by their key, and a shard is published by whoever holds its lease.
/// What makes the order hold: entries of one aggregate come out of [`pending`](Self::pending) in the
/// order of their events, and an entry stays until it is [removed](Self::remove).
pub trait Outbox: Send + Sync + 'static {
    type Error: Error + Send + Sync + 'static;

    /// How long a lease lasts from when it was last prolonged.
    fn term(&self) -> Duration;

    /// Prolongs the leases held by this relay and takes its fair share of those that are free.
    /// Answers all that it holds now.
    fn lease(&self) -> impl Future<Output = Result<Granted, Self::Error>> + Send;

    /// Gives leases back that are more than this relay's share. Whoever takes them next publishes what is
    /// still there, so nothing of their shards may be under way or wait to be removed.
    fn give_back(&self, surplus: &[ShardLease]) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// The oldest entries of the leased shards, by outbox id.
    fn pending(
        &self,
        leases: &[ShardLease],
        limit: u64,
    ) -> impl Future<Output = Result<Vec<OutboxEntry>, Self::Error>> + Send;

    /// Removes entries that were published. Answers how many of them were removed: fewer than asked
    /// for means that a lease has been lost, and that another relay may publish the rest again.
    fn remove(
        &self,
        leases: &[ShardLease],
        published: &[OutboxEntry],
    ) -> impl Future<Output = Result<u64, Self::Error>> + Send;

    /// Gives back all that this relay has in the database, so that another need not wait until it runs
    /// out. That may be more than it knows of: an answer to [`lease`](Self::lease) may not have reached it.
    fn release(&self) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Completes when something was written to the outbox since the last call completed, here or in
    /// another process. May complete without cause, and may miss a write: callers look for themselves from time to time.
    fn written(&self) -> impl Future<Output = ()> + Send;
}

/// What a relay holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Granted {
    pub leases: Vec<ShardLease>,
    /// What is more than its share, and is to be [given back](Outbox::give_back).
    pub surplus: Vec<ShardLease>,
}

/// The right to publish one shard, until it runs out or is taken over under a higher epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShardLease {
    pub shard: i16,
    pub epoch: i64,
}

/// One event that waits to be published.
#[derive(Debug, Clone)]
pub struct OutboxEntry {
    pub id: i64,
    pub shard: i16,
    pub record: EventRecord,
}
