//! Which database the settings mean, and how it is opened.

use std::path::Path;

use anyhow::{Result, anyhow, bail};
use secrecy::ExposeSecret;
use tidings_runtime::data_dir::DataDir;
use tidings_runtime::settings::Settings;
use tidings_storage::{Db, Location};

/// What a process does about a schema that is not up to date.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Schema {
    /// Brings it up to date.
    Migrate,
    /// Refuses to work on it.
    Check,
}

pub(crate) fn location(settings: &Settings) -> Location {
    let Some(url) = &settings.database_url else {
        return Location::Sqlite(settings.data_dir.join("tidings.db"));
    };
    match url.expose_secret().strip_prefix("sqlite://") {
        Some(path) => Location::Sqlite(path.into()),
        None => Location::Postgres(url.clone()),
    }
}

/// Takes the folder that a database file is in, which only one process may do that changes it on its own
/// authority; `None` if the database is a server.
pub(crate) fn lock(location: &Location) -> Result<Option<DataDir>> {
    let Location::Sqlite(path) = location else {
        return Ok(None);
    };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    Ok(Some(DataDir::lock(folder.unwrap_or(Path::new(".")))?))
}

/// What to call the database in front of people, without a password.
pub(crate) fn describe(location: &Location) -> String {
    match location {
        Location::Sqlite(path) => format!("SQLite, {}", path.display()),
        Location::Postgres(url) => match reqwest::Url::parse(url.expose_secret()) {
            Ok(url) => format!(
                "PostgreSQL, {}:{}{}",
                url.host_str().unwrap_or("localhost"),
                url.port().unwrap_or(5432),
                url.path()
            ),
            Err(_) => "PostgreSQL".to_owned(),
        },
    }
}

pub(crate) async fn open(location: &Location, schema: Schema) -> Result<Db> {
    match schema {
        Schema::Migrate => Ok(migrate(location).await?.0),
        Schema::Check => Db::open(location, async |connection| tidings_migrations::check(connection).await)
            .await
            .map_err(|error| cannot_open(location, error)),
    }
}

/// Opens a database and brings it up to date; answers also how many migrations that took.
pub(crate) async fn migrate(location: &Location) -> Result<(Db, usize)> {
    let mut applied = 0;
    let opened = Db::open(location, async |connection| {
        applied = tidings_migrations::migrate(connection).await?;
        Ok(())
    });
    let db = opened.await.map_err(|error| cannot_open(location, error))?;
    Ok((db, applied))
}

fn cannot_open(location: &Location, error: tidings_migrations::Error) -> anyhow::Error {
    let name = describe(location);
    match (&error, location) {
        // These say themselves what to do.
        (tidings_migrations::Error::Newer { .. } | tidings_migrations::Error::Older { .. }, _) => {
            anyhow::Error::new(error).context(format!("cannot use the database ({name})"))
        }
        (_, Location::Sqlite(_)) => anyhow!(
            "cannot open the database ({name}): {error}; make sure that it is one of Tidings, that its folder exists and \
             that this user may write there"
        ),
        (_, Location::Postgres(_)) => anyhow!(
            "cannot open the database ({name}): {error}; make sure that it runs and that DATABASE_URL has its address, \
             database, user and password"
        ),
    }
}

/// Opens a database that other processes may be using, without creating or changing it.
pub(crate) async fn open_existing(settings: &Settings) -> Result<Db> {
    let location = location(settings);
    if let Location::Sqlite(path) = &location
        && !path.exists()
    {
        bail!(
            "there is no database at {}: start `tidings` first, or set TIDINGS_DATA_DIR or DATABASE_URL to where it is",
            path.display()
        );
    }
    open(&location, Schema::Check).await
}
