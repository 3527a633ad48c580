//! One incident: everything that its page shows, from the store, the snapshot and stored history.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use axum::extract::Path;
use axum::response::Response;

use super::{Query, Site};
use crate::domain::incident::Incident;
use crate::domain::metric::Metric;
use crate::domain::notification::ChangeKind;
use crate::domain::rule::{Labels, Severity, Sli, Slo};
use crate::domain::snapshot::{SloStatus, Snapshot};
use crate::domain::time::{Span, Timestamp};
use crate::store::events::{self, EventRow};
use crate::store::outbox::{self, OutboxRow};
use crate::store::{incidents, transition};
use crate::web::api::outbox::short_kind;
use crate::web::chart::{BurnChart, Marker, TierLine};
use crate::web::frame::Page;
use crate::web::icon::{Icon, Tone};
use crate::web::number;
use crate::web::pages::incident::people::FAMILY_MAX;
use crate::web::pages::incident::{self as pages, Before, Check, Drawing, Entry, Model, Range, Told, ToldState};
use crate::web::pages::{change_glyph, plain_change, receiver_words};
use crate::web::problem::Problem;
use crate::web::query::AskSlo;

/// A chart that takes longer is left out, and the page says so.
const CHART_TIMEOUT: Duration = Duration::from_secs(2);
/// Earlier incidents of the same key that the page names.
const BEFORE_MAX: usize = 5;

pub async fn page(site: Site, Path(id): Path<String>, query: Query) -> Response {
    let page = read(&site, &id, &query).await;
    site.show(page).await
}

async fn read(site: &Site, id: &str, query: &Query) -> Result<Page, Problem> {
    let snapshot = site.state.snapshot.load_full();
    let mut tx = site.state.store.read().await?;
    let incident = load(&mut tx, id).await?;
    let events = events::list(&mut tx, id).await?;
    let deliveries = outbox::for_incident(&mut tx, id).await?;
    let earlier = incidents::earlier_by_key(&mut tx, &incident.key, incident.opened_at, BEFORE_MAX).await?;
    let family: Vec<String> = incident.parent.iter().chain(incident.children.iter().take(FAMILY_MAX)).cloned().collect();
    let family = incidents::titles(&mut tx, &family).await?.into_iter().collect();
    drop(tx);
    let before = earlier
        .into_iter()
        .map(|row| Before { lasted: row.resolved_at.map(|at| at - row.opened_at), id: row.id, title: row.title, opened_at: row.opened_at })
        .collect();
    let range = Range::parse(query.get("range").unwrap_or_default());
    let found = slo_of(&snapshot, &incident);
    let drawing = match found {
        Some((slo, ref group, _)) => draw(site, &incident, slo, group, range, &deliveries).await,
        None => Drawing::None,
    };
    let checks = checks(&snapshot, &incident, &drawing);
    Ok(pages::page(&Model {
        slo: found.as_ref().map(|(slo, _, status)| (*slo, status.as_deref())),
        entries: entries(&incident, &events, &deliveries),
        told: told(&snapshot, &incident, &deliveries),
        objectives: incident.members.iter().map(|member| &member.rule).filter(|rule| snapshot.rules.slo(rule).is_some()).cloned().collect(),
        actions: super::action::known(&snapshot),
        incident: &incident,
        drawing,
        range,
        checks,
        before,
        family,
        now: site.now,
        reader: &site.visitor.reader,
    }))
}

async fn load(tx: &mut crate::store::Tx, id: &str) -> Result<Incident, Problem> {
    let row = incidents::get(tx, id).await?.ok_or_else(|| Problem::unknown("incident", id))?;
    Ok(transition::read(&row)?)
}

pub async fn time_line(site: Site, Path(id): Path<String>) -> Response {
    let page = async {
        let mut tx = site.state.store.read().await?;
        let incident = load(&mut tx, &id).await?;
        let events = events::list(&mut tx, &id).await?;
        let deliveries = outbox::for_incident(&mut tx, &id).await?;
        Ok(pages::time_line(&incident, &entries(&incident, &events, &deliveries), site.now))
    };
    let page = page.await;
    site.show(page).await
}

pub async fn snooze(site: Site, Path(id): Path<String>) -> Response {
    let page = just(&site, &id).await.map(|incident| pages::snooze(&incident, &site.visitor.reader));
    site.show(page).await
}

