//! What the SDK says that it threw away: a metric of ours, not an event.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Walk, read, text};
use crate::domain::json::Text;
use crate::intake::reading::{Loose, piece, pieces};
use crate::intake::reason::Reason;

/// How many lost things one entry of a client report may claim.
const LOST_MAX: u64 = 100_000;

impl<'a> Walk<'_, 'a, '_> {
    pub(super) fn client_report(&mut self, payload: &'a [u8]) {
        let Ok(report) = read::<ClientReport<'a>>(payload) else {
            return self.one(|_, _| Err(Reason::Malformed("no client report".into())));
        };
        for entry in pieces(report.discarded_events).into_iter().take(64) {
            let Ok(entry) = piece::<Discarded<'a>>(entry) else { continue };
            let name = |field: &Loose<Text<'a>>, known: &[&'static str]| {
                let given = text(field).unwrap_or_default();
                known.iter().find(|name| **name == given).copied().unwrap_or("other")
            };
            let (reason, category) = (name(&entry.reason, &LOST_REASONS), name(&entry.category, &LOST_CATEGORIES));
            self.reading.decoded.lost.push((reason, category, entry.quantity.0.unwrap_or(0).min(LOST_MAX)));
        }
    }
}

/// Why SDKs throw something away, and what.
const LOST_REASONS: [&str; 12] = [
    "before_send",
    "event_processor",
    "sample_rate",
    "network_error",
    "send_error",
    "ratelimit_backoff",
    "queue_overflow",
    "cache_overflow",
    "buffer_overflow",
    "backpressure",
    "internal_sdk_error",
    "insufficient_data",
];
const LOST_CATEGORIES: [&str; 10] =
    ["default", "error", "transaction", "span", "session", "attachment", "replay", "profile", "monitor", "log_item"];

#[derive(Deserialize)]
struct ClientReport<'a> {
    #[serde(borrow)]
    discarded_events: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Discarded<'a> {
    #[serde(borrow, default)]
    reason: Loose<Text<'a>>,
    #[serde(borrow, default)]
    category: Loose<Text<'a>>,
    #[serde(default)]
    quantity: Loose<u64>,
}
