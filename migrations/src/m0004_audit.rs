//! The audit log: one chained record per event, which the database refuses to change.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::*;
use sea_orm_migration::sea_orm::DbBackend;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const POSTGRES_GUARD: &str = "
    CREATE FUNCTION refuse_audit_change() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION 'the audit log is append-only';
    END $$;
    CREATE TRIGGER audit_log_no_change BEFORE UPDATE OR DELETE ON audit_log
        FOR EACH ROW EXECUTE FUNCTION refuse_audit_change();
    CREATE TRIGGER audit_log_no_truncate BEFORE TRUNCATE ON audit_log
        FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_change();";

/// REPLACE removes the rows that are in its way without asking a trigger for deletions, so it is
/// refused before it gets there.
const SQLITE_GUARD: &str = "
    CREATE TRIGGER audit_log_no_replace BEFORE INSERT ON audit_log
        WHEN EXISTS (SELECT 1 FROM audit_log
            WHERE seq = NEW.seq OR event_id = NEW.event_id OR prev_hash = NEW.prev_hash)
        BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
    CREATE TRIGGER audit_log_no_update BEFORE UPDATE ON audit_log
        BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
    CREATE TRIGGER audit_log_no_delete BEFORE DELETE ON audit_log
        BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let log = Table::create()
            .table("audit_log")
            .col(big_integer("seq").primary_key())
            // The event's id, or the place on its topic of a record that is not one of our events.
            .col(text("event_id").unique_key())
            .col(timestamp_with_time_zone("occurred_at"))
            .col(timestamp_with_time_zone("recorded_at"))
            .col(text_null("actor"))
            .col(text("action"))
            .col(text("resource"))
            .col(text("data_hash"))
            // Unique, so that the chain cannot fork.
            .col(text("prev_hash").unique_key())
            .col(text("hash"))
            // The exact bytes that `hash` was taken over, after `prev_hash`.
            .col(blob("record"))
            .take();
        manager.create_table(log).await?;

        // One row: where the next record goes on. Whoever appends locks it first.
        let head = Table::create()
            .table("audit_head")
            .col(small_integer("id").primary_key())
            .col(big_integer("seq"))
            .col(text("hash"))
            .take();
        manager.create_table(head).await?;
        let mut start = Query::insert()
            .into_table("audit_head")
            .columns(["id", "seq", "hash"])
            .take();
        start.values_panic([1_i16.into(), 0_i64.into(), "0".repeat(64).into()]);
        manager.execute(start).await?;

        let guard = match manager.get_database_backend() {
            DbBackend::Postgres => POSTGRES_GUARD,
            _ => SQLITE_GUARD,
        };
        manager.get_connection().execute_unprepared(guard).await.map(drop)
    }
}
