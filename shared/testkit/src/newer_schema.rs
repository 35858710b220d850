//! Databases that a newer version has migrated. The program under test must go on working on them.

use std::collections::BTreeMap;
use std::path::Path;

use sea_orm::{ConnectionTrait, DbBackend, Statement};
use tidings_storage::{Db, Location};

use crate::process::TestProcess;
use crate::{TestDatabase, TestStack};

/// Names a program of a newer version. Test databases are migrated by it then, before this version looks at them;
/// see `deploy/scripts/try-upgrade`.
const MIGRATED_BY: &str = "TIDINGS_TEST_MIGRATED_BY";

/// Has a newer version, if there is one, migrate a database that is to be tested on.
pub(crate) async fn migrate(location: &Location, url: String) {
    let Some(program) = std::env::var_os(MIGRATED_BY) else {
        return;
    };
    let settings = BTreeMap::from([("DATABASE_URL".to_owned(), url)]);
    let folder = match location {
        Location::Sqlite(path) => path.parent().unwrap().to_owned(),
        Location::Postgres(_) => std::env::temp_dir(),
    };
    let migrated = TestProcess::run(program, &["migrate"], Path::new(&folder), &settings).await;
    assert!(migrated.status.success(), "{migrated:?}");
}

impl TestStack {
    /// Adds to the schema what a newer version may add: a table, columns to every table, and the mark of a migration
    /// that the program under test does not know.
    pub async fn migrate_as_a_newer_version_would(&self) {
        for table in tables(&self.database().await).await {
            self.tamper(&format!("ALTER TABLE {table} ADD COLUMN came_later text"))
                .await;
            self.tamper(&format!(
                "ALTER TABLE {table} ADD COLUMN counts_later integer NOT NULL DEFAULT 7"
            ))
            .await;
        }
        self.tamper("CREATE TABLE things_of_later (id integer PRIMARY KEY)")
            .await;
        self.tamper("INSERT INTO seaql_migrations (version, applied_at) VALUES ('m9999_later', 0)")
            .await;
    }
}

async fn tables(db: &Db) -> Vec<String> {
    let backend = db.read().get_database_backend();
    let query = match backend {
        DbBackend::Postgres => "SELECT tablename::text AS name FROM pg_tables WHERE schemaname = 'public'",
        _ => "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%'",
    };
    let rows = db.read().query_all_raw(Statement::from_string(backend, query)).await;
    let names = rows.unwrap().into_iter().map(|row| row.try_get("", "name").unwrap());
    names.filter(|name| name != "seaql_migrations").collect()
}

impl TestDatabase {
    /// Takes everything out of a PostgreSQL again, the schema included.
    pub async fn clear(&self) {
        self.tamper("DROP SCHEMA public CASCADE; CREATE SCHEMA public").await;
    }
}
