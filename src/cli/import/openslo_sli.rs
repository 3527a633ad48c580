//! What an OpenSLO objective measures: ratios, thresholds, composites, and time slices around them.

use super::binding;
use super::document::Node;
use super::draft::Draft;
use super::openslo::{Registry, key};
use super::quantity::{Scale, objective as share, positive};
use crate::domain::cell::Limit;
use crate::domain::fraction::Fraction;
use crate::domain::rule::{Combine, EmptySlice, Sli};
use crate::domain::time::Span;

/// Finds what is measured: in the objective, in the SLO, or where it refers to.
pub(super) fn indicator(draft: &mut Draft, top: &Node<'_>, objective: &Node<'_>, registry: &Registry<'_>) {
    let spec = top.get("spec");
    let mut found = None;
    for place in [objective, &spec] {
        for key in ["ratioMetrics", "countMetrics", "rawMetric", "composite"] {
            if place.get(key).is_there() {
                found = found.or(Some(place.clone()));
            }
        }
        for key in ["indicator", "sli"] {
            let own = place.get(key);
            if own.is_there() {
                for text in ["name", "displayName"] {
                    own.get("metadata").get(text).ignored("an indicator has no name of its own in rules");
                }
                own.get("metadata").ignored("an indicator has no name of its own in rules");
                let inner = if own.get("spec").is_there() { own.get("spec") } else { own };
                found = found.or(Some(inner));
            }
        }
        for key in ["indicatorRef", "sliRef"] {
            let Some(name) = place.get(key).text() else { continue };
            match registry.find("SLI", &name) {
                Some(sli) => {
                    place.get(key).mapped("sli");
                    sli.get("metadata").ignored("an indicator has no name of its own in rules");
                    found = found.or(Some(sli.get("spec")));
                }
                None => {
                    place.get(key).fault(format!("there is no SLI `{name}` among the files"));
                    place.get(key).needs("import the file with the indicator as well");
                }
            }
        }
    }
    let Some(found) = found else {
        spec.fault("there is no indicator");
        draft.notes.push("needs mapping: the source has no indicator".to_owned());
        slices(draft, &spec, objective, &top.get("metadata").get("annotations"));
        return;
    };
    found.get("description").ignored("an indicator has no description of its own in rules");
    measured(draft, &found, objective, &top.get("metadata").get("annotations"));
    if found.get("metricSource").is_there() {
        found.get("metricSource").needs("burnwatch measures by itself");
    }
    // Nobl9 names the source of all objectives once.
    let source = spec.get("indicator").get("metricSource");
    source.needs("burnwatch measures by itself");
    slices(draft, &spec, objective, &top.get("metadata").get("annotations"));
    if draft.slo.enabled && top.get("metadata").get("annotations").get(&key("enabled")).flag() == Some(false) {
        draft.slo.enabled = false;
    }
}

fn measured(draft: &mut Draft, place: &Node<'_>, objective: &Node<'_>, annotations: &Node<'_>) {
    let threshold = place.either(&["thresholdMetric", "rawMetric"]);
    let ratio = place.either(&["ratioMetric", "ratioMetrics", "countMetrics"]);
    let composite = place.get("composite");
    let limit = if threshold.is_there() { limit(objective) } else { no_limit(objective) };
    let node = [&threshold, &ratio, &composite].into_iter().find(|node| node.is_there()).unwrap_or(place).clone();
    let bound = match binding::annotated(annotations) {
        Some(bound) => Some(bound),
        None if threshold.is_there() => source(&threshold).map(|spec| {
            let selector = binding::selector(&spec)?;
            let limit = limit.ok_or("a limit needs `op` and `value`")?;
            binding::held(selector.metric, selector.filter, Some(limit))
        }),
        None => self::ratio(&ratio),
    };
    match bound {
        Some(Ok(sli)) => {
            node.mapped("sli");
            (draft.slo.sli, draft.slo.enabled) = (sli, true);
        }
        Some(Err(why)) => {
            node.fault(why);
            draft.unbound(&node, limit.map(|limit| (limit.value, limit.inclusive)));
        }
        None => draft.unbound(&node, limit.map(|limit| (limit.value, limit.inclusive))),
    }
}

/// The specification of a metric source of our own.
fn source<'a>(metric: &Node<'a>) -> Option<Node<'a>> {
    let is_ours = |node: &Node<'_>| node.text().is_some_and(|text| text.eq_ignore_ascii_case(binding::NAME));
    if is_ours(&metric.get("metricSource").get("type")) {
        return Some(metric.get("metricSource").get("spec"));
    }
    is_ours(&metric.get("dataSourceRef")).then(|| metric.get("spec"))
}

fn ratio(ratio: &Node<'_>) -> Option<Result<Sli, String>> {
    if let Some(raw) = source(&ratio.get("raw")) {
        return Some(raw_sli(&raw));
    }
    let total = source(&ratio.get("total"))?;
    let (good, bad) = (source(&ratio.get("good")), source(&ratio.get("bad")));
    let read = || {
        let total = binding::selector(&total)?;
        match (good, bad) {
            (Some(good), _) => Ok(Sli::Ratio { good: binding::selector(&good)?, total }),
            // The bad events of a selection over all of the same one: that is what `good` means.
            (None, Some(bad)) if binding::selector(&bad)? == total => binding::held(total.metric, total.filter, None),
            (None, Some(_)) => Err("`bad` must select what `total` selects: its bad events are counted".to_owned()),
            (None, None) => Err("`good` or `bad` must have the binding that `total` has".to_owned()),
        }
    };
    Some(read())
}

