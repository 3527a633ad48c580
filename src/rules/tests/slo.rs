//! SLOs, their SLIs and their tiers.

use super::*;

#[test]
fn objectives_are_per_cents_with_four_decimals_at_most() {
    assert_eq!(good("slo(\"s\", #{ objective: 99, sli: good(\"request\") });").slos[0].budget_ppm, 10_000);
    assert_eq!(good("slo(\"s\", #{ objective: 99.9999, sli: good(\"request\") });").slos[0].budget_ppm, 1);
    assert_eq!(good("slo(\"s\", #{ objective: 50, sli: good(\"request\") });").slos[0].budget_ppm, 500_000);
    for (objective, part) in [
        ("100", "no budget"),
        ("100.0", "no budget"),
        ("0", "above 0"),
        ("-1", "above 0"),
        ("120", "below 100"),
        ("99.99999", "at most 4 decimals"),
        ("\"99.9\"", "must be a number"),
        ("[99]", "must be a number, not a list"),
    ] {
        only(&format!("slo(\"s\", #{{ objective: {objective}, sli: good(\"request\") }});"), part);
    }
    only(
        "slo(\"s\", #{ objective: 0.999, sli: good(\"request\") });",
        "warning: an objective is in per cent: this one is 0.999 %; write 99.9 if",
    );
    only("slo(\"s\", #{ sli: good(\"request\") });", "a.rhai:1:1: error: slo `s` needs `objective`");
}

#[test]
fn a_tier_that_can_never_hold_is_refused() {
    let tier = |objective: &str, tier: &str| {
        format!("slo(\"s\", #{{ objective: {objective}, sli: good(\"request\"), alert: page(#{{ {tier} }}) }});")
    };
    // 3x on a 50 % budget; at 90 % a total outage burns exactly 10x.
    only(&tier("50", "long: \"1h\", factor: 3"), "can never hold: at this objective a total outage burns 2x");
    only(&tier("90", "long: \"1h\", factor: 10"), "can never hold");
    assert!(said(&tier("90", "long: \"1h\", factor: 10, op: \">=\"")).is_empty());
    only(&tier("90", "long: \"1h\", factor: 10.5, op: \">=\""), "can never hold");
    only(&tier("99.9", "long: \"1h\", factor: 0"), "must be above 0");
    only(&tier("99.9", "long: \"1h\", factor: -2.5"), "must be above 0");
    only(&tier("99.9", "long: \"5m\", short: \"1h\", factor: 3"), "`short` is 1h, longer than `long`");
    only(&tier("99.9", "long: \"31d\", short: \"1h\", factor: 3"), "longer than the SLO's window of 30d");
    only(&tier("99.9", "long: \"90s\", factor: 3"), "whole buckets of 1m");
    only(&tier("99.9", "long: \"1h\", short: \"30s\", factor: 3"), "whole buckets of 1m");
    only(&tier("99.9", "long: \"1h\""), "`page` needs `factor`");
    only(&tier("99.9", "factor: 3.0"), "`page` needs `long`");
    only(&tier("99.9", "long: \"1h\", factor: 3, budget: 0.02"), "write one of them");
    only(&tier("99.9", "long: \"1h\", factor: 3, op: \"<\""), "`op` cannot be `<`");
    only(&tier("99.9", "long: \"1 hour\", factor: 3"), "`1 hour` is no duration");
    only(&tier("99.9", "long: 60, factor: 3"), "a duration in quotes");
    only(&tier("99.9", "long: \"1h\", budget: 2"), "0.02 means 2 %");
}

#[test]
fn a_budget_share_is_scaled_to_the_period_exactly() {
    let tiers = |fields: &str| good(&slo_with(fields)).slos.remove(0).tiers;
    assert_eq!(tiers("alert: page(#{ long: \"1h\", budget: 0.02 })")[0].factor, Fraction::new(144, 10).unwrap());
    assert_eq!(tiers("window: \"7d\", alert: page(#{ long: \"1h\", budget: 0.02 })")[0].factor, Fraction::new(336, 100).unwrap());
    // A day is a seventh of a week and 28 days hold no whole number of 13 hours.
    assert_eq!(
        tiers("window: \"28d\", alert: page(#{ long: \"13h\", short: \"1h\", budget: 0.02 })")[0].factor,
        Fraction::new(672 * 2, 1300).unwrap()
    );
    let default_short = |long: &str| tiers(&format!("alert: page(#{{ long: \"{long}\", factor: 2 }})"))[0].short;
    assert_eq!([default_short("1h"), default_short("30m"), default_short("5m")], [Span::minutes(5), Span::minutes(2), Span::minutes(1)]);
    // Calendar periods count as 1, 7, 30, 90, 365 days.
    let quarter = tiers("window: \"calendar:quarter\", timezone: \"Europe/Berlin\", alert: burn_rate()");
    assert_eq!(quarter[0].factor, Fraction::new(432, 10).unwrap());
}

