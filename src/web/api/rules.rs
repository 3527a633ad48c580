//! The rule set in force, its receivers, and who an alert would reach.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State as Take};
use serde_json::{Value, json};

use super::{Answer, Body, Params, note, slice};
use crate::domain::desk::Desk;
use crate::domain::rule::{Field, Labels, ReceiverKind};
use crate::store::outbox;
use crate::web::guard::visitor::Visitor;
use crate::web::problem::Problem;
use crate::web::state::State;

pub async fn rules(Take(state): Take<Arc<State>>) -> Answer {
    let snapshot = state.snapshot.load_full();
    let set = &snapshot.rules;
    Ok(Json(json!({
        "revision": set.revision,
        "since": snapshot.rules_since,
        "refused": snapshot.rules_refused,
        "refused_revision": snapshot.rules_refused_revision,
        "source": snapshot.rules_source,
        "error": snapshot.rules_refused.first().or(snapshot.rules_unreachable.as_ref()),
        "slos": set.slos.iter().map(|slo| json!({
            "name": slo.name, "place": slo.place.to_string(), "owner": slo.owner, "service": slo.service, "objective": slo.objective_percent(),
            "window": slo.window.to_string(), "by": slo.by, "tiers": slo.tiers.len(), "enabled": slo.enabled,
        })).collect::<Vec<_>>(),
        "alerts": set.alerts.iter().map(|rule| json!({
            "name": rule.name, "place": rule.place.to_string(), "severity": rule.severity, "owner": rule.owner, "service": rule.service,
            "enabled": rule.enabled,
        })).collect::<Vec<_>>(),
        "receivers": set.receivers.iter().map(|receiver| json!({ "name": receiver.name, "kind": receiver.kind.name(), "place": receiver.place.to_string() })).collect::<Vec<_>>(),
        "routes": set.routes.len(),
        "inhibits": set.inhibits.len(),
        "maintenances": set.maintenances.iter().map(|one| json!({ "name": one.name, "place": one.place.to_string() })).collect::<Vec<_>>(),
        "silences": set.silences.iter().map(|one| json!({ "name": one.name, "place": one.place.to_string(), "ends": one.ends })).collect::<Vec<_>>(),
    })))
}

/// Where a receiver leads, without anything secret: host or addresses, never a path or a key.
pub fn target(kind: &ReceiverKind) -> String {
    let host = |field: &Field| match field {
        Field::Plain(address) => url::Url::parse(address).ok().and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default(),
        Field::Secret(name) => format!("secret {name}"),
    };
    let base = |address: &str| url::Url::parse(address).ok().and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default();
    match kind {
        ReceiverKind::Webhook { url, .. }
        | ReceiverKind::Teams { url }
        | ReceiverKind::AlertmanagerWebhook { url, .. }
        | ReceiverKind::Action { url, .. } => host(url),
        ReceiverKind::Email { to, .. } => to.join(", "),
        ReceiverKind::Slack { url, channel, base_url, .. } => {
            channel.clone().unwrap_or_else(|| url.as_ref().map_or_else(|| base(base_url), host))
        }
        ReceiverKind::Github { repo, .. } => repo.clone(),
        ReceiverKind::Jira { base_url, project, .. } => format!("{} {project}", base(base_url)),
        ReceiverKind::Pagerduty { base_url, .. } | ReceiverKind::Opsgenie { base_url, .. } | ReceiverKind::Servicenow { base_url, .. } => {
            base(base_url)
        }
    }
}

pub async fn receivers(Take(state): Take<Arc<State>>, params: Params) -> Answer {
    let snapshot = state.snapshot.load_full();
    let mut tx = state.store.read().await?;
    let mut rows: Vec<Value> = Vec::new();
    for receiver in &snapshot.rules.receivers {
        let newest = |state: &str| outbox::Filter { state: vec![state.to_owned()], receiver: Some(receiver.name.clone()), incident: None };
        let (pending, _) = outbox::list(&mut tx, &newest("pending"), None, 1_000).await?;
        let (delivered, _) = outbox::list(&mut tx, &newest("delivered"), None, 1).await?;
        let (dead, _) = outbox::list(&mut tx, &newest("dead"), None, 1).await?;
        let error = pending.iter().chain(&dead).map(|row| row.last_error.as_str()).find(|error| !error.is_empty());
        rows.push(json!({
            "name": receiver.name, "kind": receiver.kind.name(), "target": target(&receiver.kind), "place": receiver.place.to_string(),
            "pending": pending.len(), "last_success": delivered.first().and_then(|row| row.finished_at), "last_error": error,
        }));
    }
    slice(&rows, &params)
}

pub async fn test_receiver(Take(state): Take<Arc<State>>, visitor: Visitor, Path(name): Path<String>, _: Body) -> Answer {
    let now = state.clock.now();
    if state.snapshot.load().rules.receiver(&name).is_none() {
        return Err(Problem::unknown("receiver", &name));
    }
    let mut tx = state.store.write().await?;
    note(&mut tx, &visitor, now, "test receiver", &format!("receiver {name}"), json!({})).await?;
    tx.commit().await?;
    let tested = (state.test_receiver)(name, now).await?;
    Ok(Json(json!(tested)))
}

/// `POST /v1/routes/test` with `{labels}`: the routes that match, in order.
pub async fn test_route(Take(state): Take<Arc<State>>, body: Body) -> Answer {
    body.only(&["labels"])?;
    let labels: BTreeMap<String, String> = serde_json::from_value(body.0.get("labels").cloned().unwrap_or_default())
        .map_err(|_| Problem::bad("`labels` has to be an object of texts, like {\"severity\": \"page\"}"))?;
    let labels: Labels = labels.into_iter().take(100).collect();
    let desk = Desk::new(state.snapshot.load().rules.clone());
    let rows: Vec<Value> = desk
        .route(&labels, state.clock.now())
        .iter()
        .enumerate()
        .map(|(i, routed)| {
            json!({
                "route": i + 1, "receivers": routed.to, "group_by": routed.group_by, "muted": routed.muted, "place": Value::Null,
                "group_wait": routed.group_wait, "group_interval": routed.group_interval, "repeat": routed.repeat,
                "escalate": routed.escalate.iter().map(|step| json!({ "after": step.after, "to": step.to })).collect::<Vec<_>>(),
            })
        })
        .collect();
    Ok(super::items(&rows, None))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_never_shows_more_than_the_host() {
        let url = |text: &str| ReceiverKind::Webhook { url: Field::Plain(text.into()), secret: None, headers: BTreeMap::new() };
        assert_eq!(target(&url("https://user:pw@hooks.example.com/services/T0/B0/s3cret?key=1")), "hooks.example.com");
        assert_eq!(target(&url("no address")), "");
        assert_eq!(target(&ReceiverKind::Teams { url: Field::Secret("TEAMS".into()) }), "secret TEAMS");
    }
}
