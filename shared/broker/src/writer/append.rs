//! Appending batches, each once: what is known of their producers decides.
//!
//! A batch is never called a duplicate without having been found in the log, because clients take that
//! for an acknowledgement. Whatever is remembered here is only a shortcut to what the log says.

use std::collections::hash_map::Entry;
use std::sync::Arc;

use kafka_protocol::error::ResponseError;
use sqlx::sqlite::SqliteConnection;

use super::apply::{Effect, answer};
use super::{Appended, Known, REMEMBERED_BATCHES, Reply, Tail};
use crate::batch::{Batch, ProducerStamp};
use crate::clock::now_ms;
use crate::producers::{Gaps, Producers, REMEMBERED, Verdict};
use crate::store::Partition;

pub(super) async fn append(
    db: &mut SqliteConnection,
    known: &mut Known,
    partition: Arc<Partition>,
    batch: Batch,
    reply: Reply<Result<Appended, ResponseError>>,
) -> sqlx::Result<Effect> {
    let tail = match known.tails.entry(partition.id) {
        Entry::Occupied(known) => known.into_mut(),
        Entry::Vacant(slot) => slot.insert(load_tail(db, &partition).await?),
    };
    let log_start = partition.start();
    let verdict = match batch.producer {
        Some(stamp) => judge(db, tail, &mut known.gaps, &partition, stamp).await?,
        None => Verdict::Append,
    };
    let base_offset = match verdict {
        Verdict::Append => tail.end,
        Verdict::Duplicate(base_offset) => {
            // It may be from a commit that was taken for failed, and not be visible yet.
            let end = tail.end;
            return Ok(Box::new(move || {
                partition.set_end(end.max(partition.end()));
                let _ = reply.send(Ok(Appended { base_offset, log_start }));
            }));
        }
        Verdict::Refuse(error) => return Ok(answer(reply, Err(error))),
        Verdict::Unknown | Verdict::Old => {
            return Ok(answer(reply, Err(ResponseError::OutOfOrderSequenceNumber)));
        }
    };
    let last_offset = base_offset + i64::from(batch.last_offset_delta);
    let records = batch.placed_at(base_offset);
    sqlx::query("INSERT INTO batches VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")
        .bind(partition.id)
        .bind(base_offset)
        .bind(last_offset)
        .bind(batch.max_timestamp)
        .bind(now_ms())
        .bind(records.len() as i64)
        .bind(batch.producer.map(|p| p.id))
        .bind(batch.producer.map(|p| p.epoch))
        .bind(batch.producer.map(|p| p.first_sequence))
        .bind(records)
        .execute(db)
        .await?;
    tail.end = last_offset + 1;
    if let Some(stamp) = batch.producer {
        tail.producers.record(stamp, base_offset);
    }
    Ok(Box::new(move || {
        partition.set_end(last_offset + 1);
        let _ = reply.send(Ok(Appended { base_offset, log_start }));
    }))
}

/// Decides on a batch by what is remembered, what failed, and if need be what is in the log. `Unknown`
/// and `Old` remain only where the batch is out of order.
async fn judge(
    db: &mut SqliteConnection,
    tail: &mut Tail,
    gaps: &mut Gaps,
    partition: &Partition,
    stamp: ProducerStamp,
) -> sqlx::Result<Verdict> {
    let mut verdict = tail.producers.check(stamp);
    if verdict == Verdict::Unknown && stamp.first_sequence != 0 {
        // Either silent for long, or not here yet and its first batch went missing.
        recall(db, tail, partition, stamp.id).await?;
        verdict = tail.producers.check(stamp);
    }
    if verdict == Verdict::Old
        && let Some(base_offset) = find(db, partition, stamp).await?
    {
        verdict = Verdict::Duplicate(base_offset);
    }
    Ok(match gaps.revise(partition.id, stamp, verdict) {
        // Not in the log. If what the log once had may be gone, neither is known what comes next: any
        // sequence is accepted then, as by Apache Kafka. Clients give up for good if that is refused.
        Verdict::Unknown if stamp.first_sequence == 0 || stamp.id < partition.complete_since() => Verdict::Append,
        verdict => verdict,
    })
}

/// Finds the last batches of one producer, however far back they are.
async fn recall(db: &mut SqliteConnection, tail: &mut Tail, partition: &Partition, producer: i64) -> sqlx::Result<()> {
    const LAST: &str = "SELECT base_offset, last_offset, producer_epoch, base_sequence FROM batches \
         WHERE partition_id = ? AND producer_id = ? ORDER BY base_offset DESC LIMIT ?";
    let rows = sqlx::query_as::<_, (i64, i64, i16, i32)>(LAST)
        .bind(partition.id)
        .bind(producer);
    for (base, last, epoch, sequence) in rows.bind(REMEMBERED as i64).fetch_all(db).await?.into_iter().rev() {
        tail.producers.record(
            ProducerStamp::new(producer, epoch, sequence, (last - base) as i32),
            base,
        );
    }
    Ok(())
}

/// The offset of exactly this batch.
async fn find(db: &mut SqliteConnection, partition: &Partition, stamp: ProducerStamp) -> sqlx::Result<Option<i64>> {
    const EXACT: &str = "SELECT base_offset, last_offset FROM batches WHERE partition_id = ? AND producer_id = ? \
         AND producer_epoch = ? AND base_sequence = ? ORDER BY base_offset DESC LIMIT 1";
    let row = sqlx::query_as::<_, (i64, i64)>(EXACT)
        .bind(partition.id)
        .bind(stamp.id)
        .bind(stamp.epoch)
        .bind(stamp.first_sequence);
    let found = row.fetch_optional(db).await?;
    let same = |(base, last): &(i64, i64)| {
        ProducerStamp::new(stamp.id, stamp.epoch, stamp.first_sequence, (last - base) as i32) == stamp
    };
    Ok(found.filter(same).map(|(base, _)| base))
}

/// Learns from the stored batches which producers wrote to a partition lately, and where it ends: after
/// a commit of unknown outcome that may be further than what was published.
async fn load_tail(db: &mut SqliteConnection, partition: &Partition) -> sqlx::Result<Tail> {
    const RECENT: &str = "SELECT base_offset, last_offset, producer_id, producer_epoch, base_sequence FROM batches \
         WHERE partition_id = ? ORDER BY base_offset DESC LIMIT ?";
    let rows = sqlx::query_as::<_, (i64, i64, Option<i64>, Option<i16>, Option<i32>)>(RECENT)
        .bind(partition.id)
        .bind(REMEMBERED_BATCHES);
    let mut producers = Producers::default();
    let rows = rows.fetch_all(db).await?;
    let end = rows.first().map_or(0, |row| row.1 + 1).max(partition.end());
    for row in rows.into_iter().rev() {
        if let (base, last, Some(id), Some(epoch), Some(sequence)) = row {
            producers.record(ProducerStamp::new(id, epoch, sequence, (last - base) as i32), base);
        }
    }
    Ok(Tail { end, producers })
}
