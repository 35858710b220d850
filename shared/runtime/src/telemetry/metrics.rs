use std::fmt;
use std::sync::OnceLock;
use std::time::Duration;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use metrics_process::Collector;

/// From a lookup in memory to the last retry of a slow receiver.
const SECONDS: [f64; 16] = [
    0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0,
];

/// How often what histograms have collected is folded into their buckets, so that a process whose metrics
/// nobody reads does not grow, and how often it is looked how the process is.
const UPKEEP: Duration = Duration::from_secs(5);

/// Where this process's metrics can be read.
#[derive(Clone)]
pub struct MetricsHandle(PrometheusHandle);

impl MetricsHandle {
    /// All metrics in Prometheus' text format.
    pub fn render(&self) -> String {
        self.0.render()
    }
}

impl fmt::Debug for MetricsHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MetricsHandle")
    }
}

/// Makes the `metrics` macros count from now on. Every call in a process gives the same metrics.
///
/// Histograms whose name ends in `_seconds` have buckets.
pub fn install_metrics() -> MetricsHandle {
    static INSTALLED: OnceLock<MetricsHandle> = OnceLock::new();
    INSTALLED.get_or_init(install).clone()
}

fn install() -> MetricsHandle {
    let builder = PrometheusBuilder::new();
    // Refused only if there were no buckets.
    let builder = builder
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)
        .unwrap_or_else(|_| PrometheusBuilder::new());
    let recorder = builder.build_recorder();
    let handle = recorder.handle();
    if metrics::set_global_recorder(recorder).is_err() {
        tracing::warn!("another recorder was installed first, so the metrics page will be empty");
        return MetricsHandle(handle);
    }
    let upkeep = handle.clone();
    let process = Collector::default();
    process.describe();
    process.collect();
    // A thread rather than a task: metrics belong to the process and outlive any one async runtime.
    let started = std::thread::Builder::new()
        .name("metrics-upkeep".to_owned())
        .spawn(move || {
            loop {
                std::thread::park_timeout(UPKEEP);
                upkeep.run_upkeep();
                process.collect();
            }
        });
    if let Err(error) = started {
        tracing::warn!(%error, "metrics are kept up only when they are read");
    }
    MetricsHandle(handle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_counted_in_buckets_and_every_handle_shows_the_same() {
        let first = install_metrics();
        metrics::histogram!("tidings_test_wait_seconds").record(0.003);
        metrics::counter!("tidings_test_total", "kind" => "one").increment(2);
        let text = install_metrics().render();
        assert!(
            text.contains("tidings_test_wait_seconds_bucket{le=\"0.005\"} 1"),
            "{text}"
        );
        assert!(text.contains("tidings_test_total{kind=\"one\"} 2"), "{text}");
        assert!(first.render().contains("tidings_test_total{kind=\"one\"} 2"));
    }
}
