//! The outbox as a relay sees it: shards under lease, entries to publish, entries to remove.

use std::time::Duration;

use sea_orm::sea_query::{Condition, Expr, ExprTrait, LockBehavior, LockType, OnConflict, Query};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DbBackend, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect,
    QueryTrait,
};
use tidings_events::{EventRecord, Granted, Outbox, OutboxEntry, ShardLease};
use uuid::Uuid;

use super::SHARDS;
use crate::entities::{event, outbox, relay, relay_lease};
use crate::{Db, Error, Result, Tx, bulk, clock};

/// How long a lease lasts unless it is prolonged. A relay that was killed is replaced after this time.
const LEASE: Duration = Duration::from_secs(10);
/// The same on SQLite, where nobody else waits for it: a process that starts knows to be the only one
/// and ends all leases ([`clear_leases`]). Prolonging one costs a flush to the disk.
const LEASE_OF_THE_ONLY_ONE: Duration = Duration::from_secs(60);

/// One relay's view of the outbox. A process has at most one.
#[derive(Debug)]
pub struct RelayOutbox {
    db: Db,
    /// New with each start, so that no relay takes another's leases for its own.
    relay: Uuid,
}

impl RelayOutbox {
    pub fn new(db: Db) -> Self {
        Self {
            db,
            relay: Uuid::new_v4(),
        }
    }
}

impl Outbox for RelayOutbox {
    type Error = Error;

    fn term(&self) -> Duration {
        term(self.db.read().get_database_backend())
    }

    async fn lease(&self) -> Result<Granted> {
        let relay = self.relay;
        self.db.write(move |tx| Box::pin(lease(tx, relay))).await
    }

    async fn give_back(&self, surplus: &[ShardLease]) -> Result<()> {
        let (relay, shards) = (self.relay, surplus.iter().map(|lease| lease.shard).collect());
        self.db.write(move |tx| Box::pin(give_back(tx, relay, shards))).await
    }

    async fn pending(&self, leases: &[ShardLease], limit: u64) -> Result<Vec<OutboxEntry>> {
        let rows = outbox::Entity::find()
            .filter(outbox::Column::Shard.is_in(leases.iter().map(|lease| lease.shard)))
            .find_also_related(event::Entity)
            .order_by_asc(outbox::Column::Id)
            .limit(limit)
            .all(self.db.read())
            .await?;
        let entries = rows.into_iter().map(|(row, event)| {
            let event = event.ok_or_else(|| Error::Corrupt(format!("outbox row {} has no event", row.id)))?;
            Ok(OutboxEntry {
                id: row.id,
                shard: row.shard,
                record: EventRecord::try_from(event)?,
            })
        });
        entries.collect()
    }

    async fn remove(&self, leases: &[ShardLease], published: &[OutboxEntry]) -> Result<u64> {
        let relay = self.relay;
        let leases = leases.to_vec();
        let ids: Vec<_> = published.iter().map(|entry| entry.id).collect();
        self.db.write(move |tx| Box::pin(remove(tx, relay, leases, ids))).await
    }

    async fn release(&self) -> Result<()> {
        let relay = self.relay;
        self.db
            .write(move |tx| {
                Box::pin(async move {
                    relay::Entity::delete_by_id(relay).exec(tx.conn()).await?;
                    give_back(tx, relay, (0..i16::from(SHARDS)).collect()).await
                })
            })
            .await
    }

    async fn written(&self) {
        self.db.outbox().notified().await;
    }
}

fn term(backend: DbBackend) -> Duration {
    match backend {
        DbBackend::Postgres => LEASE,
        _ => LEASE_OF_THE_ONLY_ONE,
    }
}

/// Ends all leases. Only for a process that knows to be the only one, at its start: whoever held them is gone.
pub async fn clear_leases(tx: &Tx<'_>) -> Result<()> {
    relay::Entity::delete_many().exec(tx.conn()).await?;
    relay_lease::Entity::update_many()
        .col_expr(relay_lease::Column::Holder, Expr::value(Option::<Uuid>::None))
        .exec(tx.conn())
        .await?;
    Ok(())
}

