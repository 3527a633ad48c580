//! Free-form rules, each in its turn: which are due, how long they have together, and who comes first the next time.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::time::Instant;
use tracing::warn;

use super::{Explainer, GROUPS_MAX};
use crate::domain::alert::AlertState;
use crate::domain::desk::Desk;
use crate::domain::evaluate::{AlertEvent, Evaluator};
use crate::domain::lookup::Lookup;
use crate::domain::measure::Noting;
use crate::domain::route::canonical;
use crate::domain::rule::{FreeRule, Labels, RuleSet};
use crate::domain::time::Timestamp;
use crate::rules::{Program, Verdict, settle};

/// Free-form rules may always take so long together.
const TURNS_MIN: Duration = Duration::from_secs(1);

/// A rule that is to be asked.
struct Turn {
    rule: FreeRule,
    due: bool,
    /// It had no turn when it was due, or was asked up to this group only.
    owed: Option<Option<Labels>>,
}

/// What rules are asked with, and until when.
struct Asking<'a> {
    program: &'a Program,
    lookup: &'a Lookup,
    alerts: &'a BTreeMap<(String, String), AlertState>,
    at: Timestamp,
    end: Instant,
}

impl Turn {
    /// The groups that are to be asked, in order: those that were left, then, if it is due again, the others.
    fn groups(&self, all: BTreeSet<Labels>) -> Vec<Labels> {
        let Some(Some(last)) = &self.owed else { return all.into_iter().collect() };
        let (done, left): (Vec<Labels>, Vec<Labels>) = all.into_iter().partition(|group| group <= last);
        if self.due { left.into_iter().chain(done).collect() } else { left }
    }
}

/// Rules that came due and got no turn, or not in all their groups: the last group that was asked, if one was.
pub(super) type Owed = BTreeMap<String, Option<Labels>>;

impl Explainer {
    /// Whether any free-form rule is to be asked at `at`, the evaluation after `from`.
    pub fn has_questions(&self, rules: &RuleSet, from: Timestamp, at: Timestamp) -> bool {
        let owed = self.owed.lock().unwrap_or_else(PoisonError::into_inner);
        rules.alerts.iter().any(|rule| rule.enabled && (rule.schedule.due(from, at) || owed.contains_key(&rule.name)))
    }

    /// Asks the free-form rules that came due after `from`, up to `at`; gives what changed.
    ///
    /// They get half a bucket's time, at least a second: what is left then has its turn first the next time, pages before all others,
    /// and a rule that comes due twice meanwhile is asked once. Slow rules delay each other, never the evaluation of objectives.
    pub async fn ask_rules(
        &self,
        evaluator: &Arc<RwLock<Evaluator>>,
        desk: &Desk,
        alerts: &BTreeMap<(String, String), AlertState>,
        from: Timestamp,
        at: Timestamp,
    ) -> Vec<AlertEvent> {
        let turns = self.turns(desk.rules(), from, at);
        if turns.is_empty() {
            return Vec::new();
        }
        if let Err(error) = self.history.follow().await {
            warn!(error = %error, "free-form rules could not be asked, and are at the next evaluation");
            *self.owed.lock().unwrap_or_else(PoisonError::into_inner) =
                turns.into_iter().map(|turn| (turn.rule.name, turn.owed.flatten())).collect();
            return Vec::new();
        }
        let left_out = self.left_out(desk.rules(), at).await;
        let (explainer, lookup, program) = (self.clone(), self.lookup(evaluator, desk, left_out, at), self.program.load_full());
        let alerts = alerts.clone();
        // Closures and the queries behind them block; they must not hold up the evaluator's thread pool.
        let asked = tokio::task::spawn_blocking(move || {
            let end = Instant::now() + (explainer.bucket.to_std() / 2).max(TURNS_MIN);
            explainer.ask_in_turn(turns, &Asking { program: &program, lookup: &lookup, alerts: &alerts, at, end })
        });
        asked.await.unwrap_or_default()
    }

    /// The rules whose turn it is: pages first, and of them those that had none the last time.
    fn turns(&self, rules: &RuleSet, from: Timestamp, at: Timestamp) -> Vec<Turn> {
        let mut owed = std::mem::take(&mut *self.owed.lock().unwrap_or_else(PoisonError::into_inner));
        let enabled = rules.alerts.iter().filter(|rule| rule.enabled);
        let turn = |rule: &FreeRule| Turn { rule: rule.clone(), due: rule.schedule.due(from, at), owed: owed.remove(&rule.name) };
        let mut turns: Vec<Turn> = enabled.map(turn).filter(|turn| turn.due || turn.owed.is_some()).collect();
        turns.sort_by_key(|turn| (Reverse(turn.rule.severity), turn.owed.is_none()));
        turns
    }

    /// Asks rules until time is up, one of them in any case, and notes what is left.
    fn ask_in_turn(&self, turns: Vec<Turn>, asking: &Asking<'_>) -> Vec<AlertEvent> {
        let mut events = Vec::new();
        let mut left = Owed::new();
        for (n, turn) in turns.into_iter().enumerate() {
            let began = Instant::now();
            if n > 0 && began >= asking.end {
                metrics::counter!("burnwatch_rules_skipped_total", "rule" => turn.rule.name.clone()).increment(1);
                left.insert(turn.rule.name, turn.owed.flatten());
                continue;
            }
            let rest = self.ask_rule(&turn, asking, &mut events);
            metrics::histogram!("burnwatch_rule_duration_seconds", "rule" => turn.rule.name.clone()).record(began.elapsed());
            left.extend(rest.map(|last| (turn.rule.name, Some(last))));
        }
        if !left.is_empty() {
            let names: Vec<&str> = left.keys().take(5).map(String::as_str).collect();
            warn!("free-form rules take too long: {} of them wait for the next evaluation, `{}`", left.len(), names.join("`, `"));
        }
        *self.owed.lock().unwrap_or_else(PoisonError::into_inner) = left;
        events
    }

