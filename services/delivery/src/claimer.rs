//! Finds what is due and starts it: retries, what there was no slot for, and what a dead worker left.
//!
//! It sleeps until the next delivery is due, as the database said when it was last asked or as a retry
//! that was settled since then says, and looks by itself every [`BACKSTOP`]: for leases that ran out, and
//! for what another process added without having a slot for it.
//!
//! What is due is claimed endpoint by endpoint, for each as much as it has slots for. One that has more
//! due waits by itself until it has slots again. That way nothing is leased that cannot be sent, and nobody
//! stands in line behind an endpoint that is slow or disabled.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tidings_domain::EndpointId;
use tidings_storage::deliveries::{self, Leased};
use tidings_storage::{Backlog, Tx, events};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::directory::Endpoints;
use crate::sender::{Job, Sender};

/// How often it is looked for work although none is known of.
const BACKSTOP: Duration = Duration::from_secs(5);
/// How many deliveries are claimed at a time for one endpoint.
const CLAIM: usize = 128;
/// For how many endpoints deliveries are claimed in one transaction.
const ENDPOINTS: usize = 16;
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
        if sample {
            report(deliveries::backlog(self.sender.db.read()).await?);
        }
        while !self.stop.is_cancelled() {
            let next = deliveries::next_due(self.sender.db.read(), &self.sender.slots.exhausted()).await?;
            let due = next.iter().filter(|(_, after)| after.is_zero());
            let due: Vec<_> = due.map(|(endpoint, _)| endpoint.clone()).collect();
            if due.is_empty() {
                let soonest = next.into_iter().map(|(_, after)| after).min();
                return Ok(soonest.map(|soonest| soonest + ROUNDING));
            }
            let mut claimed = 0;
            for endpoints in due.chunks(ENDPOINTS) {
                claimed += self.claim(endpoints.to_vec()).await?.jobs;
            }
            if claimed == 0 {
                // Somebody else is at it, or it was not due yet when it was claimed.
                return Ok(Some(PAUSE));
            }
        }
        Ok(None)
    }

    async fn claim_for_who_waited(&self) {
        while self.stop.run_until_cancelled(self.sender.slots.freed()).await.is_some() {
            for endpoints in self.sender.slots.ready().chunks(ENDPOINTS) {
                match self.claim(endpoints.to_vec()).await {
                    // Those that wait no longer count in the common look again, which may have left out something
                    // of them meanwhile.
                    Ok(count) if count.waiting < endpoints.len() => self.sender.agenda.note(SOON),
                    Ok(_) => {}
                    Err(error) => {
                        tracing::warn!(
                            error = &error as &dyn std::error::Error,
                            "nothing can be claimed for now"
                        );
                        sleep(PAUSE).await;
                        endpoints
                            .iter()
                            .for_each(|endpoint| self.sender.slots.note_waiting(endpoint));
                    }
                }
            }
        }
    }

    /// Claims and starts as much for these endpoints as they have slots for.
    async fn claim(&self, endpoints: Vec<EndpointId>) -> Result<Count, tidings_storage::Error> {
        let (sender, leased_at) = (self.sender.clone(), Instant::now());
        let known = self.sender.directory.current(&self.sender.db).await?;
        let claimed = self.sender.db.write(move |tx| {
            Box::pin(async move {
                let wanted: Vec<_> = endpoints
                    .into_iter()
                    .map(|endpoint| {
                        let most = sender.slots.free(&endpoint).min(CLAIM);
                        (endpoint, most as u64)
                    })
                    .collect();
                let leased = deliveries::claim(tx, &wanted, Uuid::new_v4()).await?;
                let mut found: HashMap<_, u64> = HashMap::new();
                for lease in &leased {
                    *found.entry(lease.endpoint.clone()).or_default() += 1;
                }
                let mut waiting: Vec<_> = wanted
                    .into_iter()
                    .filter(|(endpoint, most)| found.get(endpoint).copied().unwrap_or_default() == *most)
                    .map(|(endpoint, _)| endpoint)
                    .collect();
                let (jobs, surplus) = equip(tx, &sender, &known, leased, leased_at).await?;
                // In the same transaction, so that nobody ever sees those leases.
                deliveries::release(tx, &surplus).await?;
                waiting.extend(surplus.into_iter().map(|lease| lease.endpoint));
                Ok::<_, tidings_storage::Error>((jobs, waiting))
            })
        });
        let (jobs, waiting) = claimed.await?;
        let count = Count {
            jobs: jobs.len(),
            waiting: waiting.len(),
        };
        jobs.into_iter().for_each(|job| self.sender.send(job));
        waiting
            .iter()
            .for_each(|endpoint| self.sender.slots.note_waiting(endpoint));
        Ok(count)
    }
}

/// How much a claim has come to.
struct Count {
    jobs: usize,
    /// How often an endpoint had more due than slots.
    waiting: usize,
}

/// Gets together what is needed to send what was leased; also answers what was leased without need.
async fn equip(
    tx: &Tx<'_>,
    sender: &Sender,
    endpoints: &Endpoints,
    leased: Vec<Leased>,
    leased_at: Instant,
) -> Result<(Vec<Job>, Vec<Leased>), tidings_storage::Error> {
    let (mut jobs, mut surplus) = (Vec::with_capacity(leased.len()), Vec::new());
    let ids: Vec<_> = leased.iter().map(|lease| lease.event).collect();
    let mut records = events::find_all(tx.conn(), &ids).await?;
    let records: HashMap<_, _> = records.drain().map(|(id, event)| (id, Arc::new(event))).collect();
    for lease in leased {
        let endpoint = endpoints.iter().find(|endpoint| endpoint.id == lease.endpoint);
        match endpoint.and_then(|endpoint| Some((endpoint.clone(), sender.slots.take(&lease.endpoint)?))) {
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
    Ok((jobs, surplus))
}

fn report(backlog: Backlog) {
    metrics::gauge!("tidings_delivery_pending").set(backlog.pending as f64);
    metrics::gauge!("tidings_delivery_lag_seconds").set(backlog.lag_seconds);
}
