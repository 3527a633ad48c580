#![no_main]
//! Aggregate rows.

use std::cell::RefCell;

use burnwatch::domain::keyed::KeyedHash;
use burnwatch::domain::redact::Redactor;
use burnwatch::domain::rows::Reader;
use burnwatch::domain::time::Span;
use burnwatch_fuzz::{Bench, DIMENSIONS, NOW};
use libfuzzer_sys::fuzz_target;

thread_local!(static BENCH: RefCell<Bench> = RefCell::default());

fuzz_target!(|body: &[u8]| {
    let reader = Reader::new(Span::MINUTE, &DIMENSIONS.map(str::to_owned), KeyedHash::new([1; 16]), Redactor::default());
    let mut rows = Vec::new();
    // A body that is no list at all is refused as a whole.
    let _ = reader.read(body, |line, row| rows.extend(row.ok().map(|row| (line, row))));
    BENCH.with_borrow_mut(|bench| {
        bench.sink.submit_rows(rows, NOW);
        bench.check();
    });
});
