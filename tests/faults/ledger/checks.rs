//! What must hold.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::Ledger;
use crate::load::{Answer, Fate};

const QUEUED: &str = "tidings.message.queued";
const RENAMED: &str = "tidings.contact.updated";

impl Ledger {
    pub(super) fn check(&mut self) {
        self.answers();
        self.acknowledged_is_stored_once();
        self.stored_is_published();
        self.published_in_order();
        self.published_is_audited();
        self.accepted_is_settled();
        self.settled_is_what_was_received();
        for letter in self.database.dead_letters.clone() {
            self.problem(None, format!("set aside: {letter}"));
        }
        for webhook in self.refused.clone() {
            self.problem(None, format!("not believed: {webhook}"));
        }
    }

    /// Where nothing is killed, no receiver gets again what it has acknowledged. (A relay that hands a shard
    /// over may leave a second copy of a record on Kafka: consumers know it by its `ce_id`, and it is counted.)
    pub fn must_not_repeat(&mut self) {
        let mut wrong = Vec::new();
        for (id, receipts) in &self.receipts {
            if receipts.iter().filter(|receipt| receipt.status < 300).count() > 1 {
                wrong.push((id.clone(), format!("received again: {receipts:?}")));
            }
        }
        self.problems(wrong);
    }

    /// Requests are answered with what was asked for, or with when to come back.
    fn answers(&mut self) {
        let mut wrong = Vec::new();
        for call in &self.calls {
            for attempt in &call.attempts {
                match attempt.answer {
                    Answer::Status {
                        code: 200 | 201 | 409 | 503,
                        retry_after: true,
                    }
                    | Answer::Status { code: 200 | 201, .. }
                    // This process was too slow to send it.
                    | Answer::Status { code: 408, .. }
                    | Answer::Away(_) => {}
                    ref other => wrong.push(format!(
                        "{}: gateway {} answered {other:?}",
                        call.name,
                        attempt.gateway + 1
                    )),
                }
            }
            if call.acknowledged.is_none() && call.attempts.len() < 2 {
                wrong.push(format!("{} was given up at once: {:?}", call.name, call.attempts));
            }
        }
        for what in wrong {
            self.problem(None, what);
        }
    }

    /// One request is one message, however often it was sent.
    fn acknowledged_is_stored_once(&mut self) {
        let mut stored: HashMap<String, Vec<String>> = HashMap::new();
        for (id, message) in &self.database.messages {
            stored.entry(message.content.clone()).or_default().push(id.clone());
        }
        let mut names = HashSet::new();
        for event in self.database.events.values().filter(|event| event.kind == RENAMED) {
            let payload: serde_json::Value = serde_json::from_slice(&event.payload).unwrap();
            names.insert((event.key.clone(), payload["data"]["name"].as_str().unwrap().to_owned()));
        }
        let mut wrong = Vec::new();
        for call in &self.calls {
            let ids = stored.remove(&call.name).unwrap_or_default();
            match (&call.acknowledged, call.fate) {
                (Some(id), Some(_)) if ids != [id.clone()] => {
                    wrong.push((
                        id.clone(),
                        format!("{} was acknowledged as {id}, stored is {ids:?}", call.name),
                    ));
                }
                (Some(id), None) if !names.contains(&(id.clone(), call.name.clone())) => {
                    wrong.push((id.clone(), format!("the contact never had the name {}", call.name)));
                }
                (None, _) if ids.len() > 1 => {
                    wrong.push((ids[0].clone(), format!("{} is stored as {ids:?}", call.name)));
                }
                _ => {}
            }
        }
        for (content, ids) in stored {
            wrong.push((
                ids[0].clone(),
                format!("nobody sent {content}, which is stored as {ids:?}"),
            ));
        }
        self.problems(wrong);
    }

    /// What is stored is on Kafka as it is, and nothing else is.
    fn stored_is_published(&mut self) {
        let published: HashMap<_, _> = self.records.iter().map(|record| (&record.event_id, record)).collect();
        let mut wrong = Vec::new();
        for (id, event) in &self.database.events {
            if !published.contains_key(id) {
                wrong.push((event.key.clone(), format!("{} {id} is not on Kafka", event.kind)));
            }
        }
        for record in &self.records {
            if self.database.events.get(&record.event_id) != Some(&record.event) {
                wrong.push((
                    record.event.key.clone(),
                    format!("on Kafka and not so in the database: {record}"),
                ));
            }
        }
        self.problems(wrong);
    }

