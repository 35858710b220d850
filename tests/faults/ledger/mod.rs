//! The books of a run, and whether they balance.
//!
//! What was acknowledged is in the database, on Kafka and in the audit log, and was delivered or failed
//! as its receiver would have it; nothing else is anywhere, but for what was sent and never answered. No
//! effect is there twice, the events of each aggregate came in order, and the chain holds together.

mod checks;
mod database;
mod outages;
mod report;
mod topics;

use std::collections::HashMap;
use std::time::Instant;

use tidings_testkit::eventually_within;

use self::database::Database;
use self::topics::Record;
use crate::QUIET;
use crate::cluster::{Cluster, Service};
use crate::load::Call;
use crate::receiver::{Receipt, Receiver};
use crate::strikes::Timeline;

pub struct Ledger {
    calls: Vec<Call>,
    /// By message.
    receipts: HashMap<String, Vec<Receipt>>,
    refused: Vec<String>,
    timeline: Timeline,
    database: Database,
    records: Vec<Record>,
    problems: Vec<Problem>,
}

struct Problem {
    what: String,
    /// The message or contact that it happened to.
    about: Option<String>,
}

impl Ledger {
    /// Waits until everything is quiet, ends all services, and looks at what is left.
    pub async fn draw_up(cluster: &mut Cluster, calls: Vec<Call>, receiver: Receiver, mut timeline: Timeline) -> Self {
        let mut problems = Vec::new();
        let pool = cluster.database.clone();
        let begun = Instant::now();
        let quiet = eventually_within(QUIET * 2, "the database tells what is left to do", async || {
            match database::unfinished(&pool).await {
                Ok(unfinished) if unfinished.is_empty() => Ok(None),
                // Told together with everything else that can be found out about it.
                Ok(unfinished) if begun.elapsed() > QUIET => Ok(Some(unfinished)),
                other => Err(other),
            }
        });
        if let Some(unfinished) = quiet.await {
            problems.push(Problem {
                what: format!("not finished: {unfinished:?}"),
                about: None,
            });
        }
        timeline.note("nothing is left to do".to_owned());
        let verified = cluster.run(&["audit", "verify"]).await;
        if !verified.status.success() {
            problems.push(Problem {
                what: format!("the audit log does not verify: {verified:?}"),
                about: None,
            });
        }
        cluster.stop_all().await;
        let mut ledger = Self {
            calls,
            receipts: receiver.receipts(),
            refused: receiver.refused(),
            timeline,
            database: Database::read(&pool).await,
            records: topics::read_all(&cluster.brokers).await,
            problems,
        };
        receiver.stop().await;
        ledger.listen(cluster);
        ledger.check();
        ledger.check_outages();
        ledger
    }

    fn problem(&mut self, about: Option<&str>, what: String) {
        self.problems.push(Problem {
            what,
            about: about.map(str::to_owned),
        });
    }

    /// Each with the message or contact that it happened to.
    fn problems(&mut self, found: Vec<(String, String)>) {
        for (about, what) in found {
            self.problem(Some(&about), what);
        }
    }

    /// What services say must not be said, however well everything ends.
    fn listen(&mut self, cluster: &Cluster) {
        const DEFECTS: [&str; 2] = ["panicked", "a queued message had no delivery"];
        for service in Service::ALL {
            let said = cluster.said(service);
            for defect in DEFECTS {
                let mut lines = said.lines().filter(|line| line.contains(defect));
                if let Some(first) = lines.next() {
                    self.problem(None, format!("{service} said {} times: {first}", 1 + lines.count()));
                }
            }
        }
    }
}
