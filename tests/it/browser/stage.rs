//! The daemon as it is started, with a shop that fails.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::ops::Range;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use burnwatch::clock::{Clock, SystemClock};
use burnwatch::domain::time::Span;
use serde_json::{Value, json};

use crate::chromium::{Browser, chromium};

/// The release that fails.
const RELEASE: &str = "2.3.1";

/// Seconds before now in which nothing was measured.
const GAP: Range<i64> = 600..780;

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

/// The browser that is installed; says that a test is left out where none is.
pub fn installed() -> Option<PathBuf> {
    let found = chromium();
    if found.is_none() {
        eprintln!("left out: chromium is not installed");
    }
    found
}

/// How most of these tests begin: the daemon, its shop failing, the incident of that, and a browser.
pub struct Stage {
    pub daemon: Daemon,
    /// Of the shop's incident.
    pub id: String,
    pub browser: Browser,
}

impl Stage {
    /// With a window of this size; `None` where no browser is installed.
    pub fn open(width: u32, height: u32) -> Option<Stage> {
        let chromium = installed()?;
        let daemon = Daemon::start();
        daemon.seed_with(RELEASE);
        let id = daemon.incident_with(RELEASE);
        let mut browser = Browser::start(&chromium, daemon.port, &[]);
        browser.look(width, height, false);
        Some(Stage { daemon, id, browser })
    }
}

/// The daemon in a folder of its own.
pub struct Daemon {
    pub child: Child,
    pub port: u16,
    pub intake: u16,
    _folder: tempfile::TempDir,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The start of this second, in milliseconds, by the clock that the daemon reads.
pub fn this_second() -> i64 {
    SystemClock.now().floor(Span::seconds(1)).millis()
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port()
}

impl Daemon {
    pub fn start() -> Daemon {
        Daemon::start_with("")
    }

    /// With more lines in the `[server]` section.
    pub fn start_with(server: &str) -> Daemon {
        let folder = tempfile::tempdir().expect("a folder");
        let (port, intake) = (free_port(), free_port());
        let config = format!(
            "[server]\nlisten = \"127.0.0.1:{port}\"\n{server}[intake]\nlisten = \"127.0.0.1:{intake}\"\n[aggregation]\nbucket = \"1s\"\nsettle = \"1s\"\n"
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

    pub fn wait(&self, what: &str, mut done: impl FnMut(&Daemon) -> bool) {
        let until = Instant::now() + Duration::from_secs(90);
        while !done(self) {
            let log = std::fs::read_to_string(self._folder.path().join("log")).unwrap_or_default();
            assert!(Instant::now() < until, "not within 90 s: {what}\n{log}");
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// One request; status and body.
    pub fn send(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        Daemon::send_to(self.port, method, path, body)
    }

    /// The same to another port.
    pub fn send_to(port: u16, method: &str, path: &str, body: &str) -> (u16, String) {
        let (head, body) = Daemon::exchange(port, method, path, body);
        (head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0), body)
    }

    /// One request; the lines of the head, and the body. Empty where nobody answers.
    pub fn exchange(port: u16, method: &str, path: &str, body: &str) -> (String, String) {
        Daemon::raw(port, &format!("{method} {path} HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\nContent-Length: {}\r\n\r\n{body}", body.len()))
    }

    /// A request as it is written.
    pub fn raw(port: u16, request: &str) -> (String, String) {
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { return Default::default() };
        let mut answer = Vec::new();
        if stream.write_all(request.as_bytes()).and_then(|()| stream.read_to_end(&mut answer)).is_err() {
            return Default::default();
        }
        let text = String::from_utf8_lossy(&answer).into_owned();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        (head.to_owned(), body.to_owned())
    }

    pub fn json(&self, path: &str) -> Value {
        serde_json::from_str(&self.send("GET", path, "").1).unwrap_or_default()
    }

    /// Requests of the last twenty minutes, with a gap: from the fifth-last on, one region fails on a new release. One label is
    /// hostile.
    pub fn seed_with(&self, release: &str) {
        let now = this_second();
        let mut rows = String::new();
        for second in (1..1_200_i64).rev() {
            // Nothing was measured for three minutes.
            if GAP.contains(&second) {
                continue;
            }
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
    pub fn feed(&self) {
        self.feed_with(RELEASE);
    }

    pub fn feed_with(&self, release: &str) {
        let now = this_second();
        let dims = json!({ "app": "shop", "region": "eu-west", "release": release, "route": "/api/checkout", "device": "mobile" });
        let row = json!({ "bucket": now - 1_000, "metric": "request", "total": 200, "bad": 20, "dims": dims });
        self.send("POST", "/v1/aggregates", &row.to_string());
    }

    /// Ids of the incidents that are not over, sorted.
    pub fn unresolved(&self) -> Vec<String> {
        self.ids("/v1/incidents?status=open&status=acknowledged")
    }

    /// Ids of the shop's. On a slow machine burnwatch has some of its own: of deliveries that gave up, of evaluation that is late.
    pub fn of_the_shop(&self) -> Vec<String> {
        self.ids("/v1/incidents?status=open&status=acknowledged&service=shop")
    }

    fn ids(&self, path: &str) -> Vec<String> {
        let listed = self.json(path);
        let ids = listed["items"].as_array().into_iter().flatten().filter_map(|one| one["id"].as_str());
        let mut ids: Vec<String> = ids.map(str::to_owned).collect();
        ids.sort();
        ids
    }

    pub fn incident_with(&self, release: &str) -> String {
        let mut ids = Vec::new();
        self.wait("an incident opens", |daemon| {
            daemon.feed_with(release);
            ids = daemon.of_the_shop();
            !ids.is_empty()
        });
        ids.remove(0)
    }
}

/// Every page of the map that a person can open here.
pub fn pages(id: &str) -> Vec<String> {
    let mut pages: Vec<String> = [
        "/",
        "/overview",
        "/incidents",
        "/slos",
        "/slos/checkout-api",
        "/slos/checkout-api?region=eu-west&range=6h",
        "/silences",
        "/silences?state=expired",
        "/silences/new?m=service%3Dshop&for=3d&confirm=1",
        "/rules",
        "/rules/checkout-api",
        "/rules/file/shop.rhai?line=2",
        "/health",
        "/reports/week/2026-11-19",
        "/reports/month/2026-11-19",
        "/reports/quarter/2026-11-19",
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
