use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::address::Vetting;

/// Resolves names as the operating system does, and keeps back every address that must not be called.
#[derive(Debug)]
pub(super) struct VettingResolver {
    vetting: Arc<Vetting>,
}

/// All addresses of a name were kept back; these are the first of them and the reason for it.
#[derive(Debug, thiserror::Error)]
#[error("{address} is {reason}")]
pub(super) struct AllForbidden {
    pub address: IpAddr,
    pub reason: &'static str,
}

impl VettingResolver {
    pub(super) fn new(vetting: Arc<Vetting>) -> Self {
        Self { vetting }
    }
}

impl Resolve for VettingResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let vetting = self.vetting.clone();
        Box::pin(async move {
            // Port 0 is replaced by the URL's.
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let allowed = vet(&vetting, found)?;
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

fn vet(
    vetting: &Vetting,
    found: impl Iterator<Item = SocketAddr>,
) -> Result<Vec<SocketAddr>, Box<dyn std::error::Error + Send + Sync>> {
    let mut allowed = Vec::new();
    let mut forbidden = None;
    for socket in found {
        match vetting.refusal(socket.ip()) {
            None => allowed.push(socket),
            Some(reason) => {
                forbidden = forbidden.or(Some(AllForbidden {
                    address: socket.ip(),
                    reason,
                }))
            }
        }
    }
    match forbidden {
        _ if !allowed.is_empty() => Ok(allowed),
        Some(forbidden) => Err(forbidden.into()),
        None => Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address").into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vetted(addresses: &[&str]) -> Result<Vec<String>, String> {
        let found = addresses
            .iter()
            .map(|address| SocketAddr::new(address.parse().unwrap(), 0));
        let allowed = vet(&Vetting::new(Vec::new()), found).map_err(|error| error.to_string())?;
        Ok(allowed.iter().map(|socket| socket.ip().to_string()).collect())
    }

    #[test]
    fn a_name_that_also_points_inwards_is_reached_from_outside_only() {
        assert_eq!(
            vetted(&["10.0.0.1", "1.1.1.1", "::1", "2606:4700::1"]).unwrap(),
            ["1.1.1.1", "2606:4700::1"]
        );
    }

    #[test]
    fn a_name_that_points_inwards_is_refused_with_the_first_reason() {
        assert_eq!(
            vetted(&["169.254.169.254", "10.0.0.1"]).unwrap_err(),
            "169.254.169.254 is a cloud metadata address"
        );
        assert_eq!(vetted(&[]).unwrap_err(), "the name has no address");
    }
}
