//! Debian's promtool judges the same history as `burnwatch backtest`: burn-rate tiers as recording and alerting rules, and at
//! every evaluation the same alerts have to fire.
//!
//! How the two are aligned: bucket `[t - 1m, t)` is the sample of a gauge at `t`, so that both evaluate at the end of a bucket. Our
//! window W sees the n buckets that start in `[t - W, t)`, which are the samples in `(t - W, t]`. Prometheus 2 takes range
//! selectors as `[t - W, t]`, closed at both ends, Prometheus 3 as `(t - W, t]`; a range that is half a minute shorter than W
//! holds exactly the n samples in both. Sums of gauges need no extrapolation, which `increase` would bring in. What Prometheus
//! cannot say stays out: it knows no unknown, so every minute has traffic and the windows are full when the comparison begins.

use std::fmt::Write as _;
use std::process::Command;

use super::backtest::{Bench, EPOCH, M, minute};

struct Tier {
    long: i64,
    short: i64,
    /// In tenths.
    factor: i64,
    pending: i64,
    keep_firing: i64,
}

/// Tiers over an objective of 99.9 %.
const TIERS: [Tier; 5] = [
    Tier { long: 60, short: 5, factor: 144, pending: 0, keep_firing: 0 },
    Tier { long: 360, short: 30, factor: 60, pending: 0, keep_firing: 0 },
    Tier { long: 480, short: 120, factor: 30, pending: 0, keep_firing: 0 },
    // "3x15m": over 3x within five minutes, and that for a quarter of an hour.
    Tier { long: 5, short: 5, factor: 30, pending: 15, keep_firing: 0 },
    Tier { long: 30, short: 5, factor: 60, pending: 3, keep_firing: 10 },
];

/// Minutes of health that fill the longest window, and minutes that are compared.
const WARM: i64 = 480;
const COMPARED: i64 = 720;

/// Total and bad of each minute: a day's shape with noise, and faults of many lengths and strengths.
fn history(seed: u64) -> Vec<(i64, i64)> {
    let mut state = seed | 1;
    let mut random = |below: i64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 33) as i64).rem_euclid(below)
    };
    let (mut rows, mut share, mut left) = (Vec::new(), 0, 0);
    for at in 0..WARM + COMPARED {
        if left == 0 && at >= WARM {
            let longest = [4, 30, 90][random(3) as usize];
            left = 1 + random(longest);
            // In ten thousandths: health, a slow burn, a fast one, an outage.
            share = [0, 0, 5, 35, 70, 170, 2_000, 10_000][random(8) as usize];
        }
        left = (left - 1).max(0);
        let total = 1_000 + 400 * ((at / 60) % 3) + random(97);
        rows.push((total, (total * share + random(10_000)) / 10_000));
    }
    rows
}

