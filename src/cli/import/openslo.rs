//! OpenSLO v1, v1alpha and v2alpha, and Nobl9's manifests, which share their shape.

use super::binding;
use super::document::{Document, Node};
use super::draft::Draft;
use super::openslo_alert;
use super::openslo_sli::indicator;
use super::openslo_window::window;
use super::quantity::{Scale, positive};
use crate::domain::fraction::Fraction;
use crate::domain::rule::{BudgetPolicy, NoData, Severity};

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

/// The annotation that holds a field of ours.
pub(super) fn key(name: &str) -> String {
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
