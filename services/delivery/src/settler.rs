//! Writes down what came of attempts.
//!
//! **What it guarantees.** Whatever outcomes wait are written in one transaction: the attempt, what
//! becomes of the delivery, the message that it decides and that message's event. An outcome counts
//! only under the lease it was made under. While the database is away it is tried again for as long as
//! the lease lasts. An outcome that the database refuses does not take others with it.
//!
//! **What it does not.** An outcome that could not be written before its lease ran out is dropped, and
//! the delivery is attempted again.
//!
//! **What may be changed safely.** The size of a group, and for how long it gathers.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tidings_domain::{Clock, EndpointId, MessageStatus};
use tidings_events::{MessageDelivered, MessageFailed, Origin, WebhookEndpointDisabled};
use tidings_storage::deliveries::{Settled, Verdict};
use tidings_storage::messages::Settlement;
use tidings_storage::{Tx, deliveries, endpoints, messages, outbox};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::GROUP;
use crate::sender::{Outcome, Sender};

/// Outcomes that may wait; beyond, attempts wait to hand theirs on.
pub(crate) const QUEUE: usize = 4096;
/// Outcomes written together, at most.
const GROUP_SIZE: usize = 200;
/// For how long a group gathers. The receiver has its webhook by then; what waits is only that the outcome can be seen.
const GATHER: Duration = Duration::from_millis(5);
/// An endpoint that fails for this long is disabled.
const PATIENCE: TimeDelta = TimeDelta::days(5);
/// Pauses between tries to reach the database.
const PAUSES: [Duration; 2] = [Duration::from_millis(50), Duration::from_secs(2)];
/// How long a service that stops waits for the database.
const DRAIN: Duration = Duration::from_secs(3);

/// Settles until there is nothing left after `end`, and for [`DRAIN`] more at most.
pub(crate) async fn run(sender: Arc<Sender>, mut outcomes: mpsc::Receiver<Outcome>, end: CancellationToken) {
    let settling = async {
        loop {
            let mut group = Vec::with_capacity(GROUP_SIZE);
            tokio::select! {
                biased;
                _ = outcomes.recv_many(&mut group, GROUP_SIZE) => {
                    if group.len() < GROUP_SIZE {
                        end.run_until_cancelled(sleep(GATHER)).await;
                    }
                    while group.len() < GROUP_SIZE && let Ok(outcome) = outcomes.try_recv() {
                        group.push(outcome);
                    }
                    settle(&sender, group).await;
                }
                () = end.cancelled() => return,
            }
        }
    };
    let overdue = async {
        end.cancelled().await;
        sleep(DRAIN).await;
    };
    tokio::select! {
        () = settling => {}
        () = overdue => tracing::warn!("the database does not answer, so the last attempts are not recorded and will be made again"),
    }
}

async fn settle(sender: &Arc<Sender>, group: Vec<Outcome>) {
    let mut groups = vec![group];
    while let Some(group) = groups.pop() {
        let group = Arc::new(group);
        let Err(error) = insist(sender, &group).await else {
            continue;
        };
        if let [outcome] = &group[..] {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                delivery_id = %outcome.lease.id,
                "the outcome of an attempt cannot be recorded"
            );
        } else {
            groups.extend(group.iter().map(|outcome| vec![outcome.clone()]));
        }
    }
}

