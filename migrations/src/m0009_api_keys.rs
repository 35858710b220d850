//! Keys to the API.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let keys = Table::create()
            .table("api_keys")
            .col(uuid("id").primary_key())
            .col(text("name"))
            .col(text("role"))
            .col(text("scopes"))
            // SHA-256. The secret has so much randomness that a slow hash would add nothing.
            .col(blob("secret_hash"))
            .col(timestamp_with_time_zone("created_at"))
            .col(timestamp_with_time_zone_null("expires_at"))
            // A revoked key stays: events and the audit log refer to it.
            .col(timestamp_with_time_zone_null("revoked_at"))
            .col(timestamp_with_time_zone_null("last_used_at"))
            .col(big_integer("version"))
            .take();
        manager.create_table(keys).await
    }
}
