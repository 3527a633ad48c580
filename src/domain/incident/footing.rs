//! What the figures of an incident rested on when it opened. Later nobody can tell: the process that saw it may be gone.

use serde::{Deserialize, Serialize};

use crate::domain::time::Span;

/// Silent apps that are kept by name.
const SILENT_MAX: usize = 20;

/// The telemetry as the evaluation that opened the incident saw it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Footing {
    /// The 95th percentile of arrival minus event time; `None`: nothing had arrived.
    pub late: Option<Span>,
    /// Apps that should have sent and did not.
    pub silent: Vec<String>,
    /// Events whose values were folded into `__other__` since that process started.
    pub folded: u64,
}

impl Footing {
    /// With a bounded number of names.
    pub fn new(late: Option<Span>, mut silent: Vec<String>, folded: u64) -> Footing {
        silent.truncate(SILENT_MAX);
        Footing { late, silent, folded }
    }
}
