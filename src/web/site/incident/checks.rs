//! Whether the figures can be believed: what was measured, how late, and how F1 to F7 stood for its app when it opened, and stand now.

use crate::domain::incident::{Footing, Incident};
use crate::domain::notification::{ChangeKind, Status};
use crate::domain::rule::Labels;
use crate::domain::rule::Slo;
use crate::domain::snapshot::Snapshot;
use crate::domain::time::Span;
use crate::web::icon::Tone;
use crate::web::number;
use crate::web::pages::health;
use crate::web::pages::incident::{Check, Drawing, Then};
use crate::web::query::AskSlo;
use crate::web::site::Site;
use crate::web::site::telemetry;
use crate::web::state::State;

/// The checks of telemetry that are told app by app, and what their figures are about.
const TOLD: [(&str, &str); 4] = [("F1", "volume"), ("F3", "regions"), ("F4", "clocks"), ("F7", "traces")];
/// Events that are later than that change figures after the fact.
const LATE_MAX: Span = Span::minutes(2);
/// How long what was read of the opening is shown before it is read anew: rows that came late may have changed it.
const FRESH: Span = Span::minutes(10);
const TIMEOUT: std::time::Duration = std::time::Duration::from_secs(5);

/// Everything that the checks are made from.
pub struct Seen<'a> {
    pub snapshot: &'a Snapshot,
    pub incident: &'a Incident,
    pub drawing: &'a Drawing,
    pub now: Option<&'a health::Telemetry>,
    pub then: Option<&'a Then>,
}

/// What can be said of one thing at one time.
struct Said {
    /// Equal for then and now.
    key: &'static str,
    tone: Tone,
    said: String,
}

fn said(key: &'static str, fine: bool, said: String) -> Said {
    Said { key, tone: if fine { Tone::Fine } else { Tone::Ticket }, said }
}

/// What stored history says of the opening; `None` while it is being read.
pub async fn then(site: &Site, incident: &Incident, of: Option<(&Slo, &Labels)>) -> Option<std::sync::Arc<Then>> {
    let (state, opened, now) = (site.state.clone(), incident.opened_at, site.now);
    let tell = state.clone();
    let told = move || tell.pulse.send_modify(|n| *n = n.wrapping_add(1));
    let ask = of.map(|(slo, group)| {
        let to = opened.floor(Span::MINUTE);
        AskSlo { slo: slo.name.clone(), group: group.clone(), from: to - Span::HOUR, to, step: Span::MINUTE }
    });
    let read = || async move {
        let measured = match ask {
            Some(ask) => measured(&state, ask).await,
            None => None,
        };
        Then { measured, telemetry: telemetry::back_then(&state, opened).await }
    };
    site.state.memory.openings.get(incident.id.clone(), (now, FRESH), told, read).await
}

/// How many of the steps that are asked for were measured.
async fn measured(state: &State, ask: AskSlo) -> Option<(usize, usize)> {
    let points = tokio::time::timeout(TIMEOUT, state.query.slo(ask)).await.ok()?.ok()?;
    Some((points.iter().filter(|point| point.counts.is_some()).count(), points.len()))
}

/// What speaks for and against the figures.
pub fn checks(seen: &Seen<'_>) -> Vec<Check> {
    let Seen { snapshot, incident, .. } = seen;
    let app = &incident.explained.app;
    let mut then = Vec::new();
    then.extend(seen.then.and_then(|then| then.measured).map(|(measured, all)| coverage(measured, all, "minutes before it")));
    then.extend(incident.footing.iter().flat_map(footing));
    then.extend(seen.then.into_iter().flat_map(|then| told(&then.telemetry, app)));
    let mut now = Vec::new();
    if let Drawing::Chart(chart) = seen.drawing {
        let done: Vec<_> = chart.steps.iter().filter(|step| !step.partial).collect();
        let measured = done.iter().filter(|step| step.counts.is_some()).count();
        let step = crate::web::chart::draw::step_words(chart.step);
        now.push(coverage(measured, done.len(), &format!("steps of the chart (1 {step})")));
    }
    now.extend(footing(&Footing::new(snapshot.events_late, snapshot.silent_apps.clone(), snapshot.folded)));
    now.extend(seen.now.into_iter().flat_map(|telemetry| told(&telemetry.checks, app)));
    let mut checks = side_by_side(then, now, incident.status == Status::Resolved, seen.then.is_some());
    checks.extend(of_the_incident(incident));
    checks
}

