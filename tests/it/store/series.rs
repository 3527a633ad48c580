//! Series and their numbers.

use std::collections::BTreeSet;
use std::sync::Arc;

use burnwatch::domain::metric::Metric;
use burnwatch::domain::series::{Series, SeriesId};
use burnwatch::domain::time::{Span, Timestamp};
use burnwatch::store::{Store, alerts, incidents, partial, series, writer};

use super::{T0, at, incident, page_views};

on_both! {
    async fn series_get_one_id_each_and_keep_it(store: Store) {
        let (de, fr) = (page_views(&[("app", "shop"), ("region", "de")]), page_views(&[("app", "shop"), ("region", "fr")]));
        let mut tx = store.write().await.unwrap();
        let first = series::intern(&mut tx, &[de.clone(), fr.clone(), de.clone()]).await.unwrap();
        assert_eq!(first, [first[0], first[1], first[0]]);
        assert_ne!(first[0], first[1]);
        tx.commit().await.unwrap();

        let odd = page_views(&[("app", "shop"), ("route", "nul\0, \"quote\", ü, 日本")]);
        let mut tx = store.write().await.unwrap();
        let again = series::intern(&mut tx, &[odd.clone(), fr.clone()]).await.unwrap();
        assert_eq!(again[1], first[1]);
        tx.commit().await.unwrap();

        let mut tx = store.read().await.unwrap();
        let mut expected = vec![(first[0], de), (first[1], fr), (again[0], odd.clone())];
        expected.sort_by_key(|(id, _)| *id);
        assert_eq!(series::all(&mut tx).await.unwrap(), expected);
        assert_eq!(series::count(&mut tx).await.unwrap(), 3);
        assert_eq!(series::after(&mut tx, SeriesId(again[0].0 - 1)).await.unwrap(), [(again[0], odd)]);
    }

    async fn fifty_thousand_series_fit_into_one_call(store: Store) {
        let many: Vec<Series> = (0..50_000).map(|n| page_views(&[("app", "shop"), ("route", &format!("/{n}"))])).collect();
        let mut tx = store.write().await.unwrap();
        let first = series::intern(&mut tx, &many).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(first.iter().collect::<BTreeSet<_>>().len(), many.len());
        let mut tx = store.write().await.unwrap();
        assert_eq!(series::intern(&mut tx, &many).await.unwrap(), first);
    }

    async fn a_series_may_be_longer_than_an_index_entry(store: Store) {
        // Not compressible, or PostgreSQL would squeeze it into its index.
        let mut state = 1_u64;
        let long: String = (0..4_000).map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            char::from(b'!' + (state >> 33) as u8 % 90)
        }).collect();
        let mut tx = store.write().await.unwrap();
        series::intern(&mut tx, &[page_views(&[("app", "shop"), ("route", &long)])]).await.unwrap();
        incidents::insert(&mut tx, &incident("i", &long, 0)).await.unwrap();
        alerts::save(&mut tx, "rule", &long, "{}", T0).await.unwrap();
        assert_eq!(incidents::earlier_by_key(&mut tx, &long, at(1), 10).await.unwrap().len(), 1);
        tx.commit().await.unwrap();
    }

    async fn interning_at_the_same_time_gives_each_series_one_id(store: Store) {
        let mut tasks = Vec::new();
        for replica in 0..6_usize {
            let store = store.clone();
            tasks.push(tokio::spawn(async move {
                // Each replica brings the same series in another order.
                let mut wanted: Vec<Series> = (0..40).map(|n| page_views(&[("app", "shop"), ("route", &format!("/{n}"))])).collect();
                wanted.rotate_left(replica * 7);
                let mut tx = store.write().await.unwrap();
                let (left, right) = wanted.split_at(20);
                let mut found = series::intern(&mut tx, left).await.unwrap();
                found.extend(series::intern(&mut tx, right).await.unwrap());
                tx.commit().await.unwrap();
                wanted.into_iter().map(|series| series.to_string()).zip(found).collect::<std::collections::BTreeMap<_, _>>()
            }));
        }
        let mut answers = Vec::new();
        for task in tasks {
            answers.push(task.await.unwrap());
        }
        assert!(answers.windows(2).all(|pair| pair[0] == pair[1]));
        let mut tx = store.read().await.unwrap();
        assert_eq!(series::count(&mut tx).await.unwrap(), 40);
    }

    async fn series_without_events_are_forgotten_and_their_numbers_mean_others(store: Store) {
        use burnwatch::domain::aggregate::{Aggregator, Settings};
        use burnwatch::domain::event::{Batch, Event, Source};
        use burnwatch::{jobs::flush::Flush, sink::Sink};

        let (bucket, settle) = (Span::MINUTE, Span::seconds(30));
        let dimensions = ["app".to_owned()].to_vec();
        let settings = Settings { bucket, settle, dimensions, series_max: 1_000, remember: Span::days(8) };
        let sink = Arc::new(Sink::new(Aggregator::new(settings)));
        let mut flush = Flush::new(store.clone(), sink.clone(), "intake", burnwatch::chance::id).forgetting(Span::days(8));
        let come = |apps: &[&'static str], at: Timestamp| {
            let event = |at| Event {
                index: 0,
                metric: Metric::PageView,
                at,
                weight: 1_000_000,
                bad: false,
                value: None,
                user: None,
                repeat: None,
                route: "".into(),
                own: Default::default(),
                trace: None,
            };
            let batch = |app: &&'static str| Batch { id: None, source: Source { app: (*app).into(), ..Source::default() }, events: vec![event(at)] };
            let done = sink.submit(None, &apps.iter().map(batch).collect::<Vec<_>>(), at);
            assert_eq!(done.accepted, apps.len());
        };
        let mut now = T0;
        for apps in [&["a", "b", "c"][..], &["b"], &["d", "b"], &["c", "a", "e"]] {
            come(apps, now);
            flush.run(now).await.unwrap();
            now += Span::days(5);
        }
        let mut tx = store.read().await.unwrap();
        let names: std::collections::BTreeMap<SeriesId, String> =
            series::all(&mut tx).await.unwrap().into_iter().map(|(id, series)| (id, series.app().to_owned())).collect();
        let mut counted: std::collections::BTreeMap<&str, i64> = Default::default();
        for writer in writer::all(&mut tx).await.unwrap() {
            for part in partial::after(&mut tx, &writer.id, 0).await.unwrap() {
                let add = |id, _, cell: burnwatch::domain::cell::Cell| *counted.entry(names[&id].as_str()).or_default() += cell.counts.raw;
                burnwatch::domain::segment::read(&part.data, |_| true, add).unwrap();
            }
        }
        assert_eq!(counted, [("a", 2), ("b", 3), ("c", 2), ("d", 1), ("e", 1)].into());
        assert_eq!(names.len(), 5, "{names:?}");
    }
}