/// Tries until it works, the leases are over, or the database refuses.
async fn insist(sender: &Arc<Sender>, group: &Arc<Vec<Outcome>>) -> Result<(), tidings_storage::Error> {
    let [mut pause, longest] = PAUSES;
    let (mut group, mut again) = (group.clone(), false);
    loop {
        let error = match write(sender, group.clone()).await {
            Ok((settled, disabled)) => {
                for (outcome, settled) in group.iter().zip(settled) {
                    report(sender, outcome, settled);
                }
                for endpoint in disabled {
                    tracing::warn!(%endpoint, "webhook endpoint disabled");
                }
                if again {
                    // It may have been recorded before, with a retry that nobody has noted.
                    sender.agenda.note(Duration::ZERO);
                }
                return Ok(());
            }
            Err(error) if error.is_unavailable() => error,
            Err(error) => return Err(error),
        };
        if !again {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "outcomes cannot be recorded for now"
            );
        }
        again = true;
        sleep(pause).await;
        pause = (pause * 2).min(longest);
        let now = Instant::now();
        let (kept, lost): (Vec<_>, Vec<_>) = group.iter().cloned().partition(|outcome| outcome.lease_ends > now);
        if !lost.is_empty() {
            tracing::warn!(
                count = lost.len(),
                "attempts not recorded in time, they will be made again"
            );
        }
        if kept.is_empty() {
            return Ok(());
        }
        group = Arc::new(kept);
    }
}

type Written = (Vec<Settled>, Vec<EndpointId>);

async fn write(sender: &Arc<Sender>, group: Arc<Vec<Outcome>>) -> Result<Written, tidings_storage::Error> {
    let clock = sender.clock.clone();
    let write = sender
        .db
        .write(move |tx| Box::pin(async move { write_group(tx, &group, &*clock).await }));
    write.await
}

async fn write_group(tx: &Tx<'_>, group: &[Outcome], clock: &dyn Clock) -> Result<Written, tidings_storage::Error> {
    let outcomes: Vec<_> = group
        .iter()
        .map(|outcome| deliveries::Outcome {
            lease: &outcome.lease,
            attempt: &outcome.attempt,
            verdict: &outcome.verdict,
        })
        .collect();
    let settled = deliveries::settle(tx, &outcomes).await?;
    let recorded: Vec<_> = group
        .iter()
        .zip(&settled)
        .filter_map(|(outcome, settled)| match settled {
            Settled::Recorded { failing_since } => Some((outcome, *failing_since)),
            Settled::Ignored => None,
        })
        .collect();
    settle_messages(tx, recorded.iter().map(|(outcome, _)| *outcome), clock).await?;
    let disabled = note_health(tx, &recorded, clock).await?;
    Ok((settled, disabled))
}

/// Settles the messages that these deliveries decide about.
async fn settle_messages<'a>(
    tx: &Tx<'_>,
    recorded: impl Iterator<Item = &'a Outcome>,
    clock: &dyn Clock,
) -> Result<(), tidings_storage::Error> {
    let (mut settlements, mut causes) = (Vec::new(), HashMap::new());
    for outcome in recorded {
        let Some(id) = outcome.lease.message else { continue };
        let settlement = match outcome.verdict {
            Verdict::Retry(_) => continue,
            Verdict::Delivered => Settlement::Delivered {
                at: outcome.attempt.started_at,
            },
            Verdict::Failed => Settlement::Failed {
                reason: outcome.attempt.result.to_string(),
            },
        };
        settlements.push((id, settlement));
        causes.insert(id, outcome);
    }
    let mut records = Vec::with_capacity(settlements.len());
    for message in messages::settle(tx, &settlements).await? {
        let origin = causes
            .get(&message.id)
            .map_or_else(|| Origin::own(GROUP, clock), |cause| origin(cause, clock));
        records.push(match message.status {
            MessageStatus::Failed => outbox::record(&MessageFailed(&message), &origin, clock)?,
            _ => outbox::record(&MessageDelivered(&message), &origin, clock)?,
        });
    }
    outbox::enqueue_all(tx, records).await
}

/// What follows from an attempt belongs to it.
fn origin(cause: &Outcome, clock: &dyn Clock) -> Origin {
    let origin = match &cause.event {
        Some(event) => Origin::following(GROUP, &event.origin),
        None => Origin::own(GROUP, clock),
    };
    Origin {
        traceparent: cause.context,
        ..origin
    }
}

