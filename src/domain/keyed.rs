//! Keyed hashes: what stands for user ids, body ids and whole bodies, none of which is ever stored (P).
//!
//! SipHash-2-4 with a secret 128-bit key: the same key and input give the same number on every
//! machine and in every version, and without the key the number says nothing about the input.

use std::fmt;
use std::hash::Hasher;

use sha2::Digest;

/// What a hash is for; hashes for different purposes have nothing in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A user or session id, for the distinct-user sketches.
    User,
    /// The `id` of a body.
    BodyId,
    /// A whole body and its source.
    Body,
    /// The `id` of an aggregate row.
    RowId,
    /// The id of a thing that is reported again with a newer value: a web vital, a session.
    Repeat,
}

/// A secret key and the function that uses it.
#[derive(Clone)]
pub struct KeyedHash {
    low: u64,
    high: u64,
}

impl KeyedHash {
    /// With this key. Whoever calls keeps the key, so that hashes stay comparable across a restart.
    pub fn new(key: [u8; 16]) -> KeyedHash {
        let (low, high) = key.split_at(8);
        let number = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().expect("eight bytes"));
        KeyedHash { low: number(low), high: number(high) }
    }

    /// With a key made from a secret of any length.
    pub fn from_secret(secret: &[u8]) -> KeyedHash {
        let digest = sha2::Sha256::digest(secret);
        KeyedHash::new(digest[..16].try_into().expect("a digest has 32 bytes"))
    }

    /// The hash of some texts; where one ends and the next begins matters.
    pub fn of(&self, purpose: Purpose, parts: &[&[u8]]) -> u64 {
        #[expect(deprecated, reason = "std's SipHash with a key of our own; its successor DefaultHasher takes no key and may change")]
        let mut hasher = std::hash::SipHasher::new_with_keys(self.low, self.high);
        hasher.write_u8(purpose as u8);
        for part in parts {
            hasher.write_u64(part.len() as u64);
            hasher.write(part);
        }
        hasher.finish()
    }
}

impl fmt::Debug for KeyedHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyedHash([redacted])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_purpose_and_borders_matter_and_nothing_else() {
        let hash = KeyedHash::new([7; 16]);
        let base = hash.of(Purpose::User, &[b"ab", b"c"]);
        assert_eq!(base, KeyedHash::new([7; 16]).of(Purpose::User, &[b"ab", b"c"]));
        assert_ne!(base, KeyedHash::new([8; 16]).of(Purpose::User, &[b"ab", b"c"]));
        assert_ne!(base, hash.of(Purpose::BodyId, &[b"ab", b"c"]));
        assert_ne!(base, hash.of(Purpose::User, &[b"a", b"bc"]));
        assert_eq!(format!("{hash:?}"), "KeyedHash([redacted])");
    }

    #[test]
    fn the_function_never_changes_because_hashes_are_stored() {
        // From an independent SipHash-2-4: purpose byte, length in eight bytes, text.
        assert_eq!(KeyedHash::new([1; 16]).of(Purpose::User, &[b"user-18"]), 9_782_048_607_326_790_973);
    }
}