/// Then, with what differs now. Figures of what is over are old news, but not that its telemetry has changed for the worse or better.
fn side_by_side(then: Vec<Said>, now: Vec<Said>, over: bool, read: bool) -> Vec<Check> {
    let differs = |then: &Said, now: &Said| now.tone != then.tone || (!over && then.key != "measured" && now.said != then.said);
    let mut checks: Vec<Check> = Vec::new();
    let mut known: Vec<&'static str> = Vec::new();
    for one in then {
        let current = now.iter().find(|now| now.key == one.key).filter(|now| differs(&one, now));
        known.push(one.key);
        checks.push(Check { tone: one.tone, now: current.map(|now| (now.tone, now.said.clone())), said: one.said });
    }
    // While history is being read nobody can say yet that it knows nothing.
    for one in now.into_iter().filter(|now| read && !known.contains(&now.key)) {
        let said = format!("{}: not known of then", one.key);
        checks.push(Check { tone: Tone::Unknown, said, now: (!over).then_some((one.tone, one.said)) });
    }
    checks
}

fn coverage(measured: usize, all: usize, of: &str) -> Said {
    said("measured", measured * 10 >= all * 9, format!("{measured} of {all} {of} measured"))
}

/// What an evaluation sees of the telemetry as a whole.
fn footing(footing: &Footing) -> Vec<Said> {
    let mut all = Vec::new();
    if let Some(late) = footing.late {
        all.push(said("late events", late < LATE_MAX, format!("events late by {} (P95)", number::duration(late))));
    }
    all.push(match footing.silent.is_empty() {
        true => said("silent apps", true, "every app that should send does".into()),
        false => said("silent apps", false, format!("silent: {}", footing.silent.join(", "))),
    });
    if footing.folded > 0 {
        let words = format!("{} values folded into __other__; totals are exact", number::count(footing.folded as f64));
        all.push(Said { tone: Tone::Info, ..said("folded values", true, words) });
    }
    all
}

/// What the incident itself says, which changes with it.
fn of_the_incident(incident: &Incident) -> Vec<Check> {
    let check = |fine: bool, said: String| Check { tone: if fine { Tone::Fine } else { Tone::Ticket }, said, now: None };
    let sampling = incident.changes.iter().any(|change| change.kind == ChangeKind::Sampling);
    let words = if sampling { "a sampling change near its start" } else { "no sampling change reported near its start" };
    let mut checks = vec![check(!sampling, words.into())];
    if incident.impact.affected_users > 0 {
        let users = incident.impact.affected_users;
        let who = if users == 1 { "user" } else { "users" };
        checks.push(check(users > 2, format!("{} distinct {who} so far", number::exact(users as f64))));
    }
    checks
}

