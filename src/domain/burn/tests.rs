use super::*;
use crate::domain::rule::{Combine, Severity, Sli};

fn slo(budget_ppm: u32) -> Slo {
    Slo::new("s", budget_ppm, Sli::Composite { members: vec![], how: Combine::Worst })
}

fn tier(factor: &str, op: Op) -> Tier {
    Tier { op, ..Tier::new(Severity::Page, Span::hours(1), Span::minutes(5), factor.parse().unwrap()) }
}

fn view(counts: Counts, covered: u32, of: u32) -> View {
    View { counts, coverage: Coverage { covered, of }, length: Span::hours(1) }
}

fn verdict(slo: &Slo, tier: &Tier, long: View, short: View) -> TierVerdict {
    judge(slo, tier, &long, &short, None).verdict
}

#[test]
fn a_ratio_exactly_at_the_limit_fires_only_with_at_least() {
    let (slo, exact) = (slo(100_000), view(Counts::plain(10, 6), 60, 60));
    assert_eq!(verdict(&slo, &tier("6", Op::Above), exact, exact), TierVerdict::Clear);
    assert_eq!(verdict(&slo, &tier("6", Op::AtLeast), exact, exact), TierVerdict::Holds);
    // 14.4 × 0.001 is 0.014400000000000001 in floating point.
    let (slo, exact) = (self::slo(1_000), view(Counts::plain(10_000, 144), 60, 60));
    assert_eq!(verdict(&slo, &tier("14.4", Op::AtLeast), exact, exact), TierVerdict::Holds);
    assert_eq!(verdict(&slo, &tier("14.4", Op::Above), exact, exact), TierVerdict::Clear);
}

#[test]
fn nothing_measured_is_unknown_and_a_gap_counts_as_good() {
    let (slo, tier) = (slo(1_000), tier("14.4", Op::Above));
    let none = view(Counts::ZERO, 60, 60);
    let bad = view(Counts::plain(1000, 100), 60, 60);
    assert_eq!(verdict(&slo, &tier, bad, none), TierVerdict::Unknown);
    // 10 % bad in half of the window is still 50x over all of it.
    assert_eq!(verdict(&slo, &tier, view(Counts::plain(1000, 100), 30, 60), bad), TierVerdict::Holds);
    // 2 % bad is 20x, but 10x when the missing half was good: neither open nor resolve.
    assert_eq!(verdict(&slo, &tier, view(Counts::plain(1000, 20), 30, 60), bad), TierVerdict::Unknown);
    assert_eq!(verdict(&slo, &tier, view(Counts::plain(1000, 20), 54, 60), bad), TierVerdict::Holds);
}

#[test]
fn guards_pass_at_equality_and_come_after_coverage() {
    let mut slo = slo(1_000);
    slo.min_events = 50;
    let tier = tier("14.4", Op::Above);
    let at = |raw, covered| view(Counts::plain(raw, 10), covered, 60);
    assert_eq!(verdict(&slo, &tier, at(50, 60), at(50, 60)), TierVerdict::Holds);
    assert_eq!(verdict(&slo, &tier, at(49, 60), at(49, 60)), TierVerdict::Clear);
    assert_eq!(verdict(&slo, &tier, at(49, 40), at(49, 40)), TierVerdict::Unknown);
    let held = judge(&slo, &tier, &at(49, 60), &at(49, 60), None);
    assert_eq!(held.guard, Some(Guard::MinEvents { have: 49, need: 50 }));
}

#[test]
fn one_kept_event_of_weight_one_hundred_cannot_page_alone() {
    let (slo, tier) = (slo(1_000), tier("14.4", Op::Above));
    let mut counts = Counts::ZERO;
    counts += Counts::event(100 * UNIT, true);
    (0..9).for_each(|_| counts += Counts::event(100 * UNIT, false));
    let alone = view(counts, 60, 60);
    assert_eq!(judge(&slo, &tier, &alone, &alone, None).guard, Some(Guard::MinBad { have: 1, need: 2 }));
}

#[test]
fn one_of_ten_is_a_fluke_at_99_per_cent() {
    let one_of_ten = view(Counts::plain(10, 1), 60, 60);
    let mut slo = slo(1_000);
    let tier = tier("14.4", Op::Above);
    for (confidence, expected) in [(None, TierVerdict::Holds), (Some(0.95), TierVerdict::Holds), (Some(0.99), TierVerdict::Clear)] {
        slo.confidence = confidence;
        assert_eq!(verdict(&slo, &tier, one_of_ten, one_of_ten), expected, "{confidence:?}");
    }
    assert!((wilson_lower(0.1, 10.0, normal_quantile(0.95)) - 0.0226).abs() < 5e-5);
    assert!((wilson_lower(0.1, 10.0, normal_quantile(0.99)) - 0.01389).abs() < 5e-6);
    assert!((normal_quantile(0.99) - 2.3263).abs() < 5e-5);
    assert!((normal_quantile(0.01) + 2.3263).abs() < 5e-5);
    assert!((normal_quantile(0.999_999_9) - 5.1993).abs() < 5e-4);
}

#[test]
fn a_nights_few_failures_are_no_outage_when_corrected_for_traffic() {
    let night = view(Counts::plain(600, 9), 60, 60);
    let season = Season { total: 20_000_000 * UNIT, length: Span::days(30) };
    assert!((burn(night.counts, 1_000).unwrap() - 15.0).abs() < 1e-9);
    assert!((corrected_burn(&night, 1_000, season).unwrap() - 0.324).abs() < 1e-9);
    let (mut slo, tier) = (slo(1_000), tier("14.4", Op::Above));
    slo.traffic_corrected = true;
    assert_eq!(judge(&slo, &tier, &night, &night, Some(season)).verdict, TierVerdict::Clear);
    assert_eq!(judge(&slo, &tier, &night, &night, None).verdict, TierVerdict::Holds);
}

