use std::collections::BTreeMap;
use std::sync::Arc;

use super::*;
use crate::domain::alert::AlertChange;
use crate::domain::archive::MemoryArchive;
use crate::domain::cell::{Cell, Over};
use crate::domain::desk::{Book, Desk};
use crate::domain::evaluate::Settings;
use crate::domain::filter::Match;
use crate::domain::metric::Vital;
use crate::domain::notification::{ChangeKind, Values};
use crate::domain::rule::{Severity, Tier};
use crate::domain::series::{Series, SeriesId};

const M: Span = Span::MINUTE;

fn filter(pairs: &[(&str, &str)]) -> Filter {
    Filter(pairs.iter().map(|(k, v)| ((*k).into(), Match::parse(v).unwrap())).collect())
}

fn slo(sli: Sli, by: &[&str]) -> Slo {
    let tier = Tier::new(Severity::Page, Span::HOUR, Span::minutes(5), "14.4".parse().unwrap());
    let by = by.iter().map(|name| (*name).into()).collect();
    Slo { service: "shop".into(), by, tiers: vec![tier], ..Slo::new("checkout-api", 1_000, sli) }
}

fn good() -> Sli {
    Sli::Good(Selector { metric: Metric::Request, filter: filter(&[("app", "shop")]) })
}

/// Evaluates minute by minute; cells go into the evaluator and the archive.
struct Bench {
    rules: Arc<RuleSet>,
    evaluator: Evaluator,
    archive: MemoryArchive,
}

impl Bench {
    fn new(slo: Slo) -> Bench {
        let rules = Arc::new(RuleSet { slos: vec![slo], ..RuleSet::default() });
        let evaluator = Evaluator::new(rules.clone(), Settings { bucket: M, delays: BTreeMap::new() }, Timestamp(0), Timestamp(0));
        Bench { rules, evaluator, archive: MemoryArchive::new(M) }
    }

    /// A minute of some series, then its evaluation.
    fn minute(&mut self, cells: &[(Series, Cell)]) -> Option<AlertEvent> {
        let slice = self.evaluator.evaluated_to().0 / M.0;
        for (series, cell) in cells {
            let id: SeriesId = self.archive.intern(series);
            self.archive.add(id, slice, cell);
            self.evaluator.add_series(id, series);
            self.evaluator.add_with(id, slice, cell.counts, cell.pushed, |limit| cell.against(limit));
        }
        self.evaluator.advance(true).into_iter().find(|event| matches!(event.change, Some(AlertChange::Opened { .. })))
    }

    fn around(&self) -> Around<'_> {
        Around {
            rules: &self.rules,
            evaluator: &self.evaluator,
            archive: &self.archive,
            bucket: M,
            now: self.evaluator.evaluated_to(),
            left_out: &[],
        }
    }

    fn findings(&mut self, event: &AlertEvent) -> Findings {
        self.archive.seal();
        findings(event, &self.around()).unwrap()
    }
}

fn request(region: &str, release: &str) -> Series {
    Series::new(Metric::Request, [("app", "shop"), ("region", region), ("release", release)].map(|(k, v)| (k.into(), v.into())))
}

/// Requests of as many users, the first of them bad; `salt` tells users of series and minutes apart.
fn cell(raw: i64, bad: i64, salt: u64) -> Cell {
    let mut cell = Cell { counts: Counts::plain(raw, bad), bad_sq: i128::from(bad * 1_000_000), pushed: true, ..Cell::default() };
    for user in 0..raw as u64 {
        let hash = (salt << 32 | user).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        cell.users.add(hash);
        if user < bad as u64 {
            cell.bad_users.add(hash);
        }
    }
    cell
}

