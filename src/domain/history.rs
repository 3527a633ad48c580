//! Counts by slice of time, packed: the memory behind every window's far edge.
//!
//! A quiet or plain slice costs one to five bytes, so three days of minutes fit into about 20 KiB.
//! Reading goes forward through a [`Cursor`], one slice at a time, which is all that a rolling
//! window needs; changing an old slice repacks only the chunk that holds it.

use std::collections::VecDeque;

use super::cell::Counts;
use super::segment::Slice;
use super::varint::{read_i64, read_i128, read_u64, write_i64, write_i128, write_u64};

/// Slices per packed chunk.
const CHUNK: i64 = 64;

/// What is remembered of one slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    Counted(Counts),
    /// Taken out of windows and budget (SEMANTICS 15).
    Excluded,
}

impl Entry {
    const NOTHING: Entry = Entry::Counted(Counts::ZERO);
}

/// Packed entries of a contiguous run of slices.
#[derive(Clone, Debug)]
pub struct History {
    /// Number of the first chunk kept; a chunk number is slice / CHUNK.
    first_chunk: i64,
    /// Chunks in order; all but the last hold CHUNK entries. An empty box stands for zeros.
    chunks: VecDeque<Box<[u8]>>,
    /// The newest chunk, still growing.
    open: Vec<u8>,
    /// First slice that was ever pushed.
    start: Slice,
    /// One after the last slice.
    next: Slice,
}

/// A place in a history from which the next slice is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    slice: Slice,
    offset: u32,
}

impl Cursor {
    /// The slice that is read next.
    pub fn slice(&self) -> Slice {
        self.slice
    }
}

impl History {
    /// An empty history whose first slice will be `start`.
    pub fn new(start: Slice) -> History {
        let first_chunk = start.div_euclid(CHUNK);
        // Slices before the start are zeros of the first chunk, so that chunks stay aligned.
        let open = vec![0; (start - first_chunk * CHUNK) as usize];
        History { first_chunk, chunks: VecDeque::new(), open, start, next: start }
    }

    /// The slice that is pushed next.
    pub fn next(&self) -> Slice {
        self.next
    }

    /// The first slice that can be read.
    pub fn first(&self) -> Slice {
        self.start.max(self.first_chunk * CHUNK)
    }

    /// Appends the entry of the slice [`History::next`].
    #[inline(always)]
    pub fn push(&mut self, entry: Entry) {
        self.push_with(|open| encode(entry, open));
    }

    /// The same for so many events that weigh one, and so many bad ones among them.
    #[inline]
    pub fn push_plain(&mut self, raw: u32, bad: u32) {
        self.push_with(|open| encode_plain(u64::from(raw), u64::from(bad), open));
    }

    #[inline(always)]
    fn push_with(&mut self, encode: impl FnOnce(&mut Vec<u8>)) {
        if self.open.capacity() == 0 {
            self.open.reserve(2 * CHUNK as usize);
        }
        encode(&mut self.open);
        self.next += 1;
        if self.next.rem_euclid(CHUNK) == 0 {
            let quiet = self.open.iter().all(|byte| *byte == 0);
            self.chunks.push_back(if quiet { Box::default() } else { Box::from(&self.open[..]) });
            self.open.clear();
        }
    }

    /// Forgets whole chunks that end at or before `slice`.
    pub fn forget_before(&mut self, slice: Slice) {
        while (self.first_chunk + 1) * CHUNK <= slice && self.chunks.pop_front().is_some() {
            self.first_chunk += 1;
        }
    }

    fn chunk(&self, chunk: i64) -> &[u8] {
        let at = (chunk - self.first_chunk) as usize;
        self.chunks.get(at).map_or(&self.open, |packed| packed)
    }

    /// A cursor at the slice that is pushed next.
    pub fn end(&self) -> Cursor {
        Cursor { slice: self.next, offset: if self.next.rem_euclid(CHUNK) == 0 { 0 } else { self.open.len() as u32 } }
    }

    /// A cursor at a slice, which is clamped into what is kept.
    pub fn cursor(&self, slice: Slice) -> Cursor {
        let slice = slice.clamp(self.first(), self.next);
        let mut cursor = Cursor { slice: slice.div_euclid(CHUNK) * CHUNK, offset: 0 };
        if slice == self.next && slice.rem_euclid(CHUNK) == 0 {
            return Cursor { slice, offset: 0 };
        }
        let chunk = self.chunk(slice.div_euclid(CHUNK));
        if chunk.is_empty() {
            return Cursor { slice, offset: 0 };
        }
        let mut input = chunk;
        while cursor.slice < slice {
            decode(&mut input);
            cursor.slice += 1;
        }
        cursor.offset = (chunk.len() - input.len()) as u32;
        cursor
    }

    /// Reads the entry at the cursor and moves it on by one slice.
    ///
    /// Must not be called at the end, where `cursor.slice() == history.next()`.
    #[inline]
    pub fn read(&self, cursor: &mut Cursor) -> Entry {
        debug_assert!(cursor.slice < self.next);
        let chunk = self.chunk(cursor.slice.div_euclid(CHUNK));
        let mut entry = Entry::NOTHING;
        if !chunk.is_empty() {
            let mut input = &chunk[cursor.offset as usize..];
            let before = input.len();
            entry = decode(&mut input);
            cursor.offset += (before - input.len()) as u32;
        }
        cursor.slice += 1;
        if cursor.slice.rem_euclid(CHUNK) == 0 {
            cursor.offset = 0;
        }
        entry
    }

    /// The entry of one slice; nothing if it is not kept.
    pub fn get(&self, slice: Slice) -> Option<Entry> {
        if !(self.first()..self.next).contains(&slice) {
            return None;
        }
        let mut cursor = self.cursor(slice);
        Some(self.read(&mut cursor))
    }

