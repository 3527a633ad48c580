//! The alerts inside an incident: how they come, change and go, and what that makes of the incident.

use super::{Effect, Incident, Member, QUIET, RULE_REMOVED, Surroundings, minutes};
use crate::domain::notification::{Figures, Kind, Status};
use crate::domain::rule::Severity;
use crate::domain::time::{Span, Timestamp};

/// Most alerts from outside that an incident keeps after their end, so that one which never closes stays small.
const ENDED_MAX: usize = 100;
/// An incident that was opened again this often within an hour stays open after its last alert.
const FLAPS_MAX: usize = 3;

impl Incident {
    pub(super) fn join(&mut self, member: Member, now: Timestamp, effects: &mut Vec<Effect>) {
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

    pub(super) fn change_severity(&mut self, alert: &str, severity: Severity, figures: Figures, now: Timestamp, effects: &mut Vec<Effect>) {
        let Some(member) = self.members.iter_mut().find(|member| member.alert == alert && member.firing) else { return };
        let before = std::mem::replace(&mut member.severity, severity);
        member.figures = figures;
        let word = if severity > before { "rose" } else { "fell" };
        let text = format!("{} {word} from {before} to {severity}", member.rule);
        effects.push(Effect::History { kind: "severity", who: String::new(), text });
        self.settle(severity, now, effects);
    }

    pub(super) fn leave(&mut self, alert: &str, reason: &str, now: Timestamp, effects: &mut Vec<Effect>) {
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

    pub(super) fn held_reason(&self) -> String {
        format!("came back {} times within an hour: it stays open until it has been quiet for {}", self.reopened.len(), minutes(QUIET))
    }

    /// Says to everybody who knows of a firing alert that nothing confirms it any more. Whoever snoozed it hears at the end of that.
    pub(super) fn doubt(&mut self, alert: &str, reason: &str, around: &Surroundings<'_>, effects: &mut Vec<Effect>) {
        let Some(member) = self.members.iter().find(|member| member.alert == alert && member.firing) else { return };
        let text = format!("{} is {reason}", member.rule);
        effects.push(Effect::History { kind: "unconfirmed", who: String::new(), text: text.clone() });
        if self.snoozed_until.is_some_and(|until| until > around.now) {
            return;
        }
        let targets = self.targets(around);
        let hears = |name: &String| targets.get(name).is_some_and(|target| target.muted.is_none() && target.alerts.contains(alert));
        let open = self.told.iter().filter(|(name, told)| told.open && hears(name)).map(|(name, _)| name.clone());
        for receiver in open.collect::<Vec<_>>() {
            self.notify(&receiver, Kind::Updated, text.clone(), around, effects);
        }
    }

    /// Forgets the alerts from outside that ended first.
    pub(super) fn thin_out(&mut self) {
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
    pub(super) fn settle(&mut self, touched: Severity, now: Timestamp, effects: &mut Vec<Effect>) {
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

    pub(super) fn close(&mut self, who: String, text: String, now: Timestamp, effects: &mut Vec<Effect>) {
        self.status = Status::Resolved;
        self.resolved_at = Some(now);
        self.snoozed_until = None;
        self.held_until = None;
        effects.push(Effect::History { kind: "resolved", who, text });
    }
}
