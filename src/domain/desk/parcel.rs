//! Notifications on their way, and the two keys that they go under.

use sha2::{Digest, Sha256};

use super::Outcome;
use crate::domain::incident::Effect;
use crate::domain::notification::{Data, Kind, Notification};
use crate::domain::rule::Receiver;
use crate::domain::time::Timestamp;

/// One notification on its way to one receiver, under its two keys (CONTRACT 7).
#[derive(Clone, Debug, PartialEq)]
pub struct Parcel {
    pub delivery_id: String,
    pub correlation_key: String,
    pub receiver: String,
    pub kind: Kind,
    pub generation: i64,
    pub sequence: i64,
    pub notification: Notification,
    pub definition: Option<Box<Receiver>>,
}

/// The notifications that an outcome asks for.
pub fn parcels(outcome: &Outcome, now: Timestamp, public_url: &str) -> Vec<Parcel> {
    let incident = &outcome.incident;
    let mut parcels = Vec::new();
    for effect in &outcome.effects {
        let Effect::Notify { receiver, kind, reason, sequence, definition } = effect else { continue };
        parcels.push(Parcel {
            delivery_id: delivery_id(&incident.id, incident.generation, *sequence, receiver),
            correlation_key: correlation_key(&incident.id, incident.generation, receiver),
            receiver: receiver.clone(),
            kind: *kind,
            generation: incident.generation,
            sequence: *sequence,
            notification: Notification {
                kind: *kind,
                timestamp: now,
                reason: reason.clone(),
                data: Data { incident: incident.view(public_url) },
            },
            definition: definition.clone(),
        });
    }
    parcels
}

/// Names one notification to one receiver, the same on every retry: the incident and 16 hexadecimal digits. With the incident
/// in front, what is told of an incident lies together where it is stored.
pub fn delivery_id(incident: &str, generation: i64, sequence: i64, receiver: &str) -> String {
    let rest = hash(&[incident, &generation.to_string(), &sequence.to_string(), receiver]);
    format!("{incident}-{}", &rest[..16])
}

/// Names an incident at one receiver: equal for trigger, acknowledge and resolve.
pub fn correlation_key(incident: &str, generation: i64, receiver: &str) -> String {
    hash(&[incident, &generation.to_string(), receiver])
}

fn hash(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part.as_bytes());
    }
    hex::encode(&hash.finalize()[..16])
}
