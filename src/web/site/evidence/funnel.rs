//! How far people got in the last hour, and in the same hour of the weeks before.

use std::collections::BTreeMap;

use super::{STEP, totals};
use crate::domain::metric::Metric;
use crate::domain::rule::Labels;
use crate::domain::time::{Span, Timestamp};
use crate::web::pages::evidence::{Funnel, Step};
use crate::web::state::State;

const FUNNELS_MAX: usize = 2;
/// Weeks that say what is usual.
const WEEKS: i64 = 4;

/// The funnels with the most people in the last hour, and the same hour of the weeks before.
pub async fn funnels(state: &State, now: Timestamp) -> Result<Vec<Funnel>, String> {
    let by = ["app", "funnel", "step"];
    let to = now.floor(STEP);
    let key = |labels: &Labels| by.map(|name| labels.get(name).cloned().unwrap_or_default());
    let mut usual: BTreeMap<[String; 3], f64> = BTreeMap::new();
    let mut weeks = 0;
    let mut found: BTreeMap<(String, String), Vec<Step>> = BTreeMap::new();
    let live = totals(state, Metric::Step, "", &by, (to - Span::HOUR, to)).await?;
    if live.is_empty() {
        return Ok(Vec::new());
    }
    for week in 1..=WEEKS {
        let to = to - Span::days(7 * week);
        let then = totals(state, Metric::Step, "", &by, (to - Span::HOUR, to)).await?;
        weeks += usize::from(!then.is_empty());
        for (labels, total, _) in then {
            *usual.entry(key(&labels)).or_default() += total;
        }
    }
    for (labels, total, _) in live {
        let at = key(&labels);
        let usual = usual.get(&at).copied().unwrap_or(0.0);
        let [app, funnel, step] = at;
        found.entry((app, funnel)).or_default().push(Step { name: step, count: total, usual });
    }
    let mut funnels: Vec<Funnel> = found
        .into_iter()
        .map(|((app, name), mut steps)| {
            // Every step has passed through the ones before it, so the order is that of the numbers; the
            // usual ones, because on a bad day nothing can be concluded from today's.
            let often = |step: &Step| if weeks > 0 { step.usual } else { step.count };
            steps.sort_by(|a, b| often(b).total_cmp(&often(a)).then_with(|| b.count.total_cmp(&a.count)));
            Funnel { app, name, steps, weeks }
        })
        .filter(|funnel| funnel.steps.len() > 1)
        .collect();
    funnels.sort_by(|a, b| b.steps[0].count.total_cmp(&a.steps[0].count));
    funnels.truncate(FUNNELS_MAX);
    Ok(funnels)
}
