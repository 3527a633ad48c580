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

/// The real command, where a `burnwatch.toml` names the remote.
fn command(bench: &Bench, args: &[&str]) -> (Option<i32>, String, String) {
    let run = Command::new(env!("CARGO_BIN_EXE_burnwatch")).current_dir(bench.folder.path()).args(args).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (run.status.code(), text(&run.stdout), text(&run.stderr))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_look_at_the_branch_that_the_daemon_follows() {
    let bench = Bench::new();
    let folder = bench.folder.path();
    let config = format!("[rules]\ngit = {{ remote = \"file://{}/remote.git\" }}\n", folder.display());
    std::fs::write(folder.join("burnwatch.toml"), config).unwrap();
    let row = r#"{"bucket":"2026-01-04T00:00:00Z","metric":"request","dims":{"app":"shop"},"total":100,"bad":1}"#;
    std::fs::write(folder.join("rows.ndjson"), row).unwrap();
    bench.write("rules/shop.rhai", GOOD);
    bench.write("rules/templates/words.j2", "{{ incident.title }}");
    bench.write("rules/told.rhai", "receiver(\"m\", email(#{ to: [\"a@example.com\"], template: \"words\" }));\nroute(#{ to: [\"m\"] });");
    bench.write("rules/shop_test.rhai", "test(\"nothing\", |t| { t.wait(\"5m\"); t.expect_no_incident(); });");
    let first = bench.commit("first");
    bench.write("rules/shop.rhai", &GOOD.replace("99.9", "99"));
    let second = bench.commit("second");
    bench.push();

    let (code, _, said) = command(&bench, &["check"]);
    assert!(code == Some(0) && said.contains(&format!("{} of main of file://", &second[..12])), "{said}");
    let (code, out, said) = command(&bench, &["test"]);
    assert!(code == Some(0) && out.contains("1 passed"), "{out}{said}");
    let (code, out, said) = command(&bench, &["backtest", "--data", "rows.ndjson", "--against", "HEAD~1", "--json"]);
    assert_eq!(code, Some(0), "{said}");
    let found: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&found["slos"][0]["objective"], &found["against"]["slos"][0]["objective"]), (&Value::from(99.0), &Value::from(99.9)));
    assert_eq!(found["against"]["revision"], first.as_str());
    let (code, _, said) = command(&bench, &["backtest", "--data", "rows.ndjson", "--against", "nowhere"]);
    assert!(code == Some(1) && said.contains("`nowhere` is no revision of main of file://"), "{said}");
    assert!(!folder.join("burnwatch-data").exists(), "nothing is left behind");

    // What the daemon would refuse is not fine.
    start(bench.remote("")).await.stop().await;
    git(&bench.work(), &["reset", "--quiet", "--hard", &first]);
    bench.write("rules/shop.rhai", &GOOD.replace("99.9", "90"));
    bench.commit("rewritten");
    bench.push();
    let (code, _, said) = command(&bench, &["check"]);
    assert!(code == Some(1) && said.contains("was rewritten"), "{said}");
    git(&bench.work(), &["reset", "--quiet", "--hard", &second]);
    bench.write("rules/shop.rhai", BAD);
    bench.commit("bad");
    bench.push();
    let (code, out, _) = command(&bench, &["check"]);
    assert!(code == Some(1) && out.contains("shop.rhai:3:15: error: "), "{out}");

    // A folder that is named is looked at, whatever is configured.
    let (code, _, said) = command(&bench, &["check", "work/rules"]);
    assert!(code == Some(1) && !said.contains("rules.git"), "{said}");
    std::fs::rename(folder.join("remote.git"), folder.join("gone.git")).unwrap();
    let (code, _, said) = command(&bench, &["check"]);
    assert!(code == Some(3) && said.contains("name it as PATH"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_template_that_changes_alone_takes_effect() {
    let bench = Bench::new();
    bench.write("rules/shop.rhai", GOOD);
    bench.write("rules/templates/words.j2", "{{ incident.title }}");
    let running = start(bench.config("path = \"work/rules\"")).await;
    let before = get(&running, "/v1/rules").await["revision"].clone();
    bench.write("rules/templates/words.j2", "{{ incident.title }}!");
    until(&running, "/v1/rules", |rules| rules["revision"] != before).await;
    running.stop().await;
}
