//! SLOs by the thousand, as a large site has them: one a route, with the workbook's four tiers.

use burnwatch::domain::filter::{Filter, Match};
use burnwatch::domain::metric::Metric;
use burnwatch::domain::rule::{Selector, Severity, Sli, Slo, SloWindow, Tier};
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
    let tier = |(severity, long, short, factor): (Severity, Span, Span, &str)| {
        Tier::new(severity, long, short, factor.parse().expect("a plain decimal"))
    };
    let filter = [("app", "shop".to_owned()), ("route", format!("/{n}"))].map(|(name, value)| (name.to_owned(), Match::Equal(value)));
    let sli = Sli::Good(Selector { metric: Metric::Request, filter: Filter(filter.into()) });
    Slo {
        description: "Requests succeed".into(),
        owner: format!("team-{}", n % 50),
        service: format!("service-{}", n % 200),
        window: SloWindow::Rolling(window),
        tiers: tiers.into_iter().map(tier).collect(),
        ..Slo::new(format!("requests-of-route-{n}"), 1_000, sli)
    }
}
