//! Composites, at any depth and by groups.

use super::*;

/// Two members, 99.9 % and 99 %, of whose requests so many of 1000 fail, and a composite of them over windows of its own.
fn composite(how: Combine, bad: [i64; 2], factor: &str) -> (Vec<String>, Arc<SloStatus>) {
    let member = |name: &str, app: &str, budget_ppm| Slo {
        name: name.into(),
        budget_ppm,
        sli: Sli::Good(Selector { metric: Metric::Request, filter: Filter([("app".into(), Match::Equal(app.into()))].into()) }),
        ..slo(vec![])
    };
    let sli = Sli::Composite { members: vec!["a".into(), "b".into()], how };
    let both = Slo { name: "both".into(), sli, ..slo(vec![tier(Severity::Page, "30m", "5m", factor)]) };
    let mut bench = Bench::new(RuleSet { slos: vec![both, member("a", "a", 1_000), member("b", "b", 10_000)], ..RuleSet::default() });
    for (id, app) in [(0, "a"), (1, "b")] {
        bench.evaluator.add_series(SeriesId(id), &Series::new(Metric::Request, [("app".into(), app.into())]));
    }
    let mut log = Vec::new();
    for minute in 0..40 {
        (0..2).for_each(|id| bench.feed(id, minute, 1000, bad[id as usize]));
        log.extend(bench.minute());
    }
    let status = bench.evaluator.statuses().into_iter().find(|status| status.slo == "both").unwrap();
    (log, status)
}

#[test]
fn a_composite_burns_as_its_worst_member_or_as_the_weighted_mean() {
    // 4 of 1000 at 99.9 % burn 4x, 10 of 1000 at 99 % burn 1x.
    let weighted = |a, b| Combine::Weighted(vec![Fraction::whole(a), Fraction::new(b, 2).unwrap()]);
    let burn = |status: &SloStatus| status.burn[&Span::minutes(30)].unwrap();
    let (log, status) = composite(Combine::Worst, [4, 10], "3.9");
    assert!(log[0].ends_with("both opened page") && (burn(&status) - 4.0).abs() < 1e-9, "{log:?}");
    assert!((status.budget_remaining.unwrap() + 3.0).abs() < 1e-9);
    // (1 × 4 + 1.5 × 1) / 2.5 = 2.2: exactly that is not above 2.2.
    let (log, status) = composite(weighted(1, 3), [4, 10], "2.2");
    assert!(log.is_empty() && (burn(&status) - 2.2).abs() < 1e-9, "{log:?}");
    assert!((status.budget_remaining.unwrap() + 1.2).abs() < 1e-9);
    let (log, _) = composite(weighted(1, 3), [4, 10], "2.199999");
    assert!(log[0].ends_with("both opened page"), "{log:?}");
    assert!(composite(weighted(1, 3), [0, 0], "2").0.is_empty());
}

/// One SLO with data of an app, of whose 1000 requests a minute so many fail from its 20th minute on.
struct Leaf {
    name: &'static str,
    budget_ppm: u32,
    bad: i64,
    /// What it has by region: the same again, `(de, us)` failing.
    regions: Option<(i64, i64)>,
}

const fn leaf(name: &'static str, budget_ppm: u32, bad: i64) -> Leaf {
    Leaf { name, budget_ppm, bad, regions: None }
}

fn made_of(name: &str, members: &[&str], how: Combine, tiers: Vec<Tier>) -> Slo {
    let members = members.iter().map(|member| (*member).to_owned()).collect();
    Slo { name: name.into(), sli: Sli::Composite { members, how }, ..slo(tiers) }
}

/// Runs 40 minutes; the composites stand before their members, so that no order helps.
fn composites(composites: Vec<Slo>, leaves: &[Leaf]) -> (Vec<String>, Vec<Arc<SloStatus>>, Evaluator) {
    let with_data = leaves.iter().map(|leaf| Slo {
        name: leaf.name.into(),
        budget_ppm: leaf.budget_ppm,
        sli: Sli::Good(Selector { metric: Metric::Request, filter: Filter([("app".into(), Match::Equal(leaf.name.into()))].into()) }),
        by: if leaf.regions.is_some() { vec!["region".into()] } else { Vec::new() },
        ..slo(vec![])
    });
    let mut bench = Bench::new(RuleSet { slos: composites.into_iter().chain(with_data).collect(), ..RuleSet::default() });
    let mut log = Vec::new();
    for minute in 0..40 {
        for (at, leaf) in leaves.iter().enumerate() {
            let parts = leaf.regions.map_or(vec![("", leaf.bad)], |(de, us)| vec![("de", de), ("us", us)]);
            for (number, (region, bad)) in parts.into_iter().enumerate() {
                let id = (2 * at + number) as u32;
                let dims = [("app", leaf.name), ("region", region)].map(|(name, value)| (name.into(), value.into()));
                bench.evaluator.add_series(SeriesId(id), &Series::new(Metric::Request, dims));
                bench.feed(id, minute, 1000, if minute < 20 { 0 } else { bad });
            }
        }
        log.extend(bench.minute());
    }
    let statuses = bench.evaluator.statuses();
    (log, statuses, bench.evaluator)
}

