//! A burn-rate tier: two windows, a factor, and how long it must hold.

use serde::{Deserialize, Serialize};

use super::{Place, Severity};
use crate::domain::fraction::Fraction;
use crate::domain::time::Span;

/// One pair of windows and what must hold in both.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tier {
    pub place: Place,
    pub severity: Severity,
    /// Both windows are whole buckets, and `short` is no longer than `long`.
    pub long: Span,
    pub short: Span,
    /// Burn factor, exact, above 0.
    pub factor: Fraction,
    pub op: Op,
    /// How long it must hold before it fires.
    pub pending: Span,
    /// How long it must not hold before it ends.
    pub keep_firing: Span,
}

impl Tier {
    /// One that fires at once where the burn is above the factor, and ends at once.
    pub fn new(severity: Severity, long: Span, short: Span, factor: Fraction) -> Tier {
        Tier { place: Place::default(), severity, long, short, factor, op: Op::default(), pending: Span::ZERO, keep_firing: Span::ZERO }
    }
}

/// How a burn is compared with the factor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Op {
    #[default]
    #[serde(rename = ">")]
    Above,
    #[serde(rename = ">=")]
    AtLeast,
}
