//! Who is told of an alert: the routing tree (CONTRACT 4, Routes).

use super::rule::{Escalation, Labels, Matchers, Route, RuleSet};
use super::time::Span;

/// Defaults of the contract.
pub const GROUP_WAIT: Span = Span::ZERO;
pub const GROUP_INTERVAL: Span = Span::minutes(5);
pub const REPEAT: Span = Span::hours(4);

/// One route that an alert matches, with everything it inherits filled in.
#[derive(Clone, Debug, PartialEq)]
pub struct Routed {
    pub to: Vec<String>,
    pub group_by: Option<Vec<String>>,
    pub group_wait: Span,
    pub group_interval: Span,
    pub repeat: Span,
    pub escalate: Vec<Escalation>,
    /// Why nobody is told at this time: the interval that mutes, or is not active.
    pub muted: Option<String>,
}

/// Whether all conditions hold for a set of labels; an absent label is the empty text.
pub fn matches(conditions: &Matchers, labels: &Labels) -> bool {
    conditions.0.iter().all(|(name, condition)| condition.accepts(labels.get(name).map_or("", String::as_str)))
}

/// The routes that an alert with these labels matches, in order. `in_interval` tells whether a
/// named time interval holds now.
pub fn route(set: &RuleSet, labels: &Labels, in_interval: &dyn Fn(&str) -> bool) -> Vec<Routed> {
    let mut found = Vec::new();
    walk(&set.routes, None, labels, in_interval, &mut found);
    found
}

/// A node on the way, with what holds it back at this time.
struct Node {
    routed: Routed,
    /// The interval that mutes, in words.
    muted: Option<String>,
    /// The intervals of which none is active, in words.
    outside: Option<String>,
}

/// Walks siblings; says whether one of them matched.
fn walk(routes: &[Route], parent: Option<&Node>, labels: &Labels, in_interval: &dyn Fn(&str) -> bool, found: &mut Vec<Routed>) -> bool {
    let mut any = false;
    for route in routes {
        if !matches(&route.when, labels) {
            continue;
        }
        any = true;
        let own = inherit(route, parent, in_interval);
        // A child that matches takes the alert; without one the node itself does.
        if !walk(&route.routes, Some(&own), labels, in_interval, found) {
            found.push(Routed { muted: own.muted.or(own.outside), ..own.routed });
        }
        if !route.fallthrough {
            break;
        }
    }
    any
}

fn inherit(route: &Route, parent: Option<&Node>, in_interval: &dyn Fn(&str) -> bool) -> Node {
    let muted = route.mute.iter().find(|name| in_interval(name)).map(|name| format!("muted by time interval `{name}`"));
    let is_outside = !route.active.is_empty() && !route.active.iter().any(|name| in_interval(name));
    let outside = is_outside.then(|| format!("outside time interval `{}`", route.active.join("`, `")));
    let above = |taken_off: bool, of: fn(&Node) -> &Option<String>| parent.filter(|_| !taken_off).and_then(|parent| of(parent).clone());
    let muted = muted.or_else(|| above(route.takes_off.mute, |parent| &parent.muted));
    let outside = outside.or_else(|| above(route.takes_off.active, |parent| &parent.outside));
    let parent = parent.map(|parent| &parent.routed);
    let routed = Routed {
        to: if route.to.is_empty() { parent.map_or_else(Vec::new, |p| p.to.clone()) } else { route.to.clone() },
        group_by: route.group_by.clone().or_else(|| parent.and_then(|p| p.group_by.clone())),
        group_wait: route.group_wait.or(parent.map(|p| p.group_wait)).unwrap_or(GROUP_WAIT),
        group_interval: route.group_interval.or(parent.map(|p| p.group_interval)).unwrap_or(GROUP_INTERVAL),
        repeat: route.repeat.or(parent.map(|p| p.repeat)).unwrap_or(REPEAT),
        escalate: if route.escalate.is_empty() { parent.map_or_else(Vec::new, |p| p.escalate.clone()) } else { route.escalate.clone() },
        muted: None,
    };
    Node { routed, muted, outside }
}

/// The labels by which an alert is grouped: `group_by` of its first route, else the names given.
/// A label that the alert does not have is absent from the group. `"..."` groups by all labels but
/// the severity, which may change while the alert lives.
pub fn grouping(group_by: Option<&[String]>, default: &[&str], labels: &Labels) -> Labels {
    let pick = |name: &str| labels.get(name).map(|value| (name.to_owned(), value.clone()));
    match group_by {
        Some(names) if names.iter().any(|name| name == "...") => {
            labels.iter().filter(|(name, _)| *name != "severity").map(|(name, value)| (name.clone(), value.clone())).collect()
        }
        Some(names) => names.iter().filter_map(|name| pick(name)).collect(),
        None => default.iter().filter_map(|name| pick(name)).collect(),
    }
}

