//! The language from outside: what loads, what is said about what does not, what closures give.

mod closure;
mod slo;
mod told;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::*;
use crate::domain::filter::{Filter, Match};
use crate::domain::fraction::Fraction;
use crate::domain::metric::Metric;
use crate::domain::rule::*;
use crate::domain::time::Span;

fn files(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect()
}

fn load_all(pairs: &[(&str, &str)]) -> Loaded {
    load(&files(pairs), &Env { has_secret: &|_| true, ..Env::defaults() })
}

/// Loads one file that must be good; gives its set.
fn good(text: &str) -> RuleSet {
    let loaded = load_all(&[("a.rhai", text)]);
    loaded.set.unwrap_or_else(|| panic!("{}", report(&loaded.problems)))
}

/// What is said about one file.
fn said(text: &str) -> Vec<String> {
    load_all(&[("a.rhai", text)]).problems.iter().map(ToString::to_string).collect()
}

/// One file that must give exactly this one problem.
#[track_caller]
fn only(text: &str, problem: &str) {
    let said = said(text);
    assert_eq!(said.len(), 1, "{text}\n{said:#?}");
    assert!(said[0].contains(problem), "{text}\n{said:#?}");
}

const CONTRACT: &str = r#"// A latency SLO, one budget per region, with the SRE workbook's tiers
slo("checkout-lcp", #{
    description: "Checkout pages whose largest paint comes within 2.5 s",
    owner:       "team-checkout",
    service:     "shop",
    objective:   95.0,                       // per cent; the decimal that is written, exactly
    window:      "30d",                      // rolling; or "calendar:day|week|month|quarter|year", with timezone: "Europe/Berlin"
    sli:         within("lcp", 2500, #{ app: "shop", route: "/checkout" }),
    by:          ["region"],
    alert:       burn_rate(),                // the workbook's four tiers, scaled to the window
    runbook:     "https://runbooks.example.com/checkout-lcp",
});

