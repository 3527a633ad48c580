//! OpenSLO v1, v1alpha and v2alpha, and Nobl9's manifests, which share their shape.

use super::binding;
use super::document::{Document, Node};
use super::draft::Draft;
use super::openslo_alert;
use super::openslo_window::window;
use super::quantity::{Scale, objective as share, positive};
use crate::domain::cell::Limit;
use crate::domain::fraction::Fraction;
use crate::domain::rule::{BudgetPolicy, Combine, EmptySlice, NoData, Severity, Sli};
use crate::domain::time::Span;

/// Everything among the files that others refer to by name.
pub struct Registry<'a> {
    things: Vec<(String, String, Node<'a>)>,
}

impl<'a> Registry<'a> {
    /// The thing of a kind and name.
    pub fn find(&self, kind: &str, name: &str) -> Option<Node<'a>> {
        self.things.iter().find(|(k, n, _)| k == kind && n == name).map(|(_, _, node)| node.clone())
    }
}

/// Whether a document is of OpenSLO or Nobl9.
pub fn is_it(top: &Node<'_>) -> bool {
    let api = top.get("apiVersion").text().unwrap_or_default();
    ["openslo/v1", "openslo/v1alpha", "openslo.com/v1", "openslo.com/v2alpha", "n9/v1alpha"].contains(&api.as_str())
}

/// Reads every document, SLOs in their order.
pub fn import(documents: &[&Document]) -> Vec<Draft> {
    let mut registry = Registry { things: Vec::new() };
    for document in documents {
        let top = document.top();
        let (kind, name) = (top.get("kind").text().unwrap_or_default(), top.get("metadata").get("name").text().unwrap_or_default());
        thing(&top, &kind);
        openslo_alert::look_for_wrong_ops(&top);
        if kind != "SLO" && !name.is_empty() && registry.find(&kind, &name).is_some() {
            top.fault(format!("there is another {kind} `{name}` before this one, which is taken"));
        }
        registry.things.push((kind, name, top));
    }
    let mut drafts = Vec::new();
    for (kind, _, top) in &registry.things {
        if kind == "SLO" {
            slo(top, &registry, &mut drafts);
        }
    }
    drafts
}

/// Says of things that are no SLO what becomes of them; using them says it more closely.
fn thing(top: &Node<'_>, kind: &str) {
    match kind {
        "SLO" => {}
        "Service" => top.ignored("a service exists where an SLO names it"),
        "SLI" => top.needs("no SLO among the files uses this indicator"),
        "AlertPolicy" | "AlertCondition" => top.needs("no SLO among the files uses it"),
        "AlertNotificationTarget" | "AlertMethod" => {
            top.needs("write a receiver of this name and a route to it; addresses and keys stay out of rules, in secrets");
        }
        "DataSource" | "Agent" | "Direct" => top.needs("burnwatch measures by itself; a source for `external` stands in burnwatch.toml"),
        "BudgetAdjustment" => top.needs("write maintenance(…) with budget: \"exclude\" for the same times"),
        "AlertSilence" => top.needs("write silence(…) with an end, if it is still wanted"),
        "Alert" | "Annotation" | "Report" => top.ignored("it is a record, not a rule"),
        _ => top.fault(format!("there is no kind `{kind}` in this format")),
    }
    for key in ["apiVersion", "kind"] {
        top.get(key).mapped("the format");
    }
}

fn slo(top: &Node<'_>, registry: &Registry<'_>, drafts: &mut Vec<Draft>) {
    let metadata = top.get("metadata");
    let Some(name) = metadata.get("name").text() else {
        metadata.fault("the SLO has no name");
        top.needs("give it a name");
        return;
    };
    let spec = top.get("spec");
    let objectives = spec.get("objectives").items();
    if objectives.is_empty() {
        spec.get("objectives").fault("there is no objective");
    }
    if objectives.len() > 1 {
        spec.get("objectives").fault(format!("there are {} objectives; each becomes an SLO of its own", objectives.len()));
    }
    for (at, objective) in objectives.iter().enumerate() {
        let label = objective.get("displayName").text().or_else(|| objective.get("name").text());
        let full = match &label {
            Some(label) if at > 0 => format!("{name}-{}", slug(label)),
            None if at > 0 => format!("{name}-{}", at + 1),
            Some(_) | None => name.clone(),
        };
        let mut draft = Draft::new(&full, top.file());
        metadata.get("name").mapped("the name");
        common(&mut draft, top);
        for key in ["displayName", "name"] {
            if let Some(label) = objective.get(key).text() {
                draft.notes.push(format!("objective: {label}"));
                objective.get(key).mapped("a comment");
            }
        }
        objective.get("primary").ignored("every objective is an SLO of its own");
        target(&mut draft, objective);
        window(&mut draft, &spec, &metadata.get("annotations").get(&key("window")));
        indicator(&mut draft, top, objective, registry);
        by(&mut draft, &metadata.get("annotations"));
        openslo_alert::policies(&mut draft, top, registry);
        drafts.push(draft);
    }
}

fn slug(label: &str) -> String {
    let fine = |c: char| if c.is_alphanumeric() { c } else { '-' };
    let dashed: String = label.to_lowercase().chars().map(fine).collect();
    dashed.split('-').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("-").chars().take(40).collect()
}

