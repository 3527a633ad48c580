//! Silences: listed, made, and ended before their time.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State as Take};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::slos::merge;
use super::{Answer, Body, Params, note, slice};
use crate::chance;
use crate::domain::incident::Member;
use crate::domain::reminder::FORGOTTEN_AFTER;
use crate::domain::time::Timestamp;
use crate::store::silences::{self, SilenceRow};
use crate::store::transition;
use crate::web::guard::visitor::Visitor;
use crate::web::problem::Problem;
use crate::web::state::State;

const MATCHERS_MAX: usize = 20;
const MATCHER_CHARS_MAX: usize = 500;

/// `active`, `pending` or `expired`.
pub fn state_of(row: &SilenceRow, now: Timestamp) -> &'static str {
    if row.expired_at.is_some_and(|at| at <= now) || row.ends_at <= now {
        "expired"
    } else if row.starts_at > now {
        "pending"
    } else {
        "active"
    }
}

/// What the author of an active silence should be reminded of: that it hides nothing, or that it is about to end while what it
/// hides still fires.
pub fn reminder(row: &SilenceRow, alerts: &[Member], now: Timestamp) -> Option<String> {
    if state_of(row, now) != "active" {
        return None;
    }
    crate::domain::reminder::reminder(&transition::silence(row), &row.author, alerts, now)
}

fn json_with(row: &SilenceRow, alerts: &[Member], now: Timestamp) -> Value {
    let mut json = json_of(row, now);
    merge(&mut json, json!({ "reminder": reminder(row, alerts, now) }));
    json
}

fn json_of(row: &SilenceRow, now: Timestamp) -> Value {
    let matchers: Value = serde_json::from_str(&row.matchers).unwrap_or_default();
    json!({
        "id": row.id, "matchers": matchers, "starts": row.starts_at, "ends": row.expired_at.unwrap_or(row.ends_at).min(row.ends_at),
        "author": row.author, "comment": row.comment, "state": state_of(row, now), "created_at": row.created_at, "updated_at": row.updated_at,
    })
}

pub async fn list(Take(state): Take<Arc<State>>, params: Params) -> Answer {
    let now = state.clock.now();
    let mut tx = state.store.read().await?;
    let wanted = params.one_of("state", &["pending", "active", "expired"])?;
    let alerts = transition::lately(&mut tx, now - FORGOTTEN_AFTER).await?;
    let rows: Vec<Value> = silences::list(&mut tx)
        .await?
        .iter()
        .filter(|row| wanted.is_empty() || wanted.iter().any(|state| state == state_of(row, now)))
        .map(|row| json_with(row, &alerts, now))
        .collect();
    slice(&rows, &params)
}

pub async fn one(Take(state): Take<Arc<State>>, Path(id): Path<String>) -> Answer {
    let mut tx = state.store.read().await?;
    let row = silences::get(&mut tx, &id).await?.ok_or_else(|| Problem::unknown("silence", &id))?;
    let now = state.clock.now();
    let alerts = transition::lately(&mut tx, now - FORGOTTEN_AFTER).await?;
    Ok(Json(json_with(&row, &alerts, now)))
}

/// What a silence is made of, before it is checked.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    pub matchers: Vec<String>,
    pub starts: Option<Timestamp>,
    pub ends: Option<Timestamp>,
    pub author: String,
    pub comment: String,
}

/// The row of a new silence, or what is wrong with it.
pub fn checked(wanted: Wanted, now: Timestamp) -> Result<SilenceRow, Problem> {
    if wanted.matchers.is_empty() || wanted.matchers.len() > MATCHERS_MAX {
        return Err(Problem::bad(format!("`matchers` holds 1 to {MATCHERS_MAX} texts like \"service=shop\"; all of them have to match")));
    }
    for matcher in &wanted.matchers {
        let shown = crate::web::text::clip(matcher, 80);
        if matcher.chars().count() > MATCHER_CHARS_MAX {
            return Err(Problem::bad(format!("the matcher `{shown}` is longer than {MATCHER_CHARS_MAX} characters")));
        }
        if transition::read_matcher(matcher).is_none() {
            return Err(Problem::bad(format!(
                "the matcher `{shown}` cannot be read; write name=value, name!=value, name=~pattern or name!~pattern"
            )));
        }
    }
    let starts = wanted.starts.unwrap_or(now);
    let ends = wanted.ends.ok_or_else(|| Problem::bad("`ends` is missing: until when?"))?;
    if ends <= starts || ends <= now {
        return Err(Problem::bad("a silence that ends before it starts, or before now, would never be in force"));
    }
    Ok(SilenceRow {
        id: chance::id(),
        matchers: json!(wanted.matchers).to_string(),
        starts_at: starts,
        ends_at: ends,
        author: wanted.author,
        comment: wanted.comment,
        created_at: now,
        updated_at: now,
        expired_at: None,
    })
}

/// Stores it, with its line in the audit.
pub async fn store(state: &State, visitor: &Visitor, row: &SilenceRow, now: Timestamp) -> Result<(), Problem> {
    let mut tx = state.store.write_durable().await?;
    silences::insert(&mut tx, row).await?;
    let matchers: Value = serde_json::from_str(&row.matchers).unwrap_or_default();
    note(&mut tx, visitor, now, "silence", &format!("silence {}", row.id), json!({ "matchers": matchers, "ends": row.ends_at })).await?;
    tx.commit().await?;
    state.changed();
    Ok(())
}

