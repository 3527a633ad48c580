//! `/health`: the telemetry as it was last read, and the machinery as it stands.

use axum::response::Response;

use super::telemetry::telemetry;
use super::{Query, Site};
use crate::domain::filter::Match;
use crate::domain::rule::Slo;
use crate::domain::snapshot::{AlertPhase, Snapshot};
use crate::domain::time::Span;
use crate::store::{outbox, writer};
use crate::web::api::slos::Rows;
use crate::web::frame::Page;
use crate::web::icon::Tone;
use crate::web::number;
use crate::web::pages::health::{self as pages, Fact, Health};
use crate::web::problem::Problem;

/// Silent apps that are named.
const SILENT_MAX: usize = 10;

pub async fn page(site: Site, query: Query) -> Response {
    let page = read(&site, &query).await;
    site.show(page).await
}

async fn read(site: &Site, query: &Query) -> Result<Page, Problem> {
    let snapshot = site.state.snapshot.load_full();
    let telemetry = telemetry(site, &snapshot).await;
    let machinery = machinery(site, &snapshot).await?;
    let held = held(&snapshot);
    let app = query.get("app").unwrap_or_default();
    Ok(pages::page(&Health { telemetry: telemetry.as_deref(), machinery: &machinery, held: &held, app, now: site.now }))
}

/// Silent apps, each with the objectives of its data that keep their state meanwhile.
fn held(snapshot: &Snapshot) -> Vec<(String, Vec<String>)> {
    if snapshot.silent_apps.is_empty() {
        return Vec::new();
    }
    let rows = Rows::new(snapshot);
    let about = |slo: &Slo, app: &String| {
        let filters = slo.sli.inputs();
        filters.iter().any(|(selector, _)| matches!(selector.filter.0.get("app"), Some(Match::Equal(have)) if have == app))
    };
    let unknown = |slo: &&Slo| rows.overall(slo).state == AlertPhase::Unknown || rows.overall(slo).no_data;
    let of = |app: &String| {
        snapshot.rules.slos.iter().filter(|slo| slo.enabled && about(slo, app)).filter(unknown).map(|slo| slo.name.clone()).collect()
    };
    snapshot.silent_apps.iter().take(SILENT_MAX).map(|app| (app.clone(), of(app))).collect()
}

async fn machinery(site: &Site, snapshot: &Snapshot) -> Result<Vec<Fact>, Problem> {
    let config = &site.state.config.aggregation;
    let mut tx = site.state.store.read().await?;
    let counts = outbox::counts(&mut tx).await?;
    let writers = writer::all(&mut tx).await?;
    drop(tx);
    let now = site.now;
    let fresh = config.bucket + config.bucket + config.settle + Span::seconds(30);
    let fact = |name, fine: bool, figure: String, means: &str| Fact {
        name,
        tone: if fine { Tone::Fine } else { Tone::Ticket },
        figure,
        means: means.into(),
    };
    let unknown = |name, means: &str| Fact { name, tone: Tone::Unknown, figure: number::NOT_MEASURED.into(), means: means.into() };
    let mut facts = Vec::new();
    facts.push(match snapshot.watermark {
        Some(to) => fact(
            "measured to",
            now - to <= fresh,
            format!("{} ago", number::ago(to, now)),
            "alerts follow this, not the clock; when it stands still they keep their state",
        ),
        None => unknown("measured to", "no bucket is complete yet"),
    });
    facts.push(match snapshot.evaluated_at {
        Some(at) => fact(
            "evaluation",
            now - at <= fresh + Span::MINUTE,
            format!("{} ago, took {}", number::ago(at, now), number::duration(snapshot.took)),
            "every rule is asked when a bucket closes",
        ),
        None => unknown("evaluation", "nothing has been evaluated yet"),
    });
    let silent = &snapshot.silent_apps;
    let figure = match silent.len() {
        0 => "every app that should send does".into(),
        n if n > SILENT_MAX => format!("{} and {} more", silent[..SILENT_MAX].join(", "), n - SILENT_MAX),
        _ => silent.join(", "),
    };
    facts.push(fact("silent apps", silent.is_empty(), figure, "what they would have sent is not measured; their alerts keep their state"));
    let waited = counts.oldest.map(|at| now - at);
    facts.push(fact(
        "outbox",
        waited.is_none_or(|waited| waited < Span::minutes(2)),
        match waited {
            Some(waited) => format!("{} waiting, the oldest for {}", counts.pending, number::duration(waited)),
            None => "nothing waits".into(),
        },
        "what was decided and not yet delivered",
    ));
    facts.push(fact("dead letters", counts.dead == 0, counts.dead.to_string(), "what gave up: see Notifications, dead letters"));
    let live: Vec<_> = writers.iter().filter(|writer| writer.live == 1 && writer.lease_until > now).collect();
    let behind = live.iter().map(|writer| writer.flushed_to).min().map(|to| now - to);
    facts.push(fact(
        "writers",
        behind.is_none_or(|behind| behind < fresh),
        match behind {
            Some(behind) => format!("{}, the slowest stored up to {} ago", live.len(), number::duration(Span(behind.millis().max(0)))),
            None => "none takes anything in at the moment".into(),
        },
        "processes that store what arrives; figures wait for the slowest",
    ));
    Ok(facts)
}
