//! What the rules of another revision would have done differently.

use std::collections::BTreeMap;

use super::report::rough;
use crate::cli::exit::Outcome;
use crate::cli::output::{self, Table};
use crate::domain::rule::Severity;
use crate::domain::time::Timestamp;
use crate::simulation::{Found, Told};

/// Prints what differs between the rules of a revision (`then`) and those at hand (`now`).
pub fn print(now: &Found, then: &Found, revision: &str) -> Outcome {
    output::say(&format!("Compared with {revision}:"))?;
    let mut table = Table::new(&["rule", ">pages then", ">now", ">tickets then", ">now"]);
    for (rule, counts) in counts(now, then) {
        let [pages_then, pages_now, tickets_then, tickets_now] = counts.map(|count| count.to_string());
        table.row(vec![rule.to_owned(), pages_then, pages_now, tickets_then, tickets_now]);
    }
    table.print("no alerts, neither then nor now")?;
    let mut table = Table::new(&["incident", "opened", "for", "severity", "key"]);
    for (word, mine, theirs) in [("gone", then, now), ("new", now, then)] {
        for told in mine.incidents.iter().filter(|told| !theirs.incidents.iter().any(|other| meet(told, other, now.to))) {
            let incident = &told.incident;
            let lasted = rough(incident.resolved_at.unwrap_or(now.to) - incident.opened_at);
            table.row(vec![word.into(), incident.opened_at.to_string(), lasted, told.severity.to_string(), incident.key.clone()]);
        }
    }
    output::say("")?;
    table.print("every incident is there then and now")?;
    let mut table = Table::new(&["incident", "opened then", "now", "by", "key"]);
    for told in &now.incidents {
        let Some(before) = then.incidents.iter().find(|before| meet(told, before, now.to)) else { continue };
        let (was, is) = (before.incident.opened_at, told.incident.opened_at);
        if was != is {
            let (word, by) = if is < was { ("earlier", was - is) } else { ("later", is - was) };
            table.row(vec![word.into(), was.to_string(), is.to_string(), rough(by), told.incident.key.clone()]);
        }
    }
    output::say("")?;
    table.print("every incident of both opens at the same time")
}

/// Runs of pages and of tickets by rule, then and now.
fn counts<'f>(now: &'f Found, then: &'f Found) -> BTreeMap<&'f str, [usize; 4]> {
    let mut counts: BTreeMap<&str, [usize; 4]> = BTreeMap::new();
    for (found, at) in [(then, 0), (now, 1)] {
        for run in &found.runs {
            let offset = if run.severity == Severity::Page { 0 } else { 2 };
            counts.entry(&run.rule).or_default()[at + offset] += 1;
        }
    }
    counts
}

/// Whether two incidents are one: the same key, at the same time.
fn meet(a: &Told, b: &Told, end: Timestamp) -> bool {
    let (a, b) = (&a.incident, &b.incident);
    a.key == b.key && a.opened_at <= b.resolved_at.unwrap_or(end) && b.opened_at <= a.resolved_at.unwrap_or(end)
}
