//! A slow oracle for what stands between a burn and a verdict: confidence, sampled events, burn by the traffic of the whole period,
//! and composites. At every evaluation each window is summed up again from single events, in whole numbers, by the words of the
//! specification and by none of the product's code.
//!
//! The Wilson bound is not computed here: that its lower bound passes a limit says that `p > limit` and `n (p - limit)² > z² limit (1 - limit)`,
//! which whole numbers decide.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use burnwatch::domain::cell::Counts;
use burnwatch::domain::evaluate::{Evaluator, Settings};
use burnwatch::domain::metric::Metric;
use burnwatch::domain::series::{Series, SeriesId};
use burnwatch::domain::snapshot::TierVerdict;
use burnwatch::domain::time::{Span, Timestamp};
use burnwatch::rules::{Env, load};
use proptest::prelude::*;

/// A Monday.
const START: Timestamp = Timestamp(1_767_571_200_000);
const MINUTES: i64 = 150;
const DAY: i64 = 1_440;
const WEEK: i64 = 7 * DAY;

/// Confidences, and their quantiles of the normal distribution in millionths, from a printed table.
const CONFIDENCES: [(&str, i128); 4] = [("0.9", 1_281_552), ("0.95", 1_644_854), ("0.99", 2_326_348), ("0.999", 3_090_232)];

/// Weights that events may have, in tenths of an event.
const WEIGHTS: [i64; 5] = [10, 10, 25, 100, 1_000];

/// The events of each measured minute: weight in tenths, and whether it is bad.
type Minutes = BTreeMap<i64, Vec<(i64, bool)>>;

#[derive(Clone, Copy, Debug)]
struct Tier {
    long: i64,
    short: i64,
    /// In tenths.
    factor: i64,
    at_least: bool,
}

#[derive(Clone, Copy, Debug)]
struct Guards {
    min_events: i64,
    min_bad: Option<i64>,
    confidence: Option<usize>,
}

const NONE: Guards = Guards { min_events: 0, min_bad: None, confidence: None };

/// What one window holds: weights in tenths, squares of weights in hundredths, minutes.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    total: i128,
    bad: i128,
    raw: i128,
    raw_bad: i128,
    squares: i128,
    covered: i128,
    of: i128,
}

impl Sums {
    fn is_enough(&self) -> bool {
        self.covered * 10 >= self.of * 9
    }
}

fn sums(minutes: &Minutes, from: i64, to: i64) -> Sums {
    let mut sums = Sums { of: i128::from(to - from), ..Sums::default() };
    for events in minutes.range(from..to).map(|(_, events)| events) {
        sums.covered += 1;
        for (weight, bad) in events {
            let weight = i128::from(*weight);
            sums.total += weight;
            sums.raw += 1;
            sums.squares += weight * weight;
            if *bad {
                sums.bad += weight;
                sums.raw_bad += 1;
            }
        }
    }
    sums
}

/// Whether one number passes another, as the tier's operator says.
fn over(tier: &Tier, left: i128, right: i128) -> bool {
    if tier.at_least { left >= right } else { left > right }
}

/// What a tier over `budget` thousandths says of two windows. `season`: events of the period in tenths, and its minutes. `None`: the
/// bound is too close to the limit for six digits of a quantile.
fn judge(budget: i64, guards: &Guards, tier: &Tier, windows: [Sums; 2], season: Option<(i128, i128)>) -> Option<TierVerdict> {
    if windows.iter().any(|window| window.total == 0) {
        return Some(TierVerdict::Unknown);
    }
    let enough = windows.iter().all(Sums::is_enough);
    let no = if enough { TierVerdict::Clear } else { TierVerdict::Unknown };
    let limit = i128::from(tier.factor) * i128::from(budget);
    let passes = |(at, window): (usize, &Sums)| {
        let (of, all) = season.map_or((window.total, 1), |(events, length)| (events * i128::from([tier.long, tier.short][at]), length));
        let (measured, whole) = if enough { (1, 1) } else { (window.covered, window.of) };
        over(tier, window.bad * 10_000 * all * measured, limit * of * whole)
    };
    if !windows.iter().enumerate().all(passes) {
        return Some(no);
    }
    let long = windows[0];
    let weighted = long.bad > long.raw_bad * 10;
    let min_bad = guards.min_bad.unwrap_or(if weighted { 2 } else { 0 });
    if long.raw < i128::from(guards.min_events) || long.raw_bad < i128::from(min_bad) {
        return Some(no);
    }
    let Some(confidence) = guards.confidence else { return Some(TierVerdict::Holds) };
    let (measured, whole) = if enough { (1, 1) } else { (long.covered, long.of) };
    // p = bad × measured / (total × whole), limit / 10,000, n = total² / squares.
    let above = long.bad * measured * 10_000 - limit * long.total * whole;
    let sure = |quantile: i128| {
        let left = above * above * 1_000_000_000_000;
        above > 0 && left > quantile * quantile * limit * (10_000 - limit) * long.squares * whole * whole
    };
    let quantile = CONFIDENCES[confidence].1;
    let (low, high) = (sure(quantile - 1), sure(quantile + 1));
    (low == high).then_some(if low { TierVerdict::Holds } else { no })
}

