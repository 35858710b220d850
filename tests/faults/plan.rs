//! What fails when, made up from a seed: the same seed is the same plan.

use std::fmt;
use std::time::Duration;

use tidings_testkit::RealPart;

use crate::cluster::Service;

/// What can be killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Victim {
    Part(RealPart),
    Service(Service),
}

impl fmt::Display for Victim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service(service) => service.fmt(f),
            Self::Part(part) => f.write_str(part.name()),
        }
    }
}

/// Each is killed at least so often.
pub const EACH: usize = 2;

#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// These die at the same moment, and each is started again after its own time.
    Kill {
        victims: Vec<(Victim, Duration)>,
        /// Whether everybody may recover before the next one.
        settle: bool,
        /// How long it is quiet then.
        pause: Duration,
    },
    /// This one stays away for a while.
    Outage(RealPart),
}

/// Every victim at least [`EACH`] times, and an outage of each part; in any order.
pub fn plan(seed: u64, kills: usize) -> Vec<Step> {
    let everybody: Vec<_> = RealPart::ESSENTIAL
        .map(Victim::Part)
        .into_iter()
        .chain(Service::ALL.map(Victim::Service))
        .collect();
    assert!(
        kills >= EACH * everybody.len(),
        "a run has at least {} kills",
        EACH * everybody.len()
    );
    let mut random = fastrand::Rng::with_seed(seed);
    let mut victims = everybody.repeat(EACH);
    while victims.len() < kills {
        victims.push(everybody[random.usize(..everybody.len())]);
    }
    random.shuffle(&mut victims);

    let mut steps = Vec::new();
    while let Some(victim) = victims.pop() {
        let mut struck = vec![victim];
        if random.u32(..4) == 0 && victims.last().is_some_and(|next| *next != victim) {
            struck.extend(victims.pop());
        }
        // A service cannot be started again before the servers that it needs.
        struck.sort();
        let mut time = |longest| Duration::from_millis(random.u64(..longest));
        steps.push(Step::Kill {
            victims: struck.into_iter().map(|victim| (victim, time(3000))).collect(),
            pause: time(2000),
            settle: random.bool(),
        });
    }
    for part in RealPart::ESSENTIAL {
        steps.insert(random.usize(..=steps.len()), Step::Outage(part));
    }
    steps
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn every_plan_has_what_it_must_have_and_follows_from_its_seed() {
        for seed in 0..200 {
            let plan = super::plan(seed, 24);
            assert_eq!(plan, super::plan(seed, 24));
            let mut killed: BTreeMap<Victim, usize> = BTreeMap::new();
            let mut outages = 0;
            for step in &plan {
                match step {
                    Step::Kill { victims, .. } => {
                        assert!(victims.len() < 2 || victims[0].0 != victims[1].0);
                        for (victim, _) in victims {
                            *killed.entry(*victim).or_default() += 1;
                        }
                    }
                    Step::Outage(_) => outages += 1,
                }
            }
            assert_eq!((outages, killed.values().sum::<usize>()), (2, 24));
            assert_eq!(
                (killed.len(), killed.values().filter(|times| **times >= EACH).count()),
                (8, 8)
            );
        }
        assert_ne!(plan(1, 24), plan(2, 24));
    }
}
