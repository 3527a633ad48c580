use super::*;
use crate::domain::alert::*;
use crate::domain::filter::Filter;
use crate::domain::fraction::Fraction;
use crate::domain::metric::Metric;
use crate::domain::rule::*;
use crate::domain::series::{Series, SeriesId};
use crate::domain::snapshot::*;

#[path = "evaluate/composite_tests.rs"]
mod composites;

const M: Span = Span::MINUTE;

fn tier(severity: Severity, long: &str, short: &str, factor: &str) -> Tier {
    Tier::new(severity, long.parse().unwrap(), short.parse().unwrap(), factor.parse().unwrap())
}

/// The workbook's four tiers.
fn tiers() -> Vec<Tier> {
    vec![
        tier(Severity::Page, "1h", "5m", "14.4"),
        tier(Severity::Page, "6h", "30m", "6"),
        tier(Severity::Ticket, "24h", "2h", "3"),
        tier(Severity::Ticket, "3d", "6h", "1"),
    ]
}

fn slo(tiers: Vec<Tier>) -> Slo {
    let filter = Filter([("app".into(), Match::Equal("shop".into()))].into());
    let sli = Sli::Good(Selector { metric: Metric::Request, filter });
    Slo { owner: "team".into(), service: "shop".into(), tiers, ..Slo::new("api", 1_000, sli) }
}

struct Bench {
    evaluator: Evaluator,
}

impl Bench {
    fn new(rules: RuleSet) -> Bench {
        let settings = Settings { bucket: M, delays: BTreeMap::new() };
        Bench { evaluator: Evaluator::new(Arc::new(rules), settings, Timestamp(0), Timestamp(0)) }
    }

    fn of(slo: Slo) -> Bench {
        Bench::new(RuleSet { slos: vec![slo], ..RuleSet::default() })
    }

    fn series(&mut self, id: u32, region: &str) {
        let dims = [("app", "shop"), ("region", region)].map(|(k, v)| (k.into(), v.into()));
        self.evaluator.add_series(SeriesId(id), &Series::new(Metric::Request, dims));
    }

    fn feed(&mut self, id: u32, minute: i64, raw: i64, bad: i64) {
        self.evaluator.add_with(SeriesId(id), minute, Counts::plain(raw, bad), true, |_| Counts::ZERO);
    }

    /// Closes one minute and gives the changes as text.
    fn minute(&mut self) -> Vec<String> {
        let events = self.evaluator.advance(true);
        events
            .into_iter()
            .filter_map(|event| {
                let at = event.at.0 / M.0;
                let alert = event.alert();
                Some(match event.change? {
                    AlertChange::Opened { severity } => format!("{at} {alert} opened {severity}"),
                    AlertChange::Raised { severity } => format!("{at} {alert} raised {severity}"),
                    AlertChange::Lowered { severity } => format!("{at} {alert} lowered {severity}"),
                    AlertChange::Unconfirmed => format!("{at} {alert} unconfirmed"),
                    AlertChange::Ended => format!("{at} {alert} ended"),
                })
            })
            .collect()
    }
}

/// Minutes from the fault's start to firing, minutes from its end to the tier's reset, and the share of the
/// budget that is spent at detection. The fault lasts `lasts` minutes after 40 healthy days.
fn detection(tier: Tier, bad_per_10_000: i64, lasts: i64) -> (Option<i64>, Option<i64>, f64) {
    let mut bench = Bench::of(slo(vec![tier]));
    bench.series(0, "de");
    let start = 31 * 1440;
    let (mut detected, mut reset, mut spent) = (None, None, 0.0);
    for minute in 0..start + lasts + 2000 {
        let bad = if (start..start + lasts).contains(&minute) { bad_per_10_000 } else { 0 };
        bench.feed(0, minute, 10_000, bad);
        if minute < start {
            bench.evaluator.replay(true);
            continue;
        }
        for change in bench.minute() {
            if change.ends_with("ended") {
                reset.get_or_insert(minute + 1 - (start + lasts));
            } else {
                detected.get_or_insert(minute + 1 - start);
                let budget = bench.evaluator.window("api", &Labels::new(), None).unwrap();
                spent = budget.bad as f64 / (budget.total as f64 * 0.001);
            }
        }
    }
    (detected, reset, spent * 100.0)
}

