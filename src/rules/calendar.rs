//! `maintenance`, `silence` and `time_interval`: when rules keep quiet.

use rhai::{Dynamic, Engine};

use super::alert::cron_line;
use super::draft::{Call, Draft, Shared, register};
use super::problem::{Problems, hint};
use super::route::matchers;
use super::slo::time_zone;
use super::value::{Fields, Value};
use crate::domain::rule::{CodeSilence, Maintenance, MaintenanceBudget, MaintenanceTimes, TimeInterval};
use crate::domain::schedule::{MONTHS, WEEKDAYS};
use crate::domain::time::Span;

/// Maintenance that never ends is no maintenance.
const LASTS_MAX: Span = Span::days(31);

/// Registers `maintenance`, `silence` and `time_interval`.
pub(super) fn add(engine: &mut Engine, draft: &Shared) {
    register(engine, draft, "maintenance", &[2], maintenance);
    register(engine, draft, "silence", &[2], silence);
    register(engine, draft, "time_interval", &[2], time_interval);
}

fn declared(draft: &mut Draft, call: &mut Call, kind: &'static str, known: &[&str]) -> Option<(String, Fields)> {
    let name = call.arg(0, &format!("the name of a {kind}")).name(&mut draft.problems).unwrap_or_default();
    if !name.is_empty() {
        draft.declare(kind, &name, &call.at);
    }
    let mut fields = call.arg(1, &format!("{kind} `{name}`")).fields(&mut draft.problems, known)?;
    fields.at = call.at.clone();
    Some((name, fields))
}

fn maintenance(draft: &mut Draft, mut call: Call) -> Dynamic {
    let known = ["cron", "lasts", "timezone", "starts", "ends", "when", "budget", "description"];
    let Some((name, mut fields)) = declared(draft, &mut call, "maintenance", &known) else { return Dynamic::UNIT };
    let problems = &mut draft.problems;
    let when = fields.take("when").map(|value| matchers(&value, problems)).unwrap_or_default();
    let choices = [("count", MaintenanceBudget::Count), ("exclude", MaintenanceBudget::Exclude), ("good", MaintenanceBudget::Good)];
    let budget = fields.take("budget").and_then(|value| value.choice(problems, &choices)).unwrap_or_default();
    if let Some(times) = times(&mut fields, problems)
        && draft.has_room()
    {
        draft.set.maintenances.push(Maintenance { name, place: call.at, when, times, budget });
    }
    Dynamic::UNIT
}

fn times(fields: &mut Fields, problems: &mut Problems) -> Option<MaintenanceTimes> {
    let timezone = fields.take("timezone").and_then(|value| time_zone(&value, problems));
    let (cron, starts) = (fields.take("cron"), fields.take("starts"));
    match (cron, starts) {
        (Some(_), Some(starts)) => {
            problems.error(&starts.at, "maintenance comes either by `cron` and `lasts`, or once by `starts` and `ends`");
            None
        }
        (Some(cron), None) => {
            let timezone = timezone.unwrap_or_else(|| "UTC".into());
            let line = cron.text(problems).and_then(|text| cron_line(&text, &timezone, &cron, problems));
            let lasts = fields.need("lasts", problems).and_then(|value| {
                let lasts = value.length(problems)?;
                if lasts > LASTS_MAX {
                    problems.error(&value.at, format!("maintenance may last at most {LASTS_MAX}, not {lasts}"));
                    return None;
                }
                Some(lasts)
            });
            Some(MaintenanceTimes::Cron { line: line?, lasts: lasts?, timezone })
        }
        (None, Some(starts)) => {
            let start = starts.time(problems);
            if let Some(lasts) = fields.take("lasts").filter(|_| fields.peek("ends").is_none()) {
                problems.error(&lasts.at, "with `starts` stands `ends`, a time; `lasts` belongs to `cron`");
                return None;
            }
            let ends = fields.need("ends", problems)?;
            let (starts, end) = (start?, ends.time(problems)?);
            if end <= starts {
                problems.error(&ends.at, "maintenance must end after it starts");
                return None;
            }
            Some(MaintenanceTimes::Once { starts, ends: end })
        }
        (None, None) => {
            // Each of the two may have been meant by a mistyped key.
            if fields.take("ends").is_some() {
                fields.need("starts", problems);
            } else {
                fields.need("cron", problems);
            }
            None
        }
    }
}

