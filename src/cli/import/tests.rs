use super::*;
use crate::domain::rule::{Place, RuleSet, Slo};
use crate::rules;

pub(super) fn import(format: Format, text: &str) -> Import {
    convert(format, &[("spec.yml".to_owned(), text.to_owned())])
}

/// Loads what was written as the daemon would.
pub(super) fn loaded(import: &Import) -> RuleSet {
    let loaded = rules::load(&import.files, &rules::Env::defaults());
    let errors: Vec<String> = loaded.errors().map(ToString::to_string).collect();
    assert!(errors.is_empty(), "{errors:#?}\n{:#?}", import.files);
    loaded.set.expect("there is no error")
}

pub(super) fn text(import: &Import) -> String {
    import.files.values().cloned().collect()
}

pub(super) fn warned(import: &Import, words: &str) -> bool {
    import.faults.iter().any(|fault| fault.message.contains(words))
}

pub(super) fn fate(import: &Import, path: &str) -> String {
    let field = import.fields.iter().find(|field| field.path == path);
    field.map_or_else(|| panic!("{path} is not reported: {}", import.report()), |field| field.fate.name().to_owned())
}

/// Without the places, which are no part of what a rule means.
fn bare(set: &RuleSet) -> Vec<Slo> {
    let mut slos = set.slos.clone();
    for slo in &mut slos {
        slo.place = Place::default();
        slo.tiers.iter_mut().for_each(|tier| tier.place = Place::default());
    }
    slos
}

const SLOTH: &str = r##"
version: "prometheus/v1"
service: "shop"
labels: { owner: "web", cost/centre: "7" }
slos:
  - name: "availability"
    objective: 99.9
    description: "Requests that do not fail"
    labels: { severity: loud }
    sli:
      events:
        error_query: sum(rate(http_requests_total{code=~"5.."}[{{.window}}]))
        total_query: sum(rate(http_requests_total[{{.window}}]))
    alerting:
      name: ShopFails
      annotations: { runbook: "https://runbooks.example.com/shop", summary: "fails" }
      page_alert: { labels: { team: "#web" } }
      ticket_alert: { disable: true }
  - name: "impossible"
    objective: 101
    sli: { raw: { error_ratio_query: "x" } }
    alerting: { page_alert: { disable: true }, ticket_alert: { disable: true } }
  - name: "fraction"
    objective: 0.995
    sli: { plugin: { id: burnwatch, options: { metric: request, app: shop, route: /api } } }
    unheard: of
"##;

