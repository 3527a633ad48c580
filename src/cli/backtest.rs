//! `burnwatch backtest`: what the rules would have done over stored history, without side effects.

mod against;
mod data;
mod outages;
mod plot;
mod report;
mod stored;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};

use clap::Args;

use super::exit::{Code, Failure, Outcome};
use super::output::Progress;
use super::source::Source;
use super::when::When;
use super::{Context, check, output};
use crate::config::Config;
use crate::domain::archive::MemoryArchive;
use crate::domain::cell::Limit;
use crate::domain::keyed::KeyedHash;
use crate::domain::metric::Metric;
use crate::domain::redact::Redactor;
use crate::domain::rows::Reader;
use crate::domain::rule::{RuleSet, Sli};
use crate::domain::time::{Span, Timestamp};
use crate::rules::{self, Level, Loaded, Program};
use crate::simulation::{self, Found, Plan};
use plot::Samples;

/// `backtest`
#[derive(Debug, Args)]
#[command(after_help = "Evaluates at each t with from < t <= to, in simulated time; nothing is sent and nothing is stored. Data before\n\
    --from warms the windows up. Alerts do not make it fail: it exits 0 when the run itself went well.\n\
    It reads the configured database, whether the daemon runs or not, or with --data a file and no database.\n\n\
    Examples:\n  burnwatch backtest --from -30d\n  burnwatch backtest rules --data october.ndjson --slo checkout-api --plot checkout.svg\n  \
    burnwatch backtest --from -7d --against HEAD~1\n  burnwatch backtest --from -30d --outages outages.ndjson")]
pub struct Backtest {
    /// The rules folder [default: what the daemon follows: rules.path of the configuration, or the branch of rules.git, which is fetched]
    pub path: Option<PathBuf>,
    /// Start: RFC 3339, or like -30d so long before now (with --data: before its end) [default: 30 days before --to; with --data: its first bucket]
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub from: Option<When>,
    /// End, written like --from [default: now; with --data: the end of its last bucket]
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub to: Option<When>,
    /// Aggregate rows to run over, instead of the database
    #[arg(long, value_name = "FILE.ndjson")]
    pub data: Option<PathBuf>,
    /// Only this SLO
    #[arg(long, value_name = "NAME")]
    pub slo: Option<String>,
    /// Compare with the rules of another git revision
    #[arg(long, value_name = "REV")]
    pub against: Option<String>,
    /// Labelled outages to hold the alerts against: lines of {"from", "to", "name"?, "rules"?: [], "where"?: {}}
    #[arg(long, value_name = "FILE")]
    pub outages: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    /// Write a picture of budgets, burn and alerts
    #[arg(long, value_name = "FILE.svg")]
    pub plot: Option<PathBuf>,
}

/// History to run over.
struct History {
    archive: Arc<RwLock<MemoryArchive>>,
    /// The run, and where to begin to read.
    from: Timestamp,
    to: Timestamp,
    start: Timestamp,
    /// Whether the intake was up in the bucket that begins here.
    up: Box<dyn Fn(Timestamp) -> bool>,
    /// What it is, for a person.
    shown: String,
}

/// A loaded rule set.
struct Rules {
    set: Arc<RuleSet>,
    program: Program,
}

/// Runs `backtest`.
pub fn run(args: &Backtest, context: &Context) -> Outcome {
    let config = context.tool_config()?;
    let source = Source::read(args.path.as_deref(), &config)?;
    let rules = usable(check::load_files(&source.files, &config), &source.shown, args.slo.as_deref())?;
    let other = match &args.against {
        None => None,
        Some(revision) => {
            let (files, commit) = source.at(revision)?;
            Some((usable(check::load_files(&files, &config), &commit, None)?, commit))
        }
    };
    let outages = args.outages.as_ref().map(|path| outages::read(path, &rules.set)).transpose()?;
    let sets: Vec<Arc<RuleSet>> =
        std::iter::once(&rules).chain(other.iter().map(|(rules, _)| rules)).map(|rules| rules.set.clone()).collect();
    let history = match &args.data {
        Some(path) => file(args, path, &config, &sets)?,
        None => stored::read(args, context, &config, &sets)?,
    };
    let History { from, to, .. } = history;
    something_between(from, to)?;
    let mut samples = args.plot.as_ref().map(|_| Samples::new(from, to));
    let found = simulate(args, &rules, &history, config.aggregation.bucket, samples.as_mut());
    if let (Some(path), Some(samples)) = (&args.plot, &samples) {
        std::fs::write(path, samples.draw(&found)).map_err(|error| cannot(error, "write", path))?;
    }
    let then = other.as_ref().map(|(rules, commit)| (simulate(args, rules, &history, config.aggregation.bucket, None), commit));
    if args.json {
        let mut object = report::json(&found);
        if let Some((then, commit)) = &then {
            object["against"] = report::json(then);
            object["against"]["revision"] = commit.as_str().into();
        }
        if let Some(outages) = &outages {
            object["outages"] = outages::json(&found, &rules.set, outages);
        }
        return output::say(&object.to_string());
    }
    report::print(&found, &history.shown)?;
    if let Some(outages) = &outages {
        outages::print(&found, &rules.set, outages)?;
    }
    match &then {
        Some((then, commit)) => output::say("").and_then(|()| against::print(&found, then, commit)),
        None => Ok(()),
    }
}

