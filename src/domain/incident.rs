//! An incident: the alerts with equal grouping labels, as one thing that a person is told about.
//!
//! [`Incident::step`] takes what happened and says, as data, what that asks of the outside world:
//! history to keep and notifications to send. The caller commits all of it in one transaction.
//! Always holds: a receiver that was told of an opening is told of the close, whatever was muted,
//! lowered or removed in between.

mod footing;
mod hand;
mod input;
mod members;
mod telling;
mod view;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::explain::Signature;
use super::measure::Subject;
use super::notification::{Change, Figures, Impact, Kind, Status, Suspect, Verdict};
use super::posted;
use super::rule::{Labels, Receiver, Severity};
use super::time::{Span, Timestamp};

pub use self::footing::Footing;
pub use self::hand::{ByHand, Chosen};
pub use self::input::{Effect, Input, PostedChange, Surroundings};

/// What is as it always is at first is not written: an incident is stored with every change of it.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// One alert inside an incident.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Member {
    /// Names the alert for as long as it fires: rule and group.
    pub alert: String,
    pub rule: String,
    /// Without `severity`, which is added when it is routed.
    pub labels: Labels,
    pub severity: Severity,
    pub firing: bool,
    pub started_at: Timestamp,
    #[serde(default, skip_serializing_if = "is_default")]
    pub ended_at: Option<Timestamp>,
    pub summary: String,
    #[serde(default, skip_serializing_if = "is_default")]
    pub figures: Figures,
    #[serde(default, skip_serializing_if = "is_default")]
    pub traces: Vec<String>,
    /// What a free-form rule looked at.
    #[serde(default, skip_serializing_if = "is_default")]
    pub subject: Option<Subject>,
}

impl Member {
    /// All labels, the severity included. An alert from outside has its own, in its own words.
    pub fn full_labels(&self) -> Labels {
        let mut labels = self.labels.clone();
        if !self.is_posted() {
            labels.insert("severity".into(), self.severity.name().into());
        }
        labels
    }

    /// Whether it is about burnwatch itself.
    pub fn is_operator(&self) -> bool {
        !self.is_posted() && self.labels.get("kind").is_some_and(|kind| kind == "operator")
    }

    /// Whether it came from `/api/v2/alerts`.
    pub fn is_posted(&self) -> bool {
        posted::is_member_name(&self.alert)
    }
}

/// What one receiver has been told.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Told {
    /// It was told of the opening and not yet of the close.
    pub open: bool,
    /// When it was last told anything.
    #[serde(default, skip_serializing_if = "is_default")]
    pub at: Option<Timestamp>,
    /// The loudest severity it was told of.
    #[serde(default, skip_serializing_if = "is_default")]
    pub severity: Option<Severity>,
    /// The firing alerts it knows.
    #[serde(default, skip_serializing_if = "is_default")]
    pub alerts: BTreeSet<String>,
    /// Since when it would be told, but waits for its group to gather.
    #[serde(default, skip_serializing_if = "is_default")]
    pub waiting_since: Option<Timestamp>,
    /// Why it was not told although its route matches.
    #[serde(default, skip_serializing_if = "is_default")]
    pub held_by: Option<String>,
    /// The definition that told it, for closes after its rule is gone.
    #[serde(default, skip_serializing_if = "is_default")]
    pub definition: Option<Box<Receiver>>,
    /// The children that it was told of.
    #[serde(default, skip_serializing_if = "is_default")]
    pub kin: BTreeSet<String>,
    /// It was told that the incident is held open.
    #[serde(default, skip_serializing_if = "is_default")]
    pub held: bool,
}

