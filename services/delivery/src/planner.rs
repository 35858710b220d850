//! From an event to the deliveries it makes.
//!
//! The default endpoint is owed the messages that were queued, and nothing else. Any other endpoint
//! that is enabled is owed the events of its types that happened since it was added: a topic that is read
//! again from its start must not tell a new endpoint the news of last month.
//!
//! A delivery for which a slot is free is leased in the statement that inserts it and sent as soon as
//! that is committed, without having to be found first. One without a slot stays due, and so does what an
//! event owes to many endpoints: the claimer begins that a few at a time, so that it is not felt by others.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tidings_domain::{Clock, DeliveryId, EndpointId, MessageId, new_id};
use tidings_events::{DecodeError, Event, EventRecord, MessageQueued, RawRecord};
use tidings_messaging::{HandleError, Handler};
use tidings_storage::deliveries::{self, Leased, NewDelivery};
use tidings_storage::{Db, Tx, dead_letters};
use tidings_vault::Vault;
use tokio::time::Instant;
use uuid::Uuid;

use crate::GROUP;
use crate::directory::{Directory, Endpoint, Endpoints};
use crate::sender::{Job, Sender};
use crate::slots::Slot;

/// How many deliveries of one event are begun at once.
const AT_ONCE: usize = 32;
/// How many of the others are added in one transaction, so that on SQLite everyone else gets a turn in between.
const TOGETHER: usize = 100;

/// Plans deliveries for what the consumer hands it.
#[derive(Debug)]
pub(crate) struct Planner {
    sender: Arc<Sender>,
}

/// A record that is no event that could be planned.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unplannable {
    #[error(transparent)]
    Undecodable(#[from] DecodeError),
    #[error("the key of a queued message is not a message's id")]
    NoMessage,
}

/// An event and the message it is about, if that is still to be delivered.
#[derive(Debug, Clone)]
struct Planned {
    event: Arc<EventRecord>,
    message: Option<MessageId>,
}

/// A delivery that there is to be.
#[derive(Debug)]
struct Owed {
    event: Arc<EventRecord>,
    message: Option<MessageId>,
    endpoint: Arc<Endpoint>,
    /// Whether it is begun as soon as it is added, if there is a slot.
    at_once: bool,
}

/// A delivery that there is.
#[derive(Debug)]
struct Added {
    new: NewDelivery,
    owed: Owed,
    slot: Option<Slot>,
}

fn decode(record: &RawRecord) -> Result<Planned, Unplannable> {
    let event = EventRecord::decode(record)?;
    let queued = event.event_type == MessageQueued::TYPE;
    let message = queued.then(|| event.key.parse().map_err(|_| Unplannable::NoMessage));
    Ok(Planned {
        message: message.transpose()?,
        event: Arc::new(event),
    })
}

impl Planned {
    /// The message that a delivery to this endpoint would decide about, in a `Some` if there is to be one.
    fn owed_to(&self, endpoint: &Endpoint) -> Option<Option<MessageId>> {
        if endpoint.id.is_default() {
            return self.message.map(Some);
        }
        let owed = endpoint.enabled
            && endpoint.event_types.includes(&self.event.event_type)
            && self.event.time >= endpoint.created_at;
        owed.then_some(None)
    }
}

impl Planner {
    pub(crate) fn new(sender: Arc<Sender>) -> Self {
        Self { sender }
    }

    async fn plan(&self, planned: Vec<Planned>) -> Result<(), tidings_storage::Error> {
        let endpoints = self.sender.directory.current(&self.sender.db).await?;
        let (at_once, mut later): (Vec<_>, Vec<_>) =
            owed(&endpoints, planned).into_iter().partition(|owed| owed.at_once);
        if !at_once.is_empty() {
            self.begin(at_once).await?;
        }
        while !later.is_empty() {
            let rest = later.split_off(later.len().min(TOGETHER));
            self.begin(later).await?;
            later = rest;
        }
        Ok(())
    }

