//! Which SLIs select a series, without asking all of them: thousands of SLOs each look at a few series.

use std::collections::HashMap;

use super::filter::{Filter, Match};
use super::metric::Metric;
use super::series::Series;

/// Things that stand behind a metric and a filter, found by a series.
#[derive(Debug)]
pub struct Inputs<T> {
    metrics: HashMap<Metric, Selectors<T>>,
}

#[derive(Debug)]
struct Selectors<T> {
    all: Vec<(Filter, T)>,
    /// Those that name one value of a dimension, by their rarest pair of dimension and value.
    named: HashMap<String, HashMap<String, Vec<u32>>>,
    /// The others: asked for every series.
    open: Vec<u32>,
}

impl<T> Inputs<T> {
    /// Indexes things by what selects them.
    pub fn new(things: impl IntoIterator<Item = (Metric, Filter, T)>) -> Inputs<T> {
        let mut metrics: HashMap<Metric, Selectors<T>> = HashMap::new();
        for (metric, filter, thing) in things {
            let fresh = || Selectors { all: Vec::new(), named: HashMap::new(), open: Vec::new() };
            metrics.entry(metric).or_insert_with(fresh).all.push((filter, thing));
        }
        for selectors in metrics.values_mut() {
            selectors.index();
        }
        Inputs { metrics }
    }

    /// What selects this series, in the order in which it was given.
    pub fn of(&self, series: &Series) -> impl Iterator<Item = &T> {
        let selectors = self.metrics.get(&series.metric);
        let mut found: Vec<u32> = Vec::new();
        if let Some(selectors) = selectors {
            found.extend(&selectors.open);
            for (name, value) in series.dims() {
                found.extend(selectors.named.get(name).and_then(|values| values.get(value)).into_iter().flatten());
            }
            found.sort_unstable();
        }
        let all = found.into_iter().filter_map(move |at| selectors?.all.get(at as usize));
        all.filter(|(filter, _)| filter.accepts(series)).map(|(_, thing)| thing)
    }
}

impl<T> Selectors<T> {
    fn index(&mut self) {
        let mut uses: HashMap<(&str, &str), u32> = HashMap::new();
        for pair in self.all.iter().flat_map(|(filter, _)| pairs(filter)) {
            *uses.entry(pair).or_default() += 1;
        }
        for (at, (filter, _)) in self.all.iter().enumerate() {
            match pairs(filter).min_by_key(|pair| uses[pair]) {
                Some((name, value)) => {
                    let values = self.named.entry(name.to_owned()).or_default();
                    values.entry(value.to_owned()).or_default().push(at as u32);
                }
                None => self.open.push(at as u32),
            }
        }
    }
}

/// The dimensions that must have one value. An empty value means that the dimension is absent: no series shows it.
fn pairs(filter: &Filter) -> impl Iterator<Item = (&str, &str)> {
    filter.0.iter().filter_map(|(name, condition)| match condition {
        Match::Equal(value) if !value.is_empty() => Some((name.as_str(), value.as_str())),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn condition() -> impl Strategy<Value = Match> {
        prop_oneof![
            4 => prop::sample::select(vec!["", "a", "b", "c"]).prop_map(|value| Match::Equal(value.to_owned())),
            1 => Just(Match::AnyOf(vec!["a".into(), "b".into()])),
            1 => Just(Match::Not("a".into())),
            1 => Just(Match::Prefix(String::new())),
        ]
    }

    proptest! {
        #[test]
        fn finds_what_asking_every_filter_finds(
            filters in prop::collection::vec(prop::collection::btree_map("[xyz]", condition(), 0..3), 0..20),
            dims in prop::collection::btree_map("[xyz]", "[abc]?", 0..3),
        ) {
            let series = Series::new(Metric::Request, dims.into_iter().map(|(name, value)| (name.into(), value.into())));
            let filters: Vec<Filter> = filters.into_iter().map(Filter).collect();
            let metric = |at: usize| if at % 5 == 4 { Metric::Step } else { Metric::Request };
            let inputs = Inputs::new(filters.iter().enumerate().map(|(at, filter)| (metric(at), filter.clone(), at)));
            let expected: Vec<usize> =
                (0..filters.len()).filter(|at| metric(*at) == series.metric && filters[*at].accepts(&series)).collect();
            prop_assert_eq!(inputs.of(&series).copied().collect::<Vec<_>>(), expected);
        }
    }
}
