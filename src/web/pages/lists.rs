//! Lists for the morning after: notifications, dead letters, receivers, changes, audit.

use maud::{Markup, html};

use super::change_words;
use super::incident::{path, short_id};
use crate::domain::notification::Change;
use crate::domain::time::{Span, Timestamp};
use crate::web::frame::{Page, Place, Reader};
use crate::web::icon::{Tone, flag};
use crate::web::number;
use crate::web::text::{Plain, clip, link, query, segment};

/// One delivery in a list.
#[derive(Clone, Debug, PartialEq)]
pub struct Delivery {
    pub id: String,
    pub at: Timestamp,
    pub incident: String,
    pub kind: String,
    pub receiver: String,
    pub state: String,
    pub attempts: i64,
    pub due_at: Timestamp,
    pub error: String,
}

/// The state of a delivery with what comes next.
fn state_flag(row: &Delivery, now: Timestamp) -> Markup {
    match row.state.as_str() {
        "delivered" => flag(Tone::Fine, "Delivered"),
        "dead" => flag(Tone::Page, "Gave up"),
        "discarded" => flag(Tone::Unknown, "Discarded"),
        "suppressed" => flag(Tone::Unknown, "Suppressed"),
        _ if row.attempts > 0 => {
            html! { (flag(Tone::Ticket, "Retrying")) " " span."small"."muted" { "next try " (number::time_seconds(row.due_at, now)) } }
        }
        _ => flag(Tone::Info, "Pending"),
    }
}

/// What the list of notifications shows.
pub struct Notifications {
    pub rows: Vec<Delivery>,
    pub state: String,
    pub receiver: String,
    pub incident: String,
    pub next: Option<String>,
    pub dead: i64,
    pub now: Timestamp,
}

/// What was said to whom, newest first.
pub fn notifications(model: &Notifications) -> Page {
    let filters = [("state", model.state.as_str()), ("receiver", model.receiver.as_str()), ("incident", model.incident.as_str())];
    let body = html! {
        div.head {
            h1 { "Notifications" }
            nav.tabs aria-label="Related" {
                a href="/notifications" aria-current="true" { "all" }
                a href="/deadletters" { "dead letters " (model.dead) }
                a href="/receivers" { "receivers" }
            }
        }
        form."row"."grow" method="get" action="/notifications" role="search" {
            label { "State" select name="state" { @for value in ["", "pending", "delivered", "dead", "discarded", "suppressed"] { option value=(value) selected[value == model.state] { (if value.is_empty() { "any" } else { value }) } } } }
            label { "Receiver" input name="receiver" value=(clip(&model.receiver, 200)) autocomplete="off"; }
            label { "Incident" input name="incident" value=(clip(&model.incident, 200)) autocomplete="off"; }
            button.btn { "Search" }
        }
        @if model.rows.is_empty() {
            section.card aria-label="None" { p.empty { @if filters.iter().all(|(_, v)| v.is_empty()) { "Nobody has been told anything yet." } @else { "No notification matches. " a href="/notifications" { "Show all" } } } }
        } @else {
            table."card"."stack" {
                thead { tr { th scope="col" { "time" } th scope="col" { "what" } th scope="col" { "receiver" } th scope="col" { "incident" } th scope="col" { "attempts" } th scope="col" { "state" } } }
                tbody { @for row in &model.rows { tr data-row {
                    th scope="row" { a href={ "/notifications/" (segment(&row.id)) } { (number::time_seconds(row.at, model.now)) } }
                    td { (Plain(&clip(&row.kind, 40))) }
                    td data-th="to" { (Plain(&clip(&row.receiver, 80))) }
                    td data-th="incident" { a href=(path(&row.incident)) { "#" (short_id(&row.incident)) } }
                    td data-th="attempts" { (row.attempts) }
                    td { (state_flag(row, model.now)) @if !row.error.is_empty() { br; span."small"."muted" { (Plain(&clip(&row.error, 160))) } } }
                } } }
            }
        }
        @if let Some(next) = &model.next { p { a.btn href={ "/notifications" (query(&[filters[0], filters[1], filters[2], ("cursor", next)])) } { "Older" } } }
    };
    let title = if model.dead > 0 { format!("{} gave up: notifications", model.dead) } else { "Notifications".into() };
    let mut page = Page::new(title, Place::Notifications, body);
    page.json = Some(format!("/v1/notifications{}", query(&filters)));
    page
}

/// One attempt at a delivery.
#[derive(Clone, Debug, PartialEq)]
pub struct Attempt {
    pub at: Timestamp,
    pub outcome: String,
    pub status: Option<i64>,
    pub took: Span,
    pub detail: String,
}

