//! A line of the size of a word: how something has been, beside its number.
//!
//! Always holds: a step without a value has no coordinate; the lines of one column share one scale.

use std::fmt::Write as _;

use maud::{Markup, html};

const HEIGHT: f64 = 22.0;

/// Values over even steps, oldest first.
pub struct Spark<'a> {
    pub values: &'a [Option<f64>],
    /// The scale's ends; what lies beyond reaches its edge.
    pub low: f64,
    pub high: f64,
    /// What is fine, shaded.
    pub band: Option<(f64, f64)>,
    /// A value in words.
    pub words: &'a dyn Fn(f64) -> String,
    pub what: &'a str,
}

impl Spark<'_> {
    /// The line, with a line at zero below it.
    pub fn draw(&self) -> Markup {
        let known: Vec<f64> = self.values.iter().flatten().copied().filter(|value| value.is_finite()).collect();
        let (Some(first), Some(last)) = (known.first(), known.last()) else { return html! {} };
        let label = format!("{}: {} at first, {} at last", self.what, (self.words)(*first), (self.words)(*last));
        let zero = format!("{:.1}", self.y(0.0));
        html! {
            svg.spark role="img" viewBox={ "0 0 " (self.values.len()) " " (HEIGHT) } preserveAspectRatio="none" {
                title { (label) }
                @match self.band {
                    Some((low, high)) => { rect.band x="0" width=(self.values.len()) y=(format!("{:.1}", self.y(high))) height=(format!("{:.1}", self.y(low) - self.y(high))) {} }
                    None => { path.area d=(self.path(true)) {} }
                }
                line.grid x1="0" x2=(self.values.len()) y1=(zero) y2=(zero) {}
                path."line"."s0" d=(self.path(false)) {}
            }
        }
    }

    fn y(&self, value: f64) -> f64 {
        let span = (self.high - self.low).max(1e-9);
        1.5 + (HEIGHT - 3.0) * (self.high - value.clamp(self.low, self.high)) / span
    }

    fn path(&self, closed: bool) -> String {
        let zero = self.y(0.0);
        let mut path = String::new();
        let mut drawing = false;
        for (i, value) in self.values.iter().enumerate() {
            let at = value.filter(|value| value.is_finite()).map(|value| self.y(value));
            let written = match (at, drawing, closed) {
                (Some(y), false, true) => write!(path, "M{i} {zero:.1}V{y:.1}H{}", i + 1),
                (Some(y), false, false) => write!(path, "M{i} {y:.1}H{}", i + 1),
                (Some(y), true, _) => write!(path, "V{y:.1}H{}", i + 1),
                (None, true, true) => write!(path, "V{zero:.1}z"),
                (None, _, _) => Ok(()),
            };
            written.expect("a string takes every write");
            drawing = at.is_some();
        }
        if drawing && closed {
            write!(path, "V{zero:.1}z").expect("a string takes every write");
        }
        path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_without_a_value_has_no_coordinate() {
        let values = [Some(1.0), None, Some(0.5), Some(0.0)];
        let spark = Spark { values: &values, low: 0.0, high: 1.0, band: None, words: &|value| format!("{value}"), what: "left" };
        assert_eq!(spark.path(false), "M0 1.5H1M2 11.0H3V20.5H4");
        assert_eq!(spark.path(true), "M0 20.5V1.5H1V20.5zM2 20.5V11.0H3V20.5H4V20.5z");
        assert!(Spark { values: &[None, None], ..spark }.draw().into_string().is_empty());
    }
}