#[test]
fn presets_leave_out_what_cannot_hold_and_say_so() {
    let loaded = load_all(&[("a.rhai", "slo(\"s\", #{ objective: 90, sli: good(\"request\"), alert: burn_rate() });")]);
    assert_eq!(loaded.set.unwrap().slos[0].tiers.len(), 3);
    assert_eq!(loaded.problems.len(), 1);
    assert!(loaded.problems[0].message.contains("leaves out its page tier over 1h"), "{}", loaded.problems[0]);
    let day = load_all(&[("a.rhai", &slo_with("window: \"1d\", alert: burn_rate()"))]);
    let set = day.set.unwrap();
    // 2 %, 5 % and 10 % of one day; three days do not fit.
    let factors: Vec<String> = set.slos[0].tiers.iter().map(|tier| tier.factor.to_string()).collect();
    assert_eq!(factors, ["0.48", "0.2", "0.1"]);
    only(
        "slo(\"s\", #{ objective: 99, window: \"10m\", sli: good(\"request\"), alert: burn_rate() });",
        "error: burn_rate has no tier that could ever hold",
    );
}

#[test]
fn three_times_over_fifteen_minutes() {
    let tiers = good(&slo_with("alert: burn_rate(\"3x15m\")")).slos.remove(0).tiers;
    let text: Vec<String> = tiers.iter().map(|t| format!("{} {} {} {} {}", t.severity, t.factor, t.long, t.short, t.pending)).collect();
    assert_eq!(text, ["page 3 5m 5m 15m", "ticket 3 1d 2h 0s", "ticket 1 3d 6h 0s"]);
    only(&slo_with("alert: burn_rate(\"3x\")"), "there is only burn_rate(\"3x15m\")");
}

#[test]
fn advice_on_outages_that_are_noticed_too_late_and_on_equal_tiers() {
    // 99.99 % of 30 days leaves 4.32 minutes.
    only(
        "slo(\"s\", #{ objective: 99.99, sli: good(\"request\"), alert: page(#{ long: \"1h\", factor: 14.4, pending: \"15m\" }) });",
        "warning: a total outage would be noticed after 16 minutes",
    );
    assert!(said("slo(\"s\", #{ objective: 99.99, sli: good(\"request\"), alert: burn_rate() });").is_empty());
    only(
        &slo_with("alert: [page(#{ long: \"1h\", factor: 3 }), ticket(#{ long: \"1h\", short: \"5m\", factor: 3.0 })]"),
        "warning: two tiers of `s` are equal",
    );
}

#[test]
fn windows_and_zones() {
    only(&slo_with("window: \"90s\""), "whole buckets of 1m");
    only(&slo_with("window: \"calendar:fortnight\""), "only calendar:day|week|month|quarter|year");
    only(&slo_with("window: \"calendar:month\", timezone: \"Europe/Berlni\""), "did you mean `Europe/Berlin`?");
    only(&slo_with("timezone: \"Europe/Berlin\""), "warning: `timezone` has no effect");
    only(&slo_with("window: \"500d\""), "warning: `window` is 500d, longer than what is kept (400d)");
    only(&slo_with("window: 30"), "must be a text like \"30d\"");
    let set = good(&slo_with("window: \"calendar:week\", timezone: \"Europe/Berlin\""));
    assert_eq!(set.slos[0].window, SloWindow::Calendar { period: Period::Week, timezone: "Europe/Berlin".into() });
}

#[test]
fn every_sli_constructor() {
    let sli = |text: &str| {
        good(&format!("slo(\"a\", #{{ objective: 99, sli: good(\"session\") }}); slo(\"s\", #{{ objective: 99, sli: {text} }});"))
            .slos
            .remove(1)
            .sli
    };
    assert!(matches!(sli("good(\"page_view\")"), Sli::Good(_)));
    assert!(matches!(sli("below(\"cls\", 0.1)"), Sli::Within { limit, .. } if !limit.inclusive));
    assert!(
        matches!(sli("within(\"custom:replay\", 5, #{ device: \"!bot\" })"), Sli::Within { limit, .. } if limit.inclusive && limit.value == 5.0)
    );
    let ratio = sli("ratio(count(\"step\", #{ step: \"paid\", funnel: [\"a\", \"b\"] }), count(\"step\", #{ step: \"cart\" }))");
    assert!(matches!(ratio, Sli::Ratio { good, .. } if good.filter.get("funnel") == Some(&Match::AnyOf(vec!["a".into(), "b".into()]))));
    let slices = sli("slices(good(\"request\"), \"1m\", 95.0, #{ empty: \"bad\" })");
    assert!(matches!(slices, Sli::Slices { target_ppm: 950_000, empty: EmptySlice::Bad, .. }));
    assert!(matches!(sli("slices(good(\"request\"), \"5m\", 100)"), Sli::Slices { target_ppm: 1_000_000, empty: EmptySlice::Skip, .. }));
    assert!(matches!(sli("composite([\"a\"])"), Sli::Composite { how: Combine::Worst, .. }));
    let weighted = sli("composite([\"a\"], \"weighted\", [0.5])");
    assert!(matches!(weighted, Sli::Composite { how: Combine::Weighted(weights), .. } if weights == [Fraction::new(1, 2).unwrap()]));
    only(&slo_with("").replace("good(\"request\", #{ app: \"shop\" })", "external(\"prometheus\", \"up\")"), "warning: external sources");
}

