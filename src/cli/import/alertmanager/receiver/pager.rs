//! Webhooks, and the pagers: PagerDuty and Opsgenie.

use super::super::super::document::Node;
use super::super::super::script;
use super::{Made, Receivers, base, texts, timeout};

impl Receivers<'_> {
    pub(super) fn webhook(&mut self, name: &str, config: &Node<'_>, made: &mut Made) {
        let url = config.get("url");
        let is_template = url.text().is_some_and(|text| text.contains("{{"));
        let open = url.text().filter(|text| {
            url::Url::parse(text)
                .is_ok_and(|url| url.username().is_empty() && url.password().is_none() && url.query().is_none() && url.host().is_some())
        });
        match open {
            _ if is_template => {
                let secret = self.secret(&format!("{name}_URL"), None);
                url.needs("a template cannot stand here; let the secret be the address");
                url.fault("the address of the webhook is a template");
                made.fields.push(("url", secret));
            }
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
        let most = config.get("max_alerts");
        match most.text().as_deref() {
            Some("0") => most.ignored("no limit of its own; a notification lists 500 alerts at most"),
            _ => most.needs("a notification lists 500 alerts at most, and rules cannot set another number"),
        }
        config.get("payload").needs("the body is Alertmanager's own; a `webhook` receiver sends burnwatch's");
        timeout(config, made);
    }

    pub(super) fn pagerduty(&mut self, name: &str, config: &Node<'_>, made: &mut Made) {
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

    pub(super) fn opsgenie(&mut self, name: &str, config: &Node<'_>, made: &mut Made) {
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
            if responder.get("type").text().is_some_and(|kind| kind.eq_ignore_ascii_case("teams")) {
                responder.needs("`teams` is a word of Alertmanager's for several; write a responder of type team for each");
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
        for (key, list) in [("entity", false), ("source", false), ("note", false), ("actions", true)] {
            let node = config.get(key);
            let Some(text) = node.text().filter(|text| !text.is_empty()) else { continue };
            if text.contains("{{") {
                node.needs("a template cannot stand here");
                continue;
            }
            node.mapped(key);
            let parts: Vec<&str> = text.split(',').map(str::trim).filter(|part| !part.is_empty()).collect();
            made.fields.push((key, if list { script::list(&parts) } else { script::quote(&text) }));
        }
        let mut details = Vec::new();
        for (key, value) in config.get("details").entries() {
            match value.text().filter(|text| !text.contains("{{")) {
                Some(text) => {
                    value.mapped("details");
                    details.push((key, script::quote(&text)));
                }
                None => value.needs("a template cannot stand here; the labels of the incident are there anyway"),
            }
        }
        if !details.is_empty() {
            made.fields.push(("details", script::map(details.iter().map(|(key, value)| (key.as_str(), value.clone())))));
        }
        texts(config, &["message", "description"]);
        config.get("update_alerts").ignored("alerts are always kept up to date");
    }
}
