//! On call: what is open now, worst first; and the archive of everything.

use maud::{Markup, html};

use super::incident::{path, short_id};
use crate::domain::notification::Status;
use crate::domain::rule::Severity;
use crate::domain::time::{Span, Timestamp};
use crate::web::frame::{Page, Place, REFRESH, Reader};
use crate::web::icon::{Tone, flag, severity};
use crate::web::number;
use crate::web::text::{Plain, clip, plain, query};

/// One incident in a list.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    pub id: String,
    pub severity: Severity,
    pub status: Status,
    pub title: String,
    pub service: String,
    pub owner: String,
    pub users: u64,
    pub opened_at: Timestamp,
    pub resolved_at: Option<Timestamp>,
    pub acknowledged_by: Option<String>,
    pub snoozed_until: Option<Timestamp>,
    /// The suspect change, in words.
    pub change: Option<String>,
    /// Its id.
    pub suspect: Option<String>,
    /// Why receivers were not told.
    pub held_by: Option<String>,
}

/// Which open incidents are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Show {
    #[default]
    All,
    Snoozed,
    HeldBack,
}

impl Show {
    /// Reads `?show=`.
    pub fn parse(name: &str) -> Show {
        match name {
            "snoozed" => Show::Snoozed,
            "held" => Show::HeldBack,
            _ => Show::All,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Show::All => "",
            Show::Snoozed => "snoozed",
            Show::HeldBack => "held",
        }
    }

    fn takes(self, row: &Row, now: Timestamp) -> bool {
        match self {
            Show::All => true,
            Show::Snoozed => row.snoozed_until.is_some_and(|until| until > now),
            Show::HeldBack => row.held_by.is_some(),
        }
    }
}

/// Rows of the first page; further ones are a link away.
const ROWS: usize = 50;

/// What the first page shows.
pub struct Model<'a> {
    pub rows: Vec<Row>,
    pub show: Show,
    /// The first row that is shown.
    pub from: usize,
    /// Objectives that are watched.
    pub objectives: usize,
    pub evaluated_at: Option<Timestamp>,
    pub last_incident: Option<Timestamp>,
    pub now: Timestamp,
    pub reader: &'a Reader,
}

/// Pages before tickets, then by users hit, then the longest open. Nothing else, so that it is stable.
pub fn rank(rows: &mut [Row]) {
    rows.sort_by(|a, b| b.severity.cmp(&a.severity).then(b.users.cmp(&a.users)).then(a.opened_at.cmp(&b.opened_at)).then(a.id.cmp(&b.id)));
}

/// The page.
pub fn page(model: &Model<'_>) -> Page {
    let shown: Vec<&Row> = model.rows.iter().filter(|row| model.show.takes(row, model.now)).collect();
    let all = shown.len();
    let from = model.from.min(all);
    let shown = &shown[from..all.min(from + ROWS)];
    let users: u64 = model.rows.iter().map(|row| row.users).sum();
    let count = |show: Show| model.rows.iter().filter(|row| show.takes(row, model.now)).count();
    let heading = match model.rows.len() {
        0 => "Nothing is open".to_owned(),
        n if users == 0 => format!("{n} open"),
        // The same user may be hit by several incidents.
        n if model.rows.iter().filter(|row| row.users > 0).count() > 1 => {
            format!("{n} open: up to {} users hit", number::count(users as f64))
        }
        n => format!("{n} open: {} {} hit", number::count(users as f64), if users == 1 { "user" } else { "users" }),
    };
    let body = html! {
        div.head {
            h1 data-live="heading" { (heading) }
            nav.tabs aria-label="Which" {
                @for (show, name, label) in [(Show::All, "", "all"), (Show::Snoozed, "snoozed", "snoozed"), (Show::HeldBack, "held", "held back")] {
                    a href={ "/" (query(&[("show", name)])) } aria-current=[(show == model.show).then_some("true")] {
                        (label) @if show != Show::All { " " (count(show)) }
                    }
                }
            }
        }
        @if shown.is_empty() { (empty(model)) } @else {
            ol."plain"."card"."rows" {
                @for row in shown { (row_of(row, model.now, model.reader)) }
            }
        }
        @if from > 0 || from + ROWS < all {
            p {
                @if from > 0 { a.btn href={ "/" (query(&[("show", model.show.name()), ("from", &from.saturating_sub(ROWS).to_string())])) } { "Worse" } " " }
                @if from + ROWS < all { a.btn href={ "/" (query(&[("show", model.show.name()), ("from", &(from + ROWS).to_string())])) } { (all - from - ROWS) " more" } }
            }
        }
        @if !model.rows.is_empty() { (model.reader.hint()) }
    };
    let mut page = Page::new(heading, Place::OnCall, body);
    page.refresh = Some(REFRESH);
    page.json = Some("/v1/incidents?status=open&status=acknowledged".into());
    page.shape = shown.iter().map(|row| row.id.as_str()).collect::<Vec<_>>().join(" ");
    page
}

