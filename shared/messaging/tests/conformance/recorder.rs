//! A handler that remembers what it was handed, and a consumer that runs with it.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tidings_events::{EventRecord, RawRecord};
use tidings_messaging::{Connection, ConsumerConfig, ConsumerError, HandleError, Handler, consumer};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// What all members of a group have done together.
#[derive(Clone, Default)]
pub struct Recorder {
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    /// Every event once, in the order in which they took effect first.
    effects: Vec<EventRecord>,
    ids: HashSet<String>,
    handed_out: usize,
    set_aside: Vec<(i64, String)>,
}

impl Recorder {
    /// Lets records take effect.
    pub fn record(&self, records: &[RawRecord]) {
        let mut seen = self.seen.lock().unwrap();
        seen.handed_out += records.len();
        for raw in records {
            let event = EventRecord::decode(raw).unwrap();
            if seen.ids.insert(event.id.to_string()) {
                seen.effects.push(event);
            }
        }
    }

    pub fn record_aside(&self, record: &RawRecord, reason: &str) {
        self.seen
            .lock()
            .unwrap()
            .set_aside
            .push((record.offset, reason.to_owned()));
    }

    pub fn effects(&self) -> usize {
        self.seen.lock().unwrap().effects.len()
    }

    pub fn keys(&self) -> HashSet<String> {
        self.seen
            .lock()
            .unwrap()
            .effects
            .iter()
            .map(|event| event.key.clone())
            .collect()
    }

    /// How many records were handed over, repetitions included.
    pub fn handed_out(&self) -> usize {
        self.seen.lock().unwrap().handed_out
    }

    pub fn set_aside(&self) -> Vec<(i64, String)> {
        self.seen.lock().unwrap().set_aside.clone()
    }

    /// That each aggregate's events took effect in their order and without gaps.
    pub fn assert_in_order(&self) {
        let mut last = HashMap::new();
        for event in &self.seen.lock().unwrap().effects {
            let before = last.insert(event.key.clone(), event.sequence).unwrap_or_default();
            assert_eq!(event.sequence, before + 1, "after {before} of {}", event.key);
        }
    }
}

/// A handler made of a function, which may set aside what it rejects.
pub struct With<F> {
    pub recorder: Recorder,
    pub handle: F,
}

impl<F> Handler for With<F>
where
    F: Fn(&Recorder, &[RawRecord]) -> Result<(), HandleError> + Send + Sync + 'static,
{
    async fn handle(&self, records: &[RawRecord]) -> Result<(), HandleError> {
        (self.handle)(&self.recorder, records)
    }

    async fn set_aside(&self, record: &RawRecord, reason: &str) -> Result<(), HandleError> {
        self.recorder.record_aside(record, reason);
        Ok(())
    }
}

impl Handler for Recorder {
    async fn handle(&self, records: &[RawRecord]) -> Result<(), HandleError> {
        self.record(records);
        Ok(())
    }

    async fn set_aside(&self, record: &RawRecord, _: &str) -> Result<(), HandleError> {
        panic!("nothing was rejected, and yet {record:?} is set aside");
    }
}

/// Starts on a batch, but lets it take effect only once it has a permit.
#[derive(Clone)]
pub struct Held {
    recorder: Recorder,
    pub started: Arc<AtomicUsize>,
    pub permits: Arc<Semaphore>,
}

impl Held {
    pub fn new(recorder: &Recorder) -> Self {
        Self {
            recorder: recorder.clone(),
            started: Arc::default(),
            permits: Arc::new(Semaphore::new(0)),
        }
    }
}

impl Handler for Held {
    async fn handle(&self, records: &[RawRecord]) -> Result<(), HandleError> {
        self.started.fetch_add(1, Ordering::SeqCst);
        let _permit = self.permits.acquire().await.unwrap();
        self.recorder.record(records);
        Ok(())
    }

    async fn set_aside(&self, _: &RawRecord, _: &str) -> Result<(), HandleError> {
        Ok(())
    }
}

pub fn group() -> String {
    format!("group-{}", Uuid::new_v4())
}

pub struct RunningConsumer {
    cancel: CancellationToken,
    task: JoinHandle<Result<(), ConsumerError>>,
}

impl RunningConsumer {
    pub fn start(group: &str, topic: &str, handler: impl Handler, connection: &Connection) -> Self {
        Self::with(ConsumerConfig::of_topics(group, [topic]), handler, connection)
    }

    pub fn with(config: ConsumerConfig, handler: impl Handler, connection: &Connection) -> Self {
        let cancel = CancellationToken::new();
        let (connection, token) = (connection.clone(), cancel.clone());
        let task = tokio::spawn(async move { consumer::run(config, handler, &connection, token).await });
        Self { cancel, task }
    }

    /// Ends it in an orderly way.
    pub async fn stop(self) {
        self.cancel.cancel();
        self.ended().await.unwrap();
    }

    /// Waits until it has ended by itself.
    pub async fn ended(self) -> Result<(), ConsumerError> {
        crate::in_time("the consumer", self.task).await.unwrap()
    }
}
