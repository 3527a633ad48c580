//! Bodies that have begun to arrive: how much of them is held at a time. Whoever sends half a body and no more holds memory for
//! it; thousands who do so would hold all there is.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::connections::BASE;

/// Bytes that are held of bodies that are not whole yet, and of their connections. One that is larger may arrive alone.
const HELD_MAX: usize = 16 << 20;

/// All bodies that are arriving.
#[derive(Debug)]
pub(super) struct Uploads {
    max: usize,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    bytes: usize,
    next: u64,
    /// By number, so the oldest first.
    all: BTreeMap<u64, Part>,
}

#[derive(Debug)]
struct Part {
    bytes: usize,
    cut: Arc<Notify>,
}

/// One body that is arriving.
pub(super) struct Upload<'a> {
    uploads: &'a Uploads,
    number: u64,
    cut: Arc<Notify>,
}

impl Default for Uploads {
    fn default() -> Uploads {
        Uploads::new(HELD_MAX)
    }
}

impl Uploads {
    /// So many bytes at a time.
    pub fn new(max: usize) -> Uploads {
        Uploads { max, held: Mutex::default() }
    }

    /// A body begins to arrive.
    pub fn begin(&self) -> Upload<'_> {
        let mut held = self.lock();
        let (number, cut) = (held.next, Arc::new(Notify::new()));
        held.next += 1;
        held.all.insert(number, Part { bytes: 0, cut: cut.clone() });
        drop(held);
        let upload = Upload { uploads: self, number, cut };
        upload.grow(BASE);
        upload
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Upload<'_> {
    /// So much more of it is held. Where that is too much in all, those are cut off that have been at it for longest: a body that
    /// somebody means is whole after a moment.
    pub fn grow(&self, bytes: usize) {
        let mut held = self.uploads.lock();
        let Some(part) = held.all.get_mut(&self.number) else { return };
        part.bytes += bytes;
        held.bytes += bytes;
        while held.bytes > self.uploads.max && held.all.len() > 1 {
            let Some((_, oldest)) = held.all.pop_first() else { return };
            held.bytes -= oldest.bytes;
            oldest.cut.notify_one();
        }
    }

    /// Waits until it is cut off.
    pub async fn is_cut(&self) {
        self.cut.notified().await;
    }
}

impl Drop for Upload<'_> {
    fn drop(&mut self) {
        let mut held = self.uploads.lock();
        if let Some(part) = held.all.remove(&self.number) {
            held.bytes -= part.bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_are_cut_off_and_what_ends_is_free_again() {
        let uploads = Uploads::new(3 * BASE + 100);
        let held = || {
            let held = uploads.lock();
            (held.bytes - held.all.len() * BASE, held.all.len())
        };
        let all: Vec<Upload<'_>> = (0..3).map(|_| uploads.begin()).collect();
        all.iter().for_each(|upload| upload.grow(40));
        assert_eq!(held(), (80, 2), "the first one is cut off");
        // What it goes on to send is not held.
        all[0].grow(1_000);
        all[2].grow(30 + BASE);
        assert_eq!(held(), (70 + BASE, 1));
        all[2].grow(500 + 2 * BASE);
        assert_eq!(held(), (570 + 3 * BASE, 1), "alone it may be large");
        let other = uploads.begin();
        assert_eq!(held(), (0, 1), "a connection counts too");
        drop((all, other));
        assert_eq!(held(), (0, 0));
    }
}
