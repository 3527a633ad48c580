//! The past of an objective: its budget as it stood, failures by day, and a calendar.

use maud::{Markup, html};

use crate::domain::rule::Slo;
use crate::domain::time::{Span, Timestamp};
use crate::web::chart::plot::{Curve, Plot};
use crate::web::icon::{Tone, flag};
use crate::web::number;
use crate::web::query::SloPoint;

/// Days of the calendar: thirteen weeks.
pub const DAYS: i64 = 91;
/// Days that also a phone shows.
const DAYS_NARROW: usize = 35;
/// Most points of the budget's line.
const POINTS_MAX: i64 = 240;

/// One day in UTC; `None` where nothing was measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Day {
    pub at: Timestamp,
    pub counts: Option<(f64, f64)>,
}

/// What an objective's past is drawn from.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Past {
    /// Of the budget's line.
    pub from: Timestamp,
    pub step: Span,
    /// What was left at the end of each step.
    pub left: Vec<Option<f64>>,
    /// Oldest first.
    pub days: Vec<Day>,
    pub measured_to: Option<Timestamp>,
    /// Whether planned work is taken out of budgets, which stored counts do not know.
    pub excludes: bool,
}

/// What was left of the budget at the end of each drawn step of `[from, to)`. `points` are even steps
/// that begin early enough for the first window; `starts` gives the start of the window that ends at a time.
pub fn left(
    points: &[SloPoint],
    fine: Span,
    (from, to): (Timestamp, Timestamp),
    starts: impl Fn(Timestamp) -> Timestamp,
    budget: f64,
) -> (Span, Vec<Option<f64>>) {
    let Some(first) = points.first().map(|point| point.at) else { return (fine, Vec::new()) };
    let mut sums = Vec::with_capacity(points.len() + 1);
    sums.push((0.0, 0.0, 0_u32));
    for point in points {
        let (total, bad, measured) = sums[sums.len() - 1];
        sums.push(match point.counts {
            Some((t, b)) => (total + t, bad + b, measured + 1),
            None => (total, bad, measured),
        });
    }
    let index = |at: Timestamp| usize::try_from((at - first).millis().div_euclid(fine.millis())).unwrap_or(0).min(points.len());
    let each = ((to - from).millis() / fine.millis() / POINTS_MAX + 1).max(1);
    let step = Span(fine.millis() * each);
    let mut at = from;
    let mut line = Vec::new();
    while at < to {
        let end = (at + step).min(to);
        let (start, here, now) = (sums[index(starts(end))], sums[index(at)], sums[index(end)]);
        let (total, bad) = (now.0 - start.0, now.1 - start.1);
        // Where the step itself was not measured, the line is broken like every other.
        let known = now.2 > here.2 && total > 1e-9 && budget > 0.0;
        line.push(known.then(|| 1.0 - bad.max(0.0) / total / budget));
        at += step;
    }
    (step, line)
}

/// Sums by the day in UTC: the last `DAYS` of them, today's included.
pub fn days(points: &[SloPoint], now: Timestamp) -> Vec<Day> {
    let first = now.floor(Span::DAY) - Span::days(DAYS - 1);
    let mut days: Vec<Day> = (0..DAYS).map(|i| Day { at: first + Span::days(i), counts: None }).collect();
    for point in points {
        let slot = usize::try_from((point.at - first).millis().div_euclid(Span::DAY.millis())).ok().and_then(|at| days.get_mut(at));
        if let (Some(day), Some((total, bad))) = (slot, point.counts) {
            let sum = day.counts.get_or_insert((0.0, 0.0));
            *sum = (sum.0 + total, sum.1 + bad);
        }
    }
    days
}

