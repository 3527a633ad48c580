//! Attacks on the doors, one by one as RELIABILITY lists them, against the running program.

use std::process::Command;
use std::time::{Duration, Instant};

use burnwatch::clock::{Clock, SystemClock};
use burnwatch::domain::time::{Span, Timestamp};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::daemon::{Daemon, ask, get, post, post_with};
use super::peers::MailServer;

const QUIET: &str =
    "receiver(\"hook\", webhook(#{ url: \"http://127.0.0.1:9/\" }));\nroute(#{ to: [\"hook\"], group_by: [\"alertname\"] });\n";
const MAIL: &str = "receiver(\"mail\", email(#{ to: [\"ada@example.com\"] }));\nroute(#{ to: [\"mail\"], group_by: [\"alertname\"] });\n";

fn alert(daemon: &Daemon, name: &str, headers: &str) {
    let body = json!([{ "labels": { "alertname": name, "severity": "page" }, "endsAt": "2999-01-01T00:00:00Z" }]).to_string();
    let (status, answer) = post_with(daemon.admin, "/api/v2/alerts", headers, &body).expect("it answers");
    assert_eq!(status, 200, "{answer}");
}

fn wait<T>(daemon: &Daemon, what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(began.elapsed() < Duration::from_secs(30), "no {what}:\n{}", daemon.log());
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn in_an_hour() -> Timestamp {
    SystemClock.now() + Span::HOUR
}

fn incidents(daemon: &Daemon) -> Vec<Value> {
    let (_, body) = get(daemon.admin, "/v1/incidents").expect("it answers");
    serde_json::from_str::<Value>(&body).expect("JSON")["items"].as_array().expect("a list").clone()
}

#[test]
fn r8_without_tokens_nobody_but_this_machine_is_served() {
    let folder = tempfile::tempdir().expect("a folder");
    for open in ["0.0.0.0:0", "[::]:0", "192.0.2.1:9320"] {
        let output = Command::new(env!("CARGO_BIN_EXE_burnwatch"))
            .arg("run")
            .current_dir(folder.path())
            .env("BURNWATCH_SERVER__LISTEN", open)
            .output()
            .expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{open}: {said}");
        assert!(said.contains("tokens"), "it says what to do: {said}");
    }
}

#[test]
fn r8_guesses_are_slowed_down_and_scopes_hold() {
    let (read, operate) = ("a-reading-token-of-good-length", "an-operating-token-of-good-length");
    let hash = |secret: &str| hex::encode(Sha256::digest(secret));
    let tokens = [("viewer", "read", read), ("operator", "operate", operate)].map(|(name, scope, secret)| {
        format!("[[server.tokens]]\nname = \"{name}\"\nscopes = [\"{scope}\"]\nsha256 = \"{}\"\n", hash(secret))
    });
    let mut daemon = Daemon::new(&tokens.concat(), QUIET);
    daemon.start();
    let bearer = |secret: &str| format!("authorization: Bearer {secret}\r\n");
    let silence = json!({ "matchers": ["a=b"], "ends": in_an_hour(), "author": "eve", "comment": "x" }).to_string();
    let made = |headers: &str| post_with(daemon.admin, "/v1/silences", headers, &silence).expect("it answers").0;
    assert_eq!(made(""), 401);
    assert_eq!(made(&bearer(read)), 403, "reading is not operating");
    assert_eq!(made(&bearer(&hash(operate))), 401, "what is stored opens nothing");
    assert_eq!(made(&format!("authorization: Basic {operate}\r\n")), 401);
    assert_eq!(made(&format!("authorization: Bearer {operate}x\r\n")), 401);
    assert!((200..300).contains(&made(&bearer(operate))));
    let replay = |headers: &str| post_with(daemon.admin, "/v1/deadletters/none/replay", headers, "").expect("it answers").0;
    assert_eq!(replay(&bearer(read)), 403);
    let mut tried = 0;
    let limited = loop {
        tried += 1;
        let (status, answer) = ask(
            daemon.admin,
            &format!("GET /v1/slos HTTP/1.1\r\nhost: {}\r\n{}connection: close\r\n\r\n", daemon.admin, bearer(&format!("guess-{tried}"))),
        )
        .expect("it answers");
        if status == 429 {
            break answer;
        }
        assert_eq!(status, 401);
        assert!(tried < 100, "a hundred guesses from one address are let through");
    };
    assert!(!limited.contains("guess-"), "what was guessed is not repeated: {limited}");
    assert!(!daemon.log().contains("guess-"), "{}", daemon.log());
}

/// Everything that changes something, with a body that would do it.
fn doors(id: &str) -> Vec<(String, String)> {
    let silence = json!({ "matchers": ["alertname=one"], "ends": in_an_hour(), "author": "eve", "comment": "x" });
    let matcher = json!({ "name": "alertname", "value": "one", "isRegex": false, "isEqual": true });
    let theirs = json!({ "matchers": [matcher], "startsAt": "2026-01-01T00:00:00Z", "endsAt": in_an_hour(),
        "createdBy": "eve", "comment": "x" });
    let row = json!([{ "bucket": "2026-11-01T00:00:00Z", "metric": "request", "dims": { "app": "x" }, "total": 1 }]);
    let mut doors = vec![
        ("/v1/silences".to_owned(), silence.to_string()),
        ("/v1/annotations".to_owned(), json!({ "kind": "deploy", "app": "shop", "release": "1" }).to_string()),
        ("/v1/aggregates".to_owned(), row.to_string()),
        ("/v1/receivers/hook/test".to_owned(), "{}".to_owned()),
        ("/api/v2/silences".to_owned(), theirs.to_string()),
        ("/api/v2/alerts".to_owned(), json!([{ "labels": { "alertname": "forged" } }]).to_string()),
        ("/silences/new".to_owned(), "matchers=alertname%3Done&for=1h&comment=x".to_owned()),
    ];
    for action in ["ack", "resolve", "snooze", "note", "owner", "severity"] {
        let body = json!({ "text": "x", "why": "x", "for": "1h", "owner": "eve", "severity": "info" });
        doors.push((format!("/v1/incidents/{id}/{action}"), body.to_string()));
        doors.push((format!("/incidents/{id}/{action}"), "text=x&why=x&for=1h&owner=eve&severity=info".to_owned()));
    }
    doors
}

#[test]
fn r9_a_page_of_another_site_changes_nothing_and_get_never_does() {
    let mut daemon = Daemon::new("", QUIET);
    daemon.start();
    alert(&daemon, "one", "");
    let id = wait(&daemon, "incident", || incidents(&daemon).first().map(|one| one["id"].as_str().expect("an id").to_owned()));
    let world = || -> Vec<String> {
        let strip = |path: &str| get(daemon.admin, path).expect("it answers").1;
        ["/v1/audit", "/v1/silences", "/v1/annotations", "/api/v2/silences"].map(strip).into_iter().chain([status(&daemon, &id)]).collect()
    };
    let before = world();
    let evil = "origin: https://evil.example\r\nsec-fetch-site: cross-site\r\nsec-fetch-mode: no-cors\r\n";
    for (path, body) in doors(&id) {
        let request = |kind: &str, headers: &str, host: &str| {
            let length = body.len();
            let text = format!(
                "POST {path} HTTP/1.1\r\nhost: {host}\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n{headers}connection: close\r\n\r\n{body}"
            );
            ask(daemon.admin, &text).expect("it answers").0
        };
        let own = daemon.admin.to_string();
        for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/json"] {
            assert_eq!(request(kind, evil, &own), 403, "{path} as {kind} from another site");
            assert_eq!(request(kind, "origin: null\r\n", &own), 403, "{path} as {kind} from nowhere");
            assert_eq!(
                request(kind, &format!("origin: http://{own}.evil.example\r\n"), &own),
                403,
                "{path} from a name that begins like ours"
            );
            assert_eq!(request(kind, "", "evil.example"), 403, "{path} under another name (DNS rebinding)");
        }
        // A program with a JSON body is let in elsewhere; as a form without a token nobody is.
        let (status, _) = get(daemon.admin, &path).expect("it answers");
        assert!(status < 500, "GET {path}: {status}");
    }
    for path in ["/", "/v1/incidents", "/metrics", "/api/v2/alerts"] {
        let (status, _) =
            ask(daemon.admin, &format!("GET {path} HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n\r\n")).expect("it answers");
        assert_eq!(status, 403, "{path} under another name");
    }
    assert_eq!(world(), before, "nothing has changed");
}

