//! What a test expects: which incident, who is told, what is left of a budget.

use std::collections::BTreeMap;

use rhai::Dynamic;

use super::method::At;
use super::{Expectation, Wanted};
use crate::domain::filter::{Filter, Match};
use crate::domain::rule::{Labels, Severity};
use crate::rules::problem::{Problems, clip, hint, list};
use crate::rules::value::Value;

pub(super) fn named_receiver(at: &mut At<'_, '_>, name: Dynamic) -> Option<String> {
    let value = at.arg(name, "the receiver", 0);
    let known = at.recording.known.clone();
    named(&value, "receiver", known.receivers.iter(), &mut at.recording.problems)
}

/// A text that names something of the rule set.
fn named<'a>(value: &Value, kind: &str, known: impl Iterator<Item = &'a String> + Clone, problems: &mut Problems) -> Option<String> {
    let name = value.name(problems)?;
    if known.clone().any(|have| *have == name) {
        return Some(name);
    }
    problems.error(&value.at, format!("there is no {kind} `{name}`{}", hint(&name, known.map(String::as_str))));
    None
}

pub(super) fn read_wanted(at: &mut At<'_, '_>, wanted: Dynamic, timed: bool) -> Option<Wanted> {
    let value = at.arg(wanted, "the incident", 0);
    let known = at.recording.known.clone();
    let problems = &mut at.recording.problems;
    let mut wanted = Wanted::default();
    let mut labels = BTreeMap::new();
    let mut texts = Vec::new();
    let mut fine = true;
    for (key, (place, value)) in value.entries(problems)? {
        match key.as_str() {
            "severity" => {
                let choices = [Severity::Page, Severity::Ticket, Severity::Info].map(|severity| (severity.name(), severity));
                wanted.severity = value.choice(problems, &choices);
                fine &= wanted.severity.is_some();
            }
            "within" if timed => {
                wanted.within = value.length(problems);
                fine &= wanted.within.is_some();
            }
            "slo" | "rule" => {
                let name = match key.as_str() {
                    "slo" => named(&value, "SLO", known.slos.keys(), problems),
                    _ => named(&value, "rule", known.rules.iter(), problems),
                };
                fine &= name.is_some();
                wanted.rule = name.map(Match::Equal);
            }
            _ if known.labels.contains(&key) => match crate::rules::sli::condition(&value, problems) {
                Some(condition) => {
                    labels.insert(key.clone(), condition);
                }
                None => fine = false,
            },
            _ => {
                let mut names: Vec<&str> = known.labels.iter().map(String::as_str).chain(["severity"]).collect();
                names.extend(timed.then_some("within"));
                let near = hint(&key, names.iter().copied());
                let rest = if near.is_empty() { format!("; there are {}", list(&names)) } else { near };
                problems.error(&place, format!("no alert has a label `{}`{rest}", clip(&key)));
                fine = false;
            }
        }
        texts.push(format!("{key}={}", shown(&value)));
    }
    wanted.labels = Filter(labels);
    wanted.text = texts.join(" ");
    fine.then_some(wanted)
}

fn shown(value: &Value) -> String {
    value.it.clone().into_string().unwrap_or_else(|_| value.it.to_string()).chars().filter(|c| !c.is_control()).take(200).collect()
}

pub(super) fn budget(at: &mut At<'_, '_>, slo: Dynamic, bounds: Dynamic) -> Option<Expectation> {
    let slo = at.arg(slo, "the SLO", 0);
    let bounds = at.arg(bounds, "the budget", 1);
    let known = at.recording.known.clone();
    let problems = &mut at.recording.problems;
    let slo = named(&slo, "SLO", known.slos.keys(), problems)?;
    let by = &known.slos[&slo];
    let keys: Vec<&str> = ["above", "below"].into_iter().chain(by.iter().map(String::as_str)).collect();
    let mut fields = bounds.fields(problems, &keys)?;
    let mut bound = |key: &str| {
        let value = fields.take(key)?;
        let share = value.number(problems)?;
        if share > 1.0 {
            problems.error(&value.at, format!("`{key}` is a share of the budget, at most 1: 50 % is 0.5, not {share}"));
        }
        Some(share)
    };
    let (above, below) = (bound("above"), bound("below"));
    let group: Labels = by.iter().filter_map(|name| Some((name.clone(), fields.text(name, problems)?))).collect();
    if !group.is_empty() && group.len() < by.len() {
        problems.error(&bounds.at, format!("a group of `{slo}` has {}; without any of them it is the budget of all together", list(by)));
        return None;
    }
    if above.is_none() && below.is_none() {
        problems.error(&bounds.at, "a budget is expected to be `above` or `below` a share, like #{ above: 0.5 }");
        return None;
    }
    Some(Expectation::Budget { slo, group, above, below })
}
