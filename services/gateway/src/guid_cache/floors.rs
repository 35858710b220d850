use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use tidings_domain::Guid;
use tokio::time::Instant;

/// For how much longer than an entry a floor holds: Redis counts milliseconds, and two machines do not count
/// a second alike.
const SLACK: Duration = Duration::from_millis(100);

/// The versions that changes have made of late. What is older than its floor is not believed.
///
/// A floor is forgotten when all that can lie below it has ended its life. A read that saw what was before
/// the change began before the change was heard of, and what it found dies a life after it began.
#[derive(Debug, Default)]
pub(super) struct Floors {
    floors: HashMap<Guid, Floor>,
    /// When which of them may be forgotten, the soonest first.
    ends: VecDeque<(Instant, Guid)>,
}

#[derive(Debug)]
struct Floor {
    version: i64,
    until: Instant,
}

impl Floors {
    pub(super) fn raise(&mut self, id: Guid, version: i64, now: Instant, life: Duration) {
        self.forget(now);
        let until = now + life + SLACK;
        let floor = self.floors.entry(id).or_insert(Floor { version, until });
        floor.version = floor.version.max(version);
        floor.until = until;
        self.ends.push_back((until, id));
    }

    /// The least version that is believed.
    pub(super) fn of(&self, id: Guid, now: Instant) -> i64 {
        let floor = self.floors.get(&id).filter(|floor| floor.until > now);
        floor.map_or(0, |floor| floor.version)
    }

    fn forget(&mut self, now: Instant) {
        while let Some((_, id)) = self.ends.pop_front_if(|(end, _)| *end <= now) {
            // It may have been raised again since.
            if self.floors.get(&id).is_some_and(|floor| floor.until <= now) {
                self.floors.remove(&id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_floor_holds_for_a_life_after_it_was_raised_last() {
        let (mut floors, start, life) = (Floors::default(), Instant::now(), Duration::from_secs(1));
        let at = |seconds: f64| start + Duration::from_secs_f64(seconds);
        let (one, other) = (Guid::random(), Guid::random());
        assert_eq!(floors.of(one, start), 0);
        floors.raise(one, 3, at(0.0), life);
        floors.raise(one, 2, at(0.5), life);
        assert_eq!(floors.of(one, at(0.5)), 3, "it does not sink");
        assert_eq!(floors.of(one, at(1.5)), 3);
        assert_eq!(floors.of(one, at(2.0)), 0);
        assert_eq!(floors.of(other, at(0.5)), 0);
        for number in 0..100 {
            floors.raise(Guid::random(), 1, at(f64::from(number)), life);
        }
        assert!(floors.floors.len() <= 2 && floors.ends.len() <= 2, "they are forgotten");
    }
}
