use std::borrow::Cow;

use proptest::prelude::*;

use super::*;
use crate::domain::event::{Repeat, Source};
use crate::domain::keyed::KeyedHash;
use crate::domain::metric::Vital;
use crate::domain::redact::Redactor;
use crate::domain::series::OTHER;
use crate::domain::user_keys::UserKey;

const NOW: Timestamp = Timestamp(1_000_000_000_000);

fn settings(series_max: usize) -> Settings {
    let dimensions = ["app", "environment", "route", "region", "device", "browser", "os", "release", "cohort", "sdk"];
    Settings {
        bucket: Span::MINUTE,
        settle: Span::seconds(30),
        dimensions: dimensions.map(str::to_owned).to_vec(),
        series_max,
        remember: Span::days(8),
    }
}

fn lcp(value: f64) -> Event<'static> {
    Event {
        index: 0,
        metric: Metric::Vital(Vital::Lcp),
        at: NOW,
        weight: UNIT,
        bad: false,
        value: Some(value),
        user: None,
        repeat: None,
        route: Cow::Borrowed("/"),
        own: [Cow::Borrowed("hard"), Cow::Borrowed(""), Cow::Borrowed("")],
        trace: None,
    }
}

fn view(route: &str, bad: bool) -> Event<'static> {
    Event { metric: Metric::PageView, value: None, bad, route: Cow::Owned(route.to_owned()), ..lcp(0.0) }
}

fn batch<'a>(app: &'a str, region: &'a str, events: Vec<Event<'a>>) -> Batch<'a> {
    Batch { id: None, source: Source { app: app.into(), region: region.into(), ..Source::default() }, events }
}

fn limits(values: &[f64]) -> BTreeMap<Metric, Vec<Limit>> {
    let limits = values.iter().map(|value| Limit { value: *value, inclusive: true }).collect();
    BTreeMap::from([(Metric::Vital(Vital::Lcp), limits)])
}

/// All cells of all flushes added up, by series.
fn sums(drained: &[Drained]) -> BTreeMap<String, Cell> {
    let mut names = BTreeMap::new();
    let mut sums: BTreeMap<String, Cell> = BTreeMap::new();
    for drained in drained {
        names.extend(drained.new.iter().map(|(local, series)| (*local, series.to_string())));
        for (local, _, cell) in &drained.cells {
            sums.entry(names[local].clone()).or_default().merge(cell);
        }
    }
    sums
}

fn total(drained: &[Drained]) -> Counts {
    let mut counts = Counts::ZERO;
    drained.iter().flat_map(|drained| &drained.cells).for_each(|(_, _, cell)| counts += cell.counts);
    counts
}

