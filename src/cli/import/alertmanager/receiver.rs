//! Alertmanager's receivers. A key or a secret address is named, never copied: rules say `secret("NAME")`.

mod chat;
mod mail;
mod pager;
mod tracker;

use std::collections::{BTreeMap, BTreeSet};

use super::super::document::Node;
use super::super::quantity::length;
use super::super::script;

/// Integrations and what they are here; `None` for those that burnwatch does not speak.
pub(super) const KINDS: [(&str, Option<&str>); 20] = [
    ("webhook_configs", Some("alertmanager_webhook")),
    ("email_configs", Some("email")),
    ("pagerduty_configs", Some("pagerduty")),
    ("opsgenie_configs", Some("opsgenie")),
    ("slack_configs", Some("slack")),
    ("msteams_configs", Some("teams")),
    ("msteamsv2_configs", Some("teams")),
    ("jira_configs", Some("jira")),
    ("discord_configs", None),
    ("incidentio_configs", None),
    ("mattermost_configs", None),
    ("pushover_configs", None),
    ("rocketchat_configs", None),
    ("sns_configs", None),
    ("telegram_configs", None),
    ("victorops_configs", None),
    ("webex_configs", None),
    ("wechat_configs", None),
    ("googlechat_configs", None),
    ("hipchat_configs", None),
];
const TEXTS: &str = "burnwatch makes the texts of notifications itself";
const CONNECTION: &str = "settings of connections have no place in rules; headers can be given on a receiver";

/// Receivers while they are read.
pub struct Receivers<'a> {
    global: Node<'a>,
    /// Names here by the name in the source.
    names: BTreeMap<String, Vec<String>>,
    taken: BTreeSet<String>,
    secrets: BTreeSet<String>,
    /// Values that stand in the source once and in many receivers: one name is enough.
    shared: BTreeMap<String, String>,
    pub text: String,
    pub declared: usize,
}

