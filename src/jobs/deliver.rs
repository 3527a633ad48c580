//! Delivers what the outbox holds: at least once, in order per incident and receiver, each receiver at its own pace.
//!
//! Rows are claimed for a short while and the claim is renewed while somebody is at them, so a crashed
//! replica's rows come back by themselves. No transaction is open during a call. What a receiver answered is
//! committed right after the answer; until that has worked, nothing more is claimed.

mod attempt;
mod claims;
mod dispatch;
mod queue;
mod settled;
mod steady;
mod storm;
mod verdict;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::Notify;
use tokio::task::{Id, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::clock::SharedClock;
use crate::domain::rule::RuleSet;
use crate::domain::time::{Span, Timestamp};
use crate::notify::Sender;
use crate::store::outbox::{Claim, OutboxRow};
use crate::store::{Store, StoreError, Tx, outbox, receivers};

use self::attempt::{Finished, Held};
use self::claims::{GivenBack, Unsure};
use self::queue::Queue;
pub use self::settled::announce;
use self::settled::{Remembered, Settled, report, save_all};
use self::steady::Steady;
use self::verdict::Verdict;

/// So long, and so many of them, outcomes are gathered for one transaction.
const GATHER: Duration = Duration::from_millis(5);
const GATHERED_MAX: usize = 128;
/// How long a claim holds unless it is renewed.
const LEASE: Span = Span::seconds(15);
/// Claims older than this are renewed.
const RENEW_AFTER: Duration = Duration::from_secs(5);
/// How many rows are held at once.
const HELD_MAX: usize = 512;
/// How often the outbox is looked at when nobody wakes us.
const PERIOD: Duration = Duration::from_secs(1);
/// A row that must wait for its receiver for longer is given back.
const PATIENCE: Span = Span::seconds(3);
/// How often what other replicas learned about receivers is read.
const REMEMBER_EVERY: Duration = Duration::from_secs(5);
/// How long calls under way may take to end when the process stops.
const DRAIN: Duration = Duration::from_secs(7);

/// Draws from [0, 1).
pub type Chance = Arc<dyn Fn() -> f64 + Send + Sync>;

/// What the job works with.
pub struct Parts {
    pub store: Store,
    pub sender: Arc<Sender>,
    /// The rule set in force: where receivers are defined.
    pub rules: Arc<ArcSwap<RuleSet>>,
    pub clock: SharedClock,
    pub chance: Chance,
    /// The receiver that is told when another one fails for good.
    pub fallback: Option<String>,
    /// Woken when something was committed to the outbox.
    pub nudge: Arc<Notify>,
}

/// The job.
pub struct Deliver {
    parts: Parts,
    steady: Steady,
    queues: BTreeMap<String, Queue>,
    /// Claimed rows that wait for their receiver's turn.
    waiting: BTreeMap<String, VecDeque<Held>>,
    under_way: JoinSet<Finished>,
    /// The rows under way, to know whose task it was that panicked.
    rows: HashMap<Id, Held>,
    /// Outcomes that are not committed yet, and since when there are any.
    settled: Vec<Settled>,
    settled_at: Option<Instant>,
    /// Rows to give back untried.
    given_back: Vec<GivenBack>,
    /// Claims that were made or renewed in a transaction of which nobody knows whether it was committed.
    unsure: Option<Unsure>,
    remembered: BTreeMap<String, Remembered>,
    remembered_at: Option<Instant>,
}

impl Deliver {
    /// The job, with nothing claimed yet.
    pub fn new(parts: Parts) -> Deliver {
        Deliver {
            parts,
            steady: Steady::default(),
            queues: BTreeMap::new(),
            waiting: BTreeMap::new(),
            under_way: JoinSet::new(),
            rows: HashMap::new(),
            settled: Vec::new(),
            settled_at: None,
            given_back: Vec::new(),
            unsure: None,
            remembered: BTreeMap::new(),
            remembered_at: None,
        }
    }

    /// Works until `stop`, then lets calls under way end, commits what they brought and gives the rest back.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut begun = false;
        while !stop.is_cancelled() {
            if !begun {
                begun = self
                    .begin()
                    .await
                    .inspect_err(|error| warn!(error = settled::chain(error), "the outbox cannot be opened, trying again"))
                    .is_ok();
            }
            let wait = if begun { self.pass().await } else { PERIOD };
            tokio::select! {
                () = stop.cancelled() => {}
                Some(ended) = self.under_way.join_next_with_id() => self.take_all(ended),
                () = self.parts.nudge.notified() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
        self.drain().await;
    }

    /// Delivers everything that is due now and waits until it is done. For tests and stories that step through time.
    pub async fn step(&mut self) -> Result<(), StoreError> {
        loop {
            self.commit().await?;
            self.start();
            match self.under_way.join_next_with_id().await {
                Some(ended) => self.take_all(ended),
                None if self.settled.is_empty() && self.given_back.is_empty() && self.waiting.is_empty() => return Ok(()),
                None => {
                    // What waits for a token would wait for a clock that stands still.
                    let now = self.steady.now(&self.parts.clock);
                    self.give_back_all(now + Span::SECOND);
                }
            }
        }
    }

    /// Takes back what an earlier life of this process had claimed.
    async fn begin(&self) -> Result<(), StoreError> {
        if self.parts.store.is_shared() {
            // Another replica may be at them; their claims end by themselves.
            return Ok(());
        }
        let mut tx = self.parts.store.write().await?;
        outbox::release_all(&mut tx).await?;
        tx.commit().await
    }

    /// One round: commit what came back, claim what is due, start what has room. Says how long nothing will be due.
    async fn pass(&mut self) -> Duration {
        if let Some(wait) = self.gathers() {
            self.start();
            return wait;
        }
        if let Err(error) = self.commit().await {
            // Nothing is lost: outcomes are kept, and rows claimed without our knowing come back.
            warn!(error = settled::chain(&error), unsaved = self.settled.len(), "the outbox cannot be reached, trying again");
            return PERIOD;
        }
        self.start();
        if !self.settled.is_empty() || !self.given_back.is_empty() {
            return Duration::ZERO;
        }
        let now = self.steady.now(&self.parts.clock);
        let next = self.waiting.keys().filter_map(|name| self.queues.get_mut(name)?.room_at(now)).min();
        next.map_or(PERIOD, |at| (at - now).to_std().clamp(Duration::from_millis(1), PERIOD))
    }

    /// How long what came back may wait for more that is about to: while many are under way they share a transaction, and what is
    /// claimed goes on being sent meanwhile. `None`: it is to be committed now. Nothing waits behind trouble, nor while commits fail.
    fn gathers(&self) -> Option<Duration> {
        let plain = |settled: &Settled| matches!(settled.verdict, Verdict::Delivered { .. }) && !settled.enabled;
        let few = !self.settled.is_empty() && self.settled.len() < GATHERED_MAX && self.settled.iter().all(plain);
        if !few || self.under_way.is_empty() || !self.given_back.is_empty() {
            return None;
        }
        GATHER.checked_sub(self.settled_at?.elapsed()).filter(|wait| !wait.is_zero())
    }

    /// One transaction: outcomes in, claims out.
    async fn commit(&mut self) -> Result<(), StoreError> {
        let now = self.steady.now(&self.parts.clock);
        // A delivery that is marked must stay marked over a power cut, else it is sent again.
        let mut tx = if self.settled.is_empty() { self.parts.store.write().await? } else { self.parts.store.write_durable().await? };
        self.make_sure(&mut tx).await?;
        if self.remembered_at.is_none_or(|at| at.elapsed() >= REMEMBER_EVERY) {
            self.remember(&mut tx).await?;
        }
        // Changed only once it is committed.
        let mut remembered = self.remembered.clone();
        save_all(&mut tx, &self.settled, &mut remembered, self.parts.fallback.as_deref()).await?;
        for back in &self.given_back {
            outbox::release(&mut tx, &back.id, back.claim, back.due).await?;
        }
        let renewed_at = Instant::now();
        let mut renewed = HashMap::new();
        for held in self.held().filter(|held| held.claimed_at.elapsed() >= RENEW_AFTER) {
            let row = &held.row;
            if let Some(claim) = outbox::extend(&mut tx, &row.id, row.claimed_until, now, now + LEASE).await? {
                renewed.insert(row.id.clone(), claim);
            }
        }
        let folded = self.fold_storms(&mut tx, &mut remembered, now).await?;
        let claimed_at = Instant::now();
        let claimed = self.claim(&mut tx, &remembered, now).await?;
        if let Err(error) = tx.commit().await {
            if matches!(error, StoreError::CommitUnknown(_)) {
                let claims = claimed.into_iter().map(|row| (row.id, row.claimed_until));
                self.unsure = Some(Unsure { at: renewed_at, claims: renewed.into_iter().chain(claims).collect() });
                self.remembered_at = None;
            }
            return Err(error);
        }

        self.remembered = remembered;
        self.settled.drain(..).for_each(|settled| report(&settled));
        self.settled_at = None;
        self.given_back.clear();
        if !folded.is_empty() {
            self.waiting.values_mut().for_each(|rows| rows.retain(|held| !folded.contains(&held.row.id)));
            self.waiting.retain(|_, rows| !rows.is_empty());
        }
        for held in self.rows.values_mut().chain(self.waiting.values_mut().flatten()) {
            if let Some(claim) = renewed.get(&held.row.id) {
                held.renew(*claim, renewed_at);
            }
        }
        self.take_on(claimed, claimed_at);
        Ok(())
    }

    /// Claims what is due, again while there may be more behind a receiver whose queue is full by now.
    async fn claim(&mut self, tx: &mut Tx, known: &BTreeMap<String, Remembered>, now: Timestamp) -> Result<Vec<OutboxRow>, StoreError> {
        let mut skip: Vec<String> = self.waiting.keys().cloned().collect();
        for (name, queue) in &mut self.queues {
            if queue.room(now) == 0 && !skip.contains(name) {
                skip.push(name.clone());
            }
        }
        let mut room = HELD_MAX.saturating_sub(self.rows.len() + self.waiting.values().map(VecDeque::len).sum::<usize>());
        let mut claimed = Vec::new();
        while room > 0 {
            let limit = room.min(HELD_MAX / 4);
            let rows = outbox::claim(tx, Claim { now, until: now + LEASE, limit, skip: &skip }).await?;
            let full = rows.len() == limit;
            for row in &rows {
                if !skip.contains(&row.receiver) {
                    skip.push(row.receiver.clone());
                }
            }
            room -= rows.len();
            for row in rows {
                let digests = known.get(&row.receiver).is_some_and(|known| !known.digests.is_empty());
                if !digests || !storm::leave_out(tx, &row, now).await? {
                    claimed.push(row);
                }
            }
            if !full {
                break;
            }
        }
        Ok(claimed)
    }

    /// Puts what has come in a storm, and waits for a receiver whose bucket is empty, into digests. Gives the ids of
    /// the rows that are no longer to be sent by themselves.
    async fn fold_storms(
        &mut self,
        tx: &mut Tx,
        remembered: &mut BTreeMap<String, Remembered>,
        now: Timestamp,
    ) -> Result<HashSet<String>, StoreError> {
        let mut folded = HashSet::new();
        for (name, rows) in &self.waiting {
            let Some(most) = self.queues.get_mut(name).and_then(|queue| queue.storm_from(now)) else { continue };
            let ours: Vec<OutboxRow> = rows.iter().map(|held| held.row.clone()).collect();
            let known = remembered.entry(name.clone()).or_default();
            folded.extend(storm::fold(tx, name, ours, most, known, now).await?);
        }
        Ok(folded)
    }

    async fn remember(&mut self, tx: &mut Tx) -> Result<(), StoreError> {
        let rows = receivers::load(tx).await?;
        self.remembered = rows
            .into_iter()
            .map(|row| {
                // What cannot be read is forgotten: the receiver is asked once more.
                let known: Remembered = serde_json::from_str(&row.data).unwrap_or_default();
                (row.receiver, Remembered { paused_until: row.paused_until, ..known })
            })
            .collect();
        self.remembered_at = Some(Instant::now());
        for (receiver, known) in &mut self.remembered {
            storm::close(tx, receiver, known, self.steady.now(&self.parts.clock)).await?;
        }
        Ok(())
    }

    fn give_back_all(&mut self, due: Timestamp) {
        for held in std::mem::take(&mut self.waiting).into_values().flatten() {
            self.given_back.push(GivenBack::new(&held.row, due));
        }
    }

    async fn drain(&mut self) {
        let end = Instant::now() + DRAIN;
        while let Ok(Some(ended)) = tokio::time::timeout_at(end, self.under_way.join_next_with_id()).await {
            self.take_all(ended);
        }
        let now = self.steady.now(&self.parts.clock);
        self.give_back_all(now);
        // What is still under way is cut off; the receiver may have it, and gets it again under the same id.
        for held in std::mem::take(&mut self.rows).into_values() {
            self.given_back.push(GivenBack::new(&held.row, now));
        }
        self.under_way.abort_all();
        if let Err(error) = self.settle_last().await {
            warn!(
                error = settled::chain(&error),
                unsaved = self.settled.len(),
                "the last deliveries could not be marked and will be repeated"
            );
        }
    }

    async fn settle_last(&mut self) -> Result<(), StoreError> {
        if self.settled.is_empty() && self.given_back.is_empty() {
            return Ok(());
        }
        let mut tx = self.parts.store.write_durable().await?;
        save_all(&mut tx, &self.settled, &mut self.remembered, self.parts.fallback.as_deref()).await?;
        for back in &self.given_back {
            outbox::release(&mut tx, &back.id, back.claim, back.due).await?;
        }
        tx.commit().await?;
        self.settled.iter().for_each(report);
        Ok(())
    }
}

#[cfg(test)]
#[path = "deliver/tests.rs"]
mod tests;
