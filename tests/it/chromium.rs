//! A headless Chromium, driven over its DevTools pipe: JSON messages, each ended by a zero byte.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use serde_json::{Value, json};

/// One tab of a headless Chromium.
pub struct Browser {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    session: String,
    next: u64,
    /// What the console, the log and the security policy had to say.
    pub said: Vec<String>,
    base: String,
    _profile: tempfile::TempDir,
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The browser that is installed, if one is.
pub fn chromium() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .flat_map(|folder| ["chromium", "chromium-browser", "google-chrome"].map(|name| folder.join(name)))
        .find(|path| path.is_file())
}

impl Browser {
    /// Opens it on what listens on this port of this machine; `more` are arguments.
    pub fn start(path: &Path, port: u16, more: &[&str]) -> Browser {
        let profile = tempfile::tempdir().expect("a folder");
        // The browser reads commands from descriptor 3 and writes to 4.
        let mut child = Command::new("sh")
            .args(["-c", "exec \"$@\" 3<&0 4>&1 </dev/null >/dev/null 2>&1", "sh"])
            .arg(path)
            .args("--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update --disable-sync --disable-dev-shm-usage --hide-scrollbars --remote-debugging-pipe".split(' '))
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .args(more)
            .arg("about:blank")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("chromium starts");
        let to = child.stdin.take().expect("a pipe");
        let from = BufReader::new(child.stdout.take().expect("a pipe"));
        let base = format!("http://127.0.0.1:{port}");
        let mut browser = Browser { child, to, from, session: String::new(), next: 0, said: Vec::new(), base, _profile: profile };
        let targets = browser.call("Target.getTargets", json!({}));
        let page = targets["targetInfos"].as_array().and_then(|all| all.iter().find(|one| one["type"] == "page")).expect("a tab").clone();
        let attached = browser.call("Target.attachToTarget", json!({ "targetId": page["targetId"], "flatten": true }));
        browser.session = attached["sessionId"].as_str().expect("a session").to_owned();
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.call(&format!("{domain}.enable"), json!({}));
        }
        browser
    }

    fn read(&mut self) -> Value {
        let mut bytes = Vec::new();
        self.from.read_until(0, &mut bytes).expect("chromium answers");
        assert_eq!(bytes.pop(), Some(0), "chromium ended");
        let message: Value = serde_json::from_slice(&bytes).expect("a JSON message");
        let text = |value: &Value| value.to_string();
        match message["method"].as_str() {
            Some("Log.entryAdded") => self.said.push(text(&message["params"]["entry"])),
            Some("Runtime.consoleAPICalled" | "Runtime.exceptionThrown") => self.said.push(text(&message["params"])),
            Some("Page.javascriptDialogOpening") => self.said.push(format!("a dialog opened: {}", text(&message["params"]))),
            Some(_) | None => {}
        }
        message
    }

    /// One command and its answer.
    pub fn call(&mut self, method: &str, params: Value) -> Value {
        let id = self.post(method, params);
        loop {
            let mut message = self.read();
            if message["id"] == id {
                assert!(message["error"].is_null(), "{method}: {}", message["error"]);
                return message["result"].take();
            }
        }
    }

    /// A command whose answer is not waited for.
    pub fn post(&mut self, method: &str, params: Value) -> u64 {
        self.next += 1;
        let mut message = json!({ "id": self.next, "method": method, "params": params });
        if !self.session.is_empty() {
            message["sessionId"] = json!(self.session);
        }
        let mut bytes = message.to_string().into_bytes();
        bytes.push(0);
        self.to.write_all(&bytes).expect("chromium listens");
        self.next
    }

    /// Reads until this event has come.
    pub fn until(&mut self, event: &str) {
        while self.read()["method"] != event {}
    }

    /// Opens a page.
    pub fn open(&mut self, path: &str) {
        let url = format!("{}{path}", self.base);
        self.post("Page.navigate", json!({ "url": url }));
        self.until("Page.loadEventFired");
    }

    /// The value of an expression in the page.
    pub fn ask(&mut self, expression: &str) -> Value {
        let mut answer = self.call("Runtime.evaluate", json!({ "expression": expression, "returnByValue": true, "awaitPromise": true }));
        assert!(answer["exceptionDetails"].is_null(), "{expression}: {answer}");
        answer["result"]["value"].take()
    }

    /// Does something that leads to another page.
    pub fn act(&mut self, expression: &str) {
        self.post("Runtime.evaluate", json!({ "expression": expression }));
        self.until("Page.loadEventFired");
    }

    /// Presses one key.
    pub fn key(&mut self, key: &str) {
        let (text, code) = match key {
            "Enter" => ("\r", 13),
            "Tab" => ("", 9),
            other => (other, 0),
        };
        let press = |kind: &str| json!({ "type": kind, "key": key, "text": if kind == "keyDown" { text } else { "" }, "windowsVirtualKeyCode": code });
        self.post("Input.dispatchKeyEvent", press("keyDown"));
        self.post("Input.dispatchKeyEvent", press("keyUp"));
    }

    /// Presses a key that leads to another page.
    pub fn key_to(&mut self, key: &str) {
        self.key(key);
        self.until("Page.loadEventFired");
    }

    /// Types a text where the focus is.
    pub fn type_in(&mut self, text: &str) {
        self.call("Input.insertText", json!({ "text": text }));
    }

    /// Waits until an expression is true in the page.
    pub fn wait(&mut self, what: &str, expression: &str) {
        let until = Instant::now() + Duration::from_secs(30);
        while self.ask(expression) != true {
            assert!(Instant::now() < until, "not within 30 s: {what}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// The page as a picture: PNG.
    pub fn picture(&mut self) -> Vec<u8> {
        let answer = self.call("Page.captureScreenshot", json!({ "format": "png" }));
        base64::engine::general_purpose::STANDARD.decode(answer["data"].as_str().expect("a picture")).expect("base64")
    }

    /// Size of the window, and the theme of the system.
    pub fn look(&mut self, width: u32, height: u32, dark: bool) {
        self.look_sharp(width, height, 1, dark);
    }

    /// The same with several dots of the screen for each of the page.
    pub fn look_sharp(&mut self, width: u32, height: u32, dots: u32, dark: bool) {
        self.call(
            "Emulation.setDeviceMetricsOverride",
            json!({ "width": width, "height": height, "deviceScaleFactor": dots, "mobile": false }),
        );
        let scheme = if dark { "dark" } else { "light" };
        self.call("Emulation.setEmulatedMedia", json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] }));
    }

    /// Whether pages may run scripts.
    pub fn scripts(&mut self, on: bool) {
        self.call("Emulation.setScriptExecutionDisabled", json!({ "value": !on }));
    }

    /// What the page says an action came to.
    pub fn outcome(&mut self) -> String {
        self.ask("document.querySelector('#outcome')?.innerText ?? ''").as_str().unwrap_or_default().to_owned()
    }
}

/// The checks of axe-core, if `tests/run` has fetched them.
pub fn axe() -> Option<String> {
    std::fs::read_to_string(cache()?.join("axe-4.14.1.min.js")).ok()
}

/// Where `tests/run` keeps what it fetches for tests: outside of the tree.
pub fn cache() -> Option<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))?;
    Some(cache.join("burnwatch"))
}
