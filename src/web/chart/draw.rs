//! Draws a [`BurnChart`]: failing share as bars above, burn rate on a log scale below.

use std::fmt::Write as _;

use maud::{Markup, PreEscaped, html};

use super::bullet::log_percent;
use super::{BurnChart, Marker, Step, numbers, stroke};
use crate::domain::time::{Span, Timestamp};
use crate::web::number;
use crate::web::text::{Plain, clip, plain};

const BARS: (f64, f64) = (30.0, 78.0);
const BURN: (f64, f64) = (146.0, 190.0);
const BASE: f64 = BURN.0 + BURN.1;
const HITS_MAX: usize = 60;
const MARKERS_MAX: usize = 5;
/// Rows of the table behind the chart: the newest.
const ROWS_MAX: usize = 60;

/// The figure with its table of numbers behind.
pub fn burn(chart: &BurnChart, now: Timestamp) -> Markup {
    if !chart.measured() {
        return html! { p.empty { "Nothing was measured between " (number::clock(chart.from, now)) " and " (number::clock(chart.to(), now)) " UTC." } };
    }
    let (top, lines) = scale(chart.steps.iter().filter_map(Step::ratio).fold(0.0, f64::max));
    let n = chart.steps.len();
    html! {
        svg.chart height="362" role="img" aria-labelledby="ct cd" {
            title id="ct" { "Failing " (Plain(&chart.noun)) " and burn rate, " (number::clock(chart.from, now)) " to " (number::clock(chart.to(), now)) " UTC" }
            desc id="cd" { (describe(chart, now)) }
            defs { pattern.hatch id="hatch" width="7" height="7" patternUnits="userSpaceOnUse" patternTransform="rotate(45)" { path d="M0 0V7" {} } }
            line.axis x1="0" x2="100%" y1="108" y2="108" {}
            @for share in &lines { line.grid x1="0" x2="100%" y1=(px(bar_y(share / top))) y2=(px(bar_y(share / top))) {} }
            line.axis x1="0" x2="100%" y1=(px(BASE)) y2=(px(BASE)) {}
            line.grid x1="0" x2="100%" y1=(px(burn_y(100.0))) y2=(px(burn_y(100.0))) {}
            @for tier in &chart.tiers {
                line class={ "tier t-" (tier.severity.name()) } x1="0" x2="100%" y1=(px(burn_y(tier.factor))) y2=(px(burn_y(tier.factor))) {}
            }
            @for (start, length) in gaps(&chart.steps) {
                @for (y, height) in [BARS, BURN] {
                    rect.hatch-bg x=(pc(start, n)) width=(pc(length, n)) y=(y) height=(height) {}
                    rect fill="url(#hatch)" x=(pc(start, n)) width=(pc(length, n)) y=(y) height=(height) {}
                }
            }
            svg x="0" y=(BARS.0) width="100%" height=(BARS.1) viewBox={ "0 0 " (n) " " (BARS.1) } preserveAspectRatio="none" {
                @for (class, d) in bars(chart, top) { path class=(class) d=(d) {} }
            }
            svg x="0" y=(BURN.0) width="100%" height=(BURN.1) viewBox={ "0 0 " (n) " " (BURN.1) } preserveAspectRatio="none" {
                path class="line short" d=(line(&chart.steps, |step| step.burn_short)) {}
                path class="line long" d=(line(&chart.steps, |step| step.burn_long)) {}
            }
            (markers(chart))
            text.strong x="0" y="24" { "Failing " (Plain(&chart.noun)) ", % per " (step_words(chart.step)) }
            text.strong x="0" y="134" { "Burn rate, × the budgeted rate (log)" }
            @for share in &lines { text x="0" y=(px(bar_y(share / top) - 4.0)) { (number::share(*share)) } }
            text x="0" y=(px(burn_y(100.0) - 4.0)) { "100×" }
            @for tier in &chart.tiers {
                text class={ "l-" (tier.severity.name()) } x="0" y=(px(burn_y(tier.factor) - 4.0)) { (tier.severity.name()) " " (number::factor(tier.factor)) }
            }
            (ends(chart, top))
            (ticks(chart, now))
            (hits(chart, now))
        }
        (table(chart, now))
    }
}

pub(super) fn px(value: f64) -> String {
    format!("{value:.1}")
}

pub(super) fn pc(steps: usize, of: usize) -> String {
    format!("{:.2}%", steps as f64 / of as f64 * 100.0)
}

fn bar_y(part: f64) -> f64 {
    BARS.0 + BARS.1 * (1.0 - part)
}

