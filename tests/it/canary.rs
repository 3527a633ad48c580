//! Secrets in every field of every protocol: none of them is found again, wherever one looks (R-14, R-18).

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use serde_json::{Value, json};

use super::daemon::{Daemon, Receiver, get, post, post_with};

const RULES: &str = r#"
    slo("api", #{ objective: 99.0, window: "1d", by: ["route"], sli: good("request"),
        alert: [ page(#{ long: "4s", short: "2s", factor: 1.0 }) ] });
    slo("errors", #{ objective: 99.0, window: "1d", by: ["release"], sli: good("js_error"),
        alert: [ page(#{ long: "4s", short: "2s", factor: 1.0 }) ] });
    receiver("hook", webhook(#{ url: "http://RECEIVER/" }));
    route(#{ to: ["hook"], group_wait: "0s" });
"#;

const MAIL: &str = "canary.leak@mail-canary.example";
const JWT: &str = "eyJhbGciOiJIUzI1NiJ9.eyJjYW5hcnkiOiJ5ZXMifQ.Y2FuYXJ5LXNpZ25hdHVyZQ";
const CARD: &str = "4111111111111111";
const CARD_IN_GROUPS: &str = "4111 1111 1111 1111";
const PHONE: &str = "+49 170 7654321";
const SECRET: &str = "canary9f3k2secret";
/// Where the beacons say that they come from.
const ADDRESS: &str = "203.0.113.77";

/// What must not be found, of each canary the part that tells it.
const NEVER: [&str; 9] = [
    "canary.leak",
    "mail-canary.example",
    "eyJjYW5hcnkiOiJ5ZXMifQ",
    "Y2FuYXJ5LXNpZ25hdHVyZQ",
    CARD,
    CARD_IN_GROUPS,
    "170 7654321",
    SECRET,
    ADDRESS,
];

/// A field with canaries beside and in place of what stood there.
fn poisoned(original: &str) -> [String; 4] {
    [
        format!("{original} {MAIL} {JWT} {CARD_IN_GROUPS} {PHONE}"),
        format!("{original}?email={MAIL}&token={SECRET}&card={CARD}#access_token={SECRET}"),
        JWT.to_owned(),
        CARD.to_owned(),
    ]
}

/// Every text in a document, by its path.
fn texts(value: &Value, path: &str, out: &mut Vec<String>) {
    match value {
        Value::String(_) => out.push(path.to_owned()),
        Value::Array(items) => items.iter().enumerate().for_each(|(at, item)| texts(item, &format!("{path}/{at}"), out)),
        Value::Object(fields) => {
            for (name, field) in fields {
                texts(field, &format!("{path}/{}", name.replace('~', "~0").replace('/', "~1")), out);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// A field, whichever of equal list items it stands in.
fn kind(path: &str) -> String {
    path.split('/').map(|part| if part.bytes().all(|byte| byte.is_ascii_digit()) { "*" } else { part }).collect::<Vec<_>>().join("/")
}

/// Sends a body again and again, each time with canaries in another one of its texts. `lines` are documents, one a line.
fn poison(daemon: &Daemon, path: &str, lines: &[&str], known: &mut std::collections::BTreeSet<String>) -> usize {
    let documents: Vec<Value> = lines.iter().map(|line| serde_json::from_str(line).expect("a capture is JSON")).collect();
    let mut sent = 0;
    for (at, document) in documents.iter().enumerate() {
        let mut fields = Vec::new();
        texts(document, "", &mut fields);
        for field in fields {
            // Of attributes that are written as lists of names and values each name is a field of its own.
            let name = field.rsplit_once("/value/").and_then(|(owner, _)| document.pointer(&format!("{owner}/key"))).map(Value::to_string);
            if !known.insert(format!("{path} {} {}", kind(&field), name.unwrap_or_default())) {
                continue;
            }
            let original = document.pointer(&field).and_then(Value::as_str).expect("a text").to_owned();
            for text in poisoned(&original) {
                let mut changed = documents.clone();
                *changed[at].pointer_mut(&field).expect("it was there") = Value::String(text);
                let body = changed.iter().map(Value::to_string).collect::<Vec<_>>().join("\n");
                let (status, answer) = post(daemon.intake, path, &body).expect("it answers");
                assert!(status < 500, "{status} {answer}");
                no_canary(&format!("the answer of {path} to {field}"), answer.as_bytes());
                sent += 1;
            }
        }
    }
    sent
}

/// What was found, so that one run names all leaks.
static FOUND: Mutex<BTreeMap<String, String>> = Mutex::new(BTreeMap::new());

fn no_canary(place: &str, bytes: &[u8]) {
    for canary in NEVER {
        if let Some(at) = bytes.windows(canary.len()).position(|window| window.eq_ignore_ascii_case(canary.as_bytes())) {
            let around = &bytes[at.saturating_sub(120)..(at + canary.len() + 80).min(bytes.len())];
            let mut found = FOUND.lock().expect("nobody panics with it");
            found.entry(format!("`{canary}` is in {place}")).or_insert_with(|| String::from_utf8_lossy(around).into_owned());
        }
    }
}

fn captures(name: &str, ending: &str) -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/captures").join(name);
    let mut paths: Vec<_> = std::fs::read_dir(folder).expect("captures").map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    let meant = |path: &Path| path.to_string_lossy().ends_with(ending) && !path.to_string_lossy().ends_with(".meta.json");
    paths.iter().filter(|path| meant(path)).map(|path| std::fs::read_to_string(path).expect("a capture")).collect()
}

#[test]
fn no_canary_of_any_field_is_found_again() {
    let receiver = Receiver::start();
    let mut daemon =
        Daemon::new("[aggregation]\nbucket = \"1s\"\nsettle = \"200ms\"\n", &RULES.replace("RECEIVER", &receiver.address.to_string()));
    daemon.start();
    let mut known = std::collections::BTreeSet::new();
    let mut sent = Vec::new();
    for (folder, path) in [
        ("faro", "/collect"),
        ("otlp-logs", "/v1/logs"),
        ("otlp-traces", "/v1/traces"),
        ("otlp-metrics", "/v1/metrics"),
        ("reporting-api", "/v1/reports?app=shop"),
    ] {
        sent.push(captures(folder, ".json").iter().map(|body| poison(&daemon, path, &[body], &mut known)).sum::<usize>());
    }
    let envelopes = captures("sentry", ".envelope");
    let send = |body: &String| {
        let lines: Vec<&str> = body.lines().filter(|line| !line.is_empty()).collect();
        poison(&daemon, "/api/1/envelope/?sentry_key=demokey", &lines, &mut known)
    };
    sent.push(envelopes.iter().map(send).sum());
    let ours = json!({
        "app": "shop", "environment": "production", "release": "1.4.0", "region": "de", "device": "phone", "browser": "chrome",
        "os": "linux", "cohort": "a", "sdk": "own", "session": "s-1", "user": "u-1", "page": "/cart", "id": "b-1", "consent": "all",
        "flags": { "new_checkout": "on" }, "user_agent": "Mozilla/5.0",
        "events": [
            { "kind": "page_view", "page": "/cart", "nav": "hard" },
            { "kind": "web_vital", "name": "LCP", "value": 1000, "id": "v1", "rating": "good", "navigationType": "navigate" },
            { "kind": "request", "path": "/api/cart", "host": "api.example.com", "method": "GET", "status": 500,
              "trace": "4bf92f3577b34da6a3ce929d0e0e4736" },
            { "kind": "request", "url": "https://api.example.com/api/cart/7", "status": 200 },
            { "kind": "js_error", "type": "TypeError", "message": "x is undefined", "stack": "at f (https://shop.example/a.js:1:2)" },
            { "kind": "crash", "message": "killed", "stack": "at g" },
            { "kind": "interaction", "name": "buy", "value": 12 },
            { "kind": "session", "crashed": false },
            { "kind": "step", "funnel": "checkout", "step": "pay", "ok": true },
            { "kind": "custom", "name": "cart_size", "value": 3 },
        ],
    })
    .to_string();
    sent.push(poison(&daemon, "/v1/rum", &[&ours], &mut known));
    let old = json!({
        "event_id": "fc6d8c0c43fc4630ad850ee518f1b9d0", "project": "1", "logger": "javascript", "platform": "javascript", "level": "error",
        "release": "shop@1.4.0", "environment": "production", "transaction": "/cart", "culprit": "app.js", "message": "no",
        "sdk": { "name": "raven-js", "version": "3.27.2" }, "timestamp": "2026-11-22T15:00:00Z",
        "request": { "url": "https://shop.example/cart", "headers": { "User-Agent": "Mozilla/5.0", "Referer": "https://a.example/" } },
        "user": { "id": "u-1", "email": "a@b.example", "username": "ada", "ip_address": "192.0.2.1" },
        "tags": { "new_checkout": "on", "session": "s-1" }, "extra": { "cart": "full" },
        "contexts": { "browser": { "name": "Chrome" }, "os": { "name": "Linux" }, "trace": { "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736" } },
        "breadcrumbs": { "values": [{ "category": "xhr", "message": "GET /api" }] },
        "exception": { "values": [{ "type": "TypeError", "value": "x is undefined",
            "stacktrace": { "frames": [{ "function": "pay", "filename": "https://shop.example/a.js", "module": "m" }] } }] },
    });
    sent.push(poison(&daemon, "/api/1/store/?sentry_key=demokey", &[&old.to_string()], &mut known));
    assert!(sent.iter().all(|sent| *sent >= 40), "each protocol has its fields: {sent:?}");

    // In what is around the body: addresses, cookies, keys, agents.
    for text in poisoned("x") {
        let coded = text.replace(' ', "%20").replace('#', "%23");
        let headers = format!(
            "x-forwarded-for: {ADDRESS}\r\nuser-agent: {text}\r\ncookie: session={text}\r\nreferer: https://a.example/{coded}\r\n\
             cf-ipcountry: {text}\r\nx-api-key: {text}\r\nidempotency-key: {text}\r\nauthorization: Bearer {text}\r\n"
        );
        for path in ["/v1/rum", "/collect", "/v1/logs", "/v1/reports", "/api/1/envelope/", "/api/1/store/"] {
            for place in [path.to_owned(), format!("{path}?key={coded}&app={coded}&release={coded}"), format!("{path}/{coded}")] {
                let (status, answer) = post_with(daemon.intake, &place, &headers, &ours).expect("it answers");
                assert!(status < 500, "{status} {answer}");
                no_canary(&format!("the answer of {path}"), answer.as_bytes());
            }
        }
    }

    std::thread::sleep(Duration::from_secs(4));
    let notified = receiver.got();
    assert!(!notified.is_empty(), "something failed and was told:\n{}", daemon.log());
    for got in notified {
        no_canary("a notification", got.payload.to_string().as_bytes());
    }
    let mut answers = Vec::new();
    for path in
        ["/", "/incidents", "/slos", "/rules", "/explore", "/health", "/v1/incidents", "/v1/slos", "/v1/alerts", "/metrics", "/v1/audit"]
    {
        if let Some((200, body)) = get(daemon.admin, path) {
            no_canary(path, body.as_bytes());
            answers.push(path);
        }
    }
    assert!(answers.len() >= 8, "{answers:?}");
    for metric in ["page_view", "request", "js_error", "crash", "interaction", "session", "step"] {
        for by in ["app", "route", "release", "cohort", "region", "browser", "environment"] {
            let (_, body) = post(daemon.admin, "/v1/query", &json!({ "metric": metric, "by": [by] }).to_string()).expect("it answers");
            no_canary(&format!("a query of {metric} by {by}"), body.as_bytes());
        }
    }
    daemon.kill();
    no_canary("the log", daemon.log().as_bytes());
    let mut files = Vec::new();
    daemon.files(&mut files);
    assert!(files.iter().any(|(path, _)| path.to_string_lossy().ends_with("-wal")), "a killed daemon leaves its journal behind");
    for (path, bytes) in files {
        no_canary(&path.display().to_string(), &bytes);
    }
    let found = FOUND.lock().expect("nobody panics with it");
    assert!(found.is_empty(), "{found:#?}");
}
