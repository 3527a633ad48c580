//! What a backtest says: the JSON of CONTRACT 7, or tables for a person.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Number, Value, json};

use crate::cli::exit::Outcome;
use crate::cli::output::{self, Table};
use crate::domain::cell::UNIT;
use crate::domain::rule::Labels;
use crate::domain::time::{Span, Timestamp};
use crate::simulation::{Budget, Found, Run, Told};

/// One object with everything.
pub fn json(found: &Found) -> Value {
    json!({
        "from": found.from,
        "to": found.to,
        "evaluations": found.evaluations,
        "alerts": found.runs.iter().map(run).collect::<Vec<_>>(),
        "incidents": found.incidents.iter().map(told).collect::<Vec<_>>(),
        "notifications": found
            .said
            .iter()
            .map(|said| json!({ "at": said.at, "receiver": said.receiver, "type": said.kind, "incident": said.incident }))
            .collect::<Vec<_>>(),
        "slos": found.budgets.iter().map(budget).collect::<Vec<_>>(),
    })
}

/// One tier's run of firing.
pub fn run(run: &Run) -> Value {
    json!({
        "rule": run.rule, "tier": run.tier, "labels": run.labels, "severity": run.severity, "pending_at": run.pending_at,
        "started_at": run.started_at, "ended_at": run.ended_at, "values": run.values,
    })
}

fn told(told: &Told) -> Value {
    let incident = &told.incident;
    // Severities are the highest that were reached: a page that ended as a ticket was a page.
    let alerts = incident.view("").alerts.into_iter().zip(&incident.members).map(|(mut view, member)| {
        view.severity = told.severities.get(&member.alert).copied().unwrap_or(view.severity);
        view.labels.insert("severity".into(), view.severity.name().into());
        view
    });
    json!({
        "key": incident.key, "severity": told.severity, "opened_at": incident.opened_at, "resolved_at": incident.resolved_at,
        "alerts": alerts.collect::<Vec<_>>(), "impact": incident.impact, "verdict": incident.explained.verdict,
        "signature": incident.explained.signature, "suspects": incident.explained.suspects,
    })
}

fn budget(budget: &Budget) -> Value {
    let state = budget.state;
    json!({
        "slo": budget.slo, "labels": budget.labels, "objective": budget.objective,
        "total": events(budget.counts.total), "bad": events(budget.counts.bad.max(0)),
        "budget_remaining": state.map(|state| state.remaining),
        "pace_s": state.and_then(|state| state.pace_secs), "countdown_s": state.and_then(|state| state.countdown_secs),
    })
}

/// Weights in millionths as events; a whole number is written as one.
fn events(weight: i64) -> Number {
    match weight % UNIT {
        0 => Number::from(weight / UNIT),
        _ => Number::from_f64(weight as f64 / UNIT as f64).unwrap_or_else(|| Number::from(weight / UNIT)),
    }
}

/// Tables for a person.
pub fn print(found: &Found, source: &str) -> Outcome {
    output::say(&format!("{} to {}: {} evaluations over {source}\n", found.from, found.to, found.evaluations))?;
    incidents(found)?;
    runs(found)?;
    notifications(found)?;
    budgets(found)
}

fn incidents(found: &Found) -> Outcome {
    let mut table = Table::new(&["opened", "for", "severity", ">users", ">bad", ">budget", "incident"]);
    for told in &found.incidents {
        let incident = &told.incident;
        let impact = &incident.impact;
        table.row(vec![
            incident.opened_at.to_string(),
            length(incident.opened_at, incident.resolved_at, found.to),
            told.severity.to_string(),
            impact.affected_users.to_string(),
            format!("{:.0}", impact.bad_events),
            percent(impact.budget_consumed),
            incident.title.clone(),
        ]);
    }
    output::say(&format!("Incidents: {}", found.incidents.len()))?;
    if found.incidents.is_empty() { output::say("") } else { table.print("").and_then(|()| output::say("\n")) }
}

