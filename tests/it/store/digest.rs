//! Digests of storms.

use burnwatch::store::{Store, incidents, outbox};

use super::{at, claim, delivery, ids, incident};

on_both! {
    async fn news_is_folded_into_a_digest_that_stays_open_with_what_is_in_it(store: Store) {
        let mut tx = store.write_durable().await.unwrap();
        let news = |id: &str, incident: &str, sequence: i64| outbox::OutboxRow {
            kind: "incident.opened".into(),
            ..delivery(id, incident, sequence, "pager", 0)
        };
        for n in 1..=4 {
            let row = incidents::IncidentRow { generation: 7, ..incident(&format!("i{n}"), &format!("k{n}"), 0) };
            incidents::insert(&mut tx, &row).await.unwrap();
            outbox::insert(&mut tx, &news(&format!("d{n}"), &format!("i{n}"), 1)).await.unwrap();
        }
        outbox::insert(&mut tx, &outbox::OutboxRow { attempts: 1, ..news("tried", "i1", 2) }).await.unwrap();
        outbox::insert(&mut tx, &outbox::OutboxRow { due_at: at(90), ..news("later", "i2", 2) }).await.unwrap();
        outbox::insert(&mut tx, &outbox::OutboxRow { kind: "incident.resolved".into(), ..delivery("close", "i2", 3, "pager", 0) }).await.unwrap();
        outbox::insert(&mut tx, &outbox::OutboxRow { receiver: "mail".into(), ..news("mail", "i2", 1) }).await.unwrap();
        assert_eq!(ids(&outbox::digest::waiting(&mut tx, "pager", at(20), 9).await.unwrap()), ["d1", "d2", "d3", "d4"]);
        assert_eq!(outbox::digest::waiting(&mut tx, "pager", at(20), 3).await.unwrap().len(), 3);

        let claimed = outbox::claim(&mut tx, outbox::Claim { limit: 1, ..claim(20) }).await.unwrap();
        let held = claimed[0].id.clone();
        assert!(!outbox::digest::fold(&mut tx, &held, "digest-d", at(20), None, "why").await.unwrap(), "somebody is at it");
        let old = Some(at(79));
        assert!(!outbox::digest::fold(&mut tx, &held, "digest-d", at(20), old, "why").await.unwrap(), "somebody else is at it");
        let ours = Some(at(80));
        assert!(outbox::digest::fold(&mut tx, &held, "digest-d", at(20), ours, "why").await.unwrap());
        assert!(!outbox::digest::fold(&mut tx, &held, "digest-d", at(20), ours, "why").await.unwrap(), "once only");
        assert!(!outbox::digest::fold(&mut tx, "tried", "digest-d", at(20), None, "why").await.unwrap(), "it may have arrived");
        for id in ["d1", "d2", "d3"] {
            outbox::digest::fold(&mut tx, id, "digest-d", at(20), None, "why").await.unwrap();
        }
        let folded = outbox::get(&mut tx, "d2").await.unwrap().unwrap();
        assert_eq!((folded.state.as_str(), folded.last_error.as_str(), folded.finished_at), ("suppressed", "why", Some(at(20))));
        let members = outbox::digest::members(&mut tx, "digest-d").await.unwrap();
        assert_eq!(members, [("i1".to_owned(), 7), ("i2".to_owned(), 7), ("i3".to_owned(), 7)]);

        let close = outbox::get(&mut tx, "close").await.unwrap().unwrap();
        assert!(outbox::digest::only_in_digest(&mut tx, &close).await.unwrap());
        let known = outbox::OutboxRow { incident: "i1".into(), ..close.clone() };
        assert!(!outbox::digest::only_in_digest(&mut tx, &known).await.unwrap(), "an attempt may have told of it");
        let other = outbox::OutboxRow { incident: "i4".into(), receiver: "mail".into(), ..close };
        assert!(!outbox::digest::only_in_digest(&mut tx, &other).await.unwrap());
        assert!(outbox::digest::leave_out(&mut tx, "close", at(30), "only in a digest").await.unwrap());
        assert!(!outbox::digest::leave_out(&mut tx, "close", at(30), "only in a digest").await.unwrap());
        assert!(outbox::digest::is_open(&mut tx, "digest-d").await.unwrap());
        assert!(!outbox::digest::is_open(&mut tx, "another").await.unwrap());
        for n in 1..=4 {
            let closed = incidents::get(&mut tx, &format!("i{n}")).await.unwrap().unwrap();
            let row = incidents::IncidentRow { status: "resolved".into(), resolved_at: Some(at(40)), ..closed };
            incidents::update(&mut tx, &row).await.unwrap();
        }
        assert!(outbox::digest::is_open(&mut tx, "digest-d").await.unwrap(), "something is still under way");
        for id in ["tried", "later"] {
            outbox::delivered(&mut tx, &[(id, at(50), "")]).await.unwrap();
        }
        assert!(!outbox::digest::is_open(&mut tx, "digest-d").await.unwrap());
    }
}
