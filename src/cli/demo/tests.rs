//! What the story rests on: rules without a fault, a past that today can be compared with, and a fault that data can find.

use std::collections::{BTreeMap, BTreeSet};

use super::shop::{Crowd, Rollout};
use super::world::{self, MACHINES, REGIONS, STABLE};
use super::*;
use crate::domain::aggregate::{self, Aggregator, LocalSeries};
use crate::domain::cell::{Cell, Counts};
use crate::domain::explain;
use crate::domain::metric::Metric;
use crate::domain::notification::{Values, Verdict};
use crate::domain::series::Series;
use crate::domain::time::Timestamp;
use crate::intake::{self, enrich::Enrichment, rum};
use crate::rules;

const NOW: Timestamp = Timestamp(1_795_000_000_000);

fn configured() -> Config {
    let at = SocketAddr::from((Ipv4Addr::LOCALHOST, 9));
    config(Path::new("/nowhere"), at, at, at)
}

/// What the aggregator makes of `seconds` of the shop, by series.
fn counted(seconds: i64, rollout: Option<&Rollout>) -> BTreeMap<String, (Series, Cell)> {
    let config = configured();
    let settings = intake::Settings::new(&config, crate::domain::keyed::KeyedHash::new([1; 16]));
    let mut aggregator = Aggregator::new(aggregate::Settings {
        bucket: BUCKET,
        settle: SETTLE,
        dimensions: config.aggregation.dimensions.clone(),
        series_max: config.aggregation.series_max,
        remember: config.retention.bucket,
    });
    let mut crowd = Crowd::new(11);
    for second in 0..seconds {
        let now = NOW + Span::seconds(second);
        for _ in 0..20 {
            let beacon = crowd.load(rollout, now);
            let mut headers = http::HeaderMap::new();
            headers.insert("user-agent", beacon.machine.user_agent.parse().unwrap());
            headers.insert("cf-ipcountry", beacon.region.country.to_ascii_uppercase().parse().unwrap());
            let (body, from) = (beacon.body.to_string(), Enrichment::of(&headers));
            let decoded = rum::decode(body.as_bytes(), &settings, &from, now).unwrap();
            assert!(decoded.rejected.is_empty(), "{:?}", decoded.rejected);
            assert!(decoded.redacted.is_empty(), "{body}");
            decoded.batches.iter().for_each(|batch| aggregator.add(batch, now).unwrap());
        }
    }
    let drained = aggregator.drain();
    let names: BTreeMap<LocalSeries, Series> = drained.new.into_iter().collect();
    let mut all: BTreeMap<String, (Series, Cell)> = BTreeMap::new();
    for (local, _, cell) in &drained.cells {
        let series = &names[local];
        all.entry(series.to_string()).or_insert_with(|| (series.clone(), Cell::default())).1.merge(cell);
    }
    all
}

#[test]
fn the_rules_have_no_fault() {
    let config = configured();
    let has_secret = |name: &str| config.secrets.lookup(name).is_ok();
    let env = rules::Env {
        bucket: BUCKET,
        dimensions: &config.aggregation.dimensions,
        retention: config.retention.rollup_1h,
        has_secret: &has_secret,
    };
    let loaded = rules::load(&rules(SocketAddr::from((Ipv4Addr::LOCALHOST, 9320))), &env);
    assert!(loaded.problems.is_empty(), "{}", rules::report(&loaded.problems));
    let set = loaded.set.unwrap();
    assert_eq!((set.slos.len(), set.alerts.len(), set.receivers.len()), (4, 1, 3));
    let limits = set.limits();
    assert_eq!(limits.values().flatten().collect::<Vec<_>>(), [&history::LCP_LIMIT], "history counts what the rules name");
}

