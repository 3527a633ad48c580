//! A PostgreSQL server for the tests: the one that `DATABASE_URL` names, or a throwaway one for this test binary.
//! Each test gets a database of its own. Without any server the tests fail; they are never skipped.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

const NO_SERVER: &str = "PostgreSQL tests need a server: set DATABASE_URL or apt-get install postgresql";

/// A database for one test.
pub struct Database {
    pub url: String,
    name: String,
    /// On somebody else's server we clean up; our own is thrown away as a whole.
    borrowed: bool,
}

/// Makes an empty database.
pub async fn database() -> Database {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let server = server();
    let name = format!("burnwatch_test_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let mut admin = PgConnection::connect(&server.url).await.expect("the server takes connections");
    admin.execute(AssertSqlSafe(format!("create database {name}"))).await.expect("the user may create databases");
    admin.close().await.expect("closing works");
    let mut url = url::Url::parse(&server.url).expect("it was just used");
    url.set_path(&name);
    Database { url: url.into(), name, borrowed: server.guard.is_none() }
}

/// Runs SQL on a database beside the store.
pub async fn execute(url: &str, sql: &str) {
    let mut conn = PgConnection::connect(url).await.expect("the server takes connections");
    conn.execute(AssertSqlSafe(sql.to_owned())).await.expect("the statement is fine");
    conn.close().await.expect("closing works");
}

/// Whether a question about a database, asked beside the store, is answered with yes.
pub async fn is_true(url: &str, sql: &str) -> bool {
    let mut conn = PgConnection::connect(url).await.expect("the server takes connections");
    let answer = sqlx::query_scalar(AssertSqlSafe(sql.to_owned())).fetch_one(&mut conn).await.expect("the question is fine");
    conn.close().await.expect("closing works");
    answer
}

impl Drop for Database {
    fn drop(&mut self) {
        if !self.borrowed {
            return;
        }
        let sql = format!("drop database if exists {} with (force)", self.name);
        // A thread of its own, because the test's runtime is busy with this very drop.
        let cleaning = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime starts");
            runtime.block_on(execute(&server().url, &sql));
        });
        if cleaning.join().is_err() {
            eprintln!("the test database {} could not be dropped", self.name);
        }
    }
}

struct Server {
    url: String,
    /// Stops the server when this process ends, however it ends: it waits for the end of its standard input.
    guard: Option<Child>,
}

fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| match std::env::var("DATABASE_URL") {
        Ok(url) => Server { url, guard: None },
        Err(_) => start(),
    })
}

/// Starts a server that listens on a socket in its own folder only, so there is no port to collide.
fn start() -> Server {
    let bin = binaries().expect(NO_SERVER);
    // Socket paths are limited to about a hundred bytes, so the folder is short. The user who runs the
    // server makes it, and `mkdir` fails on one that exists.
    let folder = PathBuf::from(format!("/tmp/bw-pg-{}", std::process::id()));
    let script = r#"
        cd / && umask 077 && mkdir "$2" || exit 1
        "$1/initdb" -D "$2/data" -U postgres -A trust -N --locale=C -E UTF8 > "$2/initdb.log" 2>&1 || { cat "$2/initdb.log" >&2; rm -rf "$2"; exit 1; }
        "$1/postgres" -D "$2/data" -c fsync=off -c synchronous_commit=off -c full_page_writes=off -c listen_addresses= \
            -c unix_socket_directories="$2" -c max_connections=200 > "$2/server.log" 2>&1 < /dev/null &
        cat > /dev/null
        kill -QUIT $!
        wait
        rm -rf "$2"
    "#;
    let mut command = if is_root() {
        // The server refuses to run as root.
        let mut command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--init-groups", "sh"]);
        command
    } else {
        Command::new("sh")
    };
    command.args(["-c", script, "sh"]).arg(&bin).arg(&folder);
    // Its own process group: Ctrl-C ends the tests, and their end ends the server.
    command.stdin(Stdio::piped()).stdout(Stdio::null()).process_group(0);
    let mut guard = command.spawn().expect("a shell starts");
    let deadline = Instant::now() + Duration::from_secs(120);
    while !is_ready(&folder) {
        if let Ok(Some(status)) = guard.try_wait() {
            panic!("the PostgreSQL server for the tests did not start: {status}");
        }
        assert!(Instant::now() < deadline, "the PostgreSQL server for the tests did not start in two minutes");
        std::thread::sleep(Duration::from_millis(20));
    }
    let host: String = url::form_urlencoded::byte_serialize(folder.to_str().expect("it is ASCII").as_bytes()).collect();
    Server { url: format!("postgres://postgres@localhost/postgres?host={host}"), guard: Some(guard) }
}

/// The last line of this file is the state of the server.
fn is_ready(folder: &Path) -> bool {
    let state = std::fs::read_to_string(folder.join("data/postmaster.pid")).unwrap_or_default();
    state.lines().nth(7).is_some_and(|line| line.trim() == "ready")
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

/// The folder with `initdb` and `postgres`: from `PATH`, else the newest of Debian's.
fn binaries() -> Option<PathBuf> {
    let whole = |folder: &PathBuf| folder.join("initdb").exists() && folder.join("postgres").exists();
    let path = std::env::var_os("PATH").unwrap_or_default();
    if let Some(folder) = std::env::split_paths(&path).find(whole) {
        return Some(folder);
    }
    let mut versions: Vec<(u32, PathBuf)> = std::fs::read_dir("/usr/lib/postgresql")
        .ok()?
        .flatten()
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .collect();
    versions.sort();
    versions.into_iter().rev().map(|(_, folder)| folder).find(whole)
}
