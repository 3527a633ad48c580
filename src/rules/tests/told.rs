//! Who is told and who is not: routes, receivers, maintenance, silences.

use super::*;

#[test]
fn routes_nest_inherit_and_refer_to_what_exists() {
    let text = r#"
receiver("pager", pagerduty(#{ routing_key: secret("PD") }));
receiver("mail", email(#{ to: "ops@example.com" }));
time_interval("nights", #{ times: ["22:00-06:00"], weekdays: ["mon:fri", "sunday"], days_of_month: ["1:5", "-3:-1"], months: "november:february",
    years: ["2026:2027", 2030], timezone: "Europe/Berlin" });
route(#{ when: #{ service: "shop" }, to: "pager", group_by: ["service"], fallthrough: true,
    routes: [ #{ when: #{ severity: "ticket" }, to: ["mail"], mute: ["nights"], routes: [ #{ when: #{ owner: "x" } } ] },
              route(#{ when: #{ severity: "info" }, to: ["mail"], active: "nights" }) ] });
route(#{ to: ["mail"] });
inhibit(#{ source: #{ severity: "page" }, target: #{ severity: ["ticket", "info"] } });
alerts_in(#{ resolve_timeout: "5m" });
"#;
    let set = good(text);
    assert_eq!(set.routes.len(), 2);
    assert_eq!(set.routes[0].routes.len(), 2);
    assert_eq!(set.routes[0].routes[0].routes[0].to, Vec::<String>::new());
    assert_eq!(set.routes[0].routes[1].active, ["nights"]);
    let nights = &set.time_intervals[0];
    assert_eq!(nights.times, [(1_320, 1_440), (0, 360)]);
    assert_eq!(nights.weekdays, [(1, 5), (0, 0)]);
    assert_eq!((nights.days_of_month.as_slice(), nights.months.as_slice()), ([(1, 5), (-3, -1)].as_slice(), [(11, 12), (1, 2)].as_slice()));
    assert_eq!(nights.years, [(2026, 2027), (2030, 2030)]);
    assert_eq!(set.resolve_timeout, Some(Span::minutes(5)));
    let mail = "receiver(\"mail\", email(#{ to: \"ops@example.com\" })); ";
    for (text, part) in [
        ("route(#{ when: #{ service: \"x\" } });", "route needs `to`"),
        ("route(#{ to: [\"mial\"] });", "did you mean `mail`?"),
        ("route(#{ to: \"mail\", mute: [\"nigths\"] });", "there is no time interval `nigths`"),
        ("route(#{ to: \"mail\", escalate: [ #{ after: \"10m\", to: [\"x\"] } ] });", "there is no receiver `x`"),
        ("route(#{ to: \"mail\", escalate: [ #{ to: [\"mail\"] } ] });", "needs `after`"),
        ("route(#{ to: \"mail\", group_intervall: \"5m\" });", "did you mean `group_interval`?"),
        ("route(#{ to: \"mail\", when: #{ severity: \"pgae\" } });", "did you mean `page`?"),
        ("route(#{ to: \"mail\" }); route(#{ to: \"mail\" });", "first match wins"),
        ("inhibit(#{ source: #{}, target: #{ severity: \"ticket\" } });", "matches every alert"),
        ("inhibit(#{ target: #{ severity: \"ticket\" } });", "needs `source`"),
        ("time_interval(\"x\", #{ times: [\"9-17\"] });", "a range of clock times"),
        ("time_interval(\"x\", #{ weekdays: [\"moonday\"] });", "a weekday or a range"),
        ("time_interval(\"x\", #{ days_of_month: [0] });", "a day from 1 to 31"),
        ("time_interval(\"x\", #{ years: [\"2027:2026\"] });", "runs backwards"),
    ] {
        only(&format!("{mail}{text}"), part);
    }
}

#[test]
fn maintenance_and_silences() {
    let when = "when: #{ service: \"shop\" }";
    for (text, part) in [
        (format!("maintenance(\"m\", #{{ {when} }});"), "needs `cron`"),
        (format!("maintenance(\"m\", #{{ cron: \"0 3 * * SUN\", {when} }});"), "needs `lasts`"),
        (format!("maintenance(\"m\", #{{ cron: \"0 3 * * SUNNY\", lasts: \"1h\", {when} }});"), "no day of week"),
        (format!("maintenance(\"m\", #{{ cron: \"0 3 * * 0\", lasts: \"90d\", {when} }});"), "at most 31d"),
        (format!("maintenance(\"m\", #{{ starts: \"2026-11-22T03:00:00Z\", {when} }});"), "needs `ends`"),
        (format!("maintenance(\"m\", #{{ starts: \"2026-11-22\", ends: \"2026-11-22T03:00:00Z\", {when} }});"), "is no time"),
        (
            format!("maintenance(\"m\", #{{ starts: \"2026-11-22T03:00:00Z\", ends: \"2026-11-22T03:00:00Z\", {when} }});"),
            "end after it starts",
        ),
        (
            format!("maintenance(\"m\", #{{ cron: \"0 3 * * 0\", lasts: \"1h\", budget: \"excluded\", {when} }});"),
            "did you mean `exclude`?",
        ),
        ("silence(\"s\", #{ when: #{}, ends: \"2027-01-31T00:00:00Z\", author: \"a\", comment: \"c\" });".into(), "silence everything"),
        ("silence(\"s\", #{ when: #{ rule: \"x\" }, author: \"a\", comment: \"c\" });".into(), "needs `ends`"),
    ] {
        only(&text, part);
    }
}

#[test]
fn every_kind_of_receiver() {
    let text = r#"
receiver("a", webhook(#{ url: secret("HOOK"), secret: secret("S"), headers: #{ "X-Team": "ops", Authorization: secret("T") }, timeout: "3s", send_resolved: false }));
receiver("b", email(#{ to: ["Ada <ada@example.com>"], cc: "b@example.com", reply_to: "c@example.com" }));
receiver("c", pagerduty(#{ routing_key: secret("PD"), base_url: "http://127.0.0.1:1/" }));
receiver("d", opsgenie(#{ api_key: secret("OG"), responders: [ #{ type: "team", name: "ops" } ], priority: "P1" }));
receiver("e", slack(#{ token: secret("SL"), channel: "ops" }));
receiver("f", teams(#{ url: "https://teams.example.com/x" }));
receiver("g", jira(#{ base_url: "https://j.example.com", user: "ada@example.com", token: secret("J"), project: "OPS", labels: ["x"], options: #{ due: 5 } }));
receiver("h", github(#{ token: secret("G"), repo: "shop/ops", labels: ["incident"], assignees: ["ada"] }));
receiver("i", servicenow(#{ base_url: "https://s.example.com", user: "u", password: secret("P"), urgency: "1" }));
receiver("j", alertmanager_webhook(#{ url: "http://127.0.0.1:9/x" }));
receiver("k", action(#{ url: "https://flags.example.com/roll-back", dry_run: true, label: "Roll back" }));
"#;
    let set = good(text);
    let kinds: Vec<&str> = set.receivers.iter().map(|receiver| receiver.kind.name()).collect();
    let all =
        ["webhook", "email", "pagerduty", "opsgenie", "slack", "teams", "jira", "github", "servicenow", "alertmanager_webhook", "action"];
    assert_eq!(kinds, all);
    assert_eq!((set.receivers[0].timeout, set.receivers[0].send_resolved), (Span::seconds(3), false));
    assert_eq!((set.receivers[6].timeout, set.receivers[3].timeout), (Span::seconds(15), Span::seconds(5)));
    assert!(matches!(&set.receivers[2].kind, ReceiverKind::Pagerduty { base_url, .. } if base_url == "http://127.0.0.1:1"));
    assert!(matches!(&set.receivers[6].kind, ReceiverKind::Jira { options, .. } if options.len() == 2 && options["due"] == 5));
    assert!(matches!(&set.receivers[3].kind, ReceiverKind::Opsgenie { options, .. } if options["responders"][0]["name"] == "ops"));
    for (text, part) in [
        ("webhook(#{ })", "`webhook` needs `url`"),
        ("webhook(#{ url: \"ftp://x\" })", "must be an http or https URL"),
        ("webhook(#{ url: \"https://x.example\", secrt: secret(\"A\") })", "did you mean `secret`?"),
        ("webhook(#{ url: \"https://x.example\", secret: \"hunter2\" })", "warning: `secret` stands in the rules for everyone to read"),
        ("webhook(#{ url: \"https://x.example\", headers: #{ \"a b\": \"c\" } })", "no name of an HTTP header"),
        ("webhook(#{ url: \"https://x.example\", timeout: \"1h\" })", "at most 2m"),
        (
            "jira(#{ base_url: \"https://j.example.com\", token: secret(\"J\"), project: \"OPS\", reopen_within: \"3 days\" })",
            "is no duration",
        ),
        ("email(#{ to: [] })", "at least one address"),
        ("email(#{ to: [\"nobody\"] })", "is no mail address"),
        ("slack(#{ })", "`slack` needs `url`"),
        ("github(#{ token: secret(\"G\"), repo: \"shop\" })", "written owner/name"),
        ("servicenow(#{ base_url: \"https://s.example.com\" })", "needs `user` and `password`"),
        ("pagerduty(#{ routing_key: secret(\"BURNWATCH_TOKEN\") })", "belong to the configuration"),
        ("pagerduty(#{ routing_key: secret(\"a b\") })", "letters, digits and `_`"),
        ("opsgenie(#{ api_key: secret(\"OG\"), note: secret(\"N\") })", "cannot be a secret"),
        ("\"https://x.example\"", "must be one of webhook(…)"),
    ] {
        only(&format!("receiver(\"r\", {text});"), part);
    }
}

#[test]
fn a_secret_without_a_value_is_a_warning() {
    let text = "receiver(\"r\", pagerduty(#{ routing_key: secret(\"PD\") }));";
    let loaded = load(&files(&[("a.rhai", text)]), &Env::defaults());
    assert!(loaded.is_good());
    assert!(
        report(&loaded.problems).starts_with("a.rhai:1:48: warning: the secret `PD` has no value here"),
        "{}",
        report(&loaded.problems)
    );
    // Only the name is in the set.
    assert!(
        matches!(&loaded.set.unwrap().receivers[0].kind, ReceiverKind::Pagerduty { routing_key: Field::Secret(name), .. } if name == "PD")
    );
}

#[test]
fn slips_that_would_leave_nobody_told_are_named() {
    let rules = r#"slo("api", #{ objective: 99.9, owner: "team", service: "shop", by: ["region"], sli: good("request", #{ app: "s" }), alert: burn_rate() });
receiver("p", webhook(#{ url: "https://example.com" }));
route(#{ when: #{ ownr: "team", service: "shpo", job: "x" }, to: ["p"], group_by: ["servce", "region", "alertname"] });
inhibit(#{ source: #{ severty: "page" }, target: #{ slo: "apy", region: "de" }, equal: ["services"] });
route(#{ to: ["p"] });"#;
    let loaded = load_all(&[("a.rhai", rules)]);
    assert!(loaded.is_good());
    let said = report(&loaded.problems);
    let lines: Vec<&str> = said.lines().collect();
    let expected = [
        "a.rhai:3:19: warning: no alert of these rules has a label `ownr`; did you mean `owner`?",
        "a.rhai:3:42: warning: no alert of these rules has the service `shpo`; did you mean `shop`?",
        "a.rhai:3:84: warning: no alert of these rules has a label `servce`; did you mean `service`?",
        "a.rhai:4:23: warning: no alert of these rules has a label `severty`; did you mean `severity`?",
        "a.rhai:4:58: warning: no alert of these rules has the slo `apy`; did you mean `api`?",
        "a.rhai:4:89: warning: no alert of these rules has a label `services`; did you mean `service`?",
    ];
    assert_eq!(lines, expected);
}
