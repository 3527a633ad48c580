//! How fast one receiver is served: a token bucket, a bound on attempts under way, a circuit breaker.

use crate::domain::rule::ReceiverKind;
use crate::domain::time::{Span, Timestamp};

use super::verdict::backoff;

/// Failures in a row after which a receiver is left alone for a while.
const FAILURES_MAX: u32 = 5;
/// Longest time for which the breaker leaves a receiver alone; pages are waiting.
const BREAK_MAX: Span = Span::MINUTE;

/// So few are never a storm.
const WAITING_MIN: usize = 3;
/// So many times what may be under way wait for their turn, so that sending does not wait for the next claims.
const CLAIMED_AHEAD: usize = 12;
/// How often a storm is looked for.
const LOOK_EVERY: Span = Span::SECOND;

/// What a kind of receiver is asked to take.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    pub per_minute: f64,
    /// So many at once after a quiet time.
    pub burst: f64,
    /// So many under way at the same time.
    pub at_once: usize,
    /// Whether people read what it is sent, who are better served by one digest than by a thousand pages.
    pub digests: bool,
}

impl Pace {
    /// Below the vendors' limits (WIRE), so that we rarely hear of them.
    pub fn of(kind: &ReceiverKind) -> Pace {
        let pace = |per_minute: f64, burst: f64, at_once: usize| Pace { per_minute, burst, at_once, digests: true };
        match kind {
            ReceiverKind::Webhook { .. } | ReceiverKind::AlertmanagerWebhook { .. } => pace(600_000.0, 10_000.0, 64),
            ReceiverKind::Pagerduty { .. } => pace(110.0, 60.0, 8),
            ReceiverKind::Opsgenie { .. } => pace(110.0, 60.0, 8),
            ReceiverKind::Email { .. } => pace(240.0, 60.0, 4),
            ReceiverKind::Slack { .. } => pace(60.0, 10.0, 2),
            ReceiverKind::Teams { .. } => pace(120.0, 4.0, 2),
            // Each delivery is up to four calls.
            ReceiverKind::Jira { .. } | ReceiverKind::Servicenow { .. } => pace(60.0, 20.0, 4),
            ReceiverKind::Github { .. } => pace(30.0, 10.0, 1),
            // Each incident has its own: a roll back that stands in a digest is none.
            ReceiverKind::Action { .. } => Pace { digests: false, ..pace(10.0, 5.0, 4) },
        }
    }
}

impl Pace {
    /// So many may wait on an empty bucket. More would wait for over half a minute at this pace: a storm.
    pub fn waiting_max(&self) -> Option<usize> {
        self.digests.then_some(((self.per_minute / 2.0) as usize).max(WAITING_MIN))
    }
}

/// What an attempt says about the receiver, apart from the delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// It answered, with whatever.
    Answers,
    /// It did not, or with trouble of its own.
    Fails,
    /// It asked to be left alone until then.
    Asks(Timestamp),
}

/// A time in which nothing is sent. Remembers when it began, so that a clock that jumps back ends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pause {
    since: Timestamp,
    until: Timestamp,
}

/// One receiver's queue. Lives as long as the process; what must outlast it is in the store.
#[derive(Clone, Debug)]
pub struct Queue {
    pace: Pace,
    tokens: f64,
    filled_at: Timestamp,
    under_way: usize,
    failures: u32,
    pause: Option<Pause>,
    looked_at: Option<Timestamp>,
}

impl Queue {
    /// A rested queue.
    pub fn new(pace: Pace, now: Timestamp) -> Queue {
        Queue { pace, tokens: pace.burst, filled_at: now, under_way: 0, failures: 0, pause: None, looked_at: None }
    }

    /// Takes over the pace of a changed definition.
    pub fn set_pace(&mut self, pace: Pace) {
        self.pace = pace;
        self.tokens = self.tokens.min(pace.burst);
    }

    /// How many may start now.
    pub fn room(&mut self, now: Timestamp) -> usize {
        self.fill(now);
        if self.is_paused(now) {
            return 0;
        }
        self.at_once().saturating_sub(self.under_way).min(self.tokens as usize)
    }

