use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use tidings_runtime::http_client;
use tidings_runtime::settings::Settings;

use crate::banner::{complain, say};

/// Longer than a service takes to check what it depends on.
const PATIENCE: Duration = Duration::from_secs(4);

/// Asks a service how it is: by default the one at `TIDINGS_OPS_LISTEN` on this machine.
pub(crate) async fn run(settings: &Settings, url: Option<reqwest::Url>) -> Result<ExitCode> {
    let url = match url {
        Some(url) => url,
        None => format!("http://{}/health/ready", reachable(settings.ops_listen)).parse()?,
    };
    http_client::install_crypto_provider();
    let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build()?;
    let answer = client.get(url.clone()).send().await;
    let answer = answer.with_context(|| format!("no answer from {url}"))?;
    let status = answer.status();
    let report = answer.text().await?;
    if status.is_success() {
        say(&report);
        return Ok(ExitCode::SUCCESS);
    }
    complain(&format!("{status}: {report}"));
    Ok(ExitCode::FAILURE)
}

/// Where to reach who listens there.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_listens_everywhere_is_asked_on_loopback() {
        for (listen, asked) in [
            ("0.0.0.0:9000", "127.0.0.1:9000"),
            ("[::]:9000", "[::1]:9000"),
            ("192.0.2.1:9000", "192.0.2.1:9000"),
        ] {
            assert_eq!(reachable(listen.parse().unwrap()).to_string(), asked);
        }
    }
}
