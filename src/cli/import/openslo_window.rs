//! The time window of an OpenSLO SLO.

use super::document::Node;
use super::draft::Draft;
use crate::domain::rule::{Period, SloWindow};
use crate::domain::schedule::zone;
use crate::domain::time::Span;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Minute,
    Hour,
    Day,
    Week,
    Month,
    Quarter,
    Year,
}

impl Unit {
    fn span(self) -> Span {
        match self {
            Unit::Minute => Span::MINUTE,
            Unit::Hour => Span::HOUR,
            Unit::Day => Span::DAY,
            Unit::Week => Span::days(7),
            Unit::Month => Span::days(30),
            Unit::Quarter => Span::days(90),
            Unit::Year => Span::days(365),
        }
    }

    /// `Month` as Nobl9 and v1alpha write it, `M` as v1 does.
    fn parse(text: &str) -> Option<Unit> {
        Some(match text {
            "m" | "Minute" => Unit::Minute,
            "h" | "Hour" => Unit::Hour,
            "d" | "Day" => Unit::Day,
            "w" | "Week" => Unit::Week,
            "M" | "Month" => Unit::Month,
            "Q" | "Quarter" => Unit::Quarter,
            "Y" | "Year" => Unit::Year,
            _ => return None,
        })
    }
}

/// Reads the window; what cannot be read is 30 days, and said. `own` is what our own export says more closely.
pub fn window(draft: &mut Draft, spec: &Node<'_>, own: &Node<'_>) {
    if let Some(span) = own.text().and_then(|text| text.parse().ok()) {
        own.mapped("window");
        spec.get("timeWindow").mapped("window");
        draft.slo.window = SloWindow::Rolling(span);
        return;
    }
    let list = spec.either(&["timeWindow", "timeWindows"]);
    let windows = list.one_or_many();
    let Some(first) = windows.first() else {
        draft.notes.push("the source has no time window; 30d is taken".to_owned());
        spec.fault("there is no time window; 30d is taken");
        return;
    };
    if windows.len() > 1 {
        list.fault(format!("there are {} time windows; an SLO has one, the first is taken", windows.len()));
        for other in &windows[1..] {
            other.needs("write another SLO for this window");
        }
    }
    let calendar = first.get("calendar");
    let rolling = first.get("isRolling").flag().unwrap_or(!calendar.is_there());
    first.get("isRolling").mapped("window");
    let Some((count, unit)) = length(draft, first, rolling) else { return };
    if rolling {
        if calendar.is_there() {
            calendar.fault("the window is rolling and has a calendar; the calendar is left out");
            calendar.ignored("a rolling window has no calendar");
        }
        draft.slo.window = SloWindow::Rolling(Span(unit.span().millis() * count));
        if matches!(unit, Unit::Month | Unit::Quarter | Unit::Year) {
            draft.notes.push(format!("a rolling {} is {} here", format!("{unit:?}").to_lowercase(), unit.span()));
        }
        return;
    }
    let period = match (count, unit) {
        (1, Unit::Day) => Period::Day,
        (1, Unit::Week) | (7, Unit::Day) => Period::Week,
        (1, Unit::Month) => Period::Month,
        (1, Unit::Quarter) | (3, Unit::Month) => Period::Quarter,
        (1, Unit::Year) | (12, Unit::Month) | (4, Unit::Quarter) => Period::Year,
        _ => {
            let span = Span(unit.span().millis() * count);
            first.fault(format!("{span} is no period of a calendar; a rolling window of that length is taken"));
            draft.slo.window = SloWindow::Rolling(span);
            calendar.needs("a window of whole days, weeks, months, quarters or years can follow the calendar");
            return;
        }
    };
    draft.slo.window = SloWindow::Calendar { period, timezone: timezone(&calendar) };
    start(draft, &calendar.get("startTime"), period);
}

