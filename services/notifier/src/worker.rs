//! Hands what is due by one channel to its provider, many at a time.
//!
//! It sleeps until the next notification is due, as the database said when it was last asked, as the planner
//! says, or as a retry that was recorded since then says, and looks by itself every [`BACKSTOP`]: for leases that
//! ran out, and for what another process added and nobody told of. Nothing is leased for which there is no slot.
//! Whether a lease still lasts for a whole attempt is checked right before sending, on a clock that nobody can set.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, SubsecRound, Utc};
use tidings_domain::{ChannelName, Notification, NotificationId, TraceParent};
use tidings_events::Origin;
use tidings_events::span::{self, Span, SpanKind};
use tidings_storage::notifications::{self, LEASE, Leased, Outcome, Verdict, WORTH_SENDING};
use tidings_storage::{Backlog, Error, events};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::channels::{Again, Failure, Letter, Receipt};
use crate::{Desk, GROUP};

/// Attempts under way by one channel, at most.
const SLOTS: usize = 64;
/// How often it is looked for work although none is known of.
const BACKSTOP: Duration = Duration::from_secs(5);
/// Times of the database and timers are rounded; waking up just before something is due is in vain.
const ROUNDING: Duration = Duration::from_millis(2);
/// How long to wait when the database is away, or when what is due is in somebody else's hands.
const PAUSE: Duration = Duration::from_millis(100);
/// The longest pause between tries to record an outcome.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// How long a service that stops waits for the database.
const DRAIN: Duration = Duration::from_secs(3);
/// Characters of a provider's answer that are kept.
const ANSWER: usize = 1000;

/// Works until stopped, and finishes what is under way then.
pub(crate) async fn run(desk: &Arc<Desk>, channel: ChannelName, stop: &CancellationToken) {
    let worker = Worker {
        desk: desk.clone(),
        channel,
        slots: Arc::new(Semaphore::new(SLOTS)),
        attempts: TaskTracker::new(),
        stop: stop.clone(),
    };
    // There is one for each channel there is.
    let Some(agenda) = desk.agendas.get(&channel) else {
        return;
    };
    let mut look = Instant::now();
    while stop.run_until_cancelled(agenda.wait(look)).await.is_some() {
        agenda.clear();
        let sampled = Instant::now() >= look;
        match worker.pass(sampled).await {
            Ok(Some(next)) => agenda.note(next),
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    channel = channel.as_str(),
                    "no notification can be claimed for now"
                );
                sleep(PAUSE).await;
                agenda.note(PAUSE * 10);
            }
        }
        if sampled {
            look = Instant::now() + BACKSTOP;
        }
    }
    worker.attempts.close();
    worker.attempts.wait().await;
}

#[derive(Clone)]
struct Worker {
    desk: Arc<Desk>,
    channel: ChannelName,
    slots: Arc<Semaphore>,
    attempts: TaskTracker,
    stop: CancellationToken,
}

impl Worker {
    /// Begins all that is due, and answers after which time to look again.
    async fn pass(&self, sample: bool) -> Result<Option<Duration>, Error> {
        let db = &self.desk.db;
        if sample {
            report_backlog(self.channel, notifications::backlog(db.read(), self.channel).await?);
        }
        loop {
            match notifications::next_due(db.read(), self.channel).await? {
                Some(after) if after.is_zero() => {}
                later => return Ok(later.map(|after| after + ROUNDING)),
            }
            let Some(slots) = self.free_slots().await else {
                return Ok(None);
            };
            if self.claim(slots).await? == 0 {
                // Somebody else is at it.
                return Ok(Some(PAUSE));
            }
        }
    }

    /// All slots that are free, once there is one; `None` if nothing is begun any more.
    async fn free_slots(&self) -> Option<Vec<OwnedSemaphorePermit>> {
        let first = self.slots.clone().acquire_owned();
        let mut slots = vec![self.stop.run_until_cancelled(first).await?.ok()?];
        slots.extend(std::iter::from_fn(|| self.slots.clone().try_acquire_owned().ok()));
        Some(slots)
    }