#[test]
fn the_workbooks_table_of_detection_reset_and_budget() {
    let fast = || tier(Severity::Page, "1h", "5m", "14.4");
    for (bad, lasts, detect, reset, spent) in [(10_000, 1, 1, 5, 2.31), (1_500, 6, 6, 5, 2.08), (200, 44, 44, 2, 2.04)] {
        let (detected, was_reset, was_spent) = detection(fast(), bad, lasts);
        assert_eq!((detected, was_reset), (Some(detect), Some(reset)), "{bad}");
        assert!((was_spent - spent).abs() < 0.006, "{was_spent} for {spent}");
    }
    assert_eq!(detection(fast(), 144, 3000).0, None, "1.44 % is exactly the limit");
    let (detected, reset, spent) = detection(tier(Severity::Page, "6h", "30m", "6"), 100, 217);
    assert_eq!((detected, reset), (Some(217), Some(12)));
    assert!((spent - 5.02).abs() < 0.006, "{spent}");
    let (detected, reset, spent) = detection(tier(Severity::Ticket, "24h", "2h", "3"), 10_000, 5);
    assert_eq!((detected, reset), (Some(5), Some(120)));
    assert!((spent - 11.57).abs() < 0.006, "{spent}");
    let (detected, reset, spent) = detection(tier(Severity::Ticket, "3d", "6h", "1"), 20, 2161);
    assert_eq!((detected, reset), (Some(2161), Some(180)));
    assert!((spent - 10.005).abs() < 0.006, "{spent}");
}

#[test]
fn one_alert_rises_and_falls_by_tier() {
    let mut bench = Bench::of(slo(tiers()));
    bench.series(0, "de");
    let mut log = Vec::new();
    for minute in 0..4500 {
        let bad = if (200..230).contains(&minute) { 300 } else { 0 };
        bench.feed(0, minute, 1000, bad);
        log.extend(bench.minute());
    }
    // 30 % bad for three minutes is 1.5 % of the hour; what is missing of the long windows counts as good.
    assert_eq!(log[0], "203 api opened page");
    assert!(log.iter().any(|line| line.ends_with("lowered ticket")), "{log:?}");
    // The 3-day tier stays as it is until nine tenths of its window are measured.
    assert_eq!(log.last().unwrap(), "3888 api ended", "{log:?}");
}

#[test]
fn a_gap_freezes_the_alert_and_a_healthy_return_resolves_it() {
    let mut bench = Bench::of(slo(vec![tier(Severity::Page, "1h", "5m", "14.4")]));
    bench.series(0, "de");
    let mut log = Vec::new();
    for minute in 0..300 {
        if !(110..140).contains(&minute) {
            bench.feed(0, minute, 100, if (100..110).contains(&minute) { 50 } else { 0 });
        }
        log.extend(bench.minute());
    }
    assert_eq!(log[0], "102 api opened page");
    // Until the hour is measured again the page is frozen, and after an hour of that it says so.
    assert_eq!((log.len(), log[1].as_str()), (3, "175 api unconfirmed"), "{log:?}");
    let ended: i64 = log[2].split(' ').next().unwrap().parse().unwrap();
    assert!(ended > 140, "nothing resolves while nothing is measured: {log:?}");
}

