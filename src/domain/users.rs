//! Distinct users: a mergeable sketch over keyed hashes of user ids.
//!
//! Up to [`FEW_MAX`] hashes are kept as they are; beyond that a HyperLogLog sketch with 4,096
//! registers takes over, whose standard error is 1.04 / √4096 = 1.6 %, also after merging
//! (Flajolet et al. 2007; Apache DataSketches). The estimate depends on the registers alone, so
//! the same users give the same number in any order of merging.
//!
//! The keys of the hashes rotate (`user_keys`), and the same user has another hash under each of them. So every set
//! knows its key, and sets of different keys are kept apart: their estimate is the largest one's. Nobody counts
//! twice; who came only before or only after the change of keys may be left out.

use datasketches::hll::{HllSketch, HllType, HllUnion};

/// log2 of the number of registers.
const LG_K: u8 = 12;
/// How many hashes are kept exactly.
pub const FEW_MAX: usize = 16;

/// Stands before sets that were not made under the first key.
const WITH_KEYS: u8 = 0xFE;

/// A set of users, known by keyed 64-bit hashes; never by their ids (P).
#[derive(Clone, Debug, PartialEq)]
pub struct Users(Parts);

#[derive(Clone, Debug, PartialEq)]
enum Parts {
    One(Part),
    /// At least two, sorted by key, none of them empty.
    Several(Box<Several>),
}

#[derive(Clone, Debug, PartialEq)]
struct Several(Vec<Part>);

/// The users that were counted under one key.
#[derive(Clone, Debug, Default, PartialEq)]
struct Part {
    key: u32,
    set: Set,
}

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

impl Default for Users {
    fn default() -> Users {
        Users(Parts::One(Part::default()))
    }
}

impl Users {
    /// Whether nobody was counted.
    pub fn is_empty(&self) -> bool {
        matches!(&self.0, Parts::One(part) if part.set.is_empty())
    }

    /// Counts one user by the hash under the first key.
    pub fn add(&mut self, hash: u64) {
        self.add_under(0, hash);
    }

    /// Counts one user by the hash under the key of this number.
    pub fn add_under(&mut self, key: u32, hash: u64) {
        self.part(key).add(hash);
    }

    /// Adds the users of another set.
    pub fn merge(&mut self, other: &Users) {
        for theirs in other.parts().iter().filter(|part| !part.set.is_empty()) {
            self.part(theirs.key).merge(&theirs.set);
        }
    }

    /// How many different users, rounded; exact for a few. Of several keys the largest number: the same people
    /// may stand behind all of them.
    pub fn estimate(&self) -> u64 {
        self.parts().iter().map(|part| part.set.estimate()).max().unwrap_or(0)
    }

    fn parts(&self) -> &[Part] {
        match &self.0 {
            Parts::One(part) => std::slice::from_ref(part),
            Parts::Several(several) => &several.0,
        }
    }

    /// The set of one key, made if there is none.
    fn part(&mut self, key: u32) -> &mut Set {
        let split = match &mut self.0 {
            Parts::One(part) if part.set.is_empty() => {
                part.key = key;
                None
            }
            Parts::One(part) if part.key != key => Some(std::mem::take(part)),
            Parts::One(_) | Parts::Several(_) => None,
        };
        if let Some(part) = split {
            self.0 = Parts::Several(Box::new(Several(vec![part])));
        }
        match &mut self.0 {
            Parts::One(part) => &mut part.set,
            Parts::Several(several) => {
                let at = several.0.partition_point(|part| part.key < key);
                if several.0.get(at).is_none_or(|part| part.key != key) {
                    several.0.insert(at, Part { key, set: Set::default() });
                }
                &mut several.0[at].set
            }
        }
    }

    /// Appends the set to `out`, length first.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let parts = self.parts();
        if let [Part { key: 0, set }] = parts {
            return set.encode(out);
        }
        out.push(WITH_KEYS);
        out.extend_from_slice(&(parts.len() as u32).to_le_bytes());
        for part in parts {
            out.extend_from_slice(&part.key.to_le_bytes());
            part.set.encode(out);
        }
    }

    /// Reads what [`Users::encode`] wrote and moves `input` past it; `None` if it is damaged.
    pub fn decode(input: &mut &[u8]) -> Option<Users> {
        let Some(count) = read_keys(input) else {
            return Some(Users(Parts::One(Part { key: 0, set: Set::decode(input)? })));
        };
        let mut users = Users::default();
        for _ in 0..count {
            let key = read_u32(input)?;
            let set = Set::decode(input)?;
            if !set.is_empty() {
                users.part(key).merge(&set);
            }
        }
        Some(users)
    }

    /// Moves `input` past one set without building it.
    pub fn skip(input: &mut &[u8]) -> Option<()> {
        let Some(count) = read_keys(input) else { return Set::skip(input) };
        for _ in 0..count {
            read_u32(input)?;
            Set::skip(input)?;
        }
        Some(())
    }
}

