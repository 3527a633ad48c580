//! `slo(name, #{…})`.

use rhai::{Dynamic, Engine};

use super::draft::{Call, Draft, Shared, register};
use super::problem::Problems;
use super::sli::{has_dimension, no_dimension, percent};
use super::value::{Fields, Value};
use super::{sli, tier};
use crate::domain::fraction::Fraction;
use crate::domain::rule::{BudgetPolicy, Labels, NoData, Period, Place, Severity, Sli, Slo, SloWindow};
use crate::domain::schedule::zone;
use crate::domain::time::Span;

const FIELDS: [&str; 20] = [
    "description",
    "owner",
    "service",
    "objective",
    "window",
    "timezone",
    "sli",
    "by",
    "alert",
    "min_events",
    "min_bad",
    "confidence",
    "traffic_corrected",
    "no_data",
    "labels",
    "runbook",
    "dashboard",
    "tier",
    "enabled",
    "budget_policy",
];

const PERIODS: [Period; 5] = [Period::Day, Period::Week, Period::Month, Period::Quarter, Period::Year];

/// Labels that alerts have from their rule; `labels` cannot set them.
const RESERVED_LABELS: [&str; 5] = ["slo", "rule", "service", "owner", "severity"];

/// Registers `slo`.
pub(super) fn add(engine: &mut Engine, draft: &Shared) {
    register(engine, draft, "slo", &[2], slo);
}

fn slo(draft: &mut Draft, mut call: Call) -> Dynamic {
    let name = call.arg(0, "the name of an SLO").name(&mut draft.problems).unwrap_or_default();
    let place = call.at.clone();
    if !name.is_empty() {
        draft.declare("SLO", &name, &place);
    }
    let Some(mut fields) = call.arg(1, &format!("slo `{name}`")).fields(&mut draft.problems, &FIELDS) else { return Dynamic::UNIT };
    fields.at = place.clone();
    let problems = &mut draft.problems;
    let budget_ppm = fields.need("objective", problems).and_then(|value| objective(&value, problems));
    let window = window(&mut fields, draft);
    let problems = &mut draft.problems;
    let read = fields.need("sli", problems).map(|value| (sli::read(&value, problems), value));
    let known = budget_ppm.is_some() && window.is_some();
    let sli = read.as_ref().and_then(|(sli, _)| sli.clone());
    let by = by(&mut fields, draft, sli.as_ref());
    let problems = &mut draft.problems;
    let labels = labels(&mut fields, &by, problems);
    let mut slo = Slo {
        place,
        description: fields.text("description", problems).unwrap_or_default(),
        owner: fields.text("owner", problems).unwrap_or_default(),
        service: fields.text("service", problems).unwrap_or_default(),
        budget_ppm: budget_ppm.unwrap_or(1_000),
        window: window.unwrap_or(SloWindow::Rolling(Span::days(30))),
        sli: sli.unwrap_or(Sli::Composite { members: Vec::new(), how: crate::domain::rule::Combine::Worst }),
        by,
        tiers: Vec::new(),
        min_events: fields.take("min_events").and_then(|value| value.whole(problems)).unwrap_or(0),
        min_bad: fields.take("min_bad").and_then(|value| value.whole(problems)),
        confidence: fields.take("confidence").and_then(|value| confidence(&value, problems)),
        traffic_corrected: fields.flag("traffic_corrected", problems).unwrap_or(false),
        no_data: fields
            .take("no_data")
            .and_then(|value| value.choice(problems, &[("keep", NoData::Keep), ("ok", NoData::Ok), ("alert", NoData::Alert)]))
            .unwrap_or_default(),
        labels,
        runbook: fields.text("runbook", problems),
        dashboard: fields.text("dashboard", problems),
        tier: fields.take("tier").and_then(|value| tier_label(&value, problems)),
        enabled: fields.flag("enabled", problems).unwrap_or(true),
        budget_policy: fields.take("budget_policy").and_then(|value| policy(&value, problems)),
        name,
    };
    if let Some(value) = fields.take("alert") {
        slo.tiers = tier::read(draft, &value, &slo, known);
        tier::advise(draft, &slo);
    }
    if let (Sli::Slices { slice, .. }, Some((_, value))) = (&slo.sli, &read) {
        check_slices(draft, &slo, *slice, value);
    }
    if draft.has_room() {
        draft.set.slos.push(slo);
    }
    Dynamic::UNIT
}

fn objective(value: &Value, problems: &mut Problems) -> Option<u32> {
    let left = percent(value, problems, false)?;
    if left > 990_000 {
        let written = 1_000_000 - left;
        let meant = f64::from(written) / 100.0;
        problems.warning(
            &value.at,
            format!("an objective is in per cent: this one is {} %; write {meant} if that is meant", f64::from(written) / 10_000.0),
        );
    }
    Some(left)
}

