//! Reviews of a week, a month or a quarter: incidents, budgets, pages by service, worst segments. Made to be printed.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::incident::path;
use crate::domain::rule::{Period, Severity};
use crate::domain::time::{Span, Timestamp};
use crate::web::frame::{Page, Place};
use crate::web::icon::{Tone, flag, severity};
use crate::web::number;
use crate::web::text::{Plain, clip, segment};

/// Most incidents that a page lists; all of them are counted.
const ROWS_MAX: usize = 100;

/// One incident of the time.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    pub id: String,
    pub title: String,
    pub severity: Severity,
    pub service: String,
    pub users: u64,
    pub opened_at: Timestamp,
    /// From the first failure to the opening.
    pub detected_in: Span,
    pub acknowledged_in: Option<Span>,
    pub lasted: Option<Span>,
    /// The first suspect, in words; empty when none was named.
    pub segment: String,
}

/// What an objective did in the time.
#[derive(Clone, Debug, PartialEq)]
pub struct Budget {
    pub slo: String,
    pub owner: String,
    pub budget_ppm: u32,
    /// Total and bad; `None`: not measured, or not read in time.
    pub counts: Option<(f64, f64)>,
}

/// A whole review.
#[derive(Clone, Debug, PartialEq)]
pub struct Review {
    pub period: Period,
    pub from: Timestamp,
    pub to: Timestamp,
    /// Newest first.
    pub rows: Vec<Row>,
    /// There were more incidents than were read.
    pub more: bool,
    /// How many incidents the period before had.
    pub before: usize,
    /// The most spent first.
    pub budgets: Vec<Budget>,
    /// Objectives that are not among them.
    pub left_out: usize,
    pub now: Timestamp,
}

/// `week`, as it stands in addresses.
pub const fn period_name(period: Period) -> &'static str {
    period.name()
}

/// `2026-11-16`.
pub fn day(at: Timestamp) -> String {
    at.to_chrono().unwrap_or_default().format("%Y-%m-%d").to_string()
}

/// The middle value; `None` of none.
pub fn median(mut spans: Vec<Span>) -> Option<Span> {
    spans.sort();
    let n = spans.len();
    (n > 0).then(|| Span((spans[(n - 1) / 2].millis() + spans[n / 2].millis()) / 2))
}

/// Counts by a text, the most first; at most ten.
pub fn tally<'a>(texts: impl Iterator<Item = (&'a str, u64)>) -> Vec<(String, usize, u64)> {
    let mut counts: BTreeMap<&str, (usize, u64)> = BTreeMap::new();
    for (text, users) in texts {
        let count = counts.entry(text).or_default();
        *count = (count.0 + 1, count.1 + users);
    }
    let mut rows: Vec<_> = counts.into_iter().map(|(text, (n, users))| (text.to_owned(), n, users)).collect();
    rows.sort_by(|a, b| b.1.cmp(&a.1).then(b.2.cmp(&a.2)).then(a.0.cmp(&b.0)));
    rows.truncate(10);
    rows
}

impl Review {
    /// How many incidents of a severity.
    pub fn of(&self, severity: Severity) -> usize {
        self.rows.iter().filter(|row| row.severity == severity).count()
    }

    /// Whether the period is still running.
    pub fn running(&self) -> bool {
        self.to > self.now
    }

    /// `Week of 16 Nov 2026`.
    pub fn title(&self) -> String {
        let at = self.from.to_chrono().unwrap_or_default();
        match self.period {
            Period::Month => at.format("%B %Y").to_string(),
            Period::Quarter => format!("Quarter from {}", at.format("%B %Y")),
            Period::Day | Period::Week | Period::Year => {
                let name = period_name(self.period);
                format!("{}{} of {}", name[..1].to_uppercase(), &name[1..], at.format("%-d %b %Y"))
            }
        }
    }

    /// Pages by service, the most first.
    pub fn pages_by_service(&self) -> Vec<(String, usize, u64)> {
        tally(self.rows.iter().filter(|row| row.severity == Severity::Page).map(|row| (row.service.as_str(), row.users)))
    }

    /// Segments that were named, the most first.
    pub fn segments(&self) -> Vec<(String, usize, u64)> {
        tally(self.rows.iter().filter(|row| !row.segment.is_empty()).map(|row| (row.segment.as_str(), row.users)))
    }
}

