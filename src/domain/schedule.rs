//! When something is due: cron lines, maintenance windows, time intervals, calendar periods.
//!
//! Pure: every function is told the time. Cron lines are evaluated over local clock readings and
//! each reading is turned into one instant, so that a change of the clocks neither doubles nor
//! loses a run: a reading that does not exist runs once, at the change; one that exists twice runs
//! once, the first time. A line whose hour is `*` names no time of day and runs in every real hour.

use std::collections::BTreeSet;
use std::str::FromStr;

use chrono::{DateTime, Datelike, Days, Months, NaiveDate, NaiveDateTime, Offset, TimeDelta, TimeZone, Timelike, Utc};
use chrono_tz::Tz;

use super::rule::{Maintenance, MaintenanceTimes, Period, Schedule, TimeInterval};
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

/// A cron line in a time zone, ready to be asked.
#[derive(Clone, Debug)]
pub struct Cron {
    /// One schedule, or two where day of month and day of week are both given (either may match).
    schedules: Vec<cron::Schedule>,
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
fn quartz(values: &[BTreeSet<u32>], days: &BTreeSet<u32>, weekdays: &BTreeSet<u32>) -> Result<cron::Schedule, BadSchedule> {
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
    cron::Schedule::from_str(&line).map_err(|_| BadSchedule(format!("`{line}` is no cron line")))
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

/// The times of one maintenance declaration, read once and asked often.
#[derive(Clone, Debug)]
pub enum Windows {
    Once { starts: Timestamp, ends: Timestamp },
    Cron { cron: Box<Cron>, lasts: Span },
}

impl Windows {
    /// Reads the cron line, if it is one.
    pub fn new(times: &MaintenanceTimes) -> Result<Windows, BadSchedule> {
        match times {
            MaintenanceTimes::Once { starts, ends } => Ok(Windows::Once { starts: *starts, ends: *ends }),
            MaintenanceTimes::Cron { line, lasts, timezone } => {
                Cron::new(line, timezone).map(|cron| Windows::Cron { cron: Box::new(cron), lasts: *lasts })
            }
        }
    }

    /// Whether maintenance is on at `t`.
    pub fn active(&self, t: Timestamp) -> bool {
        match self {
            Windows::Once { starts, ends } => *starts <= t && t < *ends,
            Windows::Cron { cron, lasts } => !cron.between(t - *lasts, t).is_empty(),
        }
    }

    /// The parts of `[from, to)` in which it is on: ascending, half-open, none touching the next.
    pub fn intervals(&self, from: Timestamp, to: Timestamp) -> Vec<(Timestamp, Timestamp)> {
        let found = match self {
            Windows::Once { starts, ends } => vec![(*starts, *ends)],
            Windows::Cron { cron, lasts } => cron.between(from - *lasts, to).into_iter().map(|start| (start, start + *lasts)).collect(),
        };
        union(found.into_iter().map(|(start, end)| (start.max(from), end.min(to))).collect())
    }
}

impl Maintenance {
    /// Whether it is on at `t`. Where it is asked often, keep its [`Windows`].
    pub fn active(&self, t: Timestamp) -> bool {
        Windows::new(&self.times).is_ok_and(|windows| windows.active(t))
    }

    /// The parts of `[from, to)` in which it is on.
    pub fn intervals(&self, from: Timestamp, to: Timestamp) -> Vec<(Timestamp, Timestamp)> {
        Windows::new(&self.times).map_or_else(|_| Vec::new(), |windows| windows.intervals(from, to))
    }
}

/// The union of half-open intervals, ascending; empty ones vanish, touching ones become one (SEMANTICS 15).
pub fn union(mut intervals: Vec<(Timestamp, Timestamp)>) -> Vec<(Timestamp, Timestamp)> {
    intervals.retain(|(start, end)| start < end);
    intervals.sort();
    let mut joined: Vec<(Timestamp, Timestamp)> = Vec::with_capacity(intervals.len());
    for (start, end) in intervals {
        match joined.last_mut() {
            Some(last) if start <= last.1 => last.1 = last.1.max(end),
            _ => joined.push((start, end)),
        }
    }
    joined
}

impl TimeInterval {
    /// Whether `t` lies in it, in its own zone. An unknown zone reads as UTC.
    pub fn contains(&self, t: Timestamp) -> bool {
        let Some(at) = t.to_chrono() else { return false };
        let local = at.with_timezone(&zone(&self.timezone).unwrap_or(Tz::UTC));
        let minute = (local.hour() * 60 + local.minute()) as u16;
        let weekday = local.weekday().num_days_from_sunday() as u8;
        let day = local.day() as i8;
        let last = days_in_month(local.year(), local.month());
        // -1 is the last day of the month; a range that reaches past an end stops there.
        let resolve = |day: i8| if day < 0 { (last + 1 + day).max(1) } else { day.min(last) };
        let any = |matches: Vec<bool>| matches.is_empty() || matches.contains(&true);
        any(self.times.iter().map(|(from, to)| (*from..*to).contains(&minute)).collect())
            && any(self.weekdays.iter().map(|(from, to)| (*from..=*to).contains(&weekday)).collect())
            && any(self
                .days_of_month
                .iter()
                .map(|(from, to)| !(*from > last || *to < -last) && (resolve(*from)..=resolve(*to)).contains(&day))
                .collect())
            && any(self.months.iter().map(|(from, to)| (*from..=*to).contains(&(local.month() as u8))).collect())
            && any(self.years.iter().map(|(from, to)| (*from..=*to).contains(&local.year())).collect())
    }
}

fn days_in_month(year: i32, month: u32) -> i8 {
    let first = NaiveDate::from_ymd_opt(year, month, 1).unwrap_or_default();
    first.checked_add_months(Months::new(1)).map_or(31, |next| (next - first).num_days() as i8)
}

impl Period {
    /// The period that holds `t`, half-open, in real time (SEMANTICS 13). `t` at a very start belongs to the new period.
    pub fn around(self, zone: Tz, t: Timestamp) -> (Timestamp, Timestamp) {
        let date = t.to_chrono().unwrap_or_default().with_timezone(&zone).date_naive();
        let month = |month: u32| NaiveDate::from_ymd_opt(date.year(), month, 1).unwrap_or(date);
        let (first, months) = match self {
            Period::Day => (date, None),
            Period::Week => (date - Days::new(u64::from(date.weekday().num_days_from_monday())), None),
            Period::Month => (month(date.month()), Some(1)),
            Period::Quarter => (month((date.month() - 1) / 3 * 3 + 1), Some(3)),
            Period::Year => (month(1), Some(12)),
        };
        let next = match months {
            Some(months) => first.checked_add_months(Months::new(months)),
            None => first.checked_add_days(Days::new(if self == Period::Day { 1 } else { 7 })),
        };
        let midnight = |date: NaiveDate| first_instant(zone, date.and_time(chrono::NaiveTime::MIN));
        (midnight(first), midnight(next.unwrap_or(first)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::rule::{MaintenanceBudget, Place};

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn times(line: &str, zone: &str, after: &str, until: &str) -> Vec<String> {
        Cron::new(line, zone).unwrap().between(at(after), at(until)).into_iter().map(|t| t.to_string()).collect()
    }

    #[test]
    fn five_fields_are_classic_and_six_have_seconds_first() {
        assert_eq!(
            times("*/30 * * * *", "UTC", "2026-01-01T00:00:00Z", "2026-01-01T01:00:00Z"),
            ["2026-01-01T00:30:00Z", "2026-01-01T01:00:00Z"]
        );
        assert_eq!(
            times("*/30 59 23 * * *", "UTC", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"),
            ["2026-01-01T23:59:00Z", "2026-01-01T23:59:30Z"]
        );
    }

    #[test]
    fn zero_and_seven_are_sunday_in_both_forms() {
        // 22 November 2026 is a Sunday.
        for line in ["0 3 * * SUN", "0 3 * * 0", "0 3 * * 7", "0 0 3 * * 7", "0 0 3 * * sun", "0 3 * * 7-7"] {
            assert_eq!(times(line, "UTC", "2026-11-20T00:00:00Z", "2026-11-27T00:00:00Z"), ["2026-11-22T03:00:00Z"], "{line}");
        }
        assert_eq!(times("0 3 * * 1", "UTC", "2026-11-20T00:00:00Z", "2026-11-27T00:00:00Z"), ["2026-11-23T03:00:00Z"]);
        assert_eq!(times("0 3 * * FRI-SUN", "UTC", "2026-11-20T00:00:00Z", "2026-11-23T00:00:00Z").len(), 3);
        assert_eq!(times("0 3 * * */2", "UTC", "2026-11-22T00:00:00Z", "2026-11-29T00:00:00Z").len(), 4);
    }

    #[test]
    fn either_day_may_match_as_in_classic_cron() {
        let both = times("0 0 13 * FRI", "UTC", "2026-10-31T12:00:00Z", "2026-11-30T12:00:00Z");
        assert_eq!(both, ["2026-11-06T00:00:00Z", "2026-11-13T00:00:00Z", "2026-11-20T00:00:00Z", "2026-11-27T00:00:00Z"]);
    }

    #[test]
    fn a_time_that_does_not_exist_runs_once_at_the_change() {
        // Berlin springs from 02:00 to 03:00 on 29 March 2026, at 01:00 UTC.
        let day = times("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", "2026-03-30T12:00:00Z");
        assert_eq!(day, ["2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]);
        let both = times("0,30 2,3 * * *", "Europe/Berlin", "2026-03-29T00:00:00Z", "2026-03-29T02:00:00Z");
        assert_eq!(both, ["2026-03-29T01:00:00Z", "2026-03-29T01:30:00Z"]);
    }

    #[test]
    fn a_time_that_exists_twice_runs_once() {
        // Berlin falls back from 03:00 to 02:00 on 25 October 2026, at 01:00 UTC.
        let day = times("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", "2026-10-26T12:00:00Z");
        assert_eq!(day, ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]);
        // Asked minute by minute the answer is the same.
        let cron = Cron::new("30 2 * * *", "Europe/Berlin").unwrap();
        let mut t = at("2026-10-24T23:00:00Z");
        let mut runs = 0;
        while t < at("2026-10-25T04:00:00Z") {
            runs += cron.between(t, t + Span::MINUTE).len();
            t += Span::MINUTE;
        }
        assert_eq!(runs, 1);
    }

    #[test]
    fn a_line_for_every_hour_keeps_running_while_clocks_change() {
        for (from, to) in [("2026-10-24T22:00:00Z", "2026-10-25T04:00:00Z"), ("2026-03-28T22:00:00Z", "2026-03-29T04:00:00Z")] {
            assert_eq!(times("*/5 * * * *", "Europe/Berlin", from, to).len(), 72);
            let cron = Cron::new("*/5 * * * *", "Europe/Berlin").unwrap();
            let mut t = at(from);
            while t < at(to) {
                assert_eq!(cron.between(t, t + Span::minutes(5)).len(), 1, "{t}");
                t += Span::minutes(5);
            }
        }
    }

    #[test]
    fn bad_lines_say_what_is_wrong() {
        for (line, part) in [
            ("* * * *", "no cron line"),
            ("61 * * * *", "no minute"),
            ("0 0 * * Mon#2", "no day of week"),
            ("0 22-2 * * *", "runs backwards"),
            ("0 0 30 2 *", "never happens"),
            ("*/0 * * * *", "no minute"),
            ("", "no cron line"),
        ] {
            let error = Cron::new(line, "UTC").unwrap_err().to_string();
            assert!(error.contains(part), "{line}: {error}");
        }
        assert!(Cron::new("* * * * *", "Mars/Olympus").unwrap_err().to_string().contains("IANA"));
        assert!(Cron::new("0 0 29 2 *", "UTC").is_ok());
    }

    #[test]
    fn a_period_is_due_at_its_multiples() {
        let every = Schedule::Every(Span::minutes(5));
        assert!(every.due(at("2026-01-01T00:04:00Z"), at("2026-01-01T00:05:00Z")));
        assert!(!every.due(at("2026-01-01T00:05:00Z"), at("2026-01-01T00:09:00Z")));
        let cron = Schedule::Cron { line: "0 4 * * *".into(), timezone: "Europe/Berlin".into() };
        assert!(cron.due(at("2026-01-01T02:59:00Z"), at("2026-01-01T03:00:00Z")));
        assert!(!cron.due(at("2026-01-01T03:00:00Z"), at("2026-01-01T03:01:00Z")));
    }

    fn maintenance(times: MaintenanceTimes) -> Maintenance {
        Maintenance { name: "m".into(), place: Place::default(), when: Default::default(), times, budget: MaintenanceBudget::Count }
    }

    #[test]
    fn maintenance_is_half_open_and_follows_the_local_clock() {
        let weekly =
            maintenance(MaintenanceTimes::Cron { line: "0 3 * * SUN".into(), lasts: Span::HOUR, timezone: "Europe/Berlin".into() });
        // Winter: 02:00 UTC; summer: 01:00 UTC.
        assert!(weekly.active(at("2026-11-22T02:00:00Z")) && weekly.active(at("2026-11-22T02:59:59Z")));
        assert!(!weekly.active(at("2026-11-22T03:00:00Z")) && !weekly.active(at("2026-11-22T01:59:59Z")));
        assert!(weekly.active(at("2026-07-05T01:30:00Z")));
        let inside = weekly.intervals(at("2026-11-22T02:30:00Z"), at("2026-11-30T00:00:00Z"));
        assert_eq!(
            inside,
            [(at("2026-11-22T02:30:00Z"), at("2026-11-22T03:00:00Z")), (at("2026-11-29T02:00:00Z"), at("2026-11-29T03:00:00Z"))]
        );
        let once = maintenance(MaintenanceTimes::Once { starts: at("2026-11-22T03:00:00Z"), ends: at("2026-11-22T05:00:00Z") });
        assert!(once.active(at("2026-11-22T03:00:00Z")) && !once.active(at("2026-11-22T05:00:00Z")));
        assert!(once.intervals(at("2026-11-22T05:00:00Z"), at("2026-11-23T05:00:00Z")).is_empty());
    }

    #[test]
    fn overlapping_intervals_become_one() {
        let t = Timestamp;
        assert_eq!(union(vec![(t(5), t(9)), (t(1), t(3)), (t(3), t(4)), (t(8), t(12)), (t(7), t(7))]), [(t(1), t(4)), (t(5), t(12))]);
    }

    fn nights() -> TimeInterval {
        TimeInterval {
            name: "nights".into(),
            place: Place::default(),
            times: vec![(22 * 60, 24 * 60), (0, 6 * 60)],
            weekdays: vec![],
            days_of_month: vec![],
            months: vec![],
            years: vec![],
            timezone: "Europe/Berlin".into(),
        }
    }

    #[test]
    fn a_time_interval_reads_the_clock_of_its_zone() {
        let nights = nights();
        assert!(nights.contains(at("2026-01-01T21:00:00Z")) && !nights.contains(at("2026-01-01T20:59:59Z")));
        assert!(nights.contains(at("2026-01-01T04:59:59Z")) && !nights.contains(at("2026-01-01T05:00:00Z")));
        let last_three = TimeInterval { times: vec![], days_of_month: vec![(-3, -1)], ..nights.clone() };
        assert!(last_three.contains(at("2026-02-26T12:00:00Z")) && !last_three.contains(at("2026-02-25T12:00:00Z")));
        let thirty_first = TimeInterval { times: vec![], days_of_month: vec![(31, 31)], ..nights.clone() };
        assert!(!thirty_first.contains(at("2026-02-28T12:00:00Z")) && thirty_first.contains(at("2026-03-31T12:00:00Z")));
        let workdays = TimeInterval { times: vec![], weekdays: vec![(1, 5)], months: vec![(11, 12)], years: vec![(2026, 2026)], ..nights };
        assert!(workdays.contains(at("2026-11-23T12:00:00Z")) && !workdays.contains(at("2026-11-22T12:00:00Z")));
    }

    #[test]
    fn calendar_periods_have_their_real_length() {
        let berlin = zone("Europe/Berlin").unwrap();
        let (start, end) = Period::Month.around(berlin, at("2026-03-15T12:00:00Z"));
        assert_eq!((start, end), (at("2026-02-28T23:00:00Z"), at("2026-03-31T22:00:00Z")));
        assert_eq!((end - start).0 / 60_000, 44_580);
        let (start, end) = Period::Day.around(zone("America/New_York").unwrap(), at("2026-03-08T12:00:00Z"));
        assert_eq!((end - start).0 / 60_000, 1_380);
        // The very start belongs to the new period.
        let (start, _) = Period::Month.around(berlin, at("2026-03-31T22:00:00Z"));
        assert_eq!(start, at("2026-03-31T22:00:00Z"));
        let (start, end) = Period::Week.around(berlin, at("2026-11-22T12:00:00Z"));
        assert_eq!((start, end), (at("2026-11-15T23:00:00Z"), at("2026-11-22T23:00:00Z")));
        let (start, end) = Period::Quarter.around(Tz::UTC, at("2026-11-22T12:00:00Z"));
        assert_eq!((start, end), (at("2026-10-01T00:00:00Z"), at("2027-01-01T00:00:00Z")));
        let (start, end) = Period::Year.around(Tz::UTC, at("2026-11-22T12:00:00Z"));
        assert_eq!((start, end), (at("2026-01-01T00:00:00Z"), at("2027-01-01T00:00:00Z")));
    }

    #[test]
    fn a_day_without_a_midnight_starts_at_the_change() {
        // Beirut springs from 00:00 to 01:00 on 29 March 2026, at 22:00 UTC the day before.
        let (start, end) = Period::Day.around(zone("Asia/Beirut").unwrap(), at("2026-03-29T12:00:00Z"));
        assert_eq!((start, end), (at("2026-03-28T22:00:00Z"), at("2026-03-29T21:00:00Z")));
    }
}