#[test]
fn sli_slips_are_explained() {
    let sli =
        |text: &str| format!("slo(\"a\", #{{ objective: 99, sli: good(\"session\") }}); slo(\"s\", #{{ objective: 99, sli: {text} }});");
    for (text, part) in [
        ("good(\"lcp\", #{})", "never bad by itself"),
        ("within(\"session\", 5, #{})", "has no values"),
        ("within(\"lcp\", \"2500\", #{})", "must be a number"),
        ("within(\"lcp\", -1)", "cannot be negative"),
        ("good(\"request\", #{ step: \"x\" })", "`request` has no dimension `step`"),
        ("good(\"request\", #{ status: 500 })", "a text (as in \"200\")"),
        ("good(\"request\", #{ route: \"/(/\" })", "is no regular expression"),
        ("good(\"request\", #{ route: [] })", "empty list"),
        ("good(\"request\", \"shop\")", "must be a map"),
        ("good(#{ app: \"shop\" })", "the metric must be a text"),
        ("ratio(good(\"request\"), good(\"request\"))", "count(metric, where)"),
        ("slices(composite([\"a\"]), \"1m\", 95)", "not from slices, composites"),
        ("slices(good(\"request\"), \"90s\", 95)", "whole buckets"),
        ("slices(good(\"request\"), \"1m\", 950)", "in per cent"),
        ("slices(good(\"request\"), \"1m\", 95, #{ empyt: \"bad\" })", "did you mean `empty`?"),
        ("composite([\"a\", \"zz\"])", "there is no SLO `zz`"),
        ("composite([\"s\"])", "contains itself"),
        ("composite([\"a\"], \"worse\")", "did you mean `worst`?"),
        ("composite([\"a\"], \"weighted\", [1, 2])", "a weight for each"),
        ("composite([])", "at least one member"),
        ("\"lcp\"", "must be an SLI"),
        ("good()", "`good` does not take these arguments; it takes good(metric, where)"),
        ("good(\"custom:a b\")", "is no custom metric"),
    ] {
        let said = said(&sli(text));
        assert!(said.iter().any(|line| line.contains(part)), "{text}\n{said:#?}");
    }
}

#[test]
fn a_path_between_slashes_is_pointed_out() {
    only(&slo_with("").replace("app: \"shop\"", "route: \"/checkout/\""), "warning: `/checkout/` is a regular expression");
    assert!(said(&slo_with("").replace("app: \"shop\"", "route: \"/eu-.*/\"")).is_empty());
    only(&slo_with("").replace("app: \"shop\"", "route: [\"/checkout*\"]"), "is taken literally");
}

#[test]
fn slo_fields_have_their_types() {
    for (fields, part) in [
        ("min_events: -1", "a whole number"),
        ("min_events: 1.5", "a whole number"),
        ("confidence: 99", "from 0.5 to below 1"),
        ("no_data: \"keeep\"", "did you mean `keep`?"),
        ("traffic_corrected: 1", "true or false"),
        ("labels: #{ severity: \"x\" }", "set by burnwatch itself"),
        ("labels: #{ team: 5 }", "`team` must be a text"),
        ("by: \"regoin\"", "did you mean `region`?"),
        ("by: [\"region\", \"region\"]", "stands twice"),
        ("by: [\"step\"]", "`request` has no dimension `step`"),
        ("budget_policy: #{ stop_below: 10 }", "0.1 means 10 %"),
        ("owner: secret(\"X\")", "`owner` must be a text, not a secret"),
        ("owner: 5", "must be a text, not 5"),
        ("alert: \"burn_rate\"", "must be burn_rate()"),
        ("alert: [burn_rate(), 5]", "item 2 of `alert` must be"),
        ("team: \"x\"", "did you mean `owner`?"),
        ("target: 99", "did you mean `objective`?"),
        ("xyz: 99", "it knows `description`"),
    ] {
        only(&slo_with(fields), part);
    }
    let set = good(&slo_with(
        "tier: 1, min_bad: 3, labels: #{ journey: \"buy\" }, budget_policy: #{ stop_below: 0.1, stop_on: \"page\" }, owner: ()",
    ));
    assert_eq!((set.slos[0].tier.as_deref(), set.slos[0].min_bad), (Some("1"), Some(3)));
    assert_eq!(set.slos[0].budget_policy, Some(BudgetPolicy { stop_below: Fraction::new(1, 10).unwrap(), stop_on: Some(Severity::Page) }));
    assert!(set.slos[0].enabled && !good(&slo_with("enabled: false")).slos[0].enabled);
}

#[test]
fn a_composite_has_the_dimensions_of_its_members() {
    let members = r#"slo("a", #{ objective: 99, by: ["region", "device"], sli: good("request", #{}) });
slo("c", #{ objective: 99, by: ["region"], sli: composite(["a"]), alert: burn_rate() });"#;
    let said = report(&load_all(&[("a.rhai", members)]).problems);
    assert!(said.contains("`c` is by `region`, but its member `a` is by `region` and `device`: they must be the same"), "{said}");
}
