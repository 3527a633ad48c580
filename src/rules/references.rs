//! What only shows once everything is declared: names that lead nowhere, composites that turn in
//! circles, secrets without a value, and what the rules name (which intake never folds).

use std::collections::{BTreeMap, BTreeSet};

use super::draft::{Draft, Reference, RefersTo};
use super::lint::Named;
use super::problem::{hint, list, nearest};
use super::query::Asked;
use crate::domain::filter::{Filter, Match};
use crate::domain::rule::{RuleSet, Sli, Slo};

/// Checks every reference by name. Names in `lost` may have been meant by what could not be read.
pub(super) fn check(draft: &mut Draft, lost: &BTreeSet<String>) {
    let known: BTreeMap<RefersTo, BTreeSet<String>> = [RefersTo::Receiver, RefersTo::TimeInterval, RefersTo::Slo, RefersTo::Template]
        .into_iter()
        .map(|kind| (kind, draft.declared_names(kind.name())))
        .collect();
    let Draft { problems, references, .. } = draft;
    for Reference { kind, name, at } in references.iter() {
        let names = &known[kind];
        if names.contains(name) || lost.contains(name) {
            continue;
        }
        problems.error(at, format!("there is no {} `{name}`{}", kind.name(), hint(name, names.iter().map(String::as_str))));
    }
    composites(draft);
    labels(draft);
    // What could not be read may have been a condition.
    if !draft.problems.has_errors() {
        unused(draft);
    }
}

/// A composite must not contain itself, and its groups are those that all members have.
fn composites(draft: &mut Draft) {
    let Draft { problems, set, .. } = draft;
    let by_name: BTreeMap<&str, &Slo> = set.slos.iter().map(|slo| (slo.name.as_str(), slo)).collect();
    for slo in &set.slos {
        let Sli::Composite { members, .. } = &slo.sli else { continue };
        let mut seen = BTreeSet::new();
        let mut open: Vec<&str> = members.iter().map(String::as_str).collect();
        while let Some(name) = open.pop() {
            if name == slo.name {
                problems.error(&slo.place, format!("the composite `{}` contains itself", slo.name));
                break;
            }
            if seen.insert(name)
                && let Some(Slo { sli: Sli::Composite { members, .. }, .. }) = by_name.get(name)
            {
                open.extend(members.iter().map(String::as_str));
            }
        }
        for member in members.iter().filter_map(|name| by_name.get(name.as_str())) {
            // The groups of a composite are those of its members; without `by` it is made of their overall rows.
            let set = |by: &[String]| by.iter().cloned().collect::<BTreeSet<String>>();
            if !slo.by.is_empty() && set(&slo.by) != set(&member.by) {
                let written = |by: &[String]| if by.is_empty() { "has no `by`".into() } else { format!("is by {}", list(by)) };
                let message = format!(
                    "`{}` {}, but its member `{}` {}: they must be the same",
                    slo.name,
                    written(&slo.by),
                    member.name,
                    written(&member.by)
                );
                problems.error(&slo.place, message);
            }
            if slo.enabled && !member.enabled {
                problems.warning(&slo.place, format!("the member `{}` of `{}` is disabled, so it is never known", member.name, slo.name));
            }
        }
    }
}

