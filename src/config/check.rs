//! From what is written to what is valid: every key of CONTRACT 3 with its default and its bounds, in the contract's order.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use super::listeners::{intake, server};
use super::outgoing::{delivery, secrets, smtp};
use super::section::{Report, Section, short, text_of, within};
use super::tree;
use super::*;
use crate::domain::metric::Metric;

/// Lengths that a bucket may have; all divide a minute, so that rollups are whole.
const BUCKETS: [(&str, Span); 6] = [
    ("1s", Span::seconds(1)),
    ("5s", Span::seconds(5)),
    ("10s", Span::seconds(10)),
    ("15s", Span::seconds(15)),
    ("30s", Span::seconds(30)),
    ("1m", Span::MINUTE),
];

const DIMENSIONS: [&str; 10] = ["app", "environment", "route", "region", "device", "browser", "os", "release", "cohort", "sdk"];

/// Names that mean something else where dimensions are named too.
const NO_DIMENSIONS: [&str; 7] = ["slo", "rule", "service", "owner", "severity", "kind", "le"];

/// Reads a file's text and the variables into a checked configuration, or says everything that is wrong.
pub(super) fn read(file: Option<&Path>, text: &str, environment: &Environment, purpose: Purpose) -> Result<Config, Vec<Problem>> {
    let name = file.map_or_else(String::new, |file| file.display().to_string());
    let mut table = tree::parse(&name, text)
        .map_err(|faults| faults.into_iter().map(|fault| Problem { place: fault.place, message: fault.message }).collect::<Vec<_>>())?;
    let mut stray = Vec::new();
    for (variable, value) in environment.overrides() {
        if variable.contains("__") || SECTIONS.contains(&variable[PREFIX.len()..].to_ascii_lowercase().as_str()) {
            tree::lay_over(&mut table, variable, value);
        } else {
            stray.push(variable);
        }
    }
    let mut report = Report {
        folder: folder_of(file),
        secrets_needed: purpose == Purpose::Serve,
        problems: Vec::new(),
        warnings: Vec::new(),
        known: BTreeSet::new(),
    };
    let mut config = within("", table, &mut report, |root| Config {
        server: root.section("server", |section| server(section, purpose)),
        intake: root.section("intake", |section| intake(section, purpose)),
        database: root.section("database", database),
        data: PathBuf::new(),
        aggregation: root.section("aggregation", aggregation),
        retention: root.section("retention", retention),
        rules: root.section("rules", rules),
        secrets: secrets(root, environment),
        smtp: smtp(root),
        delivery: root.section("delivery", delivery),
        privacy: root.section("privacy", privacy),
        warnings: Vec::new(),
    });
    config.data = data_folder(&config.database, &report);
    check_retention(&config, &mut report);
    for variable in stray {
        check_stray(variable, &mut report);
    }
    config.warnings = report.warnings;
    if report.problems.is_empty() { Ok(config) } else { Err(report.problems) }
}

const SECTIONS: [&str; 10] =
    ["server", "intake", "database", "aggregation", "retention", "rules", "secrets", "smtp", "delivery", "privacy"];

/// The folder that paths are relative to; absolute, so that a later change of folder does not move the data.
fn folder_of(file: Option<&Path>) -> PathBuf {
    let Some(parent) = file.and_then(Path::parent).filter(|parent| !parent.as_os_str().is_empty()) else { return PathBuf::new() };
    std::path::absolute(parent).unwrap_or_else(|_| parent.to_owned())
}

/// A variable with our prefix but without `__` overrides nothing. If it looks like a key it is a mistake that would go
/// unnoticed; others are set by orchestrators (`BURNWATCH_PORT`, `BURNWATCH_SERVICE_HOST`) and only worth a warning.
fn check_stray(variable: &str, report: &mut Report) {
    let place = Place::Variable(variable.to_owned());
    let flat = variable[PREFIX.len()..].to_ascii_lowercase();
    let meant = report.known.iter().find(|path| path.contains('.') && path.replace('.', "_") == flat);
    match meant.map(|path| path.replace('.', "__").to_ascii_uppercase()) {
        Some(path) => {
            report.problem(&place, format!("overrides nothing; did you mean {PREFIX}{path} (two underscores between table and key)?"))
        }
        None => report.warnings.push(Problem { place, message: "is no configuration key; ignored".to_owned() }),
    }
}

fn database(section: &mut Section<'_>) -> Database {
    let default = "sqlite://burnwatch-data/burnwatch.db";
    let asked = section.has("url") || section.has("url_file");
    let given = section.secret("url", "url_file");
    let place = if section.has("url") { section.place("url") } else { section.place("url_file") };
    let url = match given {
        Some(url) => url.expose().to_owned(),
        // Tools that need a database say so when they open an empty address; the default would be someone else's data.
        None if asked => return Database { url: String::new() },
        None => default.to_owned(),
    };
    if let Some(rest) = url.strip_prefix("sqlite:") {
        let rest = rest.strip_prefix("//").unwrap_or(rest);
        if rest.is_empty() {
            section.problem(&place, "url", "names no file; write it like \"sqlite://burnwatch-data/burnwatch.db\"");
        }
        if rest.starts_with(":memory:") {
            return Database { url };
        }
        return Database { url: format!("sqlite://{}", section.report.resolve(rest).display()) };
    }
    let postgres = (url.starts_with("postgres://") || url.starts_with("postgresql://")) && url::Url::parse(&url).is_ok();
    if !postgres {
        section.problem(&place, "url", "expected \"sqlite://FILE\" or \"postgres://USER:PASSWORD@HOST/NAME\"");
    }
    Database { url }
}

