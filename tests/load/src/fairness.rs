//! Whether receivers that never answer are felt by one that does.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::json;
use tidings_delivery::endpoints::{self, NewEndpoint};
use tidings_domain::{Clock, EventTypes, SystemClock};
use tidings_runtime::http_client::OutwardClient;
use tidings_runtime::reach::Reach;
use tidings_vault::Vault;

use crate::flow::{self, Measured};
use crate::report::Report;
use crate::target::Target;

pub(crate) async fn run(
    target: &Target,
    report: &mut Report,
    hanging: usize,
    rate: u32,
    lasting: Duration,
) -> Result<()> {
    let alone = flow::steady(target, rate, lasting).await?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let db = target.stack.database().await;
    // The stack made it at its start.
    let key = std::fs::read_to_string(target.stack.folder().join("data/encryption.key"))?;
    let vault = Vault::from_text(&key.trim_end().into())?;
    let client = OutwardClient::new(Reach::loopback())?;
    let types = EventTypes::Only(vec!["tidings.contact.created".to_owned()]);
    for number in 0..hanging {
        let url = target
            .receiver
            .hanging_url(number)
            .parse()
            .map_err(anyhow::Error::new)?;
        let new = NewEndpoint {
            url,
            secret: None,
            event_types: types.clone(),
        };
        let added = endpoints::add(&db, &clock, &vault, &client, new).await;
        added.context("an endpoint could not be added")?;
    }
    // Each new contact is owed to all of them, and attempted after 0, 1 and 3 s for 2 s each: so each of them always
    // has something to hang on.
    let nagging = async {
        for number in 0_u64.. {
            let contact = json!({ "name": "Nag", "phone": format!("+4178{number:07}") });
            let _ = target.stack.try_post("/contacts", &contact).await;
            tokio::time::sleep(Duration::from_secs(3)).await;
        }
    };
    let beside = tokio::select! {
        beside = flow::steady(target, rate, lasting) => beside?,
        () = nagging => unreachable!("nagging does not end"),
    };
    let p99 = |measured: &Measured| measured.arriving.value_at_quantile(0.99) as f64;
    report.ratio(
        &format!("p99 beside {hanging} hanging / p99 alone"),
        p99(&beside) / p99(&alone),
    );
    report.add(&format!("healthy alone, {rate}/s"), alone);
    report.add(&format!("healthy beside {hanging} hanging, {rate}/s"), beside);
    Ok(())
}
