use bytes::{Bytes, BytesMut};
use rdkafka::Message;
use rdkafka::message::{BorrowedMessage, Headers};
use tidings_events::RawRecord;

use super::assignment::Assignment;

/// Records, and under which assignment each partition's came.
///
/// A partition that was taken away and came back is another assignment: its records are fetched
/// again from the committed offset on.
#[derive(Debug, Default)]
pub(super) struct Batch {
    records: Vec<RawRecord>,
    origins: Vec<Origin>,
}

#[derive(Debug, Clone)]
pub(super) struct Origin {
    pub(super) topic: String,
    pub(super) partition: i32,
    pub(super) generation: u64,
}

impl Origin {
    fn is_of(&self, record: &RawRecord) -> bool {
        self.partition == record.partition && self.topic == record.topic
    }
}

impl Batch {
    pub(super) fn records(&self) -> &[RawRecord] {
        &self.records
    }

    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    pub(super) fn push(&mut self, record: RawRecord, generation: u64) {
        match self.origins.iter_mut().find(|origin| origin.is_of(&record)) {
            Some(origin) if origin.generation == generation => {}
            Some(origin) => {
                origin.generation = generation;
                let origin = origin.clone();
                self.records.retain(|earlier| !origin.is_of(earlier));
            }
            None => self.origins.push(Origin {
                topic: record.topic.clone(),
                partition: record.partition,
                generation,
            }),
        }
        self.records.push(record);
    }

    /// Drops the records of partitions that have been taken away since they came.
    pub(super) fn retain_current(&mut self, assignment: &Assignment) {
        let before = self.origins.len();
        let mut lost = Vec::new();
        self.origins.retain(|origin| {
            let current = assignment.is_current(origin);
            if !current {
                lost.push(origin.clone());
            }
            current
        });
        if self.origins.len() < before {
            self.records
                .retain(|record| !lost.iter().any(|origin| origin.is_of(record)));
        }
    }

    /// For each partition the offset after its last record.
    pub(super) fn ends(&self) -> impl Iterator<Item = (&Origin, i64)> {
        self.origins.iter().filter_map(|origin| {
            let last = self.records.iter().rev().find(|record| origin.is_of(record))?;
            Some((origin, last.offset + 1))
        })
    }

    /// The same records, each in a batch of its own.
    pub(super) fn into_singles(self) -> impl Iterator<Item = Self> {
        let Self { records, origins } = self;
        records.into_iter().map(move |record| Self {
            origins: origins.iter().filter(|origin| origin.is_of(&record)).cloned().collect(),
            records: vec![record],
        })
    }
}

/// Copies a record out of the client's memory. All its bytes share one allocation.
pub(crate) fn raw(message: &BorrowedMessage<'_>) -> RawRecord {
    let headers = message.headers();
    let all = || headers.into_iter().flat_map(Headers::iter);
    let parts = || [message.key(), message.payload()].into_iter().flatten();
    let values = || parts().chain(all().filter_map(|header| header.value));
    let mut buffer = BytesMut::with_capacity(values().map(<[u8]>::len).sum());
    values().for_each(|value| buffer.extend_from_slice(value));
    let mut rest = buffer.freeze();
    let mut next = |value: &[u8]| rest.split_to(value.len());
    RawRecord {
        topic: message.topic().to_owned(),
        partition: message.partition(),
        offset: message.offset(),
        key: message.key().map(&mut next),
        value: message.payload().map(&mut next),
        headers: all()
            .map(|header| (header.key.to_owned(), header.value.map_or_else(Bytes::new, &mut next)))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(partition: i32, offset: i64) -> RawRecord {
        RawRecord {
            topic: "topic".into(),
            partition,
            offset,
            key: None,
            value: None,
            headers: vec![],
        }
    }

    fn offsets(batch: &Batch) -> Vec<(i32, i64)> {
        batch
            .records()
            .iter()
            .map(|record| (record.partition, record.offset))
            .collect()
    }

    #[test]
    fn a_partition_that_came_back_begins_again() {
        let mut batch = Batch::default();
        batch.push(record(0, 5), 1);
        batch.push(record(1, 7), 1);
        batch.push(record(0, 6), 1);
        batch.push(record(0, 5), 2);
        assert_eq!(offsets(&batch), [(1, 7), (0, 5)]);
        let ends: Vec<_> = batch
            .ends()
            .map(|(origin, end)| (origin.partition, origin.generation, end))
            .collect();
        assert_eq!(ends, [(0, 2, 6), (1, 1, 8)]);
    }

    #[test]
    fn what_was_taken_away_is_dropped() {
        let assignment = Assignment::default();
        assignment.assign("topic", 0, None);
        assignment.assign("topic", 1, None);
        let generation = |partition, offset| assignment.receive("topic", partition, offset).unwrap().generation;
        let mut batch = Batch::default();
        batch.push(record(0, 5), generation(0, 5));
        batch.push(record(1, 7), generation(1, 7));
        assignment.revoke("topic", 0);
        assignment.assign("topic", 0, None);
        batch.retain_current(&assignment);
        assert_eq!(offsets(&batch), [(1, 7)]);
    }
}
