//! What holds on every page: its weight, its seal, its shape, on every screen, in both themes, for eyes and for readers of screens.

use serde_json::{Value, json};

use super::stage::{Daemon, Stage, pages};
use crate::chromium::{Browser, axe};

/// Exactly ours, on every page.
const CSP: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// What a page's structure lacks.
const SHAPE: &str = r"(() => {
    const wrong = [], all = (selector) => [...document.querySelectorAll(selector)];
    if (document.documentElement.lang !== 'en') wrong.push('no language');
    if (all('h1').length !== 1) wrong.push(all('h1').length + ' h1');
    for (const landmark of ['header', 'nav', 'main', 'footer']) if (!all(landmark).length) wrong.push('no ' + landmark);
    let level = 0;
    for (const heading of all('h1,h2,h3,h4')) {
        const now = Number(heading.tagName[1]);
        if (now > level + 1) wrong.push('a heading skips a level: ' + heading.textContent);
        level = now;
    }
    if (!document.title.endsWith(' · burnwatch') || document.title.length < 14) wrong.push('title ' + document.title);
    for (const flag of all('.flag')) if (!flag.querySelector('svg') || !flag.textContent.trim()) wrong.push('a state without word or shape: ' + flag.outerHTML);
    for (const cell of all('.h-page,.h-ticket')) if (!cell.querySelector('svg')) wrong.push('a cell with colour alone');
    for (const time of all('time')) if (!/Z$/.test(time.dateTime) || isNaN(new Date(time.dateTime))) wrong.push('a time without UTC: ' + time.outerHTML);
    return wrong;
})()";

fn found(browser: &mut Browser, expression: &str) -> Vec<String> {
    let found = browser.ask(expression);
    found.as_array().into_iter().flatten().map(|one| one.as_str().map_or_else(|| one.to_string(), str::to_owned)).collect()
}

/// What of the head or the text would let something foreign in.
fn sealed(head: &str, html: &str) -> impl Iterator<Item = String> {
    let header = |name: &str| {
        let line = head.lines().find(|line| line.to_ascii_lowercase().starts_with(&format!("{name}:")));
        line.map_or("", |line| line[name.len() + 1..].trim()).to_owned()
    };
    let expected = [
        ("content-security-policy", CSP),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("cache-control", "no-store"),
    ];
    let mut wrong: Vec<String> = expected
        .into_iter()
        .filter(|(name, value)| header(name) != *value)
        .map(|(name, _)| format!("{name} is {:?}", header(name)))
        .collect();
    for bad in [" style=\"", "<style", "<script>", "<base", " onclick=", " src=\"http", "url(http"] {
        if html.contains(bad) {
            wrong.push(format!("{bad} in its text"));
        }
    }
    wrong.into_iter()
}

/// With a wide font nothing is cut off or scrolls sideways either.
fn wide(browser: &mut Browser) -> Vec<String> {
    browser.ask("(() => { const sheet = new CSSStyleSheet(); sheet.replaceSync('*{font-family:\"DejaVu Sans Mono\",monospace!important;letter-spacing:.06em!important}'); document.adoptedStyleSheets = [sheet]; })()");
    let mut wrong = Vec::new();
    for width in [320, 360, 390, 1280] {
        browser.look(width, 800, false);
        let over = browser.ask("document.scrollingElement.scrollWidth - innerWidth").as_f64().unwrap_or(f64::NAN);
        if over > 0.0 || over.is_nan() {
            let who = browser.ask("[...document.querySelectorAll('body *')].filter(e => e.getBoundingClientRect().right > innerWidth + 1).slice(0, 2).map(e => e.outerHTML.slice(0, 120)).join(' | ')");
            wrong.push(format!("{over} px too wide at {width} with a wide font: {who}"));
        }
    }
    wrong
}

