//! What a notification says, in words, once for all receivers: who is hit, where, since when, what
//! changed, what to do.
//!
//! Our own words and words that may come from a beacon are kept apart up to the end, so that every
//! format can put the latter into quotes or code.

use crate::domain::notification::{AlertState, AlertView, Change, IncidentView, Kind, Notification, Suspect, Verdict};
use crate::domain::rule::Severity;
use crate::domain::template::{self, Format, TemplateError};
use crate::domain::time::{Span, Timestamp};

use super::escape;

/// The name of the link that acknowledges.
pub const ACKNOWLEDGE: &str = "Acknowledge";

/// Longest title, in characters.
const TITLE_MAX: usize = 160;
/// Longest single word from elsewhere.
const WORD_MAX: usize = 120;
/// Longest value that a template prints.
const VALUE_MAX: usize = 300;
/// How many suspects, changes and alerts are listed.
const LISTED_MAX: usize = 5;

/// A part of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Written here.
    Ours(String),
    /// Comes from rules, labels or beacons: cleaned and cut, to be escaped and quoted.
    Theirs(String),
}

/// A named line: `Where: …`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    pub name: &'static str,
    pub pieces: Vec<Piece>,
}

/// A link with a name of ours; http or https.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    pub name: &'static str,
    pub url: String,
}

/// Everything that is said, without a format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// What happened, in capitals: `PAGE`, `RESOLVED`.
    pub word: &'static str,
    /// The part that is equal in all messages about an incident.
    pub stem: String,
    pub facts: Vec<Fact>,
    pub links: Vec<Link>,
    /// What a template says instead of the facts.
    pub body: Option<Body>,
}

/// A text in each format, its values made harmless there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    pub plain: String,
    pub html: String,
    pub slack: String,
    pub markdown: String,
}

/// Puts a notification into words.
pub fn message(notification: &Notification) -> Message {
    let incident = &notification.data.incident;
    let mut facts = vec![who(incident), place(incident)];
    facts.push(since(notification));
    facts.push(changed(incident));
    facts.extend(budget(incident));
    facts.extend(alerts(incident));
    let reason = escape::clean(&notification.reason, 300);
    if !reason.is_empty() {
        facts.push(Line::new("Why now").theirs(&reason, 300).end());
    }
    let links = links(incident);
    facts.push(next_step(notification, &links));
    Message { word: word(notification.kind, incident.severity), stem: stem(incident), facts, links, body: None }
}

impl Message {
    /// Puts a template's words in the place of the usual ones; a title or a text that it leaves out stays as it is.
    pub fn reword(&mut self, template: &str, notification: &Notification) -> Result<(), TemplateError> {
        let payload = serde_json::to_value(notification).unwrap_or_default();
        let render = |format, escape| template::render(template, &payload, format, escape);
        let plain = render(Format::Plain, |value| escape::clean(value, VALUE_MAX))?;
        let title = escape::clean(&plain.title, TITLE_MAX);
        if !title.is_empty() {
            self.stem = title;
        }
        if plain.text.is_empty() {
            return Ok(());
        }
        let body = Body {
            html: render(Format::Html, |value| escape::html(&escape::clean(value, VALUE_MAX)))?.text,
            slack: render(Format::Slack, |value| escape::slack_code(&escape::clean(value, VALUE_MAX)))?.text,
            markdown: render(Format::Markdown, |value| escape::markdown_code(&escape::clean(value, VALUE_MAX)))?.text,
            plain: plain.text,
        };
        let lines = body.plain.lines().filter(|line| !line.trim().is_empty());
        self.facts = lines.map(|line| Fact { name: "", pieces: vec![Piece::Ours(line.to_owned())] }).collect();
        self.body = Some(body);
        Ok(())
    }

    /// The summary line.
    pub fn headline(&self) -> String {
        format!("{}: {}", self.word, self.stem)
    }

    /// Lines of plain text.
    pub fn plain(&self) -> String {
        let mut text = String::new();
        self.say_plain(&mut text);
        for link in &self.links {
            text.push_str(&format!("{}: {}\n", link.name, link.url));
        }
        text
    }

    /// The lines without the links.
    pub fn say_plain(&self, text: &mut String) {
        match &self.body {
            Some(body) => text.push_str(&format!("{}\n", body.plain)),
            None => self.facts.iter().for_each(|fact| text.push_str(&format!("{}: {}\n", fact.name, fact.plain()))),
        }
    }

