//! What pagers, chats and trackers call back with: who vouches for it, and what it says. Pure.
//!
//! Nothing in a body counts before its signature does, and a provider can say two things only:
//! somebody has taken it, or somebody has closed it there.

use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, PoisonError};

use axum::http::HeaderMap;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::session::same;
use super::text::clip;
use crate::domain::rule::ReceiverKind;
use crate::domain::time::{Span, Timestamp};

/// How far the time of a signed request may be from ours (Slack asks for five minutes).
const SKEW_MAX: Span = Span::minutes(5);
/// What happened longer ago than this is not done any more: it is a late retry, or a replay.
pub const LATE_MAX: Span = Span::HOUR;
/// What trackers put before the correlation key to make a label.
const LABEL: &str = "burnwatch-";
/// How many calls are remembered, so that a repeated one does nothing twice.
const REMEMBERED_MAX: usize = 4_096;

/// Who calls back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provider {
    Pagerduty,
    Opsgenie,
    Slack,
    Jira,
    Github,
}

impl Provider {
    /// The provider behind a kind of receiver, if it can call back.
    pub const fn of(kind: &ReceiverKind) -> Option<Provider> {
        match kind {
            ReceiverKind::Pagerduty { .. } => Some(Provider::Pagerduty),
            ReceiverKind::Opsgenie { .. } => Some(Provider::Opsgenie),
            ReceiverKind::Slack { .. } => Some(Provider::Slack),
            ReceiverKind::Jira { .. } => Some(Provider::Jira),
            ReceiverKind::Github { .. } => Some(Provider::Github),
            ReceiverKind::Webhook { .. }
            | ReceiverKind::Email { .. }
            | ReceiverKind::Teams { .. }
            | ReceiverKind::Servicenow { .. }
            | ReceiverKind::AlertmanagerWebhook { .. }
            | ReceiverKind::Action { .. } => None,
        }
    }

    /// As people call it.
    pub const fn name(self) -> &'static str {
        match self {
            Provider::Pagerduty => "PagerDuty",
            Provider::Opsgenie => "Opsgenie",
            Provider::Slack => "Slack",
            Provider::Jira => "Jira",
            Provider::Github => "GitHub",
        }
    }
}

/// Which incident is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// One of these is the correlation key of the incident at this receiver.
    Correlation(Vec<String>),
    /// A sealed claim, from a button of ours.
    Sealed(String),
}

/// What somebody did there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Did {
    Acknowledge,
    Close,
}

/// A call that is genuine and concerns us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    pub key: Key,
    pub did: Did,
    /// The name of the person, as the provider gives it; empty without.
    pub person: String,
    /// When it happened, where the provider says so.
    pub at: Option<Timestamp>,
}

/// Why a call is not heeded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unheard {
    /// Without a good signature it may be from anybody.
    Unsigned,
    /// Genuine, but nothing for us.
    Ignored(&'static str),
}

