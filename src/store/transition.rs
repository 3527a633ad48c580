//! Commits what the desk decided: incident, history and outbox rows, in the caller's transaction.
//!
//! The one place where a state change meets the notifications that it causes, so neither is ever
//! stored without the other.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::domain::desk::{Book, Desk, Outcome, Parcel, Silence, parcels};
use crate::domain::filter::Match;
use crate::domain::incident::{Effect, Incident, Input, Member, REOPEN_WITHIN};
use crate::domain::matcher::Matcher;
use crate::domain::notification::Notification;
use crate::domain::rule::Receiver;
use crate::domain::time::Timestamp;

use super::events::EventRow;
use super::incidents::IncidentRow;
use super::outbox::OutboxRow;
use super::silences::SilenceRow;
use super::tx::Tx;
use super::{StoreError, events, incidents, outbox, silences};

/// Most lately closed incidents that are looked through for one that comes back.
const RECENT_MAX: usize = 2_000;

/// What an outbox row carries: the notification, and the receiver as it was defined then, so that
/// a close still goes out when the rule that opened is gone.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Payload {
    #[serde(flatten)]
    pub notification: Notification,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub definition: Option<Receiver>,
}

/// Outcomes as rows, made before a transaction that others wait for.
#[derive(Default)]
pub struct Prepared {
    new: Vec<IncidentRow>,
    /// The history of the new ones. It begins here, so its numbers are known and all of it goes at once.
    begun: Vec<EventRow>,
    known: Vec<(IncidentRow, Vec<EventRow>)>,
    deliveries: Vec<OutboxRow>,
}

impl Prepared {
    /// The rows of these outcomes.
    pub fn new(outcomes: &[Outcome], now: Timestamp, public_url: &str) -> Prepared {
        let mut prepared = Prepared::default();
        for outcome in outcomes {
            let row = row(&outcome.incident);
            match outcome.new {
                true => {
                    prepared.new.push(row);
                    prepared.begun.extend(history(outcome, now));
                }
                false => prepared.known.push((row, history(outcome, now))),
            }
            prepared.deliveries.extend(deliveries(outcome, now, public_url));
        }
        prepared
    }

    /// Writes them; says how many notifications were queued.
    pub async fn write(&self, tx: &mut Tx) -> Result<usize, StoreError> {
        incidents::insert_all(tx, &self.new).await?;
        events::begin(tx, &self.begun).await?;
        for (incident, history) in &self.known {
            incidents::update(tx, incident).await?;
            for event in history {
                events::append(tx, &event.incident, event.at, &event.kind, &event.who, &event.text, &event.data).await?;
            }
        }
        let queued = outbox::insert_all(tx, &self.deliveries).await?;
        if !self.new.is_empty() || !self.known.is_empty() {
            // Last, so that nobody waits for this row for longer than a commit takes.
            incidents::touch(tx).await?;
        }
        Ok(usize::try_from(queued).unwrap_or(usize::MAX))
    }
}

/// Writes outcomes; says how many notifications were queued.
pub async fn commit(tx: &mut Tx, outcomes: &[Outcome], now: Timestamp, public_url: &str) -> Result<usize, StoreError> {
    Prepared::new(outcomes, now, public_url).write(tx).await
}

/// What an outcome adds to the history, numbered from 1.
fn history(outcome: &Outcome, now: Timestamp) -> Vec<EventRow> {
    let entry = |(at, effect): (usize, &Effect)| {
        let (kind, who, text) = match effect {
            Effect::History { kind, who, text } => (*kind, who.clone(), text.clone()),
            Effect::Notify { receiver, kind, reason, .. } => {
                ("notified", String::new(), format!("{receiver}: {} ({reason})", &kind.name()["incident.".len()..]))
            }
        };
        let n = at as i64 + 1;
        EventRow { incident: outcome.incident.id.clone(), n, at: now, kind: kind.to_owned(), who, text, data: "{}".to_owned() }
    };
    outcome.effects.iter().enumerate().map(entry).collect()
}

/// The rows of an outcome's notifications.
fn deliveries(outcome: &Outcome, now: Timestamp, public_url: &str) -> Vec<OutboxRow> {
    let delivery = |parcel: Parcel| {
        let payload = Payload { notification: parcel.notification, definition: parcel.definition.map(|definition| *definition) };
        OutboxRow {
            id: parcel.delivery_id,
            incident: outcome.incident.id.clone(),
            generation: parcel.generation,
            sequence: parcel.sequence,
            receiver: parcel.receiver,
            correlation: parcel.correlation_key,
            kind: parcel.kind.name().to_owned(),
            payload: json(&payload),
            state: "pending".into(),
            due_at: now,
            created_at: now,
            finished_at: None,
            attempts: 0,
            claimed_until: Timestamp(0),
            last_error: String::new(),
            reply: String::new(),
        }
    };
    parcels(outcome, now, public_url).into_iter().map(delivery).collect()
}

/// The incidents that are not closed, by key.
pub async fn load_open(tx: &mut Tx) -> Result<BTreeMap<String, Incident>, StoreError> {
    let mut open = BTreeMap::new();
    for row in incidents::open(tx).await? {
        open.insert(row.key.clone(), read(&row)?);
    }
    Ok(open)
}

/// The alerts about burnwatch itself that fire, each with the id of its incident.
pub async fn operator_alerts(tx: &mut Tx) -> Result<Vec<(String, Member)>, StoreError> {
    let mut alerts = Vec::new();
    for row in incidents::open_with(tx, r#""kind":"operator""#).await? {
        let incident = read(&row)?;
        let own = incident.members.into_iter().filter(|member| member.firing && member.is_operator());
        alerts.extend(own.map(|member| (row.id.clone(), member)));
    }
    Ok(alerts)
}