    /// Markdown as GitHub and Opsgenie's peers read it; words from elsewhere are code.
    pub fn markdown(&self) -> String {
        let mut text = String::new();
        match &self.body {
            Some(body) => text.push_str(&format!("{}\n\n", body.markdown)),
            None => {
                for fact in &self.facts {
                    let line: String = fact.pieces.iter().map(|piece| piece.render(str::to_owned, escape::markdown_code)).collect();
                    text.push_str(&format!("**{}:** {line}  \n", fact.name));
                }
            }
        }
        for link in &self.links {
            text.push_str(&format!("[{}]({})  \n", link.name, link.url));
        }
        text
    }
}

impl Fact {
    /// The line without its name, unescaped.
    pub fn plain(&self) -> String {
        self.pieces.iter().map(|piece| piece.render(str::to_owned, str::to_owned)).collect()
    }
}

impl Piece {
    /// The piece in a format, by what it does to our words and to those of others.
    pub fn render(&self, ours: impl Fn(&str) -> String, theirs: impl Fn(&str) -> String) -> String {
        match self {
            Piece::Ours(text) => ours(text),
            Piece::Theirs(text) => theirs(text),
        }
    }
}

/// Builds a [`Fact`].
struct Line {
    name: &'static str,
    pieces: Vec<Piece>,
}

impl Line {
    fn new(name: &'static str) -> Line {
        Line { name, pieces: Vec::new() }
    }

    fn ours(mut self, text: impl AsRef<str>) -> Line {
        match self.pieces.last_mut() {
            Some(Piece::Ours(before)) => before.push_str(text.as_ref()),
            _ => self.pieces.push(Piece::Ours(text.as_ref().to_owned())),
        }
        self
    }

    fn theirs(mut self, text: &str, max: usize) -> Line {
        let text = escape::clean(text, max);
        // An empty code span is broken markup in most formats.
        if text.is_empty() {
            return self.ours("(empty)");
        }
        self.pieces.push(Piece::Theirs(text));
        self
    }

    fn end(self) -> Fact {
        Fact { name: self.name, pieces: self.pieces }
    }
}

fn word(kind: Kind, severity: Severity) -> &'static str {
    match (kind, severity) {
        (Kind::Opened, Severity::Page) => "PAGE",
        (Kind::Opened, Severity::Ticket) => "TICKET",
        (Kind::Opened, Severity::Info) => "INFO",
        (Kind::Updated, _) => "UPDATED",
        (Kind::Escalated, _) => "ESCALATED",
        (Kind::Reminder, _) => "STILL OPEN",
        (Kind::Acknowledged, _) => "ACKNOWLEDGED",
        (Kind::Resolved, _) => "RESOLVED",
        (Kind::Reopened, _) => "REOPENED",
    }
}

fn stem(incident: &IncidentView) -> String {
    let title = escape::clean(&incident.title, TITLE_MAX);
    let title = if title.is_empty() { format!("incident {}", escape::clean(&incident.id, 40)) } else { title };
    let service = escape::clean(&incident.service, 60);
    if service.is_empty() { title } else { format!("{title} ({service})") }
}

fn who(incident: &IncidentView) -> Fact {
    let impact = &incident.impact;
    let events = format!("{} bad events", count(impact.bad_events));
    let line = Line::new("Who is hit");
    match impact.affected_users {
        // Nobody was counted: events without user ids, not necessarily nobody.
        0 => line.ours(events).end(),
        1 => line.ours(format!("1 user, {events}")).end(),
        users => line.ours(format!("{} users, {events}", count(users as f64))).end(),
    }
}

fn place(incident: &IncidentView) -> Fact {
    let line = Line::new("Where");
    let suspects = incident.suspects.iter().filter(|suspect| !suspect.terms.is_empty());
    match incident.verdict {
        Verdict::Global => line.ours("spread like the traffic; no segment stands out").end(),
        Verdict::Unknown => line.ours("not known; the data does not single out a segment").end(),
        Verdict::Segment => {
            let mut line = line;
            for (n, suspect) in suspects.take(3).enumerate() {
                line = segment(if n == 0 { line } else { line.ours("; also ") }, suspect);
            }
            if line.pieces.is_empty() { line.ours("a segment that cannot be named").end() } else { line.end() }
        }
    }
}

