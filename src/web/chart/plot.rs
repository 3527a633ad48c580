//! Draws plain curves or bars over time: the answer of a query, a budget as it stood, a telemetry figure.
//!
//! Always holds: a step without a value has no coordinate; where no curve has one it is hatched.

use std::fmt::Write as _;

use maud::{Markup, PreEscaped, html};

use super::draw::{pc, px, step_words};
use super::{numbers, stroke};
use crate::domain::time::{Span, Timestamp};
use crate::web::number;
use crate::web::text::{Plain, clip};

const TOP: f64 = 8.0;
const HEIGHT: f64 = 160.0;
const BASE: f64 = TOP + HEIGHT;
const HITS_MAX: usize = 60;
/// Most cells of the table behind a plot.
const CELLS_MAX: usize = 120;
/// Most curves that can be told apart by their strokes.
pub const CURVES_MAX: usize = 6;

/// One line of values; `None` where nothing was measured.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Curve {
    pub name: String,
    pub values: Vec<Option<f64>>,
}

/// Curves over the same steps, on one scale that holds zero.
pub struct Plot<'a> {
    /// Tells the parts of several plots of one page apart.
    pub id: &'static str,
    /// What is to be seen, in one sentence.
    pub title: String,
    pub from: Timestamp,
    pub step: Span,
    pub curves: &'a [Curve],
    /// Bars instead of lines; for one curve.
    pub bars: bool,
    /// Later steps are not complete: nothing there is no gap.
    pub until: Option<Timestamp>,
    /// A value in words.
    pub words: &'a dyn Fn(f64) -> String,
    pub now: Timestamp,
}