fn empty(model: &Model<'_>) -> Markup {
    html! {
        section.card aria-label="Nothing open" {
            @if model.show != Show::All {
                p.empty { "No open incident is " (if model.show == Show::Snoozed { "snoozed" } else { "held back" }) ". " a href="/" { "Show all" } }
            } @else {
                p.empty {
                    @match model.last_incident {
                        Some(at) => { "No open incident; the last one opened " (number::ago(at, model.now)) " ago. " }
                        None => "There has been no incident yet. ",
                    }
                    @match model.evaluated_at {
                        Some(at) => { "The last evaluation was " (number::ago(at, model.now)) " ago; " (model.objectives) " objectives are watched." }
                        None => "Nothing has been evaluated yet: no figure is complete.",
                    }
                }
                @if model.objectives == 0 {
                    p.empty { "No rules yet: " code { "burnwatch demo" } ", or put a file into " code { "rules/" } "." }
                }
            }
        }
    }
}

fn row_of(row: &Row, now: Timestamp, reader: &Reader) -> Markup {
    let age = number::duration(Span((row.resolved_at.unwrap_or(now) - row.opened_at).millis().max(0) / 60_000 * 60_000));
    html! {
        li data-row {
            span { (severity(row.severity)) }
            span."w"."u" data-live={ "users-" (plain(&row.id)) } { @if row.users > 0 { (number::users(row.users)) } @else { span."muted"."small" { "users not measured" } } }
            span.what {
                a.t href=(path(&row.id)) { (Plain(&clip(&row.title, 160))) }
                span.m data-live={ "meta-" (plain(&row.id)) } {
                    (age) " · " (state_words(row, now))
                    @if let Some(change) = &row.change { " · " (Plain(&clip(change, 60))) }
                    @if let Some(held) = &row.held_by { " · held back: " (Plain(&clip(held, 80))) }
                    @if !row.service.is_empty() { " · " (Plain(&clip(&row.service, 40))) }
                }
            }
            span.do {
                @if row.status == Status::Open {
                    (reader.button(&format!("{}/ack", path(&row.id)), "Ack", "btn", None))
                } @else if row.status == Status::Resolved { (flag(Tone::Fine, "Resolved")) } @else { (flag(Tone::Info, "Acked")) }
            }
        }
    }
}

fn state_words(row: &Row, now: Timestamp) -> String {
    match (row.status, row.snoozed_until) {
        (Status::Resolved, _) => "resolved".into(),
        (_, Some(until)) if until > now => format!("snoozed until {}", number::clock(until, now)),
        (Status::Acknowledged, _) => row.acknowledged_by.as_ref().map_or_else(|| "acked".into(), |by| format!("acked by {}", clip(by, 40))),
        (Status::Open, _) => "not acked".into(),
    }
}

/// What an archive was asked for, as it was typed; empty: anything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    pub status: String,
    pub severity: String,
    pub service: String,
    pub q: String,
    /// First and last day on which it opened, in UTC.
    pub from: String,
    pub to: String,
}

impl Asked {
    fn pairs(&self) -> [(&'static str, &str); 6] {
        [
            ("status", &self.status),
            ("severity", &self.severity),
            ("service", &self.service),
            ("q", &self.q),
            ("from", &self.from),
            ("to", &self.to),
        ]
    }
}

/// What the archive shows.
pub struct Archive<'a> {
    pub rows: Vec<Row>,
    pub asked: Asked,
    pub next: Option<String>,
    pub now: Timestamp,
    pub reader: &'a Reader,
}

