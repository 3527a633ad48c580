//! One incident: who is hit, where, since when, what changed, what to do; then the evidence.

pub mod answers;
mod evidence;
mod forms;
pub mod people;
mod real;
#[cfg(test)]
mod tests;

use maud::{Markup, html};

pub use evidence::tier_table;
pub use forms::{assign, resolve, snooze};
pub use real::{Check, Then};

use crate::domain::incident::Incident;
use crate::domain::notification::Status;
use crate::domain::rule::{Severity, Slo};
use crate::domain::snapshot::SloStatus;
use crate::domain::time::{Span, Timestamp};
use crate::web::chart::BurnChart;
use crate::web::frame::{Page, Place, Reader};
use crate::web::icon::{Icon, Tone, flag, severity};
use crate::web::number;
use crate::web::text::{Plain, clip, segment};

/// How much time the chart shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Range {
    #[default]
    Hour,
    Hours6,
    Days3,
    Days30,
}

impl Range {
    /// All, shortest first.
    pub const ALL: [Range; 4] = [Range::Hour, Range::Hours6, Range::Days3, Range::Days30];

    /// As it stands in `?range=`.
    pub const fn name(self) -> &'static str {
        match self {
            Range::Hour => "1h",
            Range::Hours6 => "6h",
            Range::Days3 => "3d",
            Range::Days30 => "30d",
        }
    }

    /// Reads [`Range::name`]; anything else is an hour.
    pub fn parse(name: &str) -> Range {
        Range::ALL.into_iter().find(|range| range.name() == name).unwrap_or_default()
    }

    /// Its length.
    pub const fn span(self) -> Span {
        match self {
            Range::Hour => Span::hours(1),
            Range::Hours6 => Span::hours(6),
            Range::Days3 => Span::days(3),
            Range::Days30 => Span::days(30),
        }
    }

    /// The step that is asked for, and the step that is drawn.
    pub const fn steps(self) -> (Span, Span) {
        match self {
            Range::Hour => (Span::MINUTE, Span::MINUTE),
            Range::Hours6 => (Span::MINUTE, Span::minutes(5)),
            Range::Days3 => (Span::minutes(5), Span::HOUR),
            Range::Days30 => (Span::HOUR, Span::hours(6)),
        }
    }
}

/// The chart, or why there is none.
pub enum Drawing {
    Chart(BurnChart),
    /// No objective of this incident has one.
    None,
    Failed(String),
}

/// One line of the time line.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub at: Timestamp,
    pub icon: Icon,
    pub tone: Option<Tone>,
    /// What happened, in a word or two.
    pub what: String,
    pub said: String,
    pub who: String,
    pub url: Option<String>,
}

/// What one receiver was told last.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    pub receiver: String,
    /// `PagerDuty`, `e-mail`; empty when the receiver is gone from the rules.
    pub kind: String,
    pub at: Timestamp,
    pub state: ToldState,
}

/// How telling went.
#[derive(Clone, Debug, PartialEq)]
pub enum ToldState {
    Delivered,
    OnItsWay,
    Retrying { error: String, attempts: i64, next: Timestamp },
    Dead(String),
    HeldBack(String),
}

/// An earlier incident with the same key.
#[derive(Clone, Debug, PartialEq)]
pub struct Before {
    pub id: String,
    pub title: String,
    pub opened_at: Timestamp,
    pub lasted: Option<Span>,
}

/// Everything that the page shows.
pub struct Model<'a> {
    pub incident: &'a Incident,
    pub slo: Option<(&'a Slo, Option<&'a SloStatus>)>,
    pub drawing: Drawing,
    pub range: Range,
    /// Newest first.
    pub entries: Vec<Entry>,
    pub told: Vec<Told>,
    pub checks: Vec<Check>,
    /// Whether all of `checks` is known that stored history knows of the opening.
    pub then_read: bool,
    pub before: Vec<Before>,
    /// Titles of the incidents of the same cause, by id.
    pub family: std::collections::BTreeMap<String, String>,
    /// Where the rules among its alerts are, by name; those of others have no page here.
    pub rules: std::collections::BTreeMap<String, String>,
    pub now: Timestamp,
    pub reader: &'a Reader,
    /// Actions that a person may call: name and what the button says.
    pub actions: Vec<(String, String)>,
}

