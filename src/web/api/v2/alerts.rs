//! `GET /api/v2/alerts` and `/api/v2/alerts/groups`: alerts of others and our own, with who is told and
//! what mutes them.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::State as Take;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::io::{AsyncWriteExt, DuplexStream};
use tokio_util::io::ReaderStream;
use tracing::debug;

use super::super::Params;
use super::filter::Filter;
use super::{Refusal, time};
use crate::domain::desk::{Desk, Holder, Silence};
use crate::domain::incident::Member;
use crate::domain::matcher::Matcher;
use crate::domain::posted::{Key, Packed, Posted, RESOLVE_TIMEOUT};
use crate::domain::route::{grouping, matches};
use crate::domain::rule::Labels;
use crate::domain::snapshot::AlertPhase;
use crate::domain::time::Timestamp;
use crate::store::transition;
use crate::web::state::State;

/// So many alerts are written at once.
const PIECE: usize = 256;
const PIPE_BYTES: usize = 64 * 1024;
/// A reader that takes nothing for so long is let go.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// An alert as it is shown. The order of the fields is Alertmanager's.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Shown {
    annotations: Box<RawValue>,
    ends_at: String,
    fingerprint: String,
    receivers: Vec<Name>,
    starts_at: String,
    status: Status,
    updated_at: String,
    #[serde(rename = "generatorURL", skip_serializing_if = "str::is_empty")]
    generator_url: Box<str>,
    labels: Labels,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct Name {
    name: String,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    inhibited_by: Vec<String>,
    silenced_by: Vec<String>,
    state: &'static str,
}

#[derive(Serialize)]
pub struct Group {
    alerts: Vec<Shown>,
    labels: Labels,
    receiver: Name,
}

/// Where an alert is while a list is made.
#[derive(Clone, Copy)]
enum Place {
    Own(usize),
    Board(Key),
}

