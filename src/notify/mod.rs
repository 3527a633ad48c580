//! Tells the outside world: one file per receiver type.
//!
//! [`Sender::send`] makes one attempt at one delivery. It keeps nothing between attempts but
//! connections; what a receiver must remember (a ticket's number, who already has the mail) goes out as
//! `reply` or `progress` and comes back as `earlier`.

pub mod action;
pub mod address;
pub mod alertmanager;
pub mod email;
pub mod escape;
#[cfg(test)]
pub mod fake;
pub mod github;
pub mod http;
pub mod jira;
pub mod opsgenie;
pub mod outcome;
pub mod pagerduty;
pub mod servicenow;
pub mod slack;
pub mod teams;
pub mod text;
pub mod webhook;

use std::sync::{Mutex, PoisonError};

use ::http::HeaderMap;
use base64::Engine as _;
use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tracing::warn;

use crate::config::{Config, Network, Secrets, Smtp};
use crate::domain::answer;
use crate::domain::notification::{Change, Data, Kind, Notification, Status};
use crate::domain::rule::{Field, Receiver, ReceiverKind, Severity};
use crate::domain::time::{Span, Timestamp};

use self::address::Guard;
use self::email::{MailError, Mailer};
pub use self::http::ClientError;
pub use self::http::plain_client;
use self::http::{Answer, Call, Http};
use self::outcome::Trouble;
pub use self::outcome::{Next, SendError};
use self::text::{Link, Message};

/// No receiver may take longer than this, whatever its definition says: claims on deliveries outlast it.
pub const TIMEOUT_MAX: Span = Span::seconds(60);

/// What the process's configuration says about delivery.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where people reach burnwatch.
    pub public_url: String,
    /// Addresses that receivers may have beside public ones.
    pub allow_private: Vec<Network>,
    pub secrets: Secrets,
    pub smtp: Option<Smtp>,
    /// Signs the links that acknowledge; without it there are none.
    pub answer_key: Option<answer::Key>,
}

impl From<&Config> for Settings {
    fn from(config: &Config) -> Settings {
        Settings {
            public_url: config.server.public_url.to_string(),
            allow_private: config.delivery.allow_private.clone(),
            secrets: config.secrets.clone(),
            smtp: config.smtp.clone(),
            answer_key: None,
        }
    }
}

/// One notification on its way to one receiver.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Equal for every attempt (CONTRACT 7).
    pub id: String,
    /// Equal for trigger, acknowledge and resolve of one incident at one receiver.
    pub correlation: String,
    /// Which opening of the incident this is about; none where there is no incident to answer for.
    pub generation: Option<i64>,
    pub sequence: i64,
    pub notification: Notification,
    /// The text of the receiver's template.
    pub template: Option<String>,
    /// What an earlier attempt of this delivery, else the last delivery to this receiver about this
    /// incident, left behind.
    pub earlier: Option<Value>,
}

/// What an outbox row's payload holds: the notification and, beside it, the receiver as it was defined when the row
/// was written. The rules come first, so that a corrected definition helps what is waiting; the stored one serves
/// when the receiver is no longer there, so that a close reaches who was told of the opening.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "Stored")]
pub struct Queued {
    #[serde(flatten)]
    pub notification: Notification,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub definition: Option<Receiver>,
}

/// All fields of [`Queued`], so that they are read in one go.
#[derive(Deserialize)]
struct Stored {
    #[serde(rename = "type")]
    kind: Kind,
    timestamp: Timestamp,
    reason: String,
    data: Data,
    #[serde(default)]
    definition: Option<Receiver>,
}

impl From<Stored> for Queued {
    fn from(Stored { kind, timestamp, reason, data, definition }: Stored) -> Queued {
        Queued { notification: Notification { kind, timestamp, reason, data }, definition }
    }
}

/// A delivery that was taken.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sent {
    /// The HTTP or SMTP status; `None` when there was nothing to send.
    pub status: Option<u16>,
    /// To be given back as `earlier` with the next delivery about this incident.
    pub reply: Option<Value>,
    /// What an operator may want to know, for example that one of two mail addresses was refused.
    pub note: String,
}

