//! `alertmanager.yml`: the routing tree, inhibitions, time intervals and receivers as rules.

use std::collections::{BTreeMap, BTreeSet};

use super::alertmanager_receiver::Receivers;
use super::document::{Document, Node};
use super::quantity::length;
use super::{matchers, script};
use crate::domain::filter::Filter;
use crate::domain::schedule::zone;

/// Alertmanager's own default, which is not ours.
const GROUP_WAIT: &str = "30s";

/// Rules text of one file, and how many things it declares.
pub struct Rules {
    pub text: String,
    pub declared: usize,
}

/// Whether a document is a configuration of Alertmanager.
pub fn is_it(top: &Node<'_>) -> bool {
    top.get("route").is_there() || top.get("receivers").is_there()
}

/// Reads a configuration.
pub fn import(document: &Document) -> Rules {
    let top = document.top();
    let mut rules = Rules { text: script::comment("", &format!("Imported from Alertmanager: {}", document.file)), declared: 0 };
    let global = top.get("global");
    settings(&global, &mut rules);
    top.get("templates").ignored("burnwatch makes the texts of notifications itself");
    top.get("tracing").ignored("it is about the other process");

    let mut receivers = Receivers::new(&global);
    for receiver in top.get("receivers").items() {
        receivers.add(&receiver);
    }
    let intervals = intervals(&top, &mut rules);
    let route = top.get("route");
    let mut tree = Tree { receivers: &mut receivers, intervals, blackhole: false };
    let fields = route.is_there().then(|| tree.node(&route, true));
    let blackhole = tree.blackhole;
    rules.add(&receivers.text, receivers.declared);
    if blackhole {
        rules.add(&script::declaration("time_interval", Some(NEVER), &[]), 1);
    }
    match fields {
        None => top.fault("there is no route"),
        Some(entries) if entries.iter().any(|(name, _)| *name == "to" || *name == "routes") => {
            rules.add(&script::declaration("route", None, &entries), 1);
        }
        Some(entries) => {
            route.fault("the route tells nobody, so there is none in the rules");
            let note = format!("not declared, because it tells nobody:\n{}", script::declaration("route", None, &entries));
            rules.add(&script::comment("", &note), 0);
        }
    }
    for rule in top.get("inhibit_rules").items() {
        inhibit(&rule, &mut rules);
    }
    rules
}

/// The interval that is always on: what is muted by it is told to nobody.
const NEVER: &str = "imported-always";

impl Rules {
    fn add(&mut self, text: &str, declared: usize) {
        if !text.is_empty() {
            self.text.push('\n');
            self.text += text;
        }
        self.declared += declared;
    }
}

/// Global settings that are not the defaults of receivers.
fn settings(global: &Node<'_>, rules: &mut Rules) {
    let timeout = global.get("resolve_timeout");
    if let Some(span) = span(&timeout) {
        rules.add(&format!("alerts_in({});\n", script::map([("resolve_timeout", script::quote(&span))])), 1);
    }
    let mut mail = Vec::new();
    for (name, node) in global.entries() {
        let Some(setting) = name.strip_prefix("smtp_") else { continue };
        node.needs("mail is sent by burnwatch.toml, [smtp]: host, port, tls, username, password, from");
        match (setting, node.text()) {
            ("smarthost", Some(host)) => match host.rsplit_once(':') {
                Some((host, port)) => mail.extend([format!("host = {host:?}"), format!("port = {port}")]),
                None => mail.push(format!("host = {host:?}")),
            },
            ("from", Some(from)) => mail.push(format!("from = {from:?}")),
            ("auth_username", Some(user)) => mail.push(format!("username = {user:?}")),
            ("require_tls", Some(flag)) if flag == "false" => mail.push("tls = \"none\"".to_owned()),
            _ => {}
        }
    }
    if !mail.is_empty() {
        let lines = format!("In burnwatch.toml:\n[smtp]\n{}", mail.join("\n"));
        rules.text += &script::comment("", &lines);
    }
    global.get("http_config").needs("settings of connections have no place in rules; headers can be given on a receiver");
}

struct Tree<'r, 'g> {
    receivers: &'r mut Receivers<'g>,
    /// Names that each interval of the source has here.
    intervals: BTreeMap<String, Vec<String>>,
    /// Whether some route tells nobody.
    blackhole: bool,
}

