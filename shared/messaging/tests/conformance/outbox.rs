//! An outbox in memory that several relays can share, and that can be made to misbehave.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tidings_domain::{Clock, EventId, SystemClock};
use tidings_events::{EventRecord, Granted, Origin, Outbox, OutboxEntry, ShardLease};
use tidings_messaging::{Connection, RelayError, relay};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const SHARDS: i16 = 4;

#[derive(Clone, Default)]
pub struct MemoryOutbox {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    written: Notify,
    away: AtomicBool,
    renewals: AtomicUsize,
    readings: AtomicUsize,
    refusals: AtomicUsize,
}

#[derive(Default)]
struct State {
    next_id: i64,
    sequences: HashMap<String, i64>,
    entries: BTreeMap<i64, OutboxEntry>,
    /// Who holds each shard, and under which epoch.
    leases: BTreeMap<i16, (Option<&'static str>, i64)>,
    /// A shard that changes hands as soon as something of it is to be removed.
    taken_at_removal: Option<i16>,
    /// Shards that their holder has too many.
    surplus: BTreeSet<i16>,
}

#[derive(Debug, thiserror::Error)]
#[error("the database is away")]
pub struct Away;

/// The outbox as one relay sees it.
pub struct View {
    outbox: MemoryOutbox,
    relay: &'static str,
}

pub fn shard(key: &str) -> i16 {
    i16::try_from(key.bytes().map(usize::from).sum::<usize>() % SHARDS.unsigned_abs() as usize).unwrap()
}

impl MemoryOutbox {
    /// Writes the next event of an aggregate.
    pub fn write(&self, topic: &str, key: &str) {
        self.write_payload(topic, key, Bytes::from_static(b"{}"));
    }

    pub fn write_payload(&self, topic: &str, key: &str, payload: Bytes) {
        let mut state = self.shared.state.lock().unwrap();
        state.next_id += 1;
        let id = state.next_id;
        let sequence = state.sequences.entry(key.to_owned()).or_default();
        *sequence += 1;
        let record = EventRecord {
            id: EventId::generate(&SystemClock),
            event_type: "tidings.test.happened".to_owned(),
            topic: topic.to_owned(),
            key: key.to_owned(),
            sequence: *sequence,
            schema: "urn:tidings:schema:test:1".to_owned(),
            time: SystemClock.now(),
            origin: Origin::own("test", &SystemClock),
            payload,
        };
        let shard = shard(key);
        state.entries.insert(id, OutboxEntry { id, shard, record });
        drop(state);
        self.shared.written.notify_one();
    }

    /// How many entries wait.
    pub fn depth(&self) -> usize {
        self.shared.state.lock().unwrap().entries.len()
    }

    pub fn keys(&self) -> Vec<String> {
        let state = self.shared.state.lock().unwrap();
        state.entries.values().map(|entry| entry.record.key.clone()).collect()
    }

    pub fn set_away(&self, away: bool) {
        self.shared.away.store(away, Ordering::SeqCst);
    }

    /// How often a relay has asked for its leases.
    pub fn renewals(&self) -> usize {
        self.shared.renewals.load(Ordering::SeqCst)
    }

    /// How often a relay has read entries.
    pub fn readings(&self) -> usize {
        self.shared.readings.load(Ordering::SeqCst)
    }

    /// How often a relay has been told that the database is away.
    pub fn refusals(&self) -> usize {
        self.shared.refusals.load(Ordering::SeqCst)
    }

    /// Gives a shard to somebody, or to nobody, under a new epoch.
    pub fn give(&self, shard: i16, relay: Option<&'static str>) {
        let mut state = self.shared.state.lock().unwrap();
        state.take(shard, relay);
    }

    pub fn take_at_removal(&self, shard: i16) {
        self.shared.state.lock().unwrap().taken_at_removal = Some(shard);
    }

    /// Has whoever holds a shard give it back, from the next renewal on.
    pub fn make_surplus(&self, shard: i16) {
        self.shared.state.lock().unwrap().surplus.insert(shard);
    }

    pub fn held_by(&self, relay: &str) -> usize {
        let state = self.shared.state.lock().unwrap();
        state
            .leases
            .values()
            .filter(|(holder, _)| *holder == Some(relay))
            .count()
    }

