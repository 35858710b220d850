use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

/// The address of the client behind a connection: the peer's own, or, if the peer is a trusted proxy, the
/// one that it names in `X-Forwarded-For`.
///
/// Each proxy adds at the end whom it was asked by, so the list is read from there, over all who are
/// trusted, to the first who is not. Everything before that one can be made up and does not count. `None`
/// if a trusted proxy names something that is not an address.
pub(crate) fn client_address<'a>(
    peer: IpAddr,
    forwarded: impl DoubleEndedIterator<Item = &'a str>,
    trusted: &[IpNet],
) -> Option<IpAddr> {
    let is_trusted = |address: &IpAddr| trusted.iter().any(|network| network.contains(address));
    let mut client = peer.to_canonical();
    let mut named = forwarded.flat_map(|line| line.split(',')).map(str::trim).rev();
    while is_trusted(&client) {
        // An empty element of a list means nothing.
        let Some(next) = named.find(|name| !name.is_empty()) else {
            break;
        };
        client = parse(next)?;
    }
    Some(client)
}

/// An address as proxies write it: perhaps in brackets, perhaps with a port.
fn parse(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    let address = bare.unwrap_or(text).parse::<IpAddr>();
    let address = address.or_else(|_| text.parse::<SocketAddr>().map(|socket| socket.ip()));
    address.ok().map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn client(peer: &str, forwarded: &[&str]) -> Option<String> {
        let trusted: Vec<IpNet> = ["127.0.0.0/8", "::1/128", "10.0.0.0/8", "fd00::/8"]
            .iter()
            .map(|network| network.parse().unwrap())
            .collect();
        client_address(peer.parse().unwrap(), forwarded.iter().copied(), &trusted).map(|address| address.to_string())
    }

    #[test]
    fn a_stranger_is_not_believed() {
        for forwarded in [&[][..], &["8.8.8.8"], &["127.0.0.1", "8.8.8.8, ::1"], &["nonsense"]] {
            assert_eq!(client("203.0.113.7", forwarded).unwrap(), "203.0.113.7");
            assert_eq!(client("2001:db8::7", forwarded).unwrap(), "2001:db8::7");
            assert_eq!(client("::ffff:203.0.113.7", forwarded).unwrap(), "203.0.113.7");
        }
    }

    #[test]
    fn a_trusted_proxy_names_the_client() {
        for (forwarded, expected) in [
            (&[][..], "127.0.0.1"),
            (&[""], "127.0.0.1"),
            (&["8.8.8.8"], "8.8.8.8"),
            (&["8.8.8.8:1234"], "8.8.8.8"),
            (&["2001:4860::8888"], "2001:4860::8888"),
            (&["[2001:4860::8888]"], "2001:4860::8888"),
            (&["[2001:4860::8888]:1234"], "2001:4860::8888"),
            (&["::ffff:8.8.8.8"], "8.8.8.8"),
            // Whatever the client itself wrote comes first, and does not count.
            (&["1.1.1.1, 8.8.8.8"], "8.8.8.8"),
            (&["127.0.0.1, 8.8.8.8"], "8.8.8.8"),
            (&["nonsense, 8.8.8.8"], "8.8.8.8"),
            // Over several proxies, and several lines.
            (&["1.1.1.1, 8.8.8.8, 10.0.0.2, 10.0.0.3"], "8.8.8.8"),
            (&["1.1.1.1", "8.8.8.8 , 10.0.0.2", "fd00::3"], "8.8.8.8"),
            (&["8.8.8.8,, ,10.0.0.2,"], "8.8.8.8"),
            // All the way inside.
            (&["10.0.0.9, 10.0.0.2"], "10.0.0.9"),
        ] {
            assert_eq!(client("127.0.0.1", forwarded).unwrap(), expected, "{forwarded:?}");
            assert_eq!(
                client("::ffff:127.0.0.1", forwarded).unwrap(),
                expected,
                "{forwarded:?}"
            );
        }
        assert_eq!(client("::1", &["8.8.8.8"]).unwrap(), "8.8.8.8");
    }

    #[test]
    fn what_a_proxy_names_must_be_an_address() {
        for forwarded in [
            "unknown",
            "_hidden",
            "8.8.8",
            "8.8.8.8:x",
            "8.8.8.8/32",
            "fe80::1%eth0",
            "\"8.8.8.8\"",
        ] {
            assert_eq!(client("127.0.0.1", &[forwarded]), None, "{forwarded}");
        }
    }

    proptest! {
        /// Nobody gets in front of what the last trusted proxy has seen.
        #[test]
        fn what_comes_before_an_untrusted_address_does_not_count(made_up in "[0-9a-f:., x]{0,40}", seen in any::<u32>()) {
            let seen = std::net::Ipv4Addr::from(seen | 0x8000_0000);
            let list = format!("{made_up},{seen}");
            prop_assert_eq!(client("127.0.0.1", &[&list]), Some(seen.to_string()));
        }
    }
}
