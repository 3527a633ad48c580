//! Windows against the definition, slice by slice.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// The definition, word for word: sum over the slices that start in the window.
fn slow(data: &BTreeMap<Slice, Counts>, excluded: &[Slice], shape: &Shape, from: Slice, to: Slice, start: Slice) -> Counts {
    let mut sum = Counts::ZERO;
    for slice in from.max(start)..to {
        if !excluded.contains(&slice) {
            sum += weigh(shape, data.get(&slice).copied().unwrap_or(Counts::ZERO));
        }
    }
    sum
}

fn counts() -> impl Strategy<Value = Counts> {
    (0_i64..400, 0_i64..5, prop_oneof![Just(UNIT), Just(10 * UNIT), Just(1_428_571)]).prop_map(|(raw, bad, weight)| {
        let bad = bad.min(raw);
        Counts { raw, raw_bad: bad, total: raw * weight, bad: bad * weight, sq: crate::domain::cell::square(weight) * i128::from(raw) }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn sums_equal_a_slow_recomputation(
        start in -100_i64..100,
        steps in prop::collection::vec((prop::collection::vec((0_i64..400, counts()), 0..3), any::<bool>()), 1..400),
        windows in prop::collection::vec(1_i64..200, 1..5),
        target in prop::option::of(prop_oneof![Just(EmptySlice::Skip), Just(EmptySlice::Good), Just(EmptySlice::Bad)]),
    ) {
        let slice = Span::MINUTE;
        let target = target.map(|empty| Target { ppm: 990_000, empty });
        let mut shape = Shape::new(slice, windows.iter().map(|n| Span(n * slice.0)), Some(Span::minutes(100)), target);
        // A short long window with steps of seven slices, so that its far edge moves in a small test.
        shape.budget = Budget::Long { length: 150, step: 7 };
        let mut rolling = Rolling::new(&shape, start, start);
        let (mut data, mut excluded) = (BTreeMap::new(), Vec::new());
        for (step, (adds, exclude)) in steps.into_iter().enumerate() {
            let next = start + step as i64;
            for (back, counts) in adds {
                // Up to two slices ahead, otherwise late; nothing older than what is kept.
                let at = (next + 2 - back).max(start).max(next - shape.fine_slices() + 1);
                if !excluded.contains(&at) {
                    *data.entry(at).or_insert(Counts::ZERO) += counts;
                    rolling.add(&shape, at, counts);
                }
            }
            let exclude = exclude && step % 9 == 0;
            if exclude {
                excluded.push(next);
                data.remove(&next);
            }
            rolling.close(&shape, exclude, None);
            let to = next + 1;
            for (index, length) in shape.exact.iter().enumerate() {
                prop_assert_eq!(rolling.sum(index), slow(&data, &excluded, &shape, to - length, to, start));
                let gone = excluded.iter().filter(|at| **at >= to - length).count() as u32;
                prop_assert_eq!(rolling.excluded(index), gone);
            }
            let far = (to - 150).div_euclid(7) * 7;
            prop_assert_eq!(rolling.budget(), slow(&data, &excluded, &shape, far, to, start));
        }
    }
}

#[test]
fn a_start_from_sums_equals_a_start_from_slices() {
    let shape = Shape::new(Span::MINUTE, [Span::hours(1)], Some(Span::days(30)), None);
    let data = |slice: i64| Counts::plain(10 + slice % 7, i64::from(slice % 11 == 0));
    let (from, switch, to) = (5 * 60 + 17, 36 * 1440 + 25, 40 * 1440 + 3);
    let mut slow = Rolling::new(&shape, from, from);
    for slice in from..to {
        slow.add(&shape, slice, data(slice));
        slow.close(&shape, false, None);
    }
    let mut old = Vec::new();
    let mut fast = Rolling::new(&shape, switch, from);
    let mut slice = from;
    while slice < switch {
        let end = ((slice.div_euclid(60) + 1) * 60).min(switch);
        let mut sum = Counts::ZERO;
        (slice..end).for_each(|slice| sum += data(slice));
        // Of two series that come one after the other.
        old.push((slice, sum));
        slice = end;
    }
    for part in 0..2 {
        for (slice, sum) in &old {
            let first = Counts::plain(sum.raw / 3, sum.raw_bad / 2);
            let mut second = *sum;
            second -= first;
            fast.add_old(&shape, *slice, if part == 0 { first } else { second });
        }
    }
    fast.end_of_past(&shape);
    for slice in switch..to {
        fast.add(&shape, slice, data(slice));
        fast.close(&shape, false, None);
    }
    assert_eq!(fast.budget(), slow.budget());
    assert_eq!(fast.sum(0), slow.sum(0));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn aimed_windows_come_to_the_same(
        slices in prop::collection::vec((counts(), 0_u8..12), 1..600),
        windows in prop::collection::vec(1_i64..300, 1..5),
        target in prop::option::of(Just(Target { ppm: 990_000, empty: EmptySlice::Bad })),
        late in prop::collection::vec((0_usize..600, 1_i64..400, counts()), 0..4),
        after in prop::collection::vec(counts(), 0..40),
    ) {
        let mut shape = Shape::new(Span::MINUTE, windows.iter().map(|n| Span::minutes(*n)), None, target);
        shape.budget = Budget::Long { length: 150, step: 7 };
        let aim = 5 + slices.len() as i64;
        let all = |rolling: &Rolling| -> Vec<_> {
            rolling.sums.iter().map(|sum| (sum.counts, sum.excluded, sum.far.slice())).collect()
        };
        for in_runs in [false, true] {
            let (mut exact, mut aimed) = (Rolling::new(&shape, 5, 5), Rolling::new(&shape, 5, 5));
            aimed.aim_at(aim);
            for (at, (counts, fate)) in slices.iter().enumerate() {
                let slice = at as i64 + 5;
                let excluded = *fate == 0 && !in_runs;
                exact.add(&shape, slice, *counts);
                exact.close(&shape, excluded, None);
                aimed.add(&shape, slice, *counts);
                // In runs of some slices, as chunks of history come.
                if !in_runs {
                    aimed.close(&shape, excluded, None);
                } else if *fate < 2 {
                    aimed.close_run(&shape, slice + 1);
                }
                for (_, back, counts) in late.iter().filter(|(when, ..)| *when == at) {
                    let late = (slice - back).max(exact.first_slice().max(aimed.first_slice()));
                    exact.add(&shape, late, *counts);
                    aimed.add(&shape, late, *counts);
                }
            }
            aimed.close_run(&shape, aim);
            prop_assert_eq!(all(&exact), all(&aimed));
            prop_assert_eq!(exact.budget(), aimed.budget());
            for (at, counts) in after.iter().enumerate() {
                for rolling in [&mut exact, &mut aimed] {
                    rolling.add(&shape, aim + at as i64, *counts);
                    rolling.close(&shape, false, None);
                }
                prop_assert_eq!(all(&exact), all(&aimed));
                prop_assert_eq!(exact.budget(), aimed.budget());
            }
        }
    }
}

#[test]
fn a_calendar_budget_begins_anew_and_late_data_of_the_old_period_stays_there() {
    let shape = Shape::new(Span::MINUTE, [Span::minutes(5)], None, None);
    let mut rolling = Rolling::new(&shape, 0, 0);
    for slice in 0..20 {
        rolling.add(&shape, slice, Counts::plain(10, 1));
        rolling.close(&shape, false, Some(if slice + 1 >= 10 { 10 } else { 0 }));
        if slice == 9 {
            assert_eq!(rolling.budget(), Counts::ZERO);
        }
    }
    assert_eq!(rolling.budget(), Counts::plain(100, 10));
    rolling.add(&shape, 9, Counts::plain(5, 5));
    rolling.add(&shape, 11, Counts::plain(5, 0));
    assert_eq!(rolling.budget(), Counts::plain(105, 10));
}

#[test]
fn thirty_days_move_by_the_hour_and_seven_days_by_the_bucket() {
    let shape = Shape::new(Span::MINUTE, [Span::hours(1)], Some(Span::days(30)), None);
    assert_eq!(shape.budget, Budget::Long { length: 43_200, step: 60 });
    assert_eq!(far_step(Span::days(28), Span::MINUTE), 30);
    assert_eq!(far_step(Span::days(8), Span::seconds(10)), 90);
    let week = Shape::new(Span::MINUTE, [Span::hours(1)], Some(Span::days(7)), None);
    assert_eq!(week.budget, Budget::Exact(1));
}

#[test]
fn the_first_slice_of_windows_that_wake_late_stays_in_the_budget() {
    let shape = Shape::new(Span::MINUTE, [Span::hours(1)], Some(Span::days(30)), None);
    let first = 40 * 1440 + 7;
    let mut rolling = Rolling::new(&shape, first, 0);
    rolling.add(&shape, first, Counts::plain(7, 1));
    for _ in 0..1440 {
        rolling.close(&shape, false, None);
        assert_eq!(rolling.budget(), Counts::plain(7, 1));
    }
    let mut aimed = Rolling::new(&shape, first, 0);
    aimed.aim_at(first + 1440);
    aimed.add(&shape, first, Counts::plain(7, 1));
    aimed.close_run(&shape, first + 1440);
    assert_eq!(aimed.budget(), Counts::plain(7, 1));
}

#[test]
fn a_month_and_four_tiers_fit_into_32_kib() {
    let minutes = [60, 5, 360, 30, 1440, 120, 4320, 360].map(Span::minutes);
    let shape = Shape::new(Span::MINUTE, minutes, Some(Span::days(30)), None);
    let mut rolling = Rolling::new(&shape, 0, 0);
    for slice in 0..35 * 1440 {
        rolling.add(&shape, slice, Counts::plain(2000 + slice % 900, slice % 4));
        rolling.close(&shape, false, None);
    }
    assert!(rolling.bytes() <= 32 * 1024, "{}", rolling.bytes());
}

#[test]
fn time_slices_are_judged_whole_also_when_late_data_changes_one() {
    let target = Some(Target { ppm: 950_000, empty: EmptySlice::Skip });
    let shape = Shape::new(Span::MINUTE, [Span::minutes(10)], Some(Span::days(1)), target);
    let mut rolling = Rolling::new(&shape, 0, 0);
    rolling.add(&shape, 0, Counts::plain(100, 5));
    rolling.add(&shape, 1, Counts::plain(100, 6));
    (0..3).for_each(|_| rolling.close(&shape, false, None));
    assert_eq!(rolling.sum(0), Counts::plain(2, 1));
    rolling.add(&shape, 1, Counts::plain(100, 0));
    assert_eq!(rolling.sum(0), Counts::plain(2, 0));
}
