//! Source documents that are watched while they are read: whatever nobody asked about is reported, nothing is dropped in silence.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_yaml_ng::Value;

/// Files larger than this are no specifications.
const FILE_MAX: usize = 16 << 20;
/// More fields than this are not listed one by one.
const FIELDS_MAX: usize = 200_000;

/// What became of a field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "fate", content = "why", rename_all = "kebab-case")]
pub enum Fate {
    /// It stands in the rules; where.
    Mapped(String),
    /// It has no meaning here; why.
    Ignored(String),
    /// A person must decide; what to do.
    NeedsMapping(String),
}

impl Fate {
    /// The word of the contract.
    pub const fn name(&self) -> &'static str {
        match self {
            Fate::Mapped(_) => "mapped",
            Fate::Ignored(_) => "ignored",
            Fate::NeedsMapping(_) => "needs-mapping",
        }
    }

    /// What follows the word.
    pub fn why(&self) -> &str {
        match self {
            Fate::Mapped(why) | Fate::Ignored(why) | Fate::NeedsMapping(why) => why,
        }
    }
}

/// One source field and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Field {
    pub file: String,
    /// From 1.
    pub document: usize,
    pub path: String,
    #[serde(flatten)]
    pub fate: Fate,
}

/// Something in the source that is wrong, or cannot be what its author meant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fault {
    pub file: String,
    pub document: usize,
    pub path: String,
    pub message: String,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Key(String),
    Index(usize),
}

type Path = Vec<Step>;

struct Shown<'a>(&'a [Step]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = |key: &str| !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
        for (at, step) in self.0.iter().enumerate() {
            match step {
                Step::Key(key) if plain(key) => write!(f, "{}{key}", if at == 0 { "" } else { "." })?,
                Step::Key(key) => write!(f, "[{key:?}]")?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

/// One document of a file.
pub struct Document {
    /// As it is shown.
    pub file: String,
    number: usize,
    root: Value,
    marks: RefCell<BTreeMap<Path, Fate>>,
    faults: RefCell<Vec<Fault>>,
}

impl Document {
    /// All documents of a file; a list at the top stands for its items. What is no YAML is a fault.
    pub fn read(file: &str, text: &str) -> (Vec<Document>, Option<Fault>) {
        let fault = |document, message| Some(Fault { file: file.to_owned(), document, path: String::new(), message });
        let mut found: Vec<Document> = Vec::new();
        if text.len() > FILE_MAX {
            return (found, fault(1, format!("the file is larger than {} MiB", FILE_MAX >> 20)));
        }
        for part in serde_yaml_ng::Deserializer::from_str(text) {
            let number = found.len() + 1;
            match Value::deserialize(part) {
                Ok(Value::Sequence(items)) => {
                    for item in items {
                        found.push(Document::new(file, found.len() + 1, item));
                    }
                }
                Ok(root) => found.push(Document::new(file, number, root)),
                Err(error) => return (found, fault(number, format!("this is no YAML: {error}"))),
            }
        }
        // A `---` without anything after it is no document.
        found.retain(|document| !document.root.is_null());
        (found, None)
    }

    fn new(file: &str, number: usize, root: Value) -> Document {
        Document { file: file.to_owned(), number, root: plain(root), marks: RefCell::default(), faults: RefCell::default() }
    }

    /// The top of the document.
    pub fn top(&self) -> Node<'_> {
        Node { document: self, value: Some(&self.root), path: Vec::new() }
    }

    /// What became of every field, and what is wrong.
    pub fn finish(self) -> (Vec<Field>, Vec<Fault>) {
        let marks = self.marks.into_inner();
        let mut leaves = Vec::new();
        collect(&self.root, &mut Vec::new(), &mut leaves);
        let mut fields = Vec::new();
        for (path, empty) in leaves {
            let mark = (0..=path.len()).rev().find_map(|length| marks.get(&path[..length]));
            let fate = match mark {
                Some(fate) => fate.clone(),
                None if empty => Fate::Ignored("it is empty".to_owned()),
                None => Fate::NeedsMapping("this importer does not know the field".to_owned()),
            };
            fields.push(Field { file: self.file.clone(), document: self.number, path: Shown(&path).to_string(), fate });
        }
        (fields, self.faults.into_inner())
    }
}

/// Takes tags off and makes every key a text.
fn plain(value: Value) -> Value {
    match value {
        Value::Tagged(tagged) => plain(tagged.value),
        Value::Sequence(items) => Value::Sequence(items.into_iter().map(plain).collect()),
        Value::Mapping(map) => {
            let key = |key: Value| match scalar(&key) {
                Some(text) => Value::String(text),
                None => Value::String(serde_yaml_ng::to_string(&key).unwrap_or_default().trim().to_owned()),
            };
            Value::Mapping(map.into_iter().map(|(name, value)| (key(name), plain(value))).collect())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value,
    }
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Number(number) => Some(number.to_string()),
        Value::Null => Some(String::new()),
        Value::Sequence(_) | Value::Mapping(_) | Value::Tagged(_) => None,
    }
}

fn collect(value: &Value, path: &mut Path, leaves: &mut Vec<(Path, bool)>) {
    if leaves.len() >= FIELDS_MAX {
        return;
    }
    match value {
        Value::Mapping(map) if !map.is_empty() => {
            for (key, value) in map {
                path.push(Step::Key(scalar(key).unwrap_or_default()));
                collect(value, path, leaves);
                path.pop();
            }
        }
        Value::Sequence(items) if !items.is_empty() => {
            for (index, item) in items.iter().enumerate() {
                path.push(Step::Index(index));
                collect(item, path, leaves);
                path.pop();
            }
        }
        Value::Null | Value::Mapping(_) | Value::Sequence(_) => leaves.push((path.clone(), true)),
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Tagged(_) => leaves.push((path.clone(), false)),
    }
}

/// A place in a document, whether anything stands there or not.
#[derive(Clone)]
pub struct Node<'a> {
    document: &'a Document,
    value: Option<&'a Value>,
    path: Path,
}

