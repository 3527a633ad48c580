//! Templates that word messages (`templates/NAME.j2` of a rule set): rendered under limits, with
//! every value made harmless for the format that it goes into.
//!
//! What a template prints is the message's text; what it sets as `title` stands for the incident's
//! title. It sees `incident`, `type`, `timestamp`, `reason` as in the payload of a webhook, and
//! `format`: `plain`, `html`, `slack` or `markdown`.

use std::collections::BTreeMap;

use minijinja::value::Value as Known;
use minijinja::{AutoEscape, Environment, ErrorKind, UndefinedBehavior};
use serde_json::{Value, json};

/// Longest template.
pub const SOURCE_BYTES_MAX: usize = 64 * 1024;
/// Longest text that is kept; longer ones are cut.
pub const TEXT_CHARS_MAX: usize = 20_000;
/// What one rendering may cost: about so many instructions, or 64 bytes of data each.
const FUEL: u64 = 50_000;

/// Where a text is to stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Plain,
    Html,
    Slack,
    Markdown,
}

impl Format {
    /// All of them.
    pub const ALL: [Format; 4] = [Format::Plain, Format::Html, Format::Slack, Format::Markdown];

    /// As templates see it.
    pub const fn name(self) -> &'static str {
        match self {
            Format::Plain => "plain",
            Format::Html => "html",
            Format::Slack => "slack",
            Format::Markdown => "markdown",
        }
    }
}

/// What came out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    /// Empty where the template sets none.
    pub title: String,
    pub text: String,
}

/// What is wrong with a template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct TemplateError {
    /// From 1.
    pub line: usize,
    pub message: String,
}

/// Renders for one format; `escape` makes a value harmless there. `payload` is a notification as webhooks get it.
pub fn render(source: &str, payload: &Value, format: Format, escape: fn(&str) -> String) -> Result<Rendered, TemplateError> {
    if source.len() > SOURCE_BYTES_MAX {
        return Err(TemplateError { line: 1, message: format!("a template may have at most {SOURCE_BYTES_MAX} bytes") });
    }
    let mut environment = Environment::new();
    environment.set_fuel(Some(FUEL));
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    // What a macro or a set block has captured was escaped inside of it, and is marked for that.
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    for filter in ["safe", "escape", "e"] {
        environment.remove_filter(filter);
    }
    environment.set_formatter(move |out, _, value| {
        let fine = match value.as_str() {
            Some(text) if value.is_safe() => out.write_str(text),
            Some(text) => out.write_str(&escape(text)),
            None if value.is_none() => Ok(()),
            None => out.write_str(&escape(&value.to_string())),
        };
        fine.map_err(|_| minijinja::Error::new(ErrorKind::WriteFailure, "the text could not be written"))
    });
    let template = environment.template_from_str(source).map_err(|error| explain(&error))?;
    let pick = |path: &str| known(payload.pointer(path).unwrap_or(&Value::Null));
    let context: BTreeMap<&str, Known> = [
        ("incident", pick("/data/incident")),
        ("type", pick("/type")),
        ("timestamp", pick("/timestamp")),
        ("reason", pick("/reason")),
        ("format", Known::from(format.name())),
    ]
    .into();
    let rendered = template.render_captured(Known::from(context)).map_err(|error| explain(&error))?;
    let title = rendered.state().lookup("title").and_then(|title| title.as_str().map(str::to_owned)).unwrap_or_default();
    let text = rendered.into_output();
    let text = match text.char_indices().nth(TEXT_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    };
    Ok(Rendered { title: title.trim().to_owned(), text: text.trim().to_owned() })
}

/// Tries a template on a full incident and on a bare one, in every format.
pub fn check(source: &str) -> Result<(), TemplateError> {
    for payload in [full(), bare()] {
        for format in Format::ALL {
            render(source, &payload, format, str::to_owned)?;
        }
    }
    Ok(())
}

fn explain(error: &minijinja::Error) -> TemplateError {
    let message = match (error.kind(), error.detail()) {
        (ErrorKind::OutOfFuel, _) => "it does too much work; is there a loop in a loop?".to_owned(),
        (ErrorKind::UndefinedError, None) => "a value is used that the message does not have".to_owned(),
        (kind, None) => kind.to_string(),
        (kind, Some(detail)) => format!("{kind}: {detail}"),
    };
    TemplateError { line: error.line().unwrap_or(1), message: message.chars().take(300).collect() }
}

fn known(value: &Value) -> Known {
    match value {
        Value::Null => Known::from(()),
        Value::Bool(flag) => Known::from(*flag),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => Known::from(whole),
            (None, Some(decimal)) => Known::from(decimal),
            (None, None) => Known::from(()),
        },
        Value::String(text) => Known::from(text.as_str()),
        Value::Array(items) => items.iter().map(known).collect(),
        Value::Object(fields) => Known::from(fields.iter().map(|(name, value)| (name.clone(), known(value))).collect::<BTreeMap<_, _>>()),
    }
}

