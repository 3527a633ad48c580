//! The configuration as a tree of values that know where they were written.
//!
//! A file and the environment become one tree here; what the values mean is decided in `read.rs`.

use std::collections::BTreeMap;
use std::fmt;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::environment::PREFIX;

/// Where a value stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// In the file.
    File {
        /// The file's name, as it was given.
        file: String,
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
    },
    /// In an environment variable.
    Variable(String),
    /// Nowhere: a default.
    Default,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::File { file, line, column } => write!(f, "{file}:{line}:{column}"),
            Place::Variable(name) => f.write_str(name),
            Place::Default => f.write_str("default"),
        }
    }
}

/// A value, where it was written, and for variables the text as it was.
#[derive(Clone)]
pub(super) struct Node {
    pub place: Place,
    pub value: Value,
    /// The variable's own text: where a text is wanted, `12345` is one.
    pub raw: Option<String>,
}

/// What TOML can say, as far as burnwatch uses it.
#[derive(Clone)]
pub(super) enum Value {
    Text(String),
    Integer(i64),
    Float(f64),
    Bool(bool),
    List(Vec<Node>),
    Table(Table),
    /// A date, or a number that does not fit.
    Other(&'static str),
}

/// Keys and their values.
pub(super) type Table = BTreeMap<String, Node>;

impl Value {
    /// What it is, for messages that say what was found instead.
    pub fn kind(&self) -> &'static str {
        match self {
            Value::Text(_) => "a text",
            Value::Integer(_) => "a whole number",
            Value::Float(_) => "a number",
            Value::Bool(_) => "true or false",
            Value::List(_) => "a list",
            Value::Table(_) => "a table",
            Value::Other(kind) => kind,
        }
    }
}

/// Something in the file that is no TOML.
pub(super) struct Fault {
    pub place: Place,
    pub message: String,
}

/// Reads a file's text; all faults at once.
pub(super) fn parse(file: &str, text: &str) -> Result<Table, Vec<Fault>> {
    let lines = Lines { file, text };
    let (table, errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() {
        return Ok(lines.table(table.get_ref()));
    }
    let fault = |error: &toml::de::Error| Fault {
        place: lines.place(error.span().map_or(0, |span| span.start)),
        message: error.message().lines().collect::<Vec<_>>().join(", "),
    };
    Err(errors.iter().map(fault).collect())
}

/// Turns byte offsets of one text into lines and columns.
struct Lines<'a> {
    file: &'a str,
    text: &'a str,
}

impl Lines<'_> {
    fn place(&self, offset: usize) -> Place {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().map_or(0, |rest| rest.chars().count()) + 1;
        Place::File { file: self.file.to_owned(), line, column }
    }

    /// A node stands where its key stands: that is the line that people look for.
    fn table(&self, table: &DeTable<'_>) -> Table {
        let node = |key: usize, value: &Spanned<DeValue<'_>>| Node { place: self.place(key), value: self.value(value), raw: None };
        table.iter().map(|(key, value)| (key.get_ref().to_string(), node(key.span().start, value))).collect()
    }

    fn value(&self, value: &Spanned<DeValue<'_>>) -> Value {
        let item = |item: &Spanned<DeValue<'_>>| Node { place: self.place(item.span().start), value: self.value(item), raw: None };
        match value.get_ref() {
            DeValue::String(text) => Value::Text(text.to_string()),
            DeValue::Integer(digits) => {
                i64::from_str_radix(digits.as_str(), digits.radix()).map_or(Value::Other("a number that is too large"), Value::Integer)
            }
            DeValue::Float(digits) => digits.as_str().parse().map_or(Value::Other("a number that cannot be read"), Value::Float),
            DeValue::Boolean(flag) => Value::Bool(*flag),
            DeValue::Datetime(_) => Value::Other("a date"),
            DeValue::Array(items) => Value::List(items.iter().map(item).collect()),
            DeValue::Table(table) => Value::Table(self.table(table)),
        }
    }
}

/// A variable's value: TOML if it is that, else the text as it stands.
fn variable(name: &str, text: &str) -> Node {
    let lines = Lines { file: name, text };
    let value = match DeValue::parse(text) {
        Ok(parsed) => lines.value(&parsed),
        Err(_) => Value::Text(text.to_owned()),
    };
    let mut node = Node { place: Place::Default, value, raw: Some(text.to_owned()) };
    node.stand_in(&Place::Variable(name.to_owned()));
    node
}

impl Node {
    /// Everything within a variable's value stands in that variable.
    fn stand_in(&mut self, place: &Place) {
        self.place = place.clone();
        match &mut self.value {
            Value::List(items) => items.iter_mut().for_each(|item| item.stand_in(place)),
            Value::Table(table) => table.values_mut().for_each(|node| node.stand_in(place)),
            Value::Text(_) | Value::Integer(_) | Value::Float(_) | Value::Bool(_) | Value::Other(_) => {}
        }
    }
}

