//! What happened in a test, in the order of time, for a person who wonders why it failed.

use super::Found;
use super::rehearsal::{Act, Score};
use crate::domain::time::{Span, Timestamp};
use crate::domain::traffic::{Traffic, Values};

/// More than this nobody reads.
const ENTRIES_MAX: usize = 200;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub at: Timestamp,
    /// Since the start of the test.
    pub after: Span,
    pub text: String,
}

impl std::fmt::Display for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:>10}  {}", after(self.after), self.text)
    }
}

/// Everything that a test did and what came of it.
pub(super) fn entries(score: &Score<'_>, found: &Found) -> Vec<Entry> {
    let mut all: Vec<(Timestamp, u8, String)> = Vec::new();
    let mut add = |at: Timestamp, rank: u8, text: String| all.push((at, rank, text));
    for part in &score.traffic {
        let late = if part.late == Span::ZERO { String::new() } else { format!(", which arrives {} late", part.late) };
        let (at, what) = if part.at < score.start { (score.start, "before that") } else { (part.at, "traffic") };
        add(at, 6, format!("{what}: {}{late}", described(part.traffic)));
    }
    for change in &score.changes {
        let release = change.release.as_ref().map(|release| format!(" {release}")).unwrap_or_default();
        add(change.at, 8, format!("{} of {}{release}", change.kind.name(), change.app));
    }
    for (at, act) in &score.acts {
        let text = match act {
            Act::Acknowledge => "somebody acknowledges".to_owned(),
            Act::Silence { ends, .. } => format!("a silence begins, for {}", *ends - *at),
            Act::Gap { app: "*", lasts } => format!("the intake is down for {lasts}"),
            Act::Gap { app, lasts } => format!("nothing of {app} arrives for {lasts}"),
        };
        add(*at, 7, text);
    }
    for run in &found.runs {
        let group: String =
            run.labels.iter().filter(|(name, _)| !OWN.contains(&name.as_str())).map(|(name, value)| format!(" {name}={value}")).collect();
        let figures = match (run.values.burn_long, run.values.burn_short, run.values.long, run.values.short, run.values.factor) {
            (Some(burn_long), Some(burn_short), Some(long), Some(short), Some(factor)) => {
                format!(": {burn_long:.1}x over {long} and {burn_short:.1}x over {short}, the limit is {factor}x")
            }
            _ => String::new(),
        };
        let tier = run.tier.map(|tier| format!(", tier {tier}")).unwrap_or_default();
        let what = format!("alert {}{group} ({}{tier})", run.rule, run.severity.name());
        if run.pending_at < run.started_at {
            add(run.pending_at, 0, format!("{what} is pending"));
        }
        add(run.started_at, 1, format!("{what} fires{figures}"));
        if let Some(ended) = run.ended_at {
            add(ended, 1, format!("{what} ends"));
        }
    }
    for noted in &found.noted {
        add(noted.at, 2, format!("incident {}: {}", noted.incident, noted.text));
    }
    for said in &found.said {
        add(said.at, 3, format!("{} gets {}: {}", said.receiver, said.kind.name(), said.reason));
    }
    for expected in &score.expected {
        add(expected.at, 5, format!("the expectation at {} looks", expected.place));
    }
    if found.runs.is_empty() {
        add(score.end, 4, "no alert ever fired".to_owned());
    }
    all.sort_by_key(|(at, rank, _)| (*at, *rank));
    let more = all.len().saturating_sub(ENTRIES_MAX);
    all.truncate(ENTRIES_MAX);
    if more > 0 {
        all.push((score.end, 9, format!("… and {more} more")));
    }
    all.into_iter().map(|(at, _, text)| Entry { at, after: at - score.start, text }).collect()
}

/// Labels that every alert has.
const OWN: [&str; 5] = ["slo", "rule", "service", "owner", "severity"];

fn described(traffic: &Traffic) -> String {
    let rate = match traffic.per_minute.as_slice() {
        [one] => number(*one),
        several => {
            let (least, most) = (several.iter().min(), several.iter().max());
            format!("{} to {}", number(least.copied().unwrap_or(0)), number(most.copied().unwrap_or(0)))
        }
    };
    let bad = if traffic.bad_ppm == 0 { String::new() } else { format!(", {} bad", percent(traffic.bad_ppm as f64 / 1e6)) };
    let values = match &traffic.values {
        Values::Nothing => String::new(),
        Values::One(value) => format!(", value {value}"),
        Values::Quantiles(points) => {
            let points: Vec<String> = points.iter().map(|(share, value)| format!("p{} {value}", share * 100.0)).collect();
            format!(", values {}", points.join(" "))
        }
    };
    let users = traffic.users.map(|users| format!(", {users} users")).unwrap_or_default();
    let kept = if traffic.kept_ppm == 1_000_000 { String::new() } else { format!(", {} kept", percent(traffic.kept_ppm as f64 / 1e6)) };
    format!("{}, {rate} a minute{bad}{values}{users}{kept}, for {}", traffic.series, traffic.lasts)
}

fn number(millionths: i64) -> String {
    (millionths as f64 / 1e6).to_string()
}

/// A share as people say it.
pub(super) fn percent(share: f64) -> String {
    let text = format!("{:.4}", share * 100.0);
    let text = text.trim_end_matches('0').trim_end_matches('.');
    format!("{text} %")
}

/// A stretch of time as people say it: `2h 03m`.
pub(super) fn after(span: Span) -> String {
    let secs = span.0.div_euclid(1000);
    let (days, hours, minutes, secs) = (secs / 86_400, secs / 3_600 % 24, secs / 60 % 60, secs % 60);
    let mut text = String::new();
    if days > 0 {
        text.push_str(&format!("{days}d "));
    }
    if days > 0 || hours > 0 {
        text.push_str(&format!("{hours}h "));
    }
    text.push_str(&if days > 0 || hours > 0 { format!("{minutes:02}m") } else { format!("{minutes}m") });
    if secs > 0 {
        text.push_str(&format!(" {secs:02}s"));
    }
    text
}
