//! The raw material of a review: an incident as Markdown and as JSON.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State as Take};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};

use super::Site;
use super::incident::entries;
use crate::domain::incident::Incident;
use crate::domain::notification::Verdict;
use crate::store::{events, incidents, outbox, transition};
use crate::web::api;
use crate::web::number;
use crate::web::pages::incident::Entry;
use crate::web::problem::Problem;
use crate::web::state::State;
use crate::web::text::plain;

pub async fn json(Take(state): Take<Arc<State>>, Path(id): Path<String>) -> Response {
    match api::incidents::with_history(&state, &id).await {
        Ok(json) => ([attachment(&id, "json")], Json(json)).into_response(),
        Err(problem) => problem.into_response(),
    }
}

pub async fn markdown(site: Site, Path(id): Path<String>) -> Response {
    let text = async {
        let mut tx = site.state.store.read().await?;
        let row = incidents::get(&mut tx, &id).await?.ok_or_else(|| Problem::unknown("incident", &id))?;
        let incident = transition::read(&row)?;
        let history = events::list(&mut tx, &id).await?;
        let deliveries = outbox::for_incident(&mut tx, &id).await?;
        Ok::<_, Problem>(write(&incident, &entries(&incident, &history, &deliveries)))
    };
    match text.await {
        Ok(text) => {
            let kind = (header::CONTENT_TYPE, HeaderValue::from_static("text/markdown; charset=utf-8"));
            ([kind, attachment(&id, "md")], text).into_response()
        }
        Err(problem) => site.show(Err(problem)).await,
    }
}

fn attachment(id: &str, extension: &str) -> (header::HeaderName, HeaderValue) {
    let name: String = id.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').take(40).collect();
    let value = HeaderValue::from_str(&format!("attachment; filename=\"incident-{name}.{extension}\"")).expect("the name is plain ASCII");
    (header::CONTENT_DISPOSITION, value)
}

/// Text that stays text in Markdown, on one line: in a code span, which nothing inside can end.
pub fn code(text: &str) -> String {
    let line: String = plain(text).split_whitespace().collect::<Vec<_>>().join(" ").replace('`', "'");
    if line.is_empty() { "-".into() } else { format!("`{line}`") }
}

fn write(incident: &Incident, entries: &[Entry]) -> String {
    let mut out = String::new();
    let mut line = |text: String| writeln!(out, "{text}").expect("a string takes every write");
    line(format!("# Incident {}\n", code(&incident.id)));
    line(format!("{}\n", code(&incident.title)));
    line(format!("- severity: {}, status: {}", incident.severity, incident.status.name()));
    line(format!("- service: {}, owner: {}", code(&incident.service), code(&incident.owner)));
    line(format!("- began: {}", incident.window_start));
    line(format!("- opened: {} ({} after it began)", incident.opened_at, number::duration(incident.opened_at - incident.window_start)));
    if let Some(at) = incident.acknowledged_at {
        line(format!("- acknowledged: {at} ({} after it opened)", number::duration(at - incident.opened_at)));
    }
    if let Some(at) = incident.resolved_at {
        line(format!("- resolved: {at} (lasted {})", number::duration(at - incident.opened_at)));
    }
    let impact = &incident.impact;
    let users = if impact.affected_users == 0 {
        number::NOT_MEASURED.to_owned()
    } else {
        format!("{} (± 2 %)", number::exact(impact.affected_users as f64))
    };
    line(format!("- users hit: {users}; failed events: {}", number::exact(impact.bad_events)));
    line(format!("- budget spent in it: {}", number::signed_percent(impact.budget_consumed)));
    line(format!("- rules: {}\n", code(&incident.revision)));
    line("## Segments\n".into());
    if incident.explained.suspects.is_empty() {
        line("None was named.".into());
    }
    for suspect in &incident.explained.suspects {
        let terms: Vec<String> = suspect.terms.iter().map(|(name, values)| format!("{name} = {}", values.all().join(" or "))).collect();
        line(format!(
            "- {}: {} of the failures, {} of the traffic",
            code(&terms.join(", ")),
            number::share(suspect.bad_share),
            number::share(suspect.traffic_share)
        ));
    }
    line("\n## Alerts\n".into());
    for member in &incident.members {
        let end = member.ended_at.map_or_else(|| "still firing".to_owned(), |at| format!("ended {at}"));
        line(format!("- {} ({}), from {}, {end}: {}", code(&member.rule), member.severity, member.started_at, code(&member.summary)));
    }
    line("\n## Gaps\n".into());
    let gaps = gaps(incident);
    if gaps.is_empty() {
        line("None was found: users, segment, change, traces, runbook and acknowledgement are all there.".into());
    }
    for gap in gaps {
        line(format!("- {gap}"));
    }
    line("\n## Time line\n".into());
    for entry in entries.iter().rev() {
        let who = if entry.who.is_empty() { String::new() } else { format!(" by {}", code(&entry.who)) };
        line(format!("- {} {} {}{who}", entry.at, entry.what, code(&entry.said)));
    }
    out
}

/// What a review would like to know and cannot: each is work for somebody.
fn gaps(incident: &Incident) -> Vec<&'static str> {
    let explained = &incident.explained;
    let known = [
        (incident.impact.affected_users > 0, "how many users were hit was not measured: events carry no user"),
        (explained.verdict != Verdict::Unknown, "no segment could be named, nor could it be said that none stands out"),
        (!incident.changes.is_empty(), "no deploy, flag or sampling change was reported near its start"),
        (incident.members.iter().any(|member| !member.traces.is_empty()), "no failed request had a trace"),
        (incident.runbook.is_some(), "its rules name no runbook"),
        (incident.acknowledged_at.is_some(), "nobody acknowledged it"),
    ];
    known.into_iter().filter(|(known, _)| !known).map(|(_, gap)| gap).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::fixture;

    #[test]
    fn hostile_text_stays_in_its_code_span() {
        let incident = fixture::hostile_incident();
        let text = write(&incident, &entries(&incident, &[], &[]));
        assert!(!text.contains('\u{202e}'));
        for line in text.lines().filter(|line| line.contains("<script>")) {
            let before = &line[..line.find("<script>").unwrap()];
            assert_eq!(before.matches('`').count() % 2, 1, "{line}");
        }
        assert_eq!(code("a`b\n# c"), "`a'b # c`");
    }

    #[test]
    fn what_is_not_known_is_listed_as_a_gap() {
        let mut incident = fixture::incident();
        assert_eq!(gaps(&incident), ["nobody acknowledged it"]);
        incident.impact.affected_users = 0;
        incident.changes.clear();
        incident.runbook = None;
        assert_eq!(gaps(&incident).len(), 4);
        let text = write(&incident, &[]);
        assert!(text.contains("## Gaps") && text.contains("- its rules name no runbook"), "{text}");
    }
}
