//! What holds alerts back and what makes them: silences, rules, telemetry.

use std::collections::BTreeMap;

use maud::{Markup, html};

use crate::domain::rule::{RuleSet, Severity};
use crate::domain::snapshot::{AlertPhase, AlertStatus};
use crate::domain::time::{Span, Timestamp};
use crate::web::chart::plot::{Curve, Plot, sample};
use crate::web::frame::{Page, Place, Reader, short_revision};
use crate::web::icon::{Tone, flag, severity};
use crate::web::number;
use crate::web::pages::rule::Cost;
use crate::web::text::{Plain, clip, query, segment};

/// One silence in a list.
#[derive(Clone, Debug, PartialEq)]
pub struct Silence {
    pub id: String,
    pub matchers: Vec<String>,
    /// `active`, `pending` or `expired`.
    pub state: &'static str,
    pub starts: Timestamp,
    pub ends: Timestamp,
    pub author: String,
    pub comment: String,
    /// Alerts that it matches now.
    pub holds: usize,
    /// Written in rules: ended there, not here.
    pub in_rules: bool,
}

/// Silences, the soonest end first.
pub fn silences(rows: &[Silence], tab: &str, now: Timestamp, reader: &Reader) -> Page {
    let count = |state: &str| rows.iter().filter(|row| row.state == state).count();
    let shown: Vec<&Silence> = rows.iter().filter(|row| row.state == tab).collect();
    let body = html! {
        div.head {
            h1 { "Silences" }
            nav.tabs aria-label="Which" {
                @for (state, label) in [("active", "active"), ("pending", "upcoming"), ("expired", "ended")] {
                    a href={ "/silences" (query(&[("state", if state == "active" { "" } else { state })])) } aria-current=[(state == tab).then_some("true")] { (label) " " (count(state)) }
                }
            }
            @if reader.operate { div.actions { a.btn href="/silences/new" data-key="s" { "New silence" } } }
            (reader.hint())
        }
        @if shown.is_empty() { section.card aria-label="None" { p.empty { @if tab == "active" { "None is active: every alert reaches whoever its route names." } @else { "None." } } } } @else {
            table."card"."stack" {
                thead { tr { th scope="col" { "matches" } th scope="col" { "who and why" } th scope="col" { "ends" } th scope="col" { "holds back now" } th scope="col" { "do" } } }
                tbody { @for row in shown { tr data-row {
                    th scope="row" { a.any href={ "/silences/" (segment(&row.id)) } { @for (i, matcher) in row.matchers.iter().enumerate() { @if i > 0 { br; } code { (Plain(&clip(matcher, 120))) } } } }
                    td { (Plain(&clip(&row.author, 80))) br; span."small"."muted" { (Plain(&clip(&row.comment, 200))) @if row.in_rules { " (in rules)" } } }
                    td data-th="ends" {
                        (number::time(row.ends, now))
                        @if row.state == "active" { br; span."small"."muted" { "in " (number::duration(row.ends - now)) } @if row.ends - now < Span::HOUR { " " (flag(Tone::Ticket, if row.holds > 0 { "soon, and what it hides fires" } else { "soon" })) } }
                        @if row.state == "pending" { br; span."small"."muted" { "begins " (number::time(row.starts, now)) } }
                    }
                    td data-th="holds back" { (row.holds) " " (if row.holds == 1 { "alert" } else { "alerts" }) }
                    td { @if row.state != "expired" && !row.in_rules { (reader.button(&format!("/silences/{}/end", segment(&row.id)), "End now", "btn quiet", None)) } }
                } } }
            }
        }
    };
    let mut page = Page::new(format!("Silences: {} active", count("active")), Place::Silences, body);
    page.json = Some("/v1/silences".into());
    page
}

/// A half-filled silence, and what it would do.
pub struct NewSilence<'a> {
    pub matchers: String,
    pub lasts: String,
    pub comment: String,
    /// What the matchers match now; `None` while there are none that can be read.
    pub preview: Option<Preview>,
    /// It lasts long or holds back much: what it will do is said once more before it does.
    pub confirm: bool,
    pub reader: &'a Reader,
    pub now: Timestamp,
}

/// What a silence would hold back now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Preview {
    pub alerts: usize,
    pub pages: usize,
    pub named: Vec<String>,
    pub past: Past,
}

