//! Below the list: where errors are now, the endpoints that fail most, anomalies, and what changed lately.

use maud::{Markup, html};

use super::{Anomaly, Model};
use crate::domain::notification::{Change, ChangeKind};
use crate::web::frame::shape;
use crate::web::icon::{Icon, Tone, flag, flag_with};
use crate::web::number;
use crate::web::pages::evidence::{Endpoint, being_read};
use crate::web::pages::incident::path;
use crate::web::pages::{change_words, heat};
use crate::web::text::{Plain, clip, link, query, segment};

/// Anomalies and changes that are shown.
const ROWS_MAX: usize = 8;

/// The cards; each has its place from the start, so that none moves another.
pub fn cards(model: &Model<'_>) -> Markup {
    if model.objectives == 0 {
        return html! {};
    }
    html! {
        div.cols {
            div {
                div data-live="services" data-shape=(heat::shape_of(&model.heat, model.evidence.is_some())) { (services(model)) }
                div data-live="endpoints" data-shape=(model.evidence.as_ref().map_or(String::new(), |known| shape(known.endpoints.iter().map(|one| one.route.as_str())))) { (endpoints(model)) }
            }
            div {
                div data-live="anomalies" data-shape=(shape(model.anomalies.iter().map(|one| one.words.as_str()))) { (anomalies(model)) }
                div data-live="changes" data-shape=(shape(model.changes.iter().map(|change| change.id.as_str()))) { (changes(model)) }
            }
        }
    }
}

fn services(model: &Model<'_>) -> Markup {
    match heat::services(&model.heat, &model.dimension) {
        Some(table) => html! {
            section.card aria-labelledby="h-e" {
                header { h2 id="h-e" { "Live error share" } span."small"."muted" { "by service; over the shortest long window, hatched: not measured" } }
                (table)
            }
        },
        None if model.evidence.is_none() => being_read("h-e", "Live error share"),
        None => html! {
            section.card aria-labelledby="h-e" {
                header { h2 id="h-e" { "Live error share" } }
                p.empty { "No objective that counts failures was measured by " (Plain(&clip(if model.dimension.is_empty() { "region" } else { &model.dimension }, 40))) "." }
            }
        },
    }
}

fn endpoints(model: &Model<'_>) -> Markup {
    let Some(evidence) = &model.evidence else { return being_read("h-p", "Failing endpoints") };
    html! {
        section.card aria-labelledby="h-p" {
            header { h2 id="h-p" { "Failing endpoints" } span."small"."muted" { "the last 15 min" } }
            @if evidence.endpoints.is_empty() { p.empty { "No request failed." } } @else {
                table.stack {
                    thead { tr { th scope="col" { "endpoint" } th.num scope="col" { "failing" } th.num scope="col" { "requests" } th scope="col" { "a trace" } } }
                    tbody { @for one in &evidence.endpoints { (endpoint(one)) } }
                }
            }
        }
    }
}

fn endpoint(one: &Endpoint) -> Markup {
    let route = if one.route.is_empty() { "(no route)" } else { &one.route };
    let filter = [("app", &one.app), ("route", &one.route)].map(|(name, value)| format!("{name}={value}")).join("\n");
    html! {
        tr {
            th scope="row" {
                a href={ "/query" (query(&[("metric", "request"), ("where", &filter), ("by", "status"), ("show", "share")])) } { (Plain(&clip(route, 80))) }
                @if !one.app.is_empty() { br; span."small"."muted" { (Plain(&clip(&one.app, 40))) } }
            }
            td.num data-th="failing" { (number::share(one.bad / one.total.max(one.bad))) br; span."small"."muted" { (number::count(one.bad)) " failed" } }
            td.num data-th="requests" { (number::count(one.total)) }
            td data-th="a trace" { @match &one.trace { Some(trace) => span."mono"."small" { (link(trace, &clip(trace, 24))) }, None => span.muted { "none was sent" } } }
        }
    }
}

fn anomalies(model: &Model<'_>) -> Markup {
    html! {
        section.card aria-labelledby="h-a" {
            header { h2 id="h-a" { "Anomalies" } a.small href="/rules" { "rules" } }
            @if model.anomalies.is_empty() { p.empty { "No free-form rule sees anything unusual." } }
            ul."plain"."incs" { @for one in model.anomalies.iter().take(ROWS_MAX) { li { (anomaly(one, model)) } } }
            @if model.anomalies.len() > ROWS_MAX { p."small"."muted" { (model.anomalies.len() - ROWS_MAX) " more." } }
        }
    }
}

fn anomaly(one: &Anomaly, model: &Model<'_>) -> Markup {
    let tone = one.severity.map_or(Tone::Ticket, Tone::from);
    html! {
        div.r {
            @if one.pending { (flag_with(Tone::Ticket, Icon::Rising, "Pending")) } @else { (flag(tone, "Unusual")) }
            span."small"."muted"."nowrap" { @if let Some(since) = one.since { (number::age(since, model.now)) } @else { "just now" } }
        }
        @match &one.incident {
            Some((id, users)) => { a.t href=(path(id)) { (Plain(&clip(&one.words, 120))) } @if *users > 0 { span."small"."muted" { " · " (number::users(*users)) } } }
            None => a.t href={ "/rules/" (segment(&one.rule)) } { (Plain(&clip(&one.words, 120))) },
        }
    }
}

