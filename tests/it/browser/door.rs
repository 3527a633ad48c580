//! Signing in: nobody sees anything before, and everybody lands where they wanted to go.

use sha2::Digest as _;

use super::stage::{Daemon, installed, pages};
use crate::chromium::Browser;

/// SHA-256 of `s3cret-of-mira`.
const TOKENS: &str = "tokens = [{ name = \"mira\", scopes = [\"operate\"], sha256 = \"@\" }]\n";

#[test]
fn who_is_not_signed_in_is_asked_to_and_then_led_on() {
    let Some(chromium) = installed() else { return };
    let hash: String = sha2::Sha256::digest(b"s3cret-of-mira").iter().map(|byte| format!("{byte:02x}")).collect();
    let daemon = Daemon::start_with(&TOKENS.replace('@', &hash));
    for path in pages("4127") {
        let request = format!("GET {path} HTTP/1.0\r\nHost: 127.0.0.1:{}\r\nAccept: text/html\r\n\r\n", daemon.port);
        let (head, body) = Daemon::raw(daemon.port, &request);
        let location = head.lines().find_map(|line| line.strip_prefix("location: ")).unwrap_or_default();
        // The first page is where one comes to anyway.
        let asked = if path == "/" { location == "/sign-in" } else { location.starts_with("/sign-in?next=") };
        assert!(head.starts_with("HTTP/1.0 303") && asked, "{path}: {head}");
        assert!(!body.contains("checkout-api"), "{path} tells nothing of the inside");
    }
    let mut browser = Browser::start(&chromium, daemon.port, &[]);
    browser.look(390, 844, false);
    browser.scripts(false);
    browser.open("/slos?state=firing");
    assert_eq!(browser.ask("location.pathname"), "/sign-in");
    assert_eq!(
        browser
            .ask("document.querySelectorAll('main form').length + ' ' + document.querySelectorAll('main input:not([type=hidden])').length"),
        "1 1"
    );
    browser.act("(() => { document.querySelector('[name=token]').value = 'wrong'; document.querySelector('main button').click() })()");
    let said = browser.ask("document.querySelector('[role=alert]').innerText");
    assert!(said.as_str().is_some_and(|said| said.contains("not known")), "{said}");
    browser.act(
        "(() => { document.querySelector('[name=token]').value = 's3cret-of-mira'; document.querySelector('main button').click() })()",
    );
    assert_eq!(browser.ask("location.pathname + location.search"), "/slos?state=firing", "a link of the night opens what it talks about");
    browser.open("/me");
    assert!(browser.ask("document.querySelector('h1').innerText").as_str().is_some_and(|name| name.contains("mira")));
    browser.act("document.querySelector('form[action=\"/sign-out\"] button').click()");
    assert_eq!(browser.ask("location.pathname"), "/sign-in");
}
