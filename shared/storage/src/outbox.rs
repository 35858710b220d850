//! The transactional outbox.
//!
//! **What it guarantees.** [`enqueue`] is the only way to emit an event, and it takes the transaction
//! of the change it tells of: there is no change without its event and no event without its change.
//! Each event is published at least once. Those of one aggregate are published in the order of their
//! versions, because the outbox id is drawn while the aggregate's row is locked.
//!
//! **What it does not.** An event can be published twice: after a crash between publishing and
//! removal, or by a relay that lost its lease while a send was under way. Both copies carry the same
//! `ce_id`. There is no order between aggregates, and neither ids nor times of events follow the order
//! of commits, so nobody may read the outbox with a cursor.
//!
//! **What may be changed safely.** How rows are read and how many; how relays learn of new rows. Not
//! safely: the number of shards, which stands in the rows, and that `enqueue` comes after the
//! aggregate's row is written or locked.

mod relay;
mod wake;

use sea_orm::sea_query::Expr;
use sea_orm::{ActiveValue::Set, ConnectionTrait, EntityTrait, PaginatorTrait, QueryOrder, QuerySelect};
use sha2::{Digest, Sha256};
use tidings_domain::{Clock, EventId};
use tidings_events::{Event, EventRecord, Origin};

pub use self::relay::{RelayOutbox, clear_leases};
pub(crate) use self::wake::Wake;
pub use self::wake::exchange;
use crate::entities::event;
use crate::entities::outbox::{ActiveModel, Column, Entity};
use crate::{Error, Result, Tx, bulk, clock, events};

const SHARDS: u8 = 16;

/// Emits an event as part of the transaction. Call it after the aggregate's row was written or locked.
pub async fn enqueue<E: Event>(tx: &Tx<'_>, event: &E, origin: &Origin, clock: &dyn Clock) -> Result<EventId> {
    let record = record(event, origin, clock)?;
    let id = record.id;
    enqueue_all(tx, vec![record]).await?;
    Ok(id)
}

/// Writes an event down, to be emitted together with others.
pub fn record<E: Event>(event: &E, origin: &Origin, clock: &dyn Clock) -> Result<EventRecord> {
    EventRecord::new(event, origin, clock).map_err(|error| Error::Corrupt(error.to_string()))
}

/// Emits events like [`enqueue`], in two statements for all of them. Those of one aggregate must be in
/// the order of their versions.
pub async fn enqueue_all(tx: &Tx<'_>, records: Vec<EventRecord>) -> Result<()> {
    events::insert(tx, &records).await?;
    insert(tx, records.iter().map(|record| (record.id, shard(&record.key)))).await
}

/// Publishes events again, under the ids they have: for those that no consumer took care of.
pub async fn enqueue_again(tx: &Tx<'_>, ids: &[EventId]) -> Result<()> {
    let records = events::find_all(tx.conn(), ids).await?;
    insert(tx, records.values().map(|record| (record.id, shard(&record.key)))).await
}

/// How many events wait to be published.
pub async fn depth(conn: &impl ConnectionTrait) -> Result<u64> {
    Ok(Entity::find().count(conn).await?)
}

/// For how long the event that is next to be published has waited, in seconds; 0 if none waits. One that is
/// published again has waited since it happened.
pub async fn age(conn: &impl ConnectionTrait) -> Result<f64> {
    let happened = Expr::col((event::Entity, event::Column::OccurredAt));
    let age = Entity::find()
        .inner_join(event::Entity)
        .select_only()
        .expr_as(clock::seconds_since(conn.get_database_backend(), happened), "age")
        .order_by_asc(Column::Id)
        .into_tuple::<f64>()
        .one(conn)
        .await?;
    Ok(age.unwrap_or_default().max(0.0))
}

async fn insert(tx: &Tx<'_>, entries: impl IntoIterator<Item = (EventId, i16)>) -> Result<()> {
    let rows: Vec<_> = entries
        .into_iter()
        .map(|(id, shard)| ActiveModel {
            event_id: Set(id.as_uuid()),
            shard: Set(shard),
            ..Default::default()
        })
        .collect();
    if !rows.is_empty() {
        bulk::insert(tx, rows).await?;
        tx.note_events();
    }
    Ok(())
}

/// All events of an aggregate are in one shard. Stands in the rows, so it cannot change.
fn shard(key: &str) -> i16 {
    i16::from(Sha256::digest(key)[0] % SHARDS)
}
