use super::written::quick_time;
use super::*;
use crate::domain::cell::Limit;

fn reader() -> Reader {
    let dimensions = ["app", "route", "region"].map(str::to_owned);
    Reader::new(Span::MINUTE, &dimensions, KeyedHash::new([1; 16]), Redactor::default())
}

fn row(json: &str) -> Result<Row<'_>, String> {
    reader().row(json.as_bytes()).map_err(|error| error.to_string())
}

const HEAD: &str = r#""bucket":"2026-11-22T03:00:00Z","metric":"lcp","dims":{"app":"shop","region":"de"}"#;

#[test]
fn a_plain_row_is_whole_events_of_weight_one() {
    let json = r#"{"bucket":1795316400000,"metric":"request","dims":{"app":"shop","status":500,"os":null},"total":100,"bad":7}"#;
    let row = row(json).unwrap();
    assert_eq!(row.at.to_string(), "2026-11-22T03:00:00Z");
    assert_eq!(row.cell.counts, Counts::plain(100, 7));
    assert!(row.cell.pushed);
    assert_eq!(row.series().dims_json(), r#"{"app":"shop","status":"500"}"#);
}

#[test]
fn decimals_are_weights_in_exact_millionths_and_squares_are_total_squared_over_raw() {
    let json = format!("{{{HEAD},\"total\":1234567.000001,\"bad\":0.1,\"raw\":12}}");
    let counts = row(&json).unwrap().cell.counts;
    assert_eq!((counts.total, counts.bad, counts.raw, counts.raw_bad), (1_234_567_000_001, 100_000, 12, 1));
    assert_eq!(counts.sq, 1_234_567_000_001_i128.pow(2) / 12 / 1_000_000);
    assert!((counts.effective() - 12.0).abs() < 1e-6);
}

#[test]
fn a_measured_zero_is_a_cell() {
    let json = format!("{{{HEAD},\"total\":0}}");
    let cell = row(&json).unwrap().cell;
    assert!(cell.pushed && cell.counts.is_zero());
}

#[test]
fn a_bound_is_an_exact_limit_and_the_rest_comes_from_the_distribution() {
    let json = format!("{{{HEAD},\"total\":100,\"histogram\":[[1000,50],[2500,30],[4000,15],[null,5]]}}");
    let cell = row(&json).unwrap().cell;
    for (limit, bad) in [(1000.0, 50), (2500.0, 20), (4000.0, 5)] {
        assert_eq!(cell.against(Limit { value: limit, inclusive: true }), Counts::plain(100, bad), "{limit}");
    }
    assert_eq!(cell.sketch.weight(), 100 * UNIT);
    let median = cell.sketch.quantile(0.65).unwrap();
    assert!((1600.0..1900.0).contains(&median), "{median}");
    assert!(cell.sketch.quantile(1.0).unwrap() > 4000.0);
}

#[test]
fn users_are_hashed_and_bad_users_are_users() {
    let json = format!("{{{HEAD},\"total\":3,\"users\":[\"a\",\"b\",7],\"bad_users\":[\"b\",\"c\"]}}");
    let mut row = row(&json).unwrap();
    row.count_users(&UserKeys::default());
    assert_eq!((row.cell.users.estimate(), row.cell.bad_users.estimate()), (4, 2));
}

#[test]
fn what_cannot_be_true_is_refused_with_a_reason() {
    for (rest, reason) in [
        (r#""total":-1"#, "`total` is negative"),
        (r#""total":-0.5"#, "`total` is negative"),
        (r#""total":1,"bad":2"#, "`bad` is more than `total`"),
        (r#""total":1,"bad":-2"#, "`bad` is negative"),
        (r#""total":10,"raw":2.5"#, "`raw` must be a whole number"),
        (r#""total":10,"raw":0"#, "`raw` is 0 although `total` is not"),
        (r#""total":10,"raw":5,"raw_bad":6"#, "`raw_bad` is more than `raw`"),
        (r#""total":1e10"#, "`total` is larger than 1000000000 events; split the row"),
        (r#""bad":1"#, "`total` is missing"),
        (r#""total":null"#, "`total` is missing"),
        (r#""total":1,"sum":-1"#, "`sum` is negative"),
        (r#""total":1,"histogram":[[5,1],[5,0]]"#, "`histogram` has bounds that do not ascend"),
        (r#""total":1,"histogram":[[null,1],[5,0]]"#, "`histogram` has a null bound before the last one"),
        (r#""total":1,"histogram":[[null,1]]"#, "`histogram` has no finite bound"),
        (r#""total":1,"histogram":[[-1,1]]"#, "`histogram` has a negative bound"),
        (r#""total":1,"histogram":[[1,-1]]"#, "`histogram` is negative"),
        (r#""total":1,"histogram":[[1,2]]"#, "`histogram` counts more events than `total`"),
    ] {
        let json = format!("{{{HEAD},{rest}}}");
        assert_eq!(row(&json).unwrap_err(), reason, "{rest}");
    }
    for (json, reason) in [
        (r#"{"metric":"lcp","total":1}"#, "`bucket` is missing"),
        (r#"{"bucket":1,"metric":"lcp","total":1}"#, "`bucket` is not aligned to 1m"),
        (
            r#"{"bucket":"soon","metric":"lcp","total":1}"#,
            "`bucket` is neither a time like 2026-11-22T03:00:00Z nor milliseconds since 1970",
        ),
        (r#"{"bucket":0,"total":1}"#, "`metric` is missing"),
        (r#"{"bucket":0,"metric":"LCP","total":1}"#, "`LCP` is no metric"),
        (r#"{"bucket":0,"metric":"lcp","dims":{"planet":"mars"},"total":1}"#, "`lcp` has no dimension `planet`"),
        (r#"{"bucket":0,"metric":"page_view","total":1,"histogram":[[1,1]]}"#, "`page_view` has no values, so no `histogram`"),
    ] {
        assert_eq!(row(json).unwrap_err(), reason, "{json}");
    }
    for broken in [
        "",
        "nonsense",
        "{",
        "[]",
        "1",
        r#"{"bucket":0,"metric":"lcp","total":"5"}"#,
        r#"{"bucket":0,"metric":"lcp","total":1e400}"#,
        r#"{"bucket":0,"metric":"lcp","total":NaN}"#,
        r#"{"bucket":0,"metric":"lcp","dims":{"app":{}},"total":1}"#,
    ] {
        assert!(row(broken).unwrap_err().starts_with("no aggregate row: "), "{broken}");
    }
}

#[test]
fn lines_and_arrays_read_alike_and_bad_ones_cost_only_themselves() {
    let good = r#"{"bucket":0,"metric":"lcp","total":1}"#;
    let collect = |text: &str| {
        let mut out = Vec::new();
        reader().read(text.as_bytes(), |line, row| out.push((line, row.is_ok()))).map(|()| out)
    };
    assert_eq!(collect(&format!("{good}\r\n\nbroken\n{good}")).unwrap(), [(1, true), (3, false), (4, true)]);
    assert_eq!(collect(&format!(" [{good},\n5,{good}]")).unwrap(), [(1, true), (2, false), (3, true)]);
    assert!(collect(&format!("[{good}")).is_err());
    assert_eq!(collect("").unwrap(), []);
}

#[test]
fn the_quick_way_to_read_a_time_agrees_with_the_careful_one() {
    for day in 0..60_000_i64 {
        let at = Timestamp(day * 86_400_000 + (day * 7_919 % 86_400) * 1_000);
        let text = at.to_string();
        if let Some(quick) = quick_time(text.as_bytes()) {
            assert_eq!(quick, at, "{text}");
        }
    }
    assert!(quick_time(b"2026-02-28T23:59:59Z").is_some());
    for odd in ["2026-02-30T00:00:00Z", "2026-13-01T00:00:00Z", "2026-11-22T24:00:00Z", "2026-11-22 03:00:00Z", "2026-11-2aT03:00:00Z"] {
        assert_eq!(quick_time(odd.as_bytes()), None, "{odd}");
    }
}
