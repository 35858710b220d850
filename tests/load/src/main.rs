//! Puts load on a stack of Tidings and says what came of it.
//!
//! The stack is one of its own: the real program in a process of its own, with the embedded parts or on
//! the PostgreSQL and the Kafka that `DATABASE_URL` and `KAFKA_BROKERS` name. Everything stays on
//! loopback. Latencies are counted from when a request was *meant* to be sent: a stack that stalls cannot
//! hide it by keeping its clients from asking.

// A measuring tool prints what it measured.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod fairness;
mod flow;
mod guids;
mod pgbench;
mod receiver;
mod report;
mod target;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};

use crate::report::Report;
use crate::target::Target;

/// Put load on a stack of Tidings and print what came of it.
#[derive(Parser)]
#[command(version, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    scenario: Scenario,
    #[command(flatten)]
    common: Common,
}

#[derive(Args)]
pub(crate) struct Common {
    /// The program to measure. Build it with --release.
    #[arg(long, global = true, default_value = "target/release/tidings")]
    binary: PathBuf,
    /// How long each phase lasts.
    #[arg(long, global = true, default_value_t = 20)]
    seconds: u64,
    /// Also write the figures here, as JSON.
    #[arg(long, global = true)]
    json: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Scenario {
    /// From POST /messages to the acknowledged webhook, at a fixed rate.
    Steady {
        /// Messages per second, sent on time whether or not the stack keeps up.
        #[arg(long, default_value_t = 200)]
        rate: u32,
    },
    /// From POST /messages to the acknowledged webhook, as fast as these connections go.
    FlatOut {
        #[arg(long, default_value_t = 32)]
        connections: usize,
    },
    /// POST /messages against pgbench with the same rows in one transaction, as many clients each.
    /// Needs DATABASE_URL.
    DurableWrite {
        #[arg(long, default_value_t = 64)]
        connections: usize,
        /// Where pgbench is.
        #[arg(long, default_value = "pgbench")]
        pgbench: PathBuf,
    },
    /// A healthy receiver alone, and beside this many that never answer.
    Fairness {
        #[arg(long, default_value_t = 1000)]
        hanging: usize,
        /// Messages per second to the healthy one.
        #[arg(long, default_value_t = 50)]
        rate: u32,
    },
    /// From the answer to PATCH /guid/{guid} to its sight through another gateway. Needs DATABASE_URL and
    /// KAFKA_BROKERS.
    GuidVisibility {
        /// Changes per second.
        #[arg(long, default_value_t = 50)]
        rate: u32,
    },
}

#[tokio::main]
async fn main() -> Result<()> {
    let Arguments { scenario, common } = Arguments::parse();
    let lasting = Duration::from_secs(common.seconds);
    let mut report = Report::new();
    let target = Target::start(&common.binary).await?;
    match scenario {
        Scenario::Steady { rate } => {
            target.warm_up().await?;
            report.add(&format!("steady {rate}/s"), flow::steady(&target, rate, lasting).await?);
        }
        Scenario::FlatOut { connections } => {
            target.warm_up().await?;
            report.add(
                &format!("flat out, {connections} connections"),
                flow::flat_out(&target, connections, lasting).await?,
            );
        }
        Scenario::DurableWrite { connections, pgbench } => {
            target.warm_up().await?;
            let name = format!("durable write, {connections} connections");
            let measured = flow::flat_out(&target, connections, lasting).await?;
            let reference = pgbench::run(&pgbench, connections, lasting).await?;
            report.ratio(
                "accepted per second / pgbench transactions per second",
                measured.accepted_per_second() / reference,
            );
            report.note("pgbench transactions per second", reference);
            report.add(&name, measured);
        }
        Scenario::Fairness { hanging, rate } => {
            target.warm_up().await?;
            fairness::run(&target, &mut report, hanging, rate, lasting).await?;
        }
        Scenario::GuidVisibility { rate } => guids::run(&target, &mut report, rate, lasting).await?,
    }
    target.stop().await?;
    report.print();
    report.write(common.json.as_deref())
}
