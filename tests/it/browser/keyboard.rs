//! Keyboard alone: everything that matters is reached in the order of the document, and the focus is seen.

use super::stage::Stage;
use crate::chromium::Browser;

/// Whether the focus is somewhere and drawn: an outline that is wide enough, on something that has a place on the screen.
const SEEN: &str = "(() => { const at = document.activeElement, box = at.getBoundingClientRect(), style = getComputedStyle(at); return at !== document.body && box.width > 0 && box.height > 0 && style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2 })()";

/// Notes of each move of the focus whether it went forward. It is judged as it happens: what had the focus may be drawn anew afterwards.
const FOLLOW: &str = r"(() => {
    if (window.moved !== undefined) return;
    addEventListener('focusin', (event) => {
        const from = event.relatedTarget;
        window.moved = !from || from.compareDocumentPosition(event.target) & Node.DOCUMENT_POSITION_FOLLOWING ? 'forward' : 'backward';
    });
})()";

/// Presses Tab until the focus is on what this expression says; fails if the focus ever is not seen or goes backwards.
fn tab_to(browser: &mut Browser, what: &str, there: &str) {
    browser.ask(FOLLOW);
    for _ in 0..60 {
        browser.ask("window.moved = null");
        browser.key("Tab");
        browser.wait("the focus moves", "window.moved !== null");
        assert_eq!(browser.ask(SEEN), true, "the focus on {} is not seen", browser.ask("document.activeElement.outerHTML.slice(0, 160)"));
        let at = browser.ask("document.activeElement.outerHTML.slice(0, 160)");
        assert_eq!(browser.ask("window.moved"), "forward", "the order is that of the document: {at}");
        if browser.ask(there) == true {
            return;
        }
    }
    panic!("{what} is not reached by Tab");
}

#[test]
fn everything_is_reached_by_keyboard_alone() {
    let Some(Stage { daemon, id, mut browser }) = Stage::open(390, 844) else { return };

    // The skip link comes first and leads to the content.
    browser.open("/");
    tab_to(&mut browser, "the skip link", "document.activeElement.matches('.skip')");
    browser.key("Enter");
    browser.wait("it leads to the content", "location.hash === '#main'");

    // The menu of a phone opens, and its links follow.
    browser.open("/");
    tab_to(&mut browser, "the menu", "document.activeElement.matches('.menu summary')");
    browser.key("Enter");
    browser.wait("the menu is open", "document.querySelector('.menu').open");
    tab_to(&mut browser, "a link of the menu", "document.activeElement.matches('.menu a[href=\"/slos\"]')");
    browser.key_to("Enter");
    assert_eq!(browser.ask("location.pathname"), "/slos");

    // From the list into the incident, and acknowledged.
    browser.open("/");
    tab_to(&mut browser, "the incident", &format!("document.activeElement.matches('main a[href=\"/incidents/{id}\"]')"));
    browser.key_to("Enter");
    tab_to(&mut browser, "the way to silence", "document.activeElement.matches('main a[href^=\"/silences/new\"]')");
    tab_to(
        &mut browser,
        "the button to acknowledge",
        "document.activeElement.matches('.dock button') && /Acknowledge/.test(document.activeElement.textContent)",
    );
    browser.key_to("Enter");
    assert!(browser.outcome().contains("Acknowledged"), "{}", browser.outcome());
    assert_eq!(browser.ask("document.activeElement.id"), "outcome", "after an action the focus is on what came of it");

    // The form of a silence, field by field.
    browser.open(&format!("/silences/new?incident={id}"));
    tab_to(&mut browser, "the label", "document.activeElement.name === 'n0'");
    tab_to(&mut browser, "the comparison", "document.activeElement.name === 'o0'");
    tab_to(&mut browser, "the value", "document.activeElement.name === 'v0'");
    tab_to(&mut browser, "a further row", "document.activeElement.name === 'add'");
    tab_to(&mut browser, "the length", "document.activeElement.name === 'for'");
    tab_to(&mut browser, "the reason", "document.activeElement.name === 'comment'");
    browser.type_in("known");
    tab_to(
        &mut browser,
        "the preview",
        "document.activeElement.matches('.actions button') && document.activeElement.textContent === 'Preview'",
    );
    tab_to(&mut browser, "the button", "document.activeElement.matches('.actions .primary')");
    browser.key_to("Enter");
    assert!(browser.outcome().contains("Silenced until"), "{}", browser.outcome());
    let made = daemon.json("/v1/silences");
    assert_eq!(made["items"][0]["comment"], "known", "{made}");
}
