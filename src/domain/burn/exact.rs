//! Whole numbers and fractions of any size: what decides a page is compared without rounding and without overflow.

use std::cmp::Ordering;

/// Compares two products of whole numbers without rounding and without overflow.
pub fn compare_products(left: &[u64], right: &[u64]) -> Ordering {
    const LIMBS: usize = 8;
    fn product(factors: &[u64]) -> [u64; LIMBS] {
        let mut limbs = [0_u64; LIMBS];
        limbs[0] = 1;
        for factor in factors {
            let mut carry = 0_u128;
            for limb in &mut limbs {
                let value = u128::from(*limb) * u128::from(*factor) + carry;
                *limb = value as u64;
                carry = value >> 64;
            }
            debug_assert_eq!(carry, 0, "eight factors of 64 bits fit into 512");
        }
        limbs
    }
    let small = |factors: &[u64]| factors.iter().try_fold(1_u128, |product, factor| product.checked_mul(u128::from(*factor)));
    match (small(left), small(right)) {
        (Some(left), Some(right)) => left.cmp(&right),
        _ => product(left).iter().rev().cmp(product(right).iter().rev()),
    }
}

/// A fraction of any size, not below zero.
#[derive(Clone, Debug)]
pub(super) struct Ratio {
    top: Big,
    bottom: Big,
}

impl Ratio {
    /// One product over another.
    pub fn new(top: &[u64], bottom: &[u64]) -> Ratio {
        let product = |factors: &[u64]| factors.iter().fold(Big::from(1), |product, factor| product.times(*factor));
        Ratio { top: product(top), bottom: product(bottom) }
    }

    pub fn plus(&self, other: &Ratio) -> Ratio {
        Ratio { top: self.top.by(&other.bottom).plus(&other.top.by(&self.bottom)), bottom: self.bottom.by(&other.bottom) }
    }

    pub fn by(&self, other: &Ratio) -> Ratio {
        Ratio { top: self.top.by(&other.top), bottom: self.bottom.by(&other.bottom) }
    }

    /// `None` where `other` is zero.
    pub fn over(&self, other: &Ratio) -> Option<Ratio> {
        (!other.top.limbs.is_empty()).then(|| self.by(&Ratio { top: other.bottom.clone(), bottom: other.top.clone() }))
    }

    pub fn cmp(&self, other: &Ratio) -> Ordering {
        self.top.by(&other.bottom).cmp(&other.top.by(&self.bottom))
    }
}

/// A whole number of any size: the mean of many fractions has no bound that a machine word would hold.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Big {
    /// The lowest first, none of them zero at the end.
    limbs: Vec<u64>,
}

impl Big {
    fn from(value: u64) -> Big {
        Big { limbs: vec![value] }.trimmed()
    }

    fn trimmed(mut self) -> Big {
        while self.limbs.last() == Some(&0) {
            self.limbs.pop();
        }
        self
    }

    fn times(&self, factor: u64) -> Big {
        let mut carry = 0_u128;
        let mut limbs = Vec::with_capacity(self.limbs.len() + 1);
        for limb in &self.limbs {
            let value = u128::from(*limb) * u128::from(factor) + carry;
            limbs.push(value as u64);
            carry = value >> 64;
        }
        limbs.push(carry as u64);
        Big { limbs }.trimmed()
    }

    fn plus(&self, other: &Big) -> Big {
        let mut carry = 0_u128;
        let mut limbs = Vec::new();
        for at in 0..self.limbs.len().max(other.limbs.len()) {
            let value = [self, other].iter().map(|big| u128::from(big.limbs.get(at).copied().unwrap_or(0))).sum::<u128>() + carry;
            limbs.push(value as u64);
            carry = value >> 64;
        }
        limbs.push(carry as u64);
        Big { limbs }.trimmed()
    }

    fn by(&self, other: &Big) -> Big {
        let mut product = Big::from(0);
        for limb in other.limbs.iter().rev() {
            if !product.limbs.is_empty() {
                product.limbs.insert(0, 0);
            }
            product = product.plus(&self.times(*limb));
        }
        product
    }

    fn cmp(&self, other: &Big) -> Ordering {
        self.limbs.len().cmp(&other.limbs.len()).then_with(|| self.limbs.iter().rev().cmp(other.limbs.iter().rev()))
    }
}
