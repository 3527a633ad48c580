//! Alerts from `/api/v2` at the desk: into their incidents, in one step for each incident.
//!
//! An incident holds so many of them that a person could read; further ones wait outside of it while
//! they would tell nobody anything new. Always holds: who would be told of a waiting alert is told of
//! the incident, and an incident with waiting alerts does not close by itself.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use crate::domain::incident::{Incident, Input, Member, PostedChange};
use crate::domain::notification::{Figures, Impact};
use crate::domain::posted::{Board, Key, Posted, Standing, Work, member_name};
use crate::domain::rule::Labels;
use crate::domain::time::Timestamp;

use super::book::{Book, Entry, Opening};
use super::{Outcome, Sources};
use crate::domain::incident::Explained;

/// Alerts from outside that fire in one incident before further ones of the same class wait.
const MEMBERS: usize = 100;
/// The most, whatever their classes.
const MEMBERS_MAX: usize = 1_000;

/// What came of a look at the board.
#[derive(Debug, Default)]
pub struct Settled {
    pub outcomes: Vec<Outcome>,
    /// Where alerts stand now.
    pub standings: Vec<(Key, Standing)>,
    /// Over, and told.
    pub over: Vec<Key>,
    /// Changed, and told.
    pub told: Vec<Key>,
}

/// What changes about one incident.
#[derive(Default)]
struct Step {
    opened: Vec<(Key, Member)>,
    changed: Vec<PostedChange>,
    ended: Vec<(String, String)>,
    opening: Option<First>,
}

/// What an incident that is not there yet begins with.
struct First {
    grouping: Labels,
    labels: Labels,
    title: String,
    runbook: Option<String>,
    dashboard: Option<String>,
    at: Timestamp,
}

/// Who is in an incident already, as far as joining it is concerned.
struct Room {
    firing: usize,
    classes: HashSet<u64>,
}