/// Feeds an evaluator what happens in a minute.
fn feed(evaluator: &mut Evaluator, series: u32, minute: i64, events: &[(i64, bool)]) {
    let mut counts = Counts::ZERO;
    events.iter().for_each(|(weight, bad)| counts += Counts::event(weight * 100_000, *bad));
    evaluator.add_with(SeriesId(series), START.0 / Span::MINUTE.0 + minute, counts, true, |_| Counts::ZERO);
}

fn evaluator(rules: &str, apps: &[&str]) -> Evaluator {
    let loaded = load(&[("a.rhai".to_owned(), rules.to_owned())].into(), &Env::defaults());
    assert!(loaded.is_good(), "{rules}\n{:?}", loaded.problems);
    let settings = Settings { bucket: Span::MINUTE, delays: BTreeMap::new() };
    let mut evaluator = Evaluator::new(Arc::new(loaded.set.unwrap()), settings, START, START);
    for (number, app) in apps.iter().enumerate() {
        evaluator.add_series(SeriesId(number as u32), &Series::new(Metric::Request, [("app".into(), (*app).into())]));
    }
    evaluator
}

fn tier_rhai(tier: &Tier) -> String {
    let op = if tier.at_least { ">=" } else { ">" };
    let (whole, tenth) = (tier.factor / 10, tier.factor % 10);
    format!("page(#{{ long: \"{}m\", short: \"{}m\", factor: {whole}.{tenth}, op: \"{op}\" }})", tier.long, tier.short)
}

fn slo_rhai(name: &str, sli: &str, budget: i64, guards: &Guards, more: &str, tiers: &[Tier]) -> String {
    let mut text = format!("slo(\"{name}\", #{{ objective: {}.{}, sli: {sli}, {more}", (1_000 - budget) / 10, (1_000 - budget) % 10);
    let _ = write!(text, " min_events: {},", guards.min_events);
    if let Some(least) = guards.min_bad {
        let _ = write!(text, " min_bad: {least},");
    }
    if let Some(confidence) = guards.confidence {
        let _ = write!(text, " confidence: {},", CONFIDENCES[confidence].0);
    }
    let tiers: Vec<String> = tiers.iter().map(tier_rhai).collect();
    let _ = writeln!(text, " alert: [ {} ] }});", tiers.join(", "));
    text
}

/// What `check` lets pass: a tier that a total outage satisfies.
fn can_hold(tier: &Tier, budget: i64) -> bool {
    let (burn, most) = (tier.factor * budget, 10_000);
    if tier.at_least { burn <= most } else { burn < most }
}

fn tier() -> impl Strategy<Value = Tier> {
    (1_i64..45, 1_i64..45, 1_i64..60, any::<bool>()).prop_map(|(a, b, factor, at_least)| Tier {
        long: a.max(b),
        short: a.min(b),
        factor,
        at_least,
    })
}

fn guards() -> impl Strategy<Value = Guards> {
    (
        prop_oneof![2 => Just(0_i64), 1 => 1_i64..40],
        prop::option::of(0_i64..6),
        prop_oneof![1 => Just(None), 3 => (0..CONFIDENCES.len()).prop_map(Some)],
    )
        .prop_map(|(min_events, min_bad, confidence)| Guards { min_events, min_bad, confidence })
}

