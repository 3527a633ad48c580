//! Rules that follow a repository: a real daemon, a real git, a bare repository as the remote.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use burnwatch::app::{self, Options, Running, StartError};
use burnwatch::clock::SystemClock;
use burnwatch::config::{Config, Environment, Purpose};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const GOOD: &str = r#"slo("api", #{ objective: 99.9, service: "shop", sli: good("request", #{ app: "shop" }) });"#;
const BAD: &str = "\n\nslo(\"api\", #{ objektive: 99.9, service: \"shop\", sli: good(\"request\", #{ app: \"shop\" }) });";

/// A bare remote and a work tree that pushes to it.
struct Bench {
    folder: TempDir,
}

fn git(folder: &Path, args: &[&str]) -> String {
    let quiet = ["-c", "user.name=ada", "-c", "user.email=ada@example.com", "-c", "commit.gpgSign=false", "-c", "init.defaultBranch=main"];
    let run = Command::new("git").arg("-C").arg(folder).args(quiet).args(args).env("GIT_CONFIG_GLOBAL", "/dev/null").output();
    let output = run.expect("these tests need git");
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

impl Bench {
    fn new() -> Bench {
        let bench = Bench { folder: tempfile::tempdir().unwrap() };
        std::fs::create_dir(bench.work()).unwrap();
        git(bench.folder.path(), &["init", "--quiet", "--bare", "remote.git"]);
        git(&bench.work(), &["init", "--quiet"]);
        git(&bench.work(), &["remote", "add", "origin", "../remote.git"]);
        bench
    }

    fn work(&self) -> PathBuf {
        self.folder.path().join("work")
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.work().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// Commits everything and gives the commit.
    fn commit(&self, message: &str) -> String {
        git(&self.work(), &["add", "--all"]);
        git(&self.work(), &["commit", "--quiet", "--message", message]);
        git(&self.work(), &["rev-parse", "HEAD"])
    }

    fn push(&self) {
        git(&self.work(), &["push", "--quiet", "--force", "origin", "HEAD:main"]);
    }

    fn config(&self, rules: &str) -> Config {
        let text = format!("[server]\nlisten = \"127.0.0.1:0\"\n[intake]\nlisten = \"127.0.0.1:0\"\n[rules]\n{rules}\n");
        Config::from_text(Some(&self.folder.path().join("burnwatch.toml")), &text, &Environment::default(), Purpose::Serve).unwrap()
    }

    fn remote(&self, more: &str) -> Config {
        self.config(&format!("git = {{ remote = \"file://{}/remote.git\", every = \"1s\"{more} }}", self.folder.path().display()))
    }
}

async fn start(config: Config) -> Running {
    app::start(config, Arc::new(SystemClock), Options::default()).await.unwrap()
}

async fn get(running: &Running, path: &str) -> Value {
    let mut stream = TcpStream::connect(running.admin).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", running.admin);
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{path}: {answer}");
    let body = if head.to_lowercase().contains("transfer-encoding: chunked") { unchunked(body) } else { body.to_owned() };
    serde_json::from_str(&body).unwrap_or_else(|error| panic!("{path}: {error}: {body}"))
}

fn unchunked(mut body: &str) -> String {
    let mut whole = String::new();
    while let Some((length, rest)) = body.split_once("\r\n") {
        let length = usize::from_str_radix(length, 16).unwrap();
        whole.push_str(&rest[..length]);
        body = &rest[length + 2..];
    }
    whole
}

/// Asks again and again until the answer fits.
async fn until(running: &Running, path: &str, fits: impl Fn(&Value) -> bool) -> Value {
    let began = Instant::now();
    loop {
        let answer = get(running, path).await;
        if fits(&answer) {
            return answer;
        }
        assert!(began.elapsed() < Duration::from_secs(30), "{path} stays {answer}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Waits until so many operator incidents about rules are open and `fits` likes their titles.
async fn incidents(running: &Running, count: usize, fits: impl Fn(&str) -> bool) -> Vec<Value> {
    let about_rules = |all: &Value| -> Vec<Value> {
        let items = all["items"].as_array().unwrap().iter();
        items.filter(|incident| incident["key"].as_str().unwrap().contains("burnwatch-rules")).cloned().collect()
    };
    let fit = |all: &Value| {
        let found = about_rules(all);
        found.len() == count && found.iter().all(|incident| fits(incident["title"].as_str().unwrap()))
    };
    about_rules(&until(running, "/v1/incidents?status=open", fit).await)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_branch_is_followed_forward_only_and_survives_its_remote() {
    let bench = Bench::new();
    bench.write("rules/shop.rhai", GOOD);
    bench.write("README.md", "rules");
    let first = bench.commit("first");
    bench.push();
    let running = start(bench.remote("")).await;
    let rules = get(&running, "/v1/rules").await;
    assert_eq!((&rules["revision"], &rules["error"]), (&Value::from(first.clone()), &Value::Null));
    assert_eq!(rules["slos"][0]["place"], "shop.rhai:1:1");

    // A good commit is live within `every`.
    bench.write("rules/shop.rhai", &GOOD.replace("99.9", "99.5"));
    let second = bench.commit("second");
    bench.push();
    let rules = until(&running, "/v1/rules", |rules| rules["revision"] == second.as_str()).await;
    assert_eq!(rules["slos"][0]["objective"], 99.5);

    // A bad one leaves the last good one, and one incident says where.
    bench.write("rules/shop.rhai", BAD);
    let bad = bench.commit("bad");
    bench.push();
    let rules = until(&running, "/v1/rules", |rules| !rules["error"].is_null()).await;
    assert_eq!((&rules["revision"], &rules["refused_revision"]), (&Value::from(second.clone()), &Value::from(bad.clone())));
    assert!(rules["error"].as_str().unwrap().starts_with("shop.rhai:3:"), "{rules}");
    let says = |title: &str| title.contains(&bad[..12]) && title.contains("shop.rhai:3:15: error: ") && title.contains("objective");
    let open = incidents(&running, 1, says).await;
    assert_eq!((&open[0]["severity"], &open[0]["revision"]), (&Value::from("page"), &Value::from(second.clone())));

    // Another bad one changes what the incident says, not their number.
    bench.write("rules/shop.rhai", &format!("\n{BAD}"));
    bench.commit("worse");
    bench.push();
    until(&running, "/v1/rules", |rules| rules["error"].as_str().is_some_and(|error| error.starts_with("shop.rhai:4:"))).await;
    incidents(&running, 1, |title| title.contains("shop.rhai:4:15")).await;

    // A good one resolves it.
    bench.write("rules/shop.rhai", &GOOD.replace("99.9", "99.95"));
    let mended = bench.commit("mended");
    bench.push();
    until(&running, "/v1/rules", |rules| rules["revision"] == mended.as_str() && rules["error"].is_null()).await;
    incidents(&running, 0, |_| true).await;

    // A rewritten history is refused, whatever it holds.
    git(&bench.work(), &["reset", "--quiet", "--hard", &first]);
    bench.write("rules/shop.rhai", &GOOD.replace("99.9", "90"));
    let rewritten = bench.commit("rewritten");
    bench.push();
    let rules = until(&running, "/v1/rules", |rules| !rules["error"].is_null()).await;
    assert_eq!((&rules["revision"], &rules["refused_revision"]), (&Value::from(mended.clone()), &Value::from(rewritten)));
    assert!(rules["error"].as_str().unwrap().contains("was rewritten"), "{rules}");
    incidents(&running, 1, |title| title.contains("was rewritten")).await;
    running.stop().await;

    // The remote is gone, and so is the clone: the last good set is in the database.
    std::fs::rename(bench.folder.path().join("remote.git"), bench.folder.path().join("gone.git")).unwrap();
    for entry in std::fs::read_dir(bench.folder.path().join("burnwatch-data")).unwrap().flatten() {
        if entry.file_type().unwrap().is_dir() {
            std::fs::remove_dir_all(entry.path()).unwrap();
        }
    }
    let running = start(bench.remote("")).await;
    let rules = until(&running, "/v1/rules", |rules| !rules["error"].is_null()).await;
    assert_eq!((&rules["revision"], &rules["slos"][0]["objective"]), (&Value::from(mended), &Value::from(99.95)));
    assert!(rules["error"].as_str().unwrap().contains("git fetch failed"), "{rules}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_start_needs_rules_that_are_good() {
    let bench = Bench::new();
    let start = |config| app::start(config, Arc::new(SystemClock), Options::default());
    let error = start(bench.remote("")).await.err().unwrap();
    assert!(matches!(&error, StartError::Unreachable(why) if why.contains("main")), "{error}");
    bench.write("shop.rhai", BAD);
    bench.commit("bad");
    bench.push();
    let error = start(bench.remote("")).await.err().unwrap();
    assert!(matches!(&error, StartError::Rules(report) if report.starts_with("shop.rhai:3:")), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_repository_holds_stays_inside_it() {
    let bench = Bench::new();
    let refused = async |expected: &str| {
        bench.commit(expected);
        bench.push();
        let error = app::start(bench.remote(""), Arc::new(SystemClock), Options::default()).await.err().unwrap();
        assert!(matches!(&error, StartError::Rules(report) if report.contains(expected)), "{expected}: {error}");
    };
    bench.write("README.md", "nothing else");
    refused("the commit has no rules files").await;
    bench.write("shop.rhai", GOOD);
    std::os::unix::fs::symlink("/etc/passwd", bench.work().join("link.rhai")).unwrap();
    refused("link.rhai: a link must lead to another rules file").await;
    std::fs::remove_file(bench.work().join("link.rhai")).unwrap();
    bench.write("large.rhai", &"// x\n".repeat(1 << 20));
    refused("large.rhai: a rules file may have at most 4 MiB").await;
    std::fs::remove_file(bench.work().join("large.rhai")).unwrap();

    // A link inside the folder is the file that it leads to.
    bench.write("lib/limit.rhai", "fn limit() { 99.9 }");
    std::os::unix::fs::symlink("lib/limit.rhai", bench.work().join("again.rhai")).unwrap();
    bench.commit("good");
    bench.push();
    start(bench.remote("")).await.stop().await;

    // Hooks and filters are there, and nothing runs them.
    let data = bench.folder.path().join("burnwatch-data");
    let clone = std::fs::read_dir(data).unwrap().flatten().find(|entry| entry.path().is_dir()).unwrap().path();
    let trace = bench.folder.path().join("trace");
    let hook = clone.join("hooks/reference-transaction");
    std::fs::create_dir_all(hook.parent().unwrap()).unwrap();
    std::fs::write(&hook, format!("#!/bin/sh\ntouch {}\n", trace.display())).unwrap();
    std::fs::set_permissions(&hook, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    git(&clone, &["config", "filter.evil.smudge", &format!("touch {}; cat", trace.display())]);
    bench.write(".gitattributes", "*.rhai filter=evil\n");
    bench.write("shop.rhai", &GOOD.replace("99.9", "99"));
    let commit = bench.commit("evil");
    bench.push();
    let running = start(bench.remote("")).await;
    assert_eq!(get(&running, "/v1/rules").await["revision"], commit.as_str());
    assert!(!trace.exists());
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_a_signed_commit_takes_effect_where_signatures_are_asked_for() {
    let bench = Bench::new();
    let key = bench.folder.path().join("key");
    let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key).status();
    assert!(made.expect("this test needs ssh-keygen").success());
    let public = std::fs::read_to_string(key.with_extension("pub")).unwrap();
    std::fs::write(bench.folder.path().join("signers"), format!("ada@example.com {public}")).unwrap();
    let config = || bench.remote(", verify_signatures = true, allowed_signers = \"signers\"");
    bench.write("shop.rhai", GOOD);
    bench.commit("unsigned");
    bench.push();
    let error = app::start(config(), Arc::new(SystemClock), Options::default()).await.err().unwrap();
    assert!(matches!(&error, StartError::Rules(report) if report.contains("has no good signature")), "{error}");
    let signing = format!("user.signingKey={}", key.display());
    git(&bench.work(), &["-c", "gpg.format=ssh", "-c", &signing, "commit", "--quiet", "--allow-empty", "-S", "-m", "signed"]);
    bench.push();
    let running = start(config()).await;
    assert_eq!(get(&running, "/v1/rules").await["revision"], git(&bench.work(), &["rev-parse", "HEAD"]).as_str());
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_work_tree_is_named_by_its_commit_and_says_when_it_is_not_that() {
    let bench = Bench::new();
    bench.write("rules/shop.rhai", GOOD);
    let first = bench.commit("first");
    let running = start(bench.config("path = \"work/rules\"")).await;
    assert_eq!(get(&running, "/v1/rules").await["revision"], first.as_str());
    // Not committed: it takes effect, and says so.
    bench.write("rules/shop.rhai", &GOOD.replace("99.9", "99"));
    let rules = until(&running, "/v1/rules", |rules| rules["slos"][0]["objective"] == 99.0).await;
    let revision = rules["revision"].as_str().unwrap();
    assert!(revision.starts_with(&format!("{first}+dirty.")), "{revision}");
    // Committed as it is: only the name changes.
    let second = bench.commit("second");
    until(&running, "/v1/rules", |rules| rules["revision"] == second.as_str()).await;
    // What git is told to overlook is not overlooked.
    git(&bench.work(), &["update-index", "--assume-unchanged", "rules/shop.rhai"]);
    bench.write("rules/shop.rhai", GOOD);
    until(&running, "/v1/rules", |rules| rules["revision"].as_str().unwrap().starts_with(&format!("{second}+dirty."))).await;
    running.stop().await;
}
