//! One transaction of the job: outcomes in, claims out. It holds all that it needs, so that sending goes on meanwhile.

use std::collections::{BTreeMap, HashSet};
use std::pin::Pin;
use std::time::Duration;

use tokio::time::Instant;

use crate::domain::time::Timestamp;
use crate::store::outbox::{Claim, OutboxRow};
use crate::store::{Store, StoreError, Tx, outbox, receivers};

use super::attempt::Held;
use super::claims::{GivenBack, Renewed, Sure, Unsure};
use super::settled::{Remembered, Settled, save_all};
use super::verdict::Verdict;
use super::{CLAIMED_MAX, LEASE, storm};

/// For so long, while more is under way, outcomes may wait for the next transaction that is made durable.
const LOOSE: Duration = Duration::from_secs(1);

/// A commit under way.
pub(super) type Committing = Pin<Box<dyn Future<Output = (Commit, Result<Committed, StoreError>)> + Send>>;

/// What is to be committed.
pub(super) struct Commit {
    pub now: Timestamp,
    /// Whether it must survive a power cut: a delivery that is not marked any more is sent again.
    pub durable: bool,
    pub settled: Vec<Settled>,
    /// Rows to give back untried.
    pub given_back: Vec<GivenBack>,
    /// What an earlier commit may have claimed, and the claims of what waits: to be found out about first.
    pub unsure: Option<(Unsure, Vec<(String, Timestamp)>)>,
    /// What was found out.
    pub sure: Option<Sure>,
    /// Claims that are to be renewed.
    pub renewed: Vec<(String, Timestamp)>,
    /// Receivers with more than they take: what waits for them, and from how many on that is a storm.
    pub storms: Vec<(String, Vec<Held>, usize)>,
    /// What is known of receivers; `None`: it is to be read.
    pub remembered: Option<BTreeMap<String, Remembered>>,
    pub fallback: Option<String>,
    /// Receivers of which nothing is claimed, and how much is claimed of the others.
    pub skip: Vec<String>,
    pub room: usize,
}

/// What came of it.
pub(super) struct Committed {
    /// What is known of receivers now.
    pub remembered: BTreeMap<String, Remembered>,
    pub renewed: Renewed,
    pub claimed: Vec<OutboxRow>,
    pub claimed_at: Instant,
    /// Ids of rows that are no longer to be sent by themselves.
    pub folded: HashSet<String>,
}

impl Commit {
    /// Begins once it is polled. It is handed back, for another try if it failed.
    pub fn run(mut self, store: Store) -> Committing {
        Box::pin(async move {
            let done = self.write(&store).await;
            (self, done)
        })
    }

    async fn write(&mut self, store: &Store) -> Result<Committed, StoreError> {
        let mut tx = if self.durable { store.write_durable().await? } else { store.write().await? };
        if let Some((unsure, waiting)) = &self.unsure {
            self.sure = Some(unsure.find_out(&mut tx, waiting, &mut self.settled).await?);
            self.unsure = None;
        }
        let mut remembered = match &self.remembered {
            Some(remembered) => remembered.clone(),
            None => remember(&mut tx, self.now).await?,
        };
        save_all(&mut tx, &self.settled, &mut remembered, self.fallback.as_deref()).await?;
        for back in &self.given_back {
            outbox::release(&mut tx, &back.id, back.claim, back.due).await?;
        }
        let renewed_at = Instant::now();
        let (claim, ids) = outbox::extend(&mut tx, &self.renewed, self.now, self.now + LEASE).await?;
        let renewed = Renewed { ids: ids.into_iter().collect(), claim, at: renewed_at };
        let mut folded = HashSet::new();
        for (name, rows, most) in &self.storms {
            let ours: Vec<OutboxRow> = rows.iter().map(|held| OutboxRow::clone(&held.row)).collect();
            let known = remembered.entry(name.clone()).or_default();
            folded.extend(storm::fold(&mut tx, name, ours, *most, known, self.now).await?);
        }
        let claimed_at = Instant::now();
        let claimed = self.claim(&mut tx, &remembered).await?;
        if let Err(error) = tx.commit().await {
            if matches!(error, StoreError::CommitUnknown(_)) {
                let claims = claimed.into_iter().map(|row| (row.id, row.claimed_until));
                let claims = renewed.ids.into_iter().map(|id| (id, claim)).chain(claims).collect();
                self.unsure = Some((Unsure { at: renewed_at, claims }, Vec::new()));
            }
            return Err(error);
        }
        Ok(Committed { remembered, renewed, claimed, claimed_at, folded })
    }

