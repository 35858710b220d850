use anyhow::Result;
use tidings_runtime::settings::Settings;
use tidings_runtime::shutdown::{Supervisor, on_signals};
use tidings_signing::Secret;

use crate::banner::say;
use crate::receiver::Receiver;

/// Runs the receiver until Ctrl-C.
pub(crate) async fn run(settings: &Settings) -> Result<()> {
    let secret = Secret::from_text(secrecy::ExposeSecret::expose_secret(&settings.webhook_secret))?;
    let receiver = Receiver::bind(settings.receiver_listen, secret)?;
    say(&format!("receiving webhooks at {} · Ctrl-C stops", receiver.url()));
    let mut supervisor = Supervisor::new(on_signals()?);
    let token = supervisor.token();
    supervisor.spawn("receiver", receiver.run(token));
    Ok(supervisor.run().await?)
}