fn runs(found: &Found) -> Outcome {
    let mut table = Table::new(&["started", "for", "severity", ">tier", ">burn", "alert"]);
    for run in &found.runs {
        let burn = match (run.values.burn_long, run.values.burn_short) {
            (Some(long), Some(short)) => format!("{:.1}x", long.min(short)),
            _ => String::new(),
        };
        table.row(vec![
            run.started_at.to_string(),
            length(run.started_at, run.ended_at, found.to),
            run.severity.to_string(),
            run.tier.map(|tier| tier.to_string()).unwrap_or_default(),
            burn,
            format!("{}{}", run.rule, place(&run.labels)),
        ]);
    }
    output::say(&format!("Alerts, by tier: {}", found.runs.len()))?;
    if found.runs.is_empty() { output::say("") } else { table.print("").and_then(|()| output::say("\n")) }
}

fn notifications(found: &Found) -> Outcome {
    let mut counts: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for said in &found.said {
        *counts.entry((&said.receiver, said.kind.name().trim_start_matches("incident."))).or_default() += 1;
    }
    let mut table = Table::new(&["receiver", "type", ">times"]);
    for ((receiver, kind), times) in counts {
        table.row(vec![receiver.to_owned(), kind.to_owned(), times.to_string()]);
    }
    output::say(&format!("Notifications: {}", found.said.len()))?;
    if found.said.is_empty() { output::say("") } else { table.print("").and_then(|()| output::say("\n")) }
}

fn budgets(found: &Found) -> Outcome {
    let mut table = Table::new(&["slo", ">objective", ">total", ">bad", ">budget left", "lasts"]);
    for budget in &found.budgets {
        let state = budget.state;
        table.row(vec![
            format!("{}{}", budget.slo, place(&budget.labels)),
            format!("{} %", budget.objective),
            events(budget.counts.total).to_string(),
            events(budget.counts.bad.max(0)).to_string(),
            state.map(|state| percent(state.remaining)).unwrap_or_default(),
            state.and_then(|state| state.countdown_secs).map(|secs| rough(Span((secs * 1000.0).min(9e15) as i64))).unwrap_or_default(),
        ]);
    }
    output::say(&format!("SLOs at {}:", found.to))?;
    table.print("none")
}

fn place(labels: &Labels) -> String {
    let own = ["slo", "rule", "severity", "service", "owner"];
    let mut text = String::new();
    for (name, value) in labels.iter().filter(|(name, _)| !own.contains(&name.as_str())) {
        let _ = write!(text, " {name}={value}");
    }
    text
}

fn length(from: Timestamp, to: Option<Timestamp>, end: Timestamp) -> String {
    match to {
        Some(to) => rough(to - from),
        None => format!("{}, still on", rough(end - from)),
    }
}

/// A length of time in its two largest units.
pub fn rough(span: Span) -> String {
    let minutes = span.0 / 60_000;
    match (minutes / 1440, minutes / 60 % 24, minutes % 60) {
        (0, 0, 0) => format!("{}s", span.0 / 1000),
        (0, 0, minutes) => format!("{minutes}m"),
        (0, hours, minutes) => format!("{hours}h {minutes}m"),
        (days, hours, _) => format!("{days}d {hours}h"),
    }
}

fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent.abs() < 10.0 { format!("{percent:.1} %") } else { format!("{percent:.0} %") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_events_are_whole_numbers() {
        assert_eq!(events(7 * UNIT).to_string(), "7");
        assert_eq!(events(2_500_000).to_string(), "2.5");
    }

    #[test]
    fn lengths_are_read_at_a_glance() {
        let shown = [45_000, 300_000, 5_400_000, 90_000_000].map(|ms| rough(Span(ms)));
        assert_eq!(shown, ["45s", "5m", "1h 30m", "1d 1h"]);
    }
}
