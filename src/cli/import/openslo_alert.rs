//! Alert policies of OpenSLO and Nobl9, and Slogen's burn rates, as tiers.

use super::binding;
use super::document::Node;
use super::draft::Draft;
use super::openslo::Registry;
use super::quantity::{length, positive};
use crate::domain::fraction::Fraction;
use crate::domain::rule::{NoData, Op, Place, Severity, Tier};
use crate::domain::time::Span;

/// Adds the tiers of every policy that the SLO names or holds.
pub fn policies(draft: &mut Draft, top: &Node<'_>, registry: &Registry<'_>) {
    for entry in top.get("spec").get("alertPolicies").items() {
        if entry.get("spec").is_there() {
            for key in ["apiVersion", "kind", "metadata"] {
                entry.get(key).mapped("alert");
            }
            policy(draft, &entry, registry);
            continue;
        }
        let named = entry.either(&["alertPolicyRef", "name"]);
        let Some(name) = entry.text().or_else(|| named.text()) else {
            entry.fault("this is no alert policy and names none");
            continue;
        };
        match registry.find("AlertPolicy", &name) {
            Some(found) => {
                entry.mapped("alert");
                found.needs("this importer does not know the field");
                for key in ["apiVersion", "kind"] {
                    found.get(key).mapped("the format");
                }
                described(&found.get("metadata"));
                policy(draft, &found, registry);
            }
            None => {
                entry.fault(format!("there is no AlertPolicy `{name}` among the files"));
                entry.needs("import the file with the policy as well, or write `alert: burn_rate()`");
            }
        }
    }
    slogen(draft, &top.get("alerts"));
}

/// Names a wrong `op` also where no SLO uses the condition.
pub fn look_for_wrong_ops(top: &Node<'_>) {
    let inline = top.get("spec").get("conditions").items();
    for holder in std::iter::once(top.clone()).chain(inline) {
        let op = holder.get("spec").get("condition").get("op");
        if let Some(wrong @ ("lt" | "lte")) = op.text().as_deref() {
            op.fault(wrong_op(wrong));
        }
    }
}

fn wrong_op(op: &str) -> String {
    format!("`op: {op}` is wrong: it would alert while the budget does not burn")
}

fn described(metadata: &Node<'_>) {
    metadata.ignored("a tier has no name");
}

fn policy(draft: &mut Draft, policy: &Node<'_>, registry: &Registry<'_>) {
    let spec = policy.get("spec");
    spec.get("description").ignored("a tier has no description");
    let targets = spec.either(&["notificationTargets", "alertMethods"]);
    for target in targets.items() {
        let name = [target.get("targetRef"), target.get("metadata").get("name")].iter().find_map(Node::text);
        if let Some(name) = name {
            let note = format!("the source tells `{name}`: write a receiver and a route");
            if !draft.notes.contains(&note) {
                draft.notes.push(note);
            }
        }
        target.needs("write a receiver of this name and a route to it");
    }
    let breaching = spec.get("alertWhenBreaching");
    breaching.mapped("alert");
    let no_data = spec.get("alertWhenNoData");
    no_data.mapped("no_data");
    if no_data.flag() == Some(true) {
        draft.slo.no_data = NoData::Alert;
    }
    let resolved = spec.get("alertWhenResolved");
    match resolved.flag() {
        Some(false) => resolved.needs("set `send_resolved: false` on the receiver"),
        Some(true) | None => resolved.mapped("receivers tell of the end unless they are told not to"),
    }
    if breaching.flag() == Some(false) {
        spec.get("conditions").ignored("the policy does not alert when the SLO is breached");
        return;
    }
    let cool_down = spec.get("coolDown");
    let keep_firing = cool_down.text().and_then(|text| length(&text).ok()).map_or(Span::ZERO, |(span, _)| span);
    cool_down.mapped("keep_firing");
    let first = draft.slo.tiers.len();
    if spec.get("conditions").items().iter().any(|condition| condition.get("measurement").is_there()) {
        nobl9(draft, &spec);
    } else {
        for condition in spec.get("conditions").items() {
            self::condition(draft, &condition, registry);
        }
    }
    for tier in &mut draft.slo.tiers[first..] {
        if keep_firing > tier.keep_firing {
            tier.keep_firing = keep_firing;
        }
    }
}