/// What the explanation found (EXPLAIN), as the incident shows it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Explained {
    #[serde(default, skip_serializing_if = "is_default")]
    pub signature: String,
    #[serde(default, skip_serializing_if = "is_default")]
    pub verdict: Verdict,
    #[serde(default, skip_serializing_if = "is_default")]
    pub suspects: Vec<Suspect>,
    /// One sentence for a person; empty while nothing is known.
    #[serde(default, skip_serializing_if = "is_default")]
    pub sentence: String,
    /// Why nobody is named.
    #[serde(default, skip_serializing_if = "is_default")]
    pub reason: String,
    /// What keeps the signature stable from one computation to the next.
    #[serde(default, skip_serializing_if = "is_default")]
    pub held: Signature,
    /// What was looked at: the equalities of the `where`, and the group.
    #[serde(default, skip_serializing_if = "is_default")]
    pub scope: Labels,
    /// The app that was looked at, or empty.
    #[serde(default, skip_serializing_if = "is_default")]
    pub app: String,
    /// How much of the bad events of the hour came from one network, in parts of all; `None` where that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_source: Option<f64>,
}

/// The whole state of an incident.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Incident {
    pub id: String,
    pub key: String,
    pub grouping: Labels,
    /// Seconds of its opening: a restored database cannot make an old key look new.
    pub generation: i64,
    /// Counts what was said.
    pub sequence: i64,
    pub status: Status,
    pub severity: Severity,
    pub title: String,
    #[serde(default, skip_serializing_if = "is_default")]
    pub service: String,
    #[serde(default, skip_serializing_if = "is_default")]
    pub owner: String,
    pub labels: Labels,
    pub opened_at: Timestamp,
    #[serde(default, skip_serializing_if = "is_default")]
    pub acknowledged_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub acknowledged_by: Option<String>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub resolved_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub snoozed_until: Option<Timestamp>,
    /// Since when the unbroken burn lasts: the window that impact and explanation look at.
    pub window_start: Timestamp,
    pub members: Vec<Member>,
    pub told: BTreeMap<String, Told>,
    /// Escalation steps count from here: the opening, or the last rise.
    pub loud_since: Timestamp,
    #[serde(default, skip_serializing_if = "is_default")]
    pub impact: Impact,
    #[serde(default, skip_serializing_if = "is_default")]
    pub explained: Explained,
    #[serde(default, skip_serializing_if = "is_default")]
    pub changes: Vec<Change>,
    pub revision: String,
    #[serde(default, skip_serializing_if = "is_default")]
    pub runbook: Option<String>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub dashboard: Option<String>,
    /// The incident of the same cause that speaks for this one.
    #[serde(default, skip_serializing_if = "is_default")]
    pub parent: Option<String>,
    /// The incidents that this one speaks for, those that closed before it included.
    #[serde(default, skip_serializing_if = "is_default")]
    pub children: BTreeSet<String>,
    /// When it was opened again, within the last hour.
    #[serde(default, skip_serializing_if = "is_default")]
    pub reopened: Vec<Timestamp>,
    /// Whoever was told of it in an earlier generation.
    #[serde(default, skip_serializing_if = "is_default")]
    pub known: BTreeSet<String>,
    /// It came and went too often: nothing fires, but it stays open until then.
    #[serde(default, skip_serializing_if = "is_default")]
    pub held_until: Option<Timestamp>,
    /// Why it was closed, where that was no plain end of its alerts.
    #[serde(default, skip_serializing_if = "is_default")]
    pub closed_because: Option<String>,
    /// What a person decided about it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub by_hand: ByHand,
    /// How the telemetry stood at the opening; `None`: nobody looked, as with alerts that others posted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub footing: Option<Footing>,
}

/// Why alerts end whose rule is gone.
pub const RULE_REMOVED: &str = "rule removed";

/// The incident that speaks for another one of the same cause, as far as that one needs to know.
#[derive(Clone, Debug, PartialEq)]
pub struct Lead {
    pub id: String,
    /// Who was told of it and not of its close, and how loud.
    pub open: BTreeMap<String, Severity>,
    /// It was acknowledged, or snoozed: somebody is at it.
    pub quiet: bool,
}

impl Lead {
    /// Whether a receiver knows already, at least as loud.
    fn speaks_to(&self, receiver: &str, severity: Option<Severity>) -> bool {
        self.open.get(receiver).is_some_and(|told| Some(*told) >= severity)
    }

    /// Why a receiver was not told of the other one.
    pub fn reason(&self) -> String {
        format!("one cause with incident {}, which it was told of", self.id)
    }
}

