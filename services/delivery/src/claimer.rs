//! Finds what is due and starts it: retries, what there was no slot for, and what a dead worker left.
//!
//! It sleeps until the next delivery is due, as the database said when it was last asked or as a retry
//! that was settled since then says, and looks by itself every [`BACKSTOP`]: for leases that ran out, and
//! for what another process added without having a slot for it.
//!
//! An endpoint that has more due than it has slots for waits by itself: it is left out of the common
//! claim, and when it has slots again as much is claimed for it as these are. That way nothing is leased
//! that cannot be sent, and nobody stands in line behind a slow endpoint.

use std::sync::Arc;
use std::time::Duration;

use tidings_domain::EndpointId;
use tidings_storage::deliveries::{self, Backlog, Leased};
use tidings_storage::{Tx, events};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::directory::Endpoints;
use crate::sender::{Job, Sender};
use crate::slots::Slot;

/// How often it is looked for work although none is known of.
const BACKSTOP: Duration = Duration::from_secs(5);
/// How many deliveries are claimed at a time for all endpoints together.
const CLAIM: u64 = 128;
/// Times of the database and timers are rounded; waking up just before something is due is in vain.
const ROUNDING: Duration = Duration::from_millis(2);
/// How soon to look again when there is no hurry, so that several causes are one look.
const SOON: Duration = Duration::from_millis(20);
/// How long to wait when the database is away, or when what is due is in somebody else's hands.
const PAUSE: Duration = Duration::from_millis(100);

/// Claims until stopped. A claim under way is finished, so that none is left without its attempt.
pub(crate) async fn run(sender: Arc<Sender>, stop: CancellationToken) {
    let claimer = Claimer { sender, stop };
    tokio::join!(claimer.claim_what_is_due(), claimer.claim_for_who_waited());
}

struct Claimer {
    sender: Arc<Sender>,
    stop: CancellationToken,
}

/// What was claimed, and all that is needed to send it.
struct Claimed {
    jobs: Vec<Job>,
    /// Leased without need.
    surplus: Vec<Leased>,
}

