//! The embedded broker, under the names that its settings have here.

use anyhow::{Result, anyhow};
use tidings_broker::{Broker, Config, Error, Handle};
use tidings_runtime::settings::Settings;
use tokio_util::sync::CancellationToken;

/// Starts the broker on the data folder of the stack.
pub(crate) async fn start(settings: &Settings) -> Result<Handle> {
    let config = Config::new(settings.broker_listen, settings.data_dir.join("broker"));
    Broker::start(config).await.map_err(|error| match error {
        Error::AddressInUse { addr } => {
            anyhow!("the broker cannot listen on {addr}, which is in use: stop what listens there, or set TIDINGS_BROKER_LISTEN")
        }
        Error::Listen { addr, source } => {
            anyhow!("the broker cannot listen on {addr} ({source}): set TIDINGS_BROKER_LISTEN to an address of this machine")
        }
        other => anyhow::Error::new(other).context("the embedded broker cannot start"),
    })
}

/// Keeps it running until it is no longer needed; one that fails takes the stack down.
pub(crate) async fn watch(broker: Handle, cancel: CancellationToken) -> Result<()> {
    let failed = cancel.run_until_cancelled(broker.failed()).await.is_some();
    broker.shutdown().await;
    if failed {
        Err(anyhow!("a part of the embedded broker failed"))
    } else {
        Ok(())
    }
}
