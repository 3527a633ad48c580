//! `/silences`: what is held back, one page of it at a time, and the form of a new silence.

use std::collections::BTreeMap;

use axum::response::Response;

use super::actions::read_until;
use super::incident::just;
use super::{Query, Site};
use crate::domain::filter::{Filter, Match};
use crate::domain::reminder::FORGOTTEN_AFTER;
use crate::domain::route::matches;
use crate::domain::rule::{Labels, Severity};
use crate::domain::snapshot::{AlertPhase, Snapshot};
use crate::domain::time::{Span, Timestamp};
use crate::store::{silences as stored, transition};
use crate::web::api::silences::{reminder, state_of};
use crate::web::frame::Page;
use crate::web::guard::visitor::Posted;
use crate::web::pages::new_silence::{self as form, Preview, QUICK, Row};
use crate::web::pages::silences::{self as pages, ROWS, Silence, TABS, Window};
use crate::web::problem::Problem;

/// How far the preview of a silence looks back.
const PAST: Span = Span::days(30);
/// How far ahead windows are looked for.
const AHEAD: Span = Span::days(60);
const WINDOWS_MAX: usize = 40;
/// Rules and incidents that a preview names.
const NAMED_MAX: usize = 10;
/// Label names that the form offers.
const LABELS_MAX: usize = 40;

/// Alerts that fire, with the labels that matchers see.
pub struct Firing<'a>(Vec<(&'a crate::domain::snapshot::AlertStatus, Labels)>);

