//! Silences, rules, telemetry.

use std::collections::BTreeMap;

use axum::extract::Path;
use axum::response::Response;

use super::incident::just;
use super::rule::{cost_of, costs_only};
use super::{Query, Site};
use crate::domain::filter::{Filter, Match};
use crate::domain::route::matches;
use crate::domain::rule::{Labels, Severity};
use crate::domain::snapshot::{AlertPhase, Snapshot};
use crate::domain::time::{Span, Timestamp};
use crate::store::{outbox, rule_sets, silences as stored, transition};
use crate::web::api::silences::state_of;
use crate::web::frame::Page;
use crate::web::icon::Tone;
use crate::web::number;
use crate::web::pages::operations::{self as pages, Fact, NewSilence, Preview, Rules, Silence};
use crate::web::problem::Problem;

/// How far the preview of a silence looks back.
const PAST: Span = Span::days(30);

/// Alerts that these conditions match now.
pub fn preview(snapshot: &Snapshot, conditions: &Filter) -> Preview {
    let mut preview = Preview::default();
    for alert in snapshot.alerts.iter().filter(|alert| alert.phase == AlertPhase::Firing) {
        let mut labels: Labels = alert.labels.clone();
        if let Some(severity) = alert.severity {
            labels.entry("severity".into()).or_insert_with(|| severity.name().into());
        }
        if matches(conditions, &labels) {
            preview.alerts += 1;
            preview.pages += usize::from(alert.severity == Some(Severity::Page));
            if preview.named.len() < 10 && !preview.named.contains(&alert.rule) {
                preview.named.push(alert.rule.clone());
            }
        }
    }
    preview
}

/// How many alerts stored matchers (a JSON list of texts) hold back now.
pub fn held_now(snapshot: &Snapshot, matchers: &str) -> usize {
    let texts: Vec<String> = serde_json::from_str(matchers).unwrap_or_default();
    read_matchers(&texts).map_or(0, |conditions| preview(snapshot, &conditions).alerts)
}

/// Matchers as people write them, if all of them can be read and there is one.
pub fn read_matchers(texts: &[String]) -> Option<Filter> {
    let conditions: Option<BTreeMap<String, Match>> = texts.iter().map(|text| transition::read_matcher(text)).collect();
    conditions.filter(|conditions| !conditions.is_empty()).map(Filter)
}

pub async fn silences(site: Site, query: Query) -> Response {
    let page = async {
        let snapshot = site.state.snapshot.load_full();
        let mut tx = site.state.store.read().await?;
        let mut rows: Vec<Silence> = Vec::new();
        for row in stored::list(&mut tx).await? {
            let matchers: Vec<String> = serde_json::from_str(&row.matchers).unwrap_or_default();
            let state = state_of(&row, site.now);
            let holds =
                if state == "active" { read_matchers(&matchers).map_or(0, |conditions| preview(&snapshot, &conditions).alerts) } else { 0 };
            let ends = row.expired_at.unwrap_or(row.ends_at).min(row.ends_at);
            rows.push(Silence {
                id: row.id,
                matchers,
                state,
                starts: row.starts_at,
                ends,
                author: row.author,
                comment: row.comment,
                holds,
                in_rules: false,
            });
        }
        rows.extend(snapshot.rules.silences.iter().map(|one| Silence {
            id: one.name.clone(),
            matchers: one.when.0.iter().map(|(name, condition)| condition_words(name, condition)).collect(),
            state: match (one.starts.is_some_and(|at| at > site.now), one.ends <= site.now) {
                (_, true) => "expired",
                (true, false) => "pending",
                (false, false) => "active",
            },
            starts: one.starts.unwrap_or(Timestamp(0)),
            ends: one.ends,
            author: one.author.clone(),
            comment: one.comment.clone(),
            holds: preview(&snapshot, &one.when).alerts,
            in_rules: true,
        }));
        rows.sort_by_key(|row| row.ends);
        let tab = match query.get("state") {
            Some("pending") => "pending",
            Some("expired") => "expired",
            _ => "active",
        };
        if tab == "expired" {
            rows.reverse();
            rows.truncate(500);
        }
        Ok(pages::silences(&rows, tab, site.now, &site.visitor.reader))
    };
    let page = page.await;
    site.show(page).await
}

/// A condition of rules as a matcher is written.
pub fn condition_words(name: &str, condition: &Match) -> String {
    match condition {
        Match::Equal(value) => format!("{name}={value}"),
        Match::Not(value) => format!("{name}!={value}"),
        Match::AnyOf(values) => format!("{name}={}", values.join("|")),
        Match::Prefix(prefix) => format!("{name}={prefix}*"),
        Match::Regex(pattern) => format!("{name}=~{}", pattern.text()),
        Match::NotRegex(pattern) => format!("{name}!~{}", pattern.text()),
    }
}

