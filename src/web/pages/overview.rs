//! The executive view: what was promised, where it hurts, how far people get, what the last releases did.
//!
//! What stands in memory is fresh on every page; what has to be read from stored history is read at most
//! once a minute ([`Evidence`]). Until it is there for the first time its places say that it is being read; the
//! script fills them when it has come, and without script the page is loaded anew soon.

mod funnel;
mod release;

use std::sync::Arc;

use maud::{Markup, html};

use super::evidence::{Evidence, being_read};
use super::heat::{self, HeatRow};
use super::incident::path;
use super::oncall::Row;
use super::slos::{Need, Objective, is_rising, table_with};
use crate::domain::notification::Status;
use crate::domain::rule::Severity;
use crate::domain::time::Timestamp;
use crate::web::chart::spark::Spark;
use crate::web::frame::{Page, Place, REFRESH, shape};
use crate::web::icon::severity;
use crate::web::number;
use crate::web::text::{Plain, clip};

/// Objectives in the overview's table.
pub const ROWS_MAX: usize = 10;
/// Seconds until a page without script is loaded anew while stored history is being read.
const REFRESH_READING: u8 = 2;
/// Standard errors that tell a difference from chance.
const SIGMAS: f64 = 3.0;

/// What the overview shows.
pub struct Overview<'a> {
    pub rows: Vec<Objective<'a>>,
    /// Objectives with budgets by `dimension`; every row has the same columns.
    pub heat: Vec<HeatRow<'a>>,
    pub dimension: String,
    pub incidents: Vec<Row>,
    /// `None` until history has answered for the first time.
    pub evidence: Option<Arc<Evidence>>,
    pub silent: Vec<String>,
    pub now: Timestamp,
}

/// The executive view.
pub fn page(model: &Overview<'_>) -> Page {
    let count = |need: Need| model.rows.iter().filter(|row| Need::of(row) == need).count();
    let (firing, unknown, gone) = (count(Need::Burning), count(Need::Unknown), count(Need::Spent));
    let attention = model.rows.len() - count(Need::Nothing);
    let users: u64 = model.incidents.iter().map(|row| row.users).sum();
    let all = model.rows.len();
    let need =
        |n: usize| format!("{n} of {all} {} {}", if all == 1 { "objective" } else { "objectives" }, if n == 1 { "needs" } else { "need" });
    let rising = model.rows.iter().filter(|row| is_rising(row)).count();
    let heading = match (attention, users) {
        (0, 0) if rising > 0 => {
            format!("{rising} of {all} {} faster just now; nothing needs attention yet", if rising == 1 { "burns" } else { "burn" })
        }
        (0, 0) if all == 1 => "The one objective is fine".to_owned(),
        (0, 0) if all > 0 => format!("All {all} objectives are fine"),
        (n, 0) => format!("{} attention", need(n)),
        (n, 1) => format!("{} attention; 1 user is hit right now", need(n)),
        (n, users) if model.incidents.iter().filter(|row| row.users > 0).count() > 1 => {
            format!("{} attention; up to {} users are hit right now", need(n), number::count(users as f64))
        }
        (n, users) => format!("{} attention; {} users are hit right now", need(n), number::count(users as f64)),
    };
    let of = |loud: Severity| model.incidents.iter().filter(|row| row.severity == loud).count();
    let unacked = model.incidents.iter().filter(|row| row.status == Status::Open).count();
    let known = model.evidence.as_deref();
    let body = html! {
        div.head { h1 data-live="heading" { (heading) } p.muted { (number::day(model.now)) ", each over its own window. Worst first; nothing here moves while you read." } }
        dl.figures data-live="figures" {
            div { dt { "Users hit now" } dd { span.big { (number::count(users as f64)) } span.sub { @if model.incidents.is_empty() { "nothing is open" } @else { "in open incidents; a user in two counts twice" } } } }
            div { dt { "Objectives" } dd { span.big { (all - attention) " of " (all) " fine" } span.sub { (firing) " burning, " (gone) " exhausted, " (unknown) " unknown" @if rising > 0 { ", " (rising) " increasing" } } } }
            div { dt { "Open incidents" } dd { a.big href="/" { (plural(of(Severity::Page), "page")) ", " (plural(of(Severity::Ticket), "ticket")) } span.sub { (unacked) " not acknowledged" } } }
            div { dt { "Can we trust it" } dd { (trust(model)) } }
        }
        section.card aria-labelledby="h-s" {
            header { h2 id="h-s" { "What users were promised" } span.small { a href="/slos" { "all " (all) } " · " a href="/slos?state=firing" { "burning only" } } }
            div data-live="slos" data-shape=(shape(model.rows.iter().map(|row| row.slo.name.as_str()))) { @if all == 0 { p.empty { "No rules yet: " code { "burnwatch demo" } ", or put a file into " code { "rules/" } "." } } @else { (table_with(&model.rows[..all.min(ROWS_MAX)], Some(&sparks(model)))) } }
        }
        div.cols {
            div { div data-live="heat" data-shape=(heat::shape_of(&model.heat, model.evidence.is_some())) { (heat(model)) } div data-live="funnels" data-shape=(known.map_or(String::new(), |known| shape(known.funnels.iter().flat_map(|funnel| funnel.steps.iter().map(|step| step.name.as_str()))))) { (funnel::funnels(model.evidence.as_deref())) } }
            div {
                section.card aria-labelledby="h-i" {
                    header { h2 id="h-i" { "Open incidents" } a.small href="/" { "on call" } }
                    @if model.incidents.is_empty() { p.empty { "Nothing is open." } }
                    ul."plain"."incs" data-live="incidents" data-shape=(shape(model.incidents.iter().map(|row| row.id.as_str()))) { @for row in model.incidents.iter().take(6) { li {
                        div.r { (severity(row.severity)) span."small"."nowrap" { @if row.users > 0 { b { (number::users(row.users)) } " · " } (number::age(row.opened_at, model.now)) } }
                        a.t href=(path(&row.id)) { (Plain(&clip(&row.title, 160))) }
                        @if let Some(by) = &row.acknowledged_by { span."small"."muted" { " · acknowledged by " (Plain(&clip(by, 40))) } }
                    } } }
                }
                div data-live="releases" data-shape=(known.map_or(String::new(), |known| shape(known.releases.iter().map(|release| release.change.id.as_str())))) { (release::releases(model)) }
            }
        }
    };
    let mut page = Page::new(format!("Overview: {attention} of {all} need attention"), Place::Overview, body);
    page.refresh = Some(if model.evidence.is_some() { REFRESH } else { REFRESH_READING });
    page.json = Some("/v1/slos".into());
    page
}

