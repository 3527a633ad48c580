//! `GET /v1/slos`, one of them, and its gate.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State as Take};
use serde::Serialize;
use serde_json::{Value, json};

use super::{Answer, PHASES, Params, slice_of};
use crate::domain::rule::{Labels, Sli, Slo};
use crate::domain::snapshot::{AlertPhase, SloStatus, Snapshot};
use crate::domain::time::Span;
use crate::web::number;
use crate::web::problem::Problem;
use crate::web::state::State;

/// An SLO, or one of its groups, as the API shows it.
#[derive(Serialize)]
pub struct SloJson<'a> {
    slo: &'a str,
    labels: Labels,
    /// In per cent, as it was written.
    objective: f64,
    window: String,
    /// The fraction that was good; null when nothing was measured.
    sli: Option<f64>,
    total: f64,
    bad: f64,
    budget_remaining: Option<f64>,
    burn: BTreeMap<String, Option<f64>>,
    state: &'static str,
    no_data: bool,
    severity: Option<&'static str>,
    pace_s: Option<f64>,
    countdown_s: Option<f64>,
    /// Groups beyond those that have a budget of their own; of the overall row, else 0.
    groups_left_out: u64,
    /// Whose burn and budget a composite shows: `worst` or `weighted`; null for others.
    composite: Option<&'static str>,
}

/// One row of the snapshot.
pub fn json_of<'a>(slo: &'a Slo, status: &'a SloStatus) -> SloJson<'a> {
    let mut labels = slo.base_labels();
    labels.extend(status.group.clone());
    SloJson {
        slo: &slo.name,
        labels,
        objective: slo.objective_percent(),
        window: slo.window.to_string(),
        sli: (status.total > 0.0).then(|| 1.0 - status.bad / status.total),
        total: status.total,
        bad: status.bad,
        budget_remaining: status.budget_remaining,
        burn: status.burn.iter().map(|(window, burn)| (window_name(*window), *burn)).collect(),
        state: status.state.name(),
        no_data: status.no_data,
        severity: status.severity.map(|severity| severity.name()),
        pace_s: status.pace.map(Span::as_secs_f64),
        countdown_s: status.countdown.map(Span::as_secs_f64),
        groups_left_out: status.groups_left_out,
        composite: if let Sli::Composite { how, .. } = &slo.sli { Some(how.name()) } else { None },
    }
}

/// As windows are written in rules: `5m`, `24h`, `3d`.
pub fn window_name(window: Span) -> String {
    if window == Span::DAY { "24h".into() } else { window.to_string() }
}

/// What an SLO shows before its first evaluation, and while it is switched off.
fn unknown(slo: &Slo) -> SloStatus {
    SloStatus {
        slo: slo.name.clone(),
        group: Labels::new(),
        total: 0.0,
        bad: 0.0,
        budget_remaining: None,
        pace: None,
        countdown: None,
        burn: slo.tiers.iter().flat_map(|tier| [(tier.long, None), (tier.short, None)]).collect(),
        tiers: Vec::new(),
        state: AlertPhase::Unknown,
        severity: None,
        no_data: true,
        groups_left_out: 0,
    }
}

/// The rows of every SLO by its name: one pass, where many SLOs are asked for.
pub struct Rows<'a>(HashMap<&'a str, Vec<&'a Arc<SloStatus>>>);

impl<'a> Rows<'a> {
    /// Of a snapshot.
    pub fn new(snapshot: &'a Snapshot) -> Rows<'a> {
        let mut rows: HashMap<&str, Vec<&Arc<SloStatus>>> = HashMap::new();
        for status in &snapshot.slos {
            rows.entry(&status.slo).or_default().push(status);
        }
        Rows(rows)
    }

    /// Every row of an SLO: overall first, then its groups.
    pub fn of(&self, slo: &Slo) -> Vec<Arc<SloStatus>> {
        ordered(slo, self.0.get(slo.name.as_str()).into_iter().flatten().map(|status| Arc::clone(status)).collect())
    }

    /// The overall row alone.
    pub fn overall(&self, slo: &Slo) -> Arc<SloStatus> {
        let rows = self.0.get(slo.name.as_str());
        let overall = rows.and_then(|rows| rows.iter().find(|status| status.group.is_empty()));
        overall.map_or_else(|| Arc::new(unknown(slo)), |status| Arc::clone(status))
    }

    /// The group that has this value of a dimension.
    pub fn group(&self, slo: &Slo, dimension: &str, value: &str) -> Option<Arc<SloStatus>> {
        let rows = self.0.get(slo.name.as_str())?;
        rows.iter().find(|status| status.group.get(dimension).is_some_and(|have| have == value)).map(|status| Arc::clone(status))
    }
}

/// Every row of one SLO: overall first, then its groups.
pub fn rows_of(snapshot: &Snapshot, slo: &Slo) -> Vec<Arc<SloStatus>> {
    ordered(slo, snapshot.slos.iter().filter(|status| status.slo == slo.name).cloned().collect())
}

fn ordered(slo: &Slo, mut rows: Vec<Arc<SloStatus>>) -> Vec<Arc<SloStatus>> {
    if rows.is_empty() {
        rows.push(Arc::new(unknown(slo)));
    }
    rows.sort_by_key(|status| !status.group.is_empty());
    rows
}

pub async fn list(Take(state): Take<Arc<State>>, params: Params) -> Answer {
    let snapshot = state.snapshot.load_full();
    let (wanted, owner, q) = (params.one_of("state", &PHASES)?, params.get("owner"), params.get("q").map(str::to_lowercase));
    let all = Rows::new(&snapshot);
    let mut rows: Vec<(&Slo, Arc<SloStatus>)> = Vec::new();
    for slo in snapshot.rules.slos.iter().filter(|slo| slo.enabled) {
        let named = q.as_ref().is_none_or(|q| slo.name.to_lowercase().contains(q));
        if !named || owner.is_some_and(|owner| slo.owner != owner) {
            continue;
        }
        for status in all.of(slo) {
            if wanted.is_empty() || wanted.iter().any(|state| state == status.state.name()) {
                rows.push((slo, status));
            }
        }
    }
    // Only what is shown is written out: there may be many thousands.
    slice_of(&rows, &params, |(slo, status)| json!(json_of(slo, status)))
}

fn find<'a>(snapshot: &'a Snapshot, name: &str) -> Result<&'a Slo, Problem> {
    snapshot.rules.slo(name).ok_or_else(|| Problem::unknown("SLO", name))
}

