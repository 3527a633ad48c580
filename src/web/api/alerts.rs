//! `GET /v1/alerts`: one entry per SLO and group and per free-form rule, those that are not idle first.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::State as Take;
use serde_json::{Value, json};

use super::{Answer, PHASES, Params, slice_of};
use crate::domain::rule::{FreeRule, Labels, Slo};
use crate::domain::snapshot::{AlertPhase, AlertStatus, SloStatus, Snapshot};
use crate::web::state::State;

pub async fn list(Take(state): Take<Arc<State>>, params: Params) -> Answer {
    let snapshot = state.snapshot.load_full();
    let states = params.one_of("state", &PHASES)?;
    let (severities, rule) = (params.one_of("severity", &["page", "ticket", "info"])?, params.get("rule"));
    let rows: Vec<Row<'_>> = rows(&snapshot)
        .into_iter()
        .filter(|row| states.is_empty() || states.iter().any(|state| state == row.phase().name()))
        .filter(|row| severities.is_empty() || row.severity().is_some_and(|severity| severities.iter().any(|name| name == severity)))
        .filter(|row| rule.is_none_or(|rule| row.rule() == rule))
        .collect();
    slice_of(&rows, &params, Row::json)
}

/// An alert: one that is not idle, one that is, or a free-form rule of which nothing is known but that it is there.
enum Row<'a> {
    Active(&'a AlertStatus),
    Idle(&'a Slo, &'a SloStatus),
    Free(&'a FreeRule),
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
            rows.push(Row::Free(rule));
        }
    }
    rows
}

impl Row<'_> {
    fn rule(&self) -> &str {
        match self {
            Row::Active(alert) => &alert.rule,
            Row::Idle(slo, _) => &slo.name,
            Row::Free(rule) => &rule.name,
        }
    }

    fn phase(&self) -> AlertPhase {
        match self {
            Row::Active(alert) => alert.phase,
            Row::Idle(_, status) => status.state,
            Row::Free(_) => AlertPhase::Ok,
        }
    }

    fn severity(&self) -> Option<&'static str> {
        match self {
            Row::Active(alert) => alert.severity.map(|severity| severity.name()),
            Row::Idle(_, status) => status.severity.map(|severity| severity.name()),
            Row::Free(_) => None,
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
            Row::Free(rule) => (rule.base_labels(), None, Default::default(), String::new(), None),
        };
        json!({
            "rule": self.rule(), "state": self.phase(), "severity": self.severity(), "labels": labels, "since": since,
            "values": values, "reason": reason, "incident": incident,
        })
    }
}
