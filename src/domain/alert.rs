//! The life of one tier and of one alert: from a verdict at each evaluation to pending, firing and
//! resolved (SEMANTICS 4 to 6).

use serde::{Deserialize, Serialize};

use super::rule::Severity;
use super::snapshot::{AlertPhase, TierVerdict};
use super::time::{Span, Timestamp};

/// How long what fires may go unmeasured before it is called unconfirmed (SEMANTICS 5).
pub const FROZEN_MAX: Span = Span::HOUR;

/// Where one tier is. All times are logical evaluation times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "phase")]
pub enum TierState {
    #[default]
    Idle,
    /// Holds, but not for long enough.
    Pending {
        /// First evaluation of the unbroken run, moved on by unknown stretches.
        since: Timestamp,
        first: Timestamp,
    },
    Firing {
        /// First holding evaluation of the run that fired.
        pending_at: Timestamp,
        started_at: Timestamp,
        /// First evaluation since which it has not held, moved on by unknown stretches.
        clear_since: Option<Timestamp>,
    },
}

/// What an evaluation changed about a tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TierChange {
    Started { pending_at: Timestamp },
    Ended { pending_at: Timestamp, started_at: Timestamp },
}

/// How long a tier must hold before it fires, and must not hold before it resolves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Patience {
    pub pending: Span,
    pub keep_firing: Span,
}

impl TierState {
    /// Whether it fires.
    pub const fn is_firing(&self) -> bool {
        matches!(self, TierState::Firing { .. })
    }

    /// Moves on by one evaluation at `now`; `last` is the evaluation before, which an unknown
    /// stretch is measured from.
    pub fn step(self, verdict: TierVerdict, now: Timestamp, last: Timestamp, patience: Patience) -> (TierState, Option<TierChange>) {
        use TierVerdict::{Clear, Holds, Unknown};
        let gap = now - last;
        match (self, verdict) {
            (TierState::Idle, Clear | Unknown) => (TierState::Idle, None),
            (TierState::Idle, Holds) => TierState::Pending { since: now, first: now }.ripen(now, patience),
            (TierState::Pending { .. }, Holds) => self.ripen(now, patience),
            (TierState::Pending { .. }, Clear) => (TierState::Idle, None),
            (TierState::Pending { since, first }, Unknown) => (TierState::Pending { since: since + gap, first }, None),
            (TierState::Firing { pending_at, started_at, .. }, Holds) => {
                (TierState::Firing { pending_at, started_at, clear_since: None }, None)
            }
            (TierState::Firing { pending_at, started_at, clear_since }, Clear) => {
                let clear_since = clear_since.unwrap_or(now);
                if now - clear_since >= patience.keep_firing {
                    return (TierState::Idle, Some(TierChange::Ended { pending_at, started_at }));
                }
                (TierState::Firing { pending_at, started_at, clear_since: Some(clear_since) }, None)
            }
            (TierState::Firing { pending_at, started_at, clear_since }, Unknown) => {
                let clear_since = clear_since.map(|since| since + gap);
                (TierState::Firing { pending_at, started_at, clear_since }, None)
            }
        }
    }

    fn ripen(self, now: Timestamp, patience: Patience) -> (TierState, Option<TierChange>) {
        match self {
            TierState::Pending { since, first } if now - since >= patience.pending => (
                TierState::Firing { pending_at: first, started_at: now, clear_since: None },
                Some(TierChange::Started { pending_at: first }),
            ),
            other => (other, None),
        }
    }
}

/// One SLO and group, or one free-form rule and group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertState {
    pub tiers: Vec<TierState>,
    /// Since when the alert fires, whatever its severity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// The highest severity that fires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity: Option<Severity>,
    /// Since when every tier has been unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unknown_since: Option<Timestamp>,
    /// Since when each tier has been unknown, where that is of use; empty: nowhere.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unknown_tiers: Vec<Option<Timestamp>>,
    /// Since when nothing that fires could be measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frozen_since: Option<Timestamp>,
    /// It was said that it has been frozen for too long.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unconfirmed: bool,
    /// The incident it belongs to while it fires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incident: Option<String>,
}

