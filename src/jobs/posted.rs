//! Alerts from `/api/v2/alerts`: stored before they are answered, and taken into incidents.
//!
//! [`Receiver`] stores what requests bring, several requests in one transaction. [`settle`] runs with
//! the evaluations, under their lease, and looks only at what is new, changed or over. The board in
//! memory follows the table; whenever the two may differ it is read again.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use tokio::sync::{Mutex, Notify, mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use crate::domain::desk::{Book, Desk, Outcome, Settled, Silence};
use crate::domain::incident::Incident;
use crate::domain::posted::{self, ALERTS_MAX, Board, Key, Posted, RESOLVE_TIMEOUT, Standing, Work};
use crate::domain::time::{Span, Timestamp};
use crate::store::transition::Prepared;
use crate::store::{self, Store, StoreError, Tx, incidents, leases, transition};

use super::known::Known;
use super::tick::Ticks;

/// Most alerts in one transaction.
const BATCH_MAX: usize = 4_096;
/// Requests that may wait for their turn.
const QUEUE: usize = 256;
/// How long a request waits for its turn. Prometheus waits ten seconds.
const PATIENCE: Duration = Duration::from_secs(8);
/// Most alerts that one look takes into incidents; the rest is for the next one, which follows at once.
const LOOK_MAX: usize = 4_096;
/// Silences, hours and rules change who would be told: whoever waits is looked at again this often.
const AGAIN: Span = Span::MINUTE;
/// Who has not looked for so long was stopped, or its clock jumped: alerts that ran out meanwhile get the grace that they get at a
/// start, because nobody listened.
const PAUSE_MAX: Span = Span::MINUTE;
/// How often a replica reads what others have stored.
const FOLLOW: Duration = Duration::from_secs(1);

/// The board, and who may change it.
#[derive(Clone, Default)]
pub struct Shared {
    board: Arc<RwLock<Board>>,
    /// Held from a plan to its commit, so that a plan is never made from what is about to change.
    gate: Arc<Mutex<Gate>>,
    /// Whether the board holds what the table does, as far as this process can tell.
    read: Arc<AtomicBool>,
}

#[derive(Default)]
struct Gate {
    /// Newest number of the table that the board knows; `None`: it knows nothing.
    seq: Option<i64>,
}

impl Shared {
    /// The board, to look at. Nobody waits for anything else while holding it.
    pub fn read(&self) -> RwLockReadGuard<'_, Board> {
        self.board.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads what is stored, at a start: nobody shall see an empty board because another life just ended.
    pub async fn load(&self, store: &Store, now: Timestamp, timeout: Span) -> Result<(), StoreError> {
        let mut gate = self.gate.lock().await;
        catch_up(store, self, &mut gate, now, timeout).await
    }

    /// The table may hold what the board does not: it is read anew before anything else happens.
    fn doubt(&self, gate: &mut Gate) {
        gate.seq = None;
        self.read.store(false, Ordering::Release);
    }

    fn write(&self) -> RwLockWriteGuard<'_, Board> {
        self.board.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why alerts were not taken.
#[derive(Debug, thiserror::Error)]
pub enum PostError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("more than {ALERTS_MAX} alerts are on; no further ones are taken")]
    Full,
    #[error("too many requests wait to be stored")]
    Busy,
}

struct Request {
    alerts: Vec<Posted>,
    now: Timestamp,
    answer: oneshot::Sender<Result<(), Arc<PostError>>>,
}

/// Hands alerts to the receiver.
#[derive(Clone)]
pub struct Post(mpsc::Sender<Request>);

impl Post {
    /// Answers when the alerts are stored.
    pub async fn post(&self, alerts: Vec<Posted>, now: Timestamp) -> Result<(), Arc<PostError>> {
        if alerts.is_empty() {
            return Ok(());
        }
        let (answer, answered) = oneshot::channel();
        let gone = || Arc::new(PostError::Busy);
        let sent = tokio::time::timeout(PATIENCE, self.0.send(Request { alerts, now, answer })).await;
        sent.map_err(|_| gone())?.map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }
}