fn segment(mut line: Line, suspect: &Suspect) -> Line {
    for (n, (dimension, values)) in suspect.terms.iter().take(4).enumerate() {
        if n > 0 {
            line = line.ours(", ");
        }
        line = line.ours(format!("{} ", escape::clean(dimension, 40))).theirs(&values.all().join(" or "), WORD_MAX);
    }
    let new = if suspect.new { ", new" } else { "" };
    line.ours(format!(
        " ({} of the failures; {} of the traffic, {} of the excess{new})",
        percent(suspect.bad_share),
        percent(suspect.traffic_share),
        percent(suspect.excess_share.min(1.0))
    ))
}

fn since(notification: &Notification) -> Fact {
    let incident = &notification.data.incident;
    let opened = time(incident.opened_at);
    match incident.resolved_at {
        Some(end) => Line::new("Lasted").ours(format!("{}, from {opened} to {}", length(end - incident.opened_at), time(end))).end(),
        None => {
            let age = notification.timestamp - incident.opened_at;
            let ago = if age >= Span::MINUTE { format!(" ({} ago)", length(age)) } else { String::new() };
            let line = Line::new("Since").ours(format!("{opened}{ago}"));
            match incident.acknowledged_at {
                Some(at) => line.ours(format!(", acknowledged {}", time(at))).end(),
                None => line.end(),
            }
        }
    }
}

fn changed(incident: &IncidentView) -> Fact {
    let mut line = Line::new("What changed");
    if incident.changes.is_empty() {
        return line.ours("no deploy or flag change is known near its start").end();
    }
    for (n, change) in incident.changes.iter().take(LISTED_MAX).enumerate() {
        line = one_change(if n == 0 { line } else { line.ours("; ") }, change, incident);
    }
    more(line, incident.changes.len()).end()
}

fn one_change(line: Line, change: &Change, incident: &IncidentView) -> Line {
    let mut line = line.ours(format!("{} ", change.kind.name())).theirs(&change.app, 60);
    if let Some(release) = &change.release {
        line = line.ours(" ").theirs(release, 60);
    }
    if let Some(text) = change.text.as_ref().filter(|text| !text.is_empty()) {
        line = line.ours(" ").theirs(text, WORD_MAX);
    }
    let before = incident.opened_at - change.at;
    let when = if before >= Span::MINUTE {
        format!(", {} before it opened", length(before))
    } else if before <= -Span::MINUTE {
        format!(", {} after it opened", length(-before))
    } else {
        ", as it opened".to_owned()
    };
    let named = !change.id.is_empty() && incident.suspects.iter().any(|suspect| suspect.change.as_deref() == Some(change.id.as_str()));
    line.ours(format!(" at {}{when}", time(change.at))).ours(if named { " (matches the segment)" } else { "" })
}

fn budget(incident: &IncidentView) -> Option<Fact> {
    let impact = &incident.impact;
    // Free-form rules and operator incidents have no budget; both figures are then zero.
    if impact.budget_consumed == 0.0 && impact.budget_remaining == 0.0 {
        return None;
    }
    let left = if impact.budget_remaining < 0.0 {
        format!("overspent by {}", percent(-impact.budget_remaining))
    } else {
        format!("{} left", percent(impact.budget_remaining))
    };
    Some(Line::new("Error budget").ours(format!("{} used by this, {left}", percent(impact.budget_consumed))).end())
}

fn alerts(incident: &IncidentView) -> Vec<Fact> {
    let mut facts: Vec<Fact> = incident.alerts.iter().take(LISTED_MAX).map(alert).collect();
    let left = incident.alerts.len().saturating_sub(LISTED_MAX);
    if left > 0 {
        facts.push(Line::new("Alerts").ours(format!("and {left} more")).end());
    }
    facts
}

