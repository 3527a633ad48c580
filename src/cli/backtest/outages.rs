//! Outages that people have labelled, held against what the rules would have said: precision, recall and time to
//! detection of every rule.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::report::rough;
use crate::cli::exit::{Failure, Outcome};
use crate::cli::output::{self, Table};
use crate::domain::rule::{Labels, RuleSet};
use crate::domain::time::{Span, Timestamp};
use crate::simulation::Found;

/// One outage: half-open, like everything else.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outage {
    #[serde(default)]
    name: String,
    from: Timestamp,
    to: Timestamp,
    /// The rules that should have noticed it; empty: all of them.
    #[serde(default)]
    rules: Vec<String>,
    /// Labels of the alerts that count; an alert that lacks one of these labels counts as well.
    #[serde(default, rename = "where")]
    labels: Labels,
}

/// Reads a file with one JSON object a line, or with one JSON array.
pub fn read(path: &Path, rules: &RuleSet) -> Result<Vec<Outage>, Failure> {
    let text = std::fs::read_to_string(path).map_err(|error| super::cannot(error, "read", path))?;
    let wrong = |place: String, why: String| Failure::not_fine(anyhow::anyhow!("{}{place}: {why}", path.display()));
    let outages: Vec<Outage> = if text.trim_start().starts_with('[') {
        serde_json::from_str(&text).map_err(|error| wrong(format!(":{}:{}", error.line(), error.column()), error.to_string()))?
    } else {
        let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        lines
            .map(|(at, line)| serde_json::from_str(line).map_err(|error| wrong(format!(":{}", at + 1), error.to_string())))
            .collect::<Result<_, _>>()?
    };
    for (at, outage) in outages.iter().enumerate() {
        let which = if outage.name.is_empty() { format!(": outage {}", at + 1) } else { format!(": outage `{}`", outage.name) };
        if outage.from >= outage.to {
            return Err(wrong(which, "it ends before it begins".into()));
        }
        let known = |name: &String| rules.slo(name).is_some() || rules.alerts.iter().any(|rule| rule.name == *name);
        if let Some(name) = outage.rules.iter().find(|name| !known(name)) {
            return Err(wrong(which, format!("there is no rule `{name}`")));
        }
    }
    if outages.is_empty() {
        return Err(wrong(String::new(), "there is no outage in it; write lines like {\"from\": \"2026-11-01T10:00:00Z\", \"to\": \"2026-11-01T10:40:00Z\", \"name\": \"bad deploy\"}".into()));
    }
    Ok(outages)
}

/// How one rule did.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
struct Score {
    /// Stretches in which any of its tiers fired, one per group.
    alerts: usize,
    /// Those during an outage.
    true_alerts: usize,
    /// Outages that it should have noticed.
    outages: usize,
    detected: usize,
    /// From the start of each detected outage to its first alert, in order of length.
    #[serde(skip)]
    delays: Vec<Span>,
}

impl Score {
    fn precision(&self) -> Option<f64> {
        (self.alerts > 0).then(|| self.true_alerts as f64 / self.alerts as f64)
    }

    fn recall(&self) -> Option<f64> {
        (self.outages > 0).then(|| self.detected as f64 / self.outages as f64)
    }

    fn median(&self) -> Option<Span> {
        self.delays.get(self.delays.len().saturating_sub(1) / 2).copied()
    }
}

/// A stretch in which an alert fired, whatever its tier.
struct Stretch<'f> {
    rule: &'f str,
    labels: Labels,
    from: Timestamp,
    to: Timestamp,
}

impl Stretch<'_> {
    fn is_of(&self, outage: &Outage) -> bool {
        let wanted = |(name, value): (&String, &String)| self.labels.get(name).is_none_or(|have| have == value);
        outage.labels.iter().all(wanted) && self.from < outage.to && outage.from < self.to
    }
}

