//! `burnwatch export openslo`: the SLOs of a rules folder as OpenSLO, in a form that `import openslo` reads back as it was.
//! `burnwatch export alertmanager`: its routes, for Alertmanager's tools.
//!
//! What OpenSLO has no word for stands in annotations `burnwatch.dev/…`, and the metric sources are of type `burnwatch`.

use std::path::PathBuf;

use anyhow::Context as _;
use serde_json::{Map, Value, json};

use super::{binding, said};
use crate::cli::output;
use crate::domain::alertmanager;
use crate::domain::posted::RESOLVE_TIMEOUT;
use crate::domain::rule::{Combine, EmptySlice, NoData, Op, Period, Selector, Sli, Slo, SloWindow, Tier};
use crate::domain::time::Span;
use crate::rules;

/// `export openslo|alertmanager [PATH]`
#[derive(Debug, clap::Args)]
pub struct ExportArgs {
    /// What to write
    #[arg(value_enum)]
    pub format: ExportFormat,
    /// The rules folder
    #[arg(default_value = "rules")]
    pub path: PathBuf,
}

/// What can be exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum ExportFormat {
    /// OpenSLO v1
    Openslo,
    /// The routes, without addresses and secrets, as `amtool config routes test` reads them
    Alertmanager,
}

/// Prints the SLOs or the routes of a folder. Gives the exit code: 1 if the rules are bad or have no SLO.
pub fn run(args: &ExportArgs) -> anyhow::Result<i32> {
    let files = rules::read_folder(&args.path).with_context(|| format!("cannot read {}", args.path.display()))?;
    let loaded = rules::load(&files, &rules::Env::defaults());
    let Some(set) = loaded.set else {
        output::complain(rules::report(&loaded.problems).trim_end());
        return Ok(1);
    };
    if args.format == ExportFormat::Alertmanager {
        let timeout = set.resolve_timeout.unwrap_or(RESOLVE_TIMEOUT);
        said(output::say(alertmanager::config(&set, timeout).trim_end()))?;
        return Ok(0);
    }
    if set.slos.is_empty() {
        output::complain(&format!("error: there is no SLO in {}", args.path.display()));
        return Ok(1);
    }
    said(output::say(&openslo(&set.slos)))?;
    Ok(0)
}

/// SLOs as documents of OpenSLO v1.
pub fn openslo(slos: &[Slo]) -> String {
    let documents: Vec<String> =
        slos.iter().map(|slo| serde_yaml_ng::to_string(&document(slo)).expect("texts, numbers and maps are always YAML")).collect();
    documents.join("---\n")
}

fn document(slo: &Slo) -> Value {
    let (sli, slices) = match &slo.sli {
        Sli::Slices { inner, slice, target_ppm, empty } => (&**inner, Some((slice, target_ppm, empty))),
        sli => (sli, None),
    };
    let mut objective = Map::new();
    objective.insert("target".into(), share(1_000_000 - slo.budget_ppm));
    if let Sli::Within { limit, .. } = sli {
        objective.insert("op".into(), json!(if limit.inclusive { "lte" } else { "lt" }));
        objective.insert("value".into(), json!(limit.value));
    }
    if let Some((slice, target_ppm, _)) = slices {
        objective.insert("timeSliceTarget".into(), share(*target_ppm));
        objective.insert("timeSliceWindow".into(), json!(slice.to_string()));
    }
    let mut spec = Map::new();
    for (name, text) in [("description", &slo.description), ("service", &slo.service)] {
        if !text.is_empty() {
            spec.insert(name.into(), json!(text));
        }
    }
    spec.insert("indicator".into(), json!({ "metadata": { "name": slo.name }, "spec": indicator(sli) }));
    spec.insert("timeWindow".into(), json!([window(&slo.window)]));
    spec.insert("budgetingMethod".into(), json!(if slices.is_some() { "Timeslices" } else { "Occurrences" }));
    spec.insert("objectives".into(), json!([objective]));
    if !slo.tiers.is_empty() {
        let policies: Vec<Value> = slo.tiers.iter().enumerate().map(|(at, tier)| policy(&slo.name, at, tier)).collect();
        spec.insert("alertPolicies".into(), json!(policies));
    }
    let mut metadata = Map::new();
    metadata.insert("name".into(), json!(slo.name));
    if !slo.labels.is_empty() {
        metadata.insert("labels".into(), json!(slo.labels));
    }
    metadata.insert("annotations".into(), annotations(slo, slices.map(|(_, _, empty)| *empty)));
    json!({ "apiVersion": "openslo/v1", "kind": "SLO", "metadata": metadata, "spec": spec })
}

/// Parts per million as a fraction of one.
fn share(ppm: u32) -> Value {
    json!(f64::from(ppm) / 1e6)
}