impl<'a> Firing<'a> {
    /// Of a snapshot; made once and asked for every silence.
    pub fn new(snapshot: &'a Snapshot) -> Firing<'a> {
        let firing = snapshot.alerts.iter().filter(|alert| alert.phase == AlertPhase::Firing);
        Firing(
            firing
                .map(|alert| {
                    let mut labels = alert.labels.clone();
                    if let Some(severity) = alert.severity {
                        labels.entry("severity".into()).or_insert_with(|| severity.name().into());
                    }
                    (&**alert, labels)
                })
                .collect(),
        )
    }

    /// How many of them these conditions match.
    pub fn count(&self, conditions: &Filter) -> usize {
        self.0.iter().filter(|(_, labels)| matches(conditions, labels)).count()
    }

    /// What a silence with these conditions holds back now.
    pub fn preview(&self, conditions: &Filter) -> Preview {
        let mut preview = Preview::default();
        let note = |list: &mut Vec<String>, text: &String| {
            if list.len() < NAMED_MAX && !list.contains(text) {
                list.push(text.clone());
            }
        };
        for (alert, _) in self.0.iter().filter(|(_, labels)| matches(conditions, labels)) {
            preview.alerts += 1;
            preview.pages += usize::from(alert.severity == Some(Severity::Page));
            note(&mut preview.named, &alert.rule);
            if let Some(incident) = &alert.incident {
                note(&mut preview.incidents, incident);
            }
        }
        preview
    }
}

/// How many alerts stored matchers (a JSON list of texts) hold back now.
pub fn held_now(snapshot: &Snapshot, matchers: &str) -> usize {
    let texts: Vec<String> = serde_json::from_str(matchers).unwrap_or_default();
    read_matchers(&texts).map_or(0, |conditions| Firing::new(snapshot).count(&conditions))
}

/// Matchers as people write them, if all of them can be read and there is one.
pub fn read_matchers(texts: &[String]) -> Option<Filter> {
    let conditions: Option<BTreeMap<String, Match>> = texts.iter().map(|text| transition::read_matcher(text)).collect();
    conditions.filter(|conditions| !conditions.is_empty()).map(Filter)
}

/// A condition of rules as a matcher is written.
pub fn condition_words(name: &str, condition: &Match) -> String {
    match condition {
        Match::Equal(value) => format!("{name}={value}"),
        Match::Not(value) => format!("{name}!={value}"),
        Match::AnyOf(values) => format!("{name}={}", values.join("|")),
        Match::Prefix(prefix) => format!("{name}={prefix}*"),
        Match::Regex(pattern) => format!("{name}=~{}", pattern.text()),
        Match::NotRegex(pattern) => format!("{name}!~{}", pattern.text()),
        Match::All(all) => all.iter().map(|part| condition_words(name, part)).collect::<Vec<_>>().join(", "),
    }
}

pub async fn list(site: Site, query: Query) -> Response {
    let page = read_list(&site, &query).await;
    site.show(page).await
}

async fn read_list(site: &Site, query: &Query) -> Result<Page, Problem> {
    let snapshot = site.state.snapshot.load_full();
    let now = site.now;
    let mut tx = site.state.store.read().await?;
    let stored = stored::list(&mut tx).await?;
    let mut rows: Vec<(Silence, Option<&stored::SilenceRow>)> = stored.iter().map(|row| (made(row, now), Some(row))).collect();
    rows.extend(snapshot.rules.silences.iter().map(|one| (written(one, now), None)));
    let counts = TABS.map(|(state, _)| rows.iter().filter(|(row, _)| row.state == state).count());
    let tab = TABS.iter().map(|(state, _)| *state).find(|state| query.get("state") == Some(state)).unwrap_or("active");
    rows.retain(|(row, _)| row.state == tab);
    // The soonest end first; what has ended, the latest.
    rows.sort_by_key(|(row, _)| row.ends);
    if tab == "expired" {
        rows.reverse();
    }
    let from = query.get("from").and_then(|from| from.parse().ok()).unwrap_or(0).min(rows.len());
    let mut rows: Vec<_> = rows.into_iter().skip(from).take(ROWS).collect();
    // Only what is shown is asked what it holds back, and for reminders only where one may be due.
    let firing = Firing::new(&snapshot);
    if tab == "active" {
        let due = rows.iter().any(|(_, row)| row.is_some());
        let lately = if due { transition::lately(&mut tx, now - FORGOTTEN_AFTER).await? } else { Vec::new() };
        for (row, stored) in &mut rows {
            row.holds = read_matchers(&row.matchers).map_or(0, |conditions| firing.count(&conditions));
            row.reminder = stored.and_then(|stored| reminder(stored, &lately, now));
        }
    }
    drop(tx);
    let rows: Vec<Silence> = rows.into_iter().map(|(row, _)| row).collect();
    let windows = windows(&snapshot, &firing, now);
    Ok(pages::page(&pages::Model { rows: &rows, windows: &windows, counts, tab, from, now, reader: &site.visitor.reader }))
}

/// One that a person made.
pub fn made(row: &stored::SilenceRow, now: Timestamp) -> Silence {
    Silence {
        id: row.id.clone(),
        matchers: serde_json::from_str(&row.matchers).unwrap_or_default(),
        state: state_of(row, now),
        starts: row.starts_at,
        ends: row.expired_at.unwrap_or(row.ends_at).min(row.ends_at),
        author: row.author.clone(),
        comment: row.comment.clone(),
        holds: 0,
        reminder: None,
        in_rules: false,
    }
}

/// One that is written in rules.
pub fn written(one: &crate::domain::rule::CodeSilence, now: Timestamp) -> Silence {
    Silence {
        id: one.name.clone(),
        matchers: one.when.0.iter().map(|(name, condition)| condition_words(name, condition)).collect(),
        state: match (one.starts.is_some_and(|at| at > now), one.ends <= now) {
            (_, true) => "expired",
            (true, false) => "pending",
            (false, false) => "active",
        },
        starts: one.starts.unwrap_or(Timestamp(0)),
        ends: one.ends,
        author: one.author.clone(),
        comment: one.comment.clone(),
        holds: 0,
        reminder: None,
        in_rules: true,
    }
}

/// Maintenance windows: those that are on or next first.
fn windows(snapshot: &Snapshot, firing: &Firing<'_>, now: Timestamp) -> Vec<Window> {
    let mut windows: Vec<Window> = snapshot
        .rules
        .maintenances
        .iter()
        .map(|one| {
            let next = one.intervals(now - Span::DAY, now + AHEAD).into_iter().find(|(_, ends)| *ends > now);
            Window {
                name: one.name.clone(),
                matchers: one.when.0.iter().map(|(name, condition)| condition_words(name, condition)).collect(),
                next,
                budget: one.budget,
                place: one.place.clone(),
                holds: if next.is_some_and(|(starts, _)| starts <= now) { firing.count(&one.when) } else { 0 },
            }
        })
        .collect();
    windows.sort_by_key(|one| (one.next.is_none(), one.next));
    windows.truncate(WINDOWS_MAX);
    windows
}

/// The rows of a form: `n0`, `o0`, `v0` and so on, else the lines of `m`.
fn rows_of<'a>(field: impl Fn(&str) -> Option<&'a str>) -> Vec<Row> {
    let mut rows: Vec<Row> = (0..form::ROWS_MAX)
        .filter_map(|i| {
            let text = |name: &str| field(&format!("{name}{i}")).unwrap_or_default().trim().to_owned();
            let operator = form::OPERATORS.iter().map(|(operator, _)| *operator).find(|known| *known == text("o")).unwrap_or("=");
            Some(Row { name: text("n"), operator: operator.into(), value: text("v") }).filter(|row| !row.name.is_empty())
        })
        .collect();
    if rows.is_empty() {
        let lines = [field("m"), field("matchers")].into_iter().flatten().flat_map(str::lines).map(str::trim);
        rows = lines.filter(|line| !line.is_empty()).take(form::ROWS_MAX).map(Row::read).collect();
    }
    rows
}

