//! "Is it real?": what speaks for and against the figures, as it was found when the incident opened; now beside it where it differs.

use maud::{Markup, html};

use super::Model;
use crate::web::icon::{Icon, Tone, flag};
use crate::web::number;
use crate::web::pages::health;
use crate::web::text::Plain;

/// One thing that was looked at before anyone was woken.
#[derive(Clone, Debug, PartialEq)]
pub struct Check {
    pub tone: Tone,
    pub said: String,
    /// What is to be said of it now, where that is something else.
    pub now: Option<(Tone, String)>,
}

/// What stored history says of the time at which an incident opened.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Then {
    /// Minutes of the hour before that were measured; `None`: no objective of it has any, or history did not answer.
    pub measured: Option<(usize, usize)>,
    /// F1, F3, F4 and F7 as the page about telemetry would have shown them.
    pub telemetry: Vec<health::Check>,
}

fn mark(tone: Tone) -> Markup {
    html! { span class=(tone.class()) { (if tone == Tone::Fine { Icon::Fine } else { tone.icon() }.svg()) } }
}

pub(super) fn card(model: &Model<'_>) -> Markup {
    let checks = &model.checks;
    let fine = checks.iter().filter(|check| check.tone == Tone::Fine).count();
    let tone = if checks.iter().any(|check| check.tone == Tone::Ticket) { Tone::Ticket } else { Tone::Fine };
    // It has no shape while history is being read, so that the script may fill it in.
    let shape = if model.then_read { format!("{}", checks.len()) } else { String::new() };
    html! {
        section.card aria-labelledby="h-gen" data-live="checks" data-shape=(shape) {
            header {
                h2 id="h-gen" { "Is it real?" }
                @if !checks.is_empty() { (flag(tone, &format!("{fine} of {} fine", checks.len()))) }
            }
            p."small"."muted" {
                "As found when it opened, " (number::time_seconds(model.incident.opened_at, model.now)) "; what differs now stands below it."
                @if !model.then_read { " More of that time is being read from stored history, and appears here by itself." }
            }
            ul."plain"."checks" {
                @for check in checks {
                    li {
                        (mark(check.tone))
                        span {
                            (Plain(&check.said))
                            @if let Some((tone, said)) = &check.now {
                                span.now { @if *tone == check.tone { "now " } @else { (mark(*tone)) " now " } (Plain(said)) }
                            }
                        }
                    }
                }
            }
        }
    }
}