#[test]
fn every_group_has_its_own_alert_and_the_overall_row_stays_exact() {
    let mut by_region = slo(vec![tier(Severity::Page, "1h", "5m", "14.4")]);
    by_region.by = vec!["region".into()];
    let mut bench = Bench::of(by_region);
    bench.series(0, "de");
    bench.series(1, "us");
    let mut log = Vec::new();
    for minute in 0..100 {
        bench.feed(0, minute, 100, if minute == 80 { 100 } else { 0 });
        bench.feed(1, minute, 900, 0);
        log.extend(bench.minute());
    }
    assert_eq!(log[0], r#"81 api{region="de"} opened page"#);
    assert!(log.iter().all(|line| line.contains("de")));
    let total = bench.evaluator.window("api", &Labels::new(), None).unwrap();
    assert_eq!(total, Counts::plain(100 * 1000, 100));
    let us = bench.evaluator.window("api", &[("region".to_owned(), "us".to_owned())].into(), None).unwrap();
    assert_eq!(us, Counts::plain(100 * 900, 0));
}

#[test]
fn groups_beyond_the_limit_are_counted_and_stay_in_the_overall_row() {
    let mut bench = Bench::of(Slo { by: vec!["region".into()], ..slo(tiers()) });
    for id in 0..(GROUPS_MAX + 20) as u32 {
        bench.series(id, &format!("r{id}"));
        bench.feed(id, 0, 10, 1);
    }
    // Another series of a group that found no room is no other group.
    bench.series(9_000, &format!("r{}", GROUPS_MAX + 1));
    bench.feed(9_000, 0, 10, 1);
    bench.minute();
    let statuses = bench.evaluator.statuses();
    assert_eq!(statuses.len(), 1 + GROUPS_MAX);
    assert_eq!((statuses[0].total, statuses[0].groups_left_out), ((GROUPS_MAX * 10 + 210) as f64, 20));
    assert_eq!(statuses[1].groups_left_out, 0);
}

#[test]
fn excluded_time_leaves_windows_and_budget() {
    let mut rules = RuleSet { slos: vec![slo(vec![tier(Severity::Page, "1h", "5m", "14.4")])], ..RuleSet::default() };
    rules.maintenances.push(Maintenance {
        name: "work".into(),
        place: Default::default(),
        when: Filter([("service".into(), Match::Equal("shop".into()))].into()),
        times: MaintenanceTimes::Once { starts: Timestamp(100 * M.0), ends: Timestamp(110 * M.0) },
        budget: MaintenanceBudget::Exclude,
    });
    let mut bench = Bench::new(rules);
    bench.series(0, "de");
    for minute in 0..200 {
        bench.feed(0, minute, 100, if (100..110).contains(&minute) { 100 } else { 0 });
        assert_eq!(bench.minute(), [""; 0]);
    }
    assert_eq!(bench.evaluator.window("api", &Labels::new(), None).unwrap(), Counts::plain(19_000, 0));
}

#[test]
fn late_data_counts_from_the_next_evaluation_on() {
    let mut bench = Bench::of(slo(vec![tier(Severity::Page, "1h", "5m", "14.4")]));
    bench.series(0, "de");
    for minute in 0..60 {
        bench.feed(0, minute, 100, 0);
        bench.minute();
    }
    bench.feed(0, 58, 100, 100);
    bench.feed(0, 60, 100, 0);
    assert_eq!(bench.minute(), ["61 api opened page"]);
}

#[test]
fn in_a_ratio_good_may_exceed_total() {
    let mut funnel = slo(vec![tier(Severity::Page, "1h", "5m", "1")]);
    let step = |name: &str| Selector { metric: Metric::Step, filter: Filter([("step".into(), Match::Equal(name.into()))].into()) };
    funnel.sli = Sli::Ratio { good: step("paid"), total: step("cart") };
    let mut bench = Bench::of(funnel);
    for (id, name) in [(0, "cart"), (1, "paid")] {
        let dims = [("app", "shop"), ("step", name)].map(|(k, v)| (k.into(), v.into()));
        bench.evaluator.add_series(SeriesId(id), &Series::new(Metric::Step, dims));
    }
    for minute in 0..30 {
        bench.feed(0, minute, 100, 0);
        bench.feed(1, minute, if minute == 20 { 0 } else { 102 }, 0);
        let log = bench.minute();
        assert_eq!(log.is_empty(), minute != 20, "{minute} {log:?}");
        if minute == 20 {
            break;
        }
    }
}

#[test]
fn a_replay_of_a_stretch_equals_a_replay_of_each_bucket() {
    let mut rules = RuleSet { slos: vec![slo(tiers()), slo(tiers()), slo(tiers())], ..RuleSet::default() };
    rules.slos[1].name = "month".into();
    rules.slos[1].window = SloWindow::Calendar { period: crate::domain::rule::Period::Day, timezone: "Europe/Berlin".into() };
    rules.slos[2].name = "slices".into();
    let inner = Box::new(rules.slos[2].sli.clone());
    rules.slos[2].sli = Sli::Slices { inner, slice: Span::minutes(5), target_ppm: 990_000, empty: Default::default() };
    rules.maintenances.push(Maintenance {
        name: "work".into(),
        place: Default::default(),
        when: Filter([("service".into(), Match::Equal("shop".into()))].into()),
        times: MaintenanceTimes::Once { starts: Timestamp(5_000 * M.0), ends: Timestamp(5_100 * M.0) },
        budget: MaintenanceBudget::Exclude,
    });
    let (mut each, mut whole) = (Bench::new(rules.clone()), Bench::new(rules));
    each.series(0, "de");
    whole.series(0, "de");
    whole.evaluator.aim_at(Timestamp(6_000 * M.0));
    for hour in 0..100 {
        for minute in hour * 60..hour * 60 + 60 {
            let (raw, bad) = (100 + minute % 7, i64::from(minute % 50 == 0));
            each.feed(0, minute, raw, bad);
            each.evaluator.replay(minute % 90 != 0);
            whole.feed(0, minute, raw, bad);
        }
        whole.evaluator.replay_to(Timestamp((hour + 1) * 60 * M.0), |from| (from.0 / M.0) % 90 != 0);
    }
    whole.evaluator.end_of_replay();
    for minute in 6_000..6_200 {
        each.feed(0, minute, 100, 20);
        whole.feed(0, minute, 100, 20);
        assert_eq!(each.minute(), whole.minute());
        assert_eq!(each.evaluator.statuses(), whole.evaluator.statuses());
    }
}

/// An outage that is seen for ten minutes, and then nothing at all for `gap` minutes.
fn fault_and_silence(no_data: NoData, gap: i64) -> Vec<String> {
    let slow = tier(Severity::Ticket, "3d", "6h", "1");
    let mut bench = Bench::of(Slo { no_data, ..slo(vec![tier(Severity::Page, "1h", "5m", "14.4"), slow]) });
    bench.series(0, "de");
    let mut log = Vec::new();
    for minute in 0..5000 + gap + 100 {
        if !(5010..5010 + gap).contains(&minute) {
            bench.feed(0, minute, 100, if (5000..5010).contains(&minute) { 50 } else { 0 });
        }
        log.extend(bench.minute().into_iter().filter(|line| line.split(' ').next().unwrap().parse::<i64>().unwrap() > 5000));
    }
    log
}

#[test]
fn no_data_keeps_clears_or_opens_a_ticket_of_its_own() {
    // It keeps its state until at most six minutes of the hour are unmeasured, 54 minutes after the data is back.
    assert_eq!(fault_and_silence(NoData::Keep, 30)[..2], ["5002 api opened page", "5075 api unconfirmed"]);
    assert_eq!(fault_and_silence(NoData::Keep, 30)[2], "5094 api lowered ticket");
    // The page's windows are unknown from 5012 on, when the last bad minutes no longer pass by themselves.
    let log = fault_and_silence(NoData::Ok, 30);
    let lowered = log.iter().find(|line| line.contains("lowered")).unwrap();
    let at: i64 = lowered.split(' ').next().unwrap().parse().unwrap();
    assert!((5020..5030).contains(&at), "{log:?}");
    let log = fault_and_silence(NoData::Alert, 30);
    let of_data: Vec<&String> = log.iter().filter(|line| line.contains("no_data")).collect();
    assert_eq!(of_data.len(), 2, "{log:?}");
    assert!(of_data[0].ends_with(r#"api{kind="no_data"} opened ticket"#) && of_data[1].ends_with("ended"), "{log:?}");
    assert_eq!(fault_and_silence(NoData::Alert, 5).iter().filter(|line| line.contains("no_data")).count(), 0);
}

#[test]
fn an_slo_that_never_gets_data_opens_the_ticket_after_ten_minutes() {
    let mut bench = Bench::of(Slo { no_data: NoData::Alert, ..slo(tiers()) });
    let log: Vec<String> = (0..60).flat_map(|_| bench.minute()).collect();
    assert_eq!(log, [r#"11 api{kind="no_data"} opened ticket"#]);
    let stored = AlertState { incident: Some("i".into()), ..AlertState::new(1) };
    assert!(bench.evaluator.restore("api", r#"{kind="no_data"}"#, stored));
    assert_eq!(bench.evaluator.set_incident("api", r#"{kind="no_data"}"#, None).unwrap().tiers.len(), 1);
}

#[test]
fn a_page_that_is_frozen_for_an_hour_is_unconfirmed_once() {
    let log = fault_and_silence(NoData::Keep, 300);
    let unconfirmed: Vec<&String> = log.iter().filter(|line| line.contains("unconfirmed")).collect();
    assert_eq!(unconfirmed.len(), 1, "{log:?}");
    let at: i64 = unconfirmed[0].split(' ').next().unwrap().parse().unwrap();
    assert!((5070..5080).contains(&at), "{log:?}");
}