/// A length of time within bounds.
pub(super) fn span(section: &mut Section<'_>, key: &'static str, default: Span, least: Span, most: Span) -> Span {
    let Some(value) = section.parsed::<Span>(key) else { return default };
    if value < least || value > most {
        let place = section.place(key);
        section.problem(&place, key, format_args!("{value} is out of bounds; use {least} to {most}"));
        return default;
    }
    value
}

fn aggregation(section: &mut Section<'_>) -> Aggregation {
    let bucket = section.one_of("bucket", Span::MINUTE, &BUCKETS);
    let settle = span(section, "settle", Span::seconds(30), Span::ZERO, Span::HOUR);
    let mut delay = BTreeMap::new();
    for (app, node) in section.names("delay") {
        let place = node.place.clone();
        match text_of(node).map(|text| text.parse::<Span>()) {
            Some(Ok(wait)) if wait <= Span::DAY => {
                delay.insert(app, wait);
            }
            Some(Ok(wait)) => section.problem(&place, "delay", format_args!("{wait} of `{}` is out of bounds; use 0s to 1d", short(&app))),
            Some(Err(error)) => section.problem(&place, "delay", error),
            None => section.problem(&place, "delay", format_args!("expected a duration in quotes for `{}`, like \"2m\"", short(&app))),
        }
    }
    let dimensions = dimensions(section);
    let series_max = section.integer("series_max", 50_000, 1..=10_000_000);
    Aggregation { bucket, settle, delay, dimensions, series_max }
}

fn dimensions(section: &mut Section<'_>) -> Vec<String> {
    let Some(given) = section.texts("dimensions") else { return DIMENSIONS.map(str::to_owned).to_vec() };
    let mut dimensions: Vec<String> = Vec::new();
    for (name, place) in given {
        let fine = (1..=64).contains(&name.len())
            && name.as_bytes()[0].is_ascii_lowercase()
            && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        let own = Metric::NAMES.into_iter().filter_map(Metric::parse).any(|metric| metric.own_dimensions().contains(&name.as_str()));
        let shown = short(&name);
        if !fine {
            section.problem(
                &place,
                "dimensions",
                format_args!("`{shown}` is no name; use lower-case letters, digits and _, a letter first"),
            );
        } else if own {
            section.problem(&place, "dimensions", format_args!("`{shown}` is a metric's own dimension and always there; leave it out"));
        } else if NO_DIMENSIONS.contains(&name.as_str()) {
            section.problem(&place, "dimensions", format_args!("`{shown}` is a label that alerts carry; choose another name"));
        } else if dimensions.contains(&name) {
            section.problem(&place, "dimensions", format_args!("`{shown}` is listed twice"));
        } else {
            dimensions.push(name);
        }
    }
    if !dimensions.iter().any(|name| name == "app") {
        let place = section.place("dimensions");
        section.problem(&place, "dimensions", "`app` is missing; coverage and delays are per app");
    }
    dimensions
}

fn retention(section: &mut Section<'_>) -> Retention {
    let century = Span::days(36_525);
    Retention {
        bucket: span(section, "bucket", Span::days(8), Span::HOUR, century),
        rollup_5m: span(section, "rollup_5m", Span::days(40), Span::HOUR, century),
        rollup_1h: span(section, "rollup_1h", Span::days(400), Span::HOUR, century),
    }
}

/// Coarser numbers have to outlive finer ones, and an open bucket must not be older than what is kept.
fn check_retention(config: &Config, report: &mut Report) {
    let Retention { bucket, rollup_5m, rollup_1h } = config.retention;
    if bucket > rollup_5m {
        report.problem(
            &Place::Default,
            format!("retention: bucket = {bucket} is longer than rollup_5m = {rollup_5m}; coarser numbers are kept longer"),
        );
    }
    if rollup_5m > rollup_1h {
        report.problem(
            &Place::Default,
            format!("retention: rollup_5m = {rollup_5m} is longer than rollup_1h = {rollup_1h}; coarser numbers are kept longer"),
        );
    }
    for (app, delay) in &config.aggregation.delay {
        if config.aggregation.settle + *delay >= bucket {
            let app = short(app);
            report.problem(&Place::Default, format!("aggregation.delay: `{app}` waits {delay}, but retention.bucket keeps only {bucket}"));
        }
    }
}