impl Plot<'_> {
    fn steps(&self) -> usize {
        self.curves.iter().map(|curve| curve.values.len()).max().unwrap_or(0)
    }

    fn at(&self, step: usize) -> Timestamp {
        self.from + Span(self.step.millis() * step as i64)
    }

    /// Lowest and highest of the scale, with zero between or at an end.
    fn scale(&self) -> (f64, f64) {
        let values = self.curves.iter().flat_map(|curve| curve.values.iter().flatten()).copied().filter(|value| value.is_finite());
        let (low, high) = values.fold((0.0_f64, 0.0_f64), |(low, high), value| (low.min(value), high.max(value)));
        let room = ((high - low) * 0.12).max(1e-9);
        (if low < 0.0 { low - room } else { 0.0 }, if high > 0.0 { high + room } else { room })
    }

    /// The figure with its table of numbers behind.
    pub fn draw(&self) -> Markup {
        let n = self.steps();
        let any = self.curves.iter().any(|curve| curve.values.iter().any(Option::is_some));
        if n == 0 || !any {
            return html! { p.empty { "Nothing was measured between " (number::clock(self.from, self.now)) " and " (number::clock(self.at(n), self.now)) " UTC." } };
        }
        let scale = self.scale();
        let id = self.id;
        html! {
            svg.chart height="196" role="img" aria-labelledby={ (id) "-t " (id) "-d" } {
                title id={ (id) "-t" } { (Plain(&self.title)) }
                desc id={ (id) "-d" } { (self.describe()) }
                defs { pattern.hatch id={ (id) "-h" } width="7" height="7" patternUnits="userSpaceOnUse" patternTransform="rotate(45)" { path d="M0 0V7" {} } }
                @for line in lines(scale) { line.grid x1="0" x2="100%" y1=(px(y(line, scale))) y2=(px(y(line, scale))) {} }
                line.axis x1="0" x2="100%" y1=(px(y(0.0, scale))) y2=(px(y(0.0, scale))) {}
                @for (start, length) in self.gaps() {
                    rect.hatch-bg x=(pc(start, n)) width=(pc(length, n)) y=(TOP) height=(HEIGHT) {}
                    rect fill={ "url(#" (id) "-h)" } x=(pc(start, n)) width=(pc(length, n)) y=(TOP) height=(HEIGHT) {}
                }
                svg x="0" y=(TOP) width="100%" height=(HEIGHT) viewBox={ "0 0 " (n) " " (HEIGHT) } preserveAspectRatio="none" {
                    @for (i, curve) in self.curves.iter().take(CURVES_MAX).enumerate() {
                        @if self.bars { path.bar-ok d=(bars(curve, scale)) {} } @else { path class={ "line s" (i) } d=(path(curve, scale)) {} }
                    }
                }
                @for line in lines(scale) { text x="0" y=(px(y(line, scale) - 4.0)) { ((self.words)(line)) } }
                (self.ticks())
                (self.hits())
            }
            (self.table())
        }
    }

    fn gaps(&self) -> Vec<(usize, usize)> {
        let mut gaps: Vec<(usize, usize)> = Vec::new();
        for i in 0..self.steps() {
            let measured = self.curves.iter().any(|curve| curve.values.get(i).is_some_and(Option::is_some));
            if measured || self.until.is_some_and(|until| self.at(i + 1) > until) {
                continue;
            }
            match gaps.last_mut() {
                Some((start, length)) if *start + *length == i => *length += 1,
                _ => gaps.push((i, 1)),
            }
        }
        gaps
    }

    fn ticks(&self) -> Markup {
        let (n, to) = (self.steps(), self.at(self.steps()));
        let span = to - self.from;
        let step = [1, 5, 15, 60, 180, 720, 1_440, 2_880, 10_080]
            .into_iter()
            .map(Span::minutes)
            .find(|step| span.millis() / step.millis() <= 5)
            .unwrap_or(Span::days(30));
        let mut places = Vec::new();
        let mut at = self.from.ceil(step);
        while at < to && places.len() < 8 {
            let x = (at - self.from).millis() as f64 / span.millis() as f64 * 100.0;
            if x > 4.0 && x < 82.0 {
                places.push((x, at));
            }
            at += step;
        }
        html! {
            @if n > 0 {
                @for (i, (x, at)) in places.iter().enumerate() {
                    line.axis x1=(format!("{x:.2}%")) x2=(format!("{x:.2}%")) y1=(px(BASE)) y2=(px(BASE + 5.0)) {}
                    // A phone has room for every other one, and none for those below the end's own words.
                    text class=[(i % 2 == 1 || *x > 55.0).then_some("wide")] x=(format!("{x:.2}%")) y=(px(BASE + 20.0)) text-anchor="middle" { (short_clock(*at, self.now, step)) }
                }
                text x="100%" y=(px(BASE + 20.0)) text-anchor="end" { (number::clock(to, self.now)) " UTC" }
            }
        }
    }

    fn hits(&self) -> Markup {
        let n = self.steps();
        let each = n.div_ceil(HITS_MAX).max(1);
        let mut out = String::new();
        for start in (0..n).step_by(each) {
            let length = each.min(n - start);
            let said: Vec<String> = self
                .curves
                .iter()
                .take(CURVES_MAX)
                .map(|curve| {
                    let highest = curve.values.iter().skip(start).take(length).flatten().copied().reduce(f64::max);
                    let value = highest.map_or_else(|| number::NOT_MEASURED.to_owned(), |value| (self.words)(value));
                    if self.curves.len() == 1 { value } else { format!("{}: {value}", clip(&curve.name, 40)) }
                })
                .collect();
            let title = html! { title { (number::clock(self.at(start), self.now)) " " (said.join("; ")) } };
            // One unit wide by the stylesheet; of the last, what lies beyond the edge is cut off.
            write!(out, "<rect x={}>{}</rect>", start / each, title.into_string()).expect("a string takes every write");
        }
        html! {
            svg.hits x="0" y=(TOP) width="100%" height=(HEIGHT) viewBox={ "0 0 " (n as f64 / each as f64) " 1" } preserveAspectRatio="none" {
                // Numbers of ours, and titles that were escaped above.
                (PreEscaped(out))
            }
        }
    }

    fn table(&self) -> Markup {
        let curves = &self.curves[..self.curves.len().min(CURVES_MAX)];
        let rows = CELLS_MAX / curves.len().max(1);
        let skip = self.steps().saturating_sub(rows);
        let summary = if skip > 0 { format!("Show the numbers (the last {rows})") } else { "Show the numbers".into() };
        let heads: Vec<String> = curves.iter().map(|curve| clip(&curve.name, 40)).collect();
        let value = |curve: &Curve, i: usize| curve.values.get(i).copied().flatten();
        let words = |value: Option<f64>| value.map_or_else(|| number::NOT_MEASURED.to_owned(), |value| (self.words)(value));
        let cells = |i: usize| {
            let any = curves.iter().any(|curve| value(curve, i).is_some());
            any.then(|| curves.iter().map(|curve| words(value(curve, i))).collect())
        };
        numbers::table(&summary, &heads, (skip..self.steps()).map(|i| (number::clock(self.at(i), self.now), cells(i))))
    }

    fn describe(&self) -> String {
        let mut text = format!("One step is one {}.", step_words(self.step));
        for curve in self.curves.iter().take(CURVES_MAX) {
            let known: Vec<f64> = curve.values.iter().flatten().copied().collect();
            let (Some(first), Some(last)) = (known.first(), known.last()) else { continue };
            let highest = known.iter().copied().fold(*first, f64::max);
            let _ = write!(
                text,
                " {}: {} at first, {} at last, {} at most.",
                clip(&curve.name, 40),
                (self.words)(*first),
                (self.words)(*last),
                (self.words)(highest)
            );
        }
        for (start, length) in self.gaps().into_iter().take(3) {
            let (from, to) = (number::clock(self.at(start), self.now), number::clock(self.at(start + length), self.now));
            let _ = write!(text, " {from} to {to} was not measured.");
        }
        text
    }
}

