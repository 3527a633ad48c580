//! The chart of an incident or an objective, out of stored history.

use std::time::Duration;

use crate::domain::incident::Incident;
use crate::domain::rule::{Labels, Severity, Sli, Slo};
use crate::domain::time::{Span, Timestamp};
use crate::store::outbox::OutboxRow;
use crate::web::api::outbox::short_kind;
use crate::web::chart::{BurnChart, Marker, TierLine};
use crate::web::pages::incident::{Drawing, Range};
use crate::web::pages::{change_glyph, plain_change};
use crate::web::query::AskSlo;
use crate::web::site::Site;

/// A chart that takes longer is left out, and the page says so.
const TIMEOUT: Duration = Duration::from_secs(2);

/// What an objective counts, as people say it.
pub fn noun(sli: &Sli) -> &'static str {
    let metric = match sli {
        Sli::Good(selector) => &selector.metric,
        Sli::Within { metric, .. } => metric,
        Sli::Ratio { total, .. } => &total.metric,
        Sli::Slices { .. } => return "time slices",
        Sli::Composite { .. } | Sli::External { .. } => return "events",
    };
    metric.plural()
}

/// Good and bad of an objective as a chart over a range that ends at `end`.
pub async fn chart(site: &Site, slo: &Slo, group: &Labels, range: Range, end: Timestamp) -> Result<BurnChart, String> {
    let bucket = site.state.config.aggregation.bucket;
    let (fine, step) = range.steps();
    let fine = Span(fine.millis().max(bucket.millis()));
    let (long, short) = slo.tiers.first().map_or((Span::HOUR, Span::minutes(5)), |tier| (tier.long, tier.short));
    // Lines of windows shorter than a step would claim a precision that is not there.
    let windows = (Span(long.millis().max(fine.millis())), Span(short.millis().max(fine.millis())));
    let to = end.ceil(fine);
    let from = to - range.span();
    let ask = AskSlo { slo: slo.name.clone(), group: group.clone(), from: (from - windows.0).floor(fine), to, step: fine };
    let points = match tokio::time::timeout(TIMEOUT, site.state.query.slo(ask)).await {
        Ok(Ok(points)) => points,
        Ok(Err(error)) => return Err(error.to_string()),
        Err(_) => return Err("stored history did not answer within 2 s".into()),
    };
    let budget = f64::from(slo.budget_ppm) / 1e6;
    let mut chart = BurnChart::fold(&points, fine, (from, to), step, windows, budget);
    chart.noun = noun(&slo.sli).into();
    chart.tiers = slo.tiers.iter().map(|tier| TierLine { severity: tier.severity, factor: tier.factor.to_f64() }).collect();
    Ok(chart)
}

pub async fn draw(site: &Site, incident: &Incident, slo: &Slo, group: &Labels, range: Range, deliveries: &[OutboxRow]) -> Drawing {
    // A closed incident is shown with what came after it, not with today.
    let end = incident.resolved_at.map_or(site.now, |at| (at + Span::minutes(15)).min(site.now));
    let mut chart = match chart(site, slo, group, range, end).await {
        Ok(chart) => chart,
        Err(why) => return Drawing::Failed(why),
    };
    let mut markers: Vec<Marker> = incident
        .changes
        .iter()
        .map(|change| Marker { at: change.at, glyph: change_glyph(change.kind), text: plain_change(change) })
        .collect();
    if let Some(paged) = deliveries
        .iter()
        .filter(|row| short_kind(&row.kind) == "opened" && row.state == "delivered")
        .filter_map(|row| row.finished_at)
        .min()
    {
        markers.push(Marker {
            at: paged,
            glyph: '▲',
            text: if incident.severity == Severity::Page { "paged".into() } else { "told".into() },
        });
    }
    markers.extend(incident.acknowledged_at.map(|at| Marker { at, glyph: '✓', text: "acknowledged".into() }));
    markers.extend(incident.resolved_at.map(|at| Marker { at, glyph: '●', text: "resolved".into() }));
    markers.sort_by_key(|marker| marker.at);
    chart.markers = markers;
    Drawing::Chart(chart)
}
