//! What the migrations leave, against what the documentation says of it.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};

use sea_orm_migration::MigratorTrait;
use sea_orm_migration::sea_orm::{
    ConnectOptions, ConnectionTrait, Database, DatabaseConnection, QueryResult, Statement,
};
use tidings_migrations::{Migrator, check, migrate};

type Tables = BTreeMap<String, BTreeSet<String>>;

async fn database() -> DatabaseConnection {
    let mut options = ConnectOptions::new("sqlite::memory:");
    // Another connection would be another database.
    options.max_connections(1).sqlx_logging(false);
    Database::connect(options).await.unwrap()
}

async fn tables(db: &DatabaseConnection) -> Tables {
    let query = "SELECT tables.name AS name, columns.name AS column_name \
                 FROM sqlite_schema AS tables, pragma_table_info(tables.name) AS columns \
                 WHERE tables.type = 'table' AND tables.name NOT LIKE 'sqlite%' AND tables.name <> 'seaql_migrations'";
    let statement = Statement::from_string(db.get_database_backend(), query);
    let mut tables = Tables::new();
    for row in db.query_all_raw(statement).await.unwrap() {
        let table: String = row.try_get("", "name").unwrap();
        tables
            .entry(table)
            .or_default()
            .insert(row.try_get("", "column_name").unwrap());
    }
    tables
}

/// The tables of the diagram: a name and a brace, a line for each column, a brace.
fn documented() -> Tables {
    let page = include_str!("../../../docs/architecture.md");
    let (_, diagram) = page.split_once("erDiagram\n").unwrap();
    let (diagram, _) = diagram.split_once("```").unwrap();
    let mut tables = Tables::new();
    let mut table = None;
    for line in diagram.lines().map(str::trim) {
        if let Some(name) = line.strip_suffix(" {") {
            table = Some(tables.entry(name.to_owned()).or_default());
        } else if line == "}" {
            table = None;
        } else if let Some(columns) = &mut table {
            columns.insert(line.split_whitespace().nth(1).unwrap().to_owned());
        }
    }
    tables
}

#[tokio::test]
async fn the_diagram_shows_every_table_and_column() {
    let db = database().await;
    migrate(&db).await.unwrap();
    assert_eq!(documented(), tables(&db).await, "docs/architecture.md, erDiagram");
}

#[tokio::test]
async fn migrating_again_changes_nothing() {
    let db = database().await;
    assert!(check(&db).await.is_err());
    assert!(migrate(&db).await.unwrap() > 0);
    check(&db).await.unwrap();
    let before = tables(&db).await;
    assert_eq!(migrate(&db).await.unwrap(), 0);
    assert_eq!(tables(&db).await, before);
}

/// A column, and whether an `INSERT` that does not know it fails.
#[derive(Debug, PartialEq, Eq)]
struct Column {
    kind: String,
    required: bool,
}

type Columns = BTreeMap<(String, String), Column>;

async fn columns(db: &DatabaseConnection) -> Columns {
    let query = "SELECT tables.name AS t, columns.name AS c, columns.type AS kind, \
                 columns.\"notnull\" = 1 AND columns.dflt_value IS NULL AS required \
                 FROM sqlite_schema AS tables, pragma_table_info(tables.name) AS columns \
                 WHERE tables.type = 'table'";
    let statement = Statement::from_string(db.get_database_backend(), query);
    let rows = db.query_all_raw(statement).await.unwrap();
    let column = |row: &QueryResult| {
        let text = |name: &str| row.try_get::<String>("", name).unwrap();
        let required = row.try_get("", "required").unwrap();
        let kind = text("kind");
        ((text("t"), text("c")), Column { kind, required })
    };
    rows.iter().map(column).collect()
}

async fn unique_indexes(db: &DatabaseConnection) -> BTreeMap<String, String> {
    let query = "SELECT indexes.name AS name, tables.name AS t \
                 FROM sqlite_schema AS tables, pragma_index_list(tables.name) AS indexes \
                 WHERE tables.type = 'table' AND indexes.\"unique\" = 1";
    let statement = Statement::from_string(db.get_database_backend(), query);
    let rows = db.query_all_raw(statement).await.unwrap();
    let named = |row: &QueryResult| (row.try_get("", "name").unwrap(), row.try_get("", "t").unwrap());
    rows.iter().map(named).collect()
}

#[tokio::test]
async fn what_the_release_before_reads_and_writes_stays_possible() {
    let db = database().await;
    for migration in Migrator::migrations() {
        let (before, unique) = (columns(&db).await, unique_indexes(&db).await);
        let is_old = |table: &String| before.keys().any(|(old, _)| old == table);
        Migrator::up(&db, Some(1)).await.unwrap();
        let after = columns(&db).await;
        let name = migration.name();
        for (column, was) in &before {
            assert_eq!(after.get(column), Some(was), "{name} changes {column:?}");
        }
        let mut added = after.iter().filter(|(column, _)| !before.contains_key(column));
        let unknown = added.find(|((table, _), column)| is_old(table) && column.required);
        assert_eq!(unknown, None, "{name}: rows without it can no longer be added");
        for (index, table) in unique_indexes(&db).await {
            assert!(
                unique.contains_key(&index) || !is_old(&table),
                "{name}: {index} may refuse rows"
            );
        }
    }
    check(&db).await.unwrap();
}

#[tokio::test]
async fn a_database_of_a_newer_version_is_refused() {
    let db = database().await;
    migrate(&db).await.unwrap();
    db.execute_unprepared("INSERT INTO seaql_migrations VALUES ('m9999_future', 0)")
        .await
        .unwrap();
    for refused in [migrate(&db).await.map(drop), check(&db).await] {
        let error = refused.unwrap_err().to_string();
        assert!(error.contains("m9999_future"), "{error}");
    }
}