/// A run without an evaluation is a mistake in the command line.
fn something_between(from: Timestamp, to: Timestamp) -> Outcome {
    if from >= to {
        return Err(Failure::usage(anyhow::anyhow!("there is nothing to evaluate from {from} to {to}; --from has to be before --to")));
    }
    Ok(())
}

fn simulate(args: &Backtest, rules: &Rules, history: &History, bucket: Span, mut samples: Option<&mut Samples>) -> Found {
    let plan = Plan {
        rules: rules.set.clone(),
        program: &rules.program,
        only: args.slo.as_deref(),
        archive: history.archive.clone(),
        bucket,
        from: history.from,
        to: history.to,
        start: history.start,
        up: &*history.up,
    };
    let mut progress = Progress::default();
    let found = simulation::run(&plan, &mut |t, evaluator| {
        progress.at(|| format!("evaluating {t}, until {}", plan.to));
        if let Some(samples) = &mut samples {
            samples.take(t, evaluator);
        }
    });
    drop(progress);
    for (rule, error) in &found.failures {
        output::complain(&format!("warning: rule `{}` failed: {}", output::plain(rule), output::plain(error)));
    }
    found
}

/// The limits that any of these rule sets names, by metric.
fn limits(sets: &[Arc<RuleSet>]) -> BTreeMap<Metric, Vec<Limit>> {
    let mut limits: BTreeMap<Metric, Vec<Limit>> = BTreeMap::new();
    for (metric, more) in sets.iter().flat_map(|set| set.limits()) {
        limits.entry(metric).or_default().extend(more);
    }
    limits
}

/// The rule set, or a report of what is wrong with it.
fn usable(loaded: Loaded, shown: &str, slo: Option<&str>) -> Result<Rules, Failure> {
    let Some(set) = loaded.set else {
        let errors: Vec<_> = loaded.problems.into_iter().filter(|problem| problem.level == Level::Error).collect();
        rules::report(&errors).lines().for_each(|line| output::complain(&output::plain(line)));
        let count = errors.len();
        output::complain(&format!("{shown}: {count} error{}; nothing was loaded", if count == 1 { "" } else { "s" }));
        return Err(Failure::said(Code::NotFine));
    };
    let set = match slo {
        None => set,
        Some(name) if set.slo(name).is_some() => only(set, name),
        Some(name) => return Err(Failure::not_fine(anyhow::anyhow!("there is no SLO `{name}` in {shown}"))),
    };
    Ok(Rules { set: Arc::new(set), program: loaded.program })
}

/// A rule set of one SLO, and what it is made of.
fn only(mut set: RuleSet, name: &str) -> RuleSet {
    let mut kept = vec![name.to_owned()];
    let mut at = 0;
    while at < kept.len() {
        if let Some(Sli::Composite { members, .. }) = set.slo(&kept[at]).map(|slo| slo.sli.clone()) {
            kept.extend(members.into_iter().filter(|member| !kept.contains(member)).collect::<Vec<_>>());
        }
        at += 1;
    }
    set.slos.retain(|slo| kept.contains(&slo.name));
    set.alerts.clear();
    set
}

/// History from a file of aggregate rows.
fn file(args: &Backtest, path: &Path, config: &Config, sets: &[Arc<RuleSet>]) -> Result<History, Failure> {
    let bucket = config.aggregation.bucket;
    let redactor = Redactor::new(config.privacy.redact, &config.privacy.redact_patterns).map_err(Failure::usage)?;
    // Nothing of a user outlives this process, so any key will do.
    let reader = Reader::new(bucket, &config.aggregation.dimensions, KeyedHash::new([0; 16]), redactor);
    let limits = limits(sets);
    let size = std::fs::metadata(path).map_err(|error| cannot(error, "read", path))?.len();
    let mut progress = Progress::default();
    let reading = data::Reading { reader: &reader, bucket, limits: &limits };
    let data =
        data::load(path, &reading, &mut |bytes| progress.at(|| format!("reading {}, {} %", path.display(), bytes * 100 / size.max(1))));
    drop(progress);
    let data = data.map_err(|error| cannot(error, "read", path))?;
    for (line, reason) in &data.reasons {
        output::complain(&format!("{}:{line}: row refused: {}", path.display(), output::plain(reason)));
    }
    if data.refused > data.reasons.len() as u64 {
        output::complain(&format!("… and {} more", data.refused - data.reasons.len() as u64));
    }
    let Some((first, end)) = data.archive.span() else {
        let text = format!("{} has no usable rows", path.display());
        return Err(Failure::not_fine(anyhow::anyhow!(text)));
    };
    if data.refused > 0 {
        output::complain(&format!("warning: {} rows were refused, {} were used", data.refused, data.rows));
    }
    let (start, end) = (Timestamp(first * bucket.0), Timestamp(end * bucket.0));
    let at = |when: Option<When>, default: Timestamp| when.map_or(default, |when| when.resolve(end));
    let shown = format!("{} rows in {} series", data.rows, data.archive.series().len());
    Ok(History {
        from: at(args.from, start),
        to: at(args.to, end),
        start,
        archive: Arc::new(RwLock::new(data.archive)),
        // A bucket was measured where there is a row for it.
        up: Box::new(|_| false),
        shown,
    })
}

fn cannot(error: std::io::Error, what: &str, path: &Path) -> Failure {
    Failure::cannot(anyhow::Error::new(error).context(format!("cannot {what} `{}`", path.display())))
}
