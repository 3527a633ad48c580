//! What the evaluator asks of stored history: free-form rules, and who carries an incident.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use tracing::warn;

use crate::domain::alert::AlertState;
use crate::domain::desk::{Desk, Findings};
use crate::domain::evaluate::{AlertEvent, Evaluator};
use crate::domain::findings::{self, Around};
use crate::domain::incident::{Incident, Input};
use crate::domain::lookup::Lookup;
use crate::domain::route::canonical;
use crate::domain::rule::{FreeRule, Labels, RuleSet};
use crate::domain::time::{Span, Timestamp};
use crate::rules::{Program, Verdict, settle};
use crate::store::history::History;

/// How long an opening incident waits for its explanation.
const PATIENCE: Duration = Duration::from_secs(3);
/// Most groups of one free-form rule.
const GROUPS_MAX: usize = 500;

/// Asks history on behalf of the evaluator.
#[derive(Clone)]
pub struct Explainer {
    history: History,
    bucket: Span,
    program: Arc<ArcSwap<Program>>,
}

impl Explainer {
    /// Over this history, with the closures of the rule set in force.
    pub fn new(history: History, bucket: Span, program: Arc<ArcSwap<Program>>) -> Explainer {
        Explainer { history, bucket, program }
    }

    fn lookup(&self, evaluator: &Arc<RwLock<Evaluator>>, desk: &Desk, now: Timestamp) -> Lookup {
        Lookup {
            archive: Arc::new(self.history.clone()),
            budgets: evaluator.clone(),
            rules: desk.rules().clone(),
            now,
            bucket: self.bucket,
            left_out: Arc::new([]),
        }
    }

    /// Asks the free-form rules that came due after `from`, up to `at`; gives what changed.
    pub async fn ask_rules(
        &self,
        evaluator: &Arc<RwLock<Evaluator>>,
        desk: &Desk,
        alerts: &BTreeMap<(String, String), AlertState>,
        from: Timestamp,
        at: Timestamp,
    ) -> Vec<AlertEvent> {
        let rules: Vec<FreeRule> = desk.rules().alerts.iter().filter(|rule| rule.enabled && rule.schedule.due(from, at)).cloned().collect();
        if rules.is_empty() {
            return Vec::new();
        }
        if let Err(error) = self.history.follow().await {
            warn!(error = %error, "free-form rules could not be asked");
            return Vec::new();
        }
        let (explainer, lookup, program) = (self.clone(), self.lookup(evaluator, desk, at), self.program.load_full());
        let alerts = alerts.clone();
        // Closures and the queries behind them block; they must not hold up the evaluator's thread pool.
        let asked = tokio::task::spawn_blocking(move || {
            let mut events = Vec::new();
            for rule in &rules {
                events.extend(explainer.ask_rule(rule, &program, &lookup, &alerts, at));
            }
            events
        });
        asked.await.unwrap_or_default()
    }

    fn ask_rule(
        &self,
        rule: &FreeRule,
        program: &Program,
        lookup: &Lookup,
        alerts: &BTreeMap<(String, String), AlertState>,
        at: Timestamp,
    ) -> Vec<AlertEvent> {
        let mut groups: BTreeSet<Labels> = BTreeSet::new();
        if rule.by.is_empty() {
            groups.insert(Labels::new());
        } else {
            groups.extend(alerts.keys().filter(|(name, _)| *name == rule.name).map(|(_, group)| super::watch::group_labels(group)));
            let known = self.history.groups(&rule.by);
            groups.extend(known.into_iter().take(GROUPS_MAX));
        }
        let mut events = Vec::new();
        for group in groups {
            let verdict = match program.ask(&rule.name, &group, Arc::new(lookup.clone())) {
                Ok(verdict) => verdict,
                Err(error) => {
                    warn!(rule = %rule.name, "rule `{}` failed: {error}", rule.name);
                    metrics::counter!("burnwatch_rule_errors_total", "rule" => rule.name.clone()).increment(1);
                    // A rule that fails is neither true nor false.
                    Verdict::Unknown(error.to_string())
                }
            };
            let key = if group.is_empty() { String::new() } else { canonical(&group) };
            let state = alerts.get(&(rule.name.clone(), key.clone())).cloned();
            events.extend(settle(rule, group, key, state, verdict, at));
        }
        events
    }

    /// What an opening alert's incident says. A page never waits long for it: what is not found in
    /// time is found at the next look.
    pub async fn findings(&self, evaluator: &Arc<RwLock<Evaluator>>, desk: &Desk, event: &AlertEvent) -> Findings {
        let (rules, event, now) = (desk.rules().clone(), event.clone(), event.at);
        let asked = self.look(evaluator, rules, now, move |around| findings::findings(&event, around)).await;
        asked.unwrap_or_default()
    }

    /// What a living incident says now.
    pub async fn refresh(&self, evaluator: &Arc<RwLock<Evaluator>>, desk: &Desk, incident: &Incident, now: Timestamp) -> Option<Input> {
        let (rules, incident) = (desk.rules().clone(), incident.clone());
        self.look(evaluator, rules, now, move |around| findings::refresh(&incident, around)).await.flatten()
    }

    /// Reads history off the evaluator's threads, for at most [`PATIENCE`].
    async fn look<T: Send + 'static>(
        &self,
        evaluator: &Arc<RwLock<Evaluator>>,
        rules: Arc<RuleSet>,
        now: Timestamp,
        ask: impl FnOnce(&Around<'_>) -> Result<T, String> + Send + 'static,
    ) -> Option<T> {
        let (evaluator, history, bucket) = (evaluator.clone(), self.history.clone(), self.bucket);
        let asked = tokio::task::spawn_blocking(move || {
            let evaluator = evaluator.read().unwrap_or_else(PoisonError::into_inner);
            ask(&Around { rules: &rules, evaluator: &evaluator, archive: &history, bucket, now, left_out: &[] })
        });
        match tokio::time::timeout(PATIENCE, asked).await {
            Ok(Ok(Ok(found))) => Some(found),
            Ok(Ok(Err(error))) => {
                warn!("an incident could not be explained: {error}");
                None
            }
            Ok(Err(_)) => {
                warn!("an incident could not be explained: the search failed");
                None
            }
            Err(_) => {
                warn!("an incident was not explained in time and is looked at again");
                None
            }
        }
    }
}
