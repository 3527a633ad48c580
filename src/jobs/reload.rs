//! Reload: follows the rules folder or a repository of rules; a change takes effect whole, or not at all.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use tracing::{error, info, warn};

use crate::config::{Aggregation, Retention, Secrets};
use crate::domain::desk::Desk;
use crate::domain::rule::{Place, RuleSet};
use crate::domain::time::Timestamp;
use crate::rules::{self, Env, Level, Loaded, Problem, Program};
use crate::simulation::rehearsal;
use crate::sink::Sink;
use crate::store::{Store, StoreError, rule_sets};

use super::deliver;
use super::git::{self, GitError, Remote};

/// The rule set in force, in the forms that its users need. A new one replaces all of them.
#[derive(Clone)]
pub struct Live {
    pub desk: Arc<ArcSwap<Desk>>,
    pub rules: Arc<ArcSwap<RuleSet>>,
    pub program: Arc<ArcSwap<Program>>,
}

impl Live {
    /// Nothing is in force yet.
    pub fn new() -> Live {
        let rules = Arc::new(RuleSet::default());
        Live {
            desk: Arc::new(ArcSwap::from_pointee(Desk::new(rules.clone()))),
            rules: Arc::new(ArcSwap::new(rules)),
            program: Arc::new(ArcSwap::from_pointee(Program::default())),
        }
    }

    /// Puts a rule set in force: what it names is counted exactly and never folded from now on.
    pub fn take(&self, set: RuleSet, program: Program, sink: &Sink) {
        sink.with(|aggregator| {
            aggregator.set_rules(set.limits(), &set.named_dimensions, &set.named_values);
            aggregator.set_route_patterns(&set.route_patterns);
        });
        deliver::announce(set.receivers.iter().map(|receiver| receiver.name.as_str()));
        let set = Arc::new(set);
        self.program.store(Arc::new(program));
        self.rules.store(set.clone());
        self.desk.store(Arc::new(Desk::new(set)));
    }
}

impl Default for Live {
    fn default() -> Self {
        Live::new()
    }
}

/// What the rule language needs to know of the configuration.
#[derive(Clone)]
pub struct Surroundings {
    pub aggregation: Aggregation,
    pub retention: Retention,
    pub secrets: Secrets,
}

impl Surroundings {
    /// Loads files as a rule set.
    pub fn load(&self, files: &BTreeMap<String, String>) -> Loaded {
        let has_secret = |name: &str| self.secrets.lookup(name).is_ok();
        let env = Env {
            bucket: self.aggregation.bucket,
            dimensions: &self.aggregation.dimensions,
            retention: self.retention.rollup_1h,
            has_secret: &has_secret,
        };
        rules::load(files, &env)
    }
}

/// Where rules come from.
#[derive(Debug)]
pub enum Source {
    /// A folder on disk.
    Folder(PathBuf),
    /// A branch of a remote repository.
    Remote(Remote),
    /// Files that were handed over at the start and do not change.
    Given,
}

/// The job's state: which source, and what it looked like when it was last read.
pub struct Reload {
    pub source: Source,
    pub around: Surroundings,
    pub live: Live,
    pub sink: Arc<Sink>,
    seen: Seen,
}

/// What was last read, so that the same is not loaded again.
#[derive(Debug, Default)]
struct Seen {
    /// Of the folder, and of what git changes beside it with every commit.
    print: Option<Fingerprint>,
    git_folder: Option<PathBuf>,
    /// Content and name of the files.
    files: Option<(String, String)>,
    /// The commit of the remote branch.
    commit: Option<String>,
}

/// Path, length and time of change of every file.
type Fingerprint = Vec<(PathBuf, u64, Option<SystemTime>)>;

/// What a look at the source brought.
#[derive(Debug)]
pub enum Looked {
    Unchanged,
    Taken {
        revision: String,
        warnings: Vec<Problem>,
    },
    /// What is there may not take effect.
    Refused {
        revision: Option<String>,
        problems: Vec<Problem>,
    },
    /// Nothing is known of what is there.
    Unreachable {
        why: String,
    },
}

impl Looked {
    /// What a refusal says to a person: the commit, and the first error with its place.
    pub fn refusal(revision: Option<&str>, problems: &[Problem]) -> String {
        let first = problems.iter().find(|problem| problem.level == Level::Error).or(problems.first());
        let first = first.map(ToString::to_string).unwrap_or_default();
        let what = revision.map_or_else(|| "new rules".to_owned(), |revision| format!("the rules of {}", git::short(revision)));
        let errors = problems.iter().filter(|problem| problem.level == Level::Error).count();
        let more = if errors > 1 { format!(" (and {} more)", errors - 1) } else { String::new() };
        format!("{what} were refused, the last good ones stay in force: {first}{more}")
    }
}

