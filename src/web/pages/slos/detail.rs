//! One objective, overall or one group of it.

use std::sync::Arc;

use maud::{Markup, html};

use super::{Objective, firing_burn, gone_in, group_query, group_words, slo_path, state_flag, state_word, state_words};
use crate::domain::notification::Status;
use crate::domain::rule::{Labels, NoData, Sli, Slo};
use crate::domain::snapshot::{SloStatus, TierVerdict};
use crate::domain::time::Timestamp;
use crate::web::chart::{bullet, draw};
use crate::web::frame::{Page, Place};
use crate::web::icon::{Tone, flag};
use crate::web::number;
use crate::web::pages::budget::{self, Past};
use crate::web::pages::incident::{Drawing, Range, path, tier_table};
use crate::web::pages::oncall::Row;
use crate::web::pages::slo_window;
use crate::web::text::{Plain, clip, link, query, segment};

/// Groups of one page.
const GROUPS: usize = 10;

/// What one objective's page shows.
pub struct Detail<'a> {
    pub slo: &'a Slo,
    pub status: Arc<SloStatus>,
    /// Overall first.
    pub groups: Vec<Arc<SloStatus>>,
    /// The first group that the table shows.
    pub from: usize,
    pub drawing: Drawing,
    pub past: Result<Past, String>,
    pub range: Range,
    pub incidents: Vec<Row>,
    pub now: Timestamp,
}

/// One objective, overall or one group of it.
pub fn detail(model: &Detail<'_>) -> Page {
    let (slo, status) = (model.slo, &model.status);
    let worst = Objective::new(slo, &model.groups).and_then(|one| one.worst).filter(|_| status.group.is_empty());
    let body = html! {
        div.head {
            div.state {
                // The worst group speaks for the objective, as it does in every list.
                @match &worst {
                    Some(worst) => {
                        (state_flag(slo, worst)) span { "in " a href={ (slo_path(slo)) (group_query(&worst.group)) } { (Plain(&group_words(&worst.group))) } }
                        span.muted { "as a whole: " (state_words(slo, status)) }
                    }
                    None => (state_flag(slo, status)),
                }
                span.muted {
                    (Plain(&clip(&slo.owner, 60))) @if !slo.service.is_empty() { " · " (Plain(&clip(&slo.service, 60))) }
                    @if let Some(tier) = &slo.tier { " · tier " (Plain(&clip(tier, 20))) }
                }
            }
            h1 { (Plain(&clip(&slo.name, 120))) }
            p."lede"."muted" {
                (number::objective(slo.budget_ppm)) ", " (slo_window(&slo.window))
                @if !slo.description.is_empty() { ": " (Plain(&clip(&slo.description, 200))) }
            }
            p.small {
                @if let Some(runbook) = &slo.runbook { (link(runbook, "runbook")) " · " }
                @if let Some(dashboard) = &slo.dashboard { (link(dashboard, "dashboard")) " · " }
                a href={ "/rules/" (segment(&slo.name)) } { "rule" } " · "
                a.any href={ "/rules/file/" (slo.place.path.split('/').map(segment).collect::<Vec<_>>().join("/")) "?line=" (slo.place.line) "#L" (slo.place.line) } { (Plain(&slo.place.to_string())) }
            }
        }
        dl.figures data-live="figures" {
            div { dt { "Reached" } dd { span.big { (number::reached(status.total, status.bad, slo.budget_ppm)) } span.sub { "of " (number::objective(slo.budget_ppm)) } } }
            div { dt { "Budget" } dd {
                span.big { (number::budget(status.budget_remaining)) }
                span.sub { @if status.total > 0.0 { (number::count(status.bad)) " failed, " (number::count(status.total * f64::from(slo.budget_ppm) / 1e6)) " allowed" } @else { (number::NOT_MEASURED) } }
            } }
            div { dt { "Countdown" } dd {
                span.big { (number::countdown(gone_in(slo, status), status.budget_remaining, slo.window.nominal())) }
                span.sub {
                    "what is left, at " @match firing_burn(status) { Some((burn, factor)) => { "the " (number::burn(Some(burn), &[factor])) " of now" } None => "the pace of the window" }
                    @if firing_burn(status).is_some() { @match status.countdown {
                        Some(slow) if slow < slo.window.nominal() => { "; at the window's own pace, as the API counts, in " (number::duration(slow)) }
                        Some(_) | None => "; at the window's own pace, as the API counts, it lasts",
                    } }
                }
            } }
            div { dt { "Pace" } dd {
                span.big { @match status.pace { Some(pace) if pace < slo.window.nominal() => (number::duration(pace)), Some(_) => "lasts", None => "lasts" } }
                span.sub { "a whole budget, at the pace of the window" }
            } }
        }
        @if model.groups.len() > 1 { (picker(model)) }
        div.cols {
            div {
                (budget::chart(slo, &model.past, model.now))
                section.card aria-labelledby="h-c" {
                    header {
                        h2 id="h-c" { "Share failing, and burn" }
                        span.small {
                            @for (i, range) in Range::ALL.into_iter().enumerate() {
                                @if i > 0 { " · " }
                                a href={ (slo_path(slo)) (range_query(&status.group, range)) } aria-current=[(range == model.range).then_some("true")] { @if range == model.range { b { (number::window(range.span())) } } @else { (number::window(range.span())) } }
                            }
                        }
                    }
                    div data-live="chart" {
                        @match &model.drawing {
                            Drawing::Chart(chart) => (draw::burn(chart, model.now)),
                            Drawing::None => { p.empty { "There is nothing to draw." } }
                            Drawing::Failed(why) => { p.empty { (flag(Tone::Ticket, "Not drawn")) " " (Plain(&clip(why, 200))) } }
                        }
                    }
                }
                @if model.groups.len() > 1 { (groups(model)) }
            }
            div {
                section.card aria-labelledby="h-t" { header { h2 id="h-t" { "Tiers" } } div data-live="tiers" {
                    @if status.tiers.is_empty() { p.empty { "Not evaluated yet." } } @else { (tier_table(status)) (why_unknown(status)) }
                } }
                section.card aria-labelledby="h-i" {
                    header { h2 id="h-i" { "Incidents" } }
                    @if model.incidents.is_empty() { p.empty { "None is known." } }
                    ul."plain"."dl" { @for row in &model.incidents { li {
                        a href=(path(&row.id)) { (Plain(&clip(&row.title, 120))) }
                        span."muted"."nowrap" { (number::time(row.opened_at, model.now)) @if row.status != Status::Resolved { " open" } }
                    } } }
                }
                (budget::calendar(slo, &model.past, model.now))
                (definition(slo))
            }
        }
    };
    let state = state_word(slo, worst.as_deref().unwrap_or(status));
    let title = format!("{state}: {}, {}", clip(&slo.name, 80), number::budget(status.budget_remaining));
    let mut page = Page::new(title, Place::Slos, body);
    page.json = Some(format!("/v1{}", slo_path(slo)));
    page
}

