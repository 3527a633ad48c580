//! Why something was refused: a fixed label for the metric, a sentence for the sender.

use std::borrow::Cow;

/// Why one event was not counted.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Reason {
    #[error("not an event: {0}")]
    Malformed(String),
    #[error("`{0}` has the wrong type")]
    WrongType(&'static str),
    #[error("`kind` is missing or unknown")]
    Kind,
    #[error("`{0}` is missing")]
    Missing(&'static str),
    #[error("`{0}` is out of range")]
    Range(&'static str),
    #[error("`name` is no web vital")]
    Vital,
    #[error("`name` is not 1 to 64 of a-z A-Z 0-9 _ . -")]
    Name,
    #[error("`sample_rate` is not between the smallest rate allowed and 1")]
    SampleRate,
    #[error("there is no `app`")]
    App,
    #[error("the user has not consented")]
    Consent,
    #[error("there are too many apps already")]
    TooManyApps,
    #[error("this source has added all that one source may add to this metric in a minute")]
    SourceShare,
    #[error("what is cumulative cannot be added up without a `session.id` or `service.instance.id` of the resource; choose delta")]
    Cumulative,
    #[error("a point that {0}")]
    Summed(String),
}

/// Every label of `burnwatch_intake_rejected_total`: those of [`Reason`] and [`Refusal`], and connections beyond the bound.
pub const LABELS: [&str; 29] = [
    "malformed",
    "wrong_type",
    "unknown_kind",
    "missing_field",
    "out_of_range",
    "unknown_vital",
    "bad_name",
    "sample_rate",
    "no_app",
    "no_consent",
    "too_many_apps",
    "cumulative",
    "bad_point",
    "source_share",
    "not_found",
    "method",
    "origin",
    "key",
    "rate_limit",
    "unavailable",
    "overload",
    "too_large",
    "timeout",
    "broken_body",
    "encoding",
    "bad_compression",
    "not_json",
    "bad_shape",
    "connections",
];

impl Reason {
    /// The label of `burnwatch_intake_rejected_total`.
    pub const fn label(&self) -> &'static str {
        match self {
            Reason::Malformed(_) => "malformed",
            Reason::WrongType(_) => "wrong_type",
            Reason::Kind => "unknown_kind",
            Reason::Missing(_) => "missing_field",
            Reason::Range(_) => "out_of_range",
            Reason::Vital => "unknown_vital",
            Reason::Name => "bad_name",
            Reason::SampleRate => "sample_rate",
            Reason::App => "no_app",
            Reason::Consent => "no_consent",
            Reason::TooManyApps => "too_many_apps",
            Reason::SourceShare => "source_share",
            Reason::Cumulative => "cumulative",
            Reason::Summed(_) => "bad_point",
        }
    }
}

/// Why a whole request was refused.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Refusal {
    #[error(
        "there is nothing here; \
         beacons go to /v1/rum, /collect, /v1/logs, /v1/traces, /v1/metrics, /api/{{project}}/envelope/ or /v1/reports"
    )]
    NotFound,
    #[error("only {0} is answered here")]
    Method(&'static str),
    #[error("this origin may not send here")]
    Origin,
    #[error("the app key is unknown")]
    Key,
    #[error("too many events; try again later")]
    Limited {
        /// Whole seconds until there is room again.
        retry_after: u64,
    },
    #[error("nothing can be stored at the moment; try again later")]
    Unavailable,
    #[error("there is too much to do at the moment; try again soon")]
    Overloaded,
    #[error("the body is larger than {0} bytes")]
    TooLarge(usize),
    #[error("the body did not arrive in time")]
    Slow,
    #[error("the body broke off")]
    Broken,
    #[error("`Content-Encoding` must be one of gzip, deflate, br, identity")]
    Encoding,
    #[error("the body is not {0}")]
    Inflate(&'static str),
    #[error("the body is no JSON: {0}")]
    Json(String),
    #[error("{0}")]
    Shape(Cow<'static, str>),
}

impl Refusal {
    /// The status of the answer.
    pub const fn status(&self) -> u16 {
        match self {
            Refusal::NotFound => 404,
            Refusal::Method(_) => 405,
            Refusal::Origin => 403,
            Refusal::Key => 401,
            Refusal::Limited { .. } => 429,
            Refusal::Unavailable | Refusal::Overloaded => 503,
            Refusal::TooLarge(_) => 413,
            Refusal::Slow => 408,
            Refusal::Encoding => 415,
            Refusal::Broken | Refusal::Inflate(_) | Refusal::Json(_) | Refusal::Shape(_) => 400,
        }
    }

    /// The label of `burnwatch_intake_rejected_total`.
    pub const fn label(&self) -> &'static str {
        match self {
            Refusal::NotFound => "not_found",
            Refusal::Method(_) => "method",
            Refusal::Origin => "origin",
            Refusal::Key => "key",
            Refusal::Limited { .. } => "rate_limit",
            Refusal::Unavailable => "unavailable",
            Refusal::Overloaded => "overload",
            Refusal::TooLarge(_) => "too_large",
            Refusal::Slow => "timeout",
            Refusal::Broken => "broken_body",
            Refusal::Encoding => "encoding",
            Refusal::Inflate(_) => "bad_compression",
            Refusal::Json(_) => "not_json",
            Refusal::Shape(_) => "bad_shape",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_a_label_that_is_announced() {
        let text = || String::new();
        let reasons = [
            Reason::Malformed(text()),
            Reason::WrongType(""),
            Reason::Kind,
            Reason::Missing(""),
            Reason::Range(""),
            Reason::Vital,
            Reason::Name,
            Reason::SampleRate,
            Reason::App,
            Reason::Consent,
            Reason::TooManyApps,
            Reason::Cumulative,
            Reason::Summed(text()),
            Reason::SourceShare,
        ];
        let refusals = [
            Refusal::NotFound,
            Refusal::Method(""),
            Refusal::Origin,
            Refusal::Key,
            Refusal::Limited { retry_after: 1 },
            Refusal::Unavailable,
            Refusal::Overloaded,
            Refusal::TooLarge(1),
            Refusal::Slow,
            Refusal::Broken,
            Refusal::Encoding,
            Refusal::Inflate(""),
            Refusal::Json(text()),
            Refusal::Shape(text().into()),
        ];
        let labels = reasons.iter().map(Reason::label).chain(refusals.iter().map(Refusal::label)).chain(["connections"]);
        assert_eq!(labels.collect::<Vec<_>>(), LABELS);
    }
}