impl Reload {
    /// Follows this source; nothing is read yet.
    pub fn new(source: Source, around: Surroundings, live: Live, sink: Arc<Sink>) -> Reload {
        Reload { source, around, live, sink, seen: Seen::default() }
    }

    /// Reads the source if it changed since the last look, and takes it over if it is good.
    pub async fn look(&mut self, store: &Store, now: Timestamp) -> Result<Looked, StoreError> {
        match &self.source {
            Source::Folder(path) => self.look_at_folder(path.clone(), store, now).await,
            Source::Remote(remote) => match remote.fetch().await {
                Ok(commit) if self.seen.commit.as_ref() == Some(&commit) => Ok(Looked::Unchanged),
                Ok(commit) => self.take_commit(commit, store, now).await,
                Err(GitError::Refused(why)) => Ok(Looked::Refused { revision: None, problems: vec![refused(why)] }),
                Err(error) => Ok(Looked::Unreachable { why: describe(&error) }),
            },
            Source::Given => Ok(Looked::Unchanged),
        }
    }

    async fn look_at_folder(&mut self, path: PathBuf, store: &Store, now: Timestamp) -> Result<Looked, StoreError> {
        let print = fingerprint(&path, self.seen.git_folder.as_deref());
        if self.seen.print.as_ref() == Some(&print) {
            return Ok(Looked::Unchanged);
        }
        let files = match rules::read_folder(&path) {
            Ok(files) => files,
            Err(error) => {
                self.seen = Seen { print: Some(print), git_folder: self.seen.git_folder.take(), ..Seen::default() };
                return Ok(Looked::Refused { revision: None, problems: vec![unreadable(&path, &error)] });
            }
        };
        let content = rules::content_hash(&files);
        let tree = git::work_tree(&path, &files, &content).await;
        let name = tree.as_ref().map_or_else(|| content.clone(), |tree| tree.revision.clone());
        let files_now = Some((content, name.clone()));
        let looked = match files_now == self.seen.files {
            // Something was touched, and nothing changed.
            true => Looked::Unchanged,
            false => self.take(&files, tree.is_some().then_some(name.as_str()), store, now).await?,
        };
        let git_folder = tree.map(|tree| tree.git_folder);
        // The fingerprint is older than what was read: a change in between is seen at the next look.
        self.seen = Seen { print: Some(print), git_folder, files: files_now, commit: None };
        Ok(looked)
    }

    async fn take_commit(&mut self, commit: String, store: &Store, now: Timestamp) -> Result<Looked, StoreError> {
        let Source::Remote(remote) = &self.source else { return Ok(Looked::Unchanged) };
        let looked = match remote.files(&commit).await {
            Ok(files) => self.take(&files, Some(&commit), store, now).await?,
            Err(GitError::Refused(why)) => Looked::Refused { revision: Some(commit.clone()), problems: vec![refused(why)] },
            Err(error) => return Ok(Looked::Unreachable { why: describe(&error) }),
        };
        if let Looked::Taken { .. } = &looked
            && let Err(error) = remote.accept(&commit).await
        {
            return Ok(Looked::Unreachable { why: describe(&error) });
        }
        self.seen.commit = Some(commit);
        Ok(looked)
    }

