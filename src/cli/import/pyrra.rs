//! Pyrra: `ServiceLevelObjective`s of `pyrra.dev/v1alpha1`.

use super::binding;
use super::document::{Document, Node};
use super::draft::Draft;
use super::quantity::{Scale, length};
use crate::domain::fraction::Fraction;
use crate::domain::rule::{NoData, Op, Severity, SloWindow};
use crate::domain::time::Span;

/// Labels with this prefix reach Pyrra's alerts.
const PREFIX: &str = "pyrra.dev/";

/// Whether a document is of Pyrra.
pub fn is_it(top: &Node<'_>) -> bool {
    top.get("apiVersion").text().unwrap_or_default().starts_with(PREFIX)
}

/// Reads every Pyrra document; a `List` stands for its items.
pub fn import(documents: &[&Document]) -> Vec<Draft> {
    let mut drafts = Vec::new();
    for document in documents {
        let top = document.top();
        for key in ["apiVersion", "kind"] {
            top.get(key).mapped("the format");
        }
        match top.get("kind").text().as_deref() {
            Some("ServiceLevelObjective") => drafts.extend(objective(&top)),
            Some("ServiceLevelObjectiveList") => {
                top.get("metadata").ignored("it belongs to the Kubernetes object");
                for item in top.get("items").items() {
                    for key in ["apiVersion", "kind"] {
                        item.get(key).mapped("the format");
                    }
                    drafts.extend(objective(&item));
                }
            }
            kind => top.fault(format!("Pyrra has no kind `{}`", kind.unwrap_or_default())),
        }
    }
    drafts
}

fn objective(top: &Node<'_>) -> Option<Draft> {
    let metadata = top.get("metadata");
    metadata.ignored("it belongs to the Kubernetes object");
    let Some(name) = metadata.get("name").text() else {
        metadata.fault("the SLO has no name");
        top.needs("give it a name");
        return None;
    };
    let mut draft = Draft::new(&name, top.file());
    metadata.get("name").mapped("the name");
    if let Some(namespace) = metadata.get("namespace").text() {
        draft.qualifier = namespace;
    }
    for (key, value) in metadata.get("labels").entries() {
        if let Some(label) = key.strip_prefix(PREFIX) {
            draft.label(label, &value);
        }
    }
    let annotations = metadata.get("annotations");
    for (key, value) in annotations.entries() {
        if let Some(name) = key.strip_prefix(PREFIX) {
            draft.label(name, &value);
        }
    }
    top.get("status").ignored("it is the state of a cluster");

    let spec = top.get("spec");
    draft.describe(&spec.get("description"));
    draft.objective(&spec.get("target"), Scale::Percent);
    spec.get("partial_response_strategy").ignored("it is a setting of Thanos");
    window(&mut draft, &spec.get("window"));
    indicator(&mut draft, &spec.get("indicator"), &annotations);
    alerting(&mut draft, &spec.get("alerting"));
    Some(draft)
}

fn window(draft: &mut Draft, node: &Node<'_>) {
    let Some(text) = node.text() else {
        node.fault("there is no window; 30d is taken");
        return;
    };
    match length(&text) {
        Ok((span, odd)) => {
            node.mapped("window");
            let odd = odd.or_else(|| {
                (span < Span::HOUR).then(|| format!("`{text}` is {span}: a window of minutes is hardly meant, `m` is no month"))
            });
            if let Some(odd) = odd {
                draft.notes.push(odd.clone());
                node.fault(odd);
            }
            draft.slo.window = SloWindow::Rolling(if span < Span::HOUR { Span::days(30) } else { span });
        }
        Err(why) => {
            node.fault(why);
            node.needs("give a window like 28d; 30d is taken");
        }
    }
}

fn indicator(draft: &mut Draft, node: &Node<'_>, annotations: &Node<'_>) {
    let kinds = ["ratio", "latency", "latencyNative", "bool_gauge"];
    let there: Vec<Node<'_>> = kinds.iter().map(|kind| node.get(kind)).filter(Node::is_there).collect();
    if there.len() > 1 {
        node.fault("there are several indicators; Pyrra takes one");
    }
    let Some(first) = there.first() else {
        node.fault("there is no indicator");
        draft.notes.push("needs mapping: the source has no indicator".to_owned());
        return;
    };
    if let Some(bound) = binding::annotated(annotations) {
        match bound {
            Ok(sli) => {
                node.mapped("sli, by the binding in the annotations");
                (draft.slo.sli, draft.slo.enabled) = (sli, true);
            }
            Err(why) => annotations.fault(why),
        }
    }
    let limit = latency(node);
    if !draft.slo.enabled {
        draft.unbound(node, limit.map(|value| (value, true)));
    }
    for item in first.get("grouping").items() {
        let Some(name) = item.text() else { continue };
        if binding::is_dimension(&draft.slo.sli, &name) {
            draft.slo.by.push(name);
            item.mapped("by");
        } else {
            item.needs(format!("`{name}` is no dimension; add one to `by` that tells the same apart"));
        }
    }
}

/// The limit in milliseconds, from the bucket or from the latency itself.
fn latency(node: &Node<'_>) -> Option<f64> {
    let native = node.get("latencyNative").get("latency");
    if let Some(text) = native.text() {
        match length(&text) {
            Ok((span, _)) => return Some(span.millis() as f64),
            Err(why) => native.fault(why),
        }
    }
    let success = node.get("latency").get("success").get("metric");
    let query = success.text()?;
    let bound = query.split("le=\"").nth(1).and_then(|rest| rest.split('"').next());
    let seconds = bound.and_then(|bound| bound.parse::<f64>().ok()).filter(|seconds| seconds.is_finite() && *seconds > 0.0);
    if seconds.is_none() {
        success.fault("the query names no bucket with `le`, so the limit is not known");
    }
    // Prometheus counts seconds; three decimals of a millisecond are more than any bucket has.
    seconds.map(|seconds| (seconds * 1e6).round() / 1e3)
}

fn alerting(draft: &mut Draft, node: &Node<'_>) {
    for key in ["name", "absentName"] {
        node.get(key).ignored("alerts have the name of their SLO");
    }
    node.get("absent").mapped("no_data");
    if node.get("absent").flag() != Some(false) {
        draft.slo.no_data = NoData::Alert;
    }
    for key in ["disabled", "burnrates"] {
        node.get(key).mapped("alert");
    }
    if node.get("disabled").flag() == Some(true) || node.get("burnrates").flag() == Some(false) || draft.impossible.is_some() {
        return;
    }
    // Pyrra's tiers are shares of the window, as they are for 28 days.
    let minutes = draft.slo.window.nominal().millis() / 60_000;
    let share = |parts: i64| Span::minutes(((minutes as f64 / parts as f64).round() as i64).max(1));
    let hour = 28 * 24;
    let tiers = [
        (Severity::Page, share(hour), share(hour * 12), 14, share(hour * 30)),
        (Severity::Page, share(hour / 6), share(hour * 2), 7, share(hour * 4)),
        (Severity::Ticket, share(28), share(hour / 2), 2, share(hour)),
        (Severity::Ticket, share(7), share(hour / 6), 1, share(hour / 3)),
    ];
    for (severity, long, short, factor, pending) in tiers {
        if let Err(why) = draft.tier(severity, long, short, Fraction::whole(factor), Op::Above, pending) {
            node.fault(format!("a {severity} tier is left out: {why}"));
        }
    }
}
