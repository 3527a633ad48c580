//! Rules from git: what a commit holds, what a work tree is called, and a remote branch that is followed.
//!
//! All by the `git` program, without a shell and without ever checking anything out: a commit's files are read as
//! objects, so no hook, filter, submodule or LFS pointer of the repository is acted on, and nothing of it is written
//! outside the clone. Every call has a deadline, every answer a bound. A remote's credentials are in no argument, no
//! log and no message.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;
use tracing::debug;

use crate::config;
use crate::rules::{self, DEPTH_MAX, FILE_BYTES_MAX, FILES_MAX, FOLDER_BYTES_MAX};

/// How long a question to a repository on this machine may take.
const LOCAL: Duration = Duration::from_secs(10);
/// How long the remote may take.
const REMOTE: Duration = Duration::from_secs(60);
/// The list of a tree's files, and the files themselves.
const LIST_BYTES_MAX: u64 = 32 << 20;
const BLOBS_BYTES_MAX: u64 = (FOLDER_BYTES_MAX as u64) + (FILES_MAX as u64) * 256;
const SAID_BYTES_MAX: u64 = 16 << 10;
/// A larger clone is no repository of rules; fetching ends there.
const CLONE_BYTES_MAX: u64 = 1 << 30;
const CLONE_CHECK: Duration = Duration::from_millis(500);

/// The branch as it was last fetched, and the last commit of it that took effect.
const FETCHED: &str = "refs/burnwatch/fetched";
const IN_FORCE: &str = "refs/burnwatch/in-force";

/// Variables that would lead git to another repository or another configuration than the one it is told.
const NOT_INHERITED: [&str; 15] = [
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_COMMON_DIR",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_NAMESPACE",
    "GIT_CONFIG",
    "GIT_CONFIG_COUNT",
    "GIT_CONFIG_PARAMETERS",
    "GIT_TEMPLATE_DIR",
    "GIT_TRACE",
    "GIT_TRACE_CURL",
    "GIT_CURL_VERBOSE",
    "GIT_REPLACE_REF_BASE",
];

/// What holds for every call, whatever the repository or the user has configured.
const ALWAYS: [&str; 12] = [
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.attributesFile=/dev/null",
    "submodule.recurse=false",
    "fetch.recurseSubmodules=false",
    "gc.autoDetach=false",
    "protocol.allow=never",
    "protocol.https.allow=always",
    "protocol.http.allow=always",
    "protocol.ssh.allow=always",
    "protocol.git.allow=always",
    "protocol.file.allow=always",
];

/// Why git gave no rules.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    #[error("the git program cannot be run; install git")]
    NoProgram(#[source] io::Error),
    #[error("git {what} took longer than {} seconds", most.as_secs())]
    TooSlow { what: &'static str, most: Duration },
    #[error("git {what} failed: {said}")]
    Failed { what: &'static str, said: String },
    /// Git answered, and what it has may not take effect.
    #[error("{0}")]
    Refused(String),
}

/// One call of git.
struct Call<'a> {
    /// What it is for, in messages.
    what: &'static str,
    folder: &'a Path,
    args: &'a [&'a str],
    /// Settings for this call only. They go by the environment, which other users cannot read.
    settings: &'a [(String, String)],
    input: Vec<u8>,
    bytes_max: u64,
    most: Duration,
}

