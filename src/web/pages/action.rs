//! Calling an action (a roll back, a flag turned off): what will happen, before it happens.

use maud::html;

use super::incident::{below, path};
use crate::domain::incident::Incident;
use crate::domain::notification::Status;
use crate::domain::time::Timestamp;
use crate::web::frame::{Page, Reader};
use crate::web::icon::{Tone, flag};
use crate::web::number;
use crate::web::text::{Plain, clip, segment};

/// The page's model.
pub struct Model<'a> {
    pub incident: &'a Incident,
    pub name: &'a str,
    pub label: &'a str,
    /// The host that is called.
    pub target: String,
    pub dry_run: bool,
    /// When it was asked for before, and how that stands.
    pub earlier: Option<(Timestamp, String)>,
    pub now: Timestamp,
    pub reader: &'a Reader,
}

/// The page.
pub fn page(model: &Model<'_>) -> Page {
    let here = path(&model.incident.id);
    let over = model.incident.status == Status::Resolved;
    let body = html! {
        section.card aria-label="Confirm" {
            p {
                @if model.dry_run { (flag(Tone::Info, "Dry run")) " The rules keep this action from calling anything: it is only noted." }
                @else { "burnwatch calls " b { (Plain(&clip(&model.target, 120))) } " once, with this incident. What that does is decided there: burnwatch cannot take it back." }
            }
            p { "It is written into the time line and the audit under your name." }
            @if let Some((at, state)) = &model.earlier {
                p { (flag(Tone::Ticket, "Asked for before")) " at " (number::time(*at, model.now)) " UTC: " (Plain(&clip(state, 60))) ". An action runs once in the life of an incident: a second call does nothing if the first went through." }
            }
            @if over { p { (flag(Tone::Fine, "Resolved")) " The incident is over: there is nothing to call it for." } }
            @else if model.reader.operate {
                div.actions {
                    form method="post" action={ (here) "/act/" (segment(model.name)) } { (model.reader.token()) button."btn"."primary" { (Plain(&clip(model.label, 60))) } }
                    a.btn href=(here) { "Leave it" }
                }
            } @else { (model.reader.hint()) }
        }
    };
    below(model.incident, model.label, model.label, body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::fixture::{self, HOSTILE, NOW, assert_inert, render};

    fn shown(incident: &Incident, text: &str) -> String {
        let earlier = Some((NOW, text.to_owned()));
        render(NOW, |reader| {
            page(&Model { incident, name: text, label: text, target: text.into(), dry_run: false, earlier, now: NOW, reader })
        })
    }

    #[test]
    fn an_action_is_confirmed_and_not_offered_when_it_is_over() {
        let mut incident = fixture::incident();
        let text = shown(&incident, "deploy.example.com");
        assert!(text.contains("cannot take it back") && text.contains("action=\"/incidents/4127/act/deploy.example.com\""), "{text}");
        incident.status = Status::Resolved;
        assert!(!shown(&incident, "x").contains("action=\"/incidents/4127/act/x\""));
        assert_inert(&shown(&fixture::hostile_incident(), HOSTILE));
    }
}