/// A day of health, then release 2.3.1 takes a tenth of the traffic and fails in one region.
fn bad_release(bench: &mut Bench, minutes: i64) -> Option<AlertEvent> {
    for minute in 0..minutes {
        let salt = minute as u64;
        let mut cells = Vec::new();
        for (at, region) in ["de", "us"].into_iter().enumerate() {
            let fault = minute >= 1440;
            cells.push((
                request(region, "2.3.0"),
                cell(if fault { 54 } else { 60 }, i64::from(minute % 60 == at as i64), salt << 2 | at as u64),
            ));
            if fault {
                cells.push((request(region, "2.3.1"), cell(6, if region == "de" { 4 } else { 0 }, salt << 2 | 2 | at as u64)));
            }
        }
        let event = bench.minute(&cells);
        if event.is_some() {
            return event;
        }
    }
    None
}

#[test]
fn a_bad_release_in_one_region_is_named_and_counted() {
    let mut bench = Bench::new(slo(good(), &[]));
    bench.archive.add_change(Change {
        id: "d1".into(),
        kind: ChangeKind::Deploy,
        at: Timestamp(1438 * M.0),
        app: "shop".into(),
        release: Some("2.3.1".into()),
        text: None,
        url: None,
    });
    let event = bad_release(&mut bench, 2000).unwrap();
    // The hour's ratio passes 1.44 % with the bad events of so many minutes.
    assert_eq!(event.at.0 / M.0, 1466);
    let found = bench.findings(&event);
    assert_eq!(found.window_start, Some(Timestamp(1440 * M.0)));
    assert_eq!(found.explained.verdict, Verdict::Segment, "{:?}", found.explained);
    assert_eq!(found.explained.signature, "release:shop/2.3.1");
    let suspect = &found.explained.suspects[0];
    let terms: Vec<_> = suspect.terms.iter().map(|(name, values)| (name.as_str(), values.clone())).collect();
    assert_eq!(terms, [("region", Values::One("de".into())), ("release", Values::One("2.3.1".into()))]);
    assert_eq!((suspect.new, suspect.change.as_deref()), (true, Some("d1")));
    let minutes = 26.0;
    assert!((suspect.traffic_share - 0.05).abs() < 1e-9);
    // 4 a minute of the suspect, and one an hour in each region of the old release.
    assert!((suspect.bad_share - 4.0 * minutes / (4.0 * minutes + 2.0)).abs() < 1e-9);
    let users = (4.0 * minutes) as u64;
    assert!(suspect.users.abs_diff(users) <= 4, "{} for {users}", suspect.users);
    assert_eq!(found.impact.bad_events, 4.0 * minutes + 2.0);
    assert!(found.impact.affected_users.abs_diff(users + 2) <= 4, "{}", found.impact.affected_users);
    let (total, bad) = (120.0 * 1466.0, 2.0 * 25.0 + 4.0 * minutes);
    assert!((found.impact.budget_consumed - (4.0 * minutes + 2.0) / (total * 0.001)).abs() < 1e-9);
    assert!((found.impact.budget_remaining - (1.0 - bad / (total * 0.001))).abs() < 1e-9);
    assert_eq!(found.title, "1 in 29 requests of shop fails, 99 % of the rise from release 2.3.1 in region de");
    assert_eq!(found.changes.len(), 1);
}

#[test]
fn reading_on_gives_what_reading_afresh_gives() {
    let mut bench = Bench::new(slo(good(), &[]));
    let event = bad_release(&mut bench, 2000).unwrap();
    let found = bench.findings(&event);
    let incident = open(&bench, &event, found);
    let mut case = Case::of_alert(&event, &bench.around()).unwrap();
    let mut held = incident.explained.clone();
    for minute in 0..130_u64 {
        let cells =
            [(request("de", "2.3.1"), cell(6, if minute < 9 { 5 } else { 0 }, minute)), (request("us", "2.3.0"), cell(50, 0, minute))];
        bench.minute(&cells);
        if minute % 7 == 0 {
            bench.archive.seal();
            let around = bench.around();
            assert!(case.is_of(&incident, &around));
            case.read(&around).unwrap();
            let on = case.findings(&around, &held).unwrap();
            let mut afresh = Case::of_incident(&incident, &around).unwrap();
            afresh.read(&around).unwrap();
            let afresh = afresh.findings(&around, &held).unwrap();
            assert_eq!((&on.explained, on.impact, &on.title), (&afresh.explained, afresh.impact, &afresh.title));
            held = on.explained;
        }
    }
    assert_eq!(held.signature, "release:shop/2.3.1");
}