impl Claimer {
    async fn claim_what_is_due(&self) {
        let mut look = Instant::now();
        while self
            .stop
            .run_until_cancelled(self.sender.agenda.wait(look))
            .await
            .is_some()
        {
            self.sender.agenda.clear();
            let sampled = Instant::now() >= look;
            match self.pass(sampled).await {
                Ok(Some(next)) => self.sender.agenda.note(next),
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "nothing can be claimed for now"
                    );
                    sleep(PAUSE).await;
                    self.sender.agenda.note(PAUSE * 10);
                }
            }
            if sampled {
                look = Instant::now() + BACKSTOP;
            }
        }
    }

    /// Claims all that is due, and answers after which time to look again.
    async fn pass(&self, sample: bool) -> Result<Option<Duration>, tidings_storage::Error> {
        let mut claimed = 0;
        loop {
            let found = self.claim_common().await?;
            claimed += found;
            if found < CLAIM || self.stop.is_cancelled() {
                break;
            }
        }
        if sample {
            report(deliveries::backlog(self.sender.db.read()).await?);
        }
        let next = deliveries::next_due(self.sender.db.read(), &self.sender.slots.exhausted()).await?;
        Ok(next.map(|next| match next {
            // Somebody else is at it, or it was not due yet when it was claimed.
            Duration::ZERO if claimed == 0 => PAUSE,
            next => next + ROUNDING,
        }))
    }

    async fn claim_common(&self) -> Result<u64, tidings_storage::Error> {
        let sender = self.sender.clone();
        let leased_at = Instant::now();
        let claimed = self.sender.db.write(move |tx| {
            Box::pin(async move {
                let exhausted = sender.slots.exhausted();
                let leased = deliveries::claim(tx, CLAIM, &exhausted, Uuid::new_v4()).await?;
                let found = leased.len() as u64;
                let claimed = equip(tx, &sender, leased, leased_at, |endpoint| sender.slots.take(endpoint)).await?;
                // In the same transaction, so that nobody ever sees those leases.
                deliveries::release(tx, &claimed.surplus).await?;
                Ok::<_, tidings_storage::Error>((found, claimed))
            })
        });
        let (found, claimed) = claimed.await?;
        claimed.jobs.into_iter().for_each(|job| self.sender.send(job));
        for lease in claimed.surplus {
            self.sender.slots.note_waiting(&lease.endpoint);
        }
        Ok(found)
    }

    async fn claim_for_who_waited(&self) {
        while self.stop.run_until_cancelled(self.sender.slots.freed()).await.is_some() {
            for endpoint in self.sender.slots.ready() {
                if let Err(error) = self.claim_for(&endpoint).await {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        %endpoint,
                        "nothing can be claimed for now"
                    );
                    sleep(PAUSE).await;
                    self.sender.slots.note_waiting(&endpoint);
                }
            }
        }
    }

    async fn claim_for(&self, endpoint: &EndpointId) -> Result<(), tidings_storage::Error> {
        let most = usize::try_from(CLAIM).unwrap_or(usize::MAX);
        let mut slots = self.sender.slots.take_many(endpoint, most);
        let wanted = slots.len();
        if wanted == 0 {
            self.sender.slots.note_waiting(endpoint);
            return Ok(());
        }
        let (sender, of_endpoint, leased_at) = (self.sender.clone(), endpoint.clone(), Instant::now());
        let claimed = self.sender.db.write(move |tx| {
            Box::pin(async move {
                let leased = deliveries::claim_for(tx, &of_endpoint, wanted as u64, Uuid::new_v4()).await?;
                let claimed = equip(tx, &sender, leased, leased_at, |_| slots.pop()).await?;
                deliveries::release(tx, &claimed.surplus).await?;
                Ok::<_, tidings_storage::Error>(claimed)
            })
        });
        let claimed = claimed.await?;
        let found = claimed.jobs.len();
        claimed.jobs.into_iter().for_each(|job| self.sender.send(job));
        if found == wanted {
            // There may be more.
            self.sender.slots.note_waiting(endpoint);
        } else {
            // It counts in the common claim again, which may have left out something of it meanwhile.
            self.sender.agenda.note(SOON);
        }
        Ok(())
    }
}

/// Gets together what is needed to send what was leased.
async fn equip(
    tx: &Tx<'_>,
    sender: &Sender,
    leased: Vec<Leased>,
    leased_at: Instant,
    mut slot: impl FnMut(&EndpointId) -> Option<Slot>,
) -> Result<Claimed, tidings_storage::Error> {
    let (mut jobs, mut surplus) = (Vec::with_capacity(leased.len()), Vec::new());
    if leased.is_empty() {
        return Ok(Claimed { jobs, surplus });
    }
    let endpoints: Endpoints = sender.directory.current(tx.conn()).await?;
    let ids: Vec<_> = leased.iter().map(|lease| lease.event).collect();
    let mut records = events::find_all(tx.conn(), &ids).await?;
    let records: std::collections::HashMap<_, _> = records.drain().map(|(id, event)| (id, Arc::new(event))).collect();
    for lease in leased {
        let endpoint = endpoints.iter().find(|endpoint| endpoint.id == lease.endpoint);
        match endpoint.and_then(|endpoint| Some((endpoint.clone(), slot(&lease.endpoint)?))) {
            Some((endpoint, slot)) => jobs.push(Job {
                event: records.get(&lease.event).cloned(),
                lease,
                leased_at,
                endpoint,
                slot,
            }),
            None => surplus.push(lease),
        }
    }
    Ok(Claimed { jobs, surplus })
}

fn report(backlog: Backlog) {
    metrics::gauge!("tidings_delivery_pending").set(backlog.pending as f64);
    metrics::gauge!("tidings_delivery_lag_seconds").set(backlog.lag_seconds);
}