/// One notification with its attempts and what was said.
pub fn notification(row: &Delivery, attempts: &[Attempt], payload: &str, now: Timestamp) -> Page {
    let lines: Vec<&str> = payload.lines().take(1_000).collect();
    let body = html! {
        div.head {
            p.small { a href="/notifications" { "← notifications" } }
            h1 { (Plain(&clip(&row.kind, 40))) " to " (Plain(&clip(&row.receiver, 80))) }
            p { (state_flag(row, now)) " " span.muted { (number::time_seconds(row.at, now)) " · incident " a href=(path(&row.incident)) { "#" (short_id(&row.incident)) } } }
            @if !row.error.is_empty() { p.any { (Plain(&clip(&row.error, 400))) } }
        }
        section.card aria-labelledby="h-a" {
            header { h2 id="h-a" { "Attempts" } }
            @if attempts.is_empty() { p.empty { "Not tried yet." } } @else {
                table.stack {
                    thead { tr { th scope="col" { "time" } th scope="col" { "outcome" } th scope="col" { "status" } th scope="col" { "took" } th scope="col" { "detail" } } }
                    tbody { @for attempt in attempts { tr {
                        th scope="row" { (number::time_seconds(attempt.at, now)) }
                        td data-th="outcome" { (Plain(&clip(&attempt.outcome, 60))) }
                        td data-th="status" { @match attempt.status { Some(status) => (status), None => "no answer" } }
                        td data-th="took" { (number::duration(attempt.took)) }
                        td { (Plain(&clip(&attempt.detail, 400))) }
                    } } }
                }
            }
        }
        section.card aria-labelledby="h-p" {
            header { h2 id="h-p" { "What was said" } span."small"."muted" { "delivery " code { (Plain(&clip(&row.id, 80))) } } }
            pre.wrapped { @for line in lines { (Plain(line)) "\n" } }
        }
    };
    Page::new(format!("{} to {}", clip(&row.kind, 40), clip(&row.receiver, 60)), Place::Notifications, body)
}

/// What gave up, with what can be done about it.
pub fn dead_letters(rows: &[Delivery], next: Option<&str>, now: Timestamp, reader: &Reader) -> Page {
    let body = html! {
        div.head {
            h1 { "Dead letters" }
            nav.tabs aria-label="Related" { a href="/notifications" { "all notifications" } a href="/deadletters" aria-current="true" { "dead letters" } a href="/receivers" { "receivers" } }
        }
        (reader.hint())
        @if rows.is_empty() { section.card aria-label="None" { p.empty { "None: everything that was said has arrived, or is still being tried." } } } @else {
            (send_all(rows, reader))
            table."card"."stack" {
                thead { tr { th scope="col" { "receiver and cause" } th scope="col" { "what" } th scope="col" { "incident" } th scope="col" { "attempts" } th scope="col" { "do" } } }
                tbody { @for row in rows { tr data-row {
                    th scope="row" { a href={ "/notifications/" (segment(&row.id)) } { (Plain(&clip(&row.receiver, 80))) } br; span."small"."muted" { (Plain(&clip(&row.error, 200))) } }
                    td { (Plain(&clip(&row.kind, 40))) br; span."small"."muted" { (number::time(row.at, now)) } }
                    td data-th="incident" { a href=(path(&row.incident)) { "#" (short_id(&row.incident)) } }
                    td data-th="attempts" { (row.attempts) }
                    td {
                        @if reader.operate {
                            (reader.button(&format!("/deadletters/{}/replay", segment(&row.id)), "Send again", "btn quiet", None))
                            details { summary.small { "discard…" }
                                form.row method="post" action={ "/deadletters/" (segment(&row.id)) "/discard" } { (reader.token()) label { "Why" input name="reason" required maxlength="500" autocomplete="off"; } button."btn"."quiet" { "Discard" } }
                            }
                        }
                    }
                } } }
            }
        }
        @if let Some(next) = next { p { a.btn href={ "/deadletters" (query(&[("cursor", next)])) } { "Older" } } }
    };
    let mut page = Page::new(format!("Dead letters: {}", rows.len()), Place::Notifications, body);
    page.json = Some("/v1/deadletters".into());
    page
}

/// One button for all of them, and one for each receiver where there are several.
fn send_all(rows: &[Delivery], reader: &Reader) -> Markup {
    let mut receivers: Vec<&str> = rows.iter().map(|row| row.receiver.as_str()).collect();
    receivers.dedup();
    let button = |receiver: &str, label: Markup| {
        html! {
            form method="post" action="/deadletters/replay" { (reader.token()) input type="hidden" name="receiver" value=(receiver); button."btn"."quiet" { (label) } }
        }
    };
    html! {
        @if reader.operate && rows.len() > 1 {
            div.actions {
                (button("", html! { "Send all again" }))
                @if receivers.len() > 1 { @for receiver in receivers.iter().take(8) { (button(receiver, html! { "all of " (Plain(&clip(receiver, 60))) })) } }
            }
        }
    }
}

/// What the list of changes shows.
pub struct Changes<'a> {
    pub rows: &'a [Change],
    pub app: &'a str,
    /// The first row that is shown.
    pub from: usize,
    /// The first row of the next page.
    pub next: Option<usize>,
    pub now: Timestamp,
}

