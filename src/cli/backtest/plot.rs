//! A picture of a backtest: for each SLO its remaining budget over time, and when its tiers were on.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::domain::evaluate::Evaluator;
use crate::domain::rule::{Labels, Severity};
use crate::domain::time::{Span, Timestamp};
use crate::simulation::Found;

/// Points of a line, and lanes of a picture.
const POINTS: i64 = 720;
const LANES_MAX: usize = 60;
const LEFT: f64 = 230.0;
const WIDTH: f64 = 900.0;
const LANE: f64 = 64.0;
const TOP: f64 = 44.0;

/// Remaining budgets, sampled while a backtest runs.
#[derive(Debug)]
pub struct Samples {
    every: Span,
    next: Timestamp,
    lanes: BTreeMap<(String, Labels), Vec<(Timestamp, f64)>>,
}

impl Samples {
    /// For a run between these times.
    pub fn new(from: Timestamp, to: Timestamp) -> Samples {
        Samples { every: Span(((to - from).0 / POINTS).max(1)), next: from, lanes: BTreeMap::new() }
    }

    /// Takes a sample if one is due.
    pub fn take(&mut self, t: Timestamp, evaluator: &Evaluator) {
        if t < self.next {
            return;
        }
        self.next = t + self.every;
        let lanes = &mut self.lanes;
        evaluator.budgets(|slo, labels, _, state| {
            let Some(state) = state else { return };
            let key = (slo.name.clone(), labels.clone());
            if lanes.len() < LANES_MAX || lanes.contains_key(&key) {
                lanes.entry(key).or_default().push((t, state.remaining));
            }
        });
    }

    /// The picture as SVG.
    pub fn draw(&self, found: &Found) -> String {
        let height = TOP + LANE * self.lanes.len() as f64 + 24.0;
        let x = |t: Timestamp| LEFT + WIDTH * (t - found.from).0 as f64 / (found.to - found.from).0.max(1) as f64;
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {:.0} {height:.0}\" font-family=\"sans-serif\" font-size=\"12\">\n\
             <style>text{{fill:#222}}.q{{fill:#667}}.b{{fill:none;stroke:#2563eb;stroke-width:1.5}}.z{{stroke:#bbc;stroke-dasharray:3 3}}\
             .page{{fill:#dc2626}}.ticket{{fill:#d97706}}.info{{fill:#64748b}}\
             @media (prefers-color-scheme:dark){{svg{{background:#111}}text{{fill:#ddd}}.q{{fill:#99a}}}}</style>\n",
            LEFT + WIDTH + 20.0
        );
        let _ = writeln!(svg, "<text x=\"8\" y=\"18\">Remaining error budget, {} to {}</text>", found.from, found.to);
        let _ =
            writeln!(svg, "<text class=\"q\" x=\"8\" y=\"34\">line: budget from 0 to 100 %; bars: alerts (red page, amber ticket)</text>");
        for (at, ((slo, labels), points)) in self.lanes.iter().enumerate() {
            let top = TOP + LANE * at as f64;
            self.lane(&mut svg, found, (slo, labels), points, top, &x);
        }
        svg + "</svg>\n"
    }

    fn lane(
        &self,
        svg: &mut String,
        found: &Found,
        (slo, labels): (&str, &Labels),
        points: &[(Timestamp, f64)],
        top: f64,
        x: &dyn Fn(Timestamp) -> f64,
    ) {
        let (full, empty) = (top + 8.0, top + LANE - 14.0);
        let y = |remaining: f64| empty - (empty - full) * remaining.clamp(-0.15, 1.0);
        let group: String = labels.iter().map(|(name, value)| format!(" {name}={value}")).collect();
        let _ = writeln!(svg, "<text x=\"8\" y=\"{:.1}\">{}</text>", top + 20.0, escape(&clip(slo)));
        let last = points.last().map(|(_, remaining)| format!("{:.1} % left", remaining * 100.0)).unwrap_or_default();
        let _ = writeln!(svg, "<text class=\"q\" x=\"8\" y=\"{:.1}\">{}</text>", top + 36.0, escape(&clip(&format!("{last}{group}"))));
        let _ = writeln!(svg, "<line class=\"z\" x1=\"{LEFT}\" y1=\"{empty:.1}\" x2=\"{:.1}\" y2=\"{empty:.1}\"/>", LEFT + WIDTH);
        let line: Vec<String> = points.iter().map(|(t, remaining)| format!("{:.1},{:.1}", x(*t), y(*remaining))).collect();
        let _ = writeln!(svg, "<polyline class=\"b\" points=\"{}\"/>", line.join(" "));
        let mine =
            |run: &&crate::simulation::Run| run.rule == slo && labels.iter().all(|(name, value)| run.labels.get(name) == Some(value));
        for run in found.runs.iter().filter(mine) {
            let (start, end) = (x(run.started_at), x(run.ended_at.unwrap_or(found.to)));
            let (class, row) = match run.severity {
                Severity::Page => ("page", 0.0),
                Severity::Ticket => ("ticket", 1.0),
                Severity::Info => ("info", 2.0),
            };
            let shown = format!(
                "tier {}: {} to {}",
                run.tier.unwrap_or(0),
                run.started_at,
                run.ended_at.map_or("the end".into(), |at| at.to_string())
            );
            let _ = writeln!(
                svg,
                "<rect class=\"{class}\" x=\"{start:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"3\"><title>{shown}</title></rect>",
                empty + 3.0 + 3.5 * row,
                (end - start).max(1.0)
            );
        }
    }
}

fn clip(text: &str) -> String {
    let mut clipped: String = text.chars().take(34).collect();
    if clipped.len() < text.len() {
        clipped.push('…');
    }
    clipped
}

/// Names and values come from rules and from beacons.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            c if c.is_control() => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_values_stay_text() {
        assert_eq!(escape("<script>\"&\u{1}"), "&lt;script&gt;&quot;&amp;\u{fffd}");
    }
}
