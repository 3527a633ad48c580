//! `route(#{…})` and `inhibit(#{…})`: who is told, and what holds back what.

use std::collections::BTreeMap;

use rhai::{Dynamic, Engine};

use super::draft::{Call, Draft, RefersTo, Shared, register};
use super::problem::{Problems, nearest};
use super::sli::condition;
use super::value::{Fields, Value};
use crate::domain::filter::Match;
use crate::domain::rule::{Escalation, Inhibit, Matchers, Place, Route, TakesOff};

const FIELDS: [&str; 12] = [
    "when",
    "to",
    "group_by",
    "group_wait",
    "group_interval",
    "repeat",
    "escalate",
    "fallthrough",
    "active",
    "mute",
    "routes",
    "description",
];

/// Deeper trees than this are not read by anyone.
const DEPTH_MAX: usize = 16;

/// What `route(…)` gives, so that it may also stand in the `routes` of another.
#[derive(Clone, Copy, Debug)]
pub(super) struct RouteRef(usize);

/// Registers `route` and `inhibit`.
pub(super) fn add(engine: &mut Engine, draft: &Shared) {
    register(engine, draft, "route", &[1], route);
    register(engine, draft, "inhibit", &[1], inhibit);
}

fn route(draft: &mut Draft, mut call: Call) -> Dynamic {
    let at = call.at.clone();
    let value = call.arg(0, "route");
    match read(draft, &value, at, 0) {
        Some(route) => Dynamic::from(RouteRef(draft.add_route(route))),
        None => Dynamic::from(super::value::Broken),
    }
}

fn read(draft: &mut Draft, value: &Value, place: Place, depth: usize) -> Option<Route> {
    let mut fields = value.fields(&mut draft.problems, &FIELDS)?;
    fields.at = place.clone();
    let problems = &mut draft.problems;
    let when = fields.take("when").map(|value| matchers(&value, problems)).unwrap_or_default();
    let to = names(&mut fields, "to", draft, RefersTo::Receiver);
    let takes_off = TakesOff { mute: is_empty_list(&fields, "mute"), active: is_empty_list(&fields, "active") };
    let active = names(&mut fields, "active", draft, RefersTo::TimeInterval);
    let mute = names(&mut fields, "mute", draft, RefersTo::TimeInterval);
    let escalate = fields.take("escalate").map(|value| escalations(draft, &value)).unwrap_or_default();
    let mut routes = Vec::new();
    if let Some(value) = fields.take("routes") {
        for item in value.items() {
            if let Some(RouteRef(number)) = item.it.clone().try_cast::<RouteRef>() {
                routes.extend(draft.routes.remove(&number));
            } else if depth >= DEPTH_MAX {
                draft.problems.error(&item.at, format!("routes are nested deeper than {DEPTH_MAX}"));
            } else {
                let at = item.at.clone();
                routes.extend(read(draft, &item, at, depth + 1));
            }
        }
    }
    let problems = &mut draft.problems;
    if depth == 0 && to.is_empty() && routes.is_empty() {
        // A `to` that could not be read was reported already.
        fields.need("to", problems);
    }
    Some(Route {
        place,
        when,
        to,
        group_by: fields.take("group_by").map(|value| label_names(&value, problems)),
        group_wait: fields.span("group_wait", problems),
        group_interval: fields.take("group_interval").and_then(|value| value.length(problems)),
        repeat: fields.take("repeat").and_then(|value| value.length(problems)),
        escalate,
        fallthrough: fields.flag("fallthrough", problems).unwrap_or(false),
        active,
        mute,
        takes_off,
        routes,
    })
}

/// Whether a field says that there is nothing in its list.
fn is_empty_list(fields: &Fields, key: &str) -> bool {
    fields.peek(key).is_some_and(|value| value.it.is_array() && value.items().is_empty())
}

fn names(fields: &mut Fields, key: &str, draft: &mut Draft, kind: RefersTo) -> Vec<String> {
    let Some(value) = fields.take(key) else { return Vec::new() };
    let names = value.named_texts(&mut draft.problems);
    draft.refer(kind, &names);
    names.into_iter().map(|(name, _)| name).collect()
}

fn escalations(draft: &mut Draft, value: &Value) -> Vec<Escalation> {
    let mut steps: Vec<Escalation> = Vec::new();
    for item in value.items() {
        let Some(mut fields) = item.fields(&mut draft.problems, &["after", "to"]) else { continue };
        let after = fields.need("after", &mut draft.problems).and_then(|value| value.length(&mut draft.problems));
        let to = match fields.need("to", &mut draft.problems) {
            Some(value) => {
                let names = value.named_texts(&mut draft.problems);
                draft.refer(RefersTo::Receiver, &names);
                names.into_iter().map(|(name, _)| name).collect()
            }
            None => Vec::new(),
        };
        if let Some(after) = after {
            steps.push(Escalation { after, to });
        }
    }
    steps.sort_by_key(|step| step.after);
    steps
}

/// Conditions on labels. Any label may be named: alerts from `/api/v2` bring their own.
pub(super) fn matchers(value: &Value, problems: &mut Problems) -> Matchers {
    let mut matchers = BTreeMap::new();
    for (name, (at, value)) in value.entries(problems).unwrap_or_default() {
        let Some(condition) = condition(&value, problems) else { continue };
        let text = if let Match::Equal(text) = &condition { Some(text.clone()) } else { None };
        problems.labels.push((name.clone(), text, at, value.at.clone()));
        if name == "severity"
            && let Match::Equal(text) = &condition
            && !["page", "ticket", "info"].contains(&text.as_str())
            && let Some(near) = nearest(text, ["page", "ticket", "info"])
        {
            problems.warning(&value.at, format!("no rule of ours has the severity `{text}`; did you mean `{near}`?"));
        }
        matchers.insert(name, condition);
    }
    crate::domain::filter::Filter(matchers)
}

/// A list of labels by name.
fn label_names(value: &Value, problems: &mut Problems) -> Vec<String> {
    let names = value.texts(problems);
    let items = value.items();
    if items.len() == names.len() {
        problems.labels.extend(names.iter().zip(items).map(|(name, item)| (name.clone(), None, item.at.clone(), item.at)));
    }
    names
}

fn inhibit(draft: &mut Draft, mut call: Call) -> Dynamic {
    let value = call.arg(0, "inhibit");
    let Some(mut fields) = value.fields(&mut draft.problems, &["source", "target", "equal", "description"]) else { return Dynamic::UNIT };
    fields.at = call.at.clone();
    let problems = &mut draft.problems;
    let mut side = |key: &str, problems: &mut Problems| {
        let value = fields.need(key, problems)?;
        let matchers = matchers(&value, problems);
        if matchers.0.is_empty() && value.it.is_map() {
            problems.error(&value.at, format!("an empty `{key}` matches every alert; name at least one label"));
        }
        Some(matchers)
    };
    let (source, target) = (side("source", problems), side("target", problems));
    let equal = fields.take("equal").map(|value| label_names(&value, problems)).unwrap_or_default();
    if let (Some(source), Some(target)) = (source, target) {
        draft.set.inhibits.push(Inhibit { place: call.at, source, target, equal });
    }
    Dynamic::UNIT
}
