use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::*;
use crate::domain::rule::Sli;
use crate::domain::series::Series;
use crate::rules::{Env, Step, built_in, load, report};

const RULES: &str = r#"
slo("api", #{ objective: 99, service: "shop", owner: "ada", sli: good("request", #{ app: "shop" }), by: ["region"],
    alert: [ page(#{ long: "1h", short: "5m", factor: 10 }), ticket(#{ long: "1h", short: "5m", factor: 3 }) ] });
receiver("pager", webhook(#{ url: "https://pager.example" }));
receiver("mail", webhook(#{ url: "https://mail.example", secret: secret("NOT_THERE") }));
route(#{ when: #{ severity: "page" }, to: ["pager"], escalate: [ #{ after: "10m", to: ["mail"] } ] });
"#;

fn run_test(body: &str) -> Outcome {
    run_with(RULES, body)
}

#[track_caller]
fn run_with(rules: &str, body: &str) -> Outcome {
    let files: BTreeMap<String, String> = [
        ("a.rhai", rules.to_owned()),
        ("lib/x.rhai", "fn shop() { #{ app: \"shop\", region: \"de\" } }".into()),
        ("a_test.rhai", format!("test(\"it\", |t| {{\n{body}\n}});")),
    ]
    .map(|(path, text)| (path.to_owned(), text))
    .into();
    let loaded = load(&files, &Env::defaults());
    assert!(loaded.is_good(), "{}", report(&loaded.problems));
    let mut report = run(&loaded, &|_| true, Limits::default(), &mut |_| {});
    assert_eq!((report.problems.len(), report.outcomes.len()), (0, 1), "{:?}", report.problems);
    report.outcomes.remove(0)
}

#[track_caller]
fn passes(body: &str) {
    let outcome = run_test(body);
    assert!(outcome.passed(), "{:?}\n{}", outcome.failures, shown(&outcome));
}

/// The failures, each with its line and column.
#[track_caller]
fn fails(body: &str) -> Vec<String> {
    let outcome = run_test(body);
    assert!(!outcome.passed(), "it passes");
    outcome.failures.iter().map(|failure| format!("{}: {}", failure.place, failure.message)).collect()
}

fn shown(outcome: &Outcome) -> String {
    outcome.timeline.iter().map(|entry| format!("{entry}\n")).collect()
}

const BAD: &str = r#"t.traffic("request", x::shop(), #{ per_minute: 100, lasts: "2h" });
t.traffic("request", x::shop(), #{ per_minute: 100, bad: 0.5, lasts: "20m" });
"#;

#[test]
fn a_page_comes_when_the_arithmetic_says_so() {
    // Half of 100 fail: 10 % of the hour's 6000 are passed by the thirteenth minute, 3 % by the fourth.
    passes(&format!(
        "{BAD}t.expect_incident(#{{ slo: \"api\", region: \"de\", severity: \"page\", within: \"13m\" }});
        t.expect_incident(#{{ slo: \"api\", severity: \"ticket\", within: \"4m\" }});
        t.expect_notified(\"pager\");
        t.expect_budget(\"api\", #{{ region: \"de\", below: -6.1, above: -6.2 }});"
    ));
    let found = fails(&format!("{BAD}t.expect_incident(#{{ slo: \"api\", severity: \"page\", within: \"12m\" }});"));
    assert_eq!(
        found,
        [
            "a_test.rhai:4:3: expected an incident with severity=page slo=api within=12m, but it came 13m after the start of the last traffic"
        ]
    );
}

const BUDGETS: &str = r#"
slo("api", #{ objective: 99, window: "1d", service: "shop", sli: good("request", #{ app: "shop" }) });
alert("half-gone", #{ severity: "ticket", when: |q| q.consumed("api") >= 0.5, summary: |q| `${q.consumed("api") * 100.0} % are gone` });
alert("quarter-within-five-minutes", #{ severity: "ticket", when: |q| q.consumed("api", "5m") >= 0.25 });
alert("gone-soon", #{ severity: "page", when: |q| q.exhausted_within("api", "12m", "10m") });
"#;

#[test]
fn alerts_on_budgets_come_when_the_arithmetic_says_so() {
    // 1 % of 12,000 requests is 120. Six of ten fail: 60 after ten minutes is half, which then lasts 12 minutes at 60x; 30 of
    // 119.5 within the first five minutes are a quarter.
    let body = |expectation: &str| {
        format!(
            "t.traffic(\"request\", x::shop(), #{{ per_minute: 10, lasts: \"1190m\" }});
            t.traffic(\"request\", x::shop(), #{{ per_minute: 10, bad: 0.6, lasts: \"10m\" }});
            {expectation}"
        )
    };
    let met = body(
        "t.expect_incident(#{ rule: \"quarter-within-five-minutes\", within: \"5m\" });
        t.expect_incident(#{ rule: \"half-gone\", severity: \"ticket\", within: \"10m\" });
        t.expect_incident(#{ rule: \"gone-soon\", severity: \"page\", within: \"10m\" });
        t.expect_budget(\"api\", #{ above: 0.4999, below: 0.5001 });
        t.traffic(\"request\", x::shop(), #{ per_minute: 10, lasts: \"10m\" });
        t.expect_resolved(#{ rule: \"quarter-within-five-minutes\", within: \"5m\" });
        t.expect_resolved(#{ rule: \"gone-soon\", within: \"10m\" });",
    );
    let outcome = run_with(BUDGETS, &met);
    assert!(outcome.passed(), "{:?}\n{}", outcome.failures, shown(&outcome));
    for (rule, at) in [("quarter-within-five-minutes", 5), ("half-gone", 10), ("gone-soon", 10)] {
        let early = body(&format!("t.expect_incident(#{{ rule: \"{rule}\", within: \"{}m\" }});", at - 1));
        let outcome = run_with(BUDGETS, &early);
        let told = &outcome.failures[0].message;
        assert!(told.ends_with(&format!("but it came {at}m after the start of the last traffic")), "{told}");
    }
}

#[test]
fn what_failed_says_what_happened_instead() {
    let outcome = run_test(&format!("{BAD}t.expect_not_notified(\"pager\");"));
    let text = shown(&outcome);
    for part in [
        "traffic: request{app=\"shop\",region=\"de\"}, 100 a minute, 50 % bad, for 20m",
        "2h 04m  alert api region=de (ticket, tier 1) fires: 3.3x over 1h and 40.0x over 5m, the limit is 3x",
        "2h 13m  alert api region=de (page, tier 0) fires",
        "2h 13m  pager gets incident.opened",
        "the expectation at a_test.rhai:4:3 looks",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    assert!(outcome.failures[0].message.contains("it got incident.opened after 2h 13m"), "{:?}", outcome.failures);
    let quiet = "t.traffic(\"request\", x::shop(), #{ per_minute: 10, bad: 0.02, lasts: \"2h\" });\n\
                 t.expect_incident(#{ slo: \"api\", severity: \"page\" });";
    let found = fails(quiet);
    assert!(found[0].contains("but none came; api then stood at page at 10x: 2.0x over 1h"), "{found:?}");
}

#[test]
fn what_is_written_later_happens_later_and_traffic_between_runs_side_by_side() {
    // The other region hides the bad one only if both run at the same time; by region it cannot.
    passes(
        "t.traffic(\"request\", x::shop(), #{ per_minute: 100, lasts: \"2h\" });
        t.traffic(\"request\", #{ app: \"shop\", region: \"us\" }, #{ per_minute: 100, bad: 0.5, lasts: \"20m\" });
        t.expect_incident(#{ region: \"us\", severity: \"page\", within: \"13m\" });
        t.expect_no_incident(#{ region: \"de\" });
        t.traffic(\"request\", #{ app: \"shop\", region: \"us\" }, #{ per_minute: 100, lasts: \"10m\" });
        t.expect_resolved(#{ region: \"us\", within: \"5m\" });",
    );
}

#[test]
fn people_can_acknowledge_and_silence() {
    passes(&format!("{BAD}t.wait(\"10m\");\nt.expect_notified(\"mail\");"));
    passes(
        "t.traffic(\"request\", x::shop(), #{ per_minute: 100, lasts: \"2h\" });
        t.traffic(\"request\", x::shop(), #{ per_minute: 100, bad: 0.5, lasts: \"15m\" });
        t.ack();
        t.traffic(\"request\", x::shop(), #{ per_minute: 100, bad: 0.5, lasts: \"30m\" });
        t.expect_not_notified(\"mail\");",
    );
    for matchers in ["#{ service: \"shop\" }", "[\"service=shop\", \"slo=~a.*\"]"] {
        passes(&format!(
            "t.traffic(\"request\", x::shop(), #{{ per_minute: 100, lasts: \"2h\" }});
            t.silence({matchers}, \"1h\");
            t.traffic(\"request\", x::shop(), #{{ per_minute: 100, bad: 0.5, lasts: \"30m\" }});
            t.expect_incident(#{{ slo: \"api\" }});
            t.expect_not_notified(\"pager\");",
        ));
    }
    let outcome = run_test(
        "t.traffic(\"request\", x::shop(), #{ per_minute: 100, lasts: \"2h\" });
        t.silence(#{ service: \"shop\" }, \"1h\");
        t.traffic(\"request\", x::shop(), #{ per_minute: 100, bad: 0.5, lasts: \"30m\" });
        t.expect_notified(\"pager\");",
    );
    assert!(shown(&outcome).contains("pager was not told: silence of the test"), "{}", shown(&outcome));
}

#[test]
fn a_gap_neither_resolves_nor_opens() {
    passes(&format!("{BAD}t.gap(\"shop\", \"30m\");\nt.expect_incident(#{{ slo: \"api\", severity: \"page\" }});"));
    let found = fails(&format!("{BAD}t.gap(\"shop\", \"30m\");\nt.expect_resolved();"));
    assert!(found[0].contains("is still open (api fires)"), "{found:?}");
    // Nothing of the app itself comes before its gap has ended.
    passes(
        "t.traffic(\"request\", x::shop(), #{ per_minute: 100, lasts: \"2h\" });
        t.gap(\"shop\", \"30m\");
        t.traffic(\"request\", x::shop(), #{ per_minute: 100, lasts: \"30m\" });
        t.gap(\"*\", \"30m\");
        t.expect_no_incident();",
    );
}

#[test]
fn late_events_count_from_when_they_arrive() {
    let late = |late: &str| {
        format!(
            "t.traffic(\"request\", x::shop(), #{{ per_minute: 100, lasts: \"2h\" }});
            t.late(\"{late}\", \"request\", #{{ app: \"shop\", region: \"de\", device: \"phone\" }}, #{{ per_minute: 100, bad: 1.0, lasts: \"20m\" }});
            t.traffic(\"request\", x::shop(), #{{ per_minute: 100, lasts: \"60m\" }});"
        )
    };
    // 600 of them are bad in the seventh minute; all arrive half an hour late, when the short window no longer holds any.
    passes(&format!("{}t.expect_no_incident();", late("30m")));
    passes(&format!("{}t.expect_budget(\"api\", #{{ below: -8.0 }});", late("30m")));
    passes(&format!("{}t.expect_incident(#{{ severity: \"page\" }});", late("2m")));
}

#[test]
fn slips_are_reported_with_their_place() {
    let traffic = "t.traffic(\"request\", x::shop(), #{ per_minute: 1, lasts: \"10m\" });";
    for (body, part) in [
        (
            "t.traffic(\"request\", #{ app: \"shop\" }, #{ per_minut: 5, lasts: \"1h\" });\nt.expect_no_incident();".to_owned(),
            "a_test.rhai:2:43: the traffic has no key `per_minut`; did you mean `per_minute`?",
        ),
        (
            "t.traffic(\"requst\", #{}, #{ per_minute: 5, lasts: \"1h\" });\nt.expect_no_incident();".into(),
            "a_test.rhai:2:11: there is no metric `requst`",
        ),
        (
            "t.traffic(\"request\", #{ color: \"x\" }, #{ per_minute: 5, lasts: \"1h\" });\nt.expect_no_incident();".into(),
            "`request` has no dimension `color`",
        ),
        ("t.traffic(\"lcp\", #{}, #{ per_minute: 5, lasts: \"1h\" });\nt.expect_no_incident();".into(), "need a `value`"),
        (
            "t.traffic(\"lcp\", #{}, #{ per_minute: 5, value: 1, bad: 0.1, lasts: \"1h\" });\nt.expect_no_incident();".into(),
            "no event of `lcp` is bad by itself",
        ),
        ("t.traffic(\"request\", #{}, #{ per_minute: 5 });\nt.expect_no_incident();".into(), "needs `lasts`"),
        ("t.traffic(\"request\", #{}, #{ per_minute: 5, lasts: \"90s\" });\nt.expect_no_incident();".into(), "whole buckets of 1m"),
        (format!("{traffic}\nt.expect_incident(#{{ slo: \"apy\" }});"), "a_test.rhai:3:27: there is no SLO `apy`; did you mean `api`?"),
        (format!("{traffic}\nt.expect_incident(#{{ slo: \"api\", wihtin: \"5m\" }});"), "did you mean `within`?"),
        (format!("{traffic}\nt.expect_not_notified(\"pagr\");"), "there is no receiver `pagr`; did you mean `pager`?"),
        (format!("{traffic}\nt.expect_budget(\"api\", #{{}});"), "`above` or `below`"),
        (format!("{traffic}\nt.expect_notified();"), "`expect_notified` does not take these arguments"),
        ("t.traffic(\"request\", #{}, #{ per_minute: 5, bad: 25, lasts: \"1h\" });\nt.ack();".into(), "25 % is written 0.25"),
        (format!("{traffic}\nt.wait(5);"), "a duration in quotes"),
        (format!("{traffic}\nlet x = 1 / 0;\nt.expect_no_incident();"), "a_test.rhai:3:"),
        (traffic.to_owned(), "the test expects nothing"),
        ("loop {}".to_owned(), "operations"),
        ("t.wait(\"90d\");\nt.wait(\"90d\");\nt.expect_no_incident();".to_owned(), "longer than 100d"),
    ] {
        let found = fails(&body);
        assert!(found[0].contains(part), "{body}\n{found:#?}");
    }
}

#[test]
fn a_free_form_rule_that_fails_fails_the_test() {
    let rules = format!(
        "{RULES}\nalert(\"odd\", #{{ when: |q| {{ let n = q.count(\"request\", #{{}}, \"5m\"); n.total == 70.0 && [1][9] == 1 }} }});"
    );
    let outcome = run_with(&rules, "t.traffic(\"request\", x::shop(), #{ per_minute: 14, lasts: \"10m\" });\nt.expect_no_incident();");
    assert!(outcome.failures[0].message.contains("the rule `odd` failed"), "{:?}", outcome.failures);
}

#[test]
fn what_takes_too_long_has_failed() {
    let files = [
        ("a.rhai".to_owned(), RULES.to_owned()),
        ("a_test.rhai".to_owned(), "test(\"it\", |t| { t.wait(\"90d\"); t.expect_no_incident(); });".into()),
    ];
    let loaded = load(&files.into(), &Env::defaults());
    let limits = Limits { each: Duration::ZERO, all: Duration::from_secs(5) };
    let report = run(&loaded, &|_| true, limits, &mut |_| {});
    assert!(report.outcomes[0].failures[0].message.contains("too long"));
    assert!(run(&loaded, &|name| name == "other", limits, &mut |_| {}).outcomes.is_empty());
}

#[test]
fn the_tests_of_the_pack_pass_and_every_rule_has_one_that_fires_and_one_that_stays_quiet() {
    let loaded = load(&built_in(), &Env::defaults());
    let set = loaded.set.as_ref().unwrap();
    let report = run(&loaded, &|_| true, Limits::default(), &mut |_| {});
    assert_eq!(report.problems, []);
    for outcome in &report.outcomes {
        assert!(outcome.passed(), "{}\n{:?}\n{}", outcome.name, outcome.failures, shown(outcome));
    }
    let (tests, _) = loaded.program.tests(set);
    let covered: BTreeSet<&str> = tests.iter().filter_map(|test| test.name.split_once(':')).flat_map(|(ids, _)| ids.split(", ")).collect();
    for id in [
        "M1", "M2", "M3", "M4", "M5", "M6", "M7", "M8", "M9", "M10", "F1", "F2", "F3", "F4", "F5", "F6", "F7", "U2", "U3", "U4", "U5",
        "U9", "U10",
    ] {
        assert!(covered.contains(id), "no test of the pack is about {id}");
    }
    // The metrics that a test sends, and the rules that it expects to fire.
    let fires = |name: &str| {
        tests.iter().flat_map(|test| &test.steps).any(|step| {
            matches!(step, Step::Expect { what: Expectation::Incident(wanted), .. } if wanted.rule.as_ref().is_some_and(|rule| rule.accepts(name)))
        })
    };
    let quiet = |wanted: &dyn Fn(&Series) -> bool| {
        tests.iter().any(|test| {
            let none = test
                .steps
                .iter()
                .any(|step| matches!(step, Step::Expect { what: Expectation::NoIncident(wanted), .. } if wanted.text.is_empty()));
            none && test.steps.iter().any(|step| matches!(step, Step::Traffic { traffic, .. } if wanted(&traffic.series)))
        })
    };
    for slo in set.slos.iter().filter(|slo| !matches!(slo.sli, Sli::Composite { .. })) {
        assert!(fires(&slo.name), "no test of the pack makes `{}` fire", slo.name);
        let inputs = slo.sli.inputs();
        let selected = |series: &Series| inputs.iter().any(|(input, _)| input.metric == series.metric && input.filter.accepts(series));
        assert!(quiet(&selected), "no test of the pack leaves `{}` quiet", slo.name);
    }
    for rule in &set.alerts {
        assert!(fires(&rule.name), "no test of the pack makes `{}` fire", rule.name);
    }
}
