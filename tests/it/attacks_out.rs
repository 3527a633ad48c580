//! Attacks on what goes out, one by one as RELIABILITY lists them, against the running program.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::daemon::{Daemon, get, post};

/// A receiver that answers every request in one way, and remembers them as they came.
struct Peer {
    address: SocketAddr,
    got: Arc<Mutex<Vec<String>>>,
}

impl Peer {
    /// `answer` makes the answer of the request.
    fn start(answer: fn(&str) -> String) -> Peer {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let got: Arc<Mutex<Vec<String>>> = Arc::default();
        let keep = got.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let keep = keep.clone();
                std::thread::spawn(move || serve(stream, answer, &keep));
            }
        });
        Peer { address, got }
    }

    fn got(&self) -> Vec<String> {
        self.got.lock().expect("a lock").clone()
    }
}

fn serve(stream: TcpStream, answer: fn(&str) -> String, keep: &Mutex<Vec<String>>) -> Option<()> {
    let mut reader = BufReader::new(&stream);
    loop {
        let (mut head, mut length) = (String::new(), 0);
        while !head.ends_with("\r\n\r\n") {
            let from = head.len();
            if reader.read_line(&mut head).ok()? == 0 {
                return None;
            }
            if let Some(value) = head[from..].to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().ok()?;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        let whole = format!("{head}{}", String::from_utf8_lossy(&body));
        let text = answer(&whole);
        keep.lock().expect("a lock").push(whole);
        (&stream).write_all(text.as_bytes()).ok()?;
    }
}

fn alert(daemon: &Daemon, labels: &Value) {
    let body = json!([{ "labels": labels, "endsAt": "2999-01-01T00:00:00Z" }]).to_string();
    let (status, answer) = post(daemon.admin, "/api/v2/alerts", &body).expect("it answers");
    assert_eq!(status, 200, "{answer}");
}

fn wait<T>(daemon: &Daemon, what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "no {what}:\n{}", daemon.log());
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn items(daemon: &Daemon, path: &str) -> Vec<Value> {
    let (status, body) = get(daemon.admin, path).expect("it answers");
    assert_eq!(status, 200, "{body}");
    serde_json::from_str::<Value>(&body).expect("JSON")["items"].as_array().expect("a list").clone()
}

/// Rules with a receiver and a route for each name; the alert's label `to` chooses.
fn rules(receivers: &[(String, String)]) -> String {
    let one = |(name, kind): &(String, String)| {
        format!("receiver(\"{name}\", {kind});\nroute(#{{ when: #{{ to: \"{name}\" }}, to: [\"{name}\"], group_by: [\"to\"] }});\n")
    };
    receivers.iter().map(one).collect()
}

#[test]
fn r13_what_is_inside_is_reached_under_no_name() {
    let inside = Peer::start(|_| "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".into());
    let port = inside.address.port();
    let hosts = ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "127.1", "[::ffff:127.0.0.1]", "[::1]", "0.0.0.0", "169.254.169.254"];
    let receivers: Vec<(String, String)> = hosts
        .iter()
        .enumerate()
        .map(|(n, host)| (format!("hook{n}"), format!("webhook(#{{ url: \"http://{host}:{port}/latest/meta-data\" }})")))
        .collect();
    let mut daemon = Daemon::new("", &rules(&receivers)).with("BURNWATCH_DELIVERY__ALLOW_PRIVATE", "[]");
    daemon.start();
    for (name, _) in &receivers {
        alert(&daemon, &json!({ "alertname": name, "to": name }));
    }
    let dead = wait(&daemon, "refusals", || {
        let dead = items(&daemon, "/v1/deadletters?limit=100");
        receivers.iter().all(|(name, _)| dead.iter().any(|row| row["receiver"] == name.as_str())).then_some(dead)
    });
    for row in &dead {
        let why = row["error"].as_str().or(row["last_error"].as_str()).unwrap_or_default();
        assert!(why.contains("is not public") && why.contains("allow_private"), "{row}");
    }
    assert_eq!(inside.got(), Vec::<String>::new(), "nothing was connected to");
}

