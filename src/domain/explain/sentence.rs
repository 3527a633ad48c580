//! An answer as a sentence for titles and mails.

use super::super::notification::{Values, Verdict};
use super::super::rule::Labels;
use super::super::series::OTHER;
use super::table::rank;
use super::{Explanation, Found};

/// Longest value that is quoted whole; values come from beacons.
const VALUE_MAX: usize = 80;

/// "92 % of the failures above normal come from release 2.3.1 in region DE, which has 11 % of the traffic; everyone else
/// fails as usual." Plain text, hostile like the values in it.
///
/// `scope` is what every event that was looked at has in common: nobody was looked at outside of it.
pub fn sentence(answer: &Explanation, scope: &Labels) -> String {
    match answer.verdict {
        Verdict::Segment => blame(&answer.found),
        Verdict::Global => format!("The failures above normal are spread {}: {}.", alike(scope), answer.reason),
        Verdict::Unknown => format!("Where the failures come from is not known: {}.", answer.reason),
    }
}

/// The same in a few words, for titles: "92 % of the rise from release 2.3.1 in region DE"; empty where
/// nothing is known.
pub fn brief(answer: &Explanation, scope: &Labels) -> String {
    match (answer.verdict, &answer.found[..]) {
        (Verdict::Segment, [first, rest @ ..]) => {
            let more = match rest {
                [] => String::new(),
                [second] => format!(", {} from {}", percent(second.suspect.excess_share), words(second)),
                _ => format!(", the rest from {} other segments", rest.len()),
            };
            let whose = if first.suspect.excess_share >= 0.995 { "nearly all".to_owned() } else { percent(first.suspect.excess_share) };
            format!("{whose} of the rise from {}{more}", words(first))
        }
        (Verdict::Global, _) => alike(scope),
        (Verdict::Segment | Verdict::Unknown, _) => String::new(),
    }
}

/// "everywhere alike", or "alike within region de". The app goes without saying: an SLO is about one.
fn alike(scope: &Labels) -> String {
    let mut parts: Vec<(&String, &String)> = scope.iter().filter(|(name, value)| *name != "app" && !value.is_empty()).collect();
    parts.sort_by_key(|(name, _)| (rank(name), *name));
    match parts.is_empty() {
        true => "everywhere alike".to_owned(),
        false => {
            let parts: Vec<String> = parts.into_iter().map(|(name, value)| term(name, std::slice::from_ref(value))).collect();
            format!("alike within {}", parts.join(", "))
        }
    }
}

/// How many users a suspect has: "812 users", "at least 40 users (about 400)" when the app samples, "one client".
pub fn users_text(found: &Found) -> Option<String> {
    if !found.users_known {
        return None;
    }
    if found.one_client() {
        return Some("one client".to_owned());
    }
    let users = found.suspect.users;
    if found.weight > 1.005 {
        return Some(format!("at least {users} users (about {:.0})", users as f64 * found.weight));
    }
    Some(format!("{users} users"))
}

fn blame(found: &[Found]) -> String {
    let mut text = String::new();
    for (at, found) in found.iter().enumerate() {
        let suspect = &found.suspect;
        let words = words(found);
        let traffic = percent(suspect.traffic_share);
        if at == 0 {
            let whose = if suspect.excess_share >= 0.995 { "Nearly all".to_owned() } else { percent(suspect.excess_share) };
            text = format!("{whose} of the failures above normal come from {words}, which has {traffic} of the traffic");
        } else {
            text += &format!(", and {} from {words}, which has {traffic}", percent(suspect.excess_share));
        }
        if found.one_client() {
            text += " and is one client";
        }
    }
    if found.iter().map(|found| found.suspect.excess_share).sum::<f64>() > 1.05 {
        text += " (they overlap)";
    }
    text + "; everyone else fails as usual."
}

fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent < 1.0 { "less than 1 %".to_owned() } else { format!("{percent:.0} %") }
}

/// `release 2.3.1 in region DE`.
fn words(found: &Found) -> String {
    let mut terms: Vec<(&String, &Values)> = found.suspect.terms.iter().collect();
    terms.sort_by_key(|(name, _)| (rank(name), *name));
    let mut text = String::new();
    for (at, (name, values)) in terms.into_iter().enumerate() {
        if at > 0 {
            text += joint(name);
        }
        text += &term(name, values.all());
    }
    text
}

/// What stands before a further part of a place.
fn joint(name: &str) -> &'static str {
    match name {
        "route" | "os" | "browser" | "device" | "sdk" => " on ",
        "app" | "region" | "cohort" | "environment" => " in ",
        _ => " with ",
    }
}

/// ` in region de on device mobile`, to stand behind what is there; empty of no group.
pub fn place(group: &Labels) -> String {
    let mut terms: Vec<(&String, &String)> = group.iter().collect();
    terms.sort_by_key(|(name, _)| (rank(name), *name));
    terms.into_iter().map(|(name, value)| format!("{}{}", joint(name), term(name, std::slice::from_ref(value)))).collect()
}

fn term(name: &str, values: &[String]) -> String {
    let Some((last, rest)) = values.split_last() else { return name.to_owned() };
    if rest.is_empty() {
        return match last.as_str() {
            "" => format!("no {name}"),
            OTHER => format!("{name} \u{201c}other\u{201d}"),
            value => format!("{name} {}", clean(value)),
        };
    }
    let rest: Vec<String> = rest.iter().map(|value| quoted(value)).collect();
    format!("{name} {} or {}", rest.join(", "), quoted(last))
}

fn quoted(value: &str) -> String {
    match value {
        "" => "\u{201c}\u{201d}".to_owned(),
        OTHER => "\u{201c}other\u{201d}".to_owned(),
        value => clean(value),
    }
}

/// One line, without control and direction characters, and not for ever.
pub fn clean(value: &str) -> String {
    let hidden =
        |c: char| c.is_control() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}');
    let mut text: String = value.chars().take(VALUE_MAX).map(|c| if hidden(c) { '\u{fffd}' } else { c }).collect();
    if value.chars().nth(VALUE_MAX).is_some() {
        text.push('…');
    }
    text
}