fn alert(alert: &AlertView) -> Fact {
    let state = match alert.state {
        AlertState::Firing => "firing",
        AlertState::Resolved => "resolved",
    };
    let mut line = Line::new("Alert").theirs(&alert.rule, 80).ours(format!(" {state} ({})", alert.severity));
    let figures = &alert.values;
    if let (Some(burn), Some(window)) = (figures.burn_long, figures.long) {
        line = line.ours(format!(", burning {} times the budget's pace over {window}", number(burn)));
        if let (Some(burn), Some(window)) = (figures.burn_short, figures.short.filter(|short| figures.long != Some(*short))) {
            line = line.ours(format!(" and {} over {window}", number(burn)));
        }
        if let Some(factor) = figures.factor {
            line = line.ours(format!(", limit {}", number(factor)));
        }
    }
    if let Some(ratio) = figures.error_ratio {
        line = line.ours(format!(", {} bad", percent(ratio)));
    }
    if !escape::clean(&alert.summary, 300).is_empty() {
        line = line.ours(": ").theirs(&alert.summary, 300);
    }
    line.end()
}

fn links(incident: &IncidentView) -> Vec<Link> {
    let given = [
        ("Incident", Some(&incident.links.incident)),
        ("Runbook", incident.links.runbook.as_ref()),
        ("Dashboard", incident.links.dashboard.as_ref()),
    ];
    let shown = given.into_iter().filter_map(|(name, url)| Some(Link { name, url: escape::link(url?)? }));
    shown.collect()
}

fn next_step(notification: &Notification, links: &[Link]) -> Fact {
    let runbook = links.iter().any(|link| link.name == "Runbook");
    let line = Line::new("What to do");
    let step = match (notification.kind, notification.data.incident.severity) {
        (Kind::Resolved, _) => "nothing; it is over",
        (Kind::Acknowledged, _) => "nothing, unless it is you who acknowledged it",
        (_, Severity::Page) if runbook => "acknowledge it, then follow the runbook",
        (_, Severity::Page) => "acknowledge it and look at the incident",
        (_, Severity::Ticket) if runbook => "look at it within the working day; the runbook says how",
        (_, Severity::Ticket) => "look at it within the working day",
        (_, Severity::Info) => "nothing; this is for information",
    };
    line.ours(step).end()
}

fn more(line: Line, all: usize) -> Line {
    if all > LISTED_MAX { line.ours(format!("; and {} more", all - LISTED_MAX)) } else { line }
}

/// `2026-11-22 03:12 UTC`.
pub fn time(at: Timestamp) -> String {
    match at.to_chrono() {
        Some(at) => at.format("%Y-%m-%d %H:%M UTC").to_string(),
        None => at.to_string(),
    }
}

/// `42m`, `3h 5m`, `2d 4h`.
pub fn length(span: Span) -> String {
    let minutes = span.millis().max(0) / 60_000;
    match (minutes / 1440, minutes / 60 % 24, minutes % 60) {
        (0, 0, 0) => format!("{}s", span.millis().max(0) / 1000),
        (0, 0, m) => format!("{m}m"),
        (0, h, 0) => format!("{h}h"),
        (0, h, m) => format!("{h}h {m}m"),
        (d, 0, _) => format!("{d}d"),
        (d, h, _) => format!("{d}d {h}h"),
    }
}

/// A share as a percentage that does not round to nothing.
pub fn percent(share: f64) -> String {
    let value = share * 100.0;
    match value {
        v if !v.is_finite() => "an unknown share".to_owned(),
        v if v <= 0.0 => "0 %".to_owned(),
        v if v < 0.1 => "under 0.1 %".to_owned(),
        v if v < 10.0 => format!("{} %", trim(format!("{v:.1}"))),
        v => format!("{v:.0} %"),
    }
}

