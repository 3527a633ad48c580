//! Free-form rules that fail when they are asked: an error in a closure that no dry run met. Such a rule is neither true nor
//! false, so nobody would hear of what it looks for, and nobody would hear of that either, were it not an operator incident.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::rule::{FreeRule, RuleSet, Schedule};
use crate::domain::time::Span;

/// Failures in a row before somebody is told: a store that did not answer once is no fault of a rule.
const PATIENCE: u32 = 2;
/// A rule that is asked less often than that gets no second try first.
const SELDOM: Span = Span::HOUR;
/// How many rules are named.
const NAMED_MAX: usize = 5;

/// How the rules answered when they were asked last.
#[derive(Debug, Default)]
pub struct Failing {
    rules: BTreeMap<String, Failure>,
    asked: BTreeSet<String>,
}

#[derive(Debug)]
struct Failure {
    times: u32,
    message: String,
}

/// What there is to tell about rules that fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// Not every rule was asked yet by this process; what an earlier one found may still hold.
    Unknown,
    Fine,
    /// In words.
    Failing(String),
}

impl Failing {
    /// A rule was asked, in all its groups; `error` is what the first of them failed with.
    pub fn asked(&mut self, rule: &FreeRule, error: Option<String>) {
        self.asked.insert(rule.name.clone());
        match error {
            None => {
                self.rules.remove(&rule.name);
            }
            Some(message) => {
                let seldom = match rule.schedule {
                    Schedule::Every(span) => span >= SELDOM,
                    Schedule::Cron { .. } => true,
                };
                let failure = self.rules.entry(rule.name.clone()).or_insert(Failure { times: 0, message: String::new() });
                failure.times = failure.times.saturating_add(if seldom { PATIENCE } else { 1 });
                failure.message = message;
            }
        }
    }

    /// The rules that were asked by this process.
    pub fn names(&self) -> impl Iterator<Item = &String> {
        self.asked.iter()
    }

    /// What holds of the rule set in force; what is said of rules that are gone is forgotten.
    pub fn health(&mut self, set: &RuleSet) -> Health {
        let enabled: BTreeSet<&str> = set.alerts.iter().filter(|rule| rule.enabled).map(|rule| rule.name.as_str()).collect();
        self.rules.retain(|name, _| enabled.contains(name.as_str()));
        self.asked.retain(|name| enabled.contains(name.as_str()));
        let failing: Vec<(&String, &Failure)> = self.rules.iter().filter(|(_, failure)| failure.times >= PATIENCE).collect();
        match failing.as_slice() {
            [] if self.asked.len() < enabled.len() => Health::Unknown,
            [] => Health::Fine,
            [(name, failure)] => {
                Health::Failing(format!("the rule `{name}` fails, so nobody is told of what it looks for: {}", failure.message))
            }
            many => {
                let named = many.iter().take(NAMED_MAX).map(|(name, failure)| format!("`{name}` ({})", failure.message));
                let more = if many.len() > NAMED_MAX { format!(" and {} more", many.len() - NAMED_MAX) } else { String::new() };
                let named = named.collect::<Vec<_>>().join(", ");
                Health::Failing(format!("{} rules fail, so nobody is told of what they look for: {named}{more}", many.len()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::{Env, load};

    fn set(rules: &str) -> RuleSet {
        load(&[("a.rhai".to_owned(), rules.to_owned())].into(), &Env::defaults()).set.unwrap()
    }

    #[test]
    fn a_rule_that_fails_twice_is_told_of_until_it_answers_or_is_gone() {
        let often = r#"alert("often", #{ every: "1m", severity: "ticket", when: |q| false });"#;
        let daily = r#"alert("daily", #{ every: "1d", severity: "ticket", when: |q| false });"#;
        let both = set(&format!("{often}{daily}"));
        let [first, second] = both.alerts.as_slice() else { panic!() };
        let mut failing = Failing::default();
        assert_eq!(failing.health(&both), Health::Unknown);
        failing.asked(first, Some("a.rhai:1:2: division by zero".into()));
        assert_eq!(failing.health(&both), Health::Unknown, "once may be the store's fault");
        failing.asked(first, Some("a.rhai:1:2: division by zero".into()));
        assert!(matches!(failing.health(&both), Health::Failing(text) if text.contains("`often`") && text.contains("a.rhai:1:2")));
        failing.asked(second, Some("no".into()));
        assert!(
            matches!(failing.health(&both), Health::Failing(text) if text.starts_with("2 rules fail") && text.contains("`daily` (no)"))
        );
        failing.asked(first, None);
        assert!(matches!(failing.health(&both), Health::Failing(text) if text.contains("`daily`")));
        assert_eq!(failing.health(&set(often)), Health::Fine, "what is gone fails no more");
        assert_eq!(Failing::default().health(&RuleSet::default()), Health::Fine);
    }
}
