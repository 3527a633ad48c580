//! Objectives: the list, worst first, and one of them with its groups.

use std::sync::Arc;

use maud::{Markup, html};

use super::budget::{self, Past};
use super::incident::{Drawing, Range, path, tier_table};
use super::slo_window;
use crate::domain::notification::Status;
use crate::domain::rule::{Labels, NoData, Severity, Sli, Slo};
use crate::domain::snapshot::{AlertPhase, SloStatus, TierVerdict};
use crate::domain::time::{Span, Timestamp};
use crate::web::chart::{bullet, draw};
use crate::web::frame::{Page, Place};
use crate::web::icon::{Icon, Tone, flag, flag_with};
use crate::web::number;
use crate::web::pages::oncall::Row;
use crate::web::text::{Plain, clip, link, query, segment};

/// An objective and where it, or one of its groups, stands.
#[derive(Clone)]
pub struct Objective<'a> {
    pub slo: &'a Slo,
    pub status: Arc<SloStatus>,
    /// The group that stands worse than the whole, if one does.
    pub worst: Option<Arc<SloStatus>>,
}

impl<'a> Objective<'a> {
    /// An objective with all its rows: the overall one first, then its groups.
    pub fn new(slo: &'a Slo, rows: &[Arc<SloStatus>]) -> Option<Objective<'a>> {
        let status = Arc::clone(rows.first()?);
        let worst = rows[1..].iter().min_by(|a, b| badness(a).cmp(&badness(b)).then_with(|| least_left(a, b)));
        let worst = worst.filter(|worst| badness(worst) < badness(&status)).map(Arc::clone);
        Some(Objective { slo, status, worst })
    }

    /// The row that has to be looked at: the worst group, or the whole.
    pub fn loudest(&self) -> &Arc<SloStatus> {
        self.worst.as_ref().unwrap_or(&self.status)
    }
}

/// Lower is worse: firing by loudness, pending, unknown, budget spent, and all the rest. A group that
/// nobody uses at the moment is unknown and says nothing about the whole.
fn badness(status: &SloStatus) -> (u8, std::cmp::Reverse<Option<Severity>>) {
    match status.state {
        AlertPhase::Firing => (0, std::cmp::Reverse(status.severity)),
        AlertPhase::Pending => (1, std::cmp::Reverse(None)),
        AlertPhase::Unknown if status.group.is_empty() => (2, std::cmp::Reverse(None)),
        AlertPhase::Ok if status.no_data && status.group.is_empty() => (2, std::cmp::Reverse(None)),
        AlertPhase::Ok if spent(status) => (3, std::cmp::Reverse(None)),
        AlertPhase::Unknown | AlertPhase::Ok => (4, std::cmp::Reverse(None)),
    }
}

fn spent(status: &SloStatus) -> bool {
    status.budget_remaining.is_some_and(|left| left <= 0.0)
}

/// What an objective needs of people, by its worst row: the same that its row in a table says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    Burning,
    Pending,
    Unknown,
    Spent,
    Nothing,
}

impl Need {
    /// Of an objective with its groups.
    pub fn of(row: &Objective<'_>) -> Need {
        match badness(row.loudest()).0 {
            0 => Need::Burning,
            1 => Need::Pending,
            2 => Need::Unknown,
            3 => Need::Spent,
            _ => Need::Nothing,
        }
    }
}

fn least_left(a: &SloStatus, b: &SloStatus) -> std::cmp::Ordering {
    let left = |one: &SloStatus| one.budget_remaining.unwrap_or(f64::INFINITY);
    left(a).total_cmp(&left(b))
}

/// The state of an objective in a word, with shape and colour; never better than it is.
pub fn state_flag(slo: &Slo, status: &SloStatus) -> Markup {
    let held = status.tiers.iter().any(|tier| tier.held_back.is_some());
    let rising = status.tiers.iter().any(|tier| tier.short_over && !tier.long_over);
    let gone = spent(status);
    match (status.state, status.severity) {
        (AlertPhase::Firing, Some(loud)) => flag(Tone::from(loud), &format!("Burning {}", governing(status))),
        (AlertPhase::Firing, None) => flag(Tone::Ticket, "Firing"),
        (AlertPhase::Pending, _) => flag_with(Tone::Ticket, Icon::Rising, "Pending"),
        (AlertPhase::Unknown, _) => flag(Tone::Unknown, "Unknown"),
        (AlertPhase::Ok, _) if status.no_data => flag(Tone::Unknown, "No data"),
        (AlertPhase::Ok, _) if gone => flag(Tone::Ticket, "Exhausted"),
        (AlertPhase::Ok, _) if held => flag(Tone::Unknown, "Held back"),
        (AlertPhase::Ok, _) if rising => flag_with(Tone::Ticket, Icon::Rising, "Increasing"),
        (AlertPhase::Ok, _) if !slo.enabled => flag(Tone::Unknown, "Disabled"),
        (AlertPhase::Ok, _) => flag(Tone::Fine, "Fine"),
    }
}

