//! Tells what happens, line by line, from what anybody can see: the inbox and `/v1/incidents`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::cli::client::Client;
use crate::cli::exit::Failure;
use crate::cli::field::text;
use crate::cli::output;
use crate::clock::SharedClock;
use crate::domain::time::Timestamp;
use crate::web::inbox::{Channel, Delivery, Inbox, mail};

const EVERY: Duration = Duration::from_millis(700);
/// Deliveries and incidents that are looked at in one go.
const NEWEST: usize = 50;

/// Prints lines with the time before them.
#[derive(Clone)]
pub struct Voice {
    pub clock: SharedClock,
}

impl Voice {
    /// One thing that happened now.
    pub fn say(&self, text: &str) {
        let at = self.clock.now().to_chrono().map(|at| at.format("%H:%M:%S").to_string()).unwrap_or_default();
        // A reader that has gone away does not end the demo.
        let _ = output::say(&format!("{at}  {}", output::plain(text)));
    }

    /// Something that should have worked.
    pub fn trouble(&self, what: &str, failure: &Failure) {
        let why = failure.error.as_ref().map(|error| format!("{error:#}")).unwrap_or_default();
        self.say(&format!("{what}: {why}"));
    }
}

/// How far the story has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Story {
    /// A page is in the inbox.
    pub paged: bool,
    /// Its incident is resolved, and the pager was told so.
    pub resolved: bool,
}

/// What was said of an incident.
#[derive(Debug, Default)]
struct Told {
    status: String,
    suspects: String,
}

/// Watches and tells until told to stop.
pub async fn follow(client: &Client, inbox: Arc<Inbox>, voice: Voice, story: watch::Sender<Story>, stop: CancellationToken) {
    let mut teller = Teller { voice, last: 0, told: BTreeMap::new(), pages: BTreeSet::new(), over: BTreeSet::new(), deaf: false };
    while !stop.is_cancelled() {
        teller.deliveries(&inbox);
        match client.get(&["v1", "incidents"], &[]).await {
            Ok(answer) => {
                teller.deaf = false;
                let items = answer.json.get("items").and_then(Value::as_array).cloned().unwrap_or_default();
                items.iter().rev().for_each(|incident| teller.incident(incident));
            }
            Err(failure) if !teller.deaf => {
                teller.deaf = true;
                teller.voice.trouble("the incidents cannot be read", &failure);
            }
            Err(_) => {}
        }
        let now = Story { paged: !teller.pages.is_empty(), resolved: teller.is_over() };
        story.send_if_modified(|story| std::mem::replace(story, now) != now);
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = stop.cancelled() => {}
        }
    }
}

struct Teller {
    voice: Voice,
    /// Number of the last delivery that was told.
    last: u64,
    told: BTreeMap<String, Told>,
    /// Dedup keys of the pages that came, and of those that were taken back.
    pages: BTreeSet<String>,
    over: BTreeSet<String>,
    deaf: bool,
}

impl Teller {
    /// Every page was taken back, and no incident is open that had been told.
    fn is_over(&self) -> bool {
        !self.pages.is_empty() && self.pages.is_subset(&self.over) && self.told.values().all(|told| told.status == "resolved")
    }

    fn deliveries(&mut self, inbox: &Inbox) {
        let mut new = inbox.newest(|_| true, NEWEST);
        new.retain(|delivery| delivery.n > self.last);
        for delivery in new.iter().rev() {
            self.last = delivery.n;
            let line = self.delivery(delivery);
            self.voice.say(&line);
        }
    }

    fn delivery(&mut self, delivery: &Delivery) -> String {
        let json: Value = serde_json::from_str(&delivery.body).unwrap_or_default();
        match &delivery.channel {
            Channel::Pager => {
                let (key, summary) = (text(&json, "dedup_key"), json.pointer("/payload/summary").and_then(Value::as_str).unwrap_or(""));
                match text(&json, "event_action").as_str() {
                    "resolve" => {
                        self.over.insert(key);
                        "the pager was told that it is over".to_owned()
                    }
                    "acknowledge" => "the pager was told that somebody has it".to_owned(),
                    _ if self.pages.insert(key) => format!("A PAGE ARRIVED: {summary}"),
                    _ => format!("the pager has news: {summary}"),
                }
            }
            Channel::Hook(name) => {
                let title = json.pointer("/data/incident/title").and_then(Value::as_str).unwrap_or("");
                format!("{name}: {}: {title}", text(&json, "type"))
            }
            Channel::Mail => format!("a mail arrived: {}", mail::parse(&delivery.body).subject),
        }
    }

