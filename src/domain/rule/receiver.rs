//! Where notifications go: one kind for each format.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Place;
use crate::domain::time::Span;

/// A text that stands in rules or is kept elsewhere under a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Field {
    Plain(String),
    /// `secret(NAME)`: looked up when it is used.
    Secret(String),
}

/// Where notifications go.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Receiver {
    pub name: String,
    pub place: Place,
    pub timeout: Span,
    pub send_resolved: bool,
    /// What the provider signs its calls back with (`POST /hooks/{receiver}`); without it they are refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub callback_secret: Option<Field>,
    /// Which of [`super::RuleSet::templates`] words its messages; without one they have the usual words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    pub kind: ReceiverKind,
}

impl Receiver {
    /// The names of the secrets that it uses.
    pub fn secrets(&self) -> Vec<String> {
        let mut names = self.kind.secrets();
        if let Some(Field::Secret(name)) = &self.callback_secret {
            names.push(name.clone());
        }
        names
    }
}

/// The formats that receivers speak, each with the fields of its format (WIRE).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum ReceiverKind {
    Webhook {
        url: Field,
        secret: Option<Field>,
        headers: BTreeMap<String, Field>,
    },
    Email {
        to: Vec<String>,
        cc: Vec<String>,
        reply_to: Option<String>,
    },
    Pagerduty {
        routing_key: Field,
        base_url: String,
        /// Whether deploys that are reported to us are told to it as change events.
        #[serde(default)]
        changes: bool,
    },
    Opsgenie {
        api_key: Field,
        base_url: String,
        options: BTreeMap<String, serde_json::Value>,
    },
    Slack {
        url: Option<Field>,
        token: Option<Field>,
        channel: Option<String>,
        base_url: String,
    },
    Teams {
        url: Field,
    },
    Jira {
        base_url: String,
        user: Option<Field>,
        token: Field,
        project: String,
        issue_type: String,
        options: BTreeMap<String, serde_json::Value>,
    },
    Github {
        base_url: String,
        token: Field,
        repo: String,
        labels: Vec<String>,
        options: BTreeMap<String, serde_json::Value>,
    },
    Servicenow {
        base_url: String,
        user: Option<Field>,
        password: Option<Field>,
        token: Option<Field>,
        options: BTreeMap<String, serde_json::Value>,
    },
    AlertmanagerWebhook {
        url: Field,
        headers: BTreeMap<String, Field>,
    },
    Action {
        url: Field,
        secret: Option<Field>,
        headers: BTreeMap<String, Field>,
        dry_run: bool,
        label: String,
    },
}

impl ReceiverKind {
    /// The constructor's name in rules.
    pub const fn name(&self) -> &'static str {
        match self {
            ReceiverKind::Webhook { .. } => "webhook",
            ReceiverKind::Email { .. } => "email",
            ReceiverKind::Pagerduty { .. } => "pagerduty",
            ReceiverKind::Opsgenie { .. } => "opsgenie",
            ReceiverKind::Slack { .. } => "slack",
            ReceiverKind::Teams { .. } => "teams",
            ReceiverKind::Jira { .. } => "jira",
            ReceiverKind::Github { .. } => "github",
            ReceiverKind::Servicenow { .. } => "servicenow",
            ReceiverKind::AlertmanagerWebhook { .. } => "alertmanager_webhook",
            ReceiverKind::Action { .. } => "action",
        }
    }
}

impl ReceiverKind {
    /// The names of the secrets that it uses.
    pub fn secrets(&self) -> Vec<String> {
        fn named<'a>(fields: impl IntoIterator<Item = &'a Field>) -> Vec<String> {
            let name = |field: &Field| match field {
                Field::Secret(name) => Some(name.clone()),
                Field::Plain(_) => None,
            };
            fields.into_iter().filter_map(name).collect()
        }
        match self {
            ReceiverKind::Webhook { url, secret, headers } | ReceiverKind::Action { url, secret, headers, .. } => {
                named([url].into_iter().chain(secret).chain(headers.values()))
            }
            ReceiverKind::Email { .. } => Vec::new(),
            ReceiverKind::Pagerduty { routing_key, .. } => named([routing_key]),
            ReceiverKind::Opsgenie { api_key, .. } => named([api_key]),
            ReceiverKind::Slack { url, token, .. } => named(url.iter().chain(token)),
            ReceiverKind::Teams { url } => named([url]),
            ReceiverKind::Jira { user, token, .. } => named(user.iter().chain([token])),
            ReceiverKind::Github { token, .. } => named([token]),
            ReceiverKind::Servicenow { user, password, token, .. } => named(user.iter().chain(password).chain(token)),
            ReceiverKind::AlertmanagerWebhook { url, headers } => named([url].into_iter().chain(headers.values())),
        }
    }
}
