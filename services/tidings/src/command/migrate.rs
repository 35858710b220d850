use anyhow::Result;
use tidings_runtime::settings::Settings;

use crate::banner::say;
use crate::stack::database;

/// Brings the database up to date, creating it if it is a file.
pub(crate) async fn run(settings: &Settings) -> Result<()> {
    let location = database::location(settings);
    let _folder = database::lock(&location)?;
    match database::migrate(&location).await? {
        0 => say("the database is up to date"),
        1 => say("1 migration applied"),
        applied => say(&format!("{applied} migrations applied")),
    }
    Ok(())
}
