//! The pack loads as it stands, and its free-form rules find what they are for in history of their own.

use std::path::Path;
use std::sync::Arc;

use super::super::{Env, Loaded, Verdict, built_in, load, read_folder, report};
use crate::domain::archive::MemoryArchive;
use crate::domain::cell::{Cell, Counts, UNIT};
use crate::domain::lookup::{Budgets, Lookup};
use crate::domain::metric::Metric;
use crate::domain::rule::{Labels, Severity, Sli};
use crate::domain::series::Series;
use crate::domain::time::{Span, Timestamp};

const WEEK: i64 = 7 * 1440;
/// All weeks end at a multiple of [`WEEK`]; the last one is judged.
const NOW: i64 = 5 * WEEK;

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

fn loaded() -> Loaded {
    load(&built_in(), &Env::defaults())
}

/// Part of the traffic of an app: total and bad of the hour (and, as a quarter of it, of the quarter of an hour) before the end of a week.
struct Part {
    metric: &'static str,
    dims: Vec<(&'static str, &'static str)>,
    usual: Option<(i64, i64)>,
    now: (i64, i64),
}

fn part(metric: &'static str, dims: &[(&'static str, &'static str)], usual: (i64, i64), now: (i64, i64)) -> Part {
    Part { metric, dims: dims.to_vec(), usual: Some(usual), now }
}

/// The same, without any history.
fn new(metric: &'static str, dims: &[(&'static str, &'static str)], now: (i64, i64)) -> Part {
    Part { metric, dims: dims.to_vec(), usual: None, now }
}

fn cell((raw, bad): (i64, i64)) -> Cell {
    let mut cell = Cell { counts: Counts::plain(raw, bad), bad_sq: i128::from(bad * UNIT), pushed: true, ..Cell::default() };
    (0..raw.min(2_000)).for_each(|user| cell.users.add(user as u64));
    (0..bad.min(2_000)).for_each(|user| cell.bad_users.add(user as u64));
    cell
}

/// What a rule of the pack says of this traffic.
fn ask(rule: &str, group: &[(&str, &str)], parts: &[Part]) -> Verdict {
    let mut archive = MemoryArchive::new(Span::MINUTE);
    for part in parts {
        let metric = Metric::parse(part.metric).unwrap();
        let dims = part.dims.iter().chain(&[("app", "shop")]).map(|(name, value)| ((*name).into(), (*value).into()));
        let id = archive.intern(&Series::new(metric, dims));
        for week in 1..=5 {
            let traffic = if week == 5 { Some(part.now) } else { part.usual };
            let Some((total, bad)) = traffic else { continue };
            for minute in [56, 41, 26, 11, 3] {
                // Four quarters of an hour; the last one in two pieces, so that both its halves are measured.
                let share = if minute > 15 { 4 } else { 8 };
                archive.add(id, week * WEEK - minute, &cell((total / share, bad / share)));
            }
        }
    }
    archive.seal();
    let loaded = loaded();
    let lookup = Lookup {
        archive: Arc::new(archive),
        budgets: Arc::new(NoBudgets),
        rules: Arc::new(loaded.set.unwrap()),
        now: Timestamp(NOW * 60_000),
        bucket: Span::MINUTE,
        left_out: Arc::new([]),
    };
    let group = group.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    loaded.program.ask(rule, &group, Arc::new(lookup)).unwrap()
}