    /// Asks one rule in all its groups. Where time is up before the last of them, gives the one that was asked last.
    fn ask_rule(&self, turn: &Turn, asking: &Asking<'_>, events: &mut Vec<AlertEvent>) -> Option<Labels> {
        let Asking { program, lookup, alerts, at, end } = *asking;
        let rule = &turn.rule;
        let mut groups: BTreeSet<Labels> = BTreeSet::new();
        if rule.by.is_empty() {
            groups.insert(Labels::new());
        } else {
            groups.extend(alerts.keys().filter(|(name, _)| *name == rule.name).map(|(_, group)| super::super::watch::group_labels(group)));
            let known = self.history.groups(&rule.by);
            groups.extend(known.into_iter().take(GROUPS_MAX));
        }
        let mut failed = None;
        let mut rest = None;
        let mut groups = turn.groups(groups).into_iter().peekable();
        while let Some(group) = groups.next() {
            let noting = Arc::new(Noting::new(Arc::new(lookup.clone()), lookup.rules.clone()));
            let verdict = match program.ask(&rule.name, &group, noting.clone()) {
                Ok(verdict) => verdict,
                Err(error) => {
                    warn!(rule = %rule.name, "rule `{}` failed: {error}", rule.name);
                    metrics::counter!("burnwatch_rule_errors_total", "rule" => rule.name.clone()).increment(1);
                    // A rule that fails is neither true nor false.
                    let error = error.to_string();
                    failed.get_or_insert_with(|| error.clone());
                    Verdict::Unknown(error)
                }
            };
            let key = if group.is_empty() { String::new() } else { canonical(&group) };
            let state = alerts.get(&(rule.name.clone(), key.clone())).cloned();
            let settled = settle(rule, group.clone(), key, state, verdict, at);
            events.extend(settled.map(|event| AlertEvent { subject: noting.subject(), ..event }));
            if groups.peek().is_some() && Instant::now() >= end {
                rest = Some(group);
                break;
            }
        }
        self.failing.lock().unwrap_or_else(PoisonError::into_inner).asked(rule, failed);
        rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::Span;
    use crate::rules::{Env, load};
    use crate::store::Store;
    use crate::store::history::History;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn rules_that_take_too_long_wait_for_the_next_evaluation_and_pages_for_none() {
        let text = r#"
            alert("first", #{ every: "1h", severity: "ticket", when: |q| true });
            alert("second", #{ every: "1h", severity: "ticket", when: |q| true });
            alert("page", #{ every: "1h", severity: "page", when: |q| true });
            alert("often", #{ every: "1m", severity: "ticket", when: |q| true });
        "#;
        let folder = tempfile::tempdir().unwrap();
        let hour = Timestamp(1_789_999_200_000);
        let store = Store::open(&format!("sqlite://{}/b.db", folder.path().display()), hour).await.unwrap();
        let loaded = load(&[("a.rhai".to_owned(), text.to_owned())].into(), &Env::defaults());
        let (desk, bucket) = (Desk::new(Arc::new(loaded.set.unwrap())), Span::MINUTE);
        let explainer = Explainer::new(History::new(store, bucket, Span::days(8), Span::days(40)), bucket, Arc::default());
        let settings = crate::domain::evaluate::Settings { bucket, delays: BTreeMap::new() };
        let evaluator = Arc::new(RwLock::new(Evaluator::new(desk.rules().clone(), settings, hour, hour)));
        let lookup = explainer.lookup(&evaluator, &desk, Arc::default(), hour);
        // Time is up as soon as one rule was asked, so each evaluation has one.
        let mut asked = Vec::new();
        for n in 0..5 {
            let at = hour + Span::minutes(n);
            let turns = explainer.turns(desk.rules(), at - bucket, at);
            let asking = Asking { program: &loaded.program, lookup: &lookup, alerts: &BTreeMap::new(), at, end: Instant::now() };
            asked.extend(explainer.ask_in_turn(turns, &asking).into_iter().map(|event| event.rule));
            assert_eq!(explainer.has_questions(desk.rules(), at, at), n < 3, "{n}: {asked:?}");
        }
        // The page first, then who was left behind; what comes due again meanwhile is asked once.
        assert_eq!(asked, ["page", "first", "second", "often", "often"]);
        assert!(!explainer.has_questions(desk.rules(), hour + Span::minutes(4), hour + Span::minutes(4)), "nothing is left");
    }

    #[test]
    fn groups_that_had_no_turn_come_first() {
        let rules = r#"alert("a", #{ every: "1m", severity: "ticket", by: ["region"], when: |q| true });"#;
        let rule = load(&[("a.rhai".to_owned(), rules.to_owned())].into(), &Env::defaults()).set.unwrap().alerts.remove(0);
        let group = |region: &str| -> Labels { [("region".to_owned(), region.to_owned())].into() };
        let all: BTreeSet<Labels> = ["a", "b", "c"].map(group).into();
        for (due, owed, expected) in [
            (true, None, vec!["a", "b", "c"]),
            (false, Some(None), vec!["a", "b", "c"]),
            (false, Some(Some("a")), vec!["b", "c"]),
            (true, Some(Some("b")), vec!["c", "a", "b"]),
        ] {
            let turn = Turn { rule: rule.clone(), due, owed: owed.map(|last| last.map(group)) };
            assert_eq!(turn.groups(all.clone()), expected.into_iter().map(group).collect::<Vec<_>>());
        }
    }
}
