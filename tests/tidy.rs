//! Reads the source and fails when it has left the shape that ARCHITECTURE.md describes: an arrow between modules that points
//! the wrong way, a decision that looks at a clock or at the world, a second place that asks what time it is.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// Which module may import which. A module that is not here has no place yet: give it one, here and in ARCHITECTURE.md.
const ARROWS: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("allocator", &[]),
    ("chance", &["clock"]),
    ("clock", &["domain"]),
    ("config", &["domain"]),
    ("sink", &["domain"]),
    ("rules", &["domain"]),
    ("simulation", &["domain", "rules"]),
    ("store", &["domain"]),
    ("intake", &["domain", "config", "clock", "sink"]),
    ("notify", &["domain", "config"]),
    ("web", &["domain", "config", "clock", "chance", "store", "sink"]),
    ("jobs", &["domain", "config", "clock", "chance", "sink", "rules", "simulation", "store", "notify"]),
    ("app", &["domain", "config", "clock", "chance", "sink", "rules", "simulation", "store", "intake", "notify", "web", "jobs"]),
    ("cli", &["domain", "config", "clock", "chance", "sink", "rules", "simulation", "store", "intake", "notify", "web", "jobs", "app"]),
    ("main", &["cli"]),
    ("lib", &[]),
];

/// What a pure decision has no use for.
const NOT_IN_DOMAIN: &[&str] = &[
    "tokio",
    "sqlx",
    "tracing",
    "reqwest",
    "axum",
    "lettre",
    "rhai",
    "getrandom",
    "async",
    "SystemTime",
    "Instant",
    "Utc::now",
    "std::fs",
    "std::env",
    "std::thread",
    "std::process",
    "TcpStream",
];

/// Only `clock.rs` may ask.
const WALL_CLOCK: &[&str] = &["SystemTime::now", "Utc::now", "Local::now"];

/// Panics when the reader has gone; `cli/output.rs` writes instead.
const PRINTS: &[&str] = &["println!", "eprintln!", "print!", "eprint!", "dbg!"];

/// One source file: where it is, which module it makes, and its code without comments, texts and tests.
struct Source {
    file: String,
    module: Vec<String>,
    code: String,
}

impl Source {
    fn new(file: &str, text: &str) -> Source {
        let path = file.strip_suffix(".rs").unwrap_or(file);
        let mut module: Vec<String> = path.split('/').map(str::to_owned).collect();
        if module.len() > 1 && module.last().is_some_and(|last| last == "mod") {
            module.pop();
        }
        Source { file: file.to_owned(), module, code: without_tests(&code_of(text)) }
    }

    fn top(&self) -> &str {
        &self.module[0]
    }

    /// Every path into our own crate, as (line, path from the root).
    fn imports(&self) -> Vec<(usize, Vec<String>)> {
        let mut found = Vec::new();
        for start in words(&self.code, "crate").chain(words(&self.code, "burnwatch")) {
            self.follow(start, &[], &mut found);
        }
        for start in words(&self.code, "super") {
            // The first of `super::super::…`; the rest belongs to it.
            if self.code[..start].trim_end().ends_with("super::") {
                continue;
            }
            let ups = self.code[start..].split("::").take_while(|word| word.trim() == "super").count();
            if ups == 0 {
                // `pub(super)` reaches nothing.
                continue;
            }
            let last = start + self.code[start..].match_indices("super").nth(ups - 1).map_or(0, |(at, _)| at);
            if let Some(kept) = self.module.len().checked_sub(ups) {
                self.follow(last, &self.module[..kept], &mut found);
            }
        }
        found
    }

    /// Reads `word::a::b` or `word::{a::b, c}` from the word at `start` on.
    fn follow(&self, start: usize, base: &[String], found: &mut Vec<(usize, Vec<String>)>) {
        let word_end = start + self.code[start..].find(|c: char| !is_word(c)).unwrap_or(0);
        self.tree(word_end, base, found);
    }

    /// Reads what stands after a path's last word; returns where it ends.
    fn tree(&self, at: usize, base: &[String], found: &mut Vec<(usize, Vec<String>)>) -> usize {
        let rest = self.code[at..].trim_start();
        let Some(rest) = rest.strip_prefix("::") else {
            found.push((self.line(at), base.to_vec()));
            return at;
        };
        let rest = rest.trim_start();
        let mut at = self.code.len() - rest.len();
        if !rest.starts_with('{') {
            let word: String = rest.chars().take_while(|c| is_word(*c)).collect();
            let deeper: Vec<String> = base.iter().cloned().chain([word.clone()]).collect();
            return self.tree(at + word.len(), &deeper, found);
        }
        at += 1;
        loop {
            let rest = self.code[at..].trim_start_matches(|c: char| c.is_whitespace() || c == ',');
            at = self.code.len() - rest.len();
            let word: String = rest.chars().take_while(|c| is_word(*c)).collect();
            if rest.is_empty() || rest.starts_with('}') {
                return at + 1;
            }
            if word.is_empty() {
                at += rest.chars().next().map_or(1, char::len_utf8);
                continue;
            }
            if word == "as" {
                at += word.len();
                continue;
            }
            let deeper: Vec<String> = base.iter().cloned().chain([word.clone()]).collect();
            at = self.tree(at + word.len(), &deeper, found);
        }
    }

