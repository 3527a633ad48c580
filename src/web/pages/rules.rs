//! The rule set in force: its objectives, its free-form rules, who is told, and its files.

use std::collections::{BTreeMap, BTreeSet};

use maud::html;

use super::{file_link, phase_flag};
use crate::domain::rule::RuleSet;
use crate::domain::snapshot::{AlertPhase, AlertStatus};
use crate::domain::time::{Span, Timestamp};
use crate::web::frame::{Page, Place, short_revision};
use crate::web::icon::{Tone, flag, severity};
use crate::web::number;
use crate::web::pages::rule::Cost;
use crate::web::text::{Plain, clip, query, segment};

/// Rows of one page.
const RULES_MAX: usize = 60;

/// What the rules page shows.
pub struct Rules<'a> {
    pub set: &'a RuleSet,
    pub since: Option<Timestamp>,
    pub refused: &'a [String],
    pub refused_revision: Option<&'a str>,
    pub source: &'a str,
    pub unreachable: Option<&'a str>,
    pub alerts: &'a [std::sync::Arc<AlertStatus>],
    /// Free-form rules that were ever asked.
    pub asked: &'a BTreeSet<String>,
    pub evaluated_at: Option<Timestamp>,
    pub took: Span,
    /// Part of a name that is looked for.
    pub q: &'a str,
    /// The first objective that is shown.
    pub from: usize,
    pub costs: &'a BTreeMap<String, Cost>,
    pub now: Timestamp,
}

