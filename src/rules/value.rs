//! Values that scripts hand over, read with their places: every slip is reported where it stands.
//!
//! A value that was already reported on ([`Broken`]) is passed over in silence, so that one slip
//! gives one message.

use std::collections::BTreeMap;
use std::sync::Arc;

use rhai::{Dynamic, Position};

use super::engine::describe;
use super::problem::{Problems, clip, hint, list};
use super::shape::{Shape, Shapes};
use super::source::place;
use crate::domain::fraction::Fraction;
use crate::domain::rule::{Field, Labels, Place};
use crate::domain::time::{Span, Timestamp};

/// Stands for a value whose making failed and was reported.
#[derive(Clone, Copy, Debug)]
pub(super) struct Broken;

/// `secret(NAME)`: a name, never a value.
#[derive(Clone, Debug)]
pub(super) struct SecretRef(pub(super) String);

/// Texts longer than this are no names.
const NAME_MAX: usize = 200;
/// Longest text of any field.
const TEXT_MAX: usize = 16_384;

/// A value, what it is called in messages, and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Value {
    pub(super) it: Dynamic,
    /// As in "`window` must be a text".
    pub(super) name: String,
    pub(super) at: Place,
    shape: Option<Shape>,
    shapes: Arc<Shapes>,
}

impl Value {
    /// Argument `index` of the call at a position of a file.
    pub(super) fn argument(it: Dynamic, name: &str, path: &str, call: Position, index: usize, shapes: &Arc<Shapes>) -> Value {
        let shape = shapes.argument(call, index).cloned();
        let at = place(path, shape.as_ref().map_or(call, |shape| if shape.at.is_none() { call } else { shape.at }));
        Value { it: it.flatten(), name: name.to_owned(), at, shape, shapes: Arc::clone(shapes) }
    }

    pub(super) fn is_broken(&self) -> bool {
        self.it.is::<Broken>()
    }

    /// Reports that the value is of the wrong kind.
    pub(super) fn wrong(&self, problems: &mut Problems, expected: &str) {
        if !self.is_broken() {
            problems.error(&self.at, format!("{} must be {expected}, not {}", self.name, shown(&self.it)));
        }
    }

    fn inner(&self, it: Dynamic, name: String, shape: Option<&Shape>, key_at: Option<Position>) -> Value {
        let known = shape.map(|shape| shape.at).filter(|at| !at.is_none()).or(key_at);
        let at = known.map_or_else(|| self.at.clone(), |at| place(&self.at.path, at));
        Value { it: it.flatten(), name, at, shape: shape.cloned(), shapes: Arc::clone(&self.shapes) }
    }

    pub(super) fn text(&self, problems: &mut Problems) -> Option<String> {
        let Ok(text) = self.it.clone().into_string() else {
            self.wrong(problems, "a text");
            return None;
        };
        if text.len() > TEXT_MAX {
            problems.error(&self.at, format!("{} is longer than {TEXT_MAX} bytes", self.name));
            return None;
        }
        Some(text)
    }

    /// A text that names something: not empty, of reasonable length, without control characters.
    pub(super) fn name(&self, problems: &mut Problems) -> Option<String> {
        let text = self.text(problems)?;
        if text.trim() != text || text.is_empty() || text.len() > NAME_MAX || text.chars().any(char::is_control) {
            problems.error(
                &self.at,
                format!("{} must have 1 to {NAME_MAX} characters, no control characters, and no space at its ends", self.name),
            );
            return None;
        }
        Some(text)
    }

    pub(super) fn number(&self, problems: &mut Problems) -> Option<f64> {
        let number = self.it.as_float().or_else(|_| self.it.as_int().map(|n| n as f64)).ok();
        match number {
            Some(number) if number.is_finite() => Some(number),
            Some(_) => {
                problems.error(&self.at, format!("{} is no finite number", self.name));
                None
            }
            None => {
                self.wrong(problems, "a number");
                None
            }
        }
    }

    /// A number as the decimal that was written.
    pub(super) fn exact(&self, problems: &mut Problems) -> Option<Fraction> {
        let exact = match self.it.as_int() {
            Ok(whole) => Fraction::new(i128::from(whole), 1),
            Err(_) => Fraction::from_written(self.number(problems)?),
        };
        if exact.is_none() {
            problems.error(&self.at, format!("{} has more digits than can be kept exactly", self.name));
        }
        exact
    }

    pub(super) fn whole(&self, problems: &mut Problems) -> Option<u64> {
        let whole = match self.it.as_int() {
            Ok(whole) => Some(whole),
            Err(_) => self.it.as_float().ok().filter(|n| n.fract() == 0.0 && n.abs() < 1e15).map(|n| n as i64),
        };
        match whole.map(u64::try_from) {
            Some(Ok(whole)) => Some(whole),
            _ => {
                self.wrong(problems, "a whole number, 0 or more");
                None
            }
        }
    }

