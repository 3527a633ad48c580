//! Whether what happened is what a test expects, and in words what happened instead.

use std::collections::BTreeMap;

use super::super::timeline::{after, percent};
use super::super::{Found, Move, Simulation};
use super::score::{Expected, Score};
use crate::domain::alert::AlertChange;
use crate::domain::notification::Status;
use crate::domain::route::matches;
use crate::domain::rule::Labels;
use crate::domain::time::{Span, Timestamp};
use crate::rules::{Expectation, Verdict, Wanted};

/// What an expectation looks at beside the record, as it was at its time.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// What is left of a budget; `None`: no data.
    pub(super) remaining: Option<f64>,
    /// Where the rule stood that is expected to fire.
    pub(super) stands: Vec<String>,
}

/// What is wrong about an expectation; `None`: nothing.
pub(super) fn judge(expected: &Expected<'_>, seen: &Seen, found: &Found, score: &Score<'_>) -> Option<String> {
    let at = |t: Timestamp| after(t - score.start);
    match expected.what {
        Expectation::Incident(wanted) => incident(expected, wanted, seen, found, score),
        Expectation::NoIncident(wanted) => {
            let moved = moves(wanted, found).find(|moved| moved.at <= expected.at)?;
            let meant = if wanted.text.is_empty() { String::new() } else { format!(" with {}", wanted.text) };
            Some(format!("expected no incident{meant}, but one of `{}` came after {}", moved.rule, at(moved.at)))
        }
        Expectation::Resolved(wanted) => resolved(expected, wanted, found, score),
        Expectation::Notified(receiver) => {
            let told = found.said.iter().any(|said| said.receiver == *receiver && said.at <= expected.at);
            let others: Vec<&str> = found.said.iter().filter(|said| said.at <= expected.at).map(|said| said.receiver.as_str()).collect();
            let instead = match others.first() {
                Some(first) => format!("; who heard something first was `{first}`"),
                None => "; nobody heard anything".to_owned(),
            };
            (!told).then(|| format!("expected `{receiver}` to be notified, but it was not{instead}"))
        }
        Expectation::NotNotified(receiver) => {
            let said = found.said.iter().find(|said| said.receiver == *receiver && said.at <= expected.at)?;
            Some(format!(
                "expected `{receiver}` not to be notified, but it got {} after {}: {}",
                said.kind.name(),
                at(said.at),
                said.reason
            ))
        }
        Expectation::Budget { slo, above, below, .. } => {
            let Some(remaining) = seen.remaining else { return Some(format!("`{slo}` has no budget: nothing of it was measured")) };
            let low = above.filter(|above| remaining <= *above).map(|above| format!("above {}", percent(above)));
            let high = below.filter(|below| remaining >= *below).map(|below| format!("below {}", percent(below)));
            let bound = low.or(high)?;
            Some(format!("expected the budget of `{slo}` to be {bound}, but {} of it are left", percent(remaining)))
        }
    }
}

/// Alerts that opened or rose and are meant.
fn moves<'a>(wanted: &'a Wanted, found: &'a Found) -> impl Iterator<Item = &'a Move> {
    found.moves.iter().filter(|moved| {
        let severity = match moved.change {
            AlertChange::Opened { severity } | AlertChange::Raised { severity } => severity,
            AlertChange::Lowered { .. } | AlertChange::Unconfirmed | AlertChange::Ended => return false,
        };
        moved.incident.is_some() && wanted.severity.is_none_or(|wanted| wanted == severity) && meant(wanted, &moved.rule, &moved.labels)
    })
}

fn meant(wanted: &Wanted, rule: &str, labels: &Labels) -> bool {
    wanted.rule.as_ref().is_none_or(|wanted| wanted.accepts(rule)) && matches(&wanted.labels, labels)
}