/// The canonical text of labels: `{region="de",slo="checkout-api"}`.
pub fn canonical(labels: &Labels) -> String {
    let parts: Vec<String> =
        labels.iter().map(|(name, value)| format!("{name}={}", serde_json::to_string(value).expect("a text always serialises"))).collect();
    format!("{{{}}}", parts.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::desk::fixtures::route as node;
    use crate::domain::rule::TakesOff;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect()
    }

    fn told(set: &RuleSet, pairs: &[(&str, &str)]) -> Vec<String> {
        route(set, &labels(pairs), &|_| false).into_iter().flat_map(|routed| routed.to).collect()
    }

    #[test]
    fn the_first_match_wins_unless_it_falls_through() {
        let mut first = node(&[("severity", "page")], &["pager"]);
        let rest = node(&[], &["tickets"]);
        let set = RuleSet { routes: vec![first.clone(), rest.clone()], ..RuleSet::default() };
        assert_eq!(told(&set, &[("severity", "page")]), ["pager"]);
        assert_eq!(told(&set, &[("severity", "ticket")]), ["tickets"]);
        first.fallthrough = true;
        let set = RuleSet { routes: vec![first, rest], ..RuleSet::default() };
        assert_eq!(told(&set, &[("severity", "page")]), ["pager", "tickets"]);
    }

    #[test]
    fn children_take_the_alert_and_inherit() {
        let mut parent = node(&[("service", "shop")], &["shop-team"]);
        parent.repeat = Some(Span::hours(1));
        parent.routes = vec![node(&[("owner", "a")], &["a"]), node(&[("owner", "b")], &[])];
        let set = RuleSet { routes: vec![parent], ..RuleSet::default() };
        assert_eq!(told(&set, &[("service", "shop"), ("owner", "a")]), ["a"]);
        assert_eq!(told(&set, &[("service", "shop"), ("owner", "b")]), ["shop-team"]);
        assert_eq!(told(&set, &[("service", "shop")]), ["shop-team"]);
        assert_eq!(route(&set, &labels(&[("service", "shop"), ("owner", "a")]), &|_| false)[0].repeat, Span::hours(1));
        assert!(told(&set, &[("service", "x")]).is_empty());
    }

    #[test]
    fn an_interval_mutes_but_still_matches() {
        let mut night = node(&[], &["mail"]);
        night.mute = vec!["nights".into()];
        let set = RuleSet { routes: vec![night], ..RuleSet::default() };
        let routed = route(&set, &labels(&[]), &|name| name == "nights");
        assert_eq!(routed[0].muted.as_deref(), Some("muted by time interval `nights`"));
    }

    #[test]
    fn fact_5_and_6_groups_have_the_labels_that_are_there_all_of_them_or_none() {
        let alert = labels(&[("alertname", "down"), ("cluster", "eu"), ("node", "1")]);
        let group =
            |names: &[&str]| grouping(Some(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()), &["alertname"], &alert);
        assert_eq!(group(&["cluster", "absent"]), labels(&[("cluster", "eu")]), "an absent label is absent from the key");
        assert_eq!(group(&["..."]), alert);
        assert_eq!(group(&[]), labels(&[]));
        let by = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        let mut parent = node(&[], &["mail"]);
        parent.group_by = by(&["cluster"]);
        let (mut none, mut all) = (node(&[("a", "none")], &[]), node(&[("a", "all")], &[]));
        (none.group_by, all.group_by) = (by(&[]), by(&["..."]));
        parent.routes = vec![none, all, node(&[("a", "same")], &[])];
        let set = RuleSet { routes: vec![parent], ..RuleSet::default() };
        let of = |value: &str| route(&set, &labels(&[("a", value)]), &|_| false).remove(0).group_by;
        assert_eq!((of("none"), of("all"), of("same")), (by(&[]), by(&["..."]), by(&["cluster"])));
    }

    #[test]
    fn a_child_is_muted_with_its_parent_unless_it_takes_that_off() {
        let child = |name: &str, mute: bool, active: bool| Route { takes_off: TakesOff { mute, active }, ..node(&[("a", name)], &[]) };
        let mut parent = node(&[], &["mail"]);
        (parent.mute, parent.active) = (vec!["nights".into()], vec!["weekdays".into()]);
        let mut own = child("own", true, true);
        own.mute = vec!["lunch".into()];
        parent.routes = vec![child("as-it-is", false, false), child("no-mute", true, false), child("neither", true, true), own];
        let set = RuleSet { routes: vec![parent], ..RuleSet::default() };
        let muted = |name: &str, now: &[&str]| route(&set, &labels(&[("a", name)]), &|interval| now.contains(&interval)).remove(0).muted;
        let (night, weekend) = (Some("muted by time interval `nights`".to_owned()), Some("outside time interval `weekdays`".to_owned()));
        assert_eq!(muted("other", &["nights", "weekdays"]), night);
        assert_eq!((muted("as-it-is", &["nights", "weekdays"]), muted("as-it-is", &[])), (night.clone(), weekend.clone()));
        assert_eq!((muted("no-mute", &["nights", "weekdays"]), muted("no-mute", &["nights"])), (None, weekend));
        assert_eq!(muted("neither", &["nights"]), None);
        assert_eq!((muted("own", &["nights"]), muted("own", &["lunch"])), (None, Some("muted by time interval `lunch`".to_owned())));
    }

    #[test]
    fn the_key_is_canonical_and_hostile_values_cannot_forge_another() {
        let group = grouping(Some(&["service".into(), "nope".into()]), &[], &labels(&[("service", "a\",b=\"c"), ("x", "y")]));
        assert_eq!(canonical(&group), r#"{service="a\",b=\"c"}"#);
        assert_eq!(grouping(None, &["slo"], &labels(&[("slo", "s"), ("region", "de")])), labels(&[("slo", "s")]));
    }
}