/// Checks who sent it, then reads it.
pub fn read(provider: Provider, secret: &str, headers: &HeaderMap, body: &[u8], now: Timestamp) -> Result<Said, Unheard> {
    if !is_genuine(provider, secret, headers, body, now) {
        return Err(Unheard::Unsigned);
    }
    let json = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).map_err(|_| Unheard::Ignored("the body is no JSON"));
    let said = match provider {
        Provider::Pagerduty => pagerduty(&json(body)?),
        Provider::Opsgenie => opsgenie(&json(body)?),
        Provider::Slack => {
            let payload = url::form_urlencoded::parse(body).find(|(name, _)| name == "payload");
            let payload = payload.ok_or(Unheard::Ignored("there is no payload"))?.1;
            slack(&json(payload.as_bytes())?)
        }
        Provider::Jira => jira(&json(body)?),
        Provider::Github => github(header(headers, "x-github-event"), &json(body)?),
    };
    let said = said.ok_or(Unheard::Ignored("this kind of event changes nothing here"))?;
    if said.at.is_some_and(|at| now - at > LATE_MAX) {
        return Err(Unheard::Ignored("it happened too long ago"));
    }
    Ok(said)
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// Every signature of a list is tried: secrets are changed without a gap that way.
fn is_genuine(provider: Provider, secret: &str, headers: &HeaderMap, body: &[u8], now: Timestamp) -> bool {
    if secret.is_empty() {
        return false;
    }
    let signed = |name: &str, prefix: &str, parts: &[&[u8]]| {
        let right = hmac(secret, parts);
        header(headers, name).split(',').take(8).filter_map(|one| one.trim().strip_prefix(prefix)).any(|hex| same(hex, &right))
    };
    match provider {
        Provider::Pagerduty => signed("x-pagerduty-signature", "v1=", &[body]),
        Provider::Github => signed("x-hub-signature-256", "sha256=", &[body]),
        Provider::Jira => signed("x-hub-signature", "sha256=", &[body]),
        Provider::Slack => {
            let at = header(headers, "x-slack-request-timestamp");
            let fresh = at.parse::<i64>().ok().and_then(|at| at.checked_mul(1_000)).is_some_and(|at| {
                let off = now.millis().abs_diff(at);
                off <= SKEW_MAX.millis().unsigned_abs()
            });
            fresh && signed("x-slack-signature", "v0=", &[b"v0:", at.as_bytes(), b":", body])
        }
        // Opsgenie signs nothing, but sends headers that one gives it.
        Provider::Opsgenie => same(header(headers, "x-callback-secret"), secret),
    }
}

fn hmac(secret: &str, parts: &[&[u8]]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of every length");
    for part in parts {
        mac.update(part);
    }
    hex::encode(mac.finalize().into_bytes())
}

fn text<'a>(json: &'a Value, path: &str) -> Option<&'a str> {
    json.pointer(path).and_then(Value::as_str).filter(|text| !text.is_empty())
}

fn person(json: &Value, paths: &[&str]) -> String {
    clip(paths.iter().find_map(|path| text(json, path)).unwrap_or_default(), 60)
}

/// Webhooks v3.
fn pagerduty(json: &Value) -> Option<Said> {
    let did = match text(json, "/event/event_type")? {
        "incident.acknowledged" => Did::Acknowledge,
        "incident.resolved" => Did::Close,
        _ => return None,
    };
    // What an integration did, ours among them, says nothing that we do not know.
    let by_person = text(json, "/event/agent/type").is_none_or(|kind| kind.starts_with("user"));
    if !by_person {
        return None;
    }
    let key = text(json, "/event/data/incident_key").or_else(|| text(json, "/event/data/alert_key"))?;
    Some(Said {
        key: Key::Correlation(vec![key.to_owned()]),
        did,
        person: person(json, &["/event/agent/summary"]),
        at: text(json, "/event/occurred_at").and_then(|at| at.parse().ok()),
    })
}

/// Outgoing webhook of Opsgenie and of Jira Service Management.
fn opsgenie(json: &Value) -> Option<Said> {
    let did = match text(json, "/action")? {
        "Acknowledge" => Did::Acknowledge,
        "Close" => Did::Close,
        _ => return None,
    };
    let key = text(json, "/alert/alias")?;
    let person = person(json, &["/alert/username"]);
    Some(Said { key: Key::Correlation(vec![key.to_owned()]), did, person, at: None })
}

/// A button of one of our messages.
fn slack(json: &Value) -> Option<Said> {
    let actions = json.get("actions")?.as_array()?;
    let button = actions.iter().find(|action| action["action_id"] == "acknowledge")?;
    let sealed = text(button, "/value")?;
    let person = person(json, &["/user/name", "/user/username", "/user/id"]);
    Some(Said { key: Key::Sealed(sealed.to_owned()), did: Did::Acknowledge, person, at: None })
}

