//! `templates/NAME.j2`: words for messages, tried out when the folder is loaded.

use std::collections::BTreeMap;

use super::draft::Draft;
use crate::domain::rule::Place;
use crate::domain::template;

/// The template of this path, if it is one.
pub(super) fn name_of(path: &str) -> Option<&str> {
    path.strip_prefix("templates/")?.strip_suffix(".j2").filter(|name| !name.is_empty() && !name.contains('/'))
}

/// Declares every template of the folder and reports those that cannot be rendered.
pub(super) fn add(draft: &mut Draft, files: &BTreeMap<String, String>) {
    for (path, text) in files {
        let Some(name) = name_of(path) else { continue };
        let place = Place { path: path.clone(), line: 1, column: 1 };
        draft.declare("template", name, &place);
        match template::check(text) {
            Ok(()) => {
                draft.set.templates.insert(name.to_owned(), text.clone());
            }
            Err(error) => draft.problems.error(&Place { line: error.line, ..place }, error.message),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::rules::{Env, load};

    fn problems(files: &[(&str, &str)]) -> (bool, Vec<String>) {
        let files = files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
        let loaded = load(&files, &Env::defaults());
        (loaded.is_good(), loaded.problems.iter().map(ToString::to_string).collect())
    }

    const MAIL: &str = "receiver(\"mail\", email(#{ to: [\"a@example.com\"], template: \"mail\" }));\nroute(#{ to: [\"mail\"] });";

    #[test]
    fn a_receiver_names_a_template_of_the_folder() {
        let files = [("a.rhai", MAIL), ("templates/mail.j2", "{{ incident.title }}")];
        assert_eq!(problems(&files), (true, vec![]));
        let loaded = load(&files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect(), &Env::defaults());
        let set = loaded.set.unwrap();
        assert_eq!(set.receivers[0].template.as_deref(), Some("mail"));
        assert_eq!(set.templates["mail"], "{{ incident.title }}");
    }

    #[test]
    fn what_is_wrong_with_a_template_is_said_at_its_line() {
        let (good, found) = problems(&[("a.rhai", MAIL), ("templates/mail.j2", "a\n{{ incident.titel }}")]);
        assert!(!good && found.len() == 1 && found[0].starts_with("templates/mail.j2:2:1: error: "), "{found:?}");
        let (good, found) = problems(&[("a.rhai", MAIL), ("templates/mial.j2", "x")]);
        assert!(!good && found[0].contains("there is no template `mail`") && found[0].contains("mial"), "{found:?}");
        let (good, found) = problems(&[("a.rhai", "receiver(\"x\", webhook(#{ url: \"https://example.com\", template: \"mail\" }));")]);
        assert!(!good && found[0].contains("template"), "{found:?}");
    }

    #[test]
    fn those_that_call_back_have_a_secret_for_it() {
        let receiver = |kind: &str| format!("receiver(\"x\", {kind});\nroute(#{{ to: [\"x\"] }});");
        let fine = receiver("pagerduty(#{ routing_key: secret(\"K\"), callback_secret: secret(\"C\"), changes: true })");
        let (good, found) = problems(&[("a.rhai", &fine)]);
        assert!(good && found.iter().any(|text| text.contains("`C`")), "a secret without a value is warned of: {found:?}");
        let plain = receiver("github(#{ repo: \"a/b\", token: secret(\"K\"), callback_secret: \"in the open\" })");
        let (good, found) = problems(&[("a.rhai", &plain)]);
        assert!(good && found.iter().any(|text| text.contains("stands in the rules for everyone to read")), "{found:?}");
        let (good, _) = problems(&[("a.rhai", &receiver("email(#{ to: [\"a@example.com\"], callback_secret: secret(\"C\") })"))]);
        assert!(!good, "mail does not call back");
    }
}
