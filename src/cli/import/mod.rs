//! `burnwatch import`: SLOs and routes of other tools as a rules folder.
//!
//! Pure functions make text of text; only [`run`] touches files. Every field of the source is reported as mapped, ignored or
//! needs-mapping, and what looks wrong in the source is named. Values of secrets go nowhere.

mod alertmanager;
mod binding;
mod document;
mod draft;
mod export;
mod openslo;
mod openslo_alert;
mod openslo_sli;
mod openslo_window;
mod pyrra;
mod quantity;
mod script;
mod sloth;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::Serialize;

use super::exit::Outcome;
use super::output;
use document::{Document, Fate};

pub use document::{Fate as FieldFate, Fault, Field};
pub use export::{ExportArgs, ExportFormat, openslo as export_openslo, run as run_export};

/// First words of every file that an import writes.
const MARK: &str = "// Imported from ";

/// What can be imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// OpenSLO v1, v1alpha, v2alpha, and Nobl9's manifests
    Openslo,
    /// Sloth, as files or as Kubernetes objects
    Sloth,
    /// Pyrra's ServiceLevelObjectives
    Pyrra,
    /// Alertmanager's configuration: routes, receivers, inhibitions, time intervals
    Alertmanager,
}

impl Format {
    const fn title(self) -> &'static str {
        match self {
            Format::Openslo => "OpenSLO",
            Format::Sloth => "Sloth",
            Format::Pyrra => "Pyrra",
            Format::Alertmanager => "Alertmanager",
        }
    }
}

/// `import openslo|sloth|pyrra|alertmanager FILE… [--out DIR] [--strict]`
#[derive(Debug, clap::Args)]
pub struct ImportArgs {
    /// What the files are
    #[arg(value_enum)]
    pub format: Format,
    /// Files to read; several may refer to each other
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Write a rules folder instead of printing the rules
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// End with 1 if anything needs mapping or looks wrong
    #[arg(long)]
    pub strict: bool,
    /// Print rules and report as one JSON object
    #[arg(long)]
    pub json: bool,
}

/// What became of some files.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Import {
    /// A rules folder: name and text of each file.
    pub files: BTreeMap<String, String>,
    /// How many rules are declared in it.
    pub declared: usize,
    pub fields: Vec<Field>,
    pub faults: Vec<Fault>,
}

impl Import {
    /// Whether everything of the source is in the rules or has no meaning there.
    pub fn is_complete(&self) -> bool {
        self.faults.is_empty() && !self.fields.iter().any(|field| matches!(field.fate, Fate::NeedsMapping(_)))
    }

    fn count(&self, fate: &str) -> usize {
        self.fields.iter().filter(|field| field.fate.name() == fate).count()
    }

    /// A line for every field and every fault, and a summary.
    pub fn report(&self) -> String {
        let mut text = String::new();
        for Field { file, document, path, fate } in &self.fields {
            let _ = writeln!(text, "{file}:{document}: {path}: {}: {}", fate.name(), fate.why());
        }
        for Fault { file, document, path, message } in &self.faults {
            let place = if path.is_empty() { String::new() } else { format!("{path}: ") };
            let _ = writeln!(text, "{file}:{document}: {place}warning: {message}");
        }
        let [mapped, ignored, needs] = ["mapped", "ignored", "needs-mapping"].map(|fate| self.count(fate));
        let (declared, faults) = (self.declared, self.faults.len());
        let _ = writeln!(text, "{declared} declared; {mapped} fields mapped, {ignored} ignored, {needs} need mapping; {faults} warnings");
        text
    }
}

