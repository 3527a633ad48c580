//! `/reports/{week|month|quarter}/{date}`: reviews, as a page and as Markdown. What they count is read in the background.

mod own;

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::Path;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use chrono_tz::Tz;
use tracing::warn;

use super::export::code;
use super::slos::overall;
use super::{Query, Site};
use crate::domain::incident::Incident;
use crate::domain::rule::{Period, Severity, Slo};
use crate::domain::time::{Span, Timestamp};
use crate::store::{incidents, transition};
use crate::web::number;
use crate::web::pages::incident::answers::segment_words;
use crate::web::pages::report::{self as pages, Budget, Counted, Review, Row, day, period_name, report_path, spent};
use crate::web::pages::slos::worst_first;
use crate::web::problem::Problem;
use crate::web::query::AskSlo;
use crate::web::state::State;

const INCIDENTS_MAX: usize = 2_000;
/// Objectives that are read, those that stand worst now first, and that are shown.
const OBJECTIVES_MAX: usize = 120;
const SHOWN_MAX: usize = 40;
/// Objectives that are not read by then are shown as not measured.
const TIMEOUT: Duration = Duration::from_secs(20);
/// How long what was read is shown before it is read anew: of a period that runs, and of one that is over.
const FRESH: Span = Span::MINUTE;
const FRESH_OVER: Span = Span::minutes(10);

fn read_period(name: &str) -> Result<Period, Problem> {
    match name {
        "week" | "weekly" => Ok(Period::Week),
        "month" | "monthly" => Ok(Period::Month),
        "quarter" | "quarterly" => Ok(Period::Quarter),
        _ => Err(Problem::new(StatusCode::NOT_FOUND, "there are reviews of a week, a month and a quarter")),
    }
}

/// The period that holds a day, half-open, in UTC.
fn bounds(period: Period, date: &str) -> Result<(Timestamp, Timestamp), Problem> {
    let at: Timestamp = format!("{date}T12:00:00Z")
        .parse()
        .map_err(|_| Problem::new(StatusCode::NOT_FOUND, "a review is named by a day, like 2026-11-16"))?;
    Ok(period.around(Tz::UTC, at))
}

/// The last whole period.
pub async fn latest(site: Site, Path(name): Path<String>) -> Response {
    match read_period(&name) {
        Ok(period) => {
            let (this, _) = period.around(Tz::UTC, site.now);
            let (last, _) = period.around(Tz::UTC, this - Span(1));
            Redirect::to(&report_path(period, last)).into_response()
        }
        Err(problem) => site.show(Err(problem)).await,
    }
}

pub async fn page(site: Site, Path((name, date)): Path<(String, String)>, query: Query) -> Response {
    let page = async {
        let period = read_period(&name)?;
        let (from, to) = bounds(period, &date)?;
        let (earlier, _) = period.around(Tz::UTC, from - Span(1));
        let later = (to <= site.now).then_some(to);
        let first = query.get("from").and_then(|from| from.parse().ok()).unwrap_or(0);
        Ok(match remembered(&site, period, (from, to)).await {
            Some(counted) => pages::page(&Review { period, from, to, counted: &counted, first, now: site.now }, earlier, later),
            None => pages::reading(period, (from, to), earlier, later, site.now),
        })
    };
    let page = page.await;
    site.show(page).await
}

/// What is known of a period; `None`: it is being read.
async fn remembered(site: &Site, period: Period, (from, to): (Timestamp, Timestamp)) -> Option<Arc<Counted>> {
    let (state, now) = (site.state.clone(), site.now);
    let tell = state.clone();
    let told = move || tell.pulse.send_modify(|n| *n = n.wrapping_add(1));
    let fresh = if to > now { FRESH } else { FRESH_OVER };
    let read = || async move {
        count(&state, period, (from, to), now).await.unwrap_or_else(|problem| {
            warn!(reason = problem.detail(), "a review could not be read");
            Counted::default()
        })
    };
    site.state.memory.reviews.get((period_name(period), from), (now, fresh), told, read).await
}

pub async fn markdown(site: Site, Path((name, date)): Path<(String, String)>) -> Response {
    let text = async {
        let period = read_period(&name)?;
        let (from, to) = bounds(period, &date)?;
        let counted = count(&site.state, period, (from, to), site.now).await?;
        let file = format!("attachment; filename=\"review-{}-{}.md\"", period_name(period), day(from));
        Ok((file, write(&Review { period, from, to, counted: &counted, first: 0, now: site.now })))
    };
    match text.await {
        Ok((file, text)) => {
            let kind = (header::CONTENT_TYPE, HeaderValue::from_static("text/markdown; charset=utf-8"));
            let file = HeaderValue::from_str(&file).expect("names of periods and days are plain ASCII");
            ([kind, (header::CONTENT_DISPOSITION, file)], text).into_response()
        }
        Err(problem) => site.show(Err(problem)).await,
    }
}