/// How many sets with their keys follow; `None`, and nothing read, where one of the first key does.
fn read_keys(input: &mut &[u8]) -> Option<u32> {
    let mut rest = input.strip_prefix(&[WITH_KEYS])?;
    let count = read_u32(&mut rest)?;
    *input = rest;
    Some(count)
}

fn read_u32(input: &mut &[u8]) -> Option<u32> {
    let (bytes, rest) = input.split_first_chunk::<4>()?;
    *input = rest;
    Some(u32::from_le_bytes(*bytes))
}

impl Set {
    fn is_empty(&self) -> bool {
        matches!(self, Set::Few(few) if few.is_empty())
    }

    fn add(&mut self, hash: u64) {
        match self {
            Set::Few(few) => {
                if let Err(at) = few.binary_search(&hash) {
                    if few.len() < FEW_MAX {
                        few.insert(at, hash);
                    } else {
                        let mut sketch = sketch_of(few);
                        sketch.update(hash);
                        *self = Set::Many(Box::new(sketch));
                    }
                }
            }
            Set::Many(sketch) => sketch.update(hash),
        }
    }

    fn merge(&mut self, other: &Set) {
        match (&mut *self, other) {
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
                *self = Set::Many(sketch);
            }
            (Set::Many(ours), Set::Many(theirs)) => {
                let mut union = HllUnion::new(LG_K).expect("12 is a valid size");
                union.update(ours);
                union.update(theirs);
                **ours = union.to_sketch(HllType::Hll8);
            }
        }
    }

    fn estimate(&self) -> u64 {
        match self {
            Set::Few(few) => few.len() as u64,
            Set::Many(sketch) => sketch.composite_estimate().round().max(0.0) as u64,
        }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        match self {
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

    fn decode(input: &mut &[u8]) -> Option<Set> {
        let (&kind, rest) = input.split_first()?;
        if kind == u8::MAX {
            let (length, rest) = rest.split_first_chunk::<4>()?;
            let (bytes, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
            *input = rest;
            return Some(Set::Many(Box::new(HllSketch::deserialize(bytes).ok()?)));
        }
        let count = usize::from(kind);
        let (bytes, rest) = rest.split_at_checked(count * 8)?;
        *input = rest;
        let few: Vec<u64> = bytes.chunks_exact(8).map(|b| u64::from_le_bytes(b.try_into().expect("eight bytes"))).collect();
        (count <= FEW_MAX && few.is_sorted()).then_some(Set::Few(few))
    }

    fn skip(input: &mut &[u8]) -> Option<()> {
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
    fn nobody_counts_twice_when_keys_change() {
        let under = |key, ids: std::ops::Range<u64>| {
            let mut users = Users::default();
            ids.for_each(|id| users.add_under(key, (id + u64::from(key) * 1_000_000).wrapping_mul(0x9E37_79B9_7F4A_7C15)));
            users
        };
        let mut both = under(3, 0..10);
        both.merge(&under(4, 0..10));
        assert_eq!(both.estimate(), 10);
        both.merge(&under(4, 10..14));
        assert_eq!(both.estimate(), 14);
        let mut back = under(4, 0..14);
        back.merge(&Users::default());
        back.merge(&under(3, 0..10));
        assert_eq!(back, both, "in any order");
        back.merge(&under(3, 0..2_000));
        assert!(back.estimate() > 1_900, "one side may be a sketch");
    }

    #[test]
    fn sets_of_the_first_key_are_written_as_ever() {
        let (mut first, mut later) = (Vec::new(), Vec::new());
        users(0..2).encode(&mut first);
        assert_eq!((first.len(), first[0]), (17, 2));
        let mut set = Users::default();
        set.add_under(1, 7);
        set.encode(&mut later);
        assert_eq!(later[0], WITH_KEYS);
        // Whoever does not know the mark sees damage, not other numbers.
        assert!(Set::decode(&mut &later[..]).is_none());
    }

    #[test]
    fn what_is_written_reads_back_and_damage_is_noticed() {
        let mut several = users(0..100);
        several.add_under(2, 5);
        let mut one = Users::default();
        one.add_under(9, 1);
        for set in [users(0..0), users(0..5), users(0..100), users(0..5000), several, one] {
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
