//! A file of aggregate rows as an archive: read in blocks by several threads, put together in the order of the file.
//!
//! The same file gives the same archive, however the threads happen to run: series are numbered, and of rows with
//! the same id one is taken, by their place in the file.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::{Mutex, PoisonError, mpsc};

use crate::domain::archive::MemoryArchive;
use crate::domain::cell::Limit;
use crate::domain::metric::Metric;
use crate::domain::rows::{Reader, Row, RowError};
use crate::domain::segment::pack;
use crate::domain::series::{Series, SeriesId};
use crate::domain::time::Span;
use crate::domain::user_keys::UserKeys;
use crate::domain::varint::{read_i64, read_u64, write_i64, write_u64};

/// How much one thread reads at once, and the longest line.
const BLOCK: usize = 4 << 20;
const LINE_MAX: usize = 64 << 20;
const THREADS_MAX: usize = 8;
/// How many refused rows are named.
pub const REFUSED_SHOWN: usize = 20;
const WHOLE: &str = "a block holds only what a thread packed";

/// What a file came to.
pub struct Data {
    pub archive: MemoryArchive,
    pub rows: u64,
    /// Rows whose id stood in the file before.
    pub repeated: u64,
    pub refused: u64,
    /// Line and reason of the first refused rows.
    pub reasons: Vec<(usize, String)>,
}

/// How rows are read.
pub struct Reading<'a> {
    pub reader: &'a Reader,
    pub bucket: Span,
    /// Limits that rules name: counters of other limits are not kept.
    pub limits: &'a BTreeMap<Metric, Vec<Limit>>,
}

/// What a thread made of one block.
#[derive(Default)]
struct Block {
    number: usize,
    thread: usize,
    bytes: usize,
    lines: usize,
    /// Series that the thread met for the first time, by its own numbers.
    new: Vec<Series>,
    /// Series by the thread's number, slice, id, length, packed cell.
    cells: Vec<u8>,
    refused: u64,
    reasons: Vec<(usize, String)>,
}

/// Hands out blocks that end at line ends.
struct Blocks {
    file: File,
    rest: Vec<u8>,
    next: usize,
    done: bool,
}

/// Reads a file of NDJSON, or of one JSON array. `progress` is told how many bytes were read.
pub fn load(path: &Path, reading: &Reading<'_>, progress: &mut dyn FnMut(u64)) -> io::Result<Data> {
    let mut file = File::open(path)?;
    let mut rest = vec![0; BLOCK];
    let filled = fill(&mut file, &mut rest)?;
    rest.truncate(filled);
    let mut whole = Whole::new(reading.bucket);
    if rest.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[') {
        file.read_to_end(&mut rest)?;
        progress(rest.len() as u64);
        let mut thread = Thread::default();
        let mut block = Block::default();
        let read = reading.reader.read(&rest, |line, row| thread.take(line, row, reading, &mut block));
        read.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
        whole.take(block);
        return Ok(whole.finish());
    }
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get).min(THREADS_MAX);
    let blocks = Mutex::new(Blocks { file, rest, next: 0, done: false });
    std::thread::scope(|scope| {
        let (send, receive) = mpsc::sync_channel::<io::Result<Block>>(threads);
        for number in 0..threads {
            let (send, blocks) = (send.clone(), &blocks);
            scope.spawn(move || {
                let mut thread = Thread { number, ..Thread::default() };
                loop {
                    let block = blocks.lock().unwrap_or_else(PoisonError::into_inner).next();
                    let Some((number, bytes)) = block else { return };
                    let parsed = bytes.map(|bytes| Block { number, ..thread.parse(&bytes, reading) });
                    let failed = parsed.is_err();
                    if send.send(parsed).is_err() || failed {
                        return;
                    }
                }
            });
        }
        drop(send);
        let mut waiting: BTreeMap<usize, Block> = BTreeMap::new();
        let (mut next, mut bytes) = (0, 0);
        for block in receive {
            let block = block?;
            waiting.insert(block.number, block);
            while let Some(block) = waiting.remove(&next) {
                bytes += block.bytes as u64;
                whole.take(block);
                next += 1;
            }
            progress(bytes);
        }
        Ok(whole.finish())
    })
}

