//! The executive view: what was promised, where it hurts, how far people get, what the last releases did.
//!
//! What stands in memory is fresh on every page; what has to be read from stored history is read at most
//! once a minute ([`Evidence`]). Until it is there for the first time its places say that it is being read; the
//! script fills them when it has come, and without script the page is loaded anew soon.

use std::sync::Arc;

use maud::{Markup, html};

use super::incident::path;
use super::oncall::Row;
use super::slos::{Need, Objective, group_query, slo_path, table_with};
use crate::domain::notification::{Change, Status};
use crate::domain::rule::{Severity, Slo};
use crate::domain::snapshot::{AlertPhase, SloStatus};
use crate::domain::time::Timestamp;
use crate::web::chart::spark::Spark;
use crate::web::frame::{Page, Place, REFRESH};
use crate::web::icon::{Icon, Tone, flag, flag_with, severity};
use crate::web::number;
use crate::web::text::{Plain, clip};

/// Objectives in the overview's table.
pub const ROWS_MAX: usize = 10;
/// Seconds until a page without script is loaded anew while stored history is being read.
const REFRESH_READING: u8 = 2;
/// Steps of one funnel.
const STEPS_MAX: usize = 8;
/// Standard errors that tell a difference from chance.
const SIGMAS: f64 = 3.0;
/// Fewer events of a release say nothing about it.
pub const EVENTS_MIN: f64 = 50.0;

/// What was read from stored history.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Evidence {
    /// Budget left over the objective's window, by objective.
    pub sparks: std::collections::BTreeMap<String, Vec<Option<f64>>>,
    /// Burn and events by region, for objectives whose budget is one for all regions, over the long window
    /// of the shortest tier.
    pub regions: std::collections::BTreeMap<String, Vec<(String, f64, f64)>>,
    pub funnels: Vec<Funnel>,
    pub releases: Vec<Release>,
}

/// How far people get in an hour.
#[derive(Clone, Debug, PartialEq)]
pub struct Funnel {
    pub app: String,
    pub name: String,
    /// The first step first.
    pub steps: Vec<Step>,
    /// Weeks ago in which the same hour was measured.
    pub weeks: usize,
}

/// One step of a funnel.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    pub name: String,
    pub count: f64,
    /// Over all `weeks`, summed.
    pub usual: f64,
}

/// A release with what was measured around it.
#[derive(Clone, Debug, PartialEq)]
pub struct Release {
    pub change: Change,
    /// Of the app's page loads and requests in the last minutes.
    pub traffic: Option<f64>,
    pub compared: Vec<Compared>,
}

/// Failures in the hour before a release, and on it since.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Compared {
    pub what: &'static str,
    /// Bad and total.
    pub before: (f64, f64),
    pub after: (f64, f64),
}

impl Compared {
    /// The difference of the shares in standard errors; `None` where one side has too few events.
    fn sigmas(&self) -> Option<f64> {
        let ((bad, all), (bad_after, all_after)) = (self.before, self.after);
        if all < EVENTS_MIN || all_after < EVENTS_MIN {
            return None;
        }
        let pooled = (bad + bad_after) / (all + all_after);
        // Without any failure there is no difference, and no error to divide by.
        let error = (pooled * (1.0 - pooled) * (1.0 / all + 1.0 / all_after)).sqrt();
        Some(if error > 0.0 { (bad_after / all_after - bad / all) / error } else { 0.0 })
    }
}

/// An objective against the values of a dimension.
pub type HeatRow<'a> = (&'a Slo, Vec<(String, HeatCell)>);