pub async fn assign(site: Site, Path(id): Path<String>) -> Response {
    let rules = site.state.snapshot.load().rules.clone();
    let slos = rules.slos.iter().map(|slo| slo.owner.clone());
    let owners: BTreeSet<String> =
        slos.chain(rules.alerts.iter().map(|rule| rule.owner.clone())).filter(|owner| !owner.is_empty()).collect();
    let owners: Vec<String> = owners.into_iter().collect();
    let page = just(&site, &id).await.map(|incident| pages::assign(&incident, &owners, &site.visitor.reader));
    site.show(page).await
}

pub async fn resolve(site: Site, Path(id): Path<String>) -> Response {
    let page = just(&site, &id).await.map(|incident| pages::resolve(&incident, &site.visitor.reader));
    site.show(page).await
}

/// An incident without anything around it.
pub async fn just(site: &Site, id: &str) -> Result<Incident, Problem> {
    load(&mut site.state.store.read().await?, id).await
}

/// The objective that speaks for an incident: that of its loudest alert, and the group that it is about.
pub fn slo_of<'a>(snapshot: &'a Snapshot, incident: &Incident) -> Option<(&'a Slo, Labels, Option<std::sync::Arc<SloStatus>>)> {
    let mut members: Vec<_> = incident.members.iter().collect();
    members.sort_by_key(|member| (std::cmp::Reverse(member.firing), std::cmp::Reverse(member.severity)));
    members.into_iter().find_map(|member| {
        let slo = snapshot.rules.slo(&member.rule)?;
        let group: Labels = slo.by.iter().filter_map(|name| Some((name.clone(), member.labels.get(name)?.clone()))).collect();
        let status = snapshot.slos.iter().find(|status| status.slo == slo.name && status.group == group).cloned();
        Some((slo, group, status))
    })
}

/// What an objective counts, as people say it.
pub fn noun(sli: &Sli) -> &'static str {
    let metric = match sli {
        Sli::Good(selector) => &selector.metric,
        Sli::Within { metric, .. } => metric,
        Sli::Ratio { total, .. } => &total.metric,
        Sli::Slices { .. } => return "time slices",
        Sli::Composite { .. } | Sli::External { .. } => return "events",
    };
    match metric {
        Metric::Request => "requests",
        Metric::PageView | Metric::Vital(_) => "page loads",
        Metric::Session => "sessions",
        Metric::Step => "steps",
        Metric::Interaction => "interactions",
        Metric::JsError | Metric::Crash | Metric::Custom(_) => "events",
    }
}

/// Good and bad of an objective as a chart over a range that ends at `end`.
pub async fn chart(site: &Site, slo: &Slo, group: &Labels, range: Range, end: Timestamp) -> Result<BurnChart, String> {
    let bucket = site.state.config.aggregation.bucket;
    let (fine, step) = range.steps();
    let fine = Span(fine.millis().max(bucket.millis()));
    let (long, short) = slo.tiers.first().map_or((Span::HOUR, Span::minutes(5)), |tier| (tier.long, tier.short));
    // Lines of windows shorter than a step would claim a precision that is not there.
    let windows = (Span(long.millis().max(fine.millis())), Span(short.millis().max(fine.millis())));
    let to = end.ceil(fine);
    let from = to - range.span();
    let ask = AskSlo { slo: slo.name.clone(), group: group.clone(), from: (from - windows.0).floor(fine), to, step: fine };
    let points = match tokio::time::timeout(CHART_TIMEOUT, site.state.query.slo(ask)).await {
        Ok(Ok(points)) => points,
        Ok(Err(error)) => return Err(error.to_string()),
        Err(_) => return Err("stored history did not answer within 2 s".into()),
    };
    let budget = f64::from(slo.budget_ppm) / 1e6;
    let mut chart = BurnChart::fold(&points, fine, (from, to), step, windows, budget);
    chart.noun = noun(&slo.sli).into();
    chart.tiers = slo.tiers.iter().map(|tier| TierLine { severity: tier.severity, factor: tier.factor.to_f64() }).collect();
    Ok(chart)
}

