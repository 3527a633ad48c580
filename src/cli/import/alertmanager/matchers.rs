//! Alertmanager's matchers as the conditions of a route.

use std::collections::BTreeMap;

use super::super::document::Node;
use crate::domain::filter::{Filter, Match};

/// One matcher: a label, an operator, a value.
struct Matcher {
    label: String,
    condition: Match,
}

/// Reads `matchers`, `match` and `match_re` of a route, or those of one side of an inhibition (`source_…`, `target_…`).
pub fn read(node: &Node<'_>, prefix: &str) -> Filter {
    let mut filter = BTreeMap::new();
    for (key, operator) in [("match", "="), ("match_re", "=~")] {
        for (label, value) in node.get(&format!("{prefix}{key}")).entries() {
            let text = value.text().unwrap_or_default();
            take(&mut filter, &value, condition(operator, &text).map(|condition| Matcher { label, condition }));
        }
    }
    for entry in node.get(&format!("{prefix}matchers")).one_or_many() {
        let text = entry.text().unwrap_or_default();
        match split(&text) {
            Ok(parts) => {
                for part in parts {
                    take(&mut filter, &entry, matcher(&part));
                }
            }
            Err(why) => take(&mut filter, &entry, Err(why)),
        }
    }
    Filter(filter)
}

fn take(filter: &mut BTreeMap<String, Match>, node: &Node<'_>, matcher: Result<Matcher, String>) {
    let Matcher { label, condition } = match matcher {
        Ok(matcher) => matcher,
        Err(why) => {
            node.fault(why);
            node.needs("write the condition in `when`");
            return;
        }
    };
    node.mapped("when");
    let both = match filter.remove(&label) {
        None => condition,
        Some(first) => join(&first, &condition).unwrap_or_else(|| Match::All([first.parts(), &[condition]].concat())),
    };
    filter.insert(label, both);
}

/// One condition that says what two say.
fn join(a: &Match, b: &Match) -> Option<Match> {
    match (a, b) {
        _ if a == b => Some(a.clone()),
        (Match::Equal(x), other) | (other, Match::Equal(x)) if other.accepts(x) => Some(Match::Equal(x.clone())),
        (Match::AnyOf(any), other) | (other, Match::AnyOf(any)) => {
            let left: Vec<String> = any.iter().filter(|value| other.accepts(value)).cloned().collect();
            (!left.is_empty()).then_some(Match::AnyOf(left))
        }
        // `!= ""` beside an expression that an absent label does not match.
        (Match::Not(x), other @ (Match::Regex(_) | Match::Prefix(_))) | (other @ (Match::Regex(_) | Match::Prefix(_)), Match::Not(x))
            if !other.accepts(x) =>
        {
            Some(other.clone())
        }
        _ => {
            let both = format!("!/{}|{}/", refused(a)?, refused(b)?);
            Match::parse(&both).ok()
        }
    }
}

/// The expression that a negative condition refuses.
fn refused(condition: &Match) -> Option<String> {
    match condition {
        Match::Not(text) => Some(regex::escape(text)),
        Match::NotRegex(_) => {
            let text = condition.to_string();
            Some(format!("(?:{})", &text[2..text.len() - 1]))
        }
        Match::Equal(_) | Match::AnyOf(_) | Match::Regex(_) | Match::Prefix(_) | Match::All(_) => None,
    }
}

/// The entries of `{a="b", c=~"d"}`, or of the same without braces.
fn split(text: &str) -> Result<Vec<String>, String> {
    let text = text.trim();
    let inner = match text.strip_prefix('{') {
        Some(rest) => rest.strip_suffix('}').ok_or_else(|| format!("`{text}` has no closing brace"))?,
        None => text,
    };
    let (mut parts, mut part, mut quoted, mut escaped) = (Vec::new(), String::new(), false, false);
    for c in inner.chars() {
        match c {
            '"' if !escaped => quoted = !quoted,
            ',' if !quoted => {
                parts.push(std::mem::take(&mut part));
                continue;
            }
            _ => {}
        }
        escaped = c == '\\' && !escaped;
        part.push(c);
    }
    parts.push(part);
    Ok(parts.into_iter().map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect())
}

fn matcher(text: &str) -> Result<Matcher, String> {
    let bad = || format!("`{text}` is no matcher; one is written label=\"value\", with =, !=, =~ or !~");
    let (label, rest) = match text.strip_prefix('"') {
        // A quoted name may hold anything.
        Some(rest) => {
            let end = rest.find('"').ok_or_else(bad)?;
            (rest[..end].to_owned(), rest[end + 1..].trim_start())
        }
        None => {
            let end = text.find(['=', '!']).ok_or_else(bad)?;
            (text[..end].trim().to_owned(), &text[end..])
        }
    };
    let operator = ["=~", "!~", "!=", "="].into_iter().find(|operator| rest.starts_with(operator)).ok_or_else(bad)?;
    let value = rest[operator.len()..].trim();
    let value = match value.strip_prefix('"') {
        Some(inner) => unescape(inner.strip_suffix('"').ok_or_else(bad)?),
        None => value.to_owned(),
    };
    if label.is_empty() {
        return Err(bad());
    }
    Ok(Matcher { label, condition: condition(operator, &value)? })
}

