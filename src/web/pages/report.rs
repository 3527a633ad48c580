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
use crate::web::text::{Plain, clip, query, segment};

/// Incidents of one page; all of them are counted, and stand in the export.
const ROWS: usize = 25;
/// Objectives that a page lists, the most spent first; the export has all that were read.
const OBJECTIVES: usize = 25;
/// Seconds until a page without script is loaded anew while stored history is being read.
const REFRESH_READING: u8 = 2;

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
            div { dt { "Until acknowledged, median" } dd {
                span.big { @match medians.1 { Some(span) => (number::duration(span)), None if count == 0 => "no incident", None => "nobody did" } }
                span.sub {
                    @if let Some(span) = medians.0 { "opened " (number::duration(span)) " after the first failure; " }
                    @match medians.2 { Some(span) => { "over after " (number::duration(span)) } None if count > 0 => "none is over yet", None => "" }
                }
            } }
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
    let all = review.counted.rows.len();
    let from = review.first.min(all);
    let to = all.min(from + ROWS);
    let at = |from: usize| format!("{}{}#h-i", report_path(review.period, review.from), query(&[("from", &from.to_string())]));
    html! {
        section.card aria-labelledby="h-i" {
            header { h2 id="h-i" { "Incidents" } span."small"."muted" { (all) @if all > ROWS { ", the newest first: " (from + 1) " to " (to) } } }
            @if all == 0 { p.empty { "None opened in this time." } } @else {
                table.stack {
                    thead { tr { th scope="col" { "incident" } th scope="col" { "severity" } th scope="col" { "users" } th scope="col" { "opened" } th scope="col" { "lasted" } } }
                    tbody { @for row in &review.counted.rows[from..to] { tr data-row {
                        th scope="row" { a href=(path(&row.id)) { (Plain(&clip(&row.title, 160))) } @if !row.segment.is_empty() { br; span."small"."muted" { (Plain(&clip(&row.segment, 120))) } } }
                        td { (severity(row.severity)) }
                        td.nowrap data-th="users" { @if row.users > 0 { (number::users(row.users)) } @else { span.muted { (number::NOT_MEASURED) } } }
                        td.nowrap data-th="opened" { (number::time(row.opened_at, review.now)) }
                        td.nowrap data-th="lasted" { @match row.lasted { Some(lasted) => (number::duration(lasted)), None => "open" } }
                    } } }
                }
            }
            @if from > 0 || to < all {
                p { @if from > 0 { a.btn href=(at(from.saturating_sub(ROWS))) { "Newer" } " " } @if to < all { a.btn href=(at(to)) { (all - to) " older" } } }
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
                    tbody { @for budget in review.counted.budgets.iter().take(OBJECTIVES) { @let spent = spent(budget); tr data-row {
                        th scope="row" { a href={ "/slos/" (segment(&budget.slo)) } { (Plain(&clip(&budget.slo, 80))) } @if !budget.owner.is_empty() { br; span."small"."muted" { (Plain(&clip(&budget.owner, 60))) } } }
                        td.num data-th="reached" { (budget.counts.map_or_else(|| number::NOT_MEASURED.to_owned(), |(total, bad)| number::reached(total, bad, budget.budget_ppm))) br; span."small"."muted" { "of " (number::objective(budget.budget_ppm)) } }
                        td.num data-th="spent" { (spent.map_or_else(|| number::NOT_MEASURED.to_owned(), number::share)) }
                        td { @match spent { None => (flag(Tone::Unknown, "Unknown")), Some(spent) if spent > 1.0 => (flag(Tone::Ticket, "Missed")), Some(_) => (flag(Tone::Fine, "Kept")) } }
                    } } }
                }
            }
            @let more = review.counted.budgets.len().saturating_sub(OBJECTIVES);
            @if more + review.counted.left_out > 0 {
                p."small"."muted" {
                    (more + review.counted.left_out) " more objectives are left out: these are the worst."
                    @if more > 0 { " The " a href={ (report_path(review.period, review.from)) "/export.md" } { "export" } " has " (more) " of them." }
                }
            }
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
    use crate::web::fixture::{HOSTILE, NOW, assert_inert, assert_light, render};

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
        render(NOW, |_| page(&Review { period, from, to, counted, first: 0, now: NOW }, NOW - Span::days(7), later))
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
    fn many_incidents_are_paged_and_the_page_stays_light() {
        let long = |n: usize| format!("{n:04} {}", "Checkout fails for 1 in 9 requests, almost all on release 2.3.1 ".repeat(3));
        let name = |n: usize| format!("objective-of-a-service-with-a-long-name-{n:03}");
        let whole = counted("shop");
        let rows =
            (0..200).map(|n| Row { id: format!("id{n:03}"), title: long(n), segment: long(n), service: name(n), ..whole.rows[0].clone() });
        let budgets = (0..40).map(|n| Budget { slo: name(n), owner: name(n), ..whole.budgets[0].clone() }).collect();
        let own = Own::Quarter(Quarter { retention: vec![("fine buckets", Span::days(8))], ..Quarter::default() });
        let counted = Counted { rows: rows.collect(), budgets, own, ..whole };
        let (from, to) = ("2026-10-01T00:00:00Z".parse().unwrap(), "2027-01-01T00:00:00Z".parse().unwrap());
        let shown =
            |first| render(NOW, |_| page(&Review { period: Period::Quarter, from, to, counted: &counted, first, now: NOW }, NOW, None));
        let text = shown(0);
        assert!(text.contains("id000") && text.contains("id024") && !text.contains("id025") && text.contains("175 older"));
        assert!(text.contains("href=\"/reports/quarter/2026-10-01?from=25#h-i\"") && !text.contains("Newer"), "{text}");
        assert_light(&text);
        let text = shown(190);
        assert!(text.contains("id199") && text.contains("191 to 200") && text.contains("Newer") && !text.contains(" older<"));
        assert!(!shown(usize::MAX).contains("/incidents/id"), "a page beyond the end is empty");
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