fn common(draft: &mut Draft, top: &Node<'_>) {
    let (metadata, spec) = (top.get("metadata"), top.get("spec"));
    draft.service(&spec.either(&["serviceRef", "service"]));
    draft.qualifier.clone_from(&draft.slo.service);
    draft.describe(&spec.get("description"));
    let title = metadata.get("displayName");
    if let Some(text) = title.text() {
        if draft.slo.description.is_empty() {
            draft.describe(&title);
        } else {
            draft.notes.push(text);
            title.mapped("a comment");
        }
    }
    metadata.get("project").ignored("projects have no place in rules");
    let annotations = metadata.get("annotations");
    annotations.ignored("annotations are for other tools");
    if annotations.get(&key("labels")).text().as_deref() == Some("verbatim") {
        // Of our own export: owner, tier and links stand in annotations.
        for (name, value) in metadata.get("labels").entries() {
            draft.slo.labels.insert(name, value.text().unwrap_or_default());
        }
        metadata.get("labels").mapped("labels");
    } else {
        draft.labels(&metadata.get("labels"));
        // Slogen keeps labels beside the specification.
        draft.labels(&top.get("labels"));
    }
    own_fields(draft, &annotations);
    top.get("createView").ignored("views are made by the other tool");
    top.get("fields").needs("fields of log lines have no place in rules; `by` splits an SLO by dimensions");
    for (at, link) in spec.get("attachments").items().iter().enumerate() {
        match link.get("url").text() {
            Some(url) if at == 0 && draft.slo.dashboard.is_none() => {
                draft.slo.dashboard = Some(url);
                link.mapped("dashboard");
            }
            _ => link.needs("an SLO has one `dashboard` and one `runbook`"),
        }
    }
    spec.get("anomalyConfig").needs("alerts on missing data are set by `no_data`");
}

fn key(name: &str) -> String {
    format!("{}{name}", binding::PREFIX)
}

/// Fields of burnwatch that other formats do not have, from annotations `burnwatch.dev/…`.
fn own_fields(draft: &mut Draft, annotations: &Node<'_>) {
    for (name, node) in annotations.entries() {
        let (Some(name), Some(text)) = (name.strip_prefix(binding::PREFIX), node.text()) else { continue };
        let slo = &mut draft.slo;
        let whole = || text.parse::<u64>().ok();
        let fine = match name {
            "owner" => set(&mut slo.owner, Some(text.clone())),
            "runbook" => set(&mut slo.runbook, Some(Some(text.clone()))),
            "dashboard" => set(&mut slo.dashboard, Some(Some(text.clone()))),
            "tier" => set(&mut slo.tier, Some(Some(text.clone()))),
            "min_events" => set(&mut slo.min_events, whole()),
            "min_bad" => set(&mut slo.min_bad, whole().map(Some)),
            "confidence" => set(&mut slo.confidence, text.parse().ok().filter(|share| (0.5..1.0).contains(share)).map(Some)),
            "traffic_corrected" => set(&mut slo.traffic_corrected, node.flag()),
            "no_data" => set(
                &mut slo.no_data,
                [("keep", NoData::Keep), ("ok", NoData::Ok), ("alert", NoData::Alert)]
                    .into_iter()
                    .find(|(name, _)| *name == text)
                    .map(|(_, value)| value),
            ),
            "stop_below" => {
                let stop_below = positive(&text).ok().or_else(|| text.parse().ok()).filter(|share: &Fraction| *share < Fraction::whole(1));
                set(&mut slo.budget_policy, stop_below.map(|stop_below| Some(BudgetPolicy { stop_below, stop_on: None })))
            }
            // Read with what they belong to.
            "stop_on" | "labels" | "by" | "empty" | "metric" | "where" | "limit" | "below" | "enabled" | "window" => true,
            _ => false,
        };
        if fine {
            node.mapped(name.to_owned());
        } else {
            node.fault(format!("`{text}` is no value for `{name}`"));
            node.needs(format!("set `{name}` in the rules"));
        }
    }
    let stop_on = annotations.get(&key("stop_on")).text().and_then(|text| Severity::parse(&text));
    if let Some(policy) = &mut draft.slo.budget_policy {
        policy.stop_on = stop_on;
    }
}

fn set<T>(field: &mut T, value: Option<T>) -> bool {
    value.map(|value| *field = value).is_some()
}

fn target(draft: &mut Draft, objective: &Node<'_>) {
    let (fraction, percent) = (objective.get("target"), objective.get("targetPercent"));
    if fraction.is_there() && percent.is_there() {
        percent.fault("target and targetPercent are both given; target is taken");
        percent.needs("keep one of the two");
    }
    if percent.is_there() && !fraction.is_there() {
        draft.objective(&percent, Scale::Percent);
    } else {
        draft.objective(&fraction, Scale::Share);
    }
}

/// Finds what is measured: in the objective, in the SLO, or where it refers to.
fn indicator(draft: &mut Draft, top: &Node<'_>, objective: &Node<'_>, registry: &Registry<'_>) {
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

/// Groups, where the metric has the dimension.
fn by(draft: &mut Draft, annotations: &Node<'_>) {
    let node = annotations.get(&key("by"));
    for name in node.text().unwrap_or_default().split(',').map(str::trim).filter(|name| !name.is_empty()) {
        if binding::is_dimension(&draft.slo.sli, name) {
            draft.slo.by.push(name.to_owned());
        } else {
            node.fault(format!("`{name}` is no dimension of what is measured"));
        }
    }
}
