//! Receivers on a bad day: one that hangs, drips, refuses, asks for time, sends elsewhere and loses its answers, and a
//! real mail server with STARTTLS and a password.

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use burnwatch::clock::{Clock, SystemClock};
use burnwatch::domain::time::Span;
use serde_json::{Value, json};

use super::daemon::{Daemon, get, post};

/// What the peer does with one request, after it has read all of it.
#[derive(Clone, Debug)]
enum Act {
    /// Says nothing and holds the connection.
    Hang,
    /// A status, then a byte now and then.
    Drip,
    /// A status and further headers.
    Answer(u16, String),
    /// The answer is lost on its way.
    Lose,
}

/// One request as it came.
#[derive(Clone, Debug)]
struct Seen {
    path: String,
    id: String,
    kind: String,
    incident: String,
    at: Instant,
}

/// Acts by path, used up one by one, then 200; and what came.
#[derive(Default)]
struct Script {
    acts: Mutex<BTreeMap<String, VecDeque<Act>>>,
    seen: Mutex<Vec<Seen>>,
}

/// A receiver that follows a script.
struct Peer {
    address: SocketAddr,
    script: Arc<Script>,
}

impl Peer {
    fn start() -> Peer {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let script: Arc<Script> = Arc::default();
        let shared = script.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let script = shared.clone();
                std::thread::spawn(move || while serve(&mut BufReader::new(&stream), &script).is_some() {});
            }
        });
        Peer { address, script }
    }

    fn will(&self, path: &str, acts: impl IntoIterator<Item = Act>) {
        self.script.acts.lock().expect("a lock").entry(path.to_owned()).or_default().extend(acts);
    }

    fn seen(&self, path: &str) -> Vec<Seen> {
        self.script.seen.lock().expect("a lock").iter().filter(|seen| seen.path == path).cloned().collect()
    }
}

