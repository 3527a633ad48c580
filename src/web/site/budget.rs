//! The past of an objective, out of stored history.

use std::time::Duration;

use crate::domain::rule::{Labels, MaintenanceBudget, Sli, Slo, SloWindow};
use crate::domain::schedule::zone;
use crate::domain::snapshot::Snapshot;
use crate::domain::time::{Span, Timestamp};
use crate::web::pages::budget::{DAYS, Past, days, left};
use crate::web::query::{AskSlo, SloPoint};
use crate::web::state::State;

/// A past that takes longer is left out, and the page says so.
const TIMEOUT: Duration = Duration::from_secs(3);

/// The past of an objective, or of one group of it.
pub async fn past(state: &State, now: Timestamp, snapshot: &Snapshot, slo: &Slo, group: &Labels) -> Result<Past, String> {
    let (from, step, line) = line(state, now, slo, group).await?;
    let first = now.floor(Span::DAY) - Span::days(DAYS - 1);
    let hours = ask(state, slo, group, (first, now.ceil(Span::HOUR)), Span::HOUR).await?;
    Ok(Past {
        from,
        step,
        left: line,
        days: days(&hours, now),
        measured_to: snapshot.watermark,
        excludes: snapshot.rules.maintenances.iter().any(|one| one.budget != MaintenanceBudget::Count),
    })
}

/// What was left of a budget over the last window: where the line begins, its step, its points.
pub async fn line(state: &State, now: Timestamp, slo: &Slo, group: &Labels) -> Result<(Timestamp, Span, Vec<Option<f64>>), String> {
    match slo.sli {
        Sli::Good(_) | Sli::Within { .. } | Sli::Ratio { .. } => {}
        Sli::Slices { .. } => return Err("it counts slices of time, and stored history has events".into()),
        Sli::Composite { .. } => return Err("it is made of other objectives; look at those".into()),
        Sli::External { .. } => return Err("its counts are kept elsewhere".into()),
    }
    let window = slo.window.nominal();
    let fine = if window < Span::days(4) { Span::minutes(5) } else { Span::HOUR };
    let to = now.ceil(fine);
    let starts = |end: Timestamp| match &slo.window {
        SloWindow::Rolling(span) => end - *span,
        // A period ends with its last instant: its end belongs to it here, not to the next one.
        SloWindow::Calendar { period, timezone } => zone(timezone).map_or(end - window, |zone| period.around(zone, end - Span(1)).0),
    };
    let from = starts(to).max(to - window).floor(fine);
    let points = ask(state, slo, group, (starts(from + fine).floor(fine), to), fine).await?;
    let budget = f64::from(slo.budget_ppm) / 1e6;
    let (step, line) = left(&points, fine, (from, to), starts, budget);
    Ok((from, step, line))
}

async fn ask(state: &State, slo: &Slo, group: &Labels, (from, to): (Timestamp, Timestamp), step: Span) -> Result<Vec<SloPoint>, String> {
    let ask = AskSlo { slo: slo.name.clone(), group: group.clone(), from, to, step };
    match tokio::time::timeout(TIMEOUT, state.query.slo(ask)).await {
        Ok(Ok(points)) => Ok(points),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("stored history did not answer within 3 s".into()),
    }
}
