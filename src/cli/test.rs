//! `burnwatch test`: runs the rules' own tests, in simulated time.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use super::exit::{Code, Failure, Outcome};
use super::output::{Progress, plain};
use super::source::Source;
use super::{Context, check, output};
use crate::domain::rule::Place;
use crate::rules::{self, Level};
use crate::simulation::rehearsal::{self, Limits, Report};

/// `test`
#[derive(Debug, Args)]
#[command(after_help = "Tests stand in files that end in _test.rhai. A test that fails prints what happened instead, as a time line.\n\
    Needs no daemon, no database and no secret values; exits 1 if a test fails.\n\n\
    Examples:\n  burnwatch test\n  burnwatch test rules --filter checkout")]
pub struct Test {
    /// The rules folder [default: what the daemon follows: rules.path of the configuration, or the branch of rules.git, which is fetched]
    pub path: Option<PathBuf>,
    /// Only tests whose name contains this
    #[arg(long, value_name = "TEXT")]
    pub filter: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Far more than any sound test takes.
const LIMITS: Limits = Limits { each: Duration::from_secs(120), all: Duration::from_secs(1_800) };

/// Runs `test`.
pub fn run(args: &Test, context: &Context) -> Outcome {
    let config = context.tool_config()?;
    let source = Source::read(args.path.as_deref(), &config)?;
    let (loaded, shown) = (check::load_files(&source.files, &config), source.shown);
    let errors: Vec<_> = loaded.problems.iter().filter(|problem| problem.level == Level::Error).cloned().collect();
    if !errors.is_empty() {
        rules::report(&errors).lines().for_each(|line| output::complain(&plain(line)));
        let count = errors.len();
        output::complain(&format!("{shown}: {count} error{}; nothing was tested", if count == 1 { "" } else { "s" }));
        return Err(Failure::said(Code::NotFine));
    }
    let wanted = |name: &str| args.filter.as_deref().is_none_or(|part| name.to_lowercase().contains(&part.to_lowercase()));
    let mut progress = Progress::default();
    let mut said = Ok(());
    let mut number = 0;
    let report = rehearsal::run(&loaded, &wanted, LIMITS, &mut |outcome| {
        number += 1;
        progress.at(|| format!("{number} tests run, the last one was \"{}\"", outcome.name));
        if !args.json && said.is_ok() {
            progress.clear();
            said = output::say(&line(outcome));
        }
    });
    drop(progress);
    said?;
    if args.json {
        output::say(&as_json(&report).to_string())?
    } else {
        summary(&report, &shown)?
    }
    if report.outcomes.is_empty()
        && let Some(part) = &args.filter
    {
        return Err(Failure::not_fine(anyhow::anyhow!("no test of {shown} has a name with `{part}`")));
    }
    if report.passed() { Ok(()) } else { Err(Failure::said(Code::NotFine)) }
}

/// A line for a test that passed; for another one all there is to know about it.
fn line(outcome: &rehearsal::Outcome) -> String {
    let seconds = outcome.took.as_secs_f64();
    let (path, name) = (plain(&outcome.place.path), plain(&outcome.name));
    if outcome.passed() {
        return format!("ok      {path}: {name} ({seconds:.2} s)");
    }
    let mut text = format!("FAILED  {path}: {name} ({seconds:.2} s)\n");
    for failure in &outcome.failures {
        text.push_str(&format!("  {}: {}\n", plain(&failure.place.to_string()), plain(&failure.message)));
    }
    for entry in &outcome.timeline {
        text.push_str(&format!("    {}\n", plain(&entry.to_string())));
    }
    text
}

fn summary(report: &Report, shown: &str) -> Outcome {
    rules::report(&report.problems).lines().for_each(|line| output::complain(&plain(line)));
    let failed = report.outcomes.iter().filter(|outcome| !outcome.passed()).count();
    let took: std::time::Duration = report.outcomes.iter().map(|outcome| outcome.took).sum();
    let (count, took) = (report.outcomes.len(), took.as_secs_f64());
    output::say(&format!(
        "{shown}: {count} test{}, {} passed, {failed} failed, in {took:.1} s",
        if count == 1 { "" } else { "s" },
        count - failed
    ))
}

fn as_json(report: &Report) -> Value {
    let tests: Vec<Value> = report
        .outcomes
        .iter()
        .map(|outcome| {
            let failures: Vec<Value> = outcome.failures.iter().map(|failure| place(&failure.place, &failure.message)).collect();
            let timeline: Vec<Value> = outcome
                .timeline
                .iter()
                .map(|entry| json!({ "at": entry.at, "after_s": entry.after.0 / 1000, "text": entry.text }))
                .collect();
            json!({
                "name": outcome.name, "path": outcome.place.path, "line": outcome.place.line, "column": outcome.place.column,
                "ok": outcome.passed(), "seconds": outcome.took.as_secs_f64(), "simulated_s": outcome.simulated.0 / 1000,
                "failures": failures, "timeline": timeline,
            })
        })
        .collect();
    let problems: Vec<Value> = report.problems.iter().map(|problem| place(&problem.place, &problem.message)).collect();
    let failed = report.outcomes.iter().filter(|outcome| !outcome.passed()).count();
    json!({ "ok": report.passed(), "passed": report.outcomes.len() - failed, "failed": failed, "tests": tests, "problems": problems })
}

fn place(place: &Place, message: &str) -> Value {
    json!({ "path": place.path, "line": place.line, "column": place.column, "message": message })
}
