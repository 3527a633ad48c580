//! One rules file: parsed so that a syntax error hides nothing that stands elsewhere in the file.
//!
//! A file falls into blocks: each begins at a line whose first column holds a letter, as
//! declarations are written. A block that does not parse is reported and blanked, the rest is read.

use std::collections::BTreeSet;
use std::sync::Arc;

use rhai::{AST, Engine, ParseError, ParseErrorType, Position};

use super::problem::Problems;
use super::shape::Shapes;
use crate::domain::rule::Place;

/// Blocks that may be blanked before the rest of a file is given up.
const BLANKED_MAX: usize = 20;

/// What a file of the folder is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    Library,
    Declarations,
    Test,
}

impl Use {
    pub(super) fn of(path: &str) -> Use {
        if path.ends_with("_test.rhai") {
            Use::Test
        } else if path.strip_prefix("lib/").is_some_and(|name| !name.contains('/')) {
            Use::Library
        } else {
            Use::Declarations
        }
    }
}

/// A parsed file.
pub(super) struct Source {
    pub(super) path: String,
    pub(super) usage: Use,
    pub(super) text: String,
    pub(super) ast: Arc<AST>,
    pub(super) shapes: Shapes,
    /// Texts and names in blanked blocks: what they would have declared is not called unknown.
    pub(super) lost: BTreeSet<String>,
}

impl Source {
    pub(super) fn place(&self, at: Position) -> Place {
        place(&self.path, at)
    }

    /// Everything that the block around a line might declare, once that block has failed to run.
    pub(super) fn names_in_block(&self, line: usize) -> BTreeSet<String> {
        let lines: Vec<&str> = self.text.lines().collect();
        let (from, to) = block_around(&lines, line.saturating_sub(1));
        names_in(&lines[from..to].join("\n"))
    }
}

/// A place in a file; where the position is not known, its beginning.
pub(super) fn place(path: &str, at: Position) -> Place {
    Place { path: path.to_owned(), line: at.line().unwrap_or(1), column: at.position().unwrap_or(1).max(1) }
}

/// Parses a file and reports every block that does not parse.
pub(super) fn parse(engine: &Engine, path: &str, text: &str, problems: &mut Problems) -> Source {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let mut lost = BTreeSet::new();
    let mut ast = AST::empty();
    for _ in 0..=BLANKED_MAX {
        match engine.compile(lines.join("\n")) {
            Ok(parsed) => {
                ast = parsed;
                break;
            }
            Err(error) => {
                let at = end_if_unknown(error.1, &lines);
                let hint = if is_map_without_hash(&lines, at) { "; a map is written #{ key: value }" } else { "" };
                problems.error(&place(path, at), format!("{}{hint}", syntax(&error)));
                let Some((from, to)) = block_to_blank(&lines, at) else { break };
                lost.extend(names_in(&lines[from..to].join("\n")));
                for line in &mut lines[from..to] {
                    line.clear();
                }
            }
        }
    }
    ast.set_source(path);
    Source { path: path.to_owned(), usage: Use::of(path), text: text.to_owned(), ast: Arc::new(ast), shapes: Shapes::default(), lost }
}

/// Whether the parser stumbles over the colon of `{ key: value }`, which it took for a block of statements.
fn is_map_without_hash(lines: &[String], at: Position) -> bool {
    let (Some(line), Some(column)) = (at.line().and_then(|line| lines.get(line - 1)), at.position()) else { return false };
    let before: String = line.chars().take(column.saturating_sub(1)).collect();
    let key = before.trim_end().trim_end_matches(|c: char| c.is_alphanumeric() || c == '_').trim_end();
    line.chars().nth(column.saturating_sub(1)) == Some(':') && (key.is_empty() || key.ends_with('{') && !key.ends_with("#{"))
}

fn end_if_unknown(at: Position, lines: &[String]) -> Position {
    if !at.is_none() && at.line().is_some() {
        return at;
    }
    let last = lines.iter().rposition(|line| !line.trim().is_empty()).unwrap_or(0);
    let column = lines.get(last).map_or(1, |line| line.chars().count().max(1));
    Position::new(u16::try_from(last + 1).unwrap_or(u16::MAX), u16::try_from(column).unwrap_or(u16::MAX))
}

