#![no_main]
//! Compressed bodies: the first byte says how.

use std::cell::RefCell;

use burnwatch_fuzz::Bench;
use libfuzzer_sys::fuzz_target;

thread_local!(static BENCH: RefCell<Bench> = RefCell::default());

fuzz_target!(|data: &[u8]| {
    let Some((first, body)) = data.split_first() else { return };
    let encoding = ["gzip", "deflate", "br", "identity"][usize::from(first % 4)];
    BENCH.with_borrow_mut(|bench| bench.post("/v1/rum", &[("content-encoding", encoding)], body));
});
