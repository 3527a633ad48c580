//! What is asked before an incident is snoozed, handed over or resolved.

use maud::{Markup, html};

use super::{below, path};
use crate::domain::incident::Incident;
use crate::domain::time::Timestamp;
use crate::web::frame::{Page, Reader};
use crate::web::pages::new_silence::{QUICK, end};
use crate::web::text::{Plain, clip, plain};

/// A field for what may be said beside an action.
fn why(label: &str, name: &str) -> Markup {
    html! { label { (label) input name=(name) maxlength="500" autocomplete="off"; } }
}

/// Why nothing is asked.
fn over(so: &str) -> Markup {
    html! { p.empty { "It is resolved: " (so) "." } }
}

/// Snooze for how long; `quick` are the ends of the lengths that are one press away.
pub fn snooze(incident: &Incident, quick: [Option<Timestamp>; 4], now: Timestamp, reader: &Reader) -> Page {
    let path = path(&incident.id);
    below(
        incident,
        "Snooze",
        "Snooze",
        html! {
            section.card aria-label="For how long" {
                @if incident.is_over() { (over("there is nothing to snooze")) }
                @else { p { "Nobody is reminded or told anew until then. If it gets louder it speaks up at once; if it ends, it resolves." } }
                @if incident.is_over() {} @else if reader.operate {
                    div.actions {
                        @for ((name, label), ends) in QUICK.iter().zip(quick) {
                            form method="post" action={ (path) "/snooze" } {
                                (reader.token()) input type="hidden" name="for" value=(name);
                                button."btn"."tall" { span { (label) @if let Some(ends) = ends { span."small"."muted" { br; "ends " (end(ends, now)) } } } }
                            }
                        }
                    }
                    form.row method="post" action={ (path) "/snooze" } {
                        (reader.token())
                        label { "or a length (45m, 2h) or a time of day in UTC (09:30)" input name="for" required maxlength="20" autocomplete="off"; }
                        button.btn { "Snooze" }
                    }
                } @else { (reader.hint()) }
            }
        },
    )
}

/// Whose it is and how loud, to be decided by a person.
pub fn assign(incident: &Incident, owners: &[String], reader: &Reader) -> Page {
    let path = path(&incident.id);
    let chosen = incident.by_hand.severity.as_ref();
    let grades = [("page", "page: wakes a person"), ("ticket", "ticket: waits for working hours"), ("info", "info: for the record")];
    below(
        incident,
        "Owner and severity",
        "Owner and severity",
        html! {
            section.card aria-labelledby="h-ow" {
                header { h2 id="h-ow" { "Hand over" } }
                p {
                    @if incident.owner.is_empty() { "Nobody owns it." } @else { "It is owned by " b { (Plain(&clip(&incident.owner, 100))) } "." }
                    " The routes of the new owner are told, with their escalation from the beginning; whom they no longer name is told that it is closed for them."
                }
                @if reader.operate && !incident.is_over() {
                    form.row.grow method="post" action={ (path) "/owner" } {
                        (reader.token())
                        label { "To whom" input name="owner" required maxlength="100" autocomplete="off" list="owners"; }
                        datalist id="owners" { @for owner in owners.iter().take(100) { option value=(plain(owner)) {} } }
                        (why("Why (optional)", "why"))
                        button.btn.primary { "Hand over" }
                    }
                }
            }
            section.card aria-labelledby="h-se" {
                header { h2 id="h-se" { "Severity" } }
                p {
                    "It is " b { (incident.severity.name()) }
                    @match chosen { Some(chosen) => { ", as " (Plain(&clip(&chosen.by, 60))) " chose" }, None => { ", as its alerts say" } }
                    ". A choice stands until the alerts rise above it, or until it is closed; the routes of that severity are told."
                }
                @if reader.operate && !incident.is_over() {
                    form.row.grow method="post" action={ (path) "/severity" } {
                        (reader.token())
                        label { "How loud"
                            select name="severity" {
                                @for (value, label) in grades { option value=(value) selected[value == incident.severity.name()] { (label) } }
                                @if chosen.is_some() { option value="auto" { "what its alerts say" } }
                            }
                        }
                        (why("Why (optional)", "why"))
                        button.btn.primary { "Set severity" }
                    }
                }
            }
            @if incident.is_over() { (over("neither matters to anybody now")) } @else { (reader.hint()) }
        },
    )
}

/// What resolving will do, and why it is done.
pub fn resolve(incident: &Incident, reader: &Reader) -> Page {
    let path = path(&incident.id);
    let firing = incident.members.iter().filter(|member| member.firing).count();
    below(
        incident,
        "Resolve",
        "Resolve by hand",
        html! {
            section.card aria-label="Confirm" {
                @if incident.is_over() { (over("there is nothing left to close")) } @else { p {
                    @match firing {
                        0 => "None of its alerts fires any more.",
                        1 => "One of its alerts still fires. It is closed with the incident; when it fires anew, a new incident opens.",
                        n => { (n) " of its alerts still fire. They are closed with the incident; when one fires anew, a new incident opens." }
                    }
                    " Everybody who was told that it opened is told that it is closed."
                } }
                @if incident.is_over() {} @else if reader.operate {
                    form.row.grow method="post" action={ (path) "/resolve" } {
                        (reader.token())
                        label { "Why"
                            select name="why" { @for (value, label) in [("fixed", "fixed"), ("false alarm", "false alarm"), ("known", "known, being worked on"), ("other", "other")] { option value=(value) { (label) } } }
                        }
                        (why("In a few words (optional)", "text"))
                        button.btn.primary { "Resolve" }
                    }
                } @else { (reader.hint()) }
            }
        },
    )
}
