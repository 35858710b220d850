//! How a process stops: on a signal, in order, within a limit.
//!
//! Guaranteed: the first SIGINT or SIGTERM cancels a token that every long-running task watches; the
//! process has at most [`DRAIN`] from then on; what had not ended by then is named. The second signal ends
//! the process at once with code 130.
//!
//! Not guaranteed: that a task which ignores its token finishes what it was doing. Everything durable must
//! survive a kill anyway; draining only makes stopping quick and quiet.

mod supervisor;

use std::io;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

pub use supervisor::{Supervisor, SupervisorError};

/// How long a process may take to stop, in all.
pub const DRAIN: Duration = Duration::from_secs(20);

/// What the shell reports for a process that was interrupted.
const INTERRUPTED: i32 = 130;

/// A token that the first SIGINT or SIGTERM cancels. From this call on the second one exits at once.
///
/// Must be called within an async runtime.
pub fn on_signals() -> io::Result<CancellationToken> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let token = CancellationToken::new();
    let stop = token.clone();
    tokio::spawn(async move {
        let name = tokio::select! {
            _ = interrupt.recv() => "SIGINT",
            _ = terminate.recv() => "SIGTERM",
        };
        tracing::info!(signal = name, "stopping; a second signal stops at once");
        stop.cancel();
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        tracing::warn!("stopped at once by a second signal");
        std::process::exit(INTERRUPTED);
    });
    Ok(token)
}