fn burn_y(burn: f64) -> f64 {
    BASE - BURN.1 * log_percent(burn) / 100.0
}

/// The share at the top of the panel and the round shares that get a line: two at most, below the top.
fn scale(highest: f64) -> (f64, Vec<f64>) {
    let top = (highest * 1.25).clamp(0.000_001, 1.25);
    let mut step = 1e-7;
    let mut best = step;
    while step <= top {
        for times in [1.0, 2.0, 5.0] {
            if step * times <= top * 0.5 {
                best = step * times;
            }
        }
        step *= 10.0;
    }
    (top, [best, best * 2.0].into_iter().filter(|line| *line <= top * 0.85).collect())
}

/// One step in words: `minute`, `5 min`, `hour`.
pub(crate) fn step_words(step: Span) -> String {
    match step {
        Span::MINUTE => "minute".into(),
        Span::HOUR => "hour".into(),
        Span::DAY => "day".into(),
        other => number::window(other),
    }
}

/// Runs of steps that were not measured: start and length.
fn gaps(steps: &[Step]) -> Vec<(usize, usize)> {
    let mut gaps: Vec<(usize, usize)> = Vec::new();
    for (i, step) in steps.iter().enumerate() {
        // A step that is not over yet is not a gap: it only has nothing to show so far.
        if step.counts.is_some() || step.partial {
            continue;
        }
        match gaps.last_mut() {
            Some((start, length)) if *start + *length == i => *length += 1,
            _ => gaps.push((i, 1)),
        }
    }
    gaps
}

/// One path per look: over the lowest tier's share, as usual, not settled yet.
fn bars(chart: &BurnChart, top: f64) -> Vec<(&'static str, String)> {
    let lowest = chart.tiers.iter().map(|tier| tier.factor).fold(f64::INFINITY, f64::min);
    let mut paths = [String::new(), String::new(), String::new()];
    for (i, step) in chart.steps.iter().enumerate() {
        let Some(ratio) = step.ratio() else { continue };
        let height = (ratio / top * BARS.1).clamp(0.8, BARS.1);
        let over = step.burn_short.or(step.burn_long).is_some_and(|burn| burn > lowest);
        let path = &mut paths[if step.partial { 2 } else { usize::from(!over) }];
        write!(path, "M{i}.1 78v-{height:.1}h.8V78z").expect("a string takes every write");
    }
    ["bar", "bar-ok", "bar-open"].into_iter().zip(paths).filter(|(_, path)| !path.is_empty()).collect()
}

fn line(steps: &[Step], value: impl Fn(&Step) -> Option<f64>) -> String {
    stroke::broken(&steps.iter().map(|step| value(step).map(|burn| burn_y(burn) - BURN.0)).collect::<Vec<_>>())
}

fn position(chart: &BurnChart, at: Timestamp) -> Option<f64> {
    let span = (chart.to() - chart.from).millis() as f64;
    let x = (at - chart.from).millis() as f64 / span * 100.0;
    (0.0..=100.0).contains(&x).then_some(x)
}

fn markers(chart: &BurnChart) -> Markup {
    let mut seen: Vec<(&Marker, f64, bool)> =
        chart.markers.iter().filter_map(|marker| Some((marker, position(chart, marker.at)?, false))).collect();
    // Names that would overlap are left to the time line, the lesser ones first; every shape stays.
    for glyph in ['◆', '▲', '✓', '●', '⚑', '~', '·'] {
        for i in (0..seen.len()).filter(|i| seen[*i].0.glyph == glyph).collect::<Vec<_>>() {
            let x = seen[i].1;
            let free = seen.iter().enumerate().all(|(other, (_, at, named))| other == i || !named || (x - at).abs() > 24.0);
            seen[i].2 = free;
        }
    }
    let more = seen.len().saturating_sub(MARKERS_MAX);
    html! {
        @for (marker, x, named) in seen.iter().take(MARKERS_MAX) {
            @let anchor = if *x > 75.0 { "end" } else if *x < 25.0 { "start" } else { "middle" };
            line.event x1=(format!("{x:.2}%")) x2=(format!("{x:.2}%")) y1="16" y2=(px(BASE)) {}
            @let beside = seen.iter().any(|(_, at, named)| *named && (x - at).abs() < 12.0);
            @if *named { text.strong x=(format!("{x:.2}%")) y="11" text-anchor=(anchor) { (marker.glyph) " " (Plain(&clip(&marker.text, 24))) } }
            @else if !beside { text.strong x=(format!("{x:.2}%")) y="11" text-anchor="middle" { (marker.glyph) } }
        }
        @if more > 0 { a href="/changes" { text.strong x="100%" y="24" text-anchor="end" { "+" (more) } } }
    }
}

