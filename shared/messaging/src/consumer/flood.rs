use std::collections::VecDeque;

/// How many outcomes are remembered.
const WINDOW: usize = 200;

/// Tells some bad records from a bad deployment.
///
/// It is a flood when more than a number of records in a row, or more than half of the last
/// [`WINDOW`], would be set aside.
#[derive(Debug)]
pub(super) struct Flood {
    in_a_row: usize,
    limit: usize,
    /// Whether each of the last records was set aside.
    recent: VecDeque<bool>,
    aside: usize,
}

/// One too many: this many of so many.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooMany {
    pub(super) count: usize,
    pub(super) of: usize,
}

impl Flood {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            in_a_row: 0,
            limit,
            recent: VecDeque::with_capacity(WINDOW),
            aside: 0,
        }
    }

    pub(super) fn handled(&mut self, records: usize) {
        self.in_a_row = 0;
        for _ in 0..records.min(WINDOW) {
            self.remember(false);
        }
    }

    /// Counts a record that is about to be set aside.
    pub(super) fn setting_aside(&mut self) -> Result<(), TooMany> {
        self.in_a_row += 1;
        self.remember(true);
        if self.in_a_row > self.limit {
            Err(TooMany {
                count: self.in_a_row,
                of: self.in_a_row,
            })
        } else if self.recent.len() == WINDOW && self.aside > WINDOW / 2 {
            Err(TooMany {
                count: self.aside,
                of: WINDOW,
            })
        } else {
            Ok(())
        }
    }

    fn remember(&mut self, aside: bool) {
        if self.recent.len() == WINDOW && self.recent.pop_front() == Some(true) {
            self.aside -= 1;
        }
        self.recent.push_back(aside);
        self.aside += usize::from(aside);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_in_a_row_are_a_flood() {
        let mut flood = Flood::new(3);
        flood.handled(1_000);
        assert!((0..3).all(|_| flood.setting_aside().is_ok()));
        assert_eq!(flood.setting_aside(), Err(TooMany { count: 4, of: 4 }));
    }

    #[test]
    fn one_success_ends_a_row() {
        let mut flood = Flood::new(3);
        for _ in 0..1_000 {
            flood.handled(4);
            assert!((0..3).all(|_| flood.setting_aside().is_ok()), "less than half of them");
        }
    }

    #[test]
    fn more_than_half_is_a_flood() {
        let mut flood = Flood::new(100);
        let mut rounds = 0;
        let flooded = loop {
            flood.handled(1);
            if let Some(flooded) = (0..2).find_map(|_| flood.setting_aside().err()) {
                break flooded;
            }
            rounds += 1;
        };
        assert_eq!(
            (flooded.of, rounds),
            (WINDOW, 66),
            "no verdict before the window is full"
        );
    }
}
