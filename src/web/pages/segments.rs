//! What the failures of an incident have in common: every value of every dimension, widest gap first.

use maud::{Markup, html};

use super::incident::{head_below, path};
use crate::domain::incident::Incident;
use crate::domain::time::Timestamp;
use crate::web::chart::bullet;
use crate::web::frame::{Page, Place};
use crate::web::icon::{Tone, flag};
use crate::web::number;
use crate::web::pages::incident::answers::segment_words;
use crate::web::text::{Plain, clip, plain, query};

/// Most values that one page shows.
pub const VALUES_MAX: usize = 60;

/// One value of one dimension, over the incident's window.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Value {
    pub dimension: String,
    pub value: String,
    pub total: f64,
    pub bad: f64,
    /// Share of all failures and of all traffic.
    pub bad_share: f64,
    pub traffic_share: f64,
    /// Other values that carry exactly the same events.
    pub same: Vec<String>,
}

impl Value {
    /// Whether it holds clearly more of the failures than of the traffic.
    pub fn leads(&self) -> bool {
        self.bad >= 2.0 && self.bad_share > self.traffic_share * 1.2
    }
}

/// All values, and what they are shares of.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Breakdown {
    pub total: f64,
    pub bad: f64,
    /// Widest gap between the two shares first.
    pub values: Vec<Value>,
}

/// The page's model.
pub struct Model<'a> {
    pub incident: &'a Incident,
    pub objective: String,
    pub noun: &'static str,
    pub from: Timestamp,
    pub to: Timestamp,
    pub dimensions: Vec<String>,
    /// The one dimension that is looked at; empty for all.
    pub dimension: String,
    pub found: Result<Breakdown, String>,
    pub now: Timestamp,
}

/// The page.
pub fn page(model: &Model<'_>) -> Page {
    let incident = model.incident;
    let here = path(&incident.id);
    let body = html! {
        (head_below(incident, "What the failures have in common", html! {
            p."small"."muted" {
                (number::time(model.from, model.now)) " to " (number::time(model.to, model.now)) " UTC"
                @if !model.objective.is_empty() { ", as " (Plain(&clip(&model.objective, 80))) " counts them" }
            }
            nav.tabs aria-label="Dimension" {
                a href={ (here) "/segments" } aria-current=[model.dimension.is_empty().then_some("true")] { "all" }
                @for name in &model.dimensions {
                    a href={ (here) "/segments" (query(&[("dimension", name)])) } aria-current=[(*name == model.dimension).then_some("true")] { (Plain(&clip(name, 40))) }
                }
            }
        }))
        (explained(incident))
        section.card aria-labelledby="h-v" {
            header { h2 id="h-v" { "Share of failures over share of traffic" } span."small"."muted" { "filled: failures · outline: traffic · widest gap first" } }
            @match &model.found {
                Err(why) => p.empty { (flag(Tone::Unknown, "Not broken down")) " " (Plain(&clip(why, 300))) },
                Ok(found) if found.bad <= 0.0 => p.empty { "No failed event is stored for this window: there is nothing to compare." },
                Ok(found) => (values(model, found)),
            }
        }
    };
    let mut page = Page::new(format!("Segments: {}", clip(&incident.title, 120)), Place::OnCall, body);
    page.json = Some(format!("/v1{here}"));
    page
}

fn explained(incident: &Incident) -> Markup {
    let explained = &incident.explained;
    html! {
        section.card aria-labelledby="h-e" {
            header { h2 id="h-e" { "What was concluded" } span."small"."muted" { (verdict(incident)) } }
            @if !explained.sentence.is_empty() { p { (Plain(&clip(&explained.sentence, 400))) } }
            @if !explained.reason.is_empty() { p.muted { (Plain(&clip(&explained.reason, 300))) } }
            @if explained.suspects.is_empty() { p.empty { "No segment was named." } } @else {
                ul."plain"."dl" { @for suspect in explained.suspects.iter().take(12) { li {
                    span { b { (plain(&segment_words(suspect))) } @if suspect.new { " " span."small"."muted" { "new" } } }
                    span.muted { (number::share(suspect.excess_share.min(1.0))) " of the excess" @if suspect.users > 0 { ", " (number::users(suspect.users)) } }
                } } }
            }
        }
    }
}

