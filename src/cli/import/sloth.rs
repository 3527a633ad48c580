//! Sloth: `prometheus/v1` files, the Kubernetes form of the same, and catalogues of alert windows.

use super::binding;
use super::document::{Document, Node};
use super::draft::{Draft, preset_fits};
use super::quantity::{Scale, length, positive};
use super::script::Alerting;
use crate::domain::fraction::Fraction;
use crate::domain::rule::{Op, Severity, SloWindow};
use crate::domain::time::Span;

/// Whether a document is of Sloth.
pub fn is_it(top: &Node<'_>) -> bool {
    let version = top.get("version").text().unwrap_or_default();
    let api = top.get("apiVersion").text().unwrap_or_default();
    version == "prometheus/v1" || api.starts_with("sloth.slok.dev/")
}

/// A catalogue of alert windows that stands among the files.
struct Catalogue {
    period: Span,
    tiers: Vec<(Severity, Span, Span, Fraction)>,
}

/// Reads every Sloth document.
pub fn import(documents: &[&Document]) -> Vec<Draft> {
    let catalogue = catalogue(documents);
    let mut drafts = Vec::new();
    for document in documents {
        let top = document.top();
        match top.get("kind").text().as_deref() {
            Some("AlertWindows") => {}
            Some("PrometheusServiceLevel") => {
                top.get("apiVersion").mapped("the format");
                top.get("kind").mapped("the format");
                kubernetes(&top.get("metadata"));
                top.get("status").ignored("it is the state of a cluster");
                service_level(&top.get("spec"), catalogue.as_ref(), &mut drafts);
            }
            Some(kind) => top.fault(format!("Sloth has no kind `{kind}`")),
            None => {
                top.get("version").mapped("the format");
                service_level(&top, catalogue.as_ref(), &mut drafts);
            }
        }
    }
    drafts
}

/// The object's own name and labels, which say nothing about SLOs.
pub fn kubernetes(metadata: &Node<'_>) {
    metadata.ignored("it belongs to the Kubernetes object");
}

fn service_level(spec: &Node<'_>, catalogue: Option<&Catalogue>, drafts: &mut Vec<Draft>) {
    spec.either(&["slo_plugins", "sloPlugins"]).needs("plugins of Sloth have no place in rules");
    if spec.get("slos").items().is_empty() {
        spec.fault("there is no SLO in it");
    }
    for slo in spec.get("slos").items() {
        let Some(name) = slo.get("name").text() else {
            slo.fault("the SLO has no name");
            slo.needs("give it a name");
            continue;
        };
        let mut draft = Draft::new(&name, slo.file());
        slo.get("name").mapped("the name");
        draft.service(&spec.get("service"));
        draft.qualifier.clone_from(&draft.slo.service);
        draft.describe(&slo.get("description"));
        draft.objective(&slo.get("objective"), Scale::Percent);
        // The SLO's own labels win over those of the file.
        draft.labels(&spec.get("labels"));
        draft.labels(&slo.get("labels"));
        slo.get("plugins").needs("plugins of Sloth have no place in rules");
        sli(&mut draft, &slo.get("sli"));
        window(&mut draft, catalogue);
        alerting(&mut draft, &slo.get("alerting"), catalogue);
        drafts.push(draft);
    }
}

fn sli(draft: &mut Draft, sli: &Node<'_>) {
    let plugin = sli.get("plugin");
    if plugin.get("id").text().as_deref() == Some(binding::NAME) {
        plugin.get("id").mapped("the binding");
        match binding::flat(&plugin.get("options")) {
            Ok(sli) => {
                plugin.get("options").mapped("sli");
                (draft.slo.sli, draft.slo.enabled) = (sli, true);
            }
            Err(why) => {
                plugin.fault(why);
                draft.unbound(sli, None);
            }
        }
        return;
    }
    if sli.entries().iter().filter(|(_, kind)| kind.is_there()).count() > 1 {
        sli.fault("there are several indicators; Sloth takes one");
    }
    if !sli.is_there() {
        sli.fault("there is no indicator");
    }
    draft.unbound(sli, None);
}

fn window(draft: &mut Draft, catalogue: Option<&Catalogue>) {
    let period = catalogue.map_or(Span::days(30), |catalogue| catalogue.period);
    draft.slo.window = SloWindow::Rolling(period);
    if catalogue.is_none() {
        draft.notes.push("the source does not say its period; 30d is Sloth's default".to_owned());
    }
}

