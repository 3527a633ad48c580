//! What rules are told of budgets: consumed, dropped within a window, running out (SEMANTICS 12), from the windows of an evaluator.

use super::*;
use crate::domain::archive::MemoryArchive;
use crate::domain::evaluate::Settings;
use crate::domain::rule::{Combine, EmptySlice, Maintenance, MaintenanceTimes, Period, Selector};
use crate::domain::series::{Series, SeriesId};

const M: Span = Span::MINUTE;

fn good(app: &str) -> Sli {
    Sli::Good(Selector { metric: Metric::Request, filter: Filter([("app".into(), Match::Equal(app.into()))].into()) })
}

fn slo(name: &str, budget_ppm: u32, sli: Sli) -> Slo {
    Slo { window: SloWindow::Rolling(Span::DAY), service: "shop".into(), ..Slo::new(name, budget_ppm, sli) }
}

/// A rule set whose rules ask each SLO for five minutes.
fn rules(slos: Vec<Slo>) -> RuleSet {
    let asked_windows = slos.iter().map(|slo| (slo.name.clone(), [Span::minutes(5)].into())).collect();
    RuleSet { slos, asked_windows, ..RuleSet::default() }
}

/// An evaluator from `start` on, fed each minute with total and bad of app and region, and asked at the end.
fn after(rules: RuleSet, start: Timestamp, minutes: i64, traffic: impl Fn(i64) -> Vec<(&'static str, &'static str, i64, i64)>) -> Lookup {
    let rules = Arc::new(rules);
    let settings = Settings { bucket: M, delays: BTreeMap::new() };
    let mut evaluator = Evaluator::new(rules.clone(), settings, start, start);
    for minute in 0..minutes {
        for (app, region, total, bad) in traffic(minute) {
            let dims = [("app", app), ("region", region)].map(|(name, value)| (name.into(), value.into()));
            let id = SeriesId(u32::from(app == "blog") * 2 + u32::from(region == "us"));
            evaluator.add_series(id, &Series::new(Metric::Request, dims));
            evaluator.add_with(id, start.0 / M.0 + minute, Counts::plain(total, bad), true, |_| Counts::ZERO);
        }
        evaluator.advance(true);
    }
    let now = evaluator.evaluated_to();
    let archive = Arc::new(MemoryArchive::new(M));
    Lookup { archive, budgets: Arc::new(RwLock::new(evaluator)), rules, now, bucket: M, left_out: Arc::new([]) }
}

fn consumed(lookup: &Lookup, slo: &str, window: Option<i64>) -> Answer<f64> {
    lookup.consumed(slo, &Labels::new(), window.map(Span::minutes))
}

fn runs_out(lookup: &Lookup, slo: &str, within: Span, window: Option<i64>) -> Answer<bool> {
    lookup.exhausted_within(slo, &Labels::new(), within, window.map(Span::minutes))
}

/// Ten requests a minute; in the last ten of 1200 minutes six of them fail: 60 of the 120 that may.
fn half_gone(minute: i64) -> Vec<(&'static str, &'static str, i64, i64)> {
    vec![("shop", "de", 10, if minute >= 1190 { 6 } else { 0 })]
}

#[test]
fn half_of_a_budget_a_quarter_of_it_within_five_minutes_and_twelve_minutes_more() {
    let lookup = after(rules(vec![slo("api", 10_000, good("shop"))]), Timestamp(0), 1_200, half_gone);
    assert_eq!(consumed(&lookup, "api", None), Ok(0.5));
    assert_eq!(consumed(&lookup, "api", Some(5)), Ok(0.25));
    // The SLO's own window is its window.
    assert_eq!(consumed(&lookup, "api", Some(1_440)), Ok(0.5));
    // At the 60x of the last five minutes half of a day's budget lasts twelve minutes; at the 0.5x of the day a day.
    assert_eq!(runs_out(&lookup, "api", Span::minutes(12), Some(5)), Ok(true));
    assert_eq!(runs_out(&lookup, "api", Span::minutes(12) - Span(1), Some(5)), Ok(false));
    assert_eq!(runs_out(&lookup, "api", Span::DAY, None), Ok(true));
    assert_eq!(runs_out(&lookup, "api", Span::DAY - Span(1), None), Ok(false));
    assert!(matches!(consumed(&lookup, "api", Some(7)), Err(Unanswered::Failed(why)) if why.contains("not kept")));
    let silent = after(rules(vec![slo("api", 10_000, good("shop"))]), Timestamp(0), 10, |_| Vec::new());
    assert!(matches!(consumed(&silent, "api", None), Err(Unanswered::NoData(_))));
    assert!(matches!(runs_out(&silent, "api", Span::DAY, Some(5)), Err(Unanswered::NoData(_))));
}