/// The rule set in force.
pub fn rules(model: &Rules<'_>) -> Page {
    let set = model.set;
    let phase = |name: &str, idle: AlertPhase| {
        let of: Vec<_> = model.alerts.iter().filter(|alert| alert.rule == name).collect();
        let worst = |phase: AlertPhase| of.iter().find(|alert| alert.phase == phase);
        [AlertPhase::Firing, AlertPhase::Pending, AlertPhase::Unknown]
            .into_iter()
            .find_map(worst)
            .map_or((idle, None), |alert| (alert.phase, alert.severity))
    };
    let wanted = model.q.to_lowercase();
    let named = |name: &str| name.to_lowercase().contains(&wanted);
    let found: Vec<_> = set.slos.iter().filter(|slo| named(&slo.name)).collect();
    let free: Vec<_> = set.alerts.iter().filter(|rule| named(&rule.name)).collect();
    let from = model.from.min(found.len());
    let slos = &found[from..found.len().min(from + RULES_MAX)];
    let body = html! {
        div.head {
            h1 { "Rules" }
            p.muted {
                @if set.revision.is_empty() { "No rule set has taken effect yet." } @else {
                    "Revision " code { (short_revision(&set.revision)) }
                    @if let Some(since) = model.since { ", in force since " (number::time(since, model.now)) }
                    @if !model.source.is_empty() { ", from " (Plain(&clip(model.source, 120))) }
                    @if let Some(at) = model.evaluated_at { "; last evaluated " (number::ago(at, model.now)) " ago in " (number::duration(model.took)) }
                }
            }
        }
        @if !model.refused.is_empty() {
            div."outcome"."bad" {
                div.any {
                    (flag(Tone::Page, "A newer rule set was refused")) @if let Some(revision) = model.refused_revision { " (" code { (short_revision(revision)) } ")" } " The revision above stays in force as a whole."
                    ul { @for error in model.refused.iter().take(20) { li.mono { (Plain(&clip(error, 400))) } } }
                }
            }
        }
        @if let Some(why) = model.unreachable {
            div."outcome"."bad" {
                div.any {
                    (flag(Tone::Ticket, "The rules cannot be read")) " Whether there are newer ones is not known."
                    ul { li.mono { (Plain(&clip(why, 400))) } }
                }
            }
        }
        section.card aria-labelledby="h-s" {
            header { h2 id="h-s" { "Objectives" } span."small"."muted" { @if slos.len() < set.slos.len() { (slos.len()) " of " } (set.slos.len()) } }
            @if set.slos.len() > RULES_MAX || !model.q.is_empty() {
                form."row"."grow" method="get" action="/rules" role="search" { label { "Name" input type="search" name="q" value=(clip(model.q, 200)) autocomplete="off"; } button.btn { "Search" } }
            }
            @if slos.is_empty() { p.empty { "None." } } @else {
                table.stack { thead { tr { th scope="col" { "name" } th scope="col" { "objective" } th scope="col" { "tiers" } th scope="col" { "where" } th scope="col" { "verdict" } } }
                    tbody { @for slo in slos { @let (state, loud) = phase(&slo.name, AlertPhase::Ok); tr data-row {
                        th scope="row" { a href={ "/rules/" (segment(&slo.name)) } { (Plain(&clip(&slo.name, 80))) } }
                        td data-th="objective" { (number::objective(slo.budget_ppm)) ", " (super::slo_window(&slo.window)) }
                        td data-th="tiers" { @for (i, tier) in slo.tiers.iter().enumerate() { @if i > 0 { ", " } (tier.severity.name()) " " (number::factor(tier.factor.to_f64())) } }
                        td { (file_link(&slo.place)) }
                        td { @if slo.enabled { (phase_flag(state, loud)) } @else { (flag(Tone::Unknown, "Disabled")) } }
                    } } }
                }
            }
        }
        @if from + RULES_MAX < found.len() {
            p { a.btn href={ "/rules" (query(&[("q", model.q), ("from", &(from + RULES_MAX).to_string())])) } { (found.len() - from - RULES_MAX) " more objectives" } }
        }
        section.card aria-labelledby="h-a" {
            header { h2 id="h-a" { "Free-form rules" } span."small"."muted" { (set.alerts.len()) } }
            @if free.is_empty() { p.empty { "None." } } @else {
                table.stack { thead { tr { th scope="col" { "name" } th scope="col" { "severity" } th scope="col" { "where" } th scope="col" { "cost" } th scope="col" { "verdict" } } }
                    tbody { @for rule in free.iter().take(RULES_MAX) { @let (state, loud) = phase(&rule.name, if model.asked.contains(&rule.name) { AlertPhase::Ok } else { AlertPhase::Unknown }); tr data-row {
                        th scope="row" { a href={ "/rules/" (segment(&rule.name)) } { (Plain(&clip(&rule.name, 80))) } br; span."small"."muted" { (Plain(&clip(&rule.description, 120))) } }
                        td { (severity(rule.severity)) }
                        td { (file_link(&rule.place)) }
                        td."small" data-th="cost" { @match model.costs.get(&rule.name) { Some(cost) => (cost.words()), None => "not asked yet" } }
                        td { @if rule.enabled { (phase_flag(state, loud)) } @else { (flag(Tone::Unknown, "Disabled")) }
                            @if let Some(alert) = model.alerts.iter().find(|alert| alert.rule == rule.name && !alert.reason.is_empty()) { br; span."small"."muted" { (Plain(&clip(&alert.reason, 160))) } } }
                    } } }
                }
            }
        }
        section.card aria-labelledby="h-r" {
            header { h2 id="h-r" { "Who is told" } a.small href="/receivers" { "receivers" } }
            dl.facts {
                dt { "receivers" } dd { @for (i, receiver) in set.receivers.iter().enumerate() { @if i > 0 { ", " } (Plain(&clip(&receiver.name, 60))) } @if set.receivers.is_empty() { "none" } }
                dt { "routes" } dd { (set.routes.len()) }
                dt { "inhibitions" } dd { (set.inhibits.len()) }
                dt { "maintenance" } dd { @for (i, one) in set.maintenances.iter().enumerate() { @if i > 0 { ", " } (Plain(&clip(&one.name, 60))) " " (file_link(&one.place)) } @if set.maintenances.is_empty() { "none" } }
            }
        }
    };
    let revision = short_revision(&set.revision);
    let title = match (model.refused.len(), model.unreachable) {
        (0, None) => format!("Rules {revision}"),
        (0, Some(_)) => format!("Rules cannot be read, {revision} stays in force"),
        _ => format!("Newer rules refused, {revision} stays in force"),
    };
    let mut page = Page::new(title, Place::Rules, body);
    page.json = Some("/v1/rules".into());
    page
}