impl<'a> Call<'a> {
    fn new(what: &'static str, folder: &'a Path, args: &'a [&'a str]) -> Call<'a> {
        Call { what, folder, args, settings: &[], input: Vec::new(), bytes_max: 64 << 10, most: LOCAL }
    }

    /// What git says; an error if it says no.
    async fn answer(self) -> Result<Vec<u8>, GitError> {
        let what = self.what;
        let (code, out, said) = self.run().await?;
        if code == Some(0) { Ok(out) } else { Err(GitError::Failed { what, said }) }
    }

    async fn text(self) -> Result<String, GitError> {
        Ok(String::from_utf8_lossy(&self.answer().await?).trim().to_owned())
    }

    /// Exit code, output, and what it complained about.
    async fn run(self) -> Result<(Option<i32>, Vec<u8>, String), GitError> {
        let mut command = Command::new("git");
        command.arg("-C").arg(self.folder).arg("--literal-pathspecs").arg("--no-replace-objects");
        for setting in ALWAYS {
            command.args(["-c", setting]);
        }
        command.args(self.args);
        NOT_INHERITED.iter().for_each(|name| {
            command.env_remove(name);
        });
        command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_TERMINAL_PROMPT", "0").env("GIT_OPTIONAL_LOCKS", "0");
        command.env("GIT_ASKPASS", "false").env("SSH_ASKPASS", "false").env("LC_ALL", "C").env("GIT_LFS_SKIP_SMUDGE", "1");
        if std::env::var_os("GIT_SSH_COMMAND").is_none() {
            command.env("GIT_SSH_COMMAND", "ssh -oBatchMode=yes");
        }
        command.env("GIT_CONFIG_COUNT", self.settings.len().to_string());
        for (at, (key, value)) in self.settings.iter().enumerate() {
            command.env(format!("GIT_CONFIG_KEY_{at}"), key).env(format!("GIT_CONFIG_VALUE_{at}"), value);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().map_err(GitError::NoProgram)?;
        let mut stdin = child.stdin.take().expect("it is piped");
        let (stdout, stderr) = (child.stdout.take().expect("it is piped"), child.stderr.take().expect("it is piped"));
        let feed = async {
            // A git that ends early reads no further; its exit code says why.
            let _ = stdin.write_all(&self.input).await;
            drop(stdin);
        };
        let work = async {
            let ((), out, said) = tokio::join!(feed, read(stdout, self.bytes_max), read(stderr, SAID_BYTES_MAX));
            Ok::<_, io::Error>((child.wait().await?, out?, said?))
        };
        let what = self.what;
        match tokio::time::timeout(self.most, work).await {
            Err(_) => Err(GitError::TooSlow { what, most: self.most }),
            Ok(Err(error)) => Err(GitError::Failed { what, said: error.to_string() }),
            Ok(Ok((_, (_, true), _))) => Err(GitError::Refused(format!("git {what} gives more than {} bytes", self.bytes_max))),
            Ok(Ok((status, (out, false), (said, _)))) => Ok((status.code(), out, plain(&said))),
        }
    }
}

/// Reads to the end, but keeps no more than `max` bytes; says whether there was more.
async fn read(mut from: impl AsyncRead + Unpin, max: u64) -> io::Result<(Vec<u8>, bool)> {
    let mut kept = Vec::new();
    (&mut from).take(max).read_to_end(&mut kept).await?;
    let more = tokio::io::copy(&mut from, &mut tokio::io::sink()).await?;
    Ok((kept, more > 0))
}

/// What git complained about, on one line, without control characters and without credentials of a URL.
fn plain(said: &[u8]) -> String {
    let text = String::from_utf8_lossy(said);
    let words = text.split_whitespace().map(|word| {
        let word: String = word.chars().filter(|c| !c.is_control()).collect();
        match word.split_once("://").map(|(scheme, rest)| (scheme.to_owned(), rest.rsplit_once('@').map(|(_, rest)| rest.to_owned()))) {
            Some((scheme, Some(rest))) => format!("{scheme}://{rest}"),
            Some((_, None)) | None => word,
        }
    });
    words.collect::<Vec<_>>().join(" ").chars().take(500).collect()
}

/// What a folder on disk is called, if it is part of a git work tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkTree {
    /// The commit; `<commit>+dirty.<hash>` where the rules on disk are not those of the commit.
    pub revision: String,
    /// Where git keeps what changes with every commit.
    pub git_folder: PathBuf,
}

