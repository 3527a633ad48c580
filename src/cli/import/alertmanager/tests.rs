use super::super::tests::{fate, import, loaded, text, warned};
use super::super::{Format, convert};

const ALERTMANAGER: &str = r##"
global:
  resolve_timeout: 10m
  smtp_smarthost: mail.example.com:587
  smtp_from: alerts@example.com
  smtp_auth_password: hunter2hunter2
  slack_api_url: https://hooks.slack.com/services/T000/B000/swordfish
  pagerduty_url: https://events.eu.pagerduty.com/v2/enqueue
templates: [/etc/alertmanager/*.tmpl]
route:
  receiver: team
  group_by: [alertname, cluster]
  repeat_interval: 3h
  routes:
  - matchers: ['severity="critical"', 'team!~"infra|.*-dev"']
    receiver: pager
    group_wait: 10s
    continue: true
    mute_time_intervals: [nights]
    routes:
    - match: {service: db}
      receiver: db
    - match_re: {service: "web|shop"}
      group_by: ['...']
  - matchers: ['{alertname="Watchdog"}']
    receiver: "null"
  - active_time_intervals: [nights]
    receiver: chat
    matchers: [a = b]
inhibit_rules:
- source_matchers: [severity="critical"]
  target_match: {severity: warning}
  equal: [alertname]
- target_match: {severity: info}
  source_match: {}
time_intervals:
- name: nights
  time_intervals:
  - times: [{start_time: "22:00", end_time: "24:00"}]
    weekdays: ['monday:friday', sunday]
    location: Europe/Berlin
  - days_of_month: ['1:5', '-3:-1']
    months: ['january:march', december]
    years: ['2026:2028', '2030']
receivers:
- name: "null"
- name: team
  email_configs: [{to: 'a@example.com, b@example.com', headers: {Subject: x, Reply-To: c@example.com}}]
  slack_configs: [{channel: '#team', send_resolved: true, title: x}]
- name: pager
  pagerduty_configs: [{routing_key: swordfish2, send_resolved: true, severity: critical}]
- name: db
  webhook_configs: [{url: 'http://db.example.com/hook', max_alerts: 5}, {url: 'https://x.example.com/?token=swordfish3'}]
  telegram_configs: [{bot_token: swordfish4, chat_id: 1}]
- name: chat
  opsgenie_configs: [{api_key_file: /run/key, responders: [{name: ops, type: team}], priority: P2, tags: 'a, b'}]
  jira_configs: [{api_url: 'https://x.atlassian.net/rest/api/3/', project: OPS, issue_type: Bug, labels: [x], http_config: {basic_auth: {username: u, password: swordfish5}}}]
  msteamsv2_configs: [{webhook_url_file: /run/teams}]
"##;

#[test]
fn everything_of_an_alertmanager_has_a_place_and_the_folder_loads() {
    let import = convert(Format::Alertmanager, &[("alertmanager.yml".into(), ALERTMANAGER.into())]);
    let set = loaded(&import);
    let receivers: Vec<(&str, &str, bool)> = set.receivers.iter().map(|r| (r.name.as_str(), r.kind.name(), r.send_resolved)).collect();
    assert_eq!(
        receivers,
        [
            ("team", "email", false),
            ("team-slack", "slack", true),
            ("pager", "pagerduty", true),
            ("db", "alertmanager_webhook", true),
            ("db-webhook", "alertmanager_webhook", true),
            ("db-telegram", "alertmanager_webhook", true),
            ("chat", "opsgenie", true),
            ("chat-msteamsv2", "teams", true),
            ("chat-jira", "jira", true),
        ]
    );
    let intervals: Vec<&str> = set.time_intervals.iter().map(|interval| interval.name.as_str()).collect();
    assert_eq!(intervals, ["nights", "nights-2", "imported-always"]);
    assert_eq!(set.inhibits.len(), 2);
    assert_eq!(set.resolve_timeout, Some(crate::domain::time::Span::minutes(10)));
    assert_eq!(import.declared, 9 + 3 + 2 + 1 + 1);
    let text = text(&import);
    assert!(text.contains(r#"base_url: "https://events.eu.pagerduty.com""#) && text.contains("secret(\"PAGER_ROUTING_KEY\")"), "{text}");
    let everything = format!("{text}{}", import.report());
    assert!(!everything.contains("swordfish") && !everything.contains("hunter2"), "{everything}");
    assert_eq!(fate(&import, "global.smtp_smarthost"), "needs-mapping");
    assert!(text.contains("// host = \"mail.example.com\""));
    assert!(warned(&import, "no receiver for telegram") && warned(&import, "one side of the inhibition matches every alert"));
    assert!(import.report().contains("set CHAT_API_KEY_FILE to the same path"));
}

#[test]
fn alerts_go_where_alertmanager_sent_them() {
    use crate::domain::route::route;
    let import = convert(Format::Alertmanager, &[("alertmanager.yml".into(), ALERTMANAGER.into())]);
    let set = loaded(&import);
    let told = |pairs: &[(&str, &str)], now: &[&str]| -> Vec<(String, bool)> {
        let labels = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let found = route(&set, &labels, &|name| name == "imported-always" || now.contains(&name));
        found.into_iter().map(|routed| (routed.to.join("+"), routed.muted.is_some())).collect()
    };
    let loud = |to: &str| (to.to_owned(), false);
    let quiet = |to: &str| (to.to_owned(), true);
    assert_eq!(told(&[("severity", "warning")], &[]), [loud("team+team-slack")]);
    assert_eq!(told(&[("severity", "critical")], &[]), [loud("pager")]);
    assert_eq!(told(&[("severity", "critical")], &["nights-2"]), [quiet("pager")]);
    assert_eq!(told(&[("severity", "critical"), ("team", "web-dev")], &[]), [loud("team+team-slack")]);
    // Intervals of a route do not mute its children.
    assert_eq!(told(&[("severity", "critical"), ("service", "db")], &["nights"]), [loud("db+db-webhook+db-telegram")]);
    assert_eq!(told(&[("severity", "critical"), ("a", "b")], &["nights"]), [quiet("pager"), loud("chat+chat-msteamsv2+chat-jira")]);
    assert_eq!(told(&[("a", "b")], &[]), [quiet("chat+chat-msteamsv2+chat-jira")]);
    assert!(told(&[("alertname", "Watchdog")], &[]).iter().all(|(_, muted)| *muted));
    let labels = [("severity".to_owned(), "critical".to_owned()), ("service".to_owned(), "shop".to_owned())].into();
    let found = route(&set, &labels, &|_| false);
    assert_eq!((found[0].group_by.as_deref(), found[0].group_wait.to_string().as_str()), (Some(&["...".to_owned()][..]), "10s"));
    assert_eq!((found[0].repeat.to_string().as_str(), found[0].group_interval.to_string().as_str()), ("3h", "5m"));
}

#[test]
fn a_broken_alertmanager_is_reported() {
    for (text, words) in [
        ("route: {receiver: gone}\nreceivers: []", "there is no receiver `gone`"),
        ("receivers: [{name: x, webhook_configs: [{url: 'http://a.example.com'}]}]", "there is no route"),
        (
            "route: {receiver: x, mute_time_intervals: [gone], routes: [{matchers: ['a']}]}\nreceivers: [{name: x, email_configs: [{to: '{{ template }}'}]}]",
            "there is no time interval `gone`",
        ),
        ("route: {matchers: [a=b], receiver: x}\nreceivers: [{name: x, slack_configs: [{}]}]", "the top route has matchers"),
    ] {
        let import = import(Format::Alertmanager, text);
        assert!(warned(&import, words), "{text}: {}", import.report());
        loaded(&import);
    }
    // Children of a route that tells nobody still tell somebody.
    let quiet = "route: {receiver: 'null', routes: [{receiver: x, matchers: [a=b]}]}\nreceivers: [{name: 'null'}, {name: x, webhook_configs: [{url: 'http://a.example.com'}]}]";
    let set = loaded(&import(Format::Alertmanager, quiet));
    let told = crate::domain::route::route(&set, &[("a".to_owned(), "b".to_owned())].into(), &|_| true);
    assert_eq!((told[0].to.as_slice(), told[0].muted.as_deref()), (&["x".to_owned()][..], None));
}

/// Every field that Alertmanager's configuration has, up to version 0.32, and one of a later one.
const EVERY_FIELD: &str = include_str!("every_field.yml");
/// What becomes of each, one a line, looked at by a person.
const FATES: &str = include_str!("every_field.txt");

#[test]
fn every_field_of_alertmanager_is_mapped_ignored_or_needs_mapping_and_none_is_unknown() {
    let import = convert(Format::Alertmanager, &[("alertmanager.yml".into(), EVERY_FIELD.into())]);
    let set = loaded(&import);
    let said: String = import.fields.iter().map(|field| format!("{}: {}: {}\n", field.path, field.fate.name(), field.fate.why())).collect();
    assert!(said == FATES, "{}", said.lines().filter(|line| !FATES.contains(line)).collect::<Vec<_>>().join("\n"));
    assert!(!said.contains("does not know the field"), "{said}");
    let text = text(&import);
    let everything = format!("{text}{said}{}", import.report());
    assert!(!everything.contains("swordfish"), "{everything}");
    // Every receiver tells somebody, also those of kinds that are not spoken, or not known.
    let told = set.routes[0].to.len();
    let names: Vec<&str> = set.receivers.iter().map(|receiver| receiver.name.as_str()).collect();
    assert_eq!((told, names.len()), (7, 25), "{names:?}");
    assert!(names.contains(&"later") && names.contains(&"others-mattermost"));
    // What is said to be mapped stands there.
    for part in [
        r#"alerts_in(#{ resolve_timeout: "10m" });"#,
        r#"base_url: "https://events.example.com""#,
        r#"base_url: "https://opsgenie.example.com""#,
        r#"base_url: "https://slack.example.com""#,
        r#"base_url: "https://other.atlassian.net""#,
        r#"base_url: "https://acme.atlassian.net""#,
        r#"source: "alertmanager", note: "n", actions: ["restart", "drain"], details: #{ desk: "7" }"#,
        r#"responders: [#{ id: "1", type: "user" }, #{ name: "ops", type: "team" }, #{ username: "ada", type: "user" }]"#,
        r#"reopen_within: "3d""#,
        r#"wont_fix_resolution: "Won't Do""#,
        r#"reply_to: "d@example.com", cc: ["e@example.com"]"#,
        r#"source: #{ alertname: ["Down", "Lost"], cluster: "a", severity: "critical" }"#,
        r#"target: #{ alertname: "/Slow.*/", cluster: "!/dev.*/", severity: "warning" }, equal: ["cluster", "service"]"#,
        r#"weekdays: ["Monday:friday", "Saturday"]"#,
        "// port = 465",
        "// tls = \"implicit\"",
        "// password_file = \"/run/smtp\"",
    ] {
        assert!(text.contains(part), "{part} is missing in\n{text}");
    }
    assert_eq!(set.time_intervals.iter().map(|interval| interval.name.as_str()).collect::<Vec<_>>(), ["days", "nights"]);
}

