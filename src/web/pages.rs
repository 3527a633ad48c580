//! The pages: pure functions from a model to markup.

pub mod action;
pub mod answer;
pub mod archive;
pub mod budget;
pub mod evidence;
pub mod explore;
pub mod health;
pub mod heat;
pub mod inbox;
pub mod incident;
pub mod lists;
pub mod new_silence;
pub mod oncall;
pub mod overview;
pub mod personal;
pub mod problem;
pub mod receivers;
pub mod report;
pub mod rule;
pub mod rules;
pub mod segments;
pub mod silence;
pub mod silences;
pub mod slos;

use maud::{Markup, html};

use super::icon::{Tone, flag};
use super::text::{Plain, clip, plain, segment};
use crate::domain::notification::{Change, ChangeKind};
use crate::domain::rule::{ReceiverKind, Severity, SloWindow};
use crate::domain::snapshot::AlertPhase;

/// `30 days`, `calendar month (Europe/Berlin)`.
pub fn slo_window(window: &SloWindow) -> String {
    match window {
        SloWindow::Rolling(span) => super::number::window(*span),
        SloWindow::Calendar { period, timezone } => format!("calendar {} ({})", period.name(), plain(timezone)),
    }
}

/// `◆ deploy shop 2.3.1`: a shape and words, in ink, never in the colour of a severity.
pub fn change_words(change: &Change) -> Markup {
    html! { (change_glyph(change.kind)) " " (clip(&plain_change(change), 90)) }
}

/// `deploy shop 2.3.1`, as it came: to be escaped by whoever shows it.
pub fn plain_change(change: &Change) -> String {
    let name = match (&change.release, &change.text) {
        (Some(release), _) if !change.app.is_empty() => format!("{} {release}", change.app),
        (Some(release), _) => release.clone(),
        (None, Some(text)) => text.clone(),
        (None, None) => change.app.clone(),
    };
    format!("{} {name}", change.kind.name())
}

/// The shape of a kind of change.
pub const fn change_glyph(kind: ChangeKind) -> char {
    match kind {
        ChangeKind::Deploy => '◆',
        ChangeKind::Flag => '⚑',
        ChangeKind::Sampling => '~',
        ChangeKind::Other => '·',
    }
}

/// A receiver's format in the words of people.
pub const fn receiver_words(kind: &ReceiverKind) -> &'static str {
    match kind {
        ReceiverKind::Webhook { .. } => "webhook",
        ReceiverKind::Email { .. } => "e-mail",
        ReceiverKind::Pagerduty { .. } => "PagerDuty",
        ReceiverKind::Opsgenie { .. } => "Opsgenie",
        ReceiverKind::Slack { .. } => "Slack",
        ReceiverKind::Teams { .. } => "Teams",
        ReceiverKind::Jira { .. } => "Jira",
        ReceiverKind::Github { .. } => "GitHub",
        ReceiverKind::Servicenow { .. } => "ServiceNow",
        ReceiverKind::AlertmanagerWebhook { .. } => "Alertmanager webhook",
        ReceiverKind::Action { .. } => "action",
    }
}

/// A link to the line of a declaration.
pub fn file_link(place: &crate::domain::rule::Place) -> Markup {
    let path: Vec<String> = place.path.split('/').map(segment).collect();
    html! { a."mono"."small" href={ "/rules/file/" (path.join("/")) "?line=" (place.line) "#L" (place.line) } { (Plain(&clip(&format!("{}:{}", place.path, place.line), 120))) } }
}

/// Where an alert is in its life: shape, word and colour.
pub fn phase_flag(phase: AlertPhase, loud: Option<Severity>) -> Markup {
    match phase {
        AlertPhase::Firing => flag(loud.map_or(Tone::Ticket, Tone::from), "Firing"),
        AlertPhase::Pending => flag(Tone::Ticket, "Pending"),
        AlertPhase::Unknown => flag(Tone::Unknown, "Unknown"),
        AlertPhase::Ok => flag(Tone::Fine, "Fine"),
    }
}