#[test]
fn a_group_has_a_budget_of_its_own() {
    let by_region = Slo { by: vec!["region".into()], ..slo("api", 10_000, good("shop")) };
    let lookup = after(rules(vec![by_region]), Timestamp(0), 1_200, |minute| {
        let us = ("shop", "us", 30, 0);
        half_gone(minute).into_iter().chain([us]).collect()
    });
    let group = |region: &str| Labels::from([("region".to_owned(), region.to_owned())]);
    assert_eq!(lookup.consumed("api", &group("de"), None), Ok(0.5));
    assert_eq!(lookup.consumed("api", &group("us"), None), Ok(0.0));
    assert_eq!(lookup.consumed("api", &Labels::new(), None), Ok(0.125));
    assert_eq!(lookup.exhausted_within("api", &group("us"), Span::days(365), None), Ok(false));
    assert!(matches!(lookup.consumed("api", &group("fr"), Some(Span::minutes(5))), Err(Unanswered::NoData(_))));
}

#[test]
fn a_calendar_budget_knows_nothing_of_the_period_before() {
    let month = SloWindow::Calendar { period: Period::Month, timezone: "UTC".into() };
    let calendar = || rules(vec![Slo { window: month.clone(), ..slo("api", 10_000, good("shop")) }]);
    let start: Timestamp = "2026-01-31T23:50:00Z".parse().unwrap();
    // One of ten fails all the time; three minutes into February the five minutes before reach into January.
    let traffic = |_| vec![("shop", "de", 10, 1)];
    let lookup = after(calendar(), start, 13, traffic);
    assert_eq!(consumed(&lookup, "api", None), Ok(10.0));
    assert_eq!(consumed(&lookup, "api", Some(5)), Ok(10.0), "three minutes of three, not five of three");
    let later = after(calendar(), start, 20, traffic);
    assert_eq!(consumed(&later, "api", Some(5)), Ok(5.0), "five minutes of ten");
}

#[test]
fn excluded_time_spends_nothing_of_a_budget() {
    let maintenance = Maintenance {
        name: "release".into(),
        place: Default::default(),
        when: Default::default(),
        times: MaintenanceTimes::Once { starts: Timestamp(1_197 * M.0), ends: Timestamp(1_200 * M.0) },
        budget: MaintenanceBudget::Exclude,
    };
    let set = RuleSet { maintenances: vec![maintenance], ..rules(vec![slo("api", 10_000, good("shop"))]) };
    let lookup = after(set, Timestamp(0), 1_200, half_gone);
    // Seven minutes of the ten count, two of the last five.
    assert_eq!(consumed(&lookup, "api", None), Ok(420.0 / 1_197.0));
    assert_eq!(consumed(&lookup, "api", Some(5)), Ok(120.0 / 1_197.0));
}

#[test]
fn slices_and_composites_are_told_as_their_budgets_count() {
    let inner = Box::new(good("shop"));
    let sliced = Sli::Slices { inner, slice: M, target_ppm: 500_000, empty: EmptySlice::Skip };
    let composite = |how| Sli::Composite { members: vec!["api".into(), "blog".into()], how };
    let mean = Combine::Weighted(vec!["1".parse().unwrap(), "3".parse().unwrap()]);
    let slos = vec![
        slo("worst", 10_000, composite(Combine::Worst)),
        slo("mean", 10_000, composite(mean)),
        slo("sliced", 10_000, sliced),
        slo("api", 10_000, good("shop")),
        slo("blog", 10_000, good("blog")),
    ];
    // The blog has spent a twelfth of its budget, all of it in the last five minutes.
    let lookup = after(rules(slos), Timestamp(0), 1_200, |minute| {
        let blog = ("blog", "de", 100, if minute == 1_196 { 100 } else { 0 });
        half_gone(minute).into_iter().chain([blog]).collect()
    });
    // Ten bad minutes of the twelve that may be bad.
    assert_eq!(consumed(&lookup, "sliced", None), Ok(10.0 / 12.0));
    assert_eq!(consumed(&lookup, "sliced", Some(5)), Ok(5.0 / 12.0));
    let close = |answer: Answer<f64>, value: f64| assert!((answer.clone().unwrap() - value).abs() < 1e-12, "{answer:?} {value}");
    let blog = 100.0 / 1_200.0;
    close(consumed(&lookup, "blog", Some(5)), blog);
    close(consumed(&lookup, "worst", None), 0.5);
    close(consumed(&lookup, "worst", Some(5)), 0.25);
    close(consumed(&lookup, "mean", None), (0.5 + 3.0 * blog) / 4.0);
    close(consumed(&lookup, "mean", Some(5)), (0.25 + 3.0 * blog) / 4.0);
    // The worst burns 60x over five minutes and has half its budget: twelve minutes.
    assert_eq!(runs_out(&lookup, "worst", Span::minutes(13), Some(5)), Ok(true));
    assert_eq!(runs_out(&lookup, "worst", Span::minutes(11), Some(5)), Ok(false));
}
