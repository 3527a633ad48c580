//! Background work: idempotent functions without input, run on a timer and when woken.

pub mod deliver;
