//! What each migration leaves, against what the release before needs to go on.

use std::collections::BTreeMap;

use sea_orm_migration::MigratorTrait;
use sea_orm_migration::sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, QueryResult, Statement};
use tidings_migrations::{Migrator, check};

use crate::{Empty, empty_databases};

/// A column, and whether an `INSERT` that does not know it fails.
#[derive(Debug, PartialEq, Eq)]
struct Column {
    kind: String,
    required: bool,
}

const COLUMNS_IN_SQLITE: &str = "\
    SELECT tables.name AS t, columns.name AS c, columns.type AS kind, \
           columns.\"notnull\" = 1 AND columns.dflt_value IS NULL AS required \
    FROM sqlite_schema AS tables, pragma_table_info(tables.name) AS columns WHERE tables.type = 'table'";

const COLUMNS_IN_POSTGRES: &str = "\
    SELECT table_name::text AS t, column_name::text AS c, \
           concat_ws(' ', udt_name, character_maximum_length, numeric_precision, numeric_scale) AS kind, \
           is_nullable = 'NO' AND column_default IS NULL AND is_identity = 'NO' AS required \
    FROM information_schema.columns WHERE table_schema = 'public'";

/// Whatever may refuse or change a row: unique indexes and triggers. SQLite adds no other constraints to a table that
/// is there.
const RULES_IN_SQLITE: &str = "\
    SELECT indexes.name AS name, tables.name AS t \
    FROM sqlite_schema AS tables, pragma_index_list(tables.name) AS indexes \
    WHERE tables.type = 'table' AND indexes.\"unique\" = 1 \
    UNION ALL SELECT name, tbl_name FROM sqlite_schema WHERE type = 'trigger'";

/// The same, and constraints, but for `NOT NULL`, which is told with the columns.
const RULES_IN_POSTGRES: &str = "\
    SELECT indexes.relname::text AS name, tables.relname::text AS t FROM pg_index \
    JOIN pg_class AS indexes ON indexes.oid = indexrelid JOIN pg_class AS tables ON tables.oid = indrelid \
    WHERE indisunique AND tables.relnamespace = 'public'::regnamespace \
    UNION ALL SELECT tgname::text, relname::text FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid \
    WHERE NOT tgisinternal \
    UNION ALL SELECT conname::text, relname::text FROM pg_constraint JOIN pg_class ON pg_class.oid = conrelid \
    WHERE contype <> 'n' AND pg_class.relnamespace = 'public'::regnamespace";

async fn rows(db: &DatabaseConnection, sqlite: &str, postgres: &str) -> Vec<QueryResult> {
    let backend = db.get_database_backend();
    let query = if backend == DbBackend::Postgres {
        postgres
    } else {
        sqlite
    };
    db.query_all_raw(Statement::from_string(backend, query)).await.unwrap()
}

async fn columns(db: &DatabaseConnection) -> BTreeMap<(String, String), Column> {
    let rows = rows(db, COLUMNS_IN_SQLITE, COLUMNS_IN_POSTGRES).await;
    let column = |row: &QueryResult| {
        let text = |name: &str| row.try_get::<String>("", name).unwrap();
        let required = row.try_get("", "required").unwrap();
        let kind = text("kind");
        ((text("t"), text("c")), Column { kind, required })
    };
    rows.iter().map(column).collect()
}

/// With the table that each is for.
async fn rules(db: &DatabaseConnection) -> BTreeMap<String, String> {
    let rows = rows(db, RULES_IN_SQLITE, RULES_IN_POSTGRES).await;
    let named = |row: &QueryResult| (row.try_get("", "name").unwrap(), row.try_get("", "t").unwrap());
    rows.iter().map(named).collect()
}

/// What programs are asked to know, once that is asked.
async fn must_know(db: &DatabaseConnection) -> Option<String> {
    let query = "SELECT must_know FROM schema_compatibility";
    let statement = Statement::from_string(db.get_database_backend(), query);
    let row = db.query_one_raw(statement).await.ok()??;
    Some(row.try_get("", "must_know").unwrap())
}

#[tokio::test]
async fn what_the_release_before_reads_and_writes_stays_possible() {
    for Empty { db, .. } in empty_databases().await {
        for migration in Migrator::migrations() {
            let (columns_before, rules_before) = (columns(&db).await, rules(&db).await);
            let must_know_before = must_know(&db).await;
            let is_old = |table: &String| columns_before.keys().any(|(old, _)| old == table);
            Migrator::up(&db, Some(1)).await.unwrap();
            let name = migration.name();
            // One that takes away says whom it leaves behind: those who do not know a release that did without.
            if must_know_before.is_some() && must_know(&db).await != must_know_before {
                continue;
            }
            let columns = columns(&db).await;
            for (column, was) in &columns_before {
                assert_eq!(columns.get(column), Some(was), "{name} changes {column:?}");
            }
            let mut added = columns
                .iter()
                .filter(|(column, _)| !columns_before.contains_key(column));
            let unknown = added.find(|((table, _), column)| is_old(table) && column.required);
            assert_eq!(unknown, None, "{name}: rows without it can no longer be added");
            for (rule, table) in rules(&db).await {
                let known = rules_before.contains_key(&rule) || !is_old(&table);
                assert!(known, "{name}: {rule} may refuse rows of {table}");
            }
        }
        check(&db).await.unwrap();
    }
}