async fn count(state: &State, period: Period, (from, to): (Timestamp, Timestamp), now: Timestamp) -> Result<Counted, Problem> {
    let (earlier, _) = period.around(Tz::UTC, from - Span(1));
    let mut tx = state.store.read().await?;
    let rows = incidents::between(&mut tx, from, to, INCIDENTS_MAX).await?;
    let before = incidents::between(&mut tx, earlier, from, INCIDENTS_MAX).await?.len();
    drop(tx);
    let more = rows.len() == INCIDENTS_MAX;
    let rows = rows.iter().map(|row| Ok(row_of(&transition::read(row)?))).collect::<Result<Vec<_>, Problem>>()?;
    let snapshot = state.snapshot.load_full();
    let mut standing = overall(&snapshot);
    worst_first(&mut standing);
    let all = standing.len();
    let end = to.min(now.ceil(Span::HOUR));
    let until = tokio::time::Instant::now() + TIMEOUT;
    let mut budgets = Vec::new();
    for slo in standing.iter().take(OBJECTIVES_MAX).map(|row| row.slo) {
        let counts = counts(state, slo, (from, end), until).await;
        budgets.push(Budget { slo: slo.name.clone(), owner: slo.owner.clone(), budget_ppm: slo.budget_ppm, counts });
    }
    let most = |budget: &Budget| spent(budget).unwrap_or(-1.0);
    budgets.sort_by(|a, b| most(b).total_cmp(&most(a)).then_with(|| a.slo.cmp(&b.slo)));
    budgets.truncate(SHOWN_MAX);
    let own = own::read(state, period, (earlier, from, end), &snapshot).await;
    Ok(Counted { rows, more, before, left_out: all - budgets.len(), budgets, own })
}

/// Total and bad of an objective in the time; `None`: nothing is known.
async fn counts(state: &State, slo: &Slo, (from, to): (Timestamp, Timestamp), until: tokio::time::Instant) -> Option<(f64, f64)> {
    if from >= to {
        return None;
    }
    let ask = AskSlo { slo: slo.name.clone(), group: Default::default(), from, to, step: Span::HOUR };
    let points = tokio::time::timeout_at(until, state.query.slo(ask)).await.ok()?.ok()?;
    points.iter().filter_map(|point| point.counts).reduce(|a, b| (a.0 + b.0, a.1 + b.1))
}

fn row_of(incident: &Incident) -> Row {
    Row {
        id: incident.id.clone(),
        title: incident.title.clone(),
        severity: incident.members.iter().map(|member| member.severity).max().unwrap_or(incident.severity),
        service: incident.service.clone(),
        users: incident.impact.affected_users,
        opened_at: incident.opened_at,
        detected_in: Span((incident.opened_at - incident.window_start).millis().max(0)),
        acknowledged_in: incident.acknowledged_at.map(|at| at - incident.opened_at),
        lasted: incident.resolved_at.map(|at| at - incident.opened_at),
        segment: incident.explained.suspects.first().map(segment_words).unwrap_or_default(),
    }
}

fn write(review: &Review<'_>) -> String {
    let mut out = String::new();
    let mut line = |text: String| writeln!(out, "{text}").expect("a string takes every write");
    line(format!("# Review: {}\n", review.title()));
    line(format!(
        "- from {} to {} (UTC){}",
        day(review.from),
        day(review.to - Span(1)),
        if review.running() { ", still running" } else { "" }
    ));
    let pages = review.of(Severity::Page);
    line(format!(
        "- incidents: {}, of them {pages} pages; {} in the {} before",
        review.counted.rows.len(),
        review.counted.before,
        period_name(review.period)
    ));
    line("\n## Incidents\n".into());
    for row in &review.counted.rows {
        let lasted = row.lasted.map_or_else(|| "open".to_owned(), |lasted| format!("lasted {}", number::duration(lasted)));
        let users = if row.users == 0 { number::NOT_MEASURED.to_owned() } else { number::exact(row.users as f64) };
        line(format!("- {} {} {}: {}, users hit: {users}", row.opened_at, row.severity, code(&row.title), lasted));
    }
    line("\n## Objectives\n".into());
    for budget in &review.counted.budgets {
        let reached =
            budget.counts.map_or_else(|| number::NOT_MEASURED.to_owned(), |(total, bad)| number::reached(total, bad, budget.budget_ppm));
        let spent = spent(budget).map_or_else(|| number::NOT_MEASURED.to_owned(), number::share);
        line(format!("- {}: {reached} of {}, spent {spent}", code(&budget.slo), number::objective(budget.budget_ppm)));
    }
    for (title, rows) in [("Pages by service", review.pages_by_service()), ("Worst segments", review.segments())] {
        line(format!("\n## {title}\n"));
        for (name, count, users) in rows {
            line(format!("- {}: {count}×, {} users", code(&name), number::exact(users as f64)));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::fixture;

    #[test]
    fn a_review_is_named_by_any_of_its_days() {
        let of = |period, date| bounds(period, date).map(|(from, to)| format!("{} {}", day(from), day(to)));
        assert_eq!(of(Period::Week, "2026-11-19").unwrap(), "2026-11-16 2026-11-23");
        assert_eq!(of(Period::Month, "2026-11-30").unwrap(), "2026-11-01 2026-12-01");
        assert_eq!(of(Period::Quarter, "2026-11-01").unwrap(), "2026-10-01 2027-01-01");
        assert!(of(Period::Week, "soon").is_err() && read_period("year").is_err());
    }

    #[test]
    fn hostile_titles_stay_in_their_code_span() {
        let rows = vec![row_of(&fixture::hostile_incident())];
        let (from, to) = bounds(Period::Week, "2026-11-19").unwrap();
        let budgets = vec![Budget { slo: fixture::HOSTILE.into(), owner: String::new(), budget_ppm: 1_000, counts: Some((1_000.0, 2.0)) }];
        let counted = Counted { rows, budgets, ..Counted::default() };
        let text = write(&Review { period: Period::Week, from, to, counted: &counted, first: 0, now: to });
        assert!(text.contains("99.800 %") && text.contains("spent 200 %"), "{text}");
        for line in text.lines().filter(|line| line.contains("<script>")) {
            assert_eq!(line[..line.find("<script>").unwrap()].matches('`').count() % 2, 1, "{line}");
        }
    }
}
