//! Which database the settings mean, and how it is opened.

use anyhow::{Context, Result, bail};
use secrecy::ExposeSecret;
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

pub(crate) fn location(settings: &Settings) -> Result<Location> {
    let Some(url) = &settings.database_url else {
        return Ok(Location::Sqlite(settings.data_dir.join("tidings.db")));
    };
    match url.expose_secret().split_once("://") {
        Some(("sqlite", path)) if !path.is_empty() => Ok(Location::Sqlite(path.into())),
        Some(("sqlite", _)) => bail!("DATABASE_URL names no file: write it as sqlite:///var/lib/tidings/tidings.db"),
        _ => Ok(Location::Postgres(url.clone())),
    }
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
    let opened = Db::open::<tidings_migrations::Error, _>(location, async |connection| match schema {
        Schema::Migrate => tidings_migrations::migrate(connection).await.map(drop),
        Schema::Check => tidings_migrations::check(connection).await,
    });
    opened
        .await
        .with_context(|| format!("cannot open the database ({})", describe(location)))
}

/// Opens a database that other processes may be using, without creating or changing it.
pub(crate) async fn open_existing(settings: &Settings) -> Result<Db> {
    let location = location(settings)?;
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
