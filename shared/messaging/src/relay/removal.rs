//! The removal of entries that were published. It runs as a task, so that it holds the database for
//! no longer than it must, whatever the relay waits for in the meantime.

use std::collections::HashSet;
use std::sync::Arc;

use tidings_events::{Outbox, OutboxEntry, ShardLease};
use tokio::task::JoinHandle;

pub(super) struct Removal<O: Outbox> {
    under_way: Option<UnderWay<O::Error>>,
}

struct UnderWay<E> {
    ids: HashSet<i64>,
    shards: HashSet<i16>,
    task: JoinHandle<Removed<E>>,
}

/// How a removal has ended.
pub(super) enum Removed<E> {
    All,
    /// Some are not this relay's to remove any more, or have been removed by somebody else.
    Short,
    /// They are still there.
    Failed(Vec<OutboxEntry>, E),
}

impl<O: Outbox> Default for Removal<O> {
    fn default() -> Self {
        Self { under_way: None }
    }
}

impl<O: Outbox> Removal<O> {
    pub(super) fn is_under_way(&self) -> bool {
        self.under_way.is_some()
    }

    /// Whether something of this shard is being removed.
    pub(super) fn concerns(&self, shard: i16) -> bool {
        self.under_way
            .as_ref()
            .is_some_and(|under_way| under_way.shards.contains(&shard))
    }

    /// What is being removed.
    pub(super) fn ids(&self) -> HashSet<i64> {
        self.under_way
            .as_ref()
            .map(|under_way| under_way.ids.clone())
            .unwrap_or_default()
    }

    /// Starts to remove entries. There must be no removal under way.
    pub(super) fn start(&mut self, outbox: &Arc<O>, leases: Vec<ShardLease>, entries: Vec<OutboxEntry>) {
        if entries.is_empty() {
            return;
        }
        let ids = entries.iter().map(|entry| entry.id).collect();
        let shards = entries.iter().map(|entry| entry.shard).collect();
        let outbox = outbox.clone();
        let task = tokio::spawn(async move {
            match outbox.remove(&leases, &entries).await {
                Ok(count) if count < entries.len() as u64 => Removed::Short,
                Ok(_) => Removed::All,
                Err(error) => Removed::Failed(entries, error),
            }
        });
        self.under_way = Some(UnderWay { ids, shards, task });
    }

    /// Completes when the removal under way has ended, and never if there is none.
    pub(super) async fn ended(&mut self) -> Removed<O::Error> {
        let Some(under_way) = &mut self.under_way else {
            return std::future::pending().await;
        };
        let ended = (&mut under_way.task).await;
        self.under_way = None;
        ended.unwrap_or_else(|error| {
            // What was published and is still there will be published again.
            tracing::error!(%error, "removing published entries has failed");
            Removed::Short
        })
    }
}