fn open(bench: &Bench, event: &AlertEvent, findings: Findings) -> Incident {
    let desk = Desk::new(bench.rules.clone());
    let mut new_id = |_: &str, _: Timestamp| "i1".to_owned();
    let mut book = Book::new(&desk, event.at, &[], Default::default(), &mut new_id);
    book.alert(event, None, findings).unwrap().incident
}

#[test]
fn an_answer_that_knows_less_than_the_last_is_not_taken_over() {
    let mut bench = Bench::new(slo(good(), &[]));
    let event = bad_release(&mut bench, 2000).unwrap();
    let found = bench.findings(&event);
    let incident = open(&bench, &event, found.clone());
    // Everything burns now, and much more than before: no segment can be told any more.
    for minute in 0..60 {
        bench.minute(&[
            (request("de", "2.3.1"), cell(40, 20, minute)),
            (request("us", "2.3.0"), cell(60, 30, minute)),
            (request("de", "2.3.0"), cell(60, 30, minute)),
        ]);
    }
    bench.archive.seal();
    let Some(Input::Explained { explained, impact, title, .. }) = refresh(&incident, &bench.around()).unwrap() else { panic!("no answer") };
    assert_eq!((explained.verdict, &explained.signature), (Verdict::Segment, &found.explained.signature));
    assert_eq!(title, incident.title);
    assert_eq!(impact.bad_events, found.impact.bad_events + 80.0 * 60.0);
}

