//! An Alertmanager's configuration as rules.

use super::*;

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
