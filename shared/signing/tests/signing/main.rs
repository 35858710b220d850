#![allow(clippy::unwrap_used)]

mod foreign;
mod interoperability;
mod properties;
mod refusals;
mod vectors;

use tidings_signing::{ReceivedHeaders, Secret, SignatureHeaders};

const NOW: i64 = 1_767_323_045;

fn secret(text: &str) -> Secret {
    text.parse().unwrap()
}

/// The headers as they arrive when nothing happened to them on the way.
fn received(headers: &SignatureHeaders) -> ReceivedHeaders<'_> {
    ReceivedHeaders::from_lookup(|wanted| headers.iter().find(|(name, _)| *name == wanted).map(|(_, value)| value))
}

/// The same as seen by a receiver of the messaging contract, which knows no `webhook-*` headers.
fn authorization_only(headers: &SignatureHeaders) -> ReceivedHeaders<'_> {
    ReceivedHeaders {
        authorization: Some(&headers.authorization),
        ..ReceivedHeaders::default()
    }
}
