//! Reload: follows the rules folder; a changed one takes effect whole, or not at all.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use tracing::{info, warn};

use crate::config::{Aggregation, Retention, Secrets};
use crate::domain::desk::Desk;
use crate::domain::rule::RuleSet;
use crate::domain::time::Timestamp;
use crate::rules::{self, Env, Level, Loaded, Problem, Program};
use crate::sink::Sink;
use crate::store::{Store, StoreError, rule_sets};

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
        sink.with(|aggregator| aggregator.set_rules(set.limits(), &set.named_dimensions, &set.named_values));
        metrics::gauge!("burnwatch_rules_revision_info", "revision" => self.rules.load().revision.clone()).set(0.0);
        metrics::gauge!("burnwatch_rules_revision_info", "revision" => set.revision.clone()).set(1.0);
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

/// The job's state: which folder, and what it looked like when it was last read.
pub struct Reload {
    pub path: PathBuf,
    pub around: Surroundings,
    pub live: Live,
    pub sink: Arc<Sink>,
    seen: Option<Fingerprint>,
}

/// Path, length and time of change of every file.
type Fingerprint = Vec<(PathBuf, u64, Option<SystemTime>)>;

/// What a look at the folder brought.
#[derive(Debug)]
pub enum Looked {
    Unchanged,
    Taken { revision: String, warnings: Vec<Problem> },
    Refused { problems: Vec<Problem> },
}

impl Reload {
    /// Follows this folder; nothing is read yet.
    pub fn new(path: PathBuf, around: Surroundings, live: Live, sink: Arc<Sink>) -> Reload {
        Reload { path, around, live, sink, seen: None }
    }

    /// Reads the folder if it changed since the last look, and takes it over if it is good.
    pub async fn look(&mut self, store: &Store, now: Timestamp) -> Result<Looked, StoreError> {
        let print = fingerprint(&self.path);
        if self.seen.as_ref() == Some(&print) {
            return Ok(Looked::Unchanged);
        }
        let files = match rules::read_folder(&self.path) {
            Ok(files) => files,
            Err(error) => {
                self.seen = Some(print);
                return Ok(Looked::Refused { problems: vec![unreadable(&self.path, &error)] });
            }
        };
        let looked = self.take(&files, store, now).await?;
        self.seen = Some(print);
        Ok(looked)
    }

    /// Takes a set of files over if it is good.
    pub async fn take(&self, files: &BTreeMap<String, String>, store: &Store, now: Timestamp) -> Result<Looked, StoreError> {
        let loaded = self.around.load(files);
        let json = serde_json::to_string(files).expect("a map of texts always serialises");
        let Some(set) = loaded.set else {
            metrics::gauge!("burnwatch_rules_last_load_success").set(0.0);
            warn!(errors = loaded.problems.iter().filter(|problem| problem.level == Level::Error).count(), "rules were refused");
            return Ok(Looked::Refused { problems: loaded.problems });
        };
        metrics::gauge!("burnwatch_rules_last_load_success").set(1.0);
        let revision = set.revision.clone();
        if self.live.rules.load().revision != revision {
            let mut tx = store.write().await?;
            rule_sets::save(&mut tx, &revision, &json, now, true).await?;
            tx.commit().await?;
            info!(revision = %revision, slos = set.slos.len(), rules = set.alerts.len(), "rules `{revision}` take effect");
            self.live.take(set, loaded.program, &self.sink);
        }
        Ok(Looked::Taken { revision, warnings: loaded.problems })
    }
}

fn unreadable(path: &Path, error: &io::Error) -> Problem {
    Problem {
        place: Default::default(),
        level: Level::Error,
        message: format!("cannot read the rules folder `{}`: {error}", path.display()),
    }
}

fn fingerprint(path: &Path) -> Fingerprint {
    let mut print = Vec::new();
    let mut folders = vec![path.to_owned()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for entry in entries.flatten() {
            let Ok(meta) = entry.metadata() else { continue };
            if meta.is_dir() {
                folders.push(entry.path());
            } else if entry.path().extension().is_some_and(|extension| extension == "rhai") {
                print.push((entry.path(), meta.len(), meta.modified().ok()));
            }
        }
    }
    print.sort();
    print
}
