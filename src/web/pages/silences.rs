//! Silences and maintenance windows: what holds alerts back, the soonest end first.

use maud::{Markup, html};

use super::file_link;
use crate::domain::rule::MaintenanceBudget;
use crate::domain::time::{Span, Timestamp};
use crate::web::frame::{Page, Place, Reader};
use crate::web::icon::{Tone, flag};
use crate::web::number;
use crate::web::text::{Plain, clip, query, segment};

/// Rows of one page.
pub const ROWS: usize = 50;

/// One silence in a list.
#[derive(Clone, Debug, PartialEq)]
pub struct Silence {
    pub id: String,
    pub matchers: Vec<String>,
    /// `active`, `pending` or `expired`.
    pub state: &'static str,
    pub starts: Timestamp,
    pub ends: Timestamp,
    pub author: String,
    pub comment: String,
    /// Alerts that it matches now.
    pub holds: usize,
    /// What its author should be reminded of.
    pub reminder: Option<String>,
    /// Written in rules: ended there, not here.
    pub in_rules: bool,
}

/// Planned work, as rules declare it.
#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    pub name: String,
    pub matchers: Vec<String>,
    /// The one that is on, or the next one; `None`: it is over.
    pub next: Option<(Timestamp, Timestamp)>,
    pub budget: MaintenanceBudget,
    pub place: crate::domain::rule::Place,
    /// Alerts that it holds back now.
    pub holds: usize,
}

/// The page's model.
pub struct Model<'a> {
    /// Of the chosen tab, already cut to one page.
    pub rows: &'a [Silence],
    pub windows: &'a [Window],
    /// How many there are in each tab.
    pub counts: [usize; 3],
    pub tab: &'a str,
    pub from: usize,
    pub now: Timestamp,
    pub reader: &'a Reader,
}

/// The tabs: state, label.
pub const TABS: [(&str, &str); 3] = [("active", "active"), ("pending", "upcoming"), ("expired", "ended")];

/// Silences, the soonest end first, and maintenance windows.
pub fn page(model: &Model<'_>) -> Page {
    let link = |tab: &str, from: usize| {
        let from = if from == 0 { String::new() } else { from.to_string() };
        format!("/silences{}", query(&[("state", if tab == "active" { "" } else { tab }), ("from", &from)]))
    };
    let all = TABS.iter().position(|(tab, _)| *tab == model.tab).map_or(0, |at| model.counts[at]);
    let to = model.from + model.rows.len();
    let body = html! {
        div.head {
            h1 { "Silences and maintenance" }
            nav.tabs aria-label="Which" {
                @for ((tab, label), count) in TABS.iter().zip(model.counts) {
                    a href=(link(tab, 0)) aria-current=[(*tab == model.tab).then_some("true")] { (label) " " (count) }
                }
            }
            @if model.reader.operate { div.actions { a.btn href="/silences/new" data-key="s" { "New silence" } } }
            (model.reader.hint())
        }
        @if model.rows.is_empty() {
            section.card aria-label="None" { p.empty { @if model.tab == "active" { "No silence is active: every alert reaches whoever its route names." } @else { "None." } } }
        } @else { (table(model)) }
        @if model.from > 0 || to < all {
            p {
                @if model.from > 0 { a.btn href=(link(model.tab, model.from.saturating_sub(ROWS))) { "Back" } " " }
                @if to < all { a.btn href=(link(model.tab, to)) { (all - to) " more" } }
            }
        }
        (windows(model))
    };
    let mut page = Page::new(format!("Silences: {} active", model.counts[0]), Place::Silences, body);
    page.json = Some("/v1/silences".into());
    page
}

fn table(model: &Model<'_>) -> Markup {
    html! {
        table."card"."stack" {
            thead { tr { th scope="col" { "matches" } th scope="col" { "who and why" } th scope="col" { "ends" } th scope="col" { "holds back now" } th scope="col" { "do" } } }
            tbody { @for row in model.rows { tr data-row {
                th scope="row" { a.any href={ "/silences/" (segment(&row.id)) } { (matchers(&row.matchers)) } }
                td { (Plain(&clip(&row.author, 80))) br; span."small"."muted" { @if row.comment.is_empty() { "no reason given" } @else { (Plain(&clip(&row.comment, 200))) } @if row.in_rules { " (in rules)" } } }
                td data-th="ends" { (ends(row, model.now)) }
                td data-th="holds back" {
                    (alerts(row.holds))
                    @if let Some(reminder) = &row.reminder { br; span.small { (flag(Tone::Ticket, "Look")) " " (Plain(&clip(reminder, 160))) } }
                }
                td { @if row.state != "expired" && !row.in_rules { (model.reader.button(&format!("/silences/{}/end", segment(&row.id)), "End now", "btn quiet", None)) } @else if row.in_rules { span."small"."muted" { "ends in rules" } } @else { span."small"."muted" { "ended" } } }
            } } }
        }
    }
}