/// Finds out what rules on disk are called. `None`: they are in no commit, or there is no git.
///
/// The files are compared with those of the commit one by one, so nothing that `git status` could be told to overlook counts
/// as clean.
pub async fn work_tree(folder: &Path, files: &BTreeMap<String, String>, content: &str) -> Option<WorkTree> {
    let found = async {
        let args = ["rev-parse", "--is-inside-work-tree", "--absolute-git-dir", "--show-prefix"];
        let said = Call::new("rev-parse", folder, &args).answer().await?;
        let said = String::from_utf8_lossy(&said).into_owned();
        let mut lines = said.lines();
        let (inside, git_folder, prefix) = (lines.next(), lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
        if inside != Some("true") {
            return Ok(None);
        }
        let commit = Call::new("rev-parse", folder, &["rev-parse", "--verify", "--quiet", "HEAD^{commit}"]).text().await?;
        let committed = match files_of(folder, &commit, prefix.trim_end_matches('/')).await {
            Ok(committed) => Some(committed),
            // The commit holds something that could not be taken from it; what is on disk is then something else.
            Err(GitError::Refused(_)) => None,
            Err(error) => return Err(error),
        };
        if committed.as_ref().is_some_and(BTreeMap::is_empty) {
            return Ok(None);
        }
        let revision = match committed.as_ref() == Some(files) {
            true => commit,
            false => format!("{commit}+dirty.{}", &content[..content.len().min(8)]),
        };
        Ok(Some(WorkTree { revision, git_folder: PathBuf::from(git_folder) }))
    };
    match found.await {
        Ok(found) => found,
        Err(error) => {
            debug!(folder = %folder.display(), "the rules folder is named by its content: {error}");
            None
        }
    }
}

/// One entry of a tree.
struct Entry {
    path: String,
    blob: String,
    link: bool,
}

/// The rules files below a folder of a commit, by their path in that folder: what a checkout of it would hold.
async fn files_of(repository: &Path, commit: &str, folder: &str) -> Result<BTreeMap<String, String>, GitError> {
    let tree = format!("{commit}:{folder}");
    let args = ["ls-tree", "-r", "-z", "-l", "--full-tree", &tree];
    let (code, list, said) = Call { bytes_max: LIST_BYTES_MAX, ..Call::new("ls-tree", repository, &args) }.run().await?;
    if code != Some(0) {
        // A commit without that folder is an answer, a damaged repository is none.
        let exists = Call::new("cat-file", repository, &["cat-file", "-e", &format!("{commit}^{{tree}}")]).answer().await;
        return exists.and_then(|_| if folder.is_empty() { Err(GitError::Failed { what: "ls-tree", said }) } else { Ok(BTreeMap::new()) });
    }
    let entries = entries(&list)?;
    let blobs: BTreeSet<&str> = entries.iter().map(|entry| entry.blob.as_str()).collect();
    let input = blobs.iter().flat_map(|blob| [blob.as_bytes(), b"\n"]).flatten().copied().collect();
    let call = Call::new("cat-file", repository, &["cat-file", "--batch"]);
    let contents = contents(&Call { input, bytes_max: BLOBS_BYTES_MAX, ..call }.answer().await?)?;
    let mut files = BTreeMap::new();
    let mut bytes = 0;
    for entry in &entries {
        let mut blob = entry.blob.as_str();
        if entry.link {
            let target = String::from_utf8_lossy(contents.get(blob).map_or(&[][..], Vec::as_slice)).into_owned();
            let led = follow(&entry.path, &target).and_then(|path| entries.iter().find(|other| other.path == path && !other.link));
            let refused = || GitError::Refused(format!("{}: a link must lead to another rules file of the folder", entry.path));
            blob = led.ok_or_else(refused)?.blob.as_str();
        }
        let unreadable = || GitError::Refused(format!("{}: cannot be read as UTF-8 text", entry.path));
        let text = String::from_utf8(contents.get(blob).ok_or_else(unreadable)?.clone()).map_err(|_| unreadable())?;
        bytes += text.len();
        if bytes > FOLDER_BYTES_MAX {
            return Err(too_much());
        }
        files.insert(entry.path.clone(), text);
    }
    Ok(files)
}

fn too_much() -> GitError {
    GitError::Refused("a rules folder may have at most 10,000 files and 64 MiB".into())
}

/// Reads `mode type blob size<TAB>path<NUL>…`; only what a rules folder on disk would have, too.
fn entries(list: &[u8]) -> Result<Vec<Entry>, GitError> {
    let mut entries = Vec::new();
    let mut bytes = 0;
    for line in list.split(|byte| *byte == 0).filter(|line| !line.is_empty()) {
        let strange = || GitError::Failed { what: "ls-tree", said: "gave a line that cannot be read".into() };
        let at = line.iter().position(|byte| *byte == b'\t').ok_or_else(strange)?;
        // A path that is no UTF-8 is no rules file on disk either.
        let Ok(path) = std::str::from_utf8(&line[at + 1..]) else { continue };
        let hidden = path.split('/').any(|part| part.starts_with('.'));
        if hidden || !(path.ends_with(".rhai") || rules::is_template(path)) || path.split('/').count() > DEPTH_MAX + 1 {
            continue;
        }
        let head = std::str::from_utf8(&line[..at]).map_err(|_| strange())?;
        let [mode, kind, blob, size] = head.split_whitespace().collect::<Vec<_>>()[..] else { return Err(strange()) };
        if kind != "blob" {
            // A submodule.
            continue;
        }
        let size: u64 = size.parse().map_err(|_| strange())?;
        if size > FILE_BYTES_MAX {
            return Err(GitError::Refused(format!("{path}: a rules file may have at most 4 MiB")));
        }
        bytes += size;
        if entries.len() >= FILES_MAX || bytes > FOLDER_BYTES_MAX as u64 {
            return Err(too_much());
        }
        entries.push(Entry { path: path.to_owned(), blob: blob.to_owned(), link: mode == "120000" });
    }
    Ok(entries)
}

/// Reads what `cat-file --batch` gives: `blob kind size<LF>content<LF>…`.
fn contents(mut batch: &[u8]) -> Result<BTreeMap<String, Vec<u8>>, GitError> {
    let strange = || GitError::Failed { what: "cat-file", said: "gave something that cannot be read".into() };
    let mut contents = BTreeMap::new();
    while !batch.is_empty() {
        let end = batch.iter().position(|byte| *byte == b'\n').ok_or_else(strange)?;
        let head = std::str::from_utf8(&batch[..end]).map_err(|_| strange())?;
        let [blob, "blob", size] = head.split(' ').collect::<Vec<_>>()[..] else { return Err(strange()) };
        let size: usize = size.parse().map_err(|_| strange())?;
        let content = batch.get(end + 1..end + 1 + size).ok_or_else(strange)?;
        contents.insert(blob.to_owned(), content.to_vec());
        batch = batch.get(end + 2 + size..).ok_or_else(strange)?;
    }
    Ok(contents)
}

/// Where a link inside a folder leads, by its text alone; `None`: out of the folder.
fn follow(link: &str, target: &str) -> Option<String> {
    if target.starts_with('/') {
        return None;
    }
    let mut parts: Vec<&str> = link.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}

/// A branch of a remote repository, with a bare clone of it on this machine.
#[derive(Debug)]
pub struct Remote {
    git: config::Git,
    clone: PathBuf,
    /// Without credentials.
    url: String,
    /// The credentials, and what else the remote's calls are told.
    settings: Vec<(String, String)>,
}

impl Remote {
    /// Follows what is configured; the clone lies in `data`.
    pub fn new(git: config::Git, data: &Path) -> Remote {
        let (url, header) = split(git.remote.expose());
        let mut settings = vec![("remote.rules.url".to_owned(), url.clone())];
        if let Some(header) = header {
            settings.push(("http.extraHeader".to_owned(), header));
            // Whoever the remote points to gets no credentials that were not meant for it.
            settings.push(("http.followRedirects".to_owned(), "false".to_owned()));
        }
        // Another remote or branch has another history: it begins with a clone of its own.
        let name = hex::encode(&Sha256::digest(format!("{url}\n{}", git.branch))[..6]);
        let data = std::path::absolute(data).unwrap_or_else(|_| data.to_owned());
        Remote { clone: data.join(format!("rules-{name}.git")), git, url, settings }
    }

    /// How it is shown to people: branch and address, without credentials.
    pub fn shown(&self) -> String {
        format!("{} of {}", self.git.branch, self.url)
    }

    /// How often it is to be looked at.
    pub fn every(&self) -> Duration {
        self.git.every.to_std()
    }

    /// Fetches the branch and says which commit it is at.
    pub async fn fetch(&self) -> Result<String, GitError> {
        if !self.clone.join("HEAD").is_file() {
            let failed = |error: io::Error| GitError::Failed { what: "init", said: format!("{}: {error}", self.clone.display()) };
            tokio::fs::create_dir_all(&self.clone).await.map_err(failed)?;
            Call::new("init", &self.clone, &["init", "--quiet", "--bare", "--template="]).answer().await?;
        }
        let branch = format!("+refs/heads/{}:{FETCHED}", self.git.branch);
        let args = ["fetch", "--quiet", "--no-tags", "--no-recurse-submodules", "--no-write-fetch-head", "rules", &branch];
        let call = Call { settings: &self.settings, most: REMOTE, ..Call::new("fetch", &self.clone, &args) };
        let full = async {
            loop {
                tokio::time::sleep(CLONE_CHECK).await;
                if bytes_in(&self.clone) > CLONE_BYTES_MAX {
                    return;
                }
            }
        };
        tokio::select! {
            fetched = call.answer() => fetched?,
            () = full => return Err(GitError::Refused(format!("the repository is larger than {} MiB", CLONE_BYTES_MAX >> 20))),
        };
        Call::new("rev-parse", &self.clone, &["rev-parse", "--verify", "--quiet", &format!("{FETCHED}^{{commit}}")]).text().await
    }

    /// The rules of a fetched commit, unless its history was rewritten or its signature is not good.
    pub async fn files(&self, commit: &str) -> Result<BTreeMap<String, String>, GitError> {
        self.check_history(commit).await?;
        if self.git.verify_signatures {
            self.check_signature(commit).await?;
        }
        let mut files = BTreeMap::new();
        if !self.git.folder.is_empty() {
            files = files_of(&self.clone, commit, &self.git.folder).await?;
        }
        if files.is_empty() {
            files = files_of(&self.clone, commit, "").await?;
        }
        if files.is_empty() {
            return Err(GitError::Refused("the commit has no rules files; an empty rule set would end every alert".into()));
        }
        Ok(files)
    }

    /// A branch may only move forward from the commit in force.
    async fn check_history(&self, commit: &str) -> Result<(), GitError> {
        let in_force = format!("{IN_FORCE}^{{commit}}");
        let (code, before, _) = Call::new("rev-parse", &self.clone, &["rev-parse", "--verify", "--quiet", &in_force]).run().await?;
        if code != Some(0) {
            return Ok(());
        }
        let before = String::from_utf8_lossy(&before).trim().to_owned();
        let (code, _, said) = Call::new("merge-base", &self.clone, &["merge-base", "--is-ancestor", &before, commit]).run().await?;
        match code {
            Some(0) => Ok(()),
            Some(1) => Err(GitError::Refused(format!(
                "the history of `{}` was rewritten: {} does not follow {}, which is in force; push a commit that does, or remove {} and restart to accept it",
                self.git.branch,
                short(commit),
                short(&before),
                self.clone.display()
            ))),
            Some(_) | None => Err(GitError::Failed { what: "merge-base", said }),
        }
    }

    async fn check_signature(&self, commit: &str) -> Result<(), GitError> {
        let mut settings = vec![("gpg.minTrustLevel".to_owned(), "fully".to_owned())];
        if let Some(file) = &self.git.allowed_signers {
            settings = vec![
                ("gpg.ssh.allowedSignersFile".to_owned(), file.display().to_string()),
                // Who is not in the file cannot sign, whatever a keyring of this machine trusts.
                ("gpg.program".to_owned(), "false".to_owned()),
                ("gpg.x509.program".to_owned(), "false".to_owned()),
            ];
        }
        let args = ["verify-commit", commit];
        let (code, _, said) = Call { settings: &settings, ..Call::new("verify-commit", &self.clone, &args) }.run().await?;
        if code == Some(0) {
            return Ok(());
        }
        let said = if said.is_empty() { "it is not signed".to_owned() } else { said };
        Err(GitError::Refused(format!("commit {} has no good signature: {said}", short(commit))))
    }

    /// Remembers the commit in force, which the branch must not fall behind.
    pub async fn accept(&self, commit: &str) -> Result<(), GitError> {
        Call::new("update-ref", &self.clone, &["update-ref", IN_FORCE, commit]).answer().await.map(drop)
    }
}

/// The first digits of a commit.
pub fn short(commit: &str) -> &str {
    commit.get(..12).unwrap_or(commit)
}

/// A remote's address without its credentials, and the header that carries them where HTTP does.
fn split(remote: &str) -> (String, Option<String>) {
    let Ok(mut url) = url::Url::parse(remote) else { return (remote.to_owned(), None) };
    if !matches!(url.scheme(), "http" | "https") || (url.username().is_empty() && url.password().is_none()) {
        return (remote.to_owned(), None);
    }
    let decoded = |text: &str| percent_decoded(text);
    let pair = [decoded(url.username()), b":".to_vec(), decoded(url.password().unwrap_or_default())].concat();
    let cleared = url.set_username("").and_then(|()| url.set_password(None));
    cleared.expect("an http address may be without credentials");
    (url.to_string(), Some(format!("Authorization: Basic {}", STANDARD.encode(pair))))
}

fn percent_decoded(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = (bytes[at] == b'%').then(|| text.get(at + 1..at + 3).and_then(|hex| u8::from_str_radix(hex, 16).ok())).flatten();
        decoded.push(hex.unwrap_or(bytes[at]));
        at += if hex.is_some() { 3 } else { 1 };
    }
    decoded
}