/// How an objective burns at one value of a dimension.
#[derive(Clone, Debug)]
pub enum HeatCell {
    /// It has a budget of its own there.
    Group(Arc<SloStatus>),
    /// Its budget is one for all values; this is what history says of this one. `over` the limit of the
    /// shortest tier, and how loud the objective fires as a whole.
    Measured { burn: f64, over: bool, firing: Option<Severity> },
    /// Not measured, or too few events to say.
    Unknown,
}

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
    let heading = match (attention, users) {
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
    let body = html! {
        div.head { h1 data-live="heading" { (heading) } p.muted { "Each over its own window. Worst first; nothing here moves while you read." } }
        dl.figures data-live="figures" {
            div { dt { "Users hit now" } dd { span.big { (number::count(users as f64)) } span.sub { "in open incidents; a user in two counts twice" } } }
            div { dt { "Objectives" } dd { span.big { (all - attention) " of " (all) " fine" } span.sub { (firing) " burning, " (gone) " exhausted, " (unknown) " unknown" } } }
            div { dt { "Open incidents" } dd { a.big href="/" { (plural(of(Severity::Page), "page")) ", " (plural(of(Severity::Ticket), "ticket")) } span.sub { (unacked) " not acknowledged" } } }
            div { dt { "Can we trust it" } dd {
                @if model.silent.is_empty() { span.big { "All sources send" } span.sub { "see the strip above" } }
                @else { span.big { (model.silent.len()) " silent" } span.sub { (Plain(&clip(&model.silent.join(", "), 80))) } }
            } }
        }
        section.card aria-labelledby="h-s" {
            header { h2 id="h-s" { "What users were promised" } a.small href="/slos" { "all " (all) } }
            div data-live="slos" { @if all == 0 { p.empty { "No rules yet: " code { "burnwatch demo" } ", or put a file into " code { "rules/" } "." } } @else { (table_with(&model.rows[..all.min(ROWS_MAX)], Some(&sparks(model)))) } }
        }
        div.cols {
            div { div data-live="heat" { (heat(model)) } div data-live="funnels" { (funnels(model)) } }
            div {
                section.card aria-labelledby="h-i" {
                    header { h2 id="h-i" { "Open incidents" } a.small href="/" { "on call" } }
                    @if model.incidents.is_empty() { p.empty { "Nothing is open." } }
                    ul."plain"."dl" { @for row in model.incidents.iter().take(6) { li {
                        span { (severity(row.severity)) " " a href=(path(&row.id)) { (Plain(&clip(&row.title, 120))) } }
                        span."muted"."nowrap" { @if row.users > 0 { b { (number::users(row.users)) } " · " } (number::ago(row.opened_at, model.now)) }
                    } } }
                }
                div data-live="releases" { (releases(model)) }
            }
        }
    };
    let mut page = Page::new(format!("Overview: {attention} of {all} need attention"), Place::Overview, body);
    page.refresh = Some(if model.evidence.is_some() { REFRESH } else { REFRESH_READING });
    page.json = Some("/v1/slos".into());
    // What is still being read has its places already, so its coming is no other shape.
    page.shape = model.rows.iter().map(|row| row.slo.name.as_str()).collect::<Vec<_>>().join(" ");
    page
}

fn plural(n: usize, word: &str) -> String {
    format!("{n} {word}{}", if n == 1 { "" } else { "s" })
}

fn heat(model: &Overview<'_>) -> Markup {
    let Some((_, first)) = model.heat.first() else {
        return html! { @if model.evidence.is_none() && !model.rows.is_empty() { (being_read("h-h", "Where it hurts")) } };
    };
    html! {
        section.card aria-labelledby="h-h" {
            header { h2 id="h-h" { "Where it hurts" } span."small"."muted" { "× the budgeted rate over the shortest long window; hatched: not measured" } }
            table.heat {
                thead { tr { th scope="col" { "burn by " (Plain(&clip(&model.dimension, 40))) } @for (value, _) in first { th scope="col" { (Plain(&clip(value, 24))) } } } }
                tbody {
                    @for (slo, cells) in &model.heat {
                        tr {
                            th.small scope="row" { (Plain(&clip(&slo.name, 40))) }
                            @for (value, known) in cells { (cell(slo, value, known)) }
                        }
                    }
                }
            }
            @if model.evidence.is_none() { p."small"."muted" { "Objectives with one budget for all are being read from stored history." } }
        }
    }
}

/// The place of what stored history has not answered yet.
fn being_read(id: &str, title: &str) -> Markup {
    html! {
        section."card"."reading" aria-labelledby=(id) {
            header { h2 id=(id) { (title) } }
            p.empty { "Being read from stored history; it appears here by itself." }
        }
    }
}

