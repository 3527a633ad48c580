//! Distinct users: a mergeable sketch over keyed hashes of user ids.
//!
//! Up to [`FEW_MAX`] hashes are kept as they are; beyond that a HyperLogLog sketch with 4,096
//! registers takes over, whose standard error is 1.04 / √4096 = 1.6 %, also after merging
//! (Flajolet et al. 2007; Apache DataSketches). The estimate depends on the registers alone, so
//! the same users give the same number in any order of merging.

use datasketches::hll::{HllSketch, HllType, HllUnion};

/// log2 of the number of registers.
const LG_K: u8 = 12;
/// How many hashes are kept exactly.
pub const FEW_MAX: usize = 16;

/// A set of users, known by keyed 64-bit hashes; never by their ids (P).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Users(Set);

#[derive(Clone, Debug, PartialEq)]
enum Set {
    /// Sorted, without repeats.
    Few(Vec<u64>),
    Many(Box<HllSketch>),
}

impl Default for Set {
    fn default() -> Self {
        Set::Few(Vec::new())
    }
}

impl Users {
    /// Whether nobody was counted.
    pub fn is_empty(&self) -> bool {
        matches!(&self.0, Set::Few(few) if few.is_empty())
    }

    /// Counts one user by the keyed hash of the id.
    pub fn add(&mut self, hash: u64) {
        match &mut self.0 {
            Set::Few(few) => {
                if let Err(at) = few.binary_search(&hash) {
                    if few.len() < FEW_MAX {
                        few.insert(at, hash);
                    } else {
                        let mut sketch = sketch_of(few);
                        sketch.update(hash);
                        self.0 = Set::Many(Box::new(sketch));
                    }
                }
            }
            Set::Many(sketch) => sketch.update(hash),
        }
    }

    /// Adds the users of another set.
    pub fn merge(&mut self, other: &Users) {
        match (&mut self.0, &other.0) {
            (_, Set::Few(theirs)) => {
                for hash in theirs {
                    self.add(*hash);
                }
            }
            (Set::Few(ours), Set::Many(theirs)) => {
                let mut sketch = theirs.clone();
                for hash in ours.iter() {
                    sketch.update(*hash);
                }
                self.0 = Set::Many(sketch);
            }
            (Set::Many(ours), Set::Many(theirs)) => {
                let mut union = HllUnion::new(LG_K).expect("12 is a valid size");
                union.update(ours);
                union.update(theirs);
                **ours = union.to_sketch(HllType::Hll8);
            }
        }
    }

    /// How many different users, rounded; exact for a few.
    pub fn estimate(&self) -> u64 {
        match &self.0 {
            Set::Few(few) => few.len() as u64,
            Set::Many(sketch) => sketch.composite_estimate().round().max(0.0) as u64,
        }
    }

    /// Appends the set to `out`, length first.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match &self.0 {
            Set::Few(few) => {
                out.push(few.len() as u8);
                for hash in few {
                    out.extend_from_slice(&hash.to_le_bytes());
                }
            }
            Set::Many(sketch) => {
                let bytes = sketch.serialize();
                out.push(u8::MAX);
                out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
                out.extend_from_slice(&bytes);
            }
        }
    }

    /// Reads what [`Users::encode`] wrote and moves `input` past it; `None` if it is damaged.
    pub fn decode(input: &mut &[u8]) -> Option<Users> {
        let (&kind, rest) = input.split_first()?;
        if kind == u8::MAX {
            let (length, rest) = rest.split_first_chunk::<4>()?;
            let (bytes, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
            *input = rest;
            return Some(Users(Set::Many(Box::new(HllSketch::deserialize(bytes).ok()?))));
        }
        let count = usize::from(kind);
        let (bytes, rest) = rest.split_at_checked(count * 8)?;
        *input = rest;
        let few: Vec<u64> = bytes.chunks_exact(8).map(|b| u64::from_le_bytes(b.try_into().expect("eight bytes"))).collect();
        (count <= FEW_MAX && few.is_sorted()).then_some(Users(Set::Few(few)))
    }

    /// Moves `input` past one set without building it.
    pub fn skip(input: &mut &[u8]) -> Option<()> {
        let (&kind, rest) = input.split_first()?;
        let (skip, rest) = if kind == u8::MAX {
            let (length, rest) = rest.split_first_chunk::<4>()?;
            (u32::from_le_bytes(*length) as usize, rest)
        } else {
            (usize::from(kind) * 8, rest)
        };
        *input = rest.get(skip..)?;
        Some(())
    }
}

fn sketch_of(hashes: &[u64]) -> HllSketch {
    let mut sketch = HllSketch::new(LG_K, HllType::Hll8).expect("12 is a valid size");
    for hash in hashes {
        sketch.update(*hash);
    }
    sketch
}

#[cfg(test)]
mod tests {
    use super::*;

    fn users(ids: impl Iterator<Item = u64>) -> Users {
        let mut users = Users::default();
        // A fixed odd multiplier spreads small ids over 64 bits, as the keyed hash does.
        ids.for_each(|id| users.add(id.wrapping_mul(0x9E37_79B9_7F4A_7C15)));
        users
    }

    #[test]
    fn a_few_are_exact_and_repeats_do_not_count() {
        assert_eq!(users((0..16).chain(0..16)).estimate(), 16);
        assert_eq!(users(0..0).estimate(), 0);
    }

    #[test]
    fn merging_in_any_order_gives_the_same_estimate_within_two_per_cent() {
        let parts: Vec<Users> = (0..20).map(|part| users(part * 700..part * 700 + 1000)).collect();
        let mut forth = Users::default();
        parts.iter().for_each(|part| forth.merge(part));
        let mut back = Users::default();
        parts.iter().rev().for_each(|part| back.merge(part));
        assert_eq!(forth.estimate(), back.estimate());
        let truth = 19.0 * 700.0 + 1000.0;
        let error = (forth.estimate() as f64 - truth).abs() / truth;
        assert!(error < 0.04, "{error}");
    }

    #[test]
    fn the_standard_error_after_merging_is_at_most_two_per_cent() {
        let mut squares = 0.0;
        let trials = 40;
        for trial in 0..trials {
            let mut all = Users::default();
            for part in 0..5_u64 {
                all.merge(&users((0..2000).map(|id| (trial << 32) + part * 2000 + id)));
            }
            squares += (all.estimate() as f64 / 10_000.0 - 1.0).powi(2);
        }
        let error = (squares / trials as f64).sqrt();
        assert!(error <= 0.02, "{error}");
    }

    #[test]
    fn what_is_written_reads_back_and_damage_is_noticed() {
        for set in [users(0..0), users(0..5), users(0..100), users(0..5000)] {
            let mut bytes = Vec::new();
            set.encode(&mut bytes);
            bytes.push(7);
            let mut input = &bytes[..];
            assert_eq!(Users::decode(&mut input).unwrap().estimate(), set.estimate());
            assert_eq!(input, [7]);
            let mut input = &bytes[..];
            Users::skip(&mut input).unwrap();
            assert_eq!(input, [7]);
            let mut cut = &bytes[..bytes.len() - 2];
            if bytes.len() > 2 {
                assert!(Users::decode(&mut cut).is_none());
            }
        }
    }
}