/// All incidents, newest first.
pub fn archive(model: &Archive<'_>) -> Page {
    let asked = &model.asked;
    let filters = asked.pairs();
    let choice = |name: &str, chosen: &str, values: &[&str]| {
        html! {
            select name=(name) {
                option value="" { "any" }
                @for value in values { option value=(value) selected[*value == chosen] { (value) } }
            }
        }
    };
    let body = html! {
        div.head { h1 { "Incidents" } p.muted { "Newest first." } }
        form."row"."grow" method="get" action="/incidents" role="search" {
            label { "Status" (choice("status", &asked.status, &["open", "acknowledged", "resolved"])) }
            label { "Severity" (choice("severity", &asked.severity, &["page", "ticket", "info"])) }
            label { "Service" input name="service" value=(clip(&asked.service, 200)) autocomplete="off"; }
            label { "Text in title or labels" input type="search" name="q" value=(clip(&asked.q, 200)) autocomplete="off"; }
            label { "Opened from (UTC)" input type="date" name="from" value=(clip(&asked.from, 40)); }
            label { "to" input type="date" name="to" value=(clip(&asked.to, 40)); }
            button.btn { "Search" }
        }
        @if model.rows.is_empty() {
            section.card aria-label="No incidents" {
                p.empty {
                    @if filters.iter().all(|(_, value)| value.is_empty()) { "There has been no incident yet." }
                    @else { "No incident matches. " a href="/incidents" { "Show all" } }
                }
            }
        } @else {
            table."card"."stack" {
                thead { tr { th scope="col" { "incident" } th scope="col" { "severity" } th scope="col" { "users" } th scope="col" { "opened" } th scope="col" { "lasted" } th scope="col" { "state" } } }
                tbody {
                    @for row in &model.rows {
                        tr data-row {
                            th scope="row" {
                                a href=(path(&row.id)) { (Plain(&clip(&row.title, 160))) }
                                br; span."small"."muted" { "#" (short_id(&row.id)) @if !row.service.is_empty() { " · " (Plain(&clip(&row.service, 40))) } }
                            }
                            td { (severity(row.severity)) }
                            td data-th="users" { @if row.users > 0 { (number::users(row.users)) } @else { span.muted { "not measured" } } }
                            td data-th="opened" { (number::time(row.opened_at, model.now)) }
                            td data-th="lasted" { (number::duration(Span((row.resolved_at.unwrap_or(model.now) - row.opened_at).millis().max(0)))) }
                            td data-th="state" { (state_words(row, model.now)) }
                        }
                    }
                }
            }
        }
        @if let Some(next) = &model.next {
            p { a.btn href={ "/incidents" (query(&[&filters[..], &[("cursor", next)]].concat())) } { "Older" } }
        }
    };
    let mut page = Page::new("Incidents", Place::OnCall, body);
    page.json = Some(format!("/v1/incidents{}", query(&filters[..4])));
    page
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::fixture::{self, HOSTILE, NOW, assert_inert, render};

    fn row(id: &str, severity: Severity, users: u64) -> Row {
        Row {
            id: id.into(),
            severity,
            status: Status::Open,
            title: format!("{id} fails"),
            service: "shop".into(),
            owner: String::new(),
            users,
            opened_at: fixture::at("02:51:00"),
            resolved_at: None,
            acknowledged_by: None,
            snoozed_until: None,
            change: None,
            suspect: None,
            held_by: None,
        }
    }

    fn model(rows: Vec<Row>, reader: &Reader) -> Model<'_> {
        Model {
            rows,
            show: Show::All,
            from: 0,
            objectives: 24,
            evaluated_at: Some(fixture::at("03:12:20")),
            last_incident: None,
            now: NOW,
            reader,
        }
    }

    #[test]
    fn pages_stand_before_tickets_and_many_users_before_few() {
        let mut rows = vec![row("a", Severity::Ticket, 900), row("b", Severity::Page, 10), row("c", Severity::Page, 20)];
        rank(&mut rows);
        assert_eq!(rows.iter().map(|row| row.id.as_str()).collect::<Vec<_>>(), ["c", "b", "a"]);
        let text = render(NOW, |reader| page(&model(rows, reader)));
        assert!(text.contains("3 open: up to 930 users hit") && text.contains("http-equiv=\"refresh\""));
    }

    #[test]
    fn many_incidents_are_shown_page_by_page_and_counted_whole() {
        let rows = || (0..120).map(|n| row(&format!("i{n:03}"), Severity::Page, 1_000 - n)).collect::<Vec<_>>();
        let text = render(NOW, |reader| page(&model(rows(), reader)));
        assert_eq!(text.matches("<li data-row").count(), 50);
        assert!(text.contains("120 open") && text.contains("70 more") && text.contains("/?from=50") && !text.contains("Worse"), "{text}");
        let text = render(NOW, |reader| page(&Model { from: 100, ..model(rows(), reader) }));
        assert!(text.contains("i119 fails") && !text.contains(" more<") && text.contains("/?from=50"));
        let text = render(NOW, |reader| page(&Model { from: 9_999, ..model(rows(), reader) }));
        assert_eq!(text.matches("<li data-row").count(), 0);
    }

    #[test]
    fn an_empty_page_says_why_and_what_is_watched() {
        let text = render(NOW, |reader| page(&model(vec![], reader)));
        assert!(text.contains("24 objectives are watched") && text.contains("20 s ago"));
        let text = render(NOW, |reader| page(&Model { objectives: 0, evaluated_at: None, ..model(vec![], reader) }));
        assert!(text.contains("No rules yet"));
    }

    #[test]
    fn hostile_text_is_inert_in_lists() {
        let hostile = Row {
            id: HOSTILE.into(),
            title: HOSTILE.into(),
            service: HOSTILE.into(),
            acknowledged_by: Some(HOSTILE.into()),
            status: Status::Acknowledged,
            change: Some(HOSTILE.into()),
            held_by: Some(HOSTILE.into()),
            ..row("x", Severity::Page, 1)
        };
        assert_inert(&render(NOW, |reader| page(&model(vec![hostile.clone()], reader))));
        assert_inert(&render(NOW, |reader| {
            archive(&Archive {
                rows: vec![hostile],
                asked: Asked {
                    status: HOSTILE.into(),
                    severity: HOSTILE.into(),
                    service: HOSTILE.into(),
                    q: HOSTILE.into(),
                    from: HOSTILE.into(),
                    to: HOSTILE.into(),
                },
                next: Some(HOSTILE.into()),
                now: NOW,
                reader,
            })
        }));
    }
}