    /// The first copies of an aggregate's events come in order and without gaps, on one partition.
    fn published_in_order(&mut self) {
        let mut wrong = Vec::new();
        let mut seen: HashMap<(&str, &str), (i32, i64)> = HashMap::new();
        let mut copies = HashSet::new();
        for record in &self.records {
            if !copies.insert(&record.event_id) {
                continue;
            }
            let event = &record.event;
            let (partition, last) = seen.entry((&event.topic, &event.key)).or_insert((record.partition, 0));
            if (*partition, *last + 1) != (record.partition, event.sequence) {
                let what = format!(
                    "{} {} came after {last} of partition {partition}",
                    event.kind, event.sequence
                );
                wrong.push((event.key.clone(), format!("{what}: {record}")));
            }
            *last = event.sequence;
        }
        self.problems(wrong);
    }

    /// One record for each event, and none for anything else.
    fn published_is_audited(&mut self) {
        let mut wrong = Vec::new();
        for (id, event) in &self.database.events {
            match self.database.audited.get(id) {
                Some(1) => {}
                other => wrong.push((
                    Some(event.key.clone()),
                    format!("{} {id} is audited {other:?} times", event.kind),
                )),
            }
        }
        for id in self.database.audited.keys() {
            if !self.database.events.contains_key(id) {
                wrong.push((None, format!("audited, and not an event: {id}")));
            }
        }
        for (key, what) in wrong {
            self.problem(key.as_deref(), what);
        }
    }

    /// Each message has two events and one delivery, and ends as its receiver decides.
    fn accepted_is_settled(&mut self) {
        let mut events: HashMap<&str, BTreeMap<i64, (&str, &str)>> = HashMap::new();
        for (id, event) in &self.database.events {
            let of_key = events.entry(&event.key).or_default();
            of_key.insert(event.sequence, (&event.kind, id));
        }
        let mut wrong = Vec::new();
        for (id, message) in &self.database.messages {
            let expected = Fate::of(&message.content).map_or("unknown", Fate::status);
            let ended = format!("tidings.message.{expected}");
            let history: Vec<_> = events.get(&id[..]).into_iter().flatten().collect();
            let kinds: Vec<_> = history.iter().map(|(_, (kind, _))| *kind).collect();
            if message.status != expected || kinds != [QUEUED, &ended] {
                let status = &message.status;
                wrong.push((id.clone(), format!("{} ends as {status} by {kinds:?}", message.content)));
            }
            let deliveries = self.database.deliveries.get(id).map(Vec::as_slice).unwrap_or_default();
            let queued = history.first().map_or("", |(_, (_, id))| id);
            match deliveries {
                [one] if one.event == queued && one.status == expected && one.attempts > 0 => {}
                other => wrong.push((id.clone(), format!("{} has the deliveries {other:?}", message.content))),
            }
        }
        self.problems(wrong);
    }

    /// A message came under one key, and was acknowledged if and only if it counts as delivered.
    fn settled_is_what_was_received(&mut self) {
        let mut wrong = Vec::new();
        for (id, message) in &self.database.messages {
            let receipts = self.receipts.get(id).map(Vec::as_slice).unwrap_or_default();
            let delivery = self.database.deliveries.get(id).and_then(|all| all.first());
            let keys: HashSet<_> = receipts.iter().map(|receipt| &receipt.delivery).collect();
            if keys != delivery.map(|delivery| &delivery.id).into_iter().collect() {
                wrong.push((id.clone(), format!("{} came as {keys:?}", message.content)));
            }
            let acknowledged = receipts.iter().any(|receipt| receipt.status < 300);
            if acknowledged != (message.status == "delivered") {
                wrong.push((
                    id.clone(),
                    format!("{} is {}: {receipts:?}", message.content, message.status),
                ));
            }
        }
        for id in self.receipts.keys() {
            if !self.database.messages.contains_key(id) {
                wrong.push((id.clone(), "received, and not in the database".to_owned()));
            }
        }
        self.problems(wrong);
    }
}
