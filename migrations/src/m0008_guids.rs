//! Registered GUIDs.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let guids = Table::create()
            .table("guids")
            .col(uuid("id").primary_key())
            // `user` means something else to PostgreSQL.
            .col(text("user_name"))
            // Unix time in seconds, which is what clients give and get.
            .col(big_integer("expires_at"))
            .col(timestamp_with_time_zone("created_at"))
            // One that was deleted or has expired stays as its version, from which the next life goes on.
            .col(timestamp_with_time_zone_null("deleted_at"))
            .col(big_integer("version"))
            .take();
        manager.create_table(guids).await?;
        let due = Index::create()
            .name("guids_due")
            .table("guids")
            .col("expires_at")
            .and_where(Expr::col("deleted_at").is_null())
            .take();
        manager.create_index(due).await
    }
}
