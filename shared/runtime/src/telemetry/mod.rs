//! Logs, metrics and traces.
//!
//! Logs go to stderr, since stdout belongs to what a command was asked to print: readable on a terminal,
//! one JSON object per line anywhere else. `RUST_LOG` chooses what is logged.

mod metrics;
pub mod traces;

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

pub use metrics::{MetricsHandle, install_metrics};

/// What is logged unless `RUST_LOG` says otherwise: these libraries report at `info` what only their
/// authors want to read.
const DEFAULT_FILTER: &str = "info,actix_server=warn,h2=warn,hyper=warn,librdkafka=warn,rdkafka=warn,rustls=warn,sea_orm_migration=warn,sqlx=warn";

/// Starts logging. The second call in a process does nothing.
pub fn init() {
    let asked = std::env::var("RUST_LOG").unwrap_or_default();
    let (filter, refused) = filter(&asked);
    let registry = tracing_subscriber::registry().with(filter);
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let started = if std::io::stderr().is_terminal() {
        registry.with(layer.compact()).try_init()
    } else {
        registry
            .with(
                layer
                    .json()
                    .flatten_event(true)
                    .with_current_span(true)
                    .with_span_list(false),
            )
            .try_init()
    };
    if let (Ok(()), Some(error)) = (started, refused) {
        tracing::warn!(%error, "RUST_LOG cannot be read and is ignored");
    }
}

/// The filter that was asked for, or the default one with the reason why.
fn filter(asked: &str) -> (EnvFilter, Option<ParseError>) {
    let default = || EnvFilter::new(DEFAULT_FILTER);
    if asked.trim().is_empty() {
        return (default(), None);
    }
    match EnvFilter::try_new(asked) {
        Ok(filter) => (filter, None),
        Err(error) => (default(), Some(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_filter_can_be_read() {
        EnvFilter::try_new(DEFAULT_FILTER).unwrap();
        assert!(filter("").1.is_none());
        assert!(filter("tidings_delivery=debug").1.is_none());
    }

    #[test]
    fn a_bad_filter_does_not_silence_the_log() {
        let (filter, refused) = filter("tidings=loudly");
        assert!(refused.is_some());
        assert_eq!(filter.to_string(), EnvFilter::new(DEFAULT_FILTER).to_string());
    }

    #[test]
    fn logging_can_be_started_more_than_once() {
        init();
        init();
    }
}