/// The budget's line, with the failures of each day below.
pub fn chart(slo: &Slo, past: &Result<Past, String>, now: Timestamp) -> Markup {
    html! {
        section.card aria-labelledby="h-b" {
            header { h2 id="h-b" { "Budget left, as it stood" } span."small"."muted" { (super::slo_window(&slo.window)) } }
            @match past {
                Err(why) => p.empty { (flag(Tone::Unknown, "Not drawn")) " " (crate::web::text::clip(why, 200)) },
                Ok(past) => {
                    (line(past, now))
                    (by_day(slo, past, now))
                    p."small"."muted" {
                        "What was left can rise again, as bad days leave the window or traffic grows; failures of a day cannot."
                        @if past.excludes { " Planned work that rules take out of budgets is not taken out here." }
                    }
                }
            }
        }
    }
}

fn line(past: &Past, now: Timestamp) -> Markup {
    let curves = [Curve { name: "budget left".into(), values: past.left.clone() }];
    let words = |value: f64| number::signed_percent(value);
    let title = "Budget left at each time".to_owned();
    Plot { id: "b", title, from: past.from, step: past.step, curves: &curves, bars: false, until: past.measured_to, words: &words, now }
        .draw()
}

fn by_day(slo: &Slo, past: &Past, now: Timestamp) -> Markup {
    let shown = usize::try_from(slo.window.nominal().millis() / Span::DAY.millis()).unwrap_or(30).clamp(14, past.days.len().max(14));
    let days = &past.days[past.days.len().saturating_sub(shown)..];
    let Some(first) = days.first() else { return html! {} };
    let curves = [Curve { name: "failed".into(), values: days.iter().map(|day| day.counts.map(|(_, bad)| bad)).collect() }];
    let words = |value: f64| number::count(value);
    let title = "Failed events by day".to_owned();
    html! {
        h3 { "Failures by day" }
        (Plot { id: "f", title, from: first.at, step: Span::DAY, curves: &curves, bars: true, until: past.measured_to, words: &words, now }.draw())
    }
}

/// How fast a day spent: 1× is its share of the budget.
fn burn(day: &Day, slo: &Slo) -> Option<f64> {
    let budget = f64::from(slo.budget_ppm) / 1e6;
    day.counts.filter(|(total, _)| *total > 0.0 && budget > 0.0).map(|(total, bad)| bad / total / budget)
}

/// A cell a day, a row a week; the number is the day's burn.
pub fn calendar(slo: &Slo, past: &Result<Past, String>, now: Timestamp) -> Markup {
    let Ok(past) = past else { return html! {} };
    let limit = slo.tiers.iter().map(|tier| tier.factor.to_f64()).fold(f64::NEG_INFINITY, f64::max).max(2.0);
    // Weeks before the first measured day say nothing, but five are always shown.
    let first = past.days.iter().position(|day| day.counts.is_some()).unwrap_or(past.days.len());
    let days = &past.days[(first / 7 * 7).min(past.days.len().saturating_sub(DAYS_NARROW))..];
    let measured = past.days.iter().filter(|day| day.counts.is_some()).count();
    html! {
        section.card aria-labelledby="h-cal" {
            header { h2 id="h-cal" { "By day" } span."small"."muted" { "1× spends a day's share of the budget; hatched: not measured" } }
            ol."plain"."days" {
                @for (i, day) in days.iter().enumerate() {
                    @let burn = burn(day, slo);
                    @let class = match burn { None => "d-unknown", Some(burn) if burn > limit => "d-page", Some(burn) if burn > 1.0 => "d-ticket", Some(_) => "" };
                    @let narrow = days.len() - i <= DAYS_NARROW;
                    li class=[class_of(class, narrow)] title=(said(day, now)) {
                        i { (date(day.at, i == 0 || days.len() - i == DAYS_NARROW)) }
                        @match burn { Some(burn) => { b { (number::burn(Some(burn), &[1.0, limit])) } }, None => { b { "?" span.vh { " not measured" } } } }
                    }
                }
            }
            @if measured < past.days.len() { p."small"."muted" { (measured) " of the last " (past.days.len()) " days " (if measured == 1 { "was" } else { "were" }) " measured." } }
        }
    }
}

