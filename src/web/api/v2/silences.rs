//! Silences as Alertmanager's tools make, change and end them. They are the same silences as ours.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State as Take};
use axum::http::{HeaderMap, StatusCode};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::silences::{self as ours, state_of};
use super::super::{Params, note};
use super::filter::matchers;
use super::post::is_json;
use super::{Refusal, time};
use crate::chance;
use crate::domain::matcher::{Matcher, Operator};
use crate::domain::time::Timestamp;
use crate::store::silences::{self, SilenceRow};
use crate::store::transition;
use crate::web::guard::visitor::Visitor;
use crate::web::problem::Problem;
use crate::web::state::State;

const MATCHERS_MAX: usize = 50;
const BYTES_MAX: usize = 4 * 1024;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Sent {
    id: Option<String>,
    matchers: Option<Vec<SentMatcher>>,
    starts_at: Option<String>,
    ends_at: Option<String>,
    created_by: Option<String>,
    comment: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SentMatcher {
    name: Option<String>,
    value: Option<String>,
    is_regex: Option<bool>,
    is_equal: Option<bool>,
}

fn shown(row: &SilenceRow, now: Timestamp) -> Value {
    let matchers: Vec<Value> = transition::matchers(&row.matchers)
        .iter()
        .map(|matcher| {
            let (operator, value) = matcher.parts();
            let is_regex = matches!(operator, Operator::Like | Operator::NotLike);
            let is_equal = matches!(operator, Operator::Equal | Operator::Like);
            json!({ "isEqual": is_equal, "isRegex": is_regex, "name": matcher.label, "value": value })
        })
        .collect();
    json!({
        "id": row.id, "status": { "state": state_of(row, now) }, "updatedAt": time(row.updated_at), "comment": row.comment,
        "createdBy": row.author, "endsAt": time(ends(row)), "matchers": matchers, "startsAt": time(row.starts_at),
    })
}

fn ends(row: &SilenceRow) -> Timestamp {
    row.expired_at.unwrap_or(row.ends_at).min(row.ends_at)
}

/// `GET /api/v2/silences`: active, then pending, then expired ones, each in the order in which that matters.
pub async fn list(Take(state): Take<Arc<State>>, params: Params) -> Result<Json<Vec<Value>>, Refusal> {
    let filter = matchers(&params)?;
    let now = state.clock.now();
    let mut tx = state.store.read().await?;
    let mut rows = silences::list(&mut tx).await?;
    // A filter is held against the values that a silence names.
    rows.retain(|row| {
        let own = transition::matchers(&row.matchers);
        let value = |label: &str| own.iter().rev().find(|matcher| matcher.label == label).map(|matcher| matcher.parts().1);
        filter.iter().all(|matcher| matcher.accepts(&value(&matcher.label).unwrap_or_default()))
    });
    rows.sort_by_key(|row| match state_of(row, now) {
        "active" => (0, ends(row).millis()),
        "pending" => (1, row.starts_at.millis()),
        _ => (2, -ends(row).millis()),
    });
    Ok(Json(rows.iter().map(|row| shown(row, now)).collect()))
}

/// `GET /api/v2/silence/{id}`.
pub async fn one(Take(state): Take<Arc<State>>, Path(id): Path<String>) -> Result<Json<Value>, Refusal> {
    let mut tx = state.store.read().await?;
    let row = silences::get(&mut tx, &id).await?.ok_or_else(Refusal::no_silence)?;
    Ok(Json(shown(&row, state.clock.now())))
}

/// `DELETE /api/v2/silence/{id}`. Ending what has ended is fine.
pub async fn expire(Take(state): Take<Arc<State>>, visitor: Visitor, Path(id): Path<String>) -> Result<StatusCode, Refusal> {
    match ours::end(&state, &visitor, &id, state.clock.now()).await? {
        Some(_) => Ok(StatusCode::OK),
        None => Err(Refusal::no_silence()),
    }
}

/// `POST /api/v2/silences`: a new one, or with an `id` a change of one. What has ended stays as it was, and
/// one that mutes other alerts is another one: the old one ends.
pub async fn save(
    Take(state): Take<Arc<State>>,
    visitor: Visitor,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Value>, Refusal> {
    is_json(&headers)?;
    let body = body.map_err(|rejection| Problem::new(rejection.status(), rejection.body_text()))?;
    let sent: Sent = serde_json::from_slice(&body)
        .map_err(|error| Refusal::unreadable(format!("parsing silence body from \"\" failed, because {error}")))?;
    let now = state.clock.now();
    let id = sent.id.clone().filter(|id| !id.is_empty());
    let wanted = read(sent, now)?;
    let mut tx = state.store.write_durable().await?;
    let old = match &id {
        Some(id) => Some(silences::get(&mut tx, id).await?.ok_or_else(Refusal::no_silence)?),
        None => None,
    };
    let (row, action) = change(old.as_ref(), wanted, now);
    match &old {
        Some(old) if old.id == row.id => silences::update(&mut tx, &row).await?,
        Some(old) if state_of(old, now) != "expired" => {
            silences::update(&mut tx, &SilenceRow { expired_at: Some(now), updated_at: now, ..old.clone() }).await?;
            silences::insert(&mut tx, &row).await?;
        }
        Some(_) | None => silences::insert(&mut tx, &row).await?,
    }
    let matchers: Value = serde_json::from_str(&row.matchers).unwrap_or_default();
    let detail = json!({ "matchers": matchers, "ends": row.ends_at, "author": row.author });
    note(&mut tx, &visitor, now, action, &format!("silence {}", row.id), detail).await?;
    tx.commit().await?;
    state.changed();
    Ok(Json(json!({ "silenceID": row.id })))
}

/// The row that is stored for what is wanted.
fn change(old: Option<&SilenceRow>, wanted: SilenceRow, now: Timestamp) -> (SilenceRow, &'static str) {
    let Some(old) = old else { return (wanted, "silence") };
    let same = transition::matchers(&old.matchers) == transition::matchers(&wanted.matchers);
    let begun = match state_of(old, now) {
        // When it began is history.
        "active" => Some(old.starts_at),
        "pending" => Some(wanted.starts_at),
        _ => None,
    };
    match begun.filter(|_| same) {
        Some(starts_at) => (SilenceRow { id: old.id.clone(), created_at: old.created_at, starts_at, ..wanted }, "change silence"),
        None => (wanted, "silence"),
    }
}

fn read(sent: Sent, now: Timestamp) -> Result<SilenceRow, Refusal> {
    let required = |name: &str| Refusal::invalid(602, format!("{name} in body is required"));
    let sent_matchers = sent.matchers.ok_or_else(|| required("matchers"))?;
    let author = sent.created_by.ok_or_else(|| required("createdBy"))?;
    let comment = sent.comment.ok_or_else(|| required("comment"))?;
    let when = |name: &str, text: Option<String>| {
        let text = text.ok_or_else(|| required(name))?;
        text.parse::<Timestamp>().map_err(|error| Refusal::unreadable(format!("parsing silence body from \"\" failed, because {error}")))
    };
    let (starts, ends) = (when("startsAt", sent.starts_at)?, when("endsAt", sent.ends_at)?);
    if sent_matchers.is_empty() {
        return Err(Refusal::invalid(612, "matchers in body should have at least 1 items"));
    }
    if starts >= ends {
        return Err(Refusal::bad("Failed to create silence: start time must be before end time"));
    }
    if ends <= now {
        return Err(Refusal::bad("Failed to create silence: end time can't be in the past"));
    }
    let mut matchers: Vec<Matcher> = Vec::with_capacity(sent_matchers.len());
    for matcher in sent_matchers {
        let name = matcher.name.ok_or_else(|| required("matchers.name"))?;
        let value = matcher.value.ok_or_else(|| required("matchers.value"))?;
        let is_regex = matcher.is_regex.ok_or_else(|| required("matchers.isRegex"))?;
        if name.len() + value.len() > BYTES_MAX {
            return Err(Refusal::bad(format!("a matcher is longer than {BYTES_MAX} bytes")));
        }
        let operator = Operator::from_flags(is_regex, matcher.is_equal.unwrap_or(true));
        let read = Matcher::new(&name, operator, &value)
            .map_err(|error| Refusal::bad(format!("silence invalid: invalid label matcher: {error}")))?;
        matchers.push(read);
    }
    if matchers.len() > MATCHERS_MAX {
        return Err(Refusal::bad(format!("more than {MATCHERS_MAX} matchers")));
    }
    if matchers.iter().all(|matcher| matcher.accepts("")) {
        return Err(Refusal::bad("silence invalid: at least one matcher must not match the empty string"));
    }
    let texts: Vec<String> = matchers.iter().map(Matcher::to_string).collect();
    let cut = |text: String, max: usize| text.chars().take(max).collect::<String>();
    Ok(SilenceRow {
        id: chance::id(),
        matchers: json!(texts).to_string(),
        starts_at: starts.max(now),
        ends_at: ends,
        author: cut(author, 200),
        comment: cut(comment, 2_000),
        created_at: now,
        updated_at: now,
        expired_at: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::Span;

    const NOW: Timestamp = Timestamp(1_795_057_960_000);

    fn sent(matchers: &str, from: i64, to: i64) -> Result<SilenceRow, Refusal> {
        let text = format!(
            r#"{{"matchers":{matchers},"startsAt":"{}","endsAt":"{}","createdBy":"ada","comment":"x"}}"#,
            NOW + Span::minutes(from),
            NOW + Span::minutes(to)
        );
        read(serde_json::from_str(&text).unwrap(), NOW)
    }

    const ONE: &str = r#"[{"name":"a","value":"b","isRegex":false}]"#;

    #[test]
    fn matchers_come_back_as_they_were_sent() {
        let two =
            r#"[{"name":"a","value":"x\"y.*","isRegex":true,"isEqual":true},{"name":"a","value":" z","isRegex":false,"isEqual":false}]"#;
        let row = sent(two, -5, 5).unwrap();
        let mut back = shown(&row, NOW)["matchers"].clone();
        let mut wanted: Value = serde_json::from_str(two).unwrap();
        for list in [&mut back, &mut wanted] {
            list.as_array_mut().unwrap().sort_by_key(|matcher| matcher["value"].to_string());
        }
        assert_eq!(back, wanted);
        assert_eq!(row.starts_at, NOW, "a silence never began before it was made");
    }

    #[test]
    fn what_could_not_work_is_refused() {
        assert!(sent(ONE, 0, 5).is_ok());
        for (matchers, from, to) in [
            ("[]", 0, 5),
            (ONE, 5, 5),
            (ONE, -9, -5),
            (r#"[{"name":"a","value":"(","isRegex":true}]"#, 0, 5),
            (r#"[{"name":"a","value":"","isRegex":false}]"#, 0, 5),
            (r#"[{"name":"a","value":".*","isRegex":true}]"#, 0, 5),
            (r#"[{"name":"","value":"x","isRegex":false}]"#, 0, 5),
        ] {
            assert!(sent(matchers, from, to).is_err(), "{matchers} {from} {to}");
        }
    }

    #[test]
    fn a_change_of_what_is_muted_is_another_silence() {
        let old = sent(ONE, 0, 5).unwrap();
        let later = NOW + Span::MINUTE;
        let longer = SilenceRow { id: "new".into(), starts_at: later, ..sent(ONE, 0, 50).unwrap() };
        let (row, _) = change(Some(&old), longer.clone(), later);
        assert_eq!((row.id.as_str(), row.starts_at, row.ends_at), (old.id.as_str(), NOW, longer.ends_at));
        let other = sent(r#"[{"name":"a","value":"c","isRegex":false}]"#, 0, 5).unwrap();
        assert_eq!(change(Some(&old), other.clone(), later).0.id, other.id);
        assert_eq!(change(Some(&old), longer, NOW + Span::minutes(6)).0.id, "new", "what has ended is not begun again");
    }
}
