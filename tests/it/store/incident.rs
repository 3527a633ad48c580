//! Incidents and their history.

use std::collections::BTreeSet;

use burnwatch::domain::desk::Outcome;
use burnwatch::domain::incident::{Incident, Member};
use burnwatch::domain::notification::{Figures, Status};
use burnwatch::domain::rule::{Labels, Severity};
use burnwatch::store::{Store, StoreError, events, incidents, transition};

use super::{at, incident};

/// An incident as the desk would leave it: the alerts that it has, as rule, `kind` and when it ended.
fn kept(id: &str, opened: i64, members: &[(&str, &str, Option<i64>)]) -> Incident {
    let member = |(rule, kind, ended): &(&str, &str, Option<i64>)| Member {
        alert: format!("{rule}{{}}"),
        rule: (*rule).to_owned(),
        labels: [("kind".to_owned(), (*kind).to_owned())].into(),
        severity: Severity::Page,
        firing: ended.is_none(),
        started_at: at(opened),
        ended_at: ended.map(at),
        summary: format!("{rule} burns"),
        figures: Figures::default(),
        traces: vec![],
        subject: None,
    };
    let members: Vec<Member> = members.iter().map(member).collect();
    let over = members.iter().all(|member| !member.firing);
    Incident {
        id: id.into(),
        key: format!("{{id=\"{id}\"}}"),
        grouping: Labels::new(),
        generation: 7,
        sequence: 1,
        status: if over { Status::Resolved } else { Status::Open },
        severity: Severity::Page,
        title: format!("{id} burns"),
        service: "shop".into(),
        owner: String::new(),
        labels: Labels::new(),
        opened_at: at(opened),
        acknowledged_at: None,
        acknowledged_by: None,
        resolved_at: if over { members.iter().filter_map(|member| member.ended_at).max() } else { None },
        snoozed_until: None,
        window_start: at(opened),
        members,
        told: Default::default(),
        loud_since: at(opened),
        impact: Default::default(),
        explained: Default::default(),
        changes: vec![],
        revision: "r".into(),
        runbook: None,
        dashboard: None,
        parent: None,
        children: Default::default(),
        reopened: vec![],
        known: Default::default(),
        held_until: None,
        closed_because: None,
        by_hand: Default::default(),
        footing: None,
    }
}

async fn keep(store: &Store, incidents: Vec<Incident>) {
    let outcomes: Vec<Outcome> = incidents.into_iter().map(|incident| Outcome { incident, new: true, effects: vec![] }).collect();
    let mut tx = store.write().await.unwrap();
    assert_eq!(transition::commit(&mut tx, &outcomes, at(0), "http://x").await.unwrap(), 0);
    tx.commit().await.unwrap();
}

