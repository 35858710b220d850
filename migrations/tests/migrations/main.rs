//! What the migrations leave, against what the documentation says of it.
#![allow(clippy::unwrap_used, clippy::panic)]

mod additive;

use std::collections::{BTreeMap, BTreeSet};

use sea_orm_migration::sea_orm::{ConnectOptions, ConnectionTrait, Database, DatabaseConnection, Statement};
use tidings_migrations::{check, migrate};
use tidings_testkit::{TestDatabase, backends};

type Tables = BTreeMap<String, BTreeSet<String>>;

/// A database without a schema.
struct Empty {
    db: DatabaseConnection,
    _server: Option<TestDatabase>,
}

/// One of each kind that is wanted.
async fn empty_databases() -> Vec<Empty> {
    let db = database("sqlite::memory:").await;
    let mut databases = vec![Empty { db, _server: None }];
    if let Some(admin) = backends::postgres() {
        let server = TestDatabase::postgres(&admin).await;
        server.clear().await;
        let db = database(&server.url()).await;
        databases.push(Empty {
            db,
            _server: Some(server),
        });
    }
    databases
}

async fn database(url: &str) -> DatabaseConnection {
    let mut options = ConnectOptions::new(url);
    // In memory, another connection would be another database.
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
    let db = database("sqlite::memory:").await;
    migrate(&db).await.unwrap();
    assert_eq!(documented(), tables(&db).await, "docs/architecture.md, erDiagram");
}

#[tokio::test]
async fn migrating_again_changes_nothing() {
    let db = database("sqlite::memory:").await;
    assert!(check(&db).await.is_err());
    assert!(migrate(&db).await.unwrap() > 0);
    check(&db).await.unwrap();
    let before = tables(&db).await;
    assert_eq!(migrate(&db).await.unwrap(), 0);
    assert_eq!(tables(&db).await, before);
}

#[tokio::test]
async fn a_database_of_a_newer_version_is_worked_on_unless_that_asks_for_more() {
    for Empty { db, .. } in empty_databases().await {
        migrate(&db).await.unwrap();
        db.execute_unprepared("INSERT INTO seaql_migrations VALUES ('m9999_future', 0)")
            .await
            .unwrap();
        check(&db).await.unwrap();
        assert_eq!(migrate(&db).await.unwrap(), 0);

        let must_know = async |name: &str| {
            let update = format!("UPDATE schema_compatibility SET must_know = '{name}'");
            db.execute_unprepared(&update).await.unwrap();
        };
        must_know("m9998_less_far_future").await;
        are_refused(&db).await;
        // Somebody else's version: it has what this one has not, and the other way round.
        must_know("m0010_schema_compatibility").await;
        db.execute_unprepared("DELETE FROM seaql_migrations WHERE version = 'm0009_api_keys'")
            .await
            .unwrap();
        are_refused(&db).await;
    }
}

async fn are_refused(db: &DatabaseConnection) {
    for refused in [migrate(db).await.map(drop), check(db).await] {
        let error = refused.unwrap_err().to_string();
        assert!(error.contains("m9999_future"), "{error}");
    }
}
