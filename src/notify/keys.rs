//! The two keys of a delivery (CONTRACT 7). Both are plain hexadecimal, so that every receiver takes them as they are.

use sha2::{Digest, Sha256};

/// Names one notification to one receiver: `webhook-id`, Message-ID. Equal for every attempt.
pub fn delivery_id(incident: &str, generation: i64, sequence: i64, receiver: &str) -> String {
    hash(&["delivery", incident, &generation.to_string(), &sequence.to_string(), receiver])
}

/// Names the incident at one receiver: `dedup_key`, `alias`, `correlation_id`, a ticket's label. Equal from trigger to resolve.
pub fn correlation(incident: &str, generation: i64, receiver: &str) -> String {
    hash(&["correlation", incident, &generation.to_string(), receiver])
}

fn hash(parts: &[&str]) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        // With its length before it, no part can run into the next.
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    hex::encode(&hasher.finalize()[..16])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_differ_where_they_should_and_nowhere_else() {
        let id = delivery_id("inc-1", 1, 2, "pager");
        assert_eq!(id, delivery_id("inc-1", 1, 2, "pager"));
        assert_eq!(id.len(), 32);
        for other in [
            delivery_id("inc-1", 1, 3, "pager"),
            delivery_id("inc-1", 12, 0, "pager"),
            delivery_id("inc-1", 1, 2, "mail"),
            correlation("inc-1", 1, "pager"),
        ] {
            assert_ne!(id, other);
        }
        assert_ne!(correlation("a", 11, "b"), correlation("a", 1, "1b"));
    }
}
