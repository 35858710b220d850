//! What each command does within its transaction, and what is left for after the commit.

use std::sync::Arc;

use sqlx::Executor;
use sqlx::sqlite::SqliteConnection;

use super::append::append;
use super::{Command, Known, Reply};
use crate::clock::now_ms;
use crate::store::{Partition, Topic, TopicRegistry, change_topics};

/// Rows and bytes of batches removed per [`Command::Purge`].
const PURGE_ROWS: i64 = 500;
const PURGE_BYTES: i64 = 16 << 20;

/// What is left to do for a command once its transaction is committed.
pub(super) type Effect = Box<dyn FnOnce() + Send>;

pub(super) async fn apply(
    db: &mut SqliteConnection,
    known: &mut Known,
    topics: &TopicRegistry,
    command: Command,
) -> sqlx::Result<Effect> {
    Ok(match command {
        Command::Append {
            partition,
            batch,
            room,
            reply,
        } => {
            let effect = append(db, known, partition, batch, reply).await?;
            drop(room);
            effect
        }

        Command::CommitOffsets { group, offsets, reply } => {
            for o in offsets {
                sqlx::query("INSERT OR REPLACE INTO offsets VALUES (?, ?, ?, ?, ?, ?)")
                    .bind(&group)
                    .bind(o.topic)
                    .bind(o.partition)
                    .bind(o.offset)
                    .bind(o.leader_epoch)
                    .bind(o.metadata)
                    .execute(&mut *db)
                    .await?;
            }
            let used = sqlx::query("INSERT OR REPLACE INTO groups VALUES (?, ?)")
                .bind(group)
                .bind(now_ms());
            used.execute(db).await?;
            answer(reply, ())
        }

        Command::ExpireOffsets {
            active,
            now,
            unused_since,
            reply,
        } => {
            for group in active {
                let used = sqlx::query("UPDATE groups SET used_at = ? WHERE id = ?")
                    .bind(now)
                    .bind(group);
                used.execute(&mut *db).await?;
            }
            let expired = sqlx::query_scalar("DELETE FROM groups WHERE used_at < ? RETURNING id").bind(unused_since);
            let expired: Vec<String> = expired.fetch_all(&mut *db).await?;
            for group in &expired {
                sqlx::query("DELETE FROM offsets WHERE group_id = ?")
                    .bind(group)
                    .execute(&mut *db)
                    .await?;
            }
            answer(reply, expired)
        }

        Command::CreateTopic {
            name,
            partitions,
            retention,
            reply,
        } => {
            let insert = sqlx::query("INSERT OR IGNORE INTO topics VALUES (?, ?, ?)")
                .bind(&name)
                .bind(retention.ms)
                .bind(retention.bytes);
            if db.execute(insert).await?.rows_affected() == 0 {
                return Ok(answer(reply, false));
            }
            let partitions = add_partitions(db, &name, 0..partitions).await?;
            let topics = topics.clone();
            Box::new(move || {
                change_topics(&topics, |t| {
                    drop(t.insert(name, Arc::new(Topic { retention, partitions })))
                });
                let _ = reply.send(true);
            })
        }

        Command::GrowTopic {
            name,
            partitions,
            reply,
        } => {
            let count = sqlx::query_scalar("SELECT count(*) FROM partitions WHERE topic = ?").bind(&name);
            let added = match count.fetch_one(&mut *db).await? {
                0 => Vec::new(),
                n => add_partitions(db, &name, n..partitions).await?,
            };
            let topics = topics.clone();
            Box::new(move || {
                change_topics(&topics, |t| {
                    if let Some(topic) = t.get_mut(&name) {
                        let partitions = topic.partitions.iter().cloned().chain(added).collect();
                        *topic = Arc::new(Topic {
                            retention: topic.retention,
                            partitions,
                        });
                    }
                });
                let _ = reply.send(());
            })
        }

        Command::DeleteTopic { name, reply } => {
            for statement in [
                "DELETE FROM topics WHERE name = ?",
                "DELETE FROM partitions WHERE topic = ?",
                "DELETE FROM offsets WHERE topic = ?",
            ] {
                sqlx::query(statement).bind(&name).execute(&mut *db).await?;
            }
            let empty = "DELETE FROM groups WHERE id NOT IN (SELECT group_id FROM offsets)";
            sqlx::query(empty).execute(db).await?;
            let topics = topics.clone();
            Box::new(move || {
                change_topics(&topics, |t| drop(t.remove(&name)));
                let _ = reply.send(());
            })
        }

        Command::DeleteOffsets { group, reply } => {
            for statement in [
                "DELETE FROM offsets WHERE group_id = ?",
                "DELETE FROM groups WHERE id = ?",
            ] {
                sqlx::query(statement).bind(&group).execute(&mut *db).await?;
            }
            answer(reply, ())
        }

        Command::NewProducerId { reply } => {
            let next = "UPDATE meta SET value = value + 1 WHERE key = 'next_producer_id' RETURNING value - 1";
            answer(reply, sqlx::query_scalar(next).fetch_one(db).await?)
        }

        Command::Truncate {
            partition,
            start,
            reply,
        } => {
            let update = "UPDATE partitions SET log_start = max(log_start, ?) WHERE id = ?";
            sqlx::query(update)
                .bind(start)
                .bind(partition.id)
                .execute(&mut *db)
                .await?;
            let next_producer = next_producer_id(db).await?;
            Box::new(move || {
                partition.set_start(start.max(partition.start()));
                partition.set_complete_since(next_producer);
                let _ = reply.send(());
            })
        }

        Command::Purge {
            partition,
            start,
            reply,
        } => {
            let delete = "DELETE FROM batches WHERE rowid IN (SELECT id FROM (\
                 SELECT id, size, sum(size) OVER (ORDER BY base_offset ROWS UNBOUNDED PRECEDING) AS total FROM (\
                 SELECT rowid AS id, base_offset, size FROM batches WHERE partition_id = ?1 AND base_offset < ?2 \
                 AND last_offset < ?2 ORDER BY base_offset LIMIT ?3)) WHERE total - size < ?4)";
            let delete = sqlx::query(delete)
                .bind(partition)
                .bind(start)
                .bind(PURGE_ROWS)
                .bind(PURGE_BYTES);
            answer(reply, delete.execute(db).await?.rows_affected())
        }

        Command::Vacuum { reply } => {
            sqlx::query("PRAGMA incremental_vacuum(256)").execute(&mut *db).await?;
            answer(reply, sqlx::query_scalar("PRAGMA freelist_count").fetch_one(db).await?)
        }

        #[cfg(test)]
        Command::Panic(reply) => panic!("as asked by {reply:?}"),
    })
}

/// The effect of just telling the caller. It may have stopped waiting; that is its business.
pub(super) fn answer<T: Send + 'static>(reply: Reply<T>, value: T) -> Effect {
    Box::new(move || drop(reply.send(value)))
}

async fn add_partitions(
    db: &mut SqliteConnection,
    topic: &str,
    indices: std::ops::Range<i32>,
) -> sqlx::Result<Vec<Arc<Partition>>> {
    let mut added = Vec::with_capacity(indices.len());
    let next_producer = next_producer_id(db).await?;
    for index in indices {
        let insert = sqlx::query("INSERT INTO partitions (topic, idx) VALUES (?, ?)")
            .bind(topic)
            .bind(index);
        added.push(Arc::new(Partition::new(
            db.execute(insert).await?.last_insert_rowid(),
            0,
            0,
            next_producer,
        )));
    }
    Ok(added)
}

async fn next_producer_id(db: &mut SqliteConnection) -> sqlx::Result<i64> {
    sqlx::query_scalar("SELECT value FROM meta WHERE key = 'next_producer_id'")
        .fetch_one(db)
        .await
}