/// How the telemetry of one app stands.
fn told(checks: &[health::Check], app: &str) -> Vec<Said> {
    let of = |(name, about): &(&str, &'static str)| {
        let check = checks.iter().find(|check| check.name.starts_with(name))?;
        let signal = check.signals.iter().find(|signal| signal.app == app && !app.is_empty())?;
        let usual = if signal.usual.is_empty() { String::new() } else { format!(" ({})", signal.usual) };
        Some(Said { key: about, tone: signal.tone, said: format!("{about}: {}{usual}", signal.figure) })
    };
    TOLD.iter().filter_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::fixture;
    use crate::web::pages::health::{Check as Told, Signal, Telemetry};

    fn regions(tone: Tone, figure: &str) -> Told {
        let signal = |app: &str, tone, figure: &str| Signal {
            app: app.into(),
            tone,
            figure: figure.into(),
            usual: "usually 50 %".into(),
            trend: vec![],
            band: None,
            since: None,
        };
        let signals = vec![signal("shop", tone, figure), signal("blog", Tone::Fine, "calm")];
        Told { name: "F3 region shares", means: "", signals }
    }

    fn incident() -> Incident {
        let mut incident = fixture::incident();
        incident.explained.app = "shop".into();
        incident.footing = Some(Footing::new(Some(Span::seconds(4)), vec![], 0));
        incident
    }

    fn seen(incident: &Incident, then: Option<&Then>, now: Told, late: Span) -> Vec<Check> {
        let snapshot = Snapshot { events_late: Some(late), ..Snapshot::default() };
        let telemetry = Telemetry { checks: vec![now], ..Telemetry::default() };
        checks(&Seen { snapshot: &snapshot, incident, drawing: &Drawing::None, now: Some(&telemetry), then })
    }

    fn of<'c>(checks: &'c [Check], start: &str) -> &'c Check {
        checks.iter().find(|check| check.said.starts_with(start)).unwrap_or_else(|| panic!("{start} in {checks:?}"))
    }

    #[test]
    fn what_was_found_at_the_opening_stands_first_and_now_beside_it_where_it_differs() {
        let then = Then { measured: Some((60, 60)), telemetry: vec![regions(Tone::Fine, "most moved: de, 51 %")] };
        let found = seen(&incident(), Some(&then), regions(Tone::Ticket, "most moved: de, 90 %"), Span::minutes(9));
        let late = of(&found, "events late by 4 s");
        assert_eq!((late.tone, late.now.clone()), (Tone::Fine, Some((Tone::Ticket, "events late by 9 min (P95)".into()))));
        let moved = of(&found, "regions: most moved: de, 51 % (usually 50 %)");
        assert_eq!(moved.now, Some((Tone::Ticket, "regions: most moved: de, 90 % (usually 50 %)".into())));
        assert_eq!(of(&found, "60 of 60 minutes before it").tone, Tone::Fine);
        assert_eq!(of(&found, "every app").now, None, "what is as it was is said once");
        let same = seen(&incident(), Some(&then), regions(Tone::Fine, "most moved: de, 51 %"), Span::seconds(4));
        assert!(same.iter().all(|check| check.now.is_none()), "{same:?}");
    }

    #[test]
    fn what_nobody_kept_is_not_known_and_is_not_taken_from_now() {
        let old = Incident { footing: None, ..incident() };
        let found = seen(&old, Some(&Then::default()), regions(Tone::Ticket, "moved"), Span::seconds(4));
        let late = of(&found, "late events: not known of then");
        assert_eq!((late.tone, late.now.as_ref().map(|now| now.0)), (Tone::Unknown, Some(Tone::Fine)));
        assert_eq!(of(&found, "regions: not known of then").tone, Tone::Unknown);
        let reading = seen(&incident(), None, regions(Tone::Ticket, "moved"), Span::seconds(4));
        assert!(reading.iter().all(|check| !check.said.contains("not known")), "it is being read: {reading:?}");
    }

    #[test]
    fn of_an_incident_that_is_over_only_another_verdict_is_news() {
        let over = Incident { status: Status::Resolved, ..incident() };
        let then = Then { measured: None, telemetry: vec![regions(Tone::Fine, "most moved: de, 51 %")] };
        let found = seen(&over, Some(&then), regions(Tone::Fine, "most moved: fr, 52 %"), Span::minutes(9));
        assert_eq!(of(&found, "regions: ").now, None);
        assert!(of(&found, "events late by 4 s").now.is_some());
    }

    #[test]
    fn the_telemetry_of_another_app_says_nothing() {
        let mut incident = incident();
        incident.explained.app = String::new();
        let found = seen(&incident, Some(&Then::default()), regions(Tone::Ticket, "moved"), Span::seconds(4));
        assert!(found.iter().all(|check| !check.said.starts_with("regions")), "{found:?}");
    }
}
