//! What is ours to send: claims as they are made, held, found again after a lost answer, and given back.

use std::collections::HashSet;

use tokio::time::Instant;

use super::attempt::Held;
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

impl Deliver {
    /// Everything that is claimed and not settled.
    pub(super) fn held(&self) -> impl Iterator<Item = &Held> {
        self.rows.values().chain(self.waiting.values().flatten())
    }

    /// Has claimed rows wait for their turn. Those that are held already are not sent beside themselves: the clock went ahead of
    /// their claims.
    pub(super) fn take_on(&mut self, claimed: Vec<OutboxRow>, at: Instant) {
        let Some(over) = claimed.first().map(|row| row.claimed_until - LEASE) else { return };
        let lapsed = self.held().any(|held| held.row.claimed_until <= over);
        for row in claimed {
            let mut held = self.rows.values_mut().chain(self.waiting.values_mut().flatten());
            match held.find(|held| lapsed && held.row.id == row.id) {
                Some(held) => held.renew(row.claimed_until, at),
                None => self.waiting.entry(row.receiver.clone()).or_default().push_back(Held { row, claimed_at: at }),
            }
        }
    }

    /// After a lost answer to a commit: finds out what it did to our claims. What it renewed or claimed is held, what is held by
    /// nobody or somebody else any more is left alone.
    pub(super) async fn make_sure(&mut self, tx: &mut Tx) -> Result<(), StoreError> {
        let Some(unsure) = &self.unsure else { return Ok(()) };
        let ours = outbox::held(tx, &unsure.claims).await?;
        let known: Vec<(String, Timestamp)> =
            self.waiting.values().flatten().map(|held| (held.row.id.clone(), held.row.claimed_until)).collect();
        let still: HashSet<String> = outbox::held(tx, &known).await?.into_iter().map(|row| row.id).collect();
        let renewed: HashSet<&str> = ours.iter().map(|row| row.id.as_str()).collect();
        for rows in self.waiting.values_mut() {
            rows.retain(|held| still.contains(&held.row.id) || renewed.contains(held.row.id.as_str()));
        }
        self.waiting.retain(|_, rows| !rows.is_empty());
        let claimed_at = unsure.at;
        for row in ours {
            let mut held = self.rows.values_mut().chain(self.waiting.values_mut().flatten());
            if let Some(settled) = self.settled.iter_mut().find(|settled| settled.row.id == row.id) {
                settled.row.claimed_until = row.claimed_until;
            } else if let Some(held) = held.find(|held| held.row.id == row.id) {
                held.renew(row.claimed_until, claimed_at);
            } else {
                self.waiting.entry(row.receiver.clone()).or_default().push_back(Held { row, claimed_at });
            }
        }
        self.unsure = None;
        Ok(())
    }
}
