//! Records that a consumer could not handle, kept whole until someone looks at them.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let dead_letters = Table::create()
            .table("dead_letters")
            .col(uuid("id").primary_key())
            .col(text("consumer"))
            .col(text("reason"))
            .col(text("topic"))
            .col(integer("topic_partition"))
            .col(big_integer("topic_offset"))
            .col(blob_null("key"))
            .col(blob_null("value"))
            // A JSON array of [name, base64 of the value].
            .col(text("headers"))
            // SHA-256 of key, value and headers: a topic made anew uses its offsets again.
            .col(text("digest"))
            .col(timestamp_with_time_zone("created_at"))
            .col(timestamp_with_time_zone_null("replayed_at"))
            .take();
        manager.create_table(dead_letters).await?;
        let once = Index::create()
            .name("dead_letters_once")
            .table("dead_letters")
            .col("consumer")
            .col("topic")
            .col("topic_partition")
            .col("topic_offset")
            .col("digest")
            .unique()
            .take();
        manager.create_index(once).await
    }
}
