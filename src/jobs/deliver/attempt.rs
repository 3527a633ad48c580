//! One attempt at one claimed row.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use crate::clock::SharedClock;
use crate::domain::digest;
use crate::domain::notification::Notification;
use crate::domain::rule::{Receiver, ReceiverKind, RuleSet};
use crate::domain::time::Timestamp;
use crate::notify::outcome::Trouble;
use crate::notify::{Delivery, SendError, Sender, Sent};
use crate::store::outbox::OutboxRow;
use crate::store::{Store, StoreError, outbox};

/// A claim that is older than this may be somebody else's by the time a call arrives.
const LEASE_TRUSTED: Duration = Duration::from_secs(12);

/// A claimed row.
#[derive(Clone)]
pub struct Held {
    pub row: Arc<OutboxRow>,
    /// When it was claimed, or its claim renewed.
    pub claimed_at: Instant,
}

impl Held {
    /// The claim holds for longer.
    pub fn renew(&mut self, claim: Timestamp, at: Instant) {
        Arc::make_mut(&mut self.row).claimed_until = claim;
        self.claimed_at = at;
    }
}

/// What is to be sent, and to whom.
pub struct Job {
    pub notification: Notification,
    pub to: Addressee,
}

/// A receiver as it is defined now.
#[derive(Clone)]
pub struct Addressee {
    pub receiver: Arc<Receiver>,
    /// The text of its template.
    pub template: Option<String>,
    /// Fingerprint of its definition.
    pub definition: Arc<str>,
}

impl Addressee {
    /// With what the rules have for it.
    pub fn new(receiver: Receiver, rules: &RuleSet) -> Addressee {
        // A template that is gone since is no reason to say nothing: the usual words do.
        let template = receiver.template.as_ref().and_then(|name| rules.templates.get(name)).cloned();
        Addressee { definition: fingerprint(&receiver).into(), template, receiver: Arc::new(receiver) }
    }
}

/// The receivers of one rule set that were written to lately.
pub struct Addressees {
    rules: Arc<RuleSet>,
    known: HashMap<String, Addressee>,
}

impl Addressees {
    /// Of this rule set; nobody was written to yet.
    pub fn new(rules: Arc<RuleSet>) -> Addressees {
        Addressees { rules, known: HashMap::new() }
    }

    /// The receivers of this rule set.
    pub fn of(&mut self, rules: &Arc<RuleSet>) -> &mut Addressees {
        if !Arc::ptr_eq(&self.rules, rules) {
            *self = Addressees::new(rules.clone());
        }
        self
    }

    /// The receiver of a name, or else what a row says about it.
    pub fn get(&mut self, name: &str, stored: Option<Receiver>) -> Option<Addressee> {
        if let Some(known) = self.known.get(name) {
            return Some(known.clone());
        }
        let Some(receiver) = self.rules.receiver(name) else { return stored.map(|receiver| Addressee::new(receiver, &self.rules)) };
        let defined = Addressee::new(receiver.clone(), &self.rules);
        self.known.insert(name.to_owned(), defined.clone());
        Some(defined)
    }
}

/// An attempt that ended.
pub struct Finished {
    pub held: Held,
    pub definition: Arc<str>,
    pub at: Timestamp,
    pub took: Duration,
    /// `None`: not tried, because the claim was too old.
    pub result: Option<Result<Sent, SendError>>,
}

/// Makes the attempt.
pub async fn run(store: &Store, sender: &Sender, clock: &SharedClock, held: Held, job: Job) -> Finished {
    let started = Instant::now();
    let result = match earlier(store, &held.row, &job.to.receiver.kind).await {
        // The process may have been stopped for longer than its claim held (SIGSTOP, a suspended machine).
        Ok(_) if held.claimed_at.elapsed() > LEASE_TRUSTED => None,
        Ok(earlier) => {
            let delivery = Delivery {
                id: held.row.id.clone(),
                correlation: held.row.correlation.clone(),
                // A digest is no incident: there is nothing that a link could acknowledge.
                generation: (!digest::is_id(&held.row.incident)).then_some(held.row.generation),
                sequence: held.row.sequence,
                notification: job.notification,
                template: job.to.template,
                earlier,
            };
            Some(sender.send(&job.to.receiver, &delivery, clock.now()).await)
        }
        // Without its ticket's number a second one would be made.
        Err(error) => Some(Err(SendError::new(Trouble::Later, format!("what the receiver answered before cannot be read: {error}")))),
    };
    Finished { held, definition: job.to.definition, at: clock.now(), took: started.elapsed(), result }
}

/// What an earlier attempt left behind, else the last delivery about the incident to this receiver.
async fn earlier(store: &Store, row: &OutboxRow, kind: &ReceiverKind) -> Result<Option<Value>, StoreError> {
    if let Ok(own) = serde_json::from_str(&row.reply) {
        return Ok(Some(own));
    }
    let read = |reply: &str| serde_json::from_str::<Value>(reply).ok();
    match kind {
        ReceiverKind::Slack { token: Some(_), .. }
        | ReceiverKind::Jira { .. }
        | ReceiverKind::Github { .. }
        | ReceiverKind::Servicenow { .. } => {
            let mut tx = store.read().await?;
            let last = outbox::last_delivered(&mut tx, &row.incident, row.generation, &row.receiver).await?;
            Ok(last.and_then(|last| read(&last.reply)))
        }
        ReceiverKind::Action { .. } => {
            // Once per incident, also after it was reopened as another generation.
            let mut tx = store.read().await?;
            let all = outbox::for_incident(&mut tx, &row.incident).await?;
            Ok(all
                .iter()
                .rev()
                .filter(|other| other.receiver == row.receiver && other.state == "delivered")
                .find_map(|other| read(&other.reply)))
        }
        ReceiverKind::Webhook { .. }
        | ReceiverKind::Email { .. }
        | ReceiverKind::Pagerduty { .. }
        | ReceiverKind::Opsgenie { .. }
        | ReceiverKind::Slack { token: None, .. }
        | ReceiverKind::Teams { .. }
        | ReceiverKind::AlertmanagerWebhook { .. } => Ok(None),
    }
}

/// Tells definitions of a receiver apart. Where it stands in the rules does not matter.
pub fn fingerprint(receiver: &Receiver) -> String {
    // Fields that are secrets stand here by name; the hash holds nothing to guess from.
    let text = serde_json::to_string(&receiver.kind).unwrap_or_default();
    hex::encode(&Sha256::digest(text)[..8])
}