#[test]
fn a_receiver_takes_its_own_before_what_is_for_all() {
    let import = import(
        Format::Alertmanager,
        "global: {slack_app_token: xoxb-all, slack_api_url: 'https://hooks.slack.com/all'}\nroute: {receiver: x}\nreceivers:\n- name: x\n  \
         slack_configs: [{api_url: 'https://hooks.slack.com/own', channel: '#a'}, {channel: '#b'}]\n",
    );
    let text = text(&import);
    assert!(text.contains(r##"receiver("x", slack(#{ url: secret("X_API_URL"), channel: "#a", send_resolved: false }));"##), "{text}");
    assert!(text.contains(r##"slack(#{ token: secret("X_SLACK_APP_TOKEN"), channel: "#b", send_resolved: false })"##), "{text}");
    assert_eq!(fate(&import, "global.slack_api_url"), "ignored");
}

#[test]
fn intervals_of_a_route_are_not_those_of_its_children_also_where_these_continue() {
    let yaml = r#"
route:
  receiver: all
  routes:
  - matchers: [team="web"]
    receiver: web
    mute_time_intervals: [nights]
    active_time_intervals: [weekdays]
    routes:
    - { matchers: [a="1"], receiver: one, continue: true }
    - { matchers: [b="1"], receiver: two, continue: true, mute_time_intervals: [lunch] }
    - { matchers: [c="1"], active_time_intervals: [weekends] }
  - matchers: [team="db"]
    receiver: "null"
    routes:
    - { matchers: [a="1"], continue: true }
    - { matchers: [b="1"], receiver: one, continue: true }
    - { matchers: [c="1"], receiver: two, mute_time_intervals: [lunch] }
time_intervals:
- { name: nights, time_intervals: [{ times: [{ start_time: '20:00', end_time: '24:00' }] }] }
- { name: lunch, time_intervals: [{ times: [{ start_time: '12:00', end_time: '13:00' }] }] }
- { name: weekdays, time_intervals: [{ weekdays: ['monday:friday'] }] }
- { name: weekends, time_intervals: [{ weekdays: ['saturday', 'sunday'] }] }
receivers:
- name: "null"
- { name: all, webhook_configs: [{ url: 'http://127.0.0.1:9/' }] }
- { name: web, webhook_configs: [{ url: 'http://127.0.0.1:9/' }] }
- { name: one, webhook_configs: [{ url: 'http://127.0.0.1:9/' }] }
- { name: two, webhook_configs: [{ url: 'http://127.0.0.1:9/' }] }
"#;
    let import = import(Format::Alertmanager, yaml);
    assert!(import.faults.is_empty(), "{}", import.report());
    let set = loaded(&import);
    let told = |labels: &[(&str, &str)], now: &[&str]| -> Vec<String> {
        let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let found = crate::domain::route::route(&set, &labels, &|name| name == "imported-always" || now.contains(&name));
        found.into_iter().filter(|routed| routed.muted.is_none()).flat_map(|routed| routed.to).collect()
    };
    let web = |more: &[(&'static str, &'static str)], now: &[&str]| told(&[&[("team", "web")], more].concat(), now);
    // The route itself has its hours.
    assert_eq!(web(&[], &["weekdays"]), ["web"]);
    assert!(web(&[], &["weekdays", "nights"]).is_empty() && web(&[], &["weekends"]).is_empty());
    // A child that continues has none, and nothing but children comes after it.
    for now in [&["weekdays"][..], &["weekdays", "nights"], &["weekends"]] {
        assert_eq!(web(&[("a", "1")], now), ["one"], "{now:?}");
        assert_eq!(web(&[("a", "1"), ("b", "1")], now), ["one", "two"], "{now:?}");
    }
    // Children have hours of their own.
    assert_eq!(web(&[("a", "1"), ("b", "1")], &["weekdays", "lunch"]), ["one"]);
    assert!(web(&[("c", "1")], &["weekdays"]).is_empty());
    assert_eq!(web(&[("c", "1")], &["weekends", "nights"]), ["web"]);
    // Nobody is told, also by a child that does not say who is.
    let db = |more: &[(&'static str, &'static str)], now: &[&str]| told(&[&[("team", "db")], more].concat(), now);
    assert!(db(&[], &[]).is_empty() && db(&[("a", "1")], &[]).is_empty());
    assert_eq!(db(&[("a", "1"), ("b", "1"), ("c", "1")], &[]), ["one", "two"]);
    assert_eq!(db(&[("b", "1"), ("c", "1")], &["lunch"]), ["one"]);
}

#[test]
fn what_no_route_can_say_is_told_and_intervals_without_time_never_hold() {
    let yaml = "route: {receiver: x, routes: [{receiver: x, matchers: [a=b], active_time_intervals: [empty]}]}\ntime_intervals: [{name: empty, time_intervals: []}]\nreceivers: [{name: x, webhook_configs: [{url: 'http://a.example.com'}]}]";
    let set = loaded(&import(Format::Alertmanager, yaml));
    let told = |labels: &[(&str, &str)]| {
        let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        crate::domain::route::route(&set, &labels, &|name| name == "imported-always")[0].muted.is_some()
    };
    assert!(told(&[("a", "b")]) && !told(&[("a", "c")]));
}
