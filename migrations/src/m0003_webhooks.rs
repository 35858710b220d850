//! Webhook endpoints, what is owed to them, and every attempt.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let endpoints = Table::create()
            .table("webhook_endpoints")
            .col(text("id").primary_key())
            .col(text("url"))
            .col(text("secret"))
            .col(text("event_types"))
            .col(text("state"))
            .col(timestamp_with_time_zone("created_at"))
            .col(timestamp_with_time_zone_null("failing_since"))
            .col(timestamp_with_time_zone_null("deleted_at"))
            .col(big_integer("version"))
            .take();
        manager.create_table(endpoints).await?;

        let deliveries = Table::create()
            .table("deliveries")
            .col(uuid("id").primary_key())
            .col(text("endpoint_id"))
            .col(uuid("event_id"))
            // Set for a delivery that decides what becomes of a message.
            .col(uuid_null("message_id"))
            .col(text("status"))
            .col(integer("attempts"))
            .col(timestamp_with_time_zone("due_at"))
            .col(uuid_null("lease_token"))
            .col(timestamp_with_time_zone_null("leased_until"))
            .col(timestamp_with_time_zone("created_at"))
            .col(timestamp_with_time_zone_null("settled_at"))
            .foreign_key(
                ForeignKey::create()
                    .from("deliveries", "endpoint_id")
                    .to("webhook_endpoints", "id"),
            )
            .take();
        manager.create_table(deliveries).await?;
        let once = Index::create()
            .name("deliveries_once")
            .table("deliveries")
            .col("event_id")
            .col("endpoint_id")
            .unique()
            .take();
        manager.create_index(once).await?;
        // By endpoint: what one that is slow or disabled is owed need not be read to find another's.
        let due = Index::create()
            .name("deliveries_due")
            .table("deliveries")
            .col("endpoint_id")
            .col("due_at")
            .and_where(Expr::col("status").eq("pending"))
            .take();
        manager.create_index(due).await?;

        let attempts = Table::create()
            .table("delivery_attempts")
            .col(uuid("delivery_id"))
            .col(integer("number"))
            .col(timestamp_with_time_zone("started_at"))
            .col(big_integer("duration_ms"))
            .col(small_integer_null("status"))
            .col(text_null("body"))
            .col(text_null("error"))
            .primary_key(Index::create().col("delivery_id").col("number"))
            .take();
        manager.create_table(attempts).await
    }
}