fn starts_block(line: &str) -> bool {
    line.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// The block that holds a line (from 0), as a half-open range of lines.
fn block_around<S: AsRef<str>>(lines: &[S], line: usize) -> (usize, usize) {
    let line = line.min(lines.len().saturating_sub(1));
    let from = (0..=line).rev().find(|at| lines.get(*at).is_some_and(|line| starts_block(line.as_ref()))).unwrap_or(0);
    let to = (line + 1..lines.len()).find(|at| starts_block(lines[*at].as_ref())).unwrap_or(lines.len());
    (from.min(lines.len()), to)
}

/// Where an error at the very start of a block is noticed, it is the block before that was not closed.
fn block_to_blank(lines: &[String], at: Position) -> Option<(usize, usize)> {
    let line = at.line().unwrap_or(1).saturating_sub(1);
    let (from, to) = block_around(lines, line);
    let blank = |(from, to): (usize, usize)| lines[from..to].iter().all(|line| line.trim().is_empty());
    if line == from && at.position().unwrap_or(1) <= 1 && from > 0 {
        let mut before = from;
        while before > 0 {
            let earlier = block_around(lines, before - 1);
            if !blank(earlier) {
                return Some(earlier);
            }
            before = earlier.0;
        }
    }
    if from < to && !blank((from, to)) {
        return Some((from, to));
    }
    // The error stands in what is blank already: the last block that is left must be to blame.
    let last = lines.iter().rposition(|line| !line.trim().is_empty())?;
    Some(block_around(lines, last))
}

/// Texts in quotes and names that are defined, found without parsing.
fn names_in(text: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (index, part) in text.split('"').enumerate() {
        if index % 2 == 1 {
            names.insert(part.to_owned());
            continue;
        }
        let mut words = part.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty());
        while let Some(word) = words.next() {
            if matches!(word, "let" | "const" | "fn")
                && let Some(name) = words.next()
            {
                names.insert(name.to_owned());
            }
        }
    }
    names
}

/// A parser message in our words where rhai's own do not help.
fn syntax(error: &ParseError) -> String {
    let text = match &*error.0 {
        ParseErrorType::UnexpectedEOF => "the file ends in the middle of something; is a `}` or `)` missing?".to_owned(),
        ParseErrorType::Reserved(word) if word == "import" => {
            "`import` is not allowed: what stands in lib/NAME.rhai is seen everywhere as NAME::function(…)".to_owned()
        }
        ParseErrorType::Reserved(word) => format!("`{word}` is a reserved word"),
        ParseErrorType::DuplicatedProperty(key) => format!("the key `{key}` is given twice"),
        other => other.to_string(),
    };
    let mut text: String = text.chars().take(300).collect();
    if let Some(first) = text.get(..1).map(str::to_lowercase) {
        text.replace_range(..1, &first);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::engine;
    use super::*;

    fn problems(text: &str) -> Vec<String> {
        let mut problems = Problems::default();
        parse(&engine::bare(), "a.rhai", text, &mut problems);
        problems.into_sorted().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_block_that_does_not_parse_is_reported() {
        let found = problems("foo(#{\n  a: 1\n  b: 2\n});\nbar(1);\nbaz(#{ a: });\n");
        assert_eq!(found.len(), 2, "{found:#?}");
        assert!(found[0].starts_with("a.rhai:3:3: error: expecting ','"), "{found:#?}");
        assert!(found[1].starts_with("a.rhai:6:"), "{found:#?}");
    }

    #[test]
    fn a_block_that_is_not_closed_costs_only_itself() {
        let found = problems("foo(#{ a: 1\n\nbar(1);\nbaz(2);\n");
        assert_eq!(found.len(), 1, "{found:#?}");
        let found = problems("bar(1);\nfoo(#{ a: 1");
        assert_eq!(found.len(), 1, "{found:#?}");
    }

    #[test]
    fn what_a_broken_block_would_declare_is_remembered() {
        let mut found = Problems::default();
        let source = parse(&engine::bare(), "a.rhai", "let limit = ;\nreceiver(\"pager\", );\nfoo(1)", &mut found);
        assert!(source.lost.contains("limit"), "{:?}", source.lost);
    }

    #[test]
    fn a_map_without_its_hash_is_explained() {
        assert!(problems("foo(\"a\", { objective: 1 });")[0].ends_with("a map is written #{ key: value }"));
        assert!(!problems("foo(#{ a: 1 b: 2 });")[0].contains("a map is written"));
    }

    #[test]
    fn import_is_explained() {
        assert!(problems("import \"x\" as y;")[0].contains("lib/NAME.rhai"));
    }
}
