use chrono_tz::Tz;

use super::*;
use crate::domain::rule::{Maintenance, MaintenanceBudget, MaintenanceTimes, Period, Place, TimeInterval};

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn times(line: &str, zone: &str, after: &str, until: &str) -> Vec<String> {
    Cron::new(line, zone).unwrap().between(at(after), at(until)).into_iter().map(|t| t.to_string()).collect()
}

#[test]
fn five_fields_are_classic_and_six_have_seconds_first() {
    assert_eq!(
        times("*/30 * * * *", "UTC", "2026-01-01T00:00:00Z", "2026-01-01T01:00:00Z"),
        ["2026-01-01T00:30:00Z", "2026-01-01T01:00:00Z"]
    );
    assert_eq!(
        times("*/30 59 23 * * *", "UTC", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"),
        ["2026-01-01T23:59:00Z", "2026-01-01T23:59:30Z"]
    );
}

#[test]
fn zero_and_seven_are_sunday_in_both_forms() {
    // 22 November 2026 is a Sunday.
    for line in ["0 3 * * SUN", "0 3 * * 0", "0 3 * * 7", "0 0 3 * * 7", "0 0 3 * * sun", "0 3 * * 7-7"] {
        assert_eq!(times(line, "UTC", "2026-11-20T00:00:00Z", "2026-11-27T00:00:00Z"), ["2026-11-22T03:00:00Z"], "{line}");
    }
    assert_eq!(times("0 3 * * 1", "UTC", "2026-11-20T00:00:00Z", "2026-11-27T00:00:00Z"), ["2026-11-23T03:00:00Z"]);
    assert_eq!(times("0 3 * * FRI-SUN", "UTC", "2026-11-20T00:00:00Z", "2026-11-23T00:00:00Z").len(), 3);
    assert_eq!(times("0 3 * * */2", "UTC", "2026-11-22T00:00:00Z", "2026-11-29T00:00:00Z").len(), 4);
}

#[test]
fn either_day_may_match_as_in_classic_cron() {
    let both = times("0 0 13 * FRI", "UTC", "2026-10-31T12:00:00Z", "2026-11-30T12:00:00Z");
    assert_eq!(both, ["2026-11-06T00:00:00Z", "2026-11-13T00:00:00Z", "2026-11-20T00:00:00Z", "2026-11-27T00:00:00Z"]);
}

#[test]
fn a_time_that_does_not_exist_runs_once_at_the_change() {
    // Berlin springs from 02:00 to 03:00 on 29 March 2026, at 01:00 UTC.
    let day = times("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", "2026-03-30T12:00:00Z");
    assert_eq!(day, ["2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]);
    let both = times("0,30 2,3 * * *", "Europe/Berlin", "2026-03-29T00:00:00Z", "2026-03-29T02:00:00Z");
    assert_eq!(both, ["2026-03-29T01:00:00Z", "2026-03-29T01:30:00Z"]);
}

#[test]
fn a_time_that_exists_twice_runs_once() {
    // Berlin falls back from 03:00 to 02:00 on 25 October 2026, at 01:00 UTC.
    let day = times("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", "2026-10-26T12:00:00Z");
    assert_eq!(day, ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]);
    // Asked minute by minute the answer is the same.
    let cron = Cron::new("30 2 * * *", "Europe/Berlin").unwrap();
    let mut t = at("2026-10-24T23:00:00Z");
    let mut runs = 0;
    while t < at("2026-10-25T04:00:00Z") {
        runs += cron.between(t, t + Span::MINUTE).len();
        t += Span::MINUTE;
    }
    assert_eq!(runs, 1);
}

#[test]
fn a_line_for_every_hour_keeps_running_while_clocks_change() {
    for (from, to) in [("2026-10-24T22:00:00Z", "2026-10-25T04:00:00Z"), ("2026-03-28T22:00:00Z", "2026-03-29T04:00:00Z")] {
        assert_eq!(times("*/5 * * * *", "Europe/Berlin", from, to).len(), 72);
        let cron = Cron::new("*/5 * * * *", "Europe/Berlin").unwrap();
        let mut t = at(from);
        while t < at(to) {
            assert_eq!(cron.between(t, t + Span::minutes(5)).len(), 1, "{t}");
            t += Span::minutes(5);
        }
    }
}

#[test]
fn bad_lines_say_what_is_wrong() {
    for (line, part) in [
        ("* * * *", "no cron line"),
        ("61 * * * *", "no minute"),
        ("0 0 * * Mon#2", "no day of week"),
        ("0 22-2 * * *", "runs backwards"),
        ("0 0 30 2 *", "never happens"),
        ("*/0 * * * *", "no minute"),
        ("", "no cron line"),
    ] {
        let error = Cron::new(line, "UTC").unwrap_err().to_string();
        assert!(error.contains(part), "{line}: {error}");
    }
    assert!(Cron::new("* * * * *", "Mars/Olympus").unwrap_err().to_string().contains("IANA"));
    assert!(Cron::new("0 0 29 2 *", "UTC").is_ok());
}

#[test]
fn a_period_is_due_at_its_multiples() {
    let every = Schedule::Every(Span::minutes(5));
    assert!(every.due(at("2026-01-01T00:04:00Z"), at("2026-01-01T00:05:00Z")));
    assert!(!every.due(at("2026-01-01T00:05:00Z"), at("2026-01-01T00:09:00Z")));
    let cron = Schedule::Cron { line: "0 4 * * *".into(), timezone: "Europe/Berlin".into() };
    assert!(cron.due(at("2026-01-01T02:59:00Z"), at("2026-01-01T03:00:00Z")));
    assert!(!cron.due(at("2026-01-01T03:00:00Z"), at("2026-01-01T03:01:00Z")));
}

fn maintenance(times: MaintenanceTimes) -> Maintenance {
    Maintenance { name: "m".into(), place: Place::default(), when: Default::default(), times, budget: MaintenanceBudget::Count }
}

#[test]
fn maintenance_is_half_open_and_follows_the_local_clock() {
    let weekly = maintenance(MaintenanceTimes::Cron { line: "0 3 * * SUN".into(), lasts: Span::HOUR, timezone: "Europe/Berlin".into() });
    // Winter: 02:00 UTC; summer: 01:00 UTC.
    assert!(weekly.active(at("2026-11-22T02:00:00Z")) && weekly.active(at("2026-11-22T02:59:59Z")));
    assert!(!weekly.active(at("2026-11-22T03:00:00Z")) && !weekly.active(at("2026-11-22T01:59:59Z")));
    assert!(weekly.active(at("2026-07-05T01:30:00Z")));
    let inside = weekly.intervals(at("2026-11-22T02:30:00Z"), at("2026-11-30T00:00:00Z"));
    assert_eq!(
        inside,
        [(at("2026-11-22T02:30:00Z"), at("2026-11-22T03:00:00Z")), (at("2026-11-29T02:00:00Z"), at("2026-11-29T03:00:00Z"))]
    );
    let once = maintenance(MaintenanceTimes::Once { starts: at("2026-11-22T03:00:00Z"), ends: at("2026-11-22T05:00:00Z") });
    assert!(once.active(at("2026-11-22T03:00:00Z")) && !once.active(at("2026-11-22T05:00:00Z")));
    assert!(once.intervals(at("2026-11-22T05:00:00Z"), at("2026-11-23T05:00:00Z")).is_empty());
}

#[test]
fn overlapping_intervals_become_one() {
    let t = Timestamp;
    assert_eq!(union(vec![(t(5), t(9)), (t(1), t(3)), (t(3), t(4)), (t(8), t(12)), (t(7), t(7))]), [(t(1), t(4)), (t(5), t(12))]);
}

fn nights() -> TimeInterval {
    TimeInterval {
        name: "nights".into(),
        place: Place::default(),
        times: vec![(22 * 60, 24 * 60), (0, 6 * 60)],
        weekdays: vec![],
        days_of_month: vec![],
        months: vec![],
        years: vec![],
        timezone: "Europe/Berlin".into(),
    }
}

#[test]
fn a_time_interval_reads_the_clock_of_its_zone() {
    let nights = nights();
    assert!(nights.contains(at("2026-01-01T21:00:00Z")) && !nights.contains(at("2026-01-01T20:59:59Z")));
    assert!(nights.contains(at("2026-01-01T04:59:59Z")) && !nights.contains(at("2026-01-01T05:00:00Z")));
    let last_three = TimeInterval { times: vec![], days_of_month: vec![(-3, -1)], ..nights.clone() };
    assert!(last_three.contains(at("2026-02-26T12:00:00Z")) && !last_three.contains(at("2026-02-25T12:00:00Z")));
    let thirty_first = TimeInterval { times: vec![], days_of_month: vec![(31, 31)], ..nights.clone() };
    assert!(!thirty_first.contains(at("2026-02-28T12:00:00Z")) && thirty_first.contains(at("2026-03-31T12:00:00Z")));
    let workdays = TimeInterval { times: vec![], weekdays: vec![(1, 5)], months: vec![(11, 12)], years: vec![(2026, 2026)], ..nights };
    assert!(workdays.contains(at("2026-11-23T12:00:00Z")) && !workdays.contains(at("2026-11-22T12:00:00Z")));
}

#[test]
fn calendar_periods_have_their_real_length() {
    let berlin = zone("Europe/Berlin").unwrap();
    let (start, end) = Period::Month.around(berlin, at("2026-03-15T12:00:00Z"));
    assert_eq!((start, end), (at("2026-02-28T23:00:00Z"), at("2026-03-31T22:00:00Z")));
    assert_eq!((end - start).0 / 60_000, 44_580);
    let (start, end) = Period::Day.around(zone("America/New_York").unwrap(), at("2026-03-08T12:00:00Z"));
    assert_eq!((end - start).0 / 60_000, 1_380);
    // The very start belongs to the new period.
    let (start, _) = Period::Month.around(berlin, at("2026-03-31T22:00:00Z"));
    assert_eq!(start, at("2026-03-31T22:00:00Z"));
    let (start, end) = Period::Week.around(berlin, at("2026-11-22T12:00:00Z"));
    assert_eq!((start, end), (at("2026-11-15T23:00:00Z"), at("2026-11-22T23:00:00Z")));
    let (start, end) = Period::Quarter.around(Tz::UTC, at("2026-11-22T12:00:00Z"));
    assert_eq!((start, end), (at("2026-10-01T00:00:00Z"), at("2027-01-01T00:00:00Z")));
    let (start, end) = Period::Year.around(Tz::UTC, at("2026-11-22T12:00:00Z"));
    assert_eq!((start, end), (at("2026-01-01T00:00:00Z"), at("2027-01-01T00:00:00Z")));
}

#[test]
fn a_day_without_a_midnight_starts_at_the_change() {
    // Beirut springs from 00:00 to 01:00 on 29 March 2026, at 22:00 UTC the day before.
    let (start, end) = Period::Day.around(zone("Asia/Beirut").unwrap(), at("2026-03-29T12:00:00Z"));
    assert_eq!((start, end), (at("2026-03-28T22:00:00Z"), at("2026-03-29T21:00:00Z")));
}
