//! Whether a page can be trusted: what the strip below the top bar says.

use maud::{Markup, html};

use crate::domain::snapshot::Snapshot;
use crate::domain::time::{Span, Timestamp};
use crate::web::icon::{Tone, flag};
use crate::web::number;
use crate::web::text::{Plain, plain};

/// Whether a page can be trusted: what the strip says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trust {
    pub measured_to: Option<Timestamp>,
    /// Beyond this age the figures are called stale.
    pub stale_after: Span,
    pub late: Option<Span>,
    pub revision: String,
    /// Errors of a newer rule set that was refused.
    pub refused: usize,
    /// Nobody knows whether there are newer rules.
    pub unreachable: bool,
    pub silent: Vec<String>,
    pub folded: u64,
    /// The store did not answer, and what failed.
    pub failed: Option<String>,
}

impl Trust {
    /// From what the last evaluation saw. `bucket` and `settle` say how old fresh data is.
    pub fn of(snapshot: &Snapshot, bucket: Span, settle: Span) -> Trust {
        Trust {
            measured_to: snapshot.watermark,
            stale_after: bucket + bucket + settle + Span::seconds(30),
            late: snapshot.events_late,
            revision: snapshot.rules.revision.clone(),
            refused: snapshot.rules_refused.len(),
            unreachable: snapshot.rules_unreachable.is_some(),
            silent: snapshot.silent_apps.clone(),
            folded: snapshot.folded,
            failed: None,
        }
    }

    fn stale(&self, now: Timestamp) -> bool {
        self.measured_to.is_some_and(|to| now - to > self.stale_after)
    }

    /// The strip. `inbox`: whether the demo's inbox is there to be linked to.
    pub fn strip(&self, now: Timestamp, inbox: bool) -> Markup {
        let trust = self;
        let bad = trust.failed.is_some() || trust.stale(now);
        html! {
            div class=(if bad { "trust bad" } else { "trust" }) role="status" aria-label="Can this page be trusted" {
                div.wrap {
                    span id="live" data-live="trust" { (self.live(now)) }
                    @if let Some(late) = trust.late {
                        span.wide { "events late by " b data-live="late" { (number::duration(late)) } " (P95)" }
                    }
                    @if !trust.revision.is_empty() {
                        span.wide { "rules " a.mono href="/rules" { (short_revision(&trust.revision)) } }
                    }
                    @if trust.refused > 0 {
                        span { a href="/rules" { (flag(Tone::Ticket, "newer rules refused")) } }
                    }
                    @if trust.unreachable {
                        span { a href="/rules" { (flag(Tone::Ticket, "rules not reachable")) } }
                    }
                    @if !trust.silent.is_empty() {
                        span {
                            a href="/health" {
                                (flag(Tone::Ticket, &format!("{} {} silent", trust.silent.len(), if trust.silent.len() == 1 { "source" } else { "sources" })))
                            }
                        }
                    }
                    @if inbox { span.wide { a href="/inbox" { "demo inbox" } } }
                    a id="updates" href="" hidden { "updates, show" }
                }
            }
        }
    }

    fn live(&self, now: Timestamp) -> Markup {
        let trust = self;
        if let Some(failed) = &trust.failed {
            return html! { (flag(Tone::Page, "Store not answering")) " " (Plain(failed)) };
        }
        match trust.measured_to {
            None => html! { (flag(Tone::Unknown, "Waiting")) " nothing measured yet" },
            Some(to) => html! {
                @if trust.stale(now) { (flag(Tone::Ticket, "Stale")) } @else { (flag(Tone::Fine, "Live")) }
                " measured to " b { (number::time(to, now)) } ", "
                span data-ago=(to.millis()) { (number::ago(to, now)) } " ago"
            },
        }
    }
}

/// The first seven characters of a revision, which is a hash, and whether the files are not those of the commit.
pub fn short_revision(revision: &str) -> String {
    let dirty = if revision.contains("+dirty") { "+dirty" } else { "" };
    plain(revision).chars().take(7).chain(dirty.chars()).collect()
}
