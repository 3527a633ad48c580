//! Objectives: where they stand, the list of them, worst first, and one of them with its groups.

mod detail;
#[cfg(test)]
mod honest_tests;
mod objective;

use maud::{Markup, html};

pub use detail::{Detail, detail};
pub use objective::{Need, Objective, firing_burn, gone_in, is_rising, state_flag, state_word, state_words, worst_first};

use crate::domain::rule::{Labels, Slo};
use crate::web::chart::bullet;
use crate::web::frame::{Page, Place, shape};
use crate::web::number;
use crate::web::text::{Plain, clip, query, segment};

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
                            @let pace = number::countdown(gone_in(slo, status), status.budget_remaining, slo.window.nominal());
                            span."small"."muted" { (number::budget(status.budget_remaining)) span.xs { " · " (pace) } }
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
    slo_path_of(&slo.name)
}

/// Where the objective of this name is.
pub fn slo_path_of(name: &str) -> String {
    format!("/slos/{}", segment(name))
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
    /// Of all, those that are not fine.
    pub needy: usize,
    pub state: String,
    pub owner: String,
    pub q: String,
    pub next: Option<String>,
}

/// All objectives, worst first.
pub fn list(model: &List<'_>) -> Page {
    let filters = [("state", model.state.as_str()), ("owner", model.owner.as_str()), ("q", model.q.as_str())];
    let body = html! {
        div.head { h1 { "Objectives" } p.muted { (model.all) " in force, " (model.needy) " of them " @if model.needy == 1 { "needs" } @else { "need" } " attention; worst first" } }
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
        section.card aria-label="Objectives" data-live="slos" data-shape=(shape(model.rows.iter().map(|row| row.slo.name.as_str()))) {
            @if model.rows.is_empty() {
                p.empty {
                    @if model.all == 0 { "No rules yet: " code { "burnwatch demo" } ", or put a file into " code { "rules/" } "." }
                    @else { "No objective matches. " a href="/slos" { "Show all" } }
                }
            } @else { (table(&model.rows)) }
        }
        @if let Some(next) = &model.next { p { a.btn href={ "/slos" (query(&[filters[0], filters[1], filters[2], ("cursor", next)])) } { "More" } } }
    };
    let verb = if model.needy == 1 { "needs" } else { "need" };
    let mut page = Page::new(format!("{} of {} objectives {verb} attention", model.needy, model.all), Place::Slos, body);
    page.json = Some("/v1/slos".into());
    page
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::rule::Severity;
    use crate::domain::snapshot::{AlertPhase, SloStatus};
    use crate::web::fixture::{self, HOSTILE, NOW, assert_inert, render};

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

    #[test]
    fn hostile_names_are_inert_in_the_list() {
        let mut slo = fixture::slo();
        for text in [&mut slo.name, &mut slo.description, &mut slo.owner, &mut slo.service] {
            *text = HOSTILE.into();
        }
        let group = Labels::from([(HOSTILE.to_owned(), HOSTILE.to_owned())]);
        let status = Arc::new(SloStatus { group, ..fixture::status() });
        let row = Objective { slo: &slo, status: status.clone(), worst: Some(status) };
        let text = || HOSTILE.to_owned();
        assert_inert(&render(NOW, |_| {
            list(&List { rows: vec![row.clone()], all: 1, needy: 1, state: text(), owner: text(), q: text(), next: Some(text()) })
        }));
    }
}
