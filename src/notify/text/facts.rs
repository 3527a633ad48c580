//! The lines of a message: who is hit, where, since when, what changed, what fires, what to do.

use super::numbers::{count, length, number, percent, time};
use super::{Fact, Link, Piece, escape};
use crate::domain::notification::{AlertState, AlertView, Change, IncidentView, Kind, Notification, Suspect, Verdict};
use crate::domain::rule::Severity;
use crate::domain::time::Span;

/// Longest single word from elsewhere.
const WORD_MAX: usize = 120;
/// How many suspects, changes and alerts are listed.
const LISTED_MAX: usize = 5;
/// How many labels of an alert are listed.
const LABELS_MAX: usize = 6;
/// Labels that the message says anyway.
const SAID: [&str; 7] = ["slo", "rule", "alertname", "service", "owner", "severity", "kind"];

/// Builds a [`Fact`].
struct Line {
    name: &'static str,
    pieces: Vec<Piece>,
}

impl Line {
    fn new(name: &'static str) -> Line {
        Line { name, pieces: Vec::new() }
    }

    fn ours(mut self, text: impl AsRef<str>) -> Line {
        match self.pieces.last_mut() {
            Some(Piece::Ours(before)) => before.push_str(text.as_ref()),
            _ => self.pieces.push(Piece::Ours(text.as_ref().to_owned())),
        }
        self
    }

    fn theirs(mut self, text: &str, max: usize) -> Line {
        let text = escape::clean(text, max);
        // An empty code span is broken markup in most formats.
        if text.is_empty() {
            return self.ours("(empty)");
        }
        self.pieces.push(Piece::Theirs(text));
        self
    }

    fn end(self) -> Fact {
        Fact { name: self.name, pieces: self.pieces }
    }
}

/// All lines of a message, the first glance first.
pub(super) fn all(notification: &Notification, links: &[Link]) -> Vec<Fact> {
    let incident = &notification.data.incident;
    let mut facts: Vec<Fact> = who(incident).into_iter().chain(place(incident)).collect();
    facts.push(since(notification));
    facts.extend(changed(incident));
    facts.extend(budget(incident));
    facts.extend(alerts(incident));
    let reason = escape::clean(&notification.reason, 300);
    // An opening is told for what its alert says, and that stands above.
    let said = incident.alerts.iter().any(|alert| escape::clean(&alert.summary, 300) == reason);
    if !reason.is_empty() && !said {
        facts.push(Line::new("Why now").theirs(&reason, 300).end());
    }
    facts.push(next_step(notification, links));
    facts
}

/// Whether anything was counted. Alerts of others, operator incidents and rules that ask for something else than failures
/// count nothing, and nobody shall read "0 bad events" there.
fn is_counted(incident: &IncidentView) -> bool {
    incident.impact.affected_users > 0 || incident.impact.bad_events != 0.0
}

fn who(incident: &IncidentView) -> Option<Fact> {
    let impact = &incident.impact;
    if !is_counted(incident) {
        return None;
    }
    let events = format!("{} bad events", count(impact.bad_events));
    let line = Line::new(if incident.resolved_at.is_some() { "Who was hit" } else { "Who is hit" });
    Some(match impact.affected_users {
        // Nobody was counted: events without user ids, not necessarily nobody.
        0 => line.ours(events).end(),
        1 => line.ours(format!("1 user, {events}")).end(),
        users => line.ours(format!("{} users, {events}", count(users as f64))).end(),
    })
}

fn place(incident: &IncidentView) -> Option<Fact> {
    let line = Line::new("Where");
    let suspects = incident.suspects.iter().filter(|suspect| !suspect.terms.is_empty());
    Some(match incident.verdict {
        Verdict::Global => line.ours("spread like the traffic; no segment stands out").end(),
        Verdict::Unknown if !is_counted(incident) => return None,
        Verdict::Unknown => line.ours("not known; the data does not single out a segment").end(),
        Verdict::Segment => {
            let mut line = line;
            for (n, suspect) in suspects.take(3).enumerate() {
                line = segment(if n == 0 { line } else { line.ours("; also ") }, suspect);
            }
            if line.pieces.is_empty() { line.ours("a segment that cannot be named").end() } else { line.end() }
        }
    })
}

fn segment(mut line: Line, suspect: &Suspect) -> Line {
    for (n, (dimension, values)) in suspect.terms.iter().take(4).enumerate() {
        if n > 0 {
            line = line.ours(", ");
        }
        line = line.ours(format!("{} ", escape::clean(dimension, 40))).theirs(&values.all().join(" or "), WORD_MAX);
    }
    let new = if suspect.new { "; not seen before" } else { "" };
    // In the words of the title.
    let (excess, traffic) = (percent(suspect.excess_share.min(1.0)), percent(suspect.traffic_share));
    line.ours(format!(" ({excess} of the failures above normal, {traffic} of the traffic{new})"))
}

fn since(notification: &Notification) -> Fact {
    let incident = &notification.data.incident;
    let opened = time(incident.opened_at);
    match incident.resolved_at {
        Some(end) => Line::new("Lasted").ours(format!("{}, from {opened} to {}", length(end - incident.opened_at), time(end))).end(),
        None => {
            let age = notification.timestamp - incident.opened_at;
            let ago = if age >= Span::MINUTE { format!(" ({} ago)", length(age)) } else { String::new() };
            let line = Line::new("Since").ours(format!("{opened}{ago}"));
            match incident.acknowledged_at {
                Some(at) => line.ours(format!(", acknowledged {}", time(at))).end(),
                None => line.end(),
            }
        }
    }
}