/// The state of the whole where a group stands worse: in words only, so that nothing green stands beside it.
fn state_words(slo: &Slo, status: &SloStatus) -> Markup {
    match status.state {
        AlertPhase::Ok if !status.no_data && !spent(status) => html! { "within its objective" },
        AlertPhase::Ok | AlertPhase::Pending | AlertPhase::Firing | AlertPhase::Unknown => state_flag(slo, status),
    }
}

/// The burn of the loudest tier that fires: the smaller of its two windows.
fn governing(status: &SloStatus) -> String {
    let tier = status.tiers.iter().find(|tier| tier.phase == AlertPhase::Firing && Some(tier.severity) == status.severity);
    let Some(tier) = tier else { return String::new() };
    let burn = match (tier.burn_long, tier.burn_short) {
        (Some(long), Some(short)) => Some(long.min(short)),
        (long, short) => long.or(short),
    };
    number::burn(burn, &[tier.factor.to_f64()])
}

/// The burn over the long window of the loudest tier that fires, its limit, and that window.
fn firing_burn(status: &SloStatus) -> Option<(f64, f64, Span)> {
    let tier = status.tiers.iter().find(|tier| tier.phase == AlertPhase::Firing && Some(tier.severity) == status.severity)?;
    Some((tier.burn_long.filter(|burn| *burn > 0.0)?, tier.factor.to_f64(), tier.long))
}

/// When the budget is gone if it burns on as now. While an alert fires that is its burn: at the pace of the whole
/// window, which a bad quarter of an hour hardly moves, the budget of a shop that is down would be said to last.
pub fn gone_in(slo: &Slo, status: &SloStatus) -> Option<Span> {
    match (firing_burn(status), status.budget_remaining) {
        (Some((burn, _, _)), Some(left)) => {
            Some(Span((left.max(0.0) * slo.window.nominal().as_secs_f64() / burn * 1_000.0).min(9e15) as i64))
        }
        (None, _) | (_, None) => status.countdown,
    }
}

