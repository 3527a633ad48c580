//! The real SDKs in a real browser: what the pages did is what burnwatch counted, to the last one.
//!
//! The pages of `tests/sdk/` load, are clicked on, fail and are left; each tells the shop's own server what it did. The
//! SDKs come from npm into a cache outside of the tree (`tests/run` puts them there), none of them is changed.
//! Without them, Node.js or Chromium these tests are left out and say so.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::chromium::{Browser, cache, chromium};
use super::daemon::{Daemon, post};
use super::shop::{Front, Shop};

const SDKS: [&str; 4] = ["faro", "otel", "sentry", "vitals"];
const CONFIGURATION: &str = "[aggregation]\nbucket = \"1s\"\nsettle = \"200ms\"\n";
/// What everybody has: not the name of a headless browser, which would make them bots. As an argument, because what DevTools sets
/// does not hold for a page's last beacons.
const AGENT: &str = "--user-agent=Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36";

/// The folder of the bundles, made once for all tests here.
fn bundles() -> Option<PathBuf> {
    static MADE: OnceLock<Option<PathBuf>> = OnceLock::new();
    MADE.get_or_init(bundle).clone()
}

fn bundle() -> Option<PathBuf> {
    let Some(packages) = cache().map(|cache| cache.join("sdk/node_modules")).filter(|folder| folder.join(".bin/esbuild").exists()) else {
        eprintln!("left out: the SDKs are not in the cache; tests/run fetches them");
        return None;
    };
    let to = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("sdk");
    let from = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/sdk");
    let made = Command::new(packages.join(".bin/esbuild"))
        .args(SDKS.map(|sdk| from.join(sdk).with_extension("js")))
        .args(["--bundle", "--minify", "--log-level=warning", "--define:process.env.NODE_ENV=\"production\""])
        .arg(format!("--outdir={}", to.display()))
        .env("NODE_PATH", &packages)
        .output();
    match made {
        Ok(made) => assert!(made.status.success(), "esbuild: {}", String::from_utf8_lossy(&made.stderr)),
        Err(error) => {
            eprintln!("left out: esbuild does not run: {error}");
            return None;
        }
    }
    Some(to)
}

/// Daemon, load balancer, shop and a visitor.
struct Street {
    daemon: Daemon,
    front: Front,
    shop: Shop,
    browser: Browser,
}

impl Street {
    /// Nothing if what it takes is not installed.
    fn build(cut_of_five: usize, query: &'static str) -> Option<Street> {
        let Some(chromium) = chromium() else {
            eprintln!("left out: chromium is not installed");
            return None;
        };
        let scripts = bundles()?;
        let mut daemon = Daemon::new(&format!("keys = [\"public\"]\n{CONFIGURATION}"), "");
        daemon.start();
        let front = Front::start(daemon.intake, cut_of_five);
        let shop = Shop::start(scripts, front.address, query);
        let mut browser = Browser::start(&chromium, shop.address.port(), &[AGENT]);
        browser.look(1280, 800, false);
        // Beacons carry the cookies of the host they go to, whatever anybody thinks of that.
        let cookie = json!({ "name": "visitor", "value": "do-not-keep", "url": format!("http://{}/", front.address) });
        browser.call("Network.setCookie", cookie);
        Some(Street { daemon, front, shop, browser })
    }

    /// A real click, by which the browser knows that there is a person, on what that person can see by now.
    fn click(&mut self) {
        self.until("painted");
        let button = "(() => { const r = document.querySelector('button').getBoundingClientRect(); return [r.x + 5, r.y + 5] })()";
        let at = self.browser.ask(button);
        for kind in ["mousePressed", "mouseReleased"] {
            let click = json!({ "type": kind, "x": at[0], "y": at[1], "button": "left", "clickCount": 1 });
            self.browser.call("Input.dispatchMouseEvent", click);
        }
    }

    /// Waits for what the page says of itself.
    fn until(&mut self, what: &str) {
        let wait = format!(
            "new Promise(done => {{ let n = 0; const look = () => window.{what} || ++n > 2000 ? done(!!window.{what}) : setTimeout(look, 5); look() }})"
        );
        assert_eq!(self.browser.ask(&wait), true, "the page is never {what}; it said {:?}", 0);
    }

    /// A visit of two pages: a checkout in which everything fails that can, and a product page that is left at once.
    fn visit(&mut self, sdk: &str, first: u32) {
        self.browser.open(&format!("/{sdk}/checkout/{first}?new"));
        self.click();
        self.until("finished");
        self.leave(sdk, first + 1);
    }

    fn leave(&mut self, sdk: &str, next: u32) {
        self.browser.open(&format!("/{sdk}/product/{next}"));
        self.click();
        self.until("finished");
        self.browser.open("/");
    }

    /// Total and bad of a metric by one of its dimensions, as `/v1/query` has them.
    fn counts(&self, sdk: &str, metric: &str, by: Option<&str>) -> BTreeMap<String, [u64; 2]> {
        let ask = json!({ "metric": metric, "where": { "app": format!("{sdk}-shop"), "device": "desktop", "browser": "chrome" }, "by": by.into_iter().collect::<Vec<_>>() });
        let answer = post(self.daemon.admin, "/v1/query", &ask.to_string());
        let answer: Value = answer.and_then(|(_, body)| serde_json::from_str(&body).ok()).unwrap_or_default();
        let series = answer["series"].as_array().unwrap_or_else(|| panic!("{answer}"));
        let sum = |line: &Value, what: &str| -> u64 {
            let points = line["points"].as_array().into_iter().flatten();
            points.map(|point| point[what].as_f64().expect("a number").round() as u64).sum()
        };
        let label = |line: &Value| by.and_then(|by| line["labels"][by].as_str()).unwrap_or_default().to_owned();
        series.iter().map(|line| (label(line), [sum(line, "total"), sum(line, "bad")])).filter(|(_, [total, _])| *total > 0).collect()
    }