/// The sender could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    #[error(transparent)]
    Http(#[from] ClientError),
    #[error(transparent)]
    Mail(#[from] MailError),
}

/// Sends notifications in every format.
#[derive(Clone, Debug)]
pub struct Sender {
    settings: Settings,
    http: Http,
    mailer: Option<Mailer>,
}

impl Sender {
    /// Sets up the HTTP client and the mail transport; connects to nothing yet.
    pub fn new(settings: Settings) -> Result<Sender, SetupError> {
        let http = Http::new(Guard::new(&settings.allow_private))?;
        let mailer = settings.smtp.as_ref().map(Mailer::new).transpose()?;
        Ok(Sender { settings, http, mailer })
    }

    /// Makes one attempt, within the receiver's timeout.
    pub async fn send(&self, receiver: &Receiver, delivery: &Delivery, now: Timestamp) -> Result<Sent, SendError> {
        let context = Context { sender: self, receiver, delivery, now, exposed: Mutex::default(), progress: Mutex::default() };
        let timeout = receiver.timeout.clamp(Span(1), TIMEOUT_MAX);
        let sent = match tokio::time::timeout(timeout.to_std(), context.dispatch()).await {
            Ok(sent) => sent,
            // The receiver may have taken it even so; the next attempt carries the same keys.
            Err(_) => Err(SendError::new(Trouble::Deadline, format!("no answer within {timeout}"))),
        };
        match sent {
            Ok(mut sent) => {
                sent.note = context.redact(&sent.note);
                Ok(sent)
            }
            Err(mut error) => {
                error.why = context.redact(&error.why);
                error.progress = error.progress.take().or_else(|| context.take_progress());
                Err(error)
            }
        }
    }
}

impl Sender {
    /// Tells of a deploy, where the receiver's format has a place for it and its definition asks for it.
    pub async fn announce(&self, receiver: &Receiver, change: &Change, now: Timestamp) -> Result<(), SendError> {
        let ReceiverKind::Pagerduty { routing_key, base_url, changes: true } = &receiver.kind else { return Ok(()) };
        let key = match routing_key {
            Field::Plain(text) => text.clone(),
            Field::Secret(name) => {
                let secret = self.settings.secrets.lookup(name);
                secret.map_err(|error| SendError::new(Trouble::Settings, error.to_string()))?.expose().to_owned()
            }
        };
        let body = pagerduty::change_event(&key, change).to_string().into_bytes();
        let url = self::http::join(base_url, "/v2/change/enqueue");
        let call = self.http.call(Call { method: Method::POST, url, headers: self::http::json_headers(), body });
        let timeout = receiver.timeout.clamp(Span(1), TIMEOUT_MAX);
        let answer = match tokio::time::timeout(timeout.to_std(), call).await {
            Ok(answer) => answer.and_then(|answer| answer.success(now)),
            Err(_) => Err(SendError::new(Trouble::Deadline, format!("no answer within {timeout}"))),
        };
        answer.map(drop).map_err(|mut error| {
            error.why = error.why.replace(&key, "[redacted]");
            error
        })
    }
}

/// One attempt: what the receivers' files work with.
pub(crate) struct Context<'a> {
    sender: &'a Sender,
    pub receiver: &'a Receiver,
    pub delivery: &'a Delivery,
    /// The time of this attempt.
    pub now: Timestamp,
    /// Secrets used so far; an answer that echoes one is not kept as it is.
    exposed: Mutex<Vec<String>>,
    progress: Mutex<Option<Value>>,
}

