//! F2, F5, F6 and the intake: what the daemon counts by itself since it started.

use std::collections::BTreeMap;

use super::{percent, plain, sorted};
use crate::domain::snapshot::Snapshot;
use crate::domain::time::Span;
use crate::web::number;
use crate::web::pages::health::{Check, Intake, OUTCOMES, Signal};

/// Events that may be refused, in parts of all.
const LOSS_MAX: f64 = 0.01;

/// F2: more is collected than is worth it.
pub fn over_collection(snapshot: &Snapshot, max: usize) -> Check {
    let room = (snapshot.series as f64) < 0.9 * max as f64;
    let figure = format!("{} series, {} events folded", number::exact(snapshot.series as f64), number::exact(snapshot.folded as f64));
    let usual = format!("at most {}: `aggregation.series_max`", number::exact(max as f64));
    let signals = vec![plain(room && snapshot.folded == 0, figure, &usual)];
    Check { name: "F2 over-collection", means: "beyond the limit values stand as `__other__`; totals stay exact", signals }
}

/// F5: what comes later than figures wait for it.
pub fn late(late: Option<Span>, settle: Span) -> Check {
    let (name, means) = ("F5 late reporting", "what comes later than `aggregation.settle` changes figures after the fact");
    let Some(late) = late else { return Check::unknown(name, means, "no event has come since the daemon started") };
    let signals =
        vec![plain(late <= settle, format!("{} (P95)", number::duration(late)), &format!("at most {}", number::duration(settle)))];
    Check { name, means, signals }
}

/// The sums of a counter by the value of one of its labels.
fn counter(metrics: &str, name: &str, label: &str) -> BTreeMap<String, f64> {
    let mut found: BTreeMap<String, f64> = BTreeMap::new();
    for ([key], value) in pairs(metrics, name, [label]) {
        *found.entry(key).or_default() += value;
    }
    found
}

/// The values of a counter with these labels of each.
fn pairs<'m, const N: usize>(metrics: &'m str, name: &'m str, labels: [&'m str; N]) -> impl Iterator<Item = ([String; N], f64)> + 'm {
    metrics.lines().filter_map(move |line| {
        let (have, value) = line.strip_prefix(name)?.strip_prefix('{')?.rsplit_once("} ")?;
        let of = |label: &str| have.split(',').find_map(|pair| pair.strip_prefix(label)?.strip_prefix("=\"")?.strip_suffix('"'));
        let mut found = [const { String::new() }; N];
        for (slot, label) in found.iter_mut().zip(labels) {
            of(label)?.clone_into(slot);
        }
        Some((found, value.trim().parse().ok()?))
    })
}

fn most_first(counts: BTreeMap<String, f64>) -> Vec<(String, f64)> {
    let mut counts: Vec<(String, f64)> = counts.into_iter().filter(|(_, count)| *count > 0.0).collect();
    counts.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    counts
}

const EVENTS: &str = "burnwatch_intake_events_total";
const REJECTED: &str = "burnwatch_intake_rejected_total";
const REDACTED: &str = "burnwatch_intake_redacted_total";

/// What beacons came to, by protocol and outcome.
pub fn intake(metrics: &str) -> Intake {
    let mut protocols: BTreeMap<String, [f64; 5]> = BTreeMap::new();
    for ([protocol, outcome], value) in pairs(metrics, EVENTS, ["protocol", "outcome"]) {
        if let Some(at) = OUTCOMES.iter().position(|known| *known == outcome) {
            protocols.entry(protocol).or_default()[at] += value;
        }
    }
    protocols.retain(|_, counts| counts.iter().any(|count| *count > 0.0));
    Intake {
        protocols: protocols.into_iter().collect(),
        reasons: most_first(counter(metrics, REJECTED, "reason")),
        redacted: most_first(counter(metrics, REDACTED, "field")),
    }
}

/// F6: what had to be removed from texts, by app.
pub fn redactions(metrics: &str) -> Check {
    let (name, means) =
        ("F6 personal data", "addresses, tokens and card-like numbers are removed before anything is stored; the app should not send them");
    let fields = most_first(counter(metrics, REDACTED, "field"));
    if fields.is_empty() {
        return Check { name, means, signals: vec![plain(true, "none since the daemon started".into(), "")] };
    }
    let mut signals: Vec<Signal> = most_first(counter(metrics, REDACTED, "app"))
        .into_iter()
        .map(|(app, count)| Signal { app, ..plain(false, format!("{} since the daemon started", number::exact(count)), "") })
        .collect();
    if signals.is_empty() {
        let listed: Vec<String> = fields.iter().take(8).map(|(field, count)| format!("{field} {}", number::exact(*count))).collect();
        signals.push(plain(false, listed.join(", "), ""));
    }
    sorted(Check { name, means, signals })
}

