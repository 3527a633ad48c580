//! What was seen before: keyed hashes of bodies, body ids and row ids, remembered for a time and up to a number.

use std::collections::VecDeque;

use ahash::AHashSet;

use crate::domain::time::{Span, Timestamp};
use crate::domain::varint::{read_i64, write_i64};

/// Which memory a hash belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SeenKind {
    /// The `id` of a body.
    Id,
    /// A whole body from one source.
    Body,
    /// The `id` of an aggregate row.
    Row,
}

/// One remembered hash, as it is stored so that a restart does not forget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SeenKey {
    pub at: Timestamp,
    pub kind: SeenKind,
    pub hash: u64,
}

impl SeenKey {
    /// Keys as stored bytes: kind, time (difference to the first), hash.
    pub fn pack(keys: &[SeenKey]) -> Vec<u8> {
        let base = keys.first().map_or(0, |key| key.at.0);
        let mut out = Vec::with_capacity(16 + keys.len() * 12);
        write_i64(&mut out, base);
        for key in keys {
            out.push(match key.kind {
                SeenKind::Id => 0,
                SeenKind::Body => 1,
                SeenKind::Row => 2,
            });
            write_i64(&mut out, key.at.0 - base);
            out.extend_from_slice(&key.hash.to_le_bytes());
        }
        out
    }

    /// Reads what [`SeenKey::pack`] wrote; damaged bytes end the list early.
    pub fn unpack(mut input: &[u8]) -> Vec<SeenKey> {
        let mut keys = Vec::new();
        let Some(base) = read_i64(&mut input) else { return keys };
        while let Some((&kind, rest)) = input.split_first() {
            input = rest;
            let kind = match kind {
                0 => SeenKind::Id,
                1 => SeenKind::Body,
                2 => SeenKind::Row,
                _ => break,
            };
            let Some(at) = read_i64(&mut input) else { break };
            let Some((hash, rest)) = input.split_first_chunk::<8>() else { break };
            input = rest;
            keys.push(SeenKey { at: Timestamp(base + at), kind, hash: u64::from_le_bytes(*hash) });
        }
        keys
    }
}

/// A memory of hashes that forgets in steps of a part of its window: eight to ten bytes an entry,
/// no entry forgotten before its time unless there are too many.
#[derive(Debug)]
pub(super) struct Seen {
    window: Span,
    part: Span,
    part_max: usize,
    parts_max: usize,
    /// Oldest first; each with the time from which it holds hashes.
    parts: VecDeque<(Timestamp, AHashSet<u64>)>,
}

impl Seen {
    /// Remembers for `window` (and up to a `parts`-th of it longer), and at most `max` hashes.
    pub fn new(window: Span, parts: usize, max: usize) -> Seen {
        let part = Span((window.millis() / parts as i64).max(1));
        Seen { window, part, part_max: (max / parts).max(1), parts_max: parts + 1, parts: VecDeque::new() }
    }

    /// Whether this hash is new at `now`; remembers it then.
    pub fn insert(&mut self, hash: u64, now: Timestamp) -> bool {
        self.forget(now);
        if self.parts.iter().any(|(_, hashes)| hashes.contains(&hash)) {
            return false;
        }
        let fresh = self.parts.back().is_some_and(|(start, hashes)| now - *start < self.part && hashes.len() < self.part_max);
        if !fresh {
            let full = self.parts.len() >= self.parts_max;
            // The room of what is forgotten serves again: grown anew each time, it would lie about in pieces.
            let mut room = if full { self.parts.pop_front().unwrap_or_default().1 } else { AHashSet::new() };
            room.clear();
            // A clock that was set back must not make the new part look older than the one before it.
            let start = self.parts.back().map_or(now, |(last, _)| now.max(*last));
            self.parts.push_back((start, room));
        }
        self.parts.back_mut().expect("just made").1.insert(hash);
        true
    }

    fn forget(&mut self, now: Timestamp) {
        while self.parts.front().is_some_and(|(start, _)| now - *start >= self.window + self.part) {
            self.parts.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_new_again_after_its_window_and_not_before() {
        let mut seen = Seen::new(Span::minutes(10), 20, 1000);
        assert!(seen.insert(1, Timestamp(0)));
        assert!(!seen.insert(1, Timestamp(599_999)));
        assert!(seen.insert(1, Timestamp(660_000)));
        assert!(!seen.insert(1, Timestamp(660_001)));
    }

    #[test]
    fn the_memory_is_bounded_and_drops_the_oldest() {
        let mut seen = Seen::new(Span::minutes(10), 10, 1000);
        for hash in 0..100_000 {
            assert!(seen.insert(hash, Timestamp(5)));
        }
        assert!(seen.parts.iter().map(|(_, hashes)| hashes.len()).sum::<usize>() <= 1100);
        assert!(!seen.insert(99_999, Timestamp(6)));
    }
}
