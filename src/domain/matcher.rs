//! One matcher of a silence or of a query, as Alertmanager writes it: `region=~"eu.*"`.
//!
//! An absent label is the empty text. [`Matcher`] writes itself so that it reads back as it was,
//! whatever stands in its value.

use std::fmt;

use super::filter::{Match, Pattern};

/// A condition on one label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Matcher {
    pub label: String,
    pub condition: Match,
}

/// How a label is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    Equal,
    NotEqual,
    Like,
    NotLike,
}

impl Operator {
    /// As it is written.
    pub const fn text(self) -> &'static str {
        match self {
            Operator::Equal => "=",
            Operator::NotEqual => "!=",
            Operator::Like => "=~",
            Operator::NotLike => "!~",
        }
    }

    /// From Alertmanager's two flags.
    pub const fn from_flags(is_regex: bool, is_equal: bool) -> Operator {
        match (is_regex, is_equal) {
            (false, true) => Operator::Equal,
            (false, false) => Operator::NotEqual,
            (true, true) => Operator::Like,
            (true, false) => Operator::NotLike,
        }
    }
}

/// A text that is no matcher.
#[derive(Debug, thiserror::Error)]
pub enum BadMatcher {
    #[error("bad matcher format: {0}")]
    Form(String),
    #[error("{0}")]
    Pattern(#[from] super::filter::BadPattern),
}

impl Matcher {
    /// A matcher of its parts.
    pub fn new(label: &str, operator: Operator, value: &str) -> Result<Matcher, BadMatcher> {
        if label.is_empty() {
            return Err(BadMatcher::Form(format!("{}{value}", operator.text())));
        }
        let condition = match operator {
            Operator::Equal => Match::Equal(value.to_owned()),
            Operator::NotEqual => Match::Not(value.to_owned()),
            Operator::Like => Match::Regex(Pattern::new(value)?),
            Operator::NotLike => Match::NotRegex(Pattern::new(value)?),
        };
        Ok(Matcher { label: label.to_owned(), condition })
    }

    /// Reads `a=b`, `a!=b`, `a=~re`, `a!~re`; the value may stand in quotes, with `\"`, `\\` and `\n`.
    pub fn parse(text: &str) -> Result<Matcher, BadMatcher> {
        let bad = || BadMatcher::Form(text.chars().take(200).collect());
        let trimmed = text.trim();
        let (label, rest) = match trimmed.strip_prefix('"') {
            // A quoted name may hold anything.
            Some(rest) => {
                let (label, used) = unquote(rest).ok_or_else(bad)?;
                (label, rest[used..].trim_start())
            }
            None => {
                let at = trimmed.find(['=', '!']).ok_or_else(bad)?;
                (trimmed[..at].trim().to_owned(), &trimmed[at..])
            }
        };
        let operators = [Operator::Like, Operator::NotLike, Operator::NotEqual, Operator::Equal];
        let operator = operators.into_iter().find(|operator| rest.starts_with(operator.text())).ok_or_else(bad)?;
        let value = rest[operator.text().len()..].trim();
        let value = match value.strip_prefix('"') {
            Some(inner) => match unquote(inner) {
                Some((value, used)) if used == inner.len() => value,
                Some(_) | None => return Err(bad()),
            },
            None => value.to_owned(),
        };
        Matcher::new(&label, operator, &value)
    }

    /// The matchers that a condition of rules is: one, or one for each of those that must all hold.
    pub fn of(label: &str, condition: &Match) -> Vec<Matcher> {
        condition.parts().iter().map(|part| Matcher { label: label.to_owned(), condition: part.clone() }).collect()
    }

    /// How it compares, and with what. A list and a prefix, which only rules write, are expressions here.
    pub fn parts(&self) -> (Operator, String) {
        match &self.condition {
            Match::Equal(text) => (Operator::Equal, text.clone()),
            Match::Not(text) => (Operator::NotEqual, text.clone()),
            Match::Regex(pattern) => (Operator::Like, pattern.text().to_owned()),
            Match::NotRegex(pattern) => (Operator::NotLike, pattern.text().to_owned()),
            Match::AnyOf(any) => (Operator::Like, any.iter().map(|text| regex::escape(text)).collect::<Vec<_>>().join("|")),
            Match::Prefix(prefix) => (Operator::Like, format!("{}(?s:.*)", regex::escape(prefix))),
            // Several conditions are several matchers, see `of`; nothing makes one of them.
            Match::All(_) => (Operator::Like, regex::escape(&self.condition.to_string())),
        }
    }

    /// Whether a value (`""` for an absent label) meets it.
    pub fn accepts(&self, value: &str) -> bool {
        self.condition.accepts(value)
    }
}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (operator, value) = self.parts();
        let plain = self.label.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | ':' | '.' | '-'));
        if plain {
            f.write_str(&self.label)?
        } else {
            f.write_str(&quote(&self.label))?
        }
        write!(f, "{}{}", operator.text(), quote(&value))
    }
}

/// A text in quotes, as Alertmanager's matchers want it.
pub fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Reads up to the closing quote: the text, and where it went on behind the quote.
fn unquote(rest: &str) -> Option<(String, usize)> {
    let mut out = String::new();
    let mut chars = rest.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((out, at + 1)),
            '\\' => match chars.next()?.1 {
                'n' => out.push('\n'),
                '"' => out.push('"'),
                '\\' => out.push('\\'),
                // As Alertmanager: an unknown escape stays as it is written.
                other => out.extend(['\\', other]),
            },
            c => out.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ways_of_writing_a_matcher() {
        for (text, label, operator, value) in [
            ("a=b", "a", Operator::Equal, "b"),
            (" a = b ", "a", Operator::Equal, "b"),
            ("a=\"b\"", "a", Operator::Equal, "b"),
            ("a=\"say \\\"x\\\", \\\\ and \\n\"", "a", Operator::Equal, "say \"x\", \\ and \n"),
            ("a!=b", "a", Operator::NotEqual, "b"),
            ("a=~b.*", "a", Operator::Like, "b.*"),
            ("a!~\"b|c\"", "a", Operator::NotLike, "b|c"),
            ("a=", "a", Operator::Equal, ""),
            ("a==b", "a", Operator::Equal, "=b"),
            ("\"odd name\"=x", "odd name", Operator::Equal, "x"),
        ] {
            let matcher = Matcher::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!((matcher.label.as_str(), matcher.parts()), (label, (operator, value.to_owned())), "{text}");
        }
        for text in ["", "a", "=b", "a=\"b", "a=\"b\"c", "a=~(", "a!b"] {
            assert!(Matcher::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_it_writes_reads_back() {
        for value in ["x", "", "\"", "\\", "a\nb", " x ", "ü, \"y\"=z"] {
            for label in ["service", "odd name", "a=b", "\""] {
                for operator in [Operator::Equal, Operator::NotEqual] {
                    let matcher = Matcher::new(label, operator, value).unwrap();
                    assert_eq!(Matcher::parse(&matcher.to_string()).unwrap(), matcher, "{matcher}");
                }
            }
        }
        let list = Matcher { label: "a".into(), condition: Match::AnyOf(vec!["x.y".into(), "z".into()]) };
        let read = Matcher::parse(&list.to_string()).unwrap();
        assert!(read.accepts("x.y") && read.accepts("z") && !read.accepts("xay"));
        let prefix = Matcher::parse(&Matcher { label: "a".into(), condition: Match::Prefix("x.".into()) }.to_string()).unwrap();
        assert!(prefix.accepts("x.y\nz") && !prefix.accepts("xay"));
    }
}