    /// Claims as much as there are slots for and begins it; answers how much that was.
    async fn claim(&self, slots: Vec<OwnedSemaphorePermit>) -> Result<usize, Error> {
        let (db, channel, limit) = (&self.desk.db, self.channel, slots.len() as u64);
        let leased_at = Instant::now();
        let claimed = db.write::<_, Error, _>(move |tx| Box::pin(notifications::claim(tx, channel, limit)));
        let claimed = claimed.await?;
        let causes: Vec<_> = claimed.iter().map(|lease| lease.event).collect();
        // Without them it can be sent all the same, but nobody sees what it belongs to.
        let causes = events::find_all(db.read(), &causes).await.unwrap_or_default();
        let count = claimed.len();
        for (lease, slot) in claimed.into_iter().zip(slots) {
            let cause = causes.get(&lease.event).map(|event| &event.origin);
            let origin = match cause {
                Some(cause) => Origin::following(GROUP, cause),
                None => Origin::own(GROUP, &*self.desk.clock),
            };
            let cause = cause.map(|cause| cause.traceparent);
            let worker = self.clone();
            self.attempts.spawn(async move {
                worker.work_off(&lease, leased_at + LEASE, &origin, cause).await;
                drop(slot);
            });
        }
        Ok(count)
    }

    /// Makes an attempt and records what came of it.
    async fn work_off(&self, lease: &Leased, lease_ends: Instant, origin: &Origin, cause: Option<TraceParent>) {
        if lease_ends.saturating_duration_since(Instant::now()) < self.desk.attempt_timeout {
            return self.release(lease).await;
        }
        let begun = Instant::now();
        let outcome = self.attempt(lease, origin).await;
        span::tell(|| attempted(lease, &outcome, origin, cause, begun.elapsed()));
        self.record(lease, lease_ends, &outcome, origin).await;
    }

    async fn attempt(&self, lease: &Leased, origin: &Origin) -> Outcome {
        let notification = &lease.notification;
        let hopeless = |why: &str| Outcome {
            attempted: false,
            answer: why.to_owned(),
            verdict: Verdict::Failed,
        };
        if lease.expired {
            return hopeless("not sent within 24 hours");
        }
        let Some(recipient) = notification.route.recipient.clone() else {
            return hopeless("the user was deleted");
        };
        let letter = Letter {
            id: notification.id,
            recipient,
            subject: notification.subject.clone(),
            message: notification.message.as_str().to_owned(),
            origin: origin.clone(),
        };
        let labels = [("channel", self.channel.as_str())];
        let in_flight = metrics::gauge!("tidings_notifier_in_flight", &labels);
        in_flight.increment(1);
        let begun = Instant::now();
        let at = self.desk.clock.now().trunc_subsecs(3);
        let sent = match self.desk.channels.get(&self.channel) {
            Some(channel) => channel.send(&letter, self.desk.attempt_timeout).await,
            None => Err(no_provider(self.channel)),
        };
        in_flight.decrement(1);
        metrics::histogram!("tidings_notifier_attempt_duration_seconds", &labels).record(begun.elapsed().as_secs_f64());
        let (answer, verdict) = match sent {
            Ok(Receipt { answer }) => (answer, Verdict::Sent(at)),
            Err(Failure { answer, again }) => (answer, self.after(lease, again, at)),
        };
        Outcome {
            attempted: true,
            answer: answer.chars().take(ANSWER).collect(),
            verdict,
        }
    }

    /// What is to become of a notification after an attempt that failed.
    fn after(&self, lease: &Leased, again: Again, now: DateTime<Utc>) -> Verdict {
        let Again::Later(asked) = again else {
            return Verdict::Failed;
        };
        let made = usize::try_from(lease.notification.attempts + 1).unwrap_or(usize::MAX);
        match self.desk.schedule.pause_after(made, asked) {
            Some(pause) if now + pause < lease.notification.created_at + WORTH_SENDING => Verdict::Retry(pause),
            _ => Verdict::Failed,
        }
    }

