//! For tests: a receiver that answers as it is told, and notifications to send.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::Response;
use serde_json::Value;

use crate::config::{Environment, Secrets};
use crate::domain::notification::*;
use crate::domain::rule::{Field, Place, Receiver, ReceiverKind, Severity};
use crate::domain::time::{Span, Timestamp};

use super::{Delivery, Sender, Settings};

/// 2027-01-15T08:00:00Z.
pub const NOW: Timestamp = Timestamp(1_800_000_000_000);

/// What the fake answers once.
#[derive(Clone, Debug)]
pub enum Reply {
    Status(u16, Vec<(&'static str, String)>, String),
    /// Says nothing for a minute.
    Hang,
    /// The status, then a body without end.
    Endless(u16),
    /// The status, then a byte now and then.
    Drip(u16),
}

impl Reply {
    pub fn status(status: u16) -> Reply {
        Reply::Status(status, Vec::new(), String::new())
    }

    pub fn json(status: u16, body: Value) -> Reply {
        Reply::Status(status, vec![("content-type", "application/json".into())], body.to_string())
    }
}

/// What the fake was sent.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: String,
    /// Path and query.
    pub path: String,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    pub at: std::time::Instant,
}

impl Seen {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {}", String::from_utf8_lossy(&self.body)))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    /// `POST /path`.
    pub fn line(&self) -> String {
        format!("{} {}", self.method, self.path)
    }
}

#[derive(Default)]
struct Script {
    replies: Mutex<VecDeque<Reply>>,
    seen: Mutex<Vec<Seen>>,
}

/// A receiver on a local port. Without a script it answers 200 `ok`.
#[derive(Clone)]
pub struct Fake {
    pub url: String,
    script: Arc<Script>,
}

impl Fake {
    pub async fn start() -> Fake {
        let script = Arc::new(Script::default());
        let app = axum::Router::new().fallback(answer).with_state(script.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Fake { url, script }
    }

    pub fn will(&self, replies: impl IntoIterator<Item = Reply>) {
        self.script.replies.lock().unwrap().extend(replies);
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.script.seen.lock().unwrap().clone()
    }

    pub fn lines(&self) -> Vec<String> {
        self.seen().iter().map(Seen::line).collect()
    }
}

async fn answer(State(script): State<Arc<Script>>, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let seen = Seen { method: method.to_string(), path: uri.to_string(), headers, body: body.to_vec(), at: std::time::Instant::now() };
    script.seen.lock().unwrap().push(seen);
    let reply = script.replies.lock().unwrap().pop_front();
    let body = |status: u16, body: Body| Response::builder().status(StatusCode::from_u16(status).unwrap()).body(body).unwrap();
    match reply {
        None => body(200, Body::from("ok")),
        Some(Reply::Status(status, headers, text)) => {
            let mut response = body(status, Body::from(text));
            for (name, value) in headers {
                response.headers_mut().insert(name, value.parse().unwrap());
            }
            response
        }
        Some(Reply::Hang) => {
            tokio::time::sleep(Duration::from_secs(60)).await;
            body(200, Body::empty())
        }
        Some(Reply::Endless(status)) => body(status, stream(Duration::from_micros(10), 16 * 1024)),
        Some(Reply::Drip(status)) => body(status, stream(Duration::from_millis(100), 1)),
    }
}

/// A body that goes on for as long as somebody reads.
fn stream(every: Duration, bytes: usize) -> Body {
    let (sender, receiver) = tokio::io::duplex(64 * 1024);
    tokio::spawn(async move {
        use tokio::io::AsyncWriteExt;
        let mut sender = sender;
        while sender.write_all(&vec![b'x'; bytes]).await.is_ok() {
            tokio::time::sleep(every).await;
        }
    });
    Body::from_stream(tokio_util::io::ReaderStream::new(receiver))
}

/// A sender that may reach this machine, with secrets by name.
pub fn sender(secrets: &[(&str, &str)]) -> Sender {
    Sender::new(settings(secrets)).unwrap()
}

pub fn settings(secrets: &[(&str, &str)]) -> Settings {
    let environment: Environment = secrets.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Settings {
        public_url: "https://burnwatch.example.com/".into(),
        allow_private: vec!["127.0.0.0/8".parse().unwrap()],
        secrets: Secrets::new(BTreeMap::new(), environment),
        smtp: None,
        answer_key: None,
    }
}

pub fn receiver(name: &str, kind: ReceiverKind) -> Receiver {
    Receiver {
        name: name.into(),
        place: Place::default(),
        timeout: Span::seconds(5),
        send_resolved: true,
        callback_secret: None,
        template: None,
        kind,
    }
}

pub fn plain(text: &str) -> Field {
    Field::Plain(text.into())
}

pub fn webhook_at(name: &str, url: &str) -> Receiver {
    receiver(name, ReceiverKind::Webhook { url: plain(url), secret: None, headers: BTreeMap::new() })
}

pub fn delivery(kind: Kind) -> Delivery {
    Delivery {
        id: "d1e2".into(),
        correlation: "c0ffee".into(),
        generation: None,
        sequence: 1,
        notification: notification(kind),
        template: None,
        earlier: None,
    }
}

/// A page about a bad release in one region; its title and values try to break out of every format.
pub fn hostile(kind: Kind) -> Notification {
    let mut notification = notification(kind);
    let incident = &mut notification.data.incident;
    incident.title =
        "Checkout\r\nBcc: all@example.com <script>alert(1)</script> <!channel> @octocat [x](javascript:1) `tick` {noformat}\u{202e}".into();
    incident.service = "<b>shop</b>".into();
    incident.suspects[0].terms.insert("region".into(), Values::One("<!here>` @octocat <img src=x onerror=alert(1)>".into()));
    incident.alerts[0].summary = "<https://evil.example|click> *bold* @octocat `".into();
    incident.changes[0].text = Some("[x](javascript:alert(1)) {noformat} [code]<b>x</b>[/code]".into());
    incident.links.runbook = Some("javascript:alert(1)".into());
    notification.reason = "=cmd|' /C calc'!A0\r\n.\r\nMAIL FROM:<x>".into();
    notification
}

/// A page about a bad release in one region.
pub fn notification(kind: Kind) -> Notification {
    let opened = NOW - Span::minutes(3);
    let over = kind == Kind::Resolved;
    let suspect = Suspect {
        terms: [("region".to_owned(), Values::One("de".into())), ("release".to_owned(), Values::One("2.3.1".into()))].into(),
        bad_share: 0.92,
        traffic_share: 0.11,
        excess_share: 0.9,
        users: 812,
        new: true,
        change: Some("a1".into()),
    };
    let change = Change {
        id: "a1".into(),
        kind: ChangeKind::Deploy,
        at: opened - Span::minutes(7),
        app: "shop".into(),
        release: Some("2.3.1".into()),
        text: None,
        url: None,
    };
    let alert = AlertView {
        rule: "checkout-api".into(),
        state: if over { AlertState::Resolved } else { AlertState::Firing },
        severity: Severity::Page,
        labels: [("slo", "checkout-api"), ("service", "shop"), ("severity", "page")].map(|(n, v)| (n.to_owned(), v.to_owned())).into(),
        started_at: opened,
        ended_at: over.then_some(NOW),
        summary: "Checkout fails for many".into(),
        values: Figures {
            burn_long: Some(22.36),
            burn_short: Some(151.2),
            factor: Some(14.4),
            long: Some(Span::HOUR),
            short: Some(Span::minutes(5)),
            error_ratio: Some(0.0224),
        },
        traces: vec!["4bf92f3577b34da6a3ce929d0e0e4736".into()],
    };
    Notification {
        kind,
        timestamp: NOW,
        reason: "burn rate above 14.4".into(),
        data: Data {
            incident: IncidentView {
                id: "inc-7".into(),
                key: "service=shop".into(),
                status: match kind {
                    Kind::Resolved => Status::Resolved,
                    Kind::Acknowledged => Status::Acknowledged,
                    _ => Status::Open,
                },
                severity: Severity::Page,
                title: "checkout-api burns its budget".into(),
                service: "shop".into(),
                owner: "team-checkout".into(),
                labels: [("service".to_owned(), "shop".to_owned())].into(),
                opened_at: opened,
                acknowledged_at: (kind == Kind::Acknowledged).then_some(NOW),
                resolved_at: over.then_some(NOW),
                impact: Impact { affected_users: 812, bad_events: 5312.0, budget_consumed: 0.032, budget_remaining: 0.41 },
                signature: "release:shop/2.3.1".into(),
                verdict: Verdict::Segment,
                suspects: vec![suspect],
                changes: vec![change],
                alerts: vec![alert],
                revision: "4f2a".into(),
                links: Links {
                    incident: "https://burnwatch.example.com/incidents/inc-7".into(),
                    runbook: Some("https://runbooks.example.com/checkout".into()),
                    dashboard: None,
                },
            },
        },
    }
}
