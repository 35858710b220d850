//! Carries a plan of faults out, and notes what happened when.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tidings_testkit::{RealPart, eventually_within};
use tokio::time::sleep;

use crate::cluster::{Cluster, RECOVERY, Role, Service};
use crate::plan::{Step, Victim};

/// What happened, by the clock of the run.
#[derive(Debug)]
pub struct Timeline {
    pub began: Instant,
    pub entries: Vec<(Instant, String)>,
    pub outages: Vec<Outage>,
    pub kills: BTreeMap<Victim, usize>,
    /// For how long not everybody was ready, at the longest, after each one was killed.
    pub recovery: BTreeMap<Victim, Duration>,
}

/// For so long one was away, while everybody else was there.
#[derive(Debug, Clone, Copy)]
pub struct Outage {
    pub part: RealPart,
    pub from: Instant,
    pub to: Instant,
}

impl Timeline {
    pub fn begin() -> Self {
        Self {
            began: Instant::now(),
            entries: Vec::new(),
            outages: Vec::new(),
            kills: BTreeMap::new(),
            recovery: BTreeMap::new(),
        }
    }

    pub fn note(&mut self, what: String) {
        let now = Instant::now();
        eprintln!("{:>7.2} s  {what}", now.duration_since(self.began).as_secs_f64());
        self.entries.push((now, what));
    }

    /// Lets all this happen.
    pub async fn carry_out(&mut self, cluster: &mut Cluster, plan: &[Step], outage: Duration) {
        for step in plan {
            match step {
                Step::Kill { victims, settle, pause } => {
                    self.strike(cluster, victims, *settle).await;
                    sleep(*pause).await;
                }
                Step::Outage(part) => {
                    cluster.all_ready().await;
                    self.take_away(cluster, *part, outage).await;
                }
            }
            cluster.nobody_gave_up();
        }
        cluster.all_ready().await;
        self.note("everybody is ready".to_owned());
    }

    async fn strike(&mut self, cluster: &mut Cluster, victims: &[(Victim, Duration)], settle: bool) {
        let struck = Instant::now();
        for (victim, _) in victims {
            match victim {
                Victim::Service(service) => cluster.kill(*service).await,
                Victim::Part(part) => cluster.parts.kill(*part).await,
            }
            *self.kills.entry(*victim).or_default() += 1;
            self.note(format!("{victim} is killed"));
        }
        for (victim, down) in victims {
            sleep(down.saturating_sub(struck.elapsed())).await;
            match victim {
                Victim::Service(service) => cluster.start_one(*service).await,
                Victim::Part(part) => cluster.parts.up(*part).await,
            }
            self.note(format!("{victim} is back"));
        }
        if settle {
            cluster.all_ready().await;
            self.recovered(victims.iter().map(|(victim, _)| *victim), struck);
        }
    }

    fn recovered(&mut self, victims: impl Iterator<Item = Victim>, struck: Instant) {
        let took = struck.elapsed();
        for victim in victims {
            let longest = self.recovery.entry(victim).or_default();
            *longest = took.max(*longest);
        }
        self.note(format!("everybody is ready, after {:.1} s", took.as_secs_f64()));
    }

    async fn take_away(&mut self, cluster: &mut Cluster, part: RealPart, outage: Duration) {
        cluster.parts.kill(part).await;
        let from = Instant::now();
        *self.kills.entry(Victim::Part(part)).or_default() += 1;
        self.note(format!("{} is taken away for {} s", part.name(), outage.as_secs()));
        let watched = Service::new(Role::Gateway, 0);
        eventually_within(
            outage,
            "the gateway says that it is not ready",
            async || match cluster.health(watched).await {
                (503, _) => Ok(()),
                other => Err(other),
            },
        )
        .await;
        sleep(outage.saturating_sub(from.elapsed())).await;
        cluster.nobody_gave_up();
        let to = Instant::now();
        self.outages.push(Outage { part, from, to });
        cluster.parts.up(part).await;
        self.note(format!("{} is back", part.name()));
        eventually_within(RECOVERY, "the gateway is ready", async || {
            match cluster.health(watched).await {
                (200, _) => Ok(()),
                other => Err(other),
            }
        })
        .await;
        cluster.all_ready().await;
        self.recovered([Victim::Part(part)].into_iter(), to);
    }
}
