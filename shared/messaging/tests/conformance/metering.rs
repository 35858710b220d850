//! Reads the metrics that the crate reports.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex};

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};

static METERS: LazyLock<Meters> = LazyLock::new(|| {
    let meters = Meters::default();
    metrics::set_global_recorder(meters.clone()).unwrap();
    meters
});

#[derive(Default, Clone)]
struct Meters {
    counters: Arc<Mutex<HashMap<Key, Arc<AtomicU64>>>>,
    /// The numbers' bits.
    gauges: Arc<Mutex<HashMap<Key, Arc<AtomicU64>>>>,
}

/// Starts the metering. What happened before does not count.
pub fn start() {
    LazyLock::force(&METERS);
}

/// What has been counted under a name for a group so far.
pub fn counted(name: &str, group: &str) -> u64 {
    of(&METERS.counters, name, group).into_iter().sum()
}

/// What a group's gauge shows, once it shows something.
pub fn shown(name: &str, group: &str) -> Option<f64> {
    of(&METERS.gauges, name, group)
        .first()
        .map(|bits| f64::from_bits(*bits))
}

fn of(meters: &Mutex<HashMap<Key, Arc<AtomicU64>>>, name: &str, group: &str) -> Vec<u64> {
    let meters = meters.lock().unwrap();
    let of_group = |key: &Key| {
        key.labels()
            .any(|label| label.key() == "group" && label.value() == group)
    };
    let found = meters.iter().filter(|(key, _)| key.name() == name && of_group(key));
    found.map(|(_, meter)| meter.load(Ordering::Relaxed)).collect()
}

impl Recorder for Meters {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.counters.lock().unwrap().entry(key.clone()).or_default().clone())
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.gauges.lock().unwrap().entry(key.clone()).or_default().clone())
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}
