//! Figures, for a person and for a program.

use std::path::Path;

use anyhow::{Context, Result};
use hdrhistogram::Histogram;
use serde::Serialize;

use crate::flow::Measured;

#[derive(Default, Serialize)]
pub(crate) struct Report {
    phases: Vec<Phase>,
    ratios: Vec<(String, f64)>,
    notes: Vec<(String, f64)>,
    spreads: Vec<(String, Quantiles)>,
}

#[derive(Serialize)]
struct Phase {
    name: String,
    accepted: u64,
    refused: u64,
    missing: u64,
    repeated: u64,
    accepted_per_second: f64,
    arrived_per_second: f64,
    /// Share of one core.
    processor: f64,
    accepting_ms: Quantiles,
    arriving_ms: Quantiles,
}

#[derive(Serialize)]
struct Quantiles {
    p50: f64,
    p95: f64,
    p99: f64,
    max: f64,
}

impl From<&Histogram<u64>> for Quantiles {
    fn from(histogram: &Histogram<u64>) -> Self {
        let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1000.0;
        Self {
            p50: at(0.5),
            p95: at(0.95),
            p99: at(0.99),
            max: histogram.max() as f64 / 1000.0,
        }
    }
}

impl Report {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn add(&mut self, name: &str, measured: Measured) {
        self.phases.push(Phase {
            name: name.to_owned(),
            accepted: measured.accepted(),
            refused: measured.refused,
            missing: measured.missing(),
            repeated: measured.repeated,
            accepted_per_second: measured.accepted_per_second(),
            arrived_per_second: measured.arrived_per_second(),
            processor: measured.processor,
            accepting_ms: Quantiles::from(&measured.accepting),
            arriving_ms: Quantiles::from(&measured.arriving),
        });
    }

    pub(crate) fn ratio(&mut self, name: &str, ratio: f64) {
        self.ratios.push((name.to_owned(), ratio));
    }

    pub(crate) fn note(&mut self, name: &str, figure: f64) {
        self.notes.push((name.to_owned(), figure));
    }

    /// Times, in microseconds.
    pub(crate) fn spread(&mut self, name: &str, times: &Histogram<u64>) {
        self.spreads.push((name.to_owned(), times.into()));
    }

    pub(crate) fn print(&self) {
        for phase in &self.phases {
            println!("\n{}", phase.name);
            println!(
                "  accepted {} ({:.0}/s), refused {}, missing {}, repeated {}",
                phase.accepted, phase.accepted_per_second, phase.refused, phase.missing, phase.repeated
            );
            println!(
                "  arrived at {:.0}/s; the stack's process used {:.0} % of a core",
                phase.arrived_per_second,
                phase.processor * 100.0
            );
            println!("  {:26}{:>9}{:>9}{:>9}{:>9}", "ms", "p50", "p95", "p99", "max");
            for (what, q) in [
                ("POST to its answer", &phase.accepting_ms),
                ("POST to the webhook", &phase.arriving_ms),
            ] {
                println!("  {what:26}{:>9.2}{:>9.2}{:>9.2}{:>9.2}", q.p50, q.p95, q.p99, q.max);
            }
        }
        if !self.spreads.is_empty() {
            println!("\n  {:38}{:>9}{:>9}{:>9}{:>9}", "ms", "p50", "p95", "p99", "max");
        }
        for (name, q) in &self.spreads {
            println!("  {name:38}{:>9.2}{:>9.2}{:>9.2}{:>9.2}", q.p50, q.p95, q.p99, q.max);
        }
        for (name, figure) in &self.notes {
            println!("\n{name}: {figure:.0}");
        }
        for (name, ratio) in &self.ratios {
            println!("\n{name}: {ratio:.2}");
        }
    }

    pub(crate) fn write(&self, path: Option<&Path>) -> Result<()> {
        let Some(path) = path else { return Ok(()) };
        let json = serde_json::to_vec_pretty(self)?;
        std::fs::write(path, json).with_context(|| format!("{} cannot be written", path.display()))
    }
}
