//! The incident page, with an incident as it looks at night.

use super::*;
use crate::web::fixture;

#[test]
fn the_five_answers_stand_in_their_order_before_all_evidence() {
    let text = fixture::render(fixture::NOW, |reader| page(&fixture::incident_model(&fixture::incident(), reader)));
    let at = |needle: &str| text.find(needle).unwrap_or_else(|| panic!("{needle} is missing"));
    let order = ["Who is hit", "Where", "Since", "What changed", "What to do", "Acknowledge", "What it looks like"];
    assert!(order.windows(2).all(|pair| at(&format!(">{}<", pair[0])) < at(&format!(">{}<", pair[1]))));
    for answer in ["1.9k users", "eu-west, release 2.3.1", ">02:51<", "◆ deploy shop 2.3.1", "Roll back 2.3.1"] {
        assert!(text.contains(answer), "{answer}");
    }
    assert!(text.contains("<title>Page, open: checkout-api, 1.9k users hit · burnwatch</title>"));
    assert_eq!(text.matches("<h1").count(), 1);
}

#[test]
fn hostile_text_is_inert_on_the_incident_page() {
    let incident = fixture::hostile_incident();
    let text = fixture::render(fixture::NOW, |reader| page(&fixture::incident_model(&incident, reader)));
    fixture::assert_inert(&text);
}

#[test]
fn without_the_scope_there_is_no_form_and_a_line_says_why() {
    let reader = Reader { name: "ci".into(), ..Reader::default() };
    let incident = fixture::incident();
    let text = page(&fixture::incident_model(&incident, &reader)).body.into_string();
    assert!(!text.contains("<form") && text.contains("scope"));
}

#[test]
fn nothing_known_is_said_and_not_shown_as_zero() {
    let mut incident = fixture::incident();
    incident.impact = Default::default();
    incident.explained = Default::default();
    incident.changes.clear();
    let text = fixture::render(fixture::NOW, |reader| page(&fixture::incident_model(&incident, reader)));
    for words in ["Not measured yet", "Not known", "Nothing known"] {
        assert!(text.contains(words), "{words}");
    }
    assert!(!text.contains(">0 users"));
}

#[test]
fn of_an_incident_that_is_over_nothing_is_asked() {
    let reader = Reader { name: "mira".into(), operate: true, ..Reader::default() };
    let open = fixture::incident();
    let over = Incident { status: Status::Resolved, resolved_at: Some(fixture::NOW), ..fixture::incident() };
    let pages = |incident: &Incident| {
        [snooze(incident, [None; 4], fixture::NOW, &reader), assign(incident, &[], &reader), resolve(incident, &reader)]
            .map(|page| page.body.into_string())
    };
    assert!(pages(&open).iter().all(|text| text.contains("<form") && !text.contains("It is resolved")));
    for text in pages(&over) {
        assert!(!text.contains("<form") && text.contains("It is resolved: "), "{text}");
    }
}
