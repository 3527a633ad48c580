//! `alertmanager.yml`: the routing tree, inhibitions, time intervals and receivers as rules.

mod global;
mod interval;
mod matchers;
mod receiver;
mod route;

use super::document::{Document, Node};
use super::quantity::length;
use super::script;
use crate::domain::filter::{Filter, Match};
use receiver::Receivers;
use route::{NEVER, Tree};

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
    global::settings(&global, &mut rules);
    top.get("templates").ignored("burnwatch makes the texts of notifications itself; a receiver's `template` changes them");
    for key in ["tracing", "event_recorder"] {
        top.get(key).ignored("it is about the other process");
    }

    let mut receivers = Receivers::new(&global);
    for receiver in top.get("receivers").items() {
        receivers.add(&receiver);
    }
    let intervals = interval::declare(&top, &mut rules);
    let route = top.get("route");
    let mut tree = Tree { receivers: &receivers, intervals, blackhole: false };
    let fields = route.is_there().then(|| tree.root(&route));
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

impl Rules {
    fn add(&mut self, text: &str, declared: usize) {
        if !text.is_empty() {
            self.text.push('\n');
            self.text += text;
        }
        self.declared += declared;
    }
}

fn inhibit(rule: &Node<'_>, rules: &mut Rules) {
    let side = |name: &str| matchers::read(rule, &format!("{name}_"));
    let (source, target): (Filter, Filter) = (side("source"), side("target"));
    let equal: Vec<String> = rule.get("equal").items().iter().filter_map(Node::text).collect();
    rule.get("equal").mapped("equal");
    rule.get("name").ignored("an inhibition has no name");
    if source.0.is_empty() || target.0.is_empty() {
        rule.fault("one side of the inhibition matches every alert; is that meant");
    }
    let mut entries = vec![("source", script::filter(&side_of(source))), ("target", script::filter(&side_of(target)))];
    if !equal.is_empty() {
        entries.push(("equal", script::list(&equal)));
    }
    rules.add(&format!("inhibit({});\n", script::map(entries)), 1);
}

/// A side without matchers is met by every alert. Rules ask for a condition; this one always holds.
fn side_of(filter: Filter) -> Filter {
    if !filter.0.is_empty() {
        return filter;
    }
    let always = Match::parse("/.*/").expect("it is an expression");
    Filter([("alertname".to_owned(), always)].into())
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

#[cfg(test)]
mod tests;