/// An issue that moves to a status of the category done.
fn jira(json: &Value) -> Option<Said> {
    if text(json, "/webhookEvent")? != "jira:issue_updated" || text(json, "/issue/fields/status/statusCategory/key")? != "done" {
        return None;
    }
    let moved = json.pointer("/changelog/items").and_then(Value::as_array)?.iter().any(|item| item["field"] == "status");
    let labels = json.pointer("/issue/fields/labels").and_then(Value::as_array)?;
    let key = Key::Correlation(correlations(labels.iter().filter_map(Value::as_str)));
    let at = json.get("timestamp").and_then(Value::as_i64).map(Timestamp);
    moved.then(|| Said { key, did: Did::Close, person: person(json, &["/user/displayName"]), at })
}

/// An issue that is closed, or a comment `/ack` of somebody who belongs to the repository. The issue's label counts, not
/// the marker in its text, which anybody can write into an issue of theirs.
fn github(event: &str, json: &Value) -> Option<Said> {
    let labels = json.pointer("/issue/labels").and_then(Value::as_array)?;
    let key = Key::Correlation(correlations(labels.iter().filter_map(|label| label["name"].as_str())));
    let person = person(json, &["/sender/login"]);
    let at = |path: &str| text(json, path).and_then(|at| at.parse().ok());
    match (event, text(json, "/action")?) {
        ("issues", "closed") => Some(Said { key, did: Did::Close, person, at: at("/issue/closed_at") }),
        ("issue_comment", "created") => {
            let belongs = matches!(text(json, "/comment/author_association")?, "OWNER" | "MEMBER" | "COLLABORATOR");
            let asks = text(json, "/comment/body")?.split_whitespace().next() == Some("/ack");
            (belongs && asks).then(|| Said { key, did: Did::Acknowledge, person, at: at("/comment/created_at") })
        }
        _ => None,
    }
}

fn correlations<'a>(labels: impl Iterator<Item = &'a str>) -> Vec<String> {
    labels.filter_map(|label| label.strip_prefix(LABEL)).take(8).map(str::to_owned).collect()
}

/// Calls that were heeded, for as long as there is room: a provider that missed our answer sends them again.
#[derive(Debug, Default)]
pub struct Heeded(Mutex<(HashSet<[u8; 32]>, VecDeque<[u8; 32]>)>);

impl Heeded {
    /// Names a call.
    pub fn name(receiver: &str, body: &[u8]) -> [u8; 32] {
        Sha256::new().chain_update((receiver.len() as u64).to_le_bytes()).chain_update(receiver).chain_update(body).finalize().into()
    }

