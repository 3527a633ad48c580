//! With script: keys act, figures follow, times are local too.

use super::stage::{Daemon, Stage};

#[test]
fn with_script_keys_act_and_figures_follow() {
    let Some(Stage { daemon, id, mut browser }) = Stage::open(1280, 900) else { return };
    let status = |daemon: &Daemon| daemon.json(&format!("/v1/incidents/{id}"))["status"].clone();

    // From the list by keys alone.
    browser.open("/");
    browser.key("j");
    browser.wait("a row has the focus", "document.activeElement.matches('[data-row] a')");
    browser.key_to("Enter");
    assert_eq!(browser.ask("location.pathname"), format!("/incidents/{id}"));
    assert_eq!(
        browser.ask("[...document.querySelectorAll('time')].every(t => t.dateTime.endsWith('Z') && t.title.includes(' in '))"),
        true
    );
    browser.key("?");
    browser.wait("the help is open", "document.querySelector('#keys').open");
    browser.ask("document.querySelector('#keys').close()");

    // Acknowledge, take it back; the outcome has the focus.
    browser.key_to("a");
    assert!(browser.outcome().contains("Acknowledged"), "{}", browser.outcome());
    assert_eq!(browser.ask("document.activeElement.id"), "outcome");
    assert_eq!(status(&daemon), "acknowledged");
    browser.act("document.querySelector('#outcome form button').click()");
    assert_eq!(status(&daemon), "open");

    // Somebody else acknowledges: this page follows, and nothing is loaded anew.
    browser.ask("window.mark = 1");
    let (answer, text) = daemon.send("POST", &format!("/v1/incidents/{id}/ack"), "{}");
    assert_eq!(answer, 200, "{text}");
    browser.wait(
        "the page follows",
        "/acknowledged by/i.test(document.querySelector('main').innerText) || !document.querySelector('#updates').hidden",
    );
    assert_eq!(browser.ask("window.mark"), 1);

    // A note, a silence with its preview and its end.
    browser.key("n");
    browser.wait("the note has the focus", "document.activeElement.matches('form.note textarea')");
    browser.type_in("rolled back <i>by hand</i>");
    browser.act("document.querySelector('form.note button').click()");
    assert!(browser.outcome().contains("note is in the time line"), "{}", browser.outcome());
    assert_eq!(browser.ask("document.querySelectorAll('main i').length"), 0);
    browser.call("Emulation.setTimezoneOverride", serde_json::json!({ "timezoneId": "Asia/Tokyo" }));
    browser.key_to("s");
    assert_eq!(browser.ask("location.pathname"), "/silences/new");
    browser.act("(() => { document.querySelector('[name=for][value=\"1h\"]').click(); document.querySelector('#c').value = 'known'; document.querySelector('.actions [formmethod=get]').click() })()");
    let seen = browser.ask("document.querySelector('section[aria-label=Preview]').innerText");
    assert!(seen.as_str().unwrap_or_default().contains("now"), "{seen}");
    assert_eq!(browser.ask("document.querySelector('#c').value"), "known", "the preview keeps what was typed");
    assert_eq!(
        browser.ask("[...document.querySelectorAll('[data-end]')].every(end => / UTC, .* in /.test(end.textContent))"),
        true,
        "every end that a person chooses has the local time beside it"
    );
    browser.act("document.querySelector('form.silence .primary').click()");
    assert!(browser.outcome().contains("Silenced until"), "{}", browser.outcome());
    browser.act("document.querySelector('#outcome form button').click()");
    assert!(browser.outcome().contains("The silence is ended"), "{}", browser.outcome());

    // Resolve asks why.
    browser.open(&format!("/incidents/{id}/resolve"));
    browser.act("(document.querySelector('main form input[type=radio]')?.click(), document.querySelector('main form button').click())");
    assert!(!browser.outcome().is_empty() && status(&daemon) == "resolved", "{}: {}", browser.outcome(), status(&daemon));
    let (_, export) = daemon.send("GET", &format!("/incidents/{id}/export.md"), "");
    assert!(export.contains("rolled back") && export.contains("resolved"), "{export}");

    // `g` and a letter lead anywhere; typing in a field is no command.
    browser.key("g");
    browser.key_to("o");
    assert_eq!(browser.ask("location.pathname"), "/overview");
    browser.open("/incidents");
    browser.key("/");
    browser.wait("the search has the focus", "document.activeElement.matches('input[type=search]')");
    browser.key("a");
    // A key is on its way for a moment.
    browser.wait("the letter stands in the field", "document.activeElement.value + location.pathname === 'a/incidents'");
    assert!(browser.said.is_empty(), "{:?}", browser.said);
}
