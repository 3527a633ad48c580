//! `where`: which series a rule looks at, by their dimensions (CONTRACT 4).

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::series::Series;

/// One condition on one dimension.
#[derive(Clone, Debug)]
pub enum Match {
    /// `"x"`; the empty text matches an absent dimension.
    Equal(String),
    /// `["x", "y"]`.
    AnyOf(Vec<String>),
    /// `"!x"`.
    Not(String),
    /// `"/re/"`, anchored at both ends.
    Regex(Pattern),
    /// `"!/re/"`: everything that the expression does not match, as Alertmanager's `!~`.
    NotRegex(Pattern),
    /// `"x*"`.
    Prefix(String),
    /// `#{ all: ["/x.+/", "!/.+y/"] }`: every one of several conditions.
    All(Vec<Match>),
}

/// A compiled, anchored regular expression; equal when the text is equal.
#[derive(Clone, Debug)]
pub struct Pattern {
    text: String,
    regex: regex::Regex,
}

/// A regular expression that does not compile.
#[derive(Debug, thiserror::Error)]
#[error("`/{text}/` is no regular expression: {reason}")]
pub struct BadPattern {
    text: String,
    reason: String,
}

/// The last line says what it is about; the ones before it draw where.
fn reason(error: &regex::Error) -> String {
    let text = error.to_string();
    let last = text.lines().last().unwrap_or("").trim();
    last.strip_prefix("error: ").unwrap_or(last).to_owned()
}

impl Pattern {
    /// Compiles the text between the slashes.
    pub fn new(text: &str) -> Result<Pattern, BadPattern> {
        regex::RegexBuilder::new(&format!("^(?:{text})$"))
            .size_limit(1 << 20)
            .build()
            .map(|regex| Pattern { text: text.to_owned(), regex })
            .map_err(|error| BadPattern { text: text.to_owned(), reason: reason(&error) })
    }

    /// As it was written, without the slashes.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether the whole text matches.
    pub fn matches(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }
}

impl Match {
    /// Reads one condition as it is written in rules and in the API.
    pub fn parse(text: &str) -> Result<Match, BadPattern> {
        let pattern =
            |text: &str| (text.len() > 2 && text.starts_with('/') && text.ends_with('/')).then(|| Pattern::new(&text[1..text.len() - 1]));
        if let Some(rest) = text.strip_prefix('!') {
            return pattern(rest).map_or_else(|| Ok(Match::Not(rest.to_owned())), |pattern| pattern.map(Match::NotRegex));
        }
        if let Some(pattern) = pattern(text) {
            return pattern.map(Match::Regex);
        }
        if let Some(prefix) = text.strip_suffix('*') {
            return Ok(Match::Prefix(prefix.to_owned()));
        }
        Ok(Match::Equal(text.to_owned()))
    }

    /// Whether a value (`""` for an absent dimension) meets the condition.
    pub fn accepts(&self, value: &str) -> bool {
        match self {
            Match::Equal(text) => value == text,
            Match::AnyOf(any) => any.iter().any(|text| value == text),
            Match::Not(text) => value != text,
            Match::Regex(pattern) => pattern.matches(value),
            Match::NotRegex(pattern) => !pattern.matches(value),
            Match::Prefix(prefix) => value.starts_with(prefix.as_str()),
            Match::All(all) => all.iter().all(|condition| condition.accepts(value)),
        }
    }

    /// The values that this condition names, which are never folded (R-2).
    pub fn named_values(&self) -> Vec<&String> {
        match self {
            Match::Equal(text) | Match::Not(text) => vec![text],
            Match::AnyOf(any) => any.iter().collect(),
            Match::Regex(_) | Match::NotRegex(_) | Match::Prefix(_) => Vec::new(),
            Match::All(all) => all.iter().flat_map(Match::named_values).collect(),
        }
    }

    /// The conditions that must all hold: itself, or its parts.
    pub fn parts(&self) -> &[Match] {
        match self {
            Match::All(all) => all,
            Match::Equal(_) | Match::AnyOf(_) | Match::Not(_) | Match::Regex(_) | Match::NotRegex(_) | Match::Prefix(_) => {
                std::slice::from_ref(self)
            }
        }
    }
}