impl Book<'_> {
    /// Takes what happened on the board into incidents. `again`: silences, rules or hours may have changed,
    /// so whoever waits is looked at anew.
    pub fn posted(&mut self, board: &Board, work: &Work, again: bool) -> Settled {
        let mut settled = Settled { told: work.changed.clone(), over: work.over.clone(), ..Settled::default() };
        // Only what stands somewhere already is looked for there.
        let standing = !(work.over.is_empty() && work.changed.is_empty() && board.waiting().is_empty());
        let keys: HashMap<String, String> = match standing {
            true => self.open.iter().map(|(key, incident)| (incident.id.clone(), key.clone())).collect(),
            false => HashMap::new(),
        };
        let mut steps: BTreeMap<String, Step> = BTreeMap::new();
        let over: HashSet<&Key> = work.over.iter().collect();
        for key in &work.over {
            let Some(entry) = board.get(key) else { continue };
            let Standing::Joined { incident } = &entry.standing else { continue };
            // A person closed the incident while the alert fired: its end is no news.
            let Some(group) = keys.get(&**incident) else { continue };
            let reason = if entry.alert.timed { "its sender was not heard of any more" } else { "its sender says that it is over" };
            steps.entry(group.clone()).or_default().ended.push((member_name(key), reason.to_owned()));
        }
        for key in work.changed.iter().filter(|key| !over.contains(key)) {
            let Some(entry) = board.get(key) else { continue };
            let Standing::Joined { incident } = &entry.standing else { continue };
            let Some(group) = keys.get(&**incident) else { continue };
            let change = PostedChange { alert: member_name(key), summary: entry.alert.summary(), started_at: entry.alert.starts };
            steps.entry(group.clone()).or_default().changed.push(change);
        }
        let firing = self.take_sources();
        let mut rooms: HashMap<String, Room> = HashMap::new();
        let mut waiting: Vec<(Key, String, u64)> = Vec::new();
        for key in work.fresh.iter().filter(|key| !over.contains(key)) {
            let Some(entry) = board.get(key) else { continue };
            let labels = entry.alert.labels.labels();
            let (grouping, group) = self.desk.group_posted(&labels, self.now);
            let step = steps.entry(group.clone()).or_default();
            let room = rooms.entry(group.clone()).or_insert_with(|| self.room(self.open.get(&group), &step.ended, &firing));
            let class = if room.firing < MEMBERS { None } else { Some(self.class(&entry.alert, &labels, &firing)) };
            if !room.take(class) {
                waiting.push((*key, group, class.unwrap_or_default()));
                continue;
            }
            if !self.open.contains_key(&group) && step.opening.is_none() {
                step.opening = Some(First::new(&entry.alert, grouping, labels.clone(), self.now));
            }
            // Classes are only worked out for incidents that are about to be full.
            if room.firing == MEMBERS {
                room.classes.extend(step.opened.iter().map(|(_, member)| self.member_class(member, &firing)));
                room.classes.insert(self.class(&entry.alert, &labels, &firing));
            }
            step.opened.push((*key, member(key, &entry.alert, labels, self.now)));
        }
        self.let_in(board, again, &over, &keys, &firing, &mut steps, &mut rooms, &mut settled);
        self.firing = Some(firing);
        for (group, step) in steps {
            if step.opened.is_empty() && step.changed.is_empty() && step.ended.is_empty() {
                continue;
            }
            let joined: Vec<Key> = step.opened.iter().map(|(key, _)| *key).collect();
            let outcome = self.take_step(group, step);
            let incident: Arc<str> = outcome.incident.id.as_str().into();
            settled.standings.extend(joined.into_iter().map(|key| (key, Standing::Joined { incident: incident.clone() })));
            settled.outcomes.push(outcome);
        }
        for (key, group, class) in waiting {
            // Its incident is open: it is full.
            if let Some(incident) = self.open.get(&group) {
                settled.standings.push((key, Standing::Waiting { incident: incident.id.as_str().into(), class }));
            }
        }
        settled
    }

    /// Lets alerts that wait into their incidents: where a place is free, and where they bring somebody
    /// new to tell.
    #[expect(clippy::too_many_arguments, reason = "the parts of one decision, which has no meaning outside of it")]
    fn let_in(
        &self,
        board: &Board,
        again: bool,
        over: &HashSet<&Key>,
        keys: &HashMap<String, String>,
        firing: &Sources,
        steps: &mut BTreeMap<String, Step>,
        rooms: &mut HashMap<String, Room>,
        settled: &mut Settled,
    ) {
        for (incident, waiting) in board.waiting() {
            let waiting = || waiting.iter().filter(|(key, _)| !over.contains(key));
            let Some(group) = keys.get(&**incident) else {
                // A person closed it with all that belonged to it.
                settled.standings.extend(waiting().map(|(key, _)| (*key, Standing::Joined { incident: incident.clone() })));
                continue;
            };
            let left = steps.get(group).is_some_and(|step| !step.ended.is_empty());
            if !again && !left {
                continue;
            }
            let step = steps.entry(group.clone()).or_default();
            let room = rooms.entry(group.clone()).or_insert_with(|| self.room(self.open.get(group), &step.ended, firing));
            let mut rest = Vec::new();
            let enter = |key: &Key, step: &mut Step| {
                let Some(entry) = board.get(key) else { return };
                step.opened.push((*key, member(key, &entry.alert, entry.alert.labels.labels(), self.now)));
            };
            for (key, before) in waiting() {
                let class = match board.get(key).filter(|_| again) {
                    Some(entry) => self.class(&entry.alert, &entry.alert.labels.labels(), firing),
                    None => *before,
                };
                if !room.classes.contains(&class) && room.take(Some(class)) {
                    enter(key, step);
                } else {
                    rest.push((*key, class, class == *before));
                }
            }
            for (key, class, same) in rest {
                if room.firing < MEMBERS && room.take(Some(class)) {
                    enter(&key, step);
                } else if !same {
                    settled.standings.push((key, Standing::Waiting { incident: incident.clone(), class }));
                }
            }
        }
    }

    fn take_step(&mut self, group: String, step: Step) -> Outcome {
        let new = match step.opening {
            Some(first) => self.open_incident(Opening {
                at: first.at,
                key: group.clone(),
                grouping: first.grouping,
                labels: &first.labels,
                title: first.title,
                window_start: first.at,
                impact: Impact::default(),
                explained: Explained::default(),
                changes: Vec::new(),
                runbook: first.runbook,
                dashboard: first.dashboard,
                footing: None,
            }),
            None => Entry::Known,
        };
        let opened = step.opened.into_iter().map(|(_, member)| member).collect();
        self.apply(group, Input::Posted { opened, changed: step.changed, ended: step.ended }, new)
    }

    fn room(&self, incident: Option<&Incident>, ended: &[(String, String)], firing: &Sources) -> Room {
        let Some(incident) = incident else { return Room { firing: 0, classes: HashSet::new() } };
        let ended: BTreeSet<&str> = ended.iter().map(|(alert, _)| alert.as_str()).collect();
        let members =
            incident.members.iter().filter(|member| member.firing && member.is_posted() && !ended.contains(member.alert.as_str()));
        let members: Vec<&Member> = members.collect();
        // An incident that is far from full does not need classes, unless somebody waits.
        let classes = members.iter().map(|member| self.member_class(member, firing)).collect();
        Room { firing: members.len(), classes }
    }

    fn member_class(&self, member: &Member, firing: &Sources) -> u64 {
        self.class_of(member.severity as u8, &member.labels, firing)
    }

    fn class(&self, alert: &Posted, labels: &Labels, firing: &Sources) -> u64 {
        self.class_of(alert.severity() as u8, labels, firing)
    }

    /// Alerts of one class are told to the same people in the same voice, and hold back the same others.
    fn class_of(&self, severity: u8, labels: &Labels, firing: &Sources) -> u64 {
        let mut hash = std::hash::DefaultHasher::new();
        severity.hash(&mut hash);
        self.desk.muted(labels, self.now, self.silences, firing).is_some().hash(&mut hash);
        for routed in self.desk.route(labels, self.now) {
            (&routed.to, routed.muted.is_some(), routed.escalate.len()).hash(&mut hash);
        }
        self.desk.source_of(labels).hash(&mut hash);
        hash.finish()
    }
}

