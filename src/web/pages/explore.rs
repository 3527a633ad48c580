//! Ad hoc questions to stored history: the form, a chart, a table of the groups.

use maud::{Markup, html};

use crate::domain::metric::{Metric, Vital};
use crate::domain::rule::Labels;
use crate::domain::time::{Span, Timestamp};
use crate::web::chart::plot::{CURVES_MAX, Curve, Plot, sample};
use crate::web::frame::{Page, Place};
use crate::web::icon::{Tone, flag};
use crate::web::number;
use crate::web::pages::slos::group_words;
use crate::web::query::Point;
use crate::web::text::{Plain, clip};

/// Most groups of the table.
pub const GROUPS_MAX: usize = 50;

/// What is drawn of each step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Show {
    #[default]
    Total,
    Bad,
    Share,
    Users,
    BadUsers,
    P50,
    P75,
    P95,
    P99,
}

impl Show {
    /// All of them, in the order of the form.
    pub const ALL: [Show; 9] =
        [Show::Total, Show::Bad, Show::Share, Show::Users, Show::BadUsers, Show::P50, Show::P75, Show::P95, Show::P99];

    /// As it stands in the address.
    pub const fn name(self) -> &'static str {
        match self {
            Show::Total => "total",
            Show::Bad => "bad",
            Show::Share => "share",
            Show::Users => "users",
            Show::BadUsers => "bad_users",
            Show::P50 => "p50",
            Show::P75 => "p75",
            Show::P95 => "p95",
            Show::P99 => "p99",
        }
    }

    /// Reads [`Show::name`].
    pub fn parse(name: &str) -> Show {
        Show::ALL.into_iter().find(|show| show.name() == name).unwrap_or_default()
    }

    const fn label(self) -> &'static str {
        match self {
            Show::Total => "events",
            Show::Bad => "failed events",
            Show::Share => "share failing",
            Show::Users => "distinct users",
            Show::BadUsers => "distinct users hit",
            Show::P50 => "median value",
            Show::P75 => "75th percentile",
            Show::P95 => "95th percentile",
            Show::P99 => "99th percentile",
        }
    }

    /// The quantile that has to be asked for.
    pub const fn quantile(self) -> Option<f64> {
        match self {
            Show::Total | Show::Bad | Show::Share | Show::Users | Show::BadUsers => None,
            Show::P50 => Some(0.5),
            Show::P75 => Some(0.75),
            Show::P95 => Some(0.95),
            Show::P99 => Some(0.99),
        }
    }

    /// The value of a step; `None` where there is none to speak of.
    pub fn of(self, point: &Point) -> Option<f64> {
        match self {
            Show::Total => Some(point.total),
            Show::Bad => Some(point.bad),
            Show::Share => (point.total > 0.0).then(|| point.bad / point.total),
            Show::Users => point.users.map(|users| users as f64),
            Show::BadUsers => point.bad_users.map(|users| users as f64),
            Show::P50 | Show::P75 | Show::P95 | Show::P99 => {
                let name = self.quantile()?.to_string();
                point.quantiles.as_ref()?.get(&name).copied()
            }
        }
    }
}

/// A question as it was typed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Form {
    pub metric: String,
    /// One condition a line.
    pub filter: String,
    pub by: String,
    pub from: String,
    pub to: String,
    pub step: String,
    pub show: Show,
}

/// One group over the whole span.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    pub labels: Labels,
    pub whole: Point,
}

/// What came of a question.
pub struct Found {
    pub metric: Metric,
    pub from: Timestamp,
    pub to: Timestamp,
    pub step: Span,
    /// The most events first; at most [`GROUPS_MAX`].
    pub groups: Vec<Group>,
    /// How many there are in all.
    pub all: usize,
    /// Of the first groups, in their order.
    pub curves: Vec<Curve>,
    /// The same question for `POST /v1/query`.
    pub json: String,
}

/// The page's model.
pub struct Model {
    pub form: Form,
    /// Metrics to choose from: the fixed ones and the custom ones that rules name.
    pub metrics: Vec<String>,
    pub dimensions: Vec<String>,
    /// `None`: nothing was asked yet.
    pub found: Option<Result<Found, String>>,
    pub measured_to: Option<Timestamp>,
    pub now: Timestamp,
}