#[test]
fn events_become_one_cell_a_series_and_bucket() {
    let mut aggregator = Aggregator::new(settings(1000));
    aggregator.set_rules(limits(&[2500.0]), &BTreeSet::new(), &BTreeMap::new());
    let earlier = Event { at: NOW - Span::MINUTE, user: Some(2), ..lcp(2500.0) };
    let weighted = Event { weight: 100 * UNIT, user: Some(1), ..lcp(3060.0) };
    aggregator.add(&batch("shop", "de", vec![lcp(536.0), weighted, earlier]), NOW).unwrap();
    let drained = aggregator.drain();
    assert_eq!(drained.new.len(), 1);
    assert_eq!(drained.new[0].1.dims_json(), r#"{"app":"shop","nav":"hard","region":"de","route":"/"}"#);
    let [(_, second, late), (_, first, early)] = &drained.cells[..] else { panic!("two buckets: {:?}", drained.cells) };
    assert_eq!((*first, *second), (NOW.millis() / 60_000 - 1, NOW.millis() / 60_000));
    assert_eq!((late.counts.total, late.counts.raw, late.sum), (101 * UNIT, 2, 536.0 + 306_000.0));
    assert_eq!(late.counts.sq, 10_001 * i128::from(UNIT));
    let against = late.against(Limit { value: 2500.0, inclusive: true });
    assert_eq!((against.bad, against.raw_bad), (100 * UNIT, 1));
    assert_eq!((early.over[0].over, early.users.estimate()), (0, 1));
    assert_eq!((drained.arrival.events, drained.arrival.late), (3, 1), "one came ten seconds after its bucket had closed");
    assert!(aggregator.drain().is_empty());
}

#[test]
fn a_vital_that_is_reported_again_is_corrected_where_it_was_counted() {
    let mut aggregator = Aggregator::new(settings(1000));
    aggregator.set_rules(limits(&[2500.0]), &BTreeSet::new(), &BTreeMap::new());
    let report = |value, ts| Event { repeat: Some(Repeat { key: 9, ts: Some(ts) }), ..lcp(value) };
    aggregator.add(&batch("shop", "de", vec![report(1000.0, 1)]), NOW).unwrap();
    let first = aggregator.drain();
    // Another rule set comes between the two reports.
    aggregator.set_rules(limits(&[2500.0, 4000.0]), &BTreeSet::new(), &BTreeMap::new());
    let later = Event { at: NOW + Span::hours(1), route: "/elsewhere".into(), ..report(3000.0, 3) };
    aggregator.add(&batch("shop", "fr", vec![later, report(2000.0, 2)]), NOW).unwrap();
    let second = aggregator.drain();
    assert_eq!(second.cells[0].1, first.cells[0].1, "the bucket of the first delivery");
    let sums = sums(&[first, second]);
    let cell = sums.values().next().unwrap();
    assert_eq!((sums.len(), cell.counts.raw, cell.valued.raw, cell.sum), (1, 1, 1, 3000.0));
    assert_eq!(cell.sketch.weight(), UNIT);
    for (limit, bad) in [(2500.0, UNIT), (4000.0, 0)] {
        let over = cell.over.iter().find(|over| over.limit.value == limit).unwrap();
        assert_eq!((over.tested, over.over, over.raw_over), (UNIT, bad, bad / UNIT), "{limit}");
    }
}

#[test]
fn a_session_that_crashed_stays_crashed_and_counts_once() {
    let report = |bad, ts| Event {
        metric: Metric::Session,
        value: None,
        bad,
        user: Some(5),
        repeat: Some(Repeat { key: 1, ts: Some(ts) }),
        own: Default::default(),
        ..lcp(0.0)
    };
    for reports in [[report(false, 1), report(true, 2), report(false, 3)], [report(true, 2), report(false, 3), report(false, 1)]] {
        let mut aggregator = Aggregator::new(settings(1000));
        let mut drained = Vec::new();
        for report in reports {
            aggregator.add(&batch("shop", "de", vec![report]), NOW).unwrap();
            drained.push(aggregator.drain());
        }
        assert_eq!(total(&drained), Counts::plain(1, 1));
        assert_eq!(sums(&drained).values().next().unwrap().bad_users.estimate(), 1);
    }
}

#[test]
fn fifty_thousand_routes_fold_but_what_rules_name_does_not() {
    let mut aggregator = Aggregator::new(settings(2_000));
    let named = BTreeMap::from([("route".to_owned(), BTreeSet::from(["/checkout".to_owned()]))]);
    aggregator.set_rules(BTreeMap::new(), &BTreeSet::from(["app".into(), "route".into()]), &named);
    let mut drained = Vec::new();
    for chunk in 0..50 {
        let mut events: Vec<_> = (0..1000).map(|n| view(&format!("/made-up-{chunk}-{n}"), n % 10 == 0)).collect();
        events.push(view("/checkout", true));
        for region in ["de", "fr"] {
            aggregator.add(&batch("shop", region, events.clone()), NOW).unwrap();
        }
        drained.push(aggregator.drain());
    }
    assert_eq!(total(&drained), Counts::plain(2 * 50_050, 2 * 5_050));
    let sums = sums(&drained);
    assert!(sums.len() <= 2_000, "{}", sums.len());
    let checkout: Vec<_> = sums.iter().filter(|(name, _)| name.contains("route=\"/checkout\"")).collect();
    let raw: i64 = checkout.iter().map(|(_, cell)| cell.counts.raw).sum();
    assert_eq!(raw, 100, "{checkout:?}");
    assert!(drained.iter().map(|drained| drained.arrival.folded).sum::<u64>() > 90_000);
    assert!(sums.keys().any(|name| name.contains(&format!("route={OTHER:?}"))));
    assert!(sums.keys().all(|name| name.contains(r#"app="shop""#)));
}

#[test]
fn the_last_dimension_that_no_rule_uses_folds_first() {
    let mut aggregator = Aggregator::new(settings(30));
    aggregator.set_rules(BTreeMap::new(), &BTreeSet::from(["region".to_owned()]), &BTreeMap::new());
    let mut drained = Vec::new();
    for n in 0..60 {
        let release = format!("r{n}");
        let mut batch = batch("shop", "de", vec![view("/", false)]);
        batch.source.release = release.as_str().into();
        aggregator.add(&batch, NOW).unwrap();
        drained.push(aggregator.drain());
    }
    let sums = sums(&drained);
    assert!(sums.len() <= 30);
    assert_eq!(total(&drained).raw, 60);
    let folded: Vec<_> = sums.keys().filter(|name| name.contains(OTHER)).collect();
    assert!(folded.iter().all(|name| name.contains(r#"region="de""#)), "{folded:?}");
}

#[test]
fn a_new_app_is_refused_only_when_there_are_far_too_many() {
    let mut aggregator = Aggregator::new(settings(100_000));
    aggregator.set_rules(BTreeMap::new(), &BTreeSet::new(), &BTreeMap::from([("app".into(), BTreeSet::from(["shop".into()]))]));
    let mut refused = 0;
    for n in 0..APPS_MAX + 10 {
        refused += usize::from(aggregator.add(&batch(&format!("app-{n}"), "", vec![view("/", false)]), NOW).is_err());
    }
    assert_eq!(refused, 10);
    assert!(aggregator.add(&batch("shop", "", vec![view("/", false)]), NOW).is_ok(), "rules name it");
}

#[test]
fn idle_series_make_room_and_their_numbers_are_announced_again() {
    let mut aggregator = Aggregator::new(settings(1000));
    aggregator.add(&batch("old", "de", vec![view("/", false)]), NOW).unwrap();
    aggregator.add(&batch("shop", "de", vec![view("/", false)]), NOW).unwrap();
    aggregator.drain();
    let tomorrow = NOW + Span::days(2);
    aggregator.add(&batch("shop", "de", vec![Event { at: tomorrow, ..view("/", false) }]), tomorrow).unwrap();
    aggregator.forget_idle(tomorrow - Span::DAY);
    assert_eq!(aggregator.series(LocalSeries(0)), None);
    assert_eq!(aggregator.series(LocalSeries(1)).unwrap().app(), "shop");
    aggregator.add(&batch("new", "fr", vec![Event { at: tomorrow, ..view("/", false) }]), tomorrow).unwrap();
    let drained = aggregator.drain();
    assert_eq!(drained.new.len(), 1);
    assert_eq!((drained.new[0].0, drained.new[0].1.app()), (LocalSeries(0), "new"));
    assert_eq!(drained.cells.len(), 2);
}

#[test]
fn what_was_seen_is_remembered_across_a_restart() {
    let mut before = Aggregator::new(settings(10));
    assert!(before.first_time(SeenKind::Body, 1, NOW) && before.first_time(SeenKind::Id, 1, NOW));
    assert!(!before.first_time(SeenKind::Body, 1, NOW));
    let mut after = Aggregator::new(settings(10));
    after.recall_seen(before.drain().seen);
    assert!(!after.first_time(SeenKind::Id, 1, NOW + Span::days(3)));
    assert!(after.first_time(SeenKind::Body, 1, NOW + Span::minutes(11)));
}

#[test]
fn an_update_after_a_restart_corrects_what_was_counted_before_it() {
    let report = |value, ts| Event { repeat: Some(Repeat { key: 9, ts: Some(ts) }), ..lcp(value) };
    let mut before = Aggregator::new(settings(1000));
    before.set_rules(limits(&[2500.0]), &BTreeSet::new(), &BTreeMap::new());
    before.add(&batch("shop", "de", vec![report(3000.0, 2)]), NOW).unwrap();
    let first = before.drain();
    assert_eq!(first.repeated.states.len(), 1);
    assert!(before.drain().is_empty(), "what did not change is not stored again");

    // Other rules are in force, and another series came first.
    let mut after = Aggregator::new(settings(1000));
    after.set_rules(limits(&[4000.0]), &BTreeSet::new(), &BTreeMap::new());
    after.add(&batch("other", "de", vec![view("/", false)]), NOW).unwrap();
    after.drain();
    let numbers = after.recall_series([&first.new[0].1], NOW);
    let stored = Repeated::unpack(&first.repeated.renamed(|_| Some(77)).pack());
    after.recall_repeated(stored.renamed(|id| (id == 77).then(|| numbers[0])));
    after.add(&batch("shop", "fr", vec![report(1000.0, 3), report(9000.0, 1)]), NOW + Span::MINUTE).unwrap();
    let second = after.drain();
    assert_eq!(second.repeated.states.len(), 1);
    let sums = sums(&[first, second]);
    let cell = sums.values().next().unwrap();
    assert_eq!((sums.len(), cell.counts.raw, cell.valued.raw, cell.sum), (1, 1, 1, 1000.0));
    assert_eq!(cell.sketch.weight(), UNIT);
    let over = |limit| cell.over.iter().find(|over| over.limit.value == limit).map(|over| (over.tested, over.over, over.raw_over));
    assert_eq!(over(2500.0).unwrap_or_default(), (0, 0, 0), "taken back from the limit of its time");
    assert_eq!(over(4000.0), Some((UNIT, 0, 0)));
}

#[test]
fn somebody_who_comes_before_and_after_a_change_of_keys_counts_once() {
    let edge = NOW.floor(Span::MINUTE);
    let key = |number, since| UserKey { number, since, hash: Some(KeyedHash::new([number as u8; 16])) };
    let mut aggregator = Aggregator::new(settings(1000));
    aggregator.set_user_keys(UserKeys::new(vec![key(0, edge - Span::DAY), key(1, edge)]));
    let came = |user, at| Event { user: Some(user), at, ..view("/", true) };
    // What comes late counts under the key of its time.
    let events = vec![came(1, edge), came(2, edge), came(3, edge - Span(1)), came(1, edge - Span(1)), came(2, edge - Span::HOUR)];
    aggregator.add(&batch("shop", "de", events), NOW).unwrap();
    let mut all = Cell::default();
    aggregator.drain().cells.iter().for_each(|(_, _, cell)| all.merge(cell));
    assert_eq!((all.counts.raw, all.users.estimate(), all.bad_users.estimate()), (5, 3, 3));
}

#[test]
fn rows_add_up_and_an_id_counts_once() {
    let mut aggregator = Aggregator::new(settings(1000));
    let reader = crate::domain::rows::Reader::new(Span::MINUTE, &settings(1).dimensions, KeyedHash::new([0; 16]), Redactor::default());
    let json = br#"{"bucket":999999960000,"metric":"request","dims":{"app":"shop","status":"5xx"},"total":10,"bad":1,"id":"a"}"#;
    let plain = br#"{"bucket":999999960000,"metric":"request","dims":{"status":"5xx","app":"shop"},"total":10,"bad":1}"#;
    let mut add = |json| aggregator.add_row(reader.row(json).unwrap(), NOW).unwrap();
    assert_eq!(
        (add(json), add(json), add(plain), add(plain)),
        (RowOutcome::Counted, RowOutcome::Duplicate, RowOutcome::Counted, RowOutcome::Counted)
    );
    let drained = aggregator.drain();
    assert_eq!((drained.cells.len(), drained.cells[0].2.counts), (1, Counts::plain(30, 3)));
    assert!(drained.cells[0].2.pushed);
}

fn any_event() -> impl Strategy<Value = Event<'static>> {
    (0_u64..40, 0_u32..5_000, 0_i64..3, 0_usize..60, any::<bool>(), 1_i64..4).prop_map(|(id, value, minute, route, bad, weight)| Event {
        at: NOW - Span::minutes(minute),
        weight: weight * 500_000,
        repeat: (id < 10).then_some(Repeat { key: id, ts: Some(i64::from(value)) }),
        user: Some(id),
        // A repeated thing weighs the same in every report.
        ..if id < 10 {
            Event { weight: UNIT, ..lcp(f64::from(value)) }
        } else if bad {
            view(&format!("/r{route}"), true)
        } else {
            lcp(f64::from(value))
        }
    })
}

proptest! {
    #[test]
    fn any_order_and_splitting_gives_equal_totals(
        events in prop::collection::vec(any_event(), 1..80),
        order in prop::collection::vec(any::<prop::sample::Index>(), 80),
        cuts in prop::collection::vec(any::<bool>(), 80),
        series_max in prop::sample::select(vec![8_usize, 1000]),
    ) {
        let events: Vec<Event<'_>> = events.into_iter().map(|event| if event.repeat.is_some() { Event { weight: UNIT, ..event } } else { event }).collect();
        let run = |events: &[Event<'static>], cuts: &[bool]| {
            let mut aggregator = Aggregator::new(settings(series_max));
            aggregator.set_rules(limits(&[2500.0]), &BTreeSet::new(), &BTreeMap::new());
            let mut drained = Vec::new();
            for (at, event) in events.iter().enumerate() {
                aggregator.add(&batch("shop", "de", vec![event.clone()]), NOW).unwrap();
                if cuts[at] {
                    drained.push(aggregator.drain());
                }
            }
            drained.push(aggregator.drain());
            let mut all = Cell::default();
            drained.iter().flat_map(|drained| &drained.cells).for_each(|(_, _, cell)| all.merge(cell));
            all
        };
        let mut shuffled = events.clone();
        for (at, other) in order.iter().enumerate().take(events.len()) {
            shuffled.swap(at, other.index(events.len()));
        }
        let (straight, mixed) = (run(&events, &[false; 80]), run(&shuffled, &cuts));
        prop_assert_eq!(straight.counts, mixed.counts);
        prop_assert_eq!(straight.valued, mixed.valued);
        prop_assert_eq!(straight.bad_sq, mixed.bad_sq);
        prop_assert_eq!(&straight.over, &mixed.over);
        prop_assert_eq!(&straight.sketch, &mixed.sketch);
        prop_assert!((straight.sum - mixed.sum).abs() < 1e-6);
        prop_assert_eq!(straight.bad_users.estimate(), mixed.bad_users.estimate());
    }
}

/// Total by route, of all flushes.
fn by_route(drained: &[Drained]) -> BTreeMap<String, i64> {
    let mut names = BTreeMap::new();
    let mut totals = BTreeMap::new();
    for drained in drained {
        names.extend(drained.new.iter().map(|(local, series)| (*local, series.get("route").to_owned())));
        for (local, _, cell) in &drained.cells {
            *totals.entry(names[local].clone()).or_insert(0) += cell.counts.raw;
        }
    }
    totals
}

fn word(n: usize) -> String {
    ["red", "blue", "green", "grey"][n / 4 % 4].to_owned() + ["-shoe", "-hat", "-coat", "-sock"][n % 4]
}

#[test]
fn a_place_with_many_values_becomes_one_route_and_totals_stay_exact() {
    let mut aggregator = Aggregator::new(settings(2_000)).learning(5, &["/product/gift-card".to_owned()]);
    let named = BTreeMap::from([("route".to_owned(), BTreeSet::from(["/product/blue-hat".to_owned()]))]);
    aggregator.set_rules(BTreeMap::new(), &BTreeSet::new(), &named);
    aggregator.set_route_patterns(&[Match::parse("/product/green*").unwrap()]);
    let mut drained = Vec::new();
    for _ in 0..2 {
        for n in 0..16 {
            let events = vec![view(&format!("/product/{}", word(n)), false), view("/product/gift-card", false), view("/checkout", false)];
            aggregator.add(&batch("shop", "de", events), NOW).unwrap();
        }
        drained.push(aggregator.drain());
    }
    let learnt: Vec<_> = drained.iter().flat_map(|drained| drained.learnt.clone()).collect();
    assert_eq!(learnt, [Learnt { app: "shop".into(), prefix: "/product".into(), kept: vec![] }]);
    assert_eq!(total(&drained), Counts::plain(2 * 48, 0));
    let routes = by_route(&drained);
    let told_apart = ["/product/blue-hat", "/product/green-shoe", "/product/green-hat", "/product/green-coat", "/product/green-sock"];
    assert!(told_apart.iter().all(|route| routes[*route] == 2), "{routes:?}");
    // What came before the place was learnt stays where it was counted.
    let before: i64 =
        routes.iter().filter(|(route, _)| route.contains("/product/red-") || route.contains("/product/blue-s")).map(|(_, n)| n).sum();
    assert_eq!((routes["/product/:slug"] + before, routes["/product/gift-card"], routes["/checkout"]), (2 * 11, 32, 32), "{routes:?}");
    assert!(before <= 5, "{routes:?}");

    // A restart changes nothing, and neither does another process that reads what this one has stored.
    let mut after = Aggregator::new(settings(2_000)).learning(5, &[]);
    after.recall_learnt(learnt);
    let series: Vec<Series> = drained.iter().flat_map(|drained| drained.new.iter().map(|(_, series)| series.clone())).collect();
    after.recall_series(&series, NOW);
    after.recall_routes(&series);
    after.add(&batch("shop", "de", vec![view("/product/red-shoe", false), view("/product/never-seen", false)]), NOW).unwrap();
    assert_eq!(by_route(&[after.drain()]), BTreeMap::from([("/product/:slug".to_owned(), 2)]));

    // A process that has learnt nothing yet hears of it while it runs.
    let mut other = Aggregator::new(settings(2_000)).learning(5, &[]);
    other.add(&batch("shop", "de", vec![view("/product/red-shoe", false)]), NOW).unwrap();
    other.drain();
    other.recall_learnt([Learnt { app: "shop".into(), prefix: "/product".into(), kept: vec!["red-shoe".into()] }]);
    other.add(&batch("shop", "de", vec![view("/product/red-shoe", false), view("/product/red-hat", false)]), NOW).unwrap();
    let mut routes: Vec<String> = Vec::new();
    for (local, _, cell) in &other.drain().cells {
        routes.push(format!("{} {}", other.series(*local).unwrap().get("route"), cell.counts.raw));
    }
    assert_eq!(routes, ["/product/red-shoe 1", "/product/:slug 1"]);
}

#[test]
fn made_up_routes_take_no_name_from_those_that_were_there() {
    let mut aggregator = Aggregator::new(settings(5_000)).learning(20, &[]);
    let old: Vec<_> = ["/api/cart", "/api/items", "/api/login"].map(|route| view(route, false)).into();
    aggregator.add(&batch("shop", "de", old.clone()), NOW).unwrap();
    let later = NOW + Span::days(2);
    for n in 0..3_000 {
        aggregator
            .add(&batch("shop", "de", vec![view(&format!("/api/x{}", ["a", "b", "c"][n % 3].repeat(n / 3 + 1)), true)]), later)
            .unwrap();
    }
    aggregator.drain();
    aggregator.add(&batch("shop", "de", old), later).unwrap();
    let drained = aggregator.drain();
    let routes: BTreeSet<String> =
        drained.cells.iter().map(|(local, _, _)| aggregator.series(*local).unwrap().get("route").to_owned()).collect();
    assert_eq!(routes, ["/api/cart", "/api/items", "/api/login"].map(str::to_owned).into());
    assert!(drained.series < 40, "{}", drained.series);
}

#[test]
fn a_learnt_place_outlives_the_series_that_are_forgotten() {
    let mut aggregator = Aggregator::new(settings(2_000)).learning(5, &[]);
    for n in 0..16 {
        aggregator.add(&batch("shop", "de", vec![view(&format!("/product/{}", word(n)), false)]), NOW).unwrap();
    }
    aggregator.drain();
    let later = NOW + Span::days(9);
    aggregator.forget_idle(later);
    aggregator.add(&batch("shop", "de", vec![view("/product/red-shoe", false)]), later).unwrap();
    assert_eq!(by_route(&[aggregator.drain()]), BTreeMap::from([("/product/:slug".to_owned(), 1)]));
}
