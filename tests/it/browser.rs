//! The pages in a real browser: the daemon as it is started, a shop that fails, and what a person does about it.
//!
//! Without Chromium these tests are left out and say so; `tests/run` installs it.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use burnwatch::clock::{Clock, SystemClock};
use burnwatch::domain::time::Span;
use serde_json::{Value, json};

use crate::chromium::{Browser, axe, chromium};

const RULES: &str = r#"
slo("checkout-api", #{
    description: "Requests to /api/checkout succeed", service: "shop", owner: "team-checkout",
    objective: 99.9, window: "30d", by: ["region"],
    sli: good("request", #{ app: "shop" }),
    alert: [page(#{ long: "5m", short: "1m", factor: 14.4 }), ticket(#{ long: "1h", short: "5m", factor: 6.0 })],
    runbook: "https://runbooks.example.com/checkout-api",
});
receiver("nobody", webhook(#{ url: "http://127.0.0.1:9/none" }));
route(#{ to: "nobody" });
"#;

/// The daemon in a folder of its own.
struct Daemon {
    child: Child,
    port: u16,
    intake: u16,
    _folder: tempfile::TempDir,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The start of this second, in milliseconds, by the clock that the daemon reads.
fn this_second() -> i64 {
    SystemClock.now().floor(Span::seconds(1)).millis()
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port()
}

impl Daemon {
    fn start() -> Daemon {
        let folder = tempfile::tempdir().expect("a folder");
        let (port, intake) = (free_port(), free_port());
        let config = format!(
            "[server]\nlisten = \"127.0.0.1:{port}\"\n[intake]\nlisten = \"127.0.0.1:{intake}\"\n[aggregation]\nbucket = \"1s\"\nsettle = \"1s\"\n"
        );
        std::fs::write(folder.path().join("burnwatch.toml"), config).expect("a config");
        std::fs::create_dir(folder.path().join("rules")).expect("a folder for rules");
        std::fs::write(folder.path().join("rules/shop.rhai"), RULES).expect("rules");
        let log = std::fs::File::create(folder.path().join("log")).expect("a log");
        let child = Command::new(env!("CARGO_BIN_EXE_burnwatch"))
            .arg("run")
            .current_dir(folder.path())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the daemon starts");
        let daemon = Daemon { child, port, intake, _folder: folder };
        daemon.wait("the daemon answers", |daemon| TcpStream::connect(("127.0.0.1", daemon.port)).is_ok());
        daemon
    }

    fn wait(&self, what: &str, mut done: impl FnMut(&Daemon) -> bool) {
        let until = Instant::now() + Duration::from_secs(90);
        while !done(self) {
            let log = std::fs::read_to_string(self._folder.path().join("log")).unwrap_or_default();
            assert!(Instant::now() < until, "not within 90 s: {what}\n{log}");
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// One request; status and body.
    fn send(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        Daemon::send_to(self.port, method, path, body)
    }

    fn send_to(port: u16, method: &str, path: &str, body: &str) -> (u16, String) {
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { return (0, String::new()) };
        let head = format!("{method} {path} HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\nContent-Length: {}\r\n\r\n", body.len());
        let sent = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes()));
        let mut answer = Vec::new();
        if sent.and_then(|()| stream.read_to_end(&mut answer)).is_err() {
            return (0, String::new());
        }
        let text = String::from_utf8_lossy(&answer).into_owned();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        (head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0), body.to_owned())
    }

    fn json(&self, path: &str) -> Value {
        serde_json::from_str(&self.send("GET", path, "").1).unwrap_or_default()
    }

    /// Requests of the last twenty minutes: from the fifth-last on, one region fails on a new release. One label is hostile.
    fn seed(&self) {
        self.seed_with("2.3.1");
    }

    fn seed_with(&self, release: &str) {
        let now = this_second();
        let mut rows = String::new();
        for second in (1..1_200_i64).rev() {
            let bad = second < 300;
            for (region, release, total) in
                [("eu-west", release, 40), ("us-east", "2.3.0", 160), ("<img src=x onerror=alert(1)>", "2.3.0", 3)]
            {
                let failed = if bad && region == "eu-west" { 20 } else { 0 };
                let row = json!({ "bucket": now - second * 1_000, "metric": "request", "total": total, "bad": failed,
                    "dims": { "app": "shop", "region": region, "release": release, "route": "/api/checkout", "device": "mobile" } });
                rows.push_str(&row.to_string());
                rows.push('\n');
            }
        }
        let (status, answer) = self.send("POST", "/v1/aggregates", &rows);
        assert_eq!(status, 200, "{answer}");
        let (status, answer) = self.send(
            "POST",
            "/v1/annotations",
            &json!({ "kind": "deploy", "app": "shop", "release": release, "text": "\"><script>alert(1)</script>", "at": now - 310_000 })
                .to_string(),
        );
        assert!((200..300).contains(&status), "{answer}");
    }

    /// Keeps the shop failing, so that there is always a fresh bucket.
    fn feed(&self) {
        self.feed_with("2.3.1");
    }

    fn feed_with(&self, release: &str) {
        let now = this_second();
        let dims = json!({ "app": "shop", "region": "eu-west", "release": release, "route": "/api/checkout", "device": "mobile" });
        let row = json!({ "bucket": now - 1_000, "metric": "request", "total": 200, "bad": 20, "dims": dims });
        self.send("POST", "/v1/aggregates", &row.to_string());
    }

    fn incident(&self) -> String {
        self.incident_with("2.3.1")
    }

    fn incident_with(&self, release: &str) -> String {
        let mut id = String::new();
        self.wait("an incident opens", |daemon| {
            daemon.feed_with(release);
            let found = daemon.json("/v1/incidents?status=open&status=acknowledged");
            id = found["items"][0]["id"].as_str().unwrap_or_default().to_owned();
            !id.is_empty()
        });
        id
    }
}

fn pages(id: &str) -> Vec<String> {
    let mut pages: Vec<String> = [
        "/",
        "/overview",
        "/incidents",
        "/slos",
        "/slos/checkout-api",
        "/slos/checkout-api?region=eu-west&range=6h",
        "/silences",
        "/silences/new?m=service%3Dshop&for=3d&confirm=1",
        "/rules",
        "/rules/checkout-api",
        "/rules/file/shop.rhai?line=2",
        "/health",
        "/reports/week/2026-11-19",
        "/changes",
        "/query",
        "/query?metric=request&by=region&show=share",
        "/notifications",
        "/deadletters",
        "/receivers",
        "/audit",
        "/me",
    ]
    .map(str::to_owned)
    .into();
    pages.extend(["", "/timeline", "/segments", "/snooze", "/resolve", "/assign"].map(|below| format!("/incidents/{id}{below}")));
    pages
}

#[test]
fn a_person_finds_their_way_on_every_screen_with_and_without_script() {
    let Some(chromium) = chromium() else {
        eprintln!("left out: chromium is not installed");
        return;
    };
    let daemon = Daemon::start();
    daemon.seed();
    let id = daemon.incident();
    let mut browser = Browser::start(&chromium, daemon.port, &[]);

    // Without script: everything is links and forms.
    browser.look(390, 844, false);
    browser.scripts(false);
    browser.open("/");
    browser.act(&format!("document.querySelector('main a[href=\"/incidents/{id}\"]').click()"));
    assert_eq!(browser.ask("location.pathname"), format!("/incidents/{id}"));
    let seen = browser.ask(
        "[...document.querySelectorAll('.answers>div, .dock .btn.primary')].map(e => e.getBoundingClientRect()).every(r => r.top >= 0 && r.top < innerHeight)",
    );
    assert_eq!(seen, true, "the five answers begin on the first screen of a phone, with the button below them");
    assert!(browser.ask("document.querySelector('.dock .btn.primary').offsetHeight").as_f64() >= Some(44.0));
    browser.act("document.querySelector('.dock form button').click()");
    assert!(browser.outcome().contains("Acknowledged"), "{}", browser.outcome());
    assert_eq!(daemon.json(&format!("/v1/incidents/{id}"))["status"], "acknowledged");
    browser.act("document.querySelector('#outcome form button').click()");
    assert!(browser.outcome().contains("taken back"), "{}", browser.outcome());
    assert_eq!(daemon.json(&format!("/v1/incidents/{id}"))["status"], "open");
    browser.act("document.querySelector('.dock form button').click()");
    browser.act("(() => { document.querySelector('form.note textarea').value = 'rolling back <b>now</b>'; document.querySelector('form.note button').click() })()");
    assert!(browser.outcome().contains("note is in the time line"));
    browser.act("document.querySelector('a[href^=\"/silences/new\"]').click()");
    browser.act("(() => { document.querySelector('#f').value = '2d'; document.querySelector('#c').value = 'known'; document.querySelector('form button.primary').click() })()");
    assert!(browser.ask("document.body.innerText").as_str().unwrap_or_default().contains("Are you sure?"), "two days are asked for twice");
    browser.act("document.querySelector('section[aria-labelledby=h-sure] button').click()");
    assert!(browser.outcome().contains("Silenced until"), "{}", browser.outcome());
    browser.act("document.querySelector('#outcome form button').click()");
    assert!(browser.outcome().contains("The silence is ended"), "{}", browser.outcome());
    let (status, export) = daemon.send("GET", &format!("/incidents/{id}/export.md"), "");
    assert_eq!(status, 200);
    assert!(export.contains("rolling back <b>now</b>") && export.contains("acknowledgement taken back"), "{export}");
    browser.scripts(true);

    // Every page, on every screen.
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
        let (status, html) = daemon.send("GET", &path, "");
        if status != 200 || html.len() + assets > 100 * 1024 {
            wrong.push(format!("{path}: status {status}, {} bytes with style and script", html.len() + assets));
        }
        browser.open(&path);
        for (width, height) in [(320, 640), (390, 844), (1280, 900)] {
            for dark in [false, true] {
                browser.look(width, height, dark);
                let wide = browser.ask("document.scrollingElement.scrollWidth - innerWidth").as_f64().unwrap_or(f64::NAN);
                if wide > 0.0 || wide.is_nan() {
                    let who = browser.ask("[...document.querySelectorAll('body *')].filter(e => e.getBoundingClientRect().right > innerWidth + 1).slice(0, 3).map(e => e.outerHTML.slice(0, 120)).join(' | ')");
                    wrong.push(format!("{path} at {width}: {wide} px too wide: {who}"));
                }
                if let Some(axe) = axe.as_ref().filter(|_| width != 320) {
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
        wrong.extend(browser.said.drain(..).map(|said| format!("{path} said {said}")));
    }
    assert!(wrong.is_empty(), "{} findings:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn with_script_keys_act_figures_follow_and_a_lost_connection_is_said() {
    let Some(chromium) = chromium() else {
        eprintln!("left out: chromium is not installed");
        return;
    };
    let mut daemon = Daemon::start();
    daemon.seed();
    let id = daemon.incident();
    let mut browser = Browser::start(&chromium, daemon.port, &[]);
    browser.look(1280, 900, false);
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
    browser.key_to("s");
    assert_eq!(browser.ask("location.pathname"), "/silences/new");
    browser.act("(() => { document.querySelector('#f').value = '1h'; document.querySelector('#c').value = 'known'; document.querySelector('button[formmethod=get]').click() })()");
    let seen = browser.ask("document.querySelector('section[aria-label=Preview]').innerText");
    assert!(seen.as_str().unwrap_or_default().contains("now"), "{seen}");
    assert_eq!(browser.ask("document.querySelector('#c').value"), "known", "the preview keeps what was typed");
    browser.act("document.querySelector('form button.primary').click()");
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

    browser.open("/");
    daemon.child.kill().expect("the daemon is there");
    daemon.child.wait().expect("the daemon ends");
    browser.wait("the strip says it", "document.querySelector('#live').textContent.startsWith('Connection lost')");
}

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
    let Some(chromium) = chromium() else {
        eprintln!("left out: chromium is not installed");
        return;
    };
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
}