fn status(daemon: &Daemon, id: &str) -> String {
    let found = incidents(daemon).into_iter().find(|one| one["id"] == id).expect("it is known");
    format!("{} {} {}", found["status"], found["severity"], found["owner"])
}

#[test]
fn r10_every_answer_is_what_it_says_and_runs_nothing() {
    let mut daemon = Daemon::new("", QUIET);
    daemon.start();
    alert(&daemon, "<script>alert(1)</script><img src=x onerror=alert(2)>\"'&", "");
    let id = wait(&daemon, "incident", || incidents(&daemon).first().map(|one| one["id"].as_str().expect("an id").to_owned()));
    let own = format!("/incidents/{id}");
    let pages =
        ["/", "/incidents", &own, "/silences", "/notifications", "/audit", "/health", "/overview", "/%3Cscript%3Ealert(1)%3C/script%3E"];
    let lists =
        ["/v1/incidents", "/v1/alerts", "/api/v2/alerts", "/api/v2/alerts/groups", "/v1/notifications", "/openapi.json", "/v1/%3Cb%3E"];
    for (paths, kind) in [(&pages[..], "text/html"), (&lists[..], "json")] {
        for path in paths {
            let text = format!("GET {path} HTTP/1.1\r\nhost: {}\r\naccept: text/html\r\nconnection: close\r\n\r\n", daemon.admin);
            let whole = raw(&daemon, &text);
            let (head, body) = whole.split_once("\r\n\r\n").expect("head and body");
            let head = head.to_ascii_lowercase();
            assert!(head.contains("x-content-type-options: nosniff"), "{path}: {head}");
            assert!(head.contains("frame-ancestors 'none'") && head.contains("default-src 'none'"), "{path}: {head}");
            assert!(!head.contains("unsafe-inline") && !head.contains("unsafe-eval"), "{path}: {head}");
            let is = head.lines().find(|line| line.starts_with("content-type:")).unwrap_or_default().to_owned();
            if path.contains("%3C") {
                assert!(!body.contains("<script>alert"), "{path}: {body}");
                continue;
            }
            assert!(is.contains(kind), "{path}: {is}");
            if kind == "text/html" {
                assert!(!body.contains("<script>alert") && !body.contains("<img src=x"), "{path}: {body}");
            }
        }
    }
}

