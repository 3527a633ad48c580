//! What can be measured: the metrics, their own dimensions, and what counts as bad (CONTRACT 4).

use std::fmt;

/// A kind of event that is counted, by its public name (`page_view`, `lcp`, `custom:replay` …).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Metric {
    PageView,
    Vital(Vital),
    Request,
    JsError,
    Crash,
    Interaction,
    Session,
    Step,
    /// `custom:<name>`; the name holds 1 to 64 of `a-z A-Z 0-9 _ . -`.
    Custom(String),
}

/// A web vital, measured in milliseconds (CLS: without unit).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Vital {
    Lcp,
    Inp,
    Cls,
    Fcp,
    Ttfb,
    Fid,
    Tti,
}

impl Vital {
    /// All of them, in the order of the contract.
    pub const ALL: [Vital; 7] = [Vital::Lcp, Vital::Inp, Vital::Cls, Vital::Fcp, Vital::Ttfb, Vital::Fid, Vital::Tti];

    /// The public name, lower case.
    pub const fn name(self) -> &'static str {
        match self {
            Vital::Lcp => "lcp",
            Vital::Inp => "inp",
            Vital::Cls => "cls",
            Vital::Fcp => "fcp",
            Vital::Ttfb => "ttfb",
            Vital::Fid => "fid",
            Vital::Tti => "tti",
        }
    }

    /// The largest value that can be true; anything above is rejected, never clamped.
    pub const fn value_max(self) -> f64 {
        match self {
            Vital::Cls => 1_000.0,
            _ => 3_600_000.0,
        }
    }
}

impl Metric {
    /// Reads a public name; `None` if there is no such metric.
    pub fn parse(name: &str) -> Option<Metric> {
        Some(match name {
            "page_view" => Metric::PageView,
            "request" => Metric::Request,
            "js_error" => Metric::JsError,
            "crash" => Metric::Crash,
            "interaction" => Metric::Interaction,
            "session" => Metric::Session,
            "step" => Metric::Step,
            _ => {
                if let Some(custom) = name.strip_prefix("custom:") {
                    return Metric::custom(custom);
                }
                return Vital::ALL.into_iter().find(|vital| vital.name() == name).map(Metric::Vital);
            }
        })
    }

    /// A custom metric; `None` if the name is empty, too long, or has other characters than allowed.
    pub fn custom(name: &str) -> Option<Metric> {
        let fine = (1..=64).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b));
        fine.then(|| Metric::Custom(name.to_owned()))
    }

    /// What its events are called in sentences.
    pub const fn plural(&self) -> &'static str {
        match self {
            Metric::Request => "requests",
            Metric::PageView | Metric::Vital(_) => "page loads",
            Metric::Session => "sessions",
            Metric::Step => "steps",
            Metric::Interaction => "interactions",
            Metric::JsError | Metric::Crash | Metric::Custom(_) => "events",
        }
    }

    /// The dimensions that this metric has beside the configured ones.
    pub const fn own_dimensions(&self) -> &'static [&'static str] {
        match self {
            Metric::PageView | Metric::Vital(_) => &["nav"],
            Metric::Request => &["host", "method", "status"],
            Metric::JsError | Metric::Crash => &["fingerprint"],
            Metric::Interaction => &["name"],
            Metric::Step => &["funnel", "step"],
            Metric::Session | Metric::Custom(_) => &[],
        }
    }

    /// Whether events of this metric can carry a value (so that `within` and quantiles mean something).
    pub const fn has_values(&self) -> bool {
        matches!(self, Metric::Vital(_) | Metric::Request | Metric::Interaction | Metric::Custom(_))
    }

    /// Whether events of this metric can be bad by themselves (so that `good` means something).
    pub const fn has_bad(&self) -> bool {
        !matches!(self, Metric::Vital(_) | Metric::Interaction)
    }

    /// The names of all metrics but the custom ones, for hints.
    pub const NAMES: [&'static str; 14] =
        ["page_view", "lcp", "inp", "cls", "fcp", "ttfb", "fid", "tti", "request", "js_error", "crash", "interaction", "session", "step"];
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Metric::PageView => f.write_str("page_view"),
            Metric::Vital(vital) => f.write_str(vital.name()),
            Metric::Request => f.write_str("request"),
            Metric::JsError => f.write_str("js_error"),
            Metric::Crash => f.write_str("crash"),
            Metric::Interaction => f.write_str("interaction"),
            Metric::Session => f.write_str("session"),
            Metric::Step => f.write_str("step"),
            Metric::Custom(name) => write!(f, "custom:{name}"),
        }
    }
}

impl serde::Serialize for Metric {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
impl<'de> serde::Deserialize<'de> for Metric {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = std::borrow::Cow::<str>::deserialize(deserializer)?;
        Metric::parse(&name).ok_or_else(|| serde::de::Error::custom(format!("`{name}` is no metric")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_reads_back() {
        for name in Metric::NAMES.into_iter().chain(["custom:replay_useful"]) {
            assert_eq!(Metric::parse(name).unwrap().to_string(), name);
        }
        for bad in ["LCP", "custom:", "custom:a b", "pageview", ""] {
            assert_eq!(Metric::parse(bad), None, "{bad}");
        }
    }
}
