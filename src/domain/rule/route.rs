//! Who is told: the tree of routes, and what holds others back.

use serde::{Deserialize, Serialize};

use super::Place;
use crate::domain::filter::Filter;
use crate::domain::time::Span;

/// Conditions on labels, all of which must hold. An absent label is the empty text.
pub type Matchers = Filter;

/// `mute: []` and `active: []`: a child is not muted by what mutes its parent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TakesOff {
    pub mute: bool,
    pub active: bool,
}

/// One node of the routing tree. Children inherit what they do not set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Route {
    pub place: Place,
    pub when: Matchers,
    pub to: Vec<String>,
    pub group_by: Option<Vec<String>>,
    pub group_wait: Option<Span>,
    pub group_interval: Option<Span>,
    pub repeat: Option<Span>,
    pub escalate: Vec<Escalation>,
    pub fallthrough: bool,
    /// Names of time intervals in which the route is on.
    pub active: Vec<String>,
    /// Names of time intervals in which it notifies nobody.
    pub mute: Vec<String>,
    /// Which intervals of the nodes above do not hold for it.
    pub takes_off: TakesOff,
    pub routes: Vec<Route>,
}

/// Who else is told while nobody has acknowledged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Escalation {
    pub after: Span,
    pub to: Vec<String>,
}

/// A firing source holds matching targets back where the `equal` labels agree.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Inhibit {
    pub place: Place,
    pub source: Matchers,
    pub target: Matchers,
    pub equal: Vec<String>,
}
