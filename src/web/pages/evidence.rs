//! What pages show of stored history beside the figures in memory: read at most once a minute, whoever looks.

use std::collections::BTreeMap;

use maud::{Markup, html};

use crate::domain::notification::Change;

/// Fewer events of a release, or at one value of a dimension, say nothing about it.
pub const EVENTS_MIN: f64 = 50.0;

/// What was read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Evidence {
    /// Budget left over the objective's window, by objective.
    pub sparks: BTreeMap<String, Vec<Option<f64>>>,
    /// Burn and events by region, for objectives whose budget is one for all regions, over the long window
    /// of the shortest tier.
    pub regions: BTreeMap<String, Vec<(String, f64, f64)>>,
    /// Burn in each minute of the last hour, by open incident.
    pub burning: BTreeMap<String, Vec<Option<f64>>>,
    pub endpoints: Vec<Endpoint>,
    pub funnels: Vec<Funnel>,
    pub releases: Vec<Release>,
    /// Of the last day.
    pub coverage: Option<Coverage>,
}

/// How much of the last day was measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Coverage {
    /// In 0 ..= 1, over all apps.
    pub share: f64,
    pub apps: usize,
}

/// Requests of the last quarter of an hour to one route.
#[derive(Clone, Debug, PartialEq)]
pub struct Endpoint {
    pub app: String,
    pub route: String,
    pub bad: f64,
    pub total: f64,
    /// Of a request that failed: an address to open, or an id.
    pub trace: Option<String>,
}

/// How far people get in an hour.
#[derive(Clone, Debug, PartialEq)]
pub struct Funnel {
    pub app: String,
    pub name: String,
    /// The first step first.
    pub steps: Vec<Step>,
    /// Weeks ago in which the same hour was measured.
    pub weeks: usize,
}

/// One step of a funnel.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    pub name: String,
    pub count: f64,
    /// Over all `weeks`, summed.
    pub usual: f64,
}

/// A release with what was measured around it.
#[derive(Clone, Debug, PartialEq)]
pub struct Release {
    pub change: Change,
    /// Of the app's page loads and requests in the last minutes.
    pub traffic: Option<f64>,
    pub compared: Vec<Compared>,
}

/// Failures in the hour before a release, and on it since.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Compared {
    pub what: &'static str,
    /// Bad and total.
    pub before: (f64, f64),
    pub after: (f64, f64),
}

impl Compared {
    /// The difference of the shares in standard errors; `None` where one side has too few events.
    pub fn sigmas(&self) -> Option<f64> {
        let ((bad, all), (bad_after, all_after)) = (self.before, self.after);
        if all < EVENTS_MIN || all_after < EVENTS_MIN {
            return None;
        }
        let pooled = (bad + bad_after) / (all + all_after);
        // Without any failure there is no difference, and no error to divide by.
        let error = (pooled * (1.0 - pooled) * (1.0 / all + 1.0 / all_after)).sqrt();
        Some(if error > 0.0 { (bad_after / all_after - bad / all) / error } else { 0.0 })
    }
}

/// The place of what stored history has not answered yet.
pub fn being_read(id: &str, title: &str) -> Markup {
    html! {
        section."card"."reading" aria-labelledby=(id) {
            header { h2 id=(id) { (title) } }
            p.empty { "Being read from stored history; it appears here by itself." }
        }
    }
}