/// Stores what comes in.
pub struct Receiver {
    store: Store,
    shared: Shared,
    desk: Arc<arc_swap::ArcSwap<Desk>>,
    requests: mpsc::Receiver<Request>,
    /// Wakes the job that takes alerts into incidents.
    wake: Arc<Notify>,
}

impl Receiver {
    /// A receiver, and what to hand it alerts with.
    pub fn new(store: Store, shared: Shared, desk: Arc<arc_swap::ArcSwap<Desk>>, wake: Arc<Notify>) -> (Receiver, Post) {
        let (sender, requests) = mpsc::channel(QUEUE);
        (Receiver { store, shared, desk, requests, wake }, Post(sender))
    }

    /// Until told to stop. What was answered is stored.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut timer = tokio::time::interval(FOLLOW);
        timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut newest = Timestamp(0);
        loop {
            let first = tokio::select! {
                request = self.requests.recv() => request,
                _ = timer.tick(), if self.store.is_shared() => {
                    if let Err(error) = self.follow(newest).await {
                        warn!(error = %error, "what other replicas stored could not be read and is read again");
                    }
                    continue;
                }
                () = stop.cancelled() => return,
            };
            let Some(first) = first else { return };
            let mut batch = vec![first];
            let mut size = batch[0].alerts.len();
            // Whatever arrived while the last transaction ran shares the next one.
            while size < BATCH_MAX {
                let Ok(more) = self.requests.try_recv() else { break };
                size += more.alerts.len();
                batch.push(more);
            }
            newest = batch.iter().map(|request| request.now).max().unwrap_or(newest);
            let stored = self.take(&mut batch).await.map_err(Arc::new);
            if let Err(error) = &stored {
                error!(error = %error, alerts = size, "alerts could not be stored; their senders were told");
            }
            for request in batch {
                // Whoever does not wait any more sends again.
                let _ = request.answer.send(stored.clone());
            }
            self.wake.notify_one();
        }
    }

    async fn follow(&self, now: Timestamp) -> Result<(), StoreError> {
        let mut gate = self.shared.gate.lock().await;
        let timeout = self.desk.load().rules().resolve_timeout.unwrap_or(RESOLVE_TIMEOUT);
        catch_up(&self.store, &self.shared, &mut gate, now, timeout).await
    }

    /// Stores several requests as one transaction. It is written while a look may be under way, and on the board after that
    /// look: as if they had come then.
    async fn take(&self, batch: &mut [Request]) -> Result<(), PostError> {
        let timeout = self.desk.load().rules().resolve_timeout.unwrap_or(RESOLVE_TIMEOUT);
        let now = batch.iter().map(|request| request.now).max().unwrap_or_default();
        if self.store.is_shared() || !self.shared.read.load(Ordering::Acquire) {
            let mut gate = self.shared.gate.lock().await;
            catch_up(&self.store, &self.shared, &mut gate, now, timeout).await?;
        }
        let changed = self.changed(batch)?;
        if changed.is_empty() {
            return Ok(());
        }
        let rows: Vec<(Key, &Posted)> = changed.iter().map(|(key, alert)| (*key, alert)).collect();
        let mut tx = self.store.write().await?;
        let seq = store::posted::save(&mut tx, &rows).await?;
        let committed = tx.commit().await;
        let mut gate = self.shared.gate.lock().await;
        if let Err(error) = committed {
            // It may have been committed all the same: the table is right.
            self.shared.doubt(&mut gate);
            return Err(error.into());
        }
        match gate.seq {
            // The board was read again meanwhile, with these on it.
            Some(known) if known >= seq => {}
            None => catch_up(&self.store, &self.shared, &mut gate, now, timeout).await?,
            Some(known) => {
                if known == seq - 1 {
                    gate.seq = Some(seq);
                }
                let mut board = self.shared.write();
                changed.into_iter().for_each(|(key, alert)| board.put(key, alert));
            }
        }
        metrics::gauge!("burnwatch_posted_alerts").set(self.shared.read().len() as f64);
        Ok(())
    }

    /// What the requests change of what is on the board; they are empty after that.
    fn changed(&self, batch: &mut [Request]) -> Result<HashMap<Key, Posted>, PostError> {
        let board = self.shared.read();
        let mut changed: HashMap<Key, Posted> = HashMap::new();
        let mut new = 0;
        for request in batch {
            for alert in std::mem::take(&mut request.alerts) {
                let key = alert.labels.key();
                let known = board.get(&key).map(|entry| &entry.alert);
                new += usize::from(known.is_none() && !changed.contains_key(&key));
                let taken = posted::take(changed.get(&key).or(known), alert, request.now);
                changed.extend(taken.map(|alert| (key, alert)));
            }
        }
        if board.len() + new > ALERTS_MAX { Err(PostError::Full) } else { Ok(changed) }
    }
}