fn serve(stream: &mut BufReader<&TcpStream>, script: &Script) -> Option<()> {
    let (mut line, mut path, mut length, mut id) = (String::new(), String::new(), 0, String::new());
    loop {
        line.clear();
        if stream.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let text = line.trim_end();
        if path.is_empty() {
            path = text.split(' ').nth(1)?.to_owned();
            continue;
        }
        match text.split_once(':') {
            None if text.is_empty() => break,
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => length = value.trim().parse().ok()?,
            Some((name, value)) if name.eq_ignore_ascii_case("webhook-id") => id = value.trim().to_owned(),
            None | Some(_) => {}
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (kind, incident) = (text(&body["type"]), text(&body["data"]["incident"]["key"]));
    script.seen.lock().expect("a lock").push(Seen { path: path.clone(), id, kind, incident, at: Instant::now() });
    let act = script.acts.lock().expect("a lock").get_mut(&path).and_then(VecDeque::pop_front);
    let mut socket = *stream.get_ref();
    match act {
        None => socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").ok(),
        Some(Act::Answer(status, headers)) => {
            socket.write_all(format!("HTTP/1.1 {status} x\r\n{headers}content-length: 0\r\n\r\n").as_bytes()).ok()
        }
        Some(Act::Hang) => {
            std::thread::sleep(Duration::from_secs(20));
            None
        }
        Some(Act::Drip) => {
            socket.write_all(b"HTTP/1.1 503 x\r\ncontent-length: 1000000\r\n\r\n").ok()?;
            while socket.write_all(b"x").is_ok() {
                std::thread::sleep(Duration::from_millis(100));
            }
            None
        }
        Some(Act::Lose) => None,
    }
}

/// Puts alerts on or ends them, by name; the receiver is chosen by its label.
fn alert(daemon: &Daemon, name: &str, to: &str, on: bool) {
    let ends = if on { "2999-01-01T00:00:00Z" } else { "2020-01-01T00:00:00Z" };
    let body =
        json!([{ "labels": { "alertname": name, "to": to, "severity": "page" }, "startsAt": "2020-01-01T00:00:00Z", "endsAt": ends }]);
    let (status, answer) = post(daemon.admin, "/api/v2/alerts", &body.to_string()).expect("it answers");
    assert_eq!(status, 200, "{answer}");
}

/// Waits until `found` gives something.
fn wait<T>(daemon: &Daemon, secs: u64, what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(began.elapsed() < Duration::from_secs(secs), "no {what}:\n{}", daemon.log());
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn rules(peer: SocketAddr, names: &[&str]) -> String {
    let mut rules = String::new();
    for name in names {
        rules.push_str(&format!("receiver(\"{name}\", webhook(#{{ url: \"http://{peer}/{name}\", timeout: \"1s\" }}));\n"));
        if *name != "fallback" {
            rules.push_str(&format!("route(#{{ when: #{{ to: \"{name}\" }}, to: [\"{name}\"], group_by: [\"alertname\"] }});\n"));
        }
    }
    rules + "route(#{ to: [\"fallback\"], group_by: [\"service\"] });\n"
}

const FAST: &str = "[aggregation]\nbucket = \"1s\"\nsettle = \"200ms\"\n";

#[test]
fn a_receiver_on_a_bad_day_gets_every_message_in_order_under_one_id() {
    let peer = Peer::start();
    let mut daemon = Daemon::new(FAST, &rules(peer.address, &["hook", "fine", "fallback"]));
    daemon.start();
    let bad = [
        Act::Lose,
        Act::Answer(500, String::new()),
        Act::Hang,
        Act::Drip,
        Act::Answer(302, format!("location: http://{}/elsewhere\r\n", peer.address)),
    ];
    peer.will("/hook", bad.clone());
    alert(&daemon, "one", "hook", true);
    wait(&daemon, 20, "first attempt", || (!peer.seen("/hook").is_empty()).then_some(()));
    // The close is there long before the opening has got through, and must not overtake it.
    alert(&daemon, "one", "hook", false);
    alert(&daemon, "other", "fine", true);
    wait(&daemon, 10, "word at the receiver that is well", || peer.seen("/fine").first().cloned());
    wait(&daemon, 90, "close", || peer.seen("/hook").iter().find(|seen| seen.kind == "incident.resolved").cloned());

    let seen = peer.seen("/hook");
    let kinds: Vec<&str> = seen.iter().map(|seen| seen.kind.as_str()).collect();
    assert_eq!(kinds[..=bad.len()], ["incident.opened"; 6], "each failure is tried again: {kinds:?}");
    assert_eq!(kinds.last(), Some(&"incident.resolved"));
    assert_eq!(kinds.iter().filter(|kind| **kind == "incident.resolved").count(), 1, "{kinds:?}");
    assert!(seen[..6].iter().all(|one| one.id == seen[0].id && !one.id.is_empty()), "one delivery, one id: {seen:#?}");
    assert_ne!(seen[0].id, seen[6].id);
    assert!(peer.seen("/elsewhere").is_empty(), "redirects are not followed");
    let waits: Vec<Duration> = seen[..6].windows(2).map(|pair| pair[1].at - pair[0].at).collect();
    assert!(waits.iter().all(|wait| *wait < Duration::from_secs(60)), "a page waits for nobody for long: {waits:?}");
}

#[test]
fn whoever_asks_for_time_gets_it_for_all_messages_in_both_forms() {
    let peer = Peer::start();
    let mut daemon = Daemon::new(FAST, &rules(peer.address, &["seconds", "date", "fallback"]));
    daemon.start();
    peer.will("/seconds", [Act::Answer(429, "retry-after: 4\r\n".into())]);
    alert(&daemon, "one", "seconds", true);
    let first = wait(&daemon, 20, "first attempt", || peer.seen("/seconds").first().cloned());
    alert(&daemon, "two", "seconds", true);
    let seen = wait(&daemon, 30, "both", || Some(peer.seen("/seconds")).filter(|seen| seen.len() == 3));
    for later in &seen[1..] {
        assert!(later.at - first.at >= Duration::from_millis(3_900), "not one message, the whole receiver waits: {seen:#?}");
    }
    assert_eq!(seen.iter().filter(|seen| seen.id == first.id).count(), 2);

    // A date has whole seconds: at least four of five are asked for.
    let at = (SystemClock.now() + Span::seconds(5)).millis();
    let at = chrono::DateTime::from_timestamp_millis(at).expect("a time of these years");
    peer.will("/date", [Act::Answer(503, format!("retry-after: {}\r\n", at.format("%a, %d %b %Y %H:%M:%S GMT")))]);
    alert(&daemon, "three", "date", true);
    let seen = wait(&daemon, 40, "second attempt", || Some(peer.seen("/date")).filter(|seen| seen.len() == 2));
    let until = Duration::from_secs(3);
    assert!(seen[1].at - seen[0].at >= until, "{seen:#?}");
    assert_eq!(seen[0].id, seen[1].id);
}

#[test]
fn a_failure_for_good_is_a_dead_letter_that_the_fallback_and_the_operator_are_told_of() {
    let peer = Peer::start();
    let mut daemon = Daemon::delivering("fallback = \"fallback\"\n", FAST, &rules(peer.address, &["gone", "fallback"]));
    daemon.start();
    peer.will("/gone", [Act::Answer(404, String::new())]);
    alert(&daemon, "one", "gone", true);
    let told =
        wait(&daemon, 30, "word at the fallback", || peer.seen("/fallback").iter().find(|seen| seen.incident.contains("one")).cloned());
    assert_eq!(told.kind, "incident.opened");
    assert_eq!(peer.seen("/gone").len(), 1, "404 is not tried again");
    let list = |path: &str| -> Vec<Value> {
        let (status, body) = get(daemon.admin, path).expect("it answers");
        assert_eq!(status, 200, "{body}");
        serde_json::from_str::<Value>(&body).expect("JSON")["items"].as_array().expect("a list").clone()
    };
    let dead = list("/v1/deadletters");
    assert_eq!(dead.len(), 1, "{dead:?}");
    assert!(dead[0]["error"].as_str().or(dead[0]["last_error"].as_str()).unwrap_or_default().contains("404"), "{dead:?}");
    let operator =
        wait(&daemon, 60, "operator incident", || list("/v1/incidents").into_iter().find(|incident| incident["service"] == "burnwatch"));
    let kind = &operator["alerts"][0]["labels"]["kind"];
    assert_eq!((&operator["severity"], kind), (&json!("page"), &json!("operator")), "{operator}");
    // The replay goes out under the same id.
    let id = dead[0]["id"].as_str().expect("an id").to_owned();
    let (status, body) = post(daemon.admin, &format!("/v1/deadletters/{id}/replay"), "").expect("it answers");
    assert_eq!(status, 200, "{body}");
    let seen = wait(&daemon, 20, "replay", || Some(peer.seen("/gone")).filter(|seen| seen.len() == 2));
    assert_eq!(seen[0].id, seen[1].id);
}

/// Debian's aiosmtpd, on a port of its own.
pub struct MailServer {
    process: Child,
    pub port: u16,
    mails: Arc<Mutex<Vec<Value>>>,
}

const SERVER: &str = include_str!("mail_server.py");

impl MailServer {
    /// `strict` takes mail only over STARTTLS and with a password, `open` from everybody.
    pub fn start(mode: &str) -> MailServer {
        let keys = format!("{}/src/notify/tests/localhost", env!("CARGO_MANIFEST_DIR"));
        // Debian's Python, whatever else is first in the path: its packages are what is installed.
        let python = if std::path::Path::new("/usr/bin/python3").exists() { "/usr/bin/python3" } else { "python3" };
        let mut process = Command::new(python)
            .args(["-c", SERVER, &format!("{keys}.pem"), &format!("{keys}.key"), mode])
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 runs");
        let mut lines = BufReader::new(process.stdout.take().expect("it is piped")).lines();
        let first = lines.next().expect("aiosmtpd starts: apt-get install python3-aiosmtpd").expect("a line");
        let port = serde_json::from_str::<Value>(&first).expect("JSON")["port"].as_u64().and_then(|port| u16::try_from(port).ok());
        let mails: Arc<Mutex<Vec<Value>>> = Arc::default();
        let keep = mails.clone();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                keep.lock().expect("a lock").extend(serde_json::from_str(&line));
            }
        });
        MailServer { process, port: port.expect("a port"), mails }
    }

    /// What it was given so far.
    pub fn mails(&self) -> Vec<Value> {
        self.mails.lock().expect("a lock").clone()
    }
}

