//! Declarations as rules text.

use std::fmt::Write as _;

use super::quantity::decimal;
use crate::domain::filter::{Filter, Match};
use crate::domain::fraction::Fraction;
use crate::domain::metric::Metric;
use crate::domain::rule::{Combine, EmptySlice, Labels, NoData, Op, Selector, Sli, Slo, SloWindow, Tier};

/// Longest line of a comment.
const LINE_MAX: usize = 400;

/// A text literal.
pub fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            c if hidden(c) => {
                let _ = write!(quoted, "\\U{:08X}", c as u32);
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// Characters that a reader does not see, or that end a line for some and not for others.
fn hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// Lines of a comment; a text cannot get out of it.
pub fn comment(indent: &str, text: &str) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let mut shown: String = line
            .chars()
            .take(LINE_MAX)
            .map(|c| {
                if c == '\t' {
                    ' '
                } else if hidden(c) {
                    '\u{fffd}'
                } else {
                    c
                }
            })
            .collect();
        if line.chars().nth(LINE_MAX).is_some() {
            shown.push('…');
        }
        let _ = writeln!(out, "{}", format!("{indent}// {shown}").trim_end());
    }
    out
}

/// A list of texts.
pub fn list<T: AsRef<str>>(items: &[T]) -> String {
    format!("[{}]", items.iter().map(|item| quote(item.as_ref())).collect::<Vec<_>>().join(", "))
}

/// A map on one line; values are code.
pub fn map<'a>(entries: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let entries: Vec<String> = entries.into_iter().map(|(name, value)| format!("{}: {value}", key(name))).collect();
    if entries.is_empty() { "#{}".to_owned() } else { format!("#{{ {} }}", entries.join(", ")) }
}

/// A key of a map: plain where the language has no other meaning for it.
pub fn key(name: &str) -> String {
    const WORDS: [&str; 45] = [
        "true", "false", "let", "const", "if", "else", "switch", "do", "while", "until", "loop", "for", "in", "continue", "break",
        "return", "throw", "try", "catch", "fn", "private", "import", "export", "as", "global", "this", "is", "var", "static", "shared",
        "with", "goto", "exit", "match", "case", "default", "void", "null", "nil", "spawn", "thread", "go", "sync", "async", "await",
    ];
    let plain =
        name.bytes().next().is_some_and(|b| b.is_ascii_alphabetic()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if plain
        && !WORDS.contains(&name)
        && !matches!(name, "yield" | "use" | "package" | "module" | "new" | "super" | "eval" | "print" | "debug")
    {
        name.to_owned()
    } else {
        quote(name)
    }
}

/// Labels as a map.
pub fn labels(labels: &Labels) -> String {
    map(labels.iter().map(|(name, value)| (name.as_str(), quote(value))))
}

/// A `where`, or the conditions of a route.
pub fn filter(filter: &Filter) -> String {
    map(filter.0.iter().map(|(name, condition)| (name.as_str(), self::condition(condition))))
}

fn condition(condition: &Match) -> String {
    match condition {
        // As a text of its own it would be read as another form.
        Match::Equal(text) if text.starts_with('!') || text.ends_with('*') || (text.starts_with('/') && text.ends_with('/')) => {
            list(&[text])
        }
        Match::Equal(text) => quote(text),
        Match::AnyOf(any) => list(any),
        Match::All(all) => {
            let all: Vec<String> = all.iter().map(self::condition).collect();
            map([("all", format!("[{}]", all.join(", ")))])
        }
        Match::Not(_) | Match::Regex(_) | Match::NotRegex(_) | Match::Prefix(_) => quote(&condition.to_string()),
    }
}

/// Parts per million as the decimal in per cent.
pub fn percent(ppm: u32) -> String {
    Fraction::new(i128::from(ppm), 10_000).and_then(decimal).unwrap_or_else(|| format!("{}.0", ppm / 10_000))
}

/// A float literal that reads back as the same number.
pub fn number(value: f64) -> String {
    let text = format!("{value}");
    if text.contains(['.', 'e']) { text } else { text + ".0" }
}

fn selector(metric: &Metric, filter: &Filter) -> String {
    format!("{}, {}", quote(&metric.to_string()), self::filter(filter))
}

fn counter(side: &Selector) -> String {
    format!("count({})", selector(&side.metric, &side.filter))
}

/// An SLI.
pub fn sli(sli: &Sli) -> String {
    match sli {
        Sli::Good(Selector { metric, filter }) => format!("good({})", selector(metric, filter)),
        Sli::Within { metric, limit, filter } => {
            let name = if limit.inclusive { "within" } else { "below" };
            format!("{name}({}, {}, {})", quote(&metric.to_string()), number(limit.value), self::filter(filter))
        }
        Sli::Ratio { good, total } => format!("ratio({}, {})", counter(good), counter(total)),
        Sli::Slices { inner, slice, target_ppm, empty } => {
            let options = match empty {
                EmptySlice::Skip => "",
                EmptySlice::Good => ", #{ empty: \"good\" }",
                EmptySlice::Bad => ", #{ empty: \"bad\" }",
            };
            format!("slices({}, {}, {}{options})", self::sli(inner), quote(&slice.to_string()), percent(*target_ppm))
        }
        Sli::Composite { members, how } => match how {
            Combine::Worst => format!("composite({}, \"worst\")", list(members)),
            Combine::Weighted(weights) => {
                let weights: Vec<String> =
                    weights.iter().map(|weight| decimal(*weight).unwrap_or_else(|| number(weight.to_f64()))).collect();
                format!("composite({}, \"weighted\", [{}])", list(members), weights.join(", "))
            }
        },
        Sli::External { source, options } => {
            format!("external({}, {})", quote(source), map(options.iter().map(|(name, value)| (name.as_str(), quote(value)))))
        }
    }
}

/// A tier; its factor as written, or as a share of the budget where only that is a decimal.
pub fn tier(tier: &Tier, window: &SloWindow) -> String {
    let share = || tier.factor.scale(tier.long.millis().into(), window.nominal().millis().into()).and_then(decimal);
    let strength = match decimal(tier.factor) {
        Some(factor) => ("factor", factor),
        None => match share() {
            Some(budget) => ("budget", budget),
            None => ("factor", number(tier.factor.to_f64())),
        },
    };
    let mut entries = vec![("long", quote(&tier.long.to_string())), ("short", quote(&tier.short.to_string())), strength];
    if tier.op == Op::AtLeast {
        entries.push(("op", quote(">=")));
    }
    for (name, span) in [("pending", tier.pending), ("keep_firing", tier.keep_firing)] {
        if span.millis() != 0 {
            entries.push((name, quote(&span.to_string())));
        }
    }
    format!("{}({})", tier.severity, map(entries))
}

/// What an SLO alerts on.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Alerting {
    /// Nothing, or the tiers of the SLO if it has any.
    #[default]
    Tiers,
    /// `burn_rate()`.
    Preset,
}