/// Brings the board to what is stored: all of it the first time, then what other replicas added.
async fn catch_up(store: &Store, shared: &Shared, gate: &mut Gate, now: Timestamp, timeout: Span) -> Result<(), StoreError> {
    if gate.seq.is_some() && !store.is_shared() {
        return Ok(());
    }
    let mut tx = store.read().await?;
    let rows = store::posted::after(&mut tx, gate.seq.unwrap_or(-1)).await?;
    drop(tx);
    let whole = gate.seq.is_none();
    let mut board = shared.write();
    if whole {
        board.clear();
    }
    let mut last = gate.seq.unwrap_or(0);
    for row in &rows {
        last = last.max(row.seq);
        let alert = match row.alert() {
            Ok(alert) => alert,
            Err(error) => {
                error!(error = %error, "a stored alert is damaged and was left out");
                continue;
            }
        };
        if whole {
            board.recall(alert, &row.incident, now, timeout);
        } else {
            board.put(alert.labels.key(), alert);
        }
    }
    gate.seq = Some(last);
    shared.read.store(true, Ordering::Release);
    Ok(())
}

/// What `settle` remembers from one look to the next.
#[derive(Default)]
pub struct Looked {
    /// The lease under which the board was read.
    token: Option<i64>,
    desk: Option<Arc<Desk>>,
    silences: Vec<Silence>,
    at: Timestamp,
    /// The last look, whatever it found.
    ran: Option<Timestamp>,
}

/// What a look needs beside the board.
pub struct Look<'a> {
    pub store: &'a Store,
    pub desk: &'a Arc<Desk>,
    pub token: Option<i64>,
    pub lease: &'a str,
    pub public_url: &'a str,
    pub new_id: fn() -> String,
    pub now: Timestamp,
    pub known: &'a Known,
    /// Hears of what is changed here.
    pub ticks: &'a mut Ticks,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Report {
    pub queued: usize,
    pub outcomes: Vec<Outcome>,
    /// There is more to do at once.
    pub more: bool,
}

