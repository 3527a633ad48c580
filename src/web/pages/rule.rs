//! One rule: what it says, where its alerts stand, what it costs, and what its last change was.

use maud::{Markup, html};

use super::incident::{path, short_id};
use super::{file_link, phase_flag};
use crate::domain::rule::{FreeRule, Labels, Place as Written, Schedule, Slo};
use crate::domain::snapshot::{AlertPhase, AlertStatus};
use crate::domain::time::{Span, Timestamp};
use crate::web::frame::{Page, Place, short_revision};
use crate::web::icon::{Tone, flag, severity};
use crate::web::number;
use crate::web::pages::slos::{group_words, slo_path};
use crate::web::text::{Plain, clip, link, query};

/// Most lines of a declaration that are shown and compared.
pub const LINES_MAX: usize = 200;

/// An objective or a free-form rule.
#[derive(Clone, Copy, Debug)]
pub enum Kind<'a> {
    Slo(&'a Slo),
    Free(&'a FreeRule),
}

impl Kind<'_> {
    /// Its name in rules.
    pub fn name(&self) -> &str {
        match self {
            Kind::Slo(slo) => &slo.name,
            Kind::Free(rule) => &rule.name,
        }
    }

    /// Where it is declared.
    pub const fn place(&self) -> &Written {
        match self {
            Kind::Slo(slo) => &slo.place,
            Kind::Free(rule) => &rule.place,
        }
    }

    /// How its declaration begins.
    pub const fn word(&self) -> &'static str {
        match self {
            Kind::Slo(_) => "slo",
            Kind::Free(_) => "alert",
        }
    }
}

/// A line of a comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    Same(String),
    Gone(String),
    New(String),
}

/// How the declaration got to be as it is.
#[derive(Clone, Debug, PartialEq)]
pub enum Changed {
    /// It differs from an earlier revision: that one, since when the new one is in force, and the lines.
    Since { before: String, revision: String, at: Timestamp, lines: Vec<Line> },
    /// It is not in an earlier revision under this name.
    Added { revision: String, at: Timestamp },
    /// As far back as was looked it was the same.
    Never { revisions: usize },
    /// It is made by other code, so that its own text cannot be found.
    NotFound,
}

/// How long it took to ask a free-form rule, over all its groups, since the daemon started.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cost {
    pub asked: u64,
    pub mean_secs: f64,
    /// None took longer; `None`: longer than the last bucket of the metric.
    pub longest_secs: Option<f64>,
}

impl Cost {
    /// `0.8 ms on average, none over 5 ms, asked 40 times`.
    pub fn words(&self) -> String {
        let millis = |secs: f64| {
            let millis = secs * 1_000.0;
            if millis < 10.0 { format!("{} ms", (millis * 100.0).ceil() / 100.0) } else { format!("{} ms", millis.ceil()) }
        };
        let longest = self.longest_secs.map_or_else(String::new, |longest| format!(", none over {}", millis(longest)));
        format!(
            "{} on average{longest}, asked {}",
            millis(self.mean_secs),
            if self.asked == 1 { "once".to_owned() } else { format!("{} times", number::exact(self.asked as f64)) }
        )
    }
}

/// The page's model.
pub struct Model<'a> {
    pub kind: Kind<'a>,
    pub alerts: Vec<&'a AlertStatus>,
    /// Of a free-form rule: whether it was ever asked.
    pub asked: bool,
    /// Number of the first line, and the lines of the declaration.
    pub source: Option<(usize, Vec<String>)>,
    pub changed: Changed,
    /// How often it failed since the daemon started; `None`: it cannot fail by itself.
    pub errors: Option<u64>,
    /// How long it takes to ask it; `None`: it was not asked yet.
    pub cost: Option<Cost>,
    /// How long the last evaluation of all rules took.
    pub took: Span,
    pub evaluated_at: Option<Timestamp>,
    pub now: Timestamp,
}

/// The page.
pub fn page(model: &Model<'_>) -> Page {
    let name = clip(model.kind.name(), 120);
    let (description, runbook, dashboard) = match model.kind {
        Kind::Slo(slo) => (&slo.description, &slo.runbook, &slo.dashboard),
        Kind::Free(rule) => (&rule.description, &rule.runbook, &rule.dashboard),
    };
    let body = html! {
        div.head {
            p.small { a href="/rules" { "← rules" } }
            h1.any { (Plain(&name)) }
            @if !description.is_empty() { p.lede { (Plain(&clip(description, 300))) } }
            p.small {
                (file_link(model.kind.place()))
                @if let Kind::Slo(slo) = model.kind { " · " a href=(slo_path(slo)) { "objective" } }
                " · " a href={ "/incidents" (query(&[("q", model.kind.name())])) } { "incidents" }
                @if let Some(runbook) = runbook { " · " (link(runbook, "runbook")) }
                @if let Some(dashboard) = dashboard { " · " (link(dashboard, "dashboard")) }
            }
        }
        div.cols {
            div {
                (alerts(model))
                (source(model))
                (changed(model))
            }
            div {
                (definition(model))
                (cost(model))
            }
        }
    };
    let mut page = Page::new(format!("{}: rule {name}", verdict(model)), Place::Rules, body);
    page.json = Some("/v1/rules".into());
    page
}