#[test]
fn sums_over_sums_not_means_of_ratios() {
    let mut counts = Counts::plain(2, 1);
    (0..3).for_each(|_| counts += Counts::plain(100_000, 1));
    assert!((burn(counts, 1_000).unwrap() - 0.0133).abs() < 5e-5);
}

#[test]
fn sampling_is_weighed_away() {
    // All 100 errors kept, 100,000 healthy sessions kept at 1 %.
    let mut counts = Counts::ZERO;
    (0..100).for_each(|_| counts += Counts::event(UNIT, true));
    (0..999).for_each(|_| counts += Counts::event(100 * UNIT, false));
    assert!((error_ratio(counts).unwrap() - 0.001).abs() < 1e-6);
    assert!((counts.raw_bad as f64 / counts.raw as f64 - 0.091).abs() < 1e-3);
}

#[test]
fn a_budget_is_signed_and_has_two_forecasts() {
    let state = budget(Counts::plain(1000, 2), 1_000, Span::days(30)).unwrap();
    assert!((state.remaining + 1.0).abs() < 1e-9);
    assert_eq!((state.pace_secs, state.countdown_secs), (Some(1_296_000.0), Some(0.0)));
    let state = budget(Counts::plain(1000, 0), 1_000, Span::days(30)).unwrap();
    assert_eq!((state.remaining, state.pace_secs), (1.0, None));
    assert_eq!(budget(Counts::ZERO, 1_000, Span::days(30)), None);
}

#[test]
fn what_is_consumed_equals_the_decimal_that_is_written() {
    // 99.9 % of 100,000: 100 may fail.
    for (bad, written) in [(75, 0.75), (10, 0.1), (90, 0.9), (30, 0.3), (100, 1.0), (250, 2.5), (0, 0.0)] {
        assert_eq!(consumed(bad * UNIT, Counts::plain(100_000, bad), 1_000), Some(written));
    }
    // Floating point says 0.7000000000000001 of 1 - 0.3, and 0.09999999999999998 of 1 - 0.9.
    assert!(1.0 - 0.9 < 0.1 && consumed(10 * UNIT, Counts::plain(100_000, 10), 1_000) == Some(0.1));
    // Numbers that a double does not hold one by one.
    let huge = Counts { total: 9_000_000_000_000_000_000, bad: 6_750_000_000_000_000, ..Counts::ZERO };
    assert_eq!(consumed(huge.bad, huge, 1_000), Some(0.75));
    assert!(consumed(huge.bad - 10_000, huge, 1_000) < Some(0.75));
    // A tenth of the budget went within a day, whatever went before.
    assert_eq!(consumed(10 * UNIT, Counts::plain(100_000, 80), 1_000), Some(0.1));
    assert_eq!(consumed(0, Counts::ZERO, 1_000), None);
}

#[test]
fn exhaustion_is_forecast_exactly() {
    let month = Span::days(30);
    // Half is gone after 30 days at 0.5x: the other half lasts another 30 days.
    let half = Counts::plain(100_000, 50);
    assert_eq!(exhausted_within(half, half, 1_000, month, month), Some(true));
    assert_eq!(exhausted_within(half, half, 1_000, month, month - Span(1)), Some(false));
    // At 14.4x half a budget lasts 25 hours.
    let hour = Counts::plain(10_000, 144);
    assert_eq!(exhausted_within(half, hour, 1_000, month, Span::hours(25)), Some(true));
    assert_eq!(exhausted_within(half, hour, 1_000, month, Span::hours(25) - Span(1)), Some(false));
    // The same as the published countdown says, in seconds.
    let state = forecast(0.5, 14.4, month);
    assert!((state.countdown_secs.unwrap() - 25.0 * 3600.0).abs() < 1e-6);
    // What burns nothing lasts for ever; what is gone is gone, even then.
    let quiet = Counts::plain(10_000, 0);
    assert_eq!(exhausted_within(half, quiet, 1_000, month, Span::days(3_650)), Some(false));
    assert_eq!(exhausted_within(Counts::plain(100_000, 100), quiet, 1_000, month, Span::HOUR), Some(true));
    assert_eq!(exhausted_within(Counts::plain(100_000, 99), quiet, 1_000, month, Span::HOUR), Some(false));
    assert_eq!(exhausted_within(Counts::ZERO, quiet, 1_000, month, Span::HOUR), None);
    assert_eq!(exhausted_within(half, Counts::ZERO, 1_000, month, Span::HOUR), None);
    // The largest counts there can be do not overflow.
    let most = Counts { total: i64::MAX, bad: i64::MAX / 4_000, ..Counts::ZERO };
    assert_eq!(exhausted_within(most, most, 1_000, Span::days(365), Span::days(1_095) + Span::DAY), Some(true));
    assert_eq!(exhausted_within(most, most, 1_000, Span::days(365), Span::days(1_095) - Span::DAY), Some(false));
}

#[test]
fn products_beyond_128_bits_compare_exactly() {
    let big = u64::MAX;
    assert_eq!(compare_products(&[big, big, big], &[big, big, big - 1]), Ordering::Greater);
    assert_eq!(compare_products(&[big, big, big, 2], &[2, big, big, big]), Ordering::Equal);
    assert_eq!(compare_products(&[0, 7], &[1]), Ordering::Less);
}
