//! What a person decided about an incident: whose it is, and how loud.
//!
//! Routes see the decision in place of the alerts' labels `owner` and `severity`. An owner stays with the incident. A
//! severity stands until the alerts rise above both it and what they said when it was chosen, or until the incident
//! is closed: a fall of the alerts does not end it, and neither does a new alert that is no louder.

use serde::{Deserialize, Serialize};

use super::{Effect, Incident, Member};
use crate::domain::notification::Status;
use crate::domain::rule::{Labels, Severity};
use crate::domain::time::Timestamp;

/// A person's decisions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ByHand {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity: Option<Chosen>,
}

/// A severity that a person chose.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chosen {
    pub severity: Severity,
    /// What the alerts said then.
    pub over: Severity,
    pub by: String,
}

impl Chosen {
    /// The severity of an alert under this choice: raised to it, or no louder than it.
    fn of(&self, alert: Severity) -> Severity {
        if self.severity >= self.over { alert.max(self.severity) } else { alert.min(self.severity) }
    }

    fn stands(&self, alerts: Severity) -> bool {
        alerts <= self.severity.max(self.over)
    }
}

impl Incident {
    /// The severity of one of its alerts as routes see it.
    pub fn severity_of(&self, member: &Member) -> Severity {
        self.by_hand.severity.as_ref().map_or(member.severity, |chosen| chosen.of(member.severity))
    }

    /// The labels of one of its alerts as routes, mutes and inhibition see them.
    pub fn labels_of(&self, member: &Member) -> Labels {
        let mut labels = member.full_labels();
        let severity = self.severity_of(member);
        if severity != member.severity {
            labels.insert("severity".into(), severity.name().into());
        }
        if let Some(owner) = &self.by_hand.owner {
            labels.insert("owner".into(), owner.clone());
        }
        labels
    }

    /// Gives it to somebody else; says so in words. `None`: it is theirs.
    pub(super) fn hand_over(&mut self, owner: String, by: &str, why: &str, now: Timestamp, effects: &mut Vec<Effect>) -> Option<String> {
        if self.owner == owner {
            return None;
        }
        let from = if self.owner.is_empty() { "nobody".to_owned() } else { self.owner.clone() };
        let text = because(format!("handed over from {from} to {owner} by {by}"), why);
        effects.push(Effect::History { kind: "owner", who: by.to_owned(), text: text.clone() });
        self.owner.clone_from(&owner);
        self.by_hand.owner = Some(owner);
        // The new owner has as long as the steps say, from now on.
        self.loud_since = now;
        Some(text)
    }

    /// Takes a person's severity, or goes back to what the alerts say. `None`: nothing changes by that.
    pub(super) fn choose(
        &mut self,
        severity: Option<Severity>,
        by: &str,
        why: &str,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) -> Option<String> {
        if severity == self.by_hand.severity.as_ref().map(|chosen| chosen.severity) {
            return None;
        }
        let before = self.severity;
        let over = self.loudest(before);
        self.by_hand.severity = severity.map(|severity| Chosen { severity, over, by: by.to_owned() });
        let text = match severity {
            Some(severity) => because(format!("severity set from {before} to {severity} by {by}"), why),
            None => because(format!("severity left to its alerts again by {by}: {over}"), why),
        };
        effects.push(Effect::History { kind: "severity", who: by.to_owned(), text: text.clone() });
        self.settle(before, now, effects);
        Some(text)
    }

    /// Ends a choice that the alerts have risen above.
    pub(super) fn outgrow(&mut self, alerts: Severity, effects: &mut Vec<Effect>) {
        if let Some(chosen) = self.by_hand.severity.take_if(|chosen| !chosen.stands(alerts)) {
            let text = format!("its alerts rose to {alerts}: the severity {} that {} chose no longer counts", chosen.severity, chosen.by);
            effects.push(Effect::History { kind: "severity", who: String::new(), text });
        }
    }

    /// The highest severity of the firing alerts, as they say it.
    pub(super) fn loudest(&self, without: Severity) -> Severity {
        self.members.iter().filter(|member| member.firing).map(|member| member.severity).max().unwrap_or(without)
    }

    /// Whether a person may still decide about it.
    pub fn is_over(&self) -> bool {
        match self.status {
            Status::Open | Status::Acknowledged => false,
            Status::Resolved => true,
        }
    }
}

fn because(text: String, why: &str) -> String {
    if why.is_empty() { text } else { format!("{text}: {why}") }
}
