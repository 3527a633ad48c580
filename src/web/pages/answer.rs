//! What somebody sees who follows a link in a mail: what it is about, and one button.

use maud::{Markup, html};

use crate::domain::incident::Incident;
use crate::domain::time::Timestamp;
use crate::web::frame::{Page, Place};
use crate::web::icon::Tone;
use crate::web::number;
use crate::web::pages::incident::path;
use crate::web::text::{Plain, clip};

/// Asks before anything happens: whatever fetches links in mails only sees this.
pub fn confirm(incident: &Incident, receiver: &str, ends: Timestamp, now: Timestamp) -> Page {
    let body = html! {
        div.head { h1 { "Acknowledge this?" } }
        section.card aria-label="The incident" {
            (about(incident, now))
            p { "Escalation and reminders stop, and everybody who was told of it is told that it is acknowledged. It speaks up again when it gets louder." }
            // Without an action the form goes to the page's own address, which holds the signature.
            form.actions method="post" {
                button."btn"."primary" { "Acknowledge" }
                a.btn href=(path(&incident.id)) { "Open the incident" }
            }
        }
        p."small"."muted" { "This link was sent to " b { (Plain(&clip(receiver, 80))) } ", acknowledges this incident and nothing else, and ends " (number::time(ends, now)) ". The history will say that it was used." }
    };
    Page::new("Acknowledge", Place::Elsewhere, body)
}

/// What came of it, or why nothing did.
pub fn said(title: &str, what: &str, incident: Option<&Incident>, now: Timestamp) -> Page {
    let body = html! {
        div.head { h1 { (Plain(title)) } }
        p.lede role="status" { (Plain(what)) }
        @if let Some(incident) = incident { section.card aria-label="The incident" { (about(incident, now)) } }
        div.actions {
            @if let Some(incident) = incident { a.btn.primary href=(path(&incident.id)) { "Open the incident" } }
            a.btn href="/" { "On call" }
        }
    };
    Page::new(title, Place::Elsewhere, body)
}

fn about(incident: &Incident, now: Timestamp) -> Markup {
    let tone = Tone::from(incident.severity);
    html! {
        p { b { (tone.icon().svg()) " " (Plain(&clip(&incident.title, 200))) } }
        p.muted {
            (incident.severity.name())
            @if !incident.service.is_empty() { ", " (Plain(&clip(&incident.service, 80))) }
            ", since " (number::time(incident.opened_at, now))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::fixture::{HOSTILE, NOW, assert_inert, hostile_incident, incident, render};

    #[test]
    fn hostile_words_stay_words() {
        assert_inert(&render(NOW, |_| confirm(&hostile_incident(), HOSTILE, NOW, NOW)));
        assert_inert(&render(NOW, |_| said(HOSTILE, HOSTILE, Some(&hostile_incident()), NOW)));
    }

    #[test]
    fn the_page_asks_and_the_button_answers() {
        let page = render(NOW, |_| confirm(&incident(), "team-mail", NOW, NOW));
        assert!(page.contains("<form class=\"actions\" method=\"post\">") && page.contains("team-mail"), "{page}");
    }
}
