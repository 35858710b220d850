//! The database schema, for PostgreSQL and SQLite alike.
//!
//! Migrations only ever add: a binary of the release before must be able to work on the schema that
//! this one leaves, so that services can be restarted one after the other.

use std::collections::BTreeSet;

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::{
    ConnectionTrait, DatabaseConnection, DbBackend, EntityTrait, Statement, TransactionTrait,
};
use sea_orm_migration::seaql_migrations;

mod m0001_messaging;
mod m0002_outbox;
mod m0003_webhooks;
mod m0004_audit;
mod m0005_dead_letters;
mod m0006_users;
mod m0007_orders;
mod m0008_guids;
mod m0009_api_keys;

/// All migrations, oldest first.
#[derive(Debug)]
pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m0001_messaging::Migration),
            Box::new(m0002_outbox::Migration),
            Box::new(m0003_webhooks::Migration),
            Box::new(m0004_audit::Migration),
            Box::new(m0005_dead_letters::Migration),
            Box::new(m0006_users::Migration),
            Box::new(m0007_orders::Migration),
            Box::new(m0008_guids::Migration),
            Box::new(m0009_api_keys::Migration),
        ]
    }
}

/// Why a database cannot be worked on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "the database was migrated by a newer version of tidings (it has {newest}, which this version does not know): \
         start that version, or restore a backup"
    )]
    Newer { newest: String },
    #[error("the database is not migrated yet ({pending} migrations are missing): run `tidings migrate` first")]
    Older { pending: usize },
    #[error(transparent)]
    Database(#[from] DbErr),
}

/// Brings the database up to date and answers how many migrations that took. Processes that do this
/// at the same time take turns.
pub async fn migrate(db: &DatabaseConnection) -> Result<usize, Error> {
    refuse_newer(db).await?;
    let pending = Migrator::get_pending_migrations_read_only(db).await?.len();
    if pending == 0 {
        return Ok(0);
    }
    if db.get_database_backend() != DbBackend::Postgres {
        Migrator::up(db, None).await?;
        return Ok(pending);
    }
    // Held until the end of the transaction, which is also that of the migrations: all or none.
    let transaction = db.begin().await?;
    // The limits of a connection are meant for requests. Large tables, and other processes that migrate, take longer.
    let unlimited = "SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0";
    transaction.execute_unprepared(unlimited).await?;
    let lock = Statement::from_string(DbBackend::Postgres, "SELECT pg_advisory_xact_lock(7163047912)");
    transaction.execute_raw(lock).await?;
    let pending = Migrator::get_pending_migrations(&transaction).await?.len();
    Migrator::up(&transaction, None).await?;
    transaction.commit().await?;
    Ok(pending)
}

/// Refuses a database that is older or newer than this binary. Reads only, so a service may do it whose
/// user must not change the schema.
pub async fn check(db: &DatabaseConnection) -> Result<(), Error> {
    refuse_newer(db).await?;
    match Migrator::get_pending_migrations_read_only(db).await?.len() {
        0 => Ok(()),
        pending => Err(Error::Older { pending }),
    }
}

async fn refuse_newer(db: &DatabaseConnection) -> Result<(), Error> {
    if !SchemaManager::new(db).has_table("seaql_migrations").await? {
        return Ok(());
    }
    let known: BTreeSet<String> = Migrator::migrations()
        .iter()
        .map(|migration| migration.name().to_owned())
        .collect();
    let applied = seaql_migrations::Entity::find().all(db).await?;
    match applied
        .into_iter()
        .map(|migration| migration.version)
        .filter(|name| !known.contains(name))
        .max()
    {
        Some(newest) => Err(Error::Newer { newest }),
        None => Ok(()),
    }
}
