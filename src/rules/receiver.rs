//! `receiver(name, …)`, the eleven kinds of receivers, and `secret(NAME)`.

use std::collections::BTreeMap;

use rhai::{Dynamic, Engine};

use super::draft::{Call, Draft, Reference, RefersTo, Shared, register};
use super::problem::Problems;
use super::value::{Broken, Fields, SecretRef, Value};
use crate::domain::rule::{Field, Place, Receiver, ReceiverKind};
use crate::domain::time::Span;

/// A kind of receiver with its fields, before it has a name.
#[derive(Clone, Debug)]
struct KindValue {
    kind: ReceiverKind,
    timeout: Option<Span>,
    send_resolved: bool,
    callback_secret: Option<Field>,
    template: Option<(String, Place)>,
}

/// Longest timeout of a delivery attempt.
const TIMEOUT_MAX: Span = Span::minutes(2);

/// Registers `receiver`, `secret` and every kind.
pub(super) fn add(engine: &mut Engine, draft: &Shared) {
    register(engine, draft, "receiver", &[2], receiver);
    register(engine, draft, "secret", &[1], secret);
    register(engine, draft, "webhook", &[1], |d, c| kind(d, c, "webhook", &["url", "secret", "headers"], webhook));
    register(engine, draft, "email", &[1], |d, c| kind(d, c, "email", &["to", "cc", "reply_to"], email));
    register(engine, draft, "pagerduty", &[1], |d, c| kind(d, c, "pagerduty", &["routing_key", "base_url", "changes"], pagerduty));
    register(engine, draft, "opsgenie", &[1], |d, c| kind(d, c, "opsgenie", &OPSGENIE, opsgenie));
    register(engine, draft, "slack", &[1], |d, c| kind(d, c, "slack", &["url", "token", "channel", "base_url"], slack));
    register(engine, draft, "teams", &[1], |d, c| kind(d, c, "teams", &["url"], teams));
    register(engine, draft, "jira", &[1], |d, c| kind(d, c, "jira", &JIRA, jira));
    register(engine, draft, "github", &[1], |d, c| kind(d, c, "github", &GITHUB, github));
    register(engine, draft, "servicenow", &[1], |d, c| kind(d, c, "servicenow", &SERVICENOW, servicenow));
    register(engine, draft, "alertmanager_webhook", &[1], |d, c| kind(d, c, "alertmanager_webhook", &["url", "headers"], alertmanager));
    register(engine, draft, "action", &[1], |d, c| kind(d, c, "action", &["url", "secret", "headers", "dry_run", "label"], action));
}

/// Formats whose provider tells us what people do there.
const CALLS_BACK: [&str; 5] = ["pagerduty", "slack", "opsgenie", "jira", "github"];
/// Formats that programs read, and whose words are fixed.
const FIXED: [&str; 3] = ["webhook", "alertmanager_webhook", "action"];

/// Fields of the vendors' formats that are handed through as they are; `options` holds any others.
const OPSGENIE: [&str; 13] = [
    "api_key",
    "base_url",
    "options",
    "responders",
    "visible_to",
    "tags",
    "priority",
    "entity",
    "source",
    "actions",
    "details",
    "user",
    "note",
];
const JIRA: [&str; 13] = [
    "base_url",
    "user",
    "token",
    "project",
    "issue_type",
    "options",
    "labels",
    "priority",
    "fields",
    "resolve_transition",
    "reopen_transition",
    "reopen_within",
    "wont_fix_resolution",
];
const GITHUB: [&str; 7] = ["base_url", "token", "repo", "labels", "options", "assignees", "milestone"];
const SERVICENOW: [&str; 15] = [
    "base_url",
    "user",
    "password",
    "token",
    "options",
    "urgency",
    "impact",
    "caller_id",
    "assignment_group",
    "category",
    "close_code",
    "close_notes",
    "resolved_state",
    "reopened_state",
    "fields",
];