/// Labels, and values of labels, that no alert of ours has and that are nearly those of one. Alerts from `/api/v2` bring labels of
/// their own, so others are nobody's slip.
fn labels(draft: &mut Draft) {
    let Draft { problems, set, .. } = draft;
    let mut known: BTreeMap<&str, BTreeSet<&str>> =
        ["severity", "slo", "rule", "service", "owner", "kind"].map(|name| (name, BTreeSet::new())).into();
    let slos = set.slos.iter().map(|slo| ("slo", &slo.name, &slo.service, &slo.owner, &slo.labels, &slo.by));
    let rules = set.alerts.iter().map(|rule| ("rule", &rule.name, &rule.service, &rule.owner, &rule.labels, &rule.by));
    let mut grouped = BTreeSet::new();
    for (kind, name, service, owner, own, by) in slos.chain(rules) {
        for (label, value) in
            [(kind, name), ("service", service), ("owner", owner)].into_iter().chain(own.iter().map(|(k, v)| (k.as_str(), v)))
        {
            known.entry(label).or_default().insert(value);
        }
        grouped.extend(by.iter().map(String::as_str));
    }
    for (label, value, at, value_at) in std::mem::take(&mut problems.labels) {
        if label == "severity" || grouped.contains(label.as_str()) {
            continue;
        }
        let Some(values) = known.get(label.as_str()) else {
            if let Some(near) = nearest(&label, known.keys().copied().chain(grouped.iter().copied())) {
                problems.warning(&at, format!("no alert of these rules has a label `{label}`; did you mean `{near}`?"));
            }
            continue;
        };
        // Operator incidents have a service and rule names of their own.
        let Some(value) = value.filter(|value| !values.contains(value.as_str()) && !value.starts_with("burnwatch")) else { continue };
        if let Some(near) = nearest(&value, values.iter().copied()) {
            problems.warning(&value_at, format!("no alert of these rules has the {label} `{value}`; did you mean `{near}`?"));
        }
    }
}

/// What can never take part.
fn unused(draft: &mut Draft) {
    let Draft { problems, set, .. } = draft;
    let catches_all = set.routes.iter().position(|route| route.when.0.is_empty() && !route.fallthrough && route.active.is_empty());
    if let Some(at) = catches_all
        && let Some(next) = set.routes.get(at + 1)
    {
        problems.warning(
            &next.place,
            format!("no alert comes this far: the route at {} takes everything (first match wins)", set.routes[at].place),
        );
    }
}

/// Warns of secrets that have no value here; a rule set is good all the same.
pub(super) fn secrets(draft: &mut Draft, has_secret: &dyn Fn(&str) -> bool) {
    for (name, at) in std::mem::take(&mut draft.secrets) {
        if !has_secret(&name) {
            draft.problems.warning(
                &at,
                format!(
                    "the secret `{name}` has no value here: neither [secrets] nor the environment variable {name} nor {name}_FILE gives one"
                ),
            );
        }
    }
}

/// Fills in what rules name: dimensions and values that intake never folds.
pub(super) fn name(set: &mut RuleSet, named: Named, asked: &Asked) {
    let mut dimensions = BTreeSet::new();
    let mut values: BTreeMap<String, BTreeSet<String>> = named.values;
    let mut patterns: Vec<Match> = Vec::new();
    let mut add = |filter: &Filter| {
        let pattern = filter.get("route").filter(|condition| condition.parts().iter().any(|part| part.named_values().is_empty()));
        patterns.extend(pattern.filter(|pattern| !patterns.contains(pattern)).cloned());
        for (dimension, condition) in &filter.0 {
            values.entry(dimension.clone()).or_default().extend(condition.named_values().into_iter().cloned());
        }
    };
    for slo in &set.slos {
        for (selector, _) in slo.sli.inputs() {
            add(&selector.filter);
        }
        dimensions.extend(slo.by.iter().cloned());
    }
    for filter in &asked.filters {
        add(filter);
    }
    dimensions.extend(asked.dimensions.iter().cloned());
    set.asked_windows.clone_from(&asked.windows);
    for rule in &set.alerts {
        dimensions.extend(rule.by.iter().cloned());
    }
    dimensions.extend(values.keys().cloned());
    // A label that comes from `by` is matched by value in routes and mutes.
    let mut add_label = |filter: &Filter| {
        for (label, condition) in filter.0.iter().filter(|(label, _)| dimensions.contains(*label)) {
            values.entry(label.clone()).or_default().extend(condition.named_values().into_iter().cloned());
        }
    };
    let mut open: Vec<_> = set.routes.iter().collect();
    while let Some(route) = open.pop() {
        add_label(&route.when);
        open.extend(&route.routes);
    }
    for inhibit in &set.inhibits {
        add_label(&inhibit.source);
        add_label(&inhibit.target);
    }
    set.maintenances.iter().for_each(|maintenance| add_label(&maintenance.when));
    set.silences.iter().for_each(|silence| add_label(&silence.when));
    for known in values.values_mut() {
        known.remove("");
    }
    values.retain(|_, known| !known.is_empty());
    set.route_patterns = patterns;
    set.named_dimensions = dimensions;
    set.named_values = values;
}
