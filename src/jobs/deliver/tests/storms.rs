//! More than a receiver takes: one digest, and every page closed where it was opened.

use super::*;

fn pager_at(name: &str, url: &str) -> Receiver {
    receiver(name, ReceiverKind::Pagerduty { routing_key: plain("key"), base_url: url.into(), changes: false })
}

impl Bench {
    /// An incident of its own, opened or closed.
    async fn incident(&self, id: &str, open: bool) {
        let row = IncidentRow {
            id: id.into(),
            key: format!("{{id=\"{id}\"}}"),
            status: if open { "open" } else { "resolved" }.into(),
            severity: "page".into(),
            service: String::new(),
            owner: String::new(),
            title: id.into(),
            signature: String::new(),
            users: 0,
            opened_at: NOW,
            acknowledged_at: None,
            resolved_at: (!open).then_some(NOW),
            generation: 1,
            sequence: 1,
            data: "{}".into(),
            rules: String::new(),
        };
        let mut tx = self.store.write_durable().await.unwrap();
        if incidents::get(&mut tx, id).await.unwrap().is_some() {
            incidents::update(&mut tx, &row).await.unwrap();
        } else {
            incidents::insert(&mut tx, &row).await.unwrap();
        }
        tx.commit().await.unwrap();
    }

    /// A notification about an incident that is told apart from others.
    async fn say(&self, incident: &str, receiver: &str, sequence: i64, kind: Kind) -> String {
        let mut said = notification(kind);
        said.data.incident.id = incident.into();
        said.data.incident.title = format!("{incident} burns");
        let row = OutboxRow {
            id: delivery_id(incident, 1, sequence, receiver),
            incident: incident.into(),
            sequence,
            receiver: receiver.into(),
            correlation: correlation_key(incident, 1, receiver),
            payload: serde_json::to_string(&Queued { notification: said, definition: None }).unwrap(),
            due_at: self.clock.now(),
            created_at: self.clock.now(),
            ..self.blank(kind)
        };
        let mut tx = self.store.write_durable().await.unwrap();
        assert!(outbox::insert(&mut tx, &row).await.unwrap());
        tx.commit().await.unwrap();
        row.id
    }
}

/// What a pager was told, as action and key.
fn pages(pager: &Fake) -> Vec<(String, String)> {
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    pager.seen().iter().map(|seen| seen.json()).map(|body| (text(&body["event_action"]), text(&body["dedup_key"]))).collect()
}

#[tokio::test]
async fn a_storm_is_one_digest_and_every_page_is_closed_where_it_was_opened() {
    let pager = Fake::start().await;
    let bench = Bench::new(vec![pager_at("pager", &pager.url)]).await;
    let name = |n: usize| format!("inc-{n:03}");
    for n in 0..300 {
        bench.incident(&name(n), true).await;
        bench.say(&name(n), "pager", 1, Kind::Opened).await;
    }
    let mut job = bench.job();
    for _ in 0..3 {
        job.step().await.unwrap();
        bench.clock.advance(Span::SECOND);
    }
    let told = pages(&pager);
    assert_eq!(told.len(), 61, "as many as its bucket holds, and one digest");
    let summary = pager.seen()[60].json()["payload"]["summary"].as_str().unwrap().to_owned();
    assert!(summary.contains("240 incidents at once: ") && summary.contains("and 235 more"), "{summary}");
    let mut tx = bench.store.read().await.unwrap();
    let row = outbox::get(&mut tx, &delivery_id("inc-299", 1, 1, "pager")).await.unwrap().unwrap();
    assert_eq!((row.state.as_str(), row.attempts), ("suppressed", 0));
    assert_eq!(row.last_error, "told in one digest with 239 other incidents: too many at once");
    let history = events::list(&mut tx, "inc-299").await.unwrap();
    assert_eq!(history[0].kind, "digested");
    drop(tx);
    // One that people know from the digest only is told of again: it is a page of its own from then on.
    bench.say("inc-298", "pager", 2, Kind::Reminder).await;
    job.step().await.unwrap();
    let own = correlation_key("inc-298", 1, "pager");
    assert_eq!(pages(&pager)[61], ("trigger".into(), own.clone()));

    // All but one are closed, after a restart.
    for n in 0..299 {
        bench.incident(&name(n), false).await;
        bench.say(&name(n), "pager", 3, Kind::Resolved).await;
    }
    bench.clock.advance(Span::minutes(5));
    let mut job = bench.job();
    for _ in 0..4 {
        job.step().await.unwrap();
        bench.clock.advance(Span::minutes(5));
    }
    let closed = || {
        let closed = pages(&pager).into_iter().filter(|(action, _)| action == "resolve").map(|(_, key)| key);
        closed.collect::<std::collections::BTreeSet<_>>()
    };
    let opened: std::collections::BTreeSet<String> =
        pages(&pager).into_iter().filter(|(action, _)| action == "trigger").map(|(_, key)| key).collect();
    let digest = &told[60].1;
    let mut expected = opened.clone();
    expected.remove(digest);
    assert_eq!(closed(), expected, "what was opened by itself is closed by itself, and nothing else");
    assert!(expected.contains(&own));
    bench.incident("inc-299", false).await;
    let last = bench.say("inc-299", "pager", 3, Kind::Resolved).await;
    for _ in 0..2 {
        let mut job = bench.job();
        job.step().await.unwrap();
        bench.clock.advance(Span::minutes(1));
    }
    bench.job().step().await.unwrap();
    assert_eq!(closed(), opened, "and the digest once all of it is over");
    assert_eq!(bench.row(&last).await.state, "suppressed");
    assert_eq!(pages(&pager).len(), 2 * opened.len());
}

#[tokio::test]
async fn what_a_receiver_can_take_within_half_a_minute_is_told_one_by_one() {
    let pager = Fake::start().await;
    let bench = Bench::new(vec![pager_at("pager", &pager.url)]).await;
    for n in 0..110 {
        bench.incident(&format!("inc-{n:03}"), true).await;
        bench.say(&format!("inc-{n:03}"), "pager", 1, Kind::Opened).await;
    }
    let mut job = bench.job();
    for _ in 0..40 {
        job.step().await.unwrap();
        bench.clock.advance(Span::SECOND);
    }
    assert_eq!(pages(&pager).len(), 110);
}

#[tokio::test]
async fn what_may_have_arrived_is_never_folded() {
    let pager = Fake::start().await;
    pager.will([Reply::status(500)]);
    let bench = Bench::new(vec![pager_at("pager", &pager.url)]).await;
    let tried = bench.say("inc-tried", "pager", 1, Kind::Opened).await;
    let mut job = bench.job();
    job.step().await.unwrap();
    assert_eq!(bench.row(&tried).await.attempts, 1);
    for n in 0..300 {
        bench.incident(&format!("inc-{n:03}"), true).await;
        bench.say(&format!("inc-{n:03}"), "pager", 1, Kind::Opened).await;
    }
    for _ in 0..20 {
        job.step().await.unwrap();
        bench.clock.advance(Span::SECOND);
    }
    assert_eq!(bench.row(&tried).await.state, "delivered");
    assert!(pages(&pager).iter().filter(|(_, key)| *key == correlation_key("inc-tried", 1, "pager")).count() == 2);
    assert_eq!(pages(&pager).len(), 62, "two attempts, fifty-nine others, and one digest");
}
