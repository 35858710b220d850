//! Hears of the changes that other gateways make.

use tidings_domain::{Expiry, Guid};
use tidings_events::data::GuidRecord;
use tidings_events::{EventRecord, RawRecord, Topic};
use tidings_messaging::{Connection, TailConfig, Tailed, tail};
use tokio_util::sync::CancellationToken;

use super::GuidCache;

/// One change of a GUID.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) id: Guid,
    pub(crate) version: i64,
    /// Until when it is valid, unless it is gone.
    pub(crate) expires: Option<Expiry>,
}

#[derive(serde::Deserialize)]
struct Payload {
    action: String,
    data: GuidRecord,
}

/// Tells the cache of every change, and then `of_each`, until cancelled.
pub(crate) async fn follow(
    connection: Connection,
    cache: GuidCache,
    cancel: CancellationToken,
    of_each: impl Fn(&Change) + Send + 'static,
) {
    let config = TailConfig::new("guid-changes", &[Topic::Guids]);
    let followed = tail::run(config, &connection, cancel, move |tailed| match tailed {
        Tailed::Following => tracing::debug!("hearing of changes to guids"),
        Tailed::Record(record) => match read(&record) {
            Some(change) => {
                cache.heard(change.id, change.version);
                of_each(&change);
            }
            // Not one of ours, and so no change.
            None => tracing::debug!(offset = record.offset, "a record on the topic of guids cannot be read"),
        },
    });
    if let Err(error) = followed.await {
        tracing::error!(
            error = &error as &dyn std::error::Error,
            "changes to guids are not heard of any more, and show late"
        );
    }
}

fn read(record: &RawRecord) -> Option<Change> {
    let event = EventRecord::decode(record).ok()?;
    let Payload { action, data } = serde_json::from_slice(&event.payload).ok()?;
    Some(Change {
        id: event.key.parse().ok()?,
        version: event.sequence,
        expires: if action == "delete" {
            None
        } else {
            data.expire.parse().ok()
        },
    })
}