#[test]
fn r13_a_redirect_inside_is_not_followed() {
    // Redirects to itself on another path, which stands for the address of a cloud's secrets.
    let outside = Peer::start(|request| {
        let host = request.lines().find_map(|line| line.strip_prefix("host: ")).unwrap_or_default().to_owned();
        format!("HTTP/1.1 307 x\r\nlocation: http://{host}/latest/meta-data\r\ncontent-length: 0\r\n\r\n")
    });
    let receivers = [("hook".to_owned(), format!("webhook(#{{ url: \"http://{}/hook\" }})", outside.address))];
    let mut daemon = Daemon::new("", &rules(&receivers));
    daemon.start();
    alert(&daemon, &json!({ "alertname": "one", "to": "hook" }));
    wait(&daemon, "second attempt", || (outside.got().len() > 1).then_some(()));
    assert!(outside.got().iter().all(|request| request.starts_with("POST /hook ")), "{:?}", outside.got());
}

/// Each its own, so that a leak is told by its name.
const SECRETS: [(&str, &str); 9] = [
    ("HOOK_URL", "canaryhookpath0001"),
    ("HOOK_HMAC", "canaryhookhmac0002"),
    ("HOOK_HEADER", "canaryheader000003"),
    ("PAGER_KEY", "canarypagerkey0004"),
    ("GENIE_KEY", "canarygeniekey0005"),
    ("SLACK_TOKEN", "canaryslacktoken06"),
    ("JIRA_TOKEN", "canaryjiratoken007"),
    ("GITHUB_TOKEN", "canarygithubtok008"),
    ("SMTP_PASSWORD", "canarysmtppassw009"),
];