/// One condition of OpenSLO: a burn rate over one window.
fn condition(draft: &mut Draft, entry: &Node<'_>, registry: &Registry<'_>) {
    let mut holder = entry.clone();
    if let Some(name) = entry.get("conditionRef").text() {
        match registry.find("AlertCondition", &name) {
            Some(found) => {
                entry.mapped("alert");
                found.needs("this importer does not know the field");
                holder = found;
            }
            None => {
                entry.fault(format!("there is no AlertCondition `{name}` among the files"));
                entry.needs("import the file with the condition as well");
                return;
            }
        }
    }
    for key in ["apiVersion", "kind"] {
        holder.get(key).mapped("the format");
    }
    described(&holder.get("metadata"));
    let spec = holder.get("spec");
    spec.get("description").ignored("a tier has no description");
    let severity = severity(&spec.get("severity"));
    let inner = spec.get("condition");
    if inner.get("kind").text().as_deref() != Some("burnrate") {
        let kind = inner.get("kind").text().unwrap_or_default();
        inner.fault(format!("a condition of kind `{kind}` is no burn rate"));
        inner.needs("write a tier with a burn factor, or a free-form rule");
        return;
    }
    inner.get("kind").mapped("alert");
    let op = inner.get("op");
    let above = match op.text().as_deref() {
        Some("gt") => Op::Above,
        Some("gte") => Op::AtLeast,
        None => {
            inner.fault("the condition has no op; gt is taken");
            Op::Above
        }
        Some(other) => {
            op.fault(wrong_op(other));
            inner.needs("write the tier with `>`");
            return;
        }
    };
    op.mapped("alert");
    let own = |name: &str| holder.get("metadata").get("annotations").get(&format!("{}{name}", binding::PREFIX));
    // Our own export has the exact factor beside the rounded one.
    let factor = factor(&own("factor")).or_else(|| factor(&inner.get("threshold")));
    inner.get("threshold").mapped("alert");
    let long = span(&inner.get("lookbackWindow"));
    let pending = span(&inner.get("alertAfter")).unwrap_or_default();
    let (Some(factor), Some(long)) = (factor, long) else {
        inner.fault("a burn rate needs a threshold and a lookbackWindow");
        inner.needs("write the tier by hand");
        return;
    };
    if let Some(short) = span(&own("short")) {
        // Of our own export: it was possible where it comes from, whatever its buckets.
        let keep_firing = span(&own("keep_firing")).unwrap_or_default();
        draft.slo.tiers.push(Tier { place: Place::default(), severity, long, short, factor, op: above, pending, keep_firing });
    } else {
        add(draft, &inner, severity, (long, long), factor, above, pending);
    }
}

/// Conditions of Nobl9, which must hold together.
fn nobl9(draft: &mut Draft, spec: &Node<'_>) {
    let severity = severity(&spec.get("severity"));
    let conditions = spec.get("conditions").items();
    let mut windows = Vec::new();
    let mut factors: Vec<(Fraction, Op)> = Vec::new();
    for condition in &conditions {
        let measurement = condition.get("measurement").text().unwrap_or_default();
        let over = condition.either(&["alertingWindow", "lastsFor"]);
        let op = match condition.get("op").text().as_deref() {
            Some("gt") => Op::Above,
            Some("gte") | None => Op::AtLeast,
            Some(other) => {
                condition.get("op").fault(wrong_op(other));
                condition.needs("write a tier by hand");
                return;
            }
        };
        let (window, factor) = (span(&over), factor(&condition.get("value")));
        let (Some(window), Some(factor), "averageBurnRate") = (window, factor, measurement.as_str()) else {
            for condition in &conditions {
                condition.needs("this measurement is no burn rate over a window; write a tier, or a rule with q.budget and q.burn");
            }
            condition.fault(format!("`{measurement}` has no tier that means the same"));
            return;
        };
        windows.push(window);
        factors.push((factor, op));
    }
    let alike = factors.windows(2).all(|pair| pair[0] == pair[1]);
    let (Some((factor, op)), true, 1..=2) = (factors.first(), alike, windows.len()) else {
        spec.get("conditions").fault("these conditions together are no pair of windows with one burn factor");
        spec.get("conditions").needs("write tiers by hand");
        return;
    };
    spec.get("conditions").mapped("alert");
    let (Some(long), Some(short)) = (windows.iter().max(), windows.iter().min()) else { return };
    add(draft, &spec.get("conditions"), severity, (*long, *short), *factor, *op, Span::ZERO);
}

