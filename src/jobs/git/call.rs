//! One call of the `git` program: no shell, no hooks, nothing of the caller's environment that would lead it elsewhere.

use std::io;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

use super::GitError;

/// How long a question to a repository on this machine may take.
const LOCAL: Duration = Duration::from_secs(10);
const SAID_BYTES_MAX: u64 = 16 << 10;

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

/// One call of git.
pub(super) struct Call<'a> {
    /// What it is for, in messages.
    pub(super) what: &'static str,
    pub(super) folder: &'a Path,
    pub(super) args: &'a [&'a str],
    /// Settings for this call only. They go by the environment, which other users cannot read.
    pub(super) settings: &'a [(String, String)],
    pub(super) input: Vec<u8>,
    pub(super) bytes_max: u64,
    pub(super) most: Duration,
}

impl<'a> Call<'a> {
    pub(super) fn new(what: &'static str, folder: &'a Path, args: &'a [&'a str]) -> Call<'a> {
        Call { what, folder, args, settings: &[], input: Vec::new(), bytes_max: 64 << 10, most: LOCAL }
    }

    /// What git says; an error if it says no.
    pub(super) async fn answer(self) -> Result<Vec<u8>, GitError> {
        let what = self.what;
        let (code, out, said) = self.run().await?;
        if code == Some(0) { Ok(out) } else { Err(GitError::Failed { what, said }) }
    }

    pub(super) async fn text(self) -> Result<String, GitError> {
        Ok(String::from_utf8_lossy(&self.answer().await?).trim().to_owned())
    }

    /// Exit code, output, and what it complained about.
    pub(super) async fn run(self) -> Result<(Option<i32>, Vec<u8>, String), GitError> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_git_says_is_one_line_without_credentials() {
        let said = plain(b"fatal: unable to access 'ssh://u:secret@host/r.git/':\n\x1b[31m no");
        assert_eq!(said, "fatal: unable to access 'ssh://host/r.git/': [31m no");
    }
}
