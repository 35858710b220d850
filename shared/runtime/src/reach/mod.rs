//! Which addresses a process reaches, and how names become addresses.
//!
//! Guaranteed: a [`Resolver`] gives no address that its [`Reach`] does not admit, whether a host is a name
//! or an address already. It judges anew each time, so a name that resolves differently the second time is
//! judged again. Every address beyond loopback that it lets through is counted first, in
//! `tidings_outward_beyond_loopback_total` with the label `scope` (`public` or `private`): where that metric
//! does not show up, nothing was called outside of this machine.
//!
//! Not guaranteed: that a connection follows, or that there is one for each. A name counts with all of its
//! addresses, once for each connection; a host that is an address counts once for each call.
//!
//! Everything that calls somebody outside resolves hosts here, and connects to nothing else.

mod public;
mod resolver;

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

pub use self::resolver::{Names, Resolver, Unresolved};

/// Which addresses may be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach {
    /// All that are public, and these networks although they are not: for what others choose, such as the
    /// URLs of webhooks.
    Public { and: Vec<IpNet> },
    /// All: for services that whoever runs this process chose, who may have them in the house.
    Anything,
    /// These networks and nothing else: for those who must not get out at all, such as tests.
    Only(Vec<IpNet>),
}

/// An address that must not be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{address} is {reason}")]
pub struct Forbidden {
    pub address: IpAddr,
    pub reason: Reason,
}

/// Why it must not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    #[error("{0}, and TIDINGS_WEBHOOK_ALLOW does not name it")]
    NotPublic(&'static str),
    #[error("outside the networks that may be reached from here")]
    Outside,
}

impl Reach {
    /// This machine and nothing else.
    pub fn loopback() -> Self {
        let v4 = Ipv4Net::new_assert(std::net::Ipv4Addr::new(127, 0, 0, 0), 8);
        let v6 = Ipv6Net::new_assert(std::net::Ipv6Addr::LOCALHOST, 128);
        Self::Only(vec![v4.into(), v6.into()])
    }

    fn judge(&self, address: IpAddr) -> Result<(), Forbidden> {
        let reason = match self {
            Self::Anything => return Ok(()),
            Self::Only(networks) if within(networks, address) => return Ok(()),
            Self::Only(_) => Reason::Outside,
            Self::Public { and } => match public::not_public(address) {
                None => return Ok(()),
                Some(_) if within(and, address) => return Ok(()),
                Some(reason) => Reason::NotPublic(reason),
            },
        };
        Err(Forbidden { address, reason })
    }
}

fn within(networks: &[IpNet], address: IpAddr) -> bool {
    // A mapped address is the IPv4 address in another spelling.
    let canonical = address.to_canonical();
    networks
        .iter()
        .any(|network| network.contains(&address) || network.contains(&canonical))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks(list: &[&str]) -> Vec<IpNet> {
        list.iter().map(|network| network.parse().unwrap()).collect()
    }

    fn admits(reach: &Reach, address: &str) -> bool {
        reach.judge(address.parse().unwrap()).is_ok()
    }

    #[test]
    fn of_what_is_not_public_only_what_is_allowed_is_reached() {
        let reach = Reach::Public {
            and: networks(&["127.0.0.0/8", "fd00:1::/32"]),
        };
        for address in ["127.0.0.1", "127.9.9.9", "::ffff:127.0.0.1", "fd00:1::1", "1.1.1.1"] {
            assert!(admits(&reach, address), "{address}");
        }
        for address in [
            "0.0.0.0",
            "::1",
            "10.0.0.1",
            "fd00:2::1",
            "64:ff9b::127.0.0.1",
            "2002:7f00:1::1",
        ] {
            assert!(!admits(&reach, address), "{address}");
        }
    }

    #[test]
    fn who_may_reach_loopback_only_reaches_nothing_public() {
        let reach = Reach::loopback();
        for address in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            assert!(admits(&reach, address), "{address}");
        }
        for address in ["8.8.8.8", "2001:4860:4860::8888", "10.0.0.1", "0.0.0.0", "128.0.0.1"] {
            assert!(!admits(&reach, address), "{address}");
        }
        let forbidden = reach.judge("8.8.8.8".parse().unwrap()).unwrap_err();
        assert_eq!(
            forbidden.to_string(),
            "8.8.8.8 is outside the networks that may be reached from here"
        );
    }

    #[test]
    fn what_the_operator_chose_may_be_anywhere() {
        for address in ["127.0.0.1", "10.0.0.1", "8.8.8.8", "fe80::1"] {
            assert!(admits(&Reach::Anything, address), "{address}");
        }
    }
}
