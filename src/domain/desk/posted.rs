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

use super::{Book, Entry, Explained, Opening, Outcome, Sources};

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
        let keys: HashMap<String, String> = self.open.iter().map(|(key, incident)| (incident.id.clone(), key.clone())).collect();
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
mod tests {
    use super::*;
    use crate::domain::desk::{Desk, parcels};
    use crate::domain::filter::{Filter, Match};
    use crate::domain::notification::Status;
    use crate::domain::posted::Packed;
    use crate::domain::rule::{Field, Receiver, ReceiverKind, Route, RuleSet};
    use crate::domain::time::Span;

    const NOW: Timestamp = Timestamp(1_000_000);

    fn receiver(name: &str) -> Receiver {
        Receiver {
            name: name.into(),
            place: Default::default(),
            timeout: Span::seconds(5),
            send_resolved: true,
            callback_secret: None,
            template: None,
            kind: ReceiverKind::Teams { url: Field::Plain(String::new()) },
        }
    }

    fn to(when: &[(&str, &str)], receiver: &str) -> Route {
        Route {
            place: Default::default(),
            when: Filter(when.iter().map(|(k, v)| ((*k).into(), Match::parse(v).unwrap())).collect()),
            to: vec![receiver.into()],
            group_by: None,
            group_wait: None,
            group_interval: None,
            repeat: None,
            escalate: vec![],
            fallthrough: false,
            active: vec![],
            mute: vec![],
            routes: vec![],
        }
    }

    /// A desk with its board and incidents, moved on from outside.
    struct Office {
        desk: Desk,
        board: Board,
        open: BTreeMap<String, Incident>,
        now: Timestamp,
        ids: usize,
    }

    impl Office {
        fn new() -> Office {
            let rules = RuleSet {
                receivers: vec![receiver("pager"), receiver("db"), receiver("rest")],
                routes: vec![to(&[("severity", "critical")], "pager"), to(&[("team", "db")], "db"), to(&[], "rest")],
                ..RuleSet::default()
            };
            Office { desk: Desk::new(Arc::new(rules)), board: Board::default(), open: BTreeMap::new(), now: NOW, ids: 0 }
        }

        fn post(&mut self, labels: &[(&str, &str)], ends: Span) {
            let labels = labels.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
            let alert = Posted {
                labels: Packed::new(&labels),
                annotations: "{}".into(),
                generator: "javascript:alert(1)".into(),
                starts: self.now,
                ends: self.now + ends,
                timed: false,
                updated: self.now,
            };
            self.board.put(alert.labels.key(), alert);
        }

        /// Who is told what, in the order of incidents and receivers.
        fn look(&mut self, again: bool) -> Vec<String> {
            let work = self.board.work(self.now, 10_000);
            let ids = &mut self.ids;
            let mut new_id = |_: &str, _: Timestamp| {
                *ids += 1;
                format!("i{ids}")
            };
            let open = std::mem::take(&mut self.open);
            let mut book = Book::new(&self.desk, self.now, &[], (open, BTreeMap::new()), &mut new_id);
            let settled = book.posted(&self.board, &work, again);
            self.open = book.open;
            for (key, standing) in settled.standings {
                self.board.stand(key, standing);
            }
            settled.told.iter().for_each(|key| self.board.told(key));
            settled.over.iter().for_each(|key| self.board.remove(key, self.now));
            let said = settled.outcomes.iter().flat_map(|outcome| parcels(outcome, self.now, "http://x"));
            said.map(|parcel| format!("{} {}", parcel.receiver, &parcel.kind.name()["incident.".len()..])).collect()
        }
    }

    #[test]
    fn a_batch_is_told_once_and_closes_when_all_have_ended() {
        let mut office = Office::new();
        for n in 0..5 {
            office.post(&[("alertname", "down"), ("severity", "critical"), ("n", &n.to_string())], Span::minutes(n + 1));
        }
        assert_eq!(office.look(false), ["pager opened"]);
        let incident = office.open.values().next().unwrap();
        assert_eq!((incident.key.as_str(), incident.members.len()), (r#"{alertname="down"}"#, 5));
        assert_eq!(incident.severity.name(), "page");
        assert_eq!(incident.members[0].full_labels()["severity"], "critical", "labels stay as they came");
        assert_eq!(incident.dashboard, None, "a link of a stranger is a link to the web or none");
        assert_eq!(office.look(false), [""; 0]);
        office.now += Span::minutes(4);
        assert_eq!(office.look(false), [""; 0]);
        office.now += Span::minutes(1);
        assert_eq!(office.look(false), ["pager resolved"]);
        assert!(office.open.is_empty() && office.board.is_empty());
    }

    #[test]
    fn what_came_and_went_between_two_looks_is_told_to_nobody() {
        let mut office = Office::new();
        office.post(&[("alertname", "blip")], Span::ZERO);
        assert_eq!(office.look(false), [""; 0]);
        assert!(office.board.is_empty());
    }

    #[test]
    fn a_full_incident_still_lets_in_whoever_brings_somebody_new_to_tell() {
        let mut office = Office::new();
        for n in 0..3_000 {
            office.post(&[("alertname", "down"), ("n", &n.to_string())], Span::minutes(5));
        }
        assert_eq!(office.look(false), ["rest opened"]);
        assert_eq!(office.open.values().next().unwrap().members.len(), MEMBERS);
        assert_eq!(office.board.waiting().values().next().unwrap().len(), 3_000 - MEMBERS);
        office.post(&[("alertname", "down"), ("n", "db"), ("team", "db")], Span::minutes(9));
        office.post(&[("alertname", "down"), ("n", "loud"), ("severity", "critical")], Span::minutes(9));
        let mut told = office.look(false);
        told.sort();
        assert_eq!(told, ["db opened", "pager opened"]);
        assert_eq!(office.open.values().next().unwrap().members.len(), MEMBERS + 2);
        // The new hours of rules change nothing for those who wait.
        assert_eq!(office.look(true), [""; 0]);
    }

    #[test]
    fn an_incident_does_not_close_while_others_wait() {
        let mut office = Office::new();
        for n in 0..MEMBERS {
            office.post(&[("alertname", "down"), ("n", &n.to_string())], Span::minutes(1));
        }
        office.look(false);
        for n in 0..20 {
            office.post(&[("alertname", "down"), ("late", &n.to_string())], Span::minutes(2));
        }
        assert_eq!(office.look(false), [""; 0]);
        assert_eq!(office.board.waiting().values().next().unwrap().len(), 20);
        office.now += Span::minutes(1);
        assert_eq!(office.look(false), [""; 0], "the rest moves in when the first leave");
        assert!(office.board.waiting().is_empty());
        assert_eq!(office.open.values().next().unwrap().status, Status::Open);
        office.now += Span::minutes(1);
        assert_eq!(office.look(false), ["rest resolved"]);
    }

    #[test]
    fn what_a_person_closed_stays_closed_until_something_new_fires() {
        let mut office = Office::new();
        for n in 0..MEMBERS + 50 {
            office.post(&[("alertname", "down"), ("n", &n.to_string())], Span::minutes(5));
        }
        office.look(false);
        office.open.clear();
        assert_eq!(office.look(true), [""; 0], "who waited belonged to what was closed");
        assert!(office.board.waiting().is_empty());
        office.post(&[("alertname", "down"), ("n", "new")], Span::minutes(6));
        assert_eq!(office.look(false), ["rest opened"]);
        office.now += Span::minutes(5);
        assert_eq!(office.look(false), [""; 0]);
        office.now += Span::minutes(1);
        assert_eq!(office.look(false), ["rest resolved"]);
    }
}
