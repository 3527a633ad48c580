//! Distribution of values with a relative error of at most 1 %: a histogram with logarithmic bins
//! (DDSketch: Masson, Rim, Lee, VLDB 2019). Merging is addition, so it is exact and does not
//! depend on the order; weights are millionths of an event and may be negative in an update.

use super::varint::{read_i64, read_u64, write_i64, write_u64};

/// Relative error of a quantile.
pub const RELATIVE_ERROR: f64 = 0.01;
/// Ratio of a bin's upper to its lower bound: (1 + α) / (1 - α).
const GAMMA: f64 = (1.0 + RELATIVE_ERROR) / (1.0 - RELATIVE_ERROR);
/// Values up to this count as zero: no web vital is told apart below it.
const ZERO_MAX: f64 = 1e-6;

/// Bins by index, sorted; bin i holds the values in (γ^(i-1), γ^i].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sketch {
    bins: Vec<(i16, i64)>,
    zero: i64,
}

fn index(value: f64) -> i16 {
    (value.ln() / GAMMA.ln()).ceil().clamp(-2000.0, 4000.0) as i16
}

impl Sketch {
    /// Whether no bin holds anything.
    pub fn is_empty(&self) -> bool {
        self.zero == 0 && self.bins.is_empty()
    }

    /// Counts a value that is finite and not negative, with this weight in millionths.
    pub fn add(&mut self, value: f64, weight: i64) {
        if value <= ZERO_MAX {
            self.zero += weight;
        } else {
            self.add_bin(index(value), weight);
        }
    }

    /// Counts `weight` of values known to lie in `(low, high]`, spread evenly over that range.
    pub fn add_range(&mut self, low: f64, high: f64, weight: i64) {
        let first = if low <= ZERO_MAX { index(ZERO_MAX.max(high / 1000.0)) } else { index(low) };
        let last = index(high.max(ZERO_MAX));
        if high <= ZERO_MAX || last <= first {
            return self.add(high, weight);
        }
        let floor = GAMMA.powi(i32::from(first));
        let width = high - floor.min(low.max(0.0)).max(0.0);
        let (mut given, mut below) = (0_i64, 0.0_f64);
        for bin in first + 1..=last {
            let upper = GAMMA.powi(i32::from(bin)).min(high);
            below = ((upper - low.max(0.0)) / width).clamp(below, 1.0);
            let target = if bin == last { weight } else { (weight as f64 * below).round() as i64 };
            if target != given {
                self.add_bin(bin, target - given);
                given = target;
            }
        }
    }

    fn add_bin(&mut self, bin: i16, weight: i64) {
        match self.bins.binary_search_by_key(&bin, |(at, _)| *at) {
            Ok(at) => {
                self.bins[at].1 += weight;
                if self.bins[at].1 == 0 {
                    self.bins.remove(at);
                }
            }
            Err(at) if weight != 0 => self.bins.insert(at, (bin, weight)),
            Err(_) => {}
        }
    }

    /// Adds another sketch.
    pub fn merge(&mut self, other: &Sketch) {
        self.zero += other.zero;
        if self.bins.is_empty() {
            self.bins.clone_from(&other.bins);
            return;
        }
        for (bin, weight) in &other.bins {
            self.add_bin(*bin, *weight);
        }
    }

    /// Σ weight of all values, in millionths.
    pub fn weight(&self) -> i64 {
        self.zero + self.bins.iter().map(|(_, weight)| weight).sum::<i64>()
    }

    /// The value below which the share `q` of the weight lies, within 1 %; `None` without values.
    pub fn quantile(&self, q: f64) -> Option<f64> {
        let total = self.weight();
        if total <= 0 {
            return None;
        }
        let rank = q.clamp(0.0, 1.0) * total as f64;
        let mut below = self.zero;
        if below as f64 >= rank && below > 0 {
            return Some(0.0);
        }
        let mut last = 0.0;
        for (bin, weight) in &self.bins {
            below += weight;
            last = middle(*bin);
            if below as f64 >= rank && below > 0 {
                break;
            }
        }
        Some(last)
    }

    /// The share of the weight above `limit` (at it too unless `inclusive`), as a bin decides it;
    /// `None` without values.
    pub fn share_above(&self, limit: f64, inclusive: bool) -> Option<f64> {
        let total = self.weight();
        if total == 0 {
            return None;
        }
        let edge = if limit <= ZERO_MAX { i16::MIN } else { index(limit) };
        let mut above = if limit < 0.0 || (limit == 0.0 && !inclusive) { self.zero } else { 0 };
        for (bin, weight) in &self.bins {
            // A bin counts on the side of its middle.
            if *bin > edge || (*bin == edge && middle(*bin) > limit) {
                above += weight;
            }
        }
        Some((above as f64 / total as f64).clamp(0.0, 1.0))
    }

