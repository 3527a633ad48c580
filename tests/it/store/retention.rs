//! What retention removes, and what it spares.

use burnwatch::domain::aggregate::Learnt;
use burnwatch::store::{
    Store, annotations, attempts, audit, events, incidents, learnt_routes, outbox, partial, repeated, retention, rule_sets, seen, silences,
    trace, writer,
};

use super::{at, delivery, ids, incident};
use burnwatch::store::seen::Memory;

on_both! {
    async fn retention_spares_what_is_open_or_pending(store: Store) {
        let mut tx = store.write().await.unwrap();
        for n in 0..4 {
            let id = format!("i{n}");
            let mut row = incident(&id, &id, 0);
            if n < 3 {
                (row.status, row.resolved_at) = ("resolved".into(), Some(at(n)));
            }
            incidents::insert(&mut tx, &row).await.unwrap();
            events::append(&mut tx, &id, at(0), "opened", "", "", "{}").await.unwrap();
            outbox::insert(&mut tx, &delivery(&format!("d{n}"), &id, 1, "pager", 0)).await.unwrap();
            let attempt = attempts::AttemptRow { delivery: format!("d{n}"), n: 0, at: at(0), outcome: "ok".into(), status: None, took_ms: 1, detail: String::new() };
            attempts::add(&mut tx, &[attempt]).await.unwrap();
        }
        for n in 0..2 {
            outbox::delivered(&mut tx, &[(format!("d{n}").as_str(), at(n), "")]).await.unwrap();
        }
        for (id, last) in [("done", 0), ("behind", 1)] {
            writer::open(&mut tx, id, "intake", at(0)).await.unwrap();
            if last > 0 {
                partial::append(&mut tx, id, last, at(1), b"x").await.unwrap();
            }
            writer::close(&mut tx, id).await.unwrap();
        }
        seen::append(&mut tx, Memory::Ids, "w", 1, at(0), b"x").await.unwrap();
        repeated::append(&mut tx, "w", 1, at(0), 1, b"x").await.unwrap();
        trace::append(&mut tx, "w", 1, at(0), b"x").await.unwrap();
        for (revision, secs, good) in [("old", 0, true), ("bad", 1, false), ("last", 2, true)] {
            rule_sets::save(&mut tx, revision, "{}", at(secs), good).await.unwrap();
        }
        let annotation = annotations::AnnotationRow {
            id: "a".into(), kind: "deploy".into(), at: at(0), app: String::new(), release: String::new(), text: String::new(), url: String::new(), created_at: at(0),
        };
        annotations::add(&mut tx, &annotation).await.unwrap();
        let told_late = annotations::AnnotationRow { id: "late".into(), created_at: at(60), ..annotation };
        annotations::add(&mut tx, &told_late).await.unwrap();
        let silence = silences::SilenceRow {
            id: "s".into(), matchers: "[]".into(), starts_at: at(0), ends_at: at(1), author: String::new(), comment: String::new(), created_at: at(0), updated_at: at(0), expired_at: None,
        };
        silences::insert(&mut tx, &silence).await.unwrap();
        let action = audit::AuditRow {
            id: "a".into(), at: at(0), who: String::new(), action: String::new(), thing: String::new(), source: String::new(), detail: String::new(),
        };
        audit::add(&mut tx, &action).await.unwrap();
        learnt_routes::add(&mut tx, &Learnt { app: "a".into(), prefix: "/p".into(), kept: Vec::new() }, at(0)).await.unwrap();
        tx.commit().await.unwrap();

        let cutoffs = retention::Cutoffs {
            writers: at(50), seen: at(50), repeated: at(50), traces: at(50), incidents: at(2), outbox: at(50), annotations: at(50), rule_sets: at(50), silences: at(50), audit: at(50), learnt_routes: at(50), limit: 1,
        };
        let mut rounds = 0;
        loop {
            let mut tx = store.write().await.unwrap();
            let forgotten = retention::prune(&mut tx, &cutoffs).await.unwrap();
            tx.commit().await.unwrap();
            if forgotten == 0 { break }
            rounds += 1;
            assert!(rounds < 10);
        }
        let mut tx = store.read().await.unwrap();
        let left: Vec<String> = incidents::list(&mut tx, &Default::default(), None, 9).await.unwrap().0.into_iter().map(|row| row.id).collect();
        assert_eq!(left, ["i3", "i2"]);
        assert!(events::list(&mut tx, "i1").await.unwrap().is_empty());
        assert_eq!(events::list(&mut tx, "i2").await.unwrap().len(), 1);
        assert_eq!(ids(&outbox::list(&mut tx, &Default::default(), None, 9).await.unwrap().0), ["d3", "d2"]);
        assert!(attempts::list(&mut tx, "d1").await.unwrap().is_empty());
        assert_eq!(attempts::list(&mut tx, "d2").await.unwrap().len(), 1);
        assert_eq!(writer::all(&mut tx).await.unwrap().into_iter().map(|row| row.id).collect::<Vec<_>>(), ["behind"]);
        seen::each_since(&mut tx, Memory::Ids, at(0), |_| panic!("it is forgotten")).await.unwrap();
        assert!(repeated::load(&mut tx, at(0), 9).await.unwrap().is_empty());
        assert!(trace::between(&mut tx, at(0), at(9), 9).await.unwrap().is_empty());
        assert_eq!(rule_sets::list(&mut tx, 9).await.unwrap().into_iter().map(|row| row.revision).collect::<Vec<_>>(), ["last"]);
        let told = annotations::list(&mut tx, at(0), at(9), None).await.unwrap();
        assert_eq!(told.iter().map(|row| row.id.as_str()).collect::<Vec<_>>(), ["late"], "accepted lately, of long ago");
        assert!(silences::list(&mut tx).await.unwrap().is_empty());
        assert!(audit::list(&mut tx, None, 9, audit::Acts::All).await.unwrap().0.is_empty());
        drop(tx);
        // What was said goes with its delivery: nothing of it is left under this id.
        let mut tx = store.write().await.unwrap();
        let again = outbox::OutboxRow { payload: "said anew".into(), ..delivery("d1", "again", 1, "pager", 0) };
        assert!(outbox::insert(&mut tx, &again).await.unwrap());
        assert_eq!(outbox::get(&mut tx, "d1").await.unwrap(), Some(again));
    }
}