/// Which tiers fire at each minute, as `burnwatch backtest` says.
fn ours(rows: &[(i64, i64)]) -> Vec<Vec<bool>> {
    let tiers = TIERS.iter().map(|tier| {
        let Tier { long, short, factor, pending, keep_firing } = tier;
        let factor = format!("{}.{}", factor / 10, factor % 10);
        format!("page(#{{ long: \"{long}m\", short: \"{short}m\", factor: {factor}, pending: \"{pending}m\", keep_firing: \"{keep_firing}m\" }})")
    });
    let tiers = tiers.collect::<Vec<_>>().join(", ");
    let mut bench = Bench::new(&format!(
        "slo(\"s\", #{{ objective: 99.9, service: \"s\", sli: good(\"request\", #{{ app: \"a\" }}), alert: [ {tiers} ] }});"
    ));
    for (at, (total, bad)) in rows.iter().enumerate() {
        let bucket = EPOCH + at as i64 * M;
        let _ = writeln!(bench.rows, r#"{{"bucket":{bucket},"metric":"request","dims":{{"app":"a"}},"total":{total},"bad":{bad}}}"#);
    }
    let from = burnwatch::domain::time::Timestamp(EPOCH + WARM * M).to_string();
    let found = bench.json(&["--from", &from]);
    let mut firing = vec![vec![false; TIERS.len()]; rows.len() + 1];
    for alert in found["alerts"].as_array().unwrap() {
        let tier = alert["tier"].as_u64().unwrap() as usize;
        let end = if alert["ended_at"].is_null() { rows.len() as i64 + 1 } else { minute(&alert["ended_at"]) };
        for t in minute(&alert["started_at"])..end {
            firing[t as usize][tier] = true;
        }
    }
    firing
}

/// The same tiers as rules of Prometheus.
fn rules() -> String {
    let mut text = String::from("groups:\n- name: burn\n  interval: 1m\n  rules:\n");
    let mut lengths: Vec<i64> = TIERS.iter().flat_map(|tier| [tier.long, tier.short]).collect();
    lengths.sort_unstable();
    lengths.dedup();
    for length in lengths {
        let range = format!("{}s", length * 60 - 30);
        let _ = writeln!(text, "  - record: ratio:{length}m\n    expr: sum_over_time(bad[{range}]) / sum_over_time(total[{range}])");
    }
    for (at, Tier { long, short, factor, pending, keep_firing }) in TIERS.iter().enumerate() {
        let limit = format!("({factor} / 10 * 0.001)");
        let _ = writeln!(
            text,
            "  - alert: tier{at}\n    expr: ratio:{long}m > {limit} and ratio:{short}m > {limit}\n    for: {pending}m\n    keep_firing_for: {keep_firing}m"
        );
    }
    text
}

/// What promtool is to expect: the samples, and the alerts that fire at each minute.
fn expectations(rows: &[(i64, i64)], firing: &[Vec<bool>]) -> String {
    let values = |of: fn(&(i64, i64)) -> i64| rows.iter().map(|row| of(row).to_string()).collect::<Vec<_>>().join(" ");
    // The sample at minute 0 would be the bucket before the first one.
    let mut text = format!(
        "rule_files: [rules.yml]\nevaluation_interval: 1m\ntests:\n- interval: 1m\n  input_series:\n  - series: total\n    values: _ {}\n  - series: bad\n    values: _ {}\n  alert_rule_test:\n",
        values(|row| row.0),
        values(|row| row.1)
    );
    for (t, tiers) in firing.iter().enumerate().skip(WARM as usize + 1) {
        for (tier, fires) in tiers.iter().enumerate() {
            let alerts = if *fires { "[{}]" } else { "[]" };
            let _ = writeln!(text, "  - {{eval_time: {t}m, alertname: tier{tier}, exp_alerts: {alerts}}}");
        }
    }
    text
}

/// Whether promtool agrees, and what it says.
fn agrees(rows: &[(i64, i64)], firing: &[Vec<bool>]) -> (bool, String) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("rules.yml"), rules()).unwrap();
    std::fs::write(folder.path().join("test.yml"), expectations(rows, firing)).unwrap();
    let output = Command::new("promtool").args(["test", "rules", "test.yml"]).current_dir(folder.path()).output();
    let output = output.expect("promtool is there: tests/run installs Debian's prometheus");
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.success(), said.chars().take(4_000).collect())
}

#[test]
fn promtool_fires_at_the_same_minutes() {
    let mut fired = [0; TIERS.len()];
    for seed in [1, 7, 2_026] {
        let rows = history(seed);
        let firing = ours(&rows);
        for tiers in &firing {
            tiers.iter().zip(&mut fired).for_each(|(fires, count)| *count += usize::from(*fires));
        }
        let (agrees, said) = agrees(&rows, &firing);
        assert!(agrees, "seed {seed}: {said}");
    }
    // The comparison says nothing of a tier that never, or always, fires.
    assert!(fired.iter().all(|count| (20..3 * COMPARED as usize - 20).contains(count)), "{fired:?}");

    let rows = history(1);
    let mut wrong = ours(&rows);
    let first = wrong.iter().position(|tiers| tiers[0]).expect("it fires");
    wrong[first - 1][0] = true;
    assert!(!agrees(&rows, &wrong).0, "a minute too many must not pass");
}