/// The worst that its alerts say, in a word.
fn verdict(model: &Model<'_>) -> &'static str {
    let any = |phase: AlertPhase| model.alerts.iter().any(|alert| alert.phase == phase);
    match () {
        () if any(AlertPhase::Firing) => "Firing",
        () if any(AlertPhase::Pending) => "Pending",
        () if any(AlertPhase::Unknown) || model.evaluated_at.is_none() => "Unknown",
        () => "Fine",
    }
}

fn alerts(model: &Model<'_>) -> Markup {
    html! {
        section.card aria-labelledby="h-a" {
            header { h2 id="h-a" { "Verdict now" } @if let Some(at) = model.evaluated_at { span."small"."muted" { "evaluated " (number::ago(at, model.now)) " ago" } } }
            @if model.alerts.is_empty() {
                p { @if model.evaluated_at.is_some() && !model.asked { (flag(Tone::Unknown, "Unknown")) " It has not been asked yet." } @else if model.evaluated_at.is_some() { (flag(Tone::Fine, "Fine")) " None of its alerts is pending, firing or unknown." } @else { (flag(Tone::Unknown, "Unknown")) " It has not been evaluated yet." } }
            } @else {
                table.stack {
                    thead { tr { th scope="col" { "alert" } th scope="col" { "verdict" } th scope="col" { "since" } th scope="col" { "incident" } } }
                    tbody { @for alert in model.alerts.iter().take(50) { tr data-row {
                        th scope="row" { (Plain(&words(&alert.labels))) @if !alert.reason.is_empty() { br; span."small"."muted" { (Plain(&clip(&alert.reason, 300))) } } }
                        td { (phase_flag(alert.phase, alert.severity)) }
                        td data-th="since" { @match alert.since { Some(at) => (number::time(at, model.now)), None => "not told" } }
                        td data-th="incident" { @match &alert.incident { Some(id) => { a href=(path(id)) { "#" (short_id(id)) } }, None => "none" } }
                    } } }
                }
                @if model.alerts.len() > 50 { p."small"."muted" { (model.alerts.len() - 50) " more." } }
            }
        }
    }
}

fn words(labels: &Labels) -> String {
    let own: Labels =
        labels.iter().filter(|(name, _)| !matches!(name.as_str(), "slo" | "rule" | "owner")).map(|(k, v)| (k.clone(), v.clone())).collect();
    if own.is_empty() { "overall".into() } else { group_words(&own) }
}

fn source(model: &Model<'_>) -> Markup {
    html! {
        section.card aria-labelledby="h-s" {
            header { h2 id="h-s" { "Source" } (file_link(model.kind.place())) }
            @match &model.source {
                None => p.empty { "The file of this revision is not stored." },
                Some((first, lines)) => pre.source tabindex="0" { @for (i, line) in lines.iter().enumerate() {
                    span class=[(i == 0).then_some("hit-line")] { span.muted { (format!("{:>4} ", first + i)) } (Plain(line)) }
                } },
            }
        }
    }
}

fn changed(model: &Model<'_>) -> Markup {
    let revision = |revision: &str| html! { code { (short_revision(revision)) } };
    html! {
        section.card aria-labelledby="h-c" {
            header { h2 id="h-c" { "Last change" } }
            @match &model.changed {
                Changed::Since { before, revision: after, at, lines } => {
                    p { "Changed from " (revision(before)) " to " (revision(after)) ", in force since " (number::time(*at, model.now)) " UTC." }
                    pre.source tabindex="0" { @for line in lines {
                        @match line {
                            Line::Same(text) => span { span.muted { "  " } (Plain(text)) },
                            Line::Gone(text) => span.gone-line { span.muted { "− " } (Plain(text)) },
                            Line::New(text) => span.new-line { span.muted { "+ " } (Plain(text)) },
                        }
                    } }
                }
                Changed::Added { revision: after, at } => p { "Added with " (revision(after)) ", in force since " (number::time(*at, model.now)) " UTC." },
                Changed::Never { revisions } => p.empty { "The same in every revision that is stored" @if *revisions > 1 { " (" (revisions) " were compared)" } "." },
                Changed::NotFound => p.empty { "Its text is made by other code of the file and cannot be compared by itself; the file above has the whole." },
            }
        }
    }
}

fn definition(model: &Model<'_>) -> Markup {
    html! {
        section.card aria-labelledby="h-d" {
            header { h2 id="h-d" { "Definition" } }
            dl.facts {
                @match model.kind {
                    Kind::Slo(slo) => {
                        dt { "kind" } dd { "objective" }
                        dt { "objective" } dd { (number::objective(slo.budget_ppm)) ", " (super::slo_window(&slo.window)) }
                        @for tier in &slo.tiers { dt { (tier.severity.name()) } dd { (number::factor(tier.factor.to_f64())) " over " (number::window(tier.long)) " and " (number::window(tier.short)) } }
                        @if !slo.by.is_empty() { dt { "by" } dd { (Plain(&clip(&slo.by.join(", "), 200))) } }
                        @if !slo.enabled { dt { "state" } dd { (flag(Tone::Unknown, "Disabled")) } }
                    }
                    Kind::Free(rule) => {
                        dt { "kind" } dd { "free-form rule" }
                        dt { "severity" } dd { (severity(rule.severity)) }
                        dt { "asked" } dd { @match &rule.schedule { Schedule::Every(span) => { "every " (number::window(*span)) }, Schedule::Cron { line, timezone } => { code { (Plain(&clip(line, 80))) } " " (Plain(&clip(timezone, 40))) } } }
                        @if rule.pending > Span::ZERO { dt { "pending for" } dd { (number::duration(rule.pending)) } }
                        @if rule.keep_firing > Span::ZERO { dt { "keeps firing" } dd { (number::duration(rule.keep_firing)) } }
                        @if !rule.by.is_empty() { dt { "by" } dd { (Plain(&clip(&rule.by.join(", "), 200))) } }
                        @if !rule.enabled { dt { "state" } dd { (flag(Tone::Unknown, "Disabled")) } }
                    }
                }
            }
        }
    }
}

fn cost(model: &Model<'_>) -> Markup {
    html! {
        section.card aria-labelledby="h-k" {
            header { h2 id="h-k" { "Cost and errors" } }
            dl.facts {
                dt { "errors" } dd { @match model.errors {
                    None => "none possible: an objective compares counts and runs no code",
                    Some(0) => { (flag(Tone::Fine, "None")) " since the daemon started" }
                    Some(n) => { (flag(Tone::Ticket, &format!("{n} failed"))) " since the daemon started; the log says why" }
                } }
                dt { "own cost" } dd { @match (&model.kind, &model.cost) {
                    (Kind::Slo(_), _) => "part of all rules: its counts are kept up to date as events come",
                    (Kind::Free(_), None) => "not asked yet since the daemon started",
                    (Kind::Free(_), Some(cost)) => (cost.words()),
                } }
                dt { "all rules" } dd { @if model.evaluated_at.is_some() { (number::duration(model.took)) " in the last evaluation" } @else { "not evaluated yet" } }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::rule::Severity;
    use crate::web::fixture::{self, HOSTILE, NOW, assert_inert, render};

    fn alert(text: &str) -> AlertStatus {
        AlertStatus {
            rule: text.into(),
            phase: AlertPhase::Firing,
            severity: Some(Severity::Page),
            labels: [("slo".to_owned(), "x".to_owned()), ("region".to_owned(), text.to_owned())].into(),
            since: Some(NOW),
            group: Default::default(),
            values: Default::default(),
            reason: text.into(),
            incident: Some(text.into()),
        }
    }

    fn shown(slo: &Slo, text: &str, changed: Changed) -> String {
        let alert = alert(text);
        render(NOW, |_| {
            page(&Model {
                kind: Kind::Slo(slo),
                alerts: vec![&alert],
                asked: true,
                source: Some((12, vec![format!("slo({text}"), "});".into()])),
                changed,
                errors: Some(3),
                cost: None,
                took: Span(42),
                evaluated_at: Some(NOW),
                now: NOW,
            })
        })
    }

    #[test]
    fn a_rule_shows_its_lines_its_alerts_and_what_changed() {
        let lines = vec![Line::Same("slo(".into()), Line::Gone("99.5,".into()), Line::New("99.9,".into())];
        let changed = Changed::Since { before: "aaaaaaaaaa".into(), revision: "bbbbbbbbbb".into(), at: NOW, lines };
        let text = shown(&fixture::slo(), "eu-west", changed);
        for part in
            ["region eu-west", "  12 ", "− </span>99.5,", "+ </span>99.9,", "aaaaaaa", "14.4× over 1 h and 5 min", "3 failed", "42 ms"]
        {
            assert!(text.contains(part), "{part} in {text}");
        }
    }

    #[test]
    fn hostile_rules_are_inert() {
        let mut slo = fixture::slo();
        for text in [&mut slo.name, &mut slo.description, &mut slo.place.path] {
            *text = HOSTILE.into();
        }
        slo.runbook = Some("javascript:alert(1)".into());
        slo.by = vec![HOSTILE.into()];
        let lines = vec![Line::Same(HOSTILE.into()), Line::Gone(HOSTILE.into()), Line::New(HOSTILE.into())];
        assert_inert(&shown(&slo, HOSTILE, Changed::Since { before: HOSTILE.into(), revision: HOSTILE.into(), at: NOW, lines }));
    }
}