    /// What burnwatch counted and what the pages did, in the same words.
    fn compare(&self, sdk: &str) -> [BTreeMap<&'static str, [u64; 2]>; 2] {
        let one = |metric, by: Option<&str>, label: &str| self.counts(sdk, metric, by).get(label).copied().unwrap_or_default();
        let counted = BTreeMap::from([
            ("page_view hard", one("page_view", Some("nav"), "hard")),
            ("page_view soft", one("page_view", Some("nav"), "soft")),
            ("page_view of all kinds", one("page_view", None, "")),
            ("request", one("request", None, "")),
            ("js_error", one("js_error", None, "")),
            ("session", one("session", None, "")),
            ("lcp hard", one("lcp", Some("nav"), "hard")),
        ]);
        let did = |what| self.shop.truth(sdk, what);
        let all_bad = |[all, _]: [u64; 2]| [all, all];
        let truth = BTreeMap::from([
            ("page_view hard", did("hard")),
            ("page_view soft", did("soft")),
            ("page_view of all kinds", [did("hard")[0] + did("soft")[0], 0]),
            ("request", did("request")),
            ("js_error", all_bad(did("js_error"))),
            ("session", did("session")),
            ("lcp hard", did("lcp")),
        ]);
        [counted, truth]
    }

    /// Waits for the last word of the SDKs and for its flush; then nothing is missing, and nothing counted twice.
    fn check(&self) {
        self.front.settled(Duration::from_millis(1_500));
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(10) && SDKS.iter().any(|sdk| self.compare(sdk)[0] != self.compare(sdk)[1]) {
            std::thread::sleep(Duration::from_millis(200));
        }
        std::thread::sleep(Duration::from_millis(1_500));
        let mut wrong = Vec::new();
        for sdk in SDKS {
            let [counted, truth] = self.compare(sdk);
            for (what, count) in counted {
                if truth[what] != count {
                    wrong.push(format!("{sdk}: {what}: the pages did {:?}, counted are {count:?} (total, bad)", truth[what]));
                }
            }
            let routes: Vec<String> = self.counts(sdk, "request", Some("route")).into_keys().collect();
            assert_eq!(routes, ["/api/drop", "/api/fail", "/api/ok"], "{sdk}: addresses without what is secret in them");
            assert!(truth.values().all(|[all, _]| *all > 0), "{sdk} did nothing: {truth:?}");
        }
        let log = self.daemon.log();
        assert!(wrong.is_empty(), "{}\n{log}", wrong.join("\n"));
        assert!(!log.contains("do-not-keep"), "a secret is in the log:\n{log}");
    }
}

/// Cross-origin as browsers do it: permission first where it is needed, cookies and all, and a concrete origin in every answer.
fn check_cors(street: &Street) {
    let origin = format!("http://{}", street.shop.address);
    let passed = street.front.passed();
    for post in &passed {
        assert!((200..300).contains(&post.status) && post.allowed_origin == origin && post.allows_credentials, "{post:?}");
    }
    let path = |path: &str| path.split('?').next().unwrap_or_default().to_owned();
    let asked: BTreeSet<String> = street.front.preflights().iter().map(|asked| path(asked)).collect();
    assert_eq!(asked, ["/collect", "/v1/logs", "/v1/rum", "/v1/traces"].map(str::to_owned).into(), "Sentry and texts ask for nothing");
    for kind in ["text/plain", "application/json"] {
        let beacon = passed.iter().find(|post| path(&post.path) == "/v1/rum" && post.content_type.starts_with(kind));
        assert!(beacon.is_some_and(|beacon| beacon.cookie), "a beacon of {kind} comes with the cookies of the host: {beacon:?}");
    }
}

#[test]
fn what_pages_did_is_what_is_counted() {
    let Some(mut street) = Street::build(0, "?key=public") else { return };
    for sdk in SDKS {
        street.visit(sdk, 1);
        street.visit(sdk, 3);
    }
    street.check();
    check_cors(&street);
}

#[test]
fn a_proxy_that_cuts_answers_makes_nothing_count_twice() {
    let Some(mut street) = Street::build(1, "?key=public") else { return };
    for sdk in SDKS {
        street.visit(sdk, 1);
        street.visit(sdk, 3);
    }
    street.check();
    let cut: BTreeSet<String> = street.front.passed().iter().filter(|post| post.cut).map(|post| post.path.clone()).collect();
    assert!(cut.len() >= SDKS.len(), "answers of all of them were cut: {cut:?}");
}

/// The second visit begins while the daemon is dead and ends when it is back.
///
/// With `ack=durable` a 2xx says that the events are stored, so nothing that was answered may be lost, and what was not
/// answered the load balancer sends again: all has to be there, once. Without it a SIGKILL may take what was answered in the
/// last second; what nobody ever answers (a client that is not retried by anyone) is lost in any case, and no test can ask for it.
#[test]
fn a_daemon_that_is_killed_in_the_middle_loses_nothing_it_answered_for() {
    let Some(mut street) = Street::build(0, "?key=public&ack=durable") else { return };
    for sdk in SDKS {
        street.visit(sdk, 1);
        street.front.settled(Duration::from_millis(500));
        street.daemon.kill();
        street.browser.open(&format!("/{sdk}/checkout/3?new"));
        street.click();
        std::thread::sleep(Duration::from_millis(200));
        street.daemon.start();
        street.until("finished");
        street.leave(sdk, 4);
    }
    street.check();
}