/// How many entries of the time line stand on the incident's own page.
const ENTRIES_MAX: usize = 14;

/// An id as people read it.
pub fn short_id(id: &str) -> String {
    clip(id, 20)
}

/// Where an incident is.
pub fn path(id: &str) -> String {
    format!("/incidents/{}", segment(id))
}

/// The page.
pub fn page(model: &Model<'_>) -> Page {
    let incident = model.incident;
    let path = path(&incident.id);
    let body = html! {
        div.head data-live="head" { (head(model)) }
        (answers::answers(model))
        (actions(model, &path))
        div.cols {
            div {
                (evidence::chart(model, &path))
                (evidence::segments(model, &path))
                (evidence::tiers(model))
                (real::card(model))
                (people::before(model))
            }
            div {
                (people::time_line(model, &path, ENTRIES_MAX))
                (people::told(model))
                (people::alerts(model))
                (people::family(model))
                (people::traces(model))
            }
        }
        (dock(model, &path))
    };
    let mut page = Page::new(document_title(incident), Place::OnCall, body);
    page.class = "incident";
    page.json = Some(format!("/v1{path}"));
    page.shape = format!("{}-{}", model.entries.len(), model.told.len());
    page
}

fn document_title(incident: &Incident) -> String {
    let severity = match incident.severity {
        Severity::Page => "Page",
        Severity::Ticket => "Ticket",
        Severity::Info => "Info",
    };
    let what = incident.members.first().map_or(incident.service.as_str(), |member| member.rule.as_str());
    let users = match incident.impact.affected_users {
        0 => String::new(),
        n => format!(", {} users hit", number::count(n as f64)),
    };
    format!("{severity}, {}: {}{users}", incident.status.name(), clip(what, 60))
}

fn head(model: &Model<'_>) -> Markup {
    let incident = model.incident;
    let age = number::ago(incident.opened_at, model.now);
    let said = match (incident.status, incident.snoozed_until) {
        (Status::Resolved, _) => {
            let lasted = incident.resolved_at.map_or_else(String::new, |at| number::duration(at - incident.opened_at));
            html! { (flag(Tone::Fine, "Resolved")) @if !lasted.is_empty() { " after " b { (lasted) } } }
        }
        (_, Some(until)) if until > model.now => html! { b { "Snoozed" } " until " (number::time(until, model.now)) ", open for " (age) },
        (Status::Acknowledged, _) => html! {
            b { "Open for " (age) } ", acknowledged"
            @if let Some(by) = &incident.acknowledged_by { " by " (Plain(&clip(by, 60))) }
            @if let Some(at) = incident.acknowledged_at { " at " (number::time(at, model.now)) }
        },
        (Status::Open, _) => html! { b { "Open for " (age) } ", not acknowledged" },
    };
    let names = [incident.service.as_str(), incident.owner.as_str()];
    let rule = incident.members.first().map(|member| member.rule.as_str());
    html! {
        div.state {
            (severity(incident.severity))
            span { (said) }
            span.muted {
                "#" (short_id(&incident.id))
                @if let Some(rule) = rule { " · " (rule_link(model, rule)) }
                @for name in names.into_iter().filter(|name| !name.is_empty()) { " · " (Plain(&clip(name, 60))) }
            }
        }
        h1 { (Plain(&clip(&incident.title, 200))) }
        (lede(model))
    }
}

/// The name of a rule, which leads to its page if it has one.
fn rule_link(model: &Model<'_>, rule: &str) -> Markup {
    let name = html! { (Plain(&clip(rule, 80))) };
    match model.rules.get(rule) {
        Some(path) => html! { a href=(path) { (name) } },
        None => name,
    }
}