fn cell(slo: &Slo, value: &str, known: &HeatCell) -> Markup {
    let status = match known {
        HeatCell::Group(status) => status,
        HeatCell::Measured { burn, over, firing } => return measured(slo, value, *burn, over.then_some(*firing)),
        HeatCell::Unknown => {
            return html! { td.h-unknown { span.cell { span.reg { (Plain(&clip(value, 24))) } span { "?" span.vh { " not measured" } } } } };
        }
    };
    let tier = status.tiers.iter().min_by_key(|tier| tier.long);
    let burn = tier.and_then(|tier| tier.burn_long);
    let (class, icon) = match (status.state, status.severity, burn) {
        (AlertPhase::Firing, Some(Severity::Page), _) => ("h-page", Some(Icon::Page)),
        (AlertPhase::Firing, _, _) => ("h-ticket", Some(Icon::Ticket)),
        (AlertPhase::Unknown, _, _) | (_, _, None) => ("h-unknown", None),
        (AlertPhase::Pending, _, _) => ("h-ticket", Some(Icon::Rising)),
        (AlertPhase::Ok, _, Some(_)) => ("h-ok", None),
    };
    let limits: Vec<f64> = status.tiers.iter().map(|tier| tier.factor.to_f64()).collect();
    html! {
        td class=(class) {
            a href={ (slo_path(slo)) (group_query(&status.group)) } {
                span.reg { (Plain(&clip(value, 24))) }
                span { @if let Some(icon) = icon { (icon.svg()) " " } @if burn.is_none() { "?" span.vh { " not measured" } } @else { (number::burn(burn, &limits)) } }
            }
        }
    }
}

fn measured(slo: &Slo, value: &str, burn: f64, over: Option<Option<Severity>>) -> Markup {
    let (class, icon) = match over {
        None => ("h-ok", None),
        Some(Some(Severity::Page)) => ("h-page", Some(Icon::Page)),
        Some(Some(Severity::Ticket | Severity::Info)) => ("h-ticket", Some(Icon::Ticket)),
        // Over the limit here, and not as a whole.
        Some(None) => ("h-ticket", Some(Icon::Rising)),
    };
    let limits: Vec<f64> = slo.tiers.iter().map(|tier| tier.factor.to_f64()).collect();
    html! {
        td class=(class) {
            a href=(slo_path(slo)) {
                span.reg { (Plain(&clip(value, 24))) }
                span { @if let Some(icon) = icon { (icon.svg()) " " } (number::burn(Some(burn), &limits)) }
            }
        }
    }
}

fn sparks<'a>(model: &'a Overview<'_>) -> impl Fn(&str) -> Markup + 'a {
    let known = model.evidence.as_ref().map(|evidence| &evidence.sparks);
    // One scale for the column: deep debts reach its lower edge and no further.
    let lowest = known.into_iter().flat_map(|sparks| sparks.values().flatten().flatten()).copied().fold(0.0_f64, f64::min).max(-1.0);
    move |name| match known.and_then(|sparks| sparks.get(name)) {
        Some(values) => Spark { values, low: lowest, high: 1.0, words: &number::signed_percent, what: "budget left" }.draw(),
        None if known.is_none() => html! { span."small"."muted" { "being read" } },
        None => html! {},
    }
}

fn funnels(model: &Overview<'_>) -> Markup {
    let Some(evidence) = &model.evidence else { return being_read("h-f0", "How far people get") };
    html! {
        @for (i, funnel) in evidence.funnels.iter().enumerate() { (steps(funnel, i)) }
    }
}