/// Count and unit, from `duration: 4w` or `unit: Week, count: 4`.
fn length(draft: &mut Draft, window: &Node<'_>, rolling: bool) -> Option<(i64, Unit)> {
    let duration = window.get("duration");
    let (node, text, count, unit) = match duration.text() {
        Some(text) => {
            let trimmed = text.trim().to_owned();
            let digits = trimmed.bytes().take_while(u8::is_ascii_digit).count();
            let count = if digits == 0 { Some(1) } else { trimmed[..digits].parse().ok() };
            (duration, text, count, Unit::parse(&trimmed[digits..]))
        }
        None => {
            let (unit, count) = (window.get("unit"), window.get("count"));
            let text = format!("{} {}", count.text().unwrap_or_default(), unit.text().unwrap_or_default());
            count.mapped("window");
            let number = count.text().map_or(Some(1), |text| text.parse().ok());
            let parsed = unit.text().and_then(|text| Unit::parse(&text));
            (unit, text, number, parsed)
        }
    };
    // A century is more than any window needs.
    let (Some(count), Some(mut unit)) = (count.filter(|count| (1..=36_525).contains(count)), unit) else {
        node.fault(format!("`{}` is no length of a window; 30d is taken", text.trim()));
        node.needs("give a window like 30d or 1M");
        return None;
    };
    node.mapped("window");
    if unit == Unit::Minute && (count < 60 || !rolling) {
        let odd = format!("`{}` means minutes in OpenSLO, where a month is `M`; it is read as `{count}M`", text.trim());
        node.fault(odd.clone());
        draft.notes.push(odd);
        unit = Unit::Month;
    }
    if unit.span().millis().checked_mul(count).is_none_or(|ms| ms > Span::days(36_525).millis()) {
        node.fault(format!("`{}` is longer than a century; 30d is taken", text.trim()));
        return None;
    }
    Some((count, unit))
}

fn timezone(calendar: &Node<'_>) -> String {
    let node = calendar.either(&["timeZone", "timezone"]);
    match node.text() {
        None => "UTC".to_owned(),
        Some(name) if zone(&name).is_ok() => {
            node.mapped("timezone");
            name
        }
        Some(name) => {
            node.fault(format!("`{name}` is no IANA time zone; UTC is taken"));
            node.needs("give a name like Europe/Berlin");
            "UTC".to_owned()
        }
    }
}

/// Periods start where the calendar says; another start cannot be kept.
fn start(draft: &mut Draft, node: &Node<'_>, period: Period) {
    let Some(text) = node.text() else { return };
    if fits(&text, period) {
        node.mapped("window");
        return;
    }
    let usual = match period {
        Period::Day => "at 00:00",
        Period::Week => "on Monday at 00:00",
        Period::Month => "on the first of the month at 00:00",
        Period::Quarter => "on the first of January, April, July and October at 00:00",
        Period::Year => "on the first of January at 00:00",
    };
    node.fault(format!("periods start {usual}; the start `{text}` is not kept"));
    node.needs("check that the period may start with the calendar");
    draft.notes.push(format!("the source starts its periods at {text}"));
}

fn fits(text: &str, period: Period) -> bool {
    use chrono::{Datelike, NaiveDate, NaiveDateTime, NaiveTime, Weekday};
    let text = text.trim();
    if text.eq_ignore_ascii_case("monday") {
        return period == Period::Week;
    }
    let date_time = NaiveDateTime::parse_from_str(text.trim_end_matches('Z'), "%Y-%m-%d %H:%M:%S")
        .or_else(|_| NaiveDateTime::parse_from_str(text.trim_end_matches('Z'), "%Y-%m-%dT%H:%M:%S"))
        .or_else(|_| NaiveDate::parse_from_str(text, "%Y-%m-%d").map(|day| day.and_time(NaiveTime::MIN)));
    let Ok(at) = date_time else { return false };
    let first = at.day() == 1;
    let day = match period {
        Period::Day => true,
        Period::Week => at.weekday() == Weekday::Mon,
        Period::Month => first,
        Period::Quarter => first && at.month() % 3 == 1,
        Period::Year => first && at.month() == 1,
    };
    day && at.time() == NaiveTime::MIN
}