/// How the attempts of one group went for one endpoint.
#[derive(Default)]
struct Health<'a> {
    /// Before them.
    failing_since: Option<DateTime<Utc>>,
    worked: bool,
    gone: Option<&'a Outcome>,
    /// The first that failed.
    failed: Option<&'a Outcome>,
}

/// Notes which endpoints work and which fail, where that has changed, and disables those that are gone or
/// have failed for too long. In the order of their ids, as everyone does who locks several of them.
async fn note_health(
    tx: &Tx<'_>,
    outcomes: &[(&Outcome, Option<DateTime<Utc>>)],
    clock: &dyn Clock,
) -> Result<Vec<EndpointId>, tidings_storage::Error> {
    let mut endpoints: BTreeMap<&EndpointId, Health<'_>> = BTreeMap::new();
    for (outcome, failing_since) in outcomes {
        let health = endpoints.entry(&outcome.lease.endpoint).or_default();
        let result = &outcome.attempt.result;
        health.failing_since = *failing_since;
        health.worked |= result.acknowledged();
        health.gone = health.gone.or(result.gone().then_some(*outcome));
        health.failed = health.failed.or((!result.acknowledged()).then_some(*outcome));
    }
    let mut disabled = Vec::new();
    for (endpoint, health) in endpoints {
        let since = health.failing_since;
        if health.worked && since.is_some() {
            endpoints::note_working(tx, endpoint).await?;
        }
        let Some(failed) = health.failed else { continue };
        let at = failed.attempt.started_at;
        if !health.worked && since.is_none() {
            endpoints::note_failing(tx, endpoint, at).await?;
        }
        let for_too_long = !health.worked && since.is_some_and(|since| at - since >= PATIENCE);
        let hopeless = !endpoint.is_default() && (health.gone.is_some() || for_too_long);
        if hopeless && let Some(changed) = endpoints::disable(tx, endpoint).await? {
            let cause = health.gone.unwrap_or(failed);
            let origin = origin(cause, clock);
            outbox::enqueue(tx, &WebhookEndpointDisabled(&changed), &origin, clock).await?;
            disabled.push(changed.id);
        }
    }
    Ok(disabled)
}

/// Says what became of a delivery, once that is certain.
fn report(sender: &Sender, outcome: &Outcome, settled: Settled) {
    let Outcome {
        lease, event, attempt, ..
    } = outcome;
    let (delivery_id, endpoint, number) = (lease.id, &lease.endpoint, attempt.number);
    let message_id = lease.message.map(tracing::field::display);
    let correlation_id = event.as_ref().map(|event| event.origin.correlation_id.to_string());
    let trace_id = event.as_ref().map(|event| event.origin.traceparent.trace_id());
    if settled == Settled::Ignored {
        tracing::debug!(%delivery_id, %endpoint, attempt = number, "the outcome came too late, the lease was lost");
        return;
    }
    let result = match &outcome.verdict {
        Verdict::Delivered => {
            if let Some(event) = event {
                let took = (sender.clock.now() - event.time).to_std().unwrap_or_default();
                metrics::histogram!("tidings_delivery_end_to_end_seconds").record(took.as_secs_f64());
            }
            tracing::info!(message_id, %delivery_id, %endpoint, attempt = number, correlation_id, trace_id, "delivered");
            "delivered"
        }
        Verdict::Failed => {
            let reason = &attempt.result;
            tracing::info!(message_id, %delivery_id, %endpoint, attempt = number, %reason, correlation_id, trace_id, "failed");
            "failed"
        }
        Verdict::Retry(after) => {
            let reason = &attempt.result;
            tracing::warn!(message_id, %delivery_id, %endpoint, attempt = number, %reason, ?after, correlation_id, trace_id, "not acknowledged, to be sent again");
            sender.agenda.note(*after);
            "retried"
        }
    };
    metrics::counter!("tidings_deliveries_total", "result" => result).increment(1);
}