fn ends(row: &Silence, now: Timestamp) -> Markup {
    html! {
        (number::time(row.ends, now))
        @if row.state == "active" {
            br; span."small"."muted" { "in " (number::duration(row.ends - now)) }
            @if row.ends - now < Span::HOUR { " " (flag(Tone::Ticket, if row.holds > 0 { "soon, and what it hides fires" } else { "soon" })) }
        }
        @if row.state == "pending" { br; span."small"."muted" { "begins " (number::time(row.starts, now)) } }
    }
}

/// One a line, as they are written.
pub fn matchers(texts: &[String]) -> Markup {
    html! { @for (i, matcher) in texts.iter().enumerate() { @if i > 0 { br; } code { (Plain(&clip(matcher, 120))) } } @if texts.is_empty() { "everything" } }
}

fn alerts(n: usize) -> String {
    format!("{n} {}", if n == 1 { "alert" } else { "alerts" })
}

fn windows(model: &Model<'_>) -> Markup {
    html! {
        section.card aria-labelledby="h-w" {
            header { h2 id="h-w" { "Maintenance windows" } span."small"."muted" { "declared in rules" } }
            @if model.windows.is_empty() { p.empty { "None is declared. Planned work that should mute alerts, and may be taken out of budgets, is a " code { "maintenance(…)" } " in the rules." } } @else {
                table.stack {
                    thead { tr { th scope="col" { "window" } th scope="col" { "matches" } th scope="col" { "when (UTC)" } th scope="col" { "budget" } th scope="col" { "holds back now" } } }
                    tbody { @for one in model.windows { tr {
                        th scope="row" { (Plain(&clip(&one.name, 80))) br; (file_link(&one.place)) }
                        td { (matchers(&one.matchers)) }
                        td data-th="when" { (when(one, model.now)) }
                        td data-th="budget" { (match one.budget { MaintenanceBudget::Count => "keeps counting", MaintenanceBudget::Exclude => "the time is taken out", MaintenanceBudget::Good => "counts as good" }) }
                        td data-th="holds back" { (alerts(one.holds)) }
                    } } }
                }
            }
        }
    }
}

fn when(one: &Window, now: Timestamp) -> Markup {
    html! {
        @match one.next {
            Some((starts, ends)) if starts <= now => { (flag(Tone::Info, "On")) " until " (number::time(ends, now)) br; span."small"."muted" { "ends in " (number::duration(ends - now)) } }
            Some((starts, ends)) => { (number::time(starts, now)) " to " (number::time(ends, now)) br; span."small"."muted" { "in " (number::duration(starts - now)) } }
            None => span.muted { "over, or not within 60 days" },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::fixture::{HOSTILE, NOW, assert_inert, render};

    fn silence(text: &str, state: &'static str) -> Silence {
        Silence {
            id: text.into(),
            matchers: vec![text.into()],
            state,
            starts: NOW,
            ends: NOW + Span::minutes(5),
            author: text.into(),
            comment: text.into(),
            holds: 1,
            reminder: Some(text.into()),
            in_rules: false,
        }
    }

    fn window(next: Option<(Timestamp, Timestamp)>) -> Window {
        let place = crate::domain::rule::Place { path: "a.rhai".into(), line: 3, column: 1 };
        Window { name: "migration".into(), matchers: vec![], next, budget: MaintenanceBudget::Exclude, place, holds: 2 }
    }

    fn shown(rows: &[Silence], windows: &[Window], counts: [usize; 3], from: usize) -> String {
        render(NOW, |reader| page(&Model { rows, windows, counts, tab: "active", from, now: NOW, reader }))
    }

    #[test]
    fn many_silences_are_paged_and_counted_whole() {
        let rows: Vec<Silence> = (0..ROWS).map(|n| silence(&format!("s{n}"), "active")).collect();
        let text = shown(&rows, &[], [120, 0, 3], 50);
        assert!(
            text.contains("active 120") && text.contains("20 more") && text.contains("/silences?from=100") && text.contains(">Back<"),
            "{text}"
        );
        let all = shown(&rows[..1], &[], [1, 0, 3], 0);
        assert!(!all.contains(" more<") && !all.contains(">Back<"));
    }

    #[test]
    fn windows_say_whether_they_are_on_and_what_they_do_to_budgets() {
        let on = window(Some((NOW - Span::HOUR, NOW + Span::minutes(20))));
        let next = window(Some((NOW + Span::hours(5), NOW + Span::hours(6))));
        let text = shown(&[], &[on, next, window(None)], [0; 3], 0);
        for part in ["ends in 20 min", "in 5 h", "over, or not within 60 days", "the time is taken out", "2 alerts", "everything"] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }

    #[test]
    fn hostile_text_is_inert_in_silences() {
        let window = Window { name: HOSTILE.into(), matchers: vec![HOSTILE.into()], ..window(None) };
        assert_inert(&shown(&[silence(HOSTILE, "active"), silence(HOSTILE, "pending")], &[window], [2, 0, 0], 0));
    }
}