/// The stroke of a curve, to stand beside its name.
pub fn sample(i: usize) -> Markup {
    html! { svg.sample viewBox="0 0 28 8" aria-hidden="true" { path class={ "line s" (i) } d="M1 4H27" {} } }
}

/// Ticks a day or more apart need no time of day.
fn short_clock(at: Timestamp, now: Timestamp, step: Span) -> String {
    let text = number::clock(at, now);
    if step < Span::DAY { text } else { text.strip_suffix(" 00:00").map_or(text.clone(), str::to_owned) }
}

fn y(value: f64, (low, high): (f64, f64)) -> f64 {
    TOP + HEIGHT * (high - value) / (high - low)
}

/// Round values below the top, two or three.
fn lines((low, high): (f64, f64)) -> Vec<f64> {
    let span = high - low;
    let mut step = 10_f64.powf(span.log10().floor());
    while span / step < 2.0 {
        step /= 2.0;
    }
    while span / step > 5.0 {
        step *= 2.0;
    }
    let mut lines = Vec::new();
    let mut at = (low / step).ceil() * step;
    while at <= high - span * 0.08 && lines.len() < 6 {
        if at.abs() > step * 0.01 && at >= low + span * 0.04 {
            lines.push(at);
        }
        at += step;
    }
    lines
}

fn path(curve: &Curve, scale: (f64, f64)) -> String {
    let height = |value: f64| y(value, scale) - TOP;
    stroke::broken(&curve.values.iter().map(|value| value.filter(|value| value.is_finite()).map(height)).collect::<Vec<_>>())
}

fn bars(curve: &Curve, scale: (f64, f64)) -> String {
    let mut path = String::new();
    for (i, value) in curve.values.iter().enumerate() {
        let Some(value) = value.filter(|value| value.is_finite()) else { continue };
        let (top, base) = (y(value, scale) - TOP, y(0.0, scale) - TOP);
        write!(path, "M{i}.1 {base:.1}V{:.1}h.8V{base:.1}z", top.min(base - 0.8)).expect("a string takes every write");
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::fixture::{HOSTILE, assert_inert};

    fn plot(curves: &[Curve]) -> String {
        let words = |value: f64| number::exact(value);
        let from = Timestamp(1_795_053_120_000);
        let plot = Plot {
            id: "p",
            title: HOSTILE.into(),
            from,
            step: Span::MINUTE,
            curves,
            bars: false,
            until: Some(from + Span::minutes(9)),
            words: &words,
            now: from,
        };
        plot.draw().into_string()
    }

    #[test]
    fn a_step_without_a_value_has_no_coordinate_and_is_hatched() {
        let values = (0..10).map(|i| (!matches!(i, 3..6 | 9)).then_some(f64::from(i))).collect();
        let text = plot(&[Curve { name: "requests".into(), values }]);
        assert!(text.contains("x=\"30.00%\" width=\"30.00%\""), "{text}");
        assert!(!text.contains("x=\"90.00%\""), "a step that is not over is no gap");
        assert_eq!(text.matches("l1 ").count(), 4, "two runs of three");
        for gone in ["M3.5 ", "M4.5 ", "M5.5 ", "M9.5 "] {
            assert!(!text.contains(gone), "{gone}");
        }
        assert!(text.contains("M6.5 "), "the line starts anew after the gap");
        assert_eq!(text.matches("<td colspan=1>not measured").count(), 4);
    }

    #[test]
    fn hostile_names_are_inert_and_the_scale_holds_zero() {
        let curve = |low: f64| Curve { name: HOSTILE.into(), values: vec![Some(low), Some(1.0)] };
        assert_inert(&plot(&[curve(0.5), curve(0.7)]));
        let (low, high) = (-0.5, 1.0);
        assert!(lines((low, high)).iter().all(|line| *line != 0.0 && *line < high && *line > low));
        assert!(plot(&[]).contains("Nothing was measured"));
    }
}
