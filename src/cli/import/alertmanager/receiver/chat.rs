//! The chats: Slack and Microsoft Teams.

use super::super::super::document::Node;
use super::super::super::script;
use super::{Made, Receivers, base, texts, timeout};

impl Receivers<'_> {
    pub(super) fn slack(&mut self, name: &str, config: &Node<'_>, made: &mut Made) {
        let channel = config.get("channel");
        let own = |key: &str| config.get(key).is_there() || config.get(&format!("{key}_file")).is_there();
        config.get("app_url").ignored("only a token needs it");
        // A webhook of the receiver's own goes before a token for all.
        let global = if own("api_url") { "" } else { "slack_app_token" };
        if let Some(token) = self.confidential(name, config, "app_token", global) {
            made.fields.push(("token", token));
            if own("api_url") {
                config.fault("there is a token and a webhook; the token is taken");
                for key in ["api_url", "api_url_file"] {
                    config.get(key).ignored("the token is taken");
                }
            }
            if let Some(url) = self.setting(config, "app_url", "slack_app_url") {
                base(url.trim_end_matches("/api/chat.postMessage"), "https://slack.com", made);
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
        config.get("update_message").ignored("what a bot has posted is always kept up to date");
        timeout(config, made);
    }

    pub(super) fn teams(&mut self, name: &str, config: &Node<'_>, made: &mut Made) {
        let url = self.confidential(name, config, "webhook_url", "").unwrap_or_else(|| {
            config.fault("there is no webhook_url");
            self.secret(&format!("{name}_WEBHOOK_URL"), None)
        });
        made.fields.push(("url", url));
        texts(config, &["title", "summary", "text"]);
    }
}
