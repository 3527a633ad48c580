//! Rules on disk that belong to a git work tree: what they are called, and what they were at another revision.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tracing::debug;

use super::GitError;
use super::call::Call;
use super::tree::files_of;

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

/// The rules files that a folder had at another revision, and the full name of that commit. `Refused`: there is no such revision.
pub async fn revision(folder: &Path, revision: &str) -> Result<(BTreeMap<String, String>, String), GitError> {
    let prefix = Call::new("rev-parse", folder, &["rev-parse", "--show-prefix"]).text().await?;
    let name = format!("{revision}^{{commit}}");
    let args = ["rev-parse", "--verify", "--quiet", "--end-of-options", &name];
    let (code, commit, _) = Call::new("rev-parse", folder, &args).run().await?;
    if code != Some(0) {
        let around = folder.display();
        return Err(GitError::Refused(format!("`{revision}` is no revision of the git repository around `{around}`")));
    }
    let commit = String::from_utf8_lossy(&commit).trim().to_owned();
    Ok((files_of(folder, &commit, prefix.trim_end_matches('/')).await?, commit))
}
