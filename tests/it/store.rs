//! Every function of the store, on both databases.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use burnwatch::domain::aggregate::Learnt;
use burnwatch::domain::desk::Outcome;
use burnwatch::domain::incident::{Incident, Member};
use burnwatch::domain::metric::Metric;
use burnwatch::domain::notification::{Figures, Status};
use burnwatch::domain::posted::{Key, Packed, Posted};
use burnwatch::domain::rule::{Labels, Severity};
use burnwatch::domain::series::{Series, SeriesId};
use burnwatch::domain::time::{Span, Timestamp};
use burnwatch::store::{
    Store, StoreError, alerts, annotations, attempts, audit, chunk, events, incidents, learnt_routes, leases, meta, outbox, partial,
    posted, progress, receivers, repeated, retention, rule_sets, seen, series, silences, trace, transition, user_keys, writer,
};

use super::postgres;

const T0: Timestamp = Timestamp(1_790_000_000_000);

fn at(secs: i64) -> Timestamp {
    T0 + Span::seconds(secs)
}

/// Makes two tests of each function: one on SQLite, one on PostgreSQL. Time is the caller's on both.
macro_rules! on_both {
    ($($(#[$meta:meta])* async fn $name:ident($store:ident: Store) $body:block)*) => {
        $(
            $(#[$meta])*
            mod $name {
                use super::*;

                async fn run($store: Store) $body

                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn sqlite() {
                    let folder = tempfile::tempdir().unwrap();
                    run(Store::open(&sqlite_url(folder.path()), T0).await.unwrap()).await;
                }

                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn postgres() {
                    let database = super::postgres::database().await;
                    run(Store::open(&database.url, T0).await.unwrap().with_caller_time()).await;
                }
            }
        )*
    };
}

fn sqlite_url(folder: &std::path::Path) -> String {
    format!("sqlite://{}/data/burnwatch.db", folder.display())
}

fn page_views(dims: &[(&str, &str)]) -> Series {
    Series::new(Metric::PageView, dims.iter().map(|(name, value)| (Arc::from(*name), Arc::from(*value))))
}

fn incident(id: &str, key: &str, opened: i64) -> incidents::IncidentRow {
    incidents::IncidentRow {
        id: id.into(),
        key: key.into(),
        status: "open".into(),
        severity: "page".into(),
        service: "shop".into(),
        owner: "team-checkout".into(),
        title: format!("Checkout burns in {key}"),
        signature: String::new(),
        users: 812,
        opened_at: at(opened),
        acknowledged_at: None,
        resolved_at: None,
        generation: T0.0,
        sequence: 1,
        data: "{}".into(),
    }
}

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
    }
}

async fn keep(store: &Store, incidents: Vec<Incident>) {
    let outcomes: Vec<Outcome> = incidents.into_iter().map(|incident| Outcome { incident, new: true, effects: vec![] }).collect();
    let mut tx = store.write().await.unwrap();
    assert_eq!(transition::commit(&mut tx, &outcomes, at(0), "http://x").await.unwrap(), 0);
    tx.commit().await.unwrap();
}

fn delivery(id: &str, incident: &str, sequence: i64, receiver: &str, due: i64) -> outbox::OutboxRow {
    outbox::OutboxRow {
        id: id.into(),
        incident: incident.into(),
        generation: 7,
        sequence,
        receiver: receiver.into(),
        correlation: format!("{incident}-{receiver}"),
        kind: "opened".into(),
        payload: r#"{"type":"incident.opened"}"#.into(),
        state: "pending".into(),
        due_at: at(due),
        created_at: at(due),
        finished_at: None,
        attempts: 0,
        claimed_until: Timestamp(0),
        last_error: String::new(),
        reply: String::new(),
    }
}

fn claim(now: i64) -> outbox::Claim<'static> {
    outbox::Claim { now: at(now), until: at(now + 60), limit: 100, skip: &[] }
}

fn ids(rows: &[outbox::OutboxRow]) -> Vec<&str> {
    rows.iter().map(|row| row.id.as_str()).collect()
}

fn posted_alert(name: &str, ends: i64) -> Posted {
    let labels = [("alertname", name), ("odd", "nul\0, \"quote\", ü")].map(|(k, v)| (k.into(), v.into())).into();
    Posted {
        labels: Packed::new(&labels),
        annotations: r#"{"summary":"x"}"#.into(),
        generator: "http://x/".into(),
        starts: at(0),
        ends: at(ends),
        timed: true,
        updated: at(1),
    }
}

