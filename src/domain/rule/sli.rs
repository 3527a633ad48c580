//! What is good, out of what: the indicators of CONTRACT 4.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::domain::cell::Limit;
use crate::domain::filter::Filter;
use crate::domain::fraction::Fraction;
use crate::domain::metric::Metric;
use crate::domain::time::Span;

/// A metric narrowed by a filter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Selector {
    pub metric: Metric,
    pub filter: Filter,
}

/// What is good, out of what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sli {
    /// 1 - bad / total.
    Good(Selector),
    /// Share of values that meet the limit.
    Within { metric: Metric, limit: Limit, filter: Filter },
    /// Count of `good` over count of `total`; bad = max(0, total - good) within a window.
    Ratio { good: Selector, total: Selector },
    /// Share of time slices in which the inner SLI met its target.
    Slices { inner: Box<Sli>, slice: Span, target_ppm: u32, empty: EmptySlice },
    /// From other SLOs by name.
    Composite { members: Vec<String>, how: Combine },
    /// From a configured external source; not evaluated from stored aggregates.
    External { source: String, options: BTreeMap<String, String> },
}

impl Sli {
    /// Visits this SLI and the ones inside it.
    pub fn visit(&self, visit: &mut impl FnMut(&Sli)) {
        visit(self);
        if let Sli::Slices { inner, .. } = self {
            inner.visit(visit);
        }
    }

    /// The selectors whose series feed it, innermost; the limit where values are held against one.
    pub fn inputs(&self) -> Vec<(Selector, Option<Limit>)> {
        match self {
            Sli::Good(selector) => vec![(selector.clone(), None)],
            Sli::Within { metric, limit, filter } => {
                vec![(Selector { metric: metric.clone(), filter: filter.clone() }, Some(*limit))]
            }
            Sli::Ratio { good, total } => vec![(total.clone(), None), (good.clone(), None)],
            Sli::Slices { inner, .. } => inner.inputs(),
            Sli::Composite { .. } | Sli::External { .. } => Vec::new(),
        }
    }
}

/// As `[value, whether the limit itself meets it]`.
impl Serialize for Limit {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.value, self.inclusive).serialize(serializer)
    }
}
impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (value, inclusive) = Deserialize::deserialize(deserializer)?;
        Ok(Limit { value, inclusive })
    }
}

/// What a slice without events counts as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EmptySlice {
    #[default]
    Skip,
    Good,
    Bad,
}

/// How a composite joins its members (SEMANTICS 20).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Combine {
    Worst,
    Weighted(Vec<Fraction>),
}

impl Combine {
    /// As it is written in rules.
    pub const fn name(&self) -> &'static str {
        match self {
            Combine::Worst => "worst",
            Combine::Weighted(_) => "weighted",
        }
    }

    /// What a composite's burn is, for a person.
    pub const fn words(&self) -> &'static str {
        match self {
            Combine::Worst => "of its worst member",
            Combine::Weighted(_) => "as the weighted mean of its members",
        }
    }
}