/// Tables whose keys are the user's own names, by their path.
const OWN_NAMES: [&str; 3] = ["intake.sample_rates", "aggregation.delay", "secrets"];

/// Lays a variable over the tree: `BURNWATCH_DATABASE__URL` replaces `database.url`.
///
/// Variables are upper case by custom, keys lower case. In tables of the user's own names, a name that is already
/// there in any case is the one that is meant; a new one is lower case, but in `[secrets]` as the variable has it.
pub(super) fn lay_over(root: &mut Table, name: &str, text: &str) {
    let segments: Vec<&str> = name.strip_prefix(PREFIX).unwrap_or(name).split("__").collect();
    let mut table = root;
    let mut path = String::new();
    for (n, segment) in segments.iter().enumerate() {
        let key = match table.keys().find(|key| key.eq_ignore_ascii_case(segment)) {
            Some(known) if OWN_NAMES.contains(&path.as_str()) => known.clone(),
            None if path == "secrets" => (*segment).to_owned(),
            Some(_) | None => segment.to_ascii_lowercase(),
        };
        if n + 1 == segments.len() {
            // A value and its `_file` twin exclude each other, and the variable is the one that counts.
            let twin = key.strip_suffix("_file").map_or_else(|| format!("{key}_file"), str::to_owned);
            if !OWN_NAMES.contains(&path.as_str()) {
                table.remove(&twin);
            }
            table.insert(key, variable(name, text));
            return;
        }
        path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        let empty = || Node { place: Place::Variable(name.to_owned()), value: Value::Table(Table::new()), raw: None };
        let node = table.entry(key).or_insert_with(empty);
        if !matches!(node.value, Value::Table(_)) {
            *node = empty();
        }
        let Value::Table(inner) = &mut node.value else { return };
        table = inner;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at<'a>(table: &'a Table, path: &[&str]) -> Option<&'a Node> {
        let (last, folders) = path.split_last()?;
        let table = folders.iter().try_fold(table, |table, key| match &table.get(*key)?.value {
            Value::Table(inner) => Some(inner),
            _ => None,
        })?;
        table.get(*last)
    }

    #[test]
    fn values_know_their_line_and_column() {
        let table = parse("b.toml", "# c\n[server]\n  listen = \"x\"\n").ok().unwrap();
        let node = at(&table, &["server", "listen"]).unwrap();
        assert_eq!(node.place.to_string(), "b.toml:3:3");
    }

    #[test]
    fn all_faults_of_a_file_are_found_at_once() {
        let faults = parse("b.toml", "a = \nb = 1\nc = = 2\n").err().unwrap();
        let lines: Vec<_> = faults.iter().map(|fault| fault.place.to_string()).collect();
        assert!(lines.iter().any(|line| line.starts_with("b.toml:1:")), "{lines:?}");
        assert!(lines.iter().any(|line| line.starts_with("b.toml:3:")), "{lines:?}");
    }

    #[test]
    fn a_variable_is_toml_or_else_a_text() {
        let value = |text: &str| variable("BURNWATCH_X", text).value.kind();
        assert_eq!(value("12"), "a whole number");
        assert_eq!(value("true"), "true or false");
        assert_eq!(value("[\"a\"]"), "a list");
        assert_eq!(value("{ a = 1 }"), "a table");
        assert_eq!(value("\"quoted\""), "a text");
        assert_eq!(value("127.0.0.1:9320"), "a text");
        assert_eq!(value("postgres://u:p@h/d"), "a text");
        assert_eq!(value(""), "a text");
        assert_eq!(value("1\nb = 2"), "a text");
    }

    #[test]
    fn a_variable_replaces_a_key_and_its_twin() {
        let mut table = parse("b.toml", "[smtp]\npassword_file = \"p\"\n[secrets]\nPager = { env = \"A\" }\n").ok().unwrap();
        lay_over(&mut table, "BURNWATCH_SMTP__PASSWORD", "x");
        assert!(at(&table, &["smtp", "password"]).is_some() && at(&table, &["smtp", "password_file"]).is_none());
        lay_over(&mut table, "BURNWATCH_SECRETS__PAGER__ENV", "B");
        assert!(matches!(&at(&table, &["secrets", "Pager", "env"]).unwrap().value, Value::Text(text) if text == "B"));
        lay_over(&mut table, "BURNWATCH_SECRETS__TICKET", "{ env = \"T\" }");
        assert!(at(&table, &["secrets", "TICKET", "env"]).is_some());
        lay_over(&mut table, "BURNWATCH_AGGREGATION__DELAY__SHOP", "2m");
        assert!(at(&table, &["aggregation", "delay", "shop"]).is_some());
    }
}
