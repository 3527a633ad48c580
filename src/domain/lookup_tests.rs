use super::*;
use crate::domain::archive::MemoryArchive;
use crate::domain::cell::UNIT;
use crate::domain::notification::{Change, ChangeKind};
use crate::domain::series::Series;

const WEEK: i64 = 7 * 1440;

struct NoBudgets;
impl Budgets for NoBudgets {
    fn window(&self, _: &str, _: &Labels, _: Option<Span>) -> Option<Counts> {
        None
    }

    fn combined_burn(&self, _: &str, _: &Labels, _: Option<Span>) -> Option<f64> {
        None
    }

    fn combined_spent(&self, _: &str, _: &Labels, _: Span) -> Option<f64> {
        None
    }
}

fn minute(minute: i64) -> Timestamp {
    Timestamp(minute * 60_000)
}

fn step(app: &str, name: &str) -> Series {
    Series::new(Metric::Step, [("app", app), ("step", name)].map(|(k, v)| (k.into(), v.into())))
}

fn filter(pairs: &[(&str, &str)]) -> Filter {
    Filter(pairs.iter().map(|(k, v)| ((*k).into(), Match::parse(v).unwrap())).collect())
}

fn cell(raw: i64, bad: i64) -> Cell {
    let mut cell = Cell { counts: Counts::plain(raw, bad), bad_sq: i128::from(bad * UNIT), pushed: true, ..Cell::default() };
    (0..raw).for_each(|user| cell.users.add(user as u64));
    (0..bad).for_each(|user| cell.bad_users.add(user as u64));
    cell
}

fn lookup(archive: MemoryArchive, now: i64, left_out: Vec<LeftOut>) -> Lookup {
    let rules = Arc::new(RuleSet::default());
    Lookup {
        archive: Arc::new(archive),
        budgets: Arc::new(NoBudgets),
        rules,
        now: minute(now),
        bucket: Span::MINUTE,
        left_out: left_out.into(),
    }
}

fn archive(cells: &[(&Series, i64, Cell)]) -> MemoryArchive {
    let mut archive = MemoryArchive::new(Span::MINUTE);
    for (series, at, cell) in cells {
        let id = archive.intern(series);
        archive.add(id, *at, cell);
    }
    archive.seal();
    archive
}

/// One minute of paid orders at the same time of each week before week 5, and one now.
fn weeks(totals: [i64; 5]) -> MemoryArchive {
    let paid = step("shop", "paid");
    let cells: Vec<_> = totals.iter().enumerate().map(|(week, raw)| (&paid, (week as i64 + 1) * WEEK - 1, cell(*raw, 0))).collect();
    archive(&cells)
}

#[test]
fn a_window_holds_the_slices_before_now_and_zero_differs_from_unknown() {
    let (paid, cart) = (step("shop", "paid"), step("shop", "cart"));
    let lookup = lookup(archive(&[(&paid, 9, cell(5, 1)), (&paid, 10, cell(100, 0)), (&cart, 8, cell(7, 0))]), 10, vec![]);
    let count = |pairs: &[(&str, &str)], window: i64| lookup.count(&Metric::Step, &filter(pairs), Span::minutes(window));
    assert_eq!(count(&[("step", "paid")], 1), Ok(Counted { total: 5.0, bad: 1.0, raw: 5.0 }));
    assert_eq!(count(&[], 5), Ok(Counted { total: 12.0, bad: 1.0, raw: 12.0 }));
    // Others of the app came: that there is no such step is a measured zero.
    assert_eq!(count(&[("app", "shop"), ("step", "refund")], 5), Ok(Counted::default()));
    assert!(matches!(count(&[("app", "blog")], 5), Err(Unanswered::NoData(_))));
    assert!(matches!(count(&[("step", "cart")], 1).map(|counted| counted.total), Ok(0.0)));
    assert_eq!(lookup.users(&Metric::Step, &filter(&[]), Span::minutes(5)), Ok(7.0));
    assert_eq!(lookup.bad_users(&Metric::Step, &filter(&[]), Span::minutes(5)), Ok(1.0));
    assert!(matches!(lookup.quantile(&Metric::Step, 0.5, &filter(&[]), Span::minutes(5)), Err(Unanswered::NoData(_))));
}

