//! Delivers what the outbox holds: at least once, in order per incident and receiver, each receiver at its own pace.
//!
//! Rows are claimed for a short while and the claim is renewed while somebody is at them, so a crashed
//! replica's rows come back by themselves. No transaction is open during a call. What a receiver answered is
//! committed right after the answer; until that has worked, nothing more is claimed.

mod attempt;
mod claims;
mod commit;
mod dispatch;
mod queue;
mod settled;
mod steady;
mod storm;
mod verdict;

use std::collections::{BTreeMap, HashMap, VecDeque};
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
use crate::store::{Store, StoreError, outbox};

use self::attempt::{Addressees, Finished, Held};
use self::claims::{GivenBack, Unsure};
use self::commit::{Commit, Committed, Committing};
use self::queue::Queue;
pub use self::settled::announce;
use self::settled::{Remembered, Settled, report, save_all};
use self::steady::Steady;
use self::verdict::Verdict;

/// So long, and so many of them, outcomes are gathered for one transaction.
const GATHER: Duration = Duration::from_millis(10);
const GATHERED_MAX: usize = 512;
/// How long a claim holds unless it is renewed.
const LEASE: Span = Span::seconds(15);
/// Claims older than this are renewed.
const RENEW_AFTER: Duration = Duration::from_secs(5);
/// How many rows are held at once.
const HELD_MAX: usize = 3_072;
/// How many of them one receiver is given at a time.
const CLAIMED_MAX: usize = HELD_MAX / 4;
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
    addressees: Addressees,
    /// Outcomes that are not committed yet, and since when there are any.
    settled: Vec<Settled>,
    settled_at: Option<Instant>,
    /// Since when outcomes are committed that a power cut may take.
    loose_at: Option<Instant>,
    /// Rows to give back untried.
    given_back: Vec<GivenBack>,
    /// Claims that were made or renewed in a transaction of which nobody knows whether it was committed.
    unsure: Option<Unsure>,
    committing: Option<Committing>,
    /// Whether there may be something to commit or to claim.
    due: bool,
    remembered: BTreeMap<String, Remembered>,
    remembered_at: Option<Instant>,
}