/// A receiver under way.
struct Made {
    fields: Vec<(&'static str, String)>,
    notes: Vec<String>,
}

impl<'a> Receivers<'a> {
    /// `global` has what receivers do not say themselves.
    pub fn new(global: &Node<'a>) -> Receivers<'a> {
        Receivers {
            global: global.clone(),
            names: BTreeMap::new(),
            taken: BTreeSet::new(),
            secrets: BTreeSet::new(),
            shared: BTreeMap::new(),
            text: String::new(),
            declared: 0,
        }
    }

    /// What a receiver is called here; empty if it tells nobody.
    pub fn names(&self, name: &str) -> Option<Vec<String>> {
        self.names.get(name).cloned()
    }

    /// Declares a receiver for each of its integrations.
    pub fn add(&mut self, receiver: &Node<'_>) {
        let Some(name) = receiver.get("name").text() else {
            receiver.fault("a receiver has no name");
            receiver.needs("give it a name");
            return;
        };
        receiver.get("name").mapped("the name");
        receiver.get("labels").ignored("they are for queries of Alertmanager's own");
        let mut own = Vec::new();
        // A kind of a later Alertmanager is not spoken either, but its receiver still has to tell somebody.
        let entries = receiver.entries();
        let later = entries.iter().map(|(key, _)| key.as_str());
        let later = later.filter(|key| key.ends_with("_configs") && KINDS.iter().all(|(known, _)| known != key)).map(|key| (key, None));
        for (key, kind) in KINDS.into_iter().chain(later) {
            for config in receiver.get(key).items() {
                let suffix = key.trim_end_matches("_configs");
                let plain = std::iter::once(name.clone());
                let free = plain.chain(std::iter::once(format!("{name}-{suffix}"))).chain((2..).map(|n| format!("{name}-{suffix}-{n}")));
                let free = free.into_iter().find(|name| !self.taken.contains(name)).expect("numbers never end");
                self.taken.insert(free.clone());
                own.push(free.clone());
                self.declare(&free, suffix, kind, &config);
            }
        }
        if own.len() > 1 {
            self.text += &script::comment("", &format!("`{name}` has several integrations: {}", own.join(", ")));
            self.text.push('\n');
        }
        if self.names.insert(name.clone(), own).is_some() {
            receiver.fault(format!("there is another receiver `{name}`"));
        }
    }

    fn declare(&mut self, name: &str, suffix: &str, kind: Option<&str>, config: &Node<'_>) {
        let mut made = Made { fields: Vec::new(), notes: Vec::new() };
        for key in ["http_config", "tls_config"] {
            config.get(key).needs(CONNECTION);
        }
        let by_default = !matches!(suffix, "email" | "slack");
        let resolved = config.get("send_resolved");
        resolved.mapped("send_resolved");
        let told = resolved.flag().unwrap_or(by_default);
        match suffix {
            "webhook" => self.webhook(name, config, &mut made),
            "email" => mail::read(config, &mut made),
            "pagerduty" => self.pagerduty(name, config, &mut made),
            "opsgenie" => self.opsgenie(name, config, &mut made),
            "slack" => self.slack(name, config, &mut made),
            "msteams" | "msteamsv2" => self.teams(name, config, &mut made),
            "jira" => self.jira(name, config, &mut made),
            _ => {
                config.needs(format!("burnwatch does not speak {suffix}; let the secret be the address of something that does"));
                config.fault(format!("there is no receiver for {suffix}; a webhook in Alertmanager's format stands for it"));
                for (key, value) in self.global.entries() {
                    if key.starts_with(&format!("{suffix}_")) {
                        value.needs(format!("burnwatch does not speak {suffix}"));
                    }
                }
                made.notes.push(format!("burnwatch does not speak {suffix}: point this at something that takes Alertmanager's webhooks"));
                let secret = self.secret(&format!("{name}_URL"), None);
                made.fields.push(("url", secret));
            }
        }
        if !told {
            made.fields.push(("send_resolved", "false".to_owned()));
        }
        for note in &made.notes {
            self.text += &script::comment("", note);
        }
        let constructor = kind.unwrap_or("alertmanager_webhook");
        self.text += &format!("receiver({}, {constructor}({}));\n", script::quote(name), script::map(made.fields));
        self.declared += 1;
    }

    /// A secret by a name of its own; equal values of the source share one.
    fn secret(&mut self, wish: &str, value: Option<&str>) -> String {
        if let Some(known) = value.and_then(|value| self.shared.get(value)) {
            return format!("secret({})", script::quote(known));
        }
        let fine = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
        let mut name: String = wish.chars().map(fine).take(100).collect();
        if name.starts_with(|c: char| c.is_ascii_digit()) || name.starts_with("BURNWATCH_") {
            name = format!("AM_{name}");
        }
        let names = std::iter::once(name.clone()).chain((2..).map(|n| format!("{name}_{n}")));
        let name = names.into_iter().find(|name| !self.secrets.contains(name)).expect("numbers never end");
        self.secrets.insert(name.clone());
        if let Some(value) = value {
            self.shared.insert(value.to_owned(), name.clone());
        }
        format!("secret({})", script::quote(&name))
    }

    /// A confidential field of the receiver, or of `global`; also the path of a file that has it.
    fn confidential(&mut self, name: &str, config: &Node<'_>, key: &str, global: &str) -> Option<String> {
        let places =
            [config.get(key), config.get(&format!("{key}_file")), self.global.get(global), self.global.get(&format!("{global}_file"))];
        // The same may be given in two ways; one of them is taken.
        places[..2].iter().for_each(|node| node.ignored("another field says the same, and is taken"));
        let found = places.into_iter().find(|node| node.text().is_some_and(|text| !text.is_empty()))?;
        let value = found.text()?;
        let is_file = found.shown().ends_with("_file");
        let secret = self.secret(&format!("{name}_{key}"), Some(&value));
        let variable = secret.trim_start_matches("secret(\"").trim_end_matches("\")");
        if is_file {
            found.mapped(format!("set {variable}_FILE to the same path"));
        } else {
            found.mapped(format!("set {variable} to the value; it is not copied"));
        }
        Some(secret)
    }

    /// A setting that is no secret, of the receiver or of `global`.
    fn setting(&self, config: &Node<'_>, key: &str, global: &str) -> Option<String> {
        let node = [config.get(key), self.global.get(global)].into_iter().find(Node::is_there)?;
        node.mapped(key);
        node.text()
    }
}

/// Fields that say how a notification looks.
fn texts(config: &Node<'_>, keys: &[&str]) {
    for key in keys {
        config.get(key).ignored(TEXTS);
    }
}

fn timeout(config: &Node<'_>, made: &mut Made) {
    let node = config.get("timeout");
    let Some(text) = node.text() else { return };
    if text == "0s" {
        node.ignored("the usual timeout is kept");
        return;
    }
    match length(&text) {
        // More than two minutes is refused.
        Ok((span, _)) if span.millis() <= 120_000 => {
            node.mapped("timeout");
            made.fields.push(("timeout", script::quote(&span.to_string())));
        }
        Ok(_) | Err(_) => {
            node.fault(format!("`{text}` is no timeout of at most two minutes"));
            node.needs("give a timeout like 10s");
        }
    }
}

/// An address of a vendor, if it is not the usual one.
fn base(url: &str, usual: &str, made: &mut Made) {
    let url = url.trim_end_matches('/');
    if url != usual && url::Url::parse(url).is_ok_and(|url| url.host().is_some()) {
        made.fields.push(("base_url", script::quote(url)));
    }
}