#[test]
fn sloth_keeps_names_and_says_what_needs_a_person() {
    let import = import(Format::Sloth, SLOTH);
    let set = loaded(&import);
    let names: Vec<&str> = set.slos.iter().map(|slo| slo.name.as_str()).collect();
    assert_eq!((names, import.declared), (vec!["availability", "fraction"], 2));
    let slo = set.slo("availability").unwrap();
    assert!(!slo.enabled);
    assert_eq!((slo.budget_ppm, slo.owner.as_str(), slo.service.as_str()), (1_000, "web", "shop"));
    assert_eq!(slo.labels.get("cost/centre").map(String::as_str), Some("7"));
    assert_eq!(slo.runbook.as_deref(), Some("https://runbooks.example.com/shop"));
    let tiers: Vec<String> =
        slo.tiers.iter().map(|tier| format!("{} {} {} {}", tier.severity, tier.long, tier.short, tier.factor)).collect();
    assert_eq!(tiers, ["page 1h 5m 14.4", "page 6h 30m 6"]);
    assert!(text(&import).contains(r#"//   events.error_query: sum(rate(http_requests_total{code=~"5.."}[{{.window}}]))"#));
    assert_eq!(fate(&import, "slos[0].sli.events.error_query"), "needs-mapping");
    assert_eq!(fate(&import, "slos[0].alerting.page_alert.labels.team"), "needs-mapping");
    assert_eq!(fate(&import, "slos[0].alerting.name"), "ignored");
    assert_eq!(fate(&import, "slos[0].objective"), "mapped");
    assert_eq!(fate(&import, "slos[2].unheard"), "needs-mapping");
}

#[test]
fn an_impossible_target_is_named_and_kept_as_a_comment() {
    let import = import(Format::Sloth, SLOTH);
    assert!(warned(&import, "`101` is an impossible target"));
    assert!(text(&import).contains("// not declared, because `101` is an impossible target"));
    assert!(text(&import).contains("// slo(\"impossible\""));
}

#[test]
fn a_fraction_for_a_percentage_is_named_and_a_binding_enables() {
    let import = import(Format::Sloth, SLOTH);
    assert!(warned(&import, "`0.995` is a fraction where a percentage is expected"));
    let set = loaded(&import);
    let slo = set.slo("fraction").unwrap();
    assert_eq!((slo.enabled, slo.budget_ppm), (true, 5_000));
    assert!(text(&import).contains(r#"sli: good("request", #{ app: "shop", route: "/api" }),"#));
    assert!(text(&import).contains("alert: burn_rate(),"));
}

#[test]
fn a_catalogue_of_windows_sets_period_and_tiers_exactly() {
    let windows = "apiVersion: sloth.slok.dev/v1\nkind: AlertWindows\nspec:\n  sloPeriod: 28d\n  page:\n    quick: {errorBudgetPercent: 2, shortWindow: 5m, longWindow: 1h}\n  ticket:\n    slow: {errorBudgetPercent: 10, shortWindow: 6h, longWindow: 3d}\n";
    let slo = SLOTH.replace("ticket_alert: { disable: true }\n  - name: \"impossible\"", "ticket_alert: {}\n  - name: \"impossible\"");
    let import = convert(Format::Sloth, &[("w.yml".into(), windows.into()), ("s.yml".into(), slo)]);
    let set = loaded(&import);
    let slo = set.slo("availability").unwrap();
    assert_eq!(slo.window.to_string(), "28d");
    let tiers: Vec<String> = slo.tiers.iter().map(|tier| format!("{} {} {}", tier.severity, tier.long, tier.factor)).collect();
    assert_eq!(tiers, ["page 1h 13.44", "ticket 3d 14/15"]);
}

#[test]
fn pyrra_has_its_own_tiers_and_limits_in_milliseconds() {
    let import = import(
        Format::Pyrra,
        r##"
apiVersion: pyrra.dev/v1alpha1
kind: ServiceLevelObjective
metadata: { name: latency, namespace: shop, labels: { role: alert-rules, pyrra.dev/team: web } }
spec:
  description: Fast
  target: "99"
  window: 2w
  indicator:
    latency:
      success: { metric: 'http_bucket{job="a",le="0.05"}' }
      total: { metric: 'http_count{job="a"}' }
      grouping: [handler, region]
---
apiVersion: pyrra.dev/v1alpha1
kind: ServiceLevelObjective
metadata: { name: minutes, annotations: { burnwatch.dev/metric: lcp, burnwatch.dev/limit: "2500", burnwatch.dev/where: "app=shop" } }
spec:
  target: "0.9"
  window: 1m
  alerting: { burnrates: false, absent: false }
  indicator: { bool_gauge: { metric: up }, ratio: { errors: { metric: a }, total: { metric: b } } }
"##,
    );
    let set = loaded(&import);
    let slo = set.slo("latency").unwrap();
    assert_eq!((slo.owner.as_str(), slo.window.to_string().as_str(), slo.enabled), ("web", "14d", false));
    assert!(text(&import).contains(r#"sli: within("custom:latency", 50.0, #{}),"#));
    let tiers: Vec<String> =
        slo.tiers.iter().map(|tier| format!("{} {} {} {} {}", tier.severity, tier.long, tier.short, tier.factor, tier.pending)).collect();
    assert_eq!(tiers, ["page 30m 3m 14 1m", "page 3h 15m 7 8m", "ticket 12h 1h 2 30m", "ticket 2d 3h 1 90m"]);
    assert_eq!(slo.by, ["region"]);
    assert_eq!(fate(&import, "spec.indicator.latency.grouping[0]"), "needs-mapping");
    assert_eq!(fate(&import, "metadata.labels.role"), "ignored");

    let slo = set.slo("minutes").unwrap();
    assert!(slo.enabled && slo.tiers.is_empty());
    assert_eq!(slo.window.to_string(), "30d");
    assert!(text(&import).contains(r#"within("lcp", 2500.0, #{ app: "shop" })"#));
    assert!(warned(&import, "`m` is no month") && warned(&import, "several indicators"));
}

fn openslo(spec: &str) -> String {
    format!(
        "apiVersion: openslo/v1\nkind: SLO\nmetadata: {{name: checkout, displayName: Checkout}}\nspec:\n  service: shop\n  budgetingMethod: Occurrences\n{spec}"
    )
}

const LATENCY: &str =
    "  indicator: {spec: {thresholdMetric: {metricSource: {type: burnwatch, spec: {metric: lcp, where: {app: shop, device: '!bot'}}}}}}\n";

#[test]
fn a_wrong_op_is_named_and_disables() {
    let good = import(
        Format::Openslo,
        &openslo(&format!(
            "{LATENCY}  timeWindow: [{{duration: 30d, isRolling: true}}]\n  objectives: [{{op: lte, value: 2500, target: 0.95}}]\n"
        )),
    );
    assert!(good.is_complete(), "{}", good.report());
    assert!(text(&good).contains(r#"sli: within("lcp", 2500.0, #{ app: "shop", device: "!bot" }),"#));
    assert!(loaded(&good).slos[0].enabled);
    let wrong = import(
        Format::Openslo,
        &openslo(&format!(
            "{LATENCY}  timeWindow: [{{duration: 30d, isRolling: true}}]\n  objectives: [{{op: gt, value: 2500, target: 0.95}}]\n"
        )),
    );
    assert!(warned(&wrong, "`op: gt` says that values above the limit are good"));
    assert!(!loaded(&wrong).slos[0].enabled);
    let ratio = "  indicator: {spec: {ratioMetric: {good: {metricSource: {spec: {query: a}}}, total: {metricSource: {spec: {query: b}}}}}}\n  timeWindow: [{duration: 30d}]\n  objectives: [{op: lt, value: 1, target: 0.95}]\n";
    assert!(warned(&import(Format::Openslo, &openslo(ratio)), "`op: lt` is wrong for a ratio"));
}

#[test]
fn windows_that_cannot_be_meant_are_named() {
    let windows = |windows: &str| {
        import(
            Format::Openslo,
            &openslo(&format!("{LATENCY}  timeWindow: {windows}\n  objectives: [{{op: lt, value: 2500, target: 0.95}}]\n")),
        )
    };
    let window = |import: &Import| loaded(import).slos[0].window.to_string();
    let month = windows("[{duration: 1m, isRolling: false, calendar: {startTime: 2024-01-01 12:00:00, timeZone: Europe/Berlin}}]");
    assert_eq!(window(&month), "calendar:month");
    assert!(
        warned(&month, "`1m` means minutes in OpenSLO, where a month is `M`")
            && warned(&month, "the start `2024-01-01 12:00:00` is not kept")
    );
    assert!(text(&month).contains("timezone: \"Europe/Berlin\""));
    let two = windows("[{duration: 1w, isRolling: true}, {duration: 4w, isRolling: true}]");
    assert!(warned(&two, "there are 2 time windows") && window(&two) == "7d");
    assert_eq!(fate(&two, "spec.timeWindow[1].duration"), "needs-mapping");
    assert_eq!(window(&windows("[{duration: 1Q, isRolling: true}]")), "90d");
    assert_eq!(
        window(&windows("[{duration: 1w, isRolling: false, calendar: {startTime: 2024-01-01 00:00:00, timeZone: UTC}}]")),
        "calendar:week"
    );
    let odd = windows("[{duration: 10d, isRolling: false, calendar: {timeZone: Mars/Olympus}}]");
    assert!(warned(&odd, "10d is no period of a calendar") && window(&odd) == "10d");
    assert!(warned(&windows("[{duration: soon}]"), "`soon` is no length of a window"));
    assert!(warned(&windows("[{duration: 99999999999d}]"), "is no length of a window"));
}

#[test]
fn percentages_for_fractions_and_several_objectives_are_named() {
    let import = import(
        Format::Openslo,
        &openslo(&format!(
            "{LATENCY}  timeWindow: [{{duration: 30d}}]\n  objectives:\n  - {{op: lte, value: 2500, target: 99.5}}\n  - {{displayName: The SLA!, op: lte, value: 4000, targetPercent: 99}}\n  - {{op: lte, value: 1, target: 1}}\n"
        )),
    );
    assert!(warned(&import, "`99.5` is a percentage where a fraction from 0 to 1 is expected"));
    assert!(warned(&import, "`1` is an impossible target: 100 %") && warned(&import, "there are 3 objectives"));
    let set = loaded(&import);
    let found: Vec<(&str, u32)> = set.slos.iter().map(|slo| (slo.name.as_str(), slo.budget_ppm)).collect();
    assert_eq!(found, [("checkout", 5_000), ("checkout-the-sla", 10_000)]);
}

#[test]
fn policies_and_conditions_are_found_by_name() {
    let policies = r"---
apiVersion: openslo/v1
kind: AlertPolicy
metadata: {name: fast}
spec:
  alertWhenBreaching: true
  alertWhenNoData: true
  conditions: [{conditionRef: burning}, {kind: AlertCondition, spec: {severity: page, condition: {kind: burnrate, op: lte, threshold: 2, lookbackWindow: 1h, alertAfter: 5m}}}]
  notificationTargets: [{targetRef: pager}]
---
apiVersion: openslo/v1
kind: AlertCondition
metadata: {name: burning}
spec: {severity: page, condition: {kind: burnrate, op: gte, threshold: 14.4, lookbackWindow: -1h, alertAfter: 0m}}
---
apiVersion: openslo/v1
kind: AlertCondition
metadata: {name: never}
spec: {severity: page, condition: {kind: burnrate, op: lt, threshold: 200, lookbackWindow: 1h, alertAfter: 5m}}
---
apiVersion: openslo/v1
kind: AlertNotificationTarget
metadata: {name: pager}
spec: {target: pagerduty}
";
    let slo = openslo(&format!(
        "{LATENCY}  timeWindow: [{{duration: 30d}}]\n  objectives: [{{op: lte, value: 2500, target: 0.95}}]\n  alertPolicies: [fast, {{alertPolicyRef: slow}}]\n"
    ));
    let import = import(Format::Openslo, &format!("{slo}{policies}"));
    let set = loaded(&import);
    assert!(text(&import).contains(r#"page(#{ long: "1h", short: "1h", factor: 14.4, op: ">=" }),"#), "{}", text(&import));
    assert_eq!(set.slos[0].no_data, crate::domain::rule::NoData::Alert);
    assert!(warned(&import, "`op: lte` is wrong") && warned(&import, "`op: lt` is wrong") && warned(&import, "`-1h` is negative"));
    assert!(warned(&import, "there is no AlertPolicy `slow` among the files"));
    assert!(text(&import).contains("// the source tells `pager`: write a receiver and a route"));
    let target = import.fields.iter().find(|field| field.path == "spec.target").unwrap();
    assert_eq!(target.fate.name(), "needs-mapping");
}

#[test]
fn secrets_of_a_source_are_copied_nowhere() {
    let import = import(
        Format::Openslo,
        &openslo(
            "  indicator: {spec: {thresholdMetric: {dataSourceSpec: {connectionDetails: {accessToken: hunter2hunter2, apiKey: [swordfish]}}, spec: {query: q}}}}\n  timeWindow: [{duration: 30d}]\n  objectives: [{op: lte, value: 1, target: 0.9}]\n",
        ),
    );
    let everything = format!("{}{}", text(&import), import.report());
    assert!(!everything.contains("hunter2") && !everything.contains("swordfish"), "{everything}");
    assert!(text(&import).contains("[not copied]"));
}

#[test]
fn what_is_no_specification_is_reported_and_gives_no_rules() {
    for (text, words) in [
        ("apiVersion: v1\nkind: Pod\nspec: {a: 1}", "`v1` is not known"),
        ("just: text", "nothing says what it is"),
        ("", "there is nothing in it"),
        ("a: [", "this is no YAML"),
        ("apiVersion: openslo/v1\nkind: SLO\nmetadata: {}\nspec: {}", "the SLO has no name"),
        ("version: prometheus/v1\nslos: []", "there is no SLO in it"),
    ] {
        let import = import(Format::Openslo, text);
        assert!(warned(&import, words), "{text}: {}", import.report());
        assert_eq!(import.declared, 0);
        assert!(!import.is_complete());
    }
}

#[test]
fn names_that_meet_are_qualified_by_service() {
    let two = format!("{SLOTH}---\n{}", SLOTH.replace("service: \"shop\"", "service: \"blog\""));
    let import = import(Format::Sloth, &two);
    let set = loaded(&import);
    let names: Vec<&str> = set.slos.iter().map(|slo| slo.name.as_str()).collect();
    assert_eq!(names, ["availability", "fraction", "blog-availability", "blog-fraction"]);
    assert!(warned(&import, "`availability` is called `blog-availability` here"));
}

const OWN: &str = r##"
slo("checkout-lcp", #{
    description: "Checkout pages whose \"largest\" paint\ncomes in time", owner: "team-checkout", service: "shop",
    objective: 95.0, window: "28d", sli: within("lcp", 2500, #{ app: "shop", route: ["/checkout", "/cart*"], device: "!bot" }),
    by: ["region"], alert: burn_rate(), runbook: "https://runbooks.example.com/lcp", labels: #{ team: "x", tier: "1", "a.b/c": "2" },
});
slo("api", #{
    objective: 99.95, window: "calendar:month", timezone: "Europe/Berlin", sli: below("request", 300.5, #{ app: "shop", region: "!/eu-.*/" }),
    alert: [ page(#{ long: "1h", short: "5m", factor: 14.4, pending: "2m", keep_firing: "10m" }), ticket(#{ long: "3d", short: "6h", factor: 1.0, op: ">=" }) ],
    min_events: 50, min_bad: 3, confidence: 0.99, traffic_corrected: true, no_data: "alert", tier: "gold", dashboard: "https://d.example.com",
    budget_policy: #{ stop_below: 0.1, stop_on: "page" }, enabled: false,
});
slo("funnel", #{ objective: 60, sli: ratio(count("step", #{ step: "paid" }), count("step", #{ step: "cart" })) });
slo("slices", #{ objective: 99.9, sli: slices(good("request", #{ app: "shop" }), "5m", 95.5, #{ empty: "bad" }), window: "90d" });
slo("calls", #{ objective: 99, window: "30m", sli: good("request", #{}) });
slo("worst", #{ objective: 99, sli: composite(["api", "slices"], "worst") });
slo("mean", #{ objective: 99, sli: composite(["api", "slices"], "weighted", [1, 2.5]) });
"##;

#[test]
fn our_own_export_is_a_fixed_point() {
    let set = rules::load(&BTreeMap::from([("own.rhai".to_owned(), OWN.to_owned())]), &rules::Env::defaults());
    assert!(set.is_good(), "{}", rules::report(&set.problems));
    let set = set.set.unwrap();
    let exported = export_openslo(&set.slos);
    let back = import(Format::Openslo, &exported);
    assert!(back.is_complete(), "{}\n{exported}", back.report());
    assert_eq!(bare(&loaded(&back)), bare(&set));
    assert_eq!(export_openslo(&loaded(&back).slos), exported);
    // And what is written is what would be written of itself.
    assert_eq!(import(Format::Openslo, &export_openslo(&loaded(&back).slos)).files, back.files);
}

#[test]
fn imports_of_others_are_kept_by_our_own_export() {
    let first = loaded(&import(Format::Sloth, SLOTH));
    let second = import(Format::Openslo, &export_openslo(&first.slos));
    assert!(second.is_complete(), "{}", second.report());
    assert_eq!(bare(&loaded(&second)), bare(&first));
}

#[test]
fn a_folder_is_written_once_and_never_over_rules_made_by_hand() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("shop.yml");
    fs::write(&source, SLOTH).unwrap();
    let out = folder.path().join("rules");
    let args = |strict| ImportArgs { format: Format::Sloth, files: vec![source.clone()], out: Some(out.clone()), strict, json: false };
    assert_eq!(run(&args(false)).unwrap(), 0);
    assert_eq!(run(&args(true)).unwrap(), 1);
    let written = out.join("shop.rhai");
    assert!(fs::read_to_string(&written).unwrap().starts_with(MARK));
    fs::write(&written, "// mine").unwrap();
    assert!(run(&args(false)).unwrap_err().to_string().contains("was not written by an import"));
    fs::write(&source, "a: b").unwrap();
    assert_eq!(run(&args(false)).unwrap(), 1);
    assert!(run(&ImportArgs { files: vec![folder.path().join("gone.yml")], ..args(false) }).is_err());
}