/// One file of the rule set, with numbered lines.
pub fn source(path: &str, text: &str, marked: Option<usize>) -> Page {
    let body = html! {
        div.head { p.small { a href="/rules" { "← rules" } } h1.any { (Plain(&clip(path, 200))) } }
        section.card aria-label="Source" {
            pre.source tabindex="0" { @for (i, line) in text.lines().take(5_000).enumerate() {
                span id={ "L" (i + 1) } class=[(marked == Some(i + 1)).then_some("hit-line")] { span.muted { (format!("{:>4} ", i + 1)) } (Plain(line)) }
            } }
        }
    };
    Page::new(format!("{} · rules", clip(path, 120)), Place::Rules, body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::rule::Place as Written;
    use crate::web::fixture::{self, HOSTILE, NOW, assert_inert, render};

    static NO_COSTS: BTreeMap<String, Cost> = BTreeMap::new();

    static NONE_ASKED: BTreeSet<String> = BTreeSet::new();

    /// The page of a rule set of which nothing is known but itself and why a newer one was refused.
    fn of<'a>(set: &'a RuleSet, refused: &'a [String]) -> Rules<'a> {
        Rules {
            set,
            since: None,
            refused,
            refused_revision: None,
            source: "",
            unreachable: None,
            alerts: &[],
            asked: &NONE_ASKED,
            evaluated_at: None,
            took: Span::ZERO,
            q: "",
            from: 0,
            costs: &NO_COSTS,
            now: NOW,
        }
    }

    #[test]
    fn many_rules_are_paged_and_found_by_name() {
        let slos = (0..RULES_MAX + 7).map(|n| crate::domain::rule::Slo { name: format!("objective-{n:04}"), ..fixture::slo() }).collect();
        let set = crate::domain::rule::RuleSet { slos, ..Default::default() };
        let shown = |q: &str, from| render(NOW, |_| rules(&Rules { q, from, ..of(&set, &[]) }));
        let rows = |text: &str| text.matches("href=\"/rules/objective-").count();
        let first = shown("", 0);
        assert_eq!(rows(&first), RULES_MAX);
        assert!(first.contains("7 more objectives") && first.contains(&format!("from={RULES_MAX}")), "{first}");
        assert!(first.len() < 100 * 1024, "{} bytes", first.len());
        let last = shown("", RULES_MAX);
        assert_eq!(rows(&last), 7);
        assert!(!last.contains("objective-0000") && !last.contains("more objectives"), "{last}");
        assert_eq!(rows(&shown("", usize::MAX)), 0, "a page beyond the end is empty");
        let found = shown("TIVE-0003", 0);
        assert_eq!(rows(&found), 1);
        assert!(found.contains("href=\"/rules/objective-0003\"") && found.contains("value=\"TIVE-0003\""));
    }

    #[test]
    fn a_free_form_rule_that_was_never_asked_is_unknown() {
        let written = [("a.rhai".to_owned(), r#"alert("seldom", #{ every: "1d", when: |q| false });"#.to_owned())].into();
        let set = crate::rules::load(&written, &crate::rules::Env::defaults()).set.unwrap();
        let shown = |asked: &BTreeSet<String>| {
            render(NOW, |_| {
                rules(&Rules {
                    set: &set,
                    since: None,
                    refused: &[],
                    refused_revision: None,
                    source: "",
                    unreachable: None,
                    alerts: &[],
                    asked,
                    evaluated_at: Some(NOW),
                    took: Span::ZERO,
                    q: "",
                    from: 0,
                    costs: &BTreeMap::new(),
                    now: NOW,
                })
            })
        };
        let (never, once) = (shown(&BTreeSet::new()), shown(&["seldom".to_owned()].into()));
        let row =
            |text: &str| text.split("/rules/seldom").nth(1).and_then(|rest| rest.split("</tr>").next()).unwrap_or_default().to_owned();
        assert!(row(&never).contains("Unknown") && !row(&once).contains("Unknown"), "{never}");
    }

    #[test]
    fn hostile_text_is_inert_in_rules() {
        let text = || HOSTILE.to_owned();
        let mut slo = fixture::slo();
        slo.name = text();
        slo.place = Written { path: text(), line: 1, column: 1 };
        let set = RuleSet { revision: text(), slos: vec![slo], ..RuleSet::default() };
        let refused = vec![text()];
        assert_inert(&render(NOW, |_| rules(&of(&set, &refused))));
        assert_inert(&render(NOW, |_| source(HOSTILE, HOSTILE, Some(1))));
    }

    #[test]
    fn refused_rules_are_said_with_the_revision_that_stays() {
        let set = RuleSet { revision: "4f2c1a9bc".into(), ..RuleSet::default() };
        let refused = vec!["shop.rhai:3:1: error: no such metric".to_owned()];
        let text = render(NOW, |_| rules(&Rules { since: Some(NOW), ..of(&set, &refused) }));
        assert!(text.contains("shop.rhai:3:1") && text.contains("4f2c1a9") && text.contains("stays in force"));
        assert!(text.contains("<title>Newer rules refused, 4f2c1a9 stays in force · burnwatch</title>"), "{text}");
    }
}
