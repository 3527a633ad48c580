//! Cron lines in a time zone.
//!
//! They are evaluated over local clock readings and each reading is turned into one instant, so that a change of the clocks
//! neither doubles nor loses a run: a reading that does not exist runs once, at the change; one that exists twice runs once,
//! the first time. A line whose hour is `*` names no time of day and runs in every real hour.

use std::collections::BTreeSet;
use std::str::FromStr;

use chrono::{DateTime, NaiveDateTime, Offset, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;

use super::{BadSchedule, first_instant, zone};
use crate::domain::time::{Span, Timestamp};

/// A cron line in a time zone, ready to be asked.
#[derive(Clone, Debug)]
pub struct Cron {
    /// One schedule, or two where day of month and day of week are both given (either may match).
    schedules: Vec<::cron::Schedule>,
    every_hour: bool,
    zone: Tz,
}

/// The fields of a cron line: name, least and greatest value, names of values.
const FIELDS: [(&str, u32, u32, &[&str]); 6] = [
    ("second", 0, 59, &[]),
    ("minute", 0, 59, &[]),
    ("hour", 0, 23, &[]),
    ("day of month", 1, 31, &[]),
    ("month", 1, 12, &MONTHS),
    ("day of week", 0, 7, &WEEKDAYS),
];

/// Short names of the months, January first.
pub const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
/// Short names of the days of the week, Sunday first.
pub const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

impl Cron {
    /// Reads five fields (classic) or six (seconds first), or `@hourly`, `@daily`, `@weekly`, `@monthly`, `@yearly`.
    pub fn new(line: &str, timezone: &str) -> Result<Cron, BadSchedule> {
        let zone = zone(timezone)?;
        let line = match line.trim() {
            "@hourly" => "0 * * * *",
            "@daily" | "@midnight" => "0 0 * * *",
            "@weekly" => "0 0 * * 0",
            "@monthly" => "0 0 1 * *",
            "@yearly" | "@annually" => "0 0 1 1 *",
            line => line,
        };
        let mut fields: Vec<&str> = line.split_whitespace().collect();
        if fields.len() == 5 {
            fields.insert(0, "0");
        }
        if fields.len() != 6 {
            let short: String = line.chars().take(64).collect();
            return Err(BadSchedule(format!(
                "`{short}` is no cron line; write five fields (minute, hour, day of month, month, day of week) or six with seconds first"
            )));
        }
        let mut values = Vec::with_capacity(6);
        for (text, field) in fields.iter().zip(FIELDS) {
            values.push(read_field(text, field)?);
        }
        // 7 is Sunday, as 0 is.
        let mut weekdays: BTreeSet<u32> = values[5].iter().map(|day| day % 7).collect();
        let any = |text: &str| text.starts_with('*') || text == "?";
        let (any_day, any_weekday) = (any(fields[3]), any(fields[5]));
        if any_weekday && fields[5].len() == 1 {
            weekdays = (0..7).collect();
        }
        let all_days: BTreeSet<u32> = (1..=31).collect();
        let all_weekdays: BTreeSet<u32> = (0..7).collect();
        let pairs =
            if any_day || any_weekday { vec![(&values[3], &weekdays)] } else { vec![(&values[3], &all_weekdays), (&all_days, &weekdays)] };
        let mut schedules = Vec::with_capacity(pairs.len());
        for (days, weekdays) in pairs {
            schedules.push(quartz(&values, days, weekdays)?);
        }
        let cron = Cron { schedules, every_hour: any(fields[2]) && values[2].len() == 24, zone };
        // 2096 to 2104 has no leap day, so nine years from 2024 on see every date there is.
        if cron.next_after(Timestamp(1_704_067_200_000)).is_none() {
            return Err(BadSchedule(format!("`{line}` never happens: no month has that day")));
        }
        Ok(cron)
    }

    /// All times with `after` < t <= `until`, ascending, each once.
    pub fn between(&self, after: Timestamp, until: Timestamp) -> Vec<Timestamp> {
        let (Some(from), Some(to)) = (after.to_chrono(), until.to_chrono()) else { return Vec::new() };
        if from >= to {
            return Vec::new();
        }
        let offset = |at: DateTime<Utc>| at.with_timezone(&self.zone).offset().fix().local_minus_utc();
        let (offset_from, offset_to) = (offset(from), offset(to));
        let local = |at: DateTime<Utc>, offset: i32| at.naive_utc() + TimeDelta::seconds(i64::from(offset));
        // The hands of a local clock pass the readings between both ends, and more where they are set back.
        let pad = if offset_from == offset_to && to - from <= TimeDelta::hours(24) { TimeDelta::zero() } else { TimeDelta::hours(25) };
        let (first, last) = (local(from, offset_from) - pad, local(to, offset_to) + pad);
        let mut times = BTreeSet::new();
        for schedule in &self.schedules {
            // `after` leaves its argument out and drops fractions of a second; a second earlier is safe, the filter below decides.
            for reading in schedule.after(&(first - TimeDelta::seconds(1)).and_utc()) {
                let reading = reading.naive_utc();
                if reading > last {
                    break;
                }
                for at in self.instants(reading) {
                    if at > after && at <= until {
                        times.insert(at);
                    }
                }
            }
        }
        times.into_iter().collect()
    }

    /// The first time after `t`; `None` if there is none within nine years.
    pub fn next_after(&self, t: Timestamp) -> Option<Timestamp> {
        let mut from = t;
        let mut step = Span::HOUR;
        while from < t + Span::days(9 * 366) {
            if let Some(first) = self.between(from, from + step).first() {
                return Some(*first);
            }
            from += step;
            step = Span(step.0 * 2);
        }
        None
    }

    fn instants(&self, reading: NaiveDateTime) -> Vec<Timestamp> {
        let stamp = |at: DateTime<Tz>| Timestamp(at.timestamp_millis());
        match self.zone.from_local_datetime(&reading) {
            chrono::LocalResult::Single(at) => vec![stamp(at)],
            chrono::LocalResult::Ambiguous(first, second) if self.every_hour => vec![stamp(first), stamp(second)],
            chrono::LocalResult::Ambiguous(first, _) => vec![stamp(first)],
            chrono::LocalResult::None if self.every_hour => Vec::new(),
            chrono::LocalResult::None => vec![first_instant(self.zone, reading)],
        }
    }
}

/// The values that one field names.
fn read_field(text: &str, (name, least, greatest, names): (&str, u32, u32, &[&str])) -> Result<BTreeSet<u32>, BadSchedule> {
    let bad = |part: &str| {
        let part: String = part.chars().take(32).collect();
        let words = match names {
            [] => String::new(),
            [first, .., last] => format!(" or {} to {}", first.to_uppercase(), last.to_uppercase()),
            [one] => format!(" or {}", one.to_uppercase()),
        };
        BadSchedule(format!(
            "`{part}` is no {name} of a cron line: {least} to {greatest}{words}, ranges a-b, steps /n, lists a,b and * are known"
        ))
    };
    let value = |text: &str| -> Option<u32> {
        if !names.is_empty() && text.len() >= 3 && text.bytes().all(|b| b.is_ascii_alphabetic()) {
            let lower = text.to_ascii_lowercase();
            let at = names.iter().position(|name| *name == lower)?;
            return u32::try_from(at).ok().map(|at| at + u32::from(names.len() == 12));
        }
        text.parse().ok().filter(|value| (least..=greatest).contains(value) && text.bytes().all(|b| b.is_ascii_digit()))
    };
    let mut values = BTreeSet::new();
    for part in text.split(',') {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, Some(step.parse::<u32>().ok().filter(|step| *step > 0).ok_or_else(|| bad(part))?)),
            None => (part, None),
        };
        let (from, to) = match range.split_once('-') {
            // A range of weekdays may end on Sunday: MON-SUN.
            Some((a, b)) => {
                let (from, to) = (value(a).ok_or_else(|| bad(part))?, value(b).ok_or_else(|| bad(part))?);
                (from, if to == 0 && from > 0 && greatest == 7 { 7 } else { to })
            }
            None if range == "*" || range == "?" => (least, greatest),
            None => {
                let from = value(range).ok_or_else(|| bad(part))?;
                (from, if step.is_some() { greatest } else { from })
            }
        };
        if from > to {
            return Err(BadSchedule(format!("`{part}` runs backwards; write both ends, as in `{from}-{greatest},{least}-{to}`")));
        }
        // Without this cut `*/2` would count Sunday twice, as 0 and as 7.
        let to = if greatest == 7 && (range == "*" || step.is_some() && !range.contains('-')) { to.min(6) } else { to };
        values.extend((from..=to).step_by(step.unwrap_or(1) as usize));
    }
    Ok(values)
}

/// The line in the dialect of the `cron` crate, with every value spelled out (its week starts at 1 = Sunday).
fn quartz(values: &[BTreeSet<u32>], days: &BTreeSet<u32>, weekdays: &BTreeSet<u32>) -> Result<::cron::Schedule, BadSchedule> {
    let list = |set: &BTreeSet<u32>, full: usize, plus: u32| {
        if set.len() == full {
            return "*".to_owned();
        }
        set.iter().map(|value| (value + plus).to_string()).collect::<Vec<_>>().join(",")
    };
    let line = format!(
        "{} {} {} {} {} {}",
        list(&values[0], 60, 0),
        list(&values[1], 60, 0),
        list(&values[2], 24, 0),
        list(days, 31, 0),
        list(&values[4], 12, 0),
        list(weekdays, 7, 1)
    );
    ::cron::Schedule::from_str(&line).map_err(|_| BadSchedule(format!("`{line}` is no cron line")))
}