/// How long, as it was chosen or typed.
fn lasts_of<'a>(field: impl Fn(&str) -> Option<&'a str>) -> String {
    let typed = field("typed").unwrap_or_default().trim().to_owned();
    match field("for").unwrap_or_default().trim() {
        "" if typed.is_empty() => "1h".into(),
        "" | "typed" => typed,
        chosen => chosen.to_owned(),
    }
}

/// Matchers and length of a posted form.
pub fn posted(posted: &Posted) -> (Vec<String>, String) {
    let field = |name: &str| posted.fields.get(name).map(String::as_str);
    (rows_of(field).iter().map(Row::text).collect(), lasts_of(field))
}

pub async fn new(site: Site, query: Query) -> Response {
    let page = read_new(&site, &query).await;
    site.show(page).await
}

async fn read_new(site: &Site, query: &Query) -> Result<Page, Problem> {
    let now = site.now;
    let mut rows = rows_of(|name| query.get(name));
    if let Some(id) = query.get("incident").filter(|_| rows.is_empty()) {
        let incident = just(site, id).await?;
        rows = incident.grouping.iter().take(form::ROWS_MAX).map(|(name, value)| Row::read(&format!("{name}={value}"))).collect();
    }
    let snapshot = site.state.snapshot.load_full();
    let texts: Vec<String> = rows.iter().map(Row::text).collect();
    let preview = match read_matchers(&texts) {
        Some(conditions) => {
            let mut preview = Firing::new(&snapshot).preview(&conditions);
            preview.past = super::silence::would_have(site, &conditions, now - PAST, now).await?;
            Some(preview)
        }
        None => None,
    };
    if rows.is_empty() || (query.get("add").is_some() && rows.len() < form::ROWS_MAX) {
        rows.push(Row::default());
    }
    let lasts = lasts_of(|name| query.get(name));
    Ok(form::page(&form::Model {
        rows: &rows,
        ends: read_until(&lasts, now).ok(),
        quick: QUICK.map(|(value, _)| read_until(value, now).ok()),
        lasts,
        comment: query.get("comment").unwrap_or_default().to_owned(),
        preview,
        confirm: query.get("confirm").is_some(),
        labels: label_names(&snapshot),
        reader: &site.visitor.reader,
        now,
    }))
}

/// The label names of the alerts that are not idle.
fn label_names(snapshot: &Snapshot) -> Vec<String> {
    let names = snapshot.alerts.iter().take(200).flat_map(|alert| alert.labels.keys()).map(String::as_str);
    let names: std::collections::BTreeSet<&str> = names.chain(["service", "severity", "slo"]).collect();
    names.into_iter().take(LABELS_MAX).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields<'a>(pairs: &'a [(&'a str, &'a str)]) -> impl Fn(&str) -> Option<&'a str> + Copy + 'a {
        move |name| pairs.iter().find(|(have, _)| *have == name).map(|(_, value)| *value)
    }

    #[test]
    fn rows_of_a_form_are_read_in_order_and_empty_ones_left_out() {
        let pairs =
            [("n0", "service"), ("o0", "="), ("v0", " shop "), ("n1", ""), ("v1", "x"), ("n2", "region"), ("o2", "=~"), ("v2", "eu.*")];
        let texts = |rows: Vec<Row>| rows.iter().map(Row::text).collect::<Vec<_>>();
        assert_eq!(texts(rows_of(fields(&pairs))), ["service=shop", "region=~eu.*"]);
        assert_eq!(texts(rows_of(fields(&[("m", "service=shop\n\nseverity!=page\n")]))), ["service=shop", "severity!=page"]);
        assert_eq!(texts(rows_of(fields(&[("n0", "a"), ("o0", "<script>"), ("v0", "b")]))), ["a=b"], "an unknown comparison is none");
    }

    #[test]
    fn a_length_is_chosen_or_typed() {
        let lasts = |pairs: &[(&str, &str)]| lasts_of(fields(pairs));
        assert_eq!(
            [lasts(&[]), lasts(&[("for", "4h"), ("typed", "2d")]), lasts(&[("for", "typed"), ("typed", " 2d ")])],
            ["1h", "4h", "2d"]
        );
        assert_eq!(lasts(&[("for", "typed")]), "", "nothing was typed, and nothing is made up");
    }
}