fn steps(funnel: &Funnel, i: usize) -> Markup {
    let Some(first) = funnel.steps.first().filter(|first| first.count > 0.0) else { return html! {} };
    let usual = |step: &Step| (funnel.weeks > 0 && first.usual > 0.0).then(|| step.usual / first.usual);
    html! {
        section.card aria-labelledby={ "h-f" (i) } {
            header {
                h2 id={ "h-f" (i) } { "How far people get: " (Plain(&clip(&funnel.name, 40))) }
                span."small"."muted" { (Plain(&clip(&funnel.app, 40))) ", last hour: " (number::count(first.count)) " " (Plain(&clip(&first.name, 40))) }
            }
            table.funnel {
                thead.vh { tr { th scope="col" { "step" } th scope="col" { "share" } th scope="col" { "reached" } } }
                tbody { @for step in funnel.steps.iter().take(STEPS_MAX) {
                    @let share = step.count / first.count;
                    @let usual = usual(step);
                    @let moved = usual.map_or(0.0, |usual| moved(usual, share, first.count));
                    tr {
                        th scope="row" { (Plain(&clip(&step.name, 40))) }
                        td.b { (bar(share, usual, moved <= -SIGMAS)) }
                        td.num {
                            b { (number::share(share)) }
                            " " span."small"."muted" { @match usual { Some(usual) => { "usual " (number::share(usual)) } None => "usual not known" } }
                            @if moved <= -SIGMAS { " " (flag_with(Tone::Ticket, Icon::Falling, "fewer")) }
                            @if moved >= SIGMAS { " " (flag_with(Tone::Info, Icon::Rising, "more")) }
                        }
                    }
                } }
            }
            p."small"."muted" {
                "Share of those at the first step."
                @if funnel.weeks > 0 { " The line is what is usual at this hour of the week, out of " (plural(funnel.weeks, "week")) "." }
            }
        }
    }
}

/// How far a share is from the usual one, in standard errors; a difference under a twentieth is none.
fn moved(usual: f64, share: f64, events: f64) -> f64 {
    let error = (usual * (1.0 - usual) / events.max(1.0)).sqrt();
    if error <= 0.0 || (share - usual).abs() < usual * 0.05 { 0.0 } else { (share - usual) / error }
}

fn bar(share: f64, usual: Option<f64>, fewer: bool) -> Markup {
    let width = |share: f64| format!("{:.1}%", (share * 100.0).clamp(0.3, 99.4));
    html! {
        svg.pair aria-hidden="true" {
            rect class=(if fewer { "few" } else { "base-bar" }) y="6" width=(width(share)) height="14" rx="1" {}
            @if let Some(usual) = usual { line.limit x1=(width(usual)) x2=(width(usual)) y1="2" y2="24" {} }
        }
    }
}

fn releases(model: &Overview<'_>) -> Markup {
    html! {
        section.card aria-labelledby="h-c" {
            header { h2 id="h-c" { "Latest releases" } a.small href="/changes" { "all changes" } }
            @match &model.evidence {
                None => p.empty { "Being read from stored history; they appear here by themselves." },
                Some(evidence) if evidence.releases.is_empty() => p.empty { "None was reported in the last week: " code { "burnwatch annotate deploy" } "." },
                Some(evidence) => ul."plain"."releases" { @for release in &evidence.releases { li { (one_release(model, release)) } } },
            }
        }
    }
}

fn one_release(model: &Overview<'_>, release: &Release) -> Markup {
    let change = &release.change;
    let suspect = model.incidents.iter().find(|row| !change.id.is_empty() && row.suspect.as_ref() == Some(&change.id));
    let known = release.compared.iter().filter_map(|one| Some((one, one.sigmas()?)));
    let most = known.max_by(|a, b| a.1.abs().total_cmp(&b.1.abs()));
    html! {
        span.line {
            b { (super::change_words(change)) }
            span."small"."muted"."nowrap" { (number::time(change.at, model.now)) @if let Some(share) = release.traffic { " · " (number::share(share)) " of traffic" } }
        }
        span.line.small {
            span {
                @if let Some(row) = suspect { (flag(Tone::from(row.severity), "Suspect")) " of " a href=(path(&row.id)) { "the open incident" } ": " }
                @else { @match most {
                    None => { (flag(Tone::Unknown, "Too few events")) " to compare" }
                    Some((_, sigmas)) if sigmas >= SIGMAS => { (flag_with(Tone::Ticket, Icon::Rising, "Worse")) " " }
                    Some((_, sigmas)) if sigmas <= -SIGMAS => { (flag(Tone::Fine, "Better")) " " }
                    Some(_) => { (flag(Tone::Fine, "No change seen")) " " }
                } }
                @if let Some((one, _)) = most { (one.what) " " (ratio(one.before)) " → " b { (ratio(one.after)) } }
            }
        }
    }
}