/// Stretches of minutes: gaps, measured zeros, health, faults, and rates of sampling that change.
fn minutes(length: i64) -> impl Strategy<Value = Minutes> {
    let stretch = (1_i64..30, 0_u8..7, 1_usize..14, 0_u32..100, 0..WEIGHTS.len(), any::<u64>());
    prop::collection::vec(stretch, 5..12).prop_map(move |stretches| {
        let mut minutes = Minutes::from([(0, vec![(10, false)])]);
        let mut minute = 1;
        for (lasts, kind, count, share, weight, seed) in stretches {
            let mut state = seed | 1;
            let mut random = |below: u64| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 33) % below
            };
            for at in minute..(minute + lasts).min(length) {
                match kind {
                    0 => continue,
                    1 => minutes.insert(at, Vec::new()),
                    // All errors are kept, what is healthy is sampled.
                    2 => minutes.insert(
                        at,
                        (0..count).map(|_| random(100) < 10).map(|bad| (if bad { 10 } else { WEIGHTS[weight] }, bad)).collect(),
                    ),
                    _ => {
                        let share = if kind == 3 { share } else { share / 6 };
                        minutes.insert(at, (0..count).map(|_| (WEIGHTS[weight], random(100) < u64::from(share))).collect())
                    }
                };
            }
            minute += lasts;
        }
        minutes
    })
}

fn check_guards(slos: &[(i64, Guards, Vec<Tier>)], minutes: &Minutes) -> Result<(), TestCaseError> {
    let mut rules = String::new();
    let mut kept = Vec::new();
    for (number, (budget, guards, tiers)) in slos.iter().enumerate() {
        let tiers: Vec<Tier> = tiers.iter().copied().filter(|tier| can_hold(tier, *budget)).collect();
        let sli = "good(\"request\", #{ app: \"a\" })";
        rules += &slo_rhai(&format!("s{number}"), sli, *budget, guards, "window: \"2h\",", &tiers);
        kept.push((*budget, *guards, tiers));
    }
    let mut evaluator = evaluator(&rules, &["a"]);
    for t in 1..=MINUTES {
        if let Some(events) = minutes.get(&(t - 1)) {
            feed(&mut evaluator, 0, t - 1, events);
        }
        evaluator.advance(true);
        for status in evaluator.statuses() {
            let (budget, guards, tiers) = &kept[status.slo[1..].parse::<usize>().unwrap()];
            for (tier, shown) in tiers.iter().zip(&status.tiers) {
                let windows = [tier.long, tier.short].map(|length| sums(minutes, t - length, t));
                let Some(expected) = judge(*budget, guards, tier, windows, None) else { continue };
                prop_assert_eq!(shown.verdict, expected, "{} at {}: {:?}\n{:?}\n{}", &status.slo, t, tier, windows, &rules);
            }
        }
    }
    Ok(())
}

/// SEMANTICS 10 around the moment at which a week of history is there.
fn check_traffic(days: i64, budget: i64, tiers: &[Tier], traffic: &[i64], last: &Minutes) -> Result<(), TestCaseError> {
    const BEFORE: i64 = 40;
    let tiers: Vec<Tier> = tiers.iter().copied().filter(|tier| can_hold(tier, budget)).collect();
    let more = format!("window: \"{days}d\", traffic_corrected: true,");
    let rules = slo_rhai("s", "good(\"request\", #{ app: \"a\" })", budget, &NONE, &more, &tiers);
    // A row every hour, by the shape of a day; then what happens by the minute.
    let mut minutes: Minutes = (0..WEEK - BEFORE)
        .step_by(60)
        .map(|minute| (minute, vec![(10 * traffic[(minute / 60) as usize % traffic.len()].max(1), false)]))
        .collect();
    minutes.extend(last.iter().map(|(minute, events)| (WEEK - BEFORE + minute, events.clone())));
    let mut evaluator = evaluator(&rules, &["a"]);
    for t in 1..=WEEK + 80 {
        if let Some(events) = minutes.get(&(t - 1)) {
            feed(&mut evaluator, 0, t - 1, events);
        }
        if t < WEEK - 30 {
            evaluator.replay(true);
            continue;
        }
        evaluator.advance(true);
        let period = (days * DAY).min(t);
        let season = (t >= WEEK).then(|| (sums(&minutes, t - period, t).total, i128::from(period)));
        let statuses = evaluator.statuses();
        for (tier, shown) in tiers.iter().zip(&statuses[0].tiers) {
            let windows = [tier.long, tier.short].map(|length| sums(&minutes, t - length, t));
            let expected = judge(budget, &NONE, tier, windows, season).unwrap();
            prop_assert_eq!(shown.verdict, expected, "at {} {:?} {:?}\n{}", t, tier, season, &rules);
        }
    }
    Ok(())
}