/// A child as its parent tells of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Kin {
    pub id: String,
    /// What fires, in words.
    pub text: String,
    /// Who is told by the parent only.
    pub receivers: BTreeSet<String>,
}

/// An alert that fires within this time after the close of the incident of its key brings that one back.
pub const REOPEN_WITHIN: Span = Span::minutes(15);
/// How long an incident that came back too often has to be quiet for this long.
const QUIET: Span = Span::minutes(15);

impl Incident {
    /// Moves on by one event and says what that asks of the outside world.
    pub fn step(&mut self, input: Input, around: &Surroundings<'_>) -> Vec<Effect> {
        let mut effects = Vec::new();
        let now = around.now;
        let mut woken = false;
        // What a person changed, for those who are told.
        let mut word = None;
        match (self.status, input) {
            (Status::Open | Status::Acknowledged, Input::AlertOpened(member)) => self.join(*member, now, &mut effects),
            (Status::Open | Status::Acknowledged, Input::AlertMoved { alert, severity, figures }) => {
                self.change_severity(&alert, severity, figures, now, &mut effects);
            }
            (Status::Open | Status::Acknowledged, Input::AlertEnded { alert, reason }) => self.leave(&alert, &reason, now, &mut effects),
            (Status::Open | Status::Acknowledged, Input::AlertUnconfirmed { alert, reason }) => {
                self.doubt(&alert, &reason, around, &mut effects);
            }
            (Status::Open | Status::Acknowledged, Input::AlertRefreshed { alert, figures, summary }) => {
                if let Some(member) = self.members.iter_mut().find(|member| member.alert == alert) {
                    member.figures = figures;
                    member.summary = summary;
                }
                return effects;
            }
            (Status::Open | Status::Acknowledged, Input::Posted { opened, changed, ended }) => {
                for change in changed {
                    if let Some(member) = self.members.iter_mut().find(|member| member.alert == change.alert) {
                        member.summary = change.summary;
                        member.started_at = change.started_at;
                    }
                }
                for member in opened {
                    self.join(member, now, &mut effects);
                }
                for (alert, reason) in ended {
                    self.leave(&alert, &reason, now, &mut effects);
                }
                self.thin_out();
            }
            (_, Input::Explained { explained, impact, changes, title }) => {
                if explained.signature != self.explained.signature && !self.explained.signature.is_empty() {
                    let text = format!("explanation changed from {} to {}", self.explained.signature, explained.signature);
                    effects.push(Effect::History { kind: "explained", who: String::new(), text });
                }
                self.explained = *explained;
                self.impact = impact;
                self.changes = changes;
                self.title = title;
                return effects;
            }
            (Status::Open, Input::Acknowledge { by }) => {
                self.status = Status::Acknowledged;
                self.acknowledged_at = Some(now);
                self.acknowledged_by = Some(by.clone());
                effects.push(Effect::History { kind: "acknowledged", who: by.clone(), text: format!("acknowledged by {by}") });
                let reason = format!("acknowledged by {by}");
                let open: Vec<String> = self.told.iter().filter(|(_, told)| told.open).map(|(name, _)| name.clone()).collect();
                for receiver in open {
                    self.notify(&receiver, Kind::Acknowledged, reason.clone(), around, &mut effects);
                }
            }
            (Status::Acknowledged, Input::Unacknowledge { by }) => {
                self.status = Status::Open;
                self.acknowledged_at = None;
                self.acknowledged_by = None;
                let text = format!("acknowledgement taken back by {by}");
                effects.push(Effect::History { kind: "unacknowledged", who: by, text });
            }
            // What nobody has acknowledged stays as it is.
            (Status::Open | Status::Resolved, Input::Unacknowledge { .. }) => return effects,
            // A second acknowledgement changes nothing, and a late one of a closed incident neither.
            (Status::Acknowledged | Status::Resolved, Input::Acknowledge { .. }) => return effects,
            (Status::Open | Status::Acknowledged, Input::Snooze { by, until }) => {
                self.snoozed_until = Some(until);
                effects.push(Effect::History { kind: "snoozed", who: by, text: format!("snoozed until {until}") });
            }
            (Status::Open | Status::Acknowledged, Input::Resolve { by, why }) => {
                let text = if why.is_empty() { format!("resolved by {by}") } else { format!("resolved by {by}: {why}") };
                for member in self.members.iter_mut().filter(|member| member.firing) {
                    member.firing = false;
                    member.ended_at = Some(now);
                }
                self.closed_because = Some(text.clone());
                self.close(by, text, now, &mut effects);
            }
            (Status::Open | Status::Acknowledged, Input::HandOver { by, owner, why }) => {
                word = self.hand_over(owner, &by, &why, now, &mut effects);
            }
            (Status::Open | Status::Acknowledged, Input::SetSeverity { by, severity, why }) => {
                word = self.choose(severity, &by, &why, now, &mut effects);
            }
            (_, Input::Note { by, text }) => {
                effects.push(Effect::History { kind: "note", who: by, text });
                return effects;
            }
            (Status::Open | Status::Acknowledged, Input::Tick) => {
                if self.snoozed_until.is_some_and(|until| until <= now) {
                    self.snoozed_until = None;
                    let text = "snooze ended, still firing".to_owned();
                    effects.push(Effect::History { kind: "woken", who: String::new(), text });
                    self.status = Status::Open;
                    self.acknowledged_at = None;
                    self.acknowledged_by = None;
                    self.loud_since = now;
                    woken = true;
                }
                if self.held_until.is_some_and(|until| until <= now) {
                    self.close(String::new(), format!("quiet for {}", minutes(QUIET)), now, &mut effects);
                }
            }
            // What belongs to a closed incident comes too late: its alert opens another one.
            (
                Status::Resolved,
                Input::AlertOpened(_)
                | Input::AlertMoved { .. }
                | Input::AlertUnconfirmed { .. }
                | Input::AlertEnded { .. }
                | Input::AlertRefreshed { .. }
                | Input::Posted { .. }
                | Input::Snooze { .. }
                | Input::Resolve { .. }
                | Input::HandOver { .. }
                | Input::SetSeverity { .. }
                | Input::Tick,
            ) => return effects,
        }
        self.tell(woken, word.as_deref(), around, &mut effects);
        effects
    }