slo("checkout-api", #{
    objective: 99.9, service: "shop", owner: "team-checkout",
    sli:   good("request", #{ app: "shop", route: "/api/checkout" }),
    alert: [ page(#{ long: "1h", short: "5m", factor: 14.4 }),
             page(#{ long: "5m", short: "5m", factor: 3.0, pending: "15m" }),
             ticket(#{ long: "3d", short: "6h", factor: 1.0, op: ">" }) ],
    min_events: 50, confidence: 0.99, no_data: "keep",
});

// A free-form rule: any expression over the stored aggregates
alert("conversion-drop", #{
    every: "5m",                             // or a cron line: "*/5 * * * *" (UTC unless timezone is given)
    severity: "ticket", pending: "10m", keep_firing: "10m",
    service: "shop", owner: "team-checkout",
    when: |q| {
        let paid  = q.count("step", #{ step: "paid" }, "1h");
        let usual = q.baseline("step", #{ step: "paid" }, "1h");
        paid.total < 0.7 * usual.median && usual.z < -4.0
    },
    summary: "Fewer orders than this hour of the week usually sees",
});

receiver("checkout-pager", pagerduty(#{ routing_key: secret("PAGERDUTY_CHECKOUT") }));
receiver("tickets", webhook(#{ url: "https://tickets.example.com/hook", secret: secret("TICKET_HMAC") }));
receiver("team-mail", email(#{ to: ["checkout@example.com"] }));
route(#{ when: #{ severity: "page", owner: "team-checkout" }, to: ["checkout-pager"], group_by: ["service"],
         group_wait: "10s", group_interval: "5m", repeat: "4h", escalate: [ #{ after: "10m", to: ["team-mail"] } ] });
route(#{ to: ["tickets"] });
inhibit(#{ source: #{ severity: "page" }, target: #{ severity: "ticket" }, equal: ["service"] });
// maintenance mutes what its labels match; budget: "exclude" takes the time out of windows and budget, "good" counts it as good, "count" (default) leaves it
maintenance("weekly-release", #{ cron: "0 3 * * SUN", lasts: "1h", timezone: "Europe/Berlin",
                                 when: #{ service: "shop" }, budget: "exclude" });
maintenance("migration", #{ starts: "2026-11-22T03:00:00Z", ends: "2026-11-22T05:00:00Z", when: #{ service: "shop" } });
silence("known-benign", #{ when: #{ rule: "js-errors", fingerprint: "abc" }, ends: "2027-01-31T00:00:00Z", author: "ada", comment: "upstream bug 42" });
"#;

#[test]
fn the_contract_loads_without_a_word() {
    let loaded = load_all(&[("shop.rhai", CONTRACT)]);
    assert_eq!(report(&loaded.problems), "");
    let set = loaded.set.unwrap();
    assert_eq!((set.slos.len(), set.alerts.len(), set.receivers.len(), set.routes.len()), (2, 1, 3, 2));
    assert_eq!((set.inhibits.len(), set.maintenances.len(), set.silences.len()), (1, 2, 1));
    let lcp = &set.slos[0];
    assert_eq!((lcp.budget_ppm, lcp.by.as_slice()), (50_000, ["region".to_owned()].as_slice()));
    assert_eq!(lcp.place, Place { path: "shop.rhai".into(), line: 2, column: 1 });
    let factors: Vec<String> =
        lcp.tiers.iter().map(|tier| format!("{} {} {} {}", tier.severity, tier.factor, tier.long, tier.short)).collect();
    assert_eq!(factors, ["page 14.4 1h 5m", "page 6 6h 30m", "ticket 3 1d 2h", "ticket 1 3d 6h"]);
    let api = &set.slos[1];
    assert_eq!(api.tiers[0].factor, Fraction::new(144, 10).unwrap());
    assert_eq!(api.tiers[1].pending, Span::minutes(15));
    assert_eq!((api.min_events, api.min_bad, api.confidence), (50, None, Some(0.99)));
    assert_eq!(set.routes[0].escalate, [Escalation { after: Span::minutes(10), to: vec!["team-mail".into()] }]);
    assert_eq!(set.receivers[0].timeout, Span::seconds(5));
    for dimension in ["app", "route", "region", "step"] {
        assert!(set.named_dimensions.contains(dimension), "{dimension}");
    }
    assert!(set.named_values["route"].contains("/api/checkout") && set.named_values["step"].contains("paid"));
    assert_eq!(set.revision.len(), 40);
    // A rule set is stored, and read back as it was.
    let text = serde_json::to_string(&set).unwrap();
    assert_eq!(serde_json::from_str::<RuleSet>(&text).unwrap(), set);
}

#[test]
fn three_typos_give_three_precise_errors() {
    let text = r#"slo("checkout", #{
    objektive: 99.9,
    sli: good("request", #{ app: "shop", rout: "/api" }),
    alert: [ page(#{ long: "1h", facter: 14.4 }) ],
});
"#;
    assert_eq!(
        said(text),
        [
            "a.rhai:2:5: error: slo `checkout` has no key `objektive`; did you mean `objective`?",
            "a.rhai:3:42: error: `request` has no dimension `rout`; did you mean `route`?",
            "a.rhai:4:34: error: `page` has no key `facter`; did you mean `factor`?",
        ]
    );
}

/// An SLO with these fields beside a good SLI and objective.
fn slo_with(fields: &str) -> String {
    format!("slo(\"s\", #{{ objective: 99.9, sli: good(\"request\", #{{ app: \"shop\" }}), {fields} }});")
}

#[test]
fn syntax_types_and_names_are_reported_in_one_go_over_all_files() {
    let loaded = load_all(&[
        ("a.rhai", "slo(\"a\", #{ objective: \"high\", sli: good(\"reqest\") });\nslo(\"b\" #{ });\nroute(#{ to: [\"pagr\"] });"),
        (
            "b.rhai",
            "receiver(\"pager\", webhok(#{ url: \"https://x.example\" }));\nalert(\"c\", #{ when: |q| q.cuont(\"step\", #{}, \"1h\").total > limit });",
        ),
    ]);
    assert!(loaded.set.is_none());
    assert_eq!(
        loaded.problems.iter().map(ToString::to_string).collect::<Vec<_>>(),
        [
            "a.rhai:1:24: error: `objective` must be a number, not the text \"high\"",
            "a.rhai:1:42: error: there is no metric `reqest`; did you mean `request`?",
            "a.rhai:2:1: error: slo `b` needs `objective`",
            "a.rhai:2:1: error: slo `b` needs `sli`",
            "a.rhai:2:8: error: a `,` is missing after `\"b\"`",
            "a.rhai:3:15: error: there is no receiver `pagr`; did you mean `pager`?",
            "b.rhai:1:19: error: there is no function `webhok`; did you mean `webhook`?",
            "b.rhai:2:27: error: there is no method `cuont`; did you mean `count`?",
            "b.rhai:2:60: error: there is no variable `limit`",
        ]
    );
}

#[test]
fn names_are_unique_per_kind_over_all_files() {
    let slo = slo_with("");
    let loaded = load_all(&[("a.rhai", &slo), ("b.rhai", &slo)]);
    assert_eq!(report(&loaded.problems), "b.rhai:1:1: error: SLO `s` is declared twice; the first one is at a.rhai:1:1\n");
    // The same name for another kind is fine.
    let both = format!("{slo} receiver(\"s\", email(#{{ to: \"a@example.com\" }}));");
    assert!(said(&both).is_empty());
    only("receiver(\"\", email(#{ to: \"a@example.com\" }));", "1 to 200 characters");
}

#[test]
fn a_failing_statement_hides_nothing_after_it() {
    let text = "let a = 1 / 0;\nlet b = 2;\nlet c = [1][7];\nslo(\"s\", #{ objective: b, sli: good(\"request\"), ownr: \"x\" });\nthrow \"stop\";\nslo(\"t\", #{});";
    assert_eq!(
        said(text).iter().map(|line| line.split(": error").next().unwrap()).collect::<Vec<_>>(),
        ["a.rhai:1:11", "a.rhai:3:13", "a.rhai:4:49", "a.rhai:5:1", "a.rhai:6:1", "a.rhai:6:1",]
    );
}

#[test]
fn hostile_folders_end_with_an_error() {
    for text in [
        "loop {}",
        "fn f() { f() } f();",
        "let s = \"x\"; loop { s += s; }",
        "for i in 0..1000000000 { slo(\"s\" + i, #{ objective: 99, sli: good(\"request\") }); }",
    ] {
        let started = std::time::Instant::now();
        let loaded = load_all(&[("a.rhai", text)]);
        assert!(!loaded.is_good(), "{text}");
        assert!(started.elapsed() < std::time::Duration::from_secs(60), "{text}: {:?}", started.elapsed());
        assert!(loaded.problems.len() <= 1_001);
    }
}

#[test]
fn test_files_are_parsed_and_kept_apart() {
    let test = "test(\"x\", |t| { t.traffic(\"request\", #{}, #{ per_minute: 5 }); t.expect_no_incident(); });";
    let loaded = load_all(&[("a.rhai", &slo_with("")), ("a_test.rhai", test), ("lib/x.rhai", "fn one() { 1 }")]);
    assert_eq!(report(&loaded.problems), "");
    let (tests, problems) = loaded.program.tests(&loaded.set.unwrap());
    assert_eq!(problems, []);
    assert_eq!(tests.len(), 1);
    assert_eq!((tests[0].name.as_str(), tests[0].place.to_string().as_str()), ("x", "a_test.rhai:1:1"));
    let bad = load_all(&[("a_test.rhai", "test(\"x\", |t| { t.traffic( });")]);
    assert!(report(&bad.problems).starts_with("a_test.rhai:1:"));
}

#[test]
fn what_a_test_cannot_do_is_said_at_load() {
    let text = "test(\"a\", |t| { t.expct_incident(#{}); expect_no_incident(); });";
    let loaded = load_all(&[("a_test.rhai", text)]);
    let said: Vec<String> = loaded.problems.iter().map(ToString::to_string).collect();
    assert_eq!(
        said,
        [
            "a_test.rhai:1:19: error: there is no method `expct_incident`; did you mean `expect_incident`?",
            "a_test.rhai:1:40: error: `expect_no_incident` is a method of the test: t.expect_no_incident(…)",
        ]
    );
}

#[test]
fn a_function_that_is_given_too_little_says_what_it_takes() {
    only("fn limit(app, region) { 5 }\nlet x = limit(\"shop\");", "a.rhai:2:9: error: `limit` takes 2 values, and gets 1");
    only("let x = abs(\"shop\");", "there is no function `abs` that takes a text");
}

#[test]
fn a_broken_declaration_causes_no_follow_up_errors() {
    let text = "receiver(\"pager\", webhook(#{ url: \"https://x.example\" });\nroute(#{ to: [\"pager\"] });\n";
    assert_eq!(said(text).len(), 1, "{:#?}", said(text));
    let text = "let limit = nonsense(5);\nslo(\"s\", #{ objective: 99, sli: within(\"lcp\", limit + 1, #{}) });";
    assert_eq!(said(text).len(), 1, "{:#?}", said(text));
}

#[test]
fn maps_may_be_made_elsewhere() {
    let text = "let base = #{ objective: 99, ownr: \"x\" };\nlet more = #{ sli: good(\"request\") };\nslo(\"a\", base);\nslo(\"b\", base + more);\n";
    assert_eq!(
        said(text),
        [
            "a.rhai:1:30: error: slo `a` has no key `ownr`; did you mean `owner`?",
            "a.rhai:3:1: error: slo `a` needs `sli`",
            "a.rhai:4:10: error: slo `b` has no key `ownr`; did you mean `owner`?",
        ]
    );
}

#[test]
fn a_thousand_rules_load_in_no_time() {
    let mut text = String::new();
    for i in 0..500 {
        text.push_str(
            &CONTRACT[..CONTRACT.find("receiver(").unwrap()]
                .replace("checkout-lcp\", #", &format!("lcp-{i}\", #"))
                .replace("checkout-api\"", &format!("api-{i}\""))
                .replace("conversion-drop", &format!("drop-{i}")),
        );
    }
    let started = std::time::Instant::now();
    let loaded = load_all(&[("a.rhai", &text)]);
    assert!(loaded.is_good(), "{}", report(&loaded.problems[..3]));
    // The promise is 2 s when optimised; this is a debug build.
    assert!(started.elapsed() < std::time::Duration::from_secs(20));
}

#[test]
fn ten_thousand_slos_in_one_file_of_more_lines_than_rhai_counts() {
    let mut text = String::new();
    for i in 0..10_000 {
        text.push_str(&format!(
            "slo(\"s-{i}\", #{{\n    objective: 99.9,\n    service: \"shop\",\n    owner: \"x\",\n    sli: good(\"request\", #{{ route: \"/r/{i}\" }}),\n    alert: burn_rate(),\n}});\n\n"
        ));
    }
    let loaded = load_all(&[("a.rhai", &text)]);
    assert_eq!(report(&loaded.problems), "");
    assert_eq!(loaded.set.unwrap().slos.len(), 10_000);
}

#[test]
fn every_slip_of_a_statement_is_named_at_once() {
    let rules = r#"slo("a", #{ objective: 100, sli: good("reqest", #{ rout: "/a" }), alert: [ page("3x", "1h") ], min_evnts: 5 });
alert("b", #{ every: "90 s", when: |q| q.count("request", "5m").bda > 5.0 });
alert("c", #{ when: |q| q.count("request", "5m").bad });
slo("c", #{ objective: 99, sli: good("request", #{ region: "/[/" }) });"#;
    let said = report(&load_all(&[("a.rhai", rules)]).problems);
    for part in [
        "a.rhai:1:24: error: `objective` is in per cent and must be above 0 and below 100 (100 % would leave no budget), not 100",
        "a.rhai:1:39: error: there is no metric `reqest`; did you mean `request`?",
        "a.rhai:1:52: error: there is no dimension `rout`; did you mean `route`?",
        "a.rhai:1:76: error: `page` does not take these arguments",
        "a.rhai:1:96: error: slo `a` has no key `min_evnts`; did you mean `min_events`?",
        "a.rhai:2:22: error: `every`: `90 s` is no duration",
        "error: in alert `b`: there is no `bda` in this map; did you mean `bad`?",
        "a.rhai:3:21: error: in alert `c`: `when` of `c` gave a number",
        "a.rhai:4:1: error: SLO `c` has the name of the alert at a.rhai:3:1",
        "is no regular expression: unclosed character class",
    ] {
        assert!(said.contains(part), "{part}\n{said}");
    }
    let broken = load_all(&[
        (
            "a.rhai",
            "slo(\"a\", #{ objective: 99, sli: good(\"request\", #{ app: x::app() }) });\nslo(\"b\", #{ objective: 99, sli: good(\"request\", #{ app: y::app() }) });",
        ),
        ("lib/x.rhai", "fn app( { \"shop\" }"),
    ]);
    let said = report(&broken.problems);
    assert_eq!(said.lines().count(), 2, "{said}");
    assert!(
        said.contains("a.rhai:2:57: error: there is no module `y`") && said.contains("lib/x.rhai:1:7: error: this `(` is never closed"),
        "{said}"
    );
}
