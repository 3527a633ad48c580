//! Mail. The server is the process's configuration, not a rule.

use super::super::super::document::Node;
use super::super::super::script;
use super::{Made, TEXTS, texts};

/// Who gets the mail, and the headers that rules can set.
pub(super) fn read(config: &Node<'_>, made: &mut Made) {
    let to = config.get("to");
    let text = to.text().unwrap_or_default();
    let mut boxes: Vec<&str> =
        text.split(',').map(str::trim).filter(|mailbox| mailbox.parse::<lettre::message::Mailbox>().is_ok()).collect();
    if boxes.is_empty() || text.contains("{{") {
        to.fault("there is no mail address that can be kept; nobody@example.com stands for it");
        to.needs("give the addresses");
        boxes = vec!["nobody@example.com"];
    } else {
        to.mapped("to");
    }
    made.fields.push(("to", script::list(&boxes)));
    for key in [
        "from",
        "smarthost",
        "hello",
        "auth_username",
        "auth_password",
        "auth_password_file",
        "auth_secret",
        "auth_secret_file",
        "auth_identity",
        "require_tls",
        "force_implicit_tls",
    ] {
        config.get(key).needs("mail is sent by burnwatch.toml, [smtp], for all receivers alike");
    }
    for (name, value) in config.get("headers").entries() {
        let address = value.text().filter(|text| text.parse::<lettre::message::Mailbox>().is_ok());
        match (name.to_lowercase().as_str(), address) {
            ("reply-to", Some(text)) => {
                value.mapped("reply_to");
                made.fields.push(("reply_to", script::quote(&text)));
            }
            ("cc", Some(text)) => {
                value.mapped("cc");
                made.fields.push(("cc", script::list(&[text])));
            }
            ("subject", _) => value.ignored(TEXTS),
            _ => value.needs("headers of mails cannot be set in rules"),
        }
    }
    texts(config, &["html", "text", "threading"]);
}
