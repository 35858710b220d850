use std::fmt;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::{Forbidden, Reach, public};

/// Turns hosts into addresses, and keeps back every address that must not be called. Clones are the same.
#[derive(Debug, Clone)]
pub struct Resolver {
    reach: Arc<Reach>,
    names: Arc<dyn Names>,
}

/// Somebody who knows the addresses of names.
pub trait Names: fmt::Debug + Send + Sync {
    fn addresses<'a>(&'a self, name: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>>;
}

/// Why a host has no address to connect to.
#[derive(Debug, thiserror::Error)]
pub enum Unresolved {
    /// All of its addresses were kept back; this is the first.
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    #[error("the name cannot be resolved: {0}")]
    Unknown(#[from] io::Error),
}

/// Asks the operating system, on a thread of its own that may outlast whoever asked.
#[derive(Debug)]
struct SystemNames;

impl Names for SystemNames {
    fn addresses<'a>(&'a self, name: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name, 0)).await?;
            Ok(found.map(|socket| socket.ip()).collect())
        })
    }
}

impl From<Reach> for Resolver {
    fn from(reach: Reach) -> Self {
        Self::new(reach, Arc::new(SystemNames))
    }
}

impl Resolver {
    pub fn new(reach: Reach, names: Arc<dyn Names>) -> Self {
        Self {
            reach: Arc::new(reach),
            names,
        }
    }

    /// The addresses of a host, which is a name or an address, that may be called: one at least.
    pub async fn resolve(&self, host: &str) -> Result<Vec<IpAddr>, Unresolved> {
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        if let Ok(address) = bare.unwrap_or(host).parse() {
            self.admit(address)?;
            return Ok(vec![address]);
        }
        let mut admitted = Vec::new();
        let mut forbidden = None;
        for address in self.names.addresses(host).await? {
            match self.admit(address) {
                Ok(()) => admitted.push(address),
                Err(error) => forbidden = forbidden.or(Some(error)),
            }
        }
        match forbidden {
            _ if !admitted.is_empty() => Ok(admitted),
            Some(forbidden) => Err(forbidden.into()),
            None => Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address").into()),
        }
    }

    /// Judges an address that is about to be called.
    pub fn admit(&self, address: IpAddr) -> Result<(), Forbidden> {
        self.reach.judge(address)?;
        if !address.to_canonical().is_loopback() {
            let scope = match public::not_public(address) {
                None => "public",
                Some(_) => "private",
            };
            metrics::counter!("tidings_outward_beyond_loopback_total", "scope" => scope).increment(1);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every name has these addresses.
    #[derive(Debug)]
    struct Fixed(Vec<IpAddr>);

    impl Names for Fixed {
        fn addresses<'a>(&'a self, _: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
            Box::pin(async { Ok(self.0.clone()) })
        }
    }

    async fn resolved(reach: Reach, addresses: &[&str]) -> Result<Vec<String>, String> {
        let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
        let resolver = Resolver::new(reach, Arc::new(Fixed(addresses)));
        match resolver.resolve("somebody.example").await {
            Ok(admitted) => Ok(admitted.iter().map(ToString::to_string).collect()),
            Err(error) => Err(error.to_string()),
        }
    }

    fn public() -> Reach {
        Reach::Public { and: Vec::new() }
    }

    #[tokio::test]
    async fn a_name_that_also_points_inwards_is_reached_from_outside_only() {
        assert_eq!(
            resolved(public(), &["10.0.0.1", "1.1.1.1", "::1", "2606:4700::1"])
                .await
                .unwrap(),
            ["1.1.1.1", "2606:4700::1"]
        );
    }

    #[tokio::test]
    async fn a_name_that_points_inwards_is_refused_with_the_first_reason() {
        assert_eq!(
            resolved(public(), &["169.254.169.254", "10.0.0.1"]).await.unwrap_err(),
            "169.254.169.254 is a cloud metadata address, and TIDINGS_WEBHOOK_ALLOW does not name it"
        );
        let none = resolved(public(), &[]).await.unwrap_err();
        assert!(none.ends_with("the name has no address"), "{none}");
    }

    #[tokio::test]
    async fn who_may_reach_loopback_only_gets_nothing_else_by_name() {
        assert_eq!(
            resolved(Reach::loopback(), &["8.8.8.8", "127.0.0.1", "::1"])
                .await
                .unwrap(),
            ["127.0.0.1", "::1"]
        );
        for address in ["8.8.8.8", "2001:4860:4860::8888", "192.168.1.1"] {
            let refusal = resolved(Reach::loopback(), &[address]).await.unwrap_err();
            assert!(refusal.starts_with(&format!("{address} is outside")), "{refusal}");
        }
    }

    #[tokio::test]
    async fn a_host_that_is_an_address_is_judged_without_being_resolved() {
        let resolver = Resolver::new(Reach::loopback(), Arc::new(Fixed(vec!["127.0.0.1".parse().unwrap()])));
        for host in ["8.8.8.8", "2001:4860:4860::8888", "[2001:4860:4860::8888]"] {
            let refusal = resolver.resolve(host).await.unwrap_err();
            assert!(matches!(refusal, Unresolved::Forbidden(_)), "{host}: {refusal}");
        }
        for host in ["127.0.0.1", "[::1]", "::1"] {
            assert_eq!(resolver.resolve(host).await.unwrap().len(), 1, "{host}");
        }
    }
}
