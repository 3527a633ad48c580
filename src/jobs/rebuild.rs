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
/// How much history is taken together: so many buckets (windows hold some thousands that have not closed), or this many bytes.
const BATCH_BUCKETS: i64 = 480;
const BATCH_BYTES_MAX: usize = 32 << 20;

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
            let (mut is_past, mut batch) = (true, Batch::default());
            while let Some(read) = ahead.blocking_recv() {
                match read {
                    Read::Old(level, page) => {
                        for chunk in page {
                            if !batch.has_room_for(&chunk, Span(i64::MAX)) {
                                self.take_old(&mut evaluator, level, batch.take())?;
                            }
                            batch.push(chunk);
                        }
                    }
                    Read::Fine(page) => {
                        if std::mem::take(&mut is_past) {
                            self.end_of_past(&mut evaluator, old, batch.take())?;
                        }
                        for chunk in page {
                            if !batch.has_room_for(&chunk, Span(self.bucket.0 * BATCH_BUCKETS)) {
                                self.take_fine(&mut evaluator, end, batch.take())?;
                            }
                            batch.push(chunk);
                        }
                    }
                }
            }
            if is_past {
                self.end_of_past(&mut evaluator, old, batch.take())?;
            }
            self.take_fine(&mut evaluator, end, batch.take())?;
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

    fn end_of_past(&self, evaluator: &mut Evaluator, old: Option<Level>, last: Vec<Chunk>) -> Result<(), StoreError> {
        if let Some(level) = old {
            self.take_old(evaluator, level, last)?;
        }
        evaluator.end_of_past();
        Ok(())
    }

    fn take_old(&self, evaluator: &mut Evaluator, level: Level, mut batch: Vec<Chunk>) -> Result<(), StoreError> {
        let ratio = level.slice.0 / self.bucket.0;
        batch.sort_unstable_by_key(|chunk| (chunk.grp, chunk.start));
        for chunk in &batch {
            archive::runs(chunk, level, self.past, self.start, |id, run| evaluator.add_old(id, ratio, run))?;
        }
        Ok(())
    }

    fn take_fine(&self, evaluator: &mut Evaluator, end: Timestamp, mut batch: Vec<Chunk>) -> Result<(), StoreError> {
        // Chunks come in the order of time: what lies before the first one is complete, but for the newest slices,
        // which partials may still add to.
        let Some(first) = batch.first() else { return Ok(()) };
        self.close_to(evaluator, Timestamp(first.start).min(self.settled));
        // A series after the other, so that its windows are still at hand when its next hour comes.
        batch.sort_unstable_by_key(|chunk| (chunk.grp, chunk.start));
        for chunk in &batch {
            archive::runs(chunk, self.levels[0], self.start, end, |id, run| evaluator.add_run(id, run))?;
        }
        Ok(())
    }

    fn close_to(&self, evaluator: &mut Evaluator, to: Timestamp) {
        evaluator.replay_to(to, |from| self.uptime.covers(from, self.bucket));
    }
}

/// Chunks of some hours, in the order of time, that are taken together.
#[derive(Default)]
struct Batch {
    chunks: Vec<Chunk>,
    bytes: usize,
}

impl Batch {
    fn has_room_for(&self, chunk: &Chunk, span: Span) -> bool {
        let begins = self.chunks.first().map_or(chunk.start, |first| first.start);
        chunk.start - begins < span.0 && self.bytes + chunk.data.len() <= BATCH_BYTES_MAX
    }

    fn push(&mut self, chunk: Chunk) {
        self.bytes += chunk.data.len();
        self.chunks.push(chunk);
    }

    fn take(&mut self) -> Vec<Chunk> {
        self.bytes = 0;
        std::mem::take(&mut self.chunks)
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
