//! What happened and who knows: time line, notifications, alerts, traces, earlier incidents.

use maud::{Markup, html};

use super::{Entry, Model, ToldState, path, rule_link, short_id};
use crate::web::icon::{Tone, flag};
use crate::web::number;
use crate::web::text::{Plain, clip, link, segment};

/// Most children that are linked.
pub const FAMILY_MAX: usize = 10;

pub(super) fn time_line(model: &Model<'_>, path: &str, max: usize) -> Markup {
    html! {
        section.card aria-labelledby="h-tl" {
            header {
                h2 id="h-tl" { "Time line" }
                @if model.entries.len() > max { a.small href={ (path) "/timeline" } { "all " (model.entries.len()) " entries" } }
            }
            (entries(&model.entries[..model.entries.len().min(max)], model.now))
            @if model.reader.operate {
                form.note method="post" action={ (path) "/note" } {
                    (model.reader.token())
                    label.small for="n" { b { "Add a note" } }
                    textarea id="n" name="text" required maxlength="4000" placeholder="What did you see, what did you do?" data-key="n" {}
                    button.btn { "Save note" }
                }
            }
        }
    }
}

/// Entries, newest first.
pub(super) fn entries(entries: &[Entry], now: crate::domain::time::Timestamp) -> Markup {
    if entries.is_empty() {
        return html! { p.empty { "Nothing has happened yet." } };
    }
    html! {
        ol."plain"."tl" {
            @for entry in entries {
                li {
                    (number::time_seconds(entry.at, now))
                    span class=(entry.tone.map_or("muted", Tone::class)) { (entry.icon.svg()) }
                    span.said {
                        @if !entry.what.is_empty() { b { (Plain(&entry.what)) } " " }
                        @match &entry.url { Some(url) => (link(url, &entry.said)), None => (Plain(&entry.said)) }
                        @if !entry.who.is_empty() { span.muted { " by " (Plain(&clip(&entry.who, 60))) } }
                    }
                }
            }
        }
    }
}

pub(super) fn told(model: &Model<'_>) -> Markup {
    html! {
        section.card aria-labelledby="h-no" {
            header {
                h2 id="h-no" { "Who has been told" }
                a.small href={ "/notifications?incident=" (segment(&model.incident.id)) } { "attempts" }
            }
            @if model.told.is_empty() {
                p.empty { "Nobody: no route matches its alerts, or every receiver waits for its group." }
            }
            ul."plain"."dl" {
                @for told in &model.told {
                    li {
                        span {
                            (Plain(&clip(&told.receiver, 80))) br;
                            span.muted {
                                @if !told.kind.is_empty() { (told.kind) " · " }
                                (number::time_seconds(told.at, model.now))
                                @match &told.state {
                                    ToldState::Delivered | ToldState::OnItsWay => {}
                                    ToldState::Retrying { error, attempts, next } => {
                                        " · " (Plain(&clip(error, 120))) ", try " (attempts + 1) " at " (number::time_seconds(*next, model.now))
                                    }
                                    ToldState::Dead(error) => { " · " (Plain(&clip(error, 160))) " · " a href="/deadletters" { "dead letters" } }
                                    ToldState::HeldBack(by) => { " · " (Plain(&clip(by, 160))) }
                                }
                            }
                        }
                        (match &told.state {
                            ToldState::Delivered => flag(Tone::Fine, "Delivered"),
                            ToldState::OnItsWay => flag(Tone::Info, "On its way"),
                            ToldState::Retrying { .. } => flag(Tone::Ticket, "Retrying"),
                            ToldState::Dead(_) => flag(Tone::Page, "Gave up"),
                            ToldState::HeldBack(_) => flag(Tone::Unknown, "Held back"),
                        })
                    }
                }
            }
        }
    }
}

pub(super) fn alerts(model: &Model<'_>) -> Markup {
    let members = &model.incident.members;
    html! {
        section.card aria-labelledby="h-al" {
            header { h2 id="h-al" { "Alerts in this incident" } span."small"."muted" { (members.len()) } }
            ul."plain"."dl" {
                @for member in members.iter().take(50) {
                    li {
                        span {
                            (rule_link(model, &member.rule)) br;
                            span.muted { (Plain(&clip(&member.summary, 160))) " · " (number::time(member.started_at, model.now)) }
                        }
                        @if member.firing { (flag(Tone::from(member.severity), "Firing")) } @else { (flag(Tone::Fine, "Ended")) }
                    }
                }
            }
            @if members.len() > 50 { p."small"."muted" { "and " (members.len() - 50) " more, in the JSON" } }
        }
    }
}

pub(super) fn traces(model: &Model<'_>) -> Markup {
    let mut traces: Vec<&String> = Vec::new();
    for trace in model.incident.members.iter().flat_map(|member| &member.traces) {
        if traces.len() < 5 && !traces.contains(&trace) {
            traces.push(trace);
        }
    }
    html! {
        @if !traces.is_empty() {
            section.card aria-labelledby="h-tr" {
                header { h2 id="h-tr" { "Traces to open" } }
                ul."plain"."dl" { @for trace in traces { li { span.mono { (link(trace, &clip(trace, 64))) } } } }
            }
        }
    }
}

/// The incidents of the same cause: the one that speaks for this one, and those that this one speaks for.
pub(super) fn family(model: &Model<'_>) -> Markup {
    let incident = model.incident;
    let one = |id: &str| {
        let title = model.family.get(id).map_or_else(|| format!("#{}", short_id(id)), |title| clip(title, 160));
        html! { a href=(path(id)) { (Plain(&title)) } }
    };
    html! {
        @if incident.parent.is_some() || !incident.children.is_empty() {
            section.card aria-labelledby="h-fa" {
                header { h2 id="h-fa" { "Same cause" } }
                @if let Some(parent) = &incident.parent {
                    p."small"."muted" { "Whoever was told of this one is not told again:" }
                    p { (one(parent)) }
                }
                @if !incident.children.is_empty() {
                    p."small"."muted" { "This incident speaks for:" }
                    ul."plain"."dl" {
                        @for child in incident.children.iter().take(FAMILY_MAX) { li { (one(child)) } }
                        @if incident.children.len() > FAMILY_MAX { li."muted" { "and " (incident.children.len() - FAMILY_MAX) " more" } }
                    }
                }
            }
        }
    }
}

pub(super) fn before(model: &Model<'_>) -> Markup {
    html! {
        @if !model.before.is_empty() {
            section.card aria-labelledby="h-be" {
                header { h2 id="h-be" { "Happened before" } }
                ul."plain"."dl" {
                    @for before in &model.before {
                        li {
                            a href=(path(&before.id)) { (Plain(&clip(&before.title, 160))) }
                            span."muted"."nowrap" {
                                (number::time(before.opened_at, model.now))
                                @if let Some(lasted) = before.lasted { ", " (number::duration(lasted)) }
                            }
                        }
                    }
                }
            }
        }
    }
}