/// Every rule's score: of all rules of the set, also of those that never fired.
fn scores(found: &Found, rules: &RuleSet, outages: &[Outage]) -> BTreeMap<String, Score> {
    let stretches = stretches(found);
    let names = rules.slos.iter().map(|slo| &slo.name).chain(rules.alerts.iter().map(|rule| &rule.name));
    names
        .map(|name| {
            let mine: Vec<&Stretch<'_>> = stretches.iter().filter(|stretch| stretch.rule == name).collect();
            let due = outages.iter().filter(|outage| outage.rules.is_empty() || outage.rules.contains(name));
            let due: Vec<&Outage> = due.filter(|outage| outage.from < found.to && found.from < outage.to).collect();
            let mut score = Score { alerts: mine.len(), outages: due.len(), ..Score::default() };
            score.true_alerts = mine.iter().filter(|stretch| due.iter().any(|outage| stretch.is_of(outage))).count();
            for outage in due {
                let first = mine.iter().filter(|stretch| stretch.is_of(outage)).map(|stretch| stretch.from).min();
                if let Some(first) = first {
                    score.detected += 1;
                    score.delays.push((first - outage.from).max(Span::ZERO));
                }
            }
            score.delays.sort_unstable();
            (name.clone(), score)
        })
        .collect()
}

/// The runs of all tiers of an alert as a union.
fn stretches(found: &Found) -> Vec<Stretch<'_>> {
    let mut runs: BTreeMap<(&str, Labels), Vec<(Timestamp, Timestamp)>> = BTreeMap::new();
    for run in &found.runs {
        let mut labels = run.labels.clone();
        labels.remove("severity");
        runs.entry((&run.rule, labels)).or_default().push((run.started_at, run.ended_at.unwrap_or(found.to)));
    }
    let mut stretches: Vec<Stretch<'_>> = Vec::new();
    for ((rule, labels), mut times) in runs {
        times.sort_unstable();
        let mut open: Option<(Timestamp, Timestamp)> = None;
        for (from, to) in times {
            open = match open {
                Some((start, end)) if from <= end => Some((start, end.max(to))),
                Some((start, end)) => {
                    stretches.push(Stretch { rule, labels: labels.clone(), from: start, to: end });
                    Some((from, to))
                }
                None => Some((from, to)),
            };
        }
        stretches.extend(open.map(|(from, to)| Stretch { rule, labels, from, to }));
    }
    stretches
}

/// What `--json` says of the outages.
pub fn json(found: &Found, rules: &RuleSet, outages: &[Outage]) -> Value {
    let rows = scores(found, rules, outages).into_iter().map(|(rule, score)| {
        json!({
            "rule": rule, "alerts": score.alerts, "true_alerts": score.true_alerts, "precision": score.precision(),
            "outages": score.outages, "detected": score.detected, "recall": score.recall(),
            "detection_median_s": score.median().map(Span::as_secs_f64),
            "detection_slowest_s": score.delays.last().copied().map(Span::as_secs_f64),
        })
    });
    rows.collect()
}

/// A table for a person.
pub fn print(found: &Found, rules: &RuleSet, outages: &[Outage]) -> Outcome {
    let mut table = Table::new(&["rule", ">alerts", ">true", ">precision", ">outages", ">detected", ">recall", ">median", ">slowest"]);
    let percent = |share: Option<f64>| share.map(|share| format!("{:.0} %", share * 100.0)).unwrap_or_default();
    let span = |span: Option<Span>| span.map(rough).unwrap_or_default();
    for (rule, score) in scores(found, rules, outages) {
        table.row(vec![
            rule,
            score.alerts.to_string(),
            score.true_alerts.to_string(),
            percent(score.precision()),
            score.outages.to_string(),
            score.detected.to_string(),
            percent(score.recall()),
            span(score.median()),
            span(score.delays.last().copied()),
        ]);
    }
    output::say(&format!("\nHeld against {} labelled outages:", outages.len()))?;
    table.print("no rules")?;
    let stretches = stretches(found);
    let mut missed = Table::new(&["from", "to", "outage"]);
    for outage in outages.iter().filter(|outage| !stretches.iter().any(|stretch| stretch.is_of(outage))) {
        missed.row(vec![outage.from.to_string(), outage.to.to_string(), outage.name.clone()]);
    }
    output::say("\nNoticed by no rule:")?;
    missed.print("none")
}