#[test]
fn a_group_is_explained_by_its_own_series() {
    let mut bench = Bench::new(slo(good(), &["region"]));
    let mut found = None;
    for minute in 0..300_u64 {
        let bad = if minute >= 200 { 20 } else { 0 };
        let cells = [
            (request("de", "1"), cell(100, 0, minute * 3)),
            (request("de", "2"), cell(50, bad, minute * 3 + 1)),
            (request("us", "1"), cell(100, 0, minute * 3 + 2)),
        ];
        if let Some(event) = bench.minute(&cells) {
            assert_eq!(event.group, r#"{region="de"}"#);
            found = Some(bench.findings(&event));
            break;
        }
    }
    let found = found.unwrap();
    assert_eq!(found.explained.signature, "release:shop/2");
    assert!(found.title.starts_with("1 in ") && found.title.contains(" requests of shop in region de fails, "), "{}", found.title);
    let suspect = &found.explained.suspects[0];
    assert!((suspect.traffic_share - 1.0 / 3.0).abs() < 1e-9, "of the region alone");
}

#[test]
fn users_over_a_limit_are_those_of_the_cells_where_somebody_was() {
    let limit = Limit { value: 2500.0, inclusive: true };
    let sli = Sli::Within { metric: Metric::Vital(Vital::Lcp), limit, filter: filter(&[("app", "shop")]) };
    let mut bench = Bench::new(slo(sli, &[]));
    let lcp =
        |region: &str| Series::new(Metric::Vital(Vital::Lcp), [("app", "shop"), ("region", region)].map(|(k, v)| (k.into(), v.into())));
    let slow = |raw: i64, over: i64, salt: u64| {
        let mut slow = cell(raw, 0, salt);
        slow.valued = slow.counts;
        slow.add_over(Over { limit, tested: slow.valued.total, over: over * 1_000_000, raw_over: over });
        slow
    };
    let mut found = None;
    for minute in 0..200_u64 {
        let over = if minute >= 180 { 10 } else { 0 };
        if let Some(event) = bench.minute(&[(lcp("de"), slow(12, over, minute * 2)), (lcp("us"), slow(100, 0, minute * 2 + 1))]) {
            found = Some(bench.findings(&event));
            break;
        }
    }
    let found = found.unwrap();
    assert_eq!(found.explained.signature, "region:de", "{:?}", found.explained);
    // Twelve users in a minute of which ten were slow: at most ten.
    let minutes = found.impact.bad_events as u64 / 10;
    assert_eq!(found.impact.affected_users, minutes * 10);
    assert!(found.title.contains(" page loads of shop takes longer than 2.5 s to paint"), "{}", found.title);
}

#[test]
fn the_steps_of_a_funnel_are_joined_where_their_dimensions_fit() {
    let step = |name: &str| Selector { metric: Metric::Step, filter: filter(&[("app", "shop"), ("step", name)]) };
    let mut slo = slo(Sli::Ratio { good: step("paid"), total: step("cart") }, &[]);
    slo.budget_ppm = 50_000;
    slo.tiers[0].factor = "4".parse().unwrap();
    let mut bench = Bench::new(slo);
    let series = |name: &str, region: &str| {
        let dims = [("app", "shop"), ("step", name), ("region", region), ("route", if name == "cart" { "/cart" } else { "/done" })];
        Series::new(Metric::Step, dims.map(|(k, v)| (k.into(), v.into())))
    };
    let mut found = None;
    for minute in 0..400_u64 {
        let paid = |region: &str| if minute >= 300 && region == "de" { 10 } else { 98 };
        let both = |region: &str| [(series("cart", region), cell(100, 0, 1)), (series("paid", region), cell(paid(region), 0, 2))];
        let cells: Vec<_> = ["de", "us"].iter().flat_map(|region| both(region)).collect();
        if let Some(event) = bench.minute(&cells) {
            found = Some(bench.findings(&event));
            break;
        }
    }
    let found = found.unwrap();
    assert_eq!(found.explained.signature, "region:de", "{:?}", found.explained);
    assert_eq!(found.explained.suspects[0].terms.keys().collect::<Vec<_>>(), ["region"]);
    assert_eq!(found.impact.bad_events.rem_euclid(92.0), 0.0, "90 lost in one region, 2 in the other, each minute");
    assert_eq!(found.impact.affected_users, 0, "who is missing cannot be counted");
    assert!(found.title.contains("of those who reach cart are lost before paid"), "{}", found.title);
}

#[test]
fn earlier_incidents_are_no_part_of_the_baseline() {
    let mut bench = Bench::new(slo(good(), &[]));
    let event = bad_release(&mut bench, 2000).unwrap();
    bench.archive.seal();
    let at = |minute: i64| Timestamp(minute * M.0);
    let out = |app: &str, from, to| LeftOut { app: Some(app.into()), from: at(from), to: at(to) };
    let pieces = |left_out: &[LeftOut]| {
        let around = Around { left_out, ..bench.around() };
        let pieces = Case::of_alert(&event, &around).unwrap().baseline_pieces(left_out);
        pieces.into_iter().map(|(from, to)| (from.0 / M.0, to.0 / M.0)).collect::<Vec<_>>()
    };
    assert_eq!(pieces(&[]), [(-5, 1435)]);
    assert_eq!(pieces(&[out("shop", 100, 200), out("blog", 0, 1435), out("shop", 150, 250)]), [(-5, 100), (250, 1435)]);
    assert_eq!(pieces(&[out("shop", -10, 1440)]), [(-5, 1435)], "a poor baseline is better than none");
}

#[test]
fn a_free_form_rule_is_explained_by_the_errors_that_it_asked_for() {
    let mut bench = Bench::new(slo(good(), &[]));
    let series = |metric, release: &str| Series::new(metric, [("app", "shop"), ("release", release)].map(|(k, v)| (k.into(), v.into())));
    for minute in 0..1450 {
        let salt = minute as u64;
        let mut cells =
            vec![(series(Metric::PageView, "1"), cell(90, 0, salt << 3)), (series(Metric::JsError, "1"), cell(1, 1, salt << 3 | 1))];
        if minute >= 1440 {
            cells.push((series(Metric::PageView, "2"), cell(10, 0, salt << 3 | 2)));
            cells.push((series(Metric::JsError, "2"), cell(8, 8, salt << 3 | 3)));
        }
        bench.minute(&cells);
    }
    let of = Selector { metric: Metric::JsError, filter: filter(&[("app", "shop")]) };
    let per = Some(Selector { metric: Metric::PageView, filter: filter(&[("app", "shop")]) });
    let event = AlertEvent {
        at: bench.evaluator.evaluated_to(),
        rule: "js-errors".into(),
        group: String::new(),
        labels: [("rule".to_owned(), "js-errors".to_owned())].into(),
        change: Some(AlertChange::Opened { severity: Severity::Ticket }),
        tiers: vec![],
        figures: Default::default(),
        summary: "Many script errors".into(),
        reason: String::new(),
        subject: Some(Subject { of, per, window: Span::minutes(10), budget: None }),
        state: Default::default(),
    };
    let found = bench.findings(&event);
    assert_eq!((found.explained.verdict, found.explained.signature.as_str()), (Verdict::Segment, "release:shop/2"));
    assert_eq!(found.impact.bad_events, 90.0);
    assert!((86..=94).contains(&found.impact.affected_users), "{}", found.impact.affected_users);
    assert!(found.title.starts_with("Many script errors, "), "{}", found.title);
    // Later it is read from what the incident kept.
    let incident = open(&bench, &event, found);
    let Some(Input::Explained { impact, .. }) = refresh(&incident, &bench.around()).unwrap() else { panic!("no answer") };
    assert_eq!(impact.bad_events, 90.0);
}

#[test]
fn an_alert_on_a_budget_is_explained_by_what_spends_it() {
    let mut bench = Bench::new(slo(good(), &[]));
    let burning = bad_release(&mut bench, 1500).expect("the release burns");
    let budget = BudgetOf { slo: "checkout-api".into(), group: Labels::new() };
    let of = Selector { metric: Metric::Request, filter: filter(&[("app", "shop")]) };
    let event = AlertEvent {
        rule: "budget-low".into(),
        labels: [("rule".to_owned(), "budget-low".to_owned())].into(),
        summary: "Half of the budget is gone".into(),
        subject: Some(Subject { of, per: None, window: Span::DAY, budget: Some(budget) }),
        ..burning
    };
    let found = bench.findings(&event);
    assert_eq!((found.explained.verdict, found.explained.signature.as_str()), (Verdict::Segment, "release:shop/2.3.1"));
    assert!(found.title.starts_with("Half of the budget is gone, "), "{}", found.title);
    // What is told is the budget of the SLO: of its window, and what went since the alert's window began.
    let whole = bench.evaluator.window("checkout-api", &Labels::new(), None).unwrap();
    let allowed = whole.total as f64 / 1e3;
    assert_eq!(found.impact.budget_remaining, 1.0 - whole.bad as f64 / allowed);
    assert!(found.impact.budget_consumed > 0.0 && found.impact.bad_events > 0.0, "{:?}", found.impact);
    let incident = open(&bench, &event, found.clone());
    let Some(Input::Explained { impact, title, .. }) = refresh(&incident, &bench.around()).unwrap() else { panic!("no answer") };
    assert_eq!((impact, title), (found.impact, found.title));
}

#[test]
fn what_the_group_leaves_out_is_not_called_everywhere() {
    let mut bench = Bench::new(slo(good(), &["region"]));
    let minute = |salt: u64, bad: i64| {
        [("de", "1", bad), ("de", "2", bad), ("us", "1", 0)].map(|(region, release, bad)| {
            let salt = salt * 10 + u64::from(release == "2") + 2 * u64::from(region == "us");
            (request(region, release), cell(100, bad, salt))
        })
    };
    for salt in 0..120 {
        assert!(bench.minute(&minute(salt, 0)).is_none());
    }
    let event = (120..140).find_map(|salt| bench.minute(&minute(salt, 60))).expect("region de burns");
    let found = bench.findings(&event);
    assert_eq!(found.explained.verdict, Verdict::Global);
    assert!(found.explained.sentence.contains("are spread alike within region de: "), "{}", found.explained.sentence);
    assert!(found.title.ends_with(", alike within region de"), "{}", found.title);
}
