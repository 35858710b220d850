//! Walking the chain.

use tidings_storage::audit::{self, Record};
use tidings_storage::{Db, Error};

use crate::report::{Broken, Problem, Report};
use crate::{Head, chain};

/// Records read at a time.
const PAGE: u64 = 1_000;

/// Why the chain could not be checked. Not to be taken for a chain that is broken.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
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
    fn step(&mut self, record: &Record) -> Result<Option<Broken>, serde_json::Error> {
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
            return Ok(Some(Broken {
                seq: expected,
                event_id: there.then(|| record.event_id.clone()),
                problem,
            }));
        }
        self.last.seq = record.seq;
        self.last.hash.clone_from(&record.hash);
        if self.anchor.as_ref() == Some(&record.hash) {
            self.anchored = Some(record.seq);
        }
        Ok(None)
    }

    fn broken(&self, problem: Problem) -> Broken {
        let seq = match &problem {
            Problem::Unreadable { .. } | Problem::Cut { .. } => self.last.seq + 1,
            _ => self.last.seq,
        };
        Broken {
            seq,
            event_id: None,
            problem,
        }
    }

    /// What remains to be said when there are no more records.
    fn end(&self, head: &Head) -> Option<Broken> {
        if head.seq > self.last.seq {
            Some(self.broken(Problem::Cut { head: head.seq }))
        } else if *head != self.last {
            Some(self.broken(Problem::Head { head: head.seq }))
        } else if let (Some(anchor), None) = (&self.anchor, self.anchored) {
            Some(self.broken(Problem::NotAnchored { anchor: anchor.clone() }))
        } else {
            None
        }
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

/// Checks the whole log, from the first record to the head.
///
/// `anchor` is a hash that the chain must have had at some time. `progress` is told the number of each
/// page's last record and that of the head. Records that are appended meanwhile are checked too.
pub async fn verify(db: &Db, anchor: Option<&str>, mut progress: impl FnMut(i64, i64)) -> Result<Report, VerifyError> {
    let anchor = anchor.map(parse_anchor).transpose()?;
    let mut walk = Walk::new(anchor);
    let broken = walk_through(db, &mut walk, &mut progress).await?;
    Ok(Report {
        sound: walk.last,
        anchored: walk.anchored,
        broken,
    })
}

async fn walk_through(
    db: &Db,
    walk: &mut Walk,
    progress: &mut impl FnMut(i64, i64),
) -> Result<Option<Broken>, VerifyError> {
    // So that a number below 1, which is not ours, is found as such.
    let mut after = i64::MIN;
    loop {
        // Read before the records: those that it speaks of must then be there.
        let head = match crate::head(db).await {
            Err(Error::Corrupt(_)) => return Ok(Some(walk.broken(Problem::NoHead))),
            head => head?,
        };
        let page = match page(db, after).await? {
            Ok(page) => page,
            Err(reason) => return Ok(Some(walk.broken(Problem::Unreadable { reason }))),
        };
        for record in &page {
            if let Some(broken) = walk.step(record)? {
                return Ok(Some(broken));
            }
        }
        if page.is_empty() {
            return Ok(walk.end(&head));
        }
        after = walk.last.seq;
        progress(after, head.seq.max(after));
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
        records
            .iter()
            .find_map(|record| walk.step(record).unwrap())
            .or_else(|| walk.end(head))
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
