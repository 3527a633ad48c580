//! What is ours to send: claims as they are made, held, found again after a lost answer, and given back.

use std::collections::HashSet;
use std::sync::Arc;

use tokio::time::Instant;

use super::attempt::Held;
use super::settled::Settled;
use super::{Deliver, LEASE};
use crate::domain::time::Timestamp;
use crate::store::outbox::OutboxRow;
use crate::store::{StoreError, Tx, outbox};

/// A row that is not tried now.
pub(super) struct GivenBack {
    pub id: String,
    /// Under which it is held; somebody else's is not given back.
    pub claim: Timestamp,
    pub due: Timestamp,
}

impl GivenBack {
    pub fn new(row: &OutboxRow, due: Timestamp) -> GivenBack {
        GivenBack { id: row.id.clone(), claim: row.claimed_until, due }
    }
}

/// Claims that may have been made.
pub(super) struct Unsure {
    /// Not before.
    pub at: Instant,
    pub claims: Vec<(String, Timestamp)>,
}

/// What became of them.
pub(super) struct Sure {
    pub at: Instant,
    /// Rows that are held under them, and not settled by what is being committed.
    pub ours: Vec<OutboxRow>,
    /// Rows that waited and are held by nobody or somebody else.
    pub lost: HashSet<String>,
}

impl Unsure {
    /// After a lost answer to a commit: finds out what it did to our claims. What it renewed or claimed is held, what is held by
    /// nobody or somebody else any more is left alone.
    pub async fn find_out(&self, tx: &mut Tx, waiting: &[(String, Timestamp)], settled: &mut [Settled]) -> Result<Sure, StoreError> {
        let mut ours = outbox::held(tx, &self.claims).await?;
        let still: HashSet<String> = outbox::held(tx, waiting).await?.into_iter().chain(ours.iter().cloned()).map(|row| row.id).collect();
        ours.retain(|row| match settled.iter_mut().find(|settled| settled.row.id == row.id) {
            Some(settled) => {
                Arc::make_mut(&mut settled.row).claimed_until = row.claimed_until;
                false
            }
            None => true,
        });
        let lost = waiting.iter().map(|(id, _)| id).filter(|id| !still.contains(*id)).cloned().collect();
        Ok(Sure { at: self.at, ours, lost })
    }
}

/// Claims that hold for longer.
pub(super) struct Renewed {
    pub ids: HashSet<String>,
    pub claim: Timestamp,
    pub at: Instant,
}

impl Deliver {
    /// Everything that is claimed and not settled.
    pub(super) fn held(&self) -> impl Iterator<Item = &Held> {
        self.rows.values().chain(self.waiting.values().flatten())
    }

    /// Has claimed rows wait for their turn. Those that are held already are not sent beside themselves: the clock went ahead of
    /// their claims.
    pub(super) fn take_on(&mut self, claimed: Vec<OutboxRow>, at: Instant) {
        let Some(over) = claimed.first().map(|row| row.claimed_until - LEASE) else { return };
        let settled = self.settled.iter().map(|settled| &settled.row);
        let lapsed = self.held().map(|held| &held.row).chain(settled).any(|row| row.claimed_until <= over);
        for row in claimed {
            if lapsed { self.take_in(row, at) } else { self.wait(row, at) }
        }
    }

    /// Takes over what was found out.
    pub(super) fn know(&mut self, sure: Sure) {
        self.waiting.values_mut().for_each(|rows| rows.retain(|held| !sure.lost.contains(&held.row.id)));
        self.waiting.retain(|_, rows| !rows.is_empty());
        sure.ours.into_iter().for_each(|row| self.take_in(row, sure.at));
    }

    /// Notes under which claims rows are held from now on, what ended meanwhile included.
    pub(super) fn renewed(&mut self, renewed: &Renewed) {
        for held in self.rows.values_mut().chain(self.waiting.values_mut().flatten()) {
            if renewed.ids.contains(&held.row.id) {
                held.renew(renewed.claim, renewed.at);
            }
        }
        for settled in self.settled.iter_mut().filter(|settled| renewed.ids.contains(&settled.row.id)) {
            Arc::make_mut(&mut settled.row).claimed_until = renewed.claim;
        }
        for back in self.given_back.iter_mut().filter(|back| renewed.ids.contains(&back.id)) {
            back.claim = renewed.claim;
        }
    }

    /// A row under its newest claim: where it is already, else it waits.
    fn take_in(&mut self, row: OutboxRow, at: Instant) {
        let mut held = self.rows.values_mut().chain(self.waiting.values_mut().flatten());
        if let Some(settled) = self.settled.iter_mut().find(|settled| settled.row.id == row.id) {
            Arc::make_mut(&mut settled.row).claimed_until = row.claimed_until;
        } else if let Some(held) = held.find(|held| held.row.id == row.id) {
            held.renew(row.claimed_until, at);
        } else {
            self.wait(row, at);
        }
    }

    fn wait(&mut self, row: OutboxRow, at: Instant) {
        self.waiting.entry(row.receiver.clone()).or_default().push_back(Held { row: Arc::new(row), claimed_at: at });
    }
}