impl<'a> Node<'a> {
    /// The value of a key.
    pub fn get(&self, key: &str) -> Node<'a> {
        let mut path = self.path.clone();
        path.push(Step::Key(key.to_owned()));
        Node { document: self.document, value: self.value.and_then(|value| value.get(key)), path }
    }

    /// The first of these keys that is there; the last one if none is.
    pub fn either(&self, keys: &[&str]) -> Node<'a> {
        let found = keys.iter().map(|key| self.get(key)).find(Node::is_there);
        found.unwrap_or_else(|| self.get(keys.last().unwrap_or(&"")))
    }

    /// The items of a list; nothing else has items.
    pub fn items(&self) -> Vec<Node<'a>> {
        let Some(Value::Sequence(items)) = self.value else { return Vec::new() };
        let item = |(index, value)| {
            let mut path = self.path.clone();
            path.push(Step::Index(index));
            Node { document: self.document, value: Some(value), path }
        };
        items.iter().enumerate().map(item).collect()
    }

    /// The items of a list, or a single value as the only one.
    pub fn one_or_many(&self) -> Vec<Node<'a>> {
        match self.value {
            Some(Value::Sequence(_)) => self.items(),
            Some(Value::Null) | None => Vec::new(),
            Some(_) => vec![self.clone()],
        }
    }

    /// The entries of a map, in their order.
    pub fn entries(&self) -> Vec<(String, Node<'a>)> {
        let Some(Value::Mapping(map)) = self.value else { return Vec::new() };
        map.keys().filter_map(|key| key.as_str()).map(|key| (key.to_owned(), self.get(key))).collect()
    }

    /// A scalar as text; null and nothing are `None`.
    pub fn text(&self) -> Option<String> {
        self.value.filter(|value| !value.is_null()).and_then(scalar)
    }

    /// A scalar that says yes or no.
    pub fn flag(&self) -> Option<bool> {
        match self.text()?.to_lowercase().as_str() {
            "true" | "yes" | "on" => Some(true),
            "false" | "no" | "off" => Some(false),
            _ => None,
        }
    }

    /// Whether anything but null stands here.
    pub fn is_there(&self) -> bool {
        self.value.is_some_and(|value| !value.is_null())
    }

    /// Every scalar below this place, with its path from here.
    pub fn leaves(&self) -> Vec<(String, String)> {
        let Some(value) = self.value else { return Vec::new() };
        let mut paths = Vec::new();
        collect(value, &mut Vec::new(), &mut paths);
        let mut leaves = Vec::new();
        for (path, empty) in paths {
            let mut value = value;
            for step in &path {
                value = match step {
                    Step::Key(key) => value.get(key.as_str()).unwrap_or(&Value::Null),
                    Step::Index(index) => value.get(*index).unwrap_or(&Value::Null),
                };
            }
            if !empty {
                leaves.push((Shown(&path).to_string(), scalar(value).unwrap_or_default()));
            }
        }
        leaves
    }

    /// The path from the top, as it is shown.
    pub fn shown(&self) -> String {
        Shown(&self.path).to_string()
    }

    /// The file it stands in.
    pub fn file(&self) -> &'a str {
        &self.document.file
    }

    /// This and all below stands in the rules now. A closer word about something below wins.
    pub fn mapped(&self, to: impl Into<String>) {
        self.mark(Fate::Mapped(to.into()));
    }

    /// This and all below has no meaning here.
    pub fn ignored(&self, why: impl Into<String>) {
        self.mark(Fate::Ignored(why.into()));
    }

    /// Somebody must decide about this and all below.
    pub fn needs(&self, what: impl Into<String>) {
        self.mark(Fate::NeedsMapping(what.into()));
    }

    fn mark(&self, fate: Fate) {
        if self.value.is_some() {
            self.document.marks.borrow_mut().insert(self.path.clone(), fate);
        }
    }

    /// Something here is wrong, or cannot be meant as it is written.
    pub fn fault(&self, message: impl Into<String>) {
        let fault = Fault { file: self.document.file.clone(), document: self.document.number, path: self.shown(), message: message.into() };
        let mut faults = self.document.faults.borrow_mut();
        if !faults.contains(&fault) {
            faults.push(fault);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_is_reported_and_the_closest_word_wins() {
        let (documents, fault) = Document::read("a.yml", "a: {b: 1, \"c.d/e\": [x, {f: y}], g: }\nh: []\n");
        assert_eq!(fault, None);
        let document = documents.into_iter().next().unwrap();
        let a = document.top().get("a");
        a.ignored("no use");
        a.get("b").mapped("objective");
        a.get("nothing").needs("is not there");
        let (fields, _) = document.finish();
        let lines: Vec<String> = fields.iter().map(|field| format!("{} {} {}", field.path, field.fate.name(), field.fate.why())).collect();
        assert_eq!(
            lines,
            [
                "a.b mapped objective",
                "a[\"c.d/e\"][0] ignored no use",
                "a[\"c.d/e\"][1].f ignored no use",
                "a.g ignored no use",
                "h ignored it is empty",
            ]
        );
    }

    #[test]
    fn what_nobody_asked_about_needs_mapping() {
        let (documents, _) = Document::read("a.yml", "x: 1\n---\n- y: 2\n- z: 3\n");
        let fields: Vec<Field> = documents.into_iter().flat_map(|document| document.finish().0).collect();
        assert_eq!(fields.iter().map(|field| (field.document, field.path.as_str())).collect::<Vec<_>>(), [(1, "x"), (2, "y"), (3, "z")]);
        assert!(fields.iter().all(|field| field.fate.name() == "needs-mapping"));
    }

    #[test]
    fn what_is_no_yaml_is_a_fault_and_what_came_before_is_kept() {
        let (documents, fault) = Document::read("a.yml", "x: 1\n---\ny: [\n");
        assert_eq!(documents.len(), 1);
        assert!(fault.unwrap().message.starts_with("this is no YAML"));
        assert!(Document::read("a.yml", "").0.is_empty());
        // Aliases that grow without bound are refused by the parser.
        let bomb: String = (0..40).map(|n| format!("a{}: &a{} [*a{n}, *a{n}, *a{n}]\n", n + 1, n + 1)).collect();
        assert!(Document::read("a.yml", &format!("a0: &a0 x\n{bomb}")).1.is_some());
    }
}
