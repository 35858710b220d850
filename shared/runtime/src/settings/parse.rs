//! From text to types. A reason never repeats a value that could hold a secret.

use std::net::SocketAddr;
use std::time::Duration;

use ipnet::IpNet;
use secrecy::SecretString;
use tidings_domain::Country;
use url::Url;

use super::Profile;

/// A delivery is leased for 60 seconds; an attempt must have ended by then, or another worker would
/// make it a second time.
const LEASE: Duration = Duration::from_secs(60);

pub(super) fn profile(text: &str) -> Result<Profile, String> {
    match text.trim() {
        "development" => Ok(Profile::Development),
        "production" => Ok(Profile::Production),
        other => Err(format!(
            "`{}` is neither development nor production",
            other.escape_debug()
        )),
    }
}

pub(super) fn socket_address(text: &str) -> Result<SocketAddr, String> {
    let text = text.trim();
    text.parse()
        .map_err(|_| format!("`{}` is not an IP address with a port", text.escape_debug()))
}

pub(super) fn database_url(text: &str) -> Result<SecretString, String> {
    let text = text.trim();
    match text.split_once("://") {
        // Whoever connects would show the whole URL when complaining about it, with its password.
        Some(("postgres" | "postgresql", _)) => match Url::parse(text) {
            Ok(_) => Ok(text.into()),
            Err(error) => Err(format!(
                "the URL cannot be read: {error} (in a password, write characters such as `@`, `/` and `%` percent-encoded)"
            )),
        },
        Some(("sqlite", path)) if path.is_empty() || path.contains('?') => {
            Err("sqlite:// must be followed by the path of a file and nothing else".to_owned())
        }
        Some(("sqlite", _)) => Ok(text.into()),
        _ => Err("the URL must begin with postgres://, postgresql:// or sqlite://".to_owned()),
    }
}

/// It may contain a password, so it is not repeated.
pub(super) fn redis_url(text: &str) -> Result<SecretString, String> {
    let text = text.trim();
    let database = |path: &str| matches!(path, "" | "/") || path[1..].parse::<u32>().is_ok();
    match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "redis" | "rediss") && url.has_host() && database(url.path()) => {
            Ok(text.into())
        }
        _ => Err(
            "the URL must begin with redis:// or rediss:// and name a host, and perhaps a port and a numbered database"
                .to_owned(),
        ),
    }
}

pub(super) fn brokers(text: &str) -> Result<String, String> {
    let mut brokers = Vec::new();
    for broker in text.split(',').map(str::trim) {
        let valid = broker.rsplit_once(':').is_some_and(|(host, port)| {
            !host.is_empty() && !host.contains(char::is_whitespace) && port.parse::<u16>().is_ok_and(|port| port > 0)
        });
        if !valid {
            return Err(format!("`{}` is not of the form host:port", broker.escape_debug()));
        }
        brokers.push(broker);
    }
    Ok(brokers.join(","))
}

pub(super) fn security_protocol(text: &str) -> Result<SecretString, String> {
    let name = text.trim().to_ascii_lowercase();
    if matches!(name.as_str(), "plaintext" | "ssl" | "sasl_plaintext" | "sasl_ssl") {
        return Ok(name.into());
    }
    Err("it must be plaintext, ssl, sasl_plaintext or sasl_ssl".to_owned())
}

pub(super) fn share(text: &str) -> Result<f64, String> {
    let text = text.trim();
    match text.parse() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err(format!("`{}` is not a number from 0 to 1", text.escape_debug())),
    }
}

/// Any text: a secret is taken as it stands, spaces included.
pub(super) fn secret(text: &str) -> Result<SecretString, String> {
    Ok(text.into())
}

/// Checks what can be checked without the cipher. Nothing of it is repeated.
pub(super) fn encryption_keys(text: &str) -> Result<SecretString, String> {
    let fits = |key: &str| key.len() == 44 && key.ends_with('=') && base64(&key[..43]);
    match text.split(',').map(str::trim).all(fits) {
        true => Ok(text.into()),
        false => Err("each key must be 32 bytes in base64, which is 44 characters".to_owned()),
    }
}

fn base64(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'))
}

/// A key has to fit into an HTTP header, where spaces at its ends would be lost.
pub(super) fn api_key(text: &str) -> Result<SecretString, String> {
    if text.trim() != text || text.chars().any(char::is_control) {
        return Err("a key must not begin or end with a space, nor contain control characters".to_owned());
    }
    Ok(text.into())
}

/// It goes into an HTTP header as one word.
pub(super) fn token(text: &str) -> Result<SecretString, String> {
    if text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(text.into());
    }
    Err("a token consists of visible ASCII characters, without spaces".to_owned())
}

