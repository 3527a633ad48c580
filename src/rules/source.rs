//! One rules file: parsed so that a syntax error hides nothing that stands elsewhere in the file.
//!
//! A file falls into blocks: each begins at a line whose first column holds a letter, as
//! declarations are written. Where a block does not parse, the slip is reported and mended if it is clear
//! what was meant, so that the rest of the block is read as well; else the block is blanked and the rest of the file read.

use std::collections::BTreeSet;
use std::sync::Arc;

use rhai::{AST, Engine, ParseError, Position};

use super::problem::Problems;
use super::shape::Shapes;
use super::syntax::{self, Slip};
use crate::domain::rule::Place;

/// Blocks that may be blanked, and slips that may be mended, before the rest of a file is given up.
const BLANKED_MAX: usize = 20;
const MENDED_MAX: usize = 40;

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

/// Parses a file and reports every slip that keeps a block of it from being parsed.
pub(super) fn parse(engine: &Engine, path: &str, text: &str, problems: &mut Problems) -> Source {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let mut lost = BTreeSet::new();
    let (mut blanked, mut mended) = (0, 0);
    // The line of the last slip that was mended: the next one there may come from the mending.
    let mut doubtful = None;
    let mut parsed = engine.compile(lines.join("\n"));
    while let Err(error) = &parsed {
        let at = end_if_unknown(error.1, &lines);
        let block = block_to_blank(&lines, at);
        let slip = syntax::slip(error, at, &lines, block.unwrap_or((0, lines.len())));
        let better = if mended < MENDED_MAX { mend(engine, &lines, &slip, at) } else { None };
        if better.is_some() || doubtful != slip.at.line() {
            problems.error(&place(path, slip.at), slip.message);
        }
        if let Some((tried, result)) = better {
            (lines, parsed, doubtful) = (tried, result, slip.at.line());
            mended += 1;
            continue;
        }
        let Some((from, to)) = block.filter(|_| blanked < BLANKED_MAX) else { break };
        lost.extend(names_in(&lines[from..to].join("\n")));
        for line in &mut lines[from..to] {
            line.clear();
        }
        blanked += 1;
        parsed = engine.compile(lines.join("\n"));
    }
    let mut ast = parsed.unwrap_or_else(|_| AST::empty());
    ast.set_source(path);
    Source { path: path.to_owned(), usage: Use::of(path), text: text.to_owned(), ast: Arc::new(ast), shapes: Shapes::default(), lost }
}

/// The lines without a slip, and what they parse to; `None` if the parser comes no further with them.
fn mend(engine: &Engine, lines: &[String], slip: &Slip, at: Position) -> Option<(Vec<String>, Result<AST, ParseError>)> {
    if slip.mended.is_empty() {
        return None;
    }
    let mut tried = lines.to_vec();
    for (line, text) in &slip.mended {
        tried[*line].clone_from(text);
    }
    let parsed = engine.compile(tried.join("\n"));
    let reached = |at: Position| (at.line(), at.position());
    let further = parsed.as_ref().err().is_none_or(|error| reached(end_if_unknown(error.1, &tried)) > reached(at));
    further.then_some((tried, parsed))
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
        assert_eq!(found[0], "a.rhai:2:7: error: a `,` is missing after `1`");
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
        assert!(problems("foo(\"a\", { objective: 1 });")[0].starts_with("a.rhai:1:10: error: a map begins with `#{`"));
        assert!(!problems("foo(#{ a: 1 b: 2 });")[0].contains("a map begins"));
    }

    #[test]
    fn import_is_explained() {
        assert!(problems("import \"x\" as y;")[0].contains("lib/NAME.rhai"));
    }
}
