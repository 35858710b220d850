//! Walking the chain.

use tidings_storage::audit::{self, Record};
use tidings_storage::{Db, Error};

use crate::report::{Broken, Problem, Progress, Report};
use crate::{Head, chain};

/// Records read at a time.
const PAGE: u64 = 1_000;

/// Why a chain is not known to be sound.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// It is not. All other errors say that it could not be checked.
    #[error("the audit log is broken: {0}")]
    Broken(Broken),
    #[error("`{0}` is not a hash: it has to be 64 hexadecimal digits")]
    Anchor(String),
    #[error("the audit log cannot be read")]
    Database(#[from] Error),
    #[error("a record's form cannot be made")]
    Form(#[from] serde_json::Error),
}

/// The column that holds the canonical form.
const RECORD: &str = "record";

/// How far the chain was found to hold.
#[derive(Debug)]
struct Walk {
    last: Head,
    anchor: Option<String>,
    anchored: Option<i64>,
}

impl Walk {
    fn new(anchor: Option<String>) -> Self {
        let last = Head {
            seq: 0,
            hash: chain::GENESIS.to_owned(),
        };
        let anchored = (anchor.as_deref() == Some(chain::GENESIS)).then_some(0);
        Self { last, anchor, anchored }
    }

    /// Goes on to the next record there is, or says what is wrong with it.
    fn step(&mut self, record: &Record) -> Result<(), VerifyError> {
        let expected = self.last.seq + 1;
        let problem = if record.seq != expected {
            Some(Problem::Missing { found: record.seq })
        } else if record.prev_hash != self.last.hash {
            Some(Problem::NotLinked)
        } else {
            changed(record)?
        };
        if let Some(problem) = problem {
            let there = !matches!(problem, Problem::Missing { .. });
            let event_id = there.then(|| record.event_id.clone());
            return Err(self.broken(expected, event_id, problem));
        }
        self.last.seq = record.seq;
        self.last.hash.clone_from(&record.hash);
        if self.anchor.as_ref() == Some(&record.hash) {
            self.anchored = Some(record.seq);
        }
        Ok(())
    }

    fn broken(&self, seq: i64, event_id: Option<String>, problem: Problem) -> VerifyError {
        VerifyError::Broken(Broken {
            seq,
            event_id,
            problem,
            sound: self.last.clone(),
        })
    }

    /// What remains to be said when there are no more records.
    fn end(self, head: &Head) -> Result<Report, VerifyError> {
        let last = self.last.seq;
        if head.seq > last {
            return Err(self.broken(last + 1, None, Problem::Cut { head: head.seq }));
        }
        if *head != self.last {
            return Err(self.broken(last, None, Problem::Head { head: head.seq }));
        }
        if let (Some(anchor), None) = (&self.anchor, self.anchored) {
            let anchor = anchor.clone();
            return Err(self.broken(last, None, Problem::NotAnchored { anchor }));
        }
        Ok(Report {
            head: self.last,
            anchored: self.anchored,
        })
    }
}

/// What in a record, which follows the one before, is not as it was hashed.
fn changed(record: &Record) -> Result<Option<Problem>, serde_json::Error> {
    let said = chain::canonical(record)?;
    let whole = chain::link(&record.prev_hash, &said) == record.hash;
    Ok(if whole && said == record.canonical {
        None
    } else if whole {
        Some(Problem::Changed { field: RECORD })
    } else if chain::link(&record.prev_hash, &record.canonical) == record.hash {
        Some(Problem::Changed {
            field: differing(&said, &record.canonical),
        })
    } else {
        Some(Problem::Hash)
    })
}

/// The first field of which a column and the bytes that were hashed say different things.
fn differing(said: &[u8], hashed: &[u8]) -> &'static str {
    let read = |form: &[u8]| serde_json::from_slice::<serde_json::Value>(form).unwrap_or_default();
    let (said, hashed) = (read(said), read(hashed));
    let field = chain::FIELDS
        .into_iter()
        .find(|field| said.get(field) != hashed.get(field));
    field.unwrap_or(RECORD)
}

/// Checks the whole log, from the first record to the head. Records that are appended meanwhile are
/// checked too.
///
/// `anchor` is a hash that the chain must have had at some time. `progress` is told after each page.
pub async fn verify(db: &Db, anchor: Option<&str>, mut progress: impl FnMut(Progress)) -> Result<Report, VerifyError> {
    let mut walk = Walk::new(anchor.map(parse_anchor).transpose()?);
    // So that a number below 1, which is not ours, is found as such.
    let mut after = i64::MIN;
    loop {
        // Read before the records: those that it speaks of must then be there.
        let head = match crate::head(db).await {
            Err(Error::Corrupt(_)) => return Err(walk.broken(walk.last.seq, None, Problem::NoHead)),
            head => head?,
        };
        let page = match page(db, after).await? {
            Ok(page) => page,
            Err(reason) => return Err(walk.broken(walk.last.seq + 1, None, Problem::Unreadable { reason })),
        };
        for record in &page {
            walk.step(record)?;
        }
        if page.is_empty() {
            return walk.end(&head);
        }
        after = walk.last.seq;
        progress(Progress {
            seq: after,
            of: head.seq.max(after),
        });
    }
}

/// The next records. Where one cannot be read, those before it come first, and then why it cannot.
async fn page(db: &Db, after: i64) -> Result<Result<Vec<Record>, String>, Error> {
    match audit::list(db.read(), after, PAGE).await {
        Ok(page) => return Ok(Ok(page)),
        Err(error) if error.is_unavailable() => return Err(error),
        Err(_) => {}
    }
    match audit::list(db.read(), after, 1).await {
        Ok(page) => Ok(Ok(page)),
        Err(error) if error.is_unavailable() => Err(error),
        Err(error) => {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            Ok(Err(cause.unwrap_or_else(|| error.to_string())))
        }
    }
}