/// Firing first, by loudness, then what is unknown or spent, then the least budget left.
pub fn worst_first(rows: &mut [Objective<'_>]) {
    rows.sort_by(|a, b| {
        badness(a.loudest())
            .cmp(&badness(b.loudest()))
            .then_with(|| least_left(&a.status, &b.status))
            .then_with(|| a.slo.name.cmp(&b.slo.name))
    });
}

/// A table of objectives.
pub fn table(rows: &[Objective<'_>]) -> Markup {
    table_with(rows, None)
}

/// A table of objectives, with a column for how each budget has been if there is something to draw it.
pub fn table_with(rows: &[Objective<'_>], spark: Option<&dyn Fn(&str) -> Markup>) -> Markup {
    html! {
        table.slos {
            thead {
                tr {
                    th scope="col" { "objective" } th."num"."sli" scope="col" { "reached" } th.bud scope="col" { "budget" }
                    th."num"."sli" scope="col" { "at this pace" } @if spark.is_some() { th.sp scope="col" { "over its window" } } th.st scope="col" { "now" }
                }
            }
            tbody {
                @for row in rows {
                    @let (slo, status) = (row.slo, &row.status);
                    tr data-row {
                        th scope="row" {
                            a href={ (slo_path(slo)) (group_query(&status.group)) } { (Plain(&clip(&slo.name, 80))) }
                            @if !status.group.is_empty() { " " span.small { (Plain(&group_words(&status.group))) } }
                            br;
                            span."small"."muted" { (Plain(&clip(if slo.description.is_empty() { &slo.service } else { &slo.description }, 80))) }
                        }
                        td."num"."sli" {
                            (number::reached(status.total, status.bad, slo.budget_ppm))
                            br; span."small"."muted" { "of " (number::objective(slo.budget_ppm)) }
                        }
                        td.bud {
                            (bullet::budget(status.budget_remaining))
                            span."small"."muted" { (number::budget(status.budget_remaining)) }
                        }
                        td."num"."sli"."small"."muted" { (number::countdown(gone_in(slo, status), status.budget_remaining, slo.window.nominal())) }
                        @if let Some(spark) = spark { td.sp { (spark(&slo.name)) } }
                        td.st { (row_state(row)) }
                    }
                }
            }
        }
    }
}

/// The state of the whole; where a group is worse, that group's with its name.
fn row_state(row: &Objective<'_>) -> Markup {
    match &row.worst {
        None => state_flag(row.slo, &row.status),
        Some(worst) => html! {
            (state_flag(row.slo, worst))
            br; span."small" { "in " a href={ (slo_path(row.slo)) (group_query(&worst.group)) } { (Plain(&group_words(&worst.group))) } }
        },
    }
}

/// Where an objective is.
pub fn slo_path(slo: &Slo) -> String {
    format!("/slos/{}", segment(&slo.name))
}

/// `?region=eu-west`, or nothing for the overall row.
pub fn group_query(group: &Labels) -> String {
    query(&group.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect::<Vec<_>>())
}

/// `region eu-west`; `overall` without a group.
pub fn group_words(group: &Labels) -> String {
    if group.is_empty() {
        return "overall".into();
    }
    group.iter().map(|(name, value)| format!("{} {}", clip(name, 40), clip(value, 60))).collect::<Vec<_>>().join(", ")
}

/// What the list shows.
pub struct List<'a> {
    pub rows: Vec<Objective<'a>>,
    pub all: usize,
    pub state: String,
    pub owner: String,
    pub q: String,
    pub next: Option<String>,
}

/// All objectives, worst first.
pub fn list(model: &List<'_>) -> Page {
    let filters = [("state", model.state.as_str()), ("owner", model.owner.as_str()), ("q", model.q.as_str())];
    let body = html! {
        div.head { h1 { "Objectives" } p.muted { (model.all) " in force, worst first" } }
        form."row"."grow" method="get" action="/slos" role="search" {
            label { "State"
                select name="state" {
                    @for value in ["", "firing", "pending", "unknown", "ok"] {
                        option value=(value) selected[value == model.state] { (if value.is_empty() { "any" } else { value }) }
                    }
                }
            }
            label { "Owner" input name="owner" value=(clip(&model.owner, 200)) autocomplete="off"; }
            label { "Name" input type="search" name="q" value=(clip(&model.q, 200)) autocomplete="off"; }
            button.btn { "Search" }
        }
        section.card aria-label="Objectives" data-live="slos" {
            @if model.rows.is_empty() {
                p.empty {
                    @if model.all == 0 { "No rules yet: " code { "burnwatch demo" } ", or put a file into " code { "rules/" } "." }
                    @else { "No objective matches. " a href="/slos" { "Show all" } }
                }
            } @else { (table(&model.rows)) }
        }
        @if let Some(next) = &model.next { p { a.btn href={ "/slos" (query(&[filters[0], filters[1], filters[2], ("cursor", next)])) } { "More" } } }
    };
    let mut page = Page::new("Objectives", Place::Slos, body);
    page.json = Some("/v1/slos".into());
    page
}

/// Groups of one page.
const GROUPS: usize = 25;

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
                span.sub { "what is left, at " @match firing_burn(status) { Some((burn, factor, long)) => { "the " (number::burn(Some(burn), &[factor])) " of the last " (number::window(long)) } None => "the pace of the window" } }
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
                                a href={ (slo_path(slo)) (range_query(&status.group, range)) } aria-current=[(range == model.range).then_some("true")] { (number::window(range.span())) }
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
    let mut page = Page::new(format!("{}: {}", clip(&slo.name, 80), number::budget(status.budget_remaining)), Place::Slos, body);
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
    use crate::web::fixture::{self, HOSTILE, NOW, assert_inert, render};

    #[test]
    fn burning_stands_before_unknown_and_unknown_before_fine() {
        let slo = fixture::slo();
        let with = |state, severity, left| Objective {
            slo: &slo,
            status: Arc::new(SloStatus { state, severity, budget_remaining: left, ..fixture::status() }),
            worst: None,
        };
        let mut rows = vec![
            with(AlertPhase::Ok, None, Some(0.9)),
            with(AlertPhase::Ok, None, Some(-0.2)),
            with(AlertPhase::Unknown, None, None),
            with(AlertPhase::Firing, Some(Severity::Ticket), Some(0.5)),
            with(AlertPhase::Firing, Some(Severity::Page), Some(0.9)),
        ];
        worst_first(&mut rows);
        let order: Vec<_> = rows.iter().map(|row| (row.status.severity, row.status.budget_remaining)).collect();
        assert_eq!(
            order,
            [(Some(Severity::Page), Some(0.9)), (Some(Severity::Ticket), Some(0.5)), (None, None), (None, Some(-0.2)), (None, Some(0.9))]
        );
        assert!(state_flag(&slo, &rows[2].status).into_string().contains("Unknown"));
        assert!(state_flag(&slo, &rows[3].status).into_string().contains("Exhausted"));
        assert!(state_flag(&slo, &rows[0].status).into_string().contains("Burning 35×"));
    }

    #[test]
    fn a_burning_group_is_not_hidden_behind_a_fine_whole() {
        let slo = fixture::slo();
        let fine = Arc::new(SloStatus { state: AlertPhase::Ok, severity: None, tiers: vec![], ..fixture::status() });
        let group = |value: &str, state, severity| {
            let group = Labels::from([("region".to_owned(), value.to_owned())]);
            Arc::new(SloStatus { group, state, severity, ..fixture::status() })
        };
        let rows = [fine.clone(), group("us", AlertPhase::Unknown, None), group("eu", AlertPhase::Firing, Some(Severity::Page))];
        let row = Objective::new(&slo, &rows).unwrap();
        let text = row_state(&row).into_string();
        assert!(text.contains("Burning 35×") && text.contains("region eu") && !text.contains("Fine"), "{text}");
        let row = Objective::new(&slo, &rows[..2]).unwrap();
        assert!(row_state(&row).into_string().contains("Fine"), "a group without traffic does not make the whole unknown");
        let rest =
            Objective { slo: &slo, status: Arc::new(SloStatus { severity: Some(Severity::Ticket), ..fixture::status() }), worst: None };
        let mut rows = vec![rest, Objective::new(&slo, &rows).unwrap()];
        worst_first(&mut rows);
        assert!(rows[0].worst.is_some(), "a group that pages stands before a whole that is a ticket");
    }

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
    fn a_budget_that_burns_does_not_last() {
        let slo = fixture::slo();
        let burning = SloStatus { countdown: Some(Span::days(400)), budget_remaining: Some(0.41), ..fixture::status() };
        let (burn, _, _) = firing_burn(&burning).expect("it fires");
        let hours = gone_in(&slo, &burning).expect("an end").as_secs_f64() / 3_600.0;
        assert!((hours - 0.41 * 720.0 / burn).abs() < 0.01, "{hours}");
        assert_eq!(gone_in(&slo, &SloStatus { budget_remaining: Some(-0.1), ..burning.clone() }), Some(Span(0)));
        let calm = SloStatus { state: AlertPhase::Ok, severity: None, tiers: vec![], ..burning };
        assert_eq!(gone_in(&slo, &calm), calm.countdown);
    }

    #[test]
    fn hostile_names_are_inert_on_every_page_of_objectives() {
        let mut slo = fixture::slo();
        for text in [&mut slo.name, &mut slo.description, &mut slo.owner, &mut slo.service, &mut slo.place.path] {
            *text = HOSTILE.into();
        }
        slo.runbook = Some("javascript:alert(1)".into());
        slo.labels.insert(HOSTILE.into(), HOSTILE.into());
        slo.by = vec![HOSTILE.into()];
        let group = Labels::from([(HOSTILE.to_owned(), HOSTILE.to_owned())]);
        let status = Arc::new(SloStatus { group, ..fixture::status() });
        let row = Objective { slo: &slo, status: status.clone(), worst: Some(status.clone()) };
        assert_inert(&render(NOW, |_| {
            list(&List {
                rows: vec![row.clone()],
                all: 1,
                state: HOSTILE.into(),
                owner: HOSTILE.into(),
                q: HOSTILE.into(),
                next: Some(HOSTILE.into()),
            })
        }));
        assert_inert(&render(NOW, |_| {
            let overall = Arc::new(fixture::status());
            detail(&Detail {
                slo: &slo,
                status: status.clone(),
                groups: vec![overall, status.clone()],
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