impl Drop for MailServer {
    fn drop(&mut self) {
        _ = self.process.kill();
        _ = self.process.wait();
    }
}

#[test]
fn a_pager_is_told_of_deploys_and_of_nothing_else() {
    let peer = Peer::start();
    let rules = format!(
        "receiver(\"pager\", pagerduty(#{{ routing_key: \"k\", base_url: \"http://{}\", changes: true }}));\n\
        route(#{{ to: [\"pager\"] }});\n",
        peer.address
    );
    let mut daemon = Daemon::new(FAST, &rules);
    daemon.start();
    // What was reported before it asked is not told: its place in the list is made in its first round.
    std::thread::sleep(Duration::from_secs(3));
    peer.will("/v2/change/enqueue", [Act::Answer(400, String::new())]);
    for (kind, release) in [("deploy", "1"), ("flag", "2"), ("deploy", "3")] {
        let body = json!({ "kind": kind, "app": "shop", "release": release }).to_string();
        let (status, answer) = post(daemon.admin, "/v1/annotations", &body).expect("it answers");
        assert_eq!(status, 201, "{answer}");
    }
    wait(&daemon, 20, "both deploys", || (peer.seen("/v2/change/enqueue").len() == 2).then_some(()));
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(peer.seen("/v2/change/enqueue").len(), 2, "each is told once");
}

