//! `global`: how alerts end, the mail server, and what receivers take from it.

use super::super::document::Node;
use super::super::script;
use super::receiver::KINDS;
use super::{Rules, span};

/// Global settings that are not the defaults of receivers.
pub(super) fn settings(global: &Node<'_>, rules: &mut Rules) {
    let timeout = global.get("resolve_timeout");
    if let Some(span) = span(&timeout) {
        rules.add(&format!("alerts_in({});\n", script::map([("resolve_timeout", script::quote(&span))])), 1);
    }
    let mut mail = Vec::new();
    for (name, node) in global.entries() {
        if let Some(setting) = name.strip_prefix("smtp_") {
            node.needs("mail is sent by burnwatch.toml, [smtp]: host, port, tls, username, password, from");
            mail.extend(node.text().and_then(|text| smtp(setting, &text)));
        } else if name != "resolve_timeout" && is_default(&name) {
            // A receiver that takes it says so in its turn.
            node.ignored("no receiver takes it from here");
        }
    }
    if !mail.is_empty() {
        let lines = format!("In burnwatch.toml:\n[smtp]\n{}", mail.join("\n"));
        rules.text += &script::comment("", &lines);
    }
    global.get("http_config").needs("settings of connections have no place in rules; headers can be given on a receiver");
}

/// The lines of `[smtp]` that say the same; none for what has no place there, and for secrets, which are not copied.
fn smtp(setting: &str, value: &str) -> Option<String> {
    match setting {
        "smarthost" => match value.rsplit_once(':') {
            Some((host, port)) if port.parse::<u16>().is_ok() => Some(format!("host = {host:?}\nport = {port}")),
            _ => Some(format!("host = {value:?}")),
        },
        "from" => Some(format!("from = {value:?}")),
        "auth_username" => Some(format!("username = {value:?}")),
        "auth_password_file" => Some(format!("password_file = {value:?}")),
        "require_tls" if value == "false" => Some("tls = \"none\"".to_owned()),
        "force_implicit_tls" if value == "true" => Some("tls = \"implicit\"".to_owned()),
        _ => None,
    }
}

/// Whether a setting is what receivers of some kind do not say themselves.
fn is_default(name: &str) -> bool {
    KINDS.iter().any(|(kind, _)| name.starts_with(kind.trim_end_matches("configs")))
}
