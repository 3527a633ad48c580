//! Our routes as a configuration of Alertmanager, for its tools: `amtool config routes test` asks it who
//! is told.
//!
//! Only who is told is said, not how: receivers have names and no addresses, so no secret can be in it.
//! Alertmanager's routes name one receiver each; where ours name several, their names with commas
//! between them are one there, which is also how amtool prints several.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::matcher::{Matcher, quote};
use super::route::{GROUP_INTERVAL, GROUP_WAIT, REPEAT};
use super::rule::{Inhibit, Matchers, Route, RuleSet, TimeInterval};
use super::time::Span;

/// The receiver of whatever no route matches.
const NOBODY: &str = "nobody";

/// The text of `alertmanager.yml`.
pub fn config(rules: &RuleSet, resolve_timeout: Span) -> String {
    let mut out = String::from("# Written by burnwatch from its rules, which decide; this text is for Alertmanager's tools.\n");
    let _ = writeln!(out, "global:\n  resolve_timeout: {resolve_timeout}");
    let mut writer = Writer { out, receivers: BTreeSet::new() };
    writer.root(rules);
    writer.inhibits(&rules.inhibits);
    writer.intervals(&rules.time_intervals);
    let Writer { mut out, receivers } = writer;
    out.push_str("receivers:\n");
    for name in &receivers {
        let kinds: Vec<&str> = name.split(',').filter_map(|name| rules.receiver(name)).map(|receiver| receiver.kind.name()).collect();
        let comment = if kinds.is_empty() { "tells nobody".to_owned() } else { kinds.join(", ") };
        let _ = writeln!(out, "- name: {} # {comment}", yaml(name));
    }
    out
}

struct Writer {
    out: String,
    receivers: BTreeSet<String>,
}

