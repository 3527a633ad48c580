//! What can happen to an incident, what a step needs to know beside it, and what it asks of the outside world.

use super::{Explained, Kin, Lead, Member};
use crate::domain::notification::{Change, Figures, Impact, Kind};
use crate::domain::route::Routed;
use crate::domain::rule::{Labels, Receiver, Severity};
use crate::domain::time::Timestamp;

/// What can happen to an incident.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// An alert joins, or one that had ended fires again.
    AlertOpened(Box<Member>),
    /// A rise or fall of severity.
    AlertMoved {
        alert: String,
        severity: Severity,
        figures: Figures,
    },
    /// An alert still fires, but was not measured for too long.
    AlertUnconfirmed {
        alert: String,
        reason: String,
    },
    /// An alert ended.
    AlertEnded {
        alert: String,
        reason: String,
    },
    /// Newer figures, without a transition.
    AlertRefreshed {
        alert: String,
        figures: Figures,
        summary: String,
    },
    /// What has changed about alerts from `/api/v2`, all of it at once, so that it is told once.
    Posted {
        opened: Vec<Member>,
        changed: Vec<PostedChange>,
        /// Names and reasons.
        ended: Vec<(String, String)>,
    },
    /// A newer explanation.
    Explained {
        explained: Box<Explained>,
        impact: Impact,
        changes: Vec<Change>,
        title: String,
    },
    Acknowledge {
        by: String,
    },
    /// A person takes an acknowledgement back: escalation and reminders go on.
    Unacknowledge {
        by: String,
    },
    Snooze {
        by: String,
        until: Timestamp,
    },
    /// A person closes it although alerts may still fire.
    Resolve {
        by: String,
        why: String,
    },
    Note {
        by: String,
        text: String,
    },
    /// A person says whose it is.
    HandOver {
        by: String,
        owner: String,
        why: String,
    },
    /// A person says how loud it is; `None`: as its alerts say.
    SetSeverity {
        by: String,
        severity: Option<Severity>,
        why: String,
    },
    /// Time passed: group waits, intervals, reminders, escalations, ended mutes.
    Tick,
}

/// Something to show has changed about an alert from outside, and nothing to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostedChange {
    pub alert: String,
    pub summary: String,
    pub started_at: Timestamp,
}

/// What a step asks of the outside world.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// An entry of the time line.
    History { kind: &'static str, who: String, text: String },
    /// One notification to one receiver, under this sequence number.
    Notify { receiver: String, kind: Kind, reason: String, sequence: i64, definition: Option<Box<Receiver>> },
}

/// What a step needs to know beside the incident.
pub struct Surroundings<'a> {
    pub now: Timestamp,
    /// The routes that labels match now.
    pub route: &'a dyn Fn(&Labels) -> Vec<Routed>,
    /// Why an alert with these labels is muted now (silence, maintenance, inhibition).
    pub muted: &'a dyn Fn(&Labels) -> Option<String>,
    /// The definition of a receiver.
    pub receiver: &'a dyn Fn(&str) -> Option<Receiver>,
    /// The incident that speaks for this one.
    pub lead: Option<&'a Lead>,
    /// The open incidents that this one speaks for.
    pub family: &'a [Kin],
}