pub async fn new_silence(site: Site, query: Query) -> Response {
    let page = async {
        let mut matchers: Vec<String> = [query.get("m"), query.get("matchers")]
            .into_iter()
            .flatten()
            .flat_map(str::lines)
            .map(|line| line.trim().to_owned())
            .filter(|line| !line.is_empty())
            .take(20)
            .collect();
        if let Some(id) = query.get("incident")
            && matchers.is_empty()
        {
            let incident = just(&site, id).await?;
            matchers = incident.grouping.iter().map(|(name, value)| format!("{name}={value}")).collect();
        }
        let preview = match read_matchers(&matchers) {
            Some(conditions) => {
                let mut preview = preview(&site.state.snapshot.load(), &conditions);
                preview.past = super::silence::would_have(&site, &conditions, site.now - PAST, site.now).await?;
                Some(preview)
            }
            None => None,
        };
        Ok(pages::new_silence(&NewSilence {
            matchers: matchers.join("\n"),
            lasts: query.get("for").unwrap_or("1h").to_owned(),
            comment: query.get("comment").unwrap_or_default().to_owned(),
            preview,
            confirm: query.get("confirm").is_some(),
            reader: &site.visitor.reader,
            now: site.now,
        }))
    };
    let page = page.await;
    site.show(page).await
}

pub async fn rules(site: Site, query: Query) -> Response {
    let snapshot = site.state.snapshot.load_full();
    let free = &snapshot.rules.alerts;
    // Metrics are many where objectives are; they are only looked through where somebody has a cost.
    let metrics = if free.is_empty() { String::new() } else { costs_only(&site.state.metrics.render()) };
    let costs = free.iter().filter_map(|rule| Some((rule.name.clone(), cost_of(&metrics, &rule.name)?))).collect();
    let page = pages::rules(&Rules {
        set: &snapshot.rules,
        since: snapshot.rules_since,
        refused: &snapshot.rules_refused,
        refused_revision: snapshot.rules_refused_revision.as_deref(),
        source: &snapshot.rules_source,
        unreachable: snapshot.rules_unreachable.as_deref(),
        alerts: &snapshot.alerts,
        evaluated_at: snapshot.evaluated_at,
        took: snapshot.took,
        q: query.get("q").unwrap_or_default(),
        from: query.get("from").and_then(|from| from.parse().ok()).unwrap_or(0),
        costs: &costs,
        now: site.now,
    });
    site.show(Ok(page)).await
}

pub async fn source(site: Site, Path(path): Path<String>, query: Query) -> Response {
    let page = async {
        let snapshot = site.state.snapshot.load_full();
        let mut tx = site.state.store.read().await?;
        let row = rule_sets::get(&mut tx, &snapshot.rules.revision)
            .await?
            .ok_or_else(|| Problem::unknown("revision", &snapshot.rules.revision))?;
        let files: BTreeMap<String, String> = serde_json::from_str(&row.files).unwrap_or_default();
        let text = files.get(&path).ok_or_else(|| Problem::unknown("rule file", &path))?;
        Ok(pages::source(&path, text, query.get("line").and_then(|line| line.parse().ok())))
    };
    let page = page.await;
    site.show(page).await
}

pub async fn health(site: Site) -> Response {
    let page = read_health(&site).await;
    site.show(page).await
}

async fn read_health(site: &Site) -> Result<Page, Problem> {
    let snapshot = site.state.snapshot.load_full();
    let config = &site.state.config.aggregation;
    let counts = outbox::counts(&mut site.state.store.read().await?).await?;
    let now = site.now;
    let fresh = config.bucket + config.bucket + config.settle + Span::seconds(30);
    let fact = |name, fine: bool, figure: String, means: &str| Fact {
        name,
        tone: if fine { Tone::Fine } else { Tone::Ticket },
        word: if fine { "Fine" } else { "Look" },
        figure,
        means: means.into(),
    };
    let unknown =
        |name, means: &str| Fact { name, tone: Tone::Unknown, word: "Unknown", figure: number::NOT_MEASURED.into(), means: means.into() };
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
    let figure = if silent.is_empty() { "every app that should send does".into() } else { silent.join(", ") };
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
    let (telemetry, volume) = super::telemetry::facts(site, &snapshot).await;
    Ok(pages::health(&telemetry, volume.as_ref(), &facts, now))
}