/// Whether Alertmanager takes it as the name of a label.
fn is_label(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// A text as YAML, on one line, whatever stands in it.
fn yaml(text: &str) -> String {
    serde_json::to_string(text).expect("a text always serialises")
}

impl Writer {
    fn root(&mut self, rules: &RuleSet) {
        self.out.push_str("route:\n");
        match rules.routes.as_slice() {
            // A single route for everything is the root itself, unless it has what a root may not have.
            [only] if only.when.0.is_empty() && !only.to.is_empty() && only.mute.is_empty() && only.active.is_empty() => {
                self.body(only, 1, true);
            }
            routes => {
                self.receivers.insert(NOBODY.to_owned());
                let _ = writeln!(self.out, "  receiver: {NOBODY}");
                self.times(None, None, None, 1, true);
                self.children(routes, 1, NOBODY);
            }
        }
    }

    fn children(&mut self, routes: &[Route], depth: usize, inherited: &str) {
        if routes.is_empty() {
            return;
        }
        let _ = writeln!(self.out, "{:indent$}routes:", "", indent = depth * 2);
        for route in routes {
            let _ = writeln!(self.out, "{:indent$}- continue: {}", "", route.fallthrough, indent = depth * 2);
            if route.to.is_empty() && depth == 1 && inherited == NOBODY {
                // A node that only holds others: what none of them takes is told to nobody.
                let _ = writeln!(self.out, "{:indent$}receiver: {NOBODY}", "", indent = depth * 2 + 2);
            }
            self.body(route, depth + 1, false);
        }
    }

    fn body(&mut self, route: &Route, depth: usize, is_root: bool) {
        let indent = depth * 2;
        if !route.when.0.is_empty() {
            let _ = writeln!(self.out, "{:indent$}matchers: [{}]", "", self::matchers(&route.when));
        }
        if !route.to.is_empty() {
            let name = route.to.join(",");
            let _ = writeln!(self.out, "{:indent$}receiver: {}", "", yaml(&name));
            self.receivers.insert(name);
        }
        if let Some(by) = &route.group_by {
            let names: BTreeSet<&str> = by.iter().map(String::as_str).filter(|name| is_label(name)).collect();
            let all = by.iter().any(|name| name == "...");
            let names = if all { vec!["...".to_owned()] } else { names.into_iter().map(str::to_owned).collect() };
            let names: Vec<String> = names.iter().map(|name| yaml(name)).collect();
            let _ = writeln!(self.out, "{:indent$}group_by: [{}]", "", names.join(", "));
        }
        self.times(route.group_wait, route.group_interval, route.repeat, depth, is_root);
        for (key, names) in [("mute_time_intervals", &route.mute), ("active_time_intervals", &route.active)] {
            if !names.is_empty() {
                let names: Vec<String> = names.iter().map(|name| yaml(name)).collect();
                let _ = writeln!(self.out, "{:indent$}{key}: [{}]", "", names.join(", "));
            }
        }
        for step in &route.escalate {
            let _ = writeln!(self.out, "{:indent$}# after {} without an acknowledgement: {}", "", step.after, yaml(&step.to.join(", ")));
        }
        self.children(&route.routes, depth, "");
    }

    /// The three lengths of time; the root says all of them, because Alertmanager's own defaults differ.
    fn times(&mut self, wait: Option<Span>, interval: Option<Span>, repeat: Option<Span>, depth: usize, is_root: bool) {
        let indent = depth * 2;
        let or = |given: Option<Span>, default| given.or(is_root.then_some(default));
        if let Some(span) = or(wait, GROUP_WAIT) {
            let _ = writeln!(self.out, "{:indent$}group_wait: {span}", "");
        }
        // Alertmanager refuses zero: no interval is a very short one, and never again is a year.
        if let Some(span) = or(interval, GROUP_INTERVAL) {
            let span = if span == Span::ZERO { Span::SECOND } else { span };
            let _ = writeln!(self.out, "{:indent$}group_interval: {span}", "");
        }
        if let Some(span) = or(repeat, REPEAT) {
            let span = if span == Span::ZERO { Span::days(365) } else { span };
            let _ = writeln!(self.out, "{:indent$}repeat_interval: {span}", "");
        }
    }

    fn inhibits(&mut self, inhibits: &[Inhibit]) {
        if inhibits.is_empty() {
            return;
        }
        self.out.push_str("inhibit_rules:\n");
        for inhibit in inhibits {
            let equal: Vec<String> = inhibit.equal.iter().filter(|name| is_label(name)).map(|name| yaml(name)).collect();
            let _ = writeln!(self.out, "- source_matchers: [{}]", matchers(&inhibit.source));
            let _ = writeln!(self.out, "  target_matchers: [{}]", matchers(&inhibit.target));
            let _ = writeln!(self.out, "  equal: [{}]", equal.join(", "));
        }
    }

    fn intervals(&mut self, intervals: &[TimeInterval]) {
        if intervals.is_empty() {
            return;
        }
        self.out.push_str("time_intervals:\n");
        for interval in intervals {
            let _ = writeln!(self.out, "- name: {}\n  time_intervals:\n  - location: {}", yaml(&interval.name), yaml(&interval.timezone));
            let clock = |minute: u16| format!("{:02}:{:02}", minute / 60, minute % 60);
            let times =
                interval.times.iter().map(|(from, to)| format!("{{start_time: \"{}\", end_time: \"{}\"}}", clock(*from), clock(*to)));
            const DAYS: [&str; 7] = ["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"];
            let day = |day: u8| DAYS[usize::from(day) % 7];
            let lists = [
                ("times", times.collect::<Vec<_>>()),
                ("weekdays", interval.weekdays.iter().map(|(from, to)| format!("\"{}:{}\"", day(*from), day(*to))).collect()),
                ("days_of_month", interval.days_of_month.iter().map(|(from, to)| format!("\"{from}:{to}\"")).collect()),
                ("months", interval.months.iter().map(|(from, to)| format!("\"{from}:{to}\"")).collect()),
                ("years", interval.years.iter().map(|(from, to)| format!("\"{from}:{to}\"")).collect()),
            ];
            for (key, items) in lists.iter().filter(|(_, items)| !items.is_empty()) {
                let _ = writeln!(self.out, "    {key}: [{}]", items.join(", "));
            }
        }
    }
}

/// Conditions as Alertmanager's matchers; a label whose name it does not know cannot be asked for there.
fn matchers(conditions: &Matchers) -> String {
    let one = |matcher: Matcher| {
        let label = &matcher.label;
        let name: String = label.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        let name = if is_label(&name) { name } else { format!("_{name}") };
        let (operator, value) = matcher.parts();
        yaml(&format!("{name}{}{}", operator.text(), quote(&value)))
    };
    conditions.0.iter().flat_map(|(label, condition)| Matcher::of(label, condition)).map(one).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::filter::{Filter, Match};

    fn node(when: &[(&str, Match)], to: &[&str], routes: Vec<Route>) -> Route {
        Route {
            place: Default::default(),
            when: Filter(when.iter().map(|(k, v)| ((*k).into(), v.clone())).collect()),
            to: to.iter().map(|s| (*s).into()).collect(),
            group_by: None,
            group_wait: None,
            group_interval: Some(Span::ZERO),
            repeat: None,
            escalate: vec![],
            fallthrough: false,
            active: vec![],
            mute: vec![],
            takes_off: Default::default(),
            routes,
        }
    }

    #[test]
    fn it_is_yaml_whatever_stands_in_it() {
        let hostile = "x\"]\n- receiver: evil # ' {{ }}";
        let inner = node(&[("service", Match::Equal(hostile.into()))], &["a", "b"], vec![]);
        let mut outer = node(&[("a-b", Match::AnyOf(vec!["x.y".into(), hostile.into()]))], &[], vec![inner]);
        outer.group_by = Some(vec!["a-b".into(), "service".into(), "service".into()]);
        let set = RuleSet { routes: vec![outer, node(&[], &[hostile], vec![])], ..RuleSet::default() };
        let text = config(&set, Span::minutes(5));
        let read: serde_json::Value = serde_yaml_ng::from_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        assert_eq!(read["route"]["receiver"], "nobody");
        assert_eq!(read["route"]["repeat_interval"], "4h");
        let routes = read["route"]["routes"].as_array().unwrap();
        assert_eq!(routes[0]["routes"][0]["receiver"], "a,b");
        assert_eq!(routes[0]["group_by"], serde_json::json!(["service"]));
        assert_eq!(routes[0]["group_interval"], "1s");
        assert_eq!(routes[0]["receiver"], "nobody");
        assert_eq!(routes[1]["receiver"], hostile);
        let matcher = routes[0]["routes"][0]["matchers"][0].as_str().unwrap();
        assert!(Matcher::parse(matcher).unwrap().accepts(hostile), "{matcher}");
        let names: Vec<&str> = read["receivers"].as_array().unwrap().iter().map(|r| r["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["a,b", "nobody", hostile]);
    }

    #[test]
    fn a_single_route_for_all_is_the_root() {
        let set = RuleSet { routes: vec![node(&[], &["mail"], vec![])], ..RuleSet::default() };
        let read: serde_json::Value = serde_yaml_ng::from_str(&config(&set, Span::minutes(5))).unwrap();
        assert_eq!(read["route"]["receiver"], "mail");
        assert_eq!(read["route"].get("routes"), None);
    }
}
