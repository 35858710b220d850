//! What walking the chain has found.

use std::fmt;

use crate::Head;

/// A chain that holds from its beginning to its head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    pub head: Head,
    /// After which record the chain had the hash that was asked for. `None` if none was.
    pub anchored: Option<i64>,
}

/// How far a walk has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// The last record that was checked.
    pub seq: i64,
    /// The last one to check, as far as is known.
    pub of: i64,
}

/// Where a chain is broken, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// The number of the record that is not what it should be, or is not there.
    pub seq: i64,
    /// Its event, if the record is there and says so.
    pub event_id: Option<String>,
    pub problem: Problem,
    /// The last record up to which the chain holds; seq 0 if it holds nowhere.
    pub sound: Head,
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// The next record that is there has another number.
    Missing { found: i64 },
    /// A column says something else than what was hashed.
    Changed { field: &'static str },
    /// It does not follow the record before.
    NotLinked,
    /// Its hash is neither that of its columns nor of the bytes that were kept.
    Hash,
    /// The database does not give it out.
    Unreadable { reason: String },
    /// The log ends before the head does: its end was cut off.
    Cut { head: i64 },
    /// The head stands before this record, which is the last, or has another hash.
    Head { head: i64 },
    /// The row that says where the log ends is gone.
    NoHead,
    /// The chain is whole but never had the hash that was asked for.
    NotAnchored { anchor: String },
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Head { seq, hash } = &self.head;
        writeln!(f, "the audit log is sound: {seq} records, the last with hash {hash}")?;
        match self.anchored {
            Some(at) => write!(
                f,
                "it had the given hash after record {at}: nothing up to there was changed or removed since"
            ),
            None => f.write_str(
                "not checked: whether its end was cut off together with the head, or all of it computed anew. \
                 That only shows against a hash that was kept elsewhere: --head HASH",
            ),
        }
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.problem == Problem::NoHead {
            return f.write_str("the row that says where the log ends is missing");
        }
        write!(f, "record {}", self.seq)?;
        if let Some(event) = &self.event_id {
            write!(f, " (event {event})")?;
        }
        match &self.problem {
            Problem::Missing { found } => write!(f, " is missing; the next one there is {found}"),
            Problem::Changed { field } => write!(f, " was changed: `{field}` is not what was hashed"),
            Problem::NotLinked => f.write_str(" does not follow the one before: `prev_hash` is not that one's hash"),
            Problem::Hash => f.write_str(" was changed: `hash` is not the hash of what it says"),
            Problem::Unreadable { reason } => write!(f, " cannot be read: {reason}"),
            Problem::Cut { head } => write!(f, " is missing, and all after it up to {head}, where the head stands"),
            Problem::Head { head } => write!(f, " is the last, and the head, which stands at {head}, is not its hash"),
            Problem::NoHead => Ok(()),
            Problem::NotAnchored { anchor } => {
                write!(
                    f,
                    " is the last, and no record has the hash {anchor}: the log was cut off or made anew"
                )
            }
        }?;
        let Head { seq, hash } = &self.sound;
        write!(f, "; the log holds up to record {seq}, hash {hash}")
    }
}