/// A value of a metric in its unit.
fn value_words(metric: &Metric, show: Show, value: f64) -> String {
    match show {
        Show::Total | Show::Bad | Show::Users | Show::BadUsers => number::count(value),
        Show::Share => number::share(value),
        Show::P50 | Show::P75 | Show::P95 | Show::P99 => match metric {
            Metric::Vital(Vital::Cls) | Metric::Custom(_) => format!("{value:.3}"),
            _ if value < 1.0 => format!("{value:.2} ms"),
            _ if value < 1_000.0 => format!("{value:.0} ms"),
            _ => number::duration(Span(value.round() as i64)),
        },
    }
}

/// The page.
pub fn page(model: &Model) -> Page {
    let body = html! {
        div.head { h1 { "Query" } p.muted { "Stored history by metric, filter and group: the same answer as " code { "POST /v1/query" } ". The address of an answer can be shared." } }
        (form(model))
        @match &model.found {
            None => section.card aria-label="How to ask" {
                p.empty { "Choose a metric. Dimensions are " @for (i, name) in model.dimensions.iter().enumerate() { @if i > 0 { ", " } code { (Plain(&clip(name, 40))) } } ", and those that a metric has of its own (a request has " code { "host" } ", " code { "method" } " and " code { "status" } ")." }
            },
            Some(Err(why)) => div."outcome"."bad" role="alert" { span.any { (flag(Tone::Ticket, "No answer")) " " (Plain(&clip(why, 600))) } },
            Some(Ok(found)) => (answer(model, found)),
        }
    };
    let title = if model.form.metric.is_empty() {
        "Query".to_owned()
    } else {
        format!("Query: {} of {}", model.form.show.label(), clip(&model.form.metric, 60))
    };
    Page::new(title, Place::Elsewhere, body)
}

fn form(model: &Model) -> Markup {
    let form = &model.form;
    let known = model.metrics.contains(&form.metric);
    html! {
        section.card aria-label="Question" {
            form.ask method="get" action="/query" {
                label { "Metric"
                    select name="metric" required {
                        @if !known && !form.metric.is_empty() { option value=(clip(&form.metric, 100)) selected { (Plain(&clip(&form.metric, 100))) } }
                        @for name in &model.metrics { option value=(name) selected[*name == form.metric] { (Plain(name)) } }
                    }
                }
                label { "Show" select name="show" { @for show in Show::ALL { option value=(show.name()) selected[show == form.show] { (show.label()) } } } }
                label { "By (dimensions)" input name="by" maxlength="300" placeholder="region, release" value=(clip(&form.by, 300)) autocomplete="off"; }
                label { "From" input name="from" maxlength="40" placeholder="-1h" value=(clip(&form.from, 40)) autocomplete="off"; }
                label { "To" input name="to" maxlength="40" placeholder="now" value=(clip(&form.to, 40)) autocomplete="off"; }
                label { "Step" input name="step" maxlength="20" placeholder="chosen" value=(clip(&form.step, 20)) autocomplete="off"; }
                label.whole { "Where " span.muted { "one a line: app=shop, status=5xx, route=/checkout*, region=eu-west,us-east, release=!2.3.0" }
                    textarea name="where" rows="2" maxlength="4000" autocomplete="off" { (Plain(&form.filter)) }
                }
                button.btn.primary { "Ask" }
            }
        }
    }
}

fn answer(model: &Model, found: &Found) -> Markup {
    let show = model.form.show;
    let words = |value: f64| value_words(&found.metric, show, value);
    let plot = Plot {
        id: "q",
        title: format!("{} of {}", show.label(), found.metric),
        from: found.from,
        step: found.step,
        curves: &found.curves,
        bars: false,
        until: model.measured_to,
        words: &words,
        now: model.now,
    };
    html! {
        section.card aria-labelledby="h-q" {
            header {
                h2 id="h-q" { (show.label()) " of " (found.metric) }
                span."small"."muted" { (number::clock(found.from, model.now)) " to " (number::clock(found.to, model.now)) " UTC, a step is " (number::window(found.step)) "; hatched: not measured" }
            }
            (plot.draw())
        }
        section.card aria-labelledby="h-g" {
            header { h2 id="h-g" { "Groups over the whole span" } span."small"."muted" { (found.all) @if found.all > found.groups.len() { ", the first " (found.groups.len()) " by events" } } }
            @if found.groups.is_empty() { p.empty { "No event of " code { (found.metric) } " matches in this span." } } @else { (groups(found, show)) }
            @if found.all > CURVES_MAX { p."small"."muted" { "The chart holds the first " (CURVES_MAX) "." } }
            details { summary { "The same question to the API" } pre.wrapped { "POST /v1/query\n" (Plain(&found.json)) } }
        }
    }
}