    /// Whether this call was heeded before.
    pub fn has(&self, call: &[u8; 32]) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).0.contains(call)
    }

    /// Remembers a call.
    pub fn add(&self, call: [u8; 32]) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (set, order) = &mut *known;
        if set.insert(call) {
            order.push_back(call);
        }
        while order.len() > REMEMBERED_MAX {
            if let Some(old) = order.pop_front() {
                set.remove(&old);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: Timestamp = Timestamp(1_800_000_000_000);

    fn headers(pairs: &[(&'static str, String)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (axum::http::HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    fn heard(provider: Provider, name: &'static str, prefix: &str, body: &Value) -> Result<Said, Unheard> {
        let body = body.to_string();
        let signature = format!("{prefix}{}", hmac("s3cret", &[body.as_bytes()]));
        read(provider, "s3cret", &headers(&[(name, signature)]), body.as_bytes(), NOW)
    }

    #[test]
    fn the_signatures_are_those_of_the_vendors() {
        // GitHub's own example: the secret, the body and the signature of its documentation.
        let body = b"Hello, World!";
        let signature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        let secret = "It's a Secret to Everybody";
        assert!(is_genuine(Provider::Github, secret, &headers(&[("x-hub-signature-256", signature.into())]), body, NOW));
        // Slack's own example.
        let slack = b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c";
        let given = headers(&[
            ("x-slack-request-timestamp", "1531420618".into()),
            ("x-slack-signature", "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503".into()),
        ]);
        let at = |secs: i64| is_genuine(Provider::Slack, "8f742231b10e8888abcd99yyyzzz85a5", &given, slack, Timestamp(secs * 1_000));
        assert!(at(1_531_420_618) && at(1_531_420_618 + 299));
        assert!(!at(1_531_420_618 + 301) && !at(1_531_420_618 - 301), "outside of the window it may be a replay");
    }

    #[test]
    fn r23_without_the_right_signature_nothing_is_read() {
        let body = json!({ "event": { "event_type": "incident.acknowledged", "data": { "incident_key": "c0ffee" } } }).to_string();
        let right = hmac("s3cret", &[body.as_bytes()]);
        let ask = |secret: &str, value: String, body: &str| {
            read(Provider::Pagerduty, secret, &headers(&[("x-pagerduty-signature", value)]), body.as_bytes(), NOW)
        };
        assert!(ask("s3cret", format!("v1={right}"), &body).is_ok());
        assert!(
            ask("s3cret", format!("v1={}, v1={right}", hmac("old", &[body.as_bytes()])), &body).is_ok(),
            "secrets change without a gap"
        );
        for (secret, value, body) in [
            ("other", format!("v1={right}"), body.as_str()),
            ("", format!("v1={}", hmac("", &[body.as_bytes()])), &body),
            ("s3cret", right.clone(), &body),
            ("s3cret", format!("v1={}", &right[..32]), &body),
            ("s3cret", "v1=".into(), &body),
            ("s3cret", String::new(), &body),
            ("s3cret", format!("v1={right}"), &body.replace("c0ffee", "facade")),
        ] {
            assert_eq!(ask(secret, value, body), Err(Unheard::Unsigned));
        }
        for provider in [Provider::Pagerduty, Provider::Opsgenie, Provider::Slack, Provider::Jira, Provider::Github] {
            assert_eq!(read(provider, "s3cret", &HeaderMap::new(), body.as_bytes(), NOW), Err(Unheard::Unsigned));
        }
    }

    #[test]
    fn pagerduty_says_who_acknowledged_or_resolved() {
        let event = |kind: &str, agent: &str, at: &str| {
            let body = json!({ "event": { "id": "01", "event_type": kind, "resource_type": "incident", "occurred_at": at,
                "agent": { "summary": "Mira <b>", "type": agent }, "data": { "id": "P1", "type": "incident", "incident_key": "c0ffee" } } });
            heard(Provider::Pagerduty, "x-pagerduty-signature", "v1=", &body)
        };
        let at = "2027-01-15T07:59:00Z";
        let said = event("incident.acknowledged", "user_reference", at).unwrap();
        assert_eq!((said.did, said.person.as_str()), (Did::Acknowledge, "Mira <b>"));
        assert_eq!(said.key, Key::Correlation(vec!["c0ffee".into()]));
        assert_eq!(event("incident.resolved", "user_reference", at).unwrap().did, Did::Close);
        let ignored = |said: Result<Said, Unheard>| matches!(said, Err(Unheard::Ignored(_)));
        assert!(ignored(event("incident.escalated", "user_reference", at)));
        assert!(ignored(event("incident.resolved", "inbound_integration_reference", at)), "it is the echo of what we sent");
        assert!(ignored(event("incident.acknowledged", "user_reference", "2027-01-15T06:59:00Z")), "a replay");
    }

    #[test]
    fn trackers_say_that_an_issue_is_closed() {
        let jira = |category: &str, field: &str| {
            let body = json!({ "timestamp": NOW.millis(), "webhookEvent": "jira:issue_updated", "user": { "displayName": "Mira" },
                "issue": { "key": "OPS-1", "fields": { "labels": ["burnwatch", "burnwatch-c0ffee"], "status": { "statusCategory": { "key": category } } } },
                "changelog": { "items": [{ "field": field }] } });
            heard(Provider::Jira, "x-hub-signature", "sha256=", &body)
        };
        let said = jira("done", "status").unwrap();
        assert_eq!((said.did, said.key), (Did::Close, Key::Correlation(vec!["c0ffee".into()])));
        assert!(jira("indeterminate", "status").is_err() && jira("done", "labels").is_err());

        let github = |event: &str, action: &str, body: &str, association: &str| {
            let body = json!({ "action": action, "sender": { "login": "mira" },
                "issue": { "number": 7, "body": "<!-- burnwatch-facade -->", "labels": [{ "name": "burnwatch-c0ffee" }] },
                "comment": { "body": body, "author_association": association, "created_at": NOW.to_string() } })
            .to_string();
            let signature = format!("sha256={}", hmac("s3cret", &[body.as_bytes()]));
            let given = headers(&[("x-hub-signature-256", signature), ("x-github-event", event.into())]);
            read(Provider::Github, "s3cret", &given, body.as_bytes(), NOW)
        };
        let said = github("issues", "closed", "", "").unwrap();
        assert_eq!((said.did, said.key), (Did::Close, Key::Correlation(vec!["c0ffee".into()])));
        assert_eq!(github("issue_comment", "created", "/ack on it", "MEMBER").unwrap().did, Did::Acknowledge);
        for (event, action, body, association) in [
            ("issue_comment", "created", "/ack", "NONE"),
            ("issue_comment", "created", "please /ack", "OWNER"),
            ("issue_comment", "edited", "/ack", "OWNER"),
            ("issues", "labeled", "", ""),
            ("ping", "closed", "", ""),
        ] {
            assert!(github(event, action, body, association).is_err(), "{event} {action} {body} {association}");
        }
    }

    #[test]
    fn opsgenie_and_slack_say_who_pressed_the_button() {
        let body = json!({ "action": "Acknowledge", "alert": { "alias": "c0ffee", "username": "mira@example.com" } }).to_string();
        let given = headers(&[("x-callback-secret", "s3cret".into())]);
        let said = read(Provider::Opsgenie, "s3cret", &given, body.as_bytes(), NOW).unwrap();
        assert_eq!((said.did, said.key), (Did::Acknowledge, Key::Correlation(vec!["c0ffee".into()])));

        let payload = json!({ "type": "block_actions", "user": { "id": "U1", "username": "mira" },
            "actions": [{ "action_id": "open" }, { "action_id": "acknowledge", "value": "abc.def" }] });
        let body = format!("payload={}", url::form_urlencoded::byte_serialize(payload.to_string().as_bytes()).collect::<String>());
        let at = NOW.seconds().to_string();
        let signature = format!("v0={}", hmac("s3cret", &[b"v0:", at.as_bytes(), b":", body.as_bytes()]));
        let given = headers(&[("x-slack-request-timestamp", at), ("x-slack-signature", signature)]);
        let said = read(Provider::Slack, "s3cret", &given, body.as_bytes(), NOW).unwrap();
        assert_eq!((said.key, said.person.as_str()), (Key::Sealed("abc.def".into()), "mira"));
    }

    #[test]
    fn a_call_is_remembered_and_the_memory_is_bounded() {
        let heeded = Heeded::default();
        let first = Heeded::name("pager", b"0");
        assert_ne!(first, Heeded::name("pager0", b""));
        for n in 0..REMEMBERED_MAX {
            let call = Heeded::name("pager", n.to_string().as_bytes());
            assert!(!heeded.has(&call));
            heeded.add(call);
            heeded.add(call);
        }
        assert!(heeded.has(&first));
        heeded.add(Heeded::name("pager", b"more"));
        assert!(!heeded.has(&first), "the oldest goes first");
    }
}