    /// Changes the entry of one kept slice; cursors inside its chunk are put right through `cursors`.
    pub fn set<'a>(&mut self, slice: Slice, entry: Entry, cursors: impl Iterator<Item = &'a mut Cursor>) {
        if !(self.first()..self.next).contains(&slice) {
            return;
        }
        let number = slice.div_euclid(CHUNK);
        let at = (number - self.first_chunk) as usize;
        let end = ((number + 1) * CHUNK).min(self.next);
        let mut input = self.chunk(number);
        let quiet = input.is_empty();
        let mut packed = Vec::with_capacity(input.len() + 8);
        for at in number * CHUNK..end {
            let old = if quiet { Entry::NOTHING } else { decode(&mut input) };
            encode(if at == slice { entry } else { old }, &mut packed);
        }
        match self.chunks.get_mut(at) {
            Some(chunk) => *chunk = packed.into_boxed_slice(),
            None => self.open = packed,
        }
        for cursor in cursors {
            if cursor.slice.div_euclid(CHUNK) == number {
                *cursor = self.cursor(cursor.slice);
            }
        }
    }

    /// Bytes that this history occupies on the heap.
    pub fn heap_bytes(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.len()).sum::<usize>() + self.chunks.capacity() * size_of::<Box<[u8]>>() + self.open.capacity()
    }
}

const PLAIN_GOOD: u64 = 0;
const PLAIN: u64 = 1;
const FULL: u64 = 2;
const EXCLUDED: u64 = 3;

#[inline(always)]
fn encode(entry: Entry, out: &mut Vec<u8>) {
    let counts = match entry {
        Entry::Excluded => return out.push(EXCLUDED as u8),
        Entry::Counted(counts) => counts,
    };
    if counts.is_plain() && (0..1 << 61).contains(&counts.raw) && counts.raw_bad >= 0 {
        return encode_plain(counts.raw as u64, counts.raw_bad as u64, out);
    }
    out.push(FULL as u8);
    for value in [counts.raw, counts.raw_bad, counts.total, counts.bad] {
        write_i64(out, value);
    }
    write_i128(out, counts.sq);
}

#[inline(always)]
fn encode_plain(raw: u64, bad: u64, out: &mut Vec<u8>) {
    if bad == 0 {
        write_u64(out, raw << 2 | PLAIN_GOOD);
    } else {
        write_u64(out, raw << 2 | PLAIN);
        write_u64(out, bad);
    }
}

#[inline]
fn decode(input: &mut &[u8]) -> Entry {
    const WHOLE: &str = "a history holds only what was encoded";
    let head = read_u64(input).expect(WHOLE);
    match head & 3 {
        PLAIN_GOOD => Entry::Counted(Counts::plain((head >> 2) as i64, 0)),
        PLAIN => Entry::Counted(Counts::plain((head >> 2) as i64, read_u64(input).expect(WHOLE) as i64)),
        EXCLUDED => Entry::Excluded,
        _ => {
            let mut next = || read_i64(input).expect(WHOLE);
            let (raw, raw_bad, total, bad) = (next(), next(), next(), next());
            Entry::Counted(Counts { raw, raw_bad, total, bad, sq: read_i128(input).expect(WHOLE) })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry() -> impl Strategy<Value = Entry> {
        prop_oneof![
            3 => Just(Entry::NOTHING),
            4 => (0_i64..1_000_000, 0_i64..50).prop_map(|(raw, bad)| Entry::Counted(Counts::plain(raw, bad))),
            2 => (-50_i64..5000, -50_i64..50, 1_i64..9).prop_map(|(raw, bad, weight)| Entry::Counted(Counts {
                raw, raw_bad: bad, total: raw * weight * 333_333, bad: bad * weight * 333_333, sq: i128::from(raw * weight * weight) * 111_111,
            })),
            1 => Just(Entry::Excluded),
        ]
    }

    proptest! {
        #[test]
        fn reads_back_what_was_pushed_and_changed(
            start in -200_i64..200,
            pushed in prop::collection::vec(entry(), 0..300),
            changes in prop::collection::vec((0_usize..300, entry()), 0..20),
            at in 0_i64..300,
        ) {
            let mut history = History::new(start);
            let mut model = pushed.clone();
            pushed.iter().for_each(|entry| history.push(*entry));
            let mut cursor = history.cursor(start + at);
            for (slot, entry) in changes {
                if slot < model.len() {
                    model[slot] = entry;
                    history.set(start + slot as i64, entry, std::iter::once(&mut cursor));
                }
            }
            prop_assert_eq!(cursor, history.cursor(start + at));
            let mut all = history.cursor(start);
            let read: Vec<_> = model.iter().map(|_| history.read(&mut all)).collect();
            prop_assert_eq!(&read, &model);
            let from = (at as usize).min(model.len());
            let rest: Vec<_> = model[from..].iter().map(|_| history.read(&mut cursor)).collect();
            prop_assert_eq!(&rest[..], &model[from..]);
            history.forget_before(start + at);
            for (slot, expected) in model.iter().enumerate().skip(from) {
                prop_assert_eq!(history.get(start + slot as i64), Some(*expected));
            }
        }
    }

    #[test]
    fn three_days_of_busy_minutes_fit_into_24_kib() {
        let mut history = History::new(0);
        for slice in 0..4320 {
            history.push(Entry::Counted(Counts::plain(3000 + slice % 700, slice % 3)));
        }
        assert!(history.heap_bytes() < 24 * 1024, "{}", history.heap_bytes());
    }
}
