//! When something is due: cron lines, maintenance windows, time intervals, calendar periods.
//!
//! Pure: every function is told the time.

mod cron;
mod interval;
mod maintenance;
mod period;

use chrono::{DateTime, NaiveDateTime, TimeZone};
use chrono_tz::Tz;

pub use self::cron::{Cron, MONTHS, WEEKDAYS};
pub use self::maintenance::{Windows, union};
use super::rule::Schedule;
use super::time::{Span, Timestamp};

/// A cron line or a time zone that cannot be read; the text says what is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadSchedule(String);

/// Reads an IANA time zone name.
pub fn zone(name: &str) -> Result<Tz, BadSchedule> {
    name.parse().map_err(|_| {
        let short: String = name.chars().take(64).collect();
        BadSchedule(format!("`{short}` is no IANA time zone; write it like \"Europe/Berlin\""))
    })
}

/// A [`Schedule`], read once and asked often.
#[derive(Clone, Debug)]
pub enum Timer {
    Every(Span),
    Cron(Box<Cron>),
}

impl Timer {
    /// Reads the cron line, if it is one.
    pub fn new(schedule: &Schedule) -> Result<Timer, BadSchedule> {
        match schedule {
            Schedule::Every(span) if span.0 > 0 => Ok(Timer::Every(*span)),
            Schedule::Every(span) => Err(BadSchedule(format!("`{span}` is no period"))),
            Schedule::Cron { line, timezone } => Cron::new(line, timezone).map(|cron| Timer::Cron(Box::new(cron))),
        }
    }

    /// Whether there is a due time t with `after` < t <= `until`.
    pub fn due(&self, after: Timestamp, until: Timestamp) -> bool {
        match self {
            Timer::Every(span) => until.floor(*span) > after,
            Timer::Cron(cron) => !cron.between(after, until).is_empty(),
        }
    }

    /// The first due time after `t`.
    pub fn next_after(&self, t: Timestamp) -> Option<Timestamp> {
        match self {
            Timer::Every(span) => Some(t.floor(*span) + *span),
            Timer::Cron(cron) => cron.next_after(t),
        }
    }
}

impl Schedule {
    /// Whether there is a due time t with `after` < t <= `until`. Where it is asked often, keep a [`Timer`].
    pub fn due(&self, after: Timestamp, until: Timestamp) -> bool {
        Timer::new(self).is_ok_and(|timer| timer.due(after, until))
    }
}

/// The instant at which a local clock shows this reading; the end of the gap where it never does.
fn first_instant(zone: Tz, reading: NaiveDateTime) -> Timestamp {
    match zone.from_local_datetime(&reading) {
        chrono::LocalResult::Single(at) | chrono::LocalResult::Ambiguous(at, _) => Timestamp(at.timestamp_millis()),
        chrono::LocalResult::None => {
            // Clocks jump over this reading: halve the time around it until the jump itself is found.
            let shows = |ms: i64| {
                let at = DateTime::from_timestamp_millis(ms).unwrap_or_default();
                at.with_timezone(&zone).naive_local()
            };
            let middle = reading.and_utc().timestamp_millis();
            let (mut before, mut after) = (middle - 48 * 3_600_000, middle + 48 * 3_600_000);
            while after - before > 1 {
                let half = before + (after - before) / 2;
                if shows(half) < reading {
                    before = half;
                } else {
                    after = half;
                }
            }
            Timestamp(after)
        }
    }
}

#[cfg(test)]
mod tests;
