use std::sync::Arc;

use super::*;
use crate::domain::alert::{AlertChange, AlertState};
use crate::domain::desk::fixtures::{self, receiver};
use crate::domain::desk::{Desk, Findings, Outcome, parcels};
use crate::domain::evaluate::AlertEvent;
use crate::domain::explain::{Anchor, Signature};
use crate::domain::incident::{Explained, Input};
use crate::domain::notification::Figures;
use crate::domain::rule::Route;

const M: i64 = 60_000;

fn route(when: &[(&str, &str)], receiver: &str) -> Route {
    Route { fallthrough: true, ..fixtures::route(when, &[receiver]) }
}

/// Everything goes to `team`, pages of `pay` also to `payments`, all other pages also to `pager`.
fn desk() -> Desk {
    let (pay, rest) =
        (route(&[("severity", "page"), ("service", "pay")], "payments"), route(&[("severity", "page"), ("service", "!pay")], "pager"));
    Desk::new(Arc::new(RuleSet {
        receivers: ["team", "pager", "payments"].map(receiver).into(),
        routes: vec![pay, rest, route(&[], "team")],
        ..RuleSet::default()
    }))
}

struct World {
    desk: Desk,
    open: BTreeMap<String, Incident>,
    recent: BTreeMap<String, Incident>,
    of: HashMap<String, String>,
    ids: usize,
}

/// What the explanation of a release in shop says.
fn release(name: &str) -> Explained {
    let terms: BTreeMap<String, Values> = [("release".to_owned(), Values::One(name.to_owned()))].into();
    let mut held = Signature::default();
    (held.anchor, held.terms) = (Some(Anchor::of(&terms, "shop")), terms);
    Explained { signature: held.key(), held, app: "shop".into(), ..Explained::default() }
}

impl World {
    fn new() -> World {
        World { desk: desk(), open: BTreeMap::new(), recent: BTreeMap::new(), of: HashMap::new(), ids: 0 }
    }