/// It may contain a key, so it is not repeated.
pub(super) fn provider_url(text: &str) -> Result<SecretString, String> {
    let text = text.trim();
    match Url::parse(text) {
        Ok(url) if !url.username().is_empty() || url.password().is_some() => Err(
            "the URL must not contain a user name or password; the provider's token is a setting of its own".to_owned(),
        ),
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(text.into()),
        _ => Err("the URL must begin with http:// or https:// and name a host".to_owned()),
    }
}

/// It may contain a password, so it is not repeated.
pub(super) fn smtp_url(text: &str) -> Result<SecretString, String> {
    let text = text.trim();
    let url = Url::parse(text).map_err(|error| {
        format!(
            "the URL cannot be read: {error} (in a password, write characters such as `@`, `/` and `%` percent-encoded)"
        )
    })?;
    let parameters: Vec<_> = url.query_pairs().collect();
    let parameters: Vec<_> = parameters.iter().map(|(name, value)| (&name[..], &value[..])).collect();
    match (url.scheme(), &parameters[..]) {
        _ if url.host_str().is_none_or(str::is_empty) => Err("the URL must name a host".to_owned()),
        _ if url.username().is_empty() != url.password().is_none() => {
            Err("a login is a user name and a password: `user:password@` before the host".to_owned())
        }
        ("smtp", [] | [("tls", "required" | "opportunistic")]) | ("smtps", []) => Ok(text.into()),
        _ => Err(
            "the URL must begin with smtp:// or smtps://, and smtp:// may end with ?tls=required or ?tls=opportunistic"
                .to_owned(),
        ),
    }
}

/// Roughly: what sends mail reads it in full.
pub(super) fn sender(text: &str) -> Result<String, String> {
    let text = text.trim();
    let (_, address) = text.rsplit_once('<').unwrap_or(("", text));
    let parts = address.trim_end_matches('>').split_once('@');
    let complete = parts.is_some_and(|(name, domain)| !name.is_empty() && !domain.is_empty());
    if complete && !text.contains(char::is_control) {
        return Ok(text.to_owned());
    }
    Err(format!(
        "`{}` is neither an email address nor of the form Name <address>",
        text.escape_debug()
    ))
}

pub(super) fn yes_or_no(text: &str) -> Result<bool, String> {
    match text.trim() {
        "true" => Ok(true),
        "false" => Ok(false),
        other => Err(format!("`{}` is neither true nor false", other.escape_debug())),
    }
}

/// The beginning of other URLs, so without a slash at its end.
pub(super) fn public_url(text: &str) -> Result<String, String> {
    let text = text.trim();
    let plain = |url: &Url| {
        let bare = url.query().is_none() && url.fragment().is_none();
        let anonymous = url.username().is_empty() && url.password().is_none();
        matches!(url.scheme(), "http" | "https") && url.has_host() && bare && anonymous
    };
    match Url::parse(text) {
        Ok(url) if plain(&url) => Ok(url.as_str().trim_end_matches('/').to_owned()),
        _ => Err(format!(
            "`{}` is not the beginning of a web address: http:// or https://, a host, and at most a port and a path",
            text.escape_debug()
        )),
    }
}

/// It may contain a key to the service, so it is not repeated.
pub(super) fn geoip_url(text: &str) -> Result<SecretString, String> {
    let text = text.trim();
    if !text.contains("{ip}") {
        return Err("the URL must contain {ip}, where the address goes".to_owned());
    }
    match Url::parse(&text.replace("{ip}", "192.0.2.1")) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(text.into()),
        _ => Err("the URL must begin with http:// or https:// and name a host".to_owned()),
    }
}

pub(super) fn country(text: &str) -> Result<Country, String> {
    let text = text.trim();
    Country::from_code(text).ok_or_else(|| format!("`{}` is not the code of a country", text.escape_debug()))
}

pub(super) fn networks(text: &str) -> Result<Vec<IpNet>, String> {
    let network = |entry: &str| {
        entry
            .parse()
            .map_err(|_| format!("`{}` is not a network such as 10.20.0.0/16", entry.escape_debug()))
    };
    text.split(',').map(str::trim).map(network).collect()
}

pub(super) fn attempt_timeout(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let timeout = humantime::parse_duration(text)
        .map_err(|error| format!("`{}` is not a duration: {error}", text.escape_debug()))?;
    if timeout.is_zero() || timeout >= LEASE {
        return Err("it must be more than 0s and less than 60s, which is how long a delivery is leased".to_owned());
    }
    Ok(timeout)
}

/// For types of the domain, which say themselves why they refuse a text.
pub(super) fn from_str<T: std::str::FromStr<Err = tidings_domain::Invalid>>(text: &str) -> Result<T, String> {
    text.trim()
        .parse()
        .map_err(|invalid: tidings_domain::Invalid| invalid.0)
}
