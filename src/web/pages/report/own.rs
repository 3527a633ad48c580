//! What belongs to a week, a month or a quarter alone.

use maud::{Markup, html};

use super::review::{Month, Own, Quarter, Review, Week, spent};
use crate::domain::time::Span;
use crate::web::icon::{Tone, flag};
use crate::web::number;
use crate::web::pages::change_words;
use crate::web::pages::slos::slo_path_of;
use crate::web::text::{Plain, clip, query};

/// Objectives of a quarter whose targets are looked at.
const TARGETS_MAX: usize = 20;
/// A quarter that spent less than this of its budget may have asked for too little, in parts of it.
const EASY: f64 = 0.1;

/// The cards of a review of this length.
pub fn cards(review: &Review<'_>) -> Markup {
    match &review.counted.own {
        Own::Nothing => html! {},
        Own::Week(week) => weekly(week),
        Own::Month(month) => monthly(month, review),
        Own::Quarter(quarter) => html! { (targets(review)) (quarterly(quarter)) },
    }
}

fn named(app: &str, what: &str) -> Markup {
    html! { (Plain(&clip(what, 100))) @if !app.is_empty() { br; span."small"."muted" { (Plain(&clip(app, 40))) } } }
}

fn weekly(week: &Week) -> Markup {
    html! {
        section.card aria-labelledby="h-e" {
            header { h2 id="h-e" { "Top errors" } span."small"."muted" { "script errors and crashes, by fingerprint" } }
            @if week.errors.is_empty() { p.empty { "No error was reported." } } @else {
                table.stack {
                    thead { tr { th scope="col" { "error" } th.num scope="col" { "events" } th.num scope="col" { "users" } } }
                    tbody { @for error in &week.errors { tr {
                        th scope="row" { a.mono href={ "/query" (query(&[("metric", "js_error"), ("where", &format!("fingerprint={}", error.fingerprint)), ("by", "release")])) } { (Plain(&clip(&error.fingerprint, 60))) } br; span."small"."muted" { (Plain(&clip(&error.app, 40))) @if !error.route.is_empty() { ", mostly on " (Plain(&clip(&error.route, 80))) } } }
                        td.num data-th="events" { (number::count(error.events)) }
                        td.num data-th="users" { @match error.users { Some(users) => (number::users(users)), None => span.muted { (number::NOT_MEASURED) } } }
                    } } }
                }
            }
        }
        section.card aria-labelledby="h-l" {
            header { h2 id="h-l" { "Slowest pages" } span."small"."muted" { "largest paint; bots left out" } }
            @if week.slow.is_empty() { p.empty { "No page has enough page loads to tell." } } @else {
                table.stack {
                    thead { tr { th scope="col" { "page" } th.num scope="col" { "3 of 4 within" } th.num scope="col" { "95 % within" } th.num scope="col" { "loads" } } }
                    tbody { @for page in &week.slow { tr {
                        th scope="row" { (named(&page.app, if page.route.is_empty() { "(no route)" } else { &page.route })) }
                        td.num data-th="3 of 4 within" { (millis(page.p75)) }
                        td.num data-th="95 % within" { (millis(page.p95)) }
                        td.num data-th="loads" { (number::count(page.loads)) }
                    } } }
                }
            }
        }
    }
}

fn millis(ms: f64) -> String {
    number::duration(Span(ms.clamp(0.0, 1e12) as i64))
}

fn monthly(month: &Month, review: &Review<'_>) -> Markup {
    html! {
        section.card aria-labelledby="h-k" {
            header { h2 id="h-k" { "Cost and sampling" } span."small"."muted" { "page views and requests; change: against the month before; kept: by sampling" } }
            @if month.apps.is_empty() { p.empty { "Nothing was measured in this time." } } @else {
                table.stack {
                    thead { tr { th scope="col" { "app" } th.num scope="col" { "received" } th.num scope="col" { "change" } th.num scope="col" { "kept" } } }
                    tbody { @for app in &month.apps { tr {
                        th scope="row" { (Plain(&clip(if app.app.is_empty() { "(no app)" } else { &app.app }, 40))) }
                        td.num data-th="received" { (number::count(app.received)) }
                        td.num data-th="before" { @match app.before { Some(before) if before > 0.0 => (change(app.received / before)), Some(_) | None => span.muted { "nothing before" } } }
                        td.num data-th="kept" { (number::share(if app.stand_for > 0.0 { (app.received / app.stand_for).min(1.0) } else { 1.0 })) }
                    } } }
                }
            }
            p."small"."muted" { (number::exact(month.series as f64)) " series are known now, of " (number::exact(month.series_max as f64)) " that are kept apart." }
            @if month.sampling.is_empty() { p.small { "No change of sampling was reported." } } @else {
                ul."plain"."dl" { @for one in &month.sampling { li { span { (change_words(one)) } span."muted"."nowrap" { (number::time(one.at, review.now)) } } } }
            }
        }
    }
}

/// `+12 %`, `−8 %`, `as before`.
fn change(ratio: f64) -> String {
    let by = ratio - 1.0;
    match () {
        () if by.abs() < 0.005 => "as before".into(),
        () if by > 0.0 => format!("+{}", number::share(by)),
        () => format!("−{}", number::share(-by)),
    }
}

/// Which targets a quarter says something about.
fn targets(review: &Review<'_>) -> Markup {
    let measured = review.counted.budgets.iter().any(|budget| budget.counts.is_some());
    let known = review.counted.budgets.iter().filter_map(|budget| Some((budget, spent(budget)?)));
    let said: Vec<_> = known.filter(|(_, spent)| *spent > 1.0 || *spent < EASY).take(TARGETS_MAX).collect();
    html! {
        section.card aria-labelledby="h-g" {
            header { h2 id="h-g" { "Targets to talk about" } span."small"."muted" { "missed, or hardly used" } }
            @if said.is_empty() { p.empty { @if measured { "Every objective that was measured was kept, and used a part of its budget." } @else { "No objective was measured in this time." } } }
            ul."plain"."dl" { @for (budget, spent) in said { li {
                span { a href=(slo_path_of(&budget.slo)) { (Plain(&clip(&budget.slo, 80))) } " " span.muted { (number::objective(budget.budget_ppm)) } }
                span.nowrap { @if spent > 1.0 { (flag(Tone::Ticket, "Missed")) " spent " (number::share(spent)) } @else { (flag(Tone::Info, "Easy")) " spent " (number::share(spent)) } }
            } } }
        }
    }
}

fn quarterly(quarter: &Quarter) -> Markup {
    html! {
        section.card aria-labelledby="h-t" {
            header { h2 id="h-t" { "Retention" } span."small"."muted" { "older data is removed" } }
            dl.facts { @for (what, span) in &quarter.retention { dt { (what) } dd { (number::window(*span)) } } }
        }
        section.card aria-labelledby="h-v" {
            header { h2 id="h-v" { "Privacy" } a.small href="/audit" { "who read and did what" } }
            dl.facts {
                @for (what, set) in &quarter.privacy { dt { (what) } dd { (Plain(set)) } }
                dt { "redacted since the start" } dd { @for (i, (field, count)) in quarter.redacted.iter().take(8).enumerate() { @if i > 0 { ", " } (Plain(&clip(field, 40))) " " (number::exact(*count)) } @if quarter.redacted.is_empty() { "nothing" } }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_of_volume_is_signed() {
        assert_eq!([change(1.12), change(0.92), change(1.001)], ["+12 %", "−8 %", "as before"]);
    }
}
