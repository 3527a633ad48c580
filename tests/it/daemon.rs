//! The program itself, run in a folder of its own, and receivers that remember what they got.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

/// A folder with a configuration and rules, in which the daemon runs again and again.
pub struct Daemon {
    folder: tempfile::TempDir,
    pub admin: SocketAddr,
    pub intake: SocketAddr,
    process: Option<Child>,
    variables: Vec<(String, String)>,
}

impl Daemon {
    /// `more` goes on in the section `[intake]` of a configuration with free ports; `rules` is the only rule file. Nothing runs yet.
    pub fn new(more: &str, rules: &str) -> Daemon {
        Daemon::delivering("", more, rules)
    }

    /// The same with more keys of `[delivery]`.
    pub fn delivering(delivery: &str, more: &str, rules: &str) -> Daemon {
        let folder = tempfile::tempdir().expect("a folder");
        let (admin, intake) = (free_port(), free_port());
        let configuration = format!(
            "[server]\nlisten = \"{admin}\"\npublic_url = \"http://{admin}\"\n[delivery]\nallow_private = [\"127.0.0.0/8\"]\n{delivery}[intake]\nlisten = \"{intake}\"\n{more}"
        );
        std::fs::create_dir(folder.path().join("rules")).expect("a folder");
        std::fs::write(folder.path().join("burnwatch.toml"), configuration).expect("the folder can be written");
        std::fs::write(folder.path().join("rules/rules.rhai"), rules).expect("the folder can be written");
        Daemon { folder, admin, intake, process: None, variables: Vec::new() }
    }

    /// Adds a variable to the environment that it runs in.
    pub fn with(mut self, name: &str, value: &str) -> Daemon {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A command of the program, in the same folder and environment, against this daemon.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_burnwatch"));
        command.args(arguments).current_dir(self.folder.path()).envs(self.variables.iter().cloned());
        command
    }

    /// The number of its process.
    pub fn pid(&self) -> u32 {
        self.process.as_ref().expect("it runs").id()
    }

    /// Puts other rules into the only rule file.
    pub fn set_rules(&self, rules: &str) {
        std::fs::write(self.folder.path().join("rules/rules.rhai"), rules).expect("the folder can be written");
    }

    /// Puts a file into the folder.
    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.folder.path().join(name), text).expect("the folder can be written");
    }

    /// Runs another command in the folder and waits for its end.
    pub fn output(&self, args: &[&str]) -> std::process::Output {
        self.command(args).output().expect("the program starts")
    }

    fn log_path(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// Starts the program and waits until it is ready.
    pub fn start(&mut self) {
        self.spawn();
        self.wait();
    }

    fn wait(&self) {
        let began = Instant::now();
        while get(self.admin, "/readyz").is_none_or(|(status, _)| status != 200) {
            assert!(began.elapsed() < Duration::from_secs(30), "not ready:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Starts the program and does not wait.
    pub fn spawn(&mut self) {
        let log = std::fs::File::options().create(true).append(true).open(self.log_path()).expect("a log");
        let mut command = self.command(&["run"]);
        command.stdout(Stdio::null()).stderr(log);
        self.process = Some(command.spawn().expect("the program starts"));
    }

    /// Starts it so that a write beyond the largest size of a file is an error to it, not its end; see [`Daemon::limit_files`].
    pub fn start_with_room(&mut self) {
        let log = std::fs::File::options().create(true).append(true).open(self.log_path()).expect("a log");
        let mut command = Command::new("bash");
        command.args(["-c", "trap '' XFSZ; exec \"$0\" run", env!("CARGO_BIN_EXE_burnwatch")]);
        command.current_dir(self.folder.path()).envs(self.variables.iter().cloned()).stdout(Stdio::null()).stderr(log);
        self.process = Some(command.spawn().expect("the program starts"));
        self.wait();
    }

    /// Lets no file grow beyond so many bytes from now on, as on a disk without room; `None`: as far as it likes.
    pub fn limit_files(&self, bytes: Option<u64>) {
        let limit = bytes.map_or("unlimited".to_owned(), |bytes| bytes.to_string());
        let status = Command::new("prlimit").args(["--pid", &self.pid().to_string(), &format!("--fsize={limit}:")]).status();
        assert!(status.expect("prlimit is part of util-linux").success());
    }

    /// Starts the program a second time on other ports and waits for its end.
    pub fn run_beside(&self) -> std::process::Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_burnwatch"));
        command.arg("run").current_dir(self.folder.path());
        command.env("BURNWATCH_SERVER__LISTEN", free_port().to_string()).env("BURNWATCH_INTAKE__LISTEN", free_port().to_string());
        command.output().expect("the program starts")
    }

    /// SIGKILL: no chance to tidy up.
    pub fn kill(&mut self) {
        let mut process = self.process.take().expect("it runs");
        process.kill().expect("it is ours to kill");
        process.wait().expect("it is our child");
    }

    /// Sends it a signal, by name.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.pid().to_string()]).status();
        assert!(status.expect("kill is on every machine").success());
    }

    /// Everything that it keeps on disk, apart from what it was given.
    pub fn files(&self, out: &mut Vec<(PathBuf, Vec<u8>)>) {
        fn walk(folder: &std::path::Path, out: &mut Vec<(PathBuf, Vec<u8>)>) {
            for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
                match entry.path() {
                    path if path.is_dir() => walk(&path, out),
                    path => out.push((path.clone(), std::fs::read(path).expect("a file"))),
                }
            }
        }
        walk(self.folder.path(), out);
    }

    /// Memory that it holds now, in KiB.
    pub fn memory(&self) -> u64 {
        let id = self.process.as_ref().expect("it runs").id();
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).expect("it lives");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("every process has memory");
        line.trim().trim_end_matches(" kB").trim().parse().expect("a number")
    }

    /// What all its lives wrote to the log.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.process.is_some() {
            self.kill();
        }
    }
}

fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port")
}

/// The status and body of a GET; nothing if nobody answers.
pub fn get(to: SocketAddr, path: &str) -> Option<(u16, String)> {
    ask(to, &format!("GET {path} HTTP/1.1\r\nhost: {to}\r\nconnection: close\r\n\r\n"))
}

/// The status and body of a POST; nothing if nobody answers.
pub fn post(to: SocketAddr, path: &str, body: &str) -> Option<(u16, String)> {
    post_with(to, path, "", body)
}

/// A POST with more headers, each with its line end.
pub fn post_with(to: SocketAddr, path: &str, headers: &str, body: &str) -> Option<(u16, String)> {
    let length = body.len();
    ask(
        to,
        &format!(
            "POST {path} HTTP/1.1\r\nhost: {to}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n{headers}connection: close\r\n\r\n{body}"
        ),
    )
}

/// The status and body of the answer to a request as it is written; nothing if nobody answers.
pub fn ask(to: SocketAddr, request: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(to).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
}

/// One request that a receiver got.
#[derive(Clone, Debug)]
pub struct Got {
    /// `webhook-id`: the delivery id.
    pub id: String,
    /// Null if it was no JSON.
    pub payload: Value,
}

impl Got {
    pub fn kind(&self) -> &str {
        self.payload["type"].as_str().unwrap_or("")
    }

    pub fn incident(&self) -> &str {
        self.payload["data"]["incident"]["id"].as_str().unwrap_or("")
    }
}

/// A receiver that accepts everything and remembers it.
#[derive(Clone)]
pub struct Receiver {
    pub address: SocketAddr,
    got: Arc<Mutex<Vec<Got>>>,
}

impl Receiver {
    pub fn start() -> Receiver {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let got: Arc<Mutex<Vec<Got>>> = Arc::default();
        let remember = got.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let got = remember.clone();
                std::thread::spawn(move || while take(&mut BufReader::new(&stream), &got).is_some() {});
            }
        });
        Receiver { address, got }
    }

    pub fn got(&self) -> Vec<Got> {
        self.got.lock().expect("nobody panics with it").clone()
    }
}

fn take(stream: &mut BufReader<&TcpStream>, got: &Mutex<Vec<Got>>) -> Option<()> {
    let (mut length, mut id, mut line) = (0, String::new(), String::new());
    loop {
        line.clear();
        if stream.read_line(&mut line).ok()? == 0 {
            return None;
        }
        match line.trim_end().split_once(':') {
            None if line.trim_end().is_empty() => break,
            None => {}
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => length = value.trim().parse().ok()?,
            Some((name, value)) if name.eq_ignore_ascii_case("webhook-id") => id = value.trim().to_owned(),
            Some(_) => {}
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    // Remembered before it is answered: a sender that is killed in between has to send again, and is seen doing so.
    got.lock().expect("nobody panics with it").push(Got { id, payload: serde_json::from_slice(&body).unwrap_or_default() });
    let mut socket = *stream.get_ref();
    socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").ok()
}
