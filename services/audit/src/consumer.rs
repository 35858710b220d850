//! From the topics into the log, in one transaction per batch.

use std::collections::HashSet;
use std::sync::Arc;

use tidings_domain::Clock;
use tidings_events::RawRecord;
use tidings_messaging::{HandleError, Handler};
use tidings_storage::{Db, Error, Tx, audit};

use crate::Head;
use crate::entry::Entry;

/// Appends what is handed to it. It rejects nothing: what is not an event is recorded as bytes.
#[derive(Debug)]
pub(crate) struct Recorder {
    db: Db,
    clock: Arc<dyn Clock>,
}

/// What a transaction did.
struct Appended {
    head: Head,
    records: u64,
    /// The ids of those that were no events.
    raw: Vec<String>,
}

impl Recorder {
    pub(crate) fn new(db: Db, clock: Arc<dyn Clock>) -> Self {
        Self { db, clock }
    }
}

impl Handler for Recorder {
    async fn handle(&self, records: &[RawRecord]) -> Result<(), HandleError> {
        let entries: Vec<_> = records.iter().map(Entry::of).collect();
        let clock = self.clock.clone();
        let appended = self
            .db
            .write(move |tx| Box::pin(async move { append(tx, entries, &*clock).await }))
            .await;
        match appended {
            Ok(appended) => {
                metrics::counter!("tidings_audit_records_total").increment(appended.records);
                metrics::counter!("tidings_audit_raw_records_total").increment(appended.raw.len() as u64);
                for event_id in &appended.raw {
                    tracing::warn!(event_id, "a record that is not an event was recorded as bytes");
                }
                show(&appended.head);
                Ok(())
            }
            Err(error) if error.is_unavailable() => Err(HandleError::retry(error)),
            // The log does not fit its head, or the schema is not ours. Going on could only hide that.
            Err(error) => Err(HandleError::fatal(error)),
        }
    }

    async fn set_aside(&self, _: &RawRecord, reason: &str) -> Result<(), HandleError> {
        Err(HandleError::fatal(format!(
            "the audit log sets nothing aside: {reason}"
        )))
    }
}

/// Has the counters there before they count: a rate begins with the second value that was seen.
pub(crate) fn begin_counting() {
    metrics::counter!("tidings_audit_records_total").increment(0);
    metrics::counter!("tidings_audit_raw_records_total").increment(0);
}

/// Makes the end of the chain visible to whoever collects metrics.
pub(crate) fn show(head: &Head) {
    metrics::gauge!("tidings_audit_head_seq").set(head.seq as f64);
}

async fn append(tx: &Tx<'_>, entries: Vec<Entry>, clock: &dyn Clock) -> Result<Appended, Error> {
    // Locked before anything is read: what another instance appends is either seen below or comes later.
    let mut head = audit::lock_head(tx).await?;
    let ids: Vec<_> = entries.iter().map(|entry| entry.event_id.clone()).collect();
    let mut known: HashSet<_> = audit::recorded(tx.conn(), &ids).await?.into_iter().collect();
    let now = clock.now();
    let mut records = Vec::with_capacity(entries.len());
    let mut raw = Vec::new();
    for entry in entries {
        if !known.insert(entry.event_id.clone()) {
            continue;
        }
        if entry.is_raw() {
            raw.push(entry.event_id.clone());
        }
        let record = entry
            .chained(&head, now)
            .map_err(|error| Error::Corrupt(error.to_string()))?;
        head.seq = record.seq;
        head.hash.clone_from(&record.hash);
        records.push(record);
    }
    let count = records.len() as u64;
    audit::append(tx, records).await?;
    Ok(Appended {
        head: head.into(),
        records: count,
        raw,
    })
}
