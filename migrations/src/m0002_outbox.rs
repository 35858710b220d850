//! Events, the outbox that points at those not yet published, and the leases of its shards.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::*;

/// Into how many parts the outbox is cut. Rows carry their shard, so this cannot change by itself.
const SHARDS: i16 = 16;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let events = Table::create()
            .table("events")
            .col(uuid("id").primary_key())
            .col(text("event_type"))
            .col(text("topic"))
            .col(text("key"))
            .col(big_integer("sequence"))
            .col(text("data_schema"))
            .col(timestamp_with_time_zone("occurred_at"))
            .col(text("service"))
            .col(text("correlation_id"))
            .col(text("traceparent"))
            .col(text_null("actor"))
            .col(blob("payload"))
            .take();
        manager.create_table(events).await?;
        // Two events that claim the same place in an aggregate's history cannot both be.
        let history = Index::create()
            .name("events_history")
            .table("events")
            .col("topic")
            .col("key")
            .col("sequence")
            .unique()
            .take();
        manager.create_index(history).await?;

        let outbox = Table::create()
            .table("outbox")
            .col(big_integer("id").primary_key().auto_increment())
            .col(uuid("event_id"))
            .col(small_integer("shard"))
            .take();
        manager.create_table(outbox).await?;

        let relays = Table::create()
            .table("relays")
            .col(uuid("id").primary_key())
            .col(timestamp_with_time_zone("alive_until"))
            .take();
        manager.create_table(relays).await?;
        let leases = Table::create()
            .table("relay_leases")
            .col(small_integer("shard").primary_key())
            .col(uuid_null("holder"))
            .col(big_integer("epoch"))
            .col(timestamp_with_time_zone_null("held_until"))
            .take();
        manager.create_table(leases).await?;
        let mut shards = Query::insert()
            .into_table("relay_leases")
            .columns(["shard", "epoch"])
            .take();
        for shard in 0..SHARDS {
            shards.values_panic([shard.into(), 0_i64.into()]);
        }
        manager.execute(shards).await
    }
}
