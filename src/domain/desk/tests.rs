use super::fixtures::{filter, receiver, route};
use super::*;
use crate::domain::alert::{AlertChange, AlertState};
use crate::domain::evaluate::AlertEvent;
use crate::domain::notification::Figures;
use crate::domain::rule::{Inhibit, Route, Severity};

fn to(when: &[(&str, &str)], receiver: &str) -> Route {
    Route { group_by: Some(vec!["service".into()]), ..route(when, &[receiver]) }
}

fn rules() -> RuleSet {
    RuleSet {
        receivers: vec![receiver("pager"), receiver("tickets")],
        routes: vec![to(&[("severity", "page")], "pager"), to(&[], "tickets")],
        inhibits: vec![Inhibit {
            place: Default::default(),
            source: filter(&[("severity", "page")]),
            target: filter(&[("severity", "ticket")]),
            equal: vec!["service".into()],
        }],
        ..RuleSet::default()
    }
}

fn event(slo: &str, change: AlertChange) -> AlertEvent {
    AlertEvent {
        at: Timestamp(1_000_000),
        rule: slo.into(),
        group: String::new(),
        labels: [("slo", slo), ("service", "shop")].map(|(k, v)| (k.into(), v.into())).into(),
        change: Some(change),
        tiers: vec![],
        figures: Figures::default(),
        summary: format!("{slo} burns"),
        reason: "no tier holds any more".into(),
        subject: None,
        state: AlertState::default(),
    }
}

fn told(outcome: &Outcome) -> Vec<String> {
    parcels(outcome, Timestamp(0), "http://x").iter().map(|p| format!("{} {}", p.receiver, p.kind.name())).collect()
}

#[test]
fn alerts_with_equal_grouping_labels_are_one_incident_and_pages_hold_tickets_back() {
    let desk = Desk::new(Arc::new(rules()));
    let mut ids = 0;
    let mut new_id = |_: &str, _: Timestamp| {
        ids += 1;
        format!("i{ids}")
    };
    let mut book = Book::new(&desk, Timestamp(1_000_000), &[], Default::default(), &mut new_id);
    let first = book.alert(&event("api", AlertChange::Opened { severity: Severity::Page }), None, Findings::default()).unwrap();
    assert!(first.new);
    assert_eq!(first.incident.key, r#"{service="shop"}"#);
    assert_eq!(told(&first), ["pager incident.opened"]);
    let second = book.alert(&event("lcp", AlertChange::Opened { severity: Severity::Ticket }), None, Findings::default()).unwrap();
    assert!(!second.new);
    assert_eq!(told(&second), [""; 0], "the ticket is inhibited by the page of the same service");
    let ended = book.alert(&event("api", AlertChange::Ended), Some("i1"), Findings::default()).unwrap();
    assert_eq!(told(&ended), ["pager incident.resolved"]);
    let ticked = book.tick();
    assert_eq!(told(&ticked[0]), ["tickets incident.opened"]);
    assert!(book.tick().is_empty());
}

#[test]
fn keys_do_not_change_and_tell_triggers_from_retries() {
    let id = delivery_id("i", 7, 1, "pager");
    assert_eq!(id, delivery_id("i", 7, 1, "pager"));
    assert_ne!(id, delivery_id("i", 7, 2, "pager"));
    assert_ne!(id, delivery_id("i7", 1, 1, "pager"));
    assert_eq!(correlation_key("i", 7, "pager").len(), 32);
}