#[test]
fn every_page_holds_on_every_screen() {
    let Some(Stage { daemon, id, mut browser }) = Stage::open(1280, 900) else { return };
    let assets: usize = {
        browser.open("/");
        let links = browser.ask("[...document.querySelectorAll('link[rel=stylesheet]')].map(e => e.getAttribute('href')).concat([...document.scripts].map(e => e.getAttribute('src')))");
        links.as_array().expect("links").iter().map(|link| daemon.send("GET", link.as_str().expect("a path"), "").1.len()).sum()
    };
    let axe = axe();
    if axe.is_none() {
        eprintln!("left out: axe-core is not in the cache; tests/run fetches it");
    }
    let mut wrong: Vec<String> = Vec::new();
    browser.said.clear();
    for path in pages(&id) {
        daemon.feed();
        let (head, html) = Daemon::exchange(daemon.port, "GET", &path, "");
        if !head.starts_with("HTTP/1.0 200") || html.len() + assets > 100 * 1024 {
            wrong.push(format!("{path}: {}, {} bytes with style and script", head.lines().next().unwrap_or_default(), html.len() + assets));
        }
        wrong.extend(sealed(&head, &html).map(|what| format!("{path}: {what}")));
        browser.open(&path);
        wrong.extend(found(&mut browser, SHAPE).into_iter().map(|what| format!("{path}: {what}")));
        for (width, height) in [(320, 640), (360, 740), (390, 844), (1280, 900)] {
            for dark in [false, true] {
                browser.look(width, height, dark);
                let over = browser.ask("document.scrollingElement.scrollWidth - innerWidth").as_f64().unwrap_or(f64::NAN);
                if over > 0.0 || over.is_nan() {
                    let who = browser.ask("[...document.querySelectorAll('body *')].filter(e => e.getBoundingClientRect().right > innerWidth + 1).slice(0, 3).map(e => e.outerHTML.slice(0, 120)).join(' | ')");
                    wrong.push(format!("{path} at {width}: {over} px too wide: {who}"));
                }
                if let Some(axe) = axe.as_ref().filter(|_| matches!(width, 390 | 1280)) {
                    if browser.ask("typeof axe") == "undefined" {
                        browser.post("Runtime.evaluate", json!({ "expression": axe }));
                    }
                    let found = browser.ask(
                        "axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa'] }).then(r => r.passes.length < 5 ? ['nothing was checked'] : r.violations.map(v => v.id + ': ' + v.nodes.slice(0, 3).map(n => n.html.slice(0, 160)).join(' | ')))",
                    );
                    for one in found.as_array().into_iter().flatten() {
                        wrong.push(format!("{path} at {width}{}: axe {one}", if dark { ", dark" } else { "" }));
                    }
                }
            }
        }
        wrong.extend(wide(&mut browser).into_iter().map(|what| format!("{path}: {what}")));
        wrong.extend(browser.said.drain(..).map(|said| format!("{path} said {said}")));
    }
    assert!(wrong.is_empty(), "{} findings:\n{}", wrong.len(), wrong.join("\n"));

    // Unknown things are said to be unknown, with a way back.
    for path in [
        "/incidents/nobody",
        "/slos/nothing",
        "/silences/none",
        "/rules/none",
        "/notifications/none",
        "/nowhere",
        "/reports/year/2026-01-01",
    ] {
        let request = format!("GET {path} HTTP/1.0\r\nHost: 127.0.0.1:{}\r\nAccept: text/html\r\n\r\n", daemon.port);
        let (head, html) = Daemon::raw(daemon.port, &request);
        assert!(head.starts_with("HTTP/1.0 404") && html.contains("href=\"/\"") && html.contains("<h1>"), "{path}: {head}");
    }
}

#[test]
fn gaps_zones_and_forced_colours() {
    let Some(Stage { id, mut browser, daemon: _daemon }) = Stage::open(1280, 900) else { return };

    // Three minutes in which nothing was measured: hatched, said, and nowhere a number.
    browser.open("/slos/checkout-api?range=1h");
    let gap = browser.ask(
        "(() => { const chart = [...document.querySelectorAll('svg.chart')].find(svg => svg.querySelector('.long')); const hatched = chart.querySelectorAll('rect[fill^=\"url(#\"]').length; const cells = [...document.querySelectorAll('td')].filter(td => td.textContent === 'not measured').length; const pieces = chart.querySelector('.short').getAttribute('d').split('M').length - 1; return hatched + ' ' + (cells > 0) + ' ' + (pieces > 1) })()",
    );
    assert!(
        gap.as_str().is_some_and(|gap| !gap.starts_with('0') && gap.ends_with("true true")),
        "hatched, said in the table, and a broken line: {gap}"
    );

    // The same page in another zone, but for titles and ends that a person chooses.
    let pages = ["/overview".to_owned(), format!("/incidents/{id}"), "/silences/new?m=service%3Dshop".to_owned()];
    for path in pages {
        for zone in ["Asia/Tokyo", "America/Los_Angeles"] {
            browser.call("Emulation.setTimezoneOverride", json!({ "timezoneId": zone }));
            browser.open(&path);
            let title = browser.ask("document.querySelector('time').title");
            assert!(title.as_str().is_some_and(|title| title.ends_with(&format!("in {zone}"))), "{path}: {title}");
            let utc = browser.ask("[...document.querySelectorAll('main time')].every(time => time.textContent.includes(time.dateTime.slice(11, 16)) || / \\d{4}$|^\\d+ \\w+$/.test(time.textContent))");
            assert_eq!(utc, true, "{path}: the words of a time are those of UTC");
        }
    }
    browser.call("Emulation.setTimezoneOverride", json!({ "timezoneId": "" }));

    // Forced colours: the shape and the word of a state stay, and can be told from what is behind them.
    browser.call("Emulation.setEmulatedMedia", json!({ "features": [{ "name": "forced-colors", "value": "active" }] }));
    for path in ["/".to_owned(), "/overview".to_owned(), "/slos/checkout-api".to_owned(), format!("/incidents/{id}")] {
        browser.open(&path);
        assert_eq!(browser.ask("matchMedia('(forced-colors: active)').matches"), true);
        let lost: Value = browser.ask(
            "[...document.querySelectorAll('.flag')].filter(flag => flag.offsetParent).filter(flag => { const svg = flag.querySelector('svg'); const box = svg.getBoundingClientRect(); const drawn = svg.firstElementChild, ink = getComputedStyle(drawn); const colour = ink.fill !== 'none' ? ink.fill : ink.stroke; let behind = flag; while (behind && /, 0\\)$|transparent/.test(getComputedStyle(behind).backgroundColor)) behind = behind.parentElement; return box.width < 8 || !flag.textContent.trim() || (behind && getComputedStyle(behind).backgroundColor === colour) }).map(flag => flag.outerHTML)",
        );
        assert_eq!(lost, json!([]), "{path}");
        assert!(browser.ask("document.querySelectorAll('.flag').length").as_u64() > Some(0), "{path} shows states");
    }
}
