//! What a review is made of.

use std::collections::BTreeMap;

use crate::domain::notification::Change;
use crate::domain::rule::{Period, Severity};
use crate::domain::time::{Span, Timestamp};

/// One incident of the time.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    pub id: String,
    pub title: String,
    pub severity: Severity,
    pub service: String,
    pub users: u64,
    pub opened_at: Timestamp,
    /// From the first failure to the opening.
    pub detected_in: Span,
    pub acknowledged_in: Option<Span>,
    pub lasted: Option<Span>,
    /// The first suspect, in words; empty when none was named.
    pub segment: String,
}

/// What an objective did in the time.
#[derive(Clone, Debug, PartialEq)]
pub struct Budget {
    pub slo: String,
    pub owner: String,
    pub budget_ppm: u32,
    /// Total and bad; `None`: not measured, or not read in time.
    pub counts: Option<(f64, f64)>,
}

/// What was counted over a period, as it was last read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counted {
    /// Newest first.
    pub rows: Vec<Row>,
    /// There were more incidents than were read.
    pub more: bool,
    /// How many incidents the period before had.
    pub before: usize,
    /// The most spent first.
    pub budgets: Vec<Budget>,
    /// Objectives that are not among them.
    pub left_out: usize,
    pub own: Own,
}

/// What belongs to a review of this length alone.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Own {
    #[default]
    Nothing,
    Week(Week),
    Month(Month),
    Quarter(Quarter),
}

/// Errors and slow pages: what a team can mend within the next week.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Week {
    /// The most events first.
    pub errors: Vec<Errors>,
    /// The slowest first.
    pub slow: Vec<Slow>,
}

/// One script error or crash.
#[derive(Clone, Debug, PartialEq)]
pub struct Errors {
    pub app: String,
    /// What its events have in common.
    pub fingerprint: String,
    /// Where most of them happen.
    pub route: String,
    pub events: f64,
    pub users: Option<u64>,
}

/// One route, by its largest paint.
#[derive(Clone, Debug, PartialEq)]
pub struct Slow {
    pub app: String,
    pub route: String,
    pub loads: f64,
    /// Milliseconds.
    pub p75: f64,
    pub p95: f64,
}

/// What telemetry cost, and how it was sampled.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Month {
    /// The most received first.
    pub apps: Vec<Volume>,
    pub sampling: Vec<Change>,
    pub series: u64,
    pub series_max: u64,
}

/// Page views and requests of one app.
#[derive(Clone, Debug, PartialEq)]
pub struct Volume {
    pub app: String,
    /// Events that were received.
    pub received: f64,
    /// Events that they stand for.
    pub stand_for: f64,
    /// Received in the period before; `None`: nothing.
    pub before: Option<f64>,
}

/// Targets, and what is kept of people for how long.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Quarter {
    pub retention: Vec<(&'static str, Span)>,
    /// What is set, in words.
    pub privacy: Vec<(&'static str, String)>,
    /// Removed before storage since the daemon started, by field.
    pub redacted: Vec<(String, f64)>,
}

/// A whole review.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Review<'a> {
    pub period: Period,
    pub from: Timestamp,
    pub to: Timestamp,
    pub counted: &'a Counted,
    /// The first incident that the page lists.
    pub first: usize,
    pub now: Timestamp,
}

/// `week`, as it stands in addresses.
pub const fn period_name(period: Period) -> &'static str {
    period.name()
}

/// `2026-11-16`.
pub fn day(at: Timestamp) -> String {
    at.to_chrono().unwrap_or_default().format("%Y-%m-%d").to_string()
}

/// The middle value; `None` of none.
pub fn median(mut spans: Vec<Span>) -> Option<Span> {
    spans.sort();
    let n = spans.len();
    (n > 0).then(|| Span((spans[(n - 1) / 2].millis() + spans[n / 2].millis()) / 2))
}

/// Counts by a text, the most first; at most ten.
pub fn tally<'a>(texts: impl Iterator<Item = (&'a str, u64)>) -> Vec<(String, usize, u64)> {
    let mut counts: BTreeMap<&str, (usize, u64)> = BTreeMap::new();
    for (text, users) in texts {
        let count = counts.entry(text).or_default();
        *count = (count.0 + 1, count.1 + users);
    }
    let mut rows: Vec<_> = counts.into_iter().map(|(text, (n, users))| (text.to_owned(), n, users)).collect();
    rows.sort_by(|a, b| b.1.cmp(&a.1).then(b.2.cmp(&a.2)).then(a.0.cmp(&b.0)));
    rows.truncate(10);
    rows
}

impl Review<'_> {
    /// How many incidents of a severity.
    pub fn of(&self, severity: Severity) -> usize {
        self.counted.rows.iter().filter(|row| row.severity == severity).count()
    }

    /// Whether the period is still running.
    pub fn running(&self) -> bool {
        self.to > self.now
    }

    /// Its name.
    pub fn title(&self) -> String {
        title(self.period, self.from)
    }

    /// Pages by service, the most first.
    pub fn pages_by_service(&self) -> Vec<(String, usize, u64)> {
        tally(self.counted.rows.iter().filter(|row| row.severity == Severity::Page).map(|row| (row.service.as_str(), row.users)))
    }

    /// Segments that were named, the most first.
    pub fn segments(&self) -> Vec<(String, usize, u64)> {
        tally(self.counted.rows.iter().filter(|row| !row.segment.is_empty()).map(|row| (row.segment.as_str(), row.users)))
    }
}

/// `Week of 16 Nov 2026`.
pub fn title(period: Period, from: Timestamp) -> String {
    let at = from.to_chrono().unwrap_or_default();
    match period {
        Period::Month => at.format("%B %Y").to_string(),
        Period::Quarter => format!("Quarter from {}", at.format("%B %Y")),
        Period::Day | Period::Week | Period::Year => {
            let name = period_name(period);
            format!("{}{} of {}", name[..1].to_uppercase(), &name[1..], at.format("%-d %b %Y"))
        }
    }
}

/// Where a review is.
pub fn report_path(period: Period, from: Timestamp) -> String {
    format!("/reports/{}/{}", period_name(period), day(from))
}

/// The share of the budget that the time used, in words: 100 % is all that an even pace allows.
pub fn spent(budget: &Budget) -> Option<f64> {
    let share = f64::from(budget.budget_ppm) / 1e6;
    budget.counts.filter(|(total, _)| *total > 0.0 && share > 0.0).map(|(total, bad)| bad / total / share)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_of_nothing_is_no_number() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![Span(4), Span(2)]), Some(Span(3)));
        let text = tally([("a", 1), ("b", 9), ("a", 1)].into_iter());
        assert_eq!(text, [("a".to_owned(), 2, 2), ("b".to_owned(), 1, 9)]);
    }
}