/// A count with thousands set apart.
pub fn count(value: f64) -> String {
    if !value.is_finite() || value < 0.0 {
        return "an unknown number of".to_owned();
    }
    let digits = format!("{value:.0}");
    let mut out = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A burn rate: one decimal, none when it is large.
fn number(value: f64) -> String {
    if value.abs() >= 100.0 { format!("{value:.0}") } else { trim(format!("{value:.1}")) }
}

fn trim(text: String) -> String {
    match text.strip_suffix(".0") {
        Some(whole) => whole.to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::fake::{hostile, notification};

    #[test]
    fn a_page_says_who_where_since_when_what_changed_and_what_to_do() {
        let message = message(&notification(Kind::Opened));
        assert_eq!(message.headline(), "PAGE: checkout-api burns its budget (shop)");
        let expected = "\
Who is hit: 812 users, 5,312 bad events
Where: region de, release 2.3.1 (92 % of the failures; 11 % of the traffic, 90 % of the excess, new)
Since: 2027-01-15 07:57 UTC (3m ago)
What changed: deploy shop 2.3.1 at 2027-01-15 07:50 UTC, 7m before it opened (matches the segment)
Error budget: 3.2 % used by this, 41 % left
Alert: checkout-api firing (page), burning 22.4 times the budget's pace over 1h and 151 over 5m, limit 14.4, 2.2 % bad: Checkout fails for many
Why now: burn rate above 14.4
What to do: acknowledge it, then follow the runbook
Incident: https://burnwatch.example.com/incidents/inc-7
Runbook: https://runbooks.example.com/checkout
";
        assert_eq!(message.plain(), expected);
    }

    #[test]
    fn a_close_says_how_long_it_took() {
        let message = message(&notification(Kind::Resolved));
        assert_eq!(message.headline(), "RESOLVED: checkout-api burns its budget (shop)");
        assert!(message.plain().contains("Lasted: 3m, from 2027-01-15 07:57 UTC to 2027-01-15 08:00 UTC\n"), "{}", message.plain());
        assert!(message.plain().contains("What to do: nothing; it is over\n"));
    }

    #[test]
    fn every_kind_has_its_word() {
        let words: Vec<&str> =
            [Kind::Opened, Kind::Updated, Kind::Escalated, Kind::Reminder, Kind::Acknowledged, Kind::Resolved, Kind::Reopened]
                .map(|kind| message(&notification(kind)).word)
                .into();
        assert_eq!(words, ["PAGE", "UPDATED", "ESCALATED", "STILL OPEN", "ACKNOWLEDGED", "RESOLVED", "REOPENED"]);
    }

    #[test]
    fn what_is_not_known_is_not_made_up() {
        let mut plain = notification(Kind::Opened);
        let incident = &mut plain.data.incident;
        incident.verdict = Verdict::Unknown;
        incident.impact = crate::domain::notification::Impact { bad_events: f64::NAN, ..Default::default() };
        incident.changes.clear();
        incident.alerts.clear();
        incident.title = "\u{202e}\r\n".into();
        let message = message(&plain);
        assert_eq!(message.headline(), "PAGE: incident inc-7 (shop)");
        let text = message.plain();
        assert!(
            text.starts_with("Who is hit: an unknown number of bad events\nWhere: not known; the data does not single out a segment\n"),
            "{text}"
        );
        assert!(text.contains("What changed: no deploy or flag change is known near its start\n"));
        assert!(!text.contains("Error budget"));
    }

    #[test]
    fn words_from_beacons_are_one_clean_line_and_code_in_markdown() {
        let message = message(&hostile(Kind::Opened));
        assert!(!message.plain().contains(['\r', '\u{202e}']));
        assert_eq!(message.plain().lines().count(), message.facts.len() + message.links.len());
        // Only http and https links are shown.
        assert_eq!(message.links.len(), 1);
        let markdown = message.markdown();
        // Whatever stands outside of code spans is ours.
        let outside: String = markdown.split('`').step_by(2).collect();
        for bad in ["@octocat", "javascript", "<img", "<!here>", "evil"] {
            assert!(!outside.contains(bad), "{bad} in {outside}");
        }
    }

    #[test]
    fn long_lists_end_with_how_many_more() {
        let mut long = notification(Kind::Opened);
        let incident = &mut long.data.incident;
        incident.alerts = vec![incident.alerts[0].clone(); 12];
        incident.changes = vec![incident.changes[0].clone(); 8];
        let text = message(&long).plain();
        assert!(text.contains("Alerts: and 7 more\n") && text.contains("; and 3 more\n"), "{text}");
    }

    #[test]
    fn numbers_read_well() {
        assert_eq!([0.0, 0.0004, 0.0224, 0.05, 0.92, 1.5].map(percent), ["0 %", "under 0.1 %", "2.2 %", "5 %", "92 %", "150 %"]);
        assert_eq!([0.0, 999.0, 1000.0, 1_234_567.0].map(count), ["0", "999", "1,000", "1,234,567"]);
        let spans = [Span::seconds(42), Span::minutes(42), Span::hours(3), Span::minutes(185), Span::days(2), Span::hours(52)];
        assert_eq!(spans.map(length), ["42s", "42m", "3h", "3h 5m", "2d", "2d 4h"]);
    }
}
