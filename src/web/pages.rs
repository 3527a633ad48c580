//! The pages: pure functions from a model to markup.

pub mod action;
pub mod answer;
pub mod budget;
pub mod explore;
pub mod inbox;
pub mod incident;
pub mod lists;
pub mod oncall;
pub mod operations;
pub mod overview;
pub mod personal;
pub mod problem;
pub mod report;
pub mod rule;
pub mod segments;
pub mod silence;
pub mod slos;

use maud::{Markup, html};

use super::text::{clip, plain};
use crate::domain::notification::{Change, ChangeKind};
use crate::domain::rule::{ReceiverKind, SloWindow};

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