pub async fn create(Take(state): Take<Arc<State>>, visitor: Visitor, body: Body) -> Result<Response, Problem> {
    body.only(&["matchers", "starts", "ends", "author", "comment"])?;
    let now = state.clock.now();
    let bad = || Problem::bad("`matchers` has to be a list of texts like \"service=shop\"");
    let matchers = match body.0.get("matchers") {
        Some(Value::Array(list)) => {
            list.iter().map(|one| one.as_str().map(str::to_owned).ok_or_else(bad)).collect::<Result<Vec<_>, _>>()?
        }
        _ => return Err(bad()),
    };
    let wanted = Wanted {
        matchers,
        starts: body.time("starts")?,
        ends: body.time("ends")?,
        author: body.text("author", 200)?.unwrap_or_else(|| visitor.reader.name.clone()),
        comment: body.text("comment", 2_000)?.unwrap_or_default(),
    };
    let row = checked(wanted, now)?;
    store(&state, &visitor, &row, now).await?;
    Ok((StatusCode::CREATED, Json(json_of(&row, now))).into_response())
}

/// Ends a silence now. `None`: there is none; `false`: it had ended already.
pub async fn end(state: &State, visitor: &Visitor, id: &str, now: Timestamp) -> Result<Option<bool>, Problem> {
    let mut tx = state.store.write_durable().await?;
    let Some(mut row) = silences::get(&mut tx, id).await? else { return Ok(None) };
    if state_of(&row, now) == "expired" {
        return Ok(Some(false));
    }
    row.expired_at = Some(now);
    row.updated_at = now;
    silences::update(&mut tx, &row).await?;
    note(&mut tx, visitor, now, "end silence", &format!("silence {id}"), json!({})).await?;
    tx.commit().await?;
    state.changed();
    Ok(Some(true))
}

pub async fn expire(Take(state): Take<Arc<State>>, visitor: Visitor, Path(id): Path<String>) -> Result<StatusCode, Problem> {
    match end(&state, &visitor, &id, state.clock.now()).await? {
        Some(_) => Ok(StatusCode::NO_CONTENT),
        None => Err(Problem::unknown("silence", &id)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::Span;

    fn wanted(matchers: &[&str], minutes: i64) -> Wanted {
        Wanted {
            matchers: matchers.iter().map(|text| (*text).to_owned()).collect(),
            ends: Some(Timestamp(minutes * 60_000)),
            ..Wanted::default()
        }
    }

    #[test]
    fn a_silence_that_could_not_work_is_refused() {
        let now = Timestamp(60_000);
        assert!(checked(wanted(&["service=shop", "region=~eu.*", "region!=eu-1", "severity!=page"], 5), now).is_ok());
        for (matchers, minutes) in [(&[][..], 5), (&["service"], 5), (&["=x"], 5), (&["region=~("], 5), (&["a=1"], 1), (&["a=1"], 0)] {
            assert!(checked(wanted(matchers, minutes), now).is_err(), "{matchers:?} {minutes}");
        }
        assert!(checked(Wanted { ends: None, ..wanted(&["a=1"], 5) }, now).is_err());
        assert!(checked(wanted(&["a=1"], 60 * 24 * 4_000), now).is_ok(), "as long as by /api/v2/silences or in rules");
    }

    #[test]
    fn a_silence_is_pending_active_then_expired() {
        let mut row = checked(Wanted { starts: Some(Timestamp(120_000)), ..wanted(&["a=1"], 5) }, Timestamp(60_000)).unwrap();
        assert_eq!(state_of(&row, Timestamp(60_000)), "pending");
        assert_eq!(state_of(&row, Timestamp(120_000)), "active");
        assert_eq!(state_of(&row, Timestamp(300_000)), "expired");
        row.expired_at = Some(Timestamp(130_000));
        assert_eq!(state_of(&row, Timestamp(130_000)), "expired");
    }

    #[test]
    fn an_author_is_reminded_of_a_silence_that_hides_nothing_or_ends_too_soon() {
        let hour = |n: i64| Timestamp(0) + Span::hours(n);
        let wanted = Wanted { author: "ada".into(), comment: "known".into(), ends: Some(hour(48)), ..wanted(&["slo=api"], 5) };
        let row = checked(wanted, Timestamp(0)).unwrap();
        let alert = |slo: &str, firing| Member {
            labels: [("slo".to_owned(), slo.to_owned())].into(),
            firing,
            ..crate::web::fixture::incident().members[0].clone()
        };
        assert_eq!(reminder(&row, &[], hour(23)), None);
        let forgotten = reminder(&row, &[alert("other", true)], hour(24)).unwrap();
        assert_eq!(forgotten, "it has hidden nothing for 1d: ada may have forgotten it");
        assert_eq!(reminder(&row, &[alert("api", false)], hour(24)), None, "it did hide something");
        assert_eq!(reminder(&row, &[alert("api", true)], hour(46)), None);
        let ends = reminder(&row, &[alert("api", true)], hour(47)).unwrap();
        assert!(ends.starts_with("it ends at ") && ends.ends_with("while 1 alert that it hides still fires: ada may prolong it"), "{ends}");
        assert_eq!(reminder(&row, &[alert("api", true)], hour(48)), None, "it is over");
    }
}
