//! The clock of the delivery job.

use crate::clock::SharedClock;
use crate::domain::time::{Span, Timestamp};

/// Time that does not go back: after a jump of the clock it goes on from where it was until the clock has caught up.
#[derive(Default)]
pub(super) struct Steady {
    last: Timestamp,
    ahead: Span,
}

impl Steady {
    pub(super) fn now(&mut self, clock: &SharedClock) -> Timestamp {
        let wall = clock.now();
        if wall >= self.last {
            self.ahead = Span::ZERO;
        } else if wall + self.ahead < self.last {
            self.ahead = self.last - wall;
        }
        self.last = self.last.max(wall + self.ahead);
        wall + self.ahead
    }
}
