//! The rules of another revision, read from git without touching the work tree, and what they would have done differently.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use super::report::rough;
use crate::cli::exit::{Failure, Outcome};
use crate::cli::output::{self, Table};
use crate::domain::rule::Severity;
use crate::domain::time::Timestamp;
use crate::simulation::{Found, Told};

/// Bounds of a rules folder, as on disk.
const FILES_MAX: usize = 10_000;

/// A revision's files below a folder, by their path in it, and the revision's full name.
pub fn files(folder: &Path, revision: &str) -> Result<(BTreeMap<String, String>, String), Failure> {
    let commit = git(folder, &["rev-parse", "--verify", "--quiet", "--end-of-options", &format!("{revision}^{{commit}}")]);
    let commit = commit?.ok_or_else(|| {
        let text = format!("--against: `{revision}` is no revision of the git repository around `{}`", folder.display());
        Failure::not_fine(anyhow::anyhow!(text))
    })?;
    let commit = commit.trim().to_owned();
    let listed = git(folder, &["ls-tree", "-r", "-z", "--name-only", &commit, "."])?.unwrap_or_default();
    let mut files = BTreeMap::new();
    for path in listed.split('\0').filter(|path| path.ends_with(".rhai")) {
        // What is hidden is no part of a rules folder, nor is what lies above it.
        if path.split('/').any(|part| part.starts_with('.')) {
            continue;
        }
        if files.len() >= FILES_MAX {
            return Err(Failure::not_fine(anyhow::anyhow!("revision {commit} has more than {FILES_MAX} rules files")));
        }
        let text = git(folder, &["cat-file", "blob", &format!("{commit}:./{path}")])?;
        files.insert(path.to_owned(), text.ok_or_else(|| Failure::cannot(anyhow::anyhow!("git cannot read {path} of {commit}")))?);
    }
    Ok((files, commit))
}

/// What git says; `None` if it says no.
fn git(folder: &Path, args: &[&str]) -> Result<Option<String>, Failure> {
    let run = Command::new("git").arg("-C").arg(folder).args(args).env("GIT_OPTIONAL_LOCKS", "0").output();
    let output = run.map_err(|error| Failure::cannot(anyhow::Error::new(error).context("cannot run git, which --against needs")))?;
    Ok(output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned()))
}

/// Prints what differs between the rules of a revision (`then`) and those at hand (`now`).
pub fn print(now: &Found, then: &Found, revision: &str) -> Outcome {
    output::say(&format!("Compared with {revision}:"))?;
    let mut table = Table::new(&["rule", ">pages then", ">now", ">tickets then", ">now"]);
    for (rule, counts) in counts(now, then) {
        let [pages_then, pages_now, tickets_then, tickets_now] = counts.map(|count| count.to_string());
        table.row(vec![rule.to_owned(), pages_then, pages_now, tickets_then, tickets_now]);
    }
    table.print("no alerts, neither then nor now")?;
    let mut table = Table::new(&["incident", "opened", "for", "severity", "key"]);
    for (word, mine, theirs) in [("gone", then, now), ("new", now, then)] {
        for told in mine.incidents.iter().filter(|told| !theirs.incidents.iter().any(|other| meet(told, other, now.to))) {
            let incident = &told.incident;
            let lasted = rough(incident.resolved_at.unwrap_or(now.to) - incident.opened_at);
            table.row(vec![word.into(), incident.opened_at.to_string(), lasted, told.severity.to_string(), incident.key.clone()]);
        }
    }
    output::say("")?;
    table.print("every incident is there then and now")?;
    let mut table = Table::new(&["incident", "opened then", "now", "by", "key"]);
    for told in &now.incidents {
        let Some(before) = then.incidents.iter().find(|before| meet(told, before, now.to)) else { continue };
        let (was, is) = (before.incident.opened_at, told.incident.opened_at);
        if was != is {
            let (word, by) = if is < was { ("earlier", was - is) } else { ("later", is - was) };
            table.row(vec![word.into(), was.to_string(), is.to_string(), rough(by), told.incident.key.clone()]);
        }
    }
    output::say("")?;
    table.print("every incident of both opens at the same time")
}

/// Runs of pages and of tickets by rule, then and now.
fn counts<'f>(now: &'f Found, then: &'f Found) -> BTreeMap<&'f str, [usize; 4]> {
    let mut counts: BTreeMap<&str, [usize; 4]> = BTreeMap::new();
    for (found, at) in [(then, 0), (now, 1)] {
        for run in &found.runs {
            let offset = if run.severity == Severity::Page { 0 } else { 2 };
            counts.entry(&run.rule).or_default()[at + offset] += 1;
        }
    }
    counts
}

/// Whether two incidents are one: the same key, at the same time.
fn meet(a: &Told, b: &Told, end: Timestamp) -> bool {
    let (a, b) = (&a.incident, &b.incident);
    a.key == b.key && a.opened_at <= b.resolved_at.unwrap_or(end) && b.opened_at <= a.resolved_at.unwrap_or(end)
}
