//! Rebuild: reads stored history into an evaluator that has just been made.
//!
//! Pages of chunks are read by the task that holds the transaction; a thread of its own unpacks them meanwhile.

use std::sync::Arc;

use tokio::sync::mpsc;

use crate::domain::evaluate::Evaluator;
use crate::domain::time::{Span, Timestamp};
use crate::store::archive::{self, Level};
use crate::store::chunk::{Chunk, Pages};
use crate::store::{StoreError, Tx};

use super::uptime::Uptime;

/// Pages that are read ahead.
const AHEAD: usize = 2;

/// What is to be read.
pub struct Plan {
    pub bucket: Span,
    /// Where the history of slices begins, and the levels it is kept at: fine, five minutes, hours.
    pub start: Timestamp,
    pub levels: [Level; 3],
    /// What is older is read as sums.
    pub past: Timestamp,
    /// What lies before this is complete.
    pub settled: Timestamp,
    pub uptime: Arc<Uptime>,
}

impl Plan {
    /// The level whose sums serve for the time before `start`.
    fn old_level(&self, evaluator: &Evaluator) -> Option<Level> {
        let [_, five, hour] = self.levels;
        let step = evaluator.old_step().filter(|_| self.past < self.start)?;
        Some(if step.0 % hour.slice.0 == 0 { hour } else { five })
    }

    /// Feeds the evaluator everything that is compacted, and closes the slices before `settled`.
    pub async fn read(self, tx: &mut Tx, mut evaluator: Evaluator) -> Result<Evaluator, StoreError> {
        let (old, fine) = (self.old_level(&evaluator), self.levels[0]);
        let (start, past) = (self.start, self.past);
        let end = Timestamp(i64::MAX / 2);
        let (pages, mut ahead) = mpsc::channel::<Read>(AHEAD);
        let taking = tokio::task::spawn_blocking(move || {
            let mut is_past = true;
            while let Some(read) = ahead.blocking_recv() {
                match read {
                    Read::Old(level, page) => self.take_old(&mut evaluator, level, &page)?,
                    Read::Fine(page) => {
                        if std::mem::take(&mut is_past) {
                            evaluator.end_of_past();
                        }
                        self.take_fine(&mut evaluator, end, &page)?;
                    }
                }
            }
            if is_past {
                evaluator.end_of_past();
            }
            self.close_to(&mut evaluator, self.settled);
            Ok(evaluator)
        });
        if let Some(level) = old {
            send(tx, archive::pages(level, past, start), &pages, |page| Read::Old(level, page)).await?;
        }
        send(tx, archive::pages(fine, start, end), &pages, Read::Fine).await?;
        drop(pages);
        taking.await.expect("reading history does not panic")
    }

    fn take_old(&self, evaluator: &mut Evaluator, level: Level, page: &[Chunk]) -> Result<(), StoreError> {
        let ratio = level.slice.0 / self.bucket.0;
        for chunk in page {
            archive::runs(chunk, level, self.past, self.start, |id, run| {
                run.iter().for_each(|(slice, brief)| evaluator.add_old(id, slice * ratio, brief));
            })?;
        }
        Ok(())
    }

    fn take_fine(&self, evaluator: &mut Evaluator, end: Timestamp, page: &[Chunk]) -> Result<(), StoreError> {
        for chunk in page {
            // Chunks come in the order of time: when one begins, what lies before it is complete,
            // but for the newest, which partials may still add to.
            self.close_to(evaluator, Timestamp(chunk.start).min(self.settled));
            archive::runs(chunk, self.levels[0], self.start, end, |id, run| evaluator.add_run(id, run))?;
        }
        Ok(())
    }

    fn close_to(&self, evaluator: &mut Evaluator, to: Timestamp) {
        evaluator.replay_to(to, |from| self.uptime.covers(from, self.bucket));
    }
}

enum Read {
    Old(Level, Vec<Chunk>),
    Fine(Vec<Chunk>),
}

/// Reads page after page ahead of the one that takes them. A taker that is gone has failed, and says itself why.
async fn send(tx: &mut Tx, mut walk: Pages, pages: &mpsc::Sender<Read>, read: impl Fn(Vec<Chunk>) -> Read) -> Result<(), StoreError> {
    while let Some(page) = walk.next(tx).await? {
        if pages.send(read(page)).await.is_err() {
            break;
        }
    }
    Ok(())
}
