//! What an alert is held against to be shown: who is told of it, and what mutes it.

use std::collections::{BTreeMap, HashSet};

use serde::Serialize;
use serde_json::value::RawValue;

use super::filter::Filter;
use super::{Refusal, time};
use crate::domain::desk::{Desk, Holder, Silence};
use crate::domain::incident::Member;
use crate::domain::matcher::Matcher;
use crate::domain::posted::{Packed, Posted, RESOLVE_TIMEOUT};
use crate::domain::route::matches;
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
    pub fingerprint: String,
    receivers: Vec<Name>,
    starts_at: String,
    status: Status,
    updated_at: String,
    #[serde(rename = "generatorURL", skip_serializing_if = "str::is_empty")]
    generator_url: Box<str>,
    pub labels: Labels,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Name {
    pub name: String,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    inhibited_by: Vec<String>,
    silenced_by: Vec<String>,
    state: &'static str,
}

/// What an alert is held against.
pub struct View {
    pub desk: Desk,
    pub now: Timestamp,
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
    /// What stands in the store and in the snapshot now.
    pub async fn new(state: &State) -> Result<View, Refusal> {
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

    /// How an alert is shown; `None` if the filter leaves it out.
    pub fn show(&self, alert: &Posted, filter: &Filter) -> Option<Shown> {
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
    pub fn own(&self, state: &State, matchers: &[Matcher]) -> Vec<Posted> {
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
