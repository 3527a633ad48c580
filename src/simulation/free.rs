//! Free-form rules in simulated time.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, RwLock};

use super::Plan;
use crate::domain::alert::AlertState;
use crate::domain::evaluate::{AlertEvent, Evaluator};
use crate::domain::lookup::{LeftOut, Lookup};
use crate::domain::measure::Noting;
use crate::domain::route::canonical;
use crate::domain::rule::{FreeRule, Labels};
use crate::domain::schedule::Timer;
use crate::domain::series::Series;
use crate::domain::time::Timestamp;
use crate::rules::{Verdict, settle};

/// Groups of one free-form rule.
const GROUPS_MAX: usize = 500;
/// Rules that failed and are named.
const FAILURES_MAX: usize = 20;

/// Free-form rules: when they are due, their groups, and the state of their alerts.
pub(super) struct FreeRules {
    rules: Vec<(FreeRule, Timer, BTreeSet<Labels>)>,
    alerts: HashMap<(String, String), AlertState>,
    /// What each rule and group said last.
    pub(super) verdicts: HashMap<(String, String), Verdict>,
    pub(super) failures: BTreeMap<String, String>,
}

impl FreeRules {
    pub(super) fn new(plan: &Plan<'_>) -> FreeRules {
        let enabled = plan.rules.alerts.iter().filter(|rule| rule.enabled);
        let groups = |rule: &FreeRule| if rule.by.is_empty() { BTreeSet::from([Labels::new()]) } else { BTreeSet::new() };
        let rules = enabled.filter_map(|rule| Some((rule.clone(), Timer::new(&rule.schedule).ok()?, groups(rule))));
        FreeRules { rules: rules.collect(), alerts: HashMap::new(), verdicts: HashMap::new(), failures: BTreeMap::new() }
    }

    /// A series comes for the first time: it may bring a group.
    pub(super) fn meet(&mut self, series: &Series) {
        for (rule, _, groups) in self.rules.iter_mut().filter(|(rule, ..)| !rule.by.is_empty()) {
            if groups.len() < GROUPS_MAX && rule.by.iter().any(|name| !series.get(name).is_empty()) {
                groups.insert(rule.by.iter().map(|name| (name.clone(), series.get(name).to_owned())).collect());
            }
        }
    }

    /// Asks the rules that are due at `t`.
    pub(super) fn ask(
        &mut self,
        plan: &Plan<'_>,
        evaluator: &Arc<RwLock<Evaluator>>,
        left_out: &[LeftOut],
        t: Timestamp,
    ) -> Vec<AlertEvent> {
        let mut events = Vec::new();
        let mut lookup = None;
        for (rule, timer, groups) in &self.rules {
            if !timer.due(t - plan.bucket, t) {
                continue;
            }
            let lookup = lookup.get_or_insert_with(|| Lookup {
                archive: plan.archive.clone(),
                budgets: evaluator.clone(),
                rules: plan.rules.clone(),
                now: t,
                bucket: plan.bucket,
                left_out: left_out.into(),
            });
            for group in groups {
                let noting = Arc::new(Noting::new(Arc::new(lookup.clone()), lookup.rules.clone()));
                let verdict = match plan.program.ask(&rule.name, group, noting.clone()) {
                    Ok(verdict) => verdict,
                    Err(error) => {
                        let text = error.to_string();
                        if self.failures.len() < FAILURES_MAX {
                            self.failures.entry(rule.name.clone()).or_insert_with(|| text.clone());
                        }
                        Verdict::Unknown(text)
                    }
                };
                let key = if group.is_empty() { String::new() } else { canonical(group) };
                let name = (rule.name.clone(), key.clone());
                let state = self.alerts.get(&name).cloned();
                self.verdicts.insert(name.clone(), verdict.clone());
                if let Some(event) = settle(rule, group.clone(), key, state, verdict, t) {
                    self.alerts.insert(name, event.state.clone());
                    events.push(AlertEvent { subject: noting.subject(), ..event });
                }
            }
        }
        events
    }
}
