//! The routing tree.

use std::collections::BTreeMap;

use super::super::document::Node;
use super::super::script;
use super::receiver::Receivers;
use super::{matchers, span};

/// Alertmanager's own default, which is not ours.
const GROUP_WAIT: &str = "30s";
/// The interval that is always on: what is muted by it is told to nobody.
pub(super) const NEVER: &str = "imported-always";

pub(super) struct Tree<'r, 'g> {
    pub receivers: &'r Receivers<'g>,
    /// Names that each interval of the source has here.
    pub intervals: BTreeMap<String, Vec<String>>,
    /// Whether some route tells nobody.
    pub blackhole: bool,
}

pub(super) type Entries = Vec<(&'static str, String)>;

impl Tree<'_, '_> {
    pub fn node(&mut self, route: &Node<'_>, is_root: bool) -> Entries {
        let mut entries = Entries::new();
        let when = matchers::read(route, "");
        if !when.0.is_empty() && is_root {
            route.fault("the top route has matchers, which Alertmanager refuses; they are left out");
        } else if !when.0.is_empty() {
            entries.push(("when", script::filter(&when)));
        }
        let mut mute = Vec::new();
        let receiver = route.get("receiver");
        if let Some(name) = receiver.text() {
            receiver.mapped("to");
            match self.receivers.names(&name) {
                Some(names) if names.is_empty() => {
                    // Nobody is told: a route cannot name nobody, so it is always muted.
                    self.blackhole = true;
                    mute.push(NEVER.to_owned());
                    receiver.mapped("mute");
                }
                Some(names) => entries.push(("to", script::list(&names))),
                None => {
                    receiver.fault(format!("there is no receiver `{name}`"));
                    receiver.needs("write the receiver");
                }
            }
        } else if is_root {
            route.fault("the top route has no receiver");
        }
        let group_by = route.get("group_by");
        if is_root || group_by.is_there() {
            let labels: Vec<String> = group_by.items().iter().filter_map(Node::text).collect();
            group_by.mapped("group_by");
            entries.push(("group_by", script::list(&labels)));
        }
        for (key, name, default) in [
            ("group_wait", "group_wait", Some(GROUP_WAIT)),
            ("group_interval", "group_interval", None),
            ("repeat_interval", "repeat", None),
        ] {
            let written = span(&route.get(key)).or(default.filter(|_| is_root).map(str::to_owned));
            if let Some(span) = written {
                entries.push((name, script::quote(&span)));
            }
        }
        let go_on = route.get("continue");
        go_on.mapped("fallthrough");
        if go_on.flag() == Some(true) && !is_root {
            entries.push(("fallthrough", "true".to_owned()));
        }
        route.get("labels").ignored("they are for queries of Alertmanager's own");
        let children = route.get("routes").items();
        mute.extend(self.named(&route.get("mute_time_intervals")));
        let (named, active) = (route.get("active_time_intervals").items().len(), self.named(&route.get("active_time_intervals")));
        if named > 0 && active.is_empty() && !mute.iter().any(|name| name == NEVER) {
            // Intervals without any time in them never hold, so the route is never active.
            self.blackhole = true;
            mute.push(NEVER.to_owned());
        }
        let mut quiet = Entries::new();
        for (name, intervals) in [("mute", mute), ("active", active)] {
            if !intervals.is_empty() {
                quiet.push((name, script::list(&intervals)));
            }
        }
        let mut inner: Vec<String> = children.iter().map(|child| nested(&self.node(child, false))).collect();
        if children.is_empty() {
            entries.extend(quiet);
        } else if !quiet.is_empty() {
            // Intervals mean the route itself, not its children; here children inherit them, so a last child takes what is left.
            if children.iter().any(|child| child.get("continue").flag() == Some(true)) {
                route.fault("a route with time intervals has a child that continues: here the route is asked as well after such a child");
            }
            inner.push(nested(&quiet));
        }
        if !inner.is_empty() {
            let lines: Vec<String> = inner.iter().map(|child| indent(child)).collect();
            entries.push(("routes", format!("[\n{}\n    ]", lines.join(",\n"))));
        }
        entries
    }

    fn named(&self, list: &Node<'_>) -> Vec<String> {
        let mut names = Vec::new();
        for item in list.items() {
            let name = item.text().unwrap_or_default();
            match self.intervals.get(&name) {
                Some(own) => {
                    item.mapped("mute or active");
                    names.extend(own.iter().cloned());
                }
                None => {
                    item.fault(format!("there is no time interval `{name}`"));
                    item.needs("write the time interval");
                }
            }
        }
        names
    }
}

/// A child as a map over several lines.
fn nested(entries: &Entries) -> String {
    let lines: Vec<String> = entries.iter().map(|(name, value)| format!("    {name}: {value},")).collect();
    if lines.is_empty() { "#{}".to_owned() } else { format!("#{{\n{}\n}}", lines.join("\n")) }
}

fn indent(text: &str) -> String {
    // Texts are literals on one line, so every line break is one of ours.
    text.lines().map(|line| format!("        {line}")).collect::<Vec<_>>().join("\n")
}