fn fill(file: &mut File, into: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < into.len() {
        match file.read(&mut into[filled..]) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

impl Blocks {
    /// The next block and its number; `None` at the end.
    fn next(&mut self) -> Option<(usize, io::Result<Vec<u8>>)> {
        if self.done {
            return None;
        }
        let number = self.next;
        self.next += 1;
        let block = self.read();
        self.done |= block.is_err();
        let empty = block.as_ref().is_ok_and(Vec::is_empty);
        (!empty).then_some((number, block))
    }

    fn read(&mut self) -> io::Result<Vec<u8>> {
        let mut block = std::mem::take(&mut self.rest);
        loop {
            let from = block.len();
            // The first block was read already, to see what kind of file it is.
            if from < BLOCK || !block.contains(&b'\n') {
                block.resize(from + BLOCK, 0);
                let filled = fill(&mut self.file, &mut block[from..])?;
                block.truncate(from + filled);
                if filled == 0 {
                    self.done = true;
                    return Ok(block);
                }
            }
            if let Some(end) = block.iter().rposition(|byte| *byte == b'\n') {
                self.rest = block.split_off(end + 1);
                return Ok(block);
            }
            if block.len() > LINE_MAX {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a line is longer than 64 MiB; this is no file of rows"));
            }
        }
    }
}

/// One thread's view of the file.
#[derive(Default)]
struct Thread {
    number: usize,
    /// Numbers of series, by metric and dimensions as they are written.
    known: HashMap<Box<[u8]>, u32, ahash::RandomState>,
    key: Vec<u8>,
    packed: Vec<u8>,
}

impl Thread {
    fn parse(&mut self, bytes: &[u8], reading: &Reading<'_>) -> Block {
        let mut block = Block { thread: self.number, bytes: bytes.len(), ..Block::default() };
        for line in bytes.split(|byte| *byte == b'\n') {
            block.lines += 1;
            if !line.iter().all(u8::is_ascii_whitespace) {
                self.take(block.lines, reading.reader.row(line), reading, &mut block);
            }
        }
        // What follows the last line end is a line only at the end of the file.
        block.lines -= 1;
        block
    }

    fn take(&mut self, line: usize, row: Result<Row<'_>, RowError>, reading: &Reading<'_>, block: &mut Block) {
        match row {
            Ok(row) => self.pack(row, reading, block),
            Err(error) => {
                block.refused += 1;
                if block.reasons.len() < REFUSED_SHOWN {
                    block.reasons.push((line, error.to_string()));
                }
            }
        }
    }

    fn pack(&mut self, mut row: Row<'_>, reading: &Reading<'_>, block: &mut Block) {
        self.key.clear();
        self.key.extend_from_slice(metric_name(&row.metric).as_bytes());
        for (name, value) in row.dims() {
            for text in [name, value] {
                self.key.push(0);
                self.key.extend_from_slice(text.as_bytes());
            }
        }
        let series = match self.known.get(&self.key[..]) {
            Some(known) => *known,
            None => {
                let number = self.known.len() as u32;
                self.known.insert(self.key.as_slice().into(), number);
                block.new.push(row.series());
                number
            }
        };
        let named = reading.limits.get(&row.metric).map_or(&[][..], Vec::as_slice);
        row.cell.over.retain(|over| named.contains(&over.limit));
        row.count_users(&UserKeys::default());
        self.packed.clear();
        pack(&row.cell, &mut self.packed);
        write_u64(&mut block.cells, u64::from(series));
        write_i64(&mut block.cells, row.at.0.div_euclid(reading.bucket.0));
        block.cells.push(u8::from(row.id.is_some()));
        if let Some(id) = row.id {
            block.cells.extend_from_slice(&id.to_le_bytes());
        }
        write_u64(&mut block.cells, self.packed.len() as u64);
        block.cells.extend_from_slice(&self.packed);
    }
}

fn metric_name(metric: &Metric) -> std::borrow::Cow<'_, str> {
    match metric {
        // Nearly all rows: no text is made for them.
        Metric::Request => "request".into(),
        Metric::PageView => "page_view".into(),
        Metric::Vital(vital) => vital.name().into(),
        other => other.to_string().into(),
    }
}

/// The archive while it is put together.
struct Whole {
    data: Data,
    lines: usize,
    ids: HashSet<u64, ahash::RandomState>,
    /// For each thread: its series, and their numbers in the archive once one of their rows was taken.
    threads: Vec<Vec<(Series, Option<SeriesId>)>>,
}

impl Whole {
    fn new(bucket: Span) -> Whole {
        let data = Data { archive: MemoryArchive::new(bucket), rows: 0, repeated: 0, refused: 0, reasons: Vec::new() };
        Whole { data, lines: 0, ids: HashSet::default(), threads: Vec::new() }
    }

    fn take(&mut self, block: Block) {
        let Data { archive, rows, repeated, refused, reasons } = &mut self.data;
        while self.threads.len() <= block.thread {
            self.threads.push(Vec::new());
        }
        let series = &mut self.threads[block.thread];
        series.extend(block.new.into_iter().map(|series| (series, None)));
        let mut input = &block.cells[..];
        while !input.is_empty() {
            let number = read_u64(&mut input).expect(WHOLE) as usize;
            let slice = read_i64(&mut input).expect(WHOLE);
            let (&has_id, rest) = input.split_first().expect(WHOLE);
            input = rest;
            let mut first = true;
            if has_id != 0 {
                let (id, rest) = input.split_first_chunk::<8>().expect(WHOLE);
                input = rest;
                first = self.ids.insert(u64::from_le_bytes(*id));
            }
            let length = read_u64(&mut input).expect(WHOLE) as usize;
            let (cell, rest) = input.split_at(length);
            input = rest;
            if !first {
                *repeated += 1;
                continue;
            }
            let (series, known) = &mut series[number];
            let id = *known.get_or_insert_with(|| archive.intern(series));
            archive.add_packed(id, slice, cell);
            *rows += 1;
        }
        *refused += block.refused;
        let room = REFUSED_SHOWN - reasons.len();
        reasons.extend(block.reasons.into_iter().take(room).map(|(line, reason)| (self.lines + line, reason)));
        self.lines += block.lines;
    }

    fn finish(mut self) -> Data {
        self.data.archive.seal();
        self.data
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::archive::Place;
    use crate::domain::cell::Counts;
    use crate::domain::keyed::KeyedHash;

    fn read(text: &str) -> Data {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let dimensions = ["app", "region"].map(str::to_owned);
        let reader = Reader::new(Span::MINUTE, &dimensions, KeyedHash::new([0; 16]), Default::default());
        let limits = BTreeMap::new();
        load(file.path(), &Reading { reader: &reader, bucket: Span::MINUTE, limits: &limits }, &mut |_| {}).unwrap()
    }

    fn row(minute: i64, region: &str, total: i64, more: &str) -> String {
        format!(
            "{{\"bucket\":{},\"metric\":\"request\",\"dims\":{{\"app\":\"shop\",\"region\":\"{region}\"}},\"total\":{total}{more}}}",
            minute * 60_000
        )
    }

    fn counts(data: &Data, slice: i64) -> Vec<(u32, i64)> {
        let mut found = Vec::new();
        data.archive.slice(&mut Place::default(), slice, |id, brief| found.push((id.0, brief.counts.raw)));
        found
    }

    #[test]
    fn rows_of_a_file_add_up_whatever_their_order() {
        let lines = [row(5, "de", 1, ""), row(2, "us", 2, ""), String::new(), row(5, "de", 4, ""), row(5, "us", 8, "")];
        for text in [lines.join("\n"), lines.join("\r\n") + "\n", format!("[{}]", lines.join(",").replace(",,", ","))] {
            let data = read(&text);
            assert_eq!((data.rows, data.refused, data.archive.series().len()), (4, 0, 2));
            assert_eq!(counts(&data, 5), [(0, 5), (1, 8)]);
            assert_eq!(data.archive.span(), Some((2, 6)));
        }
    }

    #[test]
    fn refused_rows_are_named_by_their_line_in_the_file() {
        let mut lines: Vec<String> = (0..60_000).map(|n| row(n % 500, "de", 1, "")).collect();
        lines[2] = "{".into();
        lines[49_999] = row(1, "de", 1, ",\"bad\":2");
        // More than one block.
        let data = read(&lines.join("\n"));
        assert_eq!((data.rows, data.refused), (59_998, 2));
        assert_eq!(data.reasons.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [3, 50_000]);
        assert_eq!(data.reasons[1].1, "`bad` is more than `total`");
        let mut all = Counts::ZERO;
        let mut place = Place::default();
        (0..500).for_each(|slice| data.archive.slice(&mut place, slice, |_, brief| all += brief.counts));
        assert_eq!(all.raw, 59_998);
    }

    #[test]
    fn of_rows_with_one_id_the_first_in_the_file_counts() {
        let mut lines: Vec<String> = (0..60_000).map(|n| row(1, "de", 1, &format!(",\"id\":\"{n}\""))).collect();
        lines.push(row(1, "us", 7, ",\"id\":\"30000\""));
        lines.push(row(1, "us", 5, ",\"id\":\"x\""));
        let data = read(&lines.join("\n"));
        assert_eq!((data.rows, data.repeated), (60_001, 1));
        assert_eq!(counts(&data, 1), [(0, 60_000), (1, 5)]);
    }

    #[test]
    fn an_empty_file_has_nothing() {
        for text in ["", "\n\n", "[]"] {
            let data = read(text);
            assert_eq!((data.rows, data.refused, data.archive.span()), (0, 0, None));
        }
    }
}
