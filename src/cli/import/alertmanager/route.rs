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

/// What a route has from the one above it that it does not have in Alertmanager, or has there and not here.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Above {
    /// It has intervals of its own, which are not those of its children.
    mute: bool,
    active: bool,
    /// Its receiver tells nobody, which a child without a receiver does as well.
    nobody: bool,
}

impl Tree<'_, '_> {
    /// The top route.
    pub fn root(&mut self, route: &Node<'_>) -> Entries {
        self.node(route, true, Above::default())
    }

    fn node(&mut self, route: &Node<'_>, is_root: bool, above: Above) -> Entries {
        // What says which alerts it takes, and all else.
        let (mut which, mut entries) = (Entries::new(), Entries::new());
        let when = matchers::read(route, "");
        if !when.0.is_empty() && is_root {
            route.fault("the top route has matchers, which Alertmanager refuses; they are left out");
        } else if !when.0.is_empty() {
            which.push(("when", script::filter(&when)));
        }
        let mut mute = Vec::new();
        let receiver = route.get("receiver");
        let mut nobody = false;
        if let Some(name) = receiver.text() {
            receiver.mapped("to");
            match self.receivers.names(&name) {
                Some(names) if names.is_empty() => {
                    // Nobody is told: a route cannot name nobody, so it is always muted.
                    nobody = true;
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
        } else {
            nobody = above.nobody;
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
            which.push(("fallthrough", "true".to_owned()));
        }
        route.get("labels").ignored("they are for queries of Alertmanager's own");
        let children = route.get("routes").items();
        mute.extend(self.named(&route.get("mute_time_intervals")));
        let (named, mut active) = (route.get("active_time_intervals").items().len(), self.named(&route.get("active_time_intervals")));
        if nobody || named > 0 && active.is_empty() {
            // Nobody is told: of a route that names no receiver, or whose intervals have no time in them and never hold.
            self.blackhole = true;
            (mute, active) = (vec![NEVER.to_owned()], Vec::new());
        }
        let below = Above { mute: !mute.is_empty(), active: !active.is_empty(), nobody };
        let inner: Vec<String> = children.iter().map(|child| nested(&self.node(child, false, below))).collect();
        // Intervals of the route above mean that route itself, not its children; here children inherit them, and take them off.
        // That nobody is told is inherited as it is.
        let as_above = nobody && above.nobody;
        let taken_off = [("mute", above.mute), ("active", above.active)].into_iter().filter(|(_, has)| *has && !as_above);
        let own = [("mute", mute), ("active", active)].into_iter().filter(|(_, intervals)| !intervals.is_empty() && !as_above);
        let own: Entries = own.map(|(name, intervals)| (name, script::list(&intervals))).collect();
        let taken_off: Entries = taken_off.map(|(name, _)| (name, "[]".to_owned())).collect();
        let both = taken_off.iter().any(|(name, _)| own.iter().any(|(other, _)| other == name));
        entries.extend(own);
        if !inner.is_empty() {
            let lines: Vec<String> = inner.iter().map(|child| indent(child)).collect();
            entries.push(("routes", format!("[\n{}\n    ]", lines.join(",\n"))));
        }
        which.extend(taken_off);
        if both {
            // One node takes off what the other then says anew.
            which.push(("routes", format!("[\n{}\n    ]", indent(&nested(&entries)))));
        } else {
            which.extend(entries);
        }
        which
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
