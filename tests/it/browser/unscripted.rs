//! Without script: everything is links and forms, on a phone.

use super::stage::{Daemon, Stage};
use crate::chromium::Browser;

/// Sets fields by their selectors, in a form that a person fills in, and presses its button.
fn fill(browser: &mut Browser, fields: &[(&str, &str)], button: &str) {
    let set: String = fields.iter().map(|(field, value)| format!("document.querySelector('{field}').value = {value:?};")).collect();
    browser.act(&format!("(() => {{ {set} document.querySelector('{button}').click() }})()"));
}

fn text(browser: &mut Browser) -> String {
    browser.ask("document.body.innerText").as_str().unwrap_or_default().to_owned()
}

#[test]
fn a_person_finds_their_way_without_script() {
    let Some(Stage { daemon, id, mut browser }) = Stage::open(390, 844) else { return };
    let status = |daemon: &Daemon| daemon.json(&format!("/v1/incidents/{id}"))["status"].clone();
    browser.scripts(false);
    browser.open("/");
    browser.act(&format!("document.querySelector('main a[href=\"/incidents/{id}\"]').click()"));
    assert_eq!(browser.ask("location.pathname"), format!("/incidents/{id}"));
    let seen = browser.ask(
        "(() => { const dock = document.querySelector('.dock').getBoundingClientRect(); return [...document.querySelectorAll('.answers>div')].map(e => e.getBoundingClientRect()).filter(r => r.top >= 0 && r.bottom <= dock.top + 1).length + ' ' + (dock.bottom <= innerHeight) })()",
    );
    assert_eq!(seen, "5 true", "the five answers stand on the first screen of a phone, with the button below them");
    assert!(browser.ask("document.querySelector('.dock .btn.primary').offsetHeight").as_f64() >= Some(44.0));

    browser.act("document.querySelector('.dock form button').click()");
    assert!(browser.outcome().contains("Acknowledged"), "{}", browser.outcome());
    assert_eq!(status(&daemon), "acknowledged");
    browser.act("document.querySelector('#outcome form button').click()");
    assert!(browser.outcome().contains("taken back"), "{}", browser.outcome());
    assert_eq!(status(&daemon), "open");
    browser.act("document.querySelector('.dock form button').click()");
    fill(&mut browser, &[("form.note textarea", "rolling back <b>now</b>")], "form.note button");
    assert!(browser.outcome().contains("note is in the time line"));

    // Snoozed, and woken again.
    browser.act(&format!("document.querySelector('main a[href=\"/incidents/{id}/snooze\"]').click()"));
    browser.act("document.querySelector('main form button').click()");
    assert!(browser.outcome().contains("Snoozed until"), "{}", browser.outcome());
    browser.act("document.querySelector('#outcome form button').click()");
    assert!(browser.outcome().contains("snooze is ended"), "{}", browser.outcome());

    // Handed over and made quieter.
    browser.act(&format!("document.querySelector('main a[href=\"/incidents/{id}/assign\"]').click()"));
    fill(&mut browser, &[("input[name=owner]", "team-payments")], "form[action$=\"/owner\"] button");
    assert!(browser.outcome().contains("team-payments"), "{}", browser.outcome());
    assert_eq!(daemon.json(&format!("/v1/incidents/{id}"))["owner"], "team-payments");

    // A silence: a row more, a preview, and since it lasts long, once more before it is made.
    browser.act("document.querySelector('a[href^=\"/silences/new\"]').click()");
    let rows = browser.ask("document.querySelectorAll('.matcher').length").as_u64().expect("rows");
    browser.act("document.querySelector('button[name=add]').click()");
    assert_eq!(browser.ask("document.querySelectorAll('.matcher').length"), rows + 1);
    daemon.feed();
    let set = format!(
        "document.querySelector('[name=n{rows}]').value = 'severity'; document.querySelector('[name=o{rows}]').value = '!='; \
         document.querySelector('[name=v{rows}]').value = 'info'; document.querySelector('#f').value = '2d'; \
         document.querySelector('#c').value = 'known'; document.querySelector('[name=for][value=typed]').checked = true;"
    );
    browser.act(&format!("(() => {{ {set} document.querySelector('.actions [formmethod=get]').click() }})()"));
    let shown = text(&mut browser);
    assert!(shown.contains("Over the last 30 days it would have hidden") && shown.contains("stays open"), "{shown}");
    let kept = browser.ask(&format!(
        "['n{rows}', 'o{rows}', 'v{rows}', 'typed', 'comment'].map(name => document.querySelector('[name=' + name + ']').value).join(' ')"
    ));
    assert_eq!(kept, "severity != info 2d known", "the preview keeps what was typed");
    browser.act("document.querySelector('form.silence .primary').click()");
    assert!(text(&mut browser).contains("Are you sure?"), "two days are asked for twice");
    browser.act("document.querySelector('section[aria-labelledby=h-sure] button').click()");
    assert!(browser.outcome().contains("Silenced until"), "{}", browser.outcome());
    let stored = daemon.json("/v1/silences");
    assert!(stored["items"][0]["matchers"].as_array().is_some_and(|all| all.iter().any(|one| one == "severity!=info")), "{stored}");
    browser.act("document.querySelector('main td form button').click()");
    assert!(browser.outcome().contains("The silence is ended"), "{}", browser.outcome());

    // What gave up is sent again.
    daemon.wait("a delivery gives up", |daemon| daemon.json("/v1/deadletters")["items"].as_array().is_some_and(|all| !all.is_empty()));
    browser.open("/deadletters");
    browser.act("document.querySelector('main form[action$=\"/replay\"] button').click()");
    assert!(browser.outcome().contains("on its way again") || browser.outcome().contains("on their way again"), "{}", browser.outcome());

    // Resolved, and exported.
    browser.open(&format!("/incidents/{id}/resolve"));
    browser.act("document.querySelector('main form button').click()");
    assert!(browser.outcome().contains("Resolved"), "{}", browser.outcome());
    assert_eq!(status(&daemon), "resolved");
    let link = browser.ask("document.querySelector('main a[href$=\"export.md\"]').getAttribute('href')");
    let (status, export) = daemon.send("GET", link.as_str().expect("a path"), "");
    assert_eq!(status, 200);
    for part in ["rolling back <b>now</b>", "acknowledgement taken back", "team-payments", "resolved", "## Gaps"] {
        assert!(export.contains(part), "{part} in {export}");
    }
}
