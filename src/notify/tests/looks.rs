//! What every receiver is sent, written to files under `target/looks` to be looked at; and the same with a template.

use std::path::PathBuf;

use serde_json::json;

use crate::domain::answer::Key;
use crate::domain::notification::Kind;
use crate::domain::rule::{Receiver, ReceiverKind};
use crate::notify::fake::*;
use crate::notify::text::{Link, message};
use crate::notify::{Delivery, Sender, email, text};

fn folder() -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/looks");
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// Every format that speaks HTTP to one address.
fn receivers(url: &str) -> Vec<Receiver> {
    let base = || url.to_owned();
    let kinds = [
        ReceiverKind::Webhook { url: plain(url), secret: None, headers: Default::default() },
        ReceiverKind::AlertmanagerWebhook { url: plain(url), headers: Default::default() },
        ReceiverKind::Pagerduty { routing_key: plain("k3y"), base_url: base(), changes: false },
        ReceiverKind::Opsgenie { api_key: plain("k3y"), base_url: base(), options: Default::default() },
        ReceiverKind::Slack { url: Some(plain(url)), token: None, channel: None, base_url: base() },
        ReceiverKind::Teams { url: plain(url) },
        ReceiverKind::Jira {
            base_url: base(),
            user: None,
            token: plain("t"),
            project: "OPS".into(),
            issue_type: "Task".into(),
            options: Default::default(),
        },
        ReceiverKind::Github {
            base_url: base(),
            token: plain("t"),
            repo: "acme/shop".into(),
            labels: Vec::new(),
            options: Default::default(),
        },
        ReceiverKind::Servicenow { base_url: base(), user: None, password: None, token: Some(plain("t")), options: Default::default() },
    ];
    kinds.into_iter().map(|kind| receiver(kind.name(), kind)).collect()
}

/// The bodies that one delivery causes, as text.
async fn bodies(receiver: impl Fn(&str) -> Receiver, delivery: &Delivery) -> String {
    let fake = Fake::start().await;
    // Trackers look for an issue first, and find none.
    let found = json!({ "issues": [], "result": [], "ok": true });
    let made = json!({ "key": "OPS-1", "number": 1, "result": { "sys_id": "1" } });
    match receiver(&fake.url).kind {
        ReceiverKind::Jira { .. } | ReceiverKind::Servicenow { .. } => fake.will([Reply::json(200, found), Reply::json(201, made)]),
        ReceiverKind::Github { .. } => fake.will([Reply::json(200, json!([])), Reply::json(201, made)]),
        _ => {}
    }
    let sender = Sender::new(crate::notify::Settings { answer_key: Some(Key::derive(b"key")), ..settings(&[]) }).unwrap();
    sender.send(&receiver(&fake.url), delivery, NOW).await.unwrap();
    let pretty = |seen: &Seen| serde_json::to_string_pretty(&seen.json()).unwrap();
    fake.seen().iter().filter(|seen| !seen.body.is_empty()).map(pretty).collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn the_usual_words_of_every_receiver() {
    for kind in [Kind::Opened, Kind::Acknowledged, Kind::Resolved] {
        let delivery = Delivery { generation: Some(7), ..delivery(kind) };
        for n in 0..receivers("http://x").len() {
            let name = receivers("http://x")[n].name.clone();
            let body = bodies(|url| receivers(url).swap_remove(n), &delivery).await;
            std::fs::write(folder().join(format!("{name}-{}.json", kind.name())), &body).unwrap();
            let looked_for = kind == Kind::Resolved && ["jira", "github", "servicenow"].contains(&name.as_str());
            let not_told = kind == Kind::Acknowledged && name == "alertmanager_webhook";
            assert!(looked_for || not_told || body.contains("checkout-api"), "{name}: {body}");
            let chat = ["slack", "teams"].contains(&name.as_str());
            assert_eq!(body.contains("/act/"), chat && kind == Kind::Opened, "{name}: only chats and mails carry a link: {body}");
        }
        let mut message = message(&delivery.notification);
        if kind == Kind::Opened {
            message.links.insert(0, Link { name: text::ACKNOWLEDGE, url: "https://burnwatch.example.com/act/abc.def".into() });
        }
        std::fs::write(folder().join(format!("email-{}.html", kind.name())), email::html(&message)).unwrap();
        std::fs::write(folder().join(format!("email-{}.txt", kind.name())), email::plain(&message)).unwrap();
    }
}

const TEMPLATE: &str = "{% set title %}{{ incident.service }} hurts{% endset %}\n\
    {{ incident.title }}\n{% for suspect in incident.suspects %}hit: {{ suspect.where.region }}{% endfor %}\n\
    {% if format == 'html' %}<b>Call the desk.</b>{% else %}Call the desk.{% endif %}";

#[tokio::test]
async fn r11_a_template_words_every_format_and_hostile_values_stay_words() {
    let worded = |notification| Delivery { template: Some(TEMPLATE.into()), notification, ..delivery(Kind::Opened) };
    let (calm, nasty) = (worded(notification(Kind::Opened)), worded(hostile(Kind::Opened)));
    for n in 2..receivers("http://x").len() {
        let name = receivers("http://x")[n].name.clone();
        let body = bodies(|url| receivers(url).swap_remove(n), &calm).await;
        assert!(body.contains("shop hurts") && body.contains("Call the desk."), "{name}: {body}");
        assert!(!body.contains("Who is hit"), "{name}: the usual words are replaced: {body}");
        let body = bodies(|url| receivers(url).swap_remove(n), &nasty).await;
        if name == "slack" {
            assert!(!body.contains("<!channel>") && !body.contains("<!here>") && body.contains("&lt;!channel&gt;"), "{body}");
        }
        if name == "github" {
            let issue = body.rsplit("\"body\": \"").next().unwrap();
            let outside: String = issue.split('`').step_by(2).collect();
            assert!(!outside.contains("@octocat") && !outside.contains("<script>"), "{outside}");
        }
    }
    let mut said = message(&nasty.notification);
    said.reword(TEMPLATE, &nasty.notification).unwrap();
    let html = email::html(&said);
    assert!(html.contains("<b>Call the desk.</b>"), "the author may write HTML");
    assert!(!html.contains("<script>") && !html.contains("<img") && html.contains("&lt;script&gt;"), "{html}");
    assert!(!email::plain(&said).contains("<b>Call"), "{}", email::plain(&said));
    std::fs::write(folder().join("email-template.html"), html).unwrap();
}

#[tokio::test]
async fn a_template_that_fails_leaves_the_usual_words() {
    let broken = Delivery { template: Some("{{ incident.nothing }}".into()), ..delivery(Kind::Opened) };
    let body = bodies(|url| receivers(url).swap_remove(2), &broken).await;
    assert!(body.contains("Who is hit"), "{body}");
}