fn groups(found: &Found, show: Show) -> Markup {
    html! {
        table.stack {
            thead { tr { th scope="col" { "group" } th.num scope="col" { "events" } th.num scope="col" { "failed" } th.num scope="col" { "share" } th.num scope="col" { "users" } @if show.quantile().is_some() { th.num scope="col" { (show.label()) } } } }
            tbody { @for (i, group) in found.groups.iter().enumerate() { @let whole = &group.whole; tr data-row {
                th scope="row" { @if i < CURVES_MAX { (sample(i)) } (Plain(&labels(&group.labels))) }
                td.num data-th="events" { span title=(number::exact(whole.total)) { (number::count(whole.total)) } }
                td.num data-th="failed" { span title=(number::exact(whole.bad)) { (number::count(whole.bad)) } }
                td.num data-th="share" { @if whole.total > 0.0 { (number::share(whole.bad / whole.total)) } @else { "no events" } }
                td.num data-th="users" { @match whole.users { Some(users) => (number::users(users)), None => span.muted { (number::NOT_MEASURED) } } }
                @if show.quantile().is_some() { td.num data-th="value" { @match show.of(whole) { Some(value) => (value_words(&found.metric, show, value)), None => span.muted { (number::NOT_MEASURED) } } } }
            } } }
        }
    }
}

fn labels(labels: &Labels) -> String {
    if labels.is_empty() { "all".into() } else { group_words(labels) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::fixture::{HOSTILE, NOW, assert_inert, render};

    fn model(text: &str, found: Option<Result<Found, String>>) -> Model {
        let text = || text.to_owned();
        let form = Form { metric: text(), filter: text(), by: text(), from: text(), to: text(), step: text(), show: Show::P75 };
        Model { form, metrics: vec!["lcp".into()], dimensions: vec![text()], found, measured_to: Some(NOW), now: NOW }
    }

    fn found(name: &str) -> Found {
        let quantiles = Some([("0.75".to_owned(), 2_512.4)].into());
        let whole = Point { total: 1_240.0, bad: 31.0, users: Some(412), quantiles, ..Point::default() };
        Found {
            metric: Metric::Vital(Vital::Lcp),
            from: NOW - Span::HOUR,
            to: NOW,
            step: Span::minutes(20),
            groups: vec![Group { labels: [("region".to_owned(), name.to_owned())].into(), whole }],
            all: 1,
            curves: vec![Curve { name: name.into(), values: vec![Some(2_000.0), None, Some(3_000.0)] }],
            json: format!("{{\"metric\":\"{name}\"}}"),
        }
    }

    #[test]
    fn an_answer_has_its_figures_and_its_gap() {
        let text = render(NOW, |_| page(&model("lcp", Some(Ok(found("eu-west"))))));
        for part in ["2.5 s", "1.2k", "2.5 %", "412 users", "region eu-west", "not measured", "url(#q-h)"] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(render(NOW, |_| page(&model("", None))).contains("Choose a metric"));
    }

    #[test]
    fn hostile_names_are_inert_in_questions_and_answers() {
        assert_inert(&render(NOW, |_| page(&model(HOSTILE, Some(Ok(found(HOSTILE)))))));
        assert_inert(&render(NOW, |_| page(&model(HOSTILE, Some(Err(HOSTILE.into()))))));
    }

    #[test]
    fn a_share_of_nothing_is_no_number() {
        assert_eq!(Show::Share.of(&Point::default()), None);
        assert_eq!(Show::P75.of(&Point::default()), None);
        assert_eq!(Show::Share.of(&Point { total: 4.0, bad: 1.0, ..Point::default() }), Some(0.25));
    }
}
