//! A branch of a remote repository that is followed, forward only.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use super::call::Call;
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
    use crate::jobs::git::call::plain;

    #[test]
    fn credentials_leave_the_address_and_what_git_says() {
        let (url, header) = split("https://x:p%40ss@git.example.com/r.git");
        assert_eq!(url, "https://git.example.com/r.git");
        assert_eq!(header.unwrap(), format!("Authorization: Basic {}", STANDARD.encode("x:p@ss")));
        assert_eq!(split("git@example.com:r.git"), ("git@example.com:r.git".into(), None));
        let said = plain(b"fatal: unable to access 'ssh://u:secret@host/r.git/':\n\x1b[31m no");
        assert_eq!(said, "fatal: unable to access 'ssh://host/r.git/': [31m no");
    }
}
