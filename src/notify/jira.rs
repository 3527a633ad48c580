//! Jira Cloud: one issue per incident, found again by its label, commented, closed and reopened.

use std::collections::BTreeMap;

use http::HeaderMap;
use reqwest::Method;
use serde_json::{Value, json};

use crate::domain::notification::Kind;
use crate::domain::rule::Field;
use crate::domain::time::Span;

use super::http::{Answer, join, json_headers, part, set_header};
use super::outcome::{SendError, Trouble};
use super::text::{Message, Piece};
use super::{Context, Sent, escape, ticket_label};

const SUMMARY_MAX: usize = 255;

/// The fields of a `jira` receiver.
pub(crate) struct Tracker<'a> {
    pub base_url: &'a str,
    pub user: Option<&'a Field>,
    pub token: &'a Field,
    pub project: &'a str,
    pub issue_type: &'a str,
    /// `labels`, `priority`, `fields`, `resolve_transition`, `reopen_transition`,
    /// `reopen_within`, `wont_fix_resolution`.
    pub options: &'a BTreeMap<String, Value>,
}

/// Creates the issue, or finds it and tells it what happened.
pub(crate) async fn send(context: &Context<'_>, tracker: &Tracker<'_>) -> Result<Sent, SendError> {
    let mut headers = json_headers();
    let authorization = match tracker.user {
        Some(user) => context.basic(user, tracker.token)?,
        None => format!("Bearer {}", context.field(tracker.token)?),
    };
    set_header(&mut headers, "authorization", &authorization)?;
    set_header(&mut headers, "accept", "application/json")?;
    let jira = Jira { context, tracker, headers, label: ticket_label(&context.delivery.correlation, 255) };
    let message = context.message();
    match context.earlier_text("key") {
        Some(key) => match jira.follow_up(key, &message).await {
            // Deleted or moved out of sight since: look whether there is another, else make one.
            Err(error) if error.status == Some(404) => jira.find_or_create(&message, Some(key)).await,
            followed => followed,
        },
        None => jira.find_or_create(&message, None).await,
    }
}

struct Jira<'a, 'b> {
    context: &'a Context<'b>,
    tracker: &'a Tracker<'a>,
    headers: HeaderMap,
    label: String,
}

impl Jira<'_, '_> {
    async fn find_or_create(&self, message: &Message, gone: Option<&str>) -> Result<Sent, SendError> {
        let kind = self.context.delivery.notification.kind;
        match self.find().await? {
            // An earlier attempt may have made it without our seeing the answer: then it says all this already.
            Some(key) if Some(key.as_str()) != gone && matches!(kind, Kind::Opened) => Ok(sent(&key, 200)),
            Some(key) if Some(key.as_str()) != gone => self.follow_up(&key, message).await,
            _ if kind == Kind::Resolved => Ok(Sent { note: "there is no issue to close".into(), ..Sent::default() }),
            _ => self.create(message).await,
        }
    }

    async fn find(&self) -> Result<Option<String>, SendError> {
        let jql = self.jql()?;
        let body = json!({ "jql": jql, "maxResults": 1, "fields": ["status"] });
        let answer = self.call(Method::POST, "/rest/api/3/search/jql", &body).await?;
        Ok(answer.json()?.pointer("/issues/0/key").and_then(Value::as_str).map(str::to_owned))
    }

    /// Finds the incident's issue. `reopen_within` leaves those alone that were closed longer ago, `wont_fix_resolution`
    /// those that somebody closed on purpose.
    fn jql(&self) -> Result<String, SendError> {
        let mut jql = format!("project = {} AND labels = {}", quote(self.tracker.project), quote(&self.label));
        if let Some(written) = self.tracker.options.get("reopen_within") {
            let span = written
                .as_str()
                .and_then(|text| text.parse::<Span>().ok())
                .ok_or_else(|| SendError::new(Trouble::Settings, "a jira receiver's `reopen_within` is written like \"3d\""))?;
            let minutes = span.millis() / Span::MINUTE.millis();
            jql.push_str(&format!(" AND (resolutiondate is EMPTY OR resolutiondate >= -{minutes}m)"));
        }
        if let Some(resolution) = self.tracker.options.get("wont_fix_resolution").and_then(Value::as_str) {
            // `!=` alone would leave out issues without a resolution.
            jql.push_str(&format!(" AND (resolution is EMPTY OR resolution != {})", quote(resolution)));
        }
        Ok(jql + " ORDER BY created DESC")
    }

