//! All incidents that ever were, newest first.

use maud::html;

use super::incident::{path, short_id};
use super::oncall::{Row, state_words};
use crate::domain::time::{Span, Timestamp};
use crate::web::frame::{Page, Place};
use crate::web::icon::severity;
use crate::web::number;
use crate::web::text::{Plain, clip, query};

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
pub struct Archive {
    pub rows: Vec<Row>,
    pub asked: Asked,
    pub next: Option<String>,
    pub now: Timestamp,
}

/// All incidents, newest first.
pub fn page(model: &Archive) -> Page {
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
            label { "Text in title, labels or rules" input type="search" name="q" value=(clip(&asked.q, 200)) autocomplete="off"; }
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

    #[test]
    fn hostile_text_is_inert_in_the_archive() {
        let text = || HOSTILE.to_owned();
        let row = Row { id: text(), title: text(), service: text(), acknowledged_by: Some(text()), ..fixture::row() };
        let asked = Asked { status: text(), severity: text(), service: text(), q: text(), from: text(), to: text() };
        assert_inert(&render(NOW, |_| page(&Archive { rows: vec![row], asked, next: Some(text()), now: NOW })));
    }
}
