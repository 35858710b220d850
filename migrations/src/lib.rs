//! The database schema, for PostgreSQL and SQLite alike.
//!
//! Migrations only ever add: a program of the release before must be able to work on the schema that
//! this one leaves, so that services can be restarted one after the other, and go back to that release.
//! What has to be taken away goes a release after the last one that used it, by a migration that says in
//! `schema_compatibility` what programs must know from then on.

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
mod m0010_schema_compatibility;

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
            Box::new(m0010_schema_compatibility::Migration),
        ]
    }
}

/// Why a database cannot be worked on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "the database was migrated by a newer version of tidings (it has {newest}), and this version is too old for what \
         that left: start the newer version, or restore a backup"
    )]
    TooNew { newest: String },
    #[error("the database is not migrated yet ({pending} migrations are missing): run `tidings migrate` first")]
    TooOld { pending: usize },
    #[error(transparent)]
    Database(#[from] DbErr),
}

/// Brings the database up to date and answers how many migrations that took. Processes that do this
/// at the same time take turns.
pub async fn migrate(db: &DatabaseConnection) -> Result<usize, Error> {
    let pending = pending(db).await?;
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
    // Somebody may have been faster.
    let pending = self::pending(&transaction).await?;
    if pending > 0 {
        Migrator::up(&transaction, None).await?;
    }
    transaction.commit().await?;
    Ok(pending)
}

/// Refuses a database that this program cannot work on. Reads only, so a service may do it whose user must not
/// change the schema.
pub async fn check(db: &DatabaseConnection) -> Result<(), Error> {
    match pending(db).await? {
        0 => Ok(()),
        pending => Err(Error::TooOld { pending }),
    }
}

/// How many migrations the database lacks. It may have more than this program knows, as long as these do not ask
/// for a newer one.
async fn pending<'c, C>(db: &'c C) -> Result<usize, Error>
where
    C: ConnectionTrait,
    &'c C: IntoSchemaManagerConnection<'c>,
{
    let known: BTreeSet<String> = Migrator::migrations()
        .iter()
        .map(|migration| migration.name().to_owned())
        .collect();
    if !SchemaManager::new(db).has_table("seaql_migrations").await? {
        return Ok(known.len());
    }
    let applied = seaql_migrations::Entity::find().all(db).await?;
    let applied: BTreeSet<String> = applied.into_iter().map(|migration| migration.version).collect();
    let pending = known.difference(&applied).count();
    let Some(newest) = applied.difference(&known).max() else {
        return Ok(pending);
    };
    // With some missing and others unknown, it is not a later version of this one that was here.
    if pending == 0 && known.contains(&must_know(db).await?) {
        tracing::info!(
            newest,
            "the database was migrated by a newer version, which this one can work with"
        );
        return Ok(0);
    }
    Err(Error::TooNew { newest: newest.clone() })
}

/// The migration that programs cannot do without on this schema.
async fn must_know(db: &impl ConnectionTrait) -> Result<String, Error> {
    let query = Query::select().column("must_know").from("schema_compatibility").take();
    let row = db.query_one(&query).await?;
    let row = row.ok_or_else(|| DbErr::RecordNotFound("schema_compatibility".to_owned()))?;
    Ok(row.try_get("", "must_know")?)
}
