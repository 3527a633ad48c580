//! The one place that draws random numbers: ids, and the jitter of retries.

use std::sync::{Mutex, PoisonError};

use crate::clock::{Clock, SystemClock};

/// Time in an id: milliseconds since 1970, until the year 2527.
const TIME_BITS: u32 = 44;
/// Where ids of one millisecond begin is drawn, so that two processes do not give the same.
const DRAWN_BITS: u32 = 36;

/// A new id: 16 characters of base 32 (80 bits), lower case, without letters that look alike. Those of one process come in
/// their order, also within a millisecond and when the clock goes back: what is stored together lies together in every index.
pub fn id() -> String {
    static LAST: Mutex<u128> = Mutex::new(0);
    let time = SystemClock.now().millis().max(0) as u128 & ((1 << TIME_BITS) - 1);
    let drawn = u64::from_le_bytes(bytes()) >> (64 - DRAWN_BITS);
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    *last = if time > *last >> DRAWN_BITS { time << DRAWN_BITS | u128::from(drawn) } else { *last + 1 };
    text(*last)
}

fn text(id: u128) -> String {
    const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
    (0..16).map(|at| ALPHABET[(id >> (75 - 5 * at) & 31) as usize] as char).collect()
}

/// A number in [0, 1).
pub fn fraction() -> f64 {
    (u64::from_le_bytes(bytes()) >> 11) as f64 / (1_u64 << 53) as f64
}

/// Random bytes, fit for keys.
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the system has random numbers");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_sort_as_they_were_made() {
        let ids: Vec<String> = (0..10_000).map(|_| id()).collect();
        assert!(ids.is_sorted());
        assert_eq!((text(0), text((1 << 80) - 1)), ("0".repeat(16), "z".repeat(16)));
    }

    #[test]
    fn ids_are_long_and_different() {
        let ids: std::collections::BTreeSet<String> = (0..1000).map(|_| id()).collect();
        assert_eq!(ids.len(), 1000);
        assert!(ids.iter().all(|id| id.len() == 16));
        assert!((0..1000).all(|_| (0.0..1.0).contains(&fraction())));
    }
}