/// Where a review is.
pub fn report_path(period: Period, from: Timestamp) -> String {
    format!("/reports/{}/{}", period_name(period), day(from))
}

fn span_words(span: Option<Span>) -> String {
    span.map_or_else(|| number::NOT_MEASURED.to_owned(), number::duration)
}

/// The share of the budget that the time used, in words: 100 % is all that an even pace allows.
pub fn spent(budget: &Budget) -> Option<f64> {
    let share = f64::from(budget.budget_ppm) / 1e6;
    budget.counts.filter(|(total, _)| *total > 0.0 && share > 0.0).map(|(total, bad)| bad / total / share)
}

/// The page. `earlier` and `later` are starts of the neighbouring periods.
pub fn page(review: &Review, earlier: Timestamp, later: Option<Timestamp>) -> Page {
    let users: u64 = review.rows.iter().map(|row| row.users).sum();
    let count = review.rows.len();
    let here = report_path(review.period, review.from);
    let medians = (
        median(review.rows.iter().map(|row| row.detected_in).collect()),
        median(review.rows.iter().filter_map(|row| row.acknowledged_in).collect()),
        median(review.rows.iter().filter_map(|row| row.lasted).collect()),
    );
    let body = html! {
        div.head {
            h1 { (review.title()) }
            p.muted { (day(review.from)) " to " (day(review.to - Span(1))) ", UTC" @if review.running() { "; " (flag(Tone::Info, "still running")) } }
            nav.tabs aria-label="Period" { @for period in [Period::Week, Period::Month, Period::Quarter] {
                a href={ "/reports/" (period_name(period)) } aria-current=[(period == review.period).then_some("true")] { (period_name(period)) }
            } }
            div.actions {
                a.btn href=(report_path(review.period, earlier)) { "Earlier" }
                @if let Some(later) = later { a.btn href=(report_path(review.period, later)) { "Later" } }
                a.btn href={ (here) "/export.md" } { "Export" }
            }
        }
        dl.figures {
            div { dt { "Incidents" } dd { span.big { @if review.more { "> " } (count) } span.sub { (review.before) " in the " (period_name(review.period)) " before" } } }
            div { dt { "Pages" } dd { span.big { (review.of(Severity::Page)) } span.sub { (review.of(Severity::Ticket)) " tickets, " (review.of(Severity::Info)) " infos" } } }
            div { dt { "Users hit" } dd { span.big { @if users > 0 { (number::count(users as f64)) } @else if count == 0 { "0" } @else { "not measured" } } span.sub { "a user in two incidents counts twice" } } }
            div { dt { "Median until" } dd { span.big { (span_words(medians.1)) } span.sub { "acknowledged; opened after " (span_words(medians.0)) ", over after " (span_words(medians.2)) } } }
        }
        div.cols {
            div { (incidents(review)) (budgets(review)) }
            div {
                (tallied("h-p", "Pages by service", &review.pages_by_service(), "Nobody was paged."))
                (tallied("h-s", "Worst segments", &review.segments(), "No segment was named."))
            }
        }
    };
    Page::new(format!("Review: {}", review.title()), Place::Elsewhere, body)
}

fn incidents(review: &Review) -> Markup {
    html! {
        section.card aria-labelledby="h-i" {
            header { h2 id="h-i" { "Incidents" } span."small"."muted" { (review.rows.len()) @if review.rows.len() > ROWS_MAX { ", the newest " (ROWS_MAX) } } }
            @if review.rows.is_empty() { p.empty { "None opened in this time." } } @else {
                table.stack {
                    thead { tr { th scope="col" { "incident" } th scope="col" { "severity" } th scope="col" { "users" } th scope="col" { "opened" } th scope="col" { "lasted" } } }
                    tbody { @for row in review.rows.iter().take(ROWS_MAX) { tr data-row {
                        th scope="row" { a href=(path(&row.id)) { (Plain(&clip(&row.title, 160))) } @if !row.segment.is_empty() { br; span."small"."muted" { (Plain(&clip(&row.segment, 120))) } } }
                        td { (severity(row.severity)) }
                        td data-th="users" { @if row.users > 0 { (number::users(row.users)) } @else { span.muted { (number::NOT_MEASURED) } } }
                        td.nowrap data-th="opened" { (number::time(row.opened_at, review.now)) }
                        td.nowrap data-th="lasted" { @match row.lasted { Some(lasted) => (number::duration(lasted)), None => "open" } }
                    } } }
                }
            }
        }
    }
}