/// What matchers would have held back in a span of time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Past {
    pub alerts: usize,
    pub incidents: usize,
    /// Incidents of severity page among them.
    pub pages: usize,
    /// There were more incidents than were looked at.
    pub more: bool,
}

/// `41 alerts in 2 incidents, 1 of them a page`.
pub fn past_words(past: &Past) -> String {
    let count = |n: usize, word: &str| format!("{n} {word}{}", if n == 1 { "" } else { "s" });
    if past.incidents == 0 {
        return "nothing".into();
    }
    let least = if past.more { "at least " } else { "" };
    let pages = match past.pages {
        0 => "none of them a page".to_owned(),
        1 => "1 of them a page".to_owned(),
        n => format!("{n} of them pages"),
    };
    format!("{least}{} in {}, {pages}", count(past.alerts, "alert"), count(past.incidents, "incident"))
}

/// The form with its preview.
pub fn new_silence(model: &NewSilence<'_>) -> Page {
    let body = html! {
        div.head { p.small { a href="/silences" { "← silences" } } h1 { "New silence" } p.lede { "What matches is evaluated and recorded, and tells nobody." } }
        (model.reader.hint())
        @if let Some(preview) = &model.preview {
            section.card aria-label="Preview" {
                @if preview.alerts == 0 { p { (flag(Tone::Info, "Matches nothing now")) " It will hold back what fires later." } } @else {
                    p { (flag(Tone::Ticket, &format!("Holds back {} now", preview.alerts))) " " (preview.pages) " of them would page." }
                    p."small"."muted" { (Plain(&clip(&preview.named.join(", "), 300))) }
                }
                p { "Over the last 30 days it would have hidden " b { (past_words(&preview.past)) } "." }
            }
        }
        @if model.reader.operate && model.confirm { (confirm(model)) }
        @if model.reader.operate {
            section.card aria-label="Silence" {
                form method="post" action="/silences/new" {
                    (model.reader.token())
                    p { label for="m" { b { "Match" } " " span."small"."muted" { "one a line, all of them have to match: service=shop, severity!=page, region=~eu.*" } } }
                    textarea id="m" name="matchers" required rows="4" maxlength="8000" autocomplete="off" { (Plain(&model.matchers)) }
                    div."row" {
                        p { label for="f" { b { "For" } " " span."small"."muted" { "15m, 1h, 4h, or until a time of day in UTC: 09:00" } } }
                        input id="f" name="for" required maxlength="20" value=(clip(&model.lasts, 20)) autocomplete="off";
                        p { label for="c" { b { "Why" } } }
                        input id="c" name="comment" maxlength="500" value=(clip(&model.comment, 500)) autocomplete="off";
                    }
                    div.actions {
                        button.btn formmethod="get" formaction="/silences/new" { "Preview" }
                        button."btn"."primary" { "Silence" }
                    }
                }
            }
        }
    };
    Page::new("New silence", Place::Silences, body)
}

/// What a long or wide silence will do, before it does.
fn confirm(model: &NewSilence<'_>) -> Markup {
    let now = model.preview.as_ref().map_or(0, |preview| preview.alerts);
    html! {
        section.card aria-labelledby="h-sure" {
            header { h2 id="h-sure" { (flag(Tone::Ticket, "Are you sure?")) } }
            p { "It lasts " b { (Plain(&clip(&model.lasts, 20))) } " and holds back " b { (now) " " (if now == 1 { "alert" } else { "alerts" }) } " now: whatever matches meanwhile is recorded and tells nobody. It can be ended at any time." }
            form method="post" action="/silences/new" {
                (model.reader.token())
                input type="hidden" name="matchers" value=(crate::web::text::plain(&model.matchers));
                input type="hidden" name="for" value=(clip(&model.lasts, 20));
                input type="hidden" name="comment" value=(clip(&model.comment, 500));
                input type="hidden" name="sure" value="yes";
                div.actions { button."btn"."primary" { "Silence for " (Plain(&clip(&model.lasts, 20))) } a.btn href="/silences" { "Leave it" } }
            }
        }
    }
}

/// What the rules page shows.
pub struct Rules<'a> {
    pub set: &'a RuleSet,
    pub since: Option<Timestamp>,
    pub refused: &'a [String],
    pub refused_revision: Option<&'a str>,
    pub source: &'a str,
    pub unreachable: Option<&'a str>,
    pub alerts: &'a [std::sync::Arc<AlertStatus>],
    pub evaluated_at: Option<Timestamp>,
    pub took: Span,
    /// Part of a name that is looked for.
    pub q: &'a str,
    /// The first objective that is shown.
    pub from: usize,
    pub costs: &'a BTreeMap<String, Cost>,
    pub now: Timestamp,
}

