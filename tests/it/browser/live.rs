//! A page that stays open: what is new is told, nothing moves, and a lost connection is said.

use serde_json::json;

use super::stage::{Daemon, this_second};
use crate::chromium::{Browser, chromium};

/// Looks of the page at itself within which the count has to follow what is stored. Buckets of one second are evaluated, and
/// pages told, once a second; one look may be under way when the incident is stored.
const LOOKS_MAX: u64 = 3;

/// Notes where everything stands, when the count of open incidents changed, and everything that shifts.
const WATCH: &str = r"(() => {
    window.shift = 0;
    new PerformanceObserver((list) => { for (const entry of list.getEntries()) window.shift += entry.value; }).observe({ type: 'layout-shift', buffered: false });
    window.places = () => [...document.querySelectorAll('main h1, main .rows li, main section')].map(e => e.id + ' ' + Math.round(e.getBoundingClientRect().top)).join();
    window.before = window.places();
    window.count = () => document.querySelector('.nav .count').textContent;
    window.counted = window.count();
    window.looks = 0;
    const real = window.fetch;
    window.fetch = (...asked) => { window.looks += 1; return real(...asked); };
    new MutationObserver(() => { if (!window.changed && window.count() !== window.counted) window.changed = Math.max(1, window.looks); }).observe(document.body, { subtree: true, childList: true, characterData: true });
})()";

#[test]
fn a_new_incident_is_told_at_once_and_no_row_moves() {
    let Some(chromium) = chromium() else {
        eprintln!("left out: chromium is not installed");
        return;
    };
    let mut daemon = Daemon::start();
    daemon.seed();
    daemon.incident();
    let mut browser = Browser::start(&chromium, daemon.port, &[]);
    browser.look(1280, 900, false);
    // What is read of stored history is there before anything is measured.
    browser.open("/");
    browser.wait("history was read", "!/being read/i.test(document.body.innerText)");
    browser.open("/");
    browser.wait("it listens", "!document.querySelector('#live').dataset.lost && performance.getEntriesByType('resource').some(one => one.name.includes('/assets/'))");
    browser.ask(WATCH);

    // A second region fails: a second incident.
    daemon.wait("a second incident is stored", |daemon| {
        daemon.feed();
        let dims = json!({ "app": "shop", "region": "us-east", "release": "2.3.0", "route": "/api/checkout", "device": "mobile" });
        let row = json!({ "bucket": this_second() - 1_000, "metric": "request", "total": 9_000, "bad": 6_000, "dims": dims });
        daemon.send("POST", "/v1/aggregates", &row.to_string());
        let listed = daemon.json("/v1/incidents?status=open&status=acknowledged");
        // Looks from before it was stored do not count.
        browser.ask("if (!window.changed) window.looks = 0");
        listed["items"].as_array().is_some_and(|all| all.len() > 1)
    });
    browser.wait("the count follows", "window.changed > 0");
    let looks = browser.ask("window.changed").as_u64().expect("a count");
    assert!(looks <= LOOKS_MAX, "the count followed after {looks} looks");
    browser.wait("the strip offers it", "!document.querySelector('#updates').hidden");
    assert!(
        browser
            .ask("document.querySelector('#updates').textContent")
            .as_str()
            .is_some_and(|text| text.contains("update") && text.contains("show"))
    );
    assert_eq!(browser.ask("window.places()"), browser.ask("window.before"), "no row moved");
    assert_eq!(browser.ask("window.shift"), 0, "nothing shifted");
    assert_eq!(browser.ask("document.querySelectorAll('.rows li').length"), 1, "the row waits until it is asked for");
    browser.act("document.querySelector('#updates').click()");
    assert_eq!(browser.ask("document.querySelectorAll('.rows li').length"), 2);
    assert!(browser.said.is_empty(), "{:?}", browser.said);

    // The stream is cut.
    daemon.child.kill().expect("the daemon is there");
    daemon.child.wait().expect("the daemon ends");
    browser.wait("the strip says it", "document.querySelector('#live').textContent.startsWith('Connection lost')");
    let said =
        browser.ask("document.querySelector('#live').textContent + ' ' + document.querySelector('.trust').classList.contains('bad')");
    assert!(said.as_str().is_some_and(|said| said.contains("; figures are of ") && said.ends_with("true")), "{said}");
}