type Entries = Vec<(&'static str, String)>;

impl Tree<'_, '_> {
    fn node(&mut self, route: &Node<'_>, is_root: bool) -> Entries {
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
        let children = route.get("routes").items();
        mute.extend(self.named(&route.get("mute_time_intervals")));
        let active = self.named(&route.get("active_time_intervals"));
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

fn inhibit(rule: &Node<'_>, rules: &mut Rules) {
    let side = |name: &str| matchers::read(rule, &format!("{name}_"));
    let (source, target): (Filter, Filter) = (side("source"), side("target"));
    let equal: Vec<String> = rule.get("equal").items().iter().filter_map(Node::text).collect();
    rule.get("equal").mapped("equal");
    rule.get("name").ignored("an inhibition has no name");
    if source.0.is_empty() || target.0.is_empty() {
        rule.fault("one side of the inhibition matches every alert; it is left out");
        rule.needs("name at least one label on each side");
        return;
    }
    let mut entries = vec![("source", script::filter(&source)), ("target", script::filter(&target))];
    if !equal.is_empty() {
        entries.push(("equal", script::list(&equal)));
    }
    rules.add(&format!("inhibit({});\n", script::map(entries)), 1);
}

/// Declares the time intervals; an interval of several parts becomes several, which routes name together.
fn intervals(top: &Node<'_>, rules: &mut Rules) -> BTreeMap<String, Vec<String>> {
    let mut taken = BTreeSet::from([NEVER.to_owned()]);
    let mut names: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for key in ["time_intervals", "mute_time_intervals"] {
        for interval in top.get(key).items() {
            let Some(name) = interval.get("name").text() else {
                interval.fault("a time interval has no name");
                continue;
            };
            interval.get("name").mapped("the name");
            let mut own = Vec::new();
            for part in interval.get("time_intervals").items() {
                let free = std::iter::once(name.clone()).chain((2..).map(|n| format!("{name}-{n}"))).find(|name| !taken.contains(name));
                let free = free.expect("numbers never end");
                taken.insert(free.clone());
                let fields = times(&part);
                rules.add(&script::declaration("time_interval", Some(&free), &fields), 1);
                own.push(free);
            }
            if names.insert(name.clone(), own).is_some() {
                interval.fault(format!("there is another time interval `{name}`"));
            }
        }
    }
    names
}

fn times(part: &Node<'_>) -> Vec<(&'static str, String)> {
    let mut fields = Vec::new();
    let mut ranges = Vec::new();
    for time in part.get("times").items() {
        if let (Some(start), Some(end)) = (time.get("start_time").text(), time.get("end_time").text()) {
            time.mapped("times");
            ranges.push(format!("{start}-{end}"));
        } else {
            time.fault("a range of clock times needs start_time and end_time");
        }
    }
    if !ranges.is_empty() {
        fields.push(("times", script::list(&ranges)));
    }
    for key in ["weekdays", "days_of_month", "months", "years"] {
        let items: Vec<String> = part.get(key).one_or_many().iter().filter_map(Node::text).collect();
        if !items.is_empty() {
            part.get(key).mapped(key);
            fields.push((key, script::list(&items)));
        }
    }
    let location = part.get("location");
    match location.text() {
        None => {}
        Some(name) if zone(&name).is_ok() => {
            location.mapped("timezone");
            fields.push(("timezone", script::quote(&name)));
        }
        Some(name) => {
            location.fault(format!("`{name}` is no IANA time zone; UTC is taken"));
            location.needs("give a name like Europe/Berlin");
        }
    }
    fields
}

/// A length of time as rules write it.
fn span(node: &Node<'_>) -> Option<String> {
    let text = node.text()?;
    if text == "0s" || text == "0" {
        node.mapped("the same");
        return Some("0s".to_owned());
    }
    match length(&text) {
        Ok((span, odd)) => {
            node.mapped("the same");
            odd.into_iter().for_each(|odd| node.fault(odd));
            Some(span.to_string())
        }
        Err(why) => {
            node.fault(why);
            node.needs("give a length like 5m");
            None
        }
    }
}