on_both! {
    async fn posted_alerts_are_followed_joined_and_forgotten(store: Store) {
        let alerts: Vec<Posted> = (0..150).map(|n| posted_alert(&format!("a{n}"), 60)).collect();
        let rows: Vec<(Key, &Posted)> = alerts.iter().map(|alert| (alert.labels.key(), alert)).collect();
        let mut tx = store.write().await.unwrap();
        let first = posted::save(&mut tx, &rows).await.unwrap();
        tx.commit().await.unwrap();

        let mut tx = store.read().await.unwrap();
        let read = posted::after(&mut tx, 0).await.unwrap();
        drop(tx);
        assert_eq!(read.len(), 150);
        assert!(read.iter().all(|row| row.seq == first && row.incident.is_empty()));
        let same = read.iter().find(|row| row.alert().unwrap().labels.get("alertname") == "a7").unwrap();
        assert_eq!(same.alert().unwrap(), alerts[7]);

        // A repeat takes the place of the row and leaves its incident alone.
        let mut tx = store.write().await.unwrap();
        posted::join(&mut tx, "i1", &[rows[7].0, rows[8].0]).await.unwrap();
        let later = Posted { timed: false, ..posted_alert("a7", 90) };
        let second = posted::save(&mut tx, &[(rows[7].0, &later)]).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(second, first + 1);
        let mut tx = store.read().await.unwrap();
        let new = posted::after(&mut tx, first).await.unwrap();
        drop(tx);
        assert_eq!(new.len(), 1);
        assert_eq!((new[0].alert().unwrap(), new[0].incident.as_str()), (later, "i1"));

        // What is over goes; what was heard of again stays, and belongs to no incident any more.
        let mut tx = store.write().await.unwrap();
        posted::remove(&mut tx, &[rows[7].0, rows[8].0], at(60)).await.unwrap();
        tx.commit().await.unwrap();
        let mut tx = store.read().await.unwrap();
        let left = posted::after(&mut tx, 0).await.unwrap();
        assert_eq!(left.len(), 149);
        assert!(left.iter().all(|row| row.incident.is_empty()));
    }

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
        assert!(incidents::open_by_key(&mut tx, &long).await.unwrap().is_some());
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

    async fn a_writer_moves_only_forward_and_closes_for_good(store: Store) {
        let mut tx = store.write().await.unwrap();
        writer::open(&mut tx, "w", "intake", at(0)).await.unwrap();
        writer::touch(&mut tx, "w", at(10), at(40)).await.unwrap();
        writer::touch(&mut tx, "w", at(5), at(30)).await.unwrap();
        writer::set_compacted(&mut tx, "w", 3).await.unwrap();
        writer::set_compacted(&mut tx, "w", 2).await.unwrap();
        let expected = writer::WriterRow {
            id: "w".into(), kind: "intake".into(), started_at: at(0), flushed_to: at(10), last_n: 0, compacted_n: 3, live: 1, lease_until: at(40),
        };
        assert_eq!(writer::all(&mut tx).await.unwrap(), [expected]);
        writer::close(&mut tx, "w").await.unwrap();
        writer::close(&mut tx, "w").await.unwrap();
        assert!(matches!(writer::touch(&mut tx, "w", at(20), at(50)).await, Err(StoreError::NotOne { what: "writer", .. })));
        assert_eq!(writer::all(&mut tx).await.unwrap()[0].live, 0);
        for (id, kind) in [("left", "intake"), ("loader", "rows")] {
            writer::open(&mut tx, id, kind, at(1)).await.unwrap();
        }
        writer::close_intakes(&mut tx).await.unwrap();
        let live: Vec<(String, i64)> = writer::all(&mut tx).await.unwrap().into_iter().map(|row| (row.id, row.live)).collect();
        assert_eq!(live, [("w".into(), 0), ("left".into(), 0), ("loader".into(), 1)]);
        assert!(matches!(writer::set_compacted(&mut tx, "nobody", 1).await, Err(StoreError::NotOne { .. })));
    }

    async fn a_flush_that_is_repeated_counts_once(store: Store) {
        let mut tx = store.write().await.unwrap();
        writer::open(&mut tx, "w", "intake", at(0)).await.unwrap();
        writer::open(&mut tx, "v", "rows", at(0)).await.unwrap();
        for n in 1..=4 {
            assert!(partial::append(&mut tx, "w", n, at(n), &[n as u8; 3]).await.unwrap());
        }
        assert!(partial::append(&mut tx, "v", 1, at(2), &[]).await.unwrap());
        assert!(!partial::append(&mut tx, "w", 2, at(9), b"other").await.unwrap());
        assert!(matches!(partial::append(&mut tx, "nobody", 1, at(1), b"").await, Err(StoreError::NotOne { .. })));
        tx.commit().await.unwrap();

        let mut tx = store.write().await.unwrap();
        let writers = writer::all(&mut tx).await.unwrap();
        let w = writers.iter().find(|writer| writer.id == "w").unwrap();
        assert_eq!((w.last_n, w.flushed_to), (4, at(4)));
        let next = partial::after(&mut tx, "w", 1, 2).await.unwrap();
        assert_eq!(next, [2_u8, 3].map(|n| partial::Partial { n: n.into(), at: at(n.into()), data: vec![n; 3] }));
        let old: Vec<(String, i64)> =
            partial::before(&mut tx, at(3), 10).await.unwrap().into_iter().map(|row| (row.writer, row.n)).collect();
        assert_eq!(old, [("w".to_owned(), 1), ("v".to_owned(), 1), ("w".to_owned(), 2)]);
        assert_eq!(partial::delete_to(&mut tx, "w", 3).await.unwrap(), 3);
        assert_eq!(partial::after(&mut tx, "w", 0, 10).await.unwrap().len(), 1);
        // Compacted and gone, yet still known to have been stored.
        assert!(!partial::append(&mut tx, "w", 3, at(9), b"late answer").await.unwrap());
        assert_eq!(partial::after(&mut tx, "v", 0, 10).await.unwrap().len(), 1);
    }

    async fn a_partial_may_be_megabytes(store: Store) {
        let large: Vec<u8> = (0..8_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let mut tx = store.write().await.unwrap();
        writer::open(&mut tx, "w", "intake", at(0)).await.unwrap();
        partial::append(&mut tx, "w", 1, at(1), &large).await.unwrap();
        tx.commit().await.unwrap();
        let mut tx = store.read().await.unwrap();
        assert!(partial::after(&mut tx, "w", 0, 1).await.unwrap()[0].data == large);
    }

    async fn what_is_dropped_without_a_commit_never_happened(store: Store) {
        let mut tx = store.write_durable().await.unwrap();
        writer::open(&mut tx, "w", "intake", at(0)).await.unwrap();
        partial::append(&mut tx, "w", 1, at(1), b"x").await.unwrap();
        incidents::insert(&mut tx, &incident("i", "k", 0)).await.unwrap();
        events::append(&mut tx, "i", at(0), "opened", "", "", "{}").await.unwrap();
        outbox::insert(&mut tx, &delivery("d", "i", 1, "pager", 0)).await.unwrap();
        drop(tx);
        let mut tx = store.read().await.unwrap();
        assert!(writer::all(&mut tx).await.unwrap().is_empty());
        assert!(partial::after(&mut tx, "w", 0, 1).await.unwrap().is_empty());
        assert_eq!(incidents::get(&mut tx, "i").await.unwrap(), None);
        assert_eq!(outbox::get(&mut tx, "d").await.unwrap(), None);
        drop(tx);
        // And the database takes the next one, many times over.
        for n in 0..40 {
            let mut tx = store.write().await.unwrap();
            meta::set(&mut tx, "n", &n.to_string()).await.unwrap();
            if n % 2 == 0 { tx.commit().await.unwrap() }
        }
        let mut tx = store.read().await.unwrap();
        assert_eq!(meta::get(&mut tx, "n").await.unwrap().as_deref(), Some("38"));
    }

    async fn a_reader_sees_one_state_while_others_write(store: Store) {
        let mut tx = store.write().await.unwrap();
        meta::set(&mut tx, "a", "1").await.unwrap();
        tx.commit().await.unwrap();
        let mut reader = store.read().await.unwrap();
        assert_eq!(meta::get(&mut reader, "a").await.unwrap().as_deref(), Some("1"));
        let mut tx = store.write().await.unwrap();
        meta::set(&mut tx, "a", "2").await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(meta::get(&mut reader, "a").await.unwrap().as_deref(), Some("1"));
        reader.commit().await.unwrap();
        let mut reader = store.read().await.unwrap();
        assert_eq!(meta::get(&mut reader, "a").await.unwrap().as_deref(), Some("2"));
    }

    async fn a_reader_cannot_write(store: Store) {
        let mut tx = store.read().await.unwrap();
        assert!(meta::set(&mut tx, "a", "1").await.is_err());
    }

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
            for part in partial::after(&mut tx, writer, 0, 10).await.unwrap() {
                let add = |_, _, cell: burnwatch::domain::cell::Cell| sums = (sums.0 + cell.valued.raw, sums.1 + cell.sum);
                burnwatch::domain::segment::read(&part.data, |_| true, add).unwrap();
            }
        }
        assert_eq!(sums, (1, 500.0));
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
            for part in partial::after(&mut tx, &writer.id, 0, 10).await.unwrap() {
                let add = |id, _, cell: burnwatch::domain::cell::Cell| *counted.entry(names[&id].as_str()).or_default() += cell.counts.raw;
                burnwatch::domain::segment::read(&part.data, |_| true, add).unwrap();
            }
        }
        assert_eq!(counted, [("a", 2), ("b", 3), ("c", 2), ("d", 1), ("e", 1)].into());
        assert_eq!(names.len(), 5, "{names:?}");
    }

    async fn a_user_key_is_made_once_and_destroyed(store: Store) {
        let mut tx = store.write().await.unwrap();
        user_keys::add(&mut tx, 1, at(10), "b").await.unwrap();
        user_keys::add(&mut tx, 0, at(0), "a").await.unwrap();
        user_keys::add(&mut tx, 1, at(99), "of a replica that was slower").await.unwrap();
        let all = user_keys::all(&mut tx).await.unwrap();
        let found: Vec<_> = all.iter().map(|row| (row.number, row.since, row.key.as_str())).collect();
        assert_eq!(found, [(0, at(0), "a"), (1, at(10), "b")]);
        user_keys::remove(&mut tx, 0).await.unwrap();
        assert_eq!(user_keys::all(&mut tx).await.unwrap().len(), 1);
    }

    async fn learnt_routes_belong_to_whoever_learnt_them_first(store: Store) {
        let learnt = |app: &str, prefix: &str, kept: &[&str]| Learnt {
            app: app.into(),
            prefix: prefix.into(),
            kept: kept.iter().map(|value| (*value).to_owned()).collect(),
        };
        let mut tx = store.write().await.unwrap();
        learnt_routes::add(&mut tx, &learnt("shop", "/p", &["gift", "sale \"%"]), at(10)).await.unwrap();
        learnt_routes::add(&mut tx, &learnt("shop", "/p", &[]), at(20)).await.unwrap();
        learnt_routes::add(&mut tx, &learnt("blog", "/p", &[]), at(20)).await.unwrap();
        let all = learnt_routes::since(&mut tx, at(0)).await.unwrap();
        assert_eq!(all, [(at(10), learnt("shop", "/p", &["gift", "sale \"%"])), (at(20), learnt("blog", "/p", &[]))]);
        assert_eq!(learnt_routes::since(&mut tx, at(11)).await.unwrap(), all[1..]);
    }

    async fn user_keys_rotate_at_the_edge_for_every_replica_and_across_restarts(store: Store) {
        const MONTH: Span = Span::days(30);
        let edge = T0.ceil(MONTH);
        let keys = |now, seed: fn() -> [u8; 16]| burnwatch::jobs::rotate::rotate(&store, MONTH, Span::days(8), now, seed);
        let first = keys(T0, || [1; 16]).await.unwrap();
        let person = first.of(T0, 7);
        assert!(person.0 == 0 && person.1 != 7);
        // A restart, another replica: the same person, until the edge.
        assert_eq!(keys(T0, || [9; 16]).await.unwrap().of(edge - Span(1), 7), person);
        let ahead = keys(edge - Span::HOUR, || [2; 16]).await.unwrap();
        let other = keys(edge + Span::HOUR, || [9; 16]).await.unwrap();
        let anew = ahead.of(edge, 7);
        assert!(anew.0 == 1 && anew.1 != person.1);
        assert_eq!((other.of(edge, 7), other.of(edge - Span(1), 7)), (anew, person));
        // The old one is destroyed when nothing late can come.
        let rows = async || user_keys::all(&mut store.read().await.unwrap()).await.unwrap();
        assert_eq!(rows().await.len(), 2);
        keys(edge + Span::days(9), || [9; 16]).await.unwrap();
        assert_eq!(rows().await.len(), 1);
    }

    async fn users_that_were_counted_before_keys_rotated_stay_the_same_people(store: Store) {
        let mut tx = store.write().await.unwrap();
        series::intern(&mut tx, &[page_views(&[("app", "shop")])]).await.unwrap();
        tx.commit().await.unwrap();
        let keys = burnwatch::jobs::rotate::rotate(&store, Span::days(30), Span::days(8), T0, || [1; 16]).await.unwrap();
        assert_eq!(keys.of(T0, 7), (0, 7));
    }

    async fn seen_batches_load_by_time_and_by_writer(store: Store) {
        let mut tx = store.write().await.unwrap();
        for (writer, n, secs) in [("w", 1, 10), ("w", 2, 20), ("v", 1, 15)] {
            seen::append(&mut tx, writer, n, at(secs), &[n as u8]).await.unwrap();
        }
        seen::append(&mut tx, "w", 2, at(99), b"again").await.unwrap();
        let order = |rows: Vec<seen::Seen>| rows.into_iter().map(|row| (row.writer, row.n, row.data)).collect::<Vec<_>>();
        assert_eq!(order(seen::load_since(&mut tx, at(15)).await.unwrap()), [("v".into(), 1, vec![1]), ("w".into(), 2, vec![2])]);
        assert_eq!(order(seen::after(&mut tx, "w", 0, 1).await.unwrap()), [("w".into(), 1, vec![1])]);
        assert_eq!(seen::prune(&mut tx, at(15)).await.unwrap(), 1);
        assert_eq!(seen::load_since(&mut tx, at(0)).await.unwrap().len(), 2);
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

    async fn example_traces_come_newest_first(store: Store) {
        let mut tx = store.write().await.unwrap();
        for (writer, n, secs) in [("w", 1, 10), ("w", 2, 20), ("v", 1, 15), ("v", 2, 30)] {
            trace::append(&mut tx, writer, n, at(secs), &[secs as u8]).await.unwrap();
        }
        trace::append(&mut tx, "w", 2, at(25), b"again").await.unwrap();
        assert_eq!(trace::between(&mut tx, at(10), at(20), 9).await.unwrap(), [[20], [15], [10]]);
        assert_eq!(trace::between(&mut tx, at(0), at(99), 2).await.unwrap(), [[30], [20]]);
        assert_eq!(trace::prune(&mut tx, at(15)).await.unwrap(), 1);
        assert_eq!(trace::between(&mut tx, at(0), at(99), 9).await.unwrap().len(), 3);
    }

    async fn chunks_are_written_over_and_read_in_order(store: Store) {
        let chunk = |start, grp, data: &[u8]| chunk::Chunk { start, grp, data: data.to_vec() };
        let mut tx = store.write().await.unwrap();
        // More than one statement and more than one page of them.
        let many: Vec<_> = (0..90_i64).flat_map(|start| (0..5_i64).map(move |grp| chunk(start * 60, grp - 2, &start.to_be_bytes()))).rev().collect();
        chunk::put(&mut tx, 1, &many).await.unwrap();
        chunk::put(&mut tx, 1, &[chunk(60, 0, b"new")]).await.unwrap();
        chunk::put(&mut tx, 2, &[chunk(60, 0, b"other level")]).await.unwrap();
        chunk::put(&mut tx, 1, &[]).await.unwrap();
        assert_eq!(chunk::get(&mut tx, 1, 60, 0).await.unwrap().as_deref(), Some(&b"new"[..]));
        assert_eq!(chunk::get(&mut tx, 3, 60, 0).await.unwrap(), None);

        let all = chunk::range(&mut tx, 1, 0, 90 * 60, None).await.unwrap();
        assert_eq!(all.len(), 450);
        assert!(all.is_sorted_by_key(|chunk| (chunk.start, chunk.grp)));
        let edges = chunk::range(&mut tx, 1, 60, 180, Some(&[2, -2, 2, 77])).await.unwrap();
        assert_eq!(edges.iter().map(|chunk| (chunk.start, chunk.grp)).collect::<Vec<_>>(), [(60, -2), (60, 2), (120, -2), (120, 2)]);
        assert!(chunk::range(&mut tx, 1, 0, 90 * 60, Some(&[])).await.unwrap().is_empty());
        // More groups than fit into a statement.
        let groups: Vec<i64> = (0..3_000).collect();
        assert_eq!(chunk::range(&mut tx, 1, 0, 90 * 60, Some(&groups)).await.unwrap().len(), 270);

        assert_eq!(chunk::delete_before(&mut tx, 1, 60).await.unwrap(), 5);
        assert_eq!(chunk::range(&mut tx, 1, i64::MIN, i64::MAX, None).await.unwrap().len(), 445);
        assert_eq!(chunk::range(&mut tx, 2, i64::MIN, i64::MAX, None).await.unwrap().len(), 1);
    }

    async fn alerts_are_one_row_for_each_rule_and_group(store: Store) {
        let mut tx = store.write().await.unwrap();
        alerts::save(&mut tx, "b", "{}", "1", at(1)).await.unwrap();
        alerts::save(&mut tx, "a", r#"{"region":"de"}"#, "1", at(1)).await.unwrap();
        alerts::save(&mut tx, "b", "{}", "2", at(2)).await.unwrap();
        let states = |rows: Vec<alerts::AlertRow>| rows.into_iter().map(|row| (row.rule, row.state, row.updated_at)).collect::<Vec<_>>();
        assert_eq!(states(alerts::load_all(&mut tx).await.unwrap()), [("a".into(), "1".into(), at(1)), ("b".into(), "2".into(), at(2))]);
        alerts::delete(&mut tx, "b", "{}").await.unwrap();
        alerts::delete(&mut tx, "b", "{}").await.unwrap();
        assert_eq!(alerts::load_all(&mut tx).await.unwrap().len(), 1);
    }

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
        assert!(!outbox::digest::fold(&mut tx, &held, "digest-d", at(20), false, "why").await.unwrap(), "somebody is at it");
        assert!(outbox::digest::fold(&mut tx, &held, "digest-d", at(20), true, "why").await.unwrap());
        assert!(!outbox::digest::fold(&mut tx, &held, "digest-d", at(20), true, "why").await.unwrap(), "once only");
        assert!(!outbox::digest::fold(&mut tx, "tried", "digest-d", at(20), true, "why").await.unwrap(), "it may have arrived");
        for id in ["d1", "d2", "d3"] {
            outbox::digest::fold(&mut tx, id, "digest-d", at(20), true, "why").await.unwrap();
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
            outbox::delivered(&mut tx, id, at(50), "").await.unwrap();
        }
        assert!(!outbox::digest::is_open(&mut tx, "digest-d").await.unwrap());
    }

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
        assert_eq!(incidents::open_by_key(&mut tx, "service=shop").await.unwrap(), Some(first.clone()));
        (first.status, first.resolved_at, first.sequence) = ("resolved".into(), Some(at(9)), 3);
        incidents::update(&mut tx, &first).await.unwrap();
        assert_eq!(incidents::open_by_key(&mut tx, "service=shop").await.unwrap(), None);
        incidents::insert(&mut tx, &second).await.unwrap();
        assert_eq!(incidents::get(&mut tx, "i1").await.unwrap(), Some(first.clone()));
        assert_eq!(incidents::resolved_since(&mut tx, at(9), 10).await.unwrap(), [first.clone()]);
        assert_eq!(incidents::resolved_since(&mut tx, at(10), 10).await.unwrap(), []);
        assert_eq!(incidents::resolved_since(&mut tx, at(0), 0).await.unwrap(), []);
        assert_eq!(incidents::get_for_update(&mut tx, "i1").await.unwrap(), Some(first));
        assert_eq!(incidents::get_for_update(&mut tx, "i\0").await.unwrap(), None);
        assert_eq!(incidents::latest_by_key(&mut tx, "service=shop").await.unwrap(), Some(second.clone()));
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
        for (q, found) in [("KEY-3", "i3"), ("100%", "i5"), ("Über_", "i5"), ("b_r", ""), ("%%", ""), ("\0", ""), ("key-", "i6 i5 i4 i3 i2 i1 i0")] {
            assert_eq!(ask(incidents::Filter { q: Some(q.into()), ..filter() }).await, found, "{q}");
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
        assert!(outbox::delivered(&mut tx, "d1", at(31), r#"{"ticket":1}"#).await.unwrap());
        assert!(!outbox::delivered(&mut tx, "d1", at(32), "").await.unwrap());
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
        assert!(outbox::extend(&mut tx, "d", at(59), at(100)).await.unwrap());
        assert!(outbox::claim(&mut tx, claim(99)).await.unwrap().is_empty());
        assert_eq!(ids(&outbox::claim(&mut tx, claim(100)).await.unwrap()), ["d"]);
        assert!(outbox::release(&mut tx, "d", at(101)).await.unwrap());
        assert!(outbox::claim(&mut tx, claim(100)).await.unwrap().is_empty());
        let claimed = outbox::claim(&mut tx, claim(101)).await.unwrap();
        assert_eq!((ids(&claimed), claimed[0].attempts), (vec!["d"], 0));
        assert_eq!(outbox::release_all(&mut tx).await.unwrap(), 1);
        assert!(outbox::progress(&mut tx, "d", r#"{"ticket":1}"#).await.unwrap());
        let again = outbox::claim(&mut tx, claim(102)).await.unwrap();
        assert_eq!((again[0].reply.as_str(), again[0].attempts), (r#"{"ticket":1}"#, 0));
        assert!(outbox::delivered(&mut tx, "d", at(103), "").await.unwrap());
        assert_eq!(outbox::release_all(&mut tx).await.unwrap(), 0);
        assert!(!outbox::progress(&mut tx, "d", "{}").await.unwrap());
    }

    async fn a_failed_delivery_is_retried_buried_and_replayed(store: Store) {
        let mut tx = store.write_durable().await.unwrap();
        outbox::insert(&mut tx, &delivery("d", "i", 1, "pager", 0)).await.unwrap();
        outbox::insert(&mut tx, &delivery("e", "i", 2, "pager", 0)).await.unwrap();
        outbox::claim(&mut tx, claim(0)).await.unwrap();
        assert!(outbox::retry(&mut tx, "d", at(30), "503").await.unwrap());
        assert!(outbox::claim(&mut tx, claim(29)).await.unwrap().is_empty());
        assert_eq!(ids(&outbox::claim(&mut tx, claim(30)).await.unwrap()), ["d"]);
        assert!(outbox::dead(&mut tx, "d", at(31), "410 gone").await.unwrap());
        let counts = outbox::counts(&mut tx).await.unwrap();
        assert_eq!(counts, outbox::Counts { pending: 1, oldest: Some(at(0)), due: Some(at(0)), dead: 1 });
        // The dead one holds nobody up.
        assert_eq!(ids(&outbox::claim(&mut tx, claim(32)).await.unwrap()), ["e"]);
        for late in [outbox::retry(&mut tx, "d", at(33), "").await, outbox::dead(&mut tx, "d", at(33), "").await, outbox::extend(&mut tx, "d", at(33), at(34)).await] {
            assert!(!late.unwrap());
        }
        assert!(outbox::replay(&mut tx, "d", at(40)).await.unwrap());
        assert!(!outbox::replay(&mut tx, "d", at(40)).await.unwrap());
        let replayed = outbox::claim(&mut tx, claim(41)).await.unwrap();
        assert_eq!((ids(&replayed), replayed[0].attempts, replayed[0].finished_at), (vec!["d"], 2, None));
        assert!(outbox::discard(&mut tx, "d", at(42), "receiver removed").await.unwrap());
        assert!(!outbox::discard(&mut tx, "d", at(42), "").await.unwrap());
        let row = outbox::get(&mut tx, "d").await.unwrap().unwrap();
        assert_eq!((row.state.as_str(), row.last_error.as_str(), row.finished_at), ("discarded", "receiver removed", Some(at(42))));
        outbox::delivered(&mut tx, "e", at(43), "").await.unwrap();
        assert_eq!(outbox::counts(&mut tx).await.unwrap(), outbox::Counts::default());
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

    async fn attempts_are_numbered_by_delivery(store: Store) {
        let mut tx = store.write().await.unwrap();
        let row = |outcome: &str, status| attempts::AttemptRow {
            delivery: "d".into(), n: 0, at: at(1), outcome: outcome.into(), status, took_ms: 12, detail: "…".into(),
        };
        assert_eq!(attempts::add(&mut tx, &row("retry", None)).await.unwrap(), 1);
        assert_eq!(attempts::add(&mut tx, &row("delivered", Some(202))).await.unwrap(), 2);
        let expected = [attempts::AttemptRow { n: 1, ..row("retry", None) }, attempts::AttemptRow { n: 2, ..row("delivered", Some(202)) }];
        assert_eq!(attempts::list(&mut tx, "d").await.unwrap(), expected);
        assert!(attempts::list(&mut tx, "e").await.unwrap().is_empty());
    }

    async fn annotations_are_listed_by_time_and_app(store: Store) {
        let mut tx = store.write().await.unwrap();
        let row = |id: &str, secs, app: &str| annotations::AnnotationRow {
            id: id.into(), kind: "deploy".into(), at: at(secs), app: app.into(), release: "2.3.1".into(),
            text: String::new(), url: String::new(), created_at: at(99),
        };
        for (id, secs, app) in [("b", 20, "shop"), ("a", 10, "shop"), ("c", 15, ""), ("d", 12, "blog"), ("e", 30, "shop")] {
            assert!(annotations::add(&mut tx, &row(id, secs, app)).await.unwrap());
        }
        assert!(!annotations::add(&mut tx, &row("a", 11, "shop")).await.unwrap());
        let shop = annotations::list(&mut tx, at(10), at(30), Some("shop")).await.unwrap();
        assert_eq!(shop, [row("a", 10, "shop"), row("c", 15, ""), row("b", 20, "shop")]);
        assert_eq!(annotations::list(&mut tx, at(0), at(99), None).await.unwrap().len(), 5);
    }

    async fn annotations_are_read_on_from_where_one_was(store: Store) {
        let mut tx = store.write().await.unwrap();
        for (id, stored) in [("b", 20), ("a", 20), ("c", 10), ("d", 30)] {
            let row = annotations::AnnotationRow {
                id: id.into(), kind: "deploy".into(), at: at(1), app: String::new(), release: String::new(),
                text: String::new(), url: String::new(), created_at: at(stored),
            };
            annotations::add(&mut tx, &row).await.unwrap();
        }
        let mut seen: annotations::Seen = "0:".parse().unwrap();
        let mut order = Vec::new();
        while let Some(row) = annotations::after(&mut tx, &seen, at(30), 1).await.unwrap().pop() {
            seen = annotations::Seen { at: row.created_at, id: row.id.clone() }.to_string().parse().unwrap();
            order.push(row.id);
        }
        assert_eq!(order, ["c", "a", "b"]);
        assert_eq!(annotations::after(&mut tx, &seen, at(31), 9).await.unwrap().len(), 1);
    }

    async fn the_last_good_rule_set_survives_bad_ones(store: Store) {
        let mut tx = store.write_durable().await.unwrap();
        assert_eq!(rule_sets::last_good(&mut tx).await.unwrap(), None);
        rule_sets::save(&mut tx, "r1", r#"{"a.rhai":""}"#, at(1), true).await.unwrap();
        rule_sets::save(&mut tx, "r2", "{}", at(2), true).await.unwrap();
        rule_sets::save(&mut tx, "r3", "{}", at(3), false).await.unwrap();
        assert_eq!(rule_sets::last_good(&mut tx).await.unwrap().unwrap().revision, "r2");
        // Going back to an earlier revision makes it the last one.
        rule_sets::save(&mut tx, "r1", r#"{"a.rhai":""}"#, at(4), true).await.unwrap();
        let expected = rule_sets::RuleSetRow { revision: "r1".into(), files: r#"{"a.rhai":""}"#.into(), loaded_at: at(4), good: 1 };
        assert_eq!(rule_sets::last_good(&mut tx).await.unwrap(), Some(expected.clone()));
        assert_eq!(rule_sets::get(&mut tx, "r1").await.unwrap(), Some(expected));
        let revisions: Vec<String> = rule_sets::list(&mut tx, 2).await.unwrap().into_iter().map(|row| row.revision).collect();
        assert_eq!(revisions, ["r1", "r3"]);
    }

    async fn silences_act_between_start_and_end(store: Store) {
        let mut tx = store.write().await.unwrap();
        let mut row = silences::SilenceRow {
            id: "s".into(), matchers: r#"["service=shop"]"#.into(), starts_at: at(10), ends_at: at(20), author: "ada".into(),
            comment: "known".into(), created_at: at(1), updated_at: at(1), expired_at: None,
        };
        silences::insert(&mut tx, &row).await.unwrap();
        for (secs, count) in [(9, 0), (10, 1), (19, 1), (20, 0)] {
            assert_eq!(silences::active(&mut tx, at(secs)).await.unwrap().len(), count, "{secs}");
        }
        (row.expired_at, row.updated_at) = (Some(at(15)), at(15));
        silences::update(&mut tx, &row).await.unwrap();
        assert_eq!(silences::active(&mut tx, at(14)).await.unwrap().len(), 1);
        assert!(silences::active(&mut tx, at(15)).await.unwrap().is_empty());
        assert_eq!(silences::get(&mut tx, "s").await.unwrap(), Some(row.clone()));
        assert_eq!(silences::list(&mut tx).await.unwrap(), std::slice::from_ref(&row));
        row.id = "t".into();
        assert!(matches!(silences::update(&mut tx, &row).await, Err(StoreError::NotOne { what: "silence", .. })));
    }

    async fn the_audit_log_is_listed_newest_first(store: Store) {
        let mut tx = store.write().await.unwrap();
        for n in 0..5 {
            let row = audit::AuditRow {
                id: format!("a{n}"), at: at(n / 2), who: "ada".into(), action: "ack".into(), thing: "i".into(), source: "api".into(), detail: "{}".into(),
            };
            audit::add(&mut tx, &row).await.unwrap();
        }
        let (first, next) = audit::list(&mut tx, None, 3, audit::Acts::All).await.unwrap();
        let (rest, end) = audit::list(&mut tx, next.as_deref(), 3, audit::Acts::Changes).await.unwrap();
        let order: Vec<String> = first.into_iter().chain(rest).map(|row| row.id).collect();
        assert_eq!((order.join(" ").as_str(), end), ("a4 a3 a2 a1 a0", None));
    }

    async fn a_lease_has_one_holder_and_a_growing_token(store: Store) {
        let mut tx = store.write().await.unwrap();
        assert_eq!(leases::acquire(&mut tx, "shard-0", "a", at(0), at(10)).await.unwrap(), Some(1));
        assert_eq!(leases::acquire(&mut tx, "shard-0", "b", at(9), at(19)).await.unwrap(), None);
        assert_eq!(leases::acquire(&mut tx, "shard-0", "a", at(9), at(19)).await.unwrap(), Some(1));
        assert!(leases::fence(&mut tx, "shard-0", 1).await.unwrap());
        assert_eq!(leases::acquire(&mut tx, "shard-0", "b", at(19), at(29)).await.unwrap(), Some(2));
        assert_eq!(leases::acquire(&mut tx, "shard-0", "a", at(20), at(30)).await.unwrap(), None);
        assert!(!leases::fence(&mut tx, "shard-0", 1).await.unwrap());
        leases::release(&mut tx, "shard-0", "a").await.unwrap();
        assert!(leases::fence(&mut tx, "shard-0", 2).await.unwrap());
        leases::release(&mut tx, "shard-0", "b").await.unwrap();
        assert_eq!(leases::acquire(&mut tx, "shard-0", "a", at(21), at(31)).await.unwrap(), Some(3));
        let held = leases::LeaseRow { name: "shard-0".into(), holder: "a".into(), token: 3, until_ms: at(31) };
        assert_eq!(leases::all(&mut tx).await.unwrap(), [held]);
        leases::release_all(&mut tx).await.unwrap();
        assert_eq!(leases::acquire(&mut tx, "shard-0", "b", at(22), at(32)).await.unwrap(), Some(4));
    }

    async fn a_lease_wanted_by_many_goes_to_one(store: Store) {
        for round in 1..=5 {
            let mut tasks = Vec::new();
            for replica in 0..8 {
                let store = store.clone();
                tasks.push(tokio::spawn(async move {
                    let mut tx = store.write().await.unwrap();
                    let now = round * 100;
                    let token = leases::acquire(&mut tx, "shard-0", &format!("{round}-{replica}"), at(now), at(now + 50)).await.unwrap();
                    tx.commit().await.unwrap();
                    token
                }));
            }
            let mut tokens = Vec::new();
            for task in tasks {
                tokens.extend(task.await.unwrap());
            }
            assert_eq!(tokens, [round]);
        }
    }

    async fn progress_and_meta_keep_the_last_value(store: Store) {
        let mut tx = store.write().await.unwrap();
        assert_eq!(progress::get(&mut tx, "compact").await.unwrap(), None);
        progress::set(&mut tx, "compact", at(1), "{}").await.unwrap();
        progress::set(&mut tx, "compact", at(2), r#"{"n":1}"#).await.unwrap();
        let expected = progress::Progress { at: at(2), data: r#"{"n":1}"#.into() };
        assert_eq!(progress::get(&mut tx, "compact").await.unwrap(), Some(expected));
        assert_eq!(meta::get(&mut tx, "install").await.unwrap(), None);
        assert_eq!(meta::get_or_set(&mut tx, "install", "one").await.unwrap(), "one");
        assert_eq!(meta::get_or_set(&mut tx, "install", "two").await.unwrap(), "one");
        meta::set(&mut tx, "install", "three").await.unwrap();
        assert_eq!(meta::get(&mut tx, "install").await.unwrap().as_deref(), Some("three"));
    }

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
            attempts::add(&mut tx, &attempt).await.unwrap();
        }
        for n in 0..2 {
            outbox::delivered(&mut tx, &format!("d{n}"), at(n), "").await.unwrap();
        }
        for (id, last) in [("done", 0), ("behind", 1)] {
            writer::open(&mut tx, id, "intake", at(0)).await.unwrap();
            if last > 0 {
                partial::append(&mut tx, id, last, at(1), b"x").await.unwrap();
            }
            writer::close(&mut tx, id).await.unwrap();
        }
        seen::append(&mut tx, "w", 1, at(0), b"x").await.unwrap();
        repeated::append(&mut tx, "w", 1, at(0), 1, b"x").await.unwrap();
        trace::append(&mut tx, "w", 1, at(0), b"x").await.unwrap();
        for (revision, secs, good) in [("old", 0, true), ("bad", 1, false), ("last", 2, true)] {
            rule_sets::save(&mut tx, revision, "{}", at(secs), good).await.unwrap();
        }
        let annotation = annotations::AnnotationRow {
            id: "a".into(), kind: "deploy".into(), at: at(0), app: String::new(), release: String::new(), text: String::new(), url: String::new(), created_at: at(0),
        };
        annotations::add(&mut tx, &annotation).await.unwrap();
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
            writers: at(50), seen: at(50), traces: at(50), incidents: at(2), outbox: at(50), annotations: at(50), rule_sets: at(50), silences: at(50), audit: at(50), learnt_routes: at(50), limit: 1,
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
        assert!(seen::load_since(&mut tx, at(0)).await.unwrap().is_empty());
        assert!(repeated::load(&mut tx, at(0), 9).await.unwrap().is_empty());
        assert!(trace::between(&mut tx, at(0), at(9), 9).await.unwrap().is_empty());
        assert_eq!(rule_sets::list(&mut tx, 9).await.unwrap().into_iter().map(|row| row.revision).collect::<Vec<_>>(), ["last"]);
        assert!(annotations::list(&mut tx, at(0), at(9), None).await.unwrap().is_empty());
        assert!(silences::list(&mut tx).await.unwrap().is_empty());
        assert!(audit::list(&mut tx, None, 9, audit::Acts::All).await.unwrap().0.is_empty());
    }
}

#[tokio::test]
async fn a_new_sqlite_database_is_readable_by_its_owner_only() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&sqlite_url(folder.path()), T0).await.unwrap();
    let mut tx = store.write().await.unwrap();
    meta::set(&mut tx, "a", "1").await.unwrap();
    tx.commit().await.unwrap();
    let mode = |path: &str| std::fs::metadata(folder.path().join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("data"), 0o700);
    for file in ["data/burnwatch.db", "data/burnwatch.db-wal", "data/burnwatch.db-shm"] {
        assert_eq!(mode(file), 0o600, "{file}");
    }
    assert_eq!(store.path(), Some(folder.path().join("data/burnwatch.db").as_path()));
    store.close().await;
    assert!(!folder.path().join("data/burnwatch.db-wal").exists());
}

#[tokio::test]
async fn a_damaged_file_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let url = sqlite_url(folder.path());
    let store = Store::open(&url, T0).await.unwrap();
    let mut tx = store.write().await.unwrap();
    for n in 0..200 {
        alerts::save(&mut tx, &format!("rule-{n}"), "{}", &"x".repeat(500), T0).await.unwrap();
    }
    tx.commit().await.unwrap();
    store.close().await;
    let file = folder.path().join("data/burnwatch.db");
    let whole = std::fs::read(&file).unwrap();

    let mut holes = whole.clone();
    let middle = holes.len() / 2;
    holes[middle..].fill(0xa5);
    let cut = whole[..middle].to_vec();
    let text = b"this is no database, but somebody's notes about one, long enough to fill a header of a hundred bytes or more".to_vec();
    for damaged in [holes, cut, text] {
        std::fs::write(&file, &damaged).unwrap();
        for opened in [Store::open(&url, T0).await, Store::open_existing(&url, T0).await] {
            let error = opened.expect_err("a damaged file is refused");
            assert!(matches!(error, StoreError::Corrupt { .. }), "{error:?}");
            assert!(error.to_string().contains("burnwatch.db"), "{error}");
        }
        assert!(std::fs::read(&file).unwrap() == damaged);
    }
}

#[tokio::test]
async fn a_database_that_is_not_there_is_made_by_open_only() {
    let folder = tempfile::tempdir().unwrap();
    let url = sqlite_url(folder.path());
    assert!(matches!(Store::open_existing(&url, T0).await, Err(StoreError::Missing { .. })));
    assert!(!folder.path().join("data").exists());
    Store::open(&url, T0).await.unwrap().close().await;
    Store::open_existing(&url, T0).await.unwrap();

    let database = postgres::database().await;
    assert!(matches!(Store::open_existing(&database.url, T0).await, Err(StoreError::Missing { .. })));
    Store::open(&database.url, T0).await.unwrap();
    Store::open_existing(&database.url, T0).await.unwrap();
}

#[tokio::test]
async fn a_place_that_cannot_be_written_is_named_in_one_sentence() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "").unwrap();
    for url in [format!("sqlite://{}/file/b.db", folder.path().display()), format!("sqlite://{}", folder.path().display())] {
        let error = Store::open(&url, T0).await.expect_err("it cannot be opened");
        assert!(matches!(error, StoreError::Unwritable { .. }), "{error:?}");
        assert!(error.to_string().contains(folder.path().to_str().unwrap()) && !error.to_string().contains('\n'), "{error}");
    }
}

#[tokio::test]
async fn a_schema_is_refused_only_if_it_says_so() {
    let newer = |version: i64, works_with: i64| format!("insert into schema_version values ({version}, {works_with}, 0)");
    let database = postgres::database().await;
    Store::open(&database.url, T0).await.unwrap().close().await;
    // The next version expanded the schema in a way that this one survives, so that both can run while replicas are replaced.
    postgres::execute(&database.url, &newer(1_000, burnwatch::store::SCHEMA_KNOWN)).await;
    Store::open(&database.url, T0).await.unwrap().close().await;
    // The one after that contracted it.
    postgres::execute(&database.url, &newer(1_001, 1_000)).await;
    for opened in [Store::open(&database.url, T0).await, Store::open_existing(&database.url, T0).await] {
        let error = opened.expect_err("a newer schema is refused");
        assert!(matches!(error, StoreError::Newer { found: 1_001, .. }), "{error:?}");
    }

    let folder = tempfile::tempdir().unwrap();
    let url = sqlite_url(folder.path());
    Store::open(&url, T0).await.unwrap().close().await;
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(folder.path().join("data/burnwatch.db"));
    let pool = sqlx::SqlitePool::connect_with(options).await.unwrap();
    sqlx::query(sqlx::AssertSqlSafe(newer(1_001, 1_000))).execute(&pool).await.unwrap();
    pool.close().await;
    assert!(matches!(Store::open(&url, T0).await, Err(StoreError::Newer { found: 1_001, .. })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_that_start_together_make_one_schema() {
    let database = postgres::database().await;
    let mut tasks = Vec::new();
    for _ in 0..6 {
        let url = database.url.clone();
        tasks.push(tokio::spawn(async move { Store::open(&url, T0).await }));
    }
    for task in tasks {
        let store = task.await.unwrap().unwrap();
        let mut tx = store.read().await.unwrap();
        assert_eq!(series::count(&mut tx).await.unwrap(), 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_on_one_sqlite_file_wait_for_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let url = sqlite_url(folder.path());
    let stores = [Store::open(&url, T0).await.unwrap(), Store::open_existing(&url, T0).await.unwrap()];
    let mut tasks = Vec::new();
    for (who, store) in stores.into_iter().enumerate() {
        tasks.push(tokio::spawn(async move {
            for n in 0..50 {
                let mut tx = store.write().await.unwrap();
                // Read, then write: what fails at once in a transaction that did not begin as a writer.
                alerts::load_all(&mut tx).await.unwrap();
                alerts::save(&mut tx, &format!("{who}"), &n.to_string(), "{}", T0).await.unwrap();
                tx.commit().await.unwrap();
            }
            store
        }));
    }
    for task in tasks {
        let store = task.await.unwrap();
        store.close().await;
    }
    let store = Store::open_existing(&url, T0).await.unwrap();
    assert_eq!(alerts::load_all(&mut store.read().await.unwrap()).await.unwrap().len(), 100);
}

#[tokio::test]
async fn a_backup_of_a_running_database_opens_as_one() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&sqlite_url(folder.path()), T0).await.unwrap();
    let mut tx = store.write().await.unwrap();
    meta::set(&mut tx, "a", "1").await.unwrap();
    tx.commit().await.unwrap();
    let file = folder.path().join("it's a backup.db");
    store.backup(&file).await.unwrap();
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(matches!(store.backup(&file).await, Err(StoreError::Backup { .. })));
    assert!(matches!(store.backup(&folder.path().join("no/folder.db")).await, Err(StoreError::Backup { .. })));
    let copy = Store::open_existing(&format!("sqlite://{}", file.display()), T0).await.unwrap();
    assert_eq!(meta::get(&mut copy.read().await.unwrap(), "a").await.unwrap().as_deref(), Some("1"));

    let database = postgres::database().await;
    let error = Store::open(&database.url, T0).await.unwrap().backup(&folder.path().join("pg.db")).await.unwrap_err();
    assert!(error.to_string().contains("pg_dump"), "{error}");
}

#[tokio::test]
async fn leases_on_postgres_follow_the_clock_of_the_database() {
    let database = postgres::database().await;
    let store = Store::open(&database.url, T0).await.unwrap();
    let mut tx = store.write().await.unwrap();
    let hour = Span::HOUR;
    assert_eq!(leases::acquire(&mut tx, "shard-0", "a", at(0), at(60)).await.unwrap(), Some(1));
    // A replica whose clock is years ahead believes the lease to have ended long ago; the database knows better.
    let ahead = T0 + Span::days(3_650);
    assert_eq!(leases::acquire(&mut tx, "shard-0", "b", ahead, ahead + hour).await.unwrap(), None);
    outbox::insert(&mut tx, &delivery("d", "i", 1, "pager", 0)).await.unwrap();
    assert_eq!(outbox::claim(&mut tx, claim(0)).await.unwrap().len(), 1);
    let eager = outbox::Claim { now: ahead, until: ahead + hour, limit: 9, skip: &[] };
    assert!(outbox::claim(&mut tx, eager).await.unwrap().is_empty());
    let shared = tx.shared_now(T0).await.unwrap();
    assert_eq!(leases::all(&mut tx).await.unwrap()[0].until_ms.0 / 10_000, (shared + Span::MINUTE).0 / 10_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_cannot_change_hands_under_a_transaction_that_is_fenced() {
    let database = postgres::database().await;
    let store = Store::open(&database.url, T0).await.unwrap().with_caller_time();
    let mut tx = store.write().await.unwrap();
    leases::acquire(&mut tx, "shard-0", "a", at(0), at(10)).await.unwrap();
    tx.commit().await.unwrap();

    let mut holder = store.write().await.unwrap();
    assert!(leases::fence(&mut holder, "shard-0", 1).await.unwrap());
    let other = store.clone();
    let taking_over = tokio::spawn(async move {
        let mut tx = other.write().await.unwrap();
        let token = leases::acquire(&mut tx, "shard-0", "b", at(20), at(30)).await.unwrap();
        let seen = meta::get(&mut tx, "by").await.unwrap();
        tx.commit().await.unwrap();
        (token, seen)
    });
    // Whatever happens in between, what the old holder commits comes before what the new one sees.
    meta::set(&mut holder, "by", "a").await.unwrap();
    holder.commit().await.unwrap();
    let (token, seen) = taking_over.await.unwrap();
    assert_eq!(token, Some(2));
    assert_eq!(seen.as_deref(), Some("a"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadlock_asks_for_the_transaction_to_be_run_again() {
    let database = postgres::database().await;
    let store = Store::open(&database.url, T0).await.unwrap();
    let mut tx = store.write().await.unwrap();
    for name in ["x", "y"] {
        meta::set(&mut tx, name, "0").await.unwrap();
    }
    tx.commit().await.unwrap();
    let (mut one, mut two) = (store.write().await.unwrap(), store.write().await.unwrap());
    meta::set(&mut one, "x", "1").await.unwrap();
    meta::set(&mut two, "y", "2").await.unwrap();
    let (first, second) = tokio::join!(meta::set(&mut one, "y", "1"), meta::set(&mut two, "x", "2"));
    let error = first.err().or(second.err()).expect("one of them is given up");
    assert!(matches!(error, StoreError::Again(_)) && error.is_retryable(), "{error:?}");
}

#[tokio::test]
async fn a_connection_that_the_server_ended_is_replaced() {
    let database = postgres::database().await;
    let store = Store::open(&database.url, T0).await.unwrap();
    let end =
        "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'burnwatch' and datname = current_database()";
    let mut tx = store.write().await.unwrap();
    meta::set(&mut tx, "a", "1").await.unwrap();
    postgres::execute(&database.url, end).await;
    let error = meta::set(&mut tx, "b", "1").await.unwrap_err();
    assert!(matches!(error, StoreError::Unreachable { .. }) && error.is_retryable(), "{error:?}");
    assert!(error.to_string().contains("burnwatch_test_"), "{error}");
    drop(tx);
    let mut tx = store.write().await.unwrap();
    assert_eq!(meta::get(&mut tx, "a").await.unwrap(), None);
    meta::set(&mut tx, "a", "2").await.unwrap();
    // The answer to a commit that never comes leaves open whether it happened.
    postgres::execute(&database.url, end).await;
    let error = tx.commit().await.unwrap_err();
    assert!(matches!(error, StoreError::CommitUnknown(_) | StoreError::Unreachable { .. }), "{error:?}");
    store.ping().await.unwrap();
}

#[tokio::test]
async fn a_call_that_was_given_up_half_way_spoils_nothing() {
    let database = postgres::database().await;
    let folder = tempfile::tempdir().unwrap();
    for url in [database.url.clone(), sqlite_url(folder.path())] {
        let store = Store::open(&url, T0).await.unwrap();
        for _ in 0..30 {
            let mut tx = store.write().await.unwrap();
            let large = "x".repeat(200_000);
            let call = meta::set(&mut tx, "half", &large);
            let _ = tokio::time::timeout(std::time::Duration::from_micros(50), call).await;
        }
        let mut tx = store.write().await.unwrap();
        assert_eq!(meta::get(&mut tx, "half").await.unwrap(), None);
        meta::set(&mut tx, "whole", "1").await.unwrap();
        tx.commit().await.unwrap();
    }
}

#[tokio::test]
async fn urls_that_mean_nothing_are_a_configuration_error_without_secrets() {
    for url in ["", "burnwatch.db", "mysql://bw:hunter2@db/x", "sqlite::memory:", "postgres://bw:hunter2@[::bad"] {
        let error = Store::open(url, T0).await.expect_err("it cannot be opened");
        assert!(error.is_configuration(), "{url}: {error:?}");
        assert!(!format!("{error} {error:?}").contains("hunter2"));
    }
    let error = Store::open("postgres://bw:hunter2@127.0.0.1:1/x", T0).await.expect_err("nobody listens there");
    assert!(matches!(error, StoreError::Unreachable { .. }), "{error:?}");
    assert!(!format!("{error} {error:?}").contains("hunter2"));
}
