//! Makes attempts, many at a time.
//!
//! A job holds its slot until its outcome was handed on: when the database is away, outcomes pile up
//! to the length of the settler's queue and then hold attempts back. Whether the lease still lasts for
//! a whole attempt is checked right before sending, on a clock that nobody can set.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, SubsecRound, Utc};
use tidings_domain::{Attempt, AttemptResult, Clock, RetrySchedule, TraceParent};
use tidings_events::EventRecord;
use tidings_events::span::{self, Span, SpanKind};
use tidings_runtime::agenda::Agenda;
use tidings_runtime::http_client::OutwardClient;
use tidings_storage::deliveries::{LEASE, Leased, Verdict};
use tidings_storage::{Db, deliveries};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::attempt::{Request, result, unanswered};
use crate::directory::{Directory, Endpoint};
use crate::slots::{Slot, Slots};
use crate::{Parts, verdict};

/// What all of the service's tasks share.
#[derive(Debug)]
pub(crate) struct Sender {
    pub(crate) db: Db,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) directory: Directory,
    pub(crate) slots: Slots,
    pub(crate) agenda: Agenda,
    client: OutwardClient,
    schedule: RetrySchedule,
    attempt_timeout: Duration,
    outcomes: mpsc::Sender<Outcome>,
    attempts: TaskTracker,
    stop: CancellationToken,
}

/// A delivery that is to be attempted now.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) lease: Leased,
    /// When the lease was asked for. It began later, so it lasts at least from here.
    pub(crate) leased_at: Instant,
    pub(crate) endpoint: Arc<Endpoint>,
    /// `None` if the event is no longer kept.
    pub(crate) event: Option<Arc<EventRecord>>,
    pub(crate) slot: Slot,
}

/// What came of an attempt, and what follows.
#[derive(Debug, Clone)]
pub(crate) struct Outcome {
    pub(crate) lease: Leased,
    pub(crate) lease_ends: Instant,
    pub(crate) event: Option<Arc<EventRecord>>,
    pub(crate) attempt: Attempt,
    pub(crate) verdict: Verdict,
    /// The attempt as a part of its trace, and so what follows from it.
    pub(crate) context: TraceParent,
}

#[derive(Debug, thiserror::Error)]
#[error("the event is no longer kept")]
struct Forgotten;

impl Sender {
    pub(crate) fn new(parts: Parts, outcomes: mpsc::Sender<Outcome>, stop: CancellationToken) -> Self {
        Self {
            db: parts.db,
            clock: parts.clock,
            directory: Directory::new(parts.vault),
            slots: Slots::new(),
            agenda: Agenda::default(),
            client: parts.client,
            schedule: parts.schedule,
            attempt_timeout: parts.attempt_timeout,
            outcomes,
            attempts: TaskTracker::new(),
            stop,
        }
    }

    /// Whether nothing new is begun any more.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stop.is_cancelled()
    }

    pub(crate) fn send(self: &Arc<Self>, job: Job) {
        let sender = self.clone();
        self.attempts.spawn(async move { sender.attempt(job).await });
    }

    /// Completes when no attempt is under way any more.
    pub(crate) async fn finish(&self) {
        self.attempts.close();
        self.attempts.wait().await;
    }

    async fn attempt(&self, job: Job) {
        let lease_ends = job.leased_at + LEASE;
        if lease_ends.saturating_duration_since(Instant::now()) < self.attempt_timeout {
            self.release(vec![job.lease]).await;
            return;
        }
        let in_flight = metrics::gauge!("tidings_delivery_in_flight");
        in_flight.increment(1);
        let begun = Instant::now();
        // What the receiver is told must be what is kept, so to the millisecond.
        let at = self.clock.now().trunc_subsecs(3);
        let parent = job.event.as_ref().map(|event| event.origin.traceparent);
        let context = parent.map_or_else(TraceParent::generate, TraceParent::child);
        let result = self.call(&job, context, at).await;
        let duration = begun.elapsed();
        span::tell(|| attempted(&job, parent, context, &result, duration));
        in_flight.decrement(1);
        metrics::histogram!("tidings_delivery_attempt_duration_seconds").record(duration.as_secs_f64());

        let number = job.lease.attempts + 1;
        let verdict = match &job.event {
            Some(_) => {
                let made = usize::try_from(number).unwrap_or(usize::MAX);
                verdict::after(made, &result, &job.endpoint.id, &self.schedule)
            }
            None => Verdict::Failed,
        };
        let outcome = Outcome {
            lease: job.lease,
            lease_ends,
            event: job.event,
            attempt: Attempt {
                number,
                started_at: at,
                duration,
                result,
            },
            verdict,
            context,
        };
        // Fails only when the service was dropped; the lease will run out.
        let _ = self.outcomes.send(outcome).await;
        drop(job.slot);
    }

    async fn call(&self, job: &Job, context: TraceParent, at: DateTime<Utc>) -> AttemptResult {
        let Some(event) = &job.event else {
            return unanswered(&Forgotten);
        };
        let request = match Request::new(&job.endpoint, job.lease.id, job.lease.message, event, context, at) {
            Ok(request) => request,
            Err(error) => return unanswered(&error),
        };
        let call = self.client.post(
            &job.endpoint.url,
            request.headers,
            request.body,
            self.attempt_timeout,
            &*self.clock,
        );
        result(call.await)
    }

    /// Gives back leases under which nothing was sent.
    pub(crate) async fn release(&self, leases: Vec<Leased>) {
        let count = leases.len();
        let released = self
            .db
            .write(move |tx| Box::pin(async move { deliveries::release(tx, &leases).await }));
        match released.await {
            Ok(()) => self.agenda.note(Duration::ZERO),
            Err(error) => tracing::warn!(
                error = &error as &dyn std::error::Error,
                count,
                "leases not given back, they will run out"
            ),
        }
    }
}

/// What an attempt was, as a part of the trace of whoever made the event.
fn attempted(
    job: &Job,
    parent: Option<TraceParent>,
    context: TraceParent,
    result: &AttemptResult,
    took: Duration,
) -> Span {
    let mut attributes = vec![
        ("http.request.method", "POST".to_owned()),
        (
            "server.address",
            job.endpoint.url.host_str().unwrap_or_default().to_owned(),
        ),
        ("tidings.delivery_id", job.lease.id.to_string()),
        ("tidings.endpoint", job.lease.endpoint.to_string()),
        ("tidings.attempt", (job.lease.attempts + 1).to_string()),
    ];
    if let AttemptResult::Answered { status, .. } = result {
        attributes.push(("http.response.status_code", status.to_string()));
    }
    Span {
        name: "POST webhook".to_owned(),
        kind: SpanKind::Client,
        context,
        parent,
        took,
        attributes,
        error: (!result.acknowledged()).then(|| result.to_string()),
    }
}
