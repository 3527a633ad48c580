//! Whether the figures can be believed: what is measured, how late, and how F1 to F7 stand for its app.

use crate::domain::incident::Incident;
use crate::domain::notification::ChangeKind;
use crate::domain::snapshot::Snapshot;
use crate::domain::time::Span;
use crate::web::icon::Tone;
use crate::web::number;
use crate::web::pages::health::Telemetry;
use crate::web::pages::incident::{Check, Drawing};

/// The checks of telemetry that are told app by app, and what their figures are about.
const TOLD: [(&str, &str); 4] = [("F1", "volume"), ("F3", "regions"), ("F4", "clocks"), ("F7", "traces")];

/// What speaks for and against the figures.
pub fn checks(snapshot: &Snapshot, incident: &Incident, drawing: &Drawing, telemetry: Option<&Telemetry>) -> Vec<Check> {
    let check = |fine: bool, said: String| Check { tone: if fine { Tone::Fine } else { Tone::Ticket }, said };
    let mut checks = Vec::new();
    if let Drawing::Chart(chart) = drawing {
        let done: Vec<_> = chart.steps.iter().filter(|step| !step.partial).collect();
        let measured = done.iter().filter(|step| step.counts.is_some()).count();
        let step = crate::web::chart::draw::step_words(chart.step);
        checks.push(check(measured * 10 >= done.len() * 9, format!("{measured} of {} steps (1 {step}) measured", done.len())));
    }
    if let Some(late) = snapshot.events_late {
        checks.push(check(late < Span::minutes(2), format!("events late by {} (P95)", number::duration(late))));
    }
    let silent = snapshot.silent_apps.len();
    checks.push(match silent {
        0 => check(true, "every app that should send does".into()),
        _ => check(false, format!("silent: {}", snapshot.silent_apps.join(", "))),
    });
    let sampling = incident.changes.iter().any(|change| change.kind == ChangeKind::Sampling);
    checks.push(check(
        !sampling,
        if sampling { "a sampling change near its start".into() } else { "no sampling change reported near its start".into() },
    ));
    checks.extend(telemetry.into_iter().flat_map(|telemetry| told(telemetry, &incident.explained.app)));
    if incident.impact.affected_users > 0 {
        let users = incident.impact.affected_users;
        checks.push(check(users > 2, format!("{} distinct {}", number::exact(users as f64), if users == 1 { "user" } else { "users" })));
    }
    if snapshot.folded > 0 {
        checks.push(Check {
            tone: Tone::Info,
            said: format!("{} values folded into __other__; totals are exact", number::count(snapshot.folded as f64)),
        });
    }
    checks
}

/// How the telemetry of one app stands.
fn told(telemetry: &Telemetry, app: &str) -> Vec<Check> {
    let of = |(name, about): &(&str, &str)| {
        let check = telemetry.checks.iter().find(|check| check.name.starts_with(name))?;
        let signal = check.signals.iter().find(|signal| signal.app == app && !app.is_empty())?;
        let usual = if signal.usual.is_empty() { String::new() } else { format!(" ({})", signal.usual) };
        Some(Check { tone: signal.tone, said: format!("{about}: {}{usual}", signal.figure) })
    };
    TOLD.iter().filter_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::fixture;
    use crate::web::pages::health::{Check as Told, Signal};

    #[test]
    fn telemetry_of_the_app_speaks_for_or_against_its_figures() {
        let signal = |app: &str, tone, figure: &str| Signal {
            app: app.into(),
            tone,
            figure: figure.into(),
            usual: "usually 50 %".into(),
            trend: vec![],
            band: None,
            since: None,
        };
        let signals = vec![signal("shop", Tone::Ticket, "most moved: de"), signal("blog", Tone::Fine, "calm")];
        let telemetry = Telemetry { checks: vec![Told { name: "F3 region shares", means: "", signals }], ..Telemetry::default() };
        let mut incident = fixture::incident();
        incident.explained.app = "shop".into();
        let found = checks(&Snapshot::default(), &incident, &Drawing::None, Some(&telemetry));
        let regions = found.iter().find(|check| check.said.starts_with("regions")).expect("it is told");
        assert_eq!((regions.tone, regions.said.as_str()), (Tone::Ticket, "regions: most moved: de (usually 50 %)"));
        incident.explained.app = String::new();
        assert!(
            checks(&Snapshot::default(), &incident, &Drawing::None, Some(&telemetry))
                .iter()
                .all(|check| !check.said.starts_with("regions"))
        );
    }
}