/// Bytes of all files below a folder; what vanishes meanwhile does not count.
fn bytes_in(folder: &Path) -> u64 {
    let mut bytes = 0;
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(meta) if meta.is_dir() => folders.push(entry.path()),
                Ok(meta) => bytes += meta.len(),
                Err(_) => {}
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_leave_the_address_and_what_git_says() {
        let (url, header) = split("https://x:p%40ss@git.example.com/r.git");
        assert_eq!(url, "https://git.example.com/r.git");
        assert_eq!(header.unwrap(), format!("Authorization: Basic {}", STANDARD.encode("x:p@ss")));
        assert_eq!(split("git@example.com:r.git"), ("git@example.com:r.git".into(), None));
        let said = plain(b"fatal: unable to access 'ssh://u:secret@host/r.git/':\n\x1b[31m no");
        assert_eq!(said, "fatal: unable to access 'ssh://host/r.git/': [31m no");
    }

    #[test]
    fn a_link_stays_inside_its_folder() {
        assert_eq!(follow("a/b.rhai", "../c.rhai").as_deref(), Some("c.rhai"));
        assert_eq!(follow("a/b.rhai", "./d/e.rhai").as_deref(), Some("a/d/e.rhai"));
        assert_eq!(follow("a/b.rhai", "../../c.rhai"), None);
        assert_eq!(follow("b.rhai", "/etc/passwd"), None);
    }

    #[test]
    fn a_tree_gives_the_files_that_a_folder_would() {
        let list = b"100644 blob aa 3\ta.rhai\x00120000 blob bb 6\tlib/l.rhai\x00160000 commit cc -\tmodule.rhai\x00100644 blob dd 3\t.hidden/x.rhai\x00100644 blob ee 9\tREADME.md\x00";
        let found: Vec<(String, bool)> = entries(list).unwrap().into_iter().map(|entry| (entry.path, entry.link)).collect();
        assert_eq!(found, [("a.rhai".to_owned(), false), ("lib/l.rhai".to_owned(), true)]);
        let large = format!("100644 blob aa {}\ta.rhai\0", FILE_BYTES_MAX + 1);
        assert!(matches!(entries(large.as_bytes()), Err(GitError::Refused(text)) if text.contains("a.rhai")));
        assert!(entries(b"nonsense\x00").is_err());
    }

    #[test]
    fn contents_are_read_by_their_length() {
        let found = contents(b"aa blob 4\nx\ny\n\nbb blob 0\n\n").unwrap();
        assert_eq!((found["aa"].as_slice(), found["bb"].len()), (&b"x\ny\n"[..], 0));
        assert!(contents(b"aa missing\n").is_err());
        assert!(contents(b"aa blob 9\nx\n").is_err());
    }
}
