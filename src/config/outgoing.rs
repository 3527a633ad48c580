//! `[secrets]`, `[smtp]` and `[delivery]`: what goes out, with which credentials, and where to.

use std::collections::BTreeMap;

use super::check::span;
use super::listeners::networks;
use super::section::{Report, Section, short, within};
use super::tree::{Table, Value};
use super::*;

pub(super) fn secrets(root: &mut Section<'_>, environment: &Environment) -> Secrets {
    let mut named = BTreeMap::new();
    for (name, node) in root.names("secrets") {
        if let Err(error) = secret::check_name(&name) {
            root.report.problem(&node.place, error.to_string());
            continue;
        }
        let Value::Table(table) = node.value else {
            // The value itself may have been written here; it must not get into the message.
            root.report.problem(
                &node.place,
                format!("secrets.{name}: expected {{ env = \"VARIABLE\" }} or {{ file = \"PATH\" }}, not the value itself"),
            );
            continue;
        };
        if let Some(source) = source(&name, table, &node.place, root.report) {
            named.insert(name, source);
        }
    }
    Secrets::new(named, environment.clone())
}

fn source(name: &str, table: Table, place: &Place, report: &mut Report) -> Option<SecretSource> {
    within(format!("secrets.{name}"), table, report, |section| {
        let (variable, file) = (section.text("env"), section.text("file"));
        match (variable, file) {
            (Some(variable), None) if variable.starts_with(PREFIX) => {
                section.problem(
                    place,
                    "env",
                    format_args!("variables that begin with {PREFIX} belong to burnwatch itself; choose another name"),
                );
                None
            }
            (Some(variable), None) => Some(SecretSource::Env(variable)),
            (None, Some(file)) => Some(SecretSource::File(section.report.resolve(file))),
            (Some(_), Some(_)) | (None, None) => {
                section.report.problem(place, format!("secrets.{name}: expected exactly one of `env` and `file`"));
                None
            }
        }
    })
}

pub(super) fn smtp(root: &mut Section<'_>) -> Option<Smtp> {
    let written = root.has("smtp");
    let whole = root.place("smtp");
    root.section("smtp", |section| {
        let tls = section.one_of(
            "tls",
            SmtpTls::Starttls,
            &[("starttls", SmtpTls::Starttls), ("implicit", SmtpTls::Implicit), ("none", SmtpTls::None)],
        );
        let usual = match tls {
            SmtpTls::Starttls => 587,
            SmtpTls::Implicit => 465,
            SmtpTls::None => 25,
        };
        let host = section.text("host").filter(|host| !host.is_empty());
        let port = section.integer("port", usual, 1..=65_535);
        let username = section.text("username").filter(|name| !name.is_empty());
        let password = section.secret("password", "password_file").filter(|password| !password.is_empty());
        let from = section.text("from").filter(|from| !from.is_empty());
        if !written {
            return None;
        }
        if let Some(from) = &from
            && from.parse::<lettre::message::Mailbox>().is_err()
        {
            let place = section.place("from");
            section.problem(
                &place,
                "from",
                format_args!("`{}` is no mail address; write it like \"burnwatch <alerts@example.com>\"", short(from)),
            );
        }
        let has_password = section.has("password") || section.has("password_file");
        if username.is_some() != has_password {
            section.problem(&whole, "username", "username and password go together; give both or none");
        }
        for (key, missing) in [("host", host.is_none()), ("from", from.is_none())] {
            if missing {
                section.problem(&whole, key, "is missing; mail needs `host` and `from`");
            }
        }
        Some(Smtp { host: host?, port, tls, username, password, from: from? })
    })
}

pub(super) fn delivery(section: &mut Section<'_>) -> Delivery {
    let allow_private = networks(section, "allow_private");
    let fallback = section.text("fallback").filter(|name| !name.is_empty());
    let heartbeat = section.section("heartbeat", |section| {
        let url = section.secret("url", "url_file").filter(|url| !url.is_empty());
        let every = span(section, "every", Span::MINUTE, Span::SECOND, Span::DAY);
        let fine =
            |url: &Secret| url::Url::parse(url.expose()).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.host().is_some());
        if url.as_ref().is_some_and(|url| !fine(url)) {
            let place = section.place("url");
            section.problem(&place, "url", "is not usable; write it like \"https://heartbeat.example.com/ping\"");
        }
        url.map(|url| Heartbeat { url, every })
    });
    Delivery { allow_private, fallback, heartbeat }
}