    pub fn relay(&self, connection: &Connection) -> RunningRelay {
        self.relay_named("relay", connection)
    }

    pub fn relay_named(&self, relay: &'static str, connection: &Connection) -> RunningRelay {
        let cancel = CancellationToken::new();
        let view = View {
            outbox: self.clone(),
            relay,
        };
        let (connection, token) = (connection.clone(), cancel.clone());
        let task = tokio::spawn(async move { relay::run(view, &connection, token).await });
        RunningRelay { cancel, task }
    }

    fn answer<T>(&self, with: impl FnOnce(&mut State) -> T) -> Result<T, Away> {
        if self.shared.away.load(Ordering::SeqCst) {
            self.shared.refusals.fetch_add(1, Ordering::SeqCst);
            return Err(Away);
        }
        Ok(with(&mut self.shared.state.lock().unwrap()))
    }
}

impl State {
    fn take(&mut self, shard: i16, relay: Option<&'static str>) {
        let (holder, epoch) = self.leases.entry(shard).or_insert((None, 0));
        *holder = relay;
        *epoch += 1;
    }
}

impl Outbox for View {
    type Error = Away;

    fn term(&self) -> Duration {
        Duration::from_secs(10)
    }

    async fn lease(&self) -> Result<Granted, Away> {
        self.outbox.shared.renewals.fetch_add(1, Ordering::SeqCst);
        self.outbox.answer(|state| {
            for shard in 0..SHARDS {
                if state.leases.get(&shard).is_none_or(|(holder, _)| holder.is_none()) {
                    state.take(shard, Some(self.relay));
                }
            }
            let own = state
                .leases
                .iter()
                .filter(|(_, (holder, _))| *holder == Some(self.relay));
            let own = own.map(|(&shard, &(_, epoch))| ShardLease { shard, epoch });
            let (surplus, leases) = own.partition(|lease| state.surplus.contains(&lease.shard));
            Granted { leases, surplus }
        })
    }

    async fn give_back(&self, surplus: &[ShardLease]) -> Result<(), Away> {
        self.outbox.answer(|state| {
            for lease in surplus {
                state.surplus.remove(&lease.shard);
                state.take(lease.shard, Some("somebody else"));
            }
        })
    }

    async fn pending(&self, leases: &[ShardLease], limit: u64) -> Result<Vec<OutboxEntry>, Away> {
        let limit = usize::try_from(limit).unwrap();
        self.outbox.answer(|state| {
            let leased = |entry: &&OutboxEntry| leases.iter().any(|lease| lease.shard == entry.shard);
            let found: Vec<_> = state.entries.values().filter(leased).take(limit).cloned().collect();
            let readings = usize::from(!found.is_empty());
            self.outbox.shared.readings.fetch_add(readings, Ordering::SeqCst);
            found
        })
    }

    async fn remove(&self, leases: &[ShardLease], published: &[OutboxEntry]) -> Result<u64, Away> {
        self.outbox.answer(|state| {
            if let Some(shard) = state.taken_at_removal
                && published.iter().any(|entry| entry.shard == shard)
            {
                state.taken_at_removal = None;
                state.take(shard, Some("somebody else"));
            }
            let mut removed = 0;
            for entry in published {
                let (holder, epoch) = state.leases[&entry.shard];
                let lease = ShardLease {
                    shard: entry.shard,
                    epoch,
                };
                if holder == Some(self.relay) && leases.contains(&lease) {
                    removed += u64::from(state.entries.remove(&entry.id).is_some());
                }
            }
            removed
        })
    }

    async fn release(&self) -> Result<(), Away> {
        self.outbox.answer(|state| {
            for (holder, _) in state
                .leases
                .values_mut()
                .filter(|(holder, _)| *holder == Some(self.relay))
            {
                *holder = None;
            }
        })
    }

    async fn written(&self) {
        self.outbox.shared.written.notified().await;
    }
}

pub struct RunningRelay {
    cancel: CancellationToken,
    task: JoinHandle<Result<(), RelayError>>,
}

impl RunningRelay {
    pub async fn stop(self) {
        self.cancel.cancel();
        crate::in_time("the relay", self.task).await.unwrap().unwrap();
    }
}
