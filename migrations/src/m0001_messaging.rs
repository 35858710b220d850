//! Contacts, messages, and the answers kept for idempotency keys.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let contacts = Table::create()
            .table("contacts")
            .col(uuid("id").primary_key())
            .col(text("name"))
            .col(text("phone"))
            .col(timestamp_with_time_zone("created_at"))
            // A deleted contact stays, because messages refer to it.
            .col(timestamp_with_time_zone_null("deleted_at"))
            .col(big_integer("version"))
            .take();
        manager.create_table(contacts).await?;
        let one_per_phone = Index::create()
            .name("contacts_phone")
            .table("contacts")
            .col("phone")
            .unique()
            .and_where(Expr::col("deleted_at").is_null())
            .take();
        manager.create_index(one_per_phone).await?;

        let messages = Table::create()
            .table("messages")
            .col(uuid("id").primary_key())
            .col(text("sender"))
            .col(uuid("contact_id"))
            .col(text("content"))
            .col(text("status"))
            .col(timestamp_with_time_zone("created_at"))
            .col(timestamp_with_time_zone_null("delivered_at"))
            .col(text_null("failure_reason"))
            .col(big_integer("version"))
            .foreign_key(ForeignKey::create().from("messages", "contact_id").to("contacts", "id"))
            .take();
        manager.create_table(messages).await?;
        // What the sweeper looks through, in this order.
        let queued = Index::create()
            .name("messages_queued")
            .table("messages")
            .col("id")
            .and_where(Expr::col("status").eq("queued"))
            .take();
        manager.create_index(queued).await?;

        let idempotency_keys = Table::create()
            .table("idempotency_keys")
            .col(text("caller"))
            .col(text("operation"))
            .col(text("key"))
            // SHA-256 of the request's body, to tell a repetition from another request.
            .col(text("fingerprint"))
            .col(small_integer("status"))
            .col(blob("body"))
            .col(timestamp_with_time_zone("created_at"))
            .primary_key(Index::create().col("caller").col("operation").col("key"))
            .take();
        manager.create_table(idempotency_keys).await?;
        let by_age = Index::create()
            .name("idempotency_keys_age")
            .table("idempotency_keys")
            .col("created_at")
            .take();
        manager.create_index(by_age).await
    }
}
