//! SLOs by the thousand, as a large site has them: one a route, with the workbook's four tiers.

use burnwatch::domain::filter::{Filter, Match};
use burnwatch::domain::metric::Metric;
use burnwatch::domain::rule::{Labels, NoData, Op, Selector, Severity, Sli, Slo, SloWindow, Tier};
use burnwatch::domain::time::Span;

/// The SLO of route `n`, with a budget over so many days.
pub fn slo(n: usize, days: i64) -> Slo {
    let window = Span::days(days);
    let tiers = [
        (Severity::Page, Span::hours(1), Span::minutes(5), "14.4"),
        (Severity::Page, Span::hours(6), Span::minutes(30), "6"),
        (Severity::Ticket, Span::hours(24), Span::hours(2), "3"),
        (Severity::Ticket, Span::days(3), Span::hours(6), "1"),
    ];
    let tier = |(severity, long, short, factor): (Severity, Span, Span, &str)| Tier {
        place: Default::default(),
        severity,
        long,
        short,
        factor: factor.parse().expect("a plain decimal"),
        op: Op::Above,
        pending: Span::ZERO,
        keep_firing: Span::ZERO,
    };
    let filter = [("app", "shop".to_owned()), ("route", format!("/{n}"))].map(|(name, value)| (name.to_owned(), Match::Equal(value)));
    Slo {
        name: format!("requests-of-route-{n}"),
        place: Default::default(),
        description: "Requests succeed".into(),
        owner: format!("team-{}", n % 50),
        service: format!("service-{}", n % 200),
        budget_ppm: 1_000,
        window: SloWindow::Rolling(window),
        sli: Sli::Good(Selector { metric: Metric::Request, filter: Filter(filter.into()) }),
        by: Vec::new(),
        tiers: tiers.into_iter().map(tier).collect(),
        min_events: 0,
        min_bad: None,
        confidence: None,
        traffic_corrected: false,
        no_data: NoData::Keep,
        labels: Labels::new(),
        runbook: None,
        dashboard: None,
        tier: None,
        enabled: true,
        budget_policy: None,
    }
}