fn rules(section: &mut Section<'_>) -> Rules {
    let given = section.text("path");
    if given.as_deref() == Some("") {
        let place = section.place("path");
        section.problem(&place, "path", "names no folder");
    }
    let path_given = given.is_some();
    let path = section.report.resolve(given.as_deref().unwrap_or("rules"));
    let folder = given.unwrap_or_else(|| "rules".to_owned());
    let git = section.section("git", |section| {
        let remote = section.secret("remote", "remote_file").filter(|remote| !remote.is_empty());
        let branch = section.text("branch").unwrap_or_else(|| "main".to_owned());
        if !is_branch(&branch) {
            let place = section.place("branch");
            section.problem(&place, "branch", format_args!("`{}` is no branch name", short(&branch)));
        }
        if remote.as_ref().is_some_and(|remote| remote.expose().starts_with('-') || remote.expose().chars().any(char::is_control)) {
            let place = section.place("remote");
            section.problem(&place, "remote", "a repository's address cannot begin with `-` or hold control characters");
        }
        // What is neither a URL nor `host:path` is a folder, and those are relative to this file.
        let is_path = |remote: &Secret| !remote.expose().split('/').next().unwrap_or_default().contains(':');
        let remote = remote.map(|remote| match is_path(&remote) {
            true => Secret::new(section.report.resolve(remote.expose()).display().to_string()),
            false => remote,
        });
        let every = span(section, "every", Span::seconds(30), Span::SECOND, Span::DAY);
        let verify_signatures = section.flag("verify_signatures", false);
        let allowed_signers = section.text("allowed_signers").map(|file| section.report.resolve(file));
        if allowed_signers.is_some() && !verify_signatures {
            let place = section.place("allowed_signers");
            section.problem(&place, "allowed_signers", "has no effect without `verify_signatures = true`");
        }
        remote.map(|remote| Git { remote, branch, every, folder: String::new(), verify_signatures, allowed_signers })
    });
    let leaves = Path::new(&folder).components().any(|part| !matches!(part, Component::Normal(_) | Component::CurDir));
    if git.is_some() && leaves {
        let place = section.place("path");
        section.problem(&place, "path", "with rules.git this is a folder inside the repository, so neither absolute nor with `..`");
    }
    let parts = Path::new(&folder).components().filter(|part| matches!(part, Component::Normal(_)));
    let folder = parts.map(|part| part.as_os_str().to_string_lossy().into_owned()).collect::<Vec<_>>().join("/");
    Rules { path, path_given, git: git.map(|git| Git { folder, ..git }) }
}

/// What git takes for the name of a branch, so that nothing in it is read as an option or as something else of a refspec.
fn is_branch(name: &str) -> bool {
    let fine = |c: char| !c.is_whitespace() && !c.is_control() && !":?*[\\^~".contains(c);
    let part = |part: &str| !part.is_empty() && !part.starts_with('.') && !part.ends_with(".lock");
    name.chars().all(fine)
        && name.split('/').all(part)
        && !name.starts_with('-')
        && !name.ends_with('.')
        && !name.contains("..")
        && !name.contains("@{")
}

/// Where things are kept beside the database.
fn data_folder(database: &Database, report: &Report) -> PathBuf {
    let file = database.url.strip_prefix("sqlite://").map(|rest| PathBuf::from(rest.split('?').next().unwrap_or_default()));
    let beside = file.and_then(|file| file.parent().map(Path::to_owned)).filter(|folder| !folder.as_os_str().is_empty());
    beside.unwrap_or_else(|| report.resolve("burnwatch-data"))
}

fn privacy(section: &mut Section<'_>) -> Privacy {
    let redact = section.flag("redact", true);
    let mut redact_patterns = Vec::new();
    for (pattern, place) in section.texts("redact_patterns").unwrap_or_default() {
        match regex::RegexBuilder::new(&pattern).size_limit(1 << 20).build() {
            Ok(_) => redact_patterns.push(pattern),
            Err(_) => section.problem(
                &place,
                "redact_patterns",
                format_args!("`{}` is no regular expression, or a very large one", short(&pattern)),
            ),
        }
    }
    let choices = [("count", OptOut::Count), ("anonymous", OptOut::Anonymous), ("drop", OptOut::Drop)];
    let consent = section.one_of("consent", OptOut::Anonymous, &choices);
    let browser_signal = section.one_of("browser_signal", OptOut::Anonymous, &choices);
    let hash_key = section.secret("hash_key", "hash_key_file").filter(|key| !key.is_empty());
    if hash_key.as_ref().is_some_and(|key| key.expose().len() < 16) {
        let place = if section.has("hash_key") { section.place("hash_key") } else { section.place("hash_key_file") };
        section.problem(&place, "hash_key", "is shorter than 16 bytes and could be guessed; `openssl rand -hex 32` makes a good one");
    }
    let hash_rotation = span(section, "hash_rotation", Span::days(30), Span::DAY, Span::days(3660));
    Privacy { redact, redact_patterns, consent, browser_signal, hash_key, hash_rotation }
}