/// What an evaluation changed about an alert as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlertChange {
    Opened {
        severity: Severity,
    },
    Raised {
        severity: Severity,
    },
    Lowered {
        severity: Severity,
    },
    /// It still fires, but has not been measured for [`FROZEN_MAX`]. Said once.
    Unconfirmed,
    Ended,
}

impl AlertState {
    /// An alert at rest, for a rule with this many tiers.
    pub fn new(tiers: usize) -> AlertState {
        AlertState { tiers: vec![TierState::Idle; tiers], ..AlertState::default() }
    }

    /// Whether nothing is remembered that a fresh state would not have.
    pub fn is_idle(&self) -> bool {
        self.started_at.is_none() && self.unknown_since.is_none() && self.tiers.iter().all(|tier| *tier == TierState::Idle)
    }

    /// Settles the severity after all tiers have moved; `severities` are the tiers' in order.
    pub fn settle(&mut self, severities: impl IntoIterator<Item = Severity>, now: Timestamp) -> Option<AlertChange> {
        let firing = self.tiers.iter().zip(severities).filter(|(tier, _)| tier.is_firing()).map(|(_, severity)| severity).max();
        let before = std::mem::replace(&mut self.severity, firing);
        match (before, firing) {
            (None, None) => None,
            (None, Some(severity)) => {
                self.started_at = Some(now);
                Some(AlertChange::Opened { severity })
            }
            (Some(_), None) => {
                self.started_at = None;
                Some(AlertChange::Ended)
            }
            (Some(before), Some(severity)) if severity > before => Some(AlertChange::Raised { severity }),
            (Some(before), Some(severity)) if severity < before => Some(AlertChange::Lowered { severity }),
            (Some(_), Some(_)) => None,
        }
    }

    /// Notes whether what fires was measured by any firing tier, and what is to be said when it was not for too
    /// long. A `change` that is said anyway goes first.
    pub fn confirm(&mut self, measured: bool, change: Option<AlertChange>, now: Timestamp) -> Option<AlertChange> {
        if measured || self.severity.is_none() {
            self.frozen_since = None;
            self.unconfirmed = false;
            return change;
        }
        let since = *self.frozen_since.get_or_insert(now);
        if change.is_none() && !self.unconfirmed && now - since >= FROZEN_MAX {
            self.unconfirmed = true;
            return Some(AlertChange::Unconfirmed);
        }
        change
    }

    /// As the API shows it.
    pub fn phase(&self) -> AlertPhase {
        if self.severity.is_some() {
            AlertPhase::Firing
        } else if self.tiers.iter().any(|tier| matches!(tier, TierState::Pending { .. })) {
            AlertPhase::Pending
        } else if self.unknown_since.is_some() {
            AlertPhase::Unknown
        } else {
            AlertPhase::Ok
        }
    }

    /// Since when it has been in this phase, where that is known.
    pub fn since(&self) -> Option<Timestamp> {
        self.started_at
            .or_else(|| {
                self.tiers.iter().find_map(|tier| match tier {
                    TierState::Pending { since, .. } => Some(*since),
                    TierState::Idle | TierState::Firing { .. } => None,
                })
            })
            .or(self.unknown_since)
    }
}

#[cfg(test)]
mod tests {
    use super::TierVerdict::{Clear, Holds, Unknown};
    use super::*;

    const M: i64 = 60_000;

    /// Runs verdicts a minute apart from minute 1 on; gives "S4" for started, "E9" for ended.
    fn run(verdicts: &[TierVerdict], pending: i64, keep: i64) -> Vec<String> {
        let patience = Patience { pending: Span(pending * M), keep_firing: Span(keep * M) };
        let mut state = TierState::Idle;
        let mut log = Vec::new();
        for (at, verdict) in verdicts.iter().enumerate() {
            let now = Timestamp((at as i64 + 1) * M);
            let (next, change) = state.step(*verdict, now, now - Span(M), patience);
            state = next;
            match change {
                Some(TierChange::Started { pending_at }) => log.push(format!("S{} from {}", at + 1, pending_at.0 / M)),
                Some(TierChange::Ended { started_at, .. }) => log.push(format!("E{} from {}", at + 1, started_at.0 / M)),
                None => {}
            }
        }
        log
    }

