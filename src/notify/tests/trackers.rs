//! Jira, GitHub, ServiceNow: found again rather than made twice, commented, closed, reopened.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::domain::notification::Kind;
use crate::domain::rule::{Field, Receiver, ReceiverKind};
use crate::domain::time::Span;
use crate::notify::fake::*;
use crate::notify::{Delivery, Next, SendError, Sent};

async fn send(receiver: &Receiver, delivery: &Delivery) -> Result<Sent, SendError> {
    sender(&[("TOKEN", "t0ken")]).send(receiver, delivery, NOW).await
}

fn after(kind: Kind, earlier: Value) -> Delivery {
    Delivery { earlier: Some(earlier), ..delivery(kind) }
}

fn jira(fake: &Fake) -> Receiver {
    let kind = ReceiverKind::Jira {
        base_url: fake.url.clone(),
        user: Some(plain("bot@example.com")),
        token: Field::Secret("TOKEN".into()),
        project: "OPS".into(),
        issue_type: "Bug".into(),
        options: [("priority".to_owned(), json!({ "page": "Highest" })), ("labels".to_owned(), json!(["on call"]))].into(),
    };
    receiver("jira", kind)
}

const NONE: fn() -> Reply = || Reply::json(200, json!({ "issues": [], "isLast": true }));