/// A day that is fine on every screen has none.
fn class_of(state: &'static str, narrow: bool) -> Option<String> {
    let class = format!("{state}{}", if narrow { "" } else { " wide" });
    Some(class.trim().to_owned()).filter(|class| !class.is_empty())
}

fn said(day: &Day, now: Timestamp) -> String {
    let date = number::clock(day.at, now + Span::days(2));
    let date = date.trim_end_matches(" 00:00");
    match day.counts {
        Some((total, bad)) => format!("{date}: {} of {} failed", number::exact(bad), number::exact(total)),
        None => format!("{date}: {}", number::NOT_MEASURED),
    }
}

/// `19`, or `1 Nov` where a month begins.
fn date(at: Timestamp, named: bool) -> String {
    let text = at.to_chrono().unwrap_or_default();
    let day = text.format("%-d").to_string();
    if named || day == "1" { text.format("%-d %b").to_string() } else { day }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::fixture::{self, NOW};

    fn point(hour: i64, counts: Option<(f64, f64)>) -> SloPoint {
        SloPoint { at: Timestamp(hour * 3_600_000), counts, partial: false }
    }

    #[test]
    fn a_budget_is_what_its_window_left_and_rises_when_a_bad_hour_leaves() {
        let mut points: Vec<SloPoint> = (0..8).map(|hour| point(hour, Some((1_000.0, 0.0)))).collect();
        points[3].counts = Some((1_000.0, 3.0));
        points[6].counts = None;
        let hours = |n: i64| Timestamp(n * 3_600_000);
        let (step, left) = left(&points, Span::HOUR, (hours(2), hours(8)), |end| end - Span::hours(2), 0.001);
        assert_eq!(step, Span::HOUR);
        let rounded: Vec<_> = left.iter().map(|value| value.map(|value| (value * 100.0).round())).collect();
        assert_eq!(rounded, [Some(100.0), Some(-50.0), Some(-50.0), Some(100.0), None, Some(100.0)]);
    }

    #[test]
    fn a_calendar_window_starts_anew() {
        let points: Vec<SloPoint> = (0..4).map(|hour| point(hour, Some((1_000.0, 1.0)))).collect();
        let hours = |n: i64| Timestamp(n * 3_600_000);
        let begun = |end: Timestamp| if end > hours(2) { hours(2) } else { hours(0) };
        let (_, left) = left(&points, Span::HOUR, (hours(0), hours(4)), begun, 0.01);
        assert_eq!(left.iter().map(|value| value.map(|value| (value * 100.0).round())).collect::<Vec<_>>(), [Some(90.0); 4]);
    }

    #[test]
    fn a_day_without_data_is_hatched_and_says_so() {
        let slo = fixture::slo();
        let mut all = days(&[], NOW);
        assert_eq!(all.len(), 91);
        all[90].counts = Some((1_000.0, 20.0));
        all[89].counts = Some((1_000.0, 0.5));
        all[88].counts = Some((1_000.0, 3.0));
        let past = Past { from: NOW - Span::days(2), step: Span::DAY, left: vec![Some(0.5), Some(-0.2)], days: all, ..Past::default() };
        let text = calendar(&slo, &Ok(past.clone()), NOW).into_string();
        for part in ["d-page", "20×", "<li title=", "0.5×", "d-ticket", "3×", "not measured", "20 of 1,000 failed", "3 of the last 91 days"]
        {
            assert!(text.contains(part), "{part} in {text}");
        }
        let text = chart(&slo, &Ok(past), NOW).into_string();
        assert!(text.contains("−20 %") && text.contains("50 %") && text.contains("url(#f-h)"), "{text}");
        assert!(chart(&slo, &Err("no".into()), NOW).into_string().contains("Not drawn"));
    }
}