fn incident(expected: &Expected<'_>, wanted: &Wanted, seen: &Seen, found: &Found, score: &Score<'_>) -> Option<String> {
    let came: Vec<&Move> = moves(wanted, found).filter(|moved| moved.at <= expected.at).collect();
    let in_time = |moved: &&&Move| wanted.within.is_none_or(|within| moved.at > expected.since && moved.at - expected.since <= within);
    if came.iter().any(|moved| in_time(&moved)) {
        return None;
    }
    let mut text = format!("expected an incident with {}", wanted.text);
    if let Some(first) = came.first() {
        let distance = first.at - expected.since;
        return Some(if distance > Span::ZERO {
            format!("{text}, but it came {} after the start of the last traffic", after(distance))
        } else {
            format!("{text}, but it came {} before the last traffic started", after(-distance))
        });
    }
    let other = Wanted { severity: None, ..wanted.clone() };
    match moves(&other, found).find(|moved| moved.at <= expected.at) {
        Some(moved) => {
            let severity = match moved.change {
                AlertChange::Opened { severity } | AlertChange::Raised { severity } | AlertChange::Lowered { severity } => severity.name(),
                AlertChange::Unconfirmed | AlertChange::Ended => "nothing",
            };
            text.push_str(&format!(", but what came, after {}, was a {severity}", after(moved.at - score.start)));
        }
        None => text.push_str(", but none came"),
    }
    for stand in &seen.stands {
        text.push_str("; ");
        text.push_str(stand);
    }
    Some(text)
}

fn resolved(expected: &Expected<'_>, wanted: &Wanted, found: &Found, score: &Score<'_>) -> Option<String> {
    let meant_incidents = found.incidents.iter().filter(|told| {
        let incident = &told.incident;
        incident.opened_at <= expected.at
            && incident.members.iter().any(|member| {
                let severity = told.severities.get(&member.alert).copied().unwrap_or(member.severity);
                wanted.severity.is_none_or(|wanted| wanted == severity) && meant(wanted, &member.rule, &member.labels)
            })
    });
    let mut any = false;
    let with = if wanted.text.is_empty() { String::new() } else { format!(" with {}", wanted.text) };
    for told in meant_incidents {
        any = true;
        let resolved = told.incident.resolved_at.filter(|at| told.incident.status == Status::Resolved && *at <= expected.at);
        let Some(at) = resolved else {
            let still: Vec<&str> = told.incident.members.iter().filter(|member| member.firing).map(|member| member.rule.as_str()).collect();
            let still = if still.is_empty() { String::new() } else { format!(" ({} fires)", still.join(", ")) };
            return Some(format!("expected the incident{with} to be resolved, but {} is still open{still}", told.incident.key));
        };
        if let Some(within) = wanted.within.filter(|within| at - expected.since > *within) {
            let took = after(at - expected.since);
            return Some(format!(
                "expected the incident{with} to be resolved within {within}, but it took {took} from the last traffic on"
            ));
        }
    }
    (!any).then(|| format!("expected the incident{with} to be resolved, but there was none within {}", after(expected.at - score.start)))
}

/// Where every matching rule stands, for people.
impl Simulation<'_> {
    pub(super) fn stands(&self, wanted: &dyn Fn(&str) -> bool) -> Vec<String> {
        const SHOWN: usize = 3;
        let burn = |burn: Option<f64>| burn.map_or_else(|| "no data".to_owned(), |burn| format!("{burn:.1}x"));
        let mut stands: Vec<String> = Vec::new();
        for status in self.write().statuses().iter().filter(|status| wanted(&status.slo)) {
            let group: String = status.group.iter().map(|(name, value)| format!(" {name}={value}")).collect();
            let tiers: Vec<String> = status
                .tiers
                .iter()
                .map(|tier| {
                    let held = tier.held_back.as_ref().map(|held| format!(", held back: {held}")).unwrap_or_default();
                    let burns = format!("{} over {} and {} over {}", burn(tier.burn_long), tier.long, burn(tier.burn_short), tier.short);
                    format!("{} at {}x: {burns}{held}", tier.severity.name(), tier.factor.to_f64())
                })
                .collect();
            stands.push(format!("{}{group} then stood at {}", status.slo, tiers.join(", ")));
        }
        let verdicts: BTreeMap<_, _> = self.free.verdicts.iter().filter(|((rule, _), _)| wanted(rule)).collect();
        for ((rule, group), verdict) in verdicts {
            let said = match verdict {
                Verdict::Unknown(what) => format!("was unknown: {what}"),
                Verdict::Clear => "gave false".to_owned(),
                Verdict::Holds { summary, .. } => format!("gave true: {summary}"),
            };
            stands.push(format!("{rule}{group} last {said}"));
        }
        let more = stands.len().saturating_sub(SHOWN);
        stands.truncate(SHOWN);
        stands.extend((more > 0).then(|| format!("and {more} more groups")));
        stands
    }
}