impl Deliver {
    /// The job, with nothing claimed yet.
    pub fn new(parts: Parts) -> Deliver {
        Deliver {
            addressees: Addressees::new(parts.rules.load_full()),
            parts,
            steady: Steady::default(),
            queues: BTreeMap::new(),
            waiting: BTreeMap::new(),
            under_way: JoinSet::new(),
            rows: HashMap::new(),
            settled: Vec::new(),
            settled_at: None,
            loose_at: None,
            given_back: Vec::new(),
            unsure: None,
            committing: None,
            due: true,
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
            let wait = if begun { self.pass() } else { PERIOD };
            tokio::select! {
                () = stop.cancelled() => {}
                done = done(&mut self.committing) => self.committed(done),
                Some(ended) = self.under_way.join_next_with_id() => {
                    self.take_all(ended);
                    self.due = true;
                }
                () = self.parts.nudge.notified() => self.due = true,
                () = tokio::time::sleep(wait) => self.due = true,
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

    async fn commit(&mut self) -> Result<(), StoreError> {
        let (commit, done) = self.begin_commit().await;
        self.end_commit(commit, done)
    }

    /// Takes back what an earlier life of this process had claimed.
    async fn begin(&mut self) -> Result<(), StoreError> {
        if self.parts.store.is_shared() {
            // Another replica may be at them; their claims end by themselves.
            return Ok(());
        }
        let mut tx = self.parts.store.write().await?;
        outbox::release_all(&mut tx).await?;
        tx.commit().await
    }

    /// One round: start what has room, and begin to commit what came back and to claim what is due. Says how long nothing
    /// will be due.
    fn pass(&mut self) -> Duration {
        self.start();
        if let Some(wait) = self.gathers() {
            return wait;
        }
        if self.due && self.committing.is_none() {
            self.due = false;
            self.committing = Some(self.begin_commit());
        }
        let now = self.steady.now(&self.parts.clock);
        let next = self.waiting.keys().filter_map(|name| self.queues.get_mut(name)?.room_at(now)).min();
        next.map_or(PERIOD, |at| (at - now).to_std().clamp(Duration::from_millis(1), PERIOD))
    }

    fn committed(&mut self, (commit, done): (Commit, Result<Committed, StoreError>)) {
        self.committing = None;
        if let Err(error) = self.end_commit(commit, done) {
            // Nothing is lost: outcomes are kept, and rows claimed without our knowing come back.
            warn!(error = settled::chain(&error), unsaved = self.settled.len(), "the outbox cannot be reached, trying again");
        }
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

    /// What there is to commit, and room for claims.
    fn begin_commit(&mut self) -> Committing {
        let now = self.steady.now(&self.parts.clock);
        let known = self.remembered_at.is_some_and(|at| at.elapsed() < REMEMBER_EVERY);
        let claim = |held: &Held| (held.row.id.clone(), held.row.claimed_until);
        let renewed = self.held().filter(|held| held.claimed_at.elapsed() >= RENEW_AFTER).map(claim).collect();
        let unsure = self.unsure.take().map(|unsure| (unsure, self.waiting.values().flatten().map(claim).collect()));
        let room = HELD_MAX.saturating_sub(self.rows.len() + self.waiting.values().map(VecDeque::len).sum::<usize>());
        let (mut skip, mut storms) = (Vec::new(), Vec::new());
        for (name, queue) in &mut self.queues {
            let waiting = self.waiting.get(name).map_or(0, VecDeque::len);
            if !queue.wants_more(now, waiting) {
                skip.push(name.clone());
            }
            if waiting > 0
                && let Some(most) = queue.storm_from(now)
            {
                storms.push((name.clone(), self.waiting.remove(name).into_iter().flatten().collect(), most));
            }
        }
        let verdicts = self.settled.iter().map(|settled| (&settled.verdict, settled.enabled));
        let commit = Commit {
            now,
            durable: commit::must_last(verdicts, !self.under_way.is_empty(), self.loose_at.map(|at| at.elapsed())),
            settled: std::mem::take(&mut self.settled),
            given_back: std::mem::take(&mut self.given_back),
            unsure,
            sure: None,
            renewed,
            storms,
            remembered: known.then(|| self.remembered.clone()),
            fallback: self.parts.fallback.clone(),
            skip,
            room,
        };
        self.settled_at = None;
        commit.run(self.parts.store.clone())
    }

    fn end_commit(&mut self, commit: Commit, done: Result<Committed, StoreError>) -> Result<(), StoreError> {
        let folded = done.as_ref().map(|done| &done.folded).ok();
        for (name, rows, _) in commit.storms {
            let rows = rows.into_iter().filter(|held| folded.is_none_or(|folded| !folded.contains(&held.row.id)));
            let waiting = self.waiting.entry(name).or_default();
            let newer = std::mem::replace(waiting, rows.collect());
            waiting.extend(newer);
        }
        self.waiting.retain(|_, rows| !rows.is_empty());
        self.unsure = commit.unsure.map(|(unsure, _)| unsure);
        if let Some(sure) = commit.sure {
            self.know(sure);
        }
        let done = match done {
            Ok(done) => done,
            Err(error) => {
                if !commit.settled.is_empty() {
                    self.settled_at.get_or_insert_with(Instant::now);
                }
                self.settled.splice(0..0, commit.settled);
                self.given_back.splice(0..0, commit.given_back);
                if matches!(error, StoreError::CommitUnknown(_)) {
                    self.remembered_at = None;
                }
                return Err(error);
            }
        };
        if !commit.durable && !commit.settled.is_empty() {
            self.loose_at.get_or_insert_with(Instant::now);
        } else if commit.durable && !(commit.settled.is_empty() && done.renewed.ids.is_empty()) {
            // What writes nothing makes nothing durable; as long as anything is under way its claim is renewed.
            self.loose_at = None;
        }
        if commit.remembered.is_none() {
            self.remembered_at = Some(Instant::now());
        }
        self.remembered = done.remembered;
        commit.settled.iter().for_each(report);
        self.renewed(&done.renewed);
        self.take_on(done.claimed, done.claimed_at);
        Ok(())
    }

    fn give_back_all(&mut self, due: Timestamp) {
        for held in std::mem::take(&mut self.waiting).into_values().flatten() {
            self.given_back.push(GivenBack::new(&held.row, due));
        }
    }

    async fn drain(&mut self) {
        let end = Instant::now() + DRAIN;
        if self.committing.is_some()
            && let Ok(done) = tokio::time::timeout_at(end, done(&mut self.committing)).await
        {
            self.committed(done);
        }
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

/// Waits for the commit that is under way; for ever, if none is.
async fn done(committing: &mut Option<Committing>) -> (Commit, Result<Committed, StoreError>) {
    match committing {
        Some(committing) => committing.await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