async fn draw(site: &Site, incident: &Incident, slo: &Slo, group: &Labels, range: Range, deliveries: &[OutboxRow]) -> Drawing {
    // A closed incident is shown with what came after it, not with today.
    let end = incident.resolved_at.map_or(site.now, |at| (at + Span::minutes(15)).min(site.now));
    let mut chart = match chart(site, slo, group, range, end).await {
        Ok(chart) => chart,
        Err(why) => return Drawing::Failed(why),
    };
    let mut markers: Vec<Marker> = incident
        .changes
        .iter()
        .map(|change| Marker { at: change.at, glyph: change_glyph(change.kind), text: plain_change(change) })
        .collect();
    if let Some(paged) = deliveries
        .iter()
        .filter(|row| short_kind(&row.kind) == "opened" && row.state == "delivered")
        .filter_map(|row| row.finished_at)
        .min()
    {
        markers.push(Marker {
            at: paged,
            glyph: '▲',
            text: if incident.severity == Severity::Page { "paged".into() } else { "told".into() },
        });
    }
    markers.extend(incident.acknowledged_at.map(|at| Marker { at, glyph: '✓', text: "acknowledged".into() }));
    markers.extend(incident.resolved_at.map(|at| Marker { at, glyph: '●', text: "resolved".into() }));
    markers.sort_by_key(|marker| marker.at);
    chart.markers = markers;
    Drawing::Chart(chart)
}

/// History, deliveries and changes as one list, newest first.
pub fn entries(incident: &Incident, events: &[EventRow], deliveries: &[OutboxRow]) -> Vec<Entry> {
    let entry = |at, icon, tone, what: &str, said: &str| Entry {
        at,
        icon,
        tone,
        what: what.into(),
        said: said.into(),
        who: String::new(),
        url: None,
    };
    let mut entries: Vec<Entry> = Vec::new();
    for event in events {
        let loud = Tone::from(incident.severity);
        let (icon, tone, what) = match event.kind.as_str() {
            "opened" => (loud.icon(), Some(loud), "Opened"),
            "alert_fired" => (loud.icon(), Some(loud), "Alert"),
            "alert_ended" => (Icon::Fine, Some(Tone::Fine), "Alert"),
            "severity" => (Icon::Rising, Some(Tone::Ticket), "Severity"),
            "acknowledged" => (Icon::Fine, Some(Tone::Info), "Acknowledged"),
            "unacknowledged" => (Icon::Rising, Some(Tone::Ticket), ""),
            "owner" => (Icon::Change, Some(Tone::Info), ""),
            "action" => (Icon::Change, Some(Tone::Info), "Action"),
            "acknowledgement_voided" => (Icon::Rising, Some(Tone::Page), "Not acknowledged any more"),
            "snoozed" => (Icon::Dot, None, "Snoozed"),
            "woken" => (Icon::Rising, Some(Tone::Ticket), "Woken"),
            "resolved" => (Icon::Fine, Some(Tone::Fine), "Resolved"),
            "note" => (Icon::Info, Some(Tone::Info), "Note"),
            "held_back" => (Icon::Unknown, Some(Tone::Unknown), "Held back"),
            "explained" => (Icon::Dot, None, "Explained"),
            // The deliveries below say this with how it went.
            "notified" | "digested" => continue,
            _ => (Icon::Dot, None, ""),
        };
        // `acknowledged by mira` after `Acknowledged` would say it twice.
        let said = strip_word(&event.text, what);
        let who = if event.kind == "note" || !event.text.contains(&event.who) { event.who.clone() } else { String::new() };
        entries.push(Entry { who, ..entry(event.at, icon, tone, what, said) });
    }
    for row in deliveries {
        let at = row.finished_at.unwrap_or(row.created_at);
        let name = format!("{} ({})", row.receiver, short_kind(&row.kind));
        entries.push(match row.state.as_str() {
            "delivered" if short_kind(&row.kind) == "opened" && incident.severity == Severity::Page => {
                entry(at, Icon::Page, Some(Tone::Page), "Told", &name)
            }
            "delivered" => entry(at, Icon::Info, Some(Tone::Info), "Told", &name),
            "dead" => entry(at, Icon::Page, Some(Tone::Page), "Gave up telling", &format!("{name}: {}", row.last_error)),
            "discarded" | "suppressed" => entry(at, Icon::Unknown, Some(Tone::Unknown), "Not told", &format!("{name}: {}", row.last_error)),
            _ => entry(at, Icon::Rising, Some(Tone::Ticket), "Telling", &name),
        });
    }
    for change in &incident.changes {
        let what = match change.kind {
            ChangeKind::Deploy => "Deploy",
            ChangeKind::Flag => "Flag",
            ChangeKind::Sampling => "Sampling",
            ChangeKind::Other => "Change",
        };
        let said = plain_change(change);
        let said = said.strip_prefix(change.kind.name()).map(str::trim).unwrap_or(&said).to_owned();
        entries.push(Entry { url: change.url.clone(), ..entry(change.at, Icon::Change, None, what, &said) });
    }
    if incident.window_start < incident.opened_at {
        entries.push(entry(incident.window_start, Icon::Dot, None, "", "First failing step (found afterwards)"));
    }
    entries.sort_by_key(|entry| std::cmp::Reverse(entry.at));
    entries
}

