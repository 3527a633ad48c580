//! Who is told what: from the routes as they are now to the notifications that bring every receiver to what it should know.

use std::collections::{BTreeMap, BTreeSet};

use super::{Effect, Incident, Kin, Member, Surroundings, Told, minutes};
use crate::domain::notification::{Kind, Status};
use crate::domain::rule::{Receiver, ReceiverKind, Severity};
use crate::domain::time::{Span, Timestamp};

/// Most children that one update names.
const JOINED_MAX: usize = 5;

/// What a receiver should know by the routes as they are now.
#[derive(Default)]
pub(super) struct Target {
    severity: Option<Severity>,
    pub(super) alerts: BTreeSet<String>,
    /// The earliest start of an alert from outside: one that has been on for as long as its group gathers is told at once.
    began: Option<Timestamp>,
    wait: Span,
    interval: Span,
    repeat: Span,
    /// Set while every alert that leads here is muted.
    pub(super) muted: Option<String>,
    loud: bool,
    escalated: bool,
}

impl Target {
    /// Since when its group gathers.
    fn since(&self, first_seen: Timestamp) -> Timestamp {
        self.began.map_or(first_seen, |began| began.min(first_seen))
    }
}

/// How many of the alerts that somebody knows have ended.
fn ended(members: &[Member], known: &BTreeSet<String>) -> usize {
    members.iter().filter(|member| !member.firing && known.contains(&member.alert)).count()
}

/// Whether a receiver keeps account of single alerts: whoever listens in Alertmanager's format does, and is told when some of
/// a group end.
fn hears_of_each(receiver: &Receiver) -> bool {
    receiver.send_resolved && matches!(receiver.kind, ReceiverKind::AlertmanagerWebhook { .. })
}

impl Incident {
    pub(super) fn targets(&self, around: &Surroundings<'_>) -> BTreeMap<String, Target> {
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
                    if member.is_posted() {
                        target.began = Some(target.began.map_or(member.started_at, |began| began.min(member.started_at)));
                    }
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
    pub(super) fn tell(&mut self, woken: bool, word: Option<&str>, around: &Surroundings<'_>, effects: &mut Vec<Effect>) {
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
                    let since = target.since(*told.waiting_since.get_or_insert(now));
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
                    let over = ended(&self.members, &told.alerts);
                    if target.severity > told.severity {
                        let reason = word.map_or_else(|| format!("severity raised to {}", self.severity), str::to_owned);
                        self.know(&name, &target);
                        self.notify(&name, Kind::Escalated, reason, around, effects);
                    } else if !target.alerts.is_subset(&told.alerts) && now - at >= target.interval {
                        let new = target.alerts.difference(&told.alerts).count();
                        let reason = format!("{new} more alert{}", if new == 1 { "" } else { "s" });
                        self.know(&name, &target);
                        self.notify(&name, Kind::Updated, reason, around, effects);
                    } else if over > 0 && now - at >= target.interval && (around.receiver)(&name).is_some_and(|it| hears_of_each(&it)) {
                        self.know(&name, &target);
                        self.notify(
                            &name,
                            Kind::Updated,
                            format!("{over} alert{} ended", if over == 1 { "" } else { "s" }),
                            around,
                            effects,
                        );
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

    pub(super) fn notify(&mut self, receiver: &str, kind: Kind, reason: String, around: &Surroundings<'_>, effects: &mut Vec<Effect>) {
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
                Some(told) => due.push(target.since(told.waiting_since.unwrap_or(around.now)) + target.wait),
                None => due.push(target.since(around.now) + target.wait),
            }
        }
        for member in self.members.iter().filter(|member| member.firing) {
            for routed in (around.route)(&self.labels_of(member)) {
                due.extend(routed.escalate.iter().map(|step| self.loud_since + step.after));
            }
        }
        due.into_iter().filter(|at| *at > around.now).min()
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