fn silence(draft: &mut Draft, mut call: Call) -> Dynamic {
    let known = ["when", "starts", "ends", "author", "comment"];
    let Some((name, mut fields)) = declared(draft, &mut call, "silence", &known) else { return Dynamic::UNIT };
    let problems = &mut draft.problems;
    let when = fields.need("when", problems).map(|value| {
        let when = matchers(&value, problems);
        if when.0.is_empty() && value.it.as_map_ref().is_ok_and(|map| map.is_empty()) {
            problems.error(&value.at, "an empty `when` would silence everything; name at least one label");
        }
        when
    });
    let starts = fields.take("starts").and_then(|value| value.time(problems));
    let ends = fields.need("ends", problems).and_then(|value| {
        let ends = value.time(problems)?;
        if starts.is_some_and(|starts| ends <= starts) {
            problems.error(&value.at, "a silence must end after it starts");
        }
        Some(ends)
    });
    let author = fields.need("author", problems).and_then(|value| value.text(problems));
    let comment = fields.need("comment", problems).and_then(|value| value.text(problems));
    if let (Some(when), Some(ends), Some(author), Some(comment)) = (when, ends, author, comment)
        && draft.has_room()
    {
        draft.set.silences.push(CodeSilence { name, place: call.at, when, starts, ends, author, comment });
    }
    Dynamic::UNIT
}

fn time_interval(draft: &mut Draft, mut call: Call) -> Dynamic {
    let known = ["times", "weekdays", "days_of_month", "months", "years", "timezone", "description"];
    let Some((name, mut fields)) = declared(draft, &mut call, "time interval", &known) else { return Dynamic::UNIT };
    let problems = &mut draft.problems;
    let mut interval = TimeInterval {
        name,
        place: call.at,
        times: Vec::new(),
        weekdays: Vec::new(),
        days_of_month: Vec::new(),
        months: Vec::new(),
        years: Vec::new(),
        timezone: fields.take("timezone").and_then(|value| time_zone(&value, problems)).unwrap_or_else(|| "UTC".into()),
    };
    for value in items(&mut fields, "times") {
        interval.times.extend(clock_times(&value, problems));
    }
    for value in items(&mut fields, "weekdays") {
        let range = range(&value, problems, "a weekday or a range of them, like \"monday:friday\"", |text| named(text, &WEEKDAYS, 0));
        if let Some((from, to)) = range {
            // A range that passes Saturday goes on with Sunday.
            match from <= to {
                true => interval.weekdays.push((from as u8, to as u8)),
                false => interval.weekdays.extend([(from as u8, 6), (0, to as u8)]),
            }
        }
    }
    for value in items(&mut fields, "days_of_month") {
        let day = |text: &str| text.parse().ok().filter(|day: &i64| (1..=31).contains(&day.abs()));
        if let Some((from, to)) = range(&value, problems, "a day from 1 to 31, or from -1 for the last one, or a range like \"1:5\"", day) {
            ordered(&value, problems, (from > 0) != (to > 0) || from <= to);
            interval.days_of_month.push((from as i8, to as i8));
        }
    }
    for value in items(&mut fields, "months") {
        let month = |text: &str| named(text, &MONTHS, 1).or_else(|| text.parse().ok().filter(|month| (1..=12).contains(month)));
        if let Some((from, to)) = range(&value, problems, "a month or a range of them, like \"november:december\"", month) {
            match from <= to {
                true => interval.months.push((from as u8, to as u8)),
                false => interval.months.extend([(from as u8, 12), (1, to as u8)]),
            }
        }
    }
    for value in items(&mut fields, "years") {
        let year = |text: &str| text.parse().ok().filter(|year| (1970..=9999).contains(year));
        if let Some((from, to)) = range(&value, problems, "a year or a range like \"2026:2027\"", year) {
            ordered(&value, problems, from <= to);
            interval.years.push((from as i32, to as i32));
        }
    }
    if draft.has_room() {
        draft.set.time_intervals.push(interval);
    }
    Dynamic::UNIT
}

