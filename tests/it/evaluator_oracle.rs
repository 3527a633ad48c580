//! A slow oracle for the evaluator where rows come late, time is excluded, periods follow a calendar in a zone, and what
//! counts is slices of time: at every evaluation each window is summed up again, from the rows that had come by then, in whole
//! numbers, by the words of the specification and by none of the product's code.

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

const MINUTES: i64 = 180;
/// The budget's window of what does not follow a calendar.
const WINDOW: i64 = 100;
const SLICE: i64 = 5;

/// A calendar, and a moment at which one of its periods begins, as any almanac has it.
const CALENDARS: [(&str, &str, &str); 6] = [
    ("day", "Europe/Berlin", "2026-03-28T23:00:00Z"),
    // The day after the clocks went forward begins an hour earlier in UTC.
    ("day", "Europe/Berlin", "2026-03-29T22:00:00Z"),
    ("day", "Asia/Kathmandu", "2026-06-10T18:15:00Z"),
    ("week", "America/New_York", "2026-03-09T04:00:00Z"),
    ("month", "Europe/Berlin", "2026-03-31T22:00:00Z"),
    ("quarter", "Australia/Sydney", "2026-03-31T13:00:00Z"),
];

#[derive(Clone, Copy, Debug)]
struct Row {
    minute: i64,
    total: i64,
    bad: i64,
    /// In minutes.
    late: i64,
}

/// Planned work in minutes, in whole slices.
#[derive(Clone, Copy, Debug)]
struct Work {
    from: i64,
    to: i64,
    exclude: bool,
}

#[derive(Clone, Copy, Debug)]
struct Tier {
    long: i64,
    short: i64,
    /// In tenths.
    factor: i64,
}

#[derive(Clone, Debug)]
struct Case {
    calendar: usize,
    /// Tenths of a per cent that may fail.
    budget: i64,
    /// Per cent of a slice that must be good.
    target: i64,
    tiers: Vec<Tier>,
    works: Vec<Work>,
    rows: Vec<Row>,
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let stretch = (1_i64..30, 0_u8..6, 0_i64..40, 0_i64..100, prop_oneof![3 => Just(0_i64), 1 => 1_i64..20]);
    prop::collection::vec(stretch, 6..14).prop_map(|stretches| {
        // The first minute is always there: nothing is known of what was before.
        let mut rows = vec![Row { minute: 0, total: 10, bad: 0, late: 0 }];
        let mut minute = 1;
        for (length, kind, total, share, late) in stretches {
            for at in minute..(minute + length).min(MINUTES) {
                match kind {
                    // Nothing at all; a measured zero; two rows, one of them late.
                    0 => {}
                    1 => rows.push(Row { minute: at, total: 0, bad: 0, late }),
                    2 => rows.extend([(0, share / 20), (late, share)].map(|(late, share)| Row {
                        minute: at,
                        total,
                        bad: total * share / 100,
                        late,
                    })),
                    _ => rows.push(Row { minute: at, total: total + at % 3, bad: total * share / 400, late }),
                }
            }
            minute += length;
        }
        rows
    })
}

fn case() -> impl Strategy<Value = Case> {
    let slices = |most: i64| (1..most).prop_map(|slices| slices * SLICE);
    let tier = (slices(9), slices(9), 1_i64..60).prop_map(|(a, b, factor)| Tier { long: a.max(b), short: a.min(b), factor });
    let work = (0_i64..36, 1_i64..8, any::<bool>()).prop_map(|(from, length, exclude)| Work {
        from: from * SLICE,
        to: (from + length) * SLICE,
        exclude,
    });
    (
        0..CALENDARS.len(),
        10_i64..150,
        prop_oneof![Just(50_i64), 60_i64..100],
        prop::collection::vec(tier, 1..4),
        prop::collection::vec(work, 0..3),
        rows(),
    )
        .prop_map(|(calendar, budget, target, tiers, works, rows)| Case { calendar, budget, target, tiers, works, rows })
        // `check` refuses a tier that can never hold.
        .prop_filter("a tier holds at a total outage", |case| case.tiers.iter().all(|tier| tier.factor * case.budget < 10_000))
}

impl Case {
    fn start(&self) -> Timestamp {
        CALENDARS[self.calendar].2.parse::<Timestamp>().unwrap() - Span::minutes(MINUTES / 2)
    }

    fn rules(&self) -> String {
        let tiers = self.tiers.iter().map(|tier| {
            let (whole, tenth) = (tier.factor / 10, tier.factor % 10);
            format!("page(#{{ long: \"{}m\", short: \"{}m\", factor: {whole}.{tenth} }})", tier.long, tier.short)
        });
        let tiers = tiers.collect::<Vec<_>>().join(", ");
        let objective = format!("{}.{}", (1_000 - self.budget) / 10, (1_000 - self.budget) % 10);
        let (period, zone, _) = CALENDARS[self.calendar];
        let good = "good(\"request\", #{ app: \"a\" })";
        let mut text = String::new();
        for (name, window, sli) in [
            ("rolling", format!("window: \"{WINDOW}m\""), good.to_owned()),
            ("calendar", format!("window: \"calendar:{period}\", timezone: \"{zone}\""), good.to_owned()),
            ("slices", format!("window: \"{WINDOW}m\""), format!("slices({good}, \"{SLICE}m\", {})", self.target)),
        ] {
            let _ =
                writeln!(text, "slo(\"{name}\", #{{ objective: {objective}, {window}, service: \"s\", sli: {sli}, alert: [ {tiers} ] }});");
        }
        for (number, work) in self.works.iter().enumerate() {
            let at = |minute: i64| self.start() + Span::minutes(minute);
            let _ = writeln!(
                text,
                "maintenance(\"w{number}\", #{{ starts: \"{}\", ends: \"{}\", when: #{{ service: \"s\" }}, budget: \"{}\" }});",
                at(work.from),
                at(work.to),
                if work.exclude { "exclude" } else { "good" }
            );
        }
        text
    }