fn receiver(draft: &mut Draft, mut call: Call) -> Dynamic {
    let name = call.arg(0, "the name of a receiver").name(&mut draft.problems).unwrap_or_default();
    if !name.is_empty() {
        draft.declare("receiver", &name, &call.at);
    }
    let value = call.arg(1, &format!("receiver `{name}`"));
    let Some(KindValue { kind, timeout, send_resolved, callback_secret, template }) = value.it.clone().try_cast::<KindValue>() else {
        value.wrong(
            &mut draft.problems,
            "one of webhook(…), email(…), pagerduty(…), opsgenie(…), slack(…), teams(…), jira(…), github(…), servicenow(…), alertmanager_webhook(…) and action(…)",
        );
        // The name is known all the same: routes that name it are not called wrong as well.
        draft.problems.errors.insert(call.at.clone());
        return Dynamic::UNIT;
    };
    let trackers = matches!(kind, ReceiverKind::Jira { .. } | ReceiverKind::Github { .. } | ReceiverKind::Servicenow { .. });
    let timeout = timeout.unwrap_or(Span::seconds(if trackers { 15 } else { 5 }));
    if draft.has_room() {
        let template = template.map(|(name, at)| {
            draft.references.push(Reference { kind: RefersTo::Template, name: name.clone(), at });
            name
        });
        draft.set.receivers.push(Receiver { name, place: call.at, timeout, send_resolved, callback_secret, template, kind });
    }
    Dynamic::UNIT
}

fn secret(draft: &mut Draft, mut call: Call) -> Dynamic {
    let value = call.arg(0, "the name of a secret");
    let Some(name) = value.text(&mut draft.problems) else { return Dynamic::from(Broken) };
    let letters = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') && !name.starts_with(|c: char| c.is_ascii_digit());
    if name.is_empty() || name.len() > 128 || !letters {
        draft.problems.error(&value.at, "the name of a secret consists of letters, digits and `_`, as names of environment variables do");
        return Dynamic::from(Broken);
    }
    if name.to_ascii_uppercase().starts_with("BURNWATCH_") {
        draft.problems.error(&value.at, format!("`{name}` cannot be used: names that begin with BURNWATCH_ belong to the configuration"));
        return Dynamic::from(Broken);
    }
    draft.secrets.push((name.clone(), value.at));
    Dynamic::from(SecretRef(name))
}

type Maker = fn(&mut Fields, &mut Problems) -> Option<ReceiverKind>;

fn kind(draft: &mut Draft, mut call: Call, name: &'static str, known: &[&str], make: Maker) -> Dynamic {
    let calls_back = CALLS_BACK.contains(&name);
    let own = ["timeout", "send_resolved"].into_iter().chain(calls_back.then_some("callback_secret"));
    let known: Vec<&str> = known.iter().copied().chain(own).chain((!FIXED.contains(&name)).then_some("template")).collect();
    let problems = &mut draft.problems;
    let Some(mut fields) = call.arg(0, &format!("`{name}`")).fields(problems, &known) else { return Dynamic::from(Broken) };
    fields.at = call.at;
    let timeout = fields.take("timeout").and_then(|value| {
        let timeout = value.length(problems)?;
        if timeout > TIMEOUT_MAX {
            problems.error(&value.at, format!("`timeout` may be at most {TIMEOUT_MAX}, not {timeout}"));
        }
        Some(timeout)
    });
    let send_resolved = fields.flag("send_resolved", problems).unwrap_or(true);
    let callback_secret = if calls_back { optional(&mut fields, "callback_secret", problems) } else { None };
    let template =
        fields.take("template").filter(|_| !FIXED.contains(&name)).and_then(|value| Some((value.name(problems)?, value.at.clone())));
    match make(&mut fields, problems) {
        Some(kind) => Dynamic::from(KindValue { kind, timeout, send_resolved, callback_secret, template }),
        None => Dynamic::from(Broken),
    }
}

/// A key or token that must be there.
fn needed(fields: &mut Fields, key: &str, problems: &mut Problems) -> Option<Field> {
    confidential(&fields.need(key, problems)?, problems)
}

/// A key or token that may be there.
fn optional(fields: &mut Fields, key: &str, problems: &mut Problems) -> Option<Field> {
    confidential(&fields.take(key)?, problems)
}

fn confidential(value: &Value, problems: &mut Problems) -> Option<Field> {
    let field = value.field(problems)?;
    if matches!(&field, Field::Plain(_)) {
        problems.warning(&value.at, format!("{} stands in the rules for everyone to read; write secret(\"NAME\")", value.name));
    }
    Some(field)
}

/// A URL, or a secret that holds one.
fn url(value: &Value, problems: &mut Problems) -> Option<Field> {
    let field = value.field(problems)?;
    match &field {
        Field::Plain(text) => check_url(text, &value.name, &value.at, problems).then_some(field),
        Field::Secret(_) => Some(field),
    }
}

