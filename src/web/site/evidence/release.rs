//! What was measured around the latest releases.

use super::{STEP, totals};
use crate::domain::metric::Metric;
use crate::domain::notification::{Change, ChangeKind};
use crate::domain::rule::Labels;
use crate::domain::time::{Span, Timestamp};
use crate::store::annotations;
use crate::web::pages::evidence::{Compared, Release};
use crate::web::site::slos::change_of;
use crate::web::state::State;

const RELEASES_MAX: usize = 3;
/// Changes that are looked through for releases.
const CHANGES_MAX: usize = 200;

/// The latest releases, the hour before each against what was measured on it since.
pub async fn releases(state: &State, now: Timestamp) -> Result<Vec<Release>, String> {
    let listed =
        async { annotations::newest(&mut state.store.read().await?, (now - Span::days(7), now + Span::MINUTE), None, CHANGES_MAX).await };
    let changes = listed.await.map_err(|error| error.to_string())?;
    let deploys = changes.iter().map(change_of).filter(|change| change.kind == ChangeKind::Deploy && change.release.is_some());
    let mut releases = Vec::new();
    for change in deploys.take(RELEASES_MAX) {
        releases.push(release(state, change, now).await?);
    }
    Ok(releases)
}

async fn release(state: &State, change: Change, now: Timestamp) -> Result<Release, String> {
    let name = change.release.clone().unwrap_or_default();
    let at = change.at.floor(STEP);
    let before = (at - Span::HOUR, at);
    let after = (at, now.ceil(STEP).min(at + Span::DAY));
    let mut compared = Vec::new();
    for (metric, what) in
        [(Metric::Request, "failing requests"), (Metric::PageView, "failing page loads"), (Metric::Session, "crashing sessions")]
    {
        let sum = |rows: &[(Labels, f64, f64)], only: Option<&str>| {
            let of = rows.iter().filter(|(labels, _, _)| only.is_none_or(|only| labels.get("release").is_some_and(|have| have == only)));
            of.fold((0.0, 0.0), |(bad, all), (_, total, failed)| (bad + failed, all + total))
        };
        let then = totals(state, metric.clone(), &change.app, &["release"], before).await?;
        let since = totals(state, metric, &change.app, &["release"], after).await?;
        compared.push(Compared { what, before: sum(&then, None), after: sum(&since, Some(&name)) });
    }
    let lately = totals(state, Metric::PageView, &change.app, &["release"], (now.floor(STEP) - STEP, now.ceil(STEP))).await?;
    let all: f64 = lately.iter().map(|(_, total, _)| total).sum();
    let on_it = lately.iter().filter(|(labels, _, _)| labels.get("release") == Some(&name)).map(|(_, total, _)| total).sum::<f64>();
    Ok(Release { change, traffic: (all > 0.0).then(|| on_it / all), compared })
}
