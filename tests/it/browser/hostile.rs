//! Texts of attackers stay texts: on every page, in exports, in what is mailed.

use serde_json::json;

use super::stage::{Daemon, installed, pages, this_second};
use crate::chromium::Browser;

/// Texts that would do something in a page, a template, a terminal or a reader's head.
fn hostile() -> Vec<String> {
    [
        "<script>window.pwned=1</script>{{7*7}}",
        "\"><img src=x onerror=\"window.pwned=1\">{{7*7}}",
        "'\"onmouseover=window.pwned=1 autofocus onfocus=window.pwned=1 x='{{7*7}}",
        "javascript:window.pwned=1//{{7*7}}",
        "</title></textarea></svg><svg onload=window.pwned=1>{{7*7}}",
        "${7*7}#{7*7}<%= 7*7 %>{{7*7}}",
        "\u{202e}gpj.exe\u{2066}\u{200b}{{7*7}}",
    ]
    .map(str::to_owned)
    .into_iter()
    .chain([format!("{{{{7*7}}}}{}", "W".repeat(10_000)), format!("{{{{7*7}}}}{}", "<b>".repeat(3_400))])
    .collect()
}

#[test]
fn hostile_texts_stay_texts_on_every_page() {
    let Some(chromium) = installed() else { return };
    let daemon = Daemon::start();
    let bad_release = "2.3.1<script>window.pwned=1</script>{{7*7}}";
    daemon.seed_with(bad_release);
    let now = this_second();
    for text in hostile() {
        let beacon = json!({
            "app": "shop", "release": text, "region": text, "device": text, "browser": text, "os": text, "environment": text,
            "page": format!("https://shop.example/{text}"), "user": text, "session": text, "id": format!("b-{text}"),
            "events": [
                { "kind": "page_view", "page": text },
                { "kind": "request", "path": text, "method": text, "status": 500, "value": 12, "trace": text },
                { "kind": "request", "url": text, "host": text, "status": 500, "value": 12 },
                { "kind": "js_error", "type": text, "message": text, "stack": text },
                { "kind": "step", "funnel": text, "step": text },
                { "kind": "interaction", "name": text, "value": 3 },
            ],
        });
        let (status, answer) = Daemon::send_to(daemon.intake, "POST", "/v1/rum?ack=durable", &beacon.to_string());
        assert_eq!(status, 202, "{answer}");
        let change = json!({ "kind": "deploy", "app": "shop", "release": text, "text": text, "url": text, "at": now - 320_000 });
        let (status, answer) = daemon.send("POST", "/v1/annotations", &change.to_string());
        assert!((200..500).contains(&status), "{status} {answer}");
        let silence = json!({ "matchers": [format!("release={text}")], "ends": now + 3_600_000, "author": text, "comment": text });
        let (status, answer) = daemon.send("POST", "/v1/silences", &silence.to_string());
        assert!((200..500).contains(&status), "{status} {answer}");
    }
    let id = daemon.incident_with(bad_release);
    for text in hostile() {
        daemon.send("POST", &format!("/v1/incidents/{id}/note"), &json!({ "text": text }).to_string());
    }
    let mut paths = pages(&id);
    let encoded = |text: &str| text.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
    for text in hostile().iter().take(7).map(|text| encoded(text)) {
        for place in [
            "/incidents?q=",
            "/incidents?service=",
            "/slos?q=",
            "/silences/new?m=service%3D",
            "/query?metric=",
            "/changes?app=",
            "/rules/",
            "/slos/",
            "/",
        ] {
            paths.push(format!("{place}{text}"));
        }
    }
    for list in ["notifications", "silences"] {
        for item in daemon.json(&format!("/v1/{list}"))["items"].as_array().into_iter().flatten().take(3) {
            paths.push(format!("/{list}/{}", item["id"].as_str().expect("an id")));
        }
    }
    for by in ["release", "region", "route", "device", "browser"] {
        paths.push(format!("/query?metric=request&by={by}&show=share"));
    }

    let mut browser = Browser::start(&chromium, daemon.port, &[]);
    browser.look(390, 844, false);
    let (mut wrong, mut shown) = (Vec::new(), 0);
    for path in paths {
        daemon.feed_with(bad_release);
        browser.open(&path);
        // What is missing answers 404, which the browser notes by itself.
        browser.said.retain(|said| !said.contains("the server responded with a status of 4"));
        wrong.extend(browser.said.drain(..).map(|said| format!("{path} said {said}")));
        let found = browser.ask(
            "[typeof window.pwned, document.querySelectorAll('script:not([src^=\"/assets/\"]), img, object, embed, base, b > b, [onload], [onerror], [onfocus], [onmouseover], a[href^=\"javascript\" i]').length, /[\\u202a-\\u202e\\u2066-\\u2069\\u200b]/.test(document.documentElement.outerHTML), document.scrollingElement.scrollWidth - innerWidth > 0].join(' ')",
        );
        if found != "undefined 0 false false" {
            wrong.push(format!("{path}: ran, nodes, direction, too wide: {found}"));
        }
        let text = browser.ask("document.body.innerText + [...document.querySelectorAll('input,textarea')].map(e => e.value).join(' ')");
        shown += usize::from(text.as_str().is_some_and(|text| text.contains("{{7*7}}")));
    }
    assert!(wrong.is_empty(), "{} findings:\n{}", wrong.len(), wrong.join("\n"));
    assert!(shown > 30, "the texts were shown on {shown} pages only, so little was tested");

    // Exports are read by other programs and people: quoted, and nothing in them turns the reading direction.
    let (_, markdown) = daemon.send("GET", &format!("/incidents/{id}/export.md"), "");
    let quoted = |line: &str, at: usize| line[..at].matches('`').count() % 2 == 1;
    for line in markdown.lines() {
        for bad in ["<script>", "<img", "<svg", "javascript:"] {
            let loose = line.match_indices(bad).find(|(at, _)| !quoted(line, *at));
            assert!(loose.is_none() || line.starts_with("    "), "`{bad}` stands unquoted in the export: {line}");
        }
    }
    assert!(!markdown.contains(['\u{202e}', '\u{2066}', '\u{200b}']), "the export turns the reading direction");
    let (_, exported) = daemon.send("GET", &format!("/incidents/{id}/export.json"), "");
    assert!(serde_json::from_str::<serde_json::Value>(&exported).is_ok(), "{exported}");
}
