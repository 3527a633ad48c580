//! Slack: an incoming webhook, or a bot that keeps one message up to date and writes the story into its thread.

use http::HeaderMap;
use reqwest::Method;
use serde_json::{Value, json};

use crate::domain::notification::Kind;
use crate::domain::rule::Field;

use super::http::{join, json_headers, set_header};
use super::outcome::{SendError, Trouble, excerpt, retry_after};
use super::text::{ACKNOWLEDGE, Message};
use super::{Context, Sent, escape};

const SECTION_MAX: usize = 3_000;
const TEXT_MAX: usize = 3_000;

/// Posts through an incoming webhook: success is 200 with the body `ok`.
pub(crate) async fn post_to_webhook(context: &Context<'_>, url: &Field) -> Result<Sent, SendError> {
    let (message, button) = asking(context);
    let body = json!({ "text": fallback(&message), "blocks": blocks(&message, button), "link_names": false, "unfurl_links": false });
    let answer = context.call(Method::POST, context.field(url)?, json_headers(), &body).await?.success(context.now)?;
    Ok(Sent { status: Some(answer.status), ..Sent::default() })
}

/// Posts the first message; later ones update it and add to its thread.
pub(crate) async fn post_as_bot(context: &Context<'_>, token: &Field, channel: Option<&str>, base_url: &str) -> Result<Sent, SendError> {
    let channel = channel.ok_or_else(|| SendError::new(Trouble::Settings, "a slack receiver with `token` needs `channel`"))?;
    let bot = Bot { context, base_url, authorization: format!("Bearer {}", context.field(token)?) };
    let (message, button) = asking(context);
    let mut post = json!({ "channel": channel, "text": fallback(&message), "blocks": blocks(&message, button), "unfurl_links": false, "unfurl_media": false });

    let (Some(at), Some(place)) = (context.earlier_text("channel"), context.earlier_text("ts")) else {
        return bot.post_first(&post).await;
    };
    let root = json!({ "channel": at, "ts": place });
    // The update first: done twice it changes nothing, while a reply posted twice stands there twice.
    let mut update = post.clone();
    update["channel"] = at.into();
    update["ts"] = place.into();
    match bot.call("chat.update", &update).await {
        Ok(_) => {}
        // Somebody deleted it: a new one takes its place.
        Err(Refused::Said(code)) if matches!(code.as_str(), "message_not_found" | "channel_not_found") => {
            return bot.post_first(&post).await;
        }
        // Old messages cannot be changed in some workspaces; the thread still tells the story.
        Err(Refused::Said(code)) if matches!(code.as_str(), "cant_update_message" | "edit_window_closed") => {}
        Err(refused) => return Err(refused.into_error(context)),
    }
    post["channel"] = at.into();
    post["thread_ts"] = place.into();
    // Those who must look again see it in the channel, not only in the thread.
    let loud = matches!(context.delivery.notification.kind, Kind::Escalated | Kind::Reminder | Kind::Reopened);
    post["reply_broadcast"] = loud.into();
    bot.call("chat.postMessage", &post).await.map_err(|refused| refused.into_error(context))?;
    Ok(Sent { status: Some(200), reply: Some(root), note: String::new() })
}

struct Bot<'a, 'b> {
    context: &'a Context<'b>,
    base_url: &'a str,
    authorization: String,
}

/// Why Slack did not do it.
enum Refused {
    /// Its `error` in an answer with `ok: false`.
    Said(String),
    /// Anything else.
    Failed(SendError),
}

impl Refused {
    fn into_error(self, context: &Context<'_>) -> SendError {
        match self {
            Refused::Failed(error) => error,
            Refused::Said(code) => {
                let later = matches!(
                    code.as_str(),
                    "ratelimited"
                        | "rate_limited"
                        | "message_limit_exceeded"
                        | "internal_error"
                        | "fatal_error"
                        | "service_unavailable"
                        | "request_timeout"
                        | "team_added_to_org"
                );
                let trouble = if later { Trouble::Later } else { Trouble::Final };
                SendError {
                    status: Some(200),
                    ..SendError::new(trouble, format!("slack answered `{code}` for receiver `{}`", context.receiver.name))
                }
            }
        }
    }
}

