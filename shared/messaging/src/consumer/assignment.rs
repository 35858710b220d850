//! Which partitions this member has, and how far it is in each.

use std::sync::{Mutex, MutexGuard};

use rdkafka::statistics::Statistics;

use super::batch::Origin;

#[derive(Debug, Default)]
pub(super) struct Assignment {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// Counts assignments, so that one can be told from the next of the same partition.
    generation: u64,
    partitions: Vec<Assigned>,
    paused: bool,
}

#[derive(Debug)]
struct Assigned {
    origin: Origin,
    /// The offset that should come next, if it is known.
    expected: Option<i64>,
}

/// A record that has come.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Received {
    pub(super) generation: u64,
    /// The offset that should have come instead.
    pub(super) instead_of: Option<i64>,
}

impl Inner {
    fn find(&mut self, topic: &str, partition: i32) -> Option<&mut Assigned> {
        self.partitions
            .iter_mut()
            .find(|assigned| assigned.origin.partition == partition && assigned.origin.topic == topic)
    }
}

impl Assignment {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Adds a partition. `committed` is where its group has left off, if it has ever been there.
    pub(super) fn assign(&self, topic: &str, partition: i32, committed: Option<i64>) {
        let mut inner = self.lock();
        inner.generation += 1;
        let generation = inner.generation;
        inner
            .partitions
            .retain(|assigned| assigned.origin.partition != partition || assigned.origin.topic != topic);
        inner.partitions.push(Assigned {
            origin: Origin {
                topic: topic.to_owned(),
                partition,
                generation,
            },
            expected: committed,
        });
    }

    pub(super) fn revoke(&self, topic: &str, partition: i32) {
        self.lock()
            .partitions
            .retain(|assigned| assigned.origin.partition != partition || assigned.origin.topic != topic);
    }

    pub(super) fn is_current(&self, origin: &Origin) -> bool {
        self.lock()
            .find(&origin.topic, origin.partition)
            .is_some_and(|assigned| assigned.origin.generation == origin.generation)
    }

    /// Takes note of a record; `None` if its partition is not this member's.
    pub(super) fn receive(&self, topic: &str, partition: i32, offset: i64) -> Option<Received> {
        let mut inner = self.lock();
        let assigned = inner.find(topic, partition)?;
        let instead_of = assigned.expected.filter(|expected| *expected != offset);
        assigned.expected = Some(offset + 1);
        Some(Received {
            generation: assigned.origin.generation,
            instead_of,
        })
    }

    pub(super) fn is_paused(&self) -> bool {
        self.lock().paused
    }

    pub(super) fn set_paused(&self, paused: bool) {
        self.lock().paused = paused;
    }

    /// How many records of the assigned partitions are not settled yet.
    pub(super) fn lag(&self, statistics: &Statistics) -> i64 {
        let of = |assigned: &Assigned| {
            let topic = statistics.topics.get(&assigned.origin.topic)?;
            let partition = topic.partitions.get(&assigned.origin.partition)?;
            // What is not known is negative; a group that is new has neither stored nor committed anything.
            let end = partition.ls_offset.max(partition.hi_offset);
            let known = [partition.stored_offset, partition.committed_offset, partition.lo_offset];
            let settled = known.into_iter().fold(0, i64::max);
            Some((end - settled).max(0))
        };
        self.lock().partitions.iter().filter_map(of).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_assignment_that_is_over_is_told_from_the_next() {
        let assignment = Assignment::default();
        let origin = |offset| Origin {
            topic: "topic".into(),
            partition: 0,
            generation: assignment.receive("topic", 0, offset).unwrap().generation,
        };
        assignment.assign("topic", 0, None);
        let first = origin(3);
        assert!(assignment.is_current(&first));
        assignment.revoke("topic", 0);
        assert!(!assignment.is_current(&first));
        assignment.assign("topic", 0, Some(3));
        assert!(!assignment.is_current(&first));
        assert!(assignment.is_current(&origin(3)));
    }

    #[test]
    fn gaps_are_seen() {
        let assignment = Assignment::default();
        assignment.assign("topic", 0, Some(5));
        assert_eq!(assignment.receive("topic", 1, 0), None);
        assert_eq!(assignment.receive("topic", 0, 8).unwrap().instead_of, Some(5));
        assert_eq!(assignment.receive("topic", 0, 9).unwrap().instead_of, None);
        assignment.assign("topic", 0, None);
        assert_eq!(
            assignment.receive("topic", 0, 40).unwrap().instead_of,
            None,
            "a new group starts anywhere"
        );
    }
}