    /// Comes back after a close, with another generation, so that receivers take it for a new one.
    pub fn reopen(&mut self, now: Timestamp) -> Effect {
        let closed = self.resolved_at.take().unwrap_or(now);
        self.status = Status::Open;
        self.generation = (self.generation + 1).max(now.seconds());
        self.acknowledged_at = None;
        self.acknowledged_by = None;
        self.snoozed_until = None;
        self.held_until = None;
        self.closed_because = None;
        self.loud_since = now;
        self.severity = Severity::Info;
        self.by_hand.severity = None;
        // What fires now may be another thing than what did: the alert that comes back says what.
        self.title.clear();
        self.told.clear();
        self.reopened.retain(|at| now - *at < Span::HOUR);
        self.reopened.push(now);
        let text = format!("fires again {} after it was closed", minutes(now - closed));
        Effect::History { kind: "reopened", who: String::new(), text }
    }

    /// A person calls an action (a roll back) for this incident: one notification to it, whatever the routes say.
    pub fn call(&mut self, receiver: &Receiver, by: &str) -> Vec<Effect> {
        self.sequence += 1;
        let text = format!("{} called by {by}", receiver.name);
        let notify = Effect::Notify {
            receiver: receiver.name.clone(),
            kind: Kind::Updated,
            reason: format!("called by {by}"),
            sequence: self.sequence,
            definition: Some(Box::new(receiver.clone())),
        };
        vec![Effect::History { kind: "action", who: by.to_owned(), text }, notify]
    }
}

fn minutes(span: Span) -> String {
    match span.0 / 60_000 {
        0 => format!("{} s", span.0 / 1000),
        n if n < 120 => format!("{n} min"),
        n => format!("{} h {} min", n / 60, n % 60),
    }
}

#[cfg(test)]
#[path = "incident_tests.rs"]
mod tests;
