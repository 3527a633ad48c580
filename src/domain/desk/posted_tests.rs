use super::*;
use crate::domain::desk::fixtures::{receiver, route};
use crate::domain::desk::{Desk, Silence, parcels};
use crate::domain::notification::Status;
use crate::domain::posted::Packed;
use crate::domain::rule::RuleSet;
use crate::domain::time::Span;

const NOW: Timestamp = Timestamp(1_000_000);

/// A desk with its board and incidents, moved on from outside.
pub(super) struct Office {
    desk: Desk,
    board: Board,
    open: BTreeMap<String, Incident>,
    pub now: Timestamp,
    pub silences: Vec<Silence>,
    ids: usize,
}

impl Office {
    pub fn with(rules: RuleSet) -> Office {
        let desk = Desk::new(Arc::new(rules));
        Office { desk, board: Board::default(), open: BTreeMap::new(), now: NOW, silences: Vec::new(), ids: 0 }
    }

    fn new() -> Office {
        let rules = RuleSet {
            receivers: vec![receiver("pager"), receiver("db"), receiver("rest")],
            routes: vec![route(&[("severity", "critical")], &["pager"]), route(&[("team", "db")], &["db"]), route(&[], &["rest"])],
            ..RuleSet::default()
        };
        Office::with(rules)
    }

    pub fn post(&mut self, labels: &[(&str, &str)], ends: Span) {
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
        self.step(again, false)
    }

    /// The same, and lets time pass for what is open.
    pub fn pass(&mut self) -> Vec<String> {
        self.step(false, true)
    }

    fn step(&mut self, again: bool, passes: bool) -> Vec<String> {
        let work = self.board.work(self.now, 10_000);
        let ids = &mut self.ids;
        let mut new_id = |_: &str, _: Timestamp| {
            *ids += 1;
            format!("i{ids}")
        };
        let open = std::mem::take(&mut self.open);
        let mut book = Book::new(&self.desk, self.now, &self.silences, (open, BTreeMap::new()), &mut new_id);
        let settled = book.posted(&self.board, &work, again);
        let ticked = if passes { book.tick() } else { Vec::new() };
        self.open = book.open;
        for (key, standing) in settled.standings {
            self.board.stand(key, standing);
        }
        settled.told.iter().for_each(|key| self.board.told(key));
        settled.over.iter().for_each(|key| self.board.remove(key, self.now));
        let said = settled.outcomes.iter().chain(&ticked).flat_map(|outcome| parcels(outcome, self.now, "http://x"));
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