fn strip_word<'a>(text: &'a str, word: &str) -> &'a str {
    match text.get(..word.len()) {
        Some(start) if !word.is_empty() && start.eq_ignore_ascii_case(word) => text[word.len()..].trim_start_matches([':', ' ']),
        _ => text,
    }
}

/// How the last word to each receiver went, and who was held back.
fn told(snapshot: &Snapshot, incident: &Incident, deliveries: &[OutboxRow]) -> Vec<Told> {
    let mut latest: BTreeMap<&str, &OutboxRow> = BTreeMap::new();
    for row in deliveries {
        let have = latest.entry(&row.receiver).or_insert(row);
        if row.sequence >= have.sequence {
            *have = row;
        }
    }
    let kind = |name: &str| snapshot.rules.receiver(name).map_or("", |receiver| receiver_words(&receiver.kind)).to_owned();
    let mut rows: Vec<Told> = latest
        .into_iter()
        .map(|(receiver, row)| Told {
            receiver: receiver.into(),
            kind: kind(receiver),
            at: row.finished_at.unwrap_or(row.created_at),
            state: match row.state.as_str() {
                "delivered" => ToldState::Delivered,
                "dead" => ToldState::Dead(row.last_error.clone()),
                "discarded" | "suppressed" => ToldState::HeldBack(row.last_error.clone()),
                _ if row.attempts > 0 => ToldState::Retrying { error: row.last_error.clone(), attempts: row.attempts, next: row.due_at },
                _ => ToldState::OnItsWay,
            },
        })
        .collect();
    for (receiver, told) in &incident.told {
        if let Some(held) = &told.held_by {
            let at = told.at.or(told.waiting_since).unwrap_or(incident.opened_at);
            rows.push(Told { receiver: receiver.clone(), kind: kind(receiver), at, state: ToldState::HeldBack(held.clone()) });
        }
    }
    rows.sort_by_key(|told| told.at);
    rows
}

/// What speaks for and against the figures.
fn checks(snapshot: &Snapshot, incident: &Incident, drawing: &Drawing) -> Vec<Check> {
    let check = |fine: bool, said: String| Check { tone: if fine { Tone::Fine } else { Tone::Ticket }, said };
    let mut checks = Vec::new();
    if let Drawing::Chart(chart) = drawing {
        let done: Vec<_> = chart.steps.iter().filter(|step| !step.partial).collect();
        let measured = done.iter().filter(|step| step.counts.is_some()).count();
        let step = crate::web::chart::draw::step_words(chart.step);
        checks.push(check(measured * 10 >= done.len() * 9, format!("{measured} of {} steps (1 {step}) measured", done.len())));
    }
    if let Some(late) = snapshot.events_late {
        checks.push(check(late < Span::minutes(2), format!("events late by {} (P95)", number::duration(late))));
    }
    let silent = snapshot.silent_apps.len();
    checks.push(match silent {
        0 => check(true, "every app that should send does".into()),
        _ => check(false, format!("silent: {}", snapshot.silent_apps.join(", "))),
    });
    let sampling = incident.changes.iter().any(|change| change.kind == ChangeKind::Sampling);
    checks.push(check(
        !sampling,
        if sampling { "a sampling change near its start".into() } else { "no sampling change reported near its start".into() },
    ));
    if incident.impact.affected_users > 0 {
        let users = incident.impact.affected_users;
        checks.push(check(users > 2, format!("{} distinct {}", number::exact(users as f64), if users == 1 { "user" } else { "users" })));
    }
    if snapshot.folded > 0 {
        checks.push(Check {
            tone: Tone::Info,
            said: format!("{} values folded into __other__; totals are exact", number::count(snapshot.folded as f64)),
        });
    }
    checks
}
