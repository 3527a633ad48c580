#![no_main]
//! OTLP: the first byte says which signal in which encoding.

use std::cell::RefCell;

use burnwatch_fuzz::Bench;
use libfuzzer_sys::fuzz_target;

thread_local!(static BENCH: RefCell<Bench> = RefCell::default());

fuzz_target!(|data: &[u8]| {
    let Some((first, body)) = data.split_first() else { return };
    let path = ["/v1/logs", "/v1/traces", "/v1/metrics"][usize::from(first % 3)];
    let kind = ["application/json", "application/x-protobuf", ""][usize::from(first / 3 % 3)];
    BENCH.with_borrow_mut(|bench| bench.post(path, &[("content-type", kind)], body));
});