/// Makes a rules folder of sources: pairs of a name to show and a text.
pub fn convert(format: Format, sources: &[(String, String)]) -> Import {
    let mut documents = Vec::new();
    let mut faults = Vec::new();
    for (name, text) in sources {
        let (found, fault) = Document::read(name, text);
        if found.is_empty() && fault.is_none() {
            faults.push(Fault { file: name.clone(), document: 1, path: String::new(), message: "there is nothing in it".to_owned() });
        }
        documents.extend(found);
        faults.extend(fault);
    }
    let mut drafts = Vec::new();
    let [mut openslo, mut sloth, mut pyrra, mut alertmanager] = [const { Vec::new() }; 4];
    for document in &documents {
        let top = document.top();
        let (list, is) = if openslo::is_it(&top) {
            (&mut openslo, Format::Openslo)
        } else if sloth::is_it(&top) {
            (&mut sloth, Format::Sloth)
        } else if pyrra::is_it(&top) {
            (&mut pyrra, Format::Pyrra)
        } else if alertmanager::is_it(&top) {
            (&mut alertmanager, Format::Alertmanager)
        } else {
            let api = [top.get("apiVersion"), top.get("version"), top.get("kind")].iter().find_map(document::Node::text);
            let what = api.map_or_else(|| "nothing says what it is".to_owned(), |api| format!("`{api}` is not known"));
            top.fault(format!("this is no {} document: {what}", format.title()));
            top.needs("the document is of no format that can be imported");
            continue;
        };
        if is != format {
            top.fault(format!("this is a document of {}, and is read as such", is.title()));
        }
        list.push(document);
    }
    drafts.extend(openslo::import(&openslo));
    drafts.extend(sloth::import(&sloth));
    drafts.extend(pyrra::import(&pyrra));
    for (at, message) in draft::settle_names(&mut drafts) {
        faults.push(Fault { file: drafts[at].source.clone(), document: 1, path: String::new(), message });
    }
    let mut import = Import {
        files: draft::write(&drafts, format.title()),
        declared: drafts.iter().filter(|draft| draft.impossible.is_none()).count(),
        fields: Vec::new(),
        faults,
    };
    // Receivers and intervals of two configurations may have the same names; a process has one.
    for (at, document) in alertmanager.iter().enumerate() {
        if at > 0 {
            document.top().fault("there is another configuration before this one, which is taken");
            document.top().needs("import one configuration at a time");
            continue;
        }
        let rules = alertmanager::import(document);
        import.declared += rules.declared;
        let name = draft::file_name(&document.file, &import.files);
        import.files.insert(name, rules.text);
    }
    for document in documents {
        let (fields, faults) = document.finish();
        import.fields.extend(fields);
        import.faults.extend(faults);
    }
    import
}

/// Reads, converts, writes, reports. Gives the exit code: 1 if nothing was usable, or with `--strict` if anything is left to do.
pub fn run(args: &ImportArgs) -> anyhow::Result<i32> {
    let mut sources = Vec::new();
    for file in &args.files {
        let text = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
        sources.push((file.display().to_string(), String::from_utf8_lossy(&text).into_owned()));
    }
    let import = convert(args.format, &sources);
    if let Some(folder) = &args.out
        && import.declared > 0
    {
        write(folder, &import.files)?;
    }
    let report: String = import.report().lines().map(|line| output::plain(line) + "\n").collect();
    match (&args.out, args.json) {
        (_, true) => said(output::say(&serde_json::to_string_pretty(&import)?))?,
        (Some(_), false) => said(output::say(&report))?,
        (None, false) => {
            output::complain(report.trim_end());
            let rules: Vec<String> = import.files.values().cloned().collect();
            said(output::say(&rules.join("\n")))?;
        }
    }
    if import.declared == 0 {
        output::complain("error: nothing in these files can be used; see the report for why");
        return Ok(1);
    }
    Ok(i32::from(args.strict && !import.is_complete()))
}

fn said(outcome: Outcome) -> anyhow::Result<()> {
    outcome.map_err(|failure| failure.error.unwrap_or_else(|| anyhow::anyhow!("cannot write to stdout")))
}

/// Writes the folder; a file that somebody wrote by hand is never replaced.
fn write(folder: &Path, files: &BTreeMap<String, String>) -> anyhow::Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
    for name in files.keys() {
        let path = folder.join(name);
        if path.exists() {
            let old = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            anyhow::ensure!(
                old.starts_with(MARK),
                "{} is there already and was not written by an import; choose another folder",
                path.display()
            );
        }
    }
    for (name, text) in files {
        let path = folder.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