/// Three SLOs of three apps, and composites over them.
#[derive(Clone, Debug)]
struct Family {
    members: [(i64, i64, Minutes); 3],
    weights: [i64; 3],
    min_events: i64,
    tiers: Vec<Tier>,
    /// Which members' burn is held against the traffic of their period of so many days (SEMANTICS 10).
    corrected: [bool; 3],
    days: i64,
}

fn family() -> impl Strategy<Value = Family> {
    let member = || (20_i64..150, prop_oneof![2 => Just(0_i64), 1 => 1_i64..60], minutes(MINUTES));
    let weight = || 1_i64..8;
    let tiers = prop::collection::vec(tier(), 1..4);
    ((member(), member(), member()), (weight(), weight(), weight()), prop_oneof![2 => Just(0_i64), 1 => 1_i64..150], tiers).prop_map(
        |((a, b, c), (x, y, z), min_events, tiers)| Family {
            members: [a, b, c],
            weights: [x, y, z],
            min_events,
            tiers,
            corrected: [false; 3],
            days: 1,
        },
    )
}

impl Family {
    fn rules(&self, tiers: &[Tier]) -> String {
        let mut rules = String::new();
        for (number, (budget, min_events, _)) in self.members.iter().enumerate() {
            let guards = Guards { min_events: *min_events, ..NONE };
            let sli = format!("good(\"request\", #{{ app: \"a{number}\" }})");
            let more = format!("window: \"{}d\", traffic_corrected: {},", self.days, self.corrected[number]);
            rules += &slo_rhai(&format!("m{number}"), &sli, *budget, &guards, &more, &[]);
        }
        let [x, y, z] = self.weights;
        let guards = Guards { min_events: self.min_events, ..NONE };
        for (name, sli) in [
            ("worst", "composite([\"m0\", \"m1\", \"m2\"])".to_owned()),
            ("mean", format!("composite([\"m0\", \"m1\", \"m2\"], \"weighted\", [{x}, {y}, {z}])")),
            // A mean of a mean and a third.
            ("pair", format!("composite([\"m0\", \"m1\"], \"weighted\", [{x}, {y}])")),
            ("nested", format!("composite([\"pair\", \"m2\"], \"weighted\", [{y}, {z}])")),
            ("worst-of-mean", "composite([\"pair\", \"m2\"], \"worst\")".to_owned()),
        ] {
            // A composite's own objective decides nothing: its members have theirs.
            rules += &slo_rhai(name, &sli, 20, &guards, &format!("window: \"{}d\",", self.days), tiers);
        }
        rules
    }

    fn windows(&self, tier: &Tier, member: usize, t: i64) -> [Sums; 2] {
        [tier.long, tier.short].map(|length| sums(&self.members[member].2, t - length, t))
    }

    /// Events of a member's period in tenths, and its minutes, where its burn is held against them.
    fn season(&self, member: usize, t: i64) -> Option<(i128, i128)> {
        let period = (self.days * DAY).min(t);
        (self.corrected[member] && t >= WEEK).then(|| (sums(&self.members[member].2, t - period, t).total, i128::from(period)))
    }

    /// Whether one of the members holds; what none of them says is unknown if one of them is.
    fn worst(&self, tier: &Tier, members: &[usize], t: i64) -> TierVerdict {
        let verdicts = members.iter().map(|member| {
            let (budget, min_events, _) = &self.members[*member];
            judge(*budget, &Guards { min_events: *min_events, ..NONE }, tier, self.windows(tier, *member, t), self.season(*member, t))
                .unwrap()
        });
        verdicts.fold(TierVerdict::Clear, worse)
    }

