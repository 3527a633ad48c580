//! What the admin side works with. The daemon fills one [`State`] and hands it to [`super::router`].

use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

use super::callback::Heeded;
use super::inbox::Inbox;
use super::pages::evidence::Evidence;
use super::pages::health::Telemetry;
use super::pages::incident::Then;
use super::pages::report::Counted;
use super::query::{Later, Query};
use super::reads::Reads;
use super::remembered::Remembered;
use super::session::{Failures, Sessions};
use crate::clock::SharedClock;
use crate::config::Config;
use crate::domain::answer;
use crate::domain::posted::{Board, Posted};
use crate::domain::snapshot::Snapshot;
use crate::domain::time::Timestamp;
use crate::store::Store;

/// Rows that were taken and rows that were not, as `POST /v1/aggregates` answers.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Loaded {
    pub accepted: u64,
    pub rejected: Vec<RejectedRow>,
}

/// A row that was refused.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct RejectedRow {
    pub line: u64,
    pub reason: String,
}

/// Why a call to another part of the daemon came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// What was asked is at fault; said to the caller as it is.
    #[error("{0}")]
    Refused(String),
    #[error("it could not be done now")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Takes aggregate rows: NDJSON or a JSON array. Answers after the commit.
pub type TakeAggregates = Arc<dyn Fn(Bytes, Timestamp) -> Later<Result<Loaded, CallError>> + Send + Sync>;

/// Takes alerts from others and shows those that are on.
pub trait Alerts: Send + Sync {
    /// Answers after the commit.
    fn post(&self, alerts: Vec<Posted>, now: Timestamp) -> Later<Result<(), CallError>>;
    /// Looks at all of them; nothing is stored meanwhile, so be quick.
    fn look(&self, look: &mut dyn FnMut(&Board));
}

/// How a test of a receiver went.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Tested {
    pub delivered: bool,
    /// Status of the answer, where the receiver speaks HTTP.
    pub status: Option<u16>,
    pub detail: String,
}

/// Sends a test notification to the receiver of this name, which exists.
pub type TestReceiver = Arc<dyn Fn(String, Timestamp) -> Later<Result<Tested, CallError>> + Send + Sync>;

/// What was read of stored history for pages.
#[derive(Debug, Default)]
pub struct Memory {
    pub evidence: Arc<Remembered<(), Evidence>>,
    pub telemetry: Arc<Remembered<(), Telemetry>>,
    /// How the telemetry stood when an incident opened, by its id.
    pub openings: Arc<Remembered<String, Then>>,
    /// By the name of the period and its start.
    pub reviews: Arc<Remembered<(&'static str, Timestamp), Counted>>,
}

/// Everything that the admin side reads and calls.
pub struct State {
    pub config: Arc<Config>,
    pub clock: SharedClock,
    pub store: Store,
    /// What the last evaluation saw.
    pub snapshot: Arc<ArcSwap<Snapshot>>,
    pub metrics: PrometheusHandle,
    pub query: Arc<dyn Query>,
    pub aggregates: TakeAggregates,
    pub alerts: Arc<dyn Alerts>,
    /// When the daemon started.
    pub started_at: Timestamp,
    pub test_receiver: TestReceiver,
    /// Wakes the jobs that deliver and escalate; called after something was committed for them.
    pub nudge: Arc<dyn Fn() + Send + Sync>,
    /// Changes whenever pages have something new to show: after an evaluation and after each action.
    pub pulse: watch::Sender<u64>,
    /// Ends the live connections when the daemon stops.
    pub stop: CancellationToken,
    /// Only in `demo`.
    pub inbox: Option<Arc<Inbox>>,
    /// From [`super::session::key`].
    pub session_key: [u8; 32],
    /// Derived from it: checks the links that acknowledge.
    pub answer_key: answer::Key,
    /// Calls of pagers and trackers that were heeded; `Default::default()` at start.
    pub heeded: Heeded,
    /// Who read what, until it is in the audit.
    pub reads: Reads,
    /// Signed-out sessions and failed sign-ins; `Default::default()` at start.
    pub sessions: Sessions,
    pub failures: Failures,
    /// What pages last read of stored history; `Default::default()` at start.
    pub memory: Memory,
    /// Live connections; `Semaphore::new(`[`LIVE_MAX`]`)`.
    pub live: Arc<Semaphore>,
}

/// Most live connections (`/events`) at a time.
pub const LIVE_MAX: usize = 256;

impl State {
    /// Tells pages and jobs that something has changed.
    pub fn changed(&self) {
        (self.nudge)();
        self.pulse.send_modify(|n| *n = n.wrapping_add(1));
    }

    /// `server.public_url` without a slash at its end.
    pub fn public_url(&self) -> &str {
        self.config.server.public_url.as_str().trim_end_matches('/')
    }
}
