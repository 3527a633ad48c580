//! Alertmanager's receivers. A key or a secret address is named, never copied: rules say `secret("NAME")`.

use std::collections::{BTreeMap, BTreeSet};

use super::document::Node;
use super::quantity::length;
use super::script;

/// Integrations and what they are here; `None` for those that burnwatch does not speak.
const KINDS: [(&str, Option<&str>); 20] = [
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
        let mut own = Vec::new();
        for (key, kind) in KINDS {
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
            "email" => email(config, &mut made),
            "pagerduty" => self.pagerduty(name, config, &mut made),
            "opsgenie" => self.opsgenie(name, config, &mut made),
            "slack" => self.slack(name, config, &mut made),
            "msteams" | "msteamsv2" => self.teams(name, config, &mut made),
            "jira" => self.jira(name, config, &mut made),
            _ => {
                config.needs(format!("burnwatch does not speak {suffix}; let the secret be the address of something that does"));
                config.fault(format!("there is no receiver for {suffix}; a webhook in Alertmanager's format stands for it"));
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

    fn webhook(&mut self, name: &str, config: &Node<'_>, made: &mut Made) {
        let url = config.get("url");
        let open = url.text().filter(|text| {
            url::Url::parse(text)
                .is_ok_and(|url| url.username().is_empty() && url.password().is_none() && url.query().is_none() && url.host().is_some())
        });
        match open {
            Some(text) => {
                url.mapped("url");
                made.fields.push(("url", script::quote(&text)));
            }
            None => {
                let secret = self.confidential(name, config, "url", "").unwrap_or_else(|| {
                    config.fault("the webhook has no url");
                    self.secret(&format!("{name}_URL"), None)
                });
                made.fields.push(("url", secret));
            }
        }
        config.get("max_alerts").needs("the number of alerts in a notification is not limited by rules");
        timeout(config, made);
    }

    fn pagerduty(&mut self, name: &str, config: &Node<'_>, made: &mut Made) {
        for key in ["service_key", "service_key_file"] {
            config.get(key).needs("keys of the old API do not work; make an Events v2 integration and set its routing key");
        }
        let key = self.confidential(name, config, "routing_key", "").unwrap_or_else(|| {
            config.fault("there is no routing_key of Events v2");
            self.secret(&format!("{name}_ROUTING_KEY"), None)
        });
        made.fields.push(("routing_key", key));
        if let Some(url) = self.setting(config, "url", "pagerduty_url") {
            base(url.trim_end_matches("/v2/enqueue"), "https://events.pagerduty.com", made);
        }
        texts(
            config,
            &["client", "client_url", "description", "severity", "details", "images", "links", "source", "component", "group", "class"],
        );
        timeout(config, made);
    }

    fn opsgenie(&mut self, name: &str, config: &Node<'_>, made: &mut Made) {
        let key = self.confidential(name, config, "api_key", "opsgenie_api_key").unwrap_or_else(|| {
            config.fault("there is no api_key");
            self.secret(&format!("{name}_API_KEY"), None)
        });
        made.fields.push(("api_key", key));
        if let Some(url) = self.setting(config, "api_url", "opsgenie_api_url") {
            base(&url, "https://api.opsgenie.com", made);
        }
        let priority = config.get("priority");
        match priority.text() {
            Some(text) if ["P1", "P2", "P3", "P4", "P5"].contains(&text.as_str()) => {
                priority.mapped("priority");
                made.fields.push(("priority", script::quote(&text)));
            }
            _ => priority.needs("a template cannot stand here; give P1 to P5"),
        }
        let tags = config.get("tags");
        match tags.text() {
            Some(text) if !text.contains("{{") => {
                tags.mapped("tags");
                let tags: Vec<&str> = text.split(',').map(str::trim).filter(|tag| !tag.is_empty()).collect();
                made.fields.push(("tags", script::list(&tags)));
            }
            _ => tags.needs("a template cannot stand here"),
        }
        let mut responders = Vec::new();
        for responder in config.get("responders").items() {
            let entries = responder.entries();
            if entries.iter().any(|(_, value)| value.text().is_none_or(|text| text.contains("{{"))) {
                responder.needs("a template cannot stand here");
                continue;
            }
            responder.mapped("responders");
            let entries: Vec<(&str, String)> =
                entries.iter().map(|(key, value)| (key.as_str(), script::quote(&value.text().unwrap_or_default()))).collect();
            responders.push(script::map(entries));
        }
        if !responders.is_empty() {
            made.fields.push(("responders", format!("[{}]", responders.join(", "))));
        }
        texts(config, &["message", "description", "source", "details", "note", "entity", "actions"]);
        config.get("update_alerts").ignored("alerts are always kept up to date");
    }

    fn slack(&mut self, name: &str, config: &Node<'_>, made: &mut Made) {
        let channel = config.get("channel");
        if let Some(token) = self.confidential(name, config, "app_token", "slack_app_token") {
            made.fields.push(("token", token));
            if config.get("api_url").is_there() || self.global.get("slack_api_url").is_there() {
                config.fault("there is a token and a webhook; the token is taken");
            }
            if !channel.is_there() {
                config.fault("a token needs a channel");
                made.fields.push(("channel", script::quote("#alerts")));
            }
        } else {
            let url = self.confidential(name, config, "api_url", "slack_api_url").unwrap_or_else(|| {
                config.fault("there is neither api_url nor app_token");
                self.secret(&format!("{name}_API_URL"), None)
            });
            made.fields.push(("url", url));
        }
        if let Some(text) = channel.text() {
            channel.mapped("channel");
            made.fields.push(("channel", script::quote(&text)));
        }
        let look = [
            "username",
            "color",
            "title",
            "title_link",
            "pretext",
            "text",
            "fields",
            "short_fields",
            "footer",
            "fallback",
            "callback_id",
            "icon_emoji",
            "icon_url",
            "image_url",
            "thumb_url",
            "link_names",
            "mrkdwn_in",
            "actions",
            "message_text",
        ];
        texts(config, &look);
        timeout(config, made);
    }

    fn teams(&mut self, name: &str, config: &Node<'_>, made: &mut Made) {
        let url = self.confidential(name, config, "webhook_url", "").unwrap_or_else(|| {
            config.fault("there is no webhook_url");
            self.secret(&format!("{name}_WEBHOOK_URL"), None)
        });
        made.fields.push(("url", url));
        texts(config, &["title", "summary", "text"]);
    }

    fn jira(&mut self, name: &str, config: &Node<'_>, made: &mut Made) {
        let url = self.setting(config, "api_url", "jira_api_url").unwrap_or_default();
        let site = url.split("/rest/").next().unwrap_or_default().to_owned();
        if url::Url::parse(&site).is_ok_and(|url| url.host().is_some()) {
            made.fields.push(("base_url", script::quote(&site)));
        } else {
            config.fault("there is no api_url of Jira");
            made.fields.push(("base_url", script::quote("https://jira.invalid")));
        }
        let auth = config.get("http_config").get("basic_auth");
        let user = auth.get("username");
        if let Some(text) = user.text() {
            user.mapped("user");
            made.fields.push(("user", script::quote(&text)));
        }
        let bearer = config.get("http_config").get("authorization");
        let token = match (auth.is_there(), bearer.is_there()) {
            (true, _) => self.confidential(name, &auth, "password", ""),
            (false, true) => self.confidential(name, &bearer, "credentials", ""),
            (false, false) => None,
        };
        let token = token.unwrap_or_else(|| self.secret(&format!("{name}_TOKEN"), None));
        made.fields.push(("token", token));
        for (key, default) in [("project", "PROJECT"), ("issue_type", "Task")] {
            let node = config.get(key);
            let fine = node.text().filter(|text| !text.is_empty() && !text.contains("{{"));
            match &fine {
                Some(_) => node.mapped(key),
                None => {
                    config.fault(format!("`{key}` is a template or missing; `{default}` stands for it"));
                    node.needs(format!("give the {key}"));
                }
            }
            made.fields.push((key, script::quote(&fine.unwrap_or_else(|| default.to_owned()))));
        }
        let labels: Vec<String> =
            config.get("labels").items().iter().filter_map(Node::text).filter(|label| !label.contains("{{")).collect();
        config.get("labels").mapped("labels");
        for label in config.get("labels").items().iter().filter(|label| label.text().is_some_and(|text| text.contains("{{"))) {
            label.needs("a template cannot stand here");
        }
        if !labels.is_empty() {
            made.fields.push(("labels", script::list(&labels)));
        }
        for key in ["resolve_transition", "reopen_transition", "wont_fix_resolution", "priority"] {
            let node = config.get(key);
            match node.text() {
                Some(text) if !text.contains("{{") => {
                    node.mapped(key);
                    made.fields.push((key, script::quote(&text)));
                }
                _ => node.needs("a template cannot stand here"),
            }
        }
        let within = config.get("reopen_duration");
        if let Some(Ok((span, _))) = within.text().map(|text| length(&text)) {
            within.mapped("reopen_within");
            made.fields.push(("reopen_within", script::quote(&span.to_string())));
        }
        config.get("fields").needs("give the fields of your project in `fields`");
        config.get("custom_fields").needs("give the fields of your project in `fields`");
        config.get("api_type").ignored("burnwatch finds out which Jira it talks to by its address");
        texts(config, &["summary", "description"]);
    }
}

fn email(config: &Node<'_>, made: &mut Made) {
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