    /// The mean of the members' burns against the factor; `shares` are what each weighs of the whole.
    fn mean(&self, tier: &Tier, shares: &[(usize, Fraction)], min_events: i64, t: i64) -> TierVerdict {
        let windows: Vec<(usize, Fraction, [Sums; 2])> =
            shares.iter().map(|(member, share)| (*member, *share, self.windows(tier, *member, t))).collect();
        let measured = windows.iter().all(|(_, _, windows)| windows.iter().all(|window| window.total > 0 && window.is_enough()));
        // Times the length of the window, and times its minutes where some of them are missing: they are the same for all members.
        let burns = |at: usize| {
            let length = i128::from([tier.long, tier.short][at]);
            windows.iter().fold(Fraction(0, 1), |sum, (member, share, windows)| {
                let window = windows[at];
                // What was not measured burns nothing.
                if window.total == 0 {
                    return sum;
                }
                let covered = if measured { 1 } else { window.covered };
                let (events, all) = self.season(*member, t).unwrap_or((window.total, length));
                let burn = Fraction(window.bad * 1_000 * covered * all, events * i128::from(self.members[*member].0));
                sum.plus(burn.reduced().times(*share))
            })
        };
        let passes = |at: usize| {
            let Fraction(top, bottom) = burns(at);
            let length = i128::from([tier.long, tier.short][at]);
            over(tier, top * 10, i128::from(tier.factor) * bottom * length * if measured { 1 } else { length })
        };
        let no = if measured { TierVerdict::Clear } else { TierVerdict::Unknown };
        if !passes(0) || !passes(1) {
            return no;
        }
        let all = windows.iter().fold(Sums::default(), |all, (_, _, [long, _])| Sums {
            raw: all.raw + long.raw,
            raw_bad: all.raw_bad + long.raw_bad,
            bad: all.bad + long.bad,
            ..all
        });
        let min_bad = if all.bad > all.raw_bad * 10 { 2 } else { 0 };
        if all.raw < i128::from(min_events) || all.raw_bad < min_bad { no } else { TierVerdict::Holds }
    }

    fn expected(&self, name: &str, tier: &Tier, t: i64) -> TierVerdict {
        let [x, y, z] = self.weights.map(i128::from);
        let of = |top: i128, bottom: i128| Fraction(top, bottom).reduced();
        let pair = [(0, of(x, x + y)), (1, of(y, x + y))];
        match name {
            "worst" => self.worst(tier, &[0, 1, 2], t),
            "mean" => self.mean(tier, &[(0, of(x, x + y + z)), (1, of(y, x + y + z)), (2, of(z, x + y + z))], self.min_events, t),
            "pair" => self.mean(tier, &pair, self.min_events, t),
            "nested" => {
                let shares = [(0, of(x * y, (x + y) * (y + z))), (1, of(y * y, (x + y) * (y + z))), (2, of(z, y + z))];
                self.mean(tier, &shares, self.min_events, t)
            }
            _ => worse(self.mean(tier, &pair, self.min_events, t), self.worst(tier, &[2], t)),
        }
    }
}

fn worse(a: TierVerdict, b: TierVerdict) -> TierVerdict {
    match (a, b) {
        (TierVerdict::Holds, _) | (_, TierVerdict::Holds) => TierVerdict::Holds,
        (TierVerdict::Unknown, _) | (_, TierVerdict::Unknown) => TierVerdict::Unknown,
        (TierVerdict::Clear, TierVerdict::Clear) => TierVerdict::Clear,
    }
}

/// Top over bottom, not below zero.
#[derive(Clone, Copy, Debug)]
struct Fraction(i128, i128);

impl Fraction {
    fn reduced(self) -> Fraction {
        let (mut a, mut b) = (self.0, self.1);
        while b != 0 {
            (a, b) = (b, a % b);
        }
        Fraction(self.0 / a, self.1 / a)
    }

    fn plus(self, other: Fraction) -> Fraction {
        Fraction(self.0 * other.1 + other.0 * self.1, self.1 * other.1).reduced()
    }

    fn times(self, other: Fraction) -> Fraction {
        Fraction(self.0 * other.0, self.1 * other.1).reduced()
    }
}

