//! The first screen of an incident: five questions, answered in one order.

use maud::{Markup, html};

use super::{Drawing, Model};
use crate::domain::notification::{Change, ChangeKind, Status, Suspect, Verdict};
use crate::domain::time::{Span, Timestamp};
use crate::web::chart::BurnChart;
use crate::web::number;
use crate::web::pages::change_words;
use crate::web::pages::slos::gone_in;
use crate::web::text::{Plain, clip, link, plain};

pub(super) fn answers(model: &Model<'_>) -> Markup {
    let tone = if model.incident.status == Status::Resolved { "done" } else { model.incident.severity.name() };
    html! {
        dl class={ "answers a-" (tone) } aria-label="In short" data-live="answers" {
            div { dt { "Who is hit" } dd { (who(model)) } }
            div { dt { "Where" } dd { (place(model)) } }
            div { dt { "Since" } dd { (since(model)) } }
            div { dt { "What changed" } dd { (changed(model)) } }
            div { dt { "What to do" } dd { (to_do(model)) } }
        }
    }
}

fn who(model: &Model<'_>) -> Markup {
    let impact = model.incident.impact;
    let trend = match &model.drawing {
        Drawing::Chart(chart) if model.incident.status != Status::Resolved => trend(chart),
        Drawing::Chart(_) | Drawing::None | Drawing::Failed(_) => None,
    };
    let bad = html! { span title=(format!("{} failed events, weighted", number::exact(impact.bad_events))) { (number::count(impact.bad_events)) " failed" } };
    match (impact.affected_users, impact.bad_events > 0.0) {
        (0, false) => html! { span.big { "Not measured yet" } span.sub { "no failed event with a user was counted" } },
        (0, true) => {
            html! { span.big { (bad) } span.sub { "distinct users are not measured" @if let Some(trend) = trend { "; " (trend) } } }
        }
        (users, _) => html! {
            span.big { (number::users(users)) }
            span.sub { @if let Some(trend) = trend { (trend) "; " } (bad) " in all" }
        },
    }
}

/// Whether the failures of the last five steps are more than those of the five before.
fn trend(chart: &BurnChart) -> Option<&'static str> {
    let bad: Vec<f64> = chart.steps.iter().rev().filter(|step| !step.partial).take(10).map_while(|step| Some(step.counts?.1)).collect();
    if bad.len() < 10 {
        return None;
    }
    let (now, before): (f64, f64) = (bad[..5].iter().sum(), bad[5..].iter().sum());
    Some(match () {
        () if now > before * 1.2 + 3.0 => "and rising",
        () if now * 1.2 + 3.0 < before => "and falling",
        () => "steady",
    })
}

/// A segment as people say it: `eu-west, release 2.3.1`.
pub fn segment_words(suspect: &Suspect) -> String {
    let mut words: Vec<String> = Vec::new();
    for (dimension, values) in &suspect.terms {
        let shown = values.all().iter().map(|value| clip(value, 60)).collect::<Vec<_>>().join(" or ");
        words.push(match dimension.as_str() {
            "region" | "app" | "route" | "device" | "browser" | "os" | "environment" => shown,
            other => format!("{} {shown}", clip(other, 40)),
        });
    }
    words.join(", ")
}

fn place(model: &Model<'_>) -> Markup {
    let explained = &model.incident.explained;
    match (explained.verdict, explained.suspects.first()) {
        (Verdict::Segment, Some(first)) => html! {
            span.big { (segment_words(first)) }
            span.sub { (number::share(first.bad_share)) " of the failures, " (number::share(first.traffic_share)) " of the traffic" }
        },
        (Verdict::Global, _) => {
            // Nobody was looked at outside of what the SLO selects.
            let scope = explained.scope.iter().filter(|(name, value)| *name != "app" && !value.is_empty());
            let within: Vec<String> = scope.map(|(name, value)| format!("{} {}", clip(name, 40), clip(value, 80))).collect();
            html! {
                span.big { @if within.is_empty() { "Everywhere" } @else { "All of " (Plain(&within.join(", "))) } }
                span.sub { "no other release, region or device stands out" }
            }
        }
        (Verdict::Segment | Verdict::Unknown, _) => html! {
            span.big { "Not known" }
            span.sub { @if explained.reason.is_empty() { "no segment has been named" } @else { (Plain(&clip(&explained.reason, 160))) } }
        },
    }
}

