//! What becomes of a delivery after an attempt.

use serde_json::Value;

use crate::domain::time::{Span, Timestamp};
use crate::notify::{Next, SendError, Sent};

use super::queue::Health;

/// A delivery that has failed for so long goes to the dead letters. Greylisting mail servers need an hour.
pub const AGE_MAX: Span = Span::hours(4);
/// A delivery that has failed so often goes to the dead letters.
pub const ATTEMPTS_MAX: i64 = 200;
/// Longest gap between two attempts.
const GAP_MAX: Span = Span::minutes(5);
/// Shortest gap, so that a lucky draw does not hammer.
const GAP_MIN: Span = Span(250);
/// A receiver that asks for more than this is asked again after it.
const PAUSE_MAX: Span = Span::days(1);

/// What becomes of it.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    Delivered { reply: Option<Value>, note: String },
    Retry { due: Timestamp, error: String, progress: Option<Value> },
    Dead { error: String, disable: bool },
}

/// How far a delivery is before the attempt.
#[derive(Clone, Copy, Debug)]
pub struct Story {
    pub created_at: Timestamp,
    /// Attempts before this one.
    pub attempts: i64,
}

/// Decides. `chance` is a draw from [0, 1).
pub fn decide(story: Story, result: Result<Sent, SendError>, now: Timestamp, chance: f64) -> (Verdict, Health) {
    let error = match result {
        Ok(sent) => return (Verdict::Delivered { reply: sent.reply, note: sent.note }, Health::Answers),
        Err(error) => error,
    };
    let after = match error.next {
        // The receiver answered, and said no.
        Next::GiveUp { disable } => return (Verdict::Dead { error: error.why, disable }, Health::Answers),
        Next::Retry { after } => after,
    };
    let gap = backoff(u32::try_from(story.attempts).unwrap_or(u32::MAX), chance);
    let (due, health) = match (after, error.status) {
        // Never earlier than asked; a little later, so that not everything comes at once.
        (Some(after), _) => {
            let until = now + after.min(PAUSE_MAX);
            (until + Span((chance * 1000.0) as i64), Health::Asks(until))
        }
        (None, Some(429)) => (now + gap.max(Span::SECOND), Health::Asks(now + gap.max(Span::SECOND))),
        // It is there but does not want this one yet, as a mail server that greylists.
        (None, Some(status)) if (100..500).contains(&status) => (now + gap, Health::Answers),
        (None, _) => (now + gap, Health::Fails),
    };
    if story.attempts + 1 >= ATTEMPTS_MAX || due - story.created_at > AGE_MAX {
        let error = format!("given up after {} attempts: {}", story.attempts + 1, error.why);
        return (Verdict::Dead { error, disable: false }, health);
    }
    (Verdict::Retry { due, error: error.why, progress: error.progress }, health)
}

/// The gap after `failures` failures: exponential with full jitter.
pub fn backoff(failures: u32, chance: f64) -> Span {
    let most = Span::SECOND.millis().saturating_mul(1_i64.checked_shl(failures.min(20)).unwrap_or(i64::MAX)).min(GAP_MAX.millis());
    Span((most as f64 * chance) as i64).max(GAP_MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_000_000_000);

    fn failed(next: Next, status: Option<u16>) -> Result<Sent, SendError> {
        Err(SendError { next, why: "why".into(), status, progress: None })
    }

    fn after(attempts: i64, age: Span, result: Result<Sent, SendError>) -> (Verdict, Health) {
        decide(Story { created_at: NOW - age, attempts }, result, NOW, 0.999)
    }

    fn due(verdict: &Verdict) -> Timestamp {
        let Verdict::Retry { due, .. } = verdict else { panic!("{verdict:?}") };
        *due
    }

    #[test]
    fn gaps_grow_up_to_a_bound_and_are_drawn_from_all_of_it() {
        let most: Vec<i64> = (0..12).map(|n| backoff(n, 0.999_999).millis() / 900).collect();
        assert!(most.windows(2).all(|pair| pair[0] <= pair[1]), "{most:?}");
        assert!(backoff(40, 0.999) <= GAP_MAX && backoff(u32::MAX, 1.0) == GAP_MAX);
        assert_eq!(backoff(10, 0.0), GAP_MIN);
        assert_eq!(backoff(3, 0.5), Span::seconds(4));
    }

    #[test]
    fn a_receiver_that_asks_for_time_is_never_asked_earlier() {
        let (verdict, health) = after(0, Span::ZERO, failed(Next::Retry { after: Some(Span::seconds(90)) }, Some(429)));
        assert!(due(&verdict) >= NOW + Span::seconds(90) && due(&verdict) < NOW + Span::seconds(92));
        assert_eq!(health, Health::Asks(NOW + Span::seconds(90)));
    }

    #[test]
    fn what_is_too_old_or_too_often_tried_is_dead() {
        let retry = || failed(Next::Retry { after: None }, None);
        assert!(matches!(after(3, Span::hours(1), retry()).0, Verdict::Retry { .. }));
        assert!(matches!(after(3, AGE_MAX, retry()).0, Verdict::Dead { disable: false, .. }));
        assert!(matches!(after(ATTEMPTS_MAX - 1, Span::hours(1), retry()).0, Verdict::Dead { .. }));
        // Asked for more time than the delivery has left: the fallback is told now.
        let long = failed(Next::Retry { after: Some(Span::hours(5)) }, Some(503));
        assert!(matches!(after(0, Span::ZERO, long).0, Verdict::Dead { .. }));
    }

    #[test]
    fn a_no_says_nothing_against_the_receiver() {
        assert_eq!(after(0, Span::ZERO, failed(Next::GiveUp { disable: true }, Some(410))).1, Health::Answers);
        assert_eq!(after(0, Span::ZERO, failed(Next::Retry { after: None }, Some(451))).1, Health::Answers);
        assert_eq!(after(0, Span::ZERO, failed(Next::Retry { after: None }, Some(503))).1, Health::Fails);
        assert_eq!(after(0, Span::ZERO, failed(Next::Retry { after: None }, None)).1, Health::Fails);
    }
}
