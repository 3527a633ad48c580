//! What the evaluator asks of stored history: free-form rules, and who carries an incident.

mod turns;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use tracing::warn;

use self::turns::Owed;
use super::failing::{Failing, Health};
use crate::domain::desk::{Desk, Findings};
use crate::domain::evaluate::{AlertEvent, Evaluator};
use crate::domain::findings::{self, Around};
use crate::domain::incident::{Incident, Input};
use crate::domain::lookup::{LeftOut, Lookup, exclusions};
use crate::domain::rule::RuleSet;
use crate::domain::time::{Span, Timestamp};
use crate::rules::Program;
use crate::store::history::History;
use crate::store::{StoreError, incidents, transition};

/// How long an opening incident waits for its explanation.
const PATIENCE: Duration = Duration::from_secs(3);
/// Most groups of one free-form rule.
const GROUPS_MAX: usize = 500;

/// How far back incidents and exclusions matter: four weeks and a day's window before them (SEMANTICS 18).
const PAST: Span = Span::days(29);
/// How long what was found about the past is used: an incident of the last minutes is in no baseline yet.
const PAST_FRESH: Span = Span::minutes(5);
/// Most past incidents, and most stretches of excluded time, that baselines leave out; the newest ones count.
const PAST_INCIDENTS_MAX: usize = 1_000;
const EXCLUSIONS_MAX: usize = 10_000;

/// Asks history on behalf of the evaluator.
#[derive(Clone)]
pub struct Explainer {
    history: History,
    bucket: Span,
    program: Arc<ArcSwap<Program>>,
    past: Arc<ArcSwap<Past>>,
    failing: Arc<Mutex<Failing>>,
    owed: Arc<Mutex<Owed>>,
}

/// What no baseline counts, as it was found last.
#[derive(Default)]
struct Past {
    at: Option<Timestamp>,
    rules: Arc<RuleSet>,
    left_out: Arc<[LeftOut]>,
}

impl Explainer {
    /// Over this history, with the closures of the rule set in force.
    pub fn new(history: History, bucket: Span, program: Arc<ArcSwap<Program>>) -> Explainer {
        Explainer { history, bucket, program, past: Arc::default(), failing: Arc::default(), owed: Arc::default() }
    }

    /// Whether free-form rules of this set fail.
    pub fn health(&self, rules: &RuleSet) -> Health {
        self.failing.lock().unwrap_or_else(PoisonError::into_inner).health(rules)
    }

    /// The free-form rules that this process asked and that `known` does not have yet.
    pub fn newly_asked(&self, known: &BTreeSet<String>) -> Vec<String> {
        self.failing.lock().unwrap_or_else(PoisonError::into_inner).names().filter(|name| !known.contains(*name)).cloned().collect()
    }

    /// Past incidents and excluded time. When the store does not answer, what was known before still counts.
    async fn left_out(&self, rules: &Arc<RuleSet>, now: Timestamp) -> Arc<[LeftOut]> {
        let known = self.past.load_full();
        let fresh = known.at.is_some_and(|at| at <= now && now - at < PAST_FRESH);
        if fresh && Arc::ptr_eq(&known.rules, rules) {
            return known.left_out.clone();
        }
        match self.read_past(rules, now).await {
            Ok(left_out) => {
                self.past.store(Arc::new(Past { at: Some(now), rules: rules.clone(), left_out: left_out.clone() }));
                left_out
            }
            Err(error) => {
                warn!(error = %error, "past incidents could not be read; baselines leave out those that were known before");
                known.left_out.clone()
            }
        }
    }

    async fn read_past(&self, rules: &RuleSet, now: Timestamp) -> Result<Arc<[LeftOut]>, StoreError> {
        let mut tx = self.history.store().read().await?;
        let rows = incidents::resolved_since(&mut tx, now - PAST, PAST_INCIDENTS_MAX).await?;
        drop(tx);
        // An incident that cannot be read any more leaves nothing out; evaluation goes on without it.
        let incidents = rows.iter().filter_map(|row| transition::read(row).ok());
        let mut left_out: Vec<LeftOut> = incidents.filter_map(|incident| findings::past(rules, &incident)).collect();
        let mut excluded = exclusions(rules, now - PAST, now);
        excluded.sort_by_key(|out| std::cmp::Reverse(out.to));
        excluded.truncate(EXCLUSIONS_MAX);
        left_out.extend(excluded);
        Ok(left_out.into())
    }