/// The whole answer as it came.
fn raw(daemon: &Daemon, request: &str) -> String {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(daemon.admin).expect("it listens");
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut bytes = Vec::new();
    _ = stream.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

#[test]
fn r23_a_link_in_a_mail_does_one_thing_to_one_incident() {
    let server = MailServer::start("open");
    let more = format!("[smtp]\nhost = \"127.0.0.1\"\nport = {}\ntls = \"none\"\nfrom = \"burnwatch@example.com\"\n", server.port);
    let mut daemon = Daemon::new(&more, MAIL);
    daemon.start();
    let link = |n: usize| {
        let mail = wait(&daemon, "mail", || server.mails().get(n).cloned());
        let text = mail["mail"].as_str().expect("text").replace("=\r\n", "").replace("=\n", "");
        let link = text.split("Acknowledge: http://").nth(1).expect("a link").split(['\r', '\n']).next().expect("a line").to_owned();
        link[link.find('/').expect("a path")..].to_owned()
    };
    alert(&daemon, "one", "");
    let one = link(0);
    alert(&daemon, "two", "");
    let two = link(1);
    let open = || incidents(&daemon).iter().filter(|one| one["status"] == "open").count();
    assert_eq!(open(), 2);
    // What scanners do: look, also with HEAD and again.
    for method in ["GET", "HEAD", "GET", "OPTIONS"] {
        ask(daemon.admin, &format!("{method} {one} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", daemon.admin));
    }
    assert_eq!(open(), 2, "looking changes nothing");
    // Bent at every fourth place, cut, joined with the other.
    let sealed = one.strip_prefix("/act/").expect("a link").to_owned();
    let other = two.strip_prefix("/act/").expect("a link");
    let mut bent: Vec<String> = (0..sealed.len())
        .step_by(4)
        .map(|at| {
            let mut bytes = sealed.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            String::from_utf8(bytes).expect("letters")
        })
        .collect();
    let (head, tail) = (sealed.rsplit_once('.').expect("two parts"), other.rsplit_once('.').expect("two parts"));
    bent.extend([
        format!("{}.{}", head.0, tail.1),
        format!("{}.{}", tail.0, head.1),
        sealed[..sealed.len() - 1].to_owned(),
        head.0.to_owned(),
    ]);
    let (some, rest) = bent.split_at(12);
    let refused = |bent: &str| {
        let (status, page) = post(daemon.admin, &format!("/act/{bent}"), "").unwrap_or((400, String::new()));
        assert!((400..500).contains(&status), "{bent}: {status} {page}");
        status
    };
    some.iter().for_each(|bent| _ = refused(bent));
    assert_eq!(open(), 2, "a bent link does nothing");
    // The right one acknowledges its own incident, once, and can do nothing else.
    for action in ["resolve", "silence", "snooze"] {
        let (status, _) = post(daemon.admin, &format!("{one}/{action}"), "").expect("it answers");
        assert!((400..500).contains(&status), "{action}");
    }
    for _ in 0..2 {
        let (status, _) = post(daemon.admin, &one, "").expect("it answers");
        assert_eq!(status, 200);
    }
    assert_eq!(open(), 1, "the other one is not touched");
    let answers: Vec<u16> = rest.iter().chain(some).map(|bent| refused(bent)).collect();
    assert_eq!((answers.last(), open()), (Some(&429), 1), "whoever goes on guessing has to wait");
    let audit: Value = serde_json::from_str(&get(daemon.admin, "/v1/audit").expect("it answers").1).expect("JSON");
    let done: Vec<&Value> = audit["items"].as_array().expect("a list").iter().filter(|row| row["who"] == "link to mail").collect();
    assert_eq!(done.len(), 1, "who, when, what, from where: {audit}");
    assert!(done[0]["at"].is_string() && done[0]["thing"].as_str().unwrap_or_default().starts_with("incident "), "{audit}");
    assert_eq!(done[0]["source"], "127.0.0.1", "{audit}");
}