/// The last values, named at the end of their lines; too close together they would overlap.
fn ends(chart: &BurnChart, top: f64) -> Markup {
    let limits: Vec<f64> = chart.tiers.iter().map(|tier| tier.factor).collect();
    let last = |value: fn(&Step) -> Option<f64>| chart.steps.iter().rev().find(|step| !step.partial).and_then(value);
    let (long, short) = (last(|step| step.burn_long), last(|step| step.burn_short));
    let mut long_y = long.map(|burn| burn_y(burn) - 7.0);
    let short_y = short.map(|burn| burn_y(burn) - 7.0);
    if let (Some(a), Some(b)) = (long_y, short_y)
        && (a - b).abs() < 14.0
    {
        long_y = Some(b + 22.0);
    }
    let ratio = last(|step| step.ratio());
    html! {
        @if let Some(ratio) = ratio {
            text.strong x="100%" y=(px((bar_y(ratio / top) - 5.0).max(42.0))) text-anchor="end" { (number::share(ratio)) }
        }
        @if let (Some(_), Some(y)) = (long, long_y) {
            text.strong x="100%" y=(px(y.clamp(BURN.0, BASE - 4.0))) text-anchor="end" { (number::window(chart.long)) ": " (number::burn(long, &limits)) }
        }
        @if let (Some(_), Some(y)) = (short, short_y) {
            text.strong x="100%" y=(px(y.clamp(BURN.0, BASE - 4.0))) text-anchor="end" { (number::window(chart.short)) ": " (number::burn(short, &limits)) }
        }
    }
}

fn ticks(chart: &BurnChart, now: Timestamp) -> Markup {
    let span = chart.to() - chart.from;
    let step = [1, 5, 15, 60, 180, 720, 1_440, 7_200, 10_080]
        .into_iter()
        .map(Span::minutes)
        .find(|step| span.millis() / step.millis() <= 5)
        .unwrap_or(Span::days(30));
    let mut at = chart.from.ceil(step);
    let mut places = Vec::new();
    while at < chart.to() {
        if let Some(x) = position(chart, at).filter(|x| *x > 3.0 && *x < 88.0) {
            places.push((x, at));
        }
        at += step;
    }
    html! {
        @for (i, (x, at)) in places.iter().enumerate() {
            line.axis x1=(format!("{x:.2}%")) x2=(format!("{x:.2}%")) y1=(px(BASE)) y2=(px(BASE + 5.0)) {}
            text class=[(i % 2 == 1 || *x > 70.0).then_some("wide")] x=(format!("{x:.2}%")) y=(px(BASE + 20.0)) text-anchor="middle" { (number::clock(*at, now)) }
        }
        text x="100%" y=(px(BASE + 20.0)) text-anchor="end" { (number::clock(chart.to(), now)) " UTC" }
    }
}

fn hits(chart: &BurnChart, now: Timestamp) -> Markup {
    let n = chart.steps.len();
    let each = n.div_ceil(HITS_MAX);
    let limits: Vec<f64> = chart.tiers.iter().map(|tier| tier.factor).collect();
    let mut out = String::new();
    for start in (0..n).step_by(each) {
        let steps = &chart.steps[start..(start + each).min(n)];
        let at = chart.from + Span(chart.step.millis() * start as i64);
        let mut sums: Option<(f64, f64)> = None;
        for (total, bad) in steps.iter().filter_map(|step| step.counts) {
            let sum = sums.get_or_insert((0.0, 0.0));
            *sum = (sum.0 + total, sum.1 + bad);
        }
        let highest = |value: fn(&Step) -> Option<f64>| steps.iter().filter_map(value).reduce(f64::max);
        let said = match sums {
            None => NOTHING.to_owned(),
            Some((total, bad)) => format!(
                "{} of {} failed, burn {} and {}",
                number::exact(bad),
                number::exact(total),
                number::burn(highest(|step| step.burn_long), &limits),
                number::burn(highest(|step| step.burn_short), &limits)
            ),
        };
        // One unit wide by the stylesheet; of the last, what lies beyond the edge is cut off.
        write!(out, "<rect x={}><title>{} {said}</title></rect>", start / each, number::clock(at, now))
            .expect("a string takes every write");
    }
    html! {
        svg.hits x="0" y=(BARS.0) width="100%" height=(BASE - BARS.0) viewBox={ "0 0 " (n as f64 / each as f64) " 1" } preserveAspectRatio="none" {
            // Only our own words and numbers are in it.
            (PreEscaped(out))
        }
    }
}