fn items(fields: &mut Fields, key: &str) -> Vec<Value> {
    fields.take(key).map(|value| value.items()).unwrap_or_default()
}

fn ordered(value: &Value, problems: &mut Problems, fine: bool) {
    if !fine {
        problems.error(&value.at, format!("{} runs backwards", value.name));
    }
}

/// A weekday or month by its English name, in full or by its first three letters.
fn named(text: &str, names: &[&str], first: i64) -> Option<i64> {
    let full: &[&str] = match names.len() {
        7 => &["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"],
        _ => &["january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november", "december"],
    };
    let text = text.to_lowercase();
    let at = names.iter().position(|name| *name == text).or_else(|| full.iter().position(|name| *name == text))?;
    i64::try_from(at).ok().map(|at| at + first)
}

/// One value or `from:to` (also `from-to` and `from..to`), both inclusive.
fn range(value: &Value, problems: &mut Problems, expected: &str, read: impl Fn(&str) -> Option<i64>) -> Option<(i64, i64)> {
    if let Ok(number) = value.it.as_int() {
        let read = read(&number.to_string()).map(|number| (number, number));
        if read.is_none() {
            value.wrong(problems, expected);
        }
        return read;
    }
    if !value.it.is_string() {
        value.wrong(problems, expected);
        return None;
    }
    let text = value.text(problems)?;
    let trimmed = text.trim();
    // A leading minus belongs to the number, not to the range.
    let dash = trimmed.char_indices().skip(1).find(|(_, c)| *c == '-').map(|(at, _)| (&trimmed[..at], &trimmed[at + 1..]));
    let found = match trimmed.split_once("..").or_else(|| trimmed.split_once(':')).or(dash) {
        Some((from, to)) => read(from.trim()).zip(read(to.trim())),
        None => read(trimmed).map(|one| (one, one)),
    };
    if found.is_none() {
        let short: String = text.chars().take(40).collect();
        let near = hint(trimmed, WEEKDAYS.into_iter().chain(MONTHS).filter(|_| trimmed.chars().all(char::is_alphabetic)));
        problems.error(&value.at, format!("{} must be {expected}, not `{short}`{near}", value.name));
    }
    found
}

/// `"22:00-06:00"` or `#{ start, end }`, half-open. What passes midnight is both its ends, on every day that the other lists allow.
fn clock_times(value: &Value, problems: &mut Problems) -> Vec<(u16, u16)> {
    let read = if value.it.is_map() {
        let Some(mut fields) = value.fields(problems, &["start", "end", "start_time", "end_time"]) else { return Vec::new() };
        let mut side = |short: &str, long: &str| fields.text(short, problems).or_else(|| fields.text(long, problems));
        side("start", "start_time").zip(side("end", "end_time"))
    } else if value.it.is_string() {
        value.text(problems).and_then(|text| {
            let (from, to) = text.split_once('-').or_else(|| text.split_once(".."))?;
            Some((from.to_owned(), to.to_owned()))
        })
    } else {
        None
    };
    let minutes = read.and_then(|(from, to)| minute(&from).zip(minute(&to)));
    match minutes {
        Some((from, to)) if from < to => vec![(from, to)],
        Some((from, to)) if from > to && from < 1_440 => [(from, 1_440), (0, to)].into_iter().filter(|(from, to)| from < to).collect(),
        Some(_) => {
            problems.error(&value.at, format!("{} is empty: it ends when it starts", value.name));
            Vec::new()
        }
        None => {
            value.wrong(problems, "a range of clock times like \"09:00-17:30\" (up to \"24:00\")");
            Vec::new()
        }
    }
}

fn minute(text: &str) -> Option<u16> {
    let (hours, minutes) = text.trim().split_once(':')?;
    let two = |text: &str| (1..=2).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    if !two(hours) || minutes.len() != 2 || !two(minutes) {
        return None;
    }
    let (hours, minutes): (u16, u16) = (hours.parse().ok()?, minutes.parse().ok()?);
    (minutes < 60 && hours * 60 + minutes <= 1_440).then_some(hours * 60 + minutes)
}