#[test]
fn the_users_of_today_have_the_series_of_history() {
    let mut known = BTreeSet::new();
    let flows = world::flows(world::CHECKOUT_FAILS);
    for flow in &flows {
        for region in &REGIONS {
            known.extend(MACHINES.iter().map(|machine| flow.series(region, machine, STABLE).to_string()));
        }
    }
    let today = counted(600, None);
    let unknown: Vec<&String> = today.keys().filter(|series| !known.contains(*series)).collect();
    assert!(unknown.is_empty(), "{unknown:#?}");
    // And about as many events of each kind.
    for flow in &flows {
        let of_flow = |series: &&(Series, Cell)| {
            let own = flow.own.iter().all(|(name, value)| series.0.get(name) == value);
            series.0.metric == flow.metric && series.0.get("route") == flow.route && own
        };
        let seen: i64 = today.values().filter(of_flow).map(|(_, cell)| cell.counts.raw).sum();
        let expected = flow.per_load * 12_000.0;
        assert!((seen as f64 - expected).abs() < 4.5 * expected.sqrt() + 3.0, "{flow:?}: {seen}, expected {expected}");
    }
}

#[test]
fn release_and_region_are_found_in_the_data() {
    let rollout = Rollout { release: "2.3.1".into(), share: 0.7, breaks_in: "de" };
    let window = counted(60, Some(&rollout));
    let is_checkout = |series: &Series| series.metric == Metric::Request && series.get("route") == "/api/checkout";
    // One row for each series without its status: a status is what happened, not whom it happened to.
    let mut rows: BTreeMap<Vec<(String, String)>, (Counts, u64, Counts)> = BTreeMap::new();
    let dims = |series: &Series| {
        series.dims().filter(|(name, _)| *name != "status").map(|(name, value)| (name.to_owned(), value.to_owned())).collect::<Vec<_>>()
    };
    for (series, cell) in window.values().filter(|(series, _)| is_checkout(series)) {
        let row = rows.entry(dims(series)).or_default();
        row.0 += cell.counts;
        row.1 += cell.bad_users.estimate();
    }
    for flow in world::flows(world::CHECKOUT_FAILS) {
        for region in &REGIONS {
            for machine in &MACHINES {
                let series = flow.series(region, machine, STABLE);
                if is_checkout(&series) {
                    let day = (20.0 * 86_400.0 * flow.per_load * region.share * machine.share) as i64;
                    let bad = if flow.bad == world::Bad::All { day } else { 0 };
                    rows.entry(dims(&series)).or_default().2 += Counts::plain(day, bad);
                }
            }
        }
    }
    let weight = |millionths: i64| millionths as f64 / 1e6;
    let rows: Vec<explain::Row<'_>> = rows
        .iter()
        .map(|(dims, (window, bad_users, before))| explain::Row {
            dims: dims.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect(),
            n: weight(window.total),
            b: weight(window.bad),
            raw: window.raw as u64,
            raw_bad: window.raw_bad as u64,
            bad_users: *bad_users,
            baseline_n: weight(before.total),
            baseline_b: weight(before.bad),
        })
        .collect();
    let found = explain::explain(&explain::Input { app: world::APP, rows: &rows, changes: &[], window_start: NOW });
    assert_eq!(found.verdict, Verdict::Segment, "{}", found.reason);
    let expected = [("region", "de"), ("release", "2.3.1")].map(|(name, value)| (name.to_owned(), Values::One(value.to_owned())));
    assert_eq!(found.found[0].suspect.terms, BTreeMap::from(expected));
    assert_eq!(found.signature(), "release:shop/2.3.1");
}

#[test]
fn a_taken_port_is_passed_by_unless_it_was_asked_for() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().min(u16::MAX - 3 * PORTS);
    let _also = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port));
    assert!(ports(Some(port)).is_err());
    let (admin, intake) = ports(None).unwrap();
    assert!(admin.port() >= PORT && intake.port() > admin.port());
    assert!(ports(Some(0)).is_err());
}

#[test]
fn the_folder_goes_with_the_demo() {
    let folder = Folder::new(false).unwrap();
    let path = folder.path.clone();
    std::fs::write(path.join("x"), "x").unwrap();
    drop(folder);
    assert!(!path.exists());
}