fn tenth(whole: i128) -> Fraction {
    Fraction::new(whole, 10).unwrap()
}

#[test]
fn a_composite_inside_a_weighted_one_counts_with_its_own_burn() {
    // Over the last ten minutes: a 4x, b 1x, c 2x. inner = (4 + 3 × 1) / 4 = 1.75x; outer = (3 × 1.75 + 2) / 4 = 1.8125x.
    let leaves = [leaf("a", 1_000, 4), leaf("b", 10_000, 10), leaf("c", 1_000, 2)];
    let mean = |a, b| Combine::Weighted(vec![tenth(a), tenth(b)]);
    let run = |how: Combine, inner: Combine, factor: &str| {
        let tiers = vec![tier(Severity::Page, "10m", "5m", factor)];
        let outer = made_of("outer", &["inner", "c"], how, tiers);
        composites(vec![outer, made_of("inner", &["a", "b"], inner, vec![])], &leaves)
    };
    let ten = Span::minutes(10);
    let burn = |statuses: &[Arc<SloStatus>], name: &str| statuses.iter().find(|status| status.slo == name).unwrap().burn.get(&ten).copied();
    let (log, statuses, evaluator) = run(mean(3, 1), mean(1, 3), "1.8125");
    assert!(log.is_empty(), "exactly at the limit is not above it: {log:?}");
    assert!((burn(&statuses, "outer").unwrap().unwrap() - 1.8125).abs() < 1e-12);
    assert_eq!(evaluator.combined_burn("outer", &Labels::new(), Some(ten)), burn(&statuses, "outer").unwrap());
    assert_eq!(run(mean(3, 1), mean(1, 3), "1.812499").0, ["30 outer opened page"]);
    // The worst of a and b burns 4x: outer = (3 × 4 + 2) / 4 = 3.5x.
    assert!(run(mean(3, 1), Combine::Worst, "3.5").0.is_empty());
    let (log, statuses, _) = run(mean(3, 1), Combine::Worst, "3.499999");
    assert_eq!(log, ["30 outer opened page"]);
    assert!((burn(&statuses, "outer").unwrap().unwrap() - 3.5).abs() < 1e-12);
    // The worst of (1.75x, 2x), and of (4x, 2x).
    assert!(run(Combine::Worst, mean(1, 3), "2").0.is_empty());
    assert_eq!(run(Combine::Worst, mean(1, 3), "1.999999").0, ["30 outer opened page"]);
    assert!(run(Combine::Worst, Combine::Worst, "4").0.is_empty());
    assert_eq!(run(Combine::Worst, Combine::Worst, "3.999999").0, ["30 outer opened page"]);
}

#[test]
fn a_composite_counts_the_traffic_correction_of_its_members() {
    // Eight days of 1000 requests a minute by day and none by night, then a night's ten minutes of ten each, of which one fails.
    let run = |corrected: bool, how: Combine, factor: &str| {
        let member =
            |name: &str| Slo { name: name.into(), traffic_corrected: corrected, window: SloWindow::Rolling(Span::days(7)), ..slo(vec![]) };
        let both = made_of("both", &["a", "b"], how, vec![tier(Severity::Page, "10m", "5m", factor)]);
        let mut bench = Bench::new(RuleSet { slos: vec![both, member("a"), member("b")], ..RuleSet::default() });
        bench.series(0, "de");
        let all = 8 * 1440;
        for minute in 0..all - 10 {
            bench.feed(0, minute, if minute % 1440 < 720 { 1000 } else { 0 }, 0);
            bench.evaluator.replay(true);
        }
        let mut burn = None;
        for minute in all - 10..all {
            bench.feed(0, minute, 10, 1);
            let events = bench.evaluator.advance(true);
            burn = events.into_iter().find(|event| event.rule == "both").and_then(|event| event.figures.burn_long).or(burn);
        }
        burn
    };
    for how in [Combine::Worst, Combine::Weighted(vec![Fraction::whole(1), Fraction::whole(1)])] {
        assert_eq!(run(false, how.clone(), "14.4"), Some(100.0), "one of ten, from the first minute on");
        assert_eq!(run(true, how.clone(), "14.4"), None);
        // Ten bad of the 5000.1 that ten minutes of the week see, of which 0.1 % may be: 1.99996x, above 1.99 with the tenth.
        let burn = run(true, how, "1.99").unwrap();
        assert!((burn - 10.0 / 5.000_099_2).abs() < 1e-6, "{burn}");
    }
}

