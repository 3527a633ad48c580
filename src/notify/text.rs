//! What a notification says, in words, once for all receivers: who is hit, where, since when, what
//! changed, what to do.
//!
//! Our own words and words that may come from a beacon are kept apart up to the end, so that every
//! format can put the latter into quotes or code.

mod facts;
mod numbers;

use crate::domain::notification::{IncidentView, Kind, Notification};
use crate::domain::rule::Severity;
use crate::domain::template::{self, Format, TemplateError};

use super::escape;

/// The name of the link that acknowledges.
pub const ACKNOWLEDGE: &str = "Acknowledge";

/// Longest title, in characters.
const TITLE_MAX: usize = 160;
/// Longest value that a template prints.
const VALUE_MAX: usize = 300;

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
    let links = facts::links(incident);
    let facts = facts::all(notification, &links);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::notification::Verdict;
    use crate::notify::fake::{hostile, notification};

    #[test]
    fn a_page_says_who_where_since_when_what_changed_and_what_to_do() {
        let message = message(&notification(Kind::Opened));
        assert_eq!(message.headline(), "PAGE: checkout-api burns its budget (shop)");
        let expected = "\
Who is hit: 812 users, 5,312 bad events
Where: region de, release 2.3.1 (90 % of the failures above normal, 11 % of the traffic; not seen before)
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
        let text = message.plain();
        assert!(text.starts_with("Who was hit: 812 users") && text.contains("resolved (page), burned 22.4 times"), "{text}");
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
    fn an_alert_of_others_says_which_one_it_is_and_nothing_that_nobody_measured() {
        let mut posted = notification(Kind::Opened);
        let incident = &mut posted.data.incident;
        incident.verdict = Verdict::Unknown;
        incident.impact = Default::default();
        incident.changes.clear();
        incident.title = "/var is full".into();
        incident.service = String::new();
        let alert = &mut incident.alerts[0];
        alert.rule = "DiskFull".into();
        alert.summary = "/var is full".into();
        alert.values = Default::default();
        let labels = [("alertname", "DiskFull"), ("severity", "critical"), ("instance", "db-7:9100"), ("mountpoint", "/var")];
        alert.labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        incident.links.runbook = None;
        posted.reason = "/var is full".into();
        let expected = "\
Since: 2027-01-15 07:57 UTC (3m ago)
Alert: DiskFull firing (page), instance db-7:9100, mountpoint /var: /var is full
What to do: acknowledge it and look at the incident
Incident: https://burnwatch.example.com/incidents/inc-7
";
        assert_eq!(message(&posted).plain(), expected, "its reason is what its alert says, and that is said once");
        posted.reason = "still firing after it was silenced".into();
        assert!(message(&posted).plain().contains("\nWhy now: still firing after it was silenced\n"));
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
}
