use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Subcommand as ClapSubcommand;
use secrecy::ExposeSecret;
use tidings_delivery::endpoints;
use tidings_domain::{ApiKey, ApiKeyId, Clock, KeyName, Role, Scopes, SystemClock};
use tidings_events::Origin;
use tidings_events::data::timestamp;
use tidings_gateway::keys::{self, Issued, NewKey};
use tidings_runtime::settings::Settings;
use tidings_storage::{Db, Place};

use crate::banner::say;
use crate::stack::{database, vault};

/// Keys that are read at a time.
const PAGE: u64 = 200;

#[derive(ClapSubcommand)]
pub(crate) enum Command {
    /// Make a key and print it, which is the only time that it is shown.
    Create {
        /// What it is called in lists.
        name: KeyName,
        /// Whose hands it is in: admin, staff or service.
        #[arg(long, default_value_t = Role::Service)]
        role: Role,
        /// What it opens, such as messages:write, separated by commas; * is all that the role may have.
        #[arg(long, default_value = "*")]
        scopes: String,
        /// For how long, such as 90d; without, until it is revoked.
        #[arg(long, value_parser = humantime::parse_duration)]
        expires_in: Option<Duration>,
    },
    /// List all keys, those that open nothing any more included, without their secrets.
    List,
    /// End a key now.
    Revoke { id: ApiKeyId },
    /// Make a key in the place of another one and print it. The old one ends when the overlap is over.
    Rotate {
        id: ApiKeyId,
        /// For how long both are valid.
        #[arg(long, default_value = "24h", value_parser = humantime::parse_duration)]
        overlap: Duration,
    },
    /// Encrypt all stored secrets with the first key of TIDINGS_ENCRYPTION_KEY, after which the others can go.
    Reencrypt,
}

pub(crate) async fn run(settings: &Settings, command: Command) -> Result<()> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let origin = || Origin::own("gateway", &*clock);
    match command {
        Command::Create {
            name,
            role,
            scopes,
            expires_in,
        } => {
            let scopes = Scopes::parse(scopes.split(',').map(str::trim), role).context("--scopes")?;
            let end = |lifetime| {
                let lifetime = chrono::Duration::from_std(lifetime).ok();
                let end = lifetime.and_then(|lifetime| clock.now().checked_add_signed(lifetime));
                end.context("--expires-in is further away than anybody can count")
            };
            let new = NewKey {
                name,
                role,
                scopes,
                expires_at: expires_in.map(end).transpose()?,
            };
            let db = database::open_existing(settings).await?;
            show(&keys::create(&db, &clock, new, origin()).await?);
            db.close().await;
        }
        Command::List => {
            let db = database::open_existing(settings).await?;
            list(&db, &*clock).await?;
            db.close().await;
        }
        Command::Revoke { id } => {
            let db = database::open_existing(settings).await?;
            let ended = keys::revoke(&db, &clock, id, origin()).await?;
            say(&format!("{} is {}", ended.id, ended.state(clock.now()).as_str()));
            db.close().await;
        }
        Command::Rotate { id, overlap } => {
            let db = database::open_existing(settings).await?;
            show(&keys::rotate(&db, &clock, id, overlap, origin()).await?);
            let overlap = humantime::format_duration(overlap);
            say(&format!("{id} opens nothing more in {overlap}"));
            db.close().await;
        }
        Command::Reencrypt => {
            let vault = vault::required(settings, "tidings keys reencrypt")?;
            let db = database::open_existing(settings).await?;
            let done = endpoints::reencrypt(&db, &vault).await?;
            say(&format!("{} encrypted anew, {} were already", done.anew, done.before));
            db.close().await;
            if let Some((id, error)) = done.unreadable.first() {
                let others = done.unreadable.len() - 1;
                bail!("the secret of webhook endpoint {id} cannot be read: {error} ({others} others neither)");
            }
        }
    }
    Ok(())
}

fn show(issued: &Issued) {
    let key = &issued.key;
    say(&format!("id      {}", key.id));
    say(&format!("name    {}", key.name.as_str()));
    say(&format!("role    {}", key.role));
    say(&format!("scopes  {}", key.scopes));
    say(&format!(
        "expires {}",
        key.expires_at.map_or("never".to_owned(), timestamp)
    ));
    say(&format!("key     {}", issued.token.expose_secret()));
}

async fn list(db: &Db, clock: &dyn Clock) -> Result<()> {
    let mut place = Place::Start;
    loop {
        let page = keys::list(db, place, PAGE).await?;
        let Some(last) = page.last() else { return Ok(()) };
        place = Place::After(last.id);
        for key in &page {
            say(&line(key, clock));
        }
    }
}

fn line(key: &ApiKey, clock: &dyn Clock) -> String {
    let time = |time: Option<chrono::DateTime<chrono::Utc>>| time.map_or("never".to_owned(), timestamp);
    format!(
        "{}  {:7}  {:7}  {}  used {}  expires {}  {}",
        key.id,
        key.state(clock.now()).as_str(),
        key.role.as_str(),
        key.scopes,
        time(key.last_used_at),
        time(key.expires_at),
        key.name.as_str(),
    )
}
