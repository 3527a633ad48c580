//! PagerDuty, Opsgenie, Slack, Teams, Alertmanager's webhook: bodies looked at as they arrive.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::domain::notification::{Change, Kind};
use crate::domain::rule::{Field, Receiver, ReceiverKind};
use crate::domain::time::Span;
use crate::notify::fake::*;
use crate::notify::{Delivery, Next, SendError, Sent};

async fn send(receiver: &Receiver, delivery: &Delivery) -> Result<Sent, SendError> {
    sender(&[("KEY", "k3yk3y")]).send(receiver, delivery, NOW).await
}

fn nasty() -> Delivery {
    Delivery { notification: hostile(Kind::Opened), ..delivery(Kind::Opened) }
}

fn pagerduty(fake: &Fake) -> Receiver {
    receiver("pager", ReceiverKind::Pagerduty { routing_key: Field::Secret("KEY".into()), base_url: fake.url.clone(), changes: false })
}

#[tokio::test]
async fn pagerduty_gets_trigger_acknowledge_and_resolve_under_one_key() {
    let fake = Fake::start().await;
    fake.will(vec![Reply::json(202, json!({ "status": "success" })); 7]);
    let kinds = [Kind::Opened, Kind::Escalated, Kind::Reminder, Kind::Acknowledged, Kind::Updated, Kind::Reopened, Kind::Resolved];
    for kind in kinds {
        assert_eq!(send(&pagerduty(&fake), &delivery(kind)).await.unwrap().status, Some(202));
    }
    let bodies: Vec<Value> = fake.seen().iter().map(|seen| seen.json()).collect();
    let actions: Vec<&str> = bodies.iter().map(|body| body["event_action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["trigger", "trigger", "trigger", "acknowledge", "trigger", "trigger", "resolve"]);
    assert!(bodies.iter().all(|body| body["dedup_key"] == "c0ffee" && body["routing_key"] == "k3yk3y"));
    assert_eq!(fake.lines()[0], "POST /v2/enqueue");
    let first = &bodies[0];
    assert_eq!(first["payload"]["summary"], "checkout-api burns its budget (shop)");
    assert_eq!(first["payload"]["severity"], "critical");
    assert_eq!(first["payload"]["source"], "shop");
    assert_eq!(first["payload"]["custom_details"]["Who is hit"], "812 users, 5,312 bad events");
    assert_eq!(first["links"][1], json!({ "href": "https://runbooks.example.com/checkout", "text": "Runbook" }));
    assert_eq!(first["client_url"], "https://burnwatch.example.com/incidents/inc-7");
}

#[tokio::test]
async fn pagerdutys_limits_are_kept_with_a_visible_mark() {
    let fake = Fake::start().await;
    let mut big = delivery(Kind::Opened);
    big.correlation = "x".repeat(300);
    let incident = &mut big.notification.data.incident;
    incident.title = "ä".repeat(5000);
    incident.labels = (0..100_000).map(|n| (format!("label{n}"), "v".repeat(500))).collect();
    send(&pagerduty(&fake), &big).await.unwrap();
    let seen = &fake.seen()[0];
    assert!(seen.body.len() < 512_000, "{}", seen.body.len());
    let body = seen.json();
    let summary = body["payload"]["summary"].as_str().unwrap();
    assert!(summary.chars().count() <= 1024 && summary.contains('…'), "{summary}");
    assert_eq!(body["dedup_key"].as_str().unwrap().len(), 64);
}

#[tokio::test]
async fn pagerdutys_answers_mean_what_its_documentation_says() {
    let fake = Fake::start().await;
    fake.will([
        Reply::json(400, json!({ "message": "Event object is invalid", "errors": ["routing_key"] })),
        Reply::status(429),
        Reply::status(500),
    ]);
    assert_eq!(send(&pagerduty(&fake), &delivery(Kind::Opened)).await.unwrap_err().next, Next::GiveUp { disable: false });
    for _ in 0..2 {
        assert_eq!(send(&pagerduty(&fake), &delivery(Kind::Opened)).await.unwrap_err().next, Next::Retry { after: None });
    }
}

#[tokio::test]
async fn opsgenie_opens_notes_acknowledges_and_closes_by_alias() {
    let fake = Fake::start().await;
    fake.will(vec![Reply::json(202, json!({ "requestId": "r-1" })); 5]);
    let options = [
        ("responders".to_owned(), json!([{ "type": "team", "name": "web" }])),
        ("tags".to_owned(), json!(["rum"])),
        ("visible_to".to_owned(), json!([{ "id": "1" }])),
    ]
    .into();
    let genie = receiver("genie", ReceiverKind::Opsgenie { api_key: Field::Secret("KEY".into()), base_url: fake.url.clone(), options });
    for kind in [Kind::Opened, Kind::Escalated, Kind::Acknowledged, Kind::Resolved] {
        send(&genie, &delivery(kind)).await.unwrap();
    }
    let lines = [
        "POST /v2/alerts",
        "POST /v2/alerts",
        "POST /v2/alerts/c0ffee/notes?identifierType=alias",
        "POST /v2/alerts/c0ffee/acknowledge?identifierType=alias",
        "POST /v2/alerts/c0ffee/close?identifierType=alias",
    ];
    assert_eq!(fake.lines(), lines);
    let seen = &fake.seen()[0];
    assert_eq!(seen.header("authorization"), "GenieKey k3yk3y");
    let body = seen.json();
    assert_eq!((&body["alias"], &body["priority"]), (&"c0ffee".into(), &"P1".into()));
    assert_eq!((&body["tags"], &body["responders"][0]["name"]), (&json!(["rum", "page"]), &"web".into()));
    assert_eq!(body["visibleTo"], json!([{ "id": "1" }]));
    assert!(body["message"].as_str().unwrap().chars().count() <= 130);
}

fn slack_hook(fake: &Fake) -> Receiver {
    receiver("slack", ReceiverKind::Slack { url: Some(plain(&fake.url)), token: None, channel: None, base_url: String::new() })
}

#[tokio::test]
async fn r11_slack_shows_hostile_words_as_words() {
    let fake = Fake::start().await;
    send(&slack_hook(&fake), &nasty()).await.unwrap();
    let body = fake.seen()[0].json();
    let text = body.to_string();
    for live in ["<!channel>", "<!here>", "<@", "<https://evil", "<script", "<img"] {
        assert!(!text.contains(live), "{live} in {text}");
    }
    let blocks = body["blocks"].as_array().unwrap();
    assert!(blocks.len() <= 50);
    for section in blocks.iter().filter(|block| block["type"] == "section") {
        assert_eq!(section["text"]["verbatim"], true);
        assert!(section["text"]["text"].as_str().unwrap().chars().count() <= 3000);
    }
}

#[tokio::test]
async fn slacks_default_text_reads_like_this() {
    let fake = Fake::start().await;
    send(&slack_hook(&fake), &delivery(Kind::Opened)).await.unwrap();
    let body = fake.seen()[0].json();
    assert_eq!(body["text"], "PAGE: checkout-api burns its budget (shop)");
    let expected = "*Who is hit:* 812 users, 5,312 bad events
*Where:* region `de`, release `2.3.1` (90 % of the failures above normal, 11 % of the traffic; not seen before)
*Since:* 2027-01-15 07:57 UTC (3m ago)
*What changed:* deploy `shop` `2.3.1` at 2027-01-15 07:50 UTC, 7m before it opened (matches the segment)
*Error budget:* 3.2 % used by this, 41 % left
*Alert:* `checkout-api` firing (page), burning 22.4 times the budget's pace over 1h and 151 over 5m, limit 14.4, 2.2 % bad: `Checkout fails for many`
*Why now:* `burn rate above 14.4`
*What to do:* acknowledge it, then follow the runbook";
    assert_eq!(body["blocks"][0]["text"]["text"], "*PAGE:* checkout-api burns its budget (shop)");
    assert_eq!(body["blocks"][1]["text"]["text"], expected);
    assert_eq!(
        body["blocks"][2]["elements"][0]["text"],
        "<https://burnwatch.example.com/incidents/inc-7|Incident> · <https://runbooks.example.com/checkout|Runbook>"
    );
}

fn slack_bot(fake: &Fake) -> Receiver {
    let kind = ReceiverKind::Slack {
        url: None,
        token: Some(Field::Secret("KEY".into())),
        channel: Some("#ops".into()),
        base_url: fake.url.clone(),
    };
    receiver("slack", kind)
}

#[tokio::test]
async fn a_slack_bot_updates_its_message_and_writes_into_its_thread() {
    let fake = Fake::start().await;
    fake.will(vec![Reply::json(200, json!({ "ok": true, "channel": "C1", "ts": "17.5" })); 3]);
    let first = send(&slack_bot(&fake), &delivery(Kind::Opened)).await.unwrap();
    assert_eq!(first.reply, Some(json!({ "channel": "C1", "ts": "17.5" })));
    let later = Delivery { earlier: first.reply.clone(), ..delivery(Kind::Resolved) };
    let second = send(&slack_bot(&fake), &later).await.unwrap();
    assert_eq!(second.reply, first.reply);
    assert_eq!(fake.lines(), ["POST /api/chat.postMessage", "POST /api/chat.update", "POST /api/chat.postMessage"]);
    let (update, reply) = (fake.seen()[1].json(), fake.seen()[2].json());
    assert_eq!((&update["channel"], &update["ts"]), (&"C1".into(), &"17.5".into()));
    assert_eq!((&reply["thread_ts"], &reply["reply_broadcast"]), (&"17.5".into(), &false.into()));
    assert_eq!(fake.seen()[0].header("authorization"), "Bearer k3yk3y");
}

#[tokio::test]
async fn slack_says_200_also_when_it_refuses() {
    let said = |code: &str| Reply::json(200, json!({ "ok": false, "error": code }));
    for (code, next) in [
        ("channel_not_found", Next::GiveUp { disable: false }),
        ("invalid_auth", Next::GiveUp { disable: false }),
        ("internal_error", Next::Retry { after: None }),
    ] {
        let fake = Fake::start().await;
        fake.will([said(code)]);
        assert_eq!(send(&slack_bot(&fake), &delivery(Kind::Opened)).await.unwrap_err().next, next, "{code}");
    }
    let fake = Fake::start().await;
    fake.will([Reply::Status(200, vec![], "<html>proxy</html>".into())]);
    assert_eq!(send(&slack_bot(&fake), &delivery(Kind::Opened)).await.unwrap_err().next, Next::Retry { after: None });
    // A message that somebody deleted is posted anew.
    fake.will([said("message_not_found"), Reply::json(200, json!({ "ok": true, "channel": "C1", "ts": "18.1" }))]);
    let later = Delivery { earlier: Some(json!({ "channel": "C1", "ts": "17.5" })), ..delivery(Kind::Reminder) };
    assert_eq!(send(&slack_bot(&fake), &later).await.unwrap().reply, Some(json!({ "channel": "C1", "ts": "18.1" })));
}

#[tokio::test]
async fn r11_teams_gets_a_card_of_plain_runs_within_its_limit() {
    let fake = Fake::start().await;
    fake.will([Reply::status(202), Reply::status(202)]);
    let teams = receiver("teams", ReceiverKind::Teams { url: plain(&fake.url) });
    send(&teams, &nasty()).await.unwrap();
    let card = &fake.seen()[0].json()["attachments"][0]["content"].clone();
    assert_eq!((&card["type"], &card["version"]), (&"AdaptiveCard".into(), &"1.2".into()));
    // Only text runs, never a block that reads Markdown.
    assert!(card["body"].as_array().unwrap().iter().all(|line| line["type"] == "RichTextBlock"));
    assert!(card["actions"].as_array().unwrap().iter().all(|action| action["url"].as_str().unwrap().starts_with("https://")));
    let word = &card["body"][0]["inlines"][0];
    assert_eq!((&word["text"], &word["color"], &word["size"]), (&"PAGE: ".into(), &"attention".into(), &"medium".into()), "{word}");
    let mut big = delivery(Kind::Opened);
    big.notification.data.incident.suspects[0].terms =
        (0..4).map(|n| (format!("d{n}"), crate::domain::notification::Values::One("€".repeat(120)))).collect();
    big.notification.data.incident.suspects = vec![big.notification.data.incident.suspects[0].clone(); 3];
    big.notification.data.incident.alerts = vec![big.notification.data.incident.alerts[0].clone(); 50];
    for alert in &mut big.notification.data.incident.alerts {
        alert.summary = "€".repeat(5000);
    }
    send(&teams, &big).await.unwrap();
    assert!(fake.seen()[1].body.len() <= 21_000, "{}", fake.seen()[1].body.len());
}

#[tokio::test]
async fn alertmanagers_listeners_get_version_4() {
    let fake = Fake::start().await;
    let hook = receiver("am", ReceiverKind::AlertmanagerWebhook { url: plain(&fake.url), headers: BTreeMap::new() });
    send(&hook, &delivery(Kind::Opened)).await.unwrap();
    assert!(send(&hook, &delivery(Kind::Acknowledged)).await.unwrap().status.is_none());
    send(&hook, &delivery(Kind::Resolved)).await.unwrap();
    let bodies: Vec<Value> = fake.seen().iter().map(|seen| seen.json()).collect();
    // As a listener that compares bytes sees it: Alertmanager's fields in Alertmanager's order.
    let text = String::from_utf8(fake.seen()[0].body.clone()).unwrap();
    let expected = concat!(
        r#"{"receiver":"am","status":"firing","alerts":[{"status":"firing","#,
        r#""labels":{"alertname":"checkout-api","service":"shop","severity":"page","slo":"checkout-api"},"#,
        r#""annotations":{"runbook_url":"https://runbooks.example.com/checkout","summary":"Checkout fails for many"},"#,
        r#""startsAt":"2027-01-15T07:57:00Z","endsAt":"0001-01-01T00:00:00Z","#,
        r#""generatorURL":"https://burnwatch.example.com/incidents/inc-7","fingerprint":"FINGERPRINT"}],"#,
        r#""groupLabels":{"service":"shop"},"#,
        r#""commonLabels":{"alertname":"checkout-api","service":"shop","severity":"page","slo":"checkout-api"},"#,
        r#""commonAnnotations":{"runbook_url":"https://runbooks.example.com/checkout","summary":"Checkout fails for many"},"#,
        r#""externalURL":"https://burnwatch.example.com","notification_reason":"first notification","version":"4","#,
        r#""groupKey":"{}:{service=\"shop\"}","truncatedAlerts":0}"#
    );
    let print = bodies[0]["alerts"][0]["fingerprint"].as_str().unwrap();
    assert_eq!((text, print.len()), (expected.replace("FINGERPRINT", print), 16));
    assert_eq!(bodies.len(), 2);
    assert_eq!((&bodies[0]["status"], &bodies[1]["status"]), (&"firing".into(), &"resolved".into()));
    assert_eq!(bodies[0]["groupKey"], r#"{}:{service="shop"}"#);
    assert_eq!((&bodies[0]["version"], &bodies[0]["truncatedAlerts"], &bodies[0]["receiver"]), (&"4".into(), &0.into(), &"am".into()));
    let alert = &bodies[0]["alerts"][0];
    assert_eq!((&alert["endsAt"], &alert["labels"]["alertname"]), (&"0001-01-01T00:00:00Z".into(), &"checkout-api".into()));
    assert_eq!(bodies[1]["alerts"][0]["endsAt"], NOW.to_string());
    assert_eq!(bodies[0]["alerts"][0]["fingerprint"], bodies[1]["alerts"][0]["fingerprint"]);
    assert_eq!(bodies[0]["commonLabels"]["slo"], "checkout-api");
    assert_eq!(bodies[0]["externalURL"], "https://burnwatch.example.com");
}

#[tokio::test]
async fn alertmanagers_listeners_are_told_why() {
    let fake = Fake::start().await;
    let hook = receiver("am", ReceiverKind::AlertmanagerWebhook { url: plain(&fake.url), headers: BTreeMap::new() });
    let mut some = delivery(Kind::Updated);
    let alerts = &mut some.notification.data.incident.alerts;
    alerts.push(crate::domain::notification::AlertView { ended_at: None, ..alerts[0].clone() });
    send(&hook, &some).await.unwrap();
    let alerts = &mut some.notification.data.incident.alerts;
    alerts[1].state = crate::domain::notification::AlertState::Resolved;
    alerts[1].ended_at = Some(NOW);
    send(&hook, &some).await.unwrap();
    let reasons: Vec<Value> = fake.seen().iter().map(|seen| seen.json()["notification_reason"].clone()).collect();
    assert_eq!(reasons, ["new alerts added", "some alerts resolved"]);
}

#[tokio::test]
async fn a_timeout_is_the_receivers_for_all_calls_together() {
    let fake = Fake::start().await;
    fake.will([Reply::json(200, json!({ "ok": true, "channel": "C1", "ts": "1" })), Reply::Hang]);
    let bot = Receiver { timeout: Span(300), ..slack_bot(&fake) };
    let later = Delivery { earlier: Some(json!({ "channel": "C1", "ts": "1" })), ..delivery(Kind::Updated) };
    assert_eq!(send(&bot, &later).await.unwrap_err().why, "no answer within 300ms");
}

#[tokio::test]
async fn pagerduty_is_told_of_deploys_if_it_asks_for_them() {
    let fake = Fake::start().await;
    fake.will([Reply::json(202, json!({ "status": "success" })), Reply::status(429), Reply::Status(400, vec![], "no k3yk3y".into())]);
    let mut pager = pagerduty(&fake);
    let change = Change {
        text: Some("rolled\r\nout".into()),
        url: Some("javascript:1".into()),
        ..notification(Kind::Opened).data.incident.changes[0].clone()
    };
    let sender = sender(&[("KEY", "k3yk3y")]);
    sender.announce(&pager, &change, NOW).await.unwrap();
    assert!(fake.seen().is_empty(), "without `changes` it is told nothing");
    let ReceiverKind::Pagerduty { changes, .. } = &mut pager.kind else { panic!("it is a pager") };
    *changes = true;
    sender.announce(&pager, &change, NOW).await.unwrap();
    let seen = &fake.seen()[0];
    assert_eq!(seen.line(), "POST /v2/change/enqueue");
    let expected = json!({ "routing_key": "k3yk3y", "payload": { "summary": "deploy shop 2.3.1: rolled out", "timestamp": change.at.to_string(), "source": "shop",
        "custom_details": { "app": "shop", "release": "2.3.1", "text": "rolled out", "annotation": "a1" } } });
    assert_eq!(seen.json(), expected);
    assert!(matches!(sender.announce(&pager, &change, NOW).await.unwrap_err().next, Next::Retry { .. }));
    let refused = sender.announce(&pager, &change, NOW).await.unwrap_err();
    assert!(matches!(refused.next, Next::GiveUp { .. }) && !refused.why.contains("k3yk3y"), "{refused:?}");
}