const MAIL_RULES: &str =
    "receiver(\"mail\", email(#{ to: [\"ada@example.com\"] }));\nroute(#{ to: [\"mail\"], group_by: [\"alertname\"] });\n";

fn smtp(server: &MailServer, tls: &str) -> String {
    format!("{FAST}[smtp]\nhost = \"127.0.0.1\"\nport = {}\ntls = \"{tls}\"\nfrom = \"burnwatch@example.com\"\n", server.port)
}

#[test]
fn the_link_in_a_mail_acknowledges() {
    let server = MailServer::start("open");
    let mut daemon = Daemon::new(&smtp(&server, "none"), MAIL_RULES);
    daemon.start();
    alert(&daemon, "one", "mail", true);
    let mail = wait(&daemon, 30, "mail", || server.mails.lock().expect("a lock").first().cloned());
    assert_eq!(mail["to"], json!(["ada@example.com"]));
    let text = mail["mail"].as_str().expect("text").replace("=\r\n", "").replace("=\n", "");
    let link = text.split("Acknowledge: http://").nth(1).expect("a link").split(['\r', '\n']).next().expect("split gives one");
    let path = &link[link.find('/').expect("a path")..];
    let incidents = || get(daemon.admin, "/v1/incidents").expect("it answers").1;
    for _ in 0..2 {
        let (code, page) = get(daemon.admin, path).expect("it answers");
        assert!(code == 200 && page.contains("Acknowledge this?"), "{page}");
    }
    assert!(incidents().contains("\"status\":\"open\""), "looking changes nothing");
    let (code, page) = post(daemon.admin, path, "").expect("it answers");
    assert!(code == 200 && page.contains("<h1>Acknowledged</h1>"), "{page}");
    assert!(incidents().contains("\"status\":\"acknowledged\""), "{}", incidents());
    let audit = get(daemon.admin, "/v1/audit").expect("it answers").1;
    assert!(audit.contains("\"who\":\"link to mail\""), "{audit}");
    let second = wait(&daemon, 20, "second mail", || server.mails.lock().expect("a lock").get(1).cloned());
    let second = second["mail"].as_str().expect("text");
    assert!(second.contains("ACKNOWLEDGED") && !second.contains("/act/"), "{second}");
}

#[test]
fn a_mail_server_that_nobody_vouches_for_gets_neither_mail_nor_password() {
    let server = MailServer::start("strict");
    let more = smtp(&server, "starttls") + "username = \"burnwatch\"\npassword = \"s3cret-mail\"\n";
    let mut daemon = Daemon::new(&more, MAIL_RULES);
    daemon.start();
    alert(&daemon, "one", "mail", true);
    let list = || get(daemon.admin, "/v1/notifications").expect("it answers").1;
    let tried = wait(&daemon, 30, "failed attempt", || Some(list()).filter(|list| list.contains("no mail could be handed over")));
    assert!(!tried.contains("s3cret-mail") && !daemon.log().contains("s3cret-mail"), "{tried}");
    assert!(server.mails.lock().expect("a lock").is_empty());
}
