use std::sync::Arc;

use anyhow::{Context, Result, bail};
use clap::Subcommand as ClapSubcommand;
use tidings_domain::{Clock, SystemClock};
use tidings_events::data::timestamp;
use tidings_runtime::settings::Settings;
use tidings_storage::dead_letters::{self, DeadLetter};
use tidings_storage::{Db, Error};
use uuid::Uuid;

use crate::banner::say;
use crate::stack::database;

/// Shown at a time, the oldest first.
const SHOWN: u64 = 100;

#[derive(ClapSubcommand)]
pub(crate) enum Command {
    /// List the records that were set aside and not replayed since, the oldest first.
    List,
    /// Show one with everything that was in it.
    Show { id: Uuid },
    /// Hand one to its consumer again, and to no other.
    Replay { id: Uuid },
}

pub(crate) async fn run(settings: &Settings, command: Command) -> Result<()> {
    let db = database::open_existing(settings).await?;
    match command {
        Command::List => list(&db).await?,
        Command::Show { id } => show(&find(&db, id).await?),
        Command::Replay { id } => replay(&db, &find(&db, id).await?).await?,
    }
    db.close().await;
    Ok(())
}

async fn find(db: &Db, id: Uuid) -> Result<DeadLetter> {
    let found = dead_letters::find(db.read(), id).await?;
    found.with_context(|| format!("there is no dead letter {id}; `tidings dead-letters list` shows those there are"))
}

async fn list(db: &Db) -> Result<()> {
    let letters = dead_letters::list(db.read(), SHOWN).await?;
    for letter in &letters {
        let place = place(letter);
        say(&format!(
            "{}  {}  {}  {place}  {}",
            letter.id,
            timestamp(letter.created_at),
            letter.consumer,
            letter.reason
        ));
    }
    let all = dead_letters::count(db.read()).await?;
    say(&format!("{} of {all} shown", letters.len()));
    Ok(())
}

fn place(letter: &DeadLetter) -> String {
    format!(
        "{}/{}@{}",
        letter.record.topic, letter.record.partition, letter.record.offset
    )
}

fn show(letter: &DeadLetter) {
    let text = |bytes: Option<&[u8]>| bytes.map_or("(none)".to_owned(), |bytes| bytes.escape_ascii().to_string());
    say(&format!("id        {}", letter.id));
    say(&format!("consumer  {}", letter.consumer));
    say(&format!("reason    {}", letter.reason));
    say(&format!("place     {}", place(letter)));
    say(&format!("set aside {}", timestamp(letter.created_at)));
    say(&format!(
        "replayed  {}",
        letter.replayed_at.map_or("not yet".to_owned(), timestamp)
    ));
    for (name, value) in &letter.record.headers {
        say(&format!("header    {name}: {}", value.escape_ascii()));
    }
    say(&format!("key       {}", text(letter.record.key.as_deref())));
    say(&format!("value     {}", text(letter.record.value.as_deref())));
}

async fn replay(db: &Db, letter: &DeadLetter) -> Result<()> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let replayed = match letter.consumer.as_str() {
        tidings_delivery::GROUP => tidings_delivery::replay(db, &clock, &letter.record)
            .await
            .map_err(anyhow::Error::new),
        tidings_notifier::GROUP => tidings_notifier::replay(db, &clock, &letter.record)
            .await
            .map_err(anyhow::Error::new),
        other => bail!("no consumer here is called {other}"),
    };
    replayed.with_context(|| format!("{} refused the record again, and it stays", letter.consumer))?;
    let (id, now) = (letter.id, clock.now());
    db.write::<_, Error, _>(move |tx| Box::pin(dead_letters::mark_replayed(tx, id, now)))
        .await?;
    say(&format!("replayed {}", place(letter)));
    Ok(())
}