fn ratio((bad, total): (f64, f64)) -> String {
    number::share(bad / total)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::rule::Labels;
    use crate::web::fixture::{self, HOSTILE, NOW, assert_inert, render};

    fn compared(before: (f64, f64), after: (f64, f64)) -> Compared {
        Compared { what: "failing requests", before, after }
    }

    fn release(compared: Vec<Compared>) -> Release {
        Release { change: fixture::incident().changes.remove(0), traffic: Some(0.12), compared }
    }

    fn model<'a>(rows: Vec<Objective<'a>>, evidence: Evidence) -> Overview<'a> {
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

    fn said(compared: Vec<Compared>) -> String {
        one_release(&model(vec![], Evidence::default()), &release(compared)).into_string()
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
        assert_eq!(reading.matches("eing read").count(), 4, "{reading}");
        assert!(!read.contains("eing read"), "{read}");
    }

    #[test]
    fn a_release_is_called_worse_only_beyond_chance() {
        assert!(said(vec![compared((4.0, 10_000.0), (95.0, 1_000.0))]).contains("Worse"));
        assert!(said(vec![compared((95.0, 1_000.0), (4.0, 10_000.0))]).contains("Better"));
        assert!(said(vec![compared((4.0, 10_000.0), (1.0, 1_000.0))]).contains("No change seen"));
        assert!(said(vec![compared((0.0, 10_000.0), (0.0, 1_000.0))]).contains("0 %"), "no failure at all is no error");
        let few = said(vec![compared((4.0, 10_000.0), (3.0, 9.0))]);
        assert!(few.contains("Too few events") && !few.contains("→"), "{few}");
        // What moved most is what is told.
        let both =
            said(vec![compared((4.0, 10_000.0), (1.0, 1_000.0)), Compared { what: "crashes", ..compared((1.0, 900.0), (90.0, 900.0)) }]);
        assert!(both.contains("crashes 0.11 % → <b>10 %</b>"), "{both}");
    }

    #[test]
    fn a_release_that_an_open_incident_suspects_says_so() {
        let mut overview = model(vec![], Evidence::default());
        let release = release(vec![compared((4.0, 10_000.0), (95.0, 1_000.0))]);
        overview.incidents = vec![Row { suspect: Some(release.change.id.clone()), ..fixture::row() }];
        let text = one_release(&overview, &release).into_string();
        assert!(text.contains("Suspect") && !text.contains("Worse"), "{text}");
    }

    #[test]
    fn a_step_that_fewer_reach_than_usual_is_marked() {
        let step = |name: &str, count, usual| Step { name: name.into(), count, usual };
        let funnel = |paid| Funnel {
            app: "shop".into(),
            name: "checkout".into(),
            steps: vec![step("cart", 1_000.0, 4_000.0), step("paid", paid, 1_600.0)],
            weeks: 4,
        };
        let text = steps(&funnel(250.0), 0).into_string();
        assert!(text.contains("25 %") && text.contains("usual 40 %") && text.contains("fewer"), "{text}");
        assert!(!steps(&funnel(395.0), 0).into_string().contains("fewer"));
        let new = Funnel { weeks: 0, ..funnel(250.0) };
        let text = steps(&new, 0).into_string();
        assert!(text.contains("usual not known") && !text.contains("fewer"), "{text}");
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
            regions: Default::default(),
            sparks: [(HOSTILE.to_owned(), vec![Some(0.5), None, Some(-2.0)])].into(),
            funnels: vec![Funnel { app: HOSTILE.into(), name: HOSTILE.into(), steps: vec![step(900.0), step(2.0)], weeks: 1 }],
            releases: fixture::hostile_incident()
                .changes
                .into_iter()
                .map(|change| Release { change, traffic: None, compared: vec![compared((1.0, 100.0), (2.0, 100.0))] })
                .collect(),
        };
        assert_inert(&render(NOW, |_| {
            let measured = HeatCell::Measured { burn: 20.0, over: true, firing: Some(Severity::Page) };
            let cells = [HeatCell::Group(status.clone()), HeatCell::Unknown, measured].map(|cell| (HOSTILE.to_owned(), cell));
            let heat = vec![(&slo, cells.into())];
            page(&Overview { heat, dimension: HOSTILE.into(), silent: vec![HOSTILE.into()], ..model(vec![row], evidence) })
        }));
    }
}
