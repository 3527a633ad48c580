//! A slow oracle for `burnwatch backtest`: every window of every evaluation is summed up again from the rows, in whole
//! numbers, by the words of the specification and by none of the product's code.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::backtest::{Bench, EPOCH, M, minute};

/// A tier as it is written, lengths in minutes.
#[derive(Clone, Debug)]
struct Tier {
    long: i64,
    short: i64,
    /// In tenths.
    factor: i64,
    at_least: bool,
    pending: i64,
    keep_firing: i64,
    page: bool,
}

#[derive(Clone, Debug)]
struct Slo {
    /// Tenths of a per cent that may fail.
    budget: i64,
    window: i64,
    by_region: bool,
    min_events: i64,
    tiers: Vec<Tier>,
}

/// Weights in hundredths of an event.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    total: i128,
    bad: i128,
    raw: i128,
    raw_bad: i128,
}

#[derive(Clone, Debug)]
struct Row {
    minute: i64,
    region: &'static str,
    sum: Sum,
}

fn tier() -> impl Strategy<Value = Tier> {
    (
        1_i64..40,
        1_i64..40,
        prop_oneof![1_i64..90, (1_i64..9).prop_map(|whole| whole * 10)],
        any::<bool>(),
        prop_oneof![3 => Just(0_i64), 1 => 1_i64..8],
        prop_oneof![3 => Just(0_i64), 1 => 1_i64..8],
        any::<bool>(),
    )
        .prop_map(|(a, b, factor, at_least, pending, keep_firing, page)| Tier {
            long: a.max(b),
            short: a.min(b),
            factor,
            at_least,
            pending,
            keep_firing,
            page,
        })
}

fn slo() -> impl Strategy<Value = Slo> {
    (
        prop_oneof![10_i64..100, Just(10)],
        40_i64..200,
        any::<bool>(),
        prop_oneof![2 => Just(0_i64), 1 => 1_i64..60],
        prop::collection::vec(tier(), 1..4),
    )
        .prop_map(|(budget, window, by_region, min_events, tiers)| Slo { budget, window, by_region, min_events, tiers })
}

/// Two hours of two regions: noise, faults, weights, zeros, and gaps of one or both.
fn rows() -> impl Strategy<Value = Vec<Row>> {
    let stretch = (1_i64..25, 0_u8..8, 0_i64..60, 1_i64..30, any::<u64>());
    prop::collection::vec(stretch, 3..9).prop_map(|stretches| {
        let mut rows = Vec::new();
        let mut minute = 0;
        for (length, kind, total, share, seed) in stretches {
            let mut state = seed | 1;
            let mut random = |below: i64| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                ((state >> 33) as i64).rem_euclid(below)
            };
            for at in minute..minute + length {
                for region in ["de", "us"] {
                    // 0: nothing at all; 1: one region is missing; 2: measured zeros.
                    if kind == 0 || (kind == 1 && region == "us") {
                        continue;
                    }
                    // 4: shares that meet a factor exactly.
                    let raw = match kind {
                        2 => 0,
                        4 => 100,
                        _ => total + random(5),
                    };
                    let weight = if kind == 3 { 100 + 25 * random(20) } else { 100 };
                    let raw_bad = raw
                        * (match kind {
                            4 => share / 4,
                            5.. => share * 3,
                            _ => share / 6,
                        })
                        .min(100)
                        / 100;
                    let sum = Sum {
                        total: i128::from(raw * weight),
                        bad: i128::from(raw_bad * weight),
                        raw: i128::from(raw),
                        raw_bad: i128::from(raw_bad),
                    };
                    rows.push(Row { minute: at, region, sum });
                }
            }
            minute += length;
        }
        rows
    })
}

impl Slo {
    fn rhai(&self, name: &str) -> String {
        let tiers = self.tiers.iter().map(|tier| {
            format!(
                "{}(#{{ long: \"{}m\", short: \"{}m\", factor: {}.{}, op: \"{}\", pending: \"{}m\", keep_firing: \"{}m\" }})",
                if tier.page { "page" } else { "ticket" },
                tier.long,
                tier.short,
                tier.factor / 10,
                tier.factor % 10,
                if tier.at_least { ">=" } else { ">" },
                tier.pending,
                tier.keep_firing
            )
        });
        format!(
            "slo(\"{name}\", #{{ objective: {}.{}, window: \"{}m\", sli: good(\"request\", #{{ app: \"a\" }}), {} min_events: {}, alert: [ {} ] }});\n",
            (1000 - self.budget) / 10,
            (1000 - self.budget) % 10,
            self.window,
            if self.by_region { "by: [\"region\"]," } else { "" },
            self.min_events,
            tiers.collect::<Vec<_>>().join(", ")
        )
    }