async fn lease(tx: &Tx<'_>, relay: Uuid) -> Result<Granted> {
    let now = || clock::now(tx.backend());
    let until = || clock::after(tx.backend(), term(tx.backend()));

    let alive = Query::insert()
        .into_table(relay::Entity)
        .columns([relay::Column::Id, relay::Column::AliveUntil])
        .values_panic([relay.into(), until()])
        .on_conflict(
            OnConflict::column(relay::Column::Id)
                .update_column(relay::Column::AliveUntil)
                .to_owned(),
        )
        .take();
    tx.conn().execute(&alive).await?;
    // Passing over those that are just coming back: two relays that wait for each other's row would be a deadlock.
    let dead = relay::Entity::find()
        .select_only()
        .column(relay::Column::Id)
        .filter(Expr::col(relay::Column::AliveUntil).lt(now()))
        .lock_with_behavior(LockType::Update, LockBehavior::SkipLocked)
        .into_query();
    relay::Entity::delete_many()
        .filter(relay::Column::Id.in_subquery(dead))
        .exec(tx.conn())
        .await?;
    let relays = usize::try_from(relay::Entity::find().count(tx.conn()).await?).unwrap_or(usize::MAX);
    let fair = usize::from(SHARDS).div_ceil(Ord::max(relays, 1));

    // A lease that ran out is still ours as long as nobody took it: the epoch tells.
    let held = relay_lease::Entity::update_many()
        .col_expr(relay_lease::Column::HeldUntil, until())
        .filter(relay_lease::Column::Holder.eq(relay))
        .exec_with_returning(tx.conn())
        .await?;
    let mut held: Vec<_> = held
        .into_iter()
        .map(|row| ShardLease {
            shard: row.shard,
            epoch: row.epoch,
        })
        .collect();
    held.sort_by_key(|lease| lease.shard);
    let surplus = held.split_off(fair.min(held.len()));
    if held.len() < fair {
        let free = relay_lease::Entity::find()
            .select_only()
            .column(relay_lease::Column::Shard)
            .filter(
                Condition::any()
                    .add(relay_lease::Column::Holder.is_null())
                    .add(Expr::col(relay_lease::Column::HeldUntil).lt(now())),
            )
            .order_by_asc(relay_lease::Column::Shard)
            .limit((fair - held.len()) as u64)
            .lock_with_behavior(LockType::Update, LockBehavior::SkipLocked)
            .into_query();
        let taken = relay_lease::Entity::update_many()
            .col_expr(relay_lease::Column::Holder, Expr::value(relay))
            .col_expr(relay_lease::Column::Epoch, Expr::col(relay_lease::Column::Epoch).add(1))
            .col_expr(relay_lease::Column::HeldUntil, until())
            .filter(relay_lease::Column::Shard.in_subquery(free))
            .exec_with_returning(tx.conn())
            .await?;
        held.extend(taken.into_iter().map(|row| ShardLease {
            shard: row.shard,
            epoch: row.epoch,
        }));
    }
    Ok(Granted { leases: held, surplus })
}

async fn give_back(tx: &Tx<'_>, relay: Uuid, shards: Vec<i16>) -> Result<()> {
    relay_lease::Entity::update_many()
        .col_expr(relay_lease::Column::Holder, Expr::value(Option::<Uuid>::None))
        .filter(relay_lease::Column::Holder.eq(relay))
        .filter(relay_lease::Column::Shard.is_in(shards))
        .exec(tx.conn())
        .await?;
    Ok(())
}

async fn remove(tx: &Tx<'_>, relay: Uuid, leases: Vec<ShardLease>, ids: Vec<i64>) -> Result<u64> {
    let same = |lease: ShardLease| {
        relay_lease::Column::Shard
            .eq(lease.shard)
            .and(relay_lease::Column::Epoch.eq(lease.epoch))
    };
    let still_held = relay_lease::Entity::find()
        .select_only()
        .column(relay_lease::Column::Shard)
        .filter(relay_lease::Column::Holder.eq(relay))
        .filter(
            leases
                .into_iter()
                .fold(Condition::any(), |any, lease| any.add(same(lease))),
        )
        .into_query();
    let removed = outbox::Entity::delete_many()
        .filter(bulk::is_any(tx.backend(), outbox::Column::Id, ids))
        .filter(outbox::Column::Shard.in_subquery(still_held))
        .exec(tx.conn())
        .await?;
    Ok(removed.rows_affected)
}