/// A notification that has everything.
fn full() -> Value {
    let mut payload = bare();
    let incident = &mut payload["data"]["incident"];
    incident["labels"] = json!({ "service": "shop" });
    incident["acknowledged_at"] = json!("2027-01-15T08:00:00Z");
    incident["resolved_at"] = json!("2027-01-15T08:00:00Z");
    incident["suspects"] = json!([{ "where": { "region": "de" }, "bad_share": 0.9, "traffic_share": 0.1, "excess_share": 0.9, "users": 8,
        "new": true, "change": "a1" }]);
    incident["changes"] = json!([{ "id": "a1", "kind": "deploy", "at": "2027-01-15T07:50:00Z", "app": "shop", "release": "2.3.1",
        "text": "a text", "url": "https://example.com/" }]);
    incident["alerts"] = json!([{ "rule": "checkout", "state": "firing", "severity": "page", "labels": { "service": "shop" },
        "started_at": "2027-01-15T07:57:00Z", "ended_at": null, "summary": "a summary", "traces": ["4bf9"],
        "values": { "burn_long": 22.4, "burn_short": 151.0, "factor": 14.4, "long": "1h", "short": "5m", "error_ratio": 0.02 } }]);
    incident["links"] =
        json!({ "incident": "https://example.com/", "runbook": "https://example.com/", "dashboard": "https://example.com/" });
    payload
}

/// A notification that has only what every one has.
fn bare() -> Value {
    json!({ "type": "incident.opened", "timestamp": "2027-01-15T08:00:00Z", "reason": "a reason", "data": { "incident": {
        "id": "1", "key": "{}", "status": "open", "severity": "page", "title": "a title", "service": "", "owner": "", "labels": {},
        "opened_at": "2027-01-15T07:57:00Z", "acknowledged_at": null, "resolved_at": null,
        "impact": { "affected_users": 0, "bad_events": 0.0, "budget_consumed": 0.0, "budget_remaining": 0.0 },
        "signature": "", "verdict": "unknown", "suspects": [], "changes": [], "alerts": [], "revision": "1",
        "links": { "incident": "https://example.com/", "runbook": null, "dashboard": null } } } })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upper(text: &str) -> String {
        text.to_uppercase()
    }

    fn plain(source: &str) -> Result<Rendered, TemplateError> {
        render(source, &full(), Format::Plain, str::to_owned)
    }

    #[test]
    fn a_template_gives_a_text_and_a_title() {
        let source = "{% set title = incident.service ~ ' is down' %}\n{{ incident.title }} since {{ incident.opened_at }}\n\
            {% for suspect in incident.suspects %}{{ suspect.where.region }} {% endfor %}{{ incident.acknowledged_by is defined }}\n";
        let rendered = plain(source).unwrap();
        assert_eq!(rendered.text, "a title since 2027-01-15T07:57:00Z\nde False");
        assert_eq!(rendered.title, " is down".trim());
        assert_eq!(plain("x").unwrap(), Rendered { title: String::new(), text: "x".into() });
    }

    #[test]
    fn every_value_is_escaped_once_and_nothing_gets_past_it() {
        let render = |source: &str| render(source, &full(), Format::Html, upper).unwrap().text;
        assert_eq!(render("say {{ incident.title }} {{ 'x' }}"), "say A TITLE X");
        assert_eq!(render("{% set t %}say {{ incident.title }}{% endset %}{{ t }}"), "say A TITLE");
        assert_eq!(render("{% macro m(x) %}say {{ x }}{% endmacro %}{{ m(incident.title) }}"), "say A TITLE");
        assert_eq!(render("{{ incident.labels }}").to_uppercase(), render("{{ incident.labels }}"));
        for filter in ["safe", "escape", "e"] {
            assert!(check(&format!("{{{{ incident.title|{filter} }}}}")).is_err(), "{filter}");
        }
        assert_eq!(render("{% autoescape false %}{{ incident.title }}{% endautoescape %}"), "A TITLE");
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        let line = |source: &str| check(source).map_err(|error| error.line);
        assert_eq!(line("fine {{ incident.title }}"), Ok(()));
        assert_eq!(line("a\n{% if %}"), Err(2));
        assert_eq!(line("a\n\n{{ incident.titel }}"), Err(3));
        assert_eq!(line("a\n{{ incident.title|shout }}"), Err(2));
        assert_eq!(line("\n{{ incident.suspects[0].users }}"), Err(2), "not every incident has one");
        assert_eq!(line("{% if format == 'html' %}\n{{ nothing }}{% endif %}"), Err(2));
        assert!(check(&"x".repeat(SOURCE_BYTES_MAX + 1)).is_err());
    }

    #[test]
    fn work_and_text_are_bounded() {
        let loops = "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}";
        assert!(check(loops).unwrap_err().message.contains("too much work"));
        assert!(check("{% for a in range(99999999999) %}x{% endfor %}").is_err());
        assert!(check("{% set x = 'a' * 999999999 %}{{ x }}").is_err());
        let long = plain("{{ 'a' * 30000 }}").unwrap().text;
        assert_eq!(long.chars().count(), TEXT_CHARS_MAX + 1);
        assert!(check("{% include 'other' %}").is_err(), "there is nothing to include");
    }
}