    /// Claims what is due, again while there may be more behind a receiver whose queue is full by now.
    async fn claim(&self, tx: &mut Tx, known: &BTreeMap<String, Remembered>) -> Result<Vec<OutboxRow>, StoreError> {
        let (mut skip, mut room) = (self.skip.clone(), self.room);
        let mut claimed = Vec::new();
        while room > 0 {
            let limit = room.min(CLAIMED_MAX);
            let rows = outbox::claim(tx, Claim { now: self.now, until: self.now + LEASE, limit, skip: &skip }).await?;
            let full = rows.len() == limit;
            for row in &rows {
                if !skip.contains(&row.receiver) {
                    skip.push(row.receiver.clone());
                }
            }
            room -= rows.len();
            for row in rows {
                let digests = known.get(&row.receiver).is_some_and(|known| !known.digests.is_empty());
                if !digests || !storm::leave_out(tx, &row, self.now).await? {
                    claimed.push(row);
                }
            }
            if !full {
                break;
            }
        }
        Ok(claimed)
    }
}

/// What is stored about receivers, with digests closed in which nothing is open any more.
async fn remember(tx: &mut Tx, now: Timestamp) -> Result<BTreeMap<String, Remembered>, StoreError> {
    let mut remembered = BTreeMap::new();
    for row in receivers::load(tx).await? {
        // What cannot be read is forgotten: the receiver is asked once more.
        let known: Remembered = serde_json::from_str(&row.data).unwrap_or_default();
        let mut known = Remembered { paused_until: row.paused_until, ..known };
        storm::close(tx, &row.receiver, &mut known, now).await?;
        remembered.insert(row.receiver, known);
    }
    Ok(remembered)
}

/// Whether a commit must survive a power cut, given the verdicts that it brings (and whether a receiver that was gone answers
/// again), whether more is under way, and for how long what earlier commits brought has been at risk.
///
/// While the next one is about to come a power cut would have some sent once more, under keys that receivers know. Trouble, and
/// the number of a ticket, are not risked.
pub(super) fn must_last<'a>(verdicts: impl Iterator<Item = (&'a Verdict, bool)>, more: bool, at_risk: Option<Duration>) -> bool {
    let mut verdicts = verdicts.peekable();
    let any = verdicts.peek().is_some();
    let known_by_key = |(verdict, enabled): (&Verdict, bool)| matches!(verdict, Verdict::Delivered { reply: None, .. }) && !enabled;
    let may_wait = more && verdicts.all(known_by_key) && at_risk.is_none_or(|since| since < LOOSE);
    !may_wait && (any || at_risk.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_receivers_know_by_key_waits_and_not_for_long() {
        let delivered = |reply| Verdict::Delivered { reply, note: String::new() };
        let (plain, ticket) = (delivered(None), delivered(Some("T-1".into())));
        let dead = Verdict::Dead { error: "gone".into(), disable: false };
        let last = |verdicts: &[&Verdict], more, at_risk: Option<u64>| {
            must_last(verdicts.iter().map(|verdict| (*verdict, false)), more, at_risk.map(Duration::from_millis))
        };
        assert!(!last(&[&plain], true, None) && !last(&[&plain], true, Some(999)));
        assert!(last(&[&plain], true, Some(1_000)), "not for longer");
        assert!(last(&[&plain], false, None), "nothing comes after it");
        assert!(last(&[&plain, &ticket], true, None), "a ticket's number");
        assert!(last(&[&plain, &dead], true, None), "trouble");
        assert!(must_last([(&plain, true)].into_iter(), true, None), "a receiver that is back");
        assert!(!last(&[], true, None) && !last(&[], false, None), "claims alone");
        assert!(last(&[], true, Some(1_000)) && last(&[], false, Some(0)), "what is at risk");
    }
}
