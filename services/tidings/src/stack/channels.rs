//! Whom the notifier hands letters to, by the settings.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::{Result, bail};
use tidings_notifier::channels::{self, Channels, EmailProvider, HttpProvider, MailServer, Providers};
use tidings_runtime::reach::Reach;
use tidings_runtime::settings::Provider;

use super::Parts;

/// The channels that have a provider. In development, one whose provider is not set has the sandbox's.
pub(super) fn open(parts: &Parts) -> Result<Channels> {
    let settings = &parts.settings.providers;
    let email = match &settings.smtp {
        Some(smtp) => Some(EmailProvider::Smtp(MailServer {
            url: smtp.url.clone(),
            from: smtp.from.clone(),
        })),
        None => provider(parts, &settings.email, "EMAIL_PROVIDER_URL", "email")?.map(EmailProvider::Http),
    };
    let providers = Providers {
        email,
        sms: provider(parts, &settings.sms, "SMS_PROVIDER_URL", "sms")?,
        // Whoever runs this process chose them, and may have them in the house.
        resolver: Reach::Anything.into(),
        clock: parts.clock.clone(),
    };
    Ok(channels::open(providers)?)
}

fn provider(parts: &Parts, provider: &Provider, setting: &str, name: &str) -> Result<Option<HttpProvider>> {
    let Some(token) = provider.token.clone() else {
        return Ok(None);
    };
    let url = match &provider.url {
        Some(url) => url.clone(),
        None if !parts.in_development() => return Ok(None),
        None if parts.api.port() == 0 => bail!(
            "set {setting}, or TIDINGS_LISTEN to where the gateway is: its sandbox takes {name} as long as no provider is set"
        ),
        None => format!("http://{}/sandbox/{name}-delivery-service", reachable(parts.api)).into(),
    };
    Ok(Some(HttpProvider { url, token }))
}

/// Where something is reached on this machine that listens there.
fn reachable(listening: SocketAddr) -> SocketAddr {
    let ip = match listening.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listening.port())
}
