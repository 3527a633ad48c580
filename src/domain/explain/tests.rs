use proptest::prelude::*;

use super::super::notification::ChangeKind;
use super::super::rule::Labels;
use super::*;

/// release, region: N, B -> n, b; one user an event.
type Cell = (&'static str, &'static str, f64, f64, f64, f64);

fn rows(cells: &[Cell]) -> Vec<Row<'static>> {
    let row = |cell: &Cell| Row {
        dims: vec![("release", cell.0), ("region", cell.1)],
        n: cell.4,
        b: cell.5,
        raw: cell.4 as u64,
        raw_bad: cell.5 as u64,
        bad_users: cell.5 as u64,
        baseline_n: cell.2,
        baseline_b: cell.3,
    };
    cells.iter().map(row).collect()
}

fn ask(rows: &[Row<'_>]) -> Explanation {
    explain(&Input { app: "shop", rows, changes: &[], window_start: Timestamp(0) })
}

fn deploy(release: &str, minute: i64) -> Change {
    Change {
        id: format!("deploy-{release}"),
        kind: ChangeKind::Deploy,
        at: Timestamp(0) + Span::minutes(minute),
        app: "shop".into(),
        release: Some(release.into()),
        text: None,
        url: None,
    }
}

fn near(got: f64, want: f64) {
    assert!((got - want).abs() <= 0.01, "{got} is not {want}");
}

fn named(answer: &Explanation) -> Vec<String> {
    let text = |values: &Values| values.all().join("|");
    let one =
        |found: &Found| found.suspect.terms.iter().map(|(name, values)| format!("{name}={}", text(values))).collect::<Vec<_>>().join(" ");
    answer.found.iter().map(one).collect()
}

/// Gain of the rows that have these values.
fn gain(rows: &[Row<'_>], wanted: &[(&str, &str)]) -> f64 {
    let input = Input { app: "shop", rows, changes: &[], window_start: Timestamp(0) };
    let mut table = Table::new(&input);
    expectation::expect(&mut table);
    let fits = |row: &u32| {
        let dims = &rows[table.rows[*row as usize].input].dims;
        wanted.iter().all(|want| dims.contains(want))
    };
    let chosen: Vec<u32> = (0..rows.len() as u32).filter(fits).collect();
    segment::Judge::new(&table, &input, 1.0, 1.0).gain(&chosen, &table.sums(&chosen))
}

const A: [Cell; 4] = [
    ("2.3.0", "DE", 40000.0, 40.0, 4000.0, 4.0),
    ("2.3.0", "US", 60000.0, 60.0, 6000.0, 6.0),
    ("2.3.1", "DE", 0.0, 0.0, 1000.0, 300.0),
    ("2.3.1", "US", 0.0, 0.0, 1500.0, 2.0),
];
const B: [Cell; 4] = [
    ("2.3.0", "DE", 40000.0, 40.0, 4000.0, 404.0),
    ("2.3.0", "US", 60000.0, 60.0, 6000.0, 606.0),
    ("2.3.1", "DE", 4000.0, 4.0, 1000.0, 101.0),
    ("2.3.1", "US", 6000.0, 6.0, 1500.0, 152.0),
];
const C: [Cell; 4] = [
    ("2.3.0", "DE", 40000.0, 40.0, 4000.0, 4.0),
    ("2.3.0", "US", 60000.0, 60.0, 6000.0, 606.0),
    ("2.3.1", "DE", 4000.0, 4.0, 1000.0, 100.0),
    ("2.3.1", "US", 6000.0, 6.0, 1500.0, 150.0),
];

#[test]
fn worked_example_a_a_bad_release_in_one_region() {
    let rows = rows(&A);
    near(gain(&rows, &[]), 707.62);
    near(gain(&rows, &[("release", "2.3.1")]), 1165.62);
    near(gain(&rows, &[("region", "DE")]), 958.55);
    near(gain(&rows, &[("release", "2.3.1"), ("region", "DE")]), 1460.74);

    let answer = explain(&Input { app: "shop", rows: &rows, changes: &[deploy("2.3.1", -10)], window_start: Timestamp(0) });
    assert_eq!((answer.verdict, answer.reason), (Verdict::Segment, Reason::Carried));
    assert_eq!(named(&answer), ["region=DE release=2.3.1"]);
    near(answer.excess, 299.4881);
    let found = &answer.found[0];
    near(found.score, 1539.33);
    let suspect = &found.suspect;
    assert!((suspect.excess_share - 0.9984).abs() < 5e-5, "{}", suspect.excess_share);
    assert!((suspect.bad_share - 0.9615).abs() < 5e-5, "{}", suspect.bad_share);
    assert!((suspect.traffic_share - 0.08).abs() < 1e-12);
    assert!(suspect.new);
    assert_eq!(suspect.change.as_deref(), Some("deploy-2.3.1"));
    assert_eq!(found.rows, [2]);
    assert_eq!(answer.signature(), "release:shop/2.3.1");
    assert_eq!(
        sentence(&answer, &Labels::new()),
        "Nearly all of the failures above normal come from release 2.3.1 in region DE, which has 8 % of the traffic; everyone else fails as usual."
    );
}

#[test]
fn worked_example_a_expects_what_it_says() {
    let rows = rows(&A);
    let input = Input { app: "shop", rows: &rows, changes: &[], window_start: Timestamp(0) };
    let mut table = Table::new(&input);
    expectation::expect(&mut table);
    for (row, want) in table.rows.iter().zip([4.0, 6.0, 1.0048, 1.5072]) {
        assert!((row.n * row.r - want).abs() < 5e-5, "{} is not {want}", row.n * row.r);
    }
}

#[test]
fn worked_example_b_a_common_rise_has_no_culprit() {
    let rows = rows(&B);
    near(gain(&rows, &[]), 4643.70);
    near(gain(&rows, &[("release", "2.3.1")]), 930.62);
    near(gain(&rows, &[("region", "DE")]), 1856.54);
    let answer = ask(&rows);
    near(answer.excess, 1250.50);
    assert_eq!(answer.verdict, Verdict::Global);
    assert_eq!(answer.reason, Reason::NoWitness);
    assert_eq!((answer.signature().as_str(), answer.found.len()), ("global:shop", 0));
}

#[test]
fn worked_example_c_two_causes_at_once() {
    let rows = rows(&C);
    near(gain(&rows, &[("region", "US")]), 2777.73);
    let answer = ask(&rows);
    assert_eq!(named(&answer), ["region=US", "release=2.3.1"]);
    near(answer.found[1].score, 366.59 - 7.0);
    assert!((answer.found[0].suspect.excess_share - 0.8832).abs() < 5e-5);
    assert!((answer.found[1].suspect.excess_share - 0.2920).abs() < 5e-5);
    assert_eq!(answer.signature(), "region:US");
    assert_eq!(
        sentence(&answer, &Labels::new()),
        "88 % of the failures above normal come from region US, which has 60 % of the traffic, and 29 % from release 2.3.1, which has 20 % (they overlap); everyone else fails as usual."
    );
}

#[test]
fn one_client_is_not_a_segment() {
    let mut rows = rows(&A);
    rows[2].bad_users = 1;
    // 300 failures of one user count as five, which is too little to say anything.
    assert_eq!((ask(&rows).verdict, ask(&rows).reason), (Verdict::Unknown, Reason::TooFew));
    rows[2].bad_users = 60;
    assert_eq!(named(&ask(&rows)), ["region=DE release=2.3.1"]);
}

#[test]
fn what_is_reported_is_uncapped() {
    let mut rows = rows(&A);
    rows[2].bad_users = 40;
    let answer = ask(&rows);
    assert!((answer.found[0].suspect.bad_share - 300.0 / 312.0).abs() < 1e-9);
}

#[test]
fn unknown_users_are_not_taken_for_one_client() {
    let mut rows = rows(&A);
    rows.iter_mut().for_each(|row| row.bad_users = 0);
    let answer = ask(&rows);
    assert_eq!(answer.signature(), "release:shop/2.3.1");
    assert_eq!(users_text(&answer.found[0]), None);
}

#[test]
fn fewer_than_three_merged_users_sign_nothing() {
    let mut answer = ask(&rows(&A));
    let mut asked = Vec::new();
    answer.count_users(|rows| {
        asked.push(rows.to_vec());
        2
    });
    assert_eq!(asked, [vec![2]]);
    assert_eq!((answer.signature().as_str(), answer.found[0].suspect.users), ("", 2));
    assert_eq!(users_text(&answer.found[0]).as_deref(), Some("one client"));
    answer.count_users(|_| 812);
    assert_eq!((answer.signature().as_str(), users_text(&answer.found[0]).as_deref()), ("release:shop/2.3.1", Some("812 users")));
}

#[test]
fn a_sampling_app_says_at_least() {
    let mut rows = rows(&A);
    for row in &mut rows {
        (row.n, row.b, row.baseline_n, row.baseline_b) = (row.n * 10.0, row.b * 10.0, row.baseline_n * 10.0, row.baseline_b * 10.0);
    }
    let mut answer = ask(&rows);
    answer.count_users(|_| 40);
    assert_eq!(named(&answer), ["region=DE release=2.3.1"]);
    assert_eq!(users_text(&answer.found[0]).as_deref(), Some("at least 40 users (about 400)"));
    // Evidence is counted in received events, so weights alone prove nothing.
    assert!(answer.found[0].score < 2000.0, "{}", answer.found[0].score);
}

/// `lines` of (route, region) with (N, B, n, b).
fn by_route(lines: &[(&'static str, &'static str, f64, f64, f64, f64)]) -> Vec<Row<'static>> {
    let mut rows = rows(lines);
    rows.iter_mut().for_each(|row| row.dims[0].0 = "route");
    rows
}

#[test]
fn an_always_bad_route_is_not_blamed_for_what_it_always_does() {
    // `/legacy` fails for one in five as ever; `/checkout` is new to failing.
    let answer = ask(&by_route(&[
        ("/legacy", "DE", 20000.0, 4000.0, 2000.0, 400.0),
        ("/legacy", "US", 20000.0, 4000.0, 2000.0, 401.0),
        ("/checkout", "DE", 20000.0, 20.0, 2000.0, 120.0),
        ("/checkout", "US", 20000.0, 20.0, 2000.0, 118.0),
        ("/home", "DE", 40000.0, 40.0, 4000.0, 4.0),
        ("/home", "US", 40000.0, 40.0, 4000.0, 4.0),
    ]));
    assert_eq!(named(&answer), ["route=/checkout"]);
}

#[test]
fn a_fault_on_top_of_different_backgrounds_is_found() {
    // A tenth of the events in DE fails on top, on the bad route and on the good ones.
    let answer = ask(&by_route(&[
        ("/legacy", "DE", 20000.0, 6000.0, 2000.0, 740.0),
        ("/legacy", "US", 20000.0, 6000.0, 2000.0, 600.0),
        ("/checkout", "DE", 20000.0, 20.0, 2000.0, 202.0),
        ("/checkout", "US", 20000.0, 20.0, 2000.0, 2.0),
        ("/home", "DE", 20000.0, 20.0, 2000.0, 202.0),
        ("/home", "US", 20000.0, 20.0, 2000.0, 2.0),
    ]));
    // b < 2 e in DE as a whole, so DE is named with the routes where it stands out.
    assert_eq!(named(&answer), ["region=DE route=/checkout|/home"]);
    let answer = ask(&by_route(&[
        ("/legacy", "DE", 2000.0, 600.0, 200.0, 78.0),
        ("/legacy", "US", 2000.0, 600.0, 200.0, 60.0),
        ("/checkout", "DE", 20000.0, 20.0, 2000.0, 202.0),
        ("/checkout", "US", 20000.0, 20.0, 2000.0, 2.0),
        ("/home", "DE", 20000.0, 20.0, 2000.0, 202.0),
        ("/home", "US", 20000.0, 20.0, 2000.0, 2.0),
    ]));
    assert_eq!(named(&answer), ["region=DE"]);
}

#[test]
fn a_shift_of_traffic_blames_nobody() {
    // Five times the traffic on the route that always fails: more failures, none above normal.
    let answer = ask(&by_route(&[
        ("/legacy", "DE", 20000.0, 4000.0, 10000.0, 2000.0),
        ("/legacy", "US", 20000.0, 4000.0, 10000.0, 2000.0),
        ("/home", "DE", 40000.0, 40.0, 4000.0, 4.0),
        ("/home", "US", 40000.0, 40.0, 4000.0, 4.0),
    ]));
    assert!(answer.found.is_empty());
    assert_ne!(answer.verdict, Verdict::Segment);
}

#[test]
fn an_innocent_new_release_is_not_guilty() {
    let mut rows = rows(&B);
    // The release is new and was deployed just now, but everyone fails alike.
    rows[2].baseline_n = 0.0;
    rows[2].baseline_b = 0.0;
    rows[3].baseline_n = 0.0;
    rows[3].baseline_b = 0.0;
    let answer = explain(&Input { app: "shop", rows: &rows, changes: &[deploy("2.3.1", -5)], window_start: Timestamp(0) });
    assert_eq!(answer.verdict, Verdict::Global);
}

#[test]
fn a_change_counts_only_near_the_start_and_for_its_own_app() {
    let rows = rows(&A);
    let change_at = |change: Change| {
        let answer = explain(&Input { app: "shop", rows: &rows, changes: &[change], window_start: Timestamp(0) });
        answer.found[0].suspect.change.is_some()
    };
    assert!(change_at(deploy("2.3.1", -60)) && change_at(deploy("2.3.1", 5)));
    assert!(!change_at(deploy("2.3.1", -61)) && !change_at(deploy("2.3.1", 6)));
    assert!(!change_at(deploy("2.3.0", -5)));
    assert!(!change_at(Change { app: "blog".into(), ..deploy("2.3.1", -5) }));
}

#[test]
fn a_flag_names_its_cohort() {
    let mut rows = rows(&A);
    rows.iter_mut().for_each(|row| row.dims[0].0 = "cohort");
    rows.iter_mut().filter(|row| row.dims[0].1 == "2.3.1").for_each(|row| row.dims[0].1 = "new-checkout=on");
    let flag = Change { kind: ChangeKind::Flag, release: None, text: Some("new-checkout to 10 %".into()), ..deploy("", -3) };
    let answer = explain(&Input { app: "shop", rows: &rows, changes: &[flag], window_start: Timestamp(0) });
    assert_eq!(named(&answer), ["cohort=new-checkout=on region=DE"]);
    assert!(answer.found[0].suspect.change.is_some());
}

#[test]
fn several_values_of_one_dimension_are_one_suspect() {
    let regions = ["AT", "CH", "DE", "ES", "FR", "IT", "PL", "US"];
    let lines: Vec<Cell> = ["1.0", "1.1"]
        .into_iter()
        .flat_map(|release| regions.map(|region| (release, region, 20000.0, 20.0, 2000.0, if region < "DF" { 200.0 } else { 2.0 })))
        .collect();
    let answer = ask(&rows(&lines));
    assert_eq!(named(&answer), ["region=AT|CH|DE"]);
    assert_eq!(answer.signature(), "region:AT,CH,DE");
    assert!(
        sentence(&answer, &Labels::new()).contains("region AT, CH or DE, which has 38 % of the traffic"),
        "{}",
        sentence(&answer, &Labels::new())
    );
}

#[test]
fn without_a_past_or_with_too_few_nothing_is_said() {
    let mut fresh = rows(&A);
    fresh.iter_mut().for_each(|row| (row.baseline_n, row.baseline_b) = (0.0, 0.0));
    assert_eq!((ask(&fresh).verdict, ask(&fresh).reason), (Verdict::Unknown, Reason::NoBaseline));
    let few = rows(&[("1", "DE", 1000.0, 1.0, 100.0, 9.0), ("1", "US", 1000.0, 1.0, 100.0, 0.0)]);
    assert_eq!((ask(&few).verdict, ask(&few).reason, ask(&few).signature().as_str()), (Verdict::Unknown, Reason::TooFew, ""));
    let calm = rows(&[("1", "DE", 1000.0, 200.0, 100.0, 12.0), ("1", "US", 1000.0, 200.0, 100.0, 12.0)]);
    assert_eq!((ask(&calm).verdict, ask(&calm).reason), (Verdict::Unknown, Reason::NoExcess));
    assert_eq!(ask(&[]).verdict, Verdict::Unknown);
}

#[test]
fn an_absent_value_is_a_value_and_hostile_text_stays_on_its_line() {
    let mut lines = rows(&A);
    lines[0].dims[1].1 = "D\nE\u{202e}";
    lines[2].dims = vec![("region", "D\nE\u{202e}")];
    lines[3].dims = vec![("region", "US")];
    let answer = ask(&lines);
    assert_eq!(answer.found[0].suspect.terms.get("release"), Some(&Values::One(String::new())));
    assert!(
        sentence(&answer, &Labels::new()).contains("come from no release in region D\u{fffd}E\u{fffd},"),
        "{}",
        sentence(&answer, &Labels::new())
    );
    assert!(!sentence(&answer, &Labels::new()).contains(['\n', '\u{202e}']));
}

#[test]
fn the_app_of_the_rows_signs() {
    let mut lines = rows(&A);
    lines.iter_mut().for_each(|row| row.dims.push(("app", "store")));
    assert_eq!(ask(&lines).signature(), "release:store/2.3.1");
}

#[test]
fn computations_are_due_each_minute_and_later_every_five() {
    let at = |minute| Timestamp(0) + Span::minutes(minute);
    assert!(due(at(0), at(3), at(4)) && due(at(0), at(9), at(10)));
    assert!(!due(at(0), at(11), at(12)) && due(at(0), at(11), at(16)));
    assert_eq!(baseline(at(100), Span::minutes(2)), (at(95) - Span::DAY, at(95)));
    assert_eq!(baseline(at(100), Span::minutes(30)).1, at(70));
}

/// Rows over three dimensions, some of them bad beyond their past.
fn any_rows() -> impl Strategy<Value = Vec<Row<'static>>> {
    const RELEASES: [&str; 3] = ["1", "2", "3"];
    const REGIONS: [&str; 4] = ["at", "de", "", "__other__"];
    const OS: [&str; 2] = ["ios", "android"];
    let row = (0..3_usize, 0..4_usize, 0..2_usize, 0..3000_u32, 0..=100_u32, 0..50_u64, 0..20000_u32, 0..=100_u32);
    let row = row.prop_map(|(release, region, os, n, bad, users, past, past_bad)| {
        let share = |n: u32, bad: u32| (f64::from(n) * f64::from(bad * bad * bad) / 1e6).floor();
        Row {
            dims: vec![("release", RELEASES[release]), ("region", REGIONS[region]), ("os", OS[os])],
            n: f64::from(n),
            b: share(n, bad),
            raw: u64::from(n),
            raw_bad: share(n, bad) as u64,
            bad_users: users,
            baseline_n: f64::from(past),
            baseline_b: share(past, past_bad),
        }
    });
    proptest::collection::vec(row, 0..40)
}

