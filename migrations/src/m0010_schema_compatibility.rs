//! What a program must know to work on the schema, so that the release before can be started again after
//! this one has migrated.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let compatibility = Table::create()
            .table("schema_compatibility")
            .col(small_integer("id").primary_key())
            // The name of the newest migration that programs cannot do without.
            .col(text("must_know"))
            .take();
        manager.create_table(compatibility).await?;
        let row = Query::insert()
            .into_table("schema_compatibility")
            .columns(["id", "must_know"])
            .values_panic([1.into(), self.name().into()])
            .take();
        manager.execute(row).await
    }
}
