use std::error::Error as StdError;
use std::net::IpAddr;
use std::time::Duration;

use super::CONNECT_TIMEOUT;
use crate::reach::{Forbidden, Reason};

/// Why a client could not be made.
#[derive(Debug, thiserror::Error)]
#[error("the HTTP client cannot be started")]
pub struct BuildError(#[source] pub(super) reqwest::Error);

/// Why there is no answer. The texts are kept with the attempt and shown to people; they name the host and
/// nothing else of the request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// Not a URL for this client at all.
    #[error("{reason}")]
    Unsuitable { reason: &'static str },

    /// The host's address must not be called; nothing was sent.
    #[error("{host} is not allowed: {address} is {reason}")]
    Forbidden {
        host: String,
        address: IpAddr,
        reason: Reason,
    },

    /// The whole answer did not come in time. The request may have been received.
    #[error("no complete answer from {host} within {}", humantime::format_duration(*deadline))]
    Timeout { host: String, deadline: Duration },

    /// No connection was made; nothing was sent.
    #[error("no connection to {host}: {reason}")]
    Connect { host: String, reason: String },

    /// The exchange broke off. The request may have been received.
    #[error("the exchange with {host} broke off: {reason}")]
    Io { host: String, reason: String },
}

impl CallError {
    pub(super) fn from_send(error: &reqwest::Error, host: &str) -> Self {
        let host = host.to_owned();
        if let Some(Forbidden { address, reason }) = chain(error).find_map(|cause| cause.downcast_ref()) {
            return Self::Forbidden {
                host,
                address: *address,
                reason: *reason,
            };
        }
        if error.is_connect() && error.is_timeout() {
            let reason = format!("none was made within {}", humantime::format_duration(CONNECT_TIMEOUT));
            return Self::Connect { host, reason };
        }
        if error.is_connect() {
            return Self::Connect {
                host,
                reason: root_cause(error),
            };
        }
        Self::Io {
            host,
            reason: root_cause(error),
        }
    }

    pub(super) fn from_read(error: &reqwest::Error, host: &str) -> Self {
        Self::Io {
            host: host.to_owned(),
            reason: root_cause(error),
        }
    }
}

/// An error and what caused it, outermost first.
fn chain<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |error| (*error).source())
}

/// The innermost cause says what happened; the outermost would also show the URL.
fn root_cause(error: &reqwest::Error) -> String {
    let inner = chain(error).skip(1).last();
    inner.map_or_else(|| "the request could not be sent".to_owned(), ToString::to_string)
}