#[test]
fn a_baseline_is_median_and_mad_of_the_same_time_of_four_weeks() {
    let lookup = lookup(weeks([100, 140, 120, 110, 60]), 5 * WEEK, vec![]);
    let usual = lookup.baseline(&Metric::Step, &filter(&[("app", "shop")]), Span::MINUTE).unwrap();
    // Past 100, 110, 120, 140: median 115, deviations 15, 5, 5, 25: MAD 10.
    assert_eq!((usual.median, usual.mad), (115.0, 10.0));
    assert!((usual.z - (60.0 - 115.0) / 14.826).abs() < 1e-12);
}

#[test]
fn the_scale_of_a_baseline_has_two_floors() {
    let z = |totals| lookup(weeks(totals), 5 * WEEK, vec![]).baseline(&Metric::Step, &filter(&[]), Span::MINUTE).unwrap().z;
    assert_eq!(z([1000, 1000, 1000, 1000, 900]), -2.0);
    assert_eq!(z([10, 10, 10, 10, 7]), -3.0);
}

#[test]
fn fewer_than_three_past_values_are_unknown_and_incidents_are_left_out() {
    let out = |weeks: &[i64]| {
        weeks
            .iter()
            .map(|week| LeftOut { app: Some("shop".into()), from: minute(week * WEEK - 100), to: minute(week * WEEK) })
            .collect::<Vec<_>>()
    };
    let ask = |left_out| {
        lookup(weeks([100, 900, 120, 110, 60]), 5 * WEEK, left_out).baseline(&Metric::Step, &filter(&[("app", "shop")]), Span::MINUTE)
    };
    assert_eq!(ask(out(&[2])).unwrap().median, 110.0);
    assert!(matches!(ask(out(&[2, 3])), Err(Unanswered::NoData(_))));
    let of_another_app = LeftOut { app: Some("blog".into()), from: minute(0), to: minute(5 * WEEK) };
    assert!(ask(vec![of_another_app]).is_ok());
    // A past window of which only a part was measured would look like little traffic.
    let lookup = lookup(weeks([100, 100, 100, 100, 100]), 5 * WEEK, vec![]);
    assert!(lookup.baseline(&Metric::Step, &filter(&[]), Span::minutes(10)).is_err());
}

#[test]
fn the_top_values_come_with_their_share() {
    let steps = ["a", "b", "c"].map(|name| step("shop", name));
    let lookup = lookup(archive(&[(&steps[0], 1, cell(2, 0)), (&steps[1], 1, cell(6, 1)), (&steps[2], 1, cell(2, 0))]), 2, vec![]);
    let top = lookup.top(&Metric::Step, "step", &filter(&[]), Span::minutes(2)).unwrap();
    let shown: Vec<_> = top.iter().map(|top| (top.value.as_str(), top.counted.total, top.share)).collect();
    assert_eq!(shown, [("b", 6.0, 0.6), ("a", 2.0, 0.2), ("c", 2.0, 0.2)]);
}

#[test]
fn changes_are_newest_first() {
    let mut archive = archive(&[]);
    for (at, kind, release) in
        [(1, ChangeKind::Deploy, "1"), (3, ChangeKind::Flag, ""), (2, ChangeKind::Deploy, "2"), (10, ChangeKind::Deploy, "3")]
    {
        let release = (!release.is_empty()).then(|| release.to_owned());
        archive.add_change(Change { id: String::new(), kind, at: minute(at), app: "shop".into(), release, text: None, url: None });
    }
    let lookup = lookup(archive, 10, vec![]);
    let found = lookup.changes(&filter(&[("kind", "deploy"), ("app", "shop")]), Span::minutes(9)).unwrap();
    let shown: Vec<_> = found.iter().map(|change| (change.release.as_str(), change.age)).collect();
    assert_eq!(shown, [("2", Span::minutes(8)), ("1", Span::minutes(9))]);
    assert_eq!(lookup.changes(&filter(&[("release", "7")]), Span::minutes(9)), Ok(vec![]));
}
