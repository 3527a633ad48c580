//! What an incident is called: a sentence that somebody who never saw the rules understands, with who fails before anything else.

use super::super::cell::{Counts, Limit};
use super::super::explain;
use super::super::filter::{Filter, Match};
use super::super::metric::{Metric, Vital};
use super::super::rule::{Labels, Selector};
use super::Source;

/// "1 in 9 requests to /api/checkout in region de fails"; `None` where nothing was bad.
pub fn failing(source: &Source, groups: &[Labels], sum: Counts) -> Option<String> {
    if sum.total <= 0 || sum.bad <= 0 {
        return None;
    }
    let (who, one) = part(sum.bad as f64 / sum.total as f64);
    let (what, verb) = (what(source), verb(source, one));
    let place = match groups {
        [group] => explain::place(group),
        groups => format!(" in {} groups", groups.len()),
    };
    // "46 % of those who reach cart", but "1 in 4 who reach cart".
    let those = if what.starts_with(WHO) && !one { "those " } else { "" };
    Some(format!("{who} {those}{what}{place} {verb}"))
}

/// How people on their way through a funnel are called.
const WHO: &str = "who";

/// How many of all, and whether the verb after it is about one of them.
fn part(share: f64) -> (String, bool) {
    match share {
        share if share > 0.4 => (format!("{:.0} % of", (share * 100.0).min(100.0)), false),
        share if share >= 0.0005 => (format!("1 in {:.0}", 1.0 / share), true),
        _ => ("Fewer than 1 in 2000".to_owned(), false),
    }
}

/// "requests to /api/checkout": all of which some are bad.
fn what(source: &Source) -> String {
    let (metric, filter) = match source {
        Source::Events { metric, filter, .. } => (metric, filter),
        Source::Ratio { total: of, .. } | Source::Rate { of, .. } => (&of.metric, &of.filter),
    };
    let noun = match (metric, step(filter)) {
        (Metric::Step, Some(step)) => format!("{WHO} reach {step}"),
        (Metric::Custom(name), _) => format!("{name} events"),
        _ => metric.plural().to_owned(),
    };
    let place = match (filter.get("route"), filter.equal("app")) {
        // Steps are reached in a funnel, wherever it leads.
        _ if *metric == Metric::Step => None,
        (Some(Match::Equal(route)), _) if !route.is_empty() => Some(explain::clean(route)),
        (Some(Match::Prefix(route)), _) => Some(format!("{}…", explain::clean(route))),
        (_, Some(app)) if !app.is_empty() => Some(explain::clean(app)),
        _ => None,
    };
    let at = match metric {
        Metric::Request if filter.get("route").is_some() => "to",
        _ => "of",
    };
    place.map_or(noun.clone(), |place| format!("{noun} {at} {place}"))
}

fn step(filter: &Filter) -> Option<String> {
    filter.equal("step").map(explain::clean)
}

/// "fails", "takes longer than 2.5 s to paint".
fn verb(source: &Source, one: bool) -> String {
    let of = |singular: &'static str, plural: &'static str| if one { singular } else { plural };
    match source {
        Source::Events { limit: Some(limit), metric, .. } => match metric {
            Metric::Vital(Vital::Cls) => format!("{} by more than {}", of("shifts", "shift"), limit.value),
            Metric::Vital(vital) => format!("{} longer than {} {}", of("takes", "take"), length(*limit), aim(*vital)),
            _ => format!("{} longer than {}", of("takes", "take"), length(*limit)),
        },
        Source::Events { limit: None, .. } => of("fails", "fail").to_owned(),
        Source::Ratio { good, .. } => match (&good.metric, step(&good.filter)) {
            (Metric::Step, Some(step)) => format!("{} lost before {step}", of("is", "are")),
            _ => format!("{} lost", of("is", "are")),
        },
        Source::Rate { bad: Selector { metric, .. }, .. } => format!("{} {}", of("has", "have"), metric.plural()),
    }
}

/// What a page load is waited for; a shift is no time.
const fn aim(vital: Vital) -> &'static str {
    match vital {
        Vital::Lcp => "to paint",
        Vital::Fcp => "to paint anything",
        Vital::Ttfb => "for the first byte",
        Vital::Inp | Vital::Fid | Vital::Cls => "to react",
        Vital::Tti => "to become usable",
    }
}

/// Milliseconds as people say them.
fn length(limit: Limit) -> String {
    if limit.value >= 1_000.0 { format!("{} s", limit.value / 1_000.0) } else { format!("{} ms", limit.value) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(pairs: &[(&str, &str)]) -> Filter {
        Filter(pairs.iter().map(|(name, value)| ((*name).to_owned(), Match::Equal((*value).to_owned()))).collect())
    }

    fn said(source: &Source, groups: &[Labels], bad: i64) -> String {
        failing(source, groups, Counts::plain(1_000, bad)).unwrap_or_default()
    }

    fn events(metric: Metric, pairs: &[(&str, &str)], limit: Option<f64>) -> Source {
        Source::Events { metric, filter: filter(pairs), limit: limit.map(|value| Limit { value, inclusive: true }) }
    }

    #[test]
    fn a_title_begins_with_who_fails_and_names_no_rule() {
        let checkout = events(Metric::Request, &[("app", "shop"), ("route", "/api/checkout")], None);
        let whole = [Labels::new()];
        assert_eq!(said(&checkout, &whole, 111), "1 in 9 requests to /api/checkout fails");
        assert_eq!(said(&checkout, &whole, 720), "72 % of requests to /api/checkout fail");
        assert_eq!(said(&checkout, &whole, 0), "", "nothing that failed is no sentence");
        let de = [Labels::from([("region".to_owned(), "de".to_owned())])];
        let views = events(Metric::PageView, &[("app", "shop")], None);
        assert_eq!(said(&views, &de, 100), "1 in 10 page loads of shop in region de fails");
        assert_eq!(said(&views, &[de[0].clone(), Labels::new()], 100), "1 in 10 page loads of shop in 2 groups fails");
        let lcp = events(Metric::Vital(Vital::Lcp), &[("route", "/checkout")], Some(2_500.0));
        assert_eq!(said(&lcp, &whole, 500), "50 % of page loads of /checkout take longer than 2.5 s to paint");
        let cls = events(Metric::Vital(Vital::Cls), &[], Some(0.1));
        assert_eq!(said(&cls, &whole, 250), "1 in 4 page loads shifts by more than 0.1");
        let slow = events(Metric::Request, &[("route", "/api/pay\u{202e}")], Some(300.0));
        assert_eq!(said(&slow, &whole, 250), "1 in 4 requests to /api/pay\u{fffd} takes longer than 300 ms");
    }

    #[test]
    fn who_is_lost_in_a_funnel_is_said_by_its_steps() {
        let step = |name: &str| Selector { metric: Metric::Step, filter: filter(&[("app", "shop"), ("step", name)]) };
        let source = Source::Ratio { good: step("paid"), total: step("started") };
        assert_eq!(said(&source, &[Labels::new()], 250), "1 in 4 who reach started is lost before paid");
        assert_eq!(said(&source, &[Labels::new()], 500), "50 % of those who reach started are lost before paid");
    }
}