/// Events that clients sent and that were not taken.
pub fn loss(metrics: &str) -> Check {
    let (name, means) = ("intake loss", "what is refused is not measured; reasons are in the answers that clients get");
    let outcomes = counter(metrics, EVENTS, "outcome");
    let all: f64 = outcomes.values().sum();
    if all <= 0.0 {
        return Check::unknown(name, means, "no beacon has come since the daemon started");
    }
    let rejected = outcomes.get("rejected").copied().unwrap_or(0.0);
    let figure = format!("{} of {} events refused", number::exact(rejected), number::exact(all));
    Check { name, means, signals: vec![plain(rejected <= all * LOSS_MAX, figure, &format!("at most {}", percent(LOSS_MAX)))] }
}

/// whether one source makes the news.
pub fn one_source(metrics: &str) -> Check {
    let (name, means) = (
        "one source",
        "beyond `intake.influence_per_source` events of one network or person are refused, so that none makes good or bad news alone",
    );
    let refused = counter(metrics, REJECTED, "reason").get("source_share").copied().unwrap_or(0.0);
    let share = metrics.lines().find_map(|line| line.strip_prefix("burnwatch_intake_top_source_share ")?.trim().parse::<f64>().ok());
    let Some(share) = share else {
        return Check::unknown(name, means, "nothing came from other machines, or `intake.influence_per_source` is 0");
    };
    let figure =
        format!("the largest share of a network in a metric's minute is {}, {} events refused", percent(share), number::exact(refused));
    Check { name, means, signals: vec![plain(refused == 0.0, figure, "")] }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::icon::Tone;

    fn tone(check: &Check) -> Tone {
        check.signals[0].tone
    }

    #[test]
    fn one_source_that_sends_too_much_is_told() {
        let share = "burnwatch_intake_top_source_share 0.25\n";
        let refused = format!("burnwatch_intake_rejected_total{{reason=\"source_share\"}} 7\n{share}");
        assert_eq!(["", share, &refused].map(|metrics| tone(&one_source(metrics))), [Tone::Unknown, Tone::Fine, Tone::Ticket]);
        let figure = &one_source(&refused).signals[0].figure;
        assert!(figure.contains("25 %") && figure.contains("7 events refused"));
    }

    #[test]
    fn counters_are_read_by_their_labels_and_none_is_left_out() {
        let metrics = "burnwatch_intake_events_total{protocol=\"rum\",outcome=\"accepted\"} 97\nburnwatch_intake_events_total{protocol=\"otlp\",outcome=\"rejected\"} 3\nburnwatch_intake_events_total{protocol=\"faro\",outcome=\"accepted\"} 0\nburnwatch_intake_redacted_total{field=\"text\",app=\"shop\"} 4\nburnwatch_intake_rejected_total{reason=\"no_app\"} 3\nburnwatch_intake_rejected_total{reason=\"too_old\"} 0\n";
        let found = intake(metrics);
        assert_eq!(found.protocols, [("otlp".to_owned(), [0.0, 0.0, 3.0, 0.0, 0.0]), ("rum".to_owned(), [97.0, 0.0, 0.0, 0.0, 0.0])]);
        assert_eq!(found.reasons, [("no_app".to_owned(), 3.0)], "a reason that never was is not listed");
        assert_eq!(tone(&loss(metrics)), Tone::Ticket);
        let private = redactions(metrics);
        assert_eq!((tone(&private), private.signals[0].app.as_str()), (Tone::Ticket, "shop"));
        assert_eq!((tone(&loss("")), tone(&redactions(""))), (Tone::Unknown, Tone::Fine));
    }

    #[test]
    fn late_is_what_figures_do_not_wait_for() {
        let settle = Span::seconds(30);
        let tones = [None, Some(Span::seconds(4)), Some(Span::seconds(31))].map(|span| tone(&late(span, settle)));
        assert_eq!(tones, [Tone::Unknown, Tone::Fine, Tone::Ticket]);
    }
}