    /// Takes a set of files over if it is good, under the name of its commit or else of its content.
    pub async fn take(
        &self,
        files: &BTreeMap<String, String>,
        commit: Option<&str>,
        store: &Store,
        now: Timestamp,
    ) -> Result<Looked, StoreError> {
        // Nothing is in force before the first set: a failing test must not leave people without any rules.
        let replaces = !self.live.rules.load().revision.is_empty();
        let loaded = self.around.load(files);
        let loaded = match replaces {
            // Tests compute for seconds, and evaluation goes on meanwhile.
            true => tokio::task::spawn_blocking(move || tested(loaded)).await.unwrap_or_else(|error| {
                error!(%error, "the tests of new rules ended in a panic");
                Err(vec![refused("their tests ended in a panic; the log says more".into())])
            }),
            false => Ok(loaded),
        };
        let Tried { set, program, warnings } = match loaded.and_then(tried) {
            Ok(tried) => tried,
            Err(problems) => {
                metrics::gauge!("burnwatch_rules_last_load_success").set(0.0);
                warn!(errors = problems.iter().filter(|problem| problem.level == Level::Error).count(), "rules were refused");
                return Ok(Looked::Refused { revision: commit.map(str::to_owned), problems });
            }
        };
        metrics::gauge!("burnwatch_rules_last_load_success").set(1.0);
        let revision = commit.map_or_else(|| set.revision.clone(), str::to_owned);
        let set = RuleSet { revision: revision.clone(), ..set };
        if self.live.rules.load().revision != revision {
            let json = serde_json::to_string(files).expect("a map of texts always serialises");
            let mut tx = store.write().await?;
            rule_sets::save(&mut tx, &revision, &json, now, true).await?;
            tx.commit().await?;
            info!(revision = %revision, slos = set.slos.len(), rules = set.alerts.len(), "rules `{revision}` take effect");
            self.live.take(set, program, &self.sink);
        }
        Ok(Looked::Taken { revision, warnings })
    }

    /// Takes the set over that took effect last, as it was stored. `None`: there is none, or it is good no more.
    pub async fn take_last_good(&self, store: &Store, now: Timestamp) -> Result<Option<String>, StoreError> {
        let mut tx = store.read().await?;
        let last_good = rule_sets::last_good(&mut tx).await?;
        drop(tx);
        let Some(row) = last_good else { return Ok(None) };
        let Ok(files) = serde_json::from_str::<BTreeMap<String, String>>(&row.files) else { return Ok(None) };
        match self.take(&files, Some(&row.revision), store, now).await? {
            Looked::Taken { revision, .. } => Ok(Some(revision)),
            Looked::Unchanged | Looked::Refused { .. } | Looked::Unreachable { .. } => Ok(None),
        }
    }
}

/// A set that may go live.
struct Tried {
    set: RuleSet,
    program: Program,
    warnings: Vec<Problem>,
}

/// The last gate before a set goes live: it compiled, and its free-form rules were asked once over nothing, which is
/// part of loading.
fn tried(loaded: Loaded) -> Result<Tried, Vec<Problem>> {
    let Loaded { set, program, problems } = loaded;
    match set {
        Some(set) => Ok(Tried { set, program, warnings: problems }),
        None => Err(problems),
    }
}

/// Runs the tests that the rules bring along; the failed ones, each with its place.
fn tested(loaded: Loaded) -> Result<Loaded, Vec<Problem>> {
    let report = rehearsal::run(&loaded, &|_| true, rehearsal::Limits::default(), &mut |_| {});
    let mut problems = report.problems;
    for outcome in report.outcomes {
        problems.extend(outcome.failures.into_iter().map(|failure| Problem {
            place: failure.place,
            level: Level::Error,
            message: format!("the test `{}` failed: {}", outcome.name, failure.message),
        }));
    }
    match problems.iter().any(|problem| problem.level == Level::Error) {
        true => Err(problems),
        false => Ok(loaded),
    }
}

fn refused(why: String) -> Problem {
    Problem { place: Place::default(), level: Level::Error, message: why }
}

fn unreadable(path: &Path, error: &io::Error) -> Problem {
    refused(format!("cannot read the rules folder `{}`: {error}", path.display()))
}

fn describe(error: &GitError) -> String {
    match error {
        GitError::NoProgram(source) => format!("{error}: {source}"),
        GitError::TooSlow { .. } | GitError::Failed { .. } | GitError::Refused(_) => error.to_string(),
    }
}

/// What git writes with every commit, checkout and reset.
const GIT_FILES: [&str; 3] = ["HEAD", "index", "logs/HEAD"];

fn fingerprint(path: &Path, git_folder: Option<&Path>) -> Fingerprint {
    let mut print = Vec::new();
    for file in git_folder.iter().flat_map(|folder| GIT_FILES.map(|name| folder.join(name))) {
        let meta = std::fs::metadata(&file).ok();
        print.push((file, meta.as_ref().map_or(0, std::fs::Metadata::len), meta.and_then(|meta| meta.modified().ok())));
    }
    let mut folders = vec![path.to_owned()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for entry in entries.flatten() {
            let Ok(meta) = entry.metadata() else { continue };
            if meta.is_dir() {
                folders.push(entry.path());
            } else if entry.path().extension().is_some_and(|extension| extension == "rhai" || extension == "j2") {
                print.push((entry.path(), meta.len(), meta.modified().ok()));
            }
        }
    }
    print.sort();
    print
}
