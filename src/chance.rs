//! The one place that draws random numbers: ids, and the jitter of retries.

/// A new id: 16 characters of base 32 (80 bits), lower case, without letters that look alike.
pub fn id() -> String {
    const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
    bytes::<10>()
        .chunks(5)
        .flat_map(|chunk| {
            let value = chunk.iter().fold(0_u64, |value, byte| value << 8 | u64::from(*byte));
            (0..8).map(move |at| ALPHABET[(value >> (35 - 5 * at) & 31) as usize] as char)
        })
        .collect()
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
    fn ids_are_long_and_different() {
        let ids: std::collections::BTreeSet<String> = (0..1000).map(|_| id()).collect();
        assert_eq!(ids.len(), 1000);
        assert!(ids.iter().all(|id| id.len() == 16));
        assert!((0..1000).all(|_| (0.0..1.0).contains(&fraction())));
    }
}