    /// Appends the sketch to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        // Whole events are the rule: then a millionth is divided out.
        let unit = 1_000_000;
        let whole = self.zero % unit == 0 && self.bins.iter().all(|(_, weight)| weight % unit == 0);
        let divisor = if whole { unit } else { 1 };
        write_u64(out, (self.bins.len() as u64) << 1 | u64::from(whole));
        write_i64(out, self.zero / divisor);
        let mut last = 0_i64;
        for (bin, weight) in &self.bins {
            write_i64(out, i64::from(*bin) - last);
            write_i64(out, weight / divisor);
            last = i64::from(*bin);
        }
    }

    /// Reads what [`Sketch::encode`] wrote and moves `input` past it; `None` if it is damaged.
    pub fn decode(input: &mut &[u8]) -> Option<Sketch> {
        let head = read_u64(input)?;
        let unit = if head & 1 == 1 { 1_000_000 } else { 1 };
        let count = usize::try_from(head >> 1).ok().filter(|count| *count <= input.len())?;
        let zero = read_i64(input)?.checked_mul(unit)?;
        let mut bins = Vec::with_capacity(count);
        let mut bin = 0_i64;
        for _ in 0..count {
            bin = bin.checked_add(read_i64(input)?)?;
            bins.push((i16::try_from(bin).ok()?, read_i64(input)?.checked_mul(unit)?));
        }
        bins.is_sorted_by(|a, b| a.0 < b.0).then_some(Sketch { bins, zero })
    }

    /// Moves `input` past one sketch without building it.
    pub fn skip(input: &mut &[u8]) -> Option<()> {
        let count = read_u64(input)? >> 1;
        for _ in 0..count.checked_mul(2)?.checked_add(1)? {
            read_u64(input)?;
        }
        Some(())
    }
}

/// The point of a bin from which neither bound is more than 1 % away.
fn middle(bin: i16) -> f64 {
    2.0 * GAMMA.powi(i32::from(bin)) / (GAMMA + 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ONE: i64 = 1_000_000;

    fn sketch(values: &[f64]) -> Sketch {
        let mut sketch = Sketch::default();
        values.iter().for_each(|value| sketch.add(*value, ONE));
        sketch
    }

    proptest! {
        #[test]
        fn quantiles_are_within_one_per_cent(mut values in prop::collection::vec(0.001_f64..1e6, 1..300), q in 0.0_f64..=1.0) {
            let got = sketch(&values).quantile(q).unwrap();
            values.sort_by(f64::total_cmp);
            let rank = ((q * values.len() as f64).ceil() as usize).clamp(1, values.len());
            let truth = values[rank - 1];
            prop_assert!((got - truth).abs() <= truth * RELATIVE_ERROR * 1.000_001, "{got} for {truth}");
        }

        #[test]
        fn merging_in_any_order_gives_the_same_sketch(a in prop::collection::vec(0.0_f64..1e5, 0..50), b in prop::collection::vec(0.0_f64..1e5, 0..50)) {
            let (mut ab, mut ba) = (sketch(&a), sketch(&b));
            ab.merge(&sketch(&b));
            ba.merge(&sketch(&a));
            prop_assert_eq!(&ab, &ba);
            let mut bytes = Vec::new();
            ab.encode(&mut bytes);
            let mut input = &bytes[..];
            prop_assert_eq!(Sketch::decode(&mut input), Some(ab));
            prop_assert!(input.is_empty());
            let mut input = &bytes[..];
            prop_assert_eq!(Sketch::skip(&mut input), Some(()));
            prop_assert!(input.is_empty());
        }

        #[test]
        fn damage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = Sketch::decode(&mut &bytes[..]);
            let _ = Sketch::skip(&mut &bytes[..]);
        }
    }

    #[test]
    fn an_update_takes_the_first_value_back() {
        let mut sketch = sketch(&[100.0, 900.0]);
        sketch.add(900.0, -ONE);
        sketch.add(1800.0, ONE);
        let mut expected = Sketch::default();
        expected.add(100.0, ONE);
        expected.add(1800.0, ONE);
        assert_eq!(sketch, expected);
    }

    #[test]
    fn zeros_are_values_and_nothing_is_unknown() {
        assert_eq!(sketch(&[0.0, 0.0, 1.0]).quantile(0.5), Some(0.0));
        assert_eq!(Sketch::default().quantile(0.5), None);
        assert_eq!(sketch(&[0.0, 0.2]).share_above(0.1, true), Some(0.5));
    }

    #[test]
    fn a_range_keeps_its_weight_and_its_bounds() {
        for (low, high) in [(0.0, 100.0), (1000.0, 2500.0), (2499.0, 2500.0)] {
            let mut sketch = Sketch::default();
            sketch.add_range(low, high, 1000 * ONE);
            assert_eq!(sketch.weight(), 1000 * ONE);
            assert!(sketch.quantile(1.0).unwrap() <= high * 1.011);
            assert!(sketch.quantile(0.0).unwrap() >= low * 0.989);
        }
    }
}
