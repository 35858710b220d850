use std::process::ExitCode;

use anyhow::Result;
use clap::Subcommand as ClapSubcommand;
use tidings_audit::{Progress, VerifyError};
use tidings_runtime::settings::Settings;

use crate::banner::{complain, say};
use crate::stack::database;

#[derive(ClapSubcommand)]
pub(crate) enum Command {
    /// Walk the chain from its beginning and name the first record that is broken, if one is.
    Verify {
        /// A hash that was noted earlier. It must be in the chain, which shows that nothing before it
        /// was changed and that the log was not cut short of it.
        #[arg(long)]
        head: Option<String>,
    },
    /// Print where the chain ends, to be noted elsewhere.
    Head,
}

pub(crate) async fn run(settings: &Settings, command: Command) -> Result<ExitCode> {
    let db = database::open_existing(settings).await?;
    let code = match command {
        Command::Head => {
            let head = tidings_audit::head(&db).await?;
            say(&format!("{} {}", head.seq, head.hash));
            ExitCode::SUCCESS
        }
        Command::Verify { head } => match tidings_audit::verify(&db, head.as_deref(), progress).await {
            Ok(report) => {
                say(&report.to_string());
                ExitCode::SUCCESS
            }
            Err(VerifyError::Broken(broken)) => {
                say(&format!("BROKEN: {broken}"));
                ExitCode::FAILURE
            }
            Err(error) => return Err(error.into()),
        },
    };
    db.close().await;
    Ok(code)
}

/// A long chain takes a while.
fn progress(Progress { seq, of }: Progress) {
    if of > 10_000 {
        complain(&format!("checked {seq} of {of} records"));
    }
}
