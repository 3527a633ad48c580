//! Alerts between two evaluations: what changed over a pause, and where each stands, for the pages and the API.

use std::collections::{BTreeMap, HashMap};

use crate::domain::alert::{AlertChange, AlertState};
use crate::domain::evaluate::{AlertEvent, unconfirmed};
use crate::domain::rule::{Labels, RuleSet};
use crate::domain::snapshot::{AlertPhase, AlertStatus, SloStatus};

/// After a pause of several buckets, one event per alert: from how it stood before to how it stands
/// now. What came and went in between is not told to anybody (SEMANTICS 4).
pub(super) fn newest(events: Vec<AlertEvent>, before: &BTreeMap<(String, String), AlertState>) -> Vec<AlertEvent> {
    let mut last: BTreeMap<(String, String), AlertEvent> = BTreeMap::new();
    for event in events {
        last.insert((event.rule.clone(), event.group.clone()), event);
    }
    let net = |(key, mut event): ((String, String), AlertEvent)| {
        let was = before.get(&key).and_then(|state| state.severity);
        let newly_unconfirmed = event.state.unconfirmed && !before.get(&key).is_some_and(|state| state.unconfirmed);
        event.change = match (was, event.state.severity) {
            (None, None) => None,
            (None, Some(severity)) => Some(AlertChange::Opened { severity }),
            (Some(_), None) => Some(AlertChange::Ended),
            (Some(was), Some(severity)) if severity > was => Some(AlertChange::Raised { severity }),
            (Some(was), Some(severity)) if severity < was => Some(AlertChange::Lowered { severity }),
            (Some(_), Some(_)) if newly_unconfirmed => Some(AlertChange::Unconfirmed),
            (Some(_), Some(_)) => None,
        };
        event
    };
    last.into_iter().map(net).collect()
}

/// The labels in the canonical text of a group.
pub fn group_labels(text: &str) -> Labels {
    let inner = text.trim_start_matches('{').trim_end_matches('}');
    let mut labels = Labels::new();
    let mut rest = inner;
    while let Some((name, after)) = rest.split_once('=') {
        let mut stream = serde_json::Deserializer::from_str(after).into_iter::<String>();
        let Some(Ok(value)) = stream.next() else { break };
        let used = stream.byte_offset();
        labels.insert(name.trim_start_matches(',').to_owned(), value);
        rest = &after[used..];
    }
    labels
}

/// Where an alert stands.
pub(super) fn alert_status(
    rules: &RuleSet,
    standing: &HashMap<(&str, &Labels), &SloStatus>,
    (rule, group): (&str, &str),
    state: &AlertState,
) -> AlertStatus {
    let group = group_labels(group);
    let slo = rules.slo(rule);
    let values = slo.and_then(|slo| Some(standing.get(&(rule, &group))?.figures(slo.budget_ppm))).unwrap_or_default();
    let free = || rules.alerts.iter().find(|have| have.name == rule);
    let mut labels = slo.map(|slo| slo.base_labels()).or_else(|| free().map(|rule| rule.base_labels())).unwrap_or_default();
    labels.extend(group.clone());
    if let Some(severity) = state.severity {
        labels.insert("severity".into(), severity.name().into());
    }
    let phase = state.phase();
    AlertStatus {
        rule: rule.to_owned(),
        phase,
        severity: state.severity,
        labels,
        group,
        since: state.since(),
        values,
        reason: match phase {
            AlertPhase::Unknown => "not measured".into(),
            AlertPhase::Firing if state.unconfirmed => unconfirmed(),
            AlertPhase::Firing => {
                state.frozen_since.map(|since| format!("not measured since {since}, keeps its state")).unwrap_or_default()
            }
            AlertPhase::Ok | AlertPhase::Pending => String::new(),
        },
        incident: state.incident.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_reads_back_from_its_canonical_text() {
        let labels: Labels = [("region", "d\"e,x=\"}"), ("app", "shop")].map(|(k, v)| (k.into(), v.into())).into();
        assert_eq!(group_labels(&crate::domain::route::canonical(&labels)), labels);
        assert_eq!(group_labels(""), Labels::new());
    }
}
