//! What a run came to, and the history of what went wrong.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt::Write;
use std::time::{Duration, Instant};

use super::{Ledger, database};
use crate::cluster::Cluster;
use crate::load::{Answer, Call};

/// Of how many the whole history is told.
const HISTORIES: usize = 3;

impl Ledger {
    /// How often an acknowledged webhook came once more.
    fn repeats(&self) -> usize {
        let of_one = |receipts: &Vec<crate::receiver::Receipt>| {
            let acknowledged = receipts.iter().filter(|receipt| receipt.status < 300).count();
            acknowledged.saturating_sub(1)
        };
        self.receipts.values().map(of_one).sum()
    }

    /// How many records on Kafka are copies of one before.
    fn duplicates(&self) -> usize {
        let distinct: HashSet<_> = self.records.iter().map(|record| &record.event_id).collect();
        self.records.len() - distinct.len()
    }

    /// The counts, as a table.
    pub fn table(&self) -> String {
        let mut table = String::new();
        let mut line = |what: &str, count: String| writeln!(table, "  {what:<44} {count}").unwrap();
        for (victim, kills) in &self.timeline.kills {
            let recovery = self.timeline.recovery.get(victim);
            let recovery = recovery.map(|took| format!(", ready again after {:.1} s at most", took.as_secs_f64()));
            line(
                &format!("kills of {victim}"),
                format!("{kills}{}", recovery.unwrap_or_default()),
            );
        }
        line("kills", self.timeline.kills.values().sum::<usize>().to_string());
        let messages = || self.calls.iter().filter(|call| call.fate.is_some());
        let acknowledged = messages().filter(|call| call.acknowledged.is_some()).count();
        line("messages sent", messages().count().to_string());
        line("acknowledged", acknowledged.to_string());
        line("never acknowledged", (messages().count() - acknowledged).to_string());
        line("in the database", self.database.messages.len().to_string());
        let renames = self
            .calls
            .iter()
            .filter(|call| call.fate.is_none() && call.acknowledged.is_some());
        line("acknowledged renames of contacts", renames.count().to_string());
        for (answer, count) in self.answers_by_kind() {
            line(&format!("requests answered {answer}"), count.to_string());
        }
        line(
            "slowest answer",
            format!("{:.2} s", self.slowest_answer().as_secs_f64()),
        );
        line("events", self.database.events.len().to_string());
        let on_kafka = self.records.len() - self.duplicates();
        line("on Kafka", format!("{on_kafka} (and {} duplicates)", self.duplicates()));
        line("audited", self.database.audited.len().to_string());
        for (status, count) in self.by_status() {
            line(status, count.to_string());
        }
        line("dead letters", self.database.dead_letters.len().to_string());
        line(
            "webhooks received",
            self.receipts.values().map(Vec::len).sum::<usize>().to_string(),
        );
        line(
            "received again after they were acknowledged",
            self.repeats().to_string(),
        );
        line(
            "longest from acknowledgement to receipt",
            format!("{:.1} s", self.longest_way().as_secs_f64()),
        );
        table
    }

    fn by_status(&self) -> BTreeMap<&str, usize> {
        let mut counts = BTreeMap::new();
        for message in self.database.messages.values() {
            *counts.entry(&message.status[..]).or_default() += 1;
        }
        counts
    }

    fn answers_by_kind(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for attempt in self.calls.iter().flat_map(|call| &call.attempts) {
            let answer = match &attempt.answer {
                Answer::Status { code, .. } => code.to_string(),
                Answer::Away(_) => "by nobody".to_owned(),
                Answer::TimedOut => "never".to_owned(),
            };
            *counts.entry(answer).or_default() += 1;
        }
        counts
    }

    fn slowest_answer(&self) -> Duration {
        let attempts = self.calls.iter().flat_map(|call| &call.attempts);
        attempts
            .map(|attempt| attempt.ended - attempt.began)
            .max()
            .unwrap_or_default()
    }

    fn longest_way(&self) -> Duration {
        let way = |call: &Call| {
            let first = self.receipts.get(call.acknowledged.as_ref()?)?.first()?.at;
            Some(first.saturating_duration_since(call.attempts.last()?.ended))
        };
        self.calls.iter().filter_map(way).max().unwrap_or_default()
    }

    /// Fails the test if the books do not balance, and says all there is to say about it.
    pub async fn must_balance(self, cluster: &Cluster, run: &str) {
        eprintln!("{run}\n{}", self.table());
        if self.problems.is_empty() {
            return;
        }
        let mut report = String::new();
        for problem in self.problems.iter().take(50) {
            writeln!(report, "- {}", problem.what).unwrap();
        }
        let about: BTreeSet<_> = self
            .problems
            .iter()
            .filter_map(|problem| problem.about.as_deref())
            .collect();
        for id in about.into_iter().take(HISTORIES) {
            report.push_str(&self.history(cluster, id).await);
        }
        panic!("{run}: {} problems\n{report}", self.problems.len());
    }

    /// Everything that is known of a message or a contact.
    async fn history(&self, cluster: &Cluster, id: &str) -> String {
        let mut told = format!("\nThe history of {id}:\n");
        for row in database::rows_about(&cluster.database, id).await {
            writeln!(told, "  {row}").unwrap();
        }
        for record in self.records.iter().filter(|record| record.event.key == id) {
            writeln!(told, "  {record}").unwrap();
        }
        let mut moments: Vec<(Instant, String)> = self.timeline.entries.clone();
        let name = self.database.messages.get(id).map(|message| &message.content);
        let is_about = |call: &&Call| Some(&call.name) == name || call.acknowledged.as_deref() == Some(id);
        for call in self.calls.iter().filter(is_about) {
            for attempt in &call.attempts {
                let (name, gateway) = (&call.name, attempt.gateway + 1);
                moments.push((attempt.began, format!("{name} is sent to gateway {gateway}")));
                moments.push((
                    attempt.ended,
                    format!("gateway {gateway} answers {name} with {}", attempt.answer),
                ));
            }
        }
        for receipt in self.receipts.get(id).into_iter().flatten() {
            moments.push((
                receipt.at,
                format!("received as {}, answered {}", receipt.delivery, receipt.status),
            ));
        }
        moments.sort();
        for (at, what) in moments {
            let at = at.saturating_duration_since(self.timeline.began).as_secs_f64();
            writeln!(told, "  {at:>7.2} s  {what}").unwrap();
        }
        told
    }
}