    fn book<T>(&mut self, minute: i64, act: impl FnOnce(&mut Book<'_>) -> T) -> T {
        let mut ids = self.ids;
        let mut new_id = |_: &str, _: Timestamp| {
            ids += 1;
            format!("i{ids}")
        };
        let (open, recent) = (std::mem::take(&mut self.open), std::mem::take(&mut self.recent));
        let mut book = Book::new(&self.desk, Timestamp(minute * M), &[], (open, recent), &mut new_id);
        let done = act(&mut book);
        (self.open, self.recent) = (book.open, book.recent);
        self.ids = ids;
        done
    }

    fn change(&mut self, minute: i64, slo: &str, change: AlertChange, explained: Explained) -> Vec<String> {
        let service = if slo.starts_with("pay") { "pay" } else { "shop" };
        let event = AlertEvent {
            at: Timestamp(minute * M),
            rule: slo.into(),
            group: String::new(),
            labels: [("slo", slo), ("service", service)].map(|(k, v)| (k.into(), v.into())).into(),
            change: Some(change),
            tiers: vec![],
            figures: Figures::default(),
            summary: format!("{slo} burns"),
            reason: "it ended".into(),
            subject: None,
            state: AlertState::default(),
        };
        let known = self.of.get(slo).cloned();
        let found = Findings { explained, ..Findings::default() };
        let outcome = self.book(minute, |book| book.alert(&event, known.as_deref(), found)).unwrap();
        self.of.insert(slo.into(), outcome.incident.id.clone());
        said(&outcome)
    }

    fn opens(&mut self, minute: i64, slo: &str, severity: Severity, explained: Explained) -> Vec<String> {
        self.change(minute, slo, AlertChange::Opened { severity }, explained)
    }

    fn ends(&mut self, minute: i64, slo: &str) -> Vec<String> {
        self.change(minute, slo, AlertChange::Ended, Explained::default())
    }

    fn tick(&mut self, minute: i64) -> Vec<String> {
        let outcomes = self.book(minute, |book| book.tick());
        if outcomes.is_empty() {
            self.nothing_comes_before_it_is_announced(minute);
        }
        outcomes.iter().flat_map(said).collect()
    }

    /// After a tick that brought nothing, the next one that could bring something is the announced one.
    fn nothing_comes_before_it_is_announced(&mut self, minute: i64) {
        let (open, recent) = (self.open.clone(), self.recent.clone());
        let until = self
            .book(minute, |book| book.next_ticks(book.open.keys().cloned().collect::<Vec<_>>()).into_iter().filter_map(|(_, at)| at).min());
        for later in [1, 2, 4, 5, 15, 60, 239, 240, 700].map(|ahead| minute + ahead) {
            if until.is_none_or(|until| Timestamp(later * M) < until) {
                let brought = self.book(later, |book| book.tick());
                assert!(brought.is_empty(), "at {minute} nothing was announced before {until:?}, but at {later} came {brought:#?}");
            }
        }
        (self.open, self.recent) = (open, recent);
    }

    fn parent_of(&self, id: &str) -> Option<String> {
        self.open.values().find(|incident| incident.id == id).and_then(|incident| incident.parent.clone())
    }
}

fn said(outcome: &Outcome) -> Vec<String> {
    let parcels = parcels(outcome, Timestamp(0), "");
    let id = &outcome.incident.id;
    parcels.iter().map(|parcel| format!("{id} {} {}: {}", parcel.receiver, &parcel.kind.name()[9..], parcel.notification.reason)).collect()
}

const QUIET: [&str; 0] = [];

#[test]
fn a_second_incident_of_one_cause_is_told_by_the_first_once_an_interval() {
    let mut world = World::new();
    assert_eq!(world.opens(0, "api", Severity::Page, release("2")), ["i1 pager opened: api burns", "i1 team opened: api burns"]);
    assert_eq!(world.opens(1, "lcp", Severity::Page, release("2")), QUIET);
    assert_eq!(world.opens(2, "errors", Severity::Ticket, release("2")), QUIET);
    assert_eq!(world.tick(2), QUIET, "the group interval is five minutes");
    let news = "same cause: 2 more incidents: errors of shop (errors burns); lcp of shop (lcp burns)";
    // The ticket would not have reached the pager.
    let page = "same cause: lcp of shop (lcp burns) fires too";
    assert_eq!(world.tick(5), [format!("i1 pager updated: {page}"), format!("i1 team updated: {news}")]);
    assert_eq!(world.tick(20), QUIET);
    assert_eq!(world.open["{slo=\"api\"}"].children, ["i2", "i3"].map(str::to_owned).into());
    assert_eq!(world.ends(21, "lcp"), QUIET, "nobody was told of it by itself");
    assert_eq!(world.ends(22, "errors"), QUIET);
    assert_eq!(world.ends(23, "api"), ["i1 pager resolved: the alert ended", "i1 team resolved: the alert ended"]);
}

#[test]
fn another_cause_and_no_cause_speak_for_themselves() {
    let mut world = World::new();
    world.opens(0, "api", Severity::Page, release("2"));
    assert_eq!(world.opens(1, "lcp", Severity::Page, release("3")).len(), 2);
    assert_eq!(world.opens(1, "errors", Severity::Page, Explained::default()).len(), 2);
    world.tick(2);
    assert!(world.open.values().all(|incident| incident.parent.is_none()));
}

#[test]
fn a_receiver_that_the_parent_does_not_reach_is_told_by_the_child() {
    let mut world = World::new();
    world.opens(0, "api", Severity::Page, release("2"));
    assert_eq!(world.opens(1, "pay-api", Severity::Page, release("2")), ["i2 payments opened: pay-api burns"]);
    world.tick(1);
    assert_eq!(world.parent_of("i2").as_deref(), Some("i1"));
    assert_eq!(world.ends(3, "pay-api"), ["i2 payments resolved: the alert ended"]);
}

#[test]
fn a_louder_one_takes_over_and_both_closes_reach_who_was_told() {
    let mut world = World::new();
    assert_eq!(world.opens(0, "errors", Severity::Ticket, release("2")), ["i1 team opened: errors burns"]);
    assert_eq!(world.opens(1, "api", Severity::Page, release("2")), ["i2 pager opened: api burns", "i2 team opened: api burns"]);
    world.tick(1);
    assert_eq!(world.parent_of("i1").as_deref(), Some("i2"));
    assert_eq!(world.ends(2, "errors"), ["i1 team resolved: the alert ended"]);
    assert_eq!(world.ends(3, "api"), ["i2 pager resolved: the alert ended", "i2 team resolved: the alert ended"]);
}

#[test]
fn a_child_that_rises_above_its_parent_pages_at_once_and_leads() {
    let mut world = World::new();
    world.opens(0, "errors", Severity::Ticket, release("2"));
    assert_eq!(world.opens(1, "lcp", Severity::Ticket, release("2")), QUIET);
    let raised = world.change(2, "lcp", AlertChange::Raised { severity: Severity::Page }, Explained::default());
    let held = "still firing after it was held back: one cause with incident i1, which it was told of";
    assert_eq!(raised, ["i2 pager opened: lcp burns".to_owned(), format!("i2 team opened: {held}")]);
    world.tick(2);
    assert_eq!((world.parent_of("i1").as_deref(), world.parent_of("i2")), (Some("i2"), None));
}

#[test]
fn when_the_parent_closes_the_next_child_takes_over_and_says_so() {
    let mut world = World::new();
    world.opens(0, "api", Severity::Page, release("2"));
    world.opens(1, "lcp", Severity::Page, release("2"));
    world.opens(2, "cart", Severity::Page, release("2"));
    world.tick(2);
    assert_eq!(world.ends(4, "api").len(), 2);
    let held = "still firing after it was held back: one cause with incident i1, which it was told of";
    assert_eq!(world.tick(4), [format!("i2 pager opened: {held}"), format!("i2 team opened: {held}")]);
    assert_eq!((world.parent_of("i2"), world.parent_of("i3").as_deref()), (None, Some("i2")));
    assert_eq!(world.ends(9, "cart"), QUIET);
    assert_eq!(world.ends(9, "lcp").len(), 2);
    assert!(world.open.is_empty());
}

#[test]
fn a_signature_that_comes_late_groups_and_each_closes_with_whoever_it_told() {
    let mut world = World::new();
    world.opens(0, "api", Severity::Page, release("2"));
    assert_eq!(world.opens(1, "lcp", Severity::Page, Explained::default()).len(), 2);
    let explained = Input::Explained { explained: Box::new(release("2")), impact: Default::default(), changes: vec![], title: "t".into() };
    world.book(3, |book| book.input("i2", explained));
    assert_eq!(world.tick(3), QUIET, "whoever knows both is not told that they are one");
    assert_eq!(world.parent_of("i2").as_deref(), Some("i1"));
    assert_eq!(
        world.tick(300),
        [
            "i1 pager reminder: not acknowledged, still firing after 5 h 0 min",
            "i1 team reminder: not acknowledged, still firing after 5 h 0 min"
        ]
    );
    assert_eq!(world.ends(301, "api").len(), 2);
    assert_eq!(world.ends(302, "lcp"), ["i2 pager resolved: the alert ended", "i2 team resolved: the alert ended"]);
}

#[test]
fn an_alert_that_comes_back_soon_brings_its_incident_back_under_a_new_key() {
    let mut world = World::new();
    world.opens(0, "api", Severity::Page, release("2"));
    world.ends(5, "api");
    let said = world.opens(20, "api", Severity::Page, release("2"));
    assert_eq!(said, ["i1 pager reopened: api burns", "i1 team reopened: api burns"]);
    assert_eq!(world.open["{slo=\"api\"}"].generation, 20 * 60);
    world.ends(25, "api");
    assert_eq!(world.opens(41, "api", Severity::Page, release("2")), ["i2 pager opened: api burns", "i2 team opened: api burns"]);
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config::with_cases(300))]

    /// Whatever happens: whoever would be paged knows of it, by the incident or by the one that speaks for it, and
    /// whatever was opened at a receiver is closed there in the end.
    #[test]
    fn nobody_is_left_with_an_open_page_and_no_page_is_left_without_somebody(
        steps in proptest::collection::vec((0_u8..6, 0_u8..4, 0_u8..3, 0_i64..20), 1..40)
    ) {
        const SLOS: [&str; 4] = ["api", "lcp", "pay-api", "errors"];
        let mut world = World::new();
        let mut firing: BTreeMap<&str, Severity> = BTreeMap::new();
        let mut known: BTreeSet<(String, i64, String)> = BTreeSet::new();
        let mut minute = 0;
        let all_end = SLOS.iter().enumerate().map(|(at, _)| (1, at as u8, 0, 1));
        for (what, slo, which, later) in steps.into_iter().chain(all_end).chain([(5, 0, 0, 60)]) {
            minute += later;
            let slo = SLOS[slo as usize];
            let severity = if which == 0 { Severity::Page } else { Severity::Ticket };
            let explained = match which { 2 => Explained::default(), n => release(&n.to_string()) };
            let event = |change| AlertEvent {
                at: Timestamp(minute * M),
                rule: slo.into(),
                group: String::new(),
                labels: [("slo", slo), ("service", if slo == "pay-api" { "pay" } else { "shop" })].map(|(k, v)| (k.into(), v.into())).into(),
                change: Some(change),
                tiers: vec![],
                figures: Figures::default(),
                summary: String::new(),
                reason: String::new(),
                subject: None,
                state: AlertState::default(),
            };
            let was = firing.get(slo).copied();
            let change = match (what, was) {
                (0 | 2, None) => Some(AlertChange::Opened { severity }),
                (1, Some(_)) => Some(AlertChange::Ended),
                (2, Some(was)) if severity > was => Some(AlertChange::Raised { severity }),
                (2, Some(was)) if severity < was => Some(AlertChange::Lowered { severity }),
                (_, Some(_) | None) => None,
            };
            let incident = world.of.get(slo).cloned().unwrap_or_default();
            let mut outcomes = Vec::new();
            if let Some(change) = change {
                match change {
                    AlertChange::Ended => firing.remove(slo),
                    AlertChange::Opened { .. } | AlertChange::Raised { .. } | AlertChange::Lowered { .. } | AlertChange::Unconfirmed => {
                        firing.insert(slo, severity)
                    }
                };
                let known = was.map(|_| incident.clone());
                let found = Findings { explained: explained.clone(), ..Findings::default() };
                let outcome = world.book(minute, |book| book.alert(&event(change), known.as_deref(), found));
                if let Some(outcome) = outcome {
                    world.of.insert(slo.into(), outcome.incident.id.clone());
                    outcomes.push(outcome);
                }
            } else if what == 3 {
                let until = Timestamp((minute + 7) * M);
                outcomes.extend(world.book(minute, |book| book.input(&incident, Input::Snooze { by: "jo".into(), until })));
            } else if what == 4 {
                let explained = Box::new(explained);
                let input = Input::Explained { explained, impact: Default::default(), changes: vec![], title: String::new() };
                outcomes.extend(world.book(minute, |book| book.input(&incident, input)));
            }
            // The second look settles what the first one has moved.
            for _ in 0..2 {
                outcomes.extend(world.book(minute, |book| book.tick()));
            }
            for outcome in &outcomes {
                for parcel in parcels(outcome, Timestamp(0), "") {
                    let key = (outcome.incident.id.clone(), parcel.generation, parcel.receiver.clone());
                    match parcel.kind {
                        crate::domain::notification::Kind::Resolved => assert!(known.remove(&key), "closed what was not open: {key:?}"),
                        _ => drop(known.insert(key)),
                    }
                }
            }
            let by_id: BTreeMap<&str, &Incident> = world.open.values().map(|incident| (incident.id.as_str(), incident)).collect();
            let knows = |incident: &Incident, name: &str| known.contains(&(incident.id.clone(), incident.generation, name.to_owned()));
            for incident in world.open.values() {
                for member in incident.members.iter().filter(|member| member.firing && member.severity == Severity::Page) {
                    let pager = if member.rule == "pay-api" { "payments" } else { "pager" };
                    let parent = incident.parent.as_deref().and_then(|id| by_id.get(id));
                    assert!(knows(incident, pager) || parent.is_some_and(|parent| knows(parent, pager)), "{pager} knows nothing of {}", member.rule);
                }
            }
        }
        assert!(known.is_empty(), "left open: {known:?}");
        assert!(world.open.is_empty());
    }
}