fn window(fields: &mut Fields, draft: &mut Draft) -> Option<SloWindow> {
    let timezone = fields.take("timezone").and_then(|value| time_zone(&value, &mut draft.problems).map(|name| (name, value.at)));
    let Some(value) = fields.take("window") else {
        reject_zone(draft, timezone);
        return Some(SloWindow::Rolling(Span::days(30)));
    };
    if !value.it.is_string() {
        value.wrong(&mut draft.problems, "a text like \"30d\" or \"calendar:month\"");
        return None;
    }
    let text = value.text(&mut draft.problems)?;
    if let Some(name) = text.strip_prefix("calendar:") {
        let period = PERIODS.into_iter().find(|period| period.name() == name);
        if period.is_none() {
            let names: Vec<&str> = PERIODS.iter().map(|period| period.name()).collect();
            let near = super::problem::hint(name, names.iter().copied());
            let message = format!("`window` cannot be `calendar:{name}`, only calendar:{}{near}", names.join("|"));
            draft.problems.error(&value.at, message);
        }
        let timezone = timezone.map_or_else(|| "UTC".to_owned(), |(name, _)| name);
        return period.map(|period| SloWindow::Calendar { period, timezone });
    }
    let span = value.length(&mut draft.problems)?;
    reject_zone(draft, timezone);
    if !draft.check_whole_buckets("`window`", span, &value.at) {
        return None;
    }
    if span > draft.retention {
        let message = format!("`window` is {span}, longer than what is kept ({}): the budget will never see all of it", draft.retention);
        draft.problems.warning(&value.at, message);
    }
    Some(SloWindow::Rolling(span))
}

fn reject_zone(draft: &mut Draft, timezone: Option<(String, Place)>) {
    if let Some((_, at)) = timezone {
        draft.problems.warning(&at, "`timezone` has no effect on a rolling window; it belongs to \"calendar:…\"");
    }
}

/// An IANA time zone by name, with the nearest known one where it is mistyped.
pub(super) fn time_zone(value: &Value, problems: &mut Problems) -> Option<String> {
    let name = value.text(problems)?;
    if let Err(error) = zone(&name) {
        let near = super::problem::hint(&name, chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name()));
        problems.error(&value.at, format!("{error}{near}"));
        return None;
    }
    Some(name)
}

fn by(fields: &mut Fields, draft: &mut Draft, sli: Option<&Sli>) -> Vec<String> {
    let Some(value) = fields.take("by") else { return Vec::new() };
    let names = value.named_texts(&mut draft.problems);
    let mut fine = Vec::new();
    for (name, at) in names {
        let inputs = sli.map(Sli::inputs).unwrap_or_default();
        let missing = inputs.iter().find(|(selector, _)| !has_dimension(&selector.metric, &name, &draft.dimensions));
        match missing {
            Some((selector, _)) => {
                let message = no_dimension(&selector.metric, &name, &draft.dimensions);
                draft.problems.error(&at, message);
            }
            None => fine.push(name),
        }
    }
    fine
}

/// Reads `labels`; those that alerts have anyway are refused.
pub(super) fn labels(fields: &mut Fields, by: &[String], problems: &mut Problems) -> Labels {
    let Some(value) = fields.take("labels") else { return Labels::new() };
    for (key, (at, _)) in value.entries(&mut Problems::default()).unwrap_or_default() {
        if RESERVED_LABELS.contains(&key.as_str()) || by.contains(&key) {
            problems.error(&at, format!("the label `{key}` is set by burnwatch itself and cannot be given here"));
        }
    }
    value.labels(problems)
}

fn confidence(value: &Value, problems: &mut Problems) -> Option<f64> {
    let confidence = value.number(problems)?;
    if !(0.5..1.0).contains(&confidence) {
        problems.error(&value.at, format!("`confidence` is a fraction from 0.5 to below 1, like 0.99; {confidence} is not"));
        return None;
    }
    Some(confidence)
}

/// `tier` is a label that people read; numbers are as good as texts.
fn tier_label(value: &Value, problems: &mut Problems) -> Option<String> {
    match value.it.as_int() {
        Ok(number) => Some(number.to_string()),
        Err(_) => value.text(problems),
    }
}

fn policy(value: &Value, problems: &mut Problems) -> Option<BudgetPolicy> {
    let mut fields = value.fields(problems, &["stop_below", "stop_on"])?;
    let stop_below = fields.take("stop_below").and_then(|value| {
        let share = value.exact(problems)?;
        if share >= Fraction::whole(1) {
            problems.error(&value.at, format!("`stop_below` is a fraction of the budget, below 1; {share} is not (0.1 means 10 %)"));
            return None;
        }
        Some(share)
    });
    let stop_on = fields
        .take("stop_on")
        .and_then(|value| value.choice(problems, &[("page", Severity::Page), ("ticket", Severity::Ticket), ("info", Severity::Info)]));
    Some(BudgetPolicy { stop_below: stop_below.unwrap_or(Fraction::whole(0)), stop_on })
}

fn check_slices(draft: &mut Draft, slo: &Slo, slice: Span, sli: &Value) {
    if let SloWindow::Rolling(window) = slo.window
        && window.0 % slice.0 != 0
    {
        draft.problems.error(&sli.at, format!("a window of {window} is not made of whole slices of {slice}"));
    }
}