#[test]
fn r14_no_secret_of_a_receiver_is_found_anywhere() {
    // It repeats the whole request in its refusal, as a debugging proxy does.
    let mirror = Peer::start(|request| format!("HTTP/1.1 400 x\r\ncontent-length: {}\r\n\r\n{request}", request.len()));
    let at = format!("http://{}", mirror.address);
    let kinds = [
        (
            "hook",
            "webhook(#{ url: secret(\"HOOK_URL\"), secret: secret(\"HOOK_HMAC\"), headers: #{ \"x-key\": secret(\"HOOK_HEADER\") } })"
                .to_owned(),
        ),
        ("pager", format!("pagerduty(#{{ routing_key: secret(\"PAGER_KEY\"), base_url: \"{at}\" }})")),
        ("genie", format!("opsgenie(#{{ api_key: secret(\"GENIE_KEY\"), base_url: \"{at}\" }})")),
        ("slack", format!("slack(#{{ token: secret(\"SLACK_TOKEN\"), channel: \"#ops\", base_url: \"{at}\" }})")),
        ("jira", format!("jira(#{{ base_url: \"{at}\", user: \"ada\", token: secret(\"JIRA_TOKEN\"), project: \"OPS\" }})")),
        ("github", format!("github(#{{ base_url: \"{at}\", token: secret(\"GITHUB_TOKEN\"), repo: \"acme/shop\" }})")),
        ("mail", "email(#{ to: [\"ada@example.com\"] })".to_owned()),
    ];
    let receivers: Vec<(String, String)> = kinds.iter().map(|(name, kind)| ((*name).to_owned(), kind.clone())).collect();
    // A mail server that hangs up: the password is asked for and never used.
    let more = "[smtp]\nhost = \"127.0.0.1\"\nport = 9\ntls = \"starttls\"\nusername = \"burnwatch\"\nfrom = \"burnwatch@example.com\"\n";
    let mut daemon = Daemon::new(more, &rules(&receivers)).with("RUST_LOG", "trace").with("RUST_BACKTRACE", "1");
    for (name, value) in SECRETS {
        daemon = match name {
            "HOOK_URL" => daemon.with(name, &format!("{at}/services/{value}")),
            "SMTP_PASSWORD" => daemon.with("BURNWATCH_SMTP__PASSWORD", value),
            name => daemon.with(name, value),
        };
    }
    daemon.start();
    for (name, _) in &receivers {
        alert(&daemon, &json!({ "alertname": name, "to": name }));
    }
    let refused: Vec<&str> = receivers.iter().map(|(name, _)| name.as_str()).filter(|name| *name != "mail").collect();
    wait(&daemon, "refusals", || {
        let dead = items(&daemon, "/v1/deadletters?limit=100");
        refused.iter().all(|name| dead.iter().any(|row| row["receiver"] == *name)).then_some(())
    });
    let sent = mirror.got().concat();
    // The mirror has seen them: what is looked for was there to be leaked.
    for (name, value) in SECRETS.iter().filter(|(name, _)| !["HOOK_HMAC", "JIRA_TOKEN", "SMTP_PASSWORD"].contains(name)) {
        assert!(sent.contains(value), "{name} was not sent");
    }
    let mut places: Vec<(String, Vec<u8>)> = Vec::new();
    for path in [
        "/v1/deadletters?limit=100",
        "/v1/notifications?limit=100",
        "/v1/incidents",
        "/v1/audit",
        "/v1/rules",
        "/v1/receivers",
        "/metrics",
        "/openapi.json",
        "/receivers",
        "/notifications",
        "/deadletters",
        "/rules",
        "/rules/file/rules.rhai",
        "/health",
        "/incidents",
        "/api/v2/status",
        "/api/v2/receivers",
    ] {
        let (status, body) = get(daemon.admin, path).expect("it answers");
        assert!(status < 500, "{path}: {body}");
        places.push((path.to_owned(), body.into_bytes()));
    }
    for arguments in
        [&["receiver", "list"][..], &["deadletter", "list"], &["receiver", "send-test", "hook"], &["check"], &["backup", "copy.db"]]
    {
        let output = daemon.command(arguments).output().expect("it runs");
        places.push((format!("{arguments:?}"), [output.stdout, output.stderr].concat()));
    }
    let process = Path::new("/proc").join(daemon.pid().to_string());
    places.push(("its arguments".to_owned(), std::fs::read(process.join("cmdline")).expect("it runs")));
    daemon.kill();
    places.push(("its log".to_owned(), daemon.log().into_bytes()));
    let mut files = Vec::new();
    daemon.files(&mut files);
    assert!(files.iter().any(|(path, _)| path.ends_with("copy.db")), "the backup is there");
    places.extend(files.into_iter().map(|(path, bytes)| (path.display().to_string(), bytes)));
    let mut found = Vec::new();
    for (place, bytes) in &places {
        for (name, value) in SECRETS {
            if bytes.windows(value.len()).any(|window| window == value.as_bytes()) {
                found.push(format!("{name} in {place}"));
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn r19_hostile_words_make_no_line_and_move_no_cursor() {
    const ESCAPES: &str = "\u{1b}[2J\u{1b}]0;owned\u{7}\r\n2026-11-29T00:00:00Z ERROR forged: line\u{9b}31m\u{202e}";
    let rude = Peer::start(|_| {
        let body = format!("no{ESCAPES}");
        format!("HTTP/1.1 400 x\r\ncontent-length: {}\r\n\r\n{body}", body.len())
    });
    let receivers = [("hook".to_owned(), format!("webhook(#{{ url: \"http://{}/\" }})", rude.address))];
    let mut daemon = Daemon::new("", &rules(&receivers)).with("RUST_LOG", "debug");
    daemon.start();
    let labels = json!({ "alertname": format!("one{ESCAPES}"), "to": "hook", "service": ESCAPES, "owner": ESCAPES });
    alert(&daemon, &labels);
    wait(&daemon, "refusal", || (!items(&daemon, "/v1/deadletters").is_empty()).then_some(()));
    let id = items(&daemon, "/v1/incidents").iter().find(|one| one["service"] != "burnwatch").expect("it is there")["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    for arguments in [
        &["incident", "list"][..],
        &["incident", "show", &id],
        &["incident", "export", &id],
        &["alert", "list"],
        &["deadletter", "list"],
        &["receiver", "list"],
        &["route", "test", &format!("service={ESCAPES}")],
        &["incident", "show", ESCAPES],
        &["incident", "list", "--json"],
    ] {
        let output =
            daemon.command(arguments).env("BURNWATCH_SERVER__PUBLIC_URL", format!("http://{}", daemon.admin)).output().expect("it runs");
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(!text.is_empty(), "{arguments:?}");
        let bad: Vec<char> = text.chars().filter(|c| (c.is_control() && *c != '\n') || *c == '\u{202e}').collect();
        assert!(bad.is_empty(), "{arguments:?} prints {bad:?}:\n{text}");
        assert!(!text.lines().any(|line| line.starts_with("2026-11-29T00:00:00Z ERROR forged")), "{arguments:?}:\n{text}");
    }
    let log = daemon.log();
    assert!(log.contains("failed for good"), "{log}");
    let bad: Vec<char> = log.chars().filter(|c| c.is_control() && *c != '\n').collect();
    assert!(bad.is_empty(), "{bad:?} in\n{log}");
    assert!(!log.lines().any(|line| line.starts_with("2026-11-29T00:00:00Z ERROR forged")), "{log}");
}

/// Certificates of an authority of our own, and servers that show them.
struct Tls {
    process: Child,
    ports: Vec<u64>,
    got: Arc<Mutex<Vec<u64>>>,
}

impl Drop for Tls {
    fn drop(&mut self) {
        _ = self.process.kill();
        _ = self.process.wait();
    }
}

const AUTHORITY: &str = "[ca]\ndefault_ca = c\n[c]\ndir = .\ndatabase = ./index.txt\nnew_certs_dir = .\nserial = ./serial\ndefault_md = sha256\n\
    policy = p\nunique_subject = no\n[p]\ncommonName = supplied\n[right]\nsubjectAltName = IP:127.0.0.1\n[wrong]\nsubjectAltName = DNS:other.example\n";

impl Tls {
    fn start(folder: &Path) -> Tls {
        let run = |arguments: &str| {
            let output = Command::new("openssl").args(arguments.split(' ')).current_dir(folder).output().expect("apt-get install openssl");
            assert!(output.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&output.stderr));
        };
        for (name, text) in [("ca.cnf", AUTHORITY), ("index.txt", ""), ("serial", "01")] {
            std::fs::write(folder.join(name), text).expect("a file");
        }
        run("req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -subj /CN=authority -days 30");
        run("req -newkey rsa:2048 -nodes -keyout s.key -out s.csr -subj /CN=127.0.0.1");
        let sign = |out: &str, dates: &str, extensions: &str| {
            run(&format!(
                "ca -batch -config ca.cnf -cert ca.pem -keyfile ca.key -in s.csr -notext -out {out} {dates} -extensions {extensions}"
            ));
        };
        sign("good.pem", "-days 30", "right");
        sign("expired.pem", "-startdate 20200101000000Z -enddate 20210101000000Z", "right");
        sign("wrong.pem", "-days 30", "wrong");
        run("req -x509 -key s.key -out self.pem -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1 -days 30");
        let pairs = ["good.pem:s.key", "expired.pem:s.key", "wrong.pem:s.key", "self.pem:s.key"];
        let mut process = Command::new("python3")
            .args(["-c", include_str!("tls_server.py")])
            .args(pairs)
            .current_dir(folder)
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 runs");
        let mut lines = BufReader::new(process.stdout.take().expect("it is piped")).lines().map_while(Result::ok);
        let first: Value = serde_json::from_str(&lines.next().expect("it starts")).expect("JSON");
        let ports = first["ports"].as_array().expect("ports").iter().filter_map(Value::as_u64).collect();
        let got: Arc<Mutex<Vec<u64>>> = Arc::default();
        let keep = got.clone();
        std::thread::spawn(move || {
            for line in lines {
                let server = serde_json::from_str::<Value>(&line).ok().and_then(|line| line["server"].as_u64());
                keep.lock().expect("a lock").extend(server);
            }
        });
        Tls { process, ports, got }
    }
}

#[test]
fn r20_only_a_receiver_whose_certificate_holds_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let tls = Tls::start(folder.path());
    let names = ["good", "expired", "wrong", "self"];
    let receivers: Vec<(String, String)> = names
        .iter()
        .zip(&tls.ports)
        .map(|(name, port)| ((*name).to_owned(), format!("webhook(#{{ url: \"https://127.0.0.1:{port}/\" }})")))
        .collect();
    let mut daemon = Daemon::new("", &rules(&receivers)).with("SSL_CERT_FILE", &folder.path().join("ca.pem").display().to_string());
    daemon.start();
    for name in names {
        alert(&daemon, &json!({ "alertname": name, "to": name }));
    }
    wait(&daemon, "word at the good one", || tls.got.lock().expect("a lock").contains(&0).then_some(()));
    let rows = wait(&daemon, "failed attempts", || {
        let rows = items(&daemon, "/v1/notifications?limit=100");
        let failed = |name: &str| rows.iter().any(|row| row["receiver"] == name && row.to_string().contains("certificate"));
        names[1..].iter().all(|name| failed(name)).then(|| rows.clone())
    });
    assert!(rows.iter().any(|row| row["receiver"] == "good" && row["state"] == "delivered"), "{rows:?}");
    assert_eq!(*tls.got.lock().expect("a lock"), [0], "nobody else got a request");
}
