//! What is wrong with a rules folder: collected over all files, each with its exact place.

use std::collections::BTreeSet;
use std::fmt;

use crate::domain::rule::Place;

/// Whether a rule set with this problem may take effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Error,
    Warning,
}

/// One finding about a rules folder.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    pub place: Place,
    pub level: Level,
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            Level::Error => "error",
            Level::Warning => "warning",
        };
        // What is about the folder as a whole has no place in a file.
        if self.place.path.is_empty() {
            return write!(f, "{level}: {}", self.message);
        }
        write!(f, "{}: {level}: {}", self.place, self.message)
    }
}

/// Every problem on a line of its own, `path:line:column: error|warning: message`, in path and line order.
pub fn report(problems: &[Problem]) -> String {
    let sorted: BTreeSet<&Problem> = problems.iter().collect();
    sorted.into_iter().map(|problem| format!("{problem}\n")).collect()
}

/// More than this is no help to anyone; what comes later is only counted.
const PROBLEMS_MAX: usize = 1_000;

/// Problems as they are found. The same finding at the same place counts once.
#[derive(Debug, Default)]
pub(super) struct Problems {
    found: BTreeSet<Problem>,
    /// Places that an error was reported for, so that a follow-up is not reported again.
    pub(super) errors: BTreeSet<Place>,
    /// Labels, and values of labels, that matchers name: judged once everything is declared.
    pub(super) labels: Vec<(String, Option<String>, Place, Place)>,
    left_out: usize,
}

impl Problems {
    pub(super) fn error(&mut self, place: &Place, message: impl Into<String>) {
        self.errors.insert(place.clone());
        self.push(place, Level::Error, message.into());
    }

    pub(super) fn warning(&mut self, place: &Place, message: impl Into<String>) {
        self.push(place, Level::Warning, message.into());
    }

    fn push(&mut self, place: &Place, level: Level, message: String) {
        if self.found.len() >= PROBLEMS_MAX {
            self.left_out += 1;
            return;
        }
        let message = message.replace(['\n', '\r'], " ");
        self.found.insert(Problem { place: place.clone(), level, message });
    }

    /// What the first error says.
    pub(super) fn first_error(&self) -> Option<String> {
        self.found.iter().find(|problem| problem.level == Level::Error).map(|problem| problem.message.clone())
    }

    /// Takes over what was found elsewhere. Another word about a place that had an error before is not added.
    pub(super) fn add(&mut self, found: impl IntoIterator<Item = Problem>) {
        let before = self.errors.clone();
        for problem in found.into_iter().filter(|problem| !before.contains(&problem.place)) {
            match problem.level {
                Level::Error => self.error(&problem.place, problem.message),
                Level::Warning => self.warning(&problem.place, problem.message),
            }
        }
    }

    pub(super) fn has_errors(&self) -> bool {
        !self.errors.is_empty()
    }

    pub(super) fn into_sorted(self) -> Vec<Problem> {
        let mut problems: Vec<Problem> = self.found.into_iter().collect();
        if let (true, Some(last)) = (self.left_out > 0, problems.last().cloned()) {
            let level = if self.errors.is_empty() { Level::Warning } else { Level::Error };
            problems.push(Problem { level, message: format!("{} more problems are not shown", self.left_out), ..last });
        }
        problems
    }
}

/// `; did you mean …?` with the known name that is nearest to what was written, or nothing.
pub(super) fn hint<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest(written, known).map_or_else(String::new, |name| format!("; did you mean `{name}`?"))
}

/// The known name that is nearest to what was written, if any is near.
pub(super) fn nearest<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = written.to_lowercase();
    let mut best: Option<(usize, &'a str)> = None;
    for name in known {
        let distance = strsim::damerau_levenshtein(&lower, &name.to_lowercase());
        let part =
            name.len() >= 3 && lower.len() >= 3 && (name.starts_with(&lower) || lower.starts_with(name) && name.len() * 2 >= lower.len());
        let near = distance * 3 <= written.chars().count().max(name.chars().count()) || part;
        if near && best.is_none_or(|(least, _)| distance < least) {
            best = Some((distance, name));
        }
    }
    best.map(|(_, name)| name)
}

/// What was written, as far as a message needs it.
pub(super) fn clip(text: &str) -> String {
    text.chars().take(64).collect()
}

/// A list for a message: `a, b and c`.
pub(super) fn list<S: AsRef<str>>(names: &[S]) -> String {
    match names {
        [] => "none".to_owned(),
        [one] => format!("`{}`", one.as_ref()),
        [most @ .., last] => {
            let most: Vec<String> = most.iter().map(|name| format!("`{}`", name.as_ref())).collect();
            format!("{} and `{}`", most.join(", "), last.as_ref())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_named_and_far_ones_are_not() {
        let known = ["objective", "window", "owner", "sli"];
        assert_eq!(nearest("objektive", known), Some("objective"));
        assert_eq!(nearest("Owner", known), Some("owner"));
        assert_eq!(nearest("windo", known), Some("window"));
        assert_eq!(nearest("zebra", known), None);
        assert_eq!(list(&["a", "b", "c"]), "`a`, `b` and `c`");
    }

    #[test]
    fn reports_are_sorted_by_place() {
        let at = |path: &str, line| Place { path: path.into(), line, column: 3 };
        let problems = [
            Problem { place: at("b.rhai", 1), level: Level::Error, message: "x".into() },
            Problem { place: at("a.rhai", 9), level: Level::Warning, message: "y".into() },
            Problem { place: at("a.rhai", 2), level: Level::Error, message: "z".into() },
        ];
        assert_eq!(report(&problems), "a.rhai:2:3: error: z\na.rhai:9:3: warning: y\nb.rhai:1:3: error: x\n");
    }
}
