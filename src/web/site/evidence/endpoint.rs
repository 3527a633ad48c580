//! The routes whose requests fail most now, each with a trace to open.

use super::ask;
use crate::domain::metric::Metric;
use crate::domain::time::{Span, Timestamp};
use crate::web::pages::evidence::Endpoint;
use crate::web::query::{Ask, AskTraces, Traced};
use crate::web::state::State;

const ENDPOINTS_MAX: usize = 5;
/// What is looked at.
const SPAN: Span = Span::minutes(15);

/// Worst first: the most failures.
pub async fn endpoints(state: &State, to: Timestamp) -> Result<Vec<Endpoint>, String> {
    let from = to - SPAN;
    let by = vec!["app".to_owned(), "route".to_owned()];
    let asked = Ask { metric: Metric::Request, filter: Default::default(), from, to, step: None, by, quantiles: Vec::new(), limit: None };
    let answer = ask(state, asked).await?;
    let mut found: Vec<Endpoint> = answer
        .series
        .into_iter()
        .map(|line| {
            let name = |dimension: &str| line.labels.get(dimension).cloned().unwrap_or_default();
            let (bad, total) = line.points.iter().fold((0.0, 0.0), |(bad, total), point| (bad + point.bad, total + point.total));
            Endpoint { app: name("app"), route: name("route"), bad, total, trace: None }
        })
        .filter(|endpoint| endpoint.bad > 0.0)
        .collect();
    found.sort_by(|a, b| b.bad.total_cmp(&a.bad).then_with(|| (&a.app, &a.route).cmp(&(&b.app, &b.route))));
    found.truncate(ENDPOINTS_MAX);
    if found.is_empty() {
        return Ok(found);
    }
    let asked = AskTraces { metric: Metric::Request, filter: Default::default(), from, to, by: vec!["app".to_owned(), "route".to_owned()] };
    let traces = state.query.traces(asked).await.map_err(|error| error.to_string())?;
    for endpoint in &mut found {
        let same = |(values, _): &&Traced| values[..] == [endpoint.app.clone(), endpoint.route.clone()];
        endpoint.trace = traces.iter().find(same).map(|(_, trace)| trace.clone());
    }
    Ok(found)
}
