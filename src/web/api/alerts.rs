//! `GET /v1/alerts`: one entry per SLO and group and per free-form rule, those that are not idle first; then what
//! fires about burnwatch itself, and the alerts of others.
//!
//! Of others there may be a hundred thousand, so a page of them is picked by key while the board is looked at, and
//! no list of all is made.

use std::collections::{BTreeSet, BinaryHeap};
use std::sync::Arc;

use axum::Json;
use axum::extract::State as Take;
use serde_json::{Value, json};

use super::{Answer, PHASES, Params, items};
use crate::domain::incident::Member;
use crate::domain::notification::Figures;
use crate::domain::posted::{Board, Entry, Key, Standing};
use crate::domain::rule::{FreeRule, Labels, Severity, Slo};
use crate::domain::snapshot::{AlertPhase, AlertStatus, SloStatus, Snapshot};
use crate::domain::time::Timestamp;
use crate::store::transition;
use crate::web::problem::Problem;
use crate::web::state::State;

/// Cursors into the alerts of others begin with it.
const OTHERS: &str = "p";

/// Which alerts are asked for.
struct Wanted<'a> {
    states: Vec<String>,
    severities: Vec<String>,
    rule: Option<&'a str>,
}

impl Wanted<'_> {
    fn has(&self, phase: AlertPhase, severity: Option<Severity>, rule: &str) -> bool {
        (self.states.is_empty() || self.states.iter().any(|state| state == phase.name()))
            && (self.severities.is_empty() || severity.is_some_and(|severity| self.severities.iter().any(|name| name == severity.name())))
            && self.rule.is_none_or(|wanted| wanted == rule)
    }
}

/// Where a page begins.
enum Start {
    /// At this one of our own.
    Own(usize),
    /// Behind this one of others; `None`: at their first.
    Others(Option<Key>),
}

impl Start {
    fn read(cursor: Option<&str>) -> Result<Start, Problem> {
        let Some(cursor) = cursor else { return Ok(Start::Own(0)) };
        let start = match cursor.strip_prefix(OTHERS) {
            Some("") => Some(Start::Others(None)),
            Some(key) => hex::decode(key).ok().and_then(|key| key.try_into().ok()).map(|key| Start::Others(Some(key))),
            None => cursor.parse().ok().map(Start::Own),
        };
        start.ok_or_else(|| Problem::bad("this cursor was not given out by this list; start without one"))
    }
}

pub async fn list(Take(state): Take<Arc<State>>, params: Params) -> Answer {
    let now = state.clock.now();
    let wanted = Wanted {
        states: params.one_of("state", &PHASES)?,
        severities: params.one_of("severity", &["page", "ticket", "info"])?,
        rule: params.get("rule"),
    };
    let limit = params.limit()?;
    let mut rows: Vec<Value> = Vec::new();
    let after = match Start::read(params.get("cursor"))? {
        Start::Others(after) => after,
        Start::Own(start) => {
            let own = own(&state, &wanted).await?;
            let start = start.min(own.len());
            let end = own.len().min(start + limit);
            rows.extend_from_slice(&own[start..end]);
            if end < own.len() {
                return Ok(items(&rows, Some(end.to_string())));
            }
            None
        }
    };
    let room = limit - rows.len();
    let mut next = None;
    state.alerts.look(&mut |board| {
        let mut keys = first(board, &wanted, after, room + 1, now);
        if keys.len() > room {
            keys.truncate(room);
            next = Some(format!("{OTHERS}{}", keys.last().or(after.as_ref()).map(hex::encode).unwrap_or_default()));
        }
        rows.extend(keys.iter().filter_map(|key| board.get(key)).map(other));
    });
    Ok(Json(json!({ "items": rows, "next": next })))
}

/// The smallest keys behind `after`, at most so many, in order.
fn first(board: &Board, wanted: &Wanted<'_>, after: Option<Key>, most: usize, now: Timestamp) -> Vec<Key> {
    let mut smallest: BinaryHeap<Key> = BinaryHeap::with_capacity(most + 1);
    for (key, entry) in board.entries() {
        let full = smallest.len() == most && smallest.peek().is_some_and(|largest| key >= largest);
        let alert = &entry.alert;
        if full || after.is_some_and(|after| *key <= after) || alert.is_over(now) {
            continue;
        }
        if wanted.has(AlertPhase::Firing, Some(alert.severity()), &alert.name()) {
            smallest.push(*key);
            if smallest.len() > most {
                smallest.pop();
            }
        }
    }
    smallest.into_sorted_vec()
}

/// Our own: of the rules, then about burnwatch itself.
async fn own(state: &State, wanted: &Wanted<'_>) -> Result<Vec<Value>, Problem> {
    let snapshot = state.snapshot.load_full();
    let ruled = rows(&snapshot);
    let ruled = ruled.iter().filter(|row| wanted.has(row.phase(), row.severity(), row.rule()));
    let mut rows: Vec<Value> = ruled.map(Row::json).collect();
    let operators = transition::operator_alerts(&mut state.store.read().await?).await?;
    let operators = operators.iter().filter(|(_, member)| wanted.has(AlertPhase::Firing, Some(member.severity), &member.rule));
    rows.extend(operators.map(|(incident, member)| operator(incident, member)));
    Ok(rows)
}