fn plural(n: usize, word: &str) -> String {
    format!("{n} {word}{}", if n == 1 { "" } else { "s" })
}

fn heat(model: &Overview<'_>) -> Markup {
    if model.heat.is_empty() {
        return html! { @if model.evidence.is_none() && !model.rows.is_empty() { (being_read("h-h", "Where it hurts")) } };
    }
    html! {
        section.card aria-labelledby="h-h" {
            header { h2 id="h-h" { "Where it hurts" } span."small"."muted" { "× the budgeted rate over the shortest long window; hatched: not measured" } }
            (heat::objectives(&model.heat, &model.dimension))
            @if model.evidence.is_none() { p."small"."muted" { "Objectives with one budget for all are being read from stored history." } }
        }
    }
}

/// How much was measured, and who is silent.
fn trust(model: &Overview<'_>) -> Markup {
    let coverage = model.evidence.as_ref().and_then(|evidence| evidence.coverage);
    html! {
        span.big {
            @match coverage {
                Some(coverage) => { (number::share_down(coverage.share)) " measured" },
                None if model.evidence.is_none() => "Being read",
                None => "Not measured",
            }
        }
        span.sub {
            @match coverage { Some(coverage) => { "of the last day, over " (plural(coverage.apps, "app")) "; " } None => {} }
            @if model.silent.is_empty() { "no source is silent" }
            @else { (plural(model.silent.len(), "source")) " silent: " (Plain(&clip(&model.silent.join(", "), 80))) }
        }
    }
}

