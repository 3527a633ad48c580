//! Where a command takes rules from when it is given no folder: what the daemon would follow.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::client::block_on;
use super::exit::Failure;
use super::output;
use crate::config::Config;
use crate::jobs::git::{self, GitError, Remote};
use crate::rules;

/// Files of a rules folder, and how they are called.
pub struct Source {
    pub files: BTreeMap<String, String>,
    /// For people: the folder, the commit, or the built-in pack.
    pub shown: String,
    history: History,
}

/// Where other revisions of the rules can be found.
enum History {
    Folder(PathBuf),
    /// A clone that goes with this value.
    Clone(Box<Remote>, #[expect(dead_code, reason = "the clone lives as long as its folder")] tempfile::TempDir),
}

impl Source {
    /// Reads a folder, or the configured one, or the configured branch of a repository, or the built-in pack.
    pub fn read(path: Option<&Path>, config: &Config) -> Result<Source, Failure> {
        match (path, &config.rules.git) {
            (None, Some(_)) => Source::fetch(config),
            _ => Source::folder(path.unwrap_or(&config.rules.path), path.is_some() || config.rules.path_given),
        }
    }

    /// A folder; the built-in pack stands in for one that nobody named and that is not there.
    fn folder(folder: &Path, named: bool) -> Result<Source, Failure> {
        let history = History::Folder(folder.to_owned());
        match rules::read_folder(folder) {
            Ok(files) => Ok(Source { files, shown: folder.display().to_string(), history }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !named => {
                Ok(Source { files: crate::app::built_in_rules(), shown: "the built-in pack".to_owned(), history })
            }
            Err(error) => {
                Err(Failure::cannot(anyhow::Error::new(error).context(format!("cannot read the rules folder `{}`", folder.display()))))
            }
        }
    }

    /// The branch that the daemon follows, as it is now. It is fetched into a folder of its own: neither the daemon nor its clone
    /// notices.
    fn fetch(config: &Config) -> Result<Source, Failure> {
        let Some(git) = &config.rules.git else { return Source::folder(&config.rules.path, true) };
        let scratch =
            tempfile::tempdir().map_err(|error| Failure::cannot(anyhow::Error::new(error).context("cannot make a temporary folder")))?;
        let remote = Remote::beside(git.clone(), &config.data, scratch.path());
        let shown = remote.shown();
        let fetched = block_on(async {
            let commit = remote.fetch().await.map_err(|error| unreadable(error, &shown))?;
            let files = remote.files(&commit).await.map_err(|error| unreadable(error, &shown))?;
            Ok((files, commit))
        });
        let (files, commit) = fetched?;
        let shown = format!("{} of {shown}", git::short(&commit));
        output::complain(&format!("the rules are those of rules.git, {shown}; to look at a folder, name it as PATH"));
        Ok(Source { files, shown, history: History::Clone(Box::new(remote), scratch) })
    }

    /// The files as they were at another revision, and the full name of that commit.
    pub fn at(&self, revision: &str) -> Result<(BTreeMap<String, String>, String), Failure> {
        let found = block_on(async {
            Ok(match &self.history {
                History::Folder(folder) => git::revision(folder, revision).await,
                History::Clone(remote, _) => remote.revision(revision).await,
            })
        })?;
        found.map_err(|error| match error {
            GitError::Refused(why) => Failure::not_fine(anyhow::anyhow!("--against: {why}")),
            error => Failure::cannot(anyhow::Error::new(error).context(format!("cannot read the rules of `{revision}`"))),
        })
    }
}

/// Git answered and the daemon would not take it: the rules are not fine. Anything else could not be done.
fn unreadable(error: GitError, shown: &str) -> Failure {
    match error {
        GitError::Refused(why) => Failure::not_fine(anyhow::anyhow!("the rules of {shown} may not take effect: {why}")),
        error => {
            let what = format!("cannot fetch {shown}, which rules.git follows; to look at a folder, name it as PATH");
            Failure::cannot(anyhow::Error::new(error).context(what))
        }
    }
}