    fn incident(&mut self, incident: &Value) {
        let (id, status, title) = (text(incident, "id"), text(incident, "status"), text(incident, "title"));
        let told = self.told.entry(id).or_default();
        if told.status.is_empty() {
            self.voice.say(&format!("{} incident: {title}", text(incident, "severity")));
        }
        let suspects = suspects(incident);
        if !suspects.is_empty() && suspects != told.suspects {
            let users = number(incident, "/impact/affected_users");
            self.voice.say(&format!("explained: {suspects} ({users:.0} users hit so far)"));
            told.suspects = suspects;
        }
        if status != told.status {
            match status.as_str() {
                "resolved" => self.voice.say(&format!(
                    "resolved after {}: {title}; {:.0} users hit, {:.0} bad events",
                    lasted(incident),
                    number(incident, "/impact/affected_users"),
                    number(incident, "/impact/bad_events"),
                )),
                "acknowledged" => self.voice.say(&format!("acknowledged: {title}")),
                _ => {}
            }
            told.status = status;
        }
    }
}

/// `release=2.3.1 region=de`, the largest share first.
fn suspects(incident: &Value) -> String {
    let all = incident.get("suspects").and_then(Value::as_array).into_iter().flatten();
    let one = |suspect: &Value| {
        let terms = suspect.get("where").and_then(Value::as_object).into_iter().flatten();
        let value = |value: &Value| match value {
            Value::Array(values) => values.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("|"),
            value => value.as_str().unwrap_or_default().to_owned(),
        };
        terms.map(|(name, of)| format!("{name}={}", value(of))).collect::<Vec<_>>().join(" ")
    };
    all.map(one).filter(|text| !text.is_empty()).collect::<Vec<_>>().join(", and ")
}

fn number(json: &Value, pointer: &str) -> f64 {
    json.pointer(pointer).and_then(Value::as_f64).unwrap_or(0.0)
}

fn lasted(incident: &Value) -> String {
    let time = |name: &str| text(incident, name).parse::<Timestamp>().ok();
    let Some((from, to)) = time("opened_at").zip(time("resolved_at")) else { return "a while".to_owned() };
    let seconds = (to - from).0 / 1000;
    format!("{} min {:02} s", seconds / 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::clock::FixedClock;

    fn teller() -> Teller {
        let voice = Voice { clock: Arc::new(FixedClock::new(Timestamp(0))) };
        Teller { voice, last: 0, told: BTreeMap::new(), pages: BTreeSet::new(), over: BTreeSet::new(), deaf: false }
    }

    fn page(inbox: &Inbox, action: &str) {
        inbox.push_page(Timestamp(1), vec![], json!({ "event_action": action, "dedup_key": "k" }).to_string().as_bytes());
    }

    #[test]
    fn it_is_over_when_the_page_was_taken_back_and_the_incident_is_resolved() {
        let (mut teller, inbox) = (teller(), Inbox::new());
        let incident = |status: &str| json!({ "id": "1", "status": status, "title": "t", "suspects": [] });
        assert!(!teller.is_over(), "nothing has happened yet");
        page(&inbox, "trigger");
        teller.deliveries(&inbox);
        teller.incident(&incident("open"));
        page(&inbox, "trigger");
        page(&inbox, "resolve");
        teller.deliveries(&inbox);
        assert!(!teller.is_over(), "the incident is open");
        teller.incident(&incident("resolved"));
        assert!(teller.is_over());
        assert_eq!((teller.pages.len(), teller.last), (1, 3));
    }

    #[test]
    fn suspects_are_said_as_they_were_found() {
        let incident = json!({ "suspects": [ { "where": { "release": "2.3.1", "region": ["de", "fr"] } }, { "where": { "os": "ios" } } ] });
        assert_eq!(suspects(&incident), "region=de|fr release=2.3.1, and os=ios");
        assert_eq!(suspects(&json!({})), "");
    }
}
