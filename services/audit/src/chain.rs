//! What a record of the audit log is, and how one is chained to the one before.
//!
//! # The form
//!
//! A record says `seq`, `event_id`, `occurred_at`, `recorded_at`, `actor`, `action`, `resource` and
//! `data_hash`. Its canonical form is one line of JSON with these fields in this order and no white
//! space: `seq` a number, `actor` a string or `null`, all others strings; times in UTC with six digits
//! after the point and a `Z`; in strings only `"`, `\` and the control characters are escaped, those of
//! them that have a short form by it and the others as `\u00xx` in lower case.
//!
//! `hash` is the SHA-256 of the `prev_hash` as it is written, 64 lower-case hexadecimal digits, followed
//! by the canonical form. `prev_hash` is the `hash` of the record before, and 64 zeros in the first. The
//! log keeps the canonical bytes beside the columns, so that a record can be checked without making its
//! form anew, by other programs too.
//!
//! # What is guaranteed
//!
//! - Each event is recorded once, however often it is delivered: `event_id` is unique.
//! - The chain does not fork: whoever appends locks the head first, and `prev_hash` is unique.
//! - After a record was changed, removed, inserted or moved, [`verify`](crate::verify()) fails at that
//!   place, unless everything from there to the head was computed anew.
//!
//! # What is not
//!
//! - Whoever can write to the database without its triggers can compute a new chain, or cut its end off
//!   together with the head. That only shows against a hash that was noted elsewhere.
//! - The log holds hashes of payloads, not payloads. It proves what an event said, to someone who has it.
//! - Records are in the order in which they were read. For one resource that is the order of its
//!   events; among several there is none.
//! - An id that is in the log is not recorded again, whatever else comes under it.
//!
//! # What may be changed safely
//!
//! How records are read and how many at a time. Not the form: what was hashed stays hashed. A further
//! field needs a new form that old records are told from, for instance by the field itself.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use sha2::{Digest, Sha256};
use tidings_storage::audit::Record;

/// What the first record has for a `prev_hash`.
pub const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// The fields of the canonical form, in their order.
pub(crate) const FIELDS: [&str; 8] = [
    "seq",
    "event_id",
    "occurred_at",
    "recorded_at",
    "actor",
    "action",
    "resource",
    "data_hash",
];

#[derive(Serialize)]
struct Canonical<'a> {
    seq: i64,
    event_id: &'a str,
    occurred_at: String,
    recorded_at: String,
    actor: Option<&'a str>,
    action: &'a str,
    resource: &'a str,
    data_hash: &'a str,
}

/// The canonical form of what a record's columns say.
pub fn canonical(record: &Record) -> Result<Vec<u8>, serde_json::Error> {
    serde_json::to_vec(&Canonical {
        seq: record.seq,
        event_id: &record.event_id,
        occurred_at: time(record.occurred_at),
        recorded_at: time(record.recorded_at),
        actor: record.actor.as_deref(),
        action: &record.action,
        resource: &record.resource,
        data_hash: &record.data_hash,
    })
}

/// A record's hash.
pub fn link(prev_hash: &str, canonical: &[u8]) -> String {
    hex::encode(Sha256::new().chain_update(prev_hash).chain_update(canonical).finalize())
}

/// SHA-256 in lower-case hexadecimal digits.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// Microseconds are what both databases keep. Anything finer is shown as it is, and so found to be wrong.
fn time(time: DateTime<Utc>) -> String {
    let whole = time.timestamp_subsec_nanos().is_multiple_of(1000);
    let digits = if whole {
        SecondsFormat::Micros
    } else {
        SecondsFormat::Nanos
    };
    time.to_rfc3339_opts(digits, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computed by other means than this code.
    #[test]
    fn the_form_is_what_it_was() {
        let record = Record {
            seq: 1,
            event_id: "019b7c3e-0000-7000-8000-000000000001".into(),
            occurred_at: "2026-01-02T03:04:05.678Z".parse().unwrap(),
            recorded_at: "2026-01-02T03:04:05.680001Z".parse().unwrap(),
            actor: Some("Odile \"\\\n\u{1}é👋\u{7f}".into()),
            action: "tidings.contact.created".into(),
            resource: "contacts-events/019b7c3e-0000-7000-8000-00000000000c".into(),
            data_hash: sha256(b"{}"),
            prev_hash: GENESIS.into(),
            hash: String::new(),
            canonical: Vec::new(),
        };
        let form = canonical(&record).unwrap();
        let expected = concat!(
            r#"{"seq":1,"event_id":"019b7c3e-0000-7000-8000-000000000001","#,
            r#""occurred_at":"2026-01-02T03:04:05.678000Z","recorded_at":"2026-01-02T03:04:05.680001Z","#,
            r#""actor":"Odile \"\\\n\u0001é👋"#,
            "\u{7f}",
            r#"","action":"tidings.contact.created","#,
            r#""resource":"contacts-events/019b7c3e-0000-7000-8000-00000000000c","#,
            r#""data_hash":"44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"}"#,
        );
        assert_eq!(str::from_utf8(&form).unwrap(), expected);
        assert_eq!(
            link(GENESIS, &form),
            "b589d0740e1b77abbaa7cefff3b79219b6b04f122e5f46ac0f51d37b10eeb9d1"
        );
        let next = Record {
            seq: 2,
            actor: None,
            ..record
        };
        assert_eq!(
            link(&link(GENESIS, &form), &canonical(&next).unwrap()),
            "49ab4b5f0f59300e941e2ef843bc027e00d9f0895c719ca349f0941257c5c8b3"
        );
    }
}