fn lede(model: &Model<'_>) -> Markup {
    let Some((slo, _)) = model.slo else { return html! {} };
    let minute = match &model.drawing {
        Drawing::Chart(chart) => {
            chart.steps.iter().rev().find(|step| !step.partial && step.counts.is_some()).and_then(|step| Some((step.ratio()?, chart)))
        }
        Drawing::None | Drawing::Failed(_) => None,
    };
    html! {
        p."lede"."muted" {
            "Objective: " (number::objective(slo.budget_ppm)) " over " (crate::web::pages::slo_window(&slo.window))
            @if !slo.description.is_empty() { ". " (Plain(&clip(&slo.description, 160))) }
            @if let Some((ratio, chart)) = minute { ". In the last " (crate::web::chart::draw::step_words(chart.step)) " " (number::share(ratio)) " failed." }
        }
    }
}

fn actions(model: &Model<'_>, path: &str) -> Markup {
    let incident = model.incident;
    if incident.status == Status::Resolved {
        return html! {
            div.actions id="actions" role="group" aria-label="Actions" {
                a.btn href={ (path) "/export.md" } { "Export" }
                a.btn href={ (path) "/timeline" } { "Whole time line" }
            }
        };
    }
    html! {
        div.actions id="actions" role="group" aria-label="Actions" {
            @if model.reader.operate {
                @if incident.status == Status::Open {
                    form.first method="post" action={ (path) "/ack" } { (model.reader.token()) button.btn.primary data-key="a" { "Acknowledge" } }
                } @else {
                    (model.reader.button(&format!("{path}/unack"), "Take the acknowledgement back", "btn", None))
                }
                a.btn href={ (path) "/snooze" } { "Snooze…" }
                a.btn href={ "/silences/new?incident=" (segment(&incident.id)) } data-key="s" { "Silence…" }
                a.btn href={ (path) "/assign" } { "Owner, severity…" }
                a.btn href={ (path) "/resolve" } { "Resolve…" }
                @for (name, label) in model.actions.iter().take(5) { a.btn href={ (path) "/act/" (segment(name)) } { (Plain(&clip(label, 40))) "…" } }
            }
            a.btn href={ (path) "/export.md" } { "Export" }
        }
        (model.reader.hint())
    }
}

/// The bar under the thumb on phones.
fn dock(model: &Model<'_>, path: &str) -> Markup {
    if model.incident.status == Status::Resolved || !model.reader.operate {
        return html! {};
    }
    html! {
        div.dock role="group" aria-label="Quick actions" {
            @if model.incident.status == Status::Open {
                (model.reader.button(&format!("{path}/ack"), "Acknowledge", "btn primary", None))
            } @else {
                (model.reader.button(&format!("{path}/snooze?for=1h"), "Snooze 1 h", "btn", None))
            }
            a.btn href="#actions" { "More…" }
        }
    }
}

/// The head of a page below an incident's own: the way back, what it is about, of which incident, and more.
pub fn head_below(incident: &Incident, heading: &str, more: Markup) -> Markup {
    html! {
        div.head {
            p.small { a href=(path(&incident.id)) { "← incident #" (short_id(&incident.id)) } }
            h1 { (Plain(&clip(heading, 120))) }
            p.lede { (Plain(&clip(&incident.title, 200))) }
            (more)
        }
    }
}

/// A page below an incident's own. `title` begins what the browser calls it.
pub fn below(incident: &Incident, title: &str, heading: &str, body: Markup) -> Page {
    let body = html! { (head_below(incident, heading, html! {})) (body) };
    Page::new(format!("{}: {}", clip(title, 60), clip(&incident.title, 120)), Place::OnCall, body)
}

/// The whole time line on a page of its own.
pub fn time_line(incident: &Incident, entries: &[Entry], now: Timestamp) -> Page {
    below(incident, "Time line", "Time line", html! { section.card aria-label="Time line" { (people::entries(entries, now)) } })
}
