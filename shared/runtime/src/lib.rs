//! What every process of Tidings needs in order to run, and nothing about what it does.
//!
//! | module | what it is for |
//! | --- | --- |
//! | [`settings`] | everything that can be configured, read once at start from the environment and `tidings.toml` |
//! | [`telemetry`] | logs on stderr, metrics in Prometheus' format |
//! | [`health`] | `/health…`, `/version` and `/metrics`, and the registry of what "ready" depends on |
//! | [`ops`] | the listener that serves those pages for a service without a gateway |
//! | [`shutdown`] | signals, and the supervision of long-running tasks until all have drained |
//! | [`reach`] | which addresses may be called, and the resolver that keeps back all others |
//! | [`http_client`] | the one HTTP client for calls to the outside |
//! | [`agenda`] | when something that waits in the database is due next |
//! | [`data_dir`] | the folder that one process at a time may own |
//!
//! A process starts in this order: [`telemetry::init`], [`settings::Settings::from_process`],
//! [`telemetry::install_metrics`], [`shutdown::on_signals`], then its own parts under a
//! [`shutdown::Supervisor`].

pub mod agenda;
pub mod data_dir;
pub mod health;
pub mod http_client;
pub mod ops;
pub mod reach;
pub mod settings;
pub mod shutdown;
pub mod telemetry;
