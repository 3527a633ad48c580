//! Taking alerts into incidents.
//!
//! A look is planned from what can be read, and then written, if incidents are still what they were. In a storm of new alerts the next
//! look is planned while one is being written: then alerts stand with their incidents before those are committed, and go
//! back if that fails.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::domain::desk::{Book, Desk, Outcome, Settled, Silence};
use crate::domain::incident::Incident;
use crate::domain::posted::{Board, Key, RESOLVE_TIMEOUT, Standing, Work};
use crate::domain::time::{Span, Timestamp};
use crate::jobs::known::Known;
use crate::jobs::tick::Ticks;
use crate::store::transition::Prepared;
use crate::store::{self, Store, StoreError, Tx, incidents, leases, transition};

use super::Shared;

/// Most alerts that one look takes into incidents; the rest is for the next one, which follows at once.
const LOOK_MAX: usize = 1_024;
/// The same where each look reads all open incidents anew.
const LONG_LOOK_MAX: usize = 4_096;
/// Deciding about more than this keeps a thread busy for long enough that others had better not wait for it.
const LONG_WORK: usize = 64;
/// Silences, hours and rules change who would be told: whoever waits is looked at again this often.
const AGAIN: Span = Span::MINUTE;
/// Who has not looked for so long was stopped, or its clock jumped: alerts that ran out meanwhile get the grace that they get at a
/// start, because nobody listened.
const PAUSE_MAX: Span = Span::MINUTE;

type Open = BTreeMap<String, Incident>;

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
    pub lease: &'static str,
    pub public_url: &'a str,
    pub new_id: fn() -> String,
    pub now: Timestamp,
    pub known: &'a Known,
    /// Hears of what is changed here.
    pub ticks: &'a mut Ticks,
    /// Woken by a commit with notifications.
    pub deliver: &'a Arc<Notify>,
}

/// What one look has committed.
#[derive(Debug, Default)]
pub struct Report {
    pub queued: usize,
    pub outcomes: Vec<Outcome>,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// There is nothing more to do.
    Done,
    /// The caller wanted no more, and there may be more.
    Stopped,
    /// Another replica has the lease.
    Lost,
}

/// Takes into incidents what is new, changed or over, each look in one transaction. `go_on` hears of each that is committed, and says
/// whether another one may follow at once.
pub async fn settle(
    shared: &Shared,
    looked: &mut Looked,
    look: Look<'_>,
    mut go_on: impl FnMut(&Report) -> bool,
) -> Result<End, StoreError> {
    let _gate = shared.gate().await;
    let timeout = look.desk.rules().resolve_timeout.unwrap_or(RESOLVE_TIMEOUT);
    if looked.token != look.token {
        // What stands in the table about incidents was written by whoever had the lease before.
        shared.doubt();
        looked.token = look.token;
    }
    if looked.ran.replace(look.now).is_some_and(|ran| look.now - ran > PAUSE_MAX) {
        shared.doubt();
    }
    shared.catch_up(look.store, look.now, timeout).await?;
    let mut looks = Looks { shared, looked, look, under_way: None, open: None, changes: None };
    let end = looks.run(&mut go_on).await;
    looks.keep();
    shared.end_look(|_| ());
    end
}

/// Looks, one after the other.
struct Looks<'a> {
    shared: &'a Shared,
    looked: &'a mut Looked,
    look: Look<'a>,
    under_way: Option<UnderWay>,
    /// The open incidents as the last plan leaves them, unless it came to nothing.
    open: Option<Open>,
    /// The store's count of changes of incidents after the last commit.
    changes: Option<String>,
}

/// A look that is being written.
struct UnderWay {
    task: JoinSet<Result<Written, StoreError>>,
    plan: Plan,
}

/// What a look is about to change.
struct Plan {
    /// The store's count of changes of incidents that it was made at; `None`: at that after the one that was being written then.
    before: Option<String>,
    work: Work,
    settled: Settled,
    /// Whether the incidents it touches have to do with no others.
    alone: bool,
    /// It is about new alerts alone, and they stand with their incidents already.
    ahead: bool,
    /// The silences it went by, if it was a look at those that wait, too, or the first one of its rules.
    silences: Option<Vec<Silence>>,
}

/// What is written of it.
struct Rows {
    now: Timestamp,
    prepared: Prepared,
    joined: Vec<(Key, Arc<str>)>,
    over: Vec<Key>,
}

/// What became of it.
enum Written {
    /// With the store's count of changes of incidents after it, and how many notifications were queued.
    Committed { changes: String, queued: usize },
    /// It may have been committed or not.
    Unknown(StoreError),
    /// Somebody has changed incidents since the plan.
    Stale,
    /// Another replica has the lease.
    Lost,
}

enum Ended {
    Committed(Report),
    Stale,
    Lost,
}