    async fn begin(&self, owed: Vec<Owed>) -> Result<(), tidings_storage::Error> {
        let (sender, leased_at) = (self.sender.clone(), Instant::now());
        let owed = self.sender.db.write(move |tx| {
            Box::pin(async move {
                let slot = |endpoint: &EndpointId| {
                    let wanted = !sender.is_stopping();
                    wanted.then(|| sender.slots.take(endpoint)).flatten()
                };
                add(tx, &*sender.clock, owed, slot).await
            })
        });
        for Added { new, owed, slot } in owed.await? {
            let Some((slot, token)) = slot.zip(new.lease) else {
                match owed.at_once {
                    true => self.sender.slots.note_waiting(&new.endpoint),
                    false => self.sender.agenda.note(Duration::ZERO),
                }
                continue;
            };
            self.sender.send(Job {
                lease: Leased {
                    id: new.id,
                    endpoint: new.endpoint,
                    event: new.event,
                    message: new.message,
                    attempts: 0,
                    token,
                },
                leased_at,
                endpoint: owed.endpoint,
                event: Some(owed.event),
                slot,
            });
        }
        Ok(())
    }
}

/// What these events owe to whom.
fn owed(endpoints: &Endpoints, planned: Vec<Planned>) -> Vec<Owed> {
    let mut owed = Vec::with_capacity(planned.len());
    for planned in planned {
        let to = endpoints
            .iter()
            .filter_map(|endpoint| Some((endpoint, planned.owed_to(endpoint)?)));
        owed.extend(to.enumerate().map(|(place, (endpoint, message))| Owed {
            event: planned.event.clone(),
            message,
            endpoint: endpoint.clone(),
            at_once: place < AT_ONCE,
        }));
    }
    owed
}

/// Adds what is owed, under a lease where there is a slot, and answers what was not there before.
async fn add(
    tx: &Tx<'_>,
    clock: &dyn Clock,
    owed: Vec<Owed>,
    slot: impl Fn(&EndpointId) -> Option<Slot>,
) -> Result<Vec<Added>, tidings_storage::Error> {
    let mut all: Vec<_> = owed
        .into_iter()
        .map(|owed| {
            let slot = owed.at_once.then(|| slot(&owed.endpoint.id)).flatten();
            let new = NewDelivery {
                id: DeliveryId::from(new_id(clock)),
                endpoint: owed.endpoint.id.clone(),
                event: owed.event.id,
                message: owed.message,
                lease: slot.as_ref().map(|_| Uuid::new_v4()),
            };
            Added { new, owed, slot }
        })
        .collect();
    let new: Vec<_> = all.iter().map(|added| added.new.clone()).collect();
    let added: HashSet<_> = deliveries::insert(tx, &new).await?.into_iter().collect();
    all.retain(|owed| added.contains(&owed.new.id));
    Ok(all)
}

impl Handler for Planner {
    async fn handle(&self, records: &[RawRecord]) -> Result<(), HandleError> {
        let planned: Result<Vec<_>, _> = records.iter().map(decode).collect();
        let planned = planned.map_err(|error| HandleError::reject(error.to_string()))?;
        // None of a record's own words are written, so what the database refuses is not the record's fault.
        self.plan(planned).await.map_err(HandleError::retry)
    }

    async fn set_aside(&self, record: &RawRecord, reason: &str) -> Result<(), HandleError> {
        let Sender { db, clock, .. } = &*self.sender;
        let kept = dead_letters::set_aside(db, clock, GROUP, record, reason);
        kept.await.map_err(HandleError::retry)
    }
}

/// Why a record that was set aside could not be handled now either.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    #[error("the record is rejected again: {0}")]
    Rejected(String),
    #[error(transparent)]
    Database(#[from] tidings_storage::Error),
}

/// Handles one record once more, beside the service. Answers how many deliveries that added; a running
/// service finds them within seconds.
pub async fn replay(db: &Db, clock: &Arc<dyn Clock>, record: &RawRecord) -> Result<usize, ReplayError> {
    let planned = decode(record).map_err(|error| ReplayError::Rejected(error.to_string()))?;
    // Planning needs no secrets.
    let owed = owed(&Directory::new(Vault::without_keys()).current(db).await?, vec![planned]);
    let clock = clock.clone();
    let added = db.write(move |tx| Box::pin(async move { add(tx, &*clock, owed, |_| None).await }));
    Ok(added.await?.len())
}
