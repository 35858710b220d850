//! Which database the settings mean, and how it is opened.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use secrecy::ExposeSecret;
use tidings_delivery::endpoints::EndpointError;
use tidings_runtime::data_dir::DataDir;
use tidings_runtime::settings::Settings;
use tidings_storage::{Db, Location, may_open_later, why_not_open};
use tokio::time::{Instant, sleep};

/// The pauses between attempts to reach a database double from the first to the second.
const SHORTEST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(5);
/// For how long a command that ends by itself waits for the database.
const PATIENCE: Duration = Duration::from_secs(60);

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

/// Why a database could not be opened.
pub(crate) enum Failure {
    /// It may be there later, without anybody's doing; with the cause.
    Away(String),
    /// Somebody has to do something about it.
    Lasting(anyhow::Error),
}

impl Failure {
    fn of(location: &Location, error: tidings_migrations::Error) -> Self {
        let name = describe(location);
        Self::Lasting(match (error, location) {
            (tidings_migrations::Error::Database(error), Location::Postgres(_)) if may_open_later(&error) => {
                return Self::Away(why_not_open(&error));
            }
            (tidings_migrations::Error::Database(error), Location::Postgres(_)) => anyhow!(
                "cannot open the database ({name}): {}; make sure that DATABASE_URL has its address, database, user and \
                 password",
                why_not_open(&error)
            ),
            (tidings_migrations::Error::Database(error), Location::Sqlite(_)) => anyhow!(
                "cannot open the database ({name}): {error}; make sure that it is one of Tidings, that its folder exists \
                 and that this user may write there"
            ),
            // These say themselves what to do.
            (error, _) => anyhow::Error::new(error).context(format!("cannot use the database ({name})")),
        })
    }

    fn into_error(self, location: &Location) -> anyhow::Error {
        match self {
            Self::Away(cause) => anyhow!(
                "cannot reach the database ({}): {cause}; make sure that it runs and that DATABASE_URL has its address",
                describe(location)
            ),
            Self::Lasting(error) => error,
        }
    }
}

impl From<tidings_storage::Error> for Failure {
    fn from(error: tidings_storage::Error) -> Self {
        match error.is_unavailable() {
            true => Self::Away(error.to_string()),
            false => Self::Lasting(anyhow::Error::new(error).context("the database cannot be prepared")),
        }
    }
}

impl From<EndpointError> for Failure {
    fn from(error: EndpointError) -> Self {
        match error {
            EndpointError::Database(error) => error.into(),
            error => Self::Lasting(anyhow::Error::new(error).context("the default webhook endpoint cannot be set up")),
        }
    }
}

/// Opens a database, and answers also how many migrations that took.
pub(super) async fn open(location: &Location, schema: Schema) -> Result<(Db, usize), Failure> {
    let mut applied = 0;
    let opened = Db::open(location, async |connection| {
        match schema {
            Schema::Migrate => applied = tidings_migrations::migrate(connection).await?,
            Schema::Check => tidings_migrations::check(connection).await?,
        }
        Ok(())
    });
    let db = opened.await.map_err(|error| Failure::of(location, error))?;
    Ok((db, applied))
}

/// What lies between attempts to open a database. Each that failed is one line in the log.
pub(super) struct Attempts<'a> {
    location: &'a Location,
    /// When there is no more use in trying, if ever.
    until: Option<Instant>,
    pause: Duration,
    failures: u64,
}

impl<'a> Attempts<'a> {
    pub(super) fn at(location: &'a Location, patience: Option<Duration>) -> Self {
        Self {
            location,
            until: patience.map(|patience| Instant::now() + patience),
            pause: SHORTEST,
            failures: 0,
        }
    }

    /// Waits until it is time for another one, or says why there is none.
    pub(super) async fn failed(&mut self, failure: Failure) -> Result<()> {
        match failure {
            Failure::Away(cause) if self.until.is_none_or(|until| Instant::now() < until) => {
                tracing::warn!("waiting for the database ({}): {cause}", describe(self.location));
            }
            lasting => return Err(lasting.into_error(self.location)),
        }
        self.failures += 1;
        sleep(self.pause).await;
        self.pause = (self.pause * 2).min(LONGEST);
        Ok(())
    }

    pub(super) fn worked(&self) {
        if self.failures > 0 {
            tracing::info!(failures = self.failures, "the database is there");
        }
    }
}

/// Brings a database up to date and answers how many migrations that took. One that is away is waited for
/// for a while: it may have been started together with this.
pub(crate) async fn migrate(location: &Location) -> Result<usize> {
    let mut attempts = Attempts::at(location, Some(PATIENCE));
    loop {
        match open(location, Schema::Migrate).await {
            Ok((db, applied)) => {
                db.close().await;
                return Ok(applied);
            }
            Err(failure) => attempts.failed(failure).await?,
        }
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
    match open(&location, Schema::Check).await {
        Ok((db, _)) => Ok(db),
        Err(failure) => Err(failure.into_error(&location)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn patience_ends_and_waiting_does_not() {
        let location = Location::Postgres("postgres://me:open-sesame@db.example/tidings".into());
        let away = || Failure::Away("Connection refused".to_owned());
        let (begun, mut patient) = (Instant::now(), Attempts::at(&location, Some(PATIENCE)));
        let refusal = loop {
            if let Err(refusal) = patient.failed(away()).await {
                break refusal.to_string();
            }
        };
        assert!((PATIENCE..PATIENCE + LONGEST).contains(&begun.elapsed()));
        for part in [
            "PostgreSQL, db.example:5432/tidings",
            "Connection refused",
            "DATABASE_URL",
        ] {
            assert!(refusal.contains(part), "{refusal}");
        }
        assert!(!refusal.contains("open-sesame"), "{refusal}");

        let (begun, mut endless) = (Instant::now(), Attempts::at(&location, None));
        for _ in 0..100 {
            endless.failed(away()).await.unwrap();
        }
        // 0.2, 0.4, 0.8, 1.6 and 3.2 s, and then 5 s each.
        assert_eq!(begun.elapsed(), Duration::from_millis(6_200) + 95 * LONGEST);
        let lasting = Failure::Lasting(anyhow!("no such database"));
        assert!(endless.failed(lasting).await.is_err());
    }
}
