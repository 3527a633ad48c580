//! A series: one metric with one value for each dimension that is set.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::Arc;

use super::metric::Metric;

/// Small integer that stands for a [`Series`] in one database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct SeriesId(pub u32);

/// Texts that many series have in common, each held once.
#[derive(Debug, Default)]
pub struct Texts(HashSet<Arc<str>>);

impl Texts {
    fn share(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.0.get(text) {
            return known.clone();
        }
        let text: Arc<str> = text.into();
        self.0.insert(text.clone());
        text
    }
}

/// The value that stands for all values that no longer fit the cap (CONTRACT 3, `series_max`).
pub const OTHER: &str = "__other__";

/// A metric and its dimension values.
///
/// Always holds: `dims` is sorted by name, names are unique, and no value is empty
/// (an absent dimension and an empty one are the same).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Series {
    pub metric: Metric,
    dims: Vec<(Arc<str>, Arc<str>)>,
}

impl Series {
    /// Sorts, drops empty values, and keeps the last of two equal names.
    pub fn new(metric: Metric, dims: impl IntoIterator<Item = (Arc<str>, Arc<str>)>) -> Series {
        let mut dims: Vec<_> = dims.into_iter().filter(|(_, value)| !value.is_empty()).collect();
        dims.sort_by(|a, b| a.0.cmp(&b.0));
        dims.reverse();
        dims.dedup_by(|a, b| a.0 == b.0);
        dims.reverse();
        Series { metric, dims }
    }

    /// From a JSON object's text, as the store keeps it. Names and values that `texts` holds are shared.
    pub fn from_json(metric: &str, dims: &str, texts: &mut Texts) -> Option<Series> {
        let map: BTreeMap<String, String> = serde_json::from_str(dims).ok()?;
        Some(Series::new(Metric::parse(metric)?, map.iter().map(|(name, value)| (texts.share(name), texts.share(value)))))
    }

    /// The dimensions as canonical JSON text: an object with sorted keys.
    pub fn dims_json(&self) -> String {
        let map: BTreeMap<&str, &str> = self.dims().collect();
        serde_json::to_string(&map).expect("a map of strings always serialises")
    }

    /// The value of a dimension; `""` when it is not set.
    pub fn get(&self, dimension: &str) -> &str {
        self.dims.binary_search_by(|(name, _)| (**name).cmp(dimension)).map_or("", |at| &self.dims[at].1)
    }

    /// The app that this series belongs to.
    pub fn app(&self) -> &str {
        self.get("app")
    }

    /// All dimensions that are set, sorted by name.
    pub fn dims(&self) -> impl Iterator<Item = (&str, &str)> {
        self.dims.iter().map(|(name, value)| (&**name, &**value))
    }
}

impl fmt::Display for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{{", self.metric)?;
        for (i, (name, value)) in self.dims().enumerate() {
            write!(f, "{}{name}={value:?}", if i == 0 { "" } else { "," })?;
        }
        f.write_str("}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(dims: &[(&str, &str)]) -> Series {
        Series::new(Metric::Request, dims.iter().map(|(k, v)| (Arc::from(*k), Arc::from(*v))))
    }

    #[test]
    fn order_and_empty_values_do_not_make_a_new_series() {
        let a = series(&[("region", "de"), ("app", "shop"), ("os", "")]);
        assert_eq!(a, series(&[("app", "shop"), ("region", "de")]));
        assert_eq!(a.dims_json(), r#"{"app":"shop","region":"de"}"#);
        assert_eq!(Series::from_json("request", &a.dims_json(), &mut Texts::default()), Some(a.clone()));
        assert_eq!((a.get("region"), a.get("os"), a.app()), ("de", "", "shop"));
    }

    #[test]
    fn the_last_of_two_equal_names_counts() {
        assert_eq!(series(&[("app", "a"), ("app", "b")]).app(), "b");
    }
}
