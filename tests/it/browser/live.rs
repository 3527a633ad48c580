//! A page that stays open: what is new is told, nothing moves, and a lost connection is said.

use serde_json::json;

use super::stage::{Stage, this_second};

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

/// Ids of the incidents that are shown, sorted.
const ROWS: &str = "[...document.querySelectorAll('.rows li a[href^=\"/incidents/\"]')].map(a => a.getAttribute('href').split('/')[2]).filter((id, i, all) => all.indexOf(id) === i).sort()";

#[test]
fn a_new_incident_is_told_at_once_and_no_row_moves() {
    let Some(Stage { mut daemon, id, mut browser }) = Stage::open(1280, 900) else { return };
    // Nobody can be told here, and burnwatch says so with an incident of its own. From then on only the shop opens any.
    daemon.wait("burnwatch's own incident is stored", |daemon| daemon.unresolved().len() > daemon.of_the_shop().len());
    // What is read of stored history is there before anything is measured.
    browser.open("/");
    browser.wait("history was read", "!/being read/i.test(document.body.innerText)");
    browser.open("/");
    browser.wait("it listens", "!document.querySelector('#live').dataset.lost && performance.getEntriesByType('resource').some(one => one.name.includes('/assets/'))");
    let shown = browser.ask(ROWS);
    assert_eq!(shown, json!(daemon.unresolved()));
    browser.ask(WATCH);

    // A second region fails: a second incident, and what is fed here can open no other one of the shop.
    let mut told = Vec::new();
    daemon.wait("a second incident is stored", |daemon| {
        daemon.feed();
        let dims = json!({ "app": "shop", "region": "us-east", "release": "2.3.0", "route": "/api/checkout", "device": "mobile" });
        let row = json!({ "bucket": this_second() - 1_000, "metric": "request", "total": 9_000, "bad": 6_000, "dims": dims });
        daemon.send("POST", "/v1/aggregates", &row.to_string());
        told = daemon.of_the_shop();
        // Looks from before it was stored do not count.
        browser.ask("if (!window.changed) window.looks = 0");
        told.len() > 1
    });
    assert!(told.len() == 2 && told.contains(&id), "{told:?} beside {id}");
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
    assert_eq!(browser.ask(ROWS), shown, "the row waits until it is asked for");
    // Asked for, it shows what `/v1` lists: nothing may have come or gone between the two looks at that.
    browser.act("document.querySelector('#updates').click()");
    let rows = loop {
        let before = daemon.unresolved();
        let rows = browser.ask(ROWS);
        if before == daemon.unresolved() {
            assert_eq!(rows, json!(before));
            break rows;
        }
        browser.open("/");
    };
    assert!(told.iter().all(|id| rows.as_array().is_some_and(|rows| rows.iter().any(|row| row == id))), "{told:?} in {rows}");
    assert!(browser.said.is_empty(), "{:?}", browser.said);

    // The stream is cut.
    daemon.child.kill().expect("the daemon is there");
    daemon.child.wait().expect("the daemon ends");
    browser.wait("the strip says it", "document.querySelector('#live').textContent.startsWith('Connection lost')");
    let said =
        browser.ask("document.querySelector('#live').textContent + ' ' + document.querySelector('.trust').classList.contains('bad')");
    assert!(said.as_str().is_some_and(|said| said.contains("; figures are of ") && said.ends_with("true")), "{said}");
}