/// The overall row, with its groups beside it where it has a budget for each.
pub async fn one(Take(state): Take<Arc<State>>, Path(name): Path<String>) -> Answer {
    let snapshot = state.snapshot.load_full();
    let slo = find(&snapshot, &name)?;
    let rows = rows_of(&snapshot, slo);
    let mut answer = json!(json_of(slo, &rows[0]));
    let more = json!({
        "description": slo.description, "owner": slo.owner, "service": slo.service, "by": slo.by, "runbook": slo.runbook,
        "dashboard": slo.dashboard, "tier": slo.tier, "enabled": slo.enabled, "place": slo.place.to_string(),
        "tiers": rows[0].tiers.iter().map(|tier| json!({
            "severity": tier.severity, "long": tier.long, "short": tier.short, "factor": tier.factor.to_f64(), "op": tier.op,
            "burn_long": tier.burn_long, "burn_short": tier.burn_short, "verdict": tier.verdict, "held_back": tier.held_back,
            "state": tier.phase, "since": tier.since,
        })).collect::<Vec<_>>(),
    });
    merge(&mut answer, more);
    if !slo.by.is_empty() {
        let groups: Vec<Value> = rows.iter().filter(|row| !row.group.is_empty()).map(|row| json!(json_of(slo, row))).collect();
        merge(&mut answer, json!({ "groups": groups }));
    }
    Ok(Json(answer))
}

/// Adds fields to an object.
pub fn merge(into: &mut Value, more: Value) {
    if let (Value::Object(into), Value::Object(more)) = (into, more) {
        into.extend(more);
    }
}

/// Whether a deploy may go out: `?region=de` asks for one group, without it the overall row counts.
pub async fn gate(Take(state): Take<Arc<State>>, Path(name): Path<String>, params: Params) -> Answer {
    let snapshot = state.snapshot.load_full();
    let slo = find(&snapshot, &name)?;
    let wanted: Labels = params.others(&[]).map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let rows = rows_of(&snapshot, slo);
    let row =
        rows.iter().find(|row| row.group == wanted).ok_or_else(|| Problem::unknown("group", &crate::domain::route::canonical(&wanted)))?;
    let (allow, reason) = decide(slo, row);
    Ok(Json(json!({ "allow": allow, "reason": reason })))
}

fn decide(slo: &Slo, row: &SloStatus) -> (bool, String) {
    let policy = slo.budget_policy.as_ref();
    if let Some(stop_on) = policy.and_then(|policy| policy.stop_on)
        && row.state == AlertPhase::Firing
        && row.severity >= Some(stop_on)
    {
        return (false, format!("an alert of severity {} is firing", row.severity.unwrap_or(stop_on)));
    }
    let stop_below = policy.map_or(0.0, |policy| policy.stop_below.to_f64());
    match row.budget_remaining {
        None => (true, "nothing is known of its budget: no data".into()),
        Some(left) if left <= stop_below && stop_below == 0.0 => (false, format!("the budget is gone: {}", number::budget(Some(left)))),
        Some(left) if left <= stop_below => {
            (false, format!("{}, and the policy stops at {}", number::budget(Some(left)), number::signed_percent(stop_below)))
        }
        Some(left) => (true, format!("{} of the budget", number::budget(Some(left)))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::fraction::Fraction;
    use crate::domain::rule::{BudgetPolicy, Severity};
    use crate::web::fixture;

    #[test]
    fn the_gate_stops_at_the_policy_and_at_an_empty_budget() {
        let (mut slo, mut row) = (fixture::slo(), fixture::status());
        assert!(decide(&slo, &row).0);
        row.budget_remaining = Some(0.0);
        assert_eq!(decide(&slo, &row), (false, "the budget is gone: 0 % left".into()));
        row.budget_remaining = Some(0.2);
        slo.budget_policy = Some(BudgetPolicy { stop_below: Fraction::new(1, 4).unwrap(), stop_on: None });
        assert_eq!(decide(&slo, &row), (false, "20 % left, and the policy stops at 25 %".into()));
        slo.budget_policy = Some(BudgetPolicy { stop_below: Fraction::whole(0), stop_on: Some(Severity::Page) });
        assert_eq!(decide(&slo, &row), (false, "an alert of severity page is firing".into()));
        row.budget_remaining = None;
        row.state = AlertPhase::Unknown;
        assert!(decide(&slo, &row).0);
    }

    #[test]
    fn an_slo_says_what_the_contract_promises() {
        let (slo, row) = (fixture::slo(), fixture::status());
        let json = json!(json_of(&slo, &row));
        for field in ["slo", "labels", "objective", "window", "sli", "total", "bad", "budget_remaining", "burn", "state", "no_data"] {
            assert!(json.get(field).is_some(), "{field}");
        }
        assert_eq!(json["objective"], 99.9);
        assert_eq!(json["burn"]["5m"], 117.2);
        assert_eq!(json["window"], "30d");
        let empty = unknown(&slo);
        assert_eq!(json!(json_of(&slo, &empty))["sli"], Value::Null);
    }
}