/// What has no form in OpenSLO: composites and external sources.
fn raw_sli(spec: &Node<'_>) -> Result<Sli, String> {
    if let Some(source) = spec.get("external").text() {
        let options = spec.get("options").entries().into_iter().filter_map(|(name, value)| Some((name, value.text()?))).collect();
        return Ok(Sli::External { source, options });
    }
    let members: Vec<String> = spec.get("members").items().iter().filter_map(Node::text).collect();
    let weights: Result<Vec<Fraction>, String> =
        spec.get("weights").items().iter().map(|weight| positive(&weight.text().unwrap_or_default())).collect();
    match spec.get("composite").text().as_deref() {
        Some("worst") if !members.is_empty() => Ok(Sli::Composite { members, how: Combine::Worst }),
        Some("weighted") if !members.is_empty() => {
            let weights = weights?;
            if weights.len() != members.len() {
                return Err("a weighted composite needs a weight for each member".to_owned());
            }
            Ok(Sli::Composite { members, how: Combine::Weighted(weights) })
        }
        Some(_) | None => Err("a composite needs `composite: worst` or `weighted` and its members".to_owned()),
    }
}

/// The limit of a threshold: `op` and `value`.
fn limit(objective: &Node<'_>) -> Option<Limit> {
    let (op, value) = (objective.get("op"), objective.get("value"));
    let number = value.text().and_then(|text| text.parse::<f64>().ok()).filter(|value| value.is_finite());
    if value.is_there() && number.is_none() {
        value.fault("the limit is no number");
    }
    match op.text().as_deref() {
        Some("lte" | "lt") => {
            op.mapped("within or below");
            if !value.is_there() {
                objective.fault("a threshold needs a value");
            }
            value.mapped("the limit");
            number.map(|value| Limit { value, inclusive: op.text().as_deref() == Some("lte") })
        }
        Some(written @ ("gt" | "gte")) => {
            op.fault(format!("`op: {written}` says that values above the limit are good, which is wrong for a latency, and within() counts values up to the limit"));
            op.needs("turn the limit around, or count what is good by a metric of its own");
            value.needs("set the limit once `op` is clear");
            None
        }
        Some(other) => {
            op.fault(format!("`{other}` is no op; known are lte, gte, lt, gt"));
            op.needs("say which side of the limit is good");
            value.needs("set the limit once `op` is clear");
            None
        }
        None => {
            if value.is_there() {
                value.fault("there is a limit but no `op`: which side of it is good?");
                value.needs("say which side of the limit is good");
            }
            None
        }
    }
}

/// A ratio has no limit; what stands there is said to mean nothing, or the wrong thing.
fn no_limit(objective: &Node<'_>) -> Option<Limit> {
    let op = objective.get("op");
    match op.text().as_deref() {
        Some(written @ ("lt" | "lte")) => {
            op.fault(format!("`op: {written}` is wrong for a ratio: it is good when it is above its target"));
            op.ignored("a ratio is good when it is above its target");
        }
        Some(_) | None => op.ignored("a ratio is good when it is above its target"),
    }
    objective.get("value").ignored("a ratio has no limit");
    None
}

/// Time slices around what is measured.
fn slices(draft: &mut Draft, spec: &Node<'_>, objective: &Node<'_>, annotations: &Node<'_>) {
    let method = spec.get("budgetingMethod");
    let (target, window) = (objective.get("timeSliceTarget"), objective.get("timeSliceWindow"));
    match method.text().as_deref() {
        Some("Timeslices") => method.mapped("slices"),
        Some("RatioTimeslices") => {
            method.fault(
                "a mean of the slices' ratios is not offered: it says the same of a minute with one event and of one with a million",
            );
            method.needs("the ratio of sums is taken instead");
            window.needs("the ratio of sums has no slices");
            return;
        }
        Some("Occurrences") | None => {
            method.mapped("sli");
            for unused in [&target, &window] {
                unused.ignored("occurrences have no slices");
            }
            return;
        }
        Some(other) => {
            method.fault(format!("there is no budgeting method `{other}`"));
            method.needs("occurrences are taken");
            return;
        }
    }
    let slice = match window.text() {
        None => Span::MINUTE,
        Some(text) => match super::quantity::length(&text) {
            Ok((span, _)) => {
                window.mapped("slices");
                span
            }
            Err(why) => {
                window.fault(why);
                window.needs("a minute is taken");
                Span::MINUTE
            }
        },
    };
    let Some(text) = target.text() else {
        objective.fault("time slices need a timeSliceTarget; none is given, so occurrences are counted");
        draft.notes.push("needs mapping: slices without a target".to_owned());
        return;
    };
    match share(&text, Scale::Share) {
        Ok((target_ppm, odd)) => {
            target.mapped("slices");
            odd.into_iter().for_each(|odd| target.fault(odd));
            let empty = match annotations.get(&key("empty")).text().as_deref() {
                Some("good") => EmptySlice::Good,
                Some("bad") => EmptySlice::Bad,
                Some(_) | None => EmptySlice::Skip,
            };
            let inner = Box::new(draft.slo.sli.clone());
            draft.slo.sli = Sli::Slices { inner, slice, target_ppm, empty };
        }
        Err(why) => {
            target.fault(why);
            target.needs("set a target for the slices; occurrences are counted");
        }
    }
}
