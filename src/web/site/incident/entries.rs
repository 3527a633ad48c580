//! What happened, newest first, and how the last word to each receiver went.

use std::collections::BTreeMap;

use crate::domain::incident::Incident;
use crate::domain::notification::ChangeKind;
use crate::domain::rule::Severity;
use crate::domain::snapshot::Snapshot;
use crate::store::events::EventRow;
use crate::store::outbox::OutboxRow;
use crate::web::api::outbox::short_kind;
use crate::web::icon::{Icon, Tone};
use crate::web::pages::incident::{Entry, Told, ToldState};
use crate::web::pages::{plain_change, receiver_words};

/// History, deliveries and changes as one list, newest first.
pub fn entries(incident: &Incident, events: &[EventRow], deliveries: &[OutboxRow]) -> Vec<Entry> {
    let entry = |at, icon, tone, what: &str, said: &str| Entry {
        at,
        icon,
        tone,
        what: what.into(),
        said: said.into(),
        who: String::new(),
        url: None,
    };
    let mut entries: Vec<Entry> = Vec::new();
    for event in events {
        let loud = Tone::from(incident.severity);
        let (icon, tone, what) = match event.kind.as_str() {
            "opened" => (loud.icon(), Some(loud), "Opened"),
            "alert_fired" => (loud.icon(), Some(loud), "Alert"),
            "alert_ended" => (Icon::Fine, Some(Tone::Fine), "Alert"),
            "severity" => (Icon::Rising, Some(Tone::Ticket), "Severity"),
            "acknowledged" => (Icon::Fine, Some(Tone::Info), "Acknowledged"),
            "unacknowledged" => (Icon::Rising, Some(Tone::Ticket), ""),
            "owner" => (Icon::Change, Some(Tone::Info), ""),
            "action" => (Icon::Change, Some(Tone::Info), "Action"),
            "acknowledgement_voided" => (Icon::Rising, Some(Tone::Page), "Not acknowledged any more"),
            "snoozed" => (Icon::Dot, None, "Snoozed"),
            "woken" => (Icon::Rising, Some(Tone::Ticket), "Woken"),
            "resolved" => (Icon::Fine, Some(Tone::Fine), "Resolved"),
            "note" => (Icon::Info, Some(Tone::Info), "Note"),
            "held_back" => (Icon::Unknown, Some(Tone::Unknown), "Held back"),
            "explained" => (Icon::Dot, None, "Explained"),
            "grouped" => (Icon::Dot, None, "Same cause"),
            "reopened" => (loud.icon(), Some(loud), "Reopened"),
            // The deliveries below say this with how it went.
            "notified" | "digested" => continue,
            _ => (Icon::Dot, None, ""),
        };
        // `acknowledged by mira` after `Acknowledged` would say it twice.
        let text = event.text.strip_prefix("one cause with ").filter(|_| event.kind == "grouped").unwrap_or(&event.text);
        let said = strip_word(text, what);
        let who = if event.kind == "note" || !event.text.contains(&event.who) { event.who.clone() } else { String::new() };
        entries.push(Entry { who, ..entry(event.at, icon, tone, what, said) });
    }
    for row in deliveries {
        let at = row.finished_at.unwrap_or(row.created_at);
        let name = format!("{} ({})", row.receiver, short_kind(&row.kind));
        entries.push(match row.state.as_str() {
            "delivered" if short_kind(&row.kind) == "opened" && incident.severity == Severity::Page => {
                entry(at, Icon::Page, Some(Tone::Page), "Told", &name)
            }
            "delivered" => entry(at, Icon::Info, Some(Tone::Info), "Told", &name),
            "dead" => entry(at, Icon::Page, Some(Tone::Page), "Gave up telling", &format!("{name}: {}", row.last_error)),
            "discarded" | "suppressed" => entry(at, Icon::Unknown, Some(Tone::Unknown), "Not told", &format!("{name}: {}", row.last_error)),
            _ => entry(at, Icon::Rising, Some(Tone::Ticket), "Telling", &name),
        });
    }
    for change in &incident.changes {
        let what = match change.kind {
            ChangeKind::Deploy => "Deploy",
            ChangeKind::Flag => "Flag",
            ChangeKind::Sampling => "Sampling",
            ChangeKind::Other => "Change",
        };
        let said = plain_change(change);
        let said = said.strip_prefix(change.kind.name()).map(str::trim).unwrap_or(&said).to_owned();
        entries.push(Entry { url: change.url.clone(), ..entry(change.at, Icon::Change, None, what, &said) });
    }
    if incident.window_start < incident.opened_at {
        entries.push(entry(incident.window_start, Icon::Dot, None, "", "First failing step (found afterwards)"));
    }
    entries.sort_by_key(|entry| std::cmp::Reverse(entry.at));
    entries
}

fn strip_word<'a>(text: &'a str, word: &str) -> &'a str {
    match text.get(..word.len()) {
        Some(start) if !word.is_empty() && start.eq_ignore_ascii_case(word) => text[word.len()..].trim_start_matches([':', ' ']),
        _ => text,
    }
}

/// How the last word to each receiver went, and who was held back.
pub fn told(snapshot: &Snapshot, incident: &Incident, deliveries: &[OutboxRow]) -> Vec<Told> {
    let mut latest: BTreeMap<&str, &OutboxRow> = BTreeMap::new();
    for row in deliveries {
        let have = latest.entry(&row.receiver).or_insert(row);
        if row.sequence >= have.sequence {
            *have = row;
        }
    }
    let kind = |name: &str| snapshot.rules.receiver(name).map_or("", |receiver| receiver_words(&receiver.kind)).to_owned();
    let mut rows: Vec<Told> = latest
        .into_iter()
        .map(|(receiver, row)| Told {
            receiver: receiver.into(),
            kind: kind(receiver),
            at: row.finished_at.unwrap_or(row.created_at),
            state: match row.state.as_str() {
                "delivered" => ToldState::Delivered,
                "dead" => ToldState::Dead(row.last_error.clone()),
                "discarded" | "suppressed" => ToldState::HeldBack(row.last_error.clone()),
                _ if row.attempts > 0 => ToldState::Retrying { error: row.last_error.clone(), attempts: row.attempts, next: row.due_at },
                _ => ToldState::OnItsWay,
            },
        })
        .collect();
    for (receiver, told) in &incident.told {
        if let Some(held) = &told.held_by {
            let at = told.at.or(told.waiting_since).unwrap_or(incident.opened_at);
            rows.push(Told { receiver: receiver.clone(), kind: kind(receiver), at, state: ToldState::HeldBack(held.clone()) });
        }
    }
    rows.sort_by_key(|told| told.at);
    rows
}