fn changed(incident: &IncidentView) -> Option<Fact> {
    let mut line = Line::new("What changed");
    if incident.changes.is_empty() {
        return is_counted(incident).then(|| line.ours("no deploy or flag change is known near its start").end());
    }
    for (n, change) in incident.changes.iter().take(LISTED_MAX).enumerate() {
        line = one_change(if n == 0 { line } else { line.ours("; ") }, change, incident);
    }
    Some(more(line, incident.changes.len()).end())
}

fn one_change(line: Line, change: &Change, incident: &IncidentView) -> Line {
    let mut line = line.ours(format!("{} ", change.kind.name())).theirs(&change.app, 60);
    if let Some(release) = &change.release {
        line = line.ours(" ").theirs(release, 60);
    }
    if let Some(text) = change.text.as_ref().filter(|text| !text.is_empty()) {
        line = line.ours(" ").theirs(text, WORD_MAX);
    }
    let before = incident.opened_at - change.at;
    let when = if before >= Span::MINUTE {
        format!(", {} before it opened", length(before))
    } else if before <= -Span::MINUTE {
        format!(", {} after it opened", length(-before))
    } else {
        ", as it opened".to_owned()
    };
    let named = !change.id.is_empty() && incident.suspects.iter().any(|suspect| suspect.change.as_deref() == Some(change.id.as_str()));
    line.ours(format!(" at {}{when}", time(change.at))).ours(if named { " (matches the segment)" } else { "" })
}

fn budget(incident: &IncidentView) -> Option<Fact> {
    let impact = &incident.impact;
    // Free-form rules and operator incidents have no budget; both figures are then zero.
    if impact.budget_consumed == 0.0 && impact.budget_remaining == 0.0 {
        return None;
    }
    let left = if impact.budget_remaining < 0.0 {
        format!("overspent by {}", percent(-impact.budget_remaining))
    } else {
        format!("{} left", percent(impact.budget_remaining))
    };
    Some(Line::new("Error budget").ours(format!("{} used by this, {left}", percent(impact.budget_consumed))).end())
}

fn alerts(incident: &IncidentView) -> Vec<Fact> {
    let mut facts: Vec<Fact> = incident.alerts.iter().take(LISTED_MAX).map(alert).collect();
    let left = incident.alerts.len().saturating_sub(LISTED_MAX);
    if left > 0 {
        facts.push(Line::new("Alerts").ours(format!("and {left} more")).end());
    }
    facts
}

fn alert(alert: &AlertView) -> Fact {
    let state = match alert.state {
        AlertState::Firing => "firing",
        AlertState::Resolved => "resolved",
    };
    let mut line = Line::new("Alert").theirs(&alert.rule, 80).ours(format!(" {state} ({})", alert.severity));
    let figures = &alert.values;
    if let (Some(burn), Some(window)) = (figures.burn_long, figures.long) {
        let burns = if alert.state == AlertState::Firing { "burning" } else { "burned" };
        line = line.ours(format!(", {burns} {} times the budget's pace over {window}", number(burn)));
        if let (Some(burn), Some(window)) = (figures.burn_short, figures.short.filter(|short| figures.long != Some(*short))) {
            line = line.ours(format!(" and {} over {window}", number(burn)));
        }
        if let Some(factor) = figures.factor {
            line = line.ours(format!(", limit {}", number(factor)));
        }
    }
    if let Some(ratio) = figures.error_ratio {
        line = line.ours(format!(", {} bad", percent(ratio)));
    }
    for (name, value) in alert.labels.iter().filter(|(name, _)| !SAID.contains(&name.as_str())).take(LABELS_MAX) {
        line = line.ours(format!(", {} ", escape::clean(name, 40))).theirs(value, WORD_MAX);
    }
    if !escape::clean(&alert.summary, 300).is_empty() {
        line = line.ours(": ").theirs(&alert.summary, 300);
    }
    line.end()
}

pub(super) fn links(incident: &IncidentView) -> Vec<Link> {
    let given = [
        ("Incident", Some(&incident.links.incident)),
        ("Runbook", incident.links.runbook.as_ref()),
        ("Dashboard", incident.links.dashboard.as_ref()),
    ];
    let shown = given.into_iter().filter_map(|(name, url)| Some(Link { name, url: escape::link(url?)? }));
    shown.collect()
}

fn next_step(notification: &Notification, links: &[Link]) -> Fact {
    let runbook = links.iter().any(|link| link.name == "Runbook");
    let line = Line::new("What to do");
    let step = match (notification.kind, notification.data.incident.severity) {
        (Kind::Resolved, _) => "nothing; it is over",
        (Kind::Acknowledged, _) => "nothing, unless it is you who acknowledged it",
        (_, Severity::Page) if runbook => "acknowledge it, then follow the runbook",
        (_, Severity::Page) => "acknowledge it and look at the incident",
        (_, Severity::Ticket) if runbook => "look at it within the working day; the runbook says how",
        (_, Severity::Ticket) => "look at it within the working day",
        (_, Severity::Info) => "nothing; this is for information",
    };
    line.ours(step).end()
}

fn more(line: Line, all: usize) -> Line {
    if all > LISTED_MAX { line.ours(format!("; and {} more", all - LISTED_MAX)) } else { line }
}
