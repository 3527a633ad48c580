//! What the evaluator asks of stored history: free-form rules, and who carries an incident.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::domain::alert::AlertState;
use crate::domain::desk::{Desk, Findings};
use crate::domain::evaluate::{AlertEvent, Evaluator};
use crate::domain::incident::{Incident, Input};
use crate::domain::time::{Span, Timestamp};
use crate::rules::Program;
use crate::store::history::History;

/// Asks history on behalf of the evaluator.
#[derive(Clone)]
pub struct Explainer {
    pub history: History,
    pub bucket: Span,
    pub program: Arc<ArcSwap<Program>>,
}

impl Explainer {
    /// Over this history, with the closures of the rule set in force.
    pub fn new(history: History, bucket: Span, program: Arc<ArcSwap<Program>>) -> Explainer {
        Explainer { history, bucket, program }
    }

    /// Asks the free-form rules that are due at `at`.
    pub async fn ask_rules(&self, _: &Evaluator, _: &Desk, _: &BTreeMap<(String, String), AlertState>, _: Timestamp) -> Vec<AlertEvent> {
        Vec::new()
    }

    /// What an opening alert's incident says.
    pub async fn findings(&self, _: &Evaluator, _: &Desk, _: &AlertEvent) -> Findings {
        Findings::default()
    }

    /// What a living incident says now.
    pub async fn refresh(&self, _: &Evaluator, _: &Desk, _: &Incident) -> Option<Input> {
        None
    }
}
