//! Reading one table of the configuration: every key once, every problem noted, nothing stops at the first.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::secret::{Secret, read_secret_file};
use super::tree::{Node, Place, Table, Value};

/// Something wrong with the configuration, and where.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Where it stands.
    pub place: Place,
    /// What is wrong and what to do.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Default => f.write_str(&self.message),
            place => write!(f, "{place}: {}", self.message),
        }
    }
}

/// What was found while reading.
pub(super) struct Report {
    /// The folder that paths are relative to; empty means the current one.
    pub folder: PathBuf,
    /// Whether a secret file that cannot be read is an error (`run`) or a warning (`check`, clients).
    pub secrets_needed: bool,
    pub problems: Vec<Problem>,
    pub warnings: Vec<Problem>,
    /// Every key that exists, by its path: what variables are compared with.
    pub known: BTreeSet<String>,
}

impl Report {
    pub fn problem(&mut self, place: &Place, message: impl Into<String>) {
        self.problems.push(Problem { place: place.clone(), message: message.into() });
    }

    /// A path of the configuration: relative to its folder.
    pub fn resolve(&self, path: impl AsRef<Path>) -> PathBuf {
        self.folder.join(path)
    }
}

/// One table while it is read.
pub(super) struct Section<'a> {
    path: String,
    table: Table,
    asked: Vec<&'static str>,
    pub report: &'a mut Report,
}