fn check_url(text: &str, name: &str, at: &Place, problems: &mut Problems) -> bool {
    let fine = url::Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.host().is_some());
    if !fine {
        let short: String = text.chars().take(80).collect();
        problems.error(at, format!("{name} must be an http or https URL, and `{short}` is none"));
    }
    fine
}

fn needed_url(fields: &mut Fields, problems: &mut Problems) -> Option<Field> {
    url(&fields.need("url", problems)?, problems)
}

/// A vendor's address without a slash at its end.
fn base_url(fields: &mut Fields, problems: &mut Problems, default: &str) -> Option<String> {
    let value = match default {
        "" => fields.need("base_url", problems)?,
        _ => match fields.take("base_url") {
            Some(value) => value,
            None => return Some(default.to_owned()),
        },
    };
    let text = value.text(problems)?;
    check_url(&text, &value.name, &value.at, problems).then(|| text.trim_end_matches('/').to_owned())
}

fn headers(fields: &mut Fields, problems: &mut Problems) -> BTreeMap<String, Field> {
    let Some(value) = fields.take("headers") else { return BTreeMap::new() };
    let mut headers = BTreeMap::new();
    for (name, (at, value)) in value.entries(problems).unwrap_or_default() {
        let token = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b));
        if !token {
            problems.error(&at, format!("`{}` is no name of an HTTP header", name.escape_debug()));
            continue;
        }
        let Some(field) = value.field(problems) else { continue };
        if matches!(&field, Field::Plain(text) if text.chars().any(char::is_control)) {
            problems.error(&value.at, "a header's value cannot hold line breaks or other control characters");
            continue;
        }
        headers.insert(name, field);
    }
    headers
}

/// Vendor fields as JSON: those of `options` and those that stand beside it.
fn options(fields: &mut Fields, keys: &[&str], problems: &mut Problems) -> BTreeMap<String, serde_json::Value> {
    let mut options = BTreeMap::new();
    if let Some(value) = fields.take("options") {
        for (key, (_, value)) in value.entries(problems).unwrap_or_default() {
            if let Some(json) = json(&value, problems) {
                options.insert(key, json);
            }
        }
    }
    for key in keys {
        if let Some(value) = fields.take(key)
            && let Some(json) = json(&value, problems)
        {
            options.insert((*key).to_owned(), json);
        }
    }
    options
}

/// Options are stored and shown, so a secret cannot stand in them.
fn json(value: &Value, problems: &mut Problems) -> Option<serde_json::Value> {
    if value.it.is::<SecretRef>() {
        problems.error(&value.at, format!("{} cannot be a secret", value.name));
        return None;
    }
    value.json(problems)
}

fn mailbox(value: &Value, problems: &mut Problems) -> Vec<String> {
    let mut boxes = Vec::new();
    for (text, at) in value.named_texts(problems) {
        match text.parse::<lettre::message::Mailbox>() {
            Ok(_) => boxes.push(text),
            Err(_) => problems.error(&at, format!("`{}` is no mail address", text.escape_debug())),
        }
    }
    boxes
}

fn webhook(fields: &mut Fields, problems: &mut Problems) -> Option<ReceiverKind> {
    let url = needed_url(fields, problems);
    let (secret, headers) = (optional(fields, "secret", problems), headers(fields, problems));
    Some(ReceiverKind::Webhook { url: url?, secret, headers })
}

fn email(fields: &mut Fields, problems: &mut Problems) -> Option<ReceiverKind> {
    let to = fields.need("to", problems).map(|value| {
        let to = mailbox(&value, problems);
        if to.is_empty() && value.it.as_array_ref().is_ok_and(|list| list.is_empty()) {
            problems.error(&value.at, "`to` must name at least one address");
        }
        to
    });
    let cc = fields.take("cc").map(|value| mailbox(&value, problems)).unwrap_or_default();
    let reply_to = fields.take("reply_to").and_then(|value| mailbox(&value, problems).into_iter().next());
    Some(ReceiverKind::Email { to: to?, cc, reply_to })
}

fn pagerduty(fields: &mut Fields, problems: &mut Problems) -> Option<ReceiverKind> {
    let key = needed(fields, "routing_key", problems);
    let base_url = base_url(fields, problems, "https://events.pagerduty.com");
    let changes = fields.flag("changes", problems).unwrap_or(false);
    Some(ReceiverKind::Pagerduty { routing_key: key?, base_url: base_url?, changes })
}

