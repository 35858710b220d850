//! The one binary. Without a command it starts the whole stack; each command is a file of its own.

mod banner;
mod command;
mod receiver;
mod stack;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use tidings_runtime::health::BuildInfo;
use tidings_runtime::settings::Settings;
use tidings_runtime::telemetry;

use crate::command::{audit, dead_letters, demo, endpoints, health, keys, migrate, receive};
use crate::stack::Role;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What this binary was built from.
const BUILD: BuildInfo = BuildInfo {
    version: env!("CARGO_PKG_VERSION"),
    commit: env!("BUILD_COMMIT"),
    built_at: env!("BUILD_TIME"),
};

/// One API to send messages, and the machinery that makes sure they arrive.
///
/// Settings come from the environment and from tidings.toml; docs/settings.md lists them.
#[derive(Parser)]
#[command(version, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Start the whole stack in one process, with a database and a broker of its own unless
    /// DATABASE_URL and KAFKA_BROKERS name others. This is what happens without a command.
    Up,
    /// Run only the HTTP API, and the relay that publishes what it writes.
    Gateway,
    /// Run only the webhook deliveries.
    Delivery,
    /// Run only the notifications of users by email, SMS and the like.
    Notifier,
    /// Run only the audit log, or look at it.
    Audit {
        #[command(subcommand)]
        command: Option<audit::Command>,
    },
    /// Run a webhook receiver that verifies signatures and prints what it is sent.
    Receiver,
    /// Play one message through a stack of its own and show every step with its time.
    Demo,
    /// Bring the database up to date.
    Migrate,
    /// Ask a service that runs whether it is ready, and fail if it is not.
    Health {
        /// Where to ask; by default /health/ready at TIDINGS_OPS_LISTEN.
        url: Option<reqwest::Url>,
    },
    /// Manage webhook endpoints.
    Endpoints {
        #[command(subcommand)]
        command: endpoints::Command,
    },
    /// Manage the keys to the API.
    Keys {
        #[command(subcommand)]
        command: keys::Command,
    },
    /// Look at records that could not be handled, and hand them to their consumer again.
    DeadLetters {
        #[command(subcommand)]
        command: dead_letters::Command,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(arguments.command.unwrap_or(Command::Up)) {
        Ok(code) => code,
        Err(error) => {
            banner::complain(&format!("tidings: {}", banner::in_one_line(&error)));
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn run(command: Command) -> Result<ExitCode> {
    telemetry::init();
    // Each receiver that hangs holds a connection. The soft limit is often 1,024, for the sake of programs that cannot
    // count further; this one can. Where it cannot be raised, it stays.
    if let Err(error) = rlimit::increase_nofile_limit(u64::MAX) {
        tracing::debug!(%error, "the limit of open files stays as it is");
    }
    let settings = Settings::from_process()?;
    match command {
        Command::Up => stack::up(settings).await?,
        Command::Gateway => stack::alone(settings, Role::Gateway).await?,
        Command::Delivery => stack::alone(settings, Role::Delivery).await?,
        Command::Notifier => stack::alone(settings, Role::Notifier).await?,
        Command::Audit { command: None } => stack::alone(settings, Role::Audit).await?,
        Command::Audit { command: Some(command) } => return audit::run(&settings, command).await,
        Command::Receiver => receive::run(&settings).await?,
        Command::Demo => demo::run().await?,
        Command::Migrate => migrate::run(&settings).await?,
        Command::Health { url } => return health::run(&settings, url).await,
        Command::Endpoints { command } => endpoints::run(&settings, command).await?,
        Command::Keys { command } => keys::run(&settings, command).await?,
        Command::DeadLetters { command } => dead_letters::run(&settings, command).await?,
    }
    Ok(ExitCode::SUCCESS)
}