    pub(super) fn flag(&self, problems: &mut Problems) -> Option<bool> {
        let flag = self.it.as_bool().ok();
        if flag.is_none() {
            self.wrong(problems, "true or false");
        }
        flag
    }

    pub(super) fn span(&self, problems: &mut Problems) -> Option<Span> {
        if !self.it.is_string() {
            self.wrong(problems, "a duration in quotes, like \"5m\"");
            return None;
        }
        match self.text(problems)?.parse() {
            Ok(span) => Some(span),
            Err(error) => {
                problems.error(&self.at, format!("{}: {error}", self.name));
                None
            }
        }
    }

    /// A duration that is not zero.
    pub(super) fn length(&self, problems: &mut Problems) -> Option<Span> {
        let span = self.span(problems)?;
        if span.0 <= 0 {
            problems.error(&self.at, format!("{} must be longer than zero", self.name));
            return None;
        }
        Some(span)
    }

    pub(super) fn time(&self, problems: &mut Problems) -> Option<Timestamp> {
        match self.text(problems)?.parse() {
            Ok(time) => Some(time),
            Err(error) => {
                problems.error(&self.at, format!("{}: {error}", self.name));
                None
            }
        }
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(&self, problems: &mut Problems, choices: &[(&str, T)]) -> Option<T> {
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        if !self.it.is_string() {
            self.wrong(problems, &format!("one of {}", list(&names)));
            return None;
        }
        let text = self.text(problems)?;
        let found = choices.iter().find(|(name, _)| *name == text).map(|(_, value)| *value);
        if found.is_none() {
            let meant = WORDS.iter().find(|(word, meant)| *word == text && names.contains(meant));
            let near = meant.map_or_else(|| hint(&text, names.iter().copied()), |(_, meant)| format!("; did you mean `{meant}`?"));
            problems.error(&self.at, format!("{} cannot be `{}`, only {}{near}", self.name, clip(&text), list(&names)));
        }
        found
    }

    /// The items of a list; any other value is a list of itself.
    pub(super) fn items(&self) -> Vec<Value> {
        match self.it.clone().into_array() {
            Ok(items) => items
                .into_iter()
                .enumerate()
                .map(|(index, it)| self.inner(it, format!("item {} of {}", index + 1, self.name), self.shapes_item(index), None))
                .collect(),
            Err(_) => vec![self.clone()],
        }
    }

    fn shapes_item(&self, index: usize) -> Option<&Shape> {
        self.shape.as_ref().and_then(|shape| self.shapes.item(shape, index))
    }

    /// A text or a list of texts.
    pub(super) fn texts(&self, problems: &mut Problems) -> Vec<String> {
        self.named_texts(problems).into_iter().map(|(text, _)| text).collect()
    }

    /// A text or a list of texts, each with its place; a text that stands twice is reported.
    pub(super) fn named_texts(&self, problems: &mut Problems) -> Vec<(String, Place)> {
        let mut texts: Vec<(String, Place)> = Vec::new();
        for item in self.items() {
            let Some(text) = item.name(problems) else { continue };
            if texts.iter().any(|(known, _)| *known == text) {
                problems.error(&item.at, format!("`{text}` stands twice in {}", self.name));
                continue;
            }
            texts.push((text, item.at));
        }
        texts
    }

    /// A text, or a reference to a secret.
    pub(super) fn field(&self, problems: &mut Problems) -> Option<Field> {
        if let Some(SecretRef(name)) = self.it.clone().try_cast::<SecretRef>() {
            return Some(Field::Secret(name));
        }
        if !self.it.is_string() {
            self.wrong(problems, "a text or secret(…)");
            return None;
        }
        self.text(problems).map(Field::Plain)
    }

    /// A map of any keys.
    pub(super) fn entries(&self, problems: &mut Problems) -> Option<BTreeMap<String, (Place, Value)>> {
        let Some(map) = self.it.clone().try_cast::<rhai::Map>() else {
            self.wrong(problems, "a map, #{ … }");
            return None;
        };
        let mut entries = BTreeMap::new();
        for (key, it) in map {
            let written = self.shape.as_ref().and_then(|shape| self.shapes.entry(shape, &key));
            let key_at = written.map(|(at, _)| at);
            let value = self.inner(it, format!("`{key}`"), written.map(|(_, shape)| shape), key_at);
            let key_place = key_at.map_or_else(|| self.at.clone(), |at| place(&self.at.path, at));
            entries.insert(key.to_string(), (key_place, value));
        }
        Some(entries)
    }

    /// A map of texts, as labels are.
    pub(super) fn labels(&self, problems: &mut Problems) -> Labels {
        let mut labels = Labels::new();
        for (key, (_, value)) in self.entries(problems).unwrap_or_default() {
            if let Some(text) = value.text(problems) {
                labels.insert(key, text);
            }
        }
        labels
    }

    /// A map with these keys and no others.
    pub(super) fn fields(&self, problems: &mut Problems, known: &[&str]) -> Option<Fields> {
        let mut entries = self.entries(problems)?;
        let mut unknown = Vec::new();
        for (key, (at, _)) in &entries {
            if known.contains(&key.as_str()) {
                continue;
            }
            // A key that could not even be parsed was reported, and stands here under another name.
            if !problems.errors.contains(at) {
                problems.error(at, format!("{} has no key `{}`{}", self.name, clip(key), key_hint(key, known)));
            }
            unknown.push(key.clone());
        }
        // What is meant by an unknown key is not reported again as missing.
        let meant = unknown.iter().filter_map(|key| meant_key(key, known)).map(str::to_owned).collect();
        for key in unknown {
            entries.remove(&key);
        }
        Some(Fields { what: self.name.clone(), at: self.at.clone(), entries, meant })
    }

    /// As JSON, for options that are handed through to a vendor.
    pub(super) fn json(&self, problems: &mut Problems) -> Option<serde_json::Value> {
        if self.is_broken() {
            return None;
        }
        match rhai::serde::from_dynamic(&self.it) {
            Ok(json) => Some(json),
            Err(_) => {
                self.wrong(problems, "a text, a number, true or false, a list or a map of these");
                None
            }
        }
    }
}

fn shown(value: &Dynamic) -> String {
    if value.is::<SecretRef>() {
        return "a secret; secrets go into the fields of receivers only".into();
    }
    if let Ok(c) = value.as_char() {
        return format!("the single character '{c}'; a text stands in double quotes: \"{c}\"");
    }
    match value.clone().into_string() {
        Ok(text) if text.chars().count() <= 40 => format!("the text \"{text}\""),
        _ if value.is_int() || value.is_float() || value.is_bool() => format!("{value}"),
        _ => describe(value),
    }
}

/// Words of other tools and of everyday language for our keys.
const ALIASES: [(&str, &str); 22] = [
    ("target", "objective"),
    ("goal", "objective"),
    ("slo", "objective"),
    ("period", "window"),
    ("title", "description"),
    ("team", "owner"),
    ("for", "pending"),
    ("hold", "pending"),
    ("alerts", "alert"),
    ("burn", "factor"),
    ("burn_rate", "factor"),
    ("indicator", "sli"),
    ("query", "sli"),
    ("group_by", "by"),
    ("match", "when"),
    ("matchers", "when"),
    ("where", "when"),
    ("receiver", "to"),
    ("receivers", "to"),
    ("continue", "fallthrough"),
    ("repeat_interval", "repeat"),
    ("start", "starts"),
];

/// The key of ours that a word of another tool or of everyday language means.
pub(super) fn meant_by(word: &str) -> Option<&'static str> {
    ALIASES.iter().find(|(alias, _)| *alias == word).map(|(_, key)| *key)
}