fn alerting(draft: &mut Draft, alerting: &Node<'_>, catalogue: Option<&Catalogue>) {
    alerting.get("name").ignored("alerts have the name of their SLO");
    draft.labels(&alerting.get("labels"));
    annotations(draft, &alerting.get("annotations"));
    let mut wanted = Vec::new();
    for (keys, severity) in [(["page_alert", "pageAlert"], Severity::Page), (["ticket_alert", "ticketAlert"], Severity::Ticket)] {
        let alert = alerting.either(&keys);
        let disabled = alert.get("disable").flag() == Some(true);
        alert.get("disable").mapped("alert");
        alert
            .get("labels")
            .needs(format!("labels of one severity have no place on an SLO; a route on `severity: \"{severity}\"` does the same"));
        annotations(draft, &alert.get("annotations"));
        if !disabled {
            wanted.push(severity);
        }
    }
    if draft.impossible.is_some() {
        return;
    }
    if catalogue.is_none() && wanted.len() == 2 {
        if preset_fits(&draft.slo.window, draft.slo.budget_ppm) {
            draft.alerting = Alerting::Preset;
        } else {
            alerting.fault("no burn rate of the usual tiers can be reached with this objective; there is no alert");
        }
        return;
    }
    let usual = Catalogue::usual();
    for (severity, long, short, share) in &catalogue.unwrap_or(&usual).tiers {
        let period = draft.slo.window.nominal();
        let factor = share.scale(period.millis().into(), long.millis().into());
        if wanted.contains(severity)
            && let Some(factor) = factor
            && let Err(why) = draft.tier(*severity, *long, *short, factor, Op::Above, Span::ZERO)
        {
            alerting.fault(format!("a {severity} tier is left out: {why}"));
        }
    }
}

fn annotations(draft: &mut Draft, node: &Node<'_>) {
    for (name, value) in node.entries() {
        match name.as_str() {
            "runbook" | "runbook_url" | "dashboard" | "dashboard_url" => draft.label(&name, &value),
            _ => value.ignored("titles and texts of alerts are made from what happened"),
        }
    }
}

impl Catalogue {
    /// The tiers of Sloth for 30 days.
    fn usual() -> Catalogue {
        let share = |share| Fraction::new(share, 100).expect("per cent are a fraction");
        Catalogue {
            period: Span::days(30),
            tiers: vec![
                (Severity::Page, Span::HOUR, Span::minutes(5), share(2)),
                (Severity::Page, Span::hours(6), Span::minutes(30), share(5)),
                (Severity::Ticket, Span::DAY, Span::hours(2), share(10)),
                (Severity::Ticket, Span::days(3), Span::hours(6), share(10)),
            ],
        }
    }
}

/// The catalogue among the files; the first one if there are several.
fn catalogue(documents: &[&Document]) -> Option<Catalogue> {
    let mut found: Option<Catalogue> = None;
    for document in documents {
        let top = document.top();
        if top.get("kind").text().as_deref() != Some("AlertWindows") {
            continue;
        }
        if found.is_some() {
            top.fault("there is another catalogue of alert windows before this one");
            top.needs("import one catalogue at a time");
            continue;
        }
        for key in ["apiVersion", "kind"] {
            top.get(key).mapped("the format");
        }
        top.get("metadata").ignored("it belongs to the Kubernetes object");
        found = read_catalogue(&top.get("spec"));
    }
    found
}

fn read_catalogue(spec: &Node<'_>) -> Option<Catalogue> {
    let period = span(&spec.get("sloPeriod"), "window")?;
    let mut tiers = Vec::new();
    for (key, severity) in [("page", Severity::Page), ("ticket", Severity::Ticket)] {
        for speed in ["quick", "slow"] {
            let tier = spec.get(key).get(speed);
            if !tier.is_there() {
                continue;
            }
            let (long, short) = (span(&tier.get("longWindow"), "alert"), span(&tier.get("shortWindow"), "alert"));
            let percent = tier.get("errorBudgetPercent");
            match percent.text().map(|text| positive(&text)) {
                Some(Ok(share)) => {
                    percent.mapped("alert");
                    let share = share.scale(1, 100);
                    if let (Some(long), Some(short), Some(share)) = (long, short, share) {
                        tiers.push((severity, long, short, share));
                    }
                }
                Some(Err(why)) => percent.fault(why),
                None => tier.fault("there is no errorBudgetPercent"),
            }
        }
    }
    Some(Catalogue { period, tiers })
}

fn span(node: &Node<'_>, to: &str) -> Option<Span> {
    match length(&node.text()?) {
        Ok((span, odd)) => {
            node.mapped(to);
            odd.into_iter().for_each(|odd| node.fault(odd));
            Some(span)
        }
        Err(why) => {
            node.fault(why);
            None
        }
    }
}
