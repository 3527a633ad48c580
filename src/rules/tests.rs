//! The language from outside: what loads, what is said about what does not, what closures give.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::*;
use crate::domain::filter::{Filter, Match};
use crate::domain::fraction::Fraction;
use crate::domain::measure::{Answer, Baseline, Change, Counted, Measure, Top, Unanswered};
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