impl Context<'_> {
    async fn dispatch(&self) -> Result<Sent, SendError> {
        match &self.receiver.kind {
            ReceiverKind::Webhook { url, secret, headers } => webhook::send(self, url, secret.as_ref(), headers).await,
            ReceiverKind::Email { to, cc, reply_to } => match &self.sender.mailer {
                Some(mailer) => email::send(self, mailer, &email::Addresses { to, cc, reply_to: reply_to.as_deref() }).await,
                None => Err(SendError::new(Trouble::Settings, "there is no mail server; set [smtp] in the configuration")),
            },
            ReceiverKind::Pagerduty { routing_key, base_url, .. } => pagerduty::send(self, routing_key, base_url).await,
            ReceiverKind::Opsgenie { api_key, base_url, options } => opsgenie::send(self, api_key, base_url, options).await,
            ReceiverKind::Slack { url, token, channel, base_url } => match (url, token) {
                (_, Some(token)) => slack::post_as_bot(self, token, channel.as_deref(), base_url).await,
                (Some(url), None) => slack::post_to_webhook(self, url).await,
                (None, None) => Err(SendError::new(Trouble::Settings, "a slack receiver needs `url` or `token`")),
            },
            ReceiverKind::Teams { url } => teams::send(self, url).await,
            ReceiverKind::Jira { base_url, user, token, project, issue_type, options } => {
                jira::send(self, &jira::Tracker { base_url, user: user.as_ref(), token, project, issue_type, options }).await
            }
            ReceiverKind::Github { base_url, token, repo, labels, options } => {
                github::send(self, &github::Tracker { base_url, token, repo, labels, options }).await
            }
            ReceiverKind::Servicenow { base_url, user, password, token, options } => {
                let access = servicenow::Access { user: user.as_ref(), password: password.as_ref(), token: token.as_ref() };
                servicenow::send(self, base_url, &access, options).await
            }
            ReceiverKind::AlertmanagerWebhook { url, headers } => alertmanager::send(self, url, headers).await,
            ReceiverKind::Action { url, secret, headers, dry_run, label } => {
                action::send(self, &action::Action { url, secret: secret.as_ref(), headers, dry_run: *dry_run, label }).await
            }
        }
    }

    /// The value of a field; a secret is looked up now.
    pub fn field(&self, field: &Field) -> Result<String, SendError> {
        match field {
            Field::Plain(text) => Ok(text.clone()),
            Field::Secret(name) => {
                let secret =
                    self.sender.settings.secrets.lookup(name).map_err(|error| SendError::new(Trouble::Settings, error.to_string()))?;
                let value = secret.expose().to_owned();
                let mut exposed = self.exposed.lock().unwrap_or_else(PoisonError::into_inner);
                // A server that echoes the request shows the path of a secret URL, not the whole of it.
                exposed.extend(url::Url::parse(&value).ok().map(|url| url.path().to_owned()).filter(|path| path.len() >= 8));
                exposed.push(value.clone());
                Ok(value)
            }
        }
    }

    /// The `Authorization` value for a user and a password.
    pub fn basic(&self, user: &Field, password: &Field) -> Result<String, SendError> {
        let pair = format!("{}:{}", self.field(user)?, self.field(password)?);
        let encoded = base64::engine::general_purpose::STANDARD.encode(pair);
        self.exposed.lock().unwrap_or_else(PoisonError::into_inner).push(encoded.clone());
        Ok(format!("Basic {encoded}"))
    }

    /// Calls with a JSON body, or with none for `Value::Null`. Whatever the status is, it is an answer.
    pub async fn call(&self, method: Method, url: String, mut headers: HeaderMap, body: &Value) -> Result<Answer, SendError> {
        let body = if body.is_null() {
            headers.remove(::http::header::CONTENT_TYPE);
            Vec::new()
        } else {
            body.to_string().into_bytes()
        };
        self.sender.http.call(Call { method, url, headers, body }).await
    }

    /// Calls with a body that is already bytes.
    pub async fn post(&self, url: String, headers: HeaderMap, body: Vec<u8>) -> Result<Answer, SendError> {
        self.sender.http.call(Call { method: Method::POST, url, headers, body }).await
    }

    /// What is to be said, in words.
    pub fn message(&self) -> Message {
        let mut message = text::message(&self.delivery.notification);
        if let Some(template) = &self.delivery.template
            && let Err(error) = message.reword(template, &self.delivery.notification)
        {
            // It was tried at load; whoever is to be woken is told in the usual words.
            warn!(receiver = self.receiver.name, %error, "the template of receiver `{}` failed", self.receiver.name);
        }
        message
    }

    /// What is to be said to people in a chat or a mail, who may answer by a link. Trackers and pagers get none:
    /// an issue may be read by everybody, and a pager has a button of its own.
    pub fn answerable_message(&self) -> Message {
        let mut message = self.message();
        if let Some(link) = self.answer_link() {
            message.links.insert(0, link);
        }
        message
    }

    /// The sealed claim that acknowledges this incident for this receiver, while there is something to acknowledge.
    pub fn answer(&self) -> Option<String> {
        let Notification { kind, timestamp, data, .. } = &self.delivery.notification;
        let asks = match kind {
            Kind::Opened | Kind::Updated | Kind::Escalated | Kind::Reminder | Kind::Reopened => data.incident.status == Status::Open,
            Kind::Acknowledged | Kind::Resolved => false,
        };
        let claim = answer::Claim {
            incident: data.incident.id.clone(),
            generation: self.delivery.generation.filter(|_| asks && data.incident.severity != Severity::Info)?,
            action: answer::Action::Acknowledge,
            receiver: self.receiver.name.clone(),
            // Of the notification, not of the attempt: a mail that is sent again is the same mail.
            ends: *timestamp + answer::LASTS,
        };
        Some(self.sender.settings.answer_key.as_ref()?.seal(&claim))
    }

    fn answer_link(&self) -> Option<Link> {
        let url = format!("{}/act/{}", self.public_url().trim_end_matches('/'), self.answer()?);
        Some(Link { name: text::ACKNOWLEDGE, url: escape::link(&url)? })
    }

    /// Where people reach burnwatch.
    pub fn public_url(&self) -> &str {
        &self.sender.settings.public_url
    }

    /// A value of what was left behind earlier.
    pub fn earlier(&self, name: &str) -> Option<&Value> {
        self.delivery.earlier.as_ref()?.get(name).filter(|value| !value.is_null())
    }

    /// A text of what was left behind earlier.
    pub fn earlier_text(&self, name: &str) -> Option<&str> {
        self.earlier(name)?.as_str().filter(|text| !text.is_empty())
    }

    /// Notes what is done, for the next attempt if this one fails later on.
    pub fn done_so_far(&self, progress: Value) {
        *self.progress.lock().unwrap_or_else(PoisonError::into_inner) = Some(progress);
    }

    fn take_progress(&self) -> Option<Value> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Takes the secrets of this attempt out of a text.
    fn redact(&self, text: &str) -> String {
        let exposed = self.exposed.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = text.to_owned();
        for secret in exposed.iter() {
            // Shorter ones would blank out ordinary words; nothing that short is a secret.
            if secret.len() >= 4 {
                text = text.replace(secret.as_str(), "[redacted]");
            }
        }
        text
    }
}

/// The label by which an incident's ticket is found again: the correlation key, hashed if it is longer than the tracker takes.
pub(crate) fn ticket_label(correlation: &str, max: usize) -> String {
    use sha2::{Digest as _, Sha256};
    let fine = correlation.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    let label = format!("burnwatch-{correlation}");
    if fine && label.len() <= max { label } else { format!("burnwatch-{}", hex::encode(&Sha256::digest(correlation)[..16])) }
}

#[cfg(test)]
mod tests;
