//! Reviews of a week, a month or a quarter: incidents, budgets, pages by service, worst segments, and what belongs to each
//! length alone. Made to be printed.

mod own;
mod review;

use maud::{Markup, html};

pub use review::*;

use super::evidence::being_read;
use super::incident::path;
use crate::domain::rule::{Period, Severity};
use crate::domain::time::{Span, Timestamp};
use crate::web::frame::{Page, Place, shape};
use crate::web::icon::{Tone, flag, severity};
use crate::web::number;
use crate::web::text::{Plain, clip, segment};

/// Most incidents that a page lists; all of them are counted.
const ROWS_MAX: usize = 100;
/// Seconds until a page without script is loaded anew while stored history is being read.
const REFRESH_READING: u8 = 2;

fn span_words(span: Option<Span>) -> String {
    span.map_or_else(|| number::NOT_MEASURED.to_owned(), number::duration)
}

/// The page. `earlier` and `later` are starts of the neighbouring periods.
pub fn page(review: &Review<'_>, earlier: Timestamp, later: Option<Timestamp>) -> Page {
    let users: u64 = review.counted.rows.iter().map(|row| row.users).sum();
    let count = review.counted.rows.len();
    let medians = (
        median(review.counted.rows.iter().map(|row| row.detected_in).collect()),
        median(review.counted.rows.iter().filter_map(|row| row.acknowledged_in).collect()),
        median(review.counted.rows.iter().filter_map(|row| row.lasted).collect()),
    );
    let body = html! {
        (head(review.period, review.from, review.to, earlier, later, review.now))
        div data-live="review" data-shape=(shape(review.counted.rows.iter().map(|row| row.id.as_str()).chain(review.counted.budgets.iter().map(|budget| budget.slo.as_str())))) {
        dl.figures {
            div { dt { "Incidents" } dd { span.big { @if review.counted.more { "> " } (count) } span.sub { (review.counted.before) " in the " (period_name(review.period)) " before" } } }
            div { dt { "Pages" } dd { span.big { (review.of(Severity::Page)) } span.sub { (review.of(Severity::Ticket)) " tickets, " (review.of(Severity::Info)) " infos" } } }
            div { dt { "Users hit" } dd { span.big { @if users > 0 { (number::count(users as f64)) } @else if count == 0 { "0" } @else { "not measured" } } span.sub { "a user in two incidents counts twice" } } }
            @if count == 0 { div { dt { "Median until" } dd { span.big { "no incident" } span.sub { "acknowledged, opened, over" } } } }
            @else { div { dt { "Median until" } dd { span.big { (span_words(medians.1)) } span.sub { "acknowledged; opened after " (span_words(medians.0)) ", over after " (span_words(medians.2)) } } } }
        }
        div.cols {
            div { (incidents(review)) (budgets(review)) }
            div {
                (own::cards(review))
                (tallied("h-p", "Pages by service", &review.pages_by_service(), "Nobody was paged."))
                (tallied("h-s", "Worst segments", &review.segments(), "No segment was named."))
            }
        }
        }
    };
    Page::new(format!("Review: {}", review.title()), Place::Elsewhere, body)
}

/// The page while stored history is being read.
pub fn reading(period: Period, (from, to): (Timestamp, Timestamp), earlier: Timestamp, later: Option<Timestamp>, now: Timestamp) -> Page {
    let body = html! {
        (head(period, from, to, earlier, later, now))
        div data-live="review" data-shape="" { (being_read("h-i", "Incidents and objectives")) }
    };
    let mut page = Page::new(format!("Review: {}", title(period, from)), Place::Elsewhere, body);
    page.refresh = Some(REFRESH_READING);
    page
}

fn head(period: Period, from: Timestamp, to: Timestamp, earlier: Timestamp, later: Option<Timestamp>, now: Timestamp) -> Markup {
    html! {
        div.head {
            h1 { (title(period, from)) }
            p.muted { (day(from)) " to " (day(to - Span(1))) ", UTC" @if to > now { "; " (flag(Tone::Info, "still running")) } }
            nav.tabs aria-label="Period" { @for other in [Period::Week, Period::Month, Period::Quarter] {
                a href={ "/reports/" (period_name(other)) } aria-current=[(other == period).then_some("true")] { (period_name(other)) }
            } }
            div.actions {
                a.btn href=(report_path(period, earlier)) { "Earlier" }
                @if let Some(later) = later { a.btn href=(report_path(period, later)) { "Later" } }
                a.btn href={ (report_path(period, from)) "/export.md" } { "Export" }
            }
        }
    }
}

