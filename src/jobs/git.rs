//! Rules from git: what a commit holds, what a work tree is called, and a remote branch that is followed.
//!
//! All by the `git` program, without a shell and without ever checking anything out: a commit's files are read as
//! objects, so no hook, filter, submodule or LFS pointer of the repository is acted on, and nothing of it is written
//! outside the clone. Every call has a deadline, every answer a bound. A remote's credentials are in no argument, no
//! log and no message.

mod call;
mod credentials;
mod remote;
mod tree;
mod work_tree;

use std::io;
use std::time::Duration;

pub use remote::Remote;
pub use work_tree::{WorkTree, revision, work_tree};

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

/// The first digits of a commit.
pub fn short(commit: &str) -> &str {
    commit.get(..12).unwrap_or(commit)
}