    fn at_once(&self) -> usize {
        // After a break one attempt finds out whether it is over.
        if self.failures >= FAILURES_MAX { 1 } else { self.pace.at_once }
    }

    /// Whether to claim more than the `waiting`: so few wait that they would have started before more can be claimed. What there
    /// is no room for stays in the outbox, for all replicas.
    pub fn wants_more(&mut self, now: Timestamp, waiting: usize) -> bool {
        self.fill(now);
        !self.is_paused(now) && self.tokens as usize > waiting && waiting < CLAIMED_AHEAD * self.at_once()
    }

    /// When there may be room again; `None` when that depends on an attempt under way.
    pub fn room_at(&mut self, now: Timestamp) -> Option<Timestamp> {
        if let Some(pause) = self.pause.filter(|pause| pause.holds(now)) {
            return Some(pause.until);
        }
        self.fill(now);
        if self.tokens < 1.0 {
            let wait = (1.0 - self.tokens) * 60_000.0 / self.pace.per_minute;
            return Some(now + Span(wait.ceil() as i64));
        }
        if self.under_way == 0 { Some(now) } else { None }
    }

    /// The gap between two attempts at its pace.
    pub fn gap(&self) -> Span {
        Span((60_000.0 / self.pace.per_minute).ceil() as i64)
    }

    /// How many may wait, when it is time to look whether more do: its bucket is empty and it is not left alone.
    pub fn storm_from(&mut self, now: Timestamp) -> Option<usize> {
        self.fill(now);
        let lately = self.looked_at.is_some_and(|at| at <= now && now < at + LOOK_EVERY);
        if self.tokens >= 1.0 || self.is_paused(now) || lately {
            return None;
        }
        let most = self.pace.waiting_max()?;
        self.looked_at = Some(now);
        Some(most)
    }

    /// An attempt begins.
    pub fn started(&mut self) {
        self.under_way += 1;
        self.tokens -= 1.0;
    }

    /// An attempt ended without saying anything about the receiver.
    pub fn dropped(&mut self) {
        self.under_way = self.under_way.saturating_sub(1);
    }

    /// An attempt ended.
    pub fn finished(&mut self, health: Health, now: Timestamp, chance: f64) {
        self.dropped();
        match health {
            Health::Answers => {
                self.failures = 0;
                self.pause = None;
            }
            Health::Fails => {
                self.failures = self.failures.saturating_add(1);
                if self.failures >= FAILURES_MAX {
                    let pause = backoff(self.failures - FAILURES_MAX, chance).min(BREAK_MAX);
                    self.hold(now, now + pause);
                }
            }
            Health::Asks(until) => self.hold(now, until),
        }
    }

    /// Nothing more until then, unless it is held for longer already.
    pub fn hold(&mut self, now: Timestamp, until: Timestamp) {
        let later = self.pause.filter(|pause| pause.holds(now)).map_or(until, |pause| pause.until.max(until));
        self.pause = Some(Pause { since: now, until: later });
    }

    /// Whether it is left alone now.
    pub fn is_paused(&self, now: Timestamp) -> bool {
        self.pause.is_some_and(|pause| pause.holds(now))
    }

    fn fill(&mut self, now: Timestamp) {
        let passed = (now - self.filled_at).millis().max(0) as f64;
        self.tokens = (self.tokens + passed * self.pace.per_minute / 60_000.0).min(self.pace.burst);
        self.filled_at = now;
    }
}