fn incidents(review: &Review<'_>) -> Markup {
    html! {
        section.card aria-labelledby="h-i" {
            header { h2 id="h-i" { "Incidents" } span."small"."muted" { (review.counted.rows.len()) @if review.counted.rows.len() > ROWS_MAX { ", the newest " (ROWS_MAX) } } }
            @if review.counted.rows.is_empty() { p.empty { "None opened in this time." } } @else {
                table.stack {
                    thead { tr { th scope="col" { "incident" } th scope="col" { "severity" } th scope="col" { "users" } th scope="col" { "opened" } th scope="col" { "lasted" } } }
                    tbody { @for row in review.counted.rows.iter().take(ROWS_MAX) { tr data-row {
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

fn budgets(review: &Review<'_>) -> Markup {
    html! {
        section.card aria-labelledby="h-b" {
            header { h2 id="h-b" { "Objectives" } span."small"."muted" { "spent: 100 % is all that the time allows" } }
            @if review.counted.budgets.is_empty() { p.empty { "No objective is in force." } } @else {
                table.stack {
                    thead { tr { th scope="col" { "objective" } th.num scope="col" { "reached" } th.num scope="col" { "spent" } th scope="col" { "kept" } } }
                    tbody { @for budget in &review.counted.budgets { @let spent = spent(budget); tr data-row {
                        th scope="row" { a href={ "/slos/" (segment(&budget.slo)) } { (Plain(&clip(&budget.slo, 80))) } @if !budget.owner.is_empty() { br; span."small"."muted" { (Plain(&clip(&budget.owner, 60))) } } }
                        td.num data-th="reached" { (budget.counts.map_or_else(|| number::NOT_MEASURED.to_owned(), |(total, bad)| number::reached(total, bad, budget.budget_ppm))) br; span."small"."muted" { "of " (number::objective(budget.budget_ppm)) } }
                        td.num data-th="spent" { (spent.map_or_else(|| number::NOT_MEASURED.to_owned(), number::share)) }
                        td { @match spent { None => (flag(Tone::Unknown, "Unknown")), Some(spent) if spent > 1.0 => (flag(Tone::Ticket, "Missed")), Some(_) => (flag(Tone::Fine, "Kept")) } }
                    } } }
                }
            }
            @if review.counted.left_out > 0 { p."small"."muted" { (review.counted.left_out) " more objectives are left out: these are the worst." } }
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

    fn counted(text: &str) -> Counted {
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
        Counted {
            rows: vec![row(Severity::Page, 1_900, 3), row(Severity::Ticket, 40, 5), row(Severity::Page, 100, 40)],
            more: false,
            before: 7,
            budgets: vec![budget(Some((1_000_000.0, 2_500.0))), budget(Some((1_000_000.0, 200.0))), budget(None)],
            left_out: 2,
            own: Own::Nothing,
        }
    }

    fn shown(counted: &Counted, later: Option<Timestamp>) -> String {
        let (from, to) = ("2026-11-16T00:00:00Z".parse().unwrap(), "2026-11-23T00:00:00Z".parse().unwrap());
        let period = match counted.own {
            Own::Nothing | Own::Week(_) => Period::Week,
            Own::Month(_) => Period::Month,
            Own::Quarter(_) => Period::Quarter,
        };
        render(NOW, |_| page(&Review { period, from, to, counted, now: NOW }, NOW - Span::days(7), later))
    }

    #[test]
    fn a_review_counts_what_happened_and_what_was_kept() {
        let text = shown(&counted("shop"), None);
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
        assert_inert(&shown(&counted(HOSTILE), Some(NOW)));
    }

    #[test]
    fn each_length_has_what_belongs_to_it() {
        let text = |text: &str| text.to_owned();
        let of = |own: Own| shown(&Counted { own, ..counted("shop") }, None);
        let week = |name: &str| {
            let errors = vec![Errors { app: text(name), fingerprint: text(name), route: text(name), events: 1_240.0, users: None }];
            let slow = vec![Slow { app: text(name), route: text(name), loads: 900.0, p75: 3_060.0, p95: 8_100.0 }];
            Own::Week(Week { errors, slow })
        };
        let shown = of(week("TypeError at cart.js"));
        for part in ["Top errors", "TypeError at cart.js", "1.2k", "Slowest pages", "8.1 s", "not measured"] {
            assert!(shown.contains(part), "{part} in {shown}");
        }
        let month = |name: &str| {
            let apps = vec![Volume { app: text(name), received: 1_000.0, stand_for: 100_000.0, before: Some(800.0) }];
            Own::Month(Month { apps, sampling: crate::web::fixture::hostile_incident().changes, series: 2_261, series_max: 50_000 })
        };
        let shown = of(month("storefront"));
        for part in ["Cost and sampling", "storefront", "+25 %", "1 %", "2,261"] {
            assert!(shown.contains(part), "{part} in {shown}");
        }
        let quarter = |name: &str| {
            let privacy = vec![("hash of users", text(name))];
            Own::Quarter(Quarter { retention: vec![("fine buckets", Span::days(8))], privacy, redacted: vec![(text(name), 3.0)] })
        };
        let shown = of(quarter("changes every 30 days"));
        for part in ["Targets to talk about", "Missed", "8 days", "changes every 30 days", "Privacy"] {
            assert!(shown.contains(part), "{part} in {shown}");
        }
        for own in [week(HOSTILE), month(HOSTILE), quarter(HOSTILE)] {
            assert_inert(&of(own));
        }
    }

    #[test]
    fn a_review_that_is_being_read_says_so_and_comes_by_itself() {
        let (from, to) = ("2026-11-16T00:00:00Z".parse().unwrap(), "2026-11-23T00:00:00Z".parse().unwrap());
        let text = render(NOW, |_| reading(Period::Week, (from, to), NOW, None, NOW));
        assert!(text.contains("Week of 16 Nov 2026") && text.contains("Being read") && text.contains("http-equiv=\"refresh\""), "{text}");
    }
}