/// A declaration of an SLO.
pub fn slo(slo: &Slo, alerting: &Alerting) -> String {
    let mut fields: Vec<(&str, String)> = Vec::new();
    for (name, text) in [("description", &slo.description), ("owner", &slo.owner), ("service", &slo.service)] {
        if !text.is_empty() {
            fields.push((name, quote(text)));
        }
    }
    fields.push(("objective", percent(1_000_000 - slo.budget_ppm)));
    fields.push(("window", quote(&slo.window.to_string())));
    if let SloWindow::Calendar { timezone, .. } = &slo.window
        && timezone != "UTC"
    {
        fields.push(("timezone", quote(timezone)));
    }
    fields.push(("sli", sli(&slo.sli)));
    if !slo.by.is_empty() {
        fields.push(("by", list(&slo.by)));
    }
    match alerting {
        Alerting::Preset => fields.push(("alert", "burn_rate()".to_owned())),
        Alerting::Tiers if slo.tiers.is_empty() => {}
        Alerting::Tiers => {
            let tiers: Vec<String> = slo.tiers.iter().map(|tier| format!("        {},\n", self::tier(tier, &slo.window))).collect();
            fields.push(("alert", format!("[\n{}    ]", tiers.concat())));
        }
    }
    if slo.min_events > 0 {
        fields.push(("min_events", slo.min_events.to_string()));
    }
    if let Some(min_bad) = slo.min_bad {
        fields.push(("min_bad", min_bad.to_string()));
    }
    if let Some(confidence) = slo.confidence {
        fields.push(("confidence", number(confidence)));
    }
    if slo.traffic_corrected {
        fields.push(("traffic_corrected", "true".to_owned()));
    }
    match slo.no_data {
        NoData::Keep => {}
        NoData::Ok => fields.push(("no_data", quote("ok"))),
        NoData::Alert => fields.push(("no_data", quote("alert"))),
    }
    if !slo.labels.is_empty() {
        fields.push(("labels", labels(&slo.labels)));
    }
    for (name, text) in [("runbook", &slo.runbook), ("dashboard", &slo.dashboard), ("tier", &slo.tier)] {
        if let Some(text) = text {
            fields.push((name, quote(text)));
        }
    }
    if let Some(policy) = &slo.budget_policy {
        let mut entries = vec![("stop_below", decimal(policy.stop_below).unwrap_or_else(|| number(policy.stop_below.to_f64())))];
        entries.extend(policy.stop_on.map(|severity| ("stop_on", quote(severity.name()))));
        fields.push(("budget_policy", map(entries)));
    }
    if !slo.enabled {
        fields.push(("enabled", "false".to_owned()));
    }
    declaration("slo", Some(&slo.name), &fields)
}

/// `kind("name", #{ … });`, a field a line.
pub fn declaration(kind: &str, name: Option<&str>, fields: &[(&str, String)]) -> String {
    if let (Some(name), []) = (name, fields) {
        return format!("{kind}({}, #{{}});\n", quote(name));
    }
    let mut out = match name {
        Some(name) => format!("{kind}({}, #{{\n", quote(name)),
        None => format!("{kind}(#{{\n"),
    };
    for (name, value) in fields {
        let _ = writeln!(out, "    {}: {value},", key(name));
    }
    out + "});\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_gets_out_of_its_literal_or_comment() {
        assert_eq!(quote("a\"b\\c\nd\u{202e}"), r#""a\"b\\c\nd\U0000202E""#);
        assert_eq!(comment("", "a\u{2028}slo(\nb\r\n"), "// a\u{fffd}slo(\n// b\n");
        assert_eq!(key("pyrra.dev/team"), "\"pyrra.dev/team\"");
        assert_eq!((key("owner").as_str(), key("in").as_str()), ("owner", "\"in\""));
    }

    #[test]
    fn values_that_look_like_other_forms_stay_values() {
        let equal = |text: &str| condition(&Match::Equal(text.to_owned()));
        assert_eq!((equal("x").as_str(), equal("x*").as_str(), equal("!x").as_str()), ("\"x\"", "[\"x*\"]", "[\"!x\"]"));
        assert_eq!(condition(&Match::parse("/5../").unwrap()), "\"/5../\"");
    }

    #[test]
    fn numbers_keep_their_decimals() {
        assert_eq!((percent(999_000).as_str(), percent(950_000).as_str(), percent(999_999).as_str()), ("99.9", "95.0", "99.9999"));
        assert_eq!((number(2500.0).as_str(), number(0.1).as_str()), ("2500.0", "0.1"));
    }
}