    /// Whether `check` would let this pass: a tier that can never hold is refused, and so is a window beyond the budget's.
    fn is_allowed(&self) -> bool {
        self.tiers.iter().all(|tier| {
            let (left, right) = (tier.factor * self.budget, 10 * 1000);
            tier.long <= self.window && if tier.at_least { left <= right } else { left < right }
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Verdict {
    Holds,
    Clear,
    Unknown,
}

fn sum(rows: &[Row], region: Option<&str>, from: i64, to: i64) -> Sum {
    let mut sum = Sum::default();
    for row in rows.iter().filter(|row| (from..to).contains(&row.minute) && region.is_none_or(|region| row.region == region)) {
        sum.total += row.sum.total;
        sum.bad += row.sum.bad;
        sum.raw += row.sum.raw;
        sum.raw_bad += row.sum.raw_bad;
    }
    sum
}

/// SEMANTICS 2, 3, 5, 8, 11 for one tier at one evaluation.
fn judge(slo: &Slo, tier: &Tier, rows: &[Row], region: Option<&str>, t: i64) -> Verdict {
    let windows = [tier.long, tier.short].map(|length| {
        let covered: BTreeSet<i64> = rows.iter().map(|row| row.minute).filter(|minute| (t - length..t).contains(minute)).collect();
        (sum(rows, region, t - length, t), covered.len() as i128, i128::from(length))
    });
    if windows.iter().any(|(sum, ..)| sum.total == 0) {
        return Verdict::Unknown;
    }
    let enough = windows.iter().all(|(_, covered, length)| covered * 10 >= length * 9);
    let passes = |(sum, covered, length): &(Sum, i128, i128)| {
        // bad / total > factor / 10 × budget / 1000, times covered / length where too little was measured.
        let (mut left, mut right) = (sum.bad * 10 * 1000, i128::from(tier.factor) * i128::from(slo.budget) * sum.total);
        if !enough {
            left *= covered;
            right *= length;
        }
        if tier.at_least { left >= right } else { left > right }
    };
    let no = if enough { Verdict::Clear } else { Verdict::Unknown };
    if !windows.iter().all(passes) {
        return no;
    }
    let long = windows[0].0;
    let min_bad = if long.bad > long.raw_bad * 100 { 2 } else { 0 };
    if long.raw < i128::from(slo.min_events) || long.raw_bad < min_bad {
        return no;
    }
    Verdict::Holds
}

/// An unbroken run of firing: pending since, started, ended.
type Run = (i64, i64, Option<i64>);

/// SEMANTICS 4: the runs that follow from one verdict a minute.
fn runs(verdicts: &[(i64, Verdict)], tier: &Tier) -> Vec<Run> {
    let mut runs = Vec::new();
    // While pending: first t, and how much of the time since was known. While firing: the run, and for how long it has been clear.
    let mut pending: Option<(i64, i64)> = None;
    let mut firing: Option<(Run, Option<i64>)> = None;
    for (t, verdict) in verdicts {
        if let Some((run, clear)) = &mut firing {
            *clear = match (verdict, *clear) {
                (Verdict::Holds, _) => None,
                (Verdict::Clear, None) => Some(0),
                (Verdict::Clear, Some(known)) => Some(known + 1),
                (Verdict::Unknown, clear) => clear,
            };
            // The minute of an unknown verdict does not count, so known minutes are counted at clear verdicts only.
            if *verdict == Verdict::Clear && clear.is_some_and(|known| known >= tier.keep_firing) {
                runs.push((run.0, run.1, Some(*t)));
                firing = None;
            }
            continue;
        }
        pending = match (verdict, pending) {
            (Verdict::Holds, None) => Some((*t, 0)),
            (Verdict::Holds, Some((first, known))) => Some((first, known + 1)),
            (Verdict::Clear, _) => None,
            (Verdict::Unknown, pending) => pending,
        };
        if let (Verdict::Holds, Some((first, known))) = (verdict, pending)
            && known >= tier.pending
        {
            firing = Some(((first, *t, None), None));
            pending = None;
        }
    }
    runs.extend(firing.map(|(run, _)| run));
    runs
}

fn check(slos: &[Slo], rows: &[Row], from: i64) -> Result<(), TestCaseError> {
    let slos: Vec<&Slo> = slos.iter().filter(|slo| slo.is_allowed()).collect();
    let (Some(first), Some(last)) = (rows.iter().map(|row| row.minute).min(), rows.iter().map(|row| row.minute).max()) else {
        return Ok(());
    };
    if slos.is_empty() {
        return Ok(());
    }
    let rules: String = slos.iter().enumerate().map(|(at, slo)| slo.rhai(&format!("s{at}"))).collect();
    let mut bench = Bench::new(&rules);
    for row in rows {
        let weight = |hundredths: i128| hundredths as f64 / 100.0;
        let line = json!({
            "bucket": EPOCH + row.minute * M, "metric": "request", "dims": { "app": "a", "region": row.region },
            "total": weight(row.sum.total), "bad": weight(row.sum.bad), "raw": row.sum.raw as i64, "raw_bad": row.sum.raw_bad as i64,
        });
        let _ = writeln!(bench.rows, "{line}");
    }
    let (from, to) = (from.clamp(first, last), last + 1);
    let from_text = burnwatch::domain::time::Timestamp(EPOCH + from * M).to_string();
    let found = bench.json(&["--from", &from_text]);

    let mut expected: BTreeMap<(String, i64, String), Vec<Run>> = BTreeMap::new();
    let mut budgets: BTreeMap<(String, String), Sum> = BTreeMap::new();
    for (at, slo) in slos.iter().enumerate() {
        let name = format!("s{at}");
        let seen: BTreeSet<&str> = rows.iter().map(|row| row.region).collect();
        let groups: Vec<Option<&str>> = if slo.by_region { seen.into_iter().map(Some).collect() } else { vec![None] };
        for group in groups {
            let label = group.unwrap_or_default().to_owned();
            budgets.insert((name.clone(), label.clone()), sum(rows, group, to - slo.window, to));
            for (number, tier) in slo.tiers.iter().enumerate() {
                let verdicts: Vec<(i64, Verdict)> = (from + 1..=to).map(|t| (t, judge(slo, tier, rows, group, t))).collect();
                let runs = runs(&verdicts, tier);
                if !runs.is_empty() {
                    expected.insert((name.clone(), number as i64, label.clone()), runs);
                }
            }
        }
    }
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut fired: BTreeMap<(String, i64, String), Vec<Run>> = BTreeMap::new();
    for alert in found["alerts"].as_array().unwrap() {
        let key = (text(&alert["rule"]), alert["tier"].as_i64().unwrap(), text(&alert["labels"]["region"]));
        let ended = (!alert["ended_at"].is_null()).then(|| minute(&alert["ended_at"]));
        fired.entry(key).or_default().push((minute(&alert["pending_at"]), minute(&alert["started_at"]), ended));
    }
    prop_assert_eq!(fired, expected, "{}", rules);
    prop_assert_eq!(found["evaluations"].as_i64(), Some(to - from));

    let slos_found = found["slos"].as_array().unwrap();
    prop_assert_eq!(slos_found.len(), budgets.len());
    for budget in slos_found {
        let name = text(&budget["slo"]);
        let sum = budgets[&(name.clone(), text(&budget["labels"]["region"]))];
        prop_assert_eq!(budget["total"].as_f64().unwrap(), sum.total as f64 / 100.0);
        prop_assert_eq!(budget["bad"].as_f64().unwrap(), sum.bad as f64 / 100.0);
        let slo = slos[name[1..].parse::<usize>().unwrap()];
        match sum.total {
            0 => prop_assert!(budget["budget_remaining"].is_null()),
            total => {
                let remaining = 1.0 - sum.bad as f64 / total as f64 * 1000.0 / slo.budget as f64;
                let have = budget["budget_remaining"].as_f64().unwrap();
                prop_assert!((have - remaining).abs() < 1e-9, "{} for {}", have, remaining);
                if sum.bad == 0 {
                    prop_assert!(budget["pace_s"].is_null() && budget["countdown_s"].is_null());
                } else {
                    let pace = slo.window as f64 * 60.0 / (1.0 - remaining);
                    prop_assert!((budget["pace_s"].as_f64().unwrap() / pace - 1.0).abs() < 1e-9);
                    let countdown = remaining.max(0.0) * pace;
                    prop_assert!((budget["countdown_s"].as_f64().unwrap() - countdown).abs() <= 1e-6 * pace);
                }
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 200, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn alerts_and_budgets_are_those_of_a_slow_recomputation(
        slos in prop::collection::vec(slo(), 4..8),
        rows in rows(),
        from in 0_i64..60,
    ) {
        check(&slos, &rows, from)?;
    }
}
