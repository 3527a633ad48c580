//! Everybody who can be told: where they are, how deliveries to them go, and a test.

use maud::html;

use crate::domain::time::Timestamp;
use crate::web::frame::{Page, Place, Reader};
use crate::web::icon::{Tone, flag};
use crate::web::number;
use crate::web::text::{Plain, clip, query, segment};

/// One receiver with how it does.
#[derive(Clone, Debug, PartialEq)]
pub struct ReceiverRow {
    pub name: String,
    pub kind: String,
    pub target: String,
    pub pending: i64,
    /// Attempts of the last week, and how many of them failed.
    pub attempts: i64,
    pub failed: i64,
    pub last_success: Option<Timestamp>,
    pub last_error: String,
    /// Nothing is sent until then: too much failed.
    pub paused_until: Option<Timestamp>,
}

impl ReceiverRow {
    /// Whether somebody should look at it.
    pub fn is_in_trouble(&self, now: Timestamp) -> bool {
        !self.last_error.is_empty() || self.paused_until.is_some_and(|until| until > now)
    }
}

/// One page of them.
pub struct Receivers<'a> {
    pub rows: &'a [ReceiverRow],
    /// The first that is shown, and how many there are.
    pub from: usize,
    pub all: usize,
    pub now: Timestamp,
    pub reader: &'a Reader,
}

/// The page.
pub fn page(model: &Receivers<'_>) -> Page {
    let (now, reader) = (model.now, model.reader);
    let to = model.from + model.rows.len();
    let at = |from: usize| format!("/receivers{}", query(&[("from", &from.to_string())]));
    let body = html! {
        div.head {
            h1 { "Receivers" }
            nav.tabs aria-label="Related" { a href="/notifications" { "all notifications" } a href="/deadletters" { "dead letters" } a href="/receivers" aria-current="true" { "receivers" } }
        }
        (reader.hint())
        @if model.all == 0 { section.card aria-label="None" { p.empty { "None is declared: nobody will be told. Rules declare them with " code { "receiver(\"name\", …)" } "." } } } @else {
            table."card"."stack" {
                thead { tr { th scope="col" { "receiver" } th scope="col" { "leads to" } th scope="col" { "last success" } th.num scope="col" { "failed attempts" } th.num scope="col" { "queue" } th scope="col" { "state" } th scope="col" { "do" } } }
                tbody { @for row in model.rows { tr data-row {
                    th scope="row" { (Plain(&clip(&row.name, 80))) br; span."small"."muted" { (Plain(&row.kind)) } }
                    td { (Plain(&clip(&row.target, 120))) }
                    td data-th="last success" { @match row.last_success { Some(at) => (number::time(at, now)), None => span.muted { "none in the last week" } } }
                    td.num data-th="failed attempts" { @if row.attempts == 0 { span.muted { "no attempt" } } @else { (number::share(row.failed as f64 / row.attempts as f64)) br; span."small"."muted" { "of " (number::count(row.attempts as f64)) } } }
                    td.num data-th="queue" { (number::count(row.pending as f64)) }
                    td {
                        @match row.paused_until.filter(|until| *until > now) {
                            Some(until) => { (flag(Tone::Ticket, "Paused")) " until " (number::time_seconds(until, now)) }
                            None if row.last_error.is_empty() => (flag(Tone::Fine, "Fine")),
                            None => (flag(Tone::Ticket, "Failing")),
                        }
                        @if !row.last_error.is_empty() { br; span."small"."muted" { (Plain(&clip(&row.last_error, 160))) } }
                    }
                    td { (reader.button(&format!("/receivers/{}/test", segment(&row.name)), "Send a test", "btn quiet", None)) }
                } } }
            }
        }
        @if model.from > 0 || to < model.all { p { @if model.from > 0 { a.btn href="/receivers" { "First" } " " } @if to < model.all { a.btn href=(at(to)) { (model.all - to) " more" } } } }
    };
    let trouble = model.rows.iter().filter(|row| row.is_in_trouble(now)).count();
    let title = if trouble > 0 { format!("{trouble} of {} receivers in trouble", model.all) } else { format!("Receivers: {}", model.all) };
    let mut page = Page::new(title, Place::Notifications, body);
    page.json = Some("/v1/receivers".into());
    page
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::Span;
    use crate::web::fixture::{HOSTILE, NOW, assert_inert, render};

    fn row(text: &str) -> ReceiverRow {
        ReceiverRow {
            name: text.into(),
            kind: text.into(),
            target: text.into(),
            pending: 3,
            attempts: 40,
            failed: 10,
            last_success: None,
            last_error: text.into(),
            paused_until: Some(NOW + Span::minutes(2)),
        }
    }

    fn shown(rows: &[ReceiverRow], from: usize, all: usize) -> String {
        render(NOW, |reader| page(&Receivers { rows, from, all, now: NOW, reader }))
    }

    #[test]
    fn a_receiver_says_how_much_fails_and_that_it_is_paused() {
        let text = shown(&[row("pager")], 0, 1);
        assert!(
            text.contains("25 %") && text.contains("of 40") && text.contains("Paused") && text.contains("none in the last week"),
            "{text}"
        );
        let well = ReceiverRow { last_error: String::new(), paused_until: None, attempts: 0, failed: 0, ..row("pager") };
        assert!(row("pager").is_in_trouble(NOW) && !well.is_in_trouble(NOW));
        let text = shown(&[well], 0, 1);
        assert!(text.contains("no attempt") && text.contains("Fine") && !text.contains("0 %"), "{text}");
    }

    #[test]
    fn many_receivers_are_paged() {
        let text = shown(&vec![row("pager"); 50], 50, 130);
        assert!(text.contains("30 more") && text.contains("/receivers?from=100") && text.contains("First"), "{text}");
    }

    #[test]
    fn hostile_text_is_inert_among_receivers() {
        assert_inert(&shown(&[row(HOSTILE)], 0, 1));
    }
}