/// Takes into incidents what is new, changed or over, in one transaction. `None`: another replica has the lease.
pub async fn settle(shared: &Shared, looked: &mut Looked, look: Look<'_>) -> Result<Option<Report>, StoreError> {
    let now = look.now;
    let mut gate = shared.gate.lock().await;
    let timeout = look.desk.rules().resolve_timeout.unwrap_or(RESOLVE_TIMEOUT);
    if looked.token != look.token {
        // What stands in the table about incidents was written by whoever had the lease before.
        shared.doubt(&mut gate);
        looked.token = look.token;
    }
    if looked.ran.replace(now).is_some_and(|ran| now - ran > PAUSE_MAX) {
        shared.doubt(&mut gate);
    }
    catch_up(look.store, shared, &mut gate, now, timeout).await?;
    let (work, waiting) = {
        let board = shared.read();
        (board.work(now, LOOK_MAX), !board.waiting().is_empty())
    };
    let idle = work.fresh.is_empty() && work.changed.is_empty() && work.over.is_empty();
    if idle && !waiting {
        return Ok(Some(Report::default()));
    }
    let mut tx = look.store.read().await?;
    let silences = transition::load_silences(&mut tx, now).await?;
    let same_desk = looked.desk.as_ref().is_some_and(|desk| Arc::ptr_eq(desk, look.desk));
    let again = waiting && (!same_desk || silences != looked.silences || now - looked.at >= AGAIN || now < looked.at);
    if idle && !again {
        return Ok(Some(Report::default()));
    }
    // Planned while others write, and once more if they have changed incidents meanwhile.
    let sight = Sight { board: shared, work: &work, silences: &silences, again };
    let mut plan = plan(&mut tx, &look, &sight).await?;
    drop(tx);
    let mut tx = look.store.write_durable().await?;
    if let Some(token) = look.token
        && !leases::fence(&mut tx, look.lease, token).await?
    {
        return Ok(None);
    }
    if incidents::changes(&mut tx).await? != plan.before {
        plan = self::plan(&mut tx, &look, &sight).await?;
    }
    let Plan { before, settled, prepared, joined, alone, open } = plan;
    let joined: Vec<(&Key, &str)> = joined.iter().map(|(key, incident)| (key, &**incident)).collect();
    store::posted::join(&mut tx, &joined).await?;
    store::posted::remove(&mut tx, &settled.over, now).await?;
    let queued = prepared.write(&mut tx).await?;
    let changes = incidents::changes(&mut tx).await?;
    if let Err(error) = tx.commit().await {
        shared.doubt(&mut gate);
        return Err(error);
    }
    look.ticks.note(&before, &changes, &settled.outcomes, alone);
    look.known.keep(changes, open);
    if again || !same_desk {
        looked.at = now;
        looked.desk = Some(look.desk.clone());
        looked.silences = silences;
    }
    let mut board = shared.write();
    for (key, standing) in settled.standings {
        board.stand(key, standing);
    }
    settled.told.iter().for_each(|key| board.told(key));
    settled.over.iter().for_each(|key| board.remove(key, now));
    metrics::gauge!("burnwatch_posted_alerts").set(board.len() as f64);
    let more = work.fresh.len() == LOOK_MAX || work.changed.len() == LOOK_MAX || work.over.len() == LOOK_MAX;
    Ok(Some(Report { queued, outcomes: settled.outcomes, more }))
}

/// What a look sees beside the incidents.
struct Sight<'a> {
    board: &'a Shared,
    work: &'a Work,
    silences: &'a [Silence],
    again: bool,
}

/// What a look is about to change.
struct Plan {
    /// The store's count of changes of incidents that it was made at.
    before: String,
    settled: Settled,
    prepared: Prepared,
    joined: Vec<(Key, Arc<str>)>,
    /// Whether the incidents it touches have to do with no others.
    alone: bool,
    open: BTreeMap<String, Incident>,
}

async fn plan(tx: &mut Tx, look: &Look<'_>, sight: &Sight<'_>) -> Result<Plan, StoreError> {
    let before = incidents::changes(tx).await?;
    let open = look.known.open(tx).await?;
    let recent = transition::load_recent(tx, look.now).await?;
    let board = sight.board.read();
    let mut new_id = |_: &str, _: Timestamp| (look.new_id)();
    let mut book = Book::new(look.desk, look.now, sight.silences, (open, recent), &mut new_id);
    let settled = book.posted(&board, sight.work, sight.again);
    let alone = settled.outcomes.iter().all(|outcome| book.stands_alone(&outcome.incident));
    let joined = settled.standings.iter().filter_map(|(key, standing)| match standing {
        Standing::Joined { incident } => Some((*key, incident.clone())),
        _ => None,
    });
    let prepared = Prepared::new(&settled.outcomes, look.now, look.public_url);
    Ok(Plan { before, joined: joined.collect(), prepared, alone, open: book.open, settled })
}
