//! What fires, as far as it can hold other alerts back (CONTRACT 4, `inhibit`).
//!
//! Alerts that agree in the labels of an inhibition's `equal` lie together, so that asking who holds an alert
//! back costs the same however much fires.

use std::collections::{BTreeMap, HashMap};

use crate::domain::route::{canonical, matches};
use crate::domain::rule::{Inhibit, Labels, RuleSet};

/// The firing sources of every inhibition of a rule set.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sources {
    by_inhibit: Vec<HashMap<Vec<String>, Group>>,
}

/// Sources that agree in the labels that have to be equal, and how often each of them fires.
#[derive(Clone, Debug, Default, PartialEq)]
struct Group {
    /// Those that cannot be held back by the inhibition themselves.
    plain: BTreeMap<Labels, usize>,
    /// Those that match its target, too. They hold back only what is no source.
    both: BTreeMap<Labels, usize>,
}

impl Group {
    fn side(&mut self, both: bool) -> &mut BTreeMap<Labels, usize> {
        if both { &mut self.both } else { &mut self.plain }
    }

    fn is_empty(&self) -> bool {
        self.plain.is_empty() && self.both.is_empty()
    }
}

impl Sources {
    /// Nothing fires.
    pub fn new(rules: &RuleSet) -> Sources {
        Sources { by_inhibit: rules.inhibits.iter().map(|_| HashMap::new()).collect() }
    }

    /// These fire.
    pub fn of(rules: &RuleSet, firing: impl IntoIterator<Item = Labels>) -> Sources {
        let mut sources = Sources::new(rules);
        if !rules.inhibits.is_empty() {
            firing.into_iter().for_each(|labels| sources.add(rules, &labels));
        }
        sources
    }

    /// One more fires.
    pub fn add(&mut self, rules: &RuleSet, labels: &Labels) {
        for (inhibit, groups) in rules.inhibits.iter().zip(&mut self.by_inhibit) {
            if matches(&inhibit.source, labels) {
                let group = groups.entry(equal(inhibit, labels)).or_default();
                *group.side(matches(&inhibit.target, labels)).entry(labels.clone()).or_default() += 1;
            }
        }
    }

    /// One that was added fires no more.
    pub fn remove(&mut self, rules: &RuleSet, labels: &Labels) {
        for (inhibit, groups) in rules.inhibits.iter().zip(&mut self.by_inhibit) {
            if !matches(&inhibit.source, labels) {
                continue;
            }
            let key = equal(inhibit, labels);
            let Some(group) = groups.get_mut(&key) else { continue };
            let side = group.side(matches(&inhibit.target, labels));
            match side.get_mut(labels) {
                Some(count) if *count > 1 => *count -= 1,
                Some(_) => {
                    side.remove(labels);
                }
                None => {}
            }
            if group.is_empty() {
                groups.remove(&key);
            }
        }
    }

    /// Why an alert with these labels is held back: by the first inhibition that does, and of its sources by the
    /// first in the order of labels, so that the reason stays the same while that one fires.
    pub fn holding(&self, rules: &RuleSet, labels: &Labels) -> Option<String> {
        for (inhibit, groups) in rules.inhibits.iter().zip(&self.by_inhibit) {
            if groups.is_empty() || !matches(&inhibit.target, labels) {
                continue;
            }
            let Some(group) = groups.get(&equal(inhibit, labels)) else { continue };
            let plain = group.plain.keys().next();
            // What matches both sides cannot be held back by another that does, too, nor by itself.
            let both = group.both.keys().next().filter(|_| !matches(&inhibit.source, labels));
            if let Some(source) = plain.into_iter().chain(both).min() {
                return Some(format!("inhibited by {}", canonical(source)));
            }
        }
        None
    }
}

/// The values that have to agree; an absent label is the empty text.
fn equal(inhibit: &Inhibit, labels: &Labels) -> Vec<String> {
    inhibit.equal.iter().map(|name| labels.get(name).cloned().unwrap_or_default()).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::filter::{Filter, Match};

    /// As the contract says it, one alert after the other.
    fn slow(rules: &RuleSet, firing: &[Labels], labels: &Labels) -> Option<String> {
        let value = |labels: &Labels, name: &str| labels.get(name).cloned().unwrap_or_default();
        for inhibit in rules.inhibits.iter().filter(|inhibit| matches(&inhibit.target, labels)) {
            let both = matches(&inhibit.source, labels);
            let holds = |source: &&Labels| {
                matches(&inhibit.source, source)
                    && *source != labels
                    && !(both && matches(&inhibit.target, source))
                    && inhibit.equal.iter().all(|name| value(source, name) == value(labels, name))
            };
            if let Some(source) = firing.iter().filter(holds).min() {
                return Some(format!("inhibited by {}", canonical(source)));
            }
        }
        None
    }

    fn labels() -> impl Strategy<Value = Labels> {
        let text = prop::sample::select(vec!["", "x", "y", "xy"]);
        prop::collection::btree_map(prop::sample::select(vec!["a", "b", "c"]), text, 0..4)
            .prop_map(|labels| labels.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

    fn filter() -> impl Strategy<Value = Filter> {
        let condition = prop::sample::select(vec!["", "x", "y", "!x", "/x.*/", "!/y|/", "x*"]);
        prop::collection::btree_map(prop::sample::select(vec!["a", "b"]), condition, 0..3).prop_map(|conditions| {
            Filter(conditions.into_iter().map(|(name, text)| (name.to_owned(), Match::parse(text).unwrap())).collect())
        })
    }

    fn inhibit() -> impl Strategy<Value = Inhibit> {
        let names = prop::collection::vec(prop::sample::select(vec!["a", "b", "c"]).prop_map(str::to_owned), 0..3);
        (filter(), filter(), names).prop_map(|(source, target, equal)| Inhibit { place: Default::default(), source, target, equal })
    }

    proptest! {
        #[test]
        fn it_holds_back_what_the_contract_says(
            inhibits in prop::collection::vec(inhibit(), 1..4),
            stays in prop::collection::vec(labels(), 0..8),
            goes in prop::collection::vec(labels(), 0..8),
            asked in prop::collection::vec(labels(), 1..8),
        ) {
            let rules = RuleSet { inhibits, ..RuleSet::default() };
            let mut sources = Sources::of(&rules, stays.iter().chain(&goes).cloned());
            let both: Vec<Labels> = stays.iter().chain(&goes).cloned().collect();
            for labels in asked.iter().chain(&both) {
                prop_assert_eq!(sources.holding(&rules, labels), slow(&rules, &both, labels));
            }
            goes.iter().for_each(|labels| sources.remove(&rules, labels));
            for labels in asked.iter().chain(&both) {
                prop_assert_eq!(sources.holding(&rules, labels), slow(&rules, &stays, labels));
            }
            prop_assert_eq!(sources, Sources::of(&rules, stays), "what has gone leaves nothing behind");
        }
    }
}