    #[test]
    fn without_patience_it_fires_and_resolves_at_once() {
        assert_eq!(run(&[Clear, Holds, Holds, Clear], 0, 0), ["S2 from 2", "E4 from 2"]);
    }

    #[test]
    fn pending_is_counted_from_the_first_evaluation_of_an_unbroken_run() {
        assert_eq!(run(&[Holds, Clear, Holds, Holds, Holds], 2, 0), ["S5 from 3"]);
        assert_eq!(run(&[Holds, Holds], 2, 0), [""; 0]);
    }

    #[test]
    fn unknown_neither_fires_nor_resolves_and_moves_the_start() {
        assert_eq!(run(&[Holds, Unknown, Unknown, Holds], 2, 0), [""; 0]);
        assert_eq!(run(&[Holds, Unknown, Unknown, Holds, Holds], 2, 0), ["S5 from 1"]);
        assert_eq!(run(&[Holds, Unknown, Unknown, Holds, Holds, Holds], 3, 0), ["S6 from 1"]);
        assert_eq!(run(&[Holds, Unknown, Unknown, Clear], 0, 0), ["S1 from 1", "E4 from 1"]);
        assert_eq!(run(&[Holds, Clear, Unknown, Clear, Clear], 0, 2), ["S1 from 1", "E5 from 1"]);
    }

    #[test]
    fn keep_firing_bridges_short_clear_stretches() {
        assert_eq!(run(&[Holds, Clear, Holds, Clear, Clear, Clear], 0, 2), ["S1 from 1", "E6 from 1"]);
    }

    #[test]
    fn what_fires_unmeasured_for_an_hour_is_unconfirmed_once() {
        let mut alert = AlertState { severity: Some(Severity::Page), ..AlertState::new(1) };
        let said: Vec<i64> =
            (0..200).filter(|minute| alert.confirm(false, None, Timestamp(minute * M)) == Some(AlertChange::Unconfirmed)).collect();
        assert_eq!((said, alert.frozen_since), (vec![60], Some(Timestamp(0))));
        assert_eq!(alert.confirm(true, None, Timestamp(200 * M)), None);
        assert_eq!((alert.frozen_since, alert.unconfirmed), (None, false));
        assert_eq!(alert.confirm(false, Some(AlertChange::Ended), Timestamp(201 * M)), Some(AlertChange::Ended));
    }

    #[test]
    fn an_alert_has_the_severity_of_its_highest_firing_tier() {
        let firing = TierState::Firing { pending_at: Timestamp(0), started_at: Timestamp(0), clear_since: None };
        let severities = [Severity::Page, Severity::Ticket];
        let mut alert = AlertState::new(2);
        alert.tiers[1] = firing;
        assert_eq!(alert.settle(severities, Timestamp(1)), Some(AlertChange::Opened { severity: Severity::Ticket }));
        alert.tiers[0] = firing;
        assert_eq!(alert.settle(severities, Timestamp(2)), Some(AlertChange::Raised { severity: Severity::Page }));
        assert_eq!(alert.settle(severities, Timestamp(3)), None);
        alert.tiers[0] = TierState::Idle;
        assert_eq!(alert.settle(severities, Timestamp(4)), Some(AlertChange::Lowered { severity: Severity::Ticket }));
        assert_eq!(alert.started_at, Some(Timestamp(1)));
        alert.tiers[1] = TierState::Idle;
        assert_eq!(alert.settle(severities, Timestamp(5)), Some(AlertChange::Ended));
        assert!(alert.is_idle());
    }
}