fn check_family(family: &Family) -> Result<(), TestCaseError> {
    // The composites have a budget of 2 %.
    let tiers: Vec<Tier> = family.tiers.iter().copied().filter(|tier| can_hold(tier, 20)).collect();
    let rules = family.rules(&tiers);
    let mut evaluator = evaluator(&rules, &["a0", "a1", "a2"]);
    for t in 1..=MINUTES {
        for (number, (.., minutes)) in family.members.iter().enumerate() {
            if let Some(events) = minutes.get(&(t - 1)) {
                feed(&mut evaluator, number as u32, t - 1, events);
            }
        }
        evaluator.advance(true);
        for status in evaluator.statuses().iter().filter(|status| !status.slo.starts_with('m') || status.slo == "mean") {
            for (tier, shown) in tiers.iter().zip(&status.tiers) {
                let expected = family.expected(&status.slo, tier, t);
                prop_assert_eq!(shown.verdict, expected, "{} at {}: {:?}\n{}", &status.slo, t, tier, &rules);
            }
        }
    }
    Ok(())
}

/// The same around the moment at which members know a week: rows by the hour, then what happens by the minute.
fn check_family_traffic(family: &Family, traffic: &[i64]) -> Result<(), TestCaseError> {
    const BEFORE: i64 = 40;
    let tiers: Vec<Tier> = family.tiers.iter().copied().filter(|tier| can_hold(tier, 20)).collect();
    let mut family = family.clone();
    for (number, (.., minutes)) in family.members.iter_mut().enumerate() {
        let last = std::mem::take(minutes);
        let hourly = |minute: i64| 10 * traffic[((minute / 60) as usize + 7 * number) % traffic.len()].max(1);
        minutes.extend((0..WEEK - BEFORE).step_by(60).map(|minute| (minute, vec![(hourly(minute), false)])));
        minutes.extend(last.into_iter().map(|(minute, events)| (WEEK - BEFORE + minute, events)));
    }
    let rules = family.rules(&tiers);
    let mut evaluator = evaluator(&rules, &["a0", "a1", "a2"]);
    for t in 1..=WEEK + 80 {
        for (number, (.., minutes)) in family.members.iter().enumerate() {
            if let Some(events) = minutes.get(&(t - 1)) {
                feed(&mut evaluator, number as u32, t - 1, events);
            }
        }
        if t < WEEK - 20 {
            evaluator.replay(true);
            continue;
        }
        evaluator.advance(true);
        for status in evaluator.statuses().iter().filter(|status| !status.slo.starts_with('m') || status.slo == "mean") {
            for (tier, shown) in tiers.iter().zip(&status.tiers) {
                let expected = family.expected(&status.slo, tier, t);
                prop_assert_eq!(shown.verdict, expected, "{} at {}: {:?}\n{}", &status.slo, t, tier, &rules);
            }
        }
    }
    Ok(())
}

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, max_shrink_iters: 300, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config(48))]
    #[test]
    fn confidence_and_sampled_events_are_those_of_a_slow_recomputation(
        slos in prop::collection::vec((10_i64..150, guards(), prop::collection::vec(tier(), 1..4)), 3..6),
        minutes in minutes(MINUTES),
    ) {
        check_guards(&slos, &minutes)?;
    }

    #[test]
    fn composites_are_those_of_a_slow_recomputation(family in family()) {
        check_family(&family)?;
    }
}

proptest! {
    #![proptest_config(config(16))]
    #[test]
    fn burn_by_the_traffic_of_the_period_is_that_of_a_slow_recomputation(
        days in prop_oneof![Just(1_i64), Just(7), Just(30)],
        budget in 1_i64..60,
        tiers in prop::collection::vec(tier(), 2..4),
        traffic in prop::collection::vec(1_i64..3_000, 24),
        last in minutes(120),
    ) {
        check_traffic(days, budget, &tiers, &traffic, &last)?;
    }

    #[test]
    fn composites_of_members_by_the_traffic_of_their_period_are_those_of_a_slow_recomputation(
        family in family(),
        corrected in prop::array::uniform3(any::<bool>()),
        days in prop_oneof![Just(1_i64), Just(7)],
        traffic in prop::collection::vec(1_i64..100, 24),
    ) {
        check_family_traffic(&Family { corrected, days, ..family }, &traffic)?;
    }
}
