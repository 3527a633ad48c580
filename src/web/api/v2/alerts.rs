//! `GET /api/v2/alerts` and `/api/v2/alerts/groups`: alerts of others and our own, with who is told and
//! what mutes them.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State as Take;
use serde::Serialize;
use serde_json::value::RawValue;

use super::super::Params;
use super::filter::Filter;
use super::{Refusal, time};
use crate::domain::desk::{Desk, Holder, Silence};
use crate::domain::matcher::Matcher;
use crate::domain::posted::{Packed, Posted, RESOLVE_TIMEOUT};
use crate::domain::route::{grouping, matches};
use crate::domain::rule::Labels;
use crate::domain::snapshot::AlertPhase;
use crate::domain::time::Timestamp;
use crate::store::transition;
use crate::web::state::State;

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

/// `GET /api/v2/alerts`.
pub async fn list(Take(state): Take<Arc<State>>, params: Params) -> Result<Json<Vec<Shown>>, Refusal> {
    let filter = Filter::read(&params)?;
    let view = View::new(&state).await?;
    let mut shown: Vec<Shown> = view.found(&state, &filter).iter().filter_map(|alert| view.show(alert, &filter)).collect();
    shown.sort_by(|a, b| a.fingerprint.cmp(&b.fingerprint));
    Ok(Json(shown))
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
        let desk = Desk::new(state.snapshot.load().rules.clone());
        let mut view = View { desk, now, silences, sources: Vec::new() };
        view.find_sources(state);
        Ok(view)
    }

    fn find_sources(&mut self, state: &State) {
        let inhibits = self.desk.rules().inhibits.clone();
        self.sources = inhibits.iter().map(|_| BTreeMap::new()).collect();
        if inhibits.is_empty() {
            return;
        }
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
        for alert in own(state, self.now, &[]) {
            add(&alert.labels.labels(), &|| format!("{:016x}", alert.labels.fingerprint()));
        }
        // Only the labels that inhibitions look at decide, and most alerts agree in those.
        let named = |matchers: &crate::domain::rule::Matchers| matchers.0.keys().cloned().collect::<Vec<_>>();
        let mut names: Vec<String> =
            inhibits.iter().flat_map(|inhibit| [named(&inhibit.source), named(&inhibit.target), inhibit.equal.clone()].concat()).collect();
        names.sort();
        names.dedup();
        let now = self.now;
        let mut seen: std::collections::HashSet<Vec<Box<str>>> = std::collections::HashSet::new();
        state.alerts.look(&mut |board| {
            for (_, entry) in board.entries().filter(|(_, entry)| !entry.alert.is_over(now)) {
                let packed = &entry.alert.labels;
                let values: Vec<Box<str>> = names.iter().map(|name| packed.get(name).into()).collect();
                if seen.insert(values.clone()) {
                    let labels: Labels = names.iter().cloned().zip(values.iter().map(|value| value.to_string())).collect();
                    add(&labels, &|| format!("{:016x}", packed.fingerprint()));
                }
            }
        });
    }

    /// The alerts that meet the matchers, others' and our own.
    fn found(&self, state: &State, filter: &Filter) -> Vec<Posted> {
        let mut found = own(state, self.now, &filter.matchers);
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
}

/// Our own alerts that fire, as others would have sent them.
fn own(state: &State, now: Timestamp, matchers: &[Matcher]) -> Vec<Posted> {
    let snapshot = state.snapshot.load_full();
    let timeout = snapshot.rules.resolve_timeout.unwrap_or(RESOLVE_TIMEOUT);
    let mut found = Vec::new();
    for alert in snapshot.alerts.iter().filter(|alert| alert.phase == AlertPhase::Firing) {
        let mut labels = alert.labels.clone();
        labels.entry("alertname".into()).or_insert_with(|| alert.rule.clone());
        let packed = Packed::new(&labels);
        if !packed.matches(matchers) {
            continue;
        }
        let slo = snapshot.rules.slo(&alert.rule).map(|slo| slo.description.clone());
        let rule = || snapshot.rules.alerts.iter().find(|rule| rule.name == alert.rule).map(|rule| rule.summary.clone());
        let summary = slo.or_else(rule).filter(|text| !text.is_empty()).unwrap_or_else(|| alert.rule.clone());
        let link = alert.incident.as_ref().map_or_else(String::new, |id| format!("{}/incidents/{id}", state.public_url()));
        found.push(Posted {
            labels: packed,
            annotations: serde_json::json!({ "summary": summary }).to_string().into(),
            generator: link.into(),
            starts: alert.since.unwrap_or(now),
            ends: now + timeout,
            timed: true,
            updated: snapshot.evaluated_at.unwrap_or(now),
        });
    }
    found
}
