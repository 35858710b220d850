//! Records that the broker refuses for what they are, such as one that is too large.
//!
//! Such a record holds up what follows it under its key and nothing else. It is tried again after a
//! pause that grows to [`LONGEST`], in a batch of its own: the broker judges batches, so the error
//! may have been a neighbour's.

use std::collections::HashMap;
use std::time::Duration;

use rdkafka::error::KafkaError;
use tidings_events::OutboxEntry;
use tokio::time::Instant;

use crate::backoff::Backoff;

const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(30);

#[derive(Debug, Default)]
pub(super) struct Parked {
    keys: HashMap<(String, String), Slot>,
    /// How many entries of parked keys were read last.
    entries: u64,
}

#[derive(Debug)]
struct Slot {
    due: Instant,
    backoff: Backoff,
}

fn key_of(entry: &OutboxEntry) -> (String, String) {
    (entry.record.topic.clone(), entry.record.key.clone())
}

impl Parked {
    pub(super) fn entries(&self) -> u64 {
        self.entries
    }

    pub(super) fn any_due(&self) -> bool {
        let now = Instant::now();
        self.keys.values().any(|slot| slot.due <= now)
    }

    pub(super) fn park(&mut self, entry: &OutboxEntry, error: &KafkaError) {
        let slot = self.keys.entry(key_of(entry)).or_insert_with(|| Slot {
            due: Instant::now(),
            backoff: Backoff::new(SHORTEST, LONGEST),
        });
        let pause = slot.backoff.next();
        slot.due = Instant::now() + pause;
        tracing::error!(
            error = error as &dyn std::error::Error,
            event_id = %entry.record.id,
            topic = entry.record.topic,
            key = entry.record.key,
            bytes = entry.record.payload.len(),
            ?pause,
            "the broker refuses an event; it stays in the outbox and holds up its aggregate",
        );
    }

    pub(super) fn release(&mut self, entry: &OutboxEntry) {
        if !self.keys.is_empty() {
            self.keys.remove(&key_of(entry));
        }
    }

    /// Chooses what to publish of what was read: one parked entry whose time has come, else all
    /// that are not parked. `full` says that there may be more than was read.
    pub(super) fn sort_out(&mut self, entries: Vec<OutboxEntry>, full: bool) -> Vec<OutboxEntry> {
        if self.keys.is_empty() {
            self.entries = 0;
            return entries;
        }
        let (parked, free): (Vec<_>, Vec<_>) = entries
            .into_iter()
            .partition(|entry| self.keys.contains_key(&key_of(entry)));
        self.entries = parked.len() as u64;
        if !full {
            // Whatever is not there any more was published by somebody else.
            self.keys
                .retain(|key, _| parked.iter().any(|entry| key_of(entry) == *key));
        }
        let now = Instant::now();
        let due = parked
            .into_iter()
            .find(|entry| self.keys.get(&key_of(entry)).is_some_and(|slot| slot.due <= now));
        match due {
            Some(entry) => vec![entry],
            None => free,
        }
    }
}