fn sparks<'a>(model: &'a Overview<'_>) -> impl Fn(&str) -> Markup + 'a {
    let known = model.evidence.as_ref().map(|evidence| &evidence.sparks);
    // One scale for the column: deep debts reach its lower edge and no further.
    let lowest = known.into_iter().flat_map(|sparks| sparks.values().flatten().flatten()).copied().fold(0.0_f64, f64::min).max(-1.0);
    move |name| match known.and_then(|sparks| sparks.get(name)) {
        Some(values) => Spark { values, low: lowest, high: 1.0, band: None, words: &number::signed_percent, what: "budget left" }.draw(),
        None if known.is_none() => html! { span."small"."muted" { "being read" } },
        None => html! {},
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::rule::Labels;
    use crate::domain::snapshot::{AlertPhase, SloStatus};
    use crate::web::fixture::{self, HOSTILE, NOW, assert_inert, render};
    use crate::web::pages::evidence::{Compared, Coverage, Funnel, Release, Step};
    use crate::web::pages::heat::HeatCell;

    pub fn compared(before: (f64, f64), after: (f64, f64)) -> Compared {
        Compared { what: "failing requests", before, after }
    }

    pub fn model<'a>(rows: Vec<Objective<'a>>, evidence: Evidence) -> Overview<'a> {
        Overview {
            rows,
            heat: vec![],
            dimension: String::new(),
            incidents: vec![],
            evidence: Some(Arc::new(evidence)),
            silent: vec![],
            now: NOW,
        }
    }

    #[test]
    fn what_is_still_being_read_has_its_place_and_says_so() {
        let slo = fixture::slo();
        let rows = || vec![Objective::new(&slo, &[Arc::new(fixture::status())]).expect("a row")];
        let reading = page(&Overview { evidence: None, ..model(rows(), Evidence::default()) });
        let read = page(&model(rows(), Evidence::default()));
        assert_eq!(reading.shape, read.shape, "its coming asks nobody to reload");
        assert_eq!((reading.refresh, read.refresh), (Some(REFRESH_READING), Some(REFRESH)));
        let (reading, read) = (reading.body.into_string(), read.body.into_string());
        for live in ["slos", "heat", "funnels", "releases"] {
            let place = format!("data-live=\"{live}\"");
            assert!(reading.contains(&place) && read.contains(&place), "the script can fill {live} in place");
        }
        assert!(reading.contains("checkout-api") && reading.contains("Burning"), "what is in memory is there at once");
        assert_eq!(reading.matches("eing read").count(), 5, "{reading}");
        assert!(!read.contains("eing read"), "{read}");
    }

    #[test]
    fn the_headline_counts_an_objective_whose_group_burns() {
        let slo = fixture::slo();
        let fine = Arc::new(SloStatus { state: AlertPhase::Ok, severity: None, tiers: vec![], ..fixture::status() });
        let group = |state, severity, left| {
            let group = Labels::from([("region".to_owned(), "eu".to_owned())]);
            Arc::new(SloStatus { group, state, severity, budget_remaining: Some(left), ..fixture::status() })
        };
        let heading = |rows: &[Arc<SloStatus>]| {
            let row = Objective::new(&slo, rows).expect("a row");
            render(NOW, |_| page(&model(vec![row], Evidence::default())))
        };
        let text = heading(&[fine.clone(), group(AlertPhase::Firing, Some(Severity::Page), 0.4)]);
        assert!(text.contains("1 of 1 objective needs attention") && text.contains("1 burning, 0 exhausted"), "{text}");
        let text = heading(&[fine.clone(), group(AlertPhase::Ok, None, -0.4)]);
        assert!(text.contains("0 burning, 1 exhausted") && text.contains("Exhausted"), "{text}");
        assert!(heading(&[fine]).contains("The one objective is fine"));
    }

    #[test]
    fn hostile_names_are_inert_on_the_overview() {
        let mut slo = fixture::slo();
        for text in [&mut slo.name, &mut slo.description, &mut slo.owner, &mut slo.service] {
            *text = HOSTILE.into();
        }
        let group = Labels::from([(HOSTILE.to_owned(), HOSTILE.to_owned())]);
        let status = Arc::new(SloStatus { group, ..fixture::status() });
        let row = Objective { slo: &slo, status: status.clone(), worst: Some(status.clone()) };
        let step = |count| Step { name: HOSTILE.into(), count, usual: 1.0 };
        let evidence = Evidence {
            sparks: [(HOSTILE.to_owned(), vec![Some(0.5), None, Some(-2.0)])].into(),
            funnels: vec![Funnel { app: HOSTILE.into(), name: HOSTILE.into(), steps: vec![step(900.0), step(2.0)], weeks: 1 }],
            releases: fixture::hostile_incident()
                .changes
                .into_iter()
                .map(|change| Release { change, traffic: None, compared: vec![compared((1.0, 100.0), (2.0, 100.0))] })
                .collect(),
            ..Evidence::default()
        };
        assert_inert(&render(NOW, |_| {
            let measured = HeatCell::Measured { burn: 20.0, over: true, firing: Some(Severity::Page) };
            let cells = [HeatCell::Group(status.clone()), HeatCell::Unknown, measured].map(|cell| (HOSTILE.to_owned(), cell));
            let heat = vec![(&slo, cells.into())];
            page(&Overview { heat, dimension: HOSTILE.into(), silent: vec![HOSTILE.into()], ..model(vec![row], evidence) })
        }));
    }

    #[test]
    fn a_part_that_was_not_measured_is_told_and_not_rounded_away() {
        let with =
            |share| render(NOW, |_| page(&model(vec![], Evidence { coverage: Some(Coverage { share, apps: 2 }), ..Evidence::default() })));
        assert!(with(0.9917).contains("99.1 % measured") && with(0.9917).contains("over 2 apps"));
        assert!(with(0.999_97).contains("99.9 % measured") && with(1.0).contains("100 % measured"));
        let none = render(NOW, |_| page(&Overview { silent: vec!["payment-3ds".into()], ..model(vec![], Evidence::default()) }));
        assert!(none.contains("Not measured") && none.contains("1 source silent: payment-3ds"), "{none}");
    }
}
