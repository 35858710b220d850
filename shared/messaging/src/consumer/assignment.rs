//! Which partitions this member has, and how far it is in each.

use std::sync::{Mutex, MutexGuard};

use rdkafka::statistics::Statistics;
use rdkafka::{Offset, TopicPartitionList};

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
    /// The offset after the last record that has been settled here.
    done: Option<i64>,
    /// What the broker has confirmed of `done`.
    committed: Option<i64>,
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
            done: None,
            committed: None,
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

    /// Notes that a partition's records up to `end` are settled, if they were handed out under the
    /// assignment that holds.
    pub(super) fn done(&self, origin: &Origin, end: i64) {
        if let Some(assigned) = self.lock().find(&origin.topic, origin.partition)
            && assigned.origin.generation == origin.generation
        {
            assigned.done = Some(end);
        }
    }

    /// The offsets to be committed, of those partitions that `of` chooses.
    pub(super) fn uncommitted(&self, of: impl Fn(&Origin) -> bool) -> TopicPartitionList {
        let mut list = TopicPartitionList::new();
        for Assigned {
            origin,
            done,
            committed,
            ..
        } in &self.lock().partitions
        {
            if let Some(end) = *done
                && *done != *committed
                && of(origin)
            {
                // Fails only for offsets that do not exist.
                let _ = list.add_partition_offset(&origin.topic, origin.partition, Offset::Offset(end));
            }
        }
        list
    }

    /// Notes what the broker has confirmed.
    pub(super) fn committed(&self, offsets: &TopicPartitionList) {
        let mut inner = self.lock();
        for element in offsets.elements() {
            if let (Some(assigned), Offset::Offset(end), Ok(())) = (
                inner.find(element.topic(), element.partition()),
                element.offset(),
                element.error(),
            ) && assigned.done.is_some()
            {
                assigned.committed = Some(end);
            }
        }
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
            let end = partition.ls_offset.max(partition.hi_offset);
            // The statistics say where the group stood when the partition was assigned.
            let position = assigned
                .done
                .unwrap_or(partition.committed_offset.max(partition.lo_offset));
            Some((end - position.max(0)).max(0))
        };
        self.lock().partitions.iter().filter_map(of).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(assignment: &Assignment, offset: i64) -> Origin {
        Origin {
            topic: "topic".into(),
            partition: 0,
            generation: assignment.receive("topic", 0, offset).unwrap().generation,
        }
    }

    fn all(assignment: &Assignment) -> Vec<Offset> {
        assignment
            .uncommitted(|_| true)
            .elements()
            .iter()
            .map(|element| element.offset())
            .collect()
    }

    #[test]
    fn a_lost_partition_is_not_committed() {
        let assignment = Assignment::default();
        assignment.assign("topic", 0, None);
        let first = origin(&assignment, 3);
        assignment.done(&first, 4);
        assert_eq!(all(&assignment), [Offset::Offset(4)]);
        assignment.revoke("topic", 0);
        assert!(all(&assignment).is_empty());
        assignment.assign("topic", 0, Some(9));
        assignment.done(&first, 5);
        assert!(all(&assignment).is_empty(), "that was under an assignment that is over");
    }

    #[test]
    fn what_is_confirmed_is_not_committed_again() {
        let assignment = Assignment::default();
        assignment.assign("topic", 0, None);
        let origin = origin(&assignment, 0);
        assignment.done(&origin, 1);
        let under_way = assignment.uncommitted(|_| true);
        assignment.done(&origin, 2);
        assignment.committed(&under_way);
        assert_eq!(all(&assignment), [Offset::Offset(2)]);
        assignment.committed(&assignment.uncommitted(|_| true));
        assert!(all(&assignment).is_empty());
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
