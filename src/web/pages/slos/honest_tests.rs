//! What a page says of burn, budget and verdict never contradicts what `/v1` says, however close to a limit it is.

use proptest::prelude::*;

use super::*;
use crate::domain::snapshot::{AlertPhase, SloStatus, TierVerdict};
use crate::web::api::slos::json_of;
use crate::web::fixture;
use crate::web::pages::incident::tier_table;

/// Values that lie at, or a hair beside, one of these.
fn near(points: Vec<f64>) -> impl Strategy<Value = f64> {
    let hair = prop_oneof![Just(0.0), -1e-9..1e-9, -1e-5..1e-5, -0.01..0.01, -0.9..0.9];
    (proptest::sample::select(points), hair).prop_map(|(point, by): (f64, f64)| point + by)
}

fn burns() -> impl Strategy<Value = Option<f64>> {
    prop_oneof![
        1 => Just(None),
        9 => near(vec![0.0, 1.0, 3.0, 6.0, 14.4, 9.995, 100.0]).prop_map(|burn| Some(burn.max(0.0))),
    ]
}

/// A status whose tiers hold exactly where both of their windows are over.
fn statuses() -> impl Strategy<Value = SloStatus> {
    let tiers = proptest::collection::vec((burns(), burns()), 4);
    (tiers, near(vec![0.0, 0.1, 1.0, -1.0]), 1_u32..2_000_000, 0.0..3.0_f64).prop_map(|(burns, left, total, spent)| {
        let mut status = fixture::status();
        for (tier, (long, short)) in status.tiers.iter_mut().zip(burns) {
            let factor = tier.factor.to_f64();
            (tier.burn_long, tier.burn_short) = (long, short);
            (tier.long_over, tier.short_over) = (long.is_some_and(|burn| burn > factor), short.is_some_and(|burn| burn > factor));
            tier.verdict = match (long, short) {
                (Some(_), Some(_)) if tier.long_over && tier.short_over => TierVerdict::Holds,
                (Some(_), Some(_)) => TierVerdict::Clear,
                _ => TierVerdict::Unknown,
            };
            tier.phase = if tier.verdict == TierVerdict::Holds { AlertPhase::Firing } else { AlertPhase::Ok };
        }
        status.severity = status.tiers.iter().filter(|tier| tier.phase == AlertPhase::Firing).map(|tier| tier.severity).max();
        status.state = match status.severity {
            Some(_) => AlertPhase::Firing,
            None if status.tiers.iter().any(|tier| tier.verdict == TierVerdict::Unknown) => AlertPhase::Unknown,
            None => AlertPhase::Ok,
        };
        status.budget_remaining = Some(left);
        status.total = f64::from(total);
        status.bad = (status.total * 0.001 * spent).floor();
        status
    })
}

fn text(markup: &str) -> String {
    let mut out = String::new();
    let mut inside = false;
    for c in markup.chars() {
        match c {
            '<' => inside = true,
            '>' => inside = false,
            c if !inside => out.push(c),
            _ => {}
        }
    }
    out.replace("&lt;", "<").replace("&gt;", ">")
}

/// `5.98×`, `> 14.4×` and `not measured` as what they claim: the side of a limit that the value is on.
fn side(shown: &str, limit: f64) -> Option<std::cmp::Ordering> {
    use std::cmp::Ordering;
    let shown = shown.trim().trim_end_matches('×');
    let of = |text: &str| text.trim().parse::<f64>().ok();
    match (shown.strip_prefix('>'), shown.strip_prefix('<')) {
        (Some(rest), _) => {
            of(rest).map(|value| if value >= limit { Ordering::Greater } else { value.partial_cmp(&limit).expect("a number") })
        }
        (_, Some(rest)) => of(rest).map(|value| if value <= limit { Ordering::Less } else { value.partial_cmp(&limit).expect("a number") }),
        (None, None) => of(shown).and_then(|value| value.partial_cmp(&limit)),
    }
}