/// `GET /api/v2/alerts`, in the order of fingerprints. A long list is written piece by piece while it is read: what
/// is held of it in memory is a key for each alert.
pub async fn list(Take(state): Take<Arc<State>>, params: Params) -> Result<Response, Refusal> {
    let filter = Filter::read(&params)?;
    let view = View::new(&state).await?;
    let own = view.own(&state, &filter.matchers);
    let mut found: Vec<(u64, Place)> = own.iter().enumerate().map(|(at, alert)| (alert.labels.fingerprint(), Place::Own(at))).collect();
    state.alerts.look(&mut |board| {
        let on = board.entries().filter(|(_, entry)| !entry.alert.is_over(view.now));
        let on = on.filter(|(_, entry)| entry.alert.labels.matches(&filter.matchers));
        found.extend(on.map(|(key, entry)| (entry.alert.labels.fingerprint(), Place::Board(*key))));
    });
    found.sort_unstable_by_key(|(fingerprint, _)| *fingerprint);
    let writer = Writer { state, view, filter, own };
    if found.len() <= PIECE {
        return Ok(Json(writer.shown(&found)).into_response());
    }
    let (mut ours, theirs) = tokio::io::duplex(PIPE_BYTES);
    tokio::spawn(async move {
        // A reader that is gone, or that takes nothing, gets a list without its end: no JSON.
        if let Err(error) = writer.write(&found, &mut ours).await {
            debug!(%error, "a list of alerts was not read to its end");
        }
    });
    let kind = (header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(([kind], Body::from_stream(ReaderStream::new(theirs))).into_response())
}

/// Writes a list.
struct Writer {
    state: Arc<State>,
    view: View,
    filter: Filter,
    own: Vec<Posted>,
}

impl Writer {
    fn shown(&self, places: &[(u64, Place)]) -> Vec<Shown> {
        let mut alerts: Vec<Posted> = Vec::with_capacity(places.len());
        self.state.alerts.look(&mut |board| {
            let alert = |place: &Place| match place {
                Place::Own(at) => self.own.get(*at),
                Place::Board(key) => board.get(key).map(|entry| &entry.alert),
            };
            alerts.extend(places.iter().filter_map(|(_, place)| alert(place)).cloned());
        });
        alerts.iter().filter_map(|alert| self.view.show(alert, &self.filter)).collect()
    }

    async fn write(&self, places: &[(u64, Place)], to: &mut DuplexStream) -> std::io::Result<()> {
        let mut text: Vec<u8> = b"[".to_vec();
        let mut first = true;
        for piece in places.chunks(PIECE) {
            for shown in self.shown(piece) {
                if !std::mem::replace(&mut first, false) {
                    text.push(b',');
                }
                serde_json::to_writer(&mut text, &shown)?;
            }
            tokio::time::timeout(WRITE_TIMEOUT, to.write_all(&text)).await??;
            text.clear();
            // Pages and deliveries share this thread.
            tokio::task::yield_now().await;
        }
        tokio::time::timeout(WRITE_TIMEOUT, to.write_all(b"]")).await??;
        Ok(())
    }
}

/// `GET /api/v2/alerts/groups`.
pub async fn groups(Take(state): Take<Arc<State>>, params: Params) -> Result<Json<Vec<Group>>, Refusal> {
    let filter = Filter::read(&params)?;
    let view = View::new(&state).await?;
    let mut groups: BTreeMap<(Labels, Name), Vec<Shown>> = BTreeMap::new();
    for alert in view.found(&state, &filter) {
        let Some(shown) = view.show(&alert, &filter) else { continue };
        for routed in view.desk.route(&shown.labels, view.now) {
            let labels = grouping(routed.group_by.as_deref(), &["alertname"], &shown.labels);
            for name in routed.to {
                if filter.receiver.as_ref().is_none_or(|pattern| pattern.matches(&name)) {
                    groups.entry((labels.clone(), Name { name })).or_default().push(shown.clone());
                }
            }
        }
    }
    let group = |((labels, receiver), mut alerts): ((Labels, Name), Vec<Shown>)| {
        alerts.sort_by(|a, b| a.fingerprint.cmp(&b.fingerprint));
        Group { alerts, labels, receiver }
    };
    Ok(Json(groups.into_iter().map(group).collect()))
}

/// What an alert is held against.
struct View {
    desk: Desk,
    now: Timestamp,
    silences: Vec<Silence>,
    /// What is wrong with burnwatch itself, each with the id of its incident.
    operators: Vec<(String, Member)>,
    /// For each inhibition the firing sources: the values that have to agree, and whether the target's side matches, too.
    sources: Vec<BTreeMap<Vec<String>, Sources>>,
}

/// Fingerprints of one source of each kind, which is all that needs to be known.
#[derive(Default)]
struct Sources {
    plain: Option<String>,
    /// Matches both sides, so it holds back only what does not.
    both: Option<String>,
}

impl View {
    async fn new(state: &State) -> Result<View, Refusal> {
        let now = state.clock.now();
        let mut tx = state.store.read().await?;
        let silences = transition::load_silences(&mut tx, now).await?;
        let operators = transition::operator_alerts(&mut tx).await?;
        drop(tx);
        let desk = Desk::new(state.snapshot.load().rules.clone());
        let mut view = View { desk, now, silences, operators, sources: Vec::new() };
        view.find_sources(state);
        Ok(view)
    }

    fn find_sources(&mut self, state: &State) {
        let inhibits = self.desk.rules().inhibits.clone();
        self.sources = inhibits.iter().map(|_| BTreeMap::new()).collect();
        if inhibits.is_empty() {
            return;
        }
        let own = self.own(state, &[]);
        let mut add = |labels: &Labels, fingerprint: &dyn Fn() -> String| {
            for (inhibit, sources) in inhibits.iter().zip(&mut self.sources) {
                if matches(&inhibit.source, labels) {
                    let equal = inhibit.equal.iter().map(|name| labels.get(name).cloned().unwrap_or_default()).collect();
                    let both = matches(&inhibit.target, labels);
                    let sources: &mut Sources = sources.entry(equal).or_default();
                    let place = if both { &mut sources.both } else { &mut sources.plain };
                    place.get_or_insert_with(fingerprint);
                }
            }
        };
        for alert in own {
            add(&alert.labels.labels(), &|| format!("{:016x}", alert.labels.fingerprint()));
        }
        // Only the labels that inhibitions look at decide, and most alerts agree in those.
        let named = |matchers: &crate::domain::rule::Matchers| matchers.0.keys().cloned().collect::<Vec<_>>();
        let mut names: Vec<String> =
            inhibits.iter().flat_map(|inhibit| [named(&inhibit.source), named(&inhibit.target), inhibit.equal.clone()].concat()).collect();
        names.sort();
        names.dedup();
        let now = self.now;
        let mut seen: HashSet<Vec<u8>> = HashSet::new();
        let mut values: Vec<u8> = Vec::new();
        state.alerts.look(&mut |board| {
            for (_, entry) in board.entries().filter(|(_, entry)| !entry.alert.is_over(now)) {
                let packed = &entry.alert.labels;
                values.clear();
                for name in &names {
                    values.extend_from_slice(packed.get(name).as_bytes());
                    values.push(0xFF);
                }
                if !seen.contains(&values) {
                    seen.insert(values.clone());
                    let labels: Labels = names.iter().map(|name| (name.clone(), packed.get(name).to_owned())).collect();
                    add(&labels, &|| format!("{:016x}", packed.fingerprint()));
                }
            }
        });
    }

    /// The alerts that meet the matchers, others' and our own.
    fn found(&self, state: &State, filter: &Filter) -> Vec<Posted> {
        let mut found = self.own(state, &filter.matchers);
        state.alerts.look(&mut |board| {
            let on = board.entries().map(|(_, entry)| &entry.alert).filter(|alert| !alert.is_over(self.now));
            found.extend(on.filter(|alert| alert.labels.matches(&filter.matchers)).cloned());
        });
        found
    }

    /// How an alert is shown; `None` if the filter leaves it out.
    fn show(&self, alert: &Posted, filter: &Filter) -> Option<Shown> {
        let labels = alert.labels.labels();
        let silenced_by: Vec<String> = self
            .desk
            .holders(&labels, self.now, &self.silences)
            .map(|holder| match holder {
                Holder::Silence(id) => id.to_owned(),
                Holder::Maintenance(name) => format!("maintenance {name}"),
            })
            .collect();
        let inhibited_by = self.inhibited_by(&labels);
        let suppressed = !silenced_by.is_empty() || !inhibited_by.is_empty();
        let wanted =
            (filter.active || suppressed) && (filter.silenced || silenced_by.is_empty()) && (filter.inhibited || inhibited_by.is_empty());
        if !wanted {
            return None;
        }
        let mut receivers: Vec<Name> = Vec::new();
        for name in self.desk.route(&labels, self.now).into_iter().flat_map(|routed| routed.to) {
            let name = Name { name };
            if !receivers.contains(&name) {
                receivers.push(name);
            }
        }
        if filter.receiver.as_ref().is_some_and(|pattern| !receivers.iter().any(|receiver| pattern.matches(&receiver.name))) {
            return None;
        }
        Some(Shown {
            annotations: RawValue::from_string(alert.annotations.to_string()).unwrap_or_default(),
            ends_at: time(alert.ends),
            fingerprint: format!("{:016x}", alert.labels.fingerprint()),
            receivers,
            starts_at: time(alert.starts),
            status: Status { inhibited_by, silenced_by, state: if suppressed { "suppressed" } else { "active" } },
            updated_at: time(alert.updated),
            generator_url: alert.generator.clone(),
            labels,
        })
    }

    fn inhibited_by(&self, labels: &Labels) -> Vec<String> {
        let mut found = Vec::new();
        for (inhibit, sources) in self.desk.rules().inhibits.iter().zip(&self.sources) {
            if sources.is_empty() || !matches(&inhibit.target, labels) {
                continue;
            }
            let equal: Vec<String> = inhibit.equal.iter().map(|name| labels.get(name).cloned().unwrap_or_default()).collect();
            let Some(sources) = sources.get(&equal) else { continue };
            let both = matches(&inhibit.source, labels);
            let source = sources.plain.as_ref().or(sources.both.as_ref().filter(|_| !both));
            found.extend(source.cloned());
        }
        found.sort();
        found.dedup();
        found
    }

    /// Our own alerts that fire, as others would have sent them.
    fn own(&self, state: &State, matchers: &[Matcher]) -> Vec<Posted> {
        let snapshot = state.snapshot.load_full();
        let timeout = snapshot.rules.resolve_timeout.unwrap_or(RESOLVE_TIMEOUT);
        let mut found = Vec::new();
        let mut add = |mut labels: Labels, name: &str, summary: String, incident: Option<&String>, starts: Timestamp| {
            labels.entry("alertname".into()).or_insert_with(|| name.to_owned());
            let packed = Packed::new(&labels);
            if !packed.matches(matchers) {
                return;
            }
            let link = incident.map_or_else(String::new, |id| format!("{}/incidents/{id}", state.public_url()));
            found.push(Posted {
                labels: packed,
                annotations: serde_json::json!({ "summary": summary }).to_string().into(),
                generator: link.into(),
                starts,
                ends: self.now + timeout,
                timed: true,
                updated: snapshot.evaluated_at.unwrap_or(self.now),
            });
        };
        for alert in snapshot.alerts.iter().filter(|alert| alert.phase == AlertPhase::Firing) {
            let slo = snapshot.rules.slo(&alert.rule).map(|slo| slo.description.clone());
            let rule = || snapshot.rules.alerts.iter().find(|rule| rule.name == alert.rule).map(|rule| rule.summary.clone());
            let summary = slo.or_else(rule).filter(|text| !text.is_empty()).unwrap_or_else(|| alert.rule.clone());
            add(alert.labels.clone(), &alert.rule, summary, alert.incident.as_ref(), alert.since.unwrap_or(self.now));
        }
        for (incident, member) in &self.operators {
            add(member.full_labels(), &member.rule, member.summary.clone(), Some(incident), member.started_at);
        }
        found
    }
}