fn unescape(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, c == '\\') {
            (_, true) => match chars.next() {
                Some('n') => out.push('\n'),
                Some(c @ ('"' | '\\')) => out.push(c),
                Some(c) => out.extend(['\\', c]),
                None => out.push('\\'),
            },
            (c, false) => out.push(c),
        }
    }
    out
}

fn condition(operator: &str, value: &str) -> Result<Match, String> {
    let negative = operator.starts_with('!');
    if !operator.ends_with('~') {
        return Ok(if negative { not(value)? } else { Match::Equal(value.to_owned()) });
    }
    let plain = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || c == '-' || c == '_' || c == ' ' || c == '/');
    let parts: Vec<&str> = value.split('|').collect();
    match (parts.as_slice(), negative) {
        // An empty expression matches nothing but the empty text.
        ([""], false) => Ok(Match::Equal(String::new())),
        ([""], true) => not(""),
        ([one], false) if plain(one) => Ok(Match::Equal((*one).to_owned())),
        ([one], true) if plain(one) => not(one),
        (many, false) if many.iter().all(|part| plain(part)) => Ok(Match::AnyOf(many.iter().map(|part| (*part).to_owned()).collect())),
        _ => Match::parse(&format!("{}/{value}/", if negative { "!" } else { "" })).map_err(|error| error.to_string()),
    }
}

/// `!x`, also where that would be read as an expression.
fn not(value: &str) -> Result<Match, String> {
    let plain = Match::Not(value.to_owned());
    if Match::parse(&plain.to_string()).is_ok_and(|read| read == plain) {
        return Ok(plain);
    }
    Match::parse(&format!("!/{}/", regex::escape(value))).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::super::super::document::Document;
    use super::super::super::script;
    use super::*;

    fn when(yaml: &str) -> (String, usize) {
        let document = Document::read("a.yml", yaml).0.into_iter().next().unwrap();
        let filter = script::filter(&read(&document.top(), ""));
        (filter, document.finish().1.len())
    }

    #[test]
    fn every_way_of_writing_a_matcher_is_read() {
        for yaml in [
            "matchers: ['severity=\"page\"', team=~\"a|b\"]",
            "matchers: ['{severity=\"page\", team=~\"a|b\"}']",
            "matchers: [severity = page, 'team =~ a|b']",
            "{match: {severity: page}, match_re: {team: a|b}}",
            "matchers: ['\"severity\"=\"page\"', '\"team\" =~ \"a|b\"']",
        ] {
            assert_eq!(when(yaml), ("#{ severity: \"page\", team: [\"a\", \"b\"] }".to_owned(), 0), "{yaml}");
        }
    }

    #[test]
    fn negations_and_expressions_mean_the_same() {
        assert_eq!(when("matchers: ['a!=\"x\"']").0, r##"#{ a: "!x" }"##);
        assert_eq!(when("matchers: ['a!~\"x.*|y\"']").0, r##"#{ a: "!/x.*|y/" }"##);
        assert_eq!(when("matchers: ['a=~\"x.*\"']").0, r##"#{ a: "/x.*/" }"##);
        assert_eq!(when("matchers: ['a=\"\"']").0, r##"#{ a: "" }"##);
        assert_eq!(when("matchers: ['a=\"say \\\"x\\\", y\"']").0, r##"#{ a: "say \"x\", y" }"##);
        // `!/x/` as a text would be an expression.
        assert_eq!(when("matchers: ['a!=\"/x/\"']").0, r##"#{ a: "!//x//" }"##);
    }

    #[test]
    fn two_conditions_on_a_label_become_one_or_must_both_hold() {
        assert_eq!(when("matchers: ['a!=\"x\"', 'a!~\"y.+\"']"), (r##"#{ a: "!/x|(?:y.+)/" }"##.to_owned(), 0));
        assert_eq!(when("matchers: ['a=~\"x.+\"', 'a!=\"\"']"), (r##"#{ a: "/x.+/" }"##.to_owned(), 0));
        assert_eq!(when("matchers: ['a=~\"x|y\"', 'a!=\"x\"']"), (r##"#{ a: ["y"] }"##.to_owned(), 0));
        assert_eq!(when("matchers: ['a=~\"x.+\"', 'a=~\".+y\"']"), (r##"#{ a: #{ all: ["/x.+/", "/.+y/"] } }"##.to_owned(), 0));
        assert_eq!(
            when("matchers: ['a=~\"x.+\"', 'a!~\".+y\"', 'a!=\"xx\"']"),
            (r##"#{ a: #{ all: ["/x.+/", "!/.+y/", "!xx"] } }"##.to_owned(), 0)
        );
        // What nothing can meet is met by nothing.
        assert_eq!(when("matchers: [a=x, a=y]"), (r##"#{ a: #{ all: ["x", "y"] } }"##.to_owned(), 0));
        assert_eq!(when("matchers: ['a', 'b=~\"(\"']"), ("#{}".to_owned(), 2));
    }
}