    fn excluded(&self, minute: i64) -> bool {
        self.works.iter().any(|work| work.exclude && (work.from..work.to).contains(&minute))
    }

    /// Total and bad of one minute, of what had come when it was evaluated at `t`; `None`: no row had.
    fn minute(&self, minute: i64, t: i64) -> Option<(i64, i64)> {
        let good = self.works.iter().any(|work| !work.exclude && (work.from..work.to).contains(&minute));
        let rows = self.rows.iter().filter(|row| row.minute == minute && row.minute + row.late < t);
        rows.fold(None, |sum: Option<(i64, i64)>, row| {
            let (total, bad) = sum.unwrap_or((0, 0));
            Some((total + row.total, bad + if good { 0 } else { row.bad }))
        })
    }

    /// Sums over `[from, to)`, by the minute or by slices.
    fn sum(&self, from: i64, to: i64, t: i64, slices: bool) -> (i128, i128) {
        let counted = |minute: &i64| *minute >= 0 && !self.excluded(*minute);
        let mut sum = (0, 0);
        if !slices {
            for (total, bad) in (from..to).filter(counted).filter_map(|minute| self.minute(minute, t)) {
                sum = (sum.0 + i128::from(total), sum.1 + i128::from(bad));
            }
            return sum;
        }
        for slice in (from..to).step_by(SLICE as usize).filter(counted) {
            let (total, bad) =
                (slice..slice + SLICE).filter_map(|minute| self.minute(minute, t)).fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
            // An empty slice is left out.
            if total > 0 {
                sum.0 += 1;
                sum.1 += i128::from((total - bad) * 100 < self.target * total);
            }
        }
        sum
    }

    fn verdict(&self, tier: &Tier, t: i64, slices: bool) -> TierVerdict {
        let windows = [tier.long, tier.short].map(|length| {
            let minutes = (t - length..t).filter(|minute| !self.excluded(*minute));
            let (of, covered) = minutes
                .fold((0, 0), |(of, covered), minute| (of + 1, covered + i128::from(minute >= 0 && self.minute(minute, t).is_some())));
            (self.sum(t - length, t, t, slices), covered, of)
        });
        if windows.iter().any(|((total, _), ..)| *total == 0) {
            return TierVerdict::Unknown;
        }
        let enough = windows.iter().all(|(_, covered, of)| *of > 0 && covered * 10 >= of * 9);
        let passes = |((total, bad), covered, of): &((i128, i128), i128, i128)| {
            let (share, whole) = if enough { (1, 1) } else { (*covered, *of) };
            bad * 10 * 1_000 * share > i128::from(tier.factor) * i128::from(self.budget) * total * whole
        };
        match (windows.iter().all(passes), enough) {
            (true, _) => TierVerdict::Holds,
            (false, true) => TierVerdict::Clear,
            (false, false) => TierVerdict::Unknown,
        }
    }
}

fn check(case: &Case) -> Result<(), TestCaseError> {
    let rules = case.rules();
    let loaded = load(&[("a.rhai".to_owned(), rules.clone())].into(), &Env::defaults());
    prop_assert!(loaded.is_good(), "{rules}\n{:?}", loaded.problems);
    let start = case.start();
    let settings = Settings { bucket: Span::MINUTE, delays: BTreeMap::new() };
    let mut evaluator = Evaluator::new(Arc::new(loaded.set.unwrap()), settings, start, start);
    evaluator.add_series(SeriesId(0), &Series::new(Metric::Request, [("app".into(), "a".into())]));
    for t in 1..=MINUTES {
        for row in case.rows.iter().filter(|row| row.minute + row.late == t - 1) {
            let slice = start.0 / Span::MINUTE.0 + row.minute;
            evaluator.add_with(SeriesId(0), slice, Counts::plain(row.total, row.bad), true, |_| Counts::ZERO);
        }
        evaluator.advance(true);
        for status in evaluator.statuses() {
            let slices = status.slo == "slices";
            if slices && t % SLICE != 0 {
                continue;
            }
            let from = match status.slo.as_str() {
                "calendar" if t >= MINUTES / 2 => MINUTES / 2,
                "calendar" => 0,
                _ => t - WINDOW,
            };
            let (total, bad) = case.sum(from, t, t, slices);
            prop_assert_eq!((status.total, status.bad), (total as f64, bad as f64), "{} at {}\n{}", &status.slo, t, &rules);
            for (tier, shown) in case.tiers.iter().zip(&status.tiers) {
                let expected = case.verdict(tier, t, slices);
                prop_assert_eq!(shown.verdict, expected, "{} at {}: {:?}\n{}", &status.slo, t, tier, &rules);
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 400, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn late_rows_exclusions_calendars_and_slices_are_those_of_a_slow_recomputation(case in case()) {
        check(&case)?;
    }
}