impl Bot<'_, '_> {
    async fn post_first(&self, post: &Value) -> Result<Sent, SendError> {
        let answer = self.call("chat.postMessage", post).await.map_err(|refused| refused.into_error(self.context))?;
        let reply = json!({ "channel": answer["channel"], "ts": answer["ts"] });
        Ok(Sent { status: Some(200), reply: Some(reply), note: String::new() })
    }

    /// Slack says 200 also when it refuses: the body tells.
    async fn call(&self, method: &str, body: &Value) -> Result<Value, Refused> {
        let mut headers: HeaderMap = json_headers();
        headers.insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("application/json; charset=utf-8"));
        set_header(&mut headers, "authorization", &self.authorization).map_err(Refused::Failed)?;
        let call = self.context.call(Method::POST, join(self.base_url, &format!("/api/{method}")), headers, body);
        let answer = call.await.and_then(|answer| answer.success(self.context.now)).map_err(Refused::Failed)?;
        let said = answer.json().map_err(Refused::Failed)?;
        if said["ok"] == Value::Bool(true) {
            return Ok(said);
        }
        match said["error"].as_str() {
            Some("ratelimited") => {
                let after = retry_after(&answer.headers, self.context.now);
                Err(Refused::Failed(SendError::answered(Trouble::Later, answer.status, after, "slack answered `ratelimited`")))
            }
            Some(code) => Err(Refused::Said(escape::clean(code, 100))),
            None => Err(Refused::Failed(SendError::answered(
                Trouble::Unreadable,
                answer.status,
                None,
                format!("slack answered neither ok nor error: {}", excerpt(&answer.body)),
            ))),
        }
    }
}

/// The message, with a link that acknowledges or, where Slack may call back, the value of a button that does.
fn asking(context: &Context<'_>) -> (Message, Option<String>) {
    match context.receiver.callback_secret {
        Some(_) => (context.message(), context.answer()),
        None => (context.answerable_message(), None),
    }
}

/// What phones show in the notification.
fn fallback(message: &Message) -> String {
    escape::slack(&escape::cut(&message.headline(), TEXT_MAX / 5))
}

fn blocks(message: &Message, button: Option<String>) -> Value {
    let lines: Vec<String> = match &message.body {
        Some(body) => body.slack.lines().map(str::to_owned).collect(),
        None => message
            .facts
            .iter()
            .map(|fact| {
                let line: String = fact.pieces.iter().map(|piece| piece.render(escape::slack, escape::slack_code)).collect();
                format!("*{}:* {line}", fact.name)
            })
            .collect(),
    };
    // No header block: its text is plain to Slack, and what its escapes look like there is not promised.
    let headline = format!("*{}:* {}", message.word, escape::slack(&message.stem));
    let mut blocks = vec![section(&headline)];
    for text in sections(&lines) {
        blocks.push(section(&text));
    }
    if let Some(sealed) = button {
        let label = json!({ "type": "plain_text", "text": ACKNOWLEDGE });
        let button = json!({ "type": "button", "action_id": "acknowledge", "text": label, "value": sealed, "style": "primary" });
        blocks.push(json!({ "type": "actions", "elements": [button] }));
    }
    let links: Vec<String> = message.links.iter().map(|link| format!("<{}|{}>", escape::slack(&link.url), link.name)).collect();
    if !links.is_empty() {
        blocks.push(json!({ "type": "context", "elements": [{ "type": "mrkdwn", "text": links.join(" · "), "verbatim": true }] }));
    }
    blocks.into()
}

/// Verbatim: nothing in it becomes a link or a mention by looking like one.
fn section(text: &str) -> Value {
    json!({ "type": "section", "text": { "type": "mrkdwn", "text": text, "verbatim": true } })
}

/// Lines joined into as few sections as their limit allows; whole lines, so that no markup is cut open.
fn sections(lines: &[String]) -> Vec<String> {
    let mut sections: Vec<String> = Vec::new();
    for line in lines {
        let length = line.chars().count();
        if length > SECTION_MAX {
            continue;
        }
        match sections.last_mut() {
            Some(last) if last.chars().count() + 1 + length <= SECTION_MAX => {
                last.push('\n');
                last.push_str(line);
            }
            _ => sections.push(line.clone()),
        }
    }
    sections.truncate(4);
    sections
}