/// What a person who sees failures and no alert has to know.
fn why_unknown(status: &SloStatus) -> Markup {
    let unknown = status.tiers.iter().any(|tier| tier.verdict == TierVerdict::Unknown);
    html! {
        @if unknown {
            p."small"."muted" { "Unknown: less than nine tenths of one of its windows was measured. Until they are, the tier neither opens nor ends an alert; after a first start that takes as long as the window." }
        }
    }
}

fn range_query(group: &Labels, range: Range) -> String {
    let mut pairs: Vec<(&str, &str)> = group.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    pairs.push(("range", range.name()));
    query(&pairs)
}

fn picker(model: &Detail<'_>) -> Markup {
    html! {
        nav.tabs aria-label="Group" {
            @for status in model.groups.iter().take(12) {
                a href={ (slo_path(model.slo)) (group_query(&status.group)) } aria-current=[(status.group == model.status.group).then_some("true")] { (group_words(&status.group)) }
            }
        }
    }
}

fn groups(model: &Detail<'_>) -> Markup {
    let all = &model.groups[1..];
    let from = model.from.min(all.len());
    let to = all.len().min(from + GROUPS);
    let at = |from: usize| {
        let own = model.status.group.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let from = from.to_string();
        format!("{}{}#h-g", slo_path(model.slo), query(&own.chain([("groups_from", from.as_str())]).collect::<Vec<_>>()))
    };
    html! {
        section.card aria-labelledby="h-g" {
            header { h2 id="h-g" { "Groups, worst first" } span."small"."muted" { (model.groups.len() - 1) } }
            table.slos {
                thead { tr { th scope="col" { "group" } th."num"."sli" scope="col" { "reached" } th.bud scope="col" { "budget" } th.st scope="col" { "now" } } }
                tbody { @for status in &all[from..to] {
                    tr {
                        th scope="row" { a href={ (slo_path(model.slo)) (group_query(&status.group)) } { (Plain(&group_words(&status.group))) } }
                        td."num"."sli" { (number::reached(status.total, status.bad, model.slo.budget_ppm)) }
                        td.bud { (bullet::budget(status.budget_remaining)) span."small"."muted" { (number::budget(status.budget_remaining)) } }
                        td.st { (state_flag(model.slo, status)) }
                    }
                } }
            }
            @if model.groups[0].groups_left_out > 0 {
                p."small"."muted" { (model.groups[0].groups_left_out) " more groups have no budget of their own and count in the overall row only" }
            }
            @if from > 0 || to < all.len() {
                p { @if from > 0 { a.btn href=(at(from.saturating_sub(GROUPS))) { "Worse" } " " } @if to < all.len() { a.btn href=(at(to)) { (all.len() - to) " more" } } }
            }
        }
    }
}