    fn lookup(&self, evaluator: &Arc<RwLock<Evaluator>>, desk: &Desk, left_out: Arc<[LeftOut]>, now: Timestamp) -> Lookup {
        Lookup {
            archive: Arc::new(self.history.clone()),
            budgets: evaluator.clone(),
            rules: desk.rules().clone(),
            now,
            bucket: self.bucket,
            left_out,
        }
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
        let left_out = self.left_out(&rules, now).await;
        let (evaluator, history, bucket) = (evaluator.clone(), self.history.clone(), self.bucket);
        let asked = tokio::task::spawn_blocking(move || {
            let evaluator = evaluator.read().unwrap_or_else(PoisonError::into_inner);
            ask(&Around { rules: &rules, evaluator: &evaluator, archive: &history, bucket, now, left_out: &left_out })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::alert::{AlertChange, AlertState};
    use crate::domain::desk::Book;
    use crate::domain::notification::Figures;
    use crate::domain::rule::{Maintenance, MaintenanceBudget, MaintenanceTimes, Severity};
    use crate::rules::{Env, load};
    use crate::store::Store;

    const RULES: &str = r#"slo("api", #{ objective: 99.9, service: "s", sli: good("request", #{ app: "shop" }) });"#;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn closed_incidents_and_excluded_time_are_left_out_of_baselines() {
        let folder = tempfile::tempdir().unwrap();
        let now = Timestamp(1_790_000_000_000);
        let store = Store::open(&format!("sqlite://{}/b.db", folder.path().display()), now).await.unwrap();
        let mut set = load(&[("a.rhai".to_owned(), RULES.to_owned())].into(), &Env::defaults()).set.unwrap();
        let work = MaintenanceTimes::Once { starts: now - Span::days(7), ends: now - Span::days(7) + Span::HOUR };
        set.maintenances.push(Maintenance {
            name: "work".into(),
            place: Default::default(),
            when: Default::default(),
            times: work,
            budget: MaintenanceBudget::Exclude,
        });
        let desk = Desk::new(Arc::new(set));
        let event = |rule: &str, kind: Option<&str>, at, change| AlertEvent {
            at,
            rule: rule.into(),
            group: String::new(),
            labels: std::iter::once(("slo".to_owned(), rule.to_owned()))
                .chain(kind.map(|kind| ("kind".to_owned(), kind.to_owned())))
                .collect(),
            change: Some(change),
            tiers: Vec::new(),
            figures: Figures::default(),
            summary: "burns".into(),
            reason: String::new(),
            subject: None,
            state: AlertState::default(),
        };
        let (opened, closed) = (now - Span::days(14), now - Span::days(14) + Span::HOUR);
        let mut outcomes = Vec::new();
        for (rule, kind, end) in [("api", None, Some(closed)), ("burnwatch-rules", Some("operator"), Some(closed)), ("still", None, None)] {
            let mut new_id = |_: &str, _: Timestamp| format!("i-{rule}");
            let mut book = Book::new(&desk, opened, &[], Default::default(), &mut new_id);
            let open = AlertChange::Opened { severity: Severity::Page };
            outcomes.extend(book.alert(&event(rule, kind, opened, open), None, Findings::default()));
            if let Some(end) = end {
                book.now = end;
                outcomes.extend(book.alert(&event(rule, kind, end, AlertChange::Ended), Some(&format!("i-{rule}")), Findings::default()));
            }
        }
        let mut tx = store.write_durable().await.unwrap();
        transition::commit(&mut tx, &outcomes, now, "").await.unwrap();
        tx.commit().await.unwrap();
        let history = History::new(store, Span::MINUTE, Span::days(8), Span::days(40));
        let explainer = Explainer::new(history, Span::MINUTE, Arc::default());
        let found = explainer.left_out(desk.rules(), now).await;
        let shop = |from, to| LeftOut { app: Some("shop".into()), from, to };
        assert_eq!(*found, [shop(opened, closed), shop(now - Span::days(7), now - Span::days(7) + Span::HOUR)]);
        // Four weeks later both are too long ago.
        assert_eq!(*explainer.left_out(desk.rules(), now + Span::days(28)).await, []);
    }
}