    /// Tries until it works, the lease is over, or the database refuses.
    async fn record(&self, lease: &Leased, lease_ends: Instant, outcome: &Outcome, origin: &Origin) {
        let mut overdue = pin!(async {
            if self.stop.run_until_cancelled(sleep_until(lease_ends)).await.is_none() {
                sleep_until(lease_ends.min(Instant::now() + DRAIN)).await;
            }
        });
        let (mut pause, notification_id) = (PAUSE, lease.notification.id);
        let error = loop {
            match self.settle(lease, outcome, origin).await {
                Ok(settled) => return self.report(outcome, origin, settled, notification_id),
                Err(error) if error.is_unavailable() => tokio::select! {
                    () = sleep(pause) => pause = (pause * 2).min(LONGEST_PAUSE),
                    () = &mut overdue => break error,
                },
                Err(error) => break error,
            }
        };
        tracing::error!(
            error = &error as &dyn std::error::Error,
            %notification_id,
            "the outcome of an attempt is not recorded, so it will be made again"
        );
    }

    async fn settle(&self, lease: &Leased, outcome: &Outcome, origin: &Origin) -> Result<Option<Notification>, Error> {
        let (clock, lease) = (self.desk.clock.clone(), lease.clone());
        let (outcome, origin) = (outcome.clone(), origin.clone());
        let settled = self.desk.db.write(move |tx| {
            Box::pin(async move { notifications::settle(tx, &lease, &outcome, &origin, &*clock).await })
        });
        settled.await
    }

    /// Says what became of a notification, once that is certain.
    fn report(&self, outcome: &Outcome, origin: &Origin, settled: Option<Notification>, id: NotificationId) {
        let (channel, answer) = (self.channel.as_str(), &outcome.answer);
        let (correlation_id, trace_id) = (&origin.correlation_id, origin.traceparent.trace_id());
        let Some(notification) = settled else {
            tracing::debug!(notification_id = %id, channel, "the outcome came too late, the lease was lost");
            // Or it was recorded before, with a retry that nobody has noted.
            self.desk.note(self.channel, Duration::ZERO);
            return;
        };
        let attempt = notification.attempts;
        let result = match &outcome.verdict {
            Verdict::Sent(_) => {
                tracing::info!(notification_id = %id, channel, attempt, %correlation_id, trace_id, "sent");
                "sent"
            }
            Verdict::Failed => {
                tracing::warn!(notification_id = %id, channel, attempt, answer, %correlation_id, trace_id, "not sent, and not tried again");
                "failed"
            }
            Verdict::Retry(after) => {
                tracing::warn!(notification_id = %id, channel, attempt, answer, ?after, %correlation_id, trace_id, "not sent, to be tried again");
                self.desk.note(self.channel, *after);
                "retried"
            }
        };
        metrics::counter!("tidings_notifications_total", "channel" => channel, "result" => result).increment(1);
    }

    /// Gives back a lease under which nothing was sent.
    async fn release(&self, lease: &Leased) {
        let returned = lease.clone();
        let released = self
            .desk
            .db
            .write::<_, Error, _>(move |tx| Box::pin(async move { notifications::release(tx, &returned).await }));
        match released.await {
            Ok(()) => self.desk.note(self.channel, Duration::ZERO),
            Err(error) => tracing::warn!(
                error = &error as &dyn std::error::Error,
                notification_id = %lease.notification.id,
                "a lease is not given back, it will run out"
            ),
        }
    }
}

/// What an attempt was, as a part of the trace of whoever made the event.
fn attempted(lease: &Leased, outcome: &Outcome, origin: &Origin, cause: Option<TraceParent>, took: Duration) -> Span {
    let Notification {
        id, route, attempts, ..
    } = &lease.notification;
    Span {
        name: format!("notify by {}", route.channel),
        kind: SpanKind::Client,
        context: origin.traceparent,
        parent: cause,
        took,
        attributes: vec![
            ("tidings.notification_id", id.to_string()),
            ("tidings.attempt", (attempts + i32::from(outcome.attempted)).to_string()),
        ],
        error: (!matches!(outcome.verdict, Verdict::Sent(_))).then(|| outcome.answer.clone()),
    }
}

fn no_provider(channel: ChannelName) -> Failure {
    let setting = channel.as_str().to_uppercase();
    Failure {
        answer: format!("no provider is set for {channel}: set {setting}_PROVIDER_URL"),
        again: Again::Later(None),
    }
}

fn report_backlog(channel: ChannelName, backlog: Backlog) {
    let labels = [("channel", channel.as_str())];
    metrics::gauge!("tidings_notifier_pending", &labels).set(backlog.pending as f64);
    metrics::gauge!("tidings_notifier_lag_seconds", &labels).set(backlog.lag_seconds);
}
