//! `/incidents/{id}/act/{receiver}`: a person calls an `action` receiver for an incident.

use std::sync::Arc;

use axum::extract::{Path, State as Take};
use axum::response::Response;
use serde_json::json;

use super::incident::just;
use super::{Site, said};
use crate::domain::notification::Status;
use crate::domain::rule::{Receiver, ReceiverKind};
use crate::domain::snapshot::Snapshot;
use crate::store::{outbox, transition};
use crate::web::api::{self, rules::target};
use crate::web::frame::Page;
use crate::web::guard::visitor::Posted;
use crate::web::pages::action::{self as pages, Model};
use crate::web::pages::incident::path;
use crate::web::problem::Problem;
use crate::web::state::State;
use crate::web::text::clip;

/// The actions that rules declare: name and label.
pub fn known(snapshot: &Snapshot) -> Vec<(String, String)> {
    snapshot.rules.receivers.iter().filter_map(|receiver| Some((receiver.name.clone(), label(receiver)?.to_owned()))).collect()
}

/// What an action says it does; `None` for other receivers.
fn label(receiver: &Receiver) -> Option<&str> {
    match &receiver.kind {
        ReceiverKind::Action { label, .. } => Some(if label.is_empty() { &receiver.name } else { label }),
        ReceiverKind::Webhook { .. }
        | ReceiverKind::Email { .. }
        | ReceiverKind::Pagerduty { .. }
        | ReceiverKind::Opsgenie { .. }
        | ReceiverKind::Slack { .. }
        | ReceiverKind::Teams { .. }
        | ReceiverKind::Jira { .. }
        | ReceiverKind::Github { .. }
        | ReceiverKind::Servicenow { .. }
        | ReceiverKind::AlertmanagerWebhook { .. } => None,
    }
}

fn find<'a>(snapshot: &'a Snapshot, name: &str) -> Result<(&'a Receiver, &'a str), Problem> {
    let receiver = snapshot.rules.receiver(name).and_then(|receiver| Some((receiver, label(receiver)?)));
    receiver.ok_or_else(|| Problem::unknown("action", name))
}

pub async fn page(site: Site, Path((id, name)): Path<(String, String)>) -> Response {
    let page = read(&site, &id, &name).await;
    site.show(page).await
}

async fn read(site: &Site, id: &str, name: &str) -> Result<Page, Problem> {
    let snapshot = site.state.snapshot.load_full();
    let (receiver, label) = find(&snapshot, name)?;
    let incident = just(site, id).await?;
    let deliveries = outbox::for_incident(&mut site.state.store.read().await?, id).await?;
    let earlier = deliveries.iter().filter(|row| row.receiver == name).max_by_key(|row| row.sequence);
    Ok(pages::page(&Model {
        incident: &incident,
        name,
        label,
        target: target(&receiver.kind),
        dry_run: matches!(receiver.kind, ReceiverKind::Action { dry_run: true, .. }),
        earlier: earlier.map(|row| (row.finished_at.unwrap_or(row.created_at), row.state.clone())),
        now: site.now,
        reader: &site.visitor.reader,
    }))
}

pub async fn call(Take(state): Take<Arc<State>>, Path((id, name)): Path<(String, String)>, posted: Posted) -> Response {
    let result = ask(&state, &posted, &id, &name).await;
    said(&path(&id), result)
}

async fn ask(state: &State, posted: &Posted, id: &str, name: &str) -> Result<String, Problem> {
    let now = state.clock.now();
    let snapshot = state.snapshot.load_full();
    let (receiver, label) = find(&snapshot, name)?;
    let mut tx = state.store.write_durable().await?;
    let by = &posted.visitor.reader.name;
    let incident =
        transition::call(&mut tx, id, receiver, by, now, state.public_url()).await?.ok_or_else(|| Problem::unknown("incident", id))?;
    if incident.status == Status::Resolved {
        // Nothing was committed: the transaction ends here.
        return Err(Problem::bad("it is resolved already: there is nothing to call an action for"));
    }
    api::note(&mut tx, &posted.visitor, now, "call action", &format!("incident {id}"), json!({ "receiver": name })).await?;
    tx.commit().await?;
    state.changed();
    Ok(format!("{} is on its way; the time line says how it went.", clip(label, 80)))
}