#[tokio::test]
async fn jira_gets_one_issue_with_the_label_to_find_it_again() {
    let fake = Fake::start().await;
    fake.will([NONE(), Reply::json(201, json!({ "id": "1", "key": "OPS-7" }))]);
    let nasty = Delivery { notification: hostile(Kind::Opened), ..delivery(Kind::Opened) };
    let sent = send(&jira(&fake), &nasty).await.unwrap();
    assert_eq!(sent.reply, Some(json!({ "key": "OPS-7" })));
    let (search, create) = (fake.seen()[0].json(), fake.seen()[1].json());
    assert_eq!(search["jql"], r#"project = "OPS" AND labels = "burnwatch-c0ffee" ORDER BY created DESC"#);
    let fields = &create["fields"];
    assert_eq!(fields["labels"], json!(["burnwatch-c0ffee", "burnwatch", "on-call"]));
    assert_eq!(
        (&fields["project"]["key"], &fields["issuetype"]["name"], &fields["priority"]["name"]),
        (&"OPS".into(), &"Bug".into(), &"Highest".into())
    );
    assert!(fields["summary"].as_str().unwrap().chars().count() <= 255);
    // Text nodes only: nothing in them is read as markup.
    for paragraph in fields["description"]["content"].as_array().unwrap() {
        assert!(paragraph["content"].as_array().unwrap().iter().all(|node| node["type"] == "text" && node["text"] != ""));
    }
    assert!(fake.seen()[0].header("authorization").starts_with("Basic "));
}

#[tokio::test]
async fn jira_issues_whose_creation_was_not_answered_are_found() {
    let fake = Fake::start().await;
    fake.will([Reply::json(200, json!({ "issues": [{ "key": "OPS-7" }] }))]);
    let sent = send(&jira(&fake), &delivery(Kind::Opened)).await.unwrap();
    assert_eq!((sent.reply, fake.seen().len()), (Some(json!({ "key": "OPS-7" })), 1));
}

#[tokio::test]
async fn jira_options_narrow_which_issue_is_found_again() {
    let fake = Fake::start().await;
    fake.will([NONE(), Reply::json(201, json!({ "key": "OPS-7" }))]);
    let mut jira = jira(&fake);
    let ReceiverKind::Jira { options, .. } = &mut jira.kind else { unreachable!("it is made above") };
    options.insert("reopen_within".into(), json!("3d"));
    options.insert("wont_fix_resolution".into(), json!("Won't \"Fix\""));
    send(&jira, &delivery(Kind::Opened)).await.unwrap();
    let jql = r#"project = "OPS" AND labels = "burnwatch-c0ffee" AND (resolutiondate is EMPTY OR resolutiondate >= -4320m) AND (resolution is EMPTY OR resolution != "Won't \"Fix\"") ORDER BY created DESC"#;
    assert_eq!(fake.seen()[0].json()["jql"], jql);
}

#[tokio::test]
async fn jira_issues_are_closed_by_a_transition_to_a_done_status_and_commented_last() {
    let fake = Fake::start().await;
    let status = |key: &str| Reply::json(200, json!({ "fields": { "status": { "statusCategory": { "key": key } } } }));
    let to = |id: &str, key: &str| json!({ "id": id, "name": id, "to": { "statusCategory": { "key": key } } });
    let transitions = Reply::json(200, json!({ "transitions": [to("11", "indeterminate"), to("31", "done")] }));
    fake.will([status("new"), transitions.clone(), Reply::status(204), Reply::json(201, json!({ "id": "9" }))]);
    send(&jira(&fake), &after(Kind::Resolved, json!({ "key": "OPS-7" }))).await.unwrap();
    let lines = [
        "GET /rest/api/3/issue/OPS-7?fields=status",
        "GET /rest/api/3/issue/OPS-7/transitions",
        "POST /rest/api/3/issue/OPS-7/transitions",
        "POST /rest/api/3/issue/OPS-7/comment",
    ];
    assert_eq!(fake.lines(), lines);
    assert_eq!(fake.seen()[2].json(), json!({ "transition": { "id": "31" } }));
    fake.will([status("done"), transitions, Reply::status(204), Reply::json(201, json!({ "id": "9" }))]);
    send(&jira(&fake), &after(Kind::Reopened, json!({ "key": "OPS-7" }))).await.unwrap();
    assert_eq!(fake.seen()[6].json(), json!({ "transition": { "id": "11" } }));
    // Done already: only the comment.
    fake.will([status("done"), Reply::json(201, json!({}))]);
    send(&jira(&fake), &after(Kind::Resolved, json!({ "key": "OPS-7" }))).await.unwrap();
    assert_eq!(fake.seen().len(), 10);
}

#[tokio::test]
async fn a_failure_halfway_keeps_the_issues_key_for_the_next_attempt() {
    let fake = Fake::start().await;
    fake.will([Reply::status(503)]);
    let error = send(&jira(&fake), &after(Kind::Updated, json!({ "key": "OPS-7" }))).await.unwrap_err();
    assert_eq!((error.next, error.progress), (Next::Retry { after: None }, Some(json!({ "key": "OPS-7" }))));
}

#[tokio::test]
async fn an_issue_that_was_deleted_is_made_anew_unless_it_is_over() {
    let fake = Fake::start().await;
    fake.will([Reply::status(404), NONE(), Reply::json(201, json!({ "key": "OPS-8" }))]);
    let sent = send(&jira(&fake), &after(Kind::Updated, json!({ "key": "OPS-7" }))).await.unwrap();
    assert_eq!(sent.reply, Some(json!({ "key": "OPS-8" })));
    fake.will([Reply::status(404), NONE()]);
    let sent = send(&jira(&fake), &after(Kind::Resolved, json!({ "key": "OPS-8" }))).await.unwrap();
    assert_eq!((sent.status, sent.note.as_str()), (None, "there is no issue to close"));
}

fn github(fake: &Fake) -> Receiver {
    let kind = ReceiverKind::Github {
        base_url: fake.url.clone(),
        token: Field::Secret("TOKEN".into()),
        repo: "acme/shop".into(),
        labels: vec!["incident".into()],
        options: BTreeMap::new(),
    };
    receiver("github", kind)
}

#[tokio::test]
async fn github_gets_one_issue_that_is_commented_closed_and_reopened() {
    let fake = Fake::start().await;
    fake.will([Reply::json(200, json!([])), Reply::json(201, json!({ "number": 12 }))]);
    let sent = send(&github(&fake), &delivery(Kind::Opened)).await.unwrap();
    assert_eq!(sent.reply, Some(json!({ "number": 12 })));
    let create = fake.seen()[1].json();
    assert_eq!(create["labels"], json!(["incident", "burnwatch-c0ffee"]));
    assert!(create["body"].as_str().unwrap().ends_with("<!-- burnwatch-c0ffee -->\n"));
    fake.will([Reply::json(200, json!({})), Reply::json(201, json!({})), Reply::json(200, json!({})), Reply::json(201, json!({}))]);
    send(&github(&fake), &after(Kind::Resolved, json!({ "number": 12 }))).await.unwrap();
    send(&github(&fake), &after(Kind::Reopened, json!({ "number": 12 }))).await.unwrap();
    let lines = [
        "GET /repos/acme/shop/issues?state=all&sort=created&direction=desc&per_page=1&labels=burnwatch-c0ffee",
        "POST /repos/acme/shop/issues",
        "PATCH /repos/acme/shop/issues/12",
        "POST /repos/acme/shop/issues/12/comments",
        "PATCH /repos/acme/shop/issues/12",
        "POST /repos/acme/shop/issues/12/comments",
    ];
    assert_eq!(fake.lines(), lines);
    assert_eq!(fake.seen()[2].json(), json!({ "state": "closed", "state_reason": "completed" }));
    assert_eq!(fake.seen()[4].json(), json!({ "state": "open" }));
}

#[tokio::test]
async fn r11_github_mentions_nobody_and_shows_hostile_words_as_code() {
    let fake = Fake::start().await;
    fake.will([Reply::json(200, json!([])), Reply::json(201, json!({ "number": 12 }))]);
    send(&github(&fake), &Delivery { notification: hostile(Kind::Opened), ..delivery(Kind::Opened) }).await.unwrap();
    let create = fake.seen()[1].json();
    assert!(!create["title"].as_str().unwrap().contains("@octocat"));
    let body = create["body"].as_str().unwrap();
    let outside: String = body.split('`').step_by(2).collect();
    for live in ["@octocat", "javascript", "<img", "evil", "<script"] {
        assert!(!outside.contains(live), "{live} in {outside}");
    }
}

#[tokio::test]
async fn githubs_limits_come_as_403_too() {
    let limits = [
        (Reply::Status(403, vec![("retry-after", "30".into())], String::new()), Some(Span::seconds(30))),
        (
            Reply::Status(403, vec![("x-ratelimit-remaining", "0".into()), ("x-ratelimit-reset", "1800000090".into())], String::new()),
            Some(Span::seconds(90)),
        ),
        (Reply::Status(403, vec![], r#"{"message":"You have exceeded a secondary rate limit"}"#.into()), Some(Span::MINUTE)),
        (Reply::status(429), Some(Span::MINUTE)),
    ];
    for (reply, after) in limits {
        let fake = Fake::start().await;
        fake.will([reply.clone()]);
        assert_eq!(send(&github(&fake), &delivery(Kind::Opened)).await.unwrap_err().next, Next::Retry { after }, "{reply:?}");
    }
    let fake = Fake::start().await;
    fake.will([Reply::json(403, json!({ "message": "Resource not accessible by personal access token" }))]);
    assert_eq!(send(&github(&fake), &delivery(Kind::Opened)).await.unwrap_err().next, Next::GiveUp { disable: false });
}

#[tokio::test]
async fn servicenow_gets_one_record_by_correlation_id() {
    let fake = Fake::start().await;
    let kind = ReceiverKind::Servicenow {
        base_url: fake.url.clone(),
        user: Some(plain("bot")),
        password: Some(Field::Secret("TOKEN".into())),
        token: None,
        options: [
            ("assignment_group".to_owned(), json!("web")),
            ("close_code".to_owned(), json!("Solved")),
            ("fields".to_owned(), json!({ "u_team": 7 })),
        ]
        .into(),
    };
    let now = receiver("now", kind);
    fake.will([Reply::json(200, json!({ "result": [] })), Reply::json(201, json!({ "result": { "sys_id": "a1", "number": "INC1" } }))]);
    let sent = send(&now, &delivery(Kind::Opened)).await.unwrap();
    assert_eq!(sent.reply, Some(json!({ "sys_id": "a1", "number": "INC1" })));
    fake.will([Reply::json(200, json!({ "result": {} }))]);
    let closed = send(&now, &after(Kind::Resolved, sent.reply.clone().unwrap())).await.unwrap();
    assert_eq!(closed.reply, sent.reply);
    assert!(fake.lines()[0].starts_with("GET /api/now/table/incident?sysparm_query=correlation_id%3Dc0ffee"), "{:?}", fake.lines());
    assert_eq!(fake.lines()[1..], ["POST /api/now/table/incident", "PATCH /api/now/table/incident/a1"]);
    let (create, close) = (fake.seen()[1].json(), fake.seen()[2].json());
    assert_eq!(
        (&create["correlation_id"], &create["assignment_group"], &create["urgency"]),
        (&"c0ffee".into(), &"web".into(), &"1".into())
    );
    assert!(create.get("close_code").is_none() && create.get("fields").is_none());
    assert_eq!(create["u_team"], 7);
    assert_eq!((&close["state"], &close["close_code"]), (&"6".into(), &"Solved".into()));
}

#[tokio::test]
async fn r11_jira_and_servicenow_show_hostile_words_as_words() {
    let nasty = Delivery { notification: hostile(Kind::Opened), ..delivery(Kind::Opened) };
    let fake = Fake::start().await;
    fake.will([Reply::json(200, json!({ "issues": [] })), Reply::json(201, json!({ "key": "OPS-1" }))]);
    send(&jira(&fake), &nasty).await.unwrap();
    let fields = fake.seen()[1].json()["fields"].clone();
    assert!(fields["summary"].as_str().unwrap().chars().count() <= 255 && !fields["summary"].as_str().unwrap().contains(['\r', '\n']));
    // Text nodes and links of ours: nothing in them is read as wiki markup or as a mention.
    let text = fields["description"].to_string();
    let kinds: Vec<&str> = text.split("\"type\":\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    assert!(kinds.iter().all(|kind| ["doc", "paragraph", "text", "strong", "code", "link"].contains(kind)), "{kinds:?}");
    assert!(text.contains("{noformat}") && !text.contains("\"href\":\"javascript"), "{text}");

    let fake = Fake::start().await;
    let kind = ReceiverKind::Servicenow {
        base_url: fake.url.clone(),
        user: None,
        password: None,
        token: Some(plain("t")),
        options: Default::default(),
    };
    let now = receiver("now", kind);
    fake.will([Reply::json(200, json!({ "result": [] })), Reply::json(201, json!({ "result": { "sys_id": "a1" } }))]);
    let sent = send(&now, &nasty).await.unwrap();
    fake.will([Reply::json(200, json!({ "result": {} }))]);
    send(&now, &Delivery { earlier: sent.reply, notification: hostile(Kind::Escalated), ..delivery(Kind::Escalated) }).await.unwrap();
    let (create, note) = (fake.seen()[1].json().to_string(), fake.seen()[2].json().to_string());
    for body in [create, note] {
        assert!(body.contains("(code)<b>x</b>(/code)") && !body.contains("[code]"), "HTML would be shown as such: {body}");
    }
}
