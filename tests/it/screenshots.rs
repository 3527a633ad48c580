//! Pictures of the demo for README and for looking at: `BURNWATCH_SCREENSHOTS=1 cargo test --test it pictures`
//! writes them into `tests/screenshots/`. Left out otherwise, and where Chromium is missing.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::chromium::{Browser, chromium};

/// Larger pictures would make the repository heavy.
const BYTES_MAX: usize = 200_000;

/// The demo, ended with the test.
struct Demo(Child);

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Name, window, dots of the screen for each of the page, and theme.
const SCREENS: [(&str, u32, u32, u32, bool); 4] =
    [("", 1280, 1100, 1, false), ("-dark", 1280, 1100, 1, true), ("-phone", 390, 844, 2, false), ("-phone-dark", 390, 844, 2, true)];

#[test]
fn pictures_of_the_demo() {
    if std::env::var_os("BURNWATCH_SCREENSHOTS").is_none() {
        eprintln!("left out: BURNWATCH_SCREENSHOTS is not set");
        return;
    }
    let chromium = chromium().expect("chromium is installed");
    let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port();
    let demo = Command::new(env!("CARGO_BIN_EXE_burnwatch"))
        .args(["demo", "--port", &port.to_string()])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the demo starts");
    let _demo = Demo(demo);
    let mut browser = Browser::start(&chromium, port);
    let until = Instant::now() + Duration::from_secs(600);
    let id = loop {
        assert!(Instant::now() < until, "no incident was explained within ten minutes");
        std::thread::sleep(Duration::from_secs(2));
        browser.open("/v1/incidents?status=open&severity=page");
        let text = browser.ask("document.body.innerText");
        let listed: Value = text.as_str().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        let incident = &listed["items"][0];
        let users = incident["impact"]["affected_users"].as_u64().unwrap_or(0);
        if incident["verdict"] == "segment" && users >= 40 {
            break incident["id"].as_str().expect("an id").to_owned();
        }
    };
    let pages = [
        ("on-call", "/".to_owned()),
        ("incident", format!("/incidents/{id}")),
        ("overview", "/overview".to_owned()),
        ("slo", "/slos/checkout-api".to_owned()),
        ("health", "/health".to_owned()),
        ("inbox", "/inbox".to_owned()),
    ];
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/screenshots");
    for (name, path) in pages {
        browser.open(&path);
        for (suffix, width, height, dots, dark) in SCREENS {
            // All themes and screens for what people see at night; for the rest a bright desk and a dark bed.
            if !matches!(name, "incident" | "on-call") && matches!(suffix, "-dark" | "-phone") {
                continue;
            }
            browser.look_sharp(width, height, dots, dark);
            let picture = browser.picture();
            assert!(picture.len() <= BYTES_MAX, "{name}{suffix} has {} bytes", picture.len());
            std::fs::write(folder.join(format!("{name}{suffix}.png")), picture).expect("a picture is written");
        }
    }
}