impl Room {
    /// Takes one more in, if there is a place for its class.
    fn take(&mut self, class: Option<u64>) -> bool {
        let new = class.is_none_or(|class| !self.classes.contains(&class));
        if self.firing >= MEMBERS_MAX || (self.firing >= MEMBERS && !new) {
            return false;
        }
        self.firing += 1;
        self.classes.extend(class);
        true
    }
}

impl First {
    fn new(alert: &Posted, grouping: Labels, labels: Labels, now: Timestamp) -> First {
        First {
            grouping,
            labels,
            title: alert.summary(),
            runbook: alert.annotation(&["runbook_url", "runbook"]).filter(|url| is_web(url)),
            dashboard: alert
                .annotation(&["dashboard_url", "dashboard"])
                .or_else(|| Some(alert.generator.to_string()))
                .filter(|url| is_web(url)),
            at: now,
        }
    }
}

/// Links of strangers lead to the web or nowhere.
fn is_web(url: &str) -> bool {
    url.starts_with("https://") || url.starts_with("http://")
}

fn member(key: &Key, alert: &Posted, labels: Labels, now: Timestamp) -> Member {
    Member {
        alert: member_name(key),
        rule: alert.name(),
        labels,
        severity: alert.severity(),
        firing: true,
        // Senders' clocks may be ahead.
        started_at: alert.starts.min(now),
        ended_at: None,
        summary: alert.summary(),
        figures: Figures::default(),
        traces: Vec::new(),
        subject: None,
    }
}

#[cfg(test)]
#[path = "posted_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "facts_tests.rs"]
mod facts;