fn since(model: &Model<'_>) -> Markup {
    let incident = model.incident;
    let start = incident.window_start.min(incident.opened_at);
    let end = incident.resolved_at.unwrap_or(model.now);
    let left = model.slo.and_then(|(slo, status)| Some((slo, status?)));
    html! {
        span.big { (number::time(start, model.now)) ", for " (number::duration(Span((end - start).millis().max(0)))) }
        span.sub {
            @if let Some((slo, status)) = left {
                (number::budget(status.budget_remaining))
                @if incident.status != Status::Resolved && status.budget_remaining.is_some_and(|left| left > 0.0) {
                    ", " (number::countdown(gone_in(slo, status), status.budget_remaining, slo.window.nominal()))
                }
                "; "
            }
            @if incident.impact.budget_consumed > 0.0 { (number::signed_percent(incident.impact.budget_consumed)) " of the budget spent in it; " }
            "opened " (number::time_seconds(incident.opened_at, model.now))
        }
    }
}

/// The change that a suspect names, else the last one before the start.
fn suspect_change<'a>(model: &Model<'a>) -> Option<&'a Change> {
    let incident = model.incident;
    let named = incident.explained.suspects.iter().find_map(|suspect| suspect.change.as_ref());
    named
        .and_then(|id| incident.changes.iter().find(|change| change.id == *id))
        .or_else(|| incident.changes.iter().filter(|change| change.at <= incident.opened_at).max_by_key(|change| change.at))
}

fn distance(change: &Change, start: Timestamp) -> String {
    let span = start - change.at;
    // Failures are counted by the bucket: inside of one nobody can tell which was first.
    if span.millis().abs() < Span::MINUTE.millis() {
        return "in the same minute as the first failure".into();
    }
    if span.millis() >= 0 {
        format!("{} before the first failure", number::duration(span))
    } else {
        format!("{} after it began", number::duration(-span))
    }
}

fn changed(model: &Model<'_>) -> Markup {
    let incident = model.incident;
    let Some(change) = suspect_change(model) else {
        return html! { span.big { "Nothing known" } span.sub { "no deploy, flag or sampling change was reported near its start" } };
    };
    let others = incident.changes.len().saturating_sub(1);
    html! {
        span.big { (change_words(change)) }
        span.sub {
            (number::time(change.at, model.now)) ", " (distance(change, incident.window_start.min(incident.opened_at)))
            @if others > 0 { "; " a href="/changes" { (others) " more" } }
        }
    }
}

fn to_do(model: &Model<'_>) -> Markup {
    let incident = model.incident;
    if incident.status == Status::Resolved {
        return html! { span.big { "Nothing" } span.sub { "it is over; the export has what a review needs" } };
    }
    let suspect = suspect_change(model).filter(|change| matches!(change.kind, ChangeKind::Deploy | ChangeKind::Flag));
    let named = incident.explained.suspects.iter().any(|suspect| suspect.change.is_some());
    let advice = suspect.filter(|_| named).map(|change| match (change.kind, change.release.as_deref()) {
        (ChangeKind::Deploy, Some(release)) => format!("Roll back {}", clip(release, 40)),
        (ChangeKind::Deploy, None) => format!("Roll back {}", clip(&change.app, 40)),
        _ => format!("Turn {} off", clip(change.text.as_deref().unwrap_or("the flag"), 40)),
    });
    let runbook = incident.runbook.as_deref();
    let dashboard = incident.dashboard.as_deref();
    html! {
        @match (&advice, runbook) {
            (Some(advice), _) => { span.big { (plain(advice)) } }
            (None, Some(runbook)) => { span.big { (link(runbook, "Open the runbook")) } }
            (None, None) => { span.big { "Look at the segments" } }
        }
        span.sub {
            @if let (Some(_), Some(runbook)) = (&advice, runbook) { "or " (link(runbook, "runbook")) " · " }
            @if let Some(dashboard) = dashboard { (link(dashboard, "dashboard")) " · " }
            @if let Some(before) = model.before.first() { a href=(super::path(&before.id)) { "happened before" } } @else { "not seen before" }
        }
    }
}
