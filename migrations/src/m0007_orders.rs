//! Kits that are ordered for users, what users are told, and the phone by which some can be told it.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let phone = Table::alter().table("users").add_column(text_null("phone")).take();
        manager.alter_table(phone).await?;

        let orders = Table::create()
            .table("orders")
            .col(uuid("id").primary_key())
            .col(big_integer("user_id"))
            .col(text("sequencing_type"))
            .col(text("channel"))
            .col(text("delivery_name"))
            .col(text("first_line"))
            .col(text("second_line"))
            .col(text("town"))
            .col(text("postcode"))
            .col(text("country"))
            .col(timestamp_with_time_zone("created_at"))
            .col(big_integer("version"))
            .foreign_key(ForeignKey::create().from("orders", "user_id").to("users", "id"))
            .take();
        manager.create_table(orders).await?;
        let of_user = Index::create()
            .name("orders_user")
            .table("orders")
            .col("user_id")
            .col("id")
            .take();
        manager.create_index(of_user).await?;

        let notifications = Table::create()
            .table("notifications")
            .col(uuid("id").primary_key())
            // No foreign keys: what a record on a topic says must not be refused by the database.
            .col(big_integer("user_id"))
            .col(uuid_null("order_id"))
            // What called for it: an event and a rule, or its own event if it was asked for directly.
            .col(uuid("event_id"))
            .col(text("rule"))
            .col(text("wanted"))
            .col(text("channel"))
            .col(text_null("recipient"))
            .col(text_null("fallback"))
            .col(text("subject"))
            .col(text("message"))
            .col(text("status"))
            .col(integer("attempts"))
            .col(text_null("answer"))
            .col(timestamp_with_time_zone("created_at"))
            .col(timestamp_with_time_zone_null("sent_at"))
            .col(timestamp_with_time_zone("due_at"))
            .col(timestamp_with_time_zone_null("leased_until"))
            .col(uuid_null("lease_token"))
            .col(big_integer("version"))
            .foreign_key(ForeignKey::create().from("notifications", "user_id").to("users", "id"))
            .foreign_key(
                ForeignKey::create()
                    .from("notifications", "order_id")
                    .to("orders", "id"),
            )
            .take();
        manager.create_table(notifications).await?;
        let once = Index::create()
            .name("notifications_once")
            .table("notifications")
            .col("event_id")
            .col("rule")
            .col("wanted")
            .unique()
            .take();
        manager.create_index(once).await?;
        let due = Index::create()
            .name("notifications_due")
            .table("notifications")
            .col("channel")
            .col("due_at")
            .and_where(Expr::col("status").eq("requested"))
            .take();
        manager.create_index(due).await?;
        let of_user = Index::create()
            .name("notifications_user")
            .table("notifications")
            .col("user_id")
            .col("id")
            .take();
        manager.create_index(of_user).await?;
        let of_order = Index::create()
            .name("notifications_order")
            .table("notifications")
            .col("order_id")
            .and_where(Expr::col("order_id").is_not_null())
            .take();
        manager.create_index(of_order).await
    }
}