fn budgets(review: &Review) -> Markup {
    html! {
        section.card aria-labelledby="h-b" {
            header { h2 id="h-b" { "Objectives" } span."small"."muted" { "spent: 100 % is all that the time allows" } }
            @if review.budgets.is_empty() { p.empty { "No objective is in force." } } @else {
                table.stack {
                    thead { tr { th scope="col" { "objective" } th.num scope="col" { "reached" } th.num scope="col" { "spent" } th scope="col" { "kept" } } }
                    tbody { @for budget in &review.budgets { @let spent = spent(budget); tr data-row {
                        th scope="row" { a href={ "/slos/" (segment(&budget.slo)) } { (Plain(&clip(&budget.slo, 80))) } @if !budget.owner.is_empty() { br; span."small"."muted" { (Plain(&clip(&budget.owner, 60))) } } }
                        td.num data-th="reached" { (budget.counts.map_or_else(|| number::NOT_MEASURED.to_owned(), |(total, bad)| number::reached(total, bad, budget.budget_ppm))) br; span."small"."muted" { "of " (number::objective(budget.budget_ppm)) } }
                        td.num data-th="spent" { (spent.map_or_else(|| number::NOT_MEASURED.to_owned(), number::share)) }
                        td { @match spent { None => (flag(Tone::Unknown, "Unknown")), Some(spent) if spent > 1.0 => (flag(Tone::Ticket, "Missed")), Some(_) => (flag(Tone::Fine, "Kept")) } }
                    } } }
                }
            }
            @if review.left_out > 0 { p."small"."muted" { (review.left_out) " more objectives are left out." } }
        }
    }
}

fn tallied(id: &str, title: &str, rows: &[(String, usize, u64)], none: &str) -> Markup {
    html! {
        section.card aria-labelledby=(id) {
            header { h2 id=(id) { (title) } }
            @if rows.is_empty() { p.empty { (none) } }
            ul."plain"."dl" { @for (name, count, users) in rows { li {
                span { @if name.is_empty() { span.muted { "(no service)" } } @else { (Plain(&clip(name, 100))) } }
                span."muted"."nowrap" { (count) "×" @if *users > 0 { ", " (number::users(*users)) } }
            } } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::fixture::{HOSTILE, NOW, assert_inert, render};

    fn review(text: &str) -> Review {
        let row = |severity, users, minutes| Row {
            id: "4127".into(),
            title: text.into(),
            severity,
            service: text.into(),
            users,
            opened_at: NOW,
            detected_in: Span::minutes(minutes),
            acknowledged_in: Some(Span::minutes(minutes)),
            lasted: Some(Span::minutes(minutes * 10)),
            segment: text.into(),
        };
        let budget = |counts| Budget { slo: text.into(), owner: text.into(), budget_ppm: 1_000, counts };
        Review {
            period: Period::Week,
            from: "2026-11-16T00:00:00Z".parse().unwrap(),
            to: "2026-11-23T00:00:00Z".parse().unwrap(),
            rows: vec![row(Severity::Page, 1_900, 3), row(Severity::Ticket, 40, 5), row(Severity::Page, 100, 40)],
            more: false,
            before: 7,
            budgets: vec![budget(Some((1_000_000.0, 2_500.0))), budget(Some((1_000_000.0, 200.0))), budget(None)],
            left_out: 2,
            now: NOW,
        }
    }

    #[test]
    fn a_review_counts_what_happened_and_what_was_kept() {
        let text = render(NOW, |_| page(&review("shop"), NOW - Span::days(7), None));
        for part in [
            "Week of 16 Nov 2026",
            "still running",
            "7 in the week before",
            "2k",
            "99.750 %",
            "250 %",
            "Missed",
            "Kept",
            "Unknown",
            "2×",
            "2k users",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(text.contains("<span class=\"big\">5 min</span>"), "the median of 3, 5 and 40 minutes");
        assert_inert(&render(NOW, |_| page(&review(HOSTILE), NOW, Some(NOW))));
    }

    #[test]
    fn a_median_of_nothing_is_no_number() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![Span(4), Span(2)]), Some(Span(3)));
        let text = tally([("a", 1), ("b", 9), ("a", 1)].into_iter());
        assert_eq!(text, [("a".to_owned(), 2, 2), ("b".to_owned(), 1, 9)]);
    }
}
