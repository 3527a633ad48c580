#![no_main]
//! `/v1/rum`.

use std::cell::RefCell;

use burnwatch_fuzz::Bench;
use libfuzzer_sys::fuzz_target;

thread_local!(static BENCH: RefCell<Bench> = RefCell::default());

fuzz_target!(|body: &[u8]| BENCH.with_borrow_mut(|bench| bench.post("/v1/rum", &[], body)));