fn changes(model: &Model<'_>) -> Markup {
    html! {
        section.card aria-labelledby="h-c" {
            header { h2 id="h-c" { "Changes in the last 24 h" } a.small href="/changes" { "all changes" } }
            @if model.changes.is_empty() { p.empty { "None was reported: " code { "burnwatch annotate deploy" } "." } }
            ul."plain"."incs" { @for change in model.changes.iter().take(ROWS_MAX) { li { (one_change(change, model)) } } }
        }
    }
}

/// A change with the way back: the action of an incident that suspects it, else where it came from.
fn one_change(change: &Change, model: &Model<'_>) -> Markup {
    let suspect = model.rows.iter().find(|row| !change.id.is_empty() && row.suspect.as_ref() == Some(&change.id));
    let back = matches!(change.kind, ChangeKind::Deploy | ChangeKind::Flag);
    html! {
        div.r { b { (change_words(change)) } span."small"."muted"."nowrap" { (number::time(change.at, model.now)) } }
        div.r.small {
            @match suspect {
                Some(row) => span { (flag(Tone::from(row.severity), "Suspect")) " of " a href=(path(&row.id)) { "the open incident" } },
                None => span.muted { "no open incident suspects it" },
            }
            @if let (Some(row), Some((name, label)), true, true) = (suspect, model.actions.first(), back, model.reader.operate) {
                a.btn.quiet href={ (path(&row.id)) "/act/" (segment(name)) } { (Plain(&clip(label, 30))) "…" }
            } @else if let Some(url) = &change.url { (link(url, "where it came from")) } @else if back { span.muted { "no way back was declared" } }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::rule::Severity;
    use crate::web::fixture::{self, HOSTILE, NOW, assert_inert, render};
    use crate::web::frame::Reader;
    use crate::web::pages::evidence::Evidence;
    use crate::web::pages::oncall::{Show, page};

    fn model<'a>(evidence: Option<Evidence>, reader: &'a Reader) -> Model<'a> {
        Model {
            rows: vec![fixture::row()],
            show: Show::All,
            from: 0,
            objectives: 3,
            evaluated_at: Some(NOW),
            last_incident: None,
            evidence: evidence.map(Arc::new),
            heat: vec![],
            dimension: String::new(),
            anomalies: vec![],
            changes: fixture::incident().changes,
            actions: vec![("rollback".into(), "Roll back the last deploy".into())],
            now: NOW,
            reader,
        }
    }

    #[test]
    fn a_suspected_deploy_leads_to_its_roll_back_and_others_say_that_nobody_suspects_them() {
        let text = render(NOW, |reader| page(&model(Some(Evidence::default()), reader)));
        assert!(text.contains("href=\"/incidents/4127/act/rollback\"") && text.contains("no open incident suspects it"), "{text}");
        let looking = Reader { operate: false, ..fixture::reader() };
        let text = render(NOW, |_| page(&model(Some(Evidence::default()), &looking)));
        assert!(!text.contains("/act/rollback") && text.contains("where it came from"), "{text}");
    }

    #[test]
    fn endpoints_have_a_trace_or_say_that_none_was_sent() {
        let endpoint = |route: &str, trace: Option<&str>| Endpoint {
            app: "shop".into(),
            route: route.into(),
            bad: 40.0,
            total: 160.0,
            trace: trace.map(str::to_owned),
        };
        let endpoints = vec![endpoint("/api/checkout", Some("https://traces.example.com/8f3a")), endpoint("/api/cart", None)];
        let text = render(NOW, |reader| page(&model(Some(Evidence { endpoints, ..Evidence::default() }), reader)));
        assert!(
            text.contains("25 %") && text.contains("href=\"https://traces.example.com/8f3a\"") && text.contains("none was sent"),
            "{text}"
        );
        let reading = render(NOW, |reader| page(&model(None, reader)));
        assert_eq!(reading.matches("Being read").count(), 2, "{reading}");
    }

    #[test]
    fn hostile_text_is_inert_below_the_list() {
        let endpoint =
            Endpoint { app: HOSTILE.into(), route: HOSTILE.into(), bad: 1.0, total: 2.0, trace: Some("javascript:alert(1)".into()) };
        let anomaly = |incident: Option<(String, u64)>| Anomaly {
            rule: HOSTILE.into(),
            words: HOSTILE.into(),
            severity: Some(Severity::Ticket),
            pending: false,
            since: None,
            incident,
        };
        assert_inert(&render(NOW, |reader| {
            page(&Model {
                anomalies: vec![anomaly(None), anomaly(Some((HOSTILE.into(), 3)))],
                changes: fixture::hostile_incident().changes,
                actions: vec![(HOSTILE.into(), HOSTILE.into())],
                ..model(Some(Evidence { endpoints: vec![endpoint], ..Evidence::default() }), reader)
            })
        }));
    }
}