    fn line(&self, at: usize) -> usize {
        self.code[..at].matches('\n').count() + 1
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Where `word` stands as a word of its own; it may hold `::` and end in `!`.
fn words<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    code.match_indices(word).map(|(at, _)| at).filter(move |at| {
        let before = code[..*at].chars().next_back();
        let after = code[at + word.len()..].chars().next();
        !before.is_some_and(is_word) && (word.ends_with('!') || !after.is_some_and(is_word))
    })
}

/// The code with comments and texts blanked out; lines stay where they are.
fn code_of(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            block_comment(rest)
        } else if let Some(length) = raw_text(rest).filter(|_| !code.ends_with(is_word)) {
            length
        } else if c == '"' {
            quoted(rest, '"')
        } else if c == '\'' && is_char(rest) {
            quoted(rest, '\'')
        } else {
            0
        };
        if skipped == 0 {
            code.push(c);
            rest = &rest[c.len_utf8()..];
        } else {
            code.extend(rest[..skipped].chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
            rest = &rest[skipped..];
        }
    }
    code
}

fn block_comment(rest: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < rest.len() {
        if rest[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}

/// The length of `r"…"`, `r#"…"#`, `br"…"`.
fn raw_text(rest: &str) -> Option<usize> {
    let after = rest.strip_prefix("br").or_else(|| rest.strip_prefix('r'))?;
    let hashes = after.len() - after.trim_start_matches('#').len();
    let body = after[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let length = body.find(&end).map_or(body.len(), |at| at + end.len());
    Some(rest.len() - body.len() + length)
}

fn quoted(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at + c.len_utf8(),
            _ => {}
        }
    }
    rest.len()
}

/// `'x'` and `'\n'` are characters, `'a` is a lifetime.
fn is_char(rest: &str) -> bool {
    let mut chars = rest.chars().skip(1);
    match chars.next() {
        Some('\\') => true,
        Some(_) => chars.next() == Some('\''),
        None => false,
    }
}

/// Blanks out every `#[cfg(test)]` module: tests may reach further.
fn without_tests(code: &str) -> String {
    let mut kept = String::new();
    let mut rest = code;
    while let Some(at) = rest.find("#[cfg(test)]") {
        kept.push_str(&rest[..at]);
        let open = rest[at..].find(['{', ';']).map_or(rest.len(), |brace| at + brace);
        let mut depth = 0;
        let end = rest[open..].char_indices().find_map(|(n, c)| {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            (depth == 0).then_some(open + n + 1)
        });
        let end = end.unwrap_or(rest.len());
        kept.extend(rest[at..end].chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        rest = &rest[end..];
    }
    kept.push_str(rest);
    kept
}

fn wrong_arrows(source: &Source) -> Vec<String> {
    let Some((_, allowed)) = ARROWS.iter().find(|(module, _)| *module == source.top()) else {
        return vec![format!("src/{}: module `{}` is not in the table of tests/tidy.rs", source.file, source.top())];
    };
    let mut wrong = Vec::new();
    for (line, path) in source.imports() {
        let Some(reached) = path.first().map(String::as_str) else { continue };
        let ours = ARROWS.iter().any(|(module, _)| *module == reached);
        if ours && reached != source.top() && !allowed.contains(&reached) {
            wrong.push(format!("src/{}:{line}: `{}` may not import `{reached}`", source.file, source.top()));
        }
    }
    wrong
}

fn forbidden(source: &Source, names: &[&str], why: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    for name in names {
        for at in words(&source.code, name) {
            wrong.push(format!("src/{}:{}: `{name}`: {why}", source.file, source.line(at)));
        }
    }
    wrong
}

fn problems(sources: &[Source]) -> Vec<String> {
    let mut wrong = Vec::new();
    for source in sources.iter().filter(|source| source.module.last().is_none_or(|last| last != "tests")) {
        wrong.extend(wrong_arrows(source));
        if source.top() == "domain" {
            wrong.extend(forbidden(source, NOT_IN_DOMAIN, "domain/ decides and does nothing else"));
        }
        if source.file != "clock.rs" {
            wrong.extend(forbidden(source, WALL_CLOCK, "only clock.rs reads the clock"));
        }
        if source.file != "cli/output.rs" {
            wrong.extend(forbidden(source, PRINTS, "it panics on a closed pipe; use cli::output"));
        }
    }
    wrong.extend(cycles(sources));
    wrong.sort();
    wrong.dedup();
    wrong
}

/// Modules of domain/ that need each other in a circle cannot be read one after the other.
fn cycles(sources: &[Source]) -> Vec<String> {
    let mut needs: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for source in sources.iter().filter(|source| source.top() == "domain" && source.module.len() > 1) {
        let own = &source.module[1];
        for (_, path) in source.imports() {
            if path.len() > 1 && path[0] == "domain" && path[1] != *own {
                needs.entry(own.clone()).or_default().insert(path[1].clone());
            }
        }
    }
    // What needs nothing that is left can be read next; whatever remains is in a circle or needs one.
    let mut left: BTreeSet<String> = needs.keys().cloned().collect();
    while let Some(next) = left.iter().find(|module| needs[*module].iter().all(|needed| !left.contains(needed))).cloned() {
        left.remove(&next);
    }
    if left.is_empty() {
        Vec::new()
    } else {
        vec![format!("src/domain: these need each other in a circle: {}", left.into_iter().collect::<Vec<_>>().join(", "))]
    }
}

fn read(folder: &Path, root: &Path, sources: &mut Vec<Source>) {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    for entry in entries {
        let path = entry.expect("a readable entry").path();
        if path.is_dir() {
            read(&path, root, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let file = path.strip_prefix(root).expect("below src").to_string_lossy().replace('\\', "/");
            sources.push(Source::new(&file, &fs::read_to_string(&path).expect("source is UTF-8")));
        }
    }
}

#[test]
fn the_source_has_the_shape_that_the_architecture_says() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut sources = Vec::new();
    read(&root, &root, &mut sources);
    assert!(sources.len() > 20, "only {} files found below {}", sources.len(), root.display());
    let wrong = problems(&sources);
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

fn found(file: &str, text: &str) -> Vec<String> {
    problems(&[Source::new(file, text)])
}

#[test]
fn a_wrong_import_is_caught_however_it_is_written() {
    for text in [
        "use crate::store::Store;",
        "use crate::{domain::time::Span, store::{Tx, Store}};",
        "use crate::{\n    config as c,\n    domain::{a::{B, C}, d},\n    store,\n};",
        "fn f() { crate::store::open() }",
        "use super::store::Store;",
        "use super::{store};",
        "fn f(tx: &mut burnwatch::store::Tx) {}",
    ] {
        let wrong = found("notify/mod.rs", text);
        assert!(wrong.len() == 1 && wrong[0].contains("`notify` may not import `store`"), "{text}: {wrong:?}");
    }
    let deep = found("domain/explain/shares.rs", "\nuse super::super::super::config::Config;");
    assert_eq!(deep, ["src/domain/explain/shares.rs:2: `domain` may not import `config`"]);
    assert_eq!(found("store/mod.rs", "use crate::clock::Clock;").len(), 1);
    assert_eq!(found("gadget.rs", "").len(), 1);
}

#[test]
fn a_right_import_is_left_alone() {
    for (file, text) in [
        ("jobs/flush.rs", "use crate::{clock::Clock, store::Store};\nuse super::tail;"),
        ("domain/cell.rs", "use super::metric::Metric; use crate::domain::time::Span;"),
        ("domain/explain/shares.rs", "use super::super::time::Span; use super::carrier;"),
        (
            "notify/mod.rs",
            "// use crate::store::Store;\n/* crate::store */ const A: &str = \"crate::store\"; const B: &str = r#\"crate::store \" \"#;",
        ),
        ("notify/mod.rs", "#[cfg(test)]\nmod tests {\n    use crate::store::Store;\n}\n"),
        ("config/mod.rs", "fn f<'a>(x: &'a str) -> char { '\"' }"),
    ] {
        assert_eq!(found(file, text), Vec::<String>::new(), "{text}");
    }
}

#[test]
fn a_decision_that_looks_at_the_world_is_caught() {
    for text in
        ["use tokio::time;", "async fn f() {}", "tracing::info!(\"x\");", "let now = std::time::Instant::now();", "std::fs::read(\"x\");"]
    {
        assert!(!found("domain/alert.rs", text).is_empty(), "{text}");
    }
    assert_eq!(found("store/outbox.rs", "let now = chrono::Utc::now();").len(), 1);
    assert_eq!(found("clock.rs", "let now = chrono::Utc::now();").len(), 0);
    assert_eq!(found("jobs/flush.rs", "println!(\"x\");").len(), 1);
}

#[test]
fn modules_that_need_each_other_are_caught() {
    let sources = |b: &str| {
        [Source::new("domain/a.rs", "use super::b::B;"), Source::new("domain/b.rs", b), Source::new("domain/c.rs", "use super::a::A;")]
    };
    assert!(problems(&sources("use super::d::D;")).is_empty());
    let wrong = problems(&sources("use super::a::A;"));
    assert!(wrong.len() == 1 && wrong[0].contains("circle: a, b"), "{wrong:?}");
}