#[test]
fn what_is_left_of_a_composite_of_composites_is_known() {
    // Over everything: half the time healthy, so a 2x and b 0.5x of their budgets: the mean 1.25x, -25 % left.
    let half = Combine::Weighted(vec![Fraction::whole(1), Fraction::whole(1)]);
    let outer = made_of("outer", &["inner"], Combine::Worst, vec![tier(Severity::Page, "10m", "5m", "14.4")]);
    let all = vec![outer, made_of("inner", &["a", "b"], half, vec![])];
    let (_, _, evaluator) = composites(all, &[leaf("a", 1_000, 4), leaf("b", 10_000, 10)]);
    let mut left = BTreeMap::new();
    evaluator.budgets(|slo, _, counts, state| {
        left.insert(slo.name.clone(), (counts.total, state.unwrap().remaining));
    });
    for name in ["outer", "inner"] {
        assert!(left[name].0 == left["a"].0 + left["b"].0 && (left[name].1 + 0.25).abs() < 1e-12, "{left:?}");
    }
}

#[test]
fn a_member_that_is_not_measured_leaves_composites_of_composites_unknown() {
    let unknown = |outer: Combine, inner: Combine| {
        let tiers = vec![tier(Severity::Page, "10m", "5m", "14.4")];
        let all = vec![made_of("outer", &["inner", "a"], outer, tiers), made_of("inner", &["a", "nobody"], inner, vec![])];
        let silent = Leaf { name: "a", budget_ppm: 1_000, bad: 0, regions: None };
        let nobody = slo(vec![]);
        let mut all = all;
        all.push(Slo { name: "nobody".into(), ..nobody });
        let (log, statuses, _) = composites(all, &[silent]);
        assert!(log.is_empty(), "{log:?}");
        statuses.iter().find(|status| status.slo == "outer").unwrap().tiers[0].verdict
    };
    let half = || Combine::Weighted(vec![Fraction::whole(1), Fraction::whole(1)]);
    for outer in [Combine::Worst, half()] {
        for inner in [Combine::Worst, half()] {
            assert_eq!(unknown(outer.clone(), inner), TierVerdict::Unknown);
        }
    }
}

#[test]
fn a_composite_by_region_has_the_groups_of_its_members() {
    let leaves = [
        Leaf { name: "a", budget_ppm: 1_000, bad: 0, regions: Some((40, 0)) },
        Leaf { name: "b", budget_ppm: 1_000, bad: 0, regions: Some((0, 2)) },
    ];
    let mut both = made_of("both", &["a", "b"], Combine::Worst, vec![tier(Severity::Page, "10m", "5m", "14.4")]);
    both.by = vec!["region".into()];
    let (log, statuses, _) = composites(vec![both], &leaves);
    assert_eq!(log, [r#"24 both{region="de"} opened page"#]);
    let left = |region: &str| {
        let status = statuses.iter().find(|status| status.slo == "both" && status.group.get("region").is_some_and(|have| have == region));
        status.unwrap().burn[&Span::minutes(10)].unwrap()
    };
    assert!((left("de") - 40.0).abs() < 1e-9 && (left("us") - 2.0).abs() < 1e-9);
}

#[test]
fn excluded_time_is_no_hole_in_a_composite() {
    let maintenance = Maintenance {
        name: "work".into(),
        place: Default::default(),
        when: Filter::default(),
        times: MaintenanceTimes::Once { starts: Timestamp(5 * M.0), ends: Timestamp(15 * M.0) },
        budget: MaintenanceBudget::Exclude,
    };
    // Nobody sends while the work goes on, and nothing was lost: ten of ten minutes at 4x are 4x.
    let both = made_of("both", &["a"], Combine::Worst, vec![tier(Severity::Page, "20m", "5m", "3.9")]);
    let member = Slo { name: "a".into(), ..slo(vec![]) };
    let mut bench = Bench::new(RuleSet { slos: vec![both, member], maintenances: vec![maintenance], ..RuleSet::default() });
    bench.series(0, "de");
    let mut log = Vec::new();
    for minute in 0..25 {
        if !(5..15).contains(&minute) {
            bench.feed(0, minute, 1000, if minute < 5 { 0 } else { 4 });
        }
        log.extend(bench.minute());
    }
    assert_eq!(log, ["25 both opened page"]);
}
