//! The tracker: Jira.

use super::super::super::document::Node;
use super::super::super::quantity::length;
use super::super::super::script;
use super::{Made, Receivers, texts};

impl Receivers<'_> {
    pub(super) fn jira(&mut self, name: &str, config: &Node<'_>, made: &mut Made) {
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
        let api = config.get("api_type");
        match api.text().as_deref() {
            Some("datacenter") => {
                api.needs("burnwatch speaks version 3 of the REST API, which Jira Data Center does not have");
                api.fault("there is no receiver for Jira Data Center");
            }
            _ => api.ignored("burnwatch speaks Jira Cloud's API"),
        }
        texts(config, &["summary", "description"]);
    }
}