impl<'a> Section<'a> {
    pub fn new(path: impl Into<String>, table: Table, report: &'a mut Report) -> Section<'a> {
        Section { path: path.into(), table, asked: Vec::new(), report }
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// Where a key stands, for problems that are found later.
    pub fn place(&self, key: &str) -> Place {
        self.table.get(key).map_or(Place::Default, |node| node.place.clone())
    }

    /// Notes a problem with a key of this table.
    pub fn problem(&mut self, place: &Place, key: &str, message: impl fmt::Display) {
        let path = self.path_of(key);
        self.report.problem(place, format!("{path}: {message}"));
    }

    /// The node of a key; from now on the key is known. Nodes stay, so that `place` still answers.
    pub fn node(&mut self, key: &'static str) -> Option<Node> {
        self.asked.push(key);
        let path = self.path_of(key);
        self.report.known.insert(path);
        self.table.get(key).cloned()
    }

    /// A text; `None` if the key is not there (or is no text, which is noted).
    pub fn text(&mut self, key: &'static str) -> Option<String> {
        let node = self.node(key)?;
        let kind = node.value.kind();
        let text = text_of(node.clone());
        if text.is_none() {
            self.problem(&node.place, key, format_args!("expected a text in quotes, found {kind}"));
        }
        text
    }

    /// A text that is read as `T`; its own error says what is wrong.
    pub fn parsed<T: FromStr<Err: fmt::Display>>(&mut self, key: &'static str) -> Option<T> {
        let text = self.text(key)?;
        match text.parse() {
            Ok(value) => Some(value),
            Err(error) => {
                let place = self.place(key);
                self.problem(&place, key, error);
                None
            }
        }
    }

    /// A text out of a few.
    pub fn one_of<T: Copy>(&mut self, key: &'static str, default: T, choices: &[(&str, T)]) -> T {
        let Some(text) = self.text(key) else { return default };
        if let Some((_, value)) = choices.iter().find(|(name, _)| *name == text) {
            return *value;
        }
        let names: Vec<_> = choices.iter().map(|(name, _)| format!("\"{name}\"")).collect();
        let place = self.place(key);
        self.problem(&place, key, format_args!("`{}` is none of {}", short(&text), names.join(", ")));
        default
    }

    /// A whole number within bounds.
    pub fn integer<T>(&mut self, key: &'static str, default: T, range: RangeInclusive<i64>) -> T
    where
        T: TryFrom<i64>,
    {
        let Some(node) = self.node(key) else { return default };
        let (least, most) = (*range.start(), *range.end());
        let wanted = format!("a whole number from {least} to {most}");
        let message = match &node.value {
            Value::Integer(n) if range.contains(n) => match T::try_from(*n) {
                Ok(value) => return value,
                Err(_) => format!("expected {wanted}, found {n}"),
            },
            Value::Integer(n) => format!("expected {wanted}, found {n}"),
            other => format!("expected {wanted}, found {}", other.kind()),
        };
        self.problem(&node.place, key, message);
        default
    }

    /// true or false.
    pub fn flag(&mut self, key: &'static str, default: bool) -> bool {
        let Some(node) = self.node(key) else { return default };
        match node.value {
            Value::Bool(flag) => flag,
            other => {
                self.problem(&node.place, key, format_args!("expected true or false, found {}", other.kind()));
                default
            }
        }
    }

    /// A list of texts, each with its place.
    pub fn texts(&mut self, key: &'static str) -> Option<Vec<(String, Place)>> {
        let node = self.node(key)?;
        let Value::List(items) = node.value else {
            self.problem(&node.place, key, format_args!("expected a list like [\"a\", \"b\"], found {}", node.value.kind()));
            return None;
        };
        let mut texts = Vec::new();
        for item in items {
            let (place, kind) = (item.place.clone(), item.value.kind());
            match text_of(item) {
                Some(text) => texts.push((text, place)),
                None => self.problem(&place, key, format_args!("expected a text in quotes, found {kind}")),
            }
        }
        Some(texts)
    }

    /// A table of the user's own names, each value with its name.
    pub fn names(&mut self, key: &'static str) -> Vec<(String, Node)> {
        let Some(node) = self.node(key) else { return Vec::new() };
        match node.value {
            Value::Table(table) => table.into_iter().collect(),
            other => {
                self.problem(&node.place, key, format_args!("expected a table, found {}", other.kind()));
                Vec::new()
            }
        }
    }

    /// A secret: the key itself, or the contents of the file that `<key>_file` names. The value never gets into a message.
    pub fn secret(&mut self, key: &'static str, file_key: &'static str) -> Option<Secret> {
        let plain = self.text(key).map(Secret::new);
        let file = self.text(file_key);
        let Some(file) = file else { return plain };
        let place = self.place(file_key);
        if plain.is_some() {
            self.problem(&place, file_key, format_args!("`{key}` is given as well; keep one of the two"));
            return plain;
        }
        let path = self.report.resolve(&file);
        let failure = match read_secret_file(&path) {
            Ok(text) if !text.is_empty() => return Some(Secret::new(text)),
            Ok(_) => format!("{} is empty", path.display()),
            Err(error) => format!("cannot read {}: {error}", path.display()),
        };
        if self.report.secrets_needed {
            self.problem(&place, file_key, failure);
        } else {
            let path = self.path_of(file_key);
            self.report.warnings.push(Problem { place, message: format!("{path}: {failure}") });
        }
        None
    }

    /// A table within this one; a missing one is read as empty, so that its defaults hold.
    pub fn section<T>(&mut self, key: &'static str, read: impl FnOnce(&mut Section<'_>) -> T) -> T {
        let path = self.path_of(key);
        let table = match self.node(key) {
            None => Table::new(),
            Some(Node { value: Value::Table(table), .. }) => table,
            Some(node) => {
                self.problem(&node.place, key, format_args!("expected a table, found {}", node.value.kind()));
                Table::new()
            }
        };
        within(path, table, self.report, read)
    }

    /// Whether a key is written at all.
    pub fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Whether a key is a list with something in it.
    pub fn has_items(&self, key: &str) -> bool {
        self.table.get(key).is_some_and(|node| matches!(&node.value, Value::List(items) if !items.is_empty()))
    }

    /// Notes every key that nobody asked for, with the nearest one that exists.
    fn finish(self) {
        let place = if self.path.is_empty() { "at the top".to_owned() } else { format!("in [{}]", self.path) };
        for (key, node) in &self.table {
            if self.asked.contains(&key.as_str()) {
                continue;
            }
            let hint = nearest(key, self.asked.iter().copied()).map(|known| format!("; did you mean `{known}`?")).unwrap_or_default();
            self.report.problem(&node.place, format!("unknown key `{}` {place}{hint}", short(key)));
        }
    }
}

/// Reads a table with `read` and then notes the keys that it did not ask for.
pub(super) fn within<T>(path: impl Into<String>, table: Table, report: &mut Report, read: impl FnOnce(&mut Section<'_>) -> T) -> T {
    let mut section = Section::new(path, table, report);
    let value = read(&mut section);
    section.finish();
    value
}

/// The text of a node. In a variable everything is one, also `12345`.
pub(super) fn text_of(node: Node) -> Option<String> {
    match (node.value, node.raw) {
        (Value::Text(text), _) => Some(text),
        (_, raw) => raw,
    }
}

/// The known name that was probably meant.
pub(super) fn nearest<'k>(name: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    let name = name.to_ascii_lowercase();
    let scored = known.map(|known| (strsim::damerau_levenshtein(&name, known), known));
    scored.filter(|(distance, known)| *distance <= (known.len() / 3).max(1)).min().map(|(_, known)| known)
}

/// A user's text, cut to a length that a message can bear.
pub(super) fn short(text: &str) -> String {
    let cut: String = text.chars().take(80).collect();
    if cut.len() < text.len() { format!("{cut}…") } else { cut }
}
