//! What clients are promised while a server is away.

use std::time::Duration;

use tidings_testkit::RealPart;

use super::Ledger;
use crate::load::{Answer, Attempt};
use crate::strikes::Outage;

/// How soon a gateway without its database says so.
const SOON: Duration = Duration::from_secs(8);
/// What is left of a PostgreSQL that was killed may finish what it was doing.
const LAST_GASP: Duration = Duration::from_secs(2);

impl Ledger {
    pub(super) fn check_outages(&mut self) {
        for outage in self.timeline.outages.clone() {
            let from = outage.from + LAST_GASP;
            // One that was answered later may have been answered by a server that is back, unless it was kept waiting.
            let belongs = |attempt: &Attempt| attempt.ended.min(attempt.began + SOON) < outage.to;
            let messages = self.calls.iter().filter(|call| call.fate.is_some());
            let attempts: Vec<_> = messages
                .flat_map(|call| &call.attempts)
                .filter(|attempt| attempt.began > from && belongs(attempt))
                .collect();
            let part = outage.part.name();
            let broken: Vec<_> = attempts.iter().filter(|attempt| !is_kept(outage, attempt)).collect();
            let what = match (attempts.len(), broken.first()) {
                (0, _) => format!("nobody tried anything while {part} was away"),
                (_, None) => continue,
                (all, Some(first)) => format!("{} of {all} answers while {part} was away: {first:?}", broken.len()),
            };
            self.problem(None, what);
        }
    }
}

/// Without Kafka messages are taken. Without PostgreSQL clients are told soon to come back.
fn is_kept(outage: Outage, attempt: &Attempt) -> bool {
    let soon = attempt.ended - attempt.began < SOON;
    match (outage.part, &attempt.answer) {
        (RealPart::Kafka, Answer::Status { code: 201, .. }) => soon,
        (
            RealPart::Postgres,
            Answer::Status {
                code: 503,
                retry_after: true,
            },
        ) => soon,
        _ => false,
    }
}
