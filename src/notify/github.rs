//! GitHub issues: one per incident, found again by its label, commented, closed and reopened.

use std::collections::BTreeMap;

use http::HeaderMap;
use reqwest::Method;
use serde_json::{Value, json};

use crate::domain::notification::Kind;
use crate::domain::rule::Field;
use crate::domain::time::Span;

use super::http::{Answer, join, json_headers, part, set_header};
use super::outcome::{SendError, Trouble, retry_after, until_reset};
use super::text::Message;
use super::{Context, Sent, escape, ticket_label};

/// The fields of a `github` receiver.
pub(crate) struct Tracker<'a> {
    pub base_url: &'a str,
    pub token: &'a Field,
    /// `owner/name`.
    pub repo: &'a str,
    pub labels: &'a [String],
    /// `assignees`, `milestone`.
    pub options: &'a BTreeMap<String, Value>,
}

/// Creates the issue, or finds it and tells it what happened.
pub(crate) async fn send(context: &Context<'_>, tracker: &Tracker<'_>) -> Result<Sent, SendError> {
    let mut headers = json_headers();
    set_header(&mut headers, "authorization", &format!("Bearer {}", context.field(tracker.token)?))?;
    set_header(&mut headers, "accept", "application/vnd.github+json")?;
    set_header(&mut headers, "x-github-api-version", "2022-11-28")?;
    let Some((owner, name)) = tracker.repo.split_once('/') else {
        return Err(SendError::new(Trouble::Settings, "a github receiver's `repo` is written `owner/name`"));
    };
    let issues = format!("/repos/{}/{}/issues", part(owner), part(name));
    // Labels have at most 50 characters.
    let github = GitHub { context, tracker, headers, issues, label: ticket_label(&context.delivery.correlation, 50) };
    let message = context.message();
    let number = context.earlier("number").and_then(Value::as_u64);
    match number {
        Some(number) => match github.follow_up(number, &message).await {
            // Deleted or transferred since: look whether there is another, else make one.
            Err(error) if error.status == Some(404) || error.status == Some(410) => github.find_or_create(&message, Some(number)).await,
            followed => followed,
        },
        None => github.find_or_create(&message, None).await,
    }
}

struct GitHub<'a, 'b> {
    context: &'a Context<'b>,
    tracker: &'a Tracker<'a>,
    headers: HeaderMap,
    issues: String,
    label: String,
}

impl GitHub<'_, '_> {
    async fn find_or_create(&self, message: &Message, gone: Option<u64>) -> Result<Sent, SendError> {
        let kind = self.context.delivery.notification.kind;
        match self.find().await? {
            // An earlier attempt may have made it without our seeing the answer: then it says all this already.
            Some(number) if Some(number) != gone && kind == Kind::Opened => Ok(sent(number, 200)),
            Some(number) if Some(number) != gone => self.follow_up(number, message).await,
            _ if kind == Kind::Resolved => Ok(Sent { note: "there is no issue to close".into(), ..Sent::default() }),
            _ => self.create(message).await,
        }
    }

    async fn find(&self) -> Result<Option<u64>, SendError> {
        let path = format!("{}?state=all&sort=created&direction=desc&per_page=1&labels={}", self.issues, part(&self.label));
        let answer = self.call(Method::GET, &path, &Value::Null).await?;
        Ok(answer.json()?.pointer("/0/number").and_then(Value::as_u64))
    }

    async fn create(&self, message: &Message) -> Result<Sent, SendError> {
        let mut labels = self.tracker.labels.to_vec();
        labels.push(self.label.clone());
        let mut issue = json!({
            "title": escape::cut(&escape::no_mentions(&message.headline()), 250),
            // The marker stays when nobody with push access lets labels through.
            "body": format!("{}\n<!-- {} -->\n", message.markdown(), self.label),
            "labels": labels,
        });
        for name in ["assignees", "milestone"] {
            if let Some(value) = self.tracker.options.get(name) {
                issue[name] = value.clone();
            }
        }
        let answer = self.call(Method::POST, &self.issues, &issue).await?;
        match answer.json()?["number"].as_u64() {
            Some(number) => Ok(sent(number, answer.status)),
            None => Err(SendError::answered(Trouble::Unreadable, answer.status, None, "github answered without the new issue's number")),
        }
    }

    async fn follow_up(&self, number: u64, message: &Message) -> Result<Sent, SendError> {
        let path = format!("{}/{number}", self.issues);
        self.context.done_so_far(json!({ "number": number }));
        // The state first: set twice it changes nothing, while a comment written twice stands there twice.
        let state = match self.context.delivery.notification.kind {
            Kind::Resolved => Some(json!({ "state": "closed", "state_reason": "completed" })),
            Kind::Reopened | Kind::Opened => Some(json!({ "state": "open" })),
            Kind::Updated | Kind::Escalated | Kind::Reminder | Kind::Acknowledged => None,
        };
        if let Some(state) = state {
            self.call(Method::PATCH, &path, &state).await?;
        }
        let comment = json!({ "body": format!("**{}**\n\n{}", escape::markdown_code(&message.headline()), message.markdown()) });
        let answer = self.call(Method::POST, &format!("{path}/comments"), &comment).await?;
        Ok(sent(number, answer.status))
    }

    async fn call(&self, method: Method, path: &str, body: &Value) -> Result<Answer, SendError> {
        let url = join(self.tracker.base_url, path);
        let answer = self.context.call(method, url, self.headers.clone(), body).await?;
        match self.limited(&answer) {
            Some(error) => Err(error),
            None => answer.success(self.context.now),
        }
    }

    /// Over a limit GitHub answers 403 as well as 429, and says in one of three ways for how long.
    fn limited(&self, answer: &Answer) -> Option<SendError> {
        if !matches!(answer.status, 403 | 429) {
            return None;
        }
        let now = self.context.now;
        let spent = answer.headers.get("x-ratelimit-remaining").is_some_and(|left| left.as_bytes() == b"0");
        let after =
            retry_after(&answer.headers, now).or_else(|| if spent { until_reset(&answer.headers, "x-ratelimit-reset", now) } else { None });
        let said = String::from_utf8_lossy(&answer.body).to_lowercase().contains("rate limit");
        if after.is_none() && !said && answer.status == 403 {
            return None;
        }
        let after = after.unwrap_or(Span::MINUTE);
        Some(SendError::answered(
            Trouble::Later,
            answer.status,
            Some(after),
            format!("answered {}: over github's rate limit", answer.status),
        ))
    }
}

fn sent(number: u64, status: u16) -> Sent {
    Sent { status: Some(status), reply: Some(json!({ "number": number })), note: String::new() }
}
