use std::net::IpAddr;

use url::{Host, Url};

use super::CallError;
use crate::reach::{Forbidden, Resolver};

/// Checks what can be checked before a name is resolved, and gives the host. A host that is an address
/// is never resolved, so this is where it is judged.
pub(super) fn host(url: &Url, resolver: &Resolver) -> Result<String, CallError> {
    let unsuitable = CallError::Unsuitable {
        reason: "the URL must begin with http:// or https:// and name a host",
    };
    if !matches!(url.scheme(), "http" | "https") {
        return Err(unsuitable);
    }
    let (host, address) = match url.host() {
        None => return Err(unsuitable),
        Some(Host::Domain(name)) => return Ok(name.to_owned()),
        Some(Host::Ipv4(address)) => (address.to_string(), IpAddr::V4(address)),
        Some(Host::Ipv6(address)) => (format!("[{address}]"), IpAddr::V6(address)),
    };
    match resolver.admit(address) {
        Err(Forbidden { address, reason }) => Err(CallError::Forbidden { host, address, reason }),
        Ok(()) => Ok(host),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reach::Reach;

    fn check(url: &str) -> Result<String, CallError> {
        host(&Url::parse(url).unwrap(), &Reach::Public { and: Vec::new() }.into())
    }

    #[test]
    fn every_spelling_of_a_forbidden_address_is_the_address() {
        for host in [
            "127.0.0.1",
            "127.1",
            "127.0.1",
            "2130706433",
            "0x7f.1",
            "0x7f000001",
            "0177.0.0.1",
            "127.0.0.1.",
            "%31%32%37.0.0.1",
            "１２７.0.0.1",
            "127。0。0。1",
            "[::1]",
            "[0:0:0:0:0:0:0:1]",
            "[::ffff:127.0.0.1]",
            "[::ffff:7f00:1]",
            "0",
        ] {
            let error = check(&format!("http://{host}:8080/hook?token=hidden")).unwrap_err();
            assert!(matches!(error, CallError::Forbidden { .. }), "{host}: {error}");
            assert!(!error.to_string().contains("hidden"));
        }
    }

    #[test]
    fn only_web_addresses_are_called() {
        for url in ["ftp://example.com/", "file:///etc/passwd", "data:text/plain,x"] {
            let error = check(url).unwrap_err();
            assert!(matches!(error, CallError::Unsuitable { .. }), "{url}");
        }
        assert_eq!(check("https://example.com/").unwrap(), "example.com");
    }
}
