//! People with an account.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::*;
use sea_orm_migration::sea_orm::DbBackend;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        // By code points, as SQLite compares, so that the order of a list does not depend on the server.
        let collation = match manager.get_database_backend() {
            DbBackend::Postgres => "COLLATE \"C\"",
            _ => "",
        };
        let sorted_text = |name: &'static str| text(name).extra(collation).take();
        let users = Table::create()
            .table("users")
            .col(big_integer("id").primary_key().auto_increment())
            .col(text("first_name"))
            .col(sorted_text("last_name"))
            .col(sorted_text("email"))
            .col(text("address"))
            .col(text("password_hash"))
            // What searches look at. Databases do not agree on what a lower-case letter is, so this is
            // written by the program.
            .col(text("email_folded"))
            .col(text("last_name_folded"))
            .col(text("address_words"))
            .col(timestamp_with_time_zone("created_at"))
            // A deleted user stays as a number and two times, because others refer to it.
            .col(timestamp_with_time_zone_null("deleted_at"))
            .col(big_integer("version"))
            .take();
        manager.create_table(users).await?;
        let one_per_email = Index::create()
            .name("users_email")
            .table("users")
            .col("email")
            .unique()
            .and_where(Expr::col("deleted_at").is_null())
            .take();
        manager.create_index(one_per_email).await?;
        let by_name = Index::create()
            .name("users_name")
            .table("users")
            .col("last_name")
            .col("first_name")
            .and_where(Expr::col("deleted_at").is_null())
            .take();
        manager.create_index(by_name).await
    }
}
