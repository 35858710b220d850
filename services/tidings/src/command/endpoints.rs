use std::sync::Arc;

use anyhow::Result;
use clap::Subcommand as ClapSubcommand;
use secrecy::{ExposeSecret, SecretString};
use tidings_delivery::endpoints::{self, NewEndpoint};
use tidings_domain::{Clock, EventTypes, SystemClock, WebhookUrl};
use tidings_runtime::http_client::OutwardClient;
use tidings_runtime::reach::Reach;
use tidings_runtime::settings::Settings;

use crate::banner::say;
use crate::stack::{database, vault};

#[derive(ClapSubcommand)]
pub(crate) enum Command {
    /// Add an endpoint and print its id and its secret.
    Add {
        /// Where webhooks are sent: http:// or https://.
        url: WebhookUrl,
        /// Which events: `*` or type names separated by commas.
        #[arg(long, default_value = "*")]
        event_types: EventTypes,
        /// What webhooks are signed with; made up if not given. Visible to other users of this machine
        /// while the command runs, so prefer the one that is made up.
        #[arg(long)]
        secret: Option<SecretString>,
    },
    /// List the endpoints, without their secrets.
    List,
    /// Remove an endpoint and cancel what it is still owed.
    Remove { id: String },
}

pub(crate) async fn run(settings: &Settings, command: Command) -> Result<()> {
    let db = database::open_existing(settings).await?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    match command {
        Command::Add {
            url,
            event_types,
            secret,
        } => {
            let vault = vault::required(settings, "tidings endpoints add")?;
            let and = settings.webhook_allow.clone();
            let client = OutwardClient::new(Reach::Public { and })?;
            let new = NewEndpoint {
                url,
                secret,
                event_types,
            };
            let (added, secret) = endpoints::add(&db, &clock, &vault, &client, new).await?;
            say(&format!("id      {}", added.id));
            say(&format!("url     {}", added.url));
            say(&format!("events  {}", added.event_types));
            say(&format!("secret  {}", secret.expose_secret()));
        }
        Command::List => {
            for endpoint in endpoints::list(&db).await? {
                let state = endpoint.state.as_str();
                say(&format!(
                    "{:36}  {state:8}  {}  {}",
                    endpoint.id, endpoint.event_types, endpoint.url
                ));
            }
        }
        Command::Remove { id } => {
            let removed = endpoints::remove(&db, &clock, &id.into()).await?;
            say(&format!("removed {}", removed.id));
        }
    }
    db.close().await;
    Ok(())
}