proptest! {
    #[test]
    fn the_same_rows_in_any_order_give_the_same_answer(rows in any_rows(), seed in any::<u64>()) {
        let mut order: Vec<usize> = (0..rows.len()).collect();
        let mut state = seed | 1;
        for at in (1..order.len()).rev() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            order.swap(at, (state >> 33) as usize % (at + 1));
        }
        let mixed: Vec<Row<'_>> = order.iter().map(|at| {
            let mut row = rows[*at].clone();
            row.dims.reverse();
            row
        }).collect();
        let forth = ask(&rows);
        let mut back = ask(&mixed);
        for found in &mut back.found {
            found.rows = found.rows.iter().map(|at| order[*at]).collect();
            found.rows.sort_unstable();
        }
        // Rows that are equal in every number may stand for each other; compare what they hold.
        let held = |answer: &Explanation| answer.found.iter().map(|found| found.rows.len()).collect::<Vec<_>>();
        prop_assert_eq!(held(&forth), held(&back));
        for answer in [&mut back] {
            for (ours, theirs) in answer.found.iter_mut().zip(&forth.found) {
                ours.rows.clone_from(&theirs.rows);
            }
        }
        prop_assert_eq!(forth, back);
    }

    #[test]
    fn shares_are_shares_and_nobody_is_blamed_without_excess(rows in any_rows()) {
        let answer = ask(&rows);
        for found in &answer.found {
            prop_assert!((0.0..=1.0).contains(&found.suspect.bad_share));
            prop_assert!((0.0..=1.0).contains(&found.suspect.traffic_share));
            prop_assert!(found.suspect.excess_share >= 0.05 - 1e-9);
            prop_assert!(found.score >= SCORE_MIN);
            prop_assert!(!found.rows.is_empty());
        }
        prop_assert_eq!(answer.found.is_empty(), answer.verdict != Verdict::Segment);
        prop_assert!(answer.excess.is_finite());
    }
}