fn annotations(slo: &Slo, empty: Option<EmptySlice>) -> Value {
    let mut own = Map::new();
    let mut put = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            own.insert(format!("{}{name}", binding::PREFIX), json!(value));
        }
    };
    put("labels", Some("verbatim".to_owned()));
    put("owner", Some(slo.owner.clone()).filter(|owner| !owner.is_empty()));
    put("by", Some(slo.by.join(",")).filter(|by| !by.is_empty()));
    put("min_events", Some(slo.min_events).filter(|least| *least > 0).map(|least| least.to_string()));
    put("min_bad", slo.min_bad.map(|least| least.to_string()));
    put("confidence", slo.confidence.map(|share| share.to_string()));
    put("traffic_corrected", slo.traffic_corrected.then(|| "true".to_owned()));
    put(
        "no_data",
        match slo.no_data {
            NoData::Keep => None,
            NoData::Ok => Some("ok".to_owned()),
            NoData::Alert => Some("alert".to_owned()),
        },
    );
    put("runbook", slo.runbook.clone());
    put("dashboard", slo.dashboard.clone());
    put("tier", slo.tier.clone());
    put("enabled", (!slo.enabled).then(|| "false".to_owned()));
    if let Some(policy) = &slo.budget_policy {
        put("stop_below", Some(policy.stop_below.to_string()));
        put("stop_on", policy.stop_on.map(|severity| severity.name().to_owned()));
    }
    put(
        "empty",
        match empty {
            Some(EmptySlice::Good) => Some("good".to_owned()),
            Some(EmptySlice::Bad) => Some("bad".to_owned()),
            Some(EmptySlice::Skip) | None => None,
        },
    );
    if let SloWindow::Rolling(span) = slo.window
        && span < Span::HOUR
    {
        // OpenSLO can say minutes, but who reads them takes `m` for a month.
        put("window", Some(span.to_string()));
    }
    Value::Object(own)
}

fn window(window: &SloWindow) -> Value {
    match window {
        SloWindow::Rolling(span) => json!({ "duration": span.to_string(), "isRolling": true }),
        SloWindow::Calendar { period, timezone } => {
            let duration = match period {
                Period::Day => "1d",
                Period::Week => "1w",
                Period::Month => "1M",
                Period::Quarter => "1Q",
                Period::Year => "1Y",
            };
            // A Monday and the first of a month, a quarter and a year at once.
            json!({ "duration": duration, "isRolling": false, "calendar": { "startTime": "2024-01-01 00:00:00", "timeZone": timezone } })
        }
    }
}

fn source(spec: Value) -> Value {
    json!({ "metricSource": { "type": binding::NAME, "spec": spec } })
}

fn selector(Selector { metric, filter }: &Selector) -> Value {
    source(json!({ "metric": metric, "where": filter }))
}

fn indicator(sli: &Sli) -> Value {
    match sli {
        Sli::Good(all) => json!({ "ratioMetric": { "counter": true, "bad": selector(all), "total": selector(all) } }),
        Sli::Within { metric, filter, .. } => {
            json!({ "thresholdMetric": selector(&Selector { metric: metric.clone(), filter: filter.clone() }) })
        }
        Sli::Ratio { good, total } => json!({ "ratioMetric": { "counter": true, "good": selector(good), "total": selector(total) } }),
        // Slices inside of slices are refused by the rules.
        Sli::Slices { inner, .. } => indicator(inner),
        Sli::Composite { members, how } => raw(match how {
            Combine::Worst => json!({ "composite": "worst", "members": members }),
            Combine::Weighted(weights) => {
                let weights: Vec<String> = weights.iter().map(|weight| weight.to_string()).collect();
                json!({ "composite": "weighted", "members": members, "weights": weights })
            }
        }),
        Sli::External { source, options } => raw(json!({ "external": source, "options": options })),
    }
}

fn raw(spec: Value) -> Value {
    json!({ "ratioMetric": { "rawType": "success", "raw": source(spec) } })
}

fn policy(slo: &str, at: usize, tier: &Tier) -> Value {
    let name = format!("{slo}-{at}");
    let mut own = Map::new();
    own.insert(format!("{}short", binding::PREFIX), json!(tier.short.to_string()));
    own.insert(format!("{}factor", binding::PREFIX), json!(tier.factor.to_string()));
    if tier.keep_firing.millis() != 0 {
        own.insert(format!("{}keep_firing", binding::PREFIX), json!(tier.keep_firing.to_string()));
    }
    let op = match tier.op {
        Op::Above => "gt",
        Op::AtLeast => "gte",
    };
    json!({
        "kind": "AlertPolicy",
        "metadata": { "name": name },
        "spec": {
            "alertWhenBreaching": true,
            "conditions": [{
                "kind": "AlertCondition",
                "metadata": { "name": name, "annotations": own },
                "spec": {
                    "severity": tier.severity.name(),
                    "condition": {
                        "kind": "burnrate",
                        "op": op,
                        "threshold": tier.factor.to_f64(),
                        "lookbackWindow": tier.long.to_string(),
                        "alertAfter": tier.pending.to_string(),
                    },
                },
            }],
        },
    })
}