impl Pause {
    fn holds(self, now: Timestamp) -> bool {
        self.since <= now && now < self.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: Timestamp = Timestamp(1_000_000);

    fn queue() -> Queue {
        Queue::new(Pace { per_minute: 60.0, burst: 3.0, at_once: 2, digests: true }, T)
    }

    #[test]
    fn a_burst_is_followed_by_the_pace() {
        let mut queue = queue();
        for _ in 0..3 {
            assert!(queue.room(T) > 0);
            queue.started();
            queue.finished(Health::Answers, T, 0.5);
        }
        assert_eq!(queue.room(T), 0);
        assert_eq!(queue.room_at(T), Some(T + Span::SECOND));
        assert_eq!(queue.room(T + Span::SECOND), 1);
        assert_eq!(queue.room(T + Span::HOUR), 2);
    }

    #[test]
    fn more_is_claimed_before_the_last_that_waits_has_started() {
        let mut queue = Queue::new(Pace { per_minute: 60.0, burst: 40.0, at_once: 2, digests: true }, T);
        queue.started();
        queue.started();
        assert_eq!(queue.room(T), 0);
        assert!(queue.wants_more(T, 23) && !queue.wants_more(T, 24), "twelve times as many as start at once");
        queue.hold(T, T + Span::HOUR);
        assert!(!queue.wants_more(T, 0));
        let mut empty = Queue::new(Pace { per_minute: 60.0, burst: 1.0, at_once: 2, digests: true }, T);
        assert!(empty.wants_more(T, 0) && !empty.wants_more(T, 1), "no more than its bucket holds");
    }

    #[test]
    fn a_storm_is_looked_for_on_an_empty_bucket_once_a_second() {
        let mut queue = queue();
        assert_eq!(queue.storm_from(T), None);
        for _ in 0..3 {
            queue.started();
            queue.finished(Health::Answers, T, 0.5);
        }
        assert_eq!((queue.storm_from(T), queue.storm_from(T)), (Some(30), None));
        queue.started();
        assert_eq!(queue.storm_from(T + Span::SECOND), Some(30));
        queue.hold(T, T + Span::HOUR);
        assert_eq!(queue.storm_from(T + Span::seconds(2)), None, "it asked to be left alone");
        let pace = Pace::of(&ReceiverKind::Teams { url: crate::domain::rule::Field::Plain(String::new()) });
        assert_eq!(pace.waiting_max(), Some(60));
        assert_eq!(Pace { per_minute: 1.0, ..pace }.waiting_max(), Some(WAITING_MIN));
        assert_eq!(Pace { digests: false, ..pace }.waiting_max(), None);
    }

    #[test]
    fn attempts_under_way_are_bounded() {
        let mut queue = queue();
        queue.started();
        queue.started();
        assert_eq!((queue.room(T), queue.room_at(T)), (0, None));
        queue.finished(Health::Answers, T, 0.5);
        assert_eq!(queue.room(T), 1);
    }

    #[test]
    fn failures_in_a_row_open_the_breaker_and_one_attempt_closes_it() {
        let mut queue = Queue::new(Pace { per_minute: 6000.0, burst: 100.0, at_once: 10, digests: true }, T);
        for _ in 0..FAILURES_MAX {
            assert!(!queue.is_paused(T));
            queue.started();
            queue.finished(Health::Fails, T, 1.0);
        }
        assert!(queue.is_paused(T) && queue.room(T) == 0);
        let later = T + Span::SECOND;
        assert_eq!(queue.room(later), 1);
        queue.started();
        queue.finished(Health::Fails, later, 1.0);
        assert!(queue.is_paused(later + Span::SECOND) && !queue.is_paused(later + Span::seconds(2)));
        queue.started();
        queue.finished(Health::Answers, later + Span::seconds(2), 1.0);
        assert_eq!(queue.room(later + Span::seconds(2)), 10);
    }

    #[test]
    fn the_breaker_never_holds_for_longer_than_a_minute() {
        let mut queue = queue();
        for _ in 0..40 {
            queue.started();
            queue.finished(Health::Fails, T, 1.0);
        }
        assert!(!queue.is_paused(T + BREAK_MAX));
    }

    #[test]
    fn a_receiver_that_asks_for_time_gets_it_and_a_clock_that_jumps_back_ends_it() {
        let mut queue = queue();
        queue.started();
        queue.finished(Health::Asks(T + Span::HOUR), T, 0.5);
        assert!(queue.is_paused(T + Span::minutes(59)) && !queue.is_paused(T + Span::HOUR));
        assert!(!queue.is_paused(T - Span::HOUR));
        assert_eq!(queue.room_at(T), Some(T + Span::HOUR));
    }
}
