//! An incident: the alerts with equal grouping labels, as one thing that a person is told about.
//!
//! [`Incident::step`] takes what happened and says, as data, what that asks of the outside world:
//! history to keep and notifications to send. The caller commits all of it in one transaction.
//! Always holds: a receiver that was told of an opening is told of the close, whatever was muted,
//! lowered or removed in between.

mod hand;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::explain::Signature;
use super::measure::Subject;
use super::notification::{AlertState, AlertView, Change, Figures, Impact, IncidentView, Kind, Links, Status, Suspect, Verdict};
use super::posted;
use super::route::Routed;
use super::rule::{Labels, Receiver, Severity};
use super::time::{Span, Timestamp};

pub use self::hand::{ByHand, Chosen};

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
    pub ended_at: Option<Timestamp>,
    pub summary: String,
    pub figures: Figures,
    #[serde(default)]
    pub traces: Vec<String>,
    /// What a free-form rule looked at.
    #[serde(default)]
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
    pub at: Option<Timestamp>,
    /// The loudest severity it was told of.
    pub severity: Option<Severity>,
    /// The firing alerts it knows.
    pub alerts: BTreeSet<String>,
    /// Since when it would be told, but waits for its group to gather.
    pub waiting_since: Option<Timestamp>,
    /// Why it was not told although its route matches.
    pub held_by: Option<String>,
    /// The definition that told it, for closes after its rule is gone.
    pub definition: Option<Box<Receiver>>,
    /// The children that it was told of.
    #[serde(default)]
    pub kin: BTreeSet<String>,
    /// It was told that the incident is held open.
    #[serde(default)]
    pub held: bool,
}

/// What the explanation found (EXPLAIN), as the incident shows it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Explained {
    pub signature: String,
    pub verdict: Verdict,
    pub suspects: Vec<Suspect>,
    /// One sentence for a person; empty while nothing is known.
    pub sentence: String,
    /// Why nobody is named.
    #[serde(default)]
    pub reason: String,
    /// What keeps the signature stable from one computation to the next.
    #[serde(default)]
    pub held: Signature,
    /// What was looked at: the equalities of the `where`, and the group.
    #[serde(default)]
    pub scope: Labels,
    /// The app that was looked at, or empty.
    #[serde(default)]
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
    pub service: String,
    pub owner: String,
    pub labels: Labels,
    pub opened_at: Timestamp,
    pub acknowledged_at: Option<Timestamp>,
    pub acknowledged_by: Option<String>,
    pub resolved_at: Option<Timestamp>,
    pub snoozed_until: Option<Timestamp>,
    /// Since when the unbroken burn lasts: the window that impact and explanation look at.
    pub window_start: Timestamp,
    pub members: Vec<Member>,
    pub told: BTreeMap<String, Told>,
    /// Escalation steps count from here: the opening, or the last rise.
    pub loud_since: Timestamp,
    pub impact: Impact,
    pub explained: Explained,
    pub changes: Vec<Change>,
    pub revision: String,
    pub runbook: Option<String>,
    pub dashboard: Option<String>,
    /// The incident of the same cause that speaks for this one.
    #[serde(default)]
    pub parent: Option<String>,
    /// The incidents that this one speaks for, those that closed before it included.
    #[serde(default)]
    pub children: BTreeSet<String>,
    /// When it was opened again, within the last hour.
    #[serde(default)]
    pub reopened: Vec<Timestamp>,
    /// Whoever was told of it in an earlier generation.
    #[serde(default)]
    pub known: BTreeSet<String>,
    /// It came and went too often: nothing fires, but it stays open until then.
    #[serde(default)]
    pub held_until: Option<Timestamp>,
    /// Why it was closed, where that was no plain end of its alerts.
    #[serde(default)]
    pub closed_because: Option<String>,
    /// What a person decided about it.
    #[serde(default)]
    pub by_hand: ByHand,
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

/// Most alerts from outside that an incident keeps after their end, so that one which never closes stays small.
const ENDED_MAX: usize = 100;

/// An alert that fires within this time after the close of the incident of its key brings that one back.
pub const REOPEN_WITHIN: Span = Span::minutes(15);
/// An incident that was opened again this often within an hour stays open after its last alert.
const FLAPS_MAX: usize = 3;
/// Until it has been quiet for this long.
const QUIET: Span = Span::minutes(15);

/// Most children that one update names.
const JOINED_MAX: usize = 5;

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

