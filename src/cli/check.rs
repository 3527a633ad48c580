//! `burnwatch check`: loads a rules folder as the daemon would and prints every problem.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;

use super::exit::{Code, Failure, Outcome};
use super::source::Source;
use super::{Context, output};
use crate::config::Config;
use crate::jobs::reload::Surroundings;
use crate::rules::{self, Level, Loaded};

/// `check`
#[derive(Debug, Args)]
#[command(after_help = "Every problem is one line, `path:line:column: error|warning: message`; exits 1 if there is an error.\n\
    Needs no daemon, no database and no secret values.\n\nExample, in CI:\n  burnwatch check rules")]
pub struct Check {
    /// The rules folder [default: what the daemon follows: rules.path of the configuration, or the branch of rules.git, which is fetched]
    pub path: Option<PathBuf>,
    /// Print the problems as JSON
    #[arg(long)]
    pub json: bool,
}

/// Loads files as the daemon would.
pub fn load_files(files: &BTreeMap<String, String>, config: &Config) -> Loaded {
    let around = Surroundings { aggregation: config.aggregation.clone(), retention: config.retention, secrets: config.secrets.clone() };
    around.load(files)
}

/// Runs `check`.
pub fn run(args: &Check, context: &Context) -> Outcome {
    let config = context.tool_config()?;
    let source = Source::read(args.path.as_deref(), &config)?;
    let (loaded, shown) = (load_files(&source.files, &config), &source.shown);
    let errors = loaded.errors().count();
    if args.json {
        let items: Vec<_> = loaded
            .problems
            .iter()
            .map(|problem| {
                serde_json::json!({
                    "path": problem.place.path, "line": problem.place.line, "column": problem.place.column,
                    "level": if problem.level == Level::Error { "error" } else { "warning" }, "message": problem.message,
                })
            })
            .collect();
        output::say(&serde_json::json!({ "ok": errors == 0, "items": items }).to_string())?;
    } else {
        output::say(&rules::report(&loaded.problems).lines().map(output::plain).collect::<Vec<_>>().join("\n"))?;
    }
    match loaded.set {
        Some(set) => {
            let warnings = loaded.problems.len();
            let note = if warnings == 0 { String::new() } else { format!(", {warnings} warning{}", if warnings == 1 { "" } else { "s" }) };
            let count = |n: usize, word: &str| format!("{n} {word}{}", if n == 1 { "" } else { "s" });
            let [slos, rules, receivers] =
                [count(set.slos.len(), "SLO"), count(set.alerts.len(), "free-form rule"), count(set.receivers.len(), "receiver")];
            output::complain(&format!("{shown}: {slos}, {rules}, {receivers}: fine{note}"));
            Ok(())
        }
        None => {
            output::complain(&format!("{shown}: {errors} error{}; nothing was loaded", if errors == 1 { "" } else { "s" }));
            Err(Failure::said(Code::NotFine))
        }
    }
}