/// Deploys, flags and sampling changes, newest first.
pub fn changes(model: &Changes<'_>) -> Page {
    let (rows, app, now) = (model.rows, model.app, model.now);
    let body = html! {
        div.head { h1 { "Changes" } p.muted { "Reported in the last 30 days, newest first." } }
        form."row"."grow" method="get" action="/changes" role="search" { label { "App" input type="search" name="app" value=(clip(app, 200)) autocomplete="off"; } button.btn { "Search" } }
        @if rows.is_empty() { section.card aria-label="None" { p.empty { "None. Pipelines report them with " code { "burnwatch annotate deploy" } " or " code { "POST /v1/annotations" } "." } } } @else {
            table."card"."stack" {
                thead { tr { th scope="col" { "time" } th scope="col" { "change" } th scope="col" { "app" } th scope="col" { "text" } } }
                tbody { @for change in rows { tr data-row {
                    th scope="row" { (number::time(change.at, now)) }
                    td { b { (change_words(change)) } }
                    td data-th="app" { (Plain(&clip(&change.app, 80))) }
                    td { @let text = change.text.as_deref().unwrap_or_default(); @match &change.url { Some(url) => (link(url, &clip(if text.is_empty() { url } else { text }, 200))), None => (Plain(&clip(text, 200))) } }
                } } }
            }
        }
        @if let Some(next) = model.next { p { a.btn href={ "/changes" (query(&[("app", app), ("from", &next.to_string())])) } { "Older" } } }
    };
    let mut page = Page::new("Changes", Place::Elsewhere, body);
    page.json = Some(format!("/v1/annotations{}", query(&[("app", app)])));
    page
}

/// One line of the audit.
#[derive(Clone, Debug, PartialEq)]
pub struct Act {
    pub at: Timestamp,
    pub who: String,
    pub action: String,
    pub thing: String,
    pub source: String,
    pub detail: String,
}

/// Who did what, newest first.
pub fn audit(rows: &[Act], next: Option<&str>, with_reads: bool, now: Timestamp) -> Page {
    let reads = if with_reads { "yes" } else { "" };
    let body = html! {
        div.head { h1 { "Audit" } p.muted { "What people and tokens did, newest first." }
            @if with_reads { p { a href="/audit" { "Without reads" } } } @else { p { a href="/audit?reads=yes" { "Also who read what" } } }
        }
        @if rows.is_empty() { section.card aria-label="None" { p.empty { "Nobody has done anything yet." } } } @else {
            table."card"."stack" {
                thead { tr { th scope="col" { "time" } th scope="col" { "who" } th scope="col" { "what" } th scope="col" { "on" } th scope="col" { "from" } } }
                tbody { @for act in rows { tr {
                    th scope="row" { (number::time_seconds(act.at, now)) }
                    td data-th="who" { (Plain(&clip(&act.who, 80))) }
                    td { (Plain(&clip(&act.action, 80))) }
                    td data-th="on" { (Plain(&clip(&act.thing, 120))) @if act.detail.len() > 2 { br; code.small { (Plain(&clip(&act.detail, 200))) } } }
                    td data-th="from" { (Plain(&clip(&act.source, 60))) }
                } } }
            }
        }
        @if let Some(next) = next { p { a.btn href={ "/audit" (query(&[("cursor", next), ("reads", reads)])) } { "Older" } } }
    };
    let mut page = Page::new("Audit", Place::Elsewhere, body);
    page.json = Some("/v1/audit".into());
    page
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::fixture::{self, HOSTILE, NOW, assert_inert, render};

    #[test]
    fn hostile_text_is_inert_in_every_list() {
        let text = || HOSTILE.to_owned();
        let delivery = |state: &str| Delivery {
            id: text(),
            at: NOW,
            incident: text(),
            kind: text(),
            receiver: text(),
            state: state.into(),
            attempts: 2,
            due_at: NOW,
            error: text(),
        };
        let rows: Vec<Delivery> = ["pending", "delivered", "dead", "discarded", HOSTILE].into_iter().map(delivery).collect();
        let attempt = Attempt { at: NOW, outcome: text(), status: None, took: Span::seconds(1), detail: text() };
        assert_inert(&render(NOW, |_| {
            notifications(&Notifications {
                rows: rows.clone(),
                state: text(),
                receiver: text(),
                incident: text(),
                next: Some(text()),
                dead: 1,
                now: NOW,
            })
        }));
        assert_inert(&render(NOW, |_| notification(&rows[0], &[attempt], HOSTILE, NOW)));
        assert_inert(&render(NOW, |reader| dead_letters(&rows, Some(HOSTILE), NOW, reader)));
        assert_inert(&render(NOW, |_| {
            changes(&Changes { rows: &fixture::hostile_incident().changes, app: HOSTILE, from: 0, next: Some(60), now: NOW })
        }));
        assert_inert(&render(NOW, |_| {
            audit(&[Act { at: NOW, who: text(), action: text(), thing: text(), source: text(), detail: text() }], Some(HOSTILE), true, NOW)
        }));
    }
}