/// What a receiver should know by the routes as they are now.
#[derive(Default)]
struct Target {
    severity: Option<Severity>,
    alerts: BTreeSet<String>,
    wait: Span,
    interval: Span,
    repeat: Span,
    /// Set while every alert that leads here is muted.
    muted: Option<String>,
    loud: bool,
    escalated: bool,
}

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

    fn join(&mut self, member: Member, now: Timestamp, effects: &mut Vec<Effect>) {
        self.held_until = None;
        let text = format!("{} fires: {}", member.rule, member.summary);
        effects.push(Effect::History { kind: "alert_fired", who: String::new(), text });
        let severity = member.severity;
        if self.title.is_empty() {
            self.title.clone_from(&member.summary);
        }
        match self.members.iter_mut().find(|have| have.alert == member.alert) {
            Some(have) => *have = member,
            None => self.members.push(member),
        }
        self.settle(severity, now, effects);
    }

    fn change_severity(&mut self, alert: &str, severity: Severity, figures: Figures, now: Timestamp, effects: &mut Vec<Effect>) {
        let Some(member) = self.members.iter_mut().find(|member| member.alert == alert && member.firing) else { return };
        let before = std::mem::replace(&mut member.severity, severity);
        member.figures = figures;
        let word = if severity > before { "rose" } else { "fell" };
        let text = format!("{} {word} from {before} to {severity}", member.rule);
        effects.push(Effect::History { kind: "severity", who: String::new(), text });
        self.settle(severity, now, effects);
    }

    fn leave(&mut self, alert: &str, reason: &str, now: Timestamp, effects: &mut Vec<Effect>) {
        let Some(member) = self.members.iter_mut().find(|member| member.alert == alert && member.firing) else { return };
        member.firing = false;
        member.ended_at = Some(now);
        let text = format!("{} ended: {reason}", member.rule);
        effects.push(Effect::History { kind: "alert_ended", who: String::new(), text });
        if self.members.iter().any(|member| member.firing) {
            let severity = self.severity;
            self.settle(severity, now, effects);
        } else if self.reopened.iter().filter(|at| now - **at < Span::HOUR).count() >= FLAPS_MAX {
            self.held_until = Some(now + QUIET);
            effects.push(Effect::History { kind: "held_open", who: String::new(), text: self.held_reason() });
        } else {
            self.closed_because = (reason == RULE_REMOVED).then(|| reason.to_owned());
            self.close(String::new(), reason.to_owned(), now, effects);
        }
    }

    fn held_reason(&self) -> String {
        format!("came back {} times within an hour: it stays open until it has been quiet for {}", self.reopened.len(), minutes(QUIET))
    }

    /// Says to everybody who knows of a firing alert that nothing confirms it any more.
    fn doubt(&mut self, alert: &str, reason: &str, around: &Surroundings<'_>, effects: &mut Vec<Effect>) {
        let Some(member) = self.members.iter().find(|member| member.alert == alert && member.firing) else { return };
        let text = format!("{} is {reason}", member.rule);
        effects.push(Effect::History { kind: "unconfirmed", who: String::new(), text: text.clone() });
        let targets = self.targets(around);
        let hears = |name: &String| targets.get(name).is_some_and(|target| target.muted.is_none() && target.alerts.contains(alert));
        let open = self.told.iter().filter(|(name, told)| told.open && hears(name)).map(|(name, _)| name.clone());
        for receiver in open.collect::<Vec<_>>() {
            self.notify(&receiver, Kind::Updated, text.clone(), around, effects);
        }
    }

    /// Forgets the alerts from outside that ended first.
    fn thin_out(&mut self) {
        let ended = |member: &Member| !member.firing && member.is_posted();
        let mut ends: Vec<Option<Timestamp>> = self.members.iter().filter(|member| ended(member)).map(|member| member.ended_at).collect();
        if ends.len() <= ENDED_MAX {
            return;
        }
        ends.sort_unstable();
        let mut spare = ends.len() - ENDED_MAX;
        let last = ends[spare - 1];
        self.members.retain(|member| {
            let goes = spare > 0 && ended(member) && member.ended_at <= last;
            spare -= usize::from(goes);
            !goes
        });
    }

    /// Takes over the highest severity of the firing alerts; a rise voids the acknowledgement.
    fn settle(&mut self, touched: Severity, now: Timestamp, effects: &mut Vec<Effect>) {
        let before = self.severity;
        let alerts = self.loudest(touched);
        self.outgrow(alerts, effects);
        self.severity = self.members.iter().filter(|member| member.firing).map(|member| self.severity_of(member)).max().unwrap_or(touched);
        if self.severity > before {
            self.loud_since = now;
            self.snoozed_until = None;
            if self.status == Status::Acknowledged {
                self.status = Status::Open;
                self.acknowledged_at = None;
                self.acknowledged_by = None;
                let text = format!("severity rose to {}: the acknowledgement no longer counts", self.severity);
                effects.push(Effect::History { kind: "acknowledgement_voided", who: String::new(), text });
            }
        }
    }

    fn close(&mut self, who: String, text: String, now: Timestamp, effects: &mut Vec<Effect>) {
        self.status = Status::Resolved;
        self.resolved_at = Some(now);
        self.snoozed_until = None;
        self.held_until = None;
        effects.push(Effect::History { kind: "resolved", who, text });
    }

    fn targets(&self, around: &Surroundings<'_>) -> BTreeMap<String, Target> {
        let mut targets: BTreeMap<String, Target> = BTreeMap::new();
        let quiet = self.status != Status::Open || self.snoozed_until.is_some_and(|until| until > around.now);
        for member in self.members.iter().filter(|member| member.firing) {
            let labels = self.labels_of(member);
            let severity = self.severity_of(member);
            let muted = (around.muted)(&labels);
            for routed in (around.route)(&labels) {
                // Somebody is at the common cause, and nobody was told of this one by itself.
                let told = |name: &String| self.told.get(name).is_some_and(|told| told.open);
                let heard = around.lead.is_some_and(|lead| lead.quiet) && !routed.to.iter().any(told);
                let mut add = |receiver: &String, escalated: bool| {
                    let target = targets.entry(receiver.clone()).or_default();
                    target.severity = target.severity.max(Some(severity));
                    target.alerts.insert(member.alert.clone());
                    let first = target.wait == Span::ZERO && target.interval == Span::ZERO;
                    target.wait = if first { routed.group_wait } else { target.wait.min(routed.group_wait) };
                    target.interval = if first { routed.group_interval } else { target.interval.min(routed.group_interval) };
                    target.repeat = if first { routed.repeat } else { target.repeat.min(routed.repeat) };
                    target.escalated |= escalated;
                    match routed.muted.clone().or_else(|| muted.clone()) {
                        Some(reason) if !target.loud => target.muted = Some(reason),
                        Some(_) => {}
                        None => {
                            target.loud = true;
                            target.muted = None;
                        }
                    }
                };
                routed.to.iter().for_each(|receiver| add(receiver, false));
                for step in &routed.escalate {
                    // Who was reached by a step stays told of the close, also after the acknowledgement.
                    let reached = !quiet && !heard && around.now - self.loud_since >= step.after;
                    for receiver in &step.to {
                        if reached || self.told.get(receiver).is_some_and(|told| told.open) {
                            add(receiver, true);
                        }
                    }
                }
            }
        }
        targets
    }

    /// Brings every receiver to what it should know now.
    fn tell(&mut self, woken: bool, word: Option<&str>, around: &Surroundings<'_>, effects: &mut Vec<Effect>) {
        let now = around.now;
        let mut targets = self.targets(around);
        let names: BTreeSet<String> = self.told.keys().chain(targets.keys()).cloned().collect();
        let quiet = self.status != Status::Open || self.snoozed_until.is_some_and(|until| until > now);
        for name in names {
            let told = self.told.entry(name.clone()).or_default();
            match (told.open, targets.remove(&name)) {
                (false, None) => {
                    told.waiting_since = None;
                    told.held_by = None;
                }
                // Nothing fires, but it came and went too often to be closed at once.
                (true, None) if self.held_until.is_some() => {
                    if !std::mem::replace(&mut told.held, true) {
                        self.notify(&name, Kind::Updated, self.held_reason(), around, effects);
                    }
                }
                (true, None) => {
                    let reason = match self.status {
                        Status::Resolved => self.close_reason(),
                        Status::Open | Status::Acknowledged => word.unwrap_or("severity lowered").to_owned(),
                    };
                    self.notify(&name, Kind::Resolved, reason, around, effects);
                }
                (false, Some(target)) => {
                    let since = *told.waiting_since.get_or_insert(now);
                    if let Some(reason) = target.muted {
                        if told.held_by.as_ref() != Some(&reason) {
                            let text = format!("{name} was not told: {reason}");
                            effects.push(Effect::History { kind: "held_back", who: String::new(), text });
                            told.held_by = Some(reason);
                        }
                        continue;
                    }
                    if let Some(lead) = around.lead.filter(|lead| lead.speaks_to(&name, target.severity)) {
                        let reason = lead.reason();
                        if told.held_by.as_ref() != Some(&reason) {
                            let text = format!("{name} was not told: {reason}");
                            effects.push(Effect::History { kind: "held_back", who: String::new(), text });
                            told.held_by = Some(reason);
                        }
                        continue;
                    }
                    let held = told.held_by.take();
                    if held.is_none() && now - since < target.wait {
                        continue;
                    }
                    let reason = match &held {
                        Some(held) => format!("still firing after it was held back: {held}"),
                        None if target.escalated => format!("not acknowledged for {}", minutes(now - self.loud_since)),
                        None => word.map_or_else(|| self.open_reason(), str::to_owned),
                    };
                    let kind = match (target.escalated, self.known.contains(&name)) {
                        (true, _) => Kind::Escalated,
                        (false, true) => Kind::Reopened,
                        (false, false) => Kind::Opened,
                    };
                    self.know(&name, &target);
                    self.notify(&name, kind, reason, around, effects);
                }
                (true, Some(target)) => {
                    if let Some(reason) = target.muted {
                        if told.held_by.as_ref() != Some(&reason) {
                            let text = format!("{name} is told no more of it: {reason}");
                            effects.push(Effect::History { kind: "held_back", who: String::new(), text });
                            told.held_by = Some(reason);
                        }
                        continue;
                    }
                    let mute = told.held_by.take();
                    let at = told.at.unwrap_or(now);
                    let news: Vec<&Kin> =
                        around.family.iter().filter(|kin| kin.receivers.contains(&name) && !told.kin.contains(&kin.id)).collect();
                    let covered = around.lead.is_some_and(|lead| lead.speaks_to(&name, target.severity));
                    if target.severity > told.severity {
                        let reason = word.map_or_else(|| format!("severity raised to {}", self.severity), str::to_owned);
                        self.know(&name, &target);
                        self.notify(&name, Kind::Escalated, reason, around, effects);
                    } else if !target.alerts.is_subset(&told.alerts) && now - at >= target.interval {
                        let new = target.alerts.difference(&told.alerts).count();
                        let reason = format!("{new} more alert{}", if new == 1 { "" } else { "s" });
                        self.know(&name, &target);
                        self.notify(&name, Kind::Updated, reason, around, effects);
                    } else if !news.is_empty() && now - at >= target.interval {
                        let reason = joined(&news);
                        told.kin.extend(news.into_iter().map(|kin| kin.id.clone()));
                        self.notify(&name, Kind::Updated, reason, around, effects);
                    } else if let Some(reason) = awake(woken, mute).filter(|_| !quiet && !covered) {
                        self.notify(&name, Kind::Reminder, reason, around, effects);
                    } else if let Some(word) = word.filter(|_| !covered) {
                        self.notify(&name, Kind::Updated, word.to_owned(), around, effects);
                    } else if target.alerts.is_subset(&told.alerts)
                        && !quiet
                        && !covered
                        && target.repeat > Span::ZERO
                        && now - at >= target.repeat
                    {
                        let reason = format!("not acknowledged, still firing after {}", minutes(now - self.opened_at));
                        self.notify(&name, Kind::Reminder, reason, around, effects);
                    }
                }
            }
        }
        self.told.retain(|_, told| *told != Told::default());
    }

    fn know(&mut self, receiver: &str, target: &Target) {
        if let Some(told) = self.told.get_mut(receiver) {
            told.severity = target.severity;
            told.alerts.clone_from(&target.alerts);
        }
    }

    fn notify(&mut self, receiver: &str, kind: Kind, reason: String, around: &Surroundings<'_>, effects: &mut Vec<Effect>) {
        let definition = (around.receiver)(receiver).map(Box::new);
        let Some(told) = self.told.get_mut(receiver) else { return };
        told.waiting_since = None;
        told.at = Some(around.now);
        told.open = kind != Kind::Resolved;
        if definition.is_some() {
            told.definition = definition;
        }
        let definition = told.definition.clone();
        if kind == Kind::Resolved {
            if self.status == Status::Resolved {
                self.known.insert(receiver.to_owned());
            }
            *told = Told::default();
            if definition.as_ref().is_some_and(|definition| !definition.send_resolved) {
                return;
            }
        }
        self.sequence += 1;
        effects.push(Effect::Notify { receiver: receiver.to_owned(), kind, reason, sequence: self.sequence, definition });
    }

    fn open_reason(&self) -> String {
        self.members.iter().filter(|member| member.firing).map(|member| member.summary.as_str()).next().unwrap_or_default().to_owned()
    }

    fn close_reason(&self) -> String {
        match (&self.closed_because, self.members.len()) {
            (Some(why), _) => why.clone(),
            (None, 1) => "the alert ended".to_owned(),
            (None, n) => format!("all {n} alerts ended"),
        }
    }

    /// When time alone could change something again, after a tick now that changed nothing; `None`: never. It may be too
    /// early. What is past by now is held up by something else than time.
    pub fn next_tick(&self, around: &Surroundings<'_>) -> Option<Timestamp> {
        if self.status == Status::Resolved {
            return None;
        }
        let mut due: Vec<Timestamp> = self.snoozed_until.into_iter().chain(self.held_until).collect();
        for (name, target) in self.targets(around) {
            let told = self.told.get(&name);
            match told {
                Some(told) if told.open => {
                    let at = told.at.unwrap_or(around.now);
                    // For further alerts, and for children.
                    due.push(at + target.interval);
                    if target.repeat > Span::ZERO {
                        due.push(at + target.repeat);
                    }
                }
                Some(told) => due.push(told.waiting_since.unwrap_or(around.now) + target.wait),
                None => due.push(around.now + target.wait),
            }
        }
        for member in self.members.iter().filter(|member| member.firing) {
            for routed in (around.route)(&self.labels_of(member)) {
                due.extend(routed.escalate.iter().map(|step| self.loud_since + step.after));
            }
        }
        due.into_iter().filter(|at| *at > around.now).min()
    }

    /// As the outside sees it. `public_url` has no slash at its end.
    pub fn view(&self, public_url: &str) -> IncidentView {
        IncidentView {
            id: self.id.clone(),
            key: self.key.clone(),
            status: self.status,
            severity: self.severity,
            title: self.title.clone(),
            service: self.service.clone(),
            owner: self.owner.clone(),
            labels: self.labels.clone(),
            opened_at: self.opened_at,
            acknowledged_at: self.acknowledged_at,
            resolved_at: self.resolved_at,
            impact: self.impact,
            signature: self.explained.signature.clone(),
            verdict: self.explained.verdict,
            suspects: self.explained.suspects.clone(),
            changes: self.changes.clone(),
            alerts: self
                .members
                .iter()
                .map(|member| AlertView {
                    rule: member.rule.clone(),
                    state: if member.firing { AlertState::Firing } else { AlertState::Resolved },
                    severity: member.severity,
                    labels: member.full_labels(),
                    started_at: member.started_at,
                    ended_at: member.ended_at,
                    summary: member.summary.clone(),
                    values: member.figures,
                    traces: member.traces.clone(),
                })
                .collect(),
            revision: self.revision.clone(),
            links: Links {
                incident: format!("{public_url}/incidents/{}", self.id),
                runbook: self.runbook.clone(),
                dashboard: self.dashboard.clone(),
            },
        }
    }
}

/// Why somebody is told again of what was kept from them for a while.
fn awake(woken: bool, mute: Option<String>) -> Option<String> {
    match (woken, mute) {
        (true, _) => Some("the snooze ended, still firing".to_owned()),
        (false, Some(mute)) => Some(format!("still firing after the end of: {mute}")),
        (false, None) => None,
    }
}

/// "same cause: js-errors fires too: …"
fn joined(news: &[&Kin]) -> String {
    let texts = || news.iter().map(|kin| kin.text.as_str());
    match news {
        [kin] => format!("same cause: {} fires too", kin.text),
        _ if news.len() <= JOINED_MAX => format!("same cause: {} more incidents: {}", news.len(), texts().collect::<Vec<_>>().join("; ")),
        _ => {
            let named = texts().take(JOINED_MAX).collect::<Vec<_>>().join("; ");
            format!("same cause: {} more incidents: {named}; and {} more", news.len(), news.len() - JOINED_MAX)
        }
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