fn meant_key<'a>(written: &str, known: &[&'a str]) -> Option<&'a str> {
    super::problem::nearest(written, known.iter().copied()).or_else(|| {
        ALIASES.iter().filter(|(alias, _)| *alias == written).find_map(|(_, key)| known.iter().copied().find(|name| name == key))
    })
}

/// Words of other tools for our values.
const WORDS: [(&str, &str); 8] = [
    ("critical", "page"),
    ("error", "page"),
    ("high", "page"),
    ("warning", "ticket"),
    ("warn", "ticket"),
    ("low", "ticket"),
    ("ignore", "skip"),
    ("nodata", "keep"),
];

fn key_hint(written: &str, known: &[&str]) -> String {
    match meant_key(written, known) {
        Some(name) => format!("; did you mean `{name}`?"),
        None => format!("; it knows {}", list(known)),
    }
}

/// The fields of a map that has been checked for unknown keys.
pub(super) struct Fields {
    /// As in "slo `x` needs `sli`".
    pub(super) what: String,
    pub(super) at: Place,
    entries: BTreeMap<String, (Place, Value)>,
    meant: Vec<String>,
}

impl Fields {
    /// Takes a field out; `()` is as good as absent.
    pub(super) fn take(&mut self, key: &str) -> Option<Value> {
        self.entries.remove(key).map(|(_, value)| value).filter(|value| !value.it.is_unit())
    }

    /// A field that stays where it is.
    pub(super) fn peek(&self, key: &str) -> Option<&Value> {
        self.entries.get(key).map(|(_, value)| value).filter(|value| !value.it.is_unit())
    }

    /// Takes a field out that must be there.
    pub(super) fn need(&mut self, key: &str, problems: &mut Problems) -> Option<Value> {
        let value = self.take(key);
        if value.is_none() && !self.meant.iter().any(|meant| meant == key) {
            problems.error(&self.at, format!("{} needs `{key}`", self.what));
        }
        value
    }

    pub(super) fn text(&mut self, key: &str, problems: &mut Problems) -> Option<String> {
        self.take(key)?.text(problems)
    }

    pub(super) fn span(&mut self, key: &str, problems: &mut Problems) -> Option<Span> {
        self.take(key)?.span(problems)
    }

    pub(super) fn flag(&mut self, key: &str, problems: &mut Problems) -> Option<bool> {
        self.take(key)?.flag(problems)
    }
}