fn definition(slo: &Slo) -> Markup {
    let no_data = match slo.no_data {
        NoData::Keep => "keeps its state",
        NoData::Ok => "counts as fine",
        NoData::Alert => "opens a ticket of its own",
    };
    html! {
        section.card aria-labelledby="h-d" {
            header { h2 id="h-d" { "Definition" } }
            dl.facts {
                dt { "window" } dd { (slo_window(&slo.window)) }
                @if !slo.by.is_empty() { dt { "budgets by" } dd { (Plain(&slo.by.join(", "))) } }
                @if slo.min_events > 0 { dt { "guard" } dd { "at least " (number::exact(slo.min_events as f64)) " events" } }
                @if let Some(min) = slo.min_bad { dt { "guard" } dd { "at least " (min) " bad events" } }
                @if let Some(confidence) = slo.confidence { dt { "guard" } dd { "confidence " (confidence) } }
                @if let Sli::Composite { members, how } = &slo.sli { dt { "burn and budget" } dd { (how.words()) ": " (Plain(&clip(&members.join(", "), 200))) } }
                @if slo.traffic_corrected { dt { "burn" } dd { "corrected for traffic" } }
                dt { "without data" } dd { (no_data) }
                @for (name, value) in &slo.labels { dt { (Plain(&clip(name, 40))) } dd { (Plain(&clip(value, 120))) } }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::rule::Severity;
    use crate::domain::snapshot::AlertPhase;
    use crate::domain::time::Span;
    use crate::web::chart::{BurnChart, Step};
    use crate::web::fixture::{self, HOSTILE, NOW, assert_inert, assert_light, render};
    use crate::web::pages::budget::Day;

    fn detail_of(slo: &Slo, groups: Vec<Arc<SloStatus>>, from: usize) -> String {
        render(NOW, |_| {
            detail(&Detail {
                slo,
                status: groups[0].clone(),
                groups,
                from,
                drawing: Drawing::None,
                past: Err("not read".into()),
                range: Range::Hour,
                incidents: vec![],
                now: NOW,
            })
        })
    }

    fn group_of(value: &str, state: AlertPhase, severity: Option<Severity>) -> Arc<SloStatus> {
        let group = Labels::from([("region".to_owned(), value.to_owned())]);
        Arc::new(SloStatus { group, state, severity, ..fixture::status() })
    }

    #[test]
    fn many_groups_are_paged() {
        let slo = Slo { by: vec!["region".into()], ..fixture::slo() };
        let mut groups = vec![Arc::new(SloStatus { group: Labels::new(), ..fixture::status() })];
        groups.extend((0..GROUPS + 5).map(|n| group_of(&format!("g{n:03}"), AlertPhase::Ok, None)));
        let rows = |text: &str| {
            let (_, table) = text.split_once("id=\"h-g\"").expect("a table of groups");
            table.split("</table>").next().unwrap_or_default().matches("?region=g").count()
        };
        let first = detail_of(&slo, groups.clone(), 0);
        assert_eq!(rows(&first), GROUPS);
        assert!(first.contains("5 more") && first.contains(&format!("groups_from={GROUPS}")), "{first}");
        let left_out = Arc::new(SloStatus { groups_left_out: 7, ..(*groups[0]).clone() });
        let told = detail_of(&slo, std::iter::once(left_out).chain(groups[1..].iter().cloned()).collect(), 0);
        assert!(told.contains("7 more groups have no budget of their own"), "{told}");
        let last = detail_of(&slo, groups.clone(), GROUPS);
        assert_eq!(rows(&last), 5);
        assert!(last.contains("Worse") && !last.contains(" more</a>"), "{last}");
        assert_eq!(rows(&detail_of(&slo, groups, usize::MAX)), 0, "a page beyond the end is empty");
    }

    #[test]
    fn the_page_stays_light_with_every_chart_full_and_fifty_groups() {
        let slo = Slo { by: vec!["region".into()], ..fixture::slo() };
        let mut groups = vec![Arc::new(SloStatus { group: Labels::new(), ..fixture::status() })];
        groups.extend((0..50).map(|n| group_of(&format!("region-number-{n:03}"), AlertPhase::Firing, Some(Severity::Page))));
        let past = Past {
            from: NOW - Span::days(30),
            step: Span::hours(3),
            left: (0..240).map(|i| Some(0.87654 - f64::from(i) / 1_000.0)).collect(),
            days: (0..91)
                .map(|day| Day { at: NOW.floor(Span::DAY) - Span::days(90 - day), counts: Some((1_234_567.0, 7_654.0)) })
                .collect(),
            measured_to: Some(NOW),
            excludes: true,
        };
        let step = Step { counts: Some((2_345_678.0, 23_456.0)), burn_long: Some(12.34), burn_short: Some(123.4), partial: false };
        let chart = BurnChart {
            from: NOW - Span::days(30),
            step: Span::hours(6),
            steps: vec![step; 120],
            long: Span::HOUR,
            short: Span::minutes(5),
            tiers: Vec::new(),
            markers: Vec::new(),
            noun: "requests".into(),
        };
        let text = render(NOW, |_| {
            detail(&Detail {
                slo: &slo,
                status: groups[0].clone(),
                groups,
                from: 0,
                drawing: Drawing::Chart(chart),
                past: Ok(past),
                range: Range::Days30,
                incidents: vec![],
                now: NOW,
            })
        });
        assert!(text.matches("</svg>").count() > GROUPS && text.matches("<tr><th>").count() > 200, "{text}");
        assert_light(&text);
    }

    #[test]
    fn the_head_of_an_objective_is_its_worst_group() {
        let slo = Slo { by: vec!["region".into()], ..fixture::slo() };
        let fine = Arc::new(SloStatus { group: Labels::new(), state: AlertPhase::Ok, severity: None, tiers: vec![], ..fixture::status() });
        let groups = vec![fine.clone(), group_of("eu", AlertPhase::Firing, Some(Severity::Page)), group_of("us", AlertPhase::Ok, None)];
        let text = detail_of(&slo, groups, 0);
        let (head, _) = text.split_once("<h1").expect("a heading");
        let (_, head) = head.split_once("<main").expect("a main");
        assert!(head.contains("Burning 35×") && head.contains("region eu") && !head.contains("Fine"), "{head}");
        let text = detail_of(&slo, vec![fine], 0);
        assert!(text.split("<h1").next().is_some_and(|head| head.contains("Fine")));
    }

    #[test]
    fn hostile_names_are_inert_on_the_page_of_an_objective() {
        let mut slo = fixture::slo();
        for text in [&mut slo.name, &mut slo.description, &mut slo.owner, &mut slo.service, &mut slo.place.path] {
            *text = HOSTILE.into();
        }
        slo.runbook = Some("javascript:alert(1)".into());
        slo.labels.insert(HOSTILE.into(), HOSTILE.into());
        slo.by = vec![HOSTILE.into()];
        let group = Labels::from([(HOSTILE.to_owned(), HOSTILE.to_owned())]);
        let status = Arc::new(SloStatus { group, ..fixture::status() });
        assert_inert(&render(NOW, |_| {
            detail(&Detail {
                slo: &slo,
                status: status.clone(),
                groups: vec![Arc::new(fixture::status()), status.clone()],
                from: 0,
                drawing: Drawing::Failed(HOSTILE.into()),
                past: Err(HOSTILE.into()),
                range: Range::Hour,
                incidents: vec![],
                now: NOW,
            })
        }));
    }
}