fn opsgenie(fields: &mut Fields, problems: &mut Problems) -> Option<ReceiverKind> {
    let key = needed(fields, "api_key", problems);
    let base_url = base_url(fields, problems, "https://api.opsgenie.com");
    let options = options(fields, &OPSGENIE[3..], problems);
    Some(ReceiverKind::Opsgenie { api_key: key?, base_url: base_url?, options })
}

fn slack(fields: &mut Fields, problems: &mut Problems) -> Option<ReceiverKind> {
    let hook = fields.take("url");
    let (at, token) = (fields.at.clone(), optional(fields, "token", problems));
    let channel = fields.text("channel", problems);
    match (&hook, &token) {
        (None, None) => {
            fields.need("url", problems);
            return None;
        }
        (Some(value), Some(_)) => {
            problems.error(&value.at, "slack takes either `url` (an incoming webhook) or `token` and `channel`");
            return None;
        }
        (None, Some(_)) if channel.is_none() => problems.error(&at, "slack with a `token` needs a `channel`"),
        _ => {}
    }
    let base_url = base_url(fields, problems, "https://slack.com");
    let url = match hook {
        Some(value) => Some(url(&value, problems)?),
        None => None,
    };
    Some(ReceiverKind::Slack { url, token, channel, base_url: base_url? })
}

fn teams(fields: &mut Fields, problems: &mut Problems) -> Option<ReceiverKind> {
    Some(ReceiverKind::Teams { url: needed_url(fields, problems)? })
}

fn needed_text(fields: &mut Fields, key: &str, problems: &mut Problems) -> Option<String> {
    fields.need(key, problems)?.name(problems)
}

fn jira(fields: &mut Fields, problems: &mut Problems) -> Option<ReceiverKind> {
    let base_url = base_url(fields, problems, "");
    let user = fields.take("user").and_then(|value| value.field(problems));
    let token = needed(fields, "token", problems);
    let project = needed_text(fields, "project", problems);
    if let Some(value) = fields.peek("reopen_within") {
        value.length(problems);
    }
    let issue_type = fields.text("issue_type", problems).unwrap_or_else(|| "Task".into());
    let options = options(fields, &JIRA[6..], problems);
    Some(ReceiverKind::Jira { base_url: base_url?, user, token: token?, project: project?, issue_type, options })
}

fn github(fields: &mut Fields, problems: &mut Problems) -> Option<ReceiverKind> {
    let base_url = base_url(fields, problems, "https://api.github.com");
    let token = needed(fields, "token", problems);
    let repo = fields.need("repo", problems).and_then(|value| {
        let repo = value.name(problems)?;
        let parts = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
        let fine = repo.split_once('/').is_some_and(|(owner, name)| parts(owner) && parts(name));
        if !fine {
            problems.error(&value.at, format!("`repo` is written owner/name, and `{}` is not", repo.escape_debug()));
        }
        fine.then_some(repo)
    });
    let labels = fields.take("labels").map(|value| value.texts(problems)).unwrap_or_default();
    let options = options(fields, &GITHUB[5..], problems);
    Some(ReceiverKind::Github { base_url: base_url?, token: token?, repo: repo?, labels, options })
}

fn servicenow(fields: &mut Fields, problems: &mut Problems) -> Option<ReceiverKind> {
    let base_url = base_url(fields, problems, "");
    let user = fields.take("user").and_then(|value| value.field(problems));
    let password = optional(fields, "password", problems);
    let token = optional(fields, "token", problems);
    if token.is_none() && (user.is_none() || password.is_none()) {
        problems.error(&fields.at, "`servicenow` needs `user` and `password`, or `token`");
    }
    let options = options(fields, &SERVICENOW[5..], problems);
    Some(ReceiverKind::Servicenow { base_url: base_url?, user, password, token, options })
}

fn alertmanager(fields: &mut Fields, problems: &mut Problems) -> Option<ReceiverKind> {
    let url = needed_url(fields, problems);
    let headers = headers(fields, problems);
    Some(ReceiverKind::AlertmanagerWebhook { url: url?, headers })
}

fn action(fields: &mut Fields, problems: &mut Problems) -> Option<ReceiverKind> {
    let url = needed_url(fields, problems);
    let (secret, headers) = (optional(fields, "secret", problems), headers(fields, problems));
    let dry_run = fields.flag("dry_run", problems).unwrap_or(false);
    let label = fields.text("label", problems).unwrap_or_default();
    Some(ReceiverKind::Action { url: url?, secret, headers, dry_run, label })
}
