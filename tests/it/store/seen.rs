//! What was seen before, and may be reported again.

use std::sync::Arc;

use burnwatch::domain::metric::Metric;
use burnwatch::domain::time::Span;
use burnwatch::store::seen::Memory;
use burnwatch::store::{Store, Tx, partial, repeated, seen};

use super::{T0, at};

async fn since(tx: &mut Tx, memory: Memory, secs: i64) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    seen::each_since(tx, memory, at(secs), |keys| all.push(keys.to_vec())).await.unwrap();
    all
}

on_both! {
    async fn what_another_process_has_seen_and_counted_is_followed(store: Store) {
        use burnwatch::domain::aggregate::{Aggregator, SeenKind, Settings};
        use burnwatch::domain::event::{Batch, Event, Repeat, Source};
        use burnwatch::domain::metric::Vital;
        use burnwatch::{jobs::flush::Flush, jobs::follow::Follow, sink::Sink};

        let sink = || {
            let dimensions = ["app", "route"].map(str::to_owned).to_vec();
            let (bucket, settle) = (Span::MINUTE, Span::seconds(30));
            Arc::new(Sink::new(Aggregator::new(Settings { bucket, settle, dimensions, series_max: 1_000, remember: Span::days(8) })))
        };
        let report = |value: f64, ts: i64| {
            let event = Event {
                index: 0,
                metric: Metric::Vital(Vital::Lcp),
                at: T0,
                weight: 1_000_000,
                bad: false,
                value: Some(value),
                user: None,
                repeat: Some(Repeat { key: 9, ts: Some(ts) }),
                route: "/".into(),
                own: Default::default(),
                trace: None,
            };
            vec![Batch { id: None, source: Source { app: "shop".into(), ..Source::default() }, events: vec![event] }]
        };
        let (here, there) = (sink(), sink());
        let mut flush_here = Flush::new(store.clone(), here.clone(), "intake", || "here".into());
        let mut flush_there = Flush::new(store.clone(), there.clone(), "intake", || "there".into());
        let mut follow_there = Follow::new(store.clone(), there.clone());
        flush_there.run(T0).await.unwrap();
        follow_there.run(flush_there.writer(), T0).await.unwrap();
        assert!(here.with(|aggregator| aggregator.first_time(SeenKind::Id, 5, T0)));
        here.submit(Some(77), &report(3_000.0, 1), T0);
        flush_here.run(T0).await.unwrap();
        follow_there.run(flush_there.writer(), T0).await.unwrap();

        assert!(!there.with(|aggregator| aggregator.first_time(SeenKind::Id, 5, T0)));
        assert!(there.submit(Some(77), &report(3_000.0, 1), T0).is_repeated);
        there.submit(Some(78), &report(1_000.0, 2), T0);
        flush_there.run(at(1)).await.unwrap();
        // The other way round, and what was counted last stays.
        let mut follow_here = Follow::new(store.clone(), here.clone());
        follow_here.run(flush_here.writer(), at(1)).await.unwrap();
        here.submit(Some(79), &report(500.0, 3), at(1));
        flush_here.run(at(2)).await.unwrap();

        let mut tx = store.read().await.unwrap();
        let mut sums = (0, 0.0);
        for writer in ["here", "there"] {
            for part in partial::after(&mut tx, writer, 0).await.unwrap() {
                let add = |_, _, cell: burnwatch::domain::cell::Cell| sums = (sums.0 + cell.valued.raw, sums.1 + cell.sum);
                burnwatch::domain::segment::read(&part.data, |_| true, add).unwrap();
            }
        }
        assert_eq!(sums, (1, 500.0));
    }

    async fn seen_batches_load_by_time_and_by_writer(store: Store) {
        let mut tx = store.write().await.unwrap();
        for memory in [Memory::Ids, Memory::Bodies] {
            for (writer, n, secs) in [("w", 1, 10), ("w", 2, 20), ("v", 1, 15)] {
                seen::append(&mut tx, memory, writer, n, at(secs), &[secs as u8]).await.unwrap();
            }
            seen::append(&mut tx, memory, "w", 2, at(99), b"again").await.unwrap();
            assert_eq!(since(&mut tx, memory, 15).await, [[15], [20]]);
            let after = seen::after(&mut tx, memory, "w", 0, 1).await.unwrap();
            assert_eq!(after.into_iter().map(|row| (row.writer, row.n, row.data)).collect::<Vec<_>>(), [("w".into(), 1, vec![10])]);
            assert_eq!(seen::prune(&mut tx, memory, at(15)).await.unwrap(), 1);
            assert_eq!(since(&mut tx, memory, 0).await, [[15], [20]]);
        }
    }

    async fn of_very_many_bodies_a_start_reads_the_newest(store: Store) {
        let mut tx = store.write().await.unwrap();
        for n in 0..150 {
            let mut keys = vec![0; 100_000];
            keys[0] = n as u8;
            seen::append(&mut tx, Memory::Bodies, "w", n, at(n), &keys).await.unwrap();
        }
        // Over several pages, and up to the batch that is one too many.
        let read: Vec<u8> = since(&mut tx, Memory::Bodies, 0).await.into_iter().map(|keys| keys[0]).collect();
        assert_eq!(read, (150 - 84..150).collect::<Vec<u8>>());
        let from = seen::kept_from(&mut tx, Memory::Bodies).await.unwrap();
        assert_eq!(from, at(150 - 84));
        assert_eq!(seen::prune(&mut tx, Memory::Bodies, from).await.unwrap(), 150 - 84);
        assert_eq!(since(&mut tx, Memory::Bodies, 0).await.len(), 84);
    }

    async fn what_may_be_reported_again_is_bounded_by_time_and_number(store: Store) {
        let mut tx = store.write().await.unwrap();
        for (writer, n, secs) in [("w", 1, 10), ("w", 2, 20), ("v", 1, 15), ("v", 2, 30)] {
            repeated::append(&mut tx, writer, n, at(secs), 10, &[secs as u8]).await.unwrap();
        }
        repeated::append(&mut tx, "w", 2, at(99), 10, b"again").await.unwrap();
        let load = async |tx: &mut _, since, max| repeated::load(tx, at(since), max).await.unwrap();
        assert_eq!(load(&mut tx, 0, 100).await, [[10], [15], [20], [30]]);
        assert_eq!(load(&mut tx, 15, 100).await, [[15], [20], [30]]);
        assert_eq!(load(&mut tx, 0, 11).await, [[20], [30]], "the newest, and whole batches");
        assert_eq!(repeated::keep_newest(&mut tx, 40).await.unwrap(), 0);
        assert_eq!(repeated::keep_newest(&mut tx, 30).await.unwrap(), 1);
        assert_eq!(repeated::prune(&mut tx, at(20)).await.unwrap(), 1);
        assert_eq!(load(&mut tx, 0, 100).await, [[20], [30]]);
    }
}