fn verdict(incident: &Incident) -> &'static str {
    use crate::domain::notification::Verdict;
    match incident.explained.verdict {
        Verdict::Segment => "one segment carries it",
        Verdict::Global => "spread like the traffic",
        Verdict::Unknown => "not known",
    }
}

fn values(model: &Model<'_>, found: &Breakdown) -> Markup {
    html! {
        p { (number::exact(found.bad)) " of " (number::exact(found.total)) " " (model.noun) " failed." }
        table.suspects {
            thead { tr { th scope="col" { "value" } th scope="col" { "failures over traffic" } th.num scope="col" { "shares" } } }
            tbody { @for value in found.values.iter().take(VALUES_MAX) {
                tr class=[(!value.leads()).then_some("clear")] {
                    th scope="row" {
                        span."small"."muted" { (Plain(&clip(&value.dimension, 40))) } br;
                        @if value.value.is_empty() { span.muted { "(not told)" } } @else { (Plain(&clip(&value.value, 100))) }
                        @if !value.same.is_empty() { br; span."small"."muted" { "same events as " (Plain(&clip(&value.same.join(", "), 160))) } }
                    }
                    td.b { (bullet::pair(value.bad_share, value.traffic_share)) }
                    td.num {
                        b { (number::share(value.bad_share)) } span.muted { " of failures, " } (number::share(value.traffic_share)) span.muted { " of traffic" }
                        br;
                        span."small"."muted" { (number::count(value.bad)) " of " (number::count(value.total)) " failed" @if !value.leads() { "; as usual: not a lead" } }
                    }
                }
            } }
        }
        @if found.values.len() > VALUES_MAX { p."small"."muted" { (found.values.len() - VALUES_MAX) " more with a narrower gap are left out; choose a dimension above." } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::Span;
    use crate::web::fixture::{self, HOSTILE, NOW, assert_inert, render};

    fn model<'a>(incident: &'a Incident, text: &str, found: Result<Breakdown, String>) -> Model<'a> {
        Model {
            incident,
            objective: text.into(),
            noun: "requests",
            from: NOW - Span::HOUR,
            to: NOW,
            dimensions: vec![text.into()],
            dimension: text.into(),
            found,
            now: NOW,
        }
    }

    fn value(text: &str, bad: f64, traffic_share: f64) -> Value {
        let same = vec![text.to_owned()];
        Value { dimension: text.into(), value: text.into(), total: 900.0, bad, bad_share: bad / 200.0, traffic_share, same }
    }

    #[test]
    fn a_value_with_its_share_of_the_traffic_is_no_lead() {
        let found = Breakdown { total: 4_000.0, bad: 200.0, values: vec![value("eu-west", 180.0, 0.225), value("mobile", 46.0, 0.225)] };
        let incident = fixture::incident();
        let text = render(NOW, |_| page(&model(&incident, "checkout-api", Ok(found))));
        for part in ["90 %", "22.5 %", "200 of 4,000 requests failed", "same events as eu-west", "97 % of the excess"] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert_eq!(text.matches("not a lead").count(), 1);
    }

    #[test]
    fn no_share_of_the_excess_is_more_than_all_of_it() {
        let mut incident = fixture::incident();
        incident.explained.suspects[0].excess_share = 1.001;
        let text = render(NOW, |_| page(&model(&incident, "x", Ok(Breakdown::default()))));
        assert!(text.contains("100 % of the excess") && !text.contains("100.1"), "{text}");
        assert!(text.contains("nothing to compare"));
    }

    #[test]
    fn hostile_values_are_inert() {
        let incident = fixture::hostile_incident();
        let found = Breakdown { total: 1.0, bad: 1.0, values: vec![value(HOSTILE, 180.0, 0.2)] };
        assert_inert(&render(NOW, |_| page(&model(&incident, HOSTILE, Ok(found)))));
        assert_inert(&render(NOW, |_| page(&model(&incident, HOSTILE, Err(HOSTILE.into())))));
    }
}