on_both! {
    async fn one_incident_is_open_for_each_key(store: Store) {
        let mut tx = store.write_durable().await.unwrap();
        let mut first = incident("i1", "service=shop", 0);
        incidents::insert(&mut tx, &first).await.unwrap();
        tx.commit().await.unwrap();

        let mut tx = store.write_durable().await.unwrap();
        let second = incident("i2", "service=shop", 60);
        assert!(matches!(incidents::insert(&mut tx, &second).await, Err(StoreError::Taken(_))));
        drop(tx);

        let mut tx = store.write_durable().await.unwrap();
        (first.status, first.acknowledged_at) = ("acknowledged".into(), Some(at(5)));
        incidents::update(&mut tx, &first).await.unwrap();
        assert_eq!(incidents::open(&mut tx).await.unwrap(), [first.clone()]);
        (first.status, first.resolved_at, first.sequence) = ("resolved".into(), Some(at(9)), 3);
        incidents::update(&mut tx, &first).await.unwrap();
        assert_eq!(incidents::open(&mut tx).await.unwrap(), []);
        incidents::insert(&mut tx, &second).await.unwrap();
        assert_eq!(incidents::get(&mut tx, "i1").await.unwrap(), Some(first.clone()));
        assert_eq!(incidents::resolved_since(&mut tx, at(9), 10).await.unwrap(), [first.clone()]);
        assert_eq!(incidents::resolved_since(&mut tx, at(10), 10).await.unwrap(), []);
        assert_eq!(incidents::resolved_since(&mut tx, at(0), 0).await.unwrap(), []);
        assert_eq!(incidents::get_for_update(&mut tx, "i1").await.unwrap(), Some(first));
        assert_eq!(incidents::get_for_update(&mut tx, "i\0").await.unwrap(), None);
        assert_eq!(incidents::open(&mut tx).await.unwrap(), [second]);
        assert!(matches!(incidents::update(&mut tx, &incident("i9", "x", 0)).await, Err(StoreError::NotOne { .. })));
        assert_eq!(incidents::open_counts(&mut tx).await.unwrap(), [("page".to_owned(), 1)], "the archive is not counted");
        let both = incidents::earlier_by_key(&mut tx, "service=shop", at(1_000_000), 10).await.unwrap();
        assert_eq!((both.len(), both[1].id.as_str()), (2, "i1"), "newest first");
        assert_eq!(incidents::earlier_by_key(&mut tx, "service=shop", at(1_000_000), 1).await.unwrap(), both[..1]);
        assert_eq!(incidents::earlier_by_key(&mut tx, "service=shop", at(0), 10).await.unwrap(), []);
        let titles = incidents::titles(&mut tx, &["i1".into(), "none".into()]).await.unwrap();
        assert_eq!(titles.iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>(), ["i1"]);
        let counts = incidents::counts(&mut tx).await.unwrap();
        assert_eq!(counts, [("open".into(), "page".into(), 1), ("resolved".into(), "page".into(), 1)]);
    }

    async fn incidents_are_found_by_what_people_ask_for(store: Store) {
        let mut tx = store.write().await.unwrap();
        for n in 0..7_i64 {
            // Two open at the same time, so that the id has to decide.
            let mut row = incident(&format!("i{n}"), &format!("key-{n}"), n / 2);
            row.severity = if n % 2 == 0 { "page" } else { "ticket" }.into();
            row.service = if n < 4 { "shop" } else { "blog" }.into();
            row.title = if n == 5 { "100% of Über_users" } else { "something else" }.into();
            row.rules = incidents::rule_names(if n == 2 { ["checkout", "Cart_js"] } else { ["checkout-api", "checkout-api"] });
            if n == 6 {
                (row.status, row.resolved_at) = ("resolved".into(), Some(at(100)));
            }
            incidents::insert(&mut tx, &row).await.unwrap();
        }
        tx.commit().await.unwrap();
        let mut tx = store.read().await.unwrap();
        let mut ask = async |filter: incidents::Filter| {
            let (rows, next) = incidents::list(&mut tx, &filter, None, 100).await.unwrap();
            assert_eq!(next, None);
            rows.into_iter().map(|row| row.id).collect::<Vec<_>>().join(" ")
        };
        let filter = incidents::Filter::default;
        assert_eq!(ask(filter()).await, "i6 i5 i4 i3 i2 i1 i0");
        assert_eq!(ask(incidents::Filter { status: vec!["resolved".into()], ..filter() }).await, "i6");
        let mut other = store.read().await.unwrap();
        let opened = incidents::between(&mut other, at(1), at(3), 100).await.unwrap();
        assert_eq!(opened.iter().map(|row| row.id.as_str()).collect::<Vec<_>>(), ["i5", "i4", "i3", "i2"], "from is in it, to is not");
        assert_eq!(incidents::between(&mut other, at(0), at(9), 2).await.unwrap().len(), 2);
        assert_eq!(ask(incidents::Filter { status: vec!["open".into(), "acknowledged".into()], ..filter() }).await, "i5 i4 i3 i2 i1 i0");
        assert_eq!(ask(incidents::Filter { severity: vec!["ticket".into()], service: Some("shop".into()), ..filter() }).await, "i3 i1");
        assert_eq!(ask(incidents::Filter { from: Some(at(1)), to: Some(at(3)), ..filter() }).await, "i5 i4 i3 i2", "from is in it, to is not");
        for (q, found) in [("KEY-3", "i3"), ("100%", "i5"), ("Über_", "i5"), ("b_r", ""), ("%%", ""), ("\0", ""), ("key-", "i6 i5 i4 i3 i2 i1 i0"), ("cart_js", "i2"), ("out-API", "i6 i5 i4 i3 i1 i0")] {
            assert_eq!(ask(incidents::Filter { q: Some(q.into()), ..filter() }).await, found, "{q}");
        }
        for (rule, found) in [("checkout", "i2"), ("Cart_js", "i2"), ("Cart-js", ""), ("checkout-api", "i6 i5 i4 i3 i1 i0"), ("check", "")] {
            assert_eq!(ask(incidents::Filter { rule: Some(rule.into()), ..filter() }).await, found, "{rule}");
        }

        let (mut seen, mut cursor) = (Vec::new(), None);
        loop {
            let (rows, next) = incidents::list(&mut tx, &filter(), cursor.as_deref(), 3).await.unwrap();
            assert!(rows.len() <= 3);
            seen.extend(rows.into_iter().map(|row| row.id));
            cursor = next;
            if cursor.is_none() { break }
        }
        assert_eq!(seen.join(" "), "i6 i5 i4 i3 i2 i1 i0");
        assert!(matches!(incidents::list(&mut tx, &filter(), Some("made up"), 3).await, Err(StoreError::Cursor)));
    }

    async fn every_change_of_an_incident_is_noted_with_it(store: Store) {
        let ask = async || incidents::changes(&mut store.read().await.unwrap()).await.unwrap();
        let mut seen = BTreeSet::from([ask().await]);
        for n in 0..12 {
            keep(&store, vec![kept(&format!("i{n}"), n, &[("api", "slo", None)])]).await;
            assert!(seen.insert(ask().await), "{seen:?}");
        }
        keep(&store, vec![]).await;
        let mut tx = store.write().await.unwrap();
        incidents::touch(&mut tx).await.unwrap();
        drop(tx);
        assert!(!seen.insert(ask().await), "what never happened is not noted");
    }

    async fn open_incidents_are_found_by_a_text_in_them(store: Store) {
        let mut tx = store.write().await.unwrap();
        for (n, said, status) in
            [(1, "100% of Über_users", "open"), (2, "100 of Überxusers", "acknowledged"), (3, "100% of Über_users", "resolved")]
        {
            let row = incident(&format!("i{n}"), &format!("k{n}"), 10 - n);
            let resolved_at = (status == "resolved").then_some(at(90));
            let row = incidents::IncidentRow { data: format!("{{\"title\":\"{said}\"}}"), status: status.into(), resolved_at, ..row };
            incidents::insert(&mut tx, &row).await.unwrap();
        }
        tx.commit().await.unwrap();
        let mut tx = store.read().await.unwrap();
        for (said, found) in [
            ("\"title\":", vec!["i2", "i1"]),
            ("100% of", vec!["i1"]),
            ("Über_users", vec!["i1"]),
            ("nothing", vec![]),
            ("\\", vec![]),
            ("\0", vec![]),
        ] {
            let rows = incidents::open_with(&mut tx, said).await.unwrap();
            assert_eq!(rows.iter().map(|row| row.id.as_str()).collect::<Vec<_>>(), found, "{said:?}, oldest first");
        }
    }

    async fn alerts_about_burnwatch_are_told_from_those_of_users(store: Store) {
        keep(&store, vec![
            kept("own", 20, &[("bad-rules", "operator", None), ("stale", "operator", Some(30)), ("api", "slo", None)]),
            kept("older", 10, &[("stale", "operator", None)]),
            // It says the word in its title, and has no such alert.
            Incident { title: r#"labels {"kind":"operator"}"#.into(), ..kept("user", 10, &[("api", "slo", None)]) },
            kept("over", 0, &[("delivery", "operator", Some(5))]),
        ]).await;
        let mut tx = store.read().await.unwrap();
        let alerts = transition::operator_alerts(&mut tx).await.unwrap();
        let named: Vec<(&str, &str)> = alerts.iter().map(|(incident, member)| (incident.as_str(), member.rule.as_str())).collect();
        assert_eq!(named, [("older", "stale"), ("own", "bad-rules")]);
    }

    async fn what_a_silence_could_have_hidden_is_what_fires_and_what_ended_since(store: Store) {
        keep(&store, vec![
            kept("open", 10, &[("fires", "slo", None), ("ended-before", "slo", Some(49)), ("ended-then", "slo", Some(50))]),
            kept("closed", 0, &[("long-over", "slo", Some(20)), ("just-over", "slo", Some(60))]),
            kept("before", 0, &[("old", "slo", Some(49))]),
        ]).await;
        let mut tx = store.read().await.unwrap();
        let ask = async |tx: &mut burnwatch::store::Tx, since: i64| {
            let members = transition::lately(tx, at(since)).await.unwrap();
            members.into_iter().map(|member| member.rule).collect::<Vec<_>>()
        };
        assert_eq!(ask(&mut tx, 50).await, ["fires", "ended-then", "just-over"]);
        assert_eq!(ask(&mut tx, 61).await, ["fires"], "what fires is in it however long it has");
        assert_eq!(ask(&mut tx, 0).await.len(), 6);
    }

    async fn a_history_is_numbered_by_incident(store: Store) {
        let mut tx = store.write().await.unwrap();
        assert_eq!(events::append(&mut tx, "i", at(0), "opened", "", "burns", "{}").await.unwrap(), 1);
        assert_eq!(events::append(&mut tx, "j", at(0), "opened", "", "burns", "{}").await.unwrap(), 1);
        assert_eq!(events::append(&mut tx, "i", at(1), "note", "ada", "a \0 b", "{}").await.unwrap(), 2);
        let history = events::list(&mut tx, "i").await.unwrap();
        assert_eq!(history.iter().map(|event| (event.n, event.kind.as_str())).collect::<Vec<_>>(), [(1, "opened"), (2, "note")]);
        // What PostgreSQL cannot keep is replaced, on both.
        assert_eq!((history[1].who.as_str(), history[1].text.as_str()), ("ada", "a \u{fffd} b"));
    }
}
