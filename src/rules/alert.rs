//! `alert(name, #{…})`: a free-form rule, asked by its closures.

use rhai::{Dynamic, Engine, FnPtr};

use super::draft::{Call, Closures, Draft, Shared, register};
use super::problem::Problems;
use super::sli::{is_dimension, unknown_dimension};
use super::slo::{labels, time_zone};
use super::value::{Fields, Value};
use crate::domain::rule::{FreeRule, Schedule, Severity};
use crate::domain::schedule::Cron;
use crate::domain::time::Span;

const FIELDS: [&str; 15] = [
    "description",
    "every",
    "timezone",
    "severity",
    "pending",
    "keep_firing",
    "service",
    "owner",
    "by",
    "when",
    "summary",
    "labels",
    "runbook",
    "dashboard",
    "enabled",
];

pub(super) const SEVERITIES: [(&str, Severity); 3] = [("page", Severity::Page), ("ticket", Severity::Ticket), ("info", Severity::Info)];

/// Registers `alert` and `alerts_in`.
pub(super) fn add(engine: &mut Engine, draft: &Shared) {
    register(engine, draft, "alert", &[2], alert);
    register(engine, draft, "alerts_in", &[1], alerts_in);
}

fn alert(draft: &mut Draft, mut call: Call) -> Dynamic {
    let name = call.arg(0, "the name of an alert").name(&mut draft.problems).unwrap_or_default();
    let place = call.at.clone();
    if !name.is_empty() {
        draft.declare("alert", &name, &place);
    }
    let Some(mut fields) = call.arg(1, &format!("alert `{name}`")).fields(&mut draft.problems, &FIELDS) else { return Dynamic::UNIT };
    fields.at = place.clone();
    let schedule = schedule(&mut fields, draft);
    let by = by(&mut fields, draft);
    let problems = &mut draft.problems;
    let when = fields.need("when", problems);
    let when = when.and_then(|value| Some((closure(&value, problems)?, value.at)));
    let (severity, severity_closure) = match fields.take("severity") {
        Some(value) if value.it.is_fnptr() => (Severity::Ticket, closure(&value, problems)),
        Some(value) => (value.choice(problems, &SEVERITIES).unwrap_or(Severity::Ticket), None),
        None => (Severity::Ticket, None),
    };
    let (summary, summary_closure) = match fields.take("summary") {
        Some(value) if value.it.is_fnptr() => (String::new(), closure(&value, problems)),
        Some(value) => (value.text(problems).unwrap_or_default(), None),
        None => (String::new(), None),
    };
    let labels = labels(&mut fields, &by, problems);
    let rule = FreeRule {
        place,
        schedule: schedule.unwrap_or(Schedule::Every(Span::MINUTE)),
        severity,
        pending: fields.span("pending", problems).unwrap_or_default(),
        keep_firing: fields.span("keep_firing", problems).unwrap_or_default(),
        by,
        service: fields.text("service", problems).unwrap_or_default(),
        owner: fields.text("owner", problems).unwrap_or_default(),
        summary,
        description: fields.text("description", problems).unwrap_or_default(),
        labels,
        runbook: fields.text("runbook", problems),
        dashboard: fields.text("dashboard", problems),
        enabled: fields.flag("enabled", problems).unwrap_or(true),
        name: name.clone(),
    };
    if draft.has_room() {
        if let Some((when, place)) = when {
            let path = call.path().to_owned();
            draft.closures.insert(name, Closures { path, place, when, severity: severity_closure, summary: summary_closure });
        }
        draft.set.alerts.push(rule);
    }
    Dynamic::UNIT
}

/// A closure with what it captured as it is now: a later change is not seen, and what it changes itself is gone after each run.
fn closure(value: &Value, problems: &mut Problems) -> Option<FnPtr> {
    let Some(mut closure) = value.it.clone().try_cast::<FnPtr>() else {
        value.wrong(problems, "a closure, |q| …");
        return None;
    };
    for captured in closure.iter_curry_mut() {
        *captured = captured.flatten_clone();
    }
    Some(closure)
}

fn schedule(fields: &mut Fields, draft: &mut Draft) -> Option<Schedule> {
    let timezone = fields.take("timezone").and_then(|value| time_zone(&value, &mut draft.problems).map(|name| (name, value.at)));
    let Some(value) = fields.take("every") else { return Some(Schedule::Every(draft.bucket.max(Span::MINUTE))) };
    if !value.it.is_string() {
        value.wrong(&mut draft.problems, "a duration like \"5m\" or a cron line like \"*/5 * * * *\"");
        return None;
    }
    let text = value.text(&mut draft.problems)?;
    // "90 s" is a duration with a slip and no cron line.
    let words = text.split_whitespace().count();
    if words >= 4 || text.starts_with('@') {
        let zone = timezone.map_or_else(|| "UTC".to_owned(), |(name, _)| name);
        return cron_line(&text, &zone, &value, &mut draft.problems).map(|line| Schedule::Cron { line, timezone: zone });
    }
    let span = value.length(&mut draft.problems)?;
    if let Some((_, at)) = timezone {
        draft.problems.warning(&at, "`timezone` has no effect on a period; it belongs to a cron line");
    }
    draft.check_whole_buckets("`every`", span, &value.at).then_some(Schedule::Every(span))
}

/// A cron line that can be read.
pub(super) fn cron_line(text: &str, zone: &str, value: &Value, problems: &mut Problems) -> Option<String> {
    match Cron::new(text, zone) {
        Ok(_) => Some(text.to_owned()),
        Err(error) => {
            problems.error(&value.at, format!("{}: {error}", value.name));
            None
        }
    }
}

/// The metrics that a closure asks are not known here, so any dimension of any metric is fine.
fn by(fields: &mut Fields, draft: &mut Draft) -> Vec<String> {
    let Some(value) = fields.take("by") else { return Vec::new() };
    let mut fine = Vec::new();
    for (name, at) in value.named_texts(&mut draft.problems) {
        if is_dimension(&name, &draft.dimensions) {
            fine.push(name);
        } else {
            let message = unknown_dimension(&name, &draft.dimensions);
            draft.problems.error(&at, message);
        }
    }
    fine
}

fn alerts_in(draft: &mut Draft, mut call: Call) -> Dynamic {
    let Some(mut fields) = call.arg(0, "`alerts_in`").fields(&mut draft.problems, &["resolve_timeout"]) else { return Dynamic::UNIT };
    draft.declare("setting", "alerts_in", &call.at);
    if let Some(timeout) = fields.take("resolve_timeout").and_then(|value| value.length(&mut draft.problems)) {
        draft.set.resolve_timeout = Some(timeout);
    }
    Dynamic::UNIT
}