fn parse_anchor(text: &str) -> Result<String, VerifyError> {
    if text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        Ok(text.to_ascii_lowercase())
    } else {
        Err(VerifyError::Anchor(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta, Utc};
    use proptest::prelude::*;
    use proptest::sample::Index;

    use super::*;

    fn chained(texts: Vec<(Option<String>, String, String)>) -> Vec<Record> {
        let start: DateTime<Utc> = "2026-01-02T03:04:05.678901Z".parse().unwrap();
        let mut prev_hash = chain::GENESIS.to_owned();
        let mut records = Vec::new();
        for (seq, (actor, action, resource)) in (1..).zip(texts) {
            let mut record = Record {
                seq,
                event_id: format!("event-{seq}"),
                occurred_at: start + TimeDelta::microseconds(seq),
                recorded_at: start + TimeDelta::milliseconds(seq),
                actor,
                action,
                data_hash: chain::sha256(resource.as_bytes()),
                resource,
                prev_hash: prev_hash.clone(),
                hash: String::new(),
                canonical: Vec::new(),
            };
            record.canonical = chain::canonical(&record).unwrap();
            record.hash = chain::link(&prev_hash, &record.canonical);
            prev_hash.clone_from(&record.hash);
            records.push(record);
        }
        records
    }

    fn head_of(records: &[Record]) -> Head {
        let last = records.last().unwrap();
        Head {
            seq: last.seq,
            hash: last.hash.clone(),
        }
    }

    fn walk(records: &[Record], head: &Head) -> Option<Broken> {
        let mut walk = Walk::new(None);
        let stepped = records.iter().try_for_each(|record| walk.step(record));
        match stepped.and_then(|()| walk.end(head)) {
            Ok(_) => None,
            Err(VerifyError::Broken(broken)) => Some(broken),
            Err(error) => panic!("{error}"),
        }
    }

    /// Changes one byte of the column, to another value that the column can have.
    fn change(record: &mut Record, column: usize, at: Index, by: u8) -> bool {
        let text = match column {
            0 => &mut record.event_id,
            1 => match &mut record.actor {
                Some(actor) => actor,
                None => return false,
            },
            2 => &mut record.action,
            3 => &mut record.resource,
            4 => &mut record.data_hash,
            5 => &mut record.prev_hash,
            6 => &mut record.hash,
            7 => {
                let place = at.index(record.canonical.len());
                record.canonical[place] ^= by;
                return by != 0;
            }
            8 => {
                record.occurred_at += TimeDelta::nanoseconds(i64::from(by));
                return by != 0;
            }
            _ => {
                record.recorded_at -= TimeDelta::microseconds(i64::from(by));
                return by != 0;
            }
        };
        let mut bytes = std::mem::take(text).into_bytes();
        if !bytes.is_empty() {
            let place = at.index(bytes.len());
            bytes[place] ^= by & 0x7f;
        }
        match String::from_utf8(bytes) {
            Ok(changed) => *text = changed,
            Err(_) => return false,
        }
        by & 0x7f != 0 && !text.is_empty()
    }

    fn texts() -> impl Strategy<Value = Vec<(Option<String>, String, String)>> {
        prop::collection::vec((prop::option::of("\\PC{0,12}"), "[a-z.\"\\\\]{1,20}", ".{1,20}"), 1..8)
    }

    proptest! {
        #[test]
        fn what_was_recorded_is_sound(texts in texts()) {
            let records = chained(texts);
            prop_assert_eq!(walk(&records, &head_of(&records)), None);
        }

        #[test]
        fn any_changed_byte_is_found_where_it_is(
            texts in texts(), which: Index, column in 0..10_usize, at: Index, by in 1..=255_u8,
        ) {
            let mut records = chained(texts);
            let head = head_of(&records);
            let place = which.index(records.len());
            prop_assume!(change(&mut records[place], column, at, by));
            let broken = walk(&records, &head).expect("found");
            prop_assert_eq!(broken.seq, records[place].seq);
            let expected = match column {
                5 => Problem::NotLinked,
                6 => Problem::Hash,
                _ => Problem::Changed {
                    field: ["event_id", "actor", "action", "resource", "data_hash", "", "", "record", "occurred_at", "recorded_at"][column],
                },
            };
            prop_assert_eq!(broken.problem, expected);
        }

        #[test]
        fn a_record_that_is_gone_or_moved_is_found(texts in texts(), one: Index, other: Index) {
            let whole = chained(texts);
            let head = head_of(&whole);
            let (one, other) = (one.index(whole.len()), other.index(whole.len()));

            let mut removed = whole.clone();
            removed.remove(one);
            prop_assert_eq!(walk(&removed, &head).expect("found").seq, whole[one].seq);
            // Numbered anew, so that there is no gap.
            for (seq, record) in (1..).zip(&mut removed) {
                record.seq = seq;
            }
            prop_assert_eq!(walk(&removed, &head).expect("found").seq, whole[one].seq);

            let mut swapped = whole.clone();
            swapped.swap(one, other);
            for (seq, record) in (1..).zip(&mut swapped) {
                record.seq = seq;
            }
            let first = whole[one.min(other)].seq;
            prop_assert_eq!(walk(&swapped, &head).map(|broken| broken.seq), (one != other).then_some(first));
        }
    }
}
