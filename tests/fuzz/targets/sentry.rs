#![no_main]
//! Sentry's envelopes; what begins with a space is an event by itself.

use std::cell::RefCell;

use burnwatch_fuzz::Bench;
use libfuzzer_sys::fuzz_target;

thread_local!(static BENCH: RefCell<Bench> = RefCell::default());

fuzz_target!(|body: &[u8]| {
    let path = if body.starts_with(b" ") { "/api/7/store/" } else { "/api/7/envelope/" };
    BENCH.with_borrow_mut(|bench| bench.post(path, &[], body));
});