pub(super) fn file_link(place: &crate::domain::rule::Place) -> Markup {
    let path: Vec<String> = place.path.split('/').map(segment).collect();
    html! { a."mono"."small" href={ "/rules/file/" (path.join("/")) "?line=" (place.line) "#L" (place.line) } { (Plain(&clip(&format!("{}:{}", place.path, place.line), 120))) } }
}

pub(super) fn phase_flag(phase: AlertPhase, loud: Option<Severity>) -> Markup {
    match phase {
        AlertPhase::Firing => flag(loud.map_or(Tone::Ticket, Tone::from), "Firing"),
        AlertPhase::Pending => flag(Tone::Ticket, "Pending"),
        AlertPhase::Unknown => flag(Tone::Unknown, "Unknown"),
        AlertPhase::Ok => flag(Tone::Fine, "Fine"),
    }
}

/// Rows of one page.
const RULES_MAX: usize = 60;

/// The rule set in force.
pub fn rules(model: &Rules<'_>) -> Page {
    let set = model.set;
    let phase = |name: &str| {
        let of: Vec<_> = model.alerts.iter().filter(|alert| alert.rule == name).collect();
        let worst = |phase: AlertPhase| of.iter().find(|alert| alert.phase == phase);
        [AlertPhase::Firing, AlertPhase::Pending, AlertPhase::Unknown]
            .into_iter()
            .find_map(worst)
            .map_or((AlertPhase::Ok, None), |alert| (alert.phase, alert.severity))
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
                    tbody { @for slo in slos { @let (state, loud) = phase(&slo.name); tr data-row {
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
                    tbody { @for rule in free.iter().take(RULES_MAX) { @let (state, loud) = phase(&rule.name); tr data-row {
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
    let mut page = Page::new(format!("Rules {}", short_revision(&set.revision)), Place::Rules, body);
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

/// One thing that is known of the telemetry.
#[derive(Clone, Debug, PartialEq)]
pub struct Fact {
    pub name: &'static str,
    pub tone: Tone,
    pub word: &'static str,
    pub figure: String,
    /// What it holds back, or what to do.
    pub means: String,
}

/// Page views by hour and app.
#[derive(Clone, Debug, PartialEq)]
pub struct Volume {
    pub from: Timestamp,
    pub step: Span,
    pub curves: Vec<Curve>,
    pub until: Timestamp,
}

/// What is known of how well telemetry (F1 to F7), evaluation and delivery do.
pub fn health(telemetry: &[Fact], volume: Option<&Volume>, machinery: &[Fact], now: Timestamp) -> Page {
    let all = || telemetry.iter().chain(machinery);
    let bad = all().filter(|fact| matches!(fact.tone, Tone::Page | Tone::Ticket)).count();
    let heading = if bad == 0 {
        "Telemetry is well, as far as is known".to_owned()
    } else {
        format!("{bad} of {} checks need attention", all().count())
    };
    let body = html! {
        div.head { h1 data-live="heading" { (heading) } p.muted { "What figures rest on: what arrives, how late, and whether it is evaluated, stored and delivered." } }
        section.card aria-labelledby="h-f" data-live="facts" { header { h2 id="h-f" { "Telemetry" } } (facts(telemetry)) }
        @if let Some(volume) = volume {
            section.card aria-labelledby="h-v" {
                header { h2 id="h-v" { "Page views by hour, the last week" } span.small { @for (i, curve) in volume.curves.iter().enumerate() { " " (sample(i)) (Plain(&clip(&curve.name, 40))) } } }
                (Plot { id: "v", title: "Page views by hour and app".into(), from: volume.from, step: volume.step, curves: &volume.curves, bars: false, until: Some(volume.until), words: &number::count, now }.draw())
            }
        }
        section.card aria-labelledby="h-m" { header { h2 id="h-m" { "Evaluation and delivery" } } (facts(machinery)) }
    };
    let mut page = Page::new(heading, Place::Telemetry, body);
    page.json = Some("/readyz".into());
    page
}

fn facts(facts: &[Fact]) -> Markup {
    html! {
        table.stack {
            thead { tr { th scope="col" { "check" } th scope="col" { "verdict" } th scope="col" { "figure" } th scope="col" { "means" } } }
            tbody { @for fact in facts { tr { th scope="row" { (fact.name) } td { (flag(fact.tone, fact.word)) } td { (Plain(&clip(&fact.figure, 400))) } td.muted { (Plain(&fact.means)) } } } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::rule::Place as Written;
    use crate::web::fixture::{self, HOSTILE, NOW, assert_inert, render};

    #[test]
    fn many_rules_are_paged_and_found_by_name() {
        let slos = (0..RULES_MAX + 7).map(|n| crate::domain::rule::Slo { name: format!("objective-{n:04}"), ..fixture::slo() }).collect();
        let set = crate::domain::rule::RuleSet { slos, ..Default::default() };
        let shown = |q: &str, from| {
            let costs = Default::default();
            let (refused, alerts) = ([], []);
            render(NOW, |_| {
                rules(&Rules {
                    set: &set,
                    since: None,
                    refused: &refused,
                    refused_revision: None,
                    source: "",
                    unreachable: None,
                    alerts: &alerts,
                    evaluated_at: None,
                    took: Span(0),
                    q,
                    from,
                    costs: &costs,
                    now: NOW,
                })
            })
        };
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
    fn hostile_text_is_inert_in_silences_rules_and_health() {
        let text = || HOSTILE.to_owned();
        let silence = Silence {
            id: text(),
            matchers: vec![text()],
            state: "active",
            starts: NOW,
            ends: NOW + Span::minutes(5),
            author: text(),
            comment: text(),
            holds: 1,
            in_rules: false,
        };
        assert_inert(&render(NOW, |reader| silences(&[silence], "active", NOW, reader)));
        let preview =
            Some(Preview { alerts: 1, pages: 1, named: vec![text()], past: Past { alerts: 41, incidents: 2, pages: 1, more: false } });
        let shown = render(NOW, |reader| {
            new_silence(&NewSilence { matchers: text(), lasts: text(), comment: text(), preview, confirm: true, reader, now: NOW })
        });
        assert_inert(&shown);
        assert!(shown.contains("41 alerts in 2 incidents, 1 of them a page") && shown.contains("Are you sure?"));
        let mut slo = fixture::slo();
        slo.name = text();
        slo.place = Written { path: text(), line: 1, column: 1 };
        let set = RuleSet { revision: text(), slos: vec![slo], ..RuleSet::default() };
        let refused = vec![text()];
        assert_inert(&render(NOW, |_| {
            rules(&Rules {
                set: &set,
                since: None,
                refused: &refused,
                refused_revision: None,
                source: "",
                unreachable: None,
                alerts: &[],
                evaluated_at: None,
                took: Span::ZERO,
                q: "",
                from: 0,
                costs: &BTreeMap::new(),
                now: NOW,
            })
        }));
        assert_inert(&render(NOW, |_| source(HOSTILE, HOSTILE, Some(1))));
        let curves = vec![Curve { name: text(), values: vec![Some(412.0), None, Some(500.0)] }];
        let volume = Volume { from: NOW - Span::hours(3), step: Span::HOUR, curves, until: NOW };
        let fact = Fact { name: "F1 volume", tone: Tone::Ticket, word: "Look", figure: text(), means: text() };
        let shown = render(NOW, |_| health(std::slice::from_ref(&fact), Some(&volume), std::slice::from_ref(&fact), NOW));
        assert_inert(&shown);
        assert!(shown.contains("2 of 2 checks need attention") && shown.contains("url(#v-h)") && shown.contains(">412<"));
    }

    #[test]
    fn refused_rules_are_said_with_the_revision_that_stays() {
        let set = RuleSet { revision: "4f2c1a9bc".into(), ..RuleSet::default() };
        let refused = vec!["shop.rhai:3:1: error: no such metric".to_owned()];
        let text = render(NOW, |_| {
            rules(&Rules {
                set: &set,
                since: Some(NOW),
                refused: &refused,
                refused_revision: None,
                source: "",
                unreachable: None,
                alerts: &[],
                evaluated_at: None,
                took: Span::ZERO,
                q: "",
                from: 0,
                costs: &BTreeMap::new(),
                now: NOW,
            })
        });
        assert!(text.contains("shop.rhai:3:1") && text.contains("4f2c1a9") && text.contains("stays in force"));
    }
}