    async fn create(&self, message: &Message) -> Result<Sent, SendError> {
        let options = self.tracker.options;
        let incident = &self.context.delivery.notification.data.incident;
        let mut labels = vec![self.label.clone(), "burnwatch".to_owned()];
        for label in options.get("labels").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
            labels.push(label.split_whitespace().collect::<Vec<_>>().join("-"));
        }
        let mut fields = json!({
            "project": { "key": self.tracker.project },
            "issuetype": { "name": self.tracker.issue_type },
            "summary": escape::cut(&message.headline(), SUMMARY_MAX),
            "description": document(message),
            "labels": labels,
        });
        let priority = match options.get("priority") {
            Some(Value::String(all)) => Some(all.as_str()),
            Some(Value::Object(each)) => each.get(incident.severity.name()).and_then(Value::as_str),
            _ => None,
        };
        if let Some(priority) = priority {
            fields["priority"] = json!({ "name": priority });
        }
        for (name, value) in options.get("fields").and_then(Value::as_object).into_iter().flatten() {
            fields[name] = value.clone();
        }
        let answer = self.call(Method::POST, "/rest/api/3/issue", &json!({ "fields": fields })).await?;
        match answer.json()?["key"].as_str() {
            Some(key) => Ok(sent(key, answer.status)),
            None => Err(SendError::answered(Trouble::Unreadable, answer.status, None, "jira answered without the new issue's key")),
        }
    }

    async fn follow_up(&self, key: &str, message: &Message) -> Result<Sent, SendError> {
        let path = format!("/rest/api/3/issue/{}", part(key));
        self.context.done_so_far(json!({ "key": key }));
        let mut note = String::new();
        // The move first: done twice it changes nothing, while a comment written twice stands there twice.
        match self.context.delivery.notification.kind {
            Kind::Resolved => note = self.transition(&path, true).await?,
            Kind::Reopened | Kind::Opened => note = self.transition(&path, false).await?,
            Kind::Updated | Kind::Escalated | Kind::Reminder | Kind::Acknowledged => {}
        }
        let mut comment = document(message);
        if let Some(content) = comment["content"].as_array_mut() {
            content.insert(0, json!({ "type": "paragraph", "content": [{ "type": "text", "text": message.headline(), "marks": [{ "type": "strong" }] }] }));
        }
        let answer = self.call(Method::POST, &format!("{path}/comment"), &json!({ "body": comment })).await?;
        Ok(Sent { note, ..sent(key, answer.status) })
    }

    /// Moves the issue to a status that is (or is not) done, unless it is there; says so if the workflow has no such move.
    async fn transition(&self, path: &str, done: bool) -> Result<String, SendError> {
        let issue = self.call(Method::GET, &format!("{path}?fields=status"), &Value::Null).await?.json()?;
        let is_done = |status: &Value| status.pointer("/statusCategory/key").and_then(Value::as_str) == Some("done");
        if is_done(&issue["fields"]["status"]) == done {
            return Ok(String::new());
        }
        let answer = self.call(Method::GET, &format!("{path}/transitions"), &Value::Null).await?.json()?;
        let wanted = self.tracker.options.get(if done { "resolve_transition" } else { "reopen_transition" }).and_then(Value::as_str);
        let chosen = answer["transitions"].as_array().into_iter().flatten().find(|transition| match wanted {
            Some(name) => transition["name"].as_str().is_some_and(|known| known.eq_ignore_ascii_case(name)),
            None => is_done(&transition["to"]) == done,
        });
        let Some(id) = chosen.and_then(|transition| transition["id"].as_str()) else {
            return Ok(format!("the issue's workflow has no transition to {}", if done { "a done status" } else { "an open status" }));
        };
        self.call(Method::POST, &format!("{path}/transitions"), &json!({ "transition": { "id": id } })).await?;
        Ok(String::new())
    }

    async fn call(&self, method: Method, path: &str, body: &Value) -> Result<Answer, SendError> {
        let url = join(self.tracker.base_url, path);
        self.context.call(method, url, self.headers.clone(), body).await?.success(self.context.now)
    }
}

fn sent(key: &str, status: u16) -> Sent {
    Sent { status: Some(status), reply: Some(json!({ "key": escape::clean(key, 100) })), note: String::new() }
}

/// A text in JQL.
fn quote(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// The message in Atlassian's document format: text nodes, which are never read as markup.
fn document(message: &Message) -> Value {
    let text = |text: &str, marks: Value| json!({ "type": "text", "text": text, "marks": marks });
    let mut content = Vec::new();
    for fact in &message.facts {
        let mut nodes = Vec::new();
        if !fact.name.is_empty() {
            nodes.push(text(&format!("{}: ", fact.name), json!([{ "type": "strong" }])));
        }
        nodes.extend(fact.pieces.iter().map(|piece| match piece {
            Piece::Ours(ours) => text(ours, json!([])),
            Piece::Theirs(theirs) => text(theirs, json!([{ "type": "code" }])),
        }));
        content.push(json!({ "type": "paragraph", "content": nodes }));
    }
    for link in &message.links {
        let mark = json!([{ "type": "link", "attrs": { "href": link.url } }]);
        content.push(json!({ "type": "paragraph", "content": [text(link.name, mark)] }));
    }
    json!({ "type": "doc", "version": 1, "content": content })
}
