//! Time intervals.

use std::collections::{BTreeMap, BTreeSet};

use super::super::document::Node;
use super::super::script;
use super::Rules;
use super::route::NEVER;
use crate::domain::schedule::zone;

/// Declares the time intervals; an interval of several parts becomes several, which routes name together.
pub(super) fn declare(top: &Node<'_>, rules: &mut Rules) -> BTreeMap<String, Vec<String>> {
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
