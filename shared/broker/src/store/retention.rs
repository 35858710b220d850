//! Removing what has outlived its retention, and giving the disk back.
//!
//! Reading finds what is to go; the writer removes it in steps of bounded size, between which appends
//! get their turn. Each step stands on its own: a round that is cut short is finished by a later one.

use futures_util::TryStreamExt;
use kafka_protocol::error::ResponseError;

use super::{Partition, Store, failed};
use crate::clock::now_ms;
use crate::config::Config;
use crate::writer::Command;

/// Free pages that the database keeps, of 4 KiB each: the next records would only ask for them again.
const SPARE_PAGES: i64 = 1024;

impl Store {
    /// One round of everything, while `active` are the groups that have members.
    pub async fn maintain(&self, config: &Config, active: Vec<String>) -> Result<(), ResponseError> {
        self.enforce_retention(config).await?;
        self.purge().await?;
        if let Some(retention) = config.offsets_retention {
            let now = now_ms();
            let unused_since = now.saturating_sub(i64::try_from(retention.as_millis()).unwrap_or(i64::MAX));
            let expired = self
                .change(|reply| Command::ExpireOffsets {
                    active,
                    now,
                    unused_since,
                    reply,
                })
                .await?;
            for group in expired {
                tracing::info!(group, "committed offsets expired: nobody has used the group for long");
            }
        }
        self.vacuum().await
    }

    /// Moves the start of partitions past what is too old or too much.
    async fn enforce_retention(&self, config: &Config) -> Result<(), ResponseError> {
        let default_ms = config
            .retention
            .map(|d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX));
        let default_bytes = config.retention_bytes.map(|b| i64::try_from(b).unwrap_or(i64::MAX));
        for (name, topic) in self.topics() {
            let max_age = topic.retention.ms.or(default_ms).filter(|ms| *ms >= 0);
            let max_bytes = topic.retention.bytes.or(default_bytes).filter(|b| *b >= 0);
            for (index, partition) in topic.partitions.iter().enumerate() {
                let mut start = partition.start();
                if let Some(max_age) = max_age {
                    start = start.max(self.young(partition, now_ms().saturating_sub(max_age)).await?);
                }
                if let Some(max_bytes) = max_bytes {
                    start = start.max(self.fitting(partition, max_bytes).await?);
                }
                if start > partition.start() {
                    tracing::info!(topic = name, partition = index, start, "retention drops older records");
                    self.change(|reply| Command::Truncate {
                        partition: partition.clone(),
                        start,
                        reply,
                    })
                    .await?;
                }
            }
        }
        Ok(())
    }

    /// Offset of the first batch that was appended since then.
    async fn young(&self, partition: &Partition, since: i64) -> Result<i64, ResponseError> {
        const YOUNG: &str = "SELECT base_offset FROM batches WHERE partition_id = ?1 AND appended_at >= ?2 \
             AND last_offset >= ?3 ORDER BY base_offset LIMIT 1";
        // Taken first: what is appended meanwhile is young and must not be missed.
        let end = partition.end();
        let first = sqlx::query_scalar(YOUNG)
            .bind(partition.id)
            .bind(since)
            .bind(partition.start());
        Ok(first
            .fetch_optional(&self.readers)
            .await
            .map_err(failed)?
            .unwrap_or(end))
    }

    /// Offset of the first of those last batches that have no more than so many bytes together.
    async fn fitting(&self, partition: &Partition, max_bytes: i64) -> Result<i64, ResponseError> {
        const BACKWARDS: &str = "SELECT base_offset, size FROM batches WHERE partition_id = ?1 AND base_offset < ?2 \
             AND last_offset >= ?3 ORDER BY base_offset DESC";
        let (start, end) = (partition.start(), partition.end());
        let rows = sqlx::query_as::<_, (i64, i64)>(BACKWARDS)
            .bind(partition.id)
            .bind(end)
            .bind(start);
        let mut rows = rows.fetch(&self.readers);
        let (mut first, mut bytes) = (end, 0i64);
        while let Some((base_offset, size)) = rows.try_next().await.map_err(failed)? {
            bytes = bytes.saturating_add(size);
            if bytes > max_bytes {
                return Ok(first);
            }
            first = base_offset;
        }
        Ok(start)
    }

    /// Removes the batches that nobody can read any more: those before the start of their partition,
    /// and those whose topic was deleted.
    async fn purge(&self) -> Result<(), ResponseError> {
        // Steps from partition to partition; a plain DISTINCT would go through every batch.
        const DEAD: &str = "WITH RECURSIVE ids(id) AS (SELECT min(partition_id) FROM batches UNION ALL \
             SELECT (SELECT min(partition_id) FROM batches WHERE partition_id > ids.id) FROM ids WHERE id IS NOT NULL), \
             starts(id, start) AS (SELECT ids.id, coalesce(p.log_start, 9223372036854775807) \
             FROM ids LEFT JOIN partitions p ON p.id = ids.id WHERE ids.id IS NOT NULL) \
             SELECT id, start FROM starts WHERE EXISTS (SELECT 1 FROM batches \
             WHERE partition_id = starts.id AND base_offset < starts.start AND last_offset < starts.start)";
        let dead = sqlx::query_as::<_, (i64, i64)>(DEAD)
            .fetch_all(&self.readers)
            .await
            .map_err(failed)?;
        for (partition, start) in dead {
            while self
                .change(|reply| Command::Purge {
                    partition,
                    start,
                    reply,
                })
                .await?
                > 0
            {}
        }
        Ok(())
    }

    /// Gives free pages back to the file system.
    async fn vacuum(&self) -> Result<(), ResponseError> {
        let free = sqlx::query_scalar("PRAGMA freelist_count")
            .fetch_one(&self.readers)
            .await;
        let mut free: i64 = free.map_err(failed)?;
        while free > SPARE_PAGES {
            let left = self.change(|reply| Command::Vacuum { reply }).await?;
            if left >= free {
                // Appends may have freed as much meanwhile, or it is a database that cannot shrink.
                break;
            }
            free = left;
        }
        Ok(())
    }
}