/// What a rule says when it holds.
#[track_caller]
fn told(rule: &str, group: &[(&str, &str)], parts: &[Part]) -> String {
    match ask(rule, group, parts) {
        Verdict::Holds { severity: Severity::Ticket, summary } => summary,
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_file_of_the_folder_is_in_the_program() {
    let folder = read_folder(&Path::new(env!("CARGO_MANIFEST_DIR")).join("rules")).unwrap();
    assert_eq!(built_in(), folder);
}

#[test]
fn the_pack_loads_without_a_word() {
    let loaded = loaded();
    assert_eq!(report(&loaded.problems), "");
    let set = loaded.set.unwrap();
    assert!(set.receivers.is_empty() && set.routes.is_empty(), "nobody is told until somebody says so");
    for slo in &set.slos {
        assert!(!slo.description.is_empty() && !slo.service.is_empty() && !slo.owner.is_empty(), "{}", slo.name);
        assert!(slo.min_events >= 50 && slo.confidence.is_some() && !slo.tiers.is_empty(), "{} is not held back", slo.name);
    }
    for rule in &set.alerts {
        assert!(!rule.description.is_empty() && !rule.service.is_empty() && !rule.owner.is_empty(), "{}", rule.name);
        assert_eq!(rule.severity, Severity::Ticket, "{}: only budgets page", rule.name);
    }
}

/// The ids of the guide that the pack must cover (DOMAIN).
const IDS: [&str; 23] = [
    "M1", "M2", "M3", "M4", "M5", "M6", "M7", "M8", "M9", "M10", "F1", "F2", "F3", "F4", "F5", "F6", "F7", "U2", "U3", "U4", "U5", "U9",
    "U10",
];

/// Whether a text names an id, and not one that only begins like it.
fn names(text: &str, id: &str) -> bool {
    text.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| word == id)
}

#[test]
fn every_id_has_a_rule_that_says_what_to_do_and_tests_of_both_outcomes() {
    let mut told = Vec::new();
    let (mut fires, mut quiet) = (Vec::new(), Vec::new());
    for (path, text) in built_in() {
        if path.ends_with("_test.rhai") {
            for test in text.split("\ntest(").map(|test| test.trim_start_matches("test(")) {
                let title = test.lines().next().unwrap_or_default().to_owned();
                if test.contains("t.expect_incident(") {
                    fires.push(title.clone());
                }
                if test.contains("t.expect_no_incident();") {
                    quiet.push(title);
                }
            }
            continue;
        }
        // What stands between two declarations is the second one's text.
        let mut comment = String::new();
        for line in text.lines() {
            if line.starts_with("//") {
                comment.push_str(line);
                comment.push('\n');
            } else if let Some(rule) = line.strip_prefix("slo(\"").or_else(|| line.strip_prefix("alert(\"")) {
                let name = rule.split('"').next().unwrap_or_default();
                assert!(comment.contains("What to do"), "{path}: {name} has no runbook text");
                told.push(std::mem::take(&mut comment));
            }
        }
    }
    for id in IDS {
        assert!(told.iter().any(|comment| names(comment, id)), "{id} has no rule");
        assert!(fires.iter().any(|title| names(title, id)), "{id} has no test that fires");
        assert!(quiet.iter().any(|title| names(title, id)), "{id} has no test that stays quiet");
    }
}

#[test]
fn f4_to_f7_tell_how_the_telemetry_of_an_app_is() {
    let said = |rule: &str, metric: &str, field: &str, raw: i64, bad: i64, value: f64| {
        let mut archive = MemoryArchive::new(Span::MINUTE);
        let dims = [("app", "burnwatch/shop"), ("route", field)].map(|(name, value)| (name.into(), value.into()));
        let id = archive.intern(&Series::new(Metric::parse(metric).unwrap(), dims));
        let mut cell = cell((raw, bad));
        cell.sketch.add(value, raw * UNIT);
        archive.add(id, NOW - 5, &cell);
        archive.seal();
        let loaded = loaded();
        let (rules, now) = (Arc::new(loaded.set.unwrap()), Timestamp(NOW * 60_000));
        let lookup =
            Lookup { archive: Arc::new(archive), budgets: Arc::new(NoBudgets), rules, now, bucket: Span::MINUTE, left_out: Arc::new([]) };
        let group = [("app".to_owned(), "burnwatch/shop".to_owned())].into();
        let Verdict::Holds { severity: Severity::Ticket, summary } = loaded.program.ask(rule, &group, Arc::new(lookup)).unwrap() else {
            return String::new();
        };
        summary
    };
    assert_eq!(
        said("clocks-astray", "custom:burnwatch_clock", "", 400, 100, 600_000.0),
        "app shop: 25.0 % of the beacons come from clocks that are off by more than a minute, one in twenty by 10 minutes or more"
    );
    assert_eq!(
        said("late-reporting", "custom:burnwatch_lag", "", 400, 100, 1_800_000.0),
        "app shop: 25.0 % of the beacons hold events older than two minutes, one in twenty is 30 minutes late or more"
    );
    assert_eq!(
        said("personal-data-sent", "custom:burnwatch_redacted", "page", 12, 12, 0.0),
        "app shop sends personal data or secrets; within an hour they were taken out of: page (12)"
    );
    assert_eq!(
        said("lost-correlation", "custom:burnwatch_correlated", "", 80, 60, 0.0),
        "app shop: 75.0 % of the failed requests have no trace id"
    );
    assert_eq!(said("lost-correlation", "custom:burnwatch_correlated", "", 80, 80, 0.0), "");
}

#[test]
fn three_constants_make_it_the_pack_of_one_app() {
    let mut files = built_in();
    let site = files.get_mut("lib/site.rhai").unwrap();
    for (from, to) in
        [("fn app() { \"*\" }", "fn app() { \"shop\" }"), ("{ \"web\" }", "{ \"store\" }"), ("{ \"team-web\" }", "{ \"ada\" }")]
    {
        assert!(site.contains(from), "{from}");
        *site = site.replace(from, to);
    }
    let loaded = load(&files, &Env::defaults());
    assert_eq!(report(&loaded.problems), "");
    let set = loaded.set.unwrap();
    assert!(set.named_values["app"].contains("shop"));
    for slo in &set.slos {
        assert_eq!((slo.service.as_str(), slo.owner.as_str()), ("store", "ada"));
        assert!(
            !matches!(slo.sli, Sli::Composite { .. })
                && slo.sli.inputs().iter().all(|(input, _)| input.filter.equal("app") == Some("shop"))
        );
    }
    assert!(set.alerts.iter().all(|rule| rule.service == "store" && rule.owner == "ada"));
}

#[test]
fn a_site_without_anything_or_with_next_to_nothing_is_quiet() {
    let rules = loaded().set.unwrap().alerts;
    let tiny = || {
        vec![
            part("page_view", &[("nav", "hard"), ("release", "1")], (16, 0), (16, 8)),
            part("request", &[("status", "4xx"), ("host", "a"), ("release", "1"), ("cohort", "a")], (16, 0), (16, 16)),
            part("js_error", &[("fingerprint", "f")], (0, 0), (40, 40)),
            part("session", &[("release", "1")], (8, 0), (8, 8)),
            part("step", &[("funnel", "checkout"), ("step", "cart")], (16, 0), (8, 0)),
            part("step", &[("funnel", "checkout"), ("step", "paid")], (8, 0), (0, 0)),
        ]
    };
    for rule in &rules {
        let group: Vec<(&str, &str)> =
            rule.by.iter().map(|name| (name.as_str(), if name == "app" { "shop" } else { "checkout" })).collect();
        assert!(matches!(ask(&rule.name, &group, &[]), Verdict::Unknown(_) | Verdict::Clear), "{}", rule.name);
        assert!(matches!(ask(&rule.name, &group, &tiny()), Verdict::Unknown(_) | Verdict::Clear), "{}", rule.name);
    }
}

#[test]
fn f1_half_the_views_of_this_hour_of_the_week_are_a_drop() {
    let views = |usual, now| [part("page_view", &[("nav", "hard")], (usual, 0), (now, 0))];
    assert_eq!(told("volume-drop", &[("app", "shop")], &views(8_000, 3_200)), "app shop: 3200 page views within an hour, usually 8000");
    assert_eq!(ask("volume-drop", &[("app", "shop")], &views(8_000, 5_600)), Verdict::Clear);
    assert_eq!(ask("volume-drop", &[("app", "shop")], &views(160, 16)), Verdict::Clear, "too little to tell");
    let young = [new("page_view", &[], (8_000, 0))];
    assert!(matches!(ask("volume-drop", &[("app", "shop")], &young), Verdict::Unknown(_)));
}

#[test]
fn f3_a_region_that_goes_missing_moves_the_shares() {
    let regions =
        |de, us| [part("page_view", &[("region", "de")], (8_000, 0), (de, 0)), part("page_view", &[("region", "us")], (8_000, 0), (us, 0))];
    let said = told("region-shares", &[], &regions(1_600, 8_000));
    assert!(said.contains("16.7 %") || said.contains("83.3 %"), "{said}");
    assert_eq!(ask("region-shares", &[], &regions(4_000, 4_000)), Verdict::Clear, "less of everything is another rule's");
}

#[test]
fn u5_fewer_who_get_to_a_step_are_a_drop_and_less_traffic_is_none() {
    let funnel = |cart, paid| {
        let dims = |step| [("funnel", "checkout"), ("step", step)];
        [part("step", &dims("cart"), (1_600, 0), (cart, 0)), part("step", &dims("paid"), (800, 0), (paid, 0))]
    };
    let group = [("funnel", "checkout")];
    assert_eq!(told("funnel-drop", &group, &funnel(1_600, 400)), "funnel checkout: 25.0 % reach \"paid\", usually 50.0 %");
    assert_eq!(ask("funnel-drop", &group, &funnel(400, 200)), Verdict::Clear);
    assert_eq!(ask("funnel-drop", &group, &funnel(1_600, 640)), Verdict::Clear, "a fifth is within what happens");
}

#[test]
fn u2_u3_u4_u9_one_that_is_worse_than_the_others_is_named() {
    for (rule, metric, dimension) in [
        ("release-fails-requests", "request", "release"),
        ("release-fails-pages", "page_view", "release"),
        ("release-crashes", "session", "release"),
        ("cohort-fails-requests", "request", "cohort"),
        ("cohort-fails-pages", "page_view", "cohort"),
        ("host-fails", "request", "host"),
    ] {
        let two = |bad| [new(metric, &[(dimension, "old")], (40_000, 40)), new(metric, &[(dimension, "new")], (1_600, bad))];
        let said = told(rule, &[], &two(160));
        assert!(said.starts_with(&format!("{dimension} new: 10.0 % ")), "{said}");
        assert_eq!(ask(rule, &[], &two(8)), Verdict::Clear, "{rule}: 0.5 % is no 2 points");
        let alone = [new(metric, &[(dimension, "new")], (40_000, 8_000))];
        assert_eq!(ask(rule, &[], &alone), Verdict::Clear, "{rule}: nobody to compare with");
    }
}

#[test]
fn u9_a_cohort_whose_pages_appear_late_is_named() {
    let cohorts = |slow: f64| {
        let mut archive = MemoryArchive::new(Span::MINUTE);
        for (cohort, value) in [("cart=a", 1_000.0), ("cart=b", slow)] {
            let dims = [("app", "shop"), ("cohort", cohort)].map(|(name, value)| (name.into(), value.into()));
            let id = archive.intern(&Series::new(Metric::parse("lcp").unwrap(), dims));
            let mut cell = cell(if cohort == "cart=a" { (4_000, 0) } else { (400, 0) });
            cell.sketch.add(value, cell.counts.total);
            archive.add(id, NOW - 5, &cell);
        }
        archive.seal();
        archive
    };
    let ask = |archive: MemoryArchive| {
        let loaded = loaded();
        let (rules, now) = (Arc::new(loaded.set.unwrap()), Timestamp(NOW * 60_000));
        let lookup =
            Lookup { archive: Arc::new(archive), budgets: Arc::new(NoBudgets), rules, now, bucket: Span::MINUTE, left_out: Arc::new([]) };
        loaded.program.ask("cohort-slower", &Labels::new(), Arc::new(lookup)).unwrap()
    };
    assert!(matches!(ask(cohorts(2_000.0)), Verdict::Holds { summary, .. } if summary.starts_with("cohort cart=b: largest paint at ")));
    assert_eq!(ask(cohorts(1_300.0)), Verdict::Clear);
}

#[test]
fn m5_one_user_in_ten_with_a_failed_request_is_a_ticket() {
    let requests = |bad| [new("request", &[("status", "2xx")], (4_000, bad))];
    assert!(told("users-with-failed-requests", &[], &requests(800)).contains("users had failed requests"));
    assert_eq!(ask("users-with-failed-requests", &[], &requests(80)), Verdict::Clear);
}

#[test]
fn js_errors_are_held_against_views_and_against_what_is_usual() {
    let page = |usual, now| {
        [
            part("page_view", &[("nav", "hard")], (8_000, 0), (8_000, 0)),
            part("js_error", &[("fingerprint", "f")], (usual, usual), (now, now)),
        ]
    };
    assert!(told("js-errors", &[], &page(80, 1_600)).starts_with("400 JS errors on 2000 page views"));
    assert_eq!(ask("js-errors", &[], &page(80, 400)), Verdict::Clear);
    assert!(told("js-errors-unusual", &[], &page(80, 400)).starts_with("100 JS errors"));
    assert_eq!(ask("js-errors-unusual", &[], &page(400, 400)), Verdict::Clear);
}

#[test]
fn u10_bursts_of_new_errors_and_of_refused_requests() {
    let mut parts = vec![part("page_view", &[("nav", "hard")], (8_000, 0), (8_000, 0))];
    parts.push(new("js_error", &[("fingerprint", "f")], (400, 400)));
    // All of the day's views fell into its last hour: this site was not there yesterday.
    assert_eq!(ask("new-error-burst", &[], &parts), Verdict::Clear);
    let refused = |now| {
        [part("request", &[("status", "2xx")], (8_000, 0), (8_000, 0)), part("request", &[("status", "4xx")], (400, 400), (now, now))]
    };
    assert!(told("refused-requests-burst", &[], &refused(4_000)).starts_with("1000 refused requests within 15 minutes"));
    assert_eq!(ask("refused-requests-burst", &[], &refused(800)), Verdict::Clear);
}

#[test]
fn u10_an_error_that_yesterday_did_not_know_is_named() {
    let day = |known: bool| {
        let mut archive = MemoryArchive::new(Span::MINUTE);
        let mut intern = |metric: &str, dims: &[(&str, &str)]| {
            let dims = dims.iter().chain(&[("app", "shop")]).map(|(name, value)| ((*name).into(), (*value).into()));
            archive.intern(&Series::new(Metric::parse(metric).unwrap(), dims))
        };
        let (views, errors) = (intern("page_view", &[]), intern("js_error", &[("fingerprint", "f00")]));
        for quarter in (0..90).rev() {
            archive.add(views, NOW - 5 - 15 * quarter, &cell((400, 0)));
            if quarter == 0 || known {
                archive.add(errors, NOW - 5 - 15 * quarter, &cell((80, 80)));
            }
        }
        archive.seal();
        let loaded = loaded();
        let (rules, now) = (Arc::new(loaded.set.unwrap()), Timestamp(NOW * 60_000));
        let lookup =
            Lookup { archive: Arc::new(archive), budgets: Arc::new(NoBudgets), rules, now, bucket: Span::MINUTE, left_out: Arc::new([]) };
        loaded.program.ask("new-error-burst", &Labels::new(), Arc::new(lookup)).unwrap()
    };
    assert!(
        matches!(day(false), Verdict::Holds { summary, .. } if summary == "JS error f00 is new and occurred 80 times within 15 minutes")
    );
    assert_eq!(day(true), Verdict::Clear);
}