const NOTHING: &str = number::NOT_MEASURED;

fn table(chart: &BurnChart, now: Timestamp) -> Markup {
    let limits: Vec<f64> = chart.tiers.iter().map(|tier| tier.factor).collect();
    // Newest last, and no more rows than a page should weigh; the link above has all of them.
    let skip = chart.steps.len().saturating_sub(ROWS_MAX);
    let heads = [plain(&chart.noun), "failed".into(), "share".into(), format!("burn {}", number::window(chart.long))];
    let cells = |step: &Step| {
        step.counts.map(|(total, bad)| {
            let share = step.ratio().map_or("no events".to_owned(), number::share);
            vec![number::exact(total), number::exact(bad), share, number::burn(step.burn_long, &limits)]
        })
    };
    let at = |i: usize| number::clock(chart.from + Span(chart.step.millis() * i as i64), now);
    let rows = chart.steps.iter().enumerate().skip(skip).map(|(i, step)| (at(i), cells(step)));
    numbers::table("Show the numbers", &heads, rows)
}

fn describe(chart: &BurnChart, now: Timestamp) -> String {
    let known: Vec<(usize, f64)> = chart.steps.iter().enumerate().filter_map(|(i, step)| Some((i, step.ratio()?))).collect();
    let (Some(first), Some(last)) = (known.first(), known.last()) else {
        return "Nothing was measured.".into();
    };
    let at = |i: usize| number::clock(chart.from + Span(chart.step.millis() * i as i64), now);
    let highest = known.iter().copied().fold(*first, |a, b| if b.1 > a.1 { b } else { a });
    let mut text = format!(
        "{} of {} failed at {}, {} at {}; the most was {} at {}.",
        number::share(first.1),
        plain(&chart.noun),
        at(first.0),
        number::share(last.1),
        at(last.0),
        number::share(highest.1),
        at(highest.0)
    );
    for (start, length) in gaps(&chart.steps).into_iter().take(3) {
        let _ = write!(text, " {} to {} was not measured.", at(start), at(start + length));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::rule::Severity;
    use crate::web::chart::TierLine;

    fn chart() -> BurnChart {
        let steps = (0..60)
            .map(|i| match i {
                10..13 => Step::default(),
                _ => {
                    let bad = if i >= 39 { 230.0 } else { 1.0 };
                    Step { counts: Some((2_000.0, bad)), burn_long: Some(bad / 10.0), burn_short: Some(bad / 2.0), partial: i == 59 }
                }
            })
            .collect();
        BurnChart {
            from: Timestamp(1_795_053_120_000),
            step: Span::MINUTE,
            steps,
            long: Span::HOUR,
            short: Span::minutes(5),
            tiers: [14.4, 6.0].map(|factor| TierLine { severity: Severity::Page, factor }).to_vec(),
            markers: vec![Marker { at: Timestamp(1_795_055_220_000), glyph: '◆', text: "<script>\u{202e}".into() }],
            noun: "requests".into(),
        }
    }

    #[test]
    fn a_gap_is_hatched_and_has_no_coordinate() {
        let text = burn(&chart(), chart().to()).into_string();
        assert!(text.contains("url(#hatch)") && text.contains("x=\"16.67%\" width=\"5.00%\""), "{text}");
        assert!(text.contains("not measured"));
        // 57 of 60 steps have a value, in two runs.
        assert_eq!(text.matches("l1 ").count(), 2 * 55);
        for gone in ["M10.1 ", "M11.1 ", "M10.5 ", "M11.5 "] {
            assert!(!text.contains(gone), "{gone}");
        }
        assert_eq!(text.matches("M13.5 ").count(), 2, "both lines start anew after the gap");
    }

    #[test]
    fn a_chart_stays_small_and_inert() {
        let text = burn(&chart(), chart().to()).into_string();
        let svg = text.split("</svg><details").next().unwrap();
        assert!(svg.len() < 12 * 1024, "{}", svg.len());
        assert!(!text.contains("<script") && !text.contains('\u{202e}') && !text.contains(" style="));
    }

    #[test]
    fn the_scale_has_round_lines_below_its_top() {
        assert_eq!(scale(0.12), (0.15, vec![0.05, 0.1]));
        assert_eq!(scale(1.0).1, vec![0.5, 1.0]);
        assert!(scale(0.0).0 > 0.0);
    }
}