impl PartialEq for Match {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Match::Equal(a), Match::Equal(b)) | (Match::Not(a), Match::Not(b)) | (Match::Prefix(a), Match::Prefix(b)) => a == b,
            (Match::AnyOf(a), Match::AnyOf(b)) => a == b,
            (Match::All(a), Match::All(b)) => a == b,
            (Match::Regex(a), Match::Regex(b)) | (Match::NotRegex(a), Match::NotRegex(b)) => a.text == b.text,
            _ => false,
        }
    }
}
impl Eq for Match {}

impl fmt::Display for Match {
    /// As it is written in rules; a list as its texts with commas between them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Match::Equal(text) => f.write_str(text),
            Match::AnyOf(any) => f.write_str(&any.join(",")),
            Match::Not(text) => write!(f, "!{text}"),
            Match::Regex(pattern) => write!(f, "/{}/", pattern.text),
            Match::NotRegex(pattern) => write!(f, "!/{}/", pattern.text),
            Match::Prefix(prefix) => write!(f, "{prefix}*"),
            Match::All(all) => {
                let parts: Vec<String> = all.iter().map(ToString::to_string).collect();
                f.write_str(&parts.join(" and "))
            }
        }
    }
}

/// All conditions must hold. Dimensions without a condition do not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter(pub BTreeMap<String, Match>);

impl Filter {
    /// Whether a series meets every condition (the metric is not looked at).
    pub fn accepts(&self, series: &Series) -> bool {
        self.0.iter().all(|(name, condition)| condition.accepts(series.get(name)))
    }

    /// The condition on one dimension.
    pub fn get(&self, dimension: &str) -> Option<&Match> {
        self.0.get(dimension)
    }

    /// The value if the dimension must equal one value.
    pub fn equal(&self, dimension: &str) -> Option<&str> {
        match self.get(dimension) {
            Some(Match::Equal(value)) => Some(value),
            _ => None,
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    One(String),
    Any(Vec<String>),
    All { all: Vec<Match> },
}

impl Serialize for Match {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Match::AnyOf(any) => any.serialize(serializer),
            Match::All(all) => Written::All { all: all.clone() }.serialize(serializer),
            Match::Equal(_) | Match::Not(_) | Match::Regex(_) | Match::NotRegex(_) | Match::Prefix(_) => serializer.collect_str(self),
        }
    }
}
impl<'de> Deserialize<'de> for Match {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Written::deserialize(deserializer)? {
            Written::One(text) => Match::parse(&text).map_err(serde::de::Error::custom),
            Written::Any(any) => Ok(Match::AnyOf(any)),
            Written::All { all } => Ok(Match::All(all)),
        }
    }
}
impl Serialize for Filter {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}
impl<'de> Deserialize<'de> for Filter {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        BTreeMap::deserialize(deserializer).map(Filter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepts(condition: &str, value: &str) -> bool {
        Match::parse(condition).unwrap().accepts(value)
    }

    #[test]
    fn the_forms_of_the_contract() {
        assert!(accepts("/checkout", "/checkout") && !accepts("/checkout", "/checkout/pay"));
        assert!(accepts("/checkout*", "/checkout/pay"));
        assert!(accepts("!bot", "phone") && accepts("!bot", "") && !accepts("!bot", "bot"));
        assert!(accepts("/eu-.*/", "eu-west") && !accepts("/eu-.*/", "xeu-west"));
        assert!(accepts("!/eu-.*/", "us") && accepts("!/eu-.*/", "") && !accepts("!/eu-.*/", "eu-west"));
        assert!(Match::parse("/(/").is_err() && Match::parse("!/(/").is_err());
        let any: Match = serde_json::from_str(r#"["de","fr"]"#).unwrap();
        assert!(any.accepts("fr") && !any.accepts("us"));
        assert_eq!(serde_json::to_string(&any).unwrap(), r#"["de","fr"]"#);
        let all: Match = serde_json::from_str(r#"{"all":["/eu-.*/","!eu-test"]}"#).unwrap();
        assert!(all.accepts("eu-1") && !all.accepts("eu-test") && !all.accepts("us") && !all.accepts(""));
        assert_eq!(serde_json::to_string(&all).unwrap(), r#"{"all":["/eu-.*/","!eu-test"]}"#);
        assert_eq!(all.to_string(), "/eu-.*/ and !eu-test");
    }
}