/// Slogen's `alerts.burnRate`: pairs of windows, each with its own limit.
fn slogen(draft: &mut Draft, alerts: &Node<'_>) {
    for rate in alerts.get("burnRate").items() {
        let (long, short) = (span(&rate.get("longWindow")), span(&rate.get("shortWindow")));
        let (factor, other) = (factor(&rate.get("longLimit")), factor(&rate.get("shortLimit")));
        let words: Vec<String> = rate
            .get("notifications")
            .items()
            .iter()
            .flat_map(|told| told.get("triggerFor").items())
            .filter_map(|word| word.text())
            .collect();
        for told in rate.get("notifications").items() {
            told.needs("write a receiver and a route to it");
            told.get("triggerFor").mapped("the severity of the tier");
        }
        let (Some(long), Some(short), Some(factor)) = (long, short, factor) else {
            rate.fault("a burn rate needs longWindow, shortWindow and longLimit");
            continue;
        };
        if other.is_some_and(|other| other != factor) {
            rate.get("shortLimit").fault("the two windows have different limits; that of the long one is taken for both");
        }
        let severity = if words.iter().any(|word| word == "Critical") { Severity::Page } else { Severity::Ticket };
        add(draft, &rate, severity, (long, short), factor, Op::Above, Span::ZERO);
    }
}

fn add(draft: &mut Draft, at: &Node<'_>, severity: Severity, (long, short): (Span, Span), factor: Fraction, op: Op, pending: Span) {
    if draft.impossible.is_some() {
        return;
    }
    // Two policies may say the same.
    let same = |tier: &Tier| {
        (tier.severity, tier.long, tier.short, tier.factor, tier.op, tier.pending) == (severity, long, short, factor, op, pending)
    };
    if draft.slo.tiers.iter().any(same) {
        return;
    }
    if let Err(why) = draft.tier(severity, long, short, factor, op, pending) {
        at.fault(format!("a {severity} tier of `{}` is left out: {why}", draft.slo.name));
        at.needs(format!("it is no possible tier: {why}"));
    }
}

fn severity(node: &Node<'_>) -> Severity {
    let text = node.text().unwrap_or_default();
    let severity = match text.to_lowercase().as_str() {
        "page" | "critical" | "high" | "urgent" | "fatal" | "p1" | "sev1" => Severity::Page,
        "ticket" | "warning" | "medium" | "low" | "minor" | "p2" | "p3" | "sev2" | "sev3" => Severity::Ticket,
        "info" | "informational" => Severity::Info,
        _ => {
            node.fault(format!("`{text}` is no severity that is known; ticket is taken"));
            Severity::Ticket
        }
    };
    node.mapped(format!("{severity} tier"));
    severity
}

fn factor(node: &Node<'_>) -> Option<Fraction> {
    let text = node.text()?;
    match positive(&text) {
        Ok(factor) => {
            node.mapped("alert");
            Some(factor)
        }
        Err(why) => {
            node.fault(why);
            None
        }
    }
}

fn span(node: &Node<'_>) -> Option<Span> {
    let text = node.text()?;
    // No waiting at all is written as 0m.
    if text.trim_start_matches('0').chars().all(|c| c.is_ascii_lowercase()) && text.starts_with('0') {
        node.mapped("alert");
        return Some(Span::ZERO);
    }
    match length(&text) {
        Ok((span, odd)) => {
            node.mapped("alert");
            odd.into_iter().for_each(|odd| node.fault(odd));
            Some(span)
        }
        Err(why) => {
            node.fault(why);
            None
        }
    }
}
