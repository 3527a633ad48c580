//! An incident as the outside sees it.

use super::Incident;
use crate::domain::notification::{AlertState, AlertView, IncidentView, Links};

impl Incident {
    /// As the outside sees it. `public_url` has no slash at its end.
    pub fn view(&self, public_url: &str) -> IncidentView {
        IncidentView {
            id: self.id.clone(),
            key: self.key.clone(),
            status: self.status,
            severity: self.severity,
            title: self.title.clone(),
            service: self.service.clone(),
            owner: self.owner.clone(),
            labels: self.labels.clone(),
            opened_at: self.opened_at,
            acknowledged_at: self.acknowledged_at,
            resolved_at: self.resolved_at,
            impact: self.impact,
            signature: self.explained.signature.clone(),
            verdict: self.explained.verdict,
            suspects: self.explained.suspects.clone(),
            changes: self.changes.clone(),
            alerts: self
                .members
                .iter()
                .map(|member| AlertView {
                    rule: member.rule.clone(),
                    state: if member.firing { AlertState::Firing } else { AlertState::Resolved },
                    severity: member.severity,
                    labels: member.full_labels(),
                    started_at: member.started_at,
                    ended_at: member.ended_at,
                    summary: member.summary.clone(),
                    values: member.figures,
                    traces: member.traces.clone(),
                })
                .collect(),
            revision: self.revision.clone(),
            links: Links {
                incident: format!("{public_url}/incidents/{}", self.id),
                runbook: self.runbook.clone(),
                dashboard: self.dashboard.clone(),
            },
        }
    }
}