/// An alert: one that is not idle, one that is, or a free-form rule of which nothing is known but that it is there.
enum Row<'a> {
    Active(&'a AlertStatus),
    Idle(&'a Slo, &'a SloStatus),
    /// Whether it was ever asked.
    Free(&'a FreeRule, bool),
}

fn rows(snapshot: &Snapshot) -> Vec<Row<'_>> {
    let mut rows: Vec<Row<'_>> = snapshot.alerts.iter().map(|alert| Row::Active(alert)).collect();
    let active: BTreeSet<(&str, &Labels)> = snapshot.alerts.iter().map(|alert| (alert.rule.as_str(), &alert.group)).collect();
    for status in &snapshot.slos {
        let Some(slo) = snapshot.rules.slo(&status.slo) else { continue };
        // The overall row of an SLO with groups has a budget, but no alert.
        let is_alert = slo.enabled && status.group.is_empty() == slo.by.is_empty();
        if is_alert && !active.contains(&(slo.name.as_str(), &status.group)) {
            rows.push(Row::Idle(slo, status));
        }
    }
    for rule in snapshot.rules.alerts.iter().filter(|rule| rule.enabled && rule.by.is_empty()) {
        if !active.contains(&(rule.name.as_str(), &Labels::new())) {
            rows.push(Row::Free(rule, snapshot.asked.contains(&rule.name)));
        }
    }
    rows
}

impl Row<'_> {
    fn rule(&self) -> &str {
        match self {
            Row::Active(alert) => &alert.rule,
            Row::Idle(slo, _) => &slo.name,
            Row::Free(rule, _) => &rule.name,
        }
    }

    fn phase(&self) -> AlertPhase {
        match self {
            Row::Active(alert) => alert.phase,
            Row::Idle(_, status) => status.state,
            Row::Free(_, true) => AlertPhase::Ok,
            Row::Free(_, false) => AlertPhase::Unknown,
        }
    }

    fn severity(&self) -> Option<Severity> {
        match self {
            Row::Active(alert) => alert.severity,
            Row::Idle(_, status) => status.severity,
            Row::Free(..) => None,
        }
    }

    fn json(&self) -> Value {
        let (labels, since, values, reason, incident) = match self {
            Row::Active(alert) => (alert.labels.clone(), alert.since, alert.values, alert.reason.clone(), alert.incident.as_deref()),
            Row::Idle(slo, status) => {
                let mut labels = slo.base_labels();
                labels.extend(status.group.clone());
                let held_back = status.tiers.iter().find_map(|tier| tier.held_back.clone());
                let reason = if status.no_data { "no data".into() } else { held_back.unwrap_or_default() };
                (labels, None, status.figures(slo.budget_ppm), reason, None)
            }
            Row::Free(rule, asked) => {
                let reason = if *asked { "" } else { "it has not been asked yet" };
                (rule.base_labels(), None, Default::default(), reason.to_owned(), None)
            }
        };
        json!({
            "rule": self.rule(), "state": self.phase(), "severity": self.severity(), "labels": labels, "since": since,
            "values": values, "reason": reason, "incident": incident,
        })
    }
}

fn operator(incident: &str, member: &Member) -> Value {
    json!({
        "rule": member.rule, "state": AlertPhase::Firing, "severity": member.severity, "labels": member.full_labels(),
        "since": member.started_at, "values": member.figures, "reason": member.summary, "incident": incident,
    })
}

fn other(entry: &Entry) -> Value {
    let alert = &entry.alert;
    let incident = match &entry.standing {
        Standing::Fresh => None,
        Standing::Waiting { incident, .. } | Standing::Joined { incident } => Some(incident.as_ref()),
    };
    json!({
        "rule": alert.name(), "state": AlertPhase::Firing, "severity": alert.severity(), "labels": alert.labels.labels(),
        "since": alert.starts, "values": Figures::default(), "reason": alert.summary(), "incident": incident,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::posted::{Packed, Posted};

    #[test]
    fn pages_of_others_go_through_all_of_them_once() {
        let mut board = Board::default();
        for n in 0..25 {
            let labels = [("alertname", "down"), ("n", &n.to_string())].map(|(k, v)| (k.into(), v.into())).into();
            let alert = Posted {
                labels: Packed::new(&labels),
                annotations: "{}".into(),
                generator: "".into(),
                starts: Timestamp(0),
                ends: Timestamp(if n == 24 { 1 } else { 100 }),
                timed: false,
                updated: Timestamp(0),
            };
            board.put(alert.labels.key(), alert);
        }
        let wanted = Wanted { states: vec!["firing".into()], severities: vec![], rule: Some("down") };
        let mut seen = Vec::new();
        let mut after = None;
        loop {
            let page = first(&board, &wanted, after, 7, Timestamp(50));
            seen.extend_from_slice(&page);
            after = page.last().copied();
            if page.len() < 7 {
                break;
            }
        }
        assert_eq!(seen.len(), 24, "without the one that is over");
        assert!(seen.is_sorted());
        let none = Wanted { states: vec!["pending".into()], severities: vec![], rule: None };
        assert!(first(&board, &none, None, 7, Timestamp(50)).is_empty());
    }

    #[test]
    fn cursors_read_back_and_strangers_are_refused() {
        assert!(matches!(Start::read(None), Ok(Start::Own(0))));
        assert!(matches!(Start::read(Some("12")), Ok(Start::Own(12))));
        assert!(matches!(Start::read(Some("p")), Ok(Start::Others(None))));
        assert!(matches!(Start::read(Some("p00112233445566778899aabbccddeeff")), Ok(Start::Others(Some(_)))));
        for bad in ["", "x", "p0", "pzz", "-1"] {
            assert!(Start::read(Some(bad)).is_err(), "{bad}");
        }
    }
}
