//! The outbox: deliveries, claims, attempts.

use std::collections::BTreeSet;

use burnwatch::domain::time::Timestamp;
use burnwatch::store::{Store, StoreError, attempts, outbox, receivers};

use super::{at, claim, delivery, ids};

on_both! {
    async fn a_delivery_is_stored_once(store: Store) {
        let mut tx = store.write_durable().await.unwrap();
        let row = delivery("d", "i", 1, "pager", 0);
        assert!(outbox::insert(&mut tx, &row).await.unwrap());
        assert!(!outbox::insert(&mut tx, &outbox::OutboxRow { payload: "other".into(), ..row.clone() }).await.unwrap());
        assert_eq!(outbox::get(&mut tx, "d").await.unwrap(), Some(row));
        assert_eq!(outbox::get(&mut tx, "e").await.unwrap(), None);
        // Another id for the same notification is a bug, not a second delivery.
        assert!(matches!(outbox::insert(&mut tx, &delivery("e", "i", 1, "pager", 0)).await, Err(StoreError::Taken(_))));
    }

    async fn deliveries_of_an_incident_go_out_in_order(store: Store) {
        let mut tx = store.write_durable().await.unwrap();
        for row in [
            delivery("d1", "i", 1, "pager", 10),
            delivery("d2", "i", 2, "pager", 0),
            delivery("m1", "i", 1, "mail", 5),
            delivery("j1", "j", 1, "pager", 7),
            delivery("later", "k", 1, "pager", 50),
        ] {
            outbox::insert(&mut tx, &row).await.unwrap();
        }
        // A later generation waits for an earlier one.
        outbox::insert(&mut tx, &outbox::OutboxRow { generation: 8, ..delivery("g2", "i", 1, "mail", 0) }).await.unwrap();
        tx.commit().await.unwrap();

        let mut tx = store.write_durable().await.unwrap();
        let claimed = outbox::claim(&mut tx, claim(20)).await.unwrap();
        assert_eq!(ids(&claimed), ["m1", "j1", "d1"]);
        assert!(claimed.iter().all(|row| row.claimed_until == at(80)));
        assert!(outbox::claim(&mut tx, claim(30)).await.unwrap().is_empty());
        assert_eq!(outbox::delivered(&mut tx, &[("d1", at(31), r#"{"ticket":1}"#)]).await.unwrap(), 1);
        assert_eq!(outbox::delivered(&mut tx, &[("d1", at(32), "")]).await.unwrap(), 0);
        assert_eq!(ids(&outbox::claim(&mut tx, claim(33)).await.unwrap()), ["d2"]);
        let done = outbox::last_delivered(&mut tx, "i", 7, "pager").await.unwrap().unwrap();
        assert_eq!((done.id.as_str(), done.reply.as_str(), done.finished_at, done.attempts), ("d1", r#"{"ticket":1}"#, Some(at(31)), 1));
        assert_eq!(outbox::last_delivered(&mut tx, "i", 8, "pager").await.unwrap(), None);
        let order: Vec<String> = outbox::for_incident(&mut tx, "i").await.unwrap().into_iter().map(|row| row.id).collect();
        assert_eq!(order, ["m1", "d1", "d2", "g2"]);
    }

    async fn a_claim_ends_with_its_time(store: Store) {
        let mut tx = store.write_durable().await.unwrap();
        outbox::insert(&mut tx, &delivery("d", "i", 1, "pager", 0)).await.unwrap();
        assert_eq!(outbox::claim(&mut tx, claim(0)).await.unwrap().len(), 1);
        assert!(outbox::claim(&mut tx, claim(59)).await.unwrap().is_empty());
        let claims = [("d".into(), at(60)), ("gone".into(), at(60))];
        assert_eq!(outbox::extend(&mut tx, &claims, at(59), at(100)).await.unwrap(), (at(100), vec!["d".into()]));
        assert!(outbox::claim(&mut tx, claim(99)).await.unwrap().is_empty());
        assert_eq!(ids(&outbox::claim(&mut tx, claim(100)).await.unwrap()), ["d"]);
        // The claim that has ended is nobody's; the one of 100 is.
        for old in [at(60), at(100)] {
            assert!(outbox::extend(&mut tx, &[("d".into(), old)], at(100), at(200)).await.unwrap().1.is_empty());
            assert!(!outbox::release(&mut tx, "d", old, at(101)).await.unwrap());
            assert!(!outbox::retry(&mut tx, "d", old, at(101), "503").await.unwrap());
            assert!(outbox::held(&mut tx, &[("d".into(), old)]).await.unwrap().is_empty());
        }
        assert_eq!(ids(&outbox::held(&mut tx, &[("d".into(), at(160)), ("e".into(), at(160))]).await.unwrap()), ["d"]);
        assert!(outbox::release(&mut tx, "d", at(160), at(101)).await.unwrap());
        assert!(outbox::claim(&mut tx, claim(100)).await.unwrap().is_empty());
        let claimed = outbox::claim(&mut tx, claim(101)).await.unwrap();
        assert_eq!((ids(&claimed), claimed[0].attempts), (vec!["d"], 0));
        assert_eq!(outbox::release_all(&mut tx).await.unwrap(), 1);
        assert!(outbox::progress(&mut tx, "d", r#"{"ticket":1}"#).await.unwrap());
        let again = outbox::claim(&mut tx, claim(102)).await.unwrap();
        assert_eq!((again[0].reply.as_str(), again[0].attempts), (r#"{"ticket":1}"#, 0));
        assert_eq!(outbox::delivered(&mut tx, &[("d", at(103), "")]).await.unwrap(), 1);
        assert_eq!(outbox::release_all(&mut tx).await.unwrap(), 0);
        assert!(!outbox::progress(&mut tx, "d", "{}").await.unwrap());
    }

    async fn a_failed_delivery_is_retried_buried_and_replayed(store: Store) {
        let mut tx = store.write_durable().await.unwrap();
        outbox::insert(&mut tx, &delivery("d", "i", 1, "pager", 0)).await.unwrap();
        outbox::insert(&mut tx, &delivery("e", "i", 2, "pager", 0)).await.unwrap();
        outbox::claim(&mut tx, claim(0)).await.unwrap();
        assert!(outbox::retry(&mut tx, "d", at(60), at(30), "503").await.unwrap());
        assert!(outbox::claim(&mut tx, claim(29)).await.unwrap().is_empty());
        assert_eq!(ids(&outbox::claim(&mut tx, claim(30)).await.unwrap()), ["d"]);
        assert!(outbox::dead(&mut tx, "d", at(31), "410 gone").await.unwrap());
        let counts = outbox::counts(&mut tx).await.unwrap();
        assert_eq!(counts, outbox::Counts { pending: 1, oldest: Some(at(0)), due: Some(at(0)), dead: 1 });
        // The dead one holds nobody up.
        assert_eq!(ids(&outbox::claim(&mut tx, claim(32)).await.unwrap()), ["e"]);
        for late in [outbox::retry(&mut tx, "d", Timestamp(0), at(33), "").await, outbox::dead(&mut tx, "d", at(33), "").await] {
            assert!(!late.unwrap());
        }
        assert!(outbox::extend(&mut tx, &[("d".into(), Timestamp(0))], at(33), at(34)).await.unwrap().1.is_empty());
        assert!(outbox::replay(&mut tx, "d", at(40)).await.unwrap());
        assert!(!outbox::replay(&mut tx, "d", at(40)).await.unwrap());
        let replayed = outbox::claim(&mut tx, claim(41)).await.unwrap();
        assert_eq!((ids(&replayed), replayed[0].attempts, replayed[0].finished_at), (vec!["d"], 2, None));
        assert!(outbox::discard(&mut tx, "d", at(42), "receiver removed").await.unwrap());
        assert!(!outbox::discard(&mut tx, "d", at(42), "").await.unwrap());
        let row = outbox::get(&mut tx, "d").await.unwrap().unwrap();
        assert_eq!((row.state.as_str(), row.last_error.as_str(), row.finished_at), ("discarded", "receiver removed", Some(at(42))));
        outbox::delivered(&mut tx, &[("e", at(43), "")]).await.unwrap();
        assert_eq!(outbox::counts(&mut tx).await.unwrap(), outbox::Counts::default());
    }

    async fn receivers_stand_as_their_last_deliveries_went(store: Store) {
        let mut tx = store.write_durable().await.unwrap();
        for (id, sequence, receiver) in [("a", 1, "pager"), ("b", 2, "pager"), ("c", 3, "pager"), ("d", 1, "mail"), ("e", 2, "mail")] {
            outbox::insert(&mut tx, &delivery(id, "i", sequence, receiver, sequence)).await.unwrap();
        }
        assert!(outbox::retry(&mut tx, "a", Timestamp(0), at(20), "503").await.unwrap());
        assert_eq!(outbox::delivered(&mut tx, &[("a", at(30), "")]).await.unwrap(), 1);
        assert_eq!(outbox::delivered(&mut tx, &[("b", at(40), "")]).await.unwrap(), 1);
        assert!(outbox::dead(&mut tx, "d", at(50), "410 gone").await.unwrap());
        let standing = outbox::standing(&mut tx, at(0), 100).await.unwrap();
        let pager = outbox::Standing { pending: 1, attempts: 3, delivered: 2, last_success: Some(at(40)), last_error: String::new() };
        assert_eq!(standing["pager"], pager);
        let mail = outbox::Standing { pending: 1, attempts: 1, delivered: 0, last_success: None, last_error: "410 gone".into() };
        assert_eq!(standing["mail"], mail);
        // An error before the last success is history, and what was finished before the time is not looked at.
        assert_eq!(outbox::delivered(&mut tx, &[("e", at(60), "")]).await.unwrap(), 1);
        let later = outbox::standing(&mut tx, at(55), 100).await.unwrap();
        assert_eq!((later["mail"].last_success, later["mail"].last_error.as_str(), later["mail"].attempts), (Some(at(60)), "", 1));
        assert_eq!((later["pager"].attempts, later["pager"].pending), (0, 1));
        // The newest alone count where there is no room for more.
        let one = outbox::standing(&mut tx, at(0), 1).await.unwrap();
        assert_eq!((one["mail"].delivered, one["pager"].delivered), (1, 0));
    }

    async fn paused_and_busy_receivers_are_left_out(store: Store) {
        let mut tx = store.write_durable().await.unwrap();
        for (id, receiver) in [("a", "pager"), ("b", "mail"), ("c", "tickets")] {
            outbox::insert(&mut tx, &delivery(id, "i", 1, receiver, 0)).await.unwrap();
        }
        receivers::save(&mut tx, "pager", at(30), "{}").await.unwrap();
        let busy = ["tickets".to_owned()];
        assert_eq!(ids(&outbox::claim(&mut tx, outbox::Claim { skip: &busy, ..claim(0) }).await.unwrap()), ["b"]);
        assert_eq!(ids(&outbox::claim(&mut tx, outbox::Claim { limit: 1, ..claim(29) }).await.unwrap()), ["c"]);
        assert_eq!(ids(&outbox::claim(&mut tx, claim(30)).await.unwrap()), ["a"]);
        receivers::save(&mut tx, "mail", at(0), r#"{"disabled":true}"#).await.unwrap();
        receivers::save(&mut tx, "pager", at(40), "{}").await.unwrap();
        let known = receivers::load(&mut tx).await.unwrap();
        assert_eq!(known.iter().map(|row| (row.receiver.as_str(), row.paused_until)).collect::<Vec<_>>(), [("mail", at(0)), ("pager", at(40))]);
    }

    async fn claiming_at_the_same_time_gives_each_row_to_one(store: Store) {
        let mut tx = store.write_durable().await.unwrap();
        for n in 0..60 {
            outbox::insert(&mut tx, &delivery(&format!("d{n}"), &format!("i{n}"), 1, "pager", 0)).await.unwrap();
        }
        tx.commit().await.unwrap();
        let mut tasks = Vec::new();
        for _ in 0..6 {
            let store = store.clone();
            tasks.push(tokio::spawn(async move {
                let mut got = Vec::new();
                loop {
                    let mut tx = store.write_durable().await.unwrap();
                    let rows = outbox::claim(&mut tx, outbox::Claim { limit: 7, ..claim(1) }).await.unwrap();
                    tx.commit().await.unwrap();
                    if rows.is_empty() {
                        return got;
                    }
                    assert!(rows.len() <= 7);
                    got.extend(rows.into_iter().map(|row| row.id));
                }
            }));
        }
        let mut all = Vec::new();
        for task in tasks {
            all.extend(task.await.unwrap());
        }
        // Somebody may have come away empty because another one held the last rows; nobody got one twice.
        let distinct: BTreeSet<&String> = all.iter().collect();
        assert_eq!((all.len(), distinct.len()), (60, 60));
    }

    async fn deliveries_are_listed_newest_first(store: Store) {
        let mut tx = store.write().await.unwrap();
        for n in 0..5 {
            let receiver = if n % 2 == 0 { "pager" } else { "mail" };
            outbox::insert(&mut tx, &delivery(&format!("d{n}"), "i", n, receiver, n / 2)).await.unwrap();
        }
        outbox::dead(&mut tx, "d1", at(9), "no").await.unwrap();
        outbox::insert(&mut tx, &outbox::OutboxRow { state: "suppressed".into(), ..delivery("s", "j", 1, "mail", 9) }).await.unwrap();
        let filter = outbox::Filter::default;
        let (first, next) = outbox::list(&mut tx, &filter(), None, 4).await.unwrap();
        let (rest, end) = outbox::list(&mut tx, &filter(), next.as_deref(), 4).await.unwrap();
        assert_eq!((ids(&first), ids(&rest), end), (vec!["s", "d4", "d3", "d2"], vec!["d1", "d0"], None));
        let dead = outbox::Filter { state: vec!["dead".into(), "suppressed".into()], ..filter() };
        assert_eq!(ids(&outbox::list(&mut tx, &dead, None, 9).await.unwrap().0), ["s", "d1"]);
        let mail = outbox::Filter { receiver: Some("mail".into()), incident: Some("i".into()), ..filter() };
        assert_eq!(ids(&outbox::list(&mut tx, &mail, None, 9).await.unwrap().0), ["d3", "d1"]);
    }

    async fn many_are_marked_at_once_each_with_its_own_answer(store: Store) {
        let mut tx = store.write_durable().await.unwrap();
        let ids: Vec<String> = (0..40).map(|n| format!("d{n:02}")).collect();
        for id in &ids {
            outbox::insert(&mut tx, &delivery(id, id, 1, "pager", 0)).await.unwrap();
        }
        outbox::discard(&mut tx, "d05", at(20), "seen").await.unwrap();
        outbox::delivered(&mut tx, &[("d06", at(21), "first")]).await.unwrap();
        let replies: Vec<String> = (0..40).map(|n| format!("answer {n}")).collect();
        let all: Vec<_> = ids.iter().zip(&replies).take(39).zip(30..).map(|((id, reply), secs)| (id.as_str(), at(secs), reply.as_str())).collect();
        assert_eq!(outbox::delivered(&mut tx, &all).await.unwrap(), 38, "one was delivered before");
        for (n, id) in ids.iter().enumerate() {
            let row = outbox::get(&mut tx, id).await.unwrap().unwrap();
            let found = (row.state.as_str(), row.finished_at, row.reply.as_str(), row.attempts);
            let expected = match n {
                6 => ("delivered", Some(at(21)), "first", 1),
                39 => ("pending", None, "", 0),
                _ => ("delivered", Some(at(30 + n as i64)), replies[n].as_str(), 1),
            };
            assert_eq!(found, expected, "{id}");
        }
        assert_eq!(outbox::delivered(&mut tx, &[]).await.unwrap(), 0);
    }

    async fn attempts_are_numbered_by_delivery(store: Store) {
        let mut tx = store.write().await.unwrap();
        let row = |delivery: &str, outcome: &str, status| attempts::AttemptRow {
            delivery: delivery.into(), n: 0, at: at(1), outcome: outcome.into(), status, took_ms: 12, detail: "…".into(),
        };
        let others: Vec<_> = (0..20).map(|n| row(&format!("o{n}"), "retry", None)).collect();
        let first: Vec<_> = others.iter().cloned().chain([row("d", "retry", None)]).collect();
        attempts::add(&mut tx, &first).await.unwrap();
        attempts::add(&mut tx, &[row("d", "delivered", Some(202)), row("o3", "dead", Some(400))]).await.unwrap();
        let first = attempts::AttemptRow { n: 1, ..row("d", "retry", None) };
        let second = attempts::AttemptRow { n: 2, ..row("d", "delivered", Some(202)) };
        assert_eq!(attempts::list(&mut tx, "d").await.unwrap(), [first, second]);
        let numbers = attempts::list(&mut tx, "o3").await.unwrap().iter().map(|row| row.n).collect::<Vec<_>>();
        assert_eq!(numbers, [1, 2]);
        assert!(attempts::list(&mut tx, "e").await.unwrap().is_empty());
    }
}
