//! A branch of a remote repository that is followed, forward only.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::call::Call;
use super::credentials::split;
use super::tree::files_of;
use super::{GitError, short};
use crate::config;

/// How long the remote may take.
const REMOTE: Duration = Duration::from_secs(60);
/// A larger clone is no repository of rules; fetching ends there.
const CLONE_BYTES_MAX: u64 = 1 << 30;
const CLONE_CHECK: Duration = Duration::from_millis(500);

/// The branch as it was last fetched, and the last commit of it that took effect.
const FETCHED: &str = "refs/burnwatch/fetched";
const IN_FORCE: &str = "refs/burnwatch/in-force";

/// A branch of a remote repository, with a bare clone of it on this machine.
#[derive(Debug)]
pub struct Remote {
    git: config::Git,
    clone: PathBuf,
    /// The clone that remembers which commit is in force: its own, or the daemon's.
    in_force: PathBuf,
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
        let clone = data.join(format!("rules-{name}.git"));
        Remote { in_force: clone.clone(), clone, git, url, settings }
    }

    /// Looks at what a daemon whose clone lies in `data` would follow, in a clone of its own in `scratch`: the daemon, which may
    /// run meanwhile or belong to somebody else, is not disturbed.
    pub fn beside(git: config::Git, data: &Path, scratch: &Path) -> Remote {
        let in_force = Remote::new(git.clone(), data).clone;
        Remote { in_force, ..Remote::new(git, scratch) }
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
        self.files_of(commit).await
    }

    /// The rules of an earlier revision of the branch, and the full name of its commit; `HEAD` is the branch as it was fetched.
    pub async fn revision(&self, revision: &str) -> Result<(BTreeMap<String, String>, String), GitError> {
        let name = revision.strip_prefix("HEAD").map_or_else(|| revision.to_owned(), |rest| format!("{FETCHED}{rest}"));
        let args = ["rev-parse", "--verify", "--quiet", "--end-of-options", &format!("{name}^{{commit}}")];
        let (code, commit, _) = Call::new("rev-parse", &self.clone, &args).run().await?;
        if code != Some(0) {
            return Err(GitError::Refused(format!("`{revision}` is no revision of {}", self.shown())));
        }
        let commit = String::from_utf8_lossy(&commit).trim().to_owned();
        Ok((self.files_of(&commit).await?, commit))
    }

    async fn files_of(&self, commit: &str) -> Result<BTreeMap<String, String>, GitError> {
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
        let (code, before, _) = Call::new("rev-parse", &self.in_force, &["rev-parse", "--verify", "--quiet", &in_force]).run().await?;
        if code != Some(0) {
            return Ok(());
        }
        let before = String::from_utf8_lossy(&before).trim().to_owned();
        let exists = Call::new("cat-file", &self.clone, &["cat-file", "-e", &format!("{before}^{{commit}}")]).run().await?.0 == Some(0);
        let (code, said) = match exists {
            true => {
                let args = ["merge-base", "--is-ancestor", &before, commit];
                let (code, _, said) = Call::new("merge-base", &self.clone, &args).run().await?;
                (code, said)
            }
            // Nothing of the branch follows a commit that it does not have.
            false => (Some(1), String::new()),
        };
        match code {
            Some(0) => Ok(()),
            Some(1) => Err(GitError::Refused(format!(
                "the history of `{}` was rewritten: {} does not follow {}, which is in force; push a commit that does, or remove {} and restart to accept it",
                self.git.branch,
                short(commit),
                short(&before),
                self.in_force.display()
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