/// The incidents that were closed so lately that an alert of their key brings them back.
pub async fn load_recent(tx: &mut Tx, now: Timestamp) -> Result<BTreeMap<String, Incident>, StoreError> {
    let mut recent = BTreeMap::new();
    for row in incidents::resolved_since(tx, now - REOPEN_WITHIN, RECENT_MAX).await? {
        // Newest first: of those with one key the first counts.
        if !recent.contains_key(&row.key) {
            recent.insert(row.key.clone(), read(&row)?);
        }
    }
    Ok(recent)
}

/// The incident that a row holds.
pub fn read(row: &IncidentRow) -> Result<Incident, StoreError> {
    serde_json::from_str(&row.data).map_err(|_| StoreError::Unreadable { what: "incident", id: row.id.clone() })
}

/// The silences that are in force at `now`.
pub async fn load_silences(tx: &mut Tx, now: Timestamp) -> Result<Vec<Silence>, StoreError> {
    let rows = silences::active(tx, now).await?;
    Ok(rows.iter().map(silence).collect())
}

/// The silence that a row holds.
pub fn silence(row: &SilenceRow) -> Silence {
    Silence { id: row.id.clone(), when: matchers(&row.matchers), starts: row.starts_at, ends: row.ends_at }
}

/// The alerts that fire, and those that ended at `since` or later: what a silence could have hidden.
pub async fn lately(tx: &mut Tx, since: Timestamp) -> Result<Vec<Member>, StoreError> {
    let mut rows = incidents::open(tx).await?;
    rows.extend(incidents::resolved_since(tx, since, RECENT_MAX).await?);
    let mut members = Vec::new();
    for row in &rows {
        members.extend(read(row)?.members);
    }
    members.retain(|member| member.firing || member.ended_at.is_some_and(|at| at >= since));
    Ok(members)
}

/// Reads stored matchers: `["service=shop", "region=~eu.*", "severity!=page"]`. If one of them cannot be
/// read there are none, so that a damaged silence mutes nobody.
pub fn matchers(json: &str) -> Vec<Matcher> {
    let texts: Vec<String> = serde_json::from_str(json).unwrap_or_default();
    texts.iter().map(|text| Matcher::parse(text).ok()).collect::<Option<Vec<_>>>().unwrap_or_default()
}

/// Reads one matcher of the API: `a=b`, `a!=b`, `a=~re`, `a!~re`.
pub fn read_matcher(text: &str) -> Option<(String, Match)> {
    Matcher::parse(text).ok().map(|matcher| (matcher.label, matcher.condition))
}

/// Something that a person does to an incident: loaded, moved on, committed by the caller.
///
/// Gives the incident as it is then, and how many notifications were queued; `None` if there is no
/// such incident.
pub async fn apply(
    tx: &mut Tx,
    desk: &Desk,
    id: &str,
    input: Input,
    now: Timestamp,
    public_url: &str,
) -> Result<Option<(Incident, usize)>, StoreError> {
    let Some(row) = incidents::get_for_update(tx, id).await? else { return Ok(None) };
    let silences = load_silences(tx, now).await?;
    let mut open = load_open(tx).await?;
    // A closed incident can still be talked about.
    open.entry(row.key.clone()).or_insert(read(&row)?);
    // What is not `Send` ends here, before the next await.
    let outcome = {
        let mut no_new = |_: &str, _: Timestamp| String::new();
        let mut book = Book::new(desk, now, &silences, (open, BTreeMap::new()), &mut no_new);
        book.input(id, input)
    };
    let Some(outcome) = outcome else { return Ok(Some((read(&row)?, 0))) };
    let queued = commit(tx, std::slice::from_ref(&outcome), now, public_url).await?;
    Ok(Some((outcome.incident, queued)))
}

/// A person calls an action for an incident: queued like every notification, in the caller's transaction.
/// `None` if there is no such incident.
pub async fn call(
    tx: &mut Tx,
    id: &str,
    receiver: &Receiver,
    by: &str,
    now: Timestamp,
    public_url: &str,
) -> Result<Option<Incident>, StoreError> {
    let Some(row) = incidents::get_for_update(tx, id).await? else { return Ok(None) };
    let mut incident = read(&row)?;
    let effects = incident.call(receiver, by);
    let outcome = Outcome { incident, new: false, effects };
    commit(tx, std::slice::from_ref(&outcome), now, public_url).await?;
    Ok(Some(outcome.incident))
}

fn row(incident: &Incident) -> IncidentRow {
    IncidentRow {
        id: incident.id.clone(),
        key: incident.key.clone(),
        status: incident.status.name().into(),
        severity: incident.severity.name().into(),
        service: incident.service.clone(),
        owner: incident.owner.clone(),
        title: incident.title.clone(),
        signature: incident.explained.signature.clone(),
        users: i64::try_from(incident.impact.affected_users).unwrap_or(i64::MAX),
        opened_at: incident.opened_at,
        acknowledged_at: incident.acknowledged_at,
        resolved_at: incident.resolved_at,
        generation: incident.generation,
        sequence: incident.sequence,
        data: json(incident),
        rules: incidents::rule_names(incident.members.iter().map(|member| member.rule.as_str())),
    }
}

fn json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("plain data with text keys always serialises")
}
