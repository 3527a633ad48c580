//! The open incidents as our last change of them left them, so that a look does not read and parse thousands of them again.
//!
//! They count only while the store's count of changes is the one that they were kept under: whoever changes an incident,
//! here or in another replica, counts it up in the same transaction.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use crate::domain::incident::Incident;
use crate::store::{StoreError, Tx, incidents, transition};

/// More than this are read anew each time, and kept nowhere.
const KEPT_MAX: usize = 50_000;

type Open = BTreeMap<String, Incident>;

/// What is kept from one look to the next.
#[derive(Default)]
pub struct Known(Mutex<Option<Kept>>);

struct Kept {
    changes: String,
    open: Open,
}

impl Known {
    /// The open incidents by key, as this transaction sees them. They are gone from here until they are kept again.
    pub async fn open(&self, tx: &mut Tx) -> Result<Open, StoreError> {
        let changes = incidents::changes(tx).await?;
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        match kept.filter(|kept| kept.changes == changes) {
            Some(kept) => Ok(kept.open),
            None => transition::load_open(tx).await,
        }
    }

    /// Whether they need not be read, unless somebody else has changed them.
    pub fn is_kept(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Keeps them: `changes` is the store's count at the end of the transaction that made them so, once that is committed, or
    /// of the one that read them.
    pub fn keep(&self, changes: String, open: Open) {
        let kept = (open.len() <= KEPT_MAX).then_some(Kept { changes, open });
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = kept;
    }
}
