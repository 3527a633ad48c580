//! Closures of free-form rules: what they see, what they give, and what is said of their slips.

use super::*;
use crate::domain::measure::{Answer, Baseline, Change, Counted, Measure, Top, Unanswered};

#[test]
fn libraries_are_seen_by_every_script_and_by_closures_after_loading() {
    let lib = r#"
fn lcp_limit(region) { if region == "apac" { 3200.0 } else { base() } }
fn base() { 2500.0 }
fn worse(q, region) { q.quantile("lcp", 0.75, #{ app: other::app() }, "15m") > lcp_limit(region) }
fn team_slo(name, route) { slo(name, #{ objective: 99, sli: good("request", #{ route: route }) }) }
"#;
    let main = r#"
let limit = vitals::lcp_limit("apac");
slo("a", #{ objective: 95, sli: within("lcp", limit, #{ app: "shop" }) });
vitals::team_slo("b", "/b");
fn twice(x) { x * 2.0 }
alert("c", #{ by: ["region"], when: |q| vitals::worse(q, q.label("region")) && twice(limit) > 5000.0, summary: |q| `LCP in ${q.label("region")}` });
"#;
    let loaded = load_all(&[("lib/other.rhai", "fn app() { \"shop\" }"), ("lib/vitals.rhai", lib), ("main.rhai", main)]);
    assert_eq!(report(&loaded.problems), "");
    let set = loaded.set.unwrap();
    assert_eq!(set.slos.len(), 2);
    assert_eq!(set.slos[1].place.path, "lib/vitals.rhai");
    let group = Labels::from([("region".to_owned(), "apac".to_owned())]);
    let verdict = loaded.program.ask("c", &group, Arc::new(Fixed(4_000.0))).unwrap();
    assert_eq!(verdict, Verdict::Holds { severity: Severity::Ticket, summary: "LCP in apac".into() });
    assert!(set.named_values["app"].contains("shop"));
    for (text, part) in [
        ("let x = vitls::base();", "there is no module `vitls`"),
        ("let x = vitals::bse();", "there is no function `bse` in lib/vitals.rhai; did you mean `base`?"),
    ] {
        let loaded = load_all(&[("lib/vitals.rhai", "fn base() { 1 }"), ("main.rhai", text)]);
        assert!(report(&loaded.problems).contains(part), "{}", report(&loaded.problems));
    }
    let bad = load_all(&[("lib/web-vitals.rhai", "fn base() { 1 }")]);
    assert!(report(&bad.problems).contains("cannot be the name of a module"));
}

#[test]
fn an_error_inside_a_library_is_placed_there() {
    let loaded = load_all(&[
        ("lib/x.rhai", "fn f(q) {\n  q.count(\"request\", #{}, \"1h\").totl > 5\n}"),
        ("m.rhai", "alert(\"a\", #{ when: |q| x::f(q) });"),
    ]);
    assert!(report(&loaded.problems).starts_with("lib/x.rhai:2:"), "{}", report(&loaded.problems));
}

/// Answers every query with one number.
#[derive(Debug)]
struct Fixed(f64);

impl Measure for Fixed {
    fn count(&self, _: &Metric, filter: &Filter, _: Span) -> Answer<Counted> {
        match filter.get("region") {
            Some(Match::Equal(region)) if region == "none" => Err(Unanswered::NoData("no events".into())),
            Some(Match::AnyOf(any)) if any.is_empty() => Ok(Counted::default()),
            _ => Ok(Counted { total: self.0, bad: self.0 / 2.0, raw: self.0 }),
        }
    }
    fn quantile(&self, _: &Metric, _: f64, _: &Filter, _: Span) -> Answer<f64> {
        Ok(self.0)
    }
    fn users(&self, _: &Metric, _: &Filter, _: Span) -> Answer<f64> {
        panic!("a measure that panics")
    }
    fn bad_users(&self, _: &Metric, _: &Filter, _: Span) -> Answer<f64> {
        Ok(self.0)
    }
    fn baseline(&self, _: &Metric, _: &Filter, _: Span) -> Answer<Baseline> {
        Ok(Baseline { median: self.0, mad: 0.0, z: 0.0 })
    }
    fn top(&self, _: &Metric, _: &str, _: &Filter, _: Span) -> Answer<Vec<Top>> {
        Ok(vec![Top { value: "x".into(), counted: Counted::default(), share: 1.0 }])
    }
    fn burn(&self, slo: &str, group: &Labels, _: Span) -> Answer<f64> {
        Ok(if slo == "by-region" && group.get("region").is_some() { 7.0 } else { 1.0 })
    }
    fn budget(&self, _: &str, _: &Labels) -> Answer<f64> {
        Err(Unanswered::Failed("the store is gone".into()))
    }
    fn consumed(&self, slo: &str, group: &Labels, window: Option<Span>) -> Answer<f64> {
        let own = slo == "by-region" && group.contains_key("region");
        Ok(if own { 0.25 } else { 0.5 } * if window == Some(Span::DAY) { 0.5 } else { 1.0 })
    }
    fn exhausted_within(&self, _: &str, _: &Labels, within: Span, window: Option<Span>) -> Answer<bool> {
        Ok(within >= if window.is_some() { Span::hours(6) } else { Span::days(4) })
    }
    fn changes(&self, _: &Filter, _: Span) -> Answer<Vec<Change>> {
        Ok(Vec::new())
    }
}

fn ask(when: &str, group: &[(&str, &str)]) -> Result<Verdict, RuleError> {
    let by: Vec<&str> = group.iter().map(|(name, _)| *name).collect();
    let text = format!(
        "slo(\"by-region\", #{{ objective: 99, sli: good(\"request\"), by: \"region\" }});\nalert(\"a\", #{{ severity: \"page\", by: {by:?}, when: |q| {when} }});"
    );
    let loaded = load_all(&[("a.rhai", &text)]);
    assert!(loaded.is_good(), "{}", report(&loaded.problems));
    let group = group.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    loaded.program.ask("a", &group, Arc::new(Fixed(100.0)))
}

#[test]
fn closures_give_verdicts() {
    let holds = Ok(Verdict::Holds { severity: Severity::Page, summary: String::new() });
    assert_eq!(ask("q.count(\"request\", #{ app: \"shop\" }, \"1h\").total > 99", &[]), holds);
    assert_eq!(ask("q.ratio(\"request\", \"1h\") == 0.5 && q.changes(#{ app: \"shop\" }, \"1h\").len() == 0", &[]), holds);
    assert_eq!(ask("q.count(\"request\", #{}, \"1h\").total > 100", &[]), Ok(Verdict::Clear));
    assert_eq!(ask("q.top(\"request\", \"region\", #{}, \"1h\")[0].value == \"x\"", &[]), holds);
    assert_eq!(ask("q.min_users(100, \"request\", #{ app: \"shop\" }, \"1h\")", &[]), holds);
    assert_eq!(ask("q.min_users(101, \"request\", \"1h\")", &[]), Ok(Verdict::Clear));
    // Unknown ends the evaluation, past `try` and past any comparison.
    let none = &[("region", "none")];
    assert_eq!(ask("q.count(\"request\", #{}, \"1h\").total < 1", none), Ok(Verdict::Unknown("no events".into())));
    assert_eq!(
        ask("{ try { q.count(\"request\", #{}, \"1h\").total < 1 } catch { true } }", none),
        Ok(Verdict::Unknown("no events".into()))
    );
    // A ratio without events is unknown as well, and a group that the `where` leaves out has no events.
    assert!(matches!(ask("q.ratio(\"request\", #{ region: \"eu\" }, \"1h\") < 1.0", &[("region", "us")]), Ok(Verdict::Unknown(_))));
    // The burn of the group's own row.
    assert_eq!(ask("q.burn(\"by-region\", \"1h\") == 7.0", &[("region", "us")]), holds);
    assert_eq!(ask("q.burn(\"by-region\", \"1h\") == 1.0", &[]), holds);
}

#[test]
fn closures_ask_about_budgets() {
    let holds = Ok(Verdict::Holds { severity: Severity::Page, summary: String::new() });
    let region = &[("region", "us")];
    assert_eq!(ask("q.consumed(\"by-region\") == 0.5", &[]), holds);
    assert_eq!(ask("q.consumed(\"by-region\") == 0.25 && q.consumed(\"by-region\", \"1d\") == 0.125", region), holds);
    assert_eq!(ask("q.exhausted_within(\"by-region\", \"4d\") && !q.exhausted_within(\"by-region\", \"95h\")", &[]), holds);
    assert_eq!(ask("q.exhausted_within(\"by-region\", \"6h\", \"1h\")", &[]), holds);
    // A time that is no number of buckets is a time all the same; a window is not.
    assert_eq!(ask("q.exhausted_within(\"by-region\", \"100s\")", &[]), Ok(Verdict::Clear));
    let set = good(
        r#"slo("api", #{ objective: 99, window: "30d", sli: good("request") });
fn gone(q, window) { q.consumed("api", window) }
alert("a", #{ when: |q| gone(q, "1h") > 0.1 || q.burn("api", "2h") > 1.0 || q.consumed("api", "30d") > 0.5 });
alert("b", #{ when: |q| q.exhausted_within("api", "4d", "1d") });"#,
    );
    // The windows that rules ask for are kept, but for the SLO's own, which is there anyway.
    let asked: Vec<String> = set.asked_windows["api"].iter().map(ToString::to_string).collect();
    assert_eq!(asked, ["1h", "2h", "1d"]);
    let alert = |when: &str| {
        format!("slo(\"api\", #{{ objective: 99, window: \"30d\", sli: good(\"request\") }});\nalert(\"a\", #{{ when: |q| {when} }});")
    };
    only(
        &alert("q.consumed(\"api\", \"8d\") > 0.1"),
        "a.rhai:2:43: error: the window is at most 7d, or 30d, the window of `api` itself; 8d is neither",
    );
    only(&alert("q.consumed(\"api\", \"31d\") > 0.1"), "the window is at most 7d");
    only(&alert("q.consumed(\"apy\") > 0.1"), "there is no SLO `apy`; did you mean `api`?");
    only(&alert("q.consumed(\"api\", 5) > 0.1"), "the window comes last and is a text like \"5m\", not a number");
    only(&alert("q.exhausted_within(\"api\", \"4d\", \"6h\", 1)"), "`q.exhausted_within` does not take these arguments");
    only(&alert("q.exhausted_within(\"api\")"), "`q.exhausted_within` does not take these arguments; it takes (slo, time)");
    only(&alert("q.exhausted_within(\"api\", 4)"), "a.rhai:2:51: error: the time must be a duration in quotes, like \"5m\", not 4");
    only(&alert("q.exhausted_within(\"api\", \"0s\")"), "the time must be longer than zero");
    only(&alert("q.consumed(\"api\")"), "`when` of `a` gave a number");
    let short =
        "slo(\"api\", #{ objective: 99, window: \"1h\", sli: slices(good(\"request\"), \"10m\", 95.0) });\nalert(\"a\", #{ when: |q| ";
    only(&format!("{short}q.consumed(\"api\", \"2h\") > 0.1 }});"), "the window is 2h, longer than that of `api` (1h)");
    only(&format!("{short}q.burn(\"api\", \"15m\") > 0.1 }});"), "the window must be whole slices of 10m, as `api` counts them, not 15m");
}

#[test]
fn every_slip_of_every_query_is_named_at_once_where_it_stands() {
    let text = r#"slo("api", #{ objective: 99, sli: good("request") });
fn slow(q, most) { q.quantile("lpc", most, #{ rout: "/x", region: 5 }, "90s") > 1.0 }
alert("a", #{ by: "region", when: |q| {
    let rows = q.top("request", "regoin", #{ app: "/[/", status: ["5xx", 4] }, 5);
    if q.min_users(0, "js_eror", #{ fingerprint: "x", url: "/" }, "1 h") { return true; }
    let gone = q.consumed("apy", "40d") + q.burn("api", 5);
    if gone > 1.0 || q.changes(#{ relese: "1" }, "0s").len() > 100 || q.label("regio") == "de" { return true; }
    rows.len() > 1000 || slow(q, 95)
} });"#;
    let said = said(text);
    let expected = [
        "a.rhai:2:31: error: there is no metric `lpc`; did you mean `lcp`?",
        "a.rhai:2:38: error: the quantile is a fraction from 0 to 1, like 0.95, and comes second: q.quantile(metric, 0.95, where, window)",
        "a.rhai:2:47: error: there is no dimension `rout`; did you mean `route`?",
        r#"a.rhai:2:67: error: `region` must be a text (as in "200") or a list of texts, not 5"#,
        "a.rhai:2:72: error: the window must be whole buckets of 1m, not 90s",
        "a.rhai:4:33: error: `request` has no dimension `regoin`; did you mean `region`?",
        "a.rhai:4:51: error: `app`: `/[/` is no regular expression: unclosed character class",
        "a.rhai:4:74: error: item 2 of `status` must be a text, not 4",
        r#"a.rhai:4:80: error: the window comes last and is a text like "5m", not a number"#,
        "a.rhai:5:20: error: the first part of `min_users` is a number of people, 1 or more",
        "a.rhai:5:23: error: there is no metric `js_eror`; did you mean `js_error`?",
        "a.rhai:5:55: error: there is no dimension `url`; did you mean `route`?",
        r#"a.rhai:5:67: error: the window: `1 h` is no duration; write a whole number and a unit, like "90s", "5m", "1h", "3d" or "4w""#,
        "a.rhai:6:27: error: there is no SLO `apy`; did you mean `api`?",
        r#"a.rhai:6:57: error: the window comes last and is a text like "5m", not a number"#,
        "a.rhai:7:35: error: changes have no `relese`; did you mean `release`?; they have kind, app and release",
        "a.rhai:7:50: error: the window must be whole buckets of 1m, not 0s",
        "a.rhai:7:79: error: the rule has no `regio` in its `by`, only `region`; did you mean `region`?",
    ];
    assert_eq!(said, expected);
}

#[test]
fn calls_with_too_few_or_too_many_arguments_are_named_at_once_with_what_they_take() {
    let text = r#"slo("api", #{ objective: 99, sli: good("request") });
alert("a", #{ when: |q| {
    let share = q.count("request").bad / q.count("request", #{}, "5m", 1).total;
    let rows = q.top("request", "region");
    let numbers = q.ratio() + q.quantile("lcp", 0.75) + q.users("page_view", #{ rout: "/x" }, "5m") + q.budget("api", "5m");
    let changed = q.label() == "x" || q.min_users(1, "request") || q.changes().len() > 0;
    share + numbers > 0.1 && rows.len() > 0 && changed
} });"#;
    let expected = [
        (3, "count", "(metric, where, window)"),
        (3, "count", "(metric, where, window)"),
        (4, "top", "(metric, dimension, where, window)"),
        (5, "ratio", "(metric, where, window)"),
        (5, "quantile", "(metric, 0.95, where, window)"),
        (5, "`page_view` has no dimension `rout`; did you mean `route`?", ""),
        (5, "budget", "(slo)"),
        (6, "label", "(dimension)"),
        (6, "min_users", "(people, metric, where, window)"),
        (6, "changes", "(where, window)"),
    ];
    let said = said(text);
    assert_eq!(said.len(), expected.len(), "{said:#?}");
    for ((line, name, takes), said) in expected.into_iter().zip(said) {
        let usage = format!("`q.{name}` does not take these arguments; it takes {takes}");
        let message = if takes.is_empty() { name } else { &usage };
        assert!(said.starts_with(&format!("a.rhai:{line}:")) && said.contains(message), "{said}");
    }
}

#[test]
fn a_failing_rule_costs_only_itself() {
    let panicked = ask("q.users(\"request\", #{}, \"1h\") > 1", &[]).unwrap_err();
    assert!(panicked.message.contains("panicked"), "{panicked}");
    let failed = ask("q.budget(\"by-region\") < 1.0", &[]).unwrap_err();
    assert_eq!(failed.to_string(), "a.rhai:2:53: the store is gone");
    let looped = ask("{ if q.count(\"request\", #{}, \"1h\").total == 100.0 { loop {} } true }", &[]).unwrap_err();
    assert!(looped.message.contains("operations"), "{looped}");
}

#[test]
fn every_closure_is_rehearsed_at_load() {
    let rule = |when: &str| format!("alert(\"a\", #{{ when: |q| {when} }});");
    for (when, part) in [
        ("q.count(\"request\", #{}, \"1h\").total", "`when` of `a` gave a number; it must give true or false"),
        ("()", "gave nothing"),
        ("q.count(\"request\", #{}, \"1h\").totl > 5", "totl"),
        ("q.count(\"reqest\", #{}, \"1h\").total > 5", "there is no metric `reqest`"),
        ("q.count(\"request\", #{}, \"1 h\").total > 5", "is no duration"),
        ("q.count(\"request\", #{}, \"90s\").total > 5", "whole buckets"),
        ("q.count(\"request\", #{}, \"1h\") > 5", "`>` compares a map with a number"),
        ("q.ratio(\"request\", #{}, \"1h\") > \"0.1\"", "`>` compares a number with a text"),
        ("q.quantile(\"lcp\", 95, #{}, \"1h\") > 1.0", "a fraction from 0 to 1"),
        ("q.quantile(\"session\", 0.95, #{}, \"1h\") > 1.0", "has no values"),
        ("q.min_users(0, \"request\", #{}, \"1h\")", "a number of people, 1 or more"),
        ("q.min_users(2.5, \"request\", #{}, \"1h\")", "a number of people, 1 or more"),
        ("q.burn(\"zz\", \"1h\") > 1.0", "there is no SLO `zz`"),
        ("q.changes(#{ region: \"eu\" }, \"1h\").len() > 0", "changes have no `region`"),
        ("q.changes(#{}, \"1h\")[0].kind == \"deploy\"", "ndex"),
        ("q.label(\"region\") == \"eu\"", "no `region` in its `by`"),
        ("{ slo(\"x\", #{}); true }", "done at load and not in a closure"),
        ("{ throw \"no\"; }", "no"),
        ("{ loop {} }", "operations"),
        ("q.count(\"request\", #{ stp: \"x\" }, \"1h\").total > 1", "a.rhai:1:47: error: `request` has no dimension `stp`"),
        ("true || q.count(\"request\", #{ stp: \"x\" }, \"1h\").total > 1", "`request` has no dimension `stp`"),
        ("true || q.cout(1)", "there is no method `cout`; did you mean `count`?"),
        ("true || nothing(1)", "there is no function `nothing`"),
    ] {
        only(&rule(when), part);
    }
    only("alert(\"a\", #{ when: |q| true, severity: |q| \"loud\" });", "`severity` gave `loud`");
    only("alert(\"a\", #{ when: |q| false, summary: |q| 5 });", "`summary` gave a number");
    only("alert(\"a\", #{ when: true });", "`when` must be a closure");
    only(
        "alert(\"a\", #{ when: |a, b| true });",
        "a.rhai:1:21: error: in alert `a`: the closure is given one value, `q`, and has to take it: |q| …",
    );
    only("alert(\"a\", #{ });", "needs `when`");
    only("alert(\"a\", #{ when: |q| true, every: \"*/5 * * *\" });", "is no cron line");
    only("alert(\"a\", #{ when: |q| true, every: 5 });", "a duration like \"5m\" or a cron line");
    only("alert(\"a\", #{ when: |q| true, severity: \"pager\" });", "did you mean `page`?");
    only("alert(\"a\", #{ when: |q| true, by: [\"reigon\"] });", "did you mean `region`?");
    only("alert(\"a\", #{ when: |q| 99 / 100 < q.ratio(\"request\", \"1h\") });", "warning: 99 / 100 is 0");
}

#[test]
fn loop_variables_and_captured_variables_are_pointed_out() {
    only(
        "for region in [\"eu\", \"us\"] {\n  alert(\"a-\" + region, #{ when: |q| region == \"eu\" });\n}",
        "a.rhai:2:37: error: the closure captures the loop variable `region`",
    );
    only("for (region, i) in [\"eu\"] { alert(\"a\", #{ when: |q| i == 0 }); }", "loop variable `i`");
    for fine in [
        "let r = region; alert(\"a-\" + r, #{ when: |q| r == \"eu\" });",
        "let region = region; alert(\"a-\" + region, #{ when: |q| region == \"eu\" });",
    ] {
        let text = format!("for region in [\"eu\", \"us\"] {{ {fine} }}");
        let loaded = load_all(&[("a.rhai", &text)]);
        assert_eq!(report(&loaded.problems), "");
        let verdict = |rule: &str| loaded.program.ask(rule, &Labels::new(), Arc::new(Fixed(1.0))).unwrap();
        assert!(matches!(verdict("a-eu"), Verdict::Holds { .. }) && verdict("a-us") == Verdict::Clear);
    }
    only("let n = 0; alert(\"a\", #{ when: |q| { n += 1; n > 5 } });", "the closure changes `n`, which it captured");
    only("let seen = []; alert(\"a\", #{ when: |q| { seen.push(1); seen.len() > 5 } });", "the closure changes `seen`");
    only("let m = #{ a: 1 }; alert(\"a\", #{ when: |q| { m.a = 2; true } });", "the closure changes `m`");
    assert!(said("let n = 5; alert(\"a\", #{ when: |q| { let n = n; n += 1; let l = []; l.push(n); n > 5 } });").is_empty());
    assert!(said("let n = 5; let f = |x| x + n; alert(\"a\", #{ when: |q| f.call(1) > 5 });").is_empty());
}

#[test]
fn closures_see_constants_and_named_functions() {
    for text in [
        "const LIMIT = 5.0; alert(\"a\", #{ when: |q| q.count(\"request\", \"1h\").total > LIMIT });",
        "fn busy(q) { q.count(\"request\", \"1h\").total > five() } fn five() { 5.0 } alert(\"a\", #{ when: busy });",
        "fn busy(q) { q.count(\"request\", \"1h\").total > 5.0 } alert(\"a\", #{ when: Fn(\"busy\") });",
        "fn busy(q, n) { q.count(\"request\", \"1h\").total > n } let n = 5.0; alert(\"a\", #{ when: |q| busy(q, n) });",
        "let limits = [1.0, 5.0]; alert(\"a\", #{ when: |q| limits.all(|l| q.count(\"request\", \"1h\").total > l) });",
        "let c = #{ app: \"shop\" }; alert(\"a\", #{ when: |q| if q.count(\"request\", c, \"1h\").total > 5.0 { true } else { false } });",
    ] {
        let loaded = load_all(&[("a.rhai", text)]);
        assert_eq!(report(&loaded.problems), "", "{text}");
        let ask = |total| loaded.program.ask("a", &Labels::new(), Arc::new(Fixed(total))).unwrap();
        assert!(matches!(ask(6.0), Verdict::Holds { .. }) && ask(4.0) == Verdict::Clear, "{text}");
    }
    only("let n = 5; fn busy(q) { n > 4 } alert(\"a\", #{ when: busy });", "there is no variable `n`; a function sees only its parameters");
}

#[test]
fn asking_is_cheap() {
    let loaded = load_all(&[("shop.rhai", CONTRACT)]);
    let q: Arc<dyn Measure> = Arc::new(Fixed(100.0));
    let started = std::time::Instant::now();
    for _ in 0..1_000 {
        assert_eq!(loaded.program.ask("conversion-drop", &Labels::new(), Arc::clone(&q)), Ok(Verdict::Clear));
    }
    // About 5 ms when optimised; the bound is for a slow debug build on a busy machine.
    assert!(started.elapsed() < std::time::Duration::from_secs(5));
}

#[test]
fn debug_speaks_to_the_author_and_print_to_nobody() {
    only("let a = 5; debug(a);", "a.rhai:1:12: warning: debug: 5");
    only("print(\"x\");", "warning: nobody reads what rules print");
}

#[test]
fn programs_are_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<Program>();
}
