//! What was read of stored history, kept for a while, so that no page waits for it.
//!
//! Always holds: one reading of a thing at a time and two in all; a bounded number of things is kept; a page waits for a
//! first reading no longer than `PATIENCE`, and for a later one not at all.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, watch};

use crate::domain::time::{Span, Timestamp};

/// Most things that are kept; the one that was asked for the longest ago goes first.
const KEPT_MAX: usize = 64;
/// Readings at a time: the store has pages to answer meanwhile.
const READINGS_MAX: usize = 2;
/// How long a page waits for what was never read: a small store answers by then, and the page is whole at once.
const PATIENCE: Duration = Duration::from_millis(6);

/// Things by their key.
#[derive(Debug)]
pub struct Remembered<K, T> {
    kept: Mutex<BTreeMap<K, Kept<T>>>,
    turns: Arc<Semaphore>,
}

#[derive(Debug)]
struct Kept<T> {
    known: Option<(Timestamp, Arc<T>)>,
    asked: Timestamp,
    /// A page went without it.
    owed: bool,
    /// Its other end is held by the reading; it is gone when that ends, also by a panic.
    reading: watch::Receiver<()>,
}

impl<K, T> Default for Remembered<K, T> {
    fn default() -> Remembered<K, T> {
        Remembered { kept: Mutex::default(), turns: Arc::new(Semaphore::new(READINGS_MAX)) }
    }
}

impl<K: Ord + Clone + Send + 'static, T: Send + Sync + 'static> Remembered<K, T> {
    /// What is known. If that is older than `fresh`, it is read anew meanwhile; `told` is called when it comes after a page went
    /// without it. `None`: it is still being read.
    pub async fn get<R>(
        self: &Arc<Self>,
        key: K,
        (now, fresh): (Timestamp, Span),
        told: impl FnOnce() + Send + 'static,
        read: impl FnOnce() -> R,
    ) -> Option<Arc<T>>
    where
        R: Future<Output = T> + Send + 'static,
    {
        let (known, mut reading, begun) = self.look(&key, now, fresh);
        if let Some(end) = begun {
            self.start(key.clone(), now, end, told, read());
        }
        if known.is_none() {
            // A timeout is an answer, too: the page says that it is being read.
            drop(tokio::time::timeout(PATIENCE, reading.changed()).await);
            let mut kept = self.kept();
            let kept = kept.get_mut(&key)?;
            // A page goes without it, and has to be told when it is there.
            kept.owed = kept.known.is_none();
            return kept.known.as_ref().map(|(_, value)| Arc::clone(value));
        }
        known.map(|(_, value)| value)
    }

    /// What is known, the end of the reading that runs, and the other end of it where it has yet to be started.
    fn look(&self, key: &K, now: Timestamp, fresh: Span) -> (Option<(Timestamp, Arc<T>)>, watch::Receiver<()>, Option<watch::Sender<()>>) {
        let mut kept = self.kept();
        if !kept.contains_key(key) && kept.len() >= KEPT_MAX {
            let idle = kept.iter().filter(|(_, kept)| kept.reading.has_changed().is_err());
            if let Some(oldest) = idle.min_by_key(|(_, kept)| kept.asked).map(|(key, _)| key.clone()) {
                kept.remove(&oldest);
            }
        }
        let entry = kept.entry(key.clone()).or_insert_with(|| Kept { known: None, asked: now, owed: false, reading: watch::channel(()).1 });
        entry.asked = now;
        let old = entry.known.as_ref().is_none_or(|(at, _)| now - *at >= fresh);
        // A sender that is gone is a reading that is over.
        let begun = (old && entry.reading.has_changed().is_err()).then(|| {
            let (end, reading) = watch::channel(());
            entry.reading = reading;
            end
        });
        (entry.known.clone(), entry.reading.clone(), begun)
    }

    fn start(
        self: &Arc<Self>,
        key: K,
        now: Timestamp,
        end: watch::Sender<()>,
        told: impl FnOnce() + Send + 'static,
        read: impl Future<Output = T> + Send + 'static,
    ) {
        let memory = Arc::clone(self);
        tokio::spawn(async move {
            let _end = end;
            let Ok(_turn) = memory.turns.clone().acquire_owned().await else { return };
            let value = Arc::new(read.await);
            let owed = match memory.kept().get_mut(&key) {
                Some(kept) => {
                    kept.known = Some((now, value));
                    std::mem::take(&mut kept.owed)
                }
                // It was forgotten meanwhile.
                None => false,
            };
            if owed {
                told();
            }
        });
    }

    // A panic while the lock was held leaves a map that is still whole.
    fn kept(&self) -> MutexGuard<'_, BTreeMap<K, Kept<T>>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn at(seconds: i64) -> (Timestamp, Span) {
        (Timestamp(seconds * 1_000), Span::MINUTE)
    }

    #[tokio::test]
    async fn what_is_known_is_shown_at_once_and_read_anew_when_it_is_old() {
        let memory: Arc<Remembered<u8, usize>> = Arc::default();
        let reads = Arc::new(AtomicUsize::new(0));
        let ask = |now: (Timestamp, Span)| {
            let (memory, reads) = (memory.clone(), reads.clone());
            async move { memory.get(1, now, || {}, || async move { reads.fetch_add(1, Ordering::SeqCst) }).await.map(|value| *value) }
        };
        assert_eq!(ask(at(0)).await, Some(0), "a quick first reading is waited for");
        assert_eq!(ask(at(59)).await, Some(0));
        assert_eq!(reads.load(Ordering::SeqCst), 1, "it is fresh for a minute");
        assert_eq!(ask(at(60)).await, Some(0), "what is known is shown while it is read anew");
        tokio::task::yield_now().await;
        assert_eq!(ask(at(61)).await, Some(1));
    }

    #[tokio::test]
    async fn nobody_waits_long_and_one_reading_serves_all() {
        let memory: Arc<Remembered<u8, u8>> = Arc::default();
        let (go, gone) = tokio::sync::oneshot::channel::<()>();
        let told = Arc::new(AtomicUsize::new(0));
        let tell = {
            let told = told.clone();
            move || {
                told.fetch_add(1, Ordering::SeqCst);
            }
        };
        let slow = async move {
            let _ = gone.await;
            7
        };
        assert_eq!(memory.get(1, at(0), tell, || slow).await, None);
        assert_eq!(memory.get(1, at(0), || {}, || async { 8 }).await, None, "a second reading is not begun beside the first");
        go.send(()).expect("the reading waits");
        while told.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(memory.get(1, at(1), || {}, || async { 9 }).await, Some(Arc::new(7)));
        assert_eq!(told.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn a_reading_that_panics_does_not_block_the_next() {
        let memory: Arc<Remembered<u8, u8>> = Arc::default();
        assert_eq!(memory.get(1, at(0), || {}, || async { panic!("on purpose") }).await, None);
        assert_eq!(memory.get(1, at(0), || {}, || async { 2 }).await, Some(Arc::new(2)));
    }

    #[tokio::test]
    async fn what_nobody_asks_for_is_forgotten() {
        let memory: Arc<Remembered<usize, usize>> = Arc::default();
        for key in 0..KEPT_MAX * 3 {
            assert_eq!(memory.get(key, at(key as i64), || {}, || async move { key }).await, Some(Arc::new(key)));
        }
        assert!(memory.kept().len() <= KEPT_MAX);
    }
}
