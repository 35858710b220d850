use secrecy::{ExposeSecret, SecretString};
use sqlx::{Connection, Executor, PgConnection};
use tempfile::TempDir;
use tidings_storage::{Db, Location, may_open_later};
use url::Url;
use uuid::Uuid;

use crate::{backends, eventually, newer_schema};

/// A database of a test's own, migrated and empty. Gone when dropped.
#[derive(Debug)]
pub struct TestDatabase {
    pub name: &'static str,
    pub db: Db,
    pub location: Location,
    place: Place,
}

#[derive(Debug)]
enum Place {
    Folder { _folder: TempDir },
    Server { admin: String, database: String },
}

/// A database on each backend that is wanted: SQLite always, PostgreSQL if there is one.
pub async fn databases() -> Vec<TestDatabase> {
    let mut databases = vec![TestDatabase::sqlite().await];
    if let Some(admin) = backends::postgres() {
        databases.push(TestDatabase::postgres(&admin).await);
    }
    databases
}

impl TestDatabase {
    pub async fn sqlite() -> Self {
        let folder = TempDir::new().unwrap();
        let location = Location::Sqlite(folder.path().join("tidings.db"));
        Self {
            name: "SQLite",
            db: open(&location).await,
            location,
            place: Place::Folder { _folder: folder },
        }
    }

    pub async fn postgres(admin: &str) -> Self {
        let database = format!("tidings_test_{}", Uuid::new_v4().simple());
        run(admin, &format!("CREATE DATABASE {database}")).await;
        let mut url = Url::parse(admin).unwrap();
        url.set_path(&database);
        let location = Location::Postgres(SecretString::from(url.to_string()));
        let place = Place::Server {
            admin: admin.to_owned(),
            database,
        };
        Self {
            name: "PostgreSQL",
            db: open(&location).await,
            location,
            place,
        }
    }

    pub(crate) async fn tamper_sqlite(path: &std::path::Path, sql: &str) -> u64 {
        let mut connection = sqlx::SqliteConnection::connect(&format!("sqlite://{}", path.display()))
            .await
            .unwrap();
        connection
            .execute(sqlx::AssertSqlSafe(sql.to_owned()))
            .await
            .unwrap()
            .rows_affected()
    }

    pub(crate) async fn open_sqlite(path: &std::path::Path) -> Db {
        open(&Location::Sqlite(path.to_owned())).await
    }

    /// The URL by which another process finds the database.
    pub fn url(&self) -> String {
        url(&self.location)
    }

    /// Another connection to the same database, as another process would have it.
    pub async fn reopen(&self) -> Db {
        open(&self.location).await
    }

    /// Changes rows behind the back of the code under test.
    pub async fn tamper(&self, sql: &str) -> u64 {
        match &self.location {
            Location::Sqlite(path) => Self::tamper_sqlite(path, sql).await,
            Location::Postgres(url) => run(url.expose_secret(), sql).await,
        }
    }
}

impl TestDatabase {
    /// All rows of all tables of a PostgreSQL, as text; bytes are in hexadecimal digits.
    pub async fn contents(&self) -> String {
        let mut connection = PgConnection::connect(&self.url()).await.unwrap();
        let tables = "SELECT table_name::text FROM information_schema.tables WHERE table_schema = 'public'";
        let tables: Vec<String> = sqlx::query_scalar(tables).fetch_all(&mut connection).await.unwrap();
        let mut contents = String::new();
        for table in tables {
            let rows = format!("SELECT coalesce(string_agg(rows::text, ' '), '') FROM \"{table}\" AS rows");
            let rows: String = sqlx::query_scalar(sqlx::AssertSqlSafe(rows))
                .fetch_one(&mut connection)
                .await
                .unwrap();
            contents.push_str(&rows);
        }
        connection.close().await.unwrap();
        contents
    }
}

/// A database that nobody can write to, until [`ended`](Self::end).
#[derive(Debug)]
pub struct Outage(Kind);

#[derive(Debug)]
enum Kind {
    /// Somebody else is writing, and does not stop.
    Busy(sqlx::SqliteConnection),
    /// All connections are ended, and no new ones are let in.
    Closed { admin: String, database: String },
}

impl Outage {
    pub(crate) async fn of_sqlite(path: &std::path::Path) -> Self {
        let mut connection = sqlx::SqliteConnection::connect(&format!("sqlite://{}", path.display()))
            .await
            .unwrap();
        connection.execute("BEGIN IMMEDIATE").await.unwrap();
        Self(Kind::Busy(connection))
    }

    pub async fn end(self) {
        match self.0 {
            Kind::Busy(connection) => connection.close().await.unwrap(),
            Kind::Closed { admin, database } => {
                run(&admin, &format!("ALTER DATABASE {database} ALLOW_CONNECTIONS true")).await;
            }
        }
    }
}

impl TestDatabase {
    /// Takes the database away from everyone.
    pub async fn outage(&self) -> Outage {
        match (&self.location, &self.place) {
            (_, Place::Server { admin, database }) => {
                run(admin, &format!("ALTER DATABASE {database} ALLOW_CONNECTIONS false")).await;
                let end =
                    format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'");
                run(admin, &end).await;
                Outage(Kind::Closed {
                    admin: admin.clone(),
                    database: database.clone(),
                })
            }
            (Location::Sqlite(path), _) => Outage::of_sqlite(path).await,
            _ => unreachable!("a PostgreSQL database is on a server"),
        }
    }
}

fn url(location: &Location) -> String {
    match location {
        Location::Sqlite(path) => format!("sqlite://{}", path.display()),
        Location::Postgres(url) => url.expose_secret().to_owned(),
    }
}

async fn open(location: &Location) -> Db {
    newer_schema::migrate(location, url(location)).await;
    // On a machine that is busy with other tests, connecting can take longer than a service waits.
    eventually("a test database opens", async || {
        let opened = Db::open(location, async |connection| {
            tidings_migrations::migrate(connection).await.map(drop)
        });
        match opened.await {
            Err(tidings_migrations::Error::Database(error)) if may_open_later(&error) => Err(error),
            opened => Ok(opened.unwrap_or_else(|error| panic!("cannot open a test database: {error:?}"))),
        }
    })
    .await
}

async fn run(url: &str, sql: &str) -> u64 {
    let mut connection = PgConnection::connect(url).await.unwrap();
    let done = connection.execute(sqlx::AssertSqlSafe(sql.to_owned())).await.unwrap();
    connection.close().await.unwrap();
    done.rows_affected()
}

impl Drop for Place {
    fn drop(&mut self) {
        let Self::Server { admin, database } = self else { return };
        let (admin, sql) = (
            admin.clone(),
            format!("DROP DATABASE IF EXISTS {database} WITH (FORCE)"),
        );
        // On a thread of its own, for a destructor cannot wait and the test's runtime may be ending.
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(run(&admin, &sql));
        });
        let _ = dropped.join();
    }
}