impl Looks<'_> {
    async fn run(&mut self, go_on: &mut impl FnMut(&Report) -> bool) -> Result<End, StoreError> {
        let mut more = true;
        loop {
            let writing = self.under_way.is_some();
            // What a look closes, and what it lets in, is known once it is written.
            let may_plan = more && self.under_way.as_ref().is_none_or(|under_way| under_way.plan.ahead);
            let mut next = if may_plan { self.plan().await } else { Ok(None) };
            if let Some(under_way) = self.under_way.take() {
                let ended = self.end(under_way).await;
                if !matches!(ended, Ok(Ended::Committed(_)))
                    && let Ok(Some((plan, _))) = std::mem::replace(&mut next, Ok(None))
                {
                    self.undo(&plan);
                }
                let report = match ended? {
                    Ended::Committed(report) => report,
                    Ended::Lost => return Ok(End::Lost),
                    Ended::Stale => match self.in_one_go().await? {
                        Some(report) => report,
                        None => return Ok(End::Lost),
                    },
                };
                more = go_on(&report);
            }
            match next? {
                Some((plan, rows)) => self.begin(plan, rows),
                None if !more => return Ok(End::Stopped),
                None if !writing => return Ok(End::Done),
                None => {}
            }
        }
    }

    /// Plans a look at what there is to do; `None`: nothing.
    async fn plan(&mut self) -> Result<Option<(Plan, Rows)>, StoreError> {
        if self.under_way.is_none() {
            self.keep();
        }
        let Some((work, waiting)) = self.work() else { return Ok(None) };
        let mut tx = self.look.store.read().await?;
        self.plan_from(&mut tx, work, waiting).await
    }

    /// What there is to do, and whether alerts wait for room; `None`: neither.
    fn work(&self) -> Option<(Work, bool)> {
        let max = if self.open.is_some() || self.look.known.is_kept() { LOOK_MAX } else { LONG_LOOK_MAX };
        let (work, waiting) = self.shared.begin_look(self.look.now, max);
        (waiting || !is_idle(&work)).then_some((work, waiting))
    }

    async fn plan_from(&mut self, tx: &mut Tx, work: Work, waiting: bool) -> Result<Option<(Plan, Rows)>, StoreError> {
        let (now, desk) = (self.look.now, self.look.desk);
        let silences = transition::load_silences(tx, now).await?;
        let looked = &self.looked;
        let same_desk = looked.desk.as_ref().is_some_and(|known| Arc::ptr_eq(known, desk));
        let changed = || !same_desk || silences != looked.silences || now - looked.at >= AGAIN || now < looked.at;
        let again = waiting && changed();
        if is_idle(&work) && !again {
            self.shared.end_look(|_| ());
            return Ok(None);
        }
        let (before, open) = match self.open.take() {
            Some(open) => (None, open),
            None => (Some(incidents::changes(tx).await?), self.look.known.open(tx).await?),
        };
        let recent = transition::load_recent(tx, now).await?;
        let new_id = self.look.new_id;
        let decide = || {
            let mut new_id = |_: &str, _: Timestamp| new_id();
            let mut book = Book::new(desk, now, &silences, (open, recent), &mut new_id);
            let settled = book.posted(&self.shared.read(), &work, again);
            let alone = settled.outcomes.iter().all(|outcome| book.stands_alone(&outcome.incident));
            let prepared = Prepared::new(&settled.outcomes, now, self.look.public_url);
            (settled, alone, prepared, book.open)
        };
        let long = work.fresh.len() > LONG_WORK;
        let (mut settled, alone, prepared, open) = if long { tokio::task::block_in_place(decide) } else { decide() };
        self.open = Some(open);
        let joined = settled.standings.iter().filter_map(|(key, standing)| match standing {
            Standing::Joined { incident } => Some((*key, incident.clone())),
            Standing::Fresh | Standing::Waiting { .. } => None,
        });
        let rows = Rows { now, joined: joined.collect(), over: settled.over.clone(), prepared };
        let ahead = !waiting && work.changed.is_empty() && work.over.is_empty();
        if ahead {
            self.shared.end_look(|board| stand(board, std::mem::take(&mut settled.standings)));
        }
        let silences = (again || !same_desk).then_some(silences);
        Ok(Some((Plan { before, work, settled, alone, ahead, silences }, rows)))
    }

    /// Begins to write what was planned.
    fn begin(&mut self, mut plan: Plan, rows: Rows) {
        let before = plan.before.get_or_insert_with(|| self.changes.clone().unwrap_or_default()).clone();
        let (store, deliver) = (self.look.store.clone(), self.look.deliver.clone());
        let fence = self.look.token.map(|token| (self.look.lease, token));
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut tx = store.write_durable().await?;
            if !holds(&mut tx, fence).await? {
                return Ok(Written::Lost);
            }
            if incidents::changes(&mut tx).await? != before {
                return Ok(Written::Stale);
            }
            let written = rows.write(tx).await?;
            if matches!(written, Written::Committed { queued: 1.., .. }) {
                deliver.notify_one();
            }
            Ok(written)
        });
        self.under_way = Some(UnderWay { task, plan });
    }

    /// Waits for the look that is being written, and takes over what came of it.
    async fn end(&mut self, under_way: UnderWay) -> Result<Ended, StoreError> {
        let UnderWay { mut task, plan } = under_way;
        let written = match task.join_next().await {
            Some(Ok(written)) => written,
            Some(Err(failed)) => std::panic::resume_unwind(failed.into_panic()),
            None => unreachable!("it holds one task until that has ended"),
        };
        match written {
            Ok(Written::Committed { changes, queued }) => Ok(Ended::Committed(self.committed(plan, changes, queued))),
            Ok(Written::Stale) => {
                self.undo(&plan);
                Ok(Ended::Stale)
            }
            Ok(Written::Lost) => {
                self.undo(&plan);
                Ok(Ended::Lost)
            }
            Ok(Written::Unknown(error)) => {
                self.undo(&plan);
                self.shared.doubt();
                Err(error)
            }
            Err(error) => {
                self.undo(&plan);
                Err(error)
            }
        }
    }

    /// Plans and writes a look while nobody else can change incidents. `None`: another replica has the lease.
    async fn in_one_go(&mut self) -> Result<Option<Report>, StoreError> {
        self.changes = None;
        let Some((work, waiting)) = self.work() else { return Ok(Some(Report::default())) };
        let mut tx = self.look.store.write_durable().await?;
        if !holds(&mut tx, self.look.token.map(|token| (self.look.lease, token))).await? {
            return Ok(None);
        }
        let Some((plan, rows)) = self.plan_from(&mut tx, work, waiting).await? else { return Ok(Some(Report::default())) };
        match rows.write(tx).await {
            Ok(Written::Committed { changes, queued }) => {
                self.look.deliver.notify_one();
                Ok(Some(self.committed(plan, changes, queued)))
            }
            Ok(Written::Unknown(error)) => {
                self.undo(&plan);
                self.shared.doubt();
                Err(error)
            }
            Ok(Written::Stale | Written::Lost) => unreachable!("both were asked for above"),
            Err(error) => {
                self.undo(&plan);
                Err(error)
            }
        }
    }

    fn committed(&mut self, plan: Plan, changes: String, queued: usize) -> Report {
        let Plan { before, work: _, settled, alone, ahead, silences } = plan;
        let now = self.look.now;
        self.look.ticks.note(&before.unwrap_or_default(), &changes, &settled.outcomes, alone);
        self.changes = Some(changes);
        if let Some(silences) = silences {
            self.looked.at = now;
            self.looked.desk = Some(self.look.desk.clone());
            self.looked.silences = silences;
        }
        if !ahead {
            self.shared.end_look(|board| {
                stand(board, settled.standings);
                settled.told.iter().for_each(|key| board.told(key));
                settled.over.iter().for_each(|key| board.remove(key, now));
                metrics::gauge!("burnwatch_posted_alerts").set(board.len() as f64);
            });
        }
        Report { queued, outcomes: settled.outcomes }
    }

    /// The plan came to nothing: nobody has looked at these alerts.
    fn undo(&mut self, plan: &Plan) {
        self.open = None;
        self.shared.end_look(|board| {
            if plan.ahead {
                plan.work.fresh.iter().for_each(|key| board.stand_back(key));
            }
        });
    }

    /// What the last commit has left behind, for whoever looks at incidents next.
    fn keep(&mut self) {
        if let (Some(changes), Some(open)) = (self.changes.take(), self.open.take()) {
            self.look.known.keep(changes, open);
        }
    }
}

impl Rows {
    async fn write(self, mut tx: Tx) -> Result<Written, StoreError> {
        let joined: Vec<(&Key, &str)> = self.joined.iter().map(|(key, incident)| (key, &**incident)).collect();
        store::posted::join(&mut tx, &joined).await?;
        store::posted::remove(&mut tx, &self.over, self.now).await?;
        let queued = self.prepared.write(&mut tx).await?;
        let changes = incidents::changes(&mut tx).await?;
        Ok(match tx.commit().await {
            Ok(()) => Written::Committed { changes, queued },
            Err(error) => Written::Unknown(error),
        })
    }
}

async fn holds(tx: &mut Tx, fence: Option<(&str, i64)>) -> Result<bool, StoreError> {
    match fence {
        Some((lease, token)) => leases::fence(tx, lease, token).await,
        None => Ok(true),
    }
}

fn is_idle(work: &Work) -> bool {
    work.fresh.is_empty() && work.changed.is_empty() && work.over.is_empty()
}

fn stand(board: &mut Board, standings: Vec<(Key, Standing)>) {
    standings.into_iter().for_each(|(key, standing)| board.stand(key, standing));
}
