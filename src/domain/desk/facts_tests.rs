//! Facts of Alertmanager's semantics that alerts from outside live by here as well, by their numbers; `tests/promises.rs` knows
//! where each of the twenty is held.

use super::tests::Office;
use crate::domain::desk::Silence;
use crate::domain::desk::fixtures::{filter, receiver, route};
use crate::domain::matcher::Matcher;
use crate::domain::rule::{Inhibit, Receiver, Route, RuleSet};
use crate::domain::time::{Span, Timestamp};

const NOBODY: [&str; 0] = [];

/// One receiver for everything.
fn rules(route: Route, receiver: Receiver) -> RuleSet {
    RuleSet { receivers: vec![receiver], routes: vec![route], ..RuleSet::default() }
}

/// Critical alerts hold warnings of the same cluster back.
fn inhibiting() -> RuleSet {
    let inhibit = Inhibit {
        place: Default::default(),
        source: filter(&[("severity", "/critical|both/")]),
        target: filter(&[("severity", "/warning|both/")]),
        equal: vec!["cluster".into()],
    };
    let mut every = route(&[], &["hook"]);
    every.group_by = Some(vec!["...".into()]);
    RuleSet { inhibits: vec![inhibit], ..rules(every, receiver("hook")) }
}

#[test]
fn fact_13_who_fires_again_after_the_close_waits_for_its_group_anew() {
    let gathering = Route { group_wait: Some(Span::seconds(30)), ..route(&[], &["hook"]) };
    let mut office = Office::with(rules(gathering, receiver("hook")));
    for _ in 0..2 {
        office.post(&[("alertname", "down")], Span::minutes(1));
        assert_eq!(office.pass(), NOBODY, "the group gathers");
        office.now += Span::seconds(30);
        assert_eq!(office.pass(), ["hook opened"]);
        office.now += Span::seconds(30);
        assert_eq!(office.pass(), ["hook resolved"]);
        office.now += Span::HOUR;
    }
}

#[test]
fn fact_14_who_hears_of_no_close_hears_of_the_next_opening() {
    let mut office = Office::with(rules(route(&[], &["hook"]), Receiver { send_resolved: false, ..receiver("hook") }));
    for _ in 0..3 {
        office.post(&[("alertname", "down")], Span::minutes(1));
        assert_eq!(office.pass(), ["hook opened"]);
        office.now += Span::minutes(1);
        assert_eq!(office.pass(), NOBODY);
        office.now += Span::HOUR;
    }
}

#[test]
fn fact_16_a_source_holds_back_what_agrees_with_it_and_an_absent_label_is_an_empty_one() {
    let mut office = Office::with(inhibiting());
    office.post(&[("alertname", "source"), ("severity", "critical")], Span::minutes(5));
    assert_eq!(office.pass(), ["hook opened"]);
    office.post(&[("alertname", "absent"), ("severity", "warning")], Span::minutes(5));
    office.post(&[("alertname", "empty"), ("severity", "warning"), ("cluster", "")], Span::minutes(5));
    assert_eq!(office.pass(), NOBODY);
    office.post(&[("alertname", "other"), ("severity", "warning"), ("cluster", "eu")], Span::minutes(5));
    assert_eq!(office.pass(), ["hook opened"]);
    // Two that match both sides do not hold each other back; a source of one side alone does.
    let mut office = Office::with(inhibiting());
    office.post(&[("alertname", "one"), ("severity", "both")], Span::minutes(5));
    office.post(&[("alertname", "two"), ("severity", "both")], Span::minutes(5));
    assert_eq!(office.pass(), ["hook opened", "hook opened"]);
    office.post(&[("alertname", "source"), ("severity", "critical")], Span::minutes(5));
    office.pass();
    office.post(&[("alertname", "three"), ("severity", "both")], Span::minutes(5));
    assert_eq!(office.pass(), NOBODY);
}

#[test]
fn fact_17_a_source_that_is_muted_itself_holds_back_all_the_same() {
    let mut office = Office::with(inhibiting());
    let when = vec![Matcher::parse("severity=critical").unwrap()];
    office.silences.push(Silence { id: "s".into(), when, starts: Timestamp(0), ends: office.now + Span::HOUR });
    office.post(&[("alertname", "source"), ("severity", "critical")], Span::minutes(5));
    assert_eq!(office.pass(), NOBODY, "it is silenced");
    office.post(&[("alertname", "target"), ("severity", "warning")], Span::minutes(9));
    assert_eq!(office.pass(), NOBODY, "held back by what is silenced");
    office.now += Span::minutes(5);
    assert_eq!(office.pass(), ["hook opened"], "the source is over");
}
