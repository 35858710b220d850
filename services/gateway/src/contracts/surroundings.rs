use std::net::IpAddr;

use actix_web::HttpRequest;
use actix_web::http::header::{HOST, HeaderName};
use actix_web::http::uri::Authority;
use ipnet::IpNet;

use crate::location::client_address;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// How requests reach the gateway.
#[derive(Debug, Clone)]
pub(crate) struct Surroundings {
    /// What absolute links begin with, if that does not follow the request.
    pub(crate) public_url: Option<String>,
    /// Whose `X-Forwarded-For` counts.
    pub(crate) trusted_proxies: Vec<IpNet>,
}

impl Surroundings {
    /// What absolute links begin with, without a slash at its end.
    ///
    /// The gateway itself speaks plain HTTP. What a proxy says about itself is not listened to: where there
    /// is one, the public URL is what it is.
    pub(crate) fn base(&self, request: &HttpRequest) -> String {
        if let Some(url) = &self.public_url {
            return url.clone();
        }
        let named = request.headers().get(HOST).and_then(|host| host.to_str().ok());
        let host = named
            .or_else(|| request.uri().authority().map(Authority::as_str))
            .filter(|host| is_host(host));
        match host {
            Some(host) => format!("http://{host}"),
            None => format!("http://{}", request.app_config().local_addr()),
        }
    }

    /// Where the request comes from; `None` if a proxy that is trusted does not tell.
    pub(crate) fn client(&self, request: &HttpRequest) -> Option<IpAddr> {
        let forwarded: Vec<_> = request
            .headers()
            .get_all(FORWARDED_FOR)
            // Text that is none is no address either.
            .map(|line| line.to_str().unwrap_or("?"))
            .collect();
        client_address(request.peer_addr()?.ip(), forwarded.into_iter(), &self.trusted_proxies)
    }
}

/// A name or an address, perhaps with a port, and nothing else that could stand in its place.
fn is_host(text: &str) -> bool {
    text.parse::<Authority>()
        .is_ok_and(|authority| !authority.host().is_empty() && !text.contains('@'))
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn surroundings(public_url: Option<&str>) -> Surroundings {
        Surroundings {
            public_url: public_url.map(str::to_owned),
            trusted_proxies: vec!["127.0.0.0/8".parse().unwrap()],
        }
    }

    #[test]
    fn links_begin_with_what_the_client_called() {
        let base = |host: &str| {
            let request = TestRequest::default()
                .insert_header((HOST, host))
                .insert_header(("X-Forwarded-Host", "elsewhere.example"))
                .insert_header(("X-Forwarded-Proto", "gopher"));
            surroundings(None).base(&request.to_http_request())
        };
        assert_eq!(base("api.example.com"), "http://api.example.com");
        assert_eq!(base("127.0.0.1:8000"), "http://127.0.0.1:8000");
        assert_eq!(base("[::1]:8000"), "http://[::1]:8000");
        for nonsense in ["", "a b", "user@host", "host/path", "<script>", ":80"] {
            assert_eq!(base(nonsense), "http://127.0.0.1:8080", "{nonsense}");
        }
        let public = surroundings(Some("https://api.example.com/tidings"));
        let request = TestRequest::default().insert_header((HOST, "inside:3000"));
        assert_eq!(
            public.base(&request.to_http_request()),
            "https://api.example.com/tidings"
        );
    }

    #[test]
    fn the_client_is_who_trusted_proxies_say() {
        let client = |peer: &str, lines: &[&str]| {
            let mut request = TestRequest::default().peer_addr(peer.parse().unwrap());
            for line in lines {
                request = request.append_header((FORWARDED_FOR, *line));
            }
            surroundings(None)
                .client(&request.to_http_request())
                .map(|address| address.to_string())
        };
        assert_eq!(client("127.0.0.1:1", &["1.1.1.1", "8.8.8.8"]).unwrap(), "8.8.8.8");
        assert_eq!(client("127.0.0.1:1", &["8.8.8.8", "é"]), None);
        assert_eq!(client("203.0.113.7:1", &["8.8.8.8"]).unwrap(), "203.0.113.7");
    }
}
