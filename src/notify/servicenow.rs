//! ServiceNow's Table API: one incident record, found again by `correlation_id`, commented, resolved and reopened.

use std::collections::BTreeMap;

use http::HeaderMap;
use reqwest::Method;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::domain::notification::Kind;
use crate::domain::rule::{Field, Severity};

use super::http::{Answer, join, json_headers, part, set_header};
use super::outcome::{SendError, Trouble};
use super::text::Message;
use super::{Context, Sent, escape};

const TABLE: &str = "/api/now/table/incident";
/// Options that say how a record is closed rather than what stands in it.
const OURS: [&str; 5] = ["resolved_state", "reopened_state", "close_code", "close_notes", "fields"];

/// How to sign in: a token, or a user and a password.
pub(crate) struct Access<'a> {
    pub user: Option<&'a Field>,
    pub password: Option<&'a Field>,
    pub token: Option<&'a Field>,
}

/// Creates the record, or finds it and tells it what happened. Options go into the record as they are
/// (`assignment_group`, …), and so does what `fields` holds.
pub(crate) async fn send(
    context: &Context<'_>,
    base_url: &str,
    access: &Access<'_>,
    options: &BTreeMap<String, Value>,
) -> Result<Sent, SendError> {
    let authorization = match (access.token, access.user, access.password) {
        (Some(token), _, _) => format!("Bearer {}", context.field(token)?),
        (None, Some(user), Some(password)) => context.basic(user, password)?,
        (None, _, _) => return Err(SendError::new(Trouble::Settings, "a servicenow receiver needs `token`, or `user` and `password`")),
    };
    let mut headers = json_headers();
    set_header(&mut headers, "authorization", &authorization)?;
    set_header(&mut headers, "accept", "application/json")?;
    let table = Table { context, base_url, headers, options };
    let message = context.message();
    match context.earlier_text("sys_id") {
        Some(id) => match table.follow_up(id, &message).await {
            // Deleted since: look whether there is another, else make one.
            Err(error) if error.status == Some(404) => table.find_or_create(&message).await,
            followed => followed,
        },
        None => table.find_or_create(&message).await,
    }
}

struct Table<'a, 'b> {
    context: &'a Context<'b>,
    base_url: &'a str,
    headers: HeaderMap,
    options: &'a BTreeMap<String, Value>,
}

impl Table<'_, '_> {
    async fn find_or_create(&self, message: &Message) -> Result<Sent, SendError> {
        let kind = self.context.delivery.notification.kind;
        match self.find().await? {
            // An earlier attempt may have made it without our seeing the answer: then it says all this already.
            Some(id) if kind == Kind::Opened => Ok(sent(&id, None, 200)),
            Some(id) => self.follow_up(&id, message).await,
            None if kind == Kind::Resolved => Ok(Sent { note: "there is no record to close".into(), ..Sent::default() }),
            None => self.create(message).await,
        }
    }

    async fn find(&self) -> Result<Option<String>, SendError> {
        let query = format!("correlation_id={}^ORDERBYDESCsys_created_on", self.correlation());
        let path = format!("{TABLE}?sysparm_query={}&sysparm_limit=1&sysparm_fields=sys_id,number", part(&query));
        let answer = self.call(Method::GET, &path, &Value::Null).await?.json()?;
        Ok(answer.pointer("/result/0/sys_id").and_then(Value::as_str).map(str::to_owned))
    }

    async fn create(&self, message: &Message) -> Result<Sent, SendError> {
        let incident = &self.context.delivery.notification.data.incident;
        // 1 is high, 3 is low.
        let level = match incident.severity {
            Severity::Page => "1",
            Severity::Ticket => "2",
            Severity::Info => "3",
        };
        let mut record = json!({
            "short_description": escape::cut(&escape::servicenow(&message.headline()), 160),
            "description": escape::cut(&escape::servicenow(&message.plain()), 4_000),
            "urgency": level,
            "impact": level,
            "correlation_id": self.correlation(),
            "correlation_display": "burnwatch",
        });
        for (name, value) in self.options.iter().filter(|(name, _)| !OURS.contains(&name.as_str())) {
            record[name] = value.clone();
        }
        for (name, value) in self.options.get("fields").and_then(Value::as_object).into_iter().flatten() {
            record[name] = value.clone();
        }
        let answer = self.call(Method::POST, TABLE, &record).await?;
        let body = answer.json()?;
        match body.pointer("/result/sys_id").and_then(Value::as_str) {
            Some(id) => Ok(sent(id, body.pointer("/result/number").and_then(Value::as_str), answer.status)),
            None => {
                Err(SendError::answered(Trouble::Unreadable, answer.status, None, "servicenow answered without the new record's sys_id"))
            }
        }
    }

    /// One call says it all, so a repetition adds one note at most.
    async fn follow_up(&self, id: &str, message: &Message) -> Result<Sent, SendError> {
        self.context.done_so_far(json!({ "sys_id": id }));
        let notes = escape::servicenow(&format!("{}\n{}", message.headline(), message.plain()));
        let notes = escape::cut(&notes, 4_000);
        let mut change = json!({ "work_notes": notes });
        match self.context.delivery.notification.kind {
            Kind::Resolved => {
                change["state"] = self.option("resolved_state", "6");
                change["close_code"] = self.option("close_code", "Resolved by caller");
                change["close_notes"] = self.option("close_notes", "burnwatch: every alert of the incident has ended");
            }
            Kind::Reopened | Kind::Opened => change["state"] = self.option("reopened_state", "2"),
            Kind::Updated | Kind::Escalated | Kind::Reminder | Kind::Acknowledged => {}
        }
        let answer = self.call(Method::PATCH, &format!("{TABLE}/{}", part(id)), &change).await?;
        Ok(sent(id, self.context.earlier_text("number"), answer.status))
    }

    fn option(&self, name: &str, usual: &str) -> Value {
        self.options.get(name).cloned().unwrap_or_else(|| usual.into())
    }

    /// `^` separates terms in a query, so a key that holds more than plain characters is hashed.
    fn correlation(&self) -> String {
        let key = &self.context.delivery.correlation;
        let fine = key.len() <= 100 && key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b':' | b'.'));
        if fine { key.clone() } else { hex::encode(Sha256::digest(key)) }
    }

    async fn call(&self, method: Method, path: &str, body: &Value) -> Result<Answer, SendError> {
        self.context.call(method, join(self.base_url, path), self.headers.clone(), body).await?.success(self.context.now)
    }
}

fn sent(id: &str, number: Option<&str>, status: u16) -> Sent {
    let reply = json!({ "sys_id": escape::clean(id, 100), "number": number.map(|number| escape::clean(number, 100)) });
    Sent { status: Some(status), reply: Some(reply), note: String::new() }
}