proptest! {
    #[test]
    fn pages_and_v1_say_the_same(status in statuses()) {
        let slo = fixture::slo();
        let json = serde_json::json!(json_of(&slo, &status));
        // Each tier: its figures are on the side of the limit where the exact comparison put them, and its word says the same.
        let table = tier_table(&status).into_string();
        for (row, tier) in table.split("<tr>").skip(2).zip(&status.tiers) {
            let (_, cell) = row.split_once("<td class=\"num\">").expect("a state");
            let said = text(cell);
            let word = ["Critical", "Increasing", "Recovering", "Acceptable", "Unknown"].into_iter().find(|word| said.starts_with(word));
            let expected = match (tier.verdict, tier.long_over, tier.short_over) {
                (TierVerdict::Holds, _, _) => "Critical",
                (TierVerdict::Unknown, _, _) => "Unknown",
                (TierVerdict::Clear, false, true) => "Increasing",
                (TierVerdict::Clear, true, false) => "Recovering",
                (TierVerdict::Clear, _, _) => "Acceptable",
            };
            prop_assert_eq!(word, Some(expected), "{}", said);
            let figures = said.trim_start_matches(expected).to_owned();
            let (long, short) = figures.split_once(" and ").expect("two figures");
            for (shown, burn) in [(long, tier.burn_long), (short, tier.burn_short)] {
                match burn {
                    None => prop_assert_eq!(shown.trim(), "not measured"),
                    Some(burn) => prop_assert_eq!(side(shown, tier.factor.to_f64()), burn.partial_cmp(&tier.factor.to_f64()), "{} for {}", shown, burn),
                }
            }
        }
        // The budget: its sign, and none left is never some.
        let left = json["budget_remaining"].as_f64().expect("a number");
        let shown = number::budget(Some(left));
        prop_assert_eq!(shown.contains('−'), left < 0.0, "{} for {}", shown, left);
        prop_assert_eq!(shown.starts_with("0 %"), left == 0.0, "{} for {}", shown, left);
        // What was reached: met on the page is met in the API.
        let reached = number::reached(status.total, status.bad, slo.budget_ppm);
        let percent: f64 = reached.trim_end_matches(" %").parse().expect("a share");
        let met = status.bad * 1e6 <= status.total * f64::from(slo.budget_ppm);
        prop_assert_eq!(percent >= 99.9 - 1e-9, met, "{} of {} bad", reached, status.total);
        // The state in a word.
        let said = text(&state_flag(&slo, &status).into_string());
        match json["state"].as_str() {
            Some("firing") => prop_assert!(said.starts_with("Burning "), "{}", said),
            Some("unknown") => prop_assert!(said == "Unknown", "{}", said),
            _ => prop_assert!(!said.starts_with("Burning") && (said == "Fine") == (left > 0.0 && !status.tiers.iter().any(|tier| tier.short_over && !tier.long_over)), "{}", said),
        }
        if let Some(burn) = said.strip_prefix("Burning ") {
            let loudest = status.tiers.iter().find(|tier| tier.phase == AlertPhase::Firing && Some(tier.severity) == status.severity).expect("it fires");
            prop_assert_eq!(side(burn, loudest.factor.to_f64()), Some(std::cmp::Ordering::Greater), "{}", burn);
        }
        // The countdown is that of the burn beside it, or the API's.
        let gone = gone_in(&slo, &status);
        match firing_burn(&status) {
            Some((burn, _)) => {
                let expected = left.max(0.0) * 720.0 / burn;
                let hours = gone.expect("an end").as_secs_f64() / 3_600.0;
                prop_assert!((hours - expected).abs() <= expected * 1e-6 + 0.001, "{} h at {}", hours, burn);
            }
            None => prop_assert_eq!(gone.map(crate::domain::time::Span::as_secs_f64), json["countdown_s"].as_f64()),
        }
    }
}
