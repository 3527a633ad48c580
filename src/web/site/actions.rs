//! What forms do: each is answered 303 back to a page, with the outcome in words at its top.

use axum::extract::{Path, State as Take};
use axum::response::{IntoResponse, Redirect, Response};
use std::sync::Arc;

use super::silences::{held_now, posted as asked};
use super::{back, said};
use crate::domain::incident::Input;
use crate::domain::notification::Status;
use crate::domain::time::{Span, Timestamp};
use crate::web::api::{incidents, outbox, silences};
use crate::web::frame::Outcome;
use crate::web::guard::visitor::Posted;
use crate::web::number;
use crate::web::pages::incident::path;
use crate::web::problem::Problem;
use crate::web::state::State;
use crate::web::text::clip;

/// A silence that lasts longer, or holds back more alerts now, is asked for twice.
const LONG: Span = Span::hours(24);
const MANY: usize = 20;

type Shared = Take<Arc<State>>;

pub async fn acknowledge(Take(state): Shared, Path(id): Path<String>, posted: Posted) -> Response {
    let now = state.clock.now();
    let by = posted.visitor.reader.name.clone();
    let done = incidents::apply(&state, &posted.visitor, &id, Input::Acknowledge { by: by.clone() }, None, now).await;
    let here = path(&id);
    match done {
        Ok(incident) => match (incident.status, &incident.acknowledged_by) {
            (Status::Resolved, _) => said(&here, Ok("It is resolved already: nothing to acknowledge.".to_owned())),
            (_, Some(other)) if *other != by => said(&here, Ok(format!("It was acknowledged by {} before.", clip(other, 60)))),
            _ => {
                let text = "Acknowledged. Escalation stops and the receivers are told; it speaks up again when it gets louder.".to_owned();
                back(&here, &Outcome { good: true, text, undo: Some((format!("{here}/unack"), "Undo".into())) })
            }
        },
        Err(problem) => said(&here, Err(problem)),
    }
}

pub async fn unacknowledge(Take(state): Shared, Path(id): Path<String>, posted: Posted) -> Response {
    let by = posted.visitor.reader.name.clone();
    let done = incidents::apply(&state, &posted.visitor, &id, Input::Unacknowledge { by }, None, state.clock.now()).await;
    said(
        &path(&id),
        done.map(|incident| match incident.status {
            Status::Resolved => "It is resolved already: nothing to take back.".to_owned(),
            Status::Open | Status::Acknowledged => "The acknowledgement is taken back: escalation and reminders go on.".to_owned(),
        }),
    )
}

pub async fn note(Take(state): Shared, Path(id): Path<String>, posted: Posted) -> Response {
    let text = posted.field("text").to_owned();
    let result = async {
        if text.is_empty() || text.chars().count() > incidents::NOTE_CHARS_MAX {
            return Err(Problem::bad(format!("a note has 1 to {} characters", incidents::NOTE_CHARS_MAX)));
        }
        let by = posted.visitor.reader.name.clone();
        incidents::apply(&state, &posted.visitor, &id, Input::Note { by, text }, None, state.clock.now()).await?;
        Ok("The note is in the time line.".to_owned())
    };
    said(&path(&id), result.await)
}

/// The end of a snooze as people type it: `45m`, `2h`, `09:00`; `now` ends one.
pub fn read_until(text: &str, now: Timestamp) -> Result<Timestamp, Problem> {
    let bad = || Problem::bad("say for how long (45m, 2h) or until when (09:30, UTC)");
    if let Some((hours, minutes)) = text.split_once(':') {
        let (hours, minutes): (i64, i64) = (hours.parse().map_err(|_| bad())?, minutes.parse().map_err(|_| bad())?);
        if !(0..24).contains(&hours) || !(0..60).contains(&minutes) {
            return Err(bad());
        }
        let today = now.floor(Span::DAY) + Span::minutes(hours * 60 + minutes);
        return Ok(if today > now { today } else { today + Span::DAY });
    }
    let span: Span = text.parse().map_err(|_| bad())?;
    incidents::checked_snooze(now + span, now)
}

pub async fn snooze(Take(state): Shared, Path(id): Path<String>, posted: Posted) -> Response {
    let now = state.clock.now();
    let waking = posted.field("for") == "now";
    let result = async {
        let until = if waking { now } else { read_until(posted.field("for"), now)? };
        let by = posted.visitor.reader.name.clone();
        let incident = incidents::apply(&state, &posted.visitor, &id, Input::Snooze { by, until }, None, now).await?;
        if incident.status == Status::Resolved {
            return Err(Problem::bad("it is resolved already: there is nothing to snooze"));
        }
        Ok(until)
    };
    let here = path(&id);
    match result.await {
        Ok(_) if waking => said(&here, Ok("The snooze is ended.".into())),
        Ok(until) => {
            let text = format!("Snoozed until {} UTC.", number::clock(until, now));
            back(&here, &Outcome { good: true, text, undo: Some((format!("{here}/snooze?for=now"), "Undo".into())) })
        }
        Err(problem) => said(&here, Err(problem)),
    }
}

pub async fn resolve(Take(state): Shared, Path(id): Path<String>, posted: Posted) -> Response {
    let why = match (posted.field("why"), posted.field("text")) {
        (why, "") => clip(why, 40),
        (why, text) => format!("{}: {}", clip(why, 40), clip(text, 500)),
    };
    let by = posted.visitor.reader.name.clone();
    let done = incidents::apply(&state, &posted.visitor, &id, Input::Resolve { by, why }, None, state.clock.now()).await;
    said(&path(&id), done.map(|_| "Resolved. Everybody who was told that it opened is told that it is closed.".into()))
}

pub async fn hand_over(Take(state): Shared, Path(id): Path<String>, posted: Posted) -> Response {
    let result = async {
        let owner = incidents::checked_owner(posted.field("owner"))?;
        let by = posted.visitor.reader.name.clone();
        let input = Input::HandOver { by, owner, why: clip(posted.field("why"), incidents::WHY_CHARS_MAX) };
        let incident = incidents::apply(&state, &posted.visitor, &id, input, None, state.clock.now()).await?;
        Ok(format!("It is owned by {} now; whom the routes name for that is told.", clip(&incident.owner, 100)))
    };
    said(&path(&id), result.await)
}

pub async fn set_severity(Take(state): Shared, Path(id): Path<String>, posted: Posted) -> Response {
    let result = async {
        let severity = incidents::checked_severity(posted.field("severity"))?;
        let by = posted.visitor.reader.name.clone();
        let input = Input::SetSeverity { by, severity, why: clip(posted.field("why"), incidents::WHY_CHARS_MAX) };
        let incident = incidents::apply(&state, &posted.visitor, &id, input, None, state.clock.now()).await?;
        Ok(format!("Its severity is {} now; whom the routes name for that is told.", incident.severity))
    };
    said(&path(&id), result.await)
}

pub async fn silence(Take(state): Shared, posted: Posted) -> Response {
    let now = state.clock.now();
    let (matchers, lasts) = asked(&posted);
    let again = format!(
        "/silences/new{}",
        crate::web::text::query(&[("m", &matchers.join("\n")), ("for", &lasts), ("comment", posted.field("comment"))])
    );
    let result = async {
        let ends = read_until(&lasts, now)?;
        let wanted = silences::Wanted {
            matchers,
            starts: None,
            ends: Some(ends),
            author: posted.visitor.reader.name.clone(),
            comment: clip(posted.field("comment"), 2_000),
        };
        let row = silences::checked(wanted, now)?;
        let held = held_now(&state.snapshot.load(), &row.matchers);
        if posted.field("sure") != "yes" && (row.ends_at - now > LONG || held > MANY) {
            return Ok(None);
        }
        silences::store(&state, &posted.visitor, &row, now).await?;
        Ok(Some(row))
    };
    match result.await {
        Ok(None) => Redirect::to(&format!("{again}&confirm=1")).into_response(),
        Ok(Some(row)) => {
            let text = format!("Silenced until {} UTC.", number::clock(row.ends_at, now));
            back("/silences", &Outcome { good: true, text, undo: Some((format!("/silences/{}/end", row.id), "Undo".into())) })
        }
        Err(problem) => said(&again, Err(problem)),
    }
}

pub async fn end_silence(Take(state): Shared, Path(id): Path<String>, posted: Posted) -> Response {
    let result = match silences::end(&state, &posted.visitor, &id, state.clock.now()).await {
        Ok(Some(true)) => Ok("The silence is ended.".to_owned()),
        Ok(Some(false)) => Ok("This silence had ended already.".to_owned()),
        Ok(None) => Err(Problem::unknown("silence", &id)),
        Err(problem) => Err(problem),
    };
    said("/silences", result)
}

pub async fn replay(Take(state): Shared, Path(id): Path<String>, posted: Posted) -> Response {
    let result = match outbox::send_again(&state, &posted.visitor, &id, state.clock.now()).await {
        Ok(true) => Ok("It is on its way again, under the same delivery id.".to_owned()),
        Ok(false) => Err(Problem::unknown("dead letter", &id)),
        Err(problem) => Err(problem),
    };
    said("/deadletters", result)
}

pub async fn replay_all(Take(state): Shared, posted: Posted) -> Response {
    let receiver = Some(posted.field("receiver").to_owned()).filter(|receiver| !receiver.is_empty());
    let result = match outbox::send_all_again(&state, &posted.visitor, receiver, state.clock.now()).await {
        Ok(0) => Err(Problem::bad("there is no dead letter any more")),
        Ok(1) => Ok("One is on its way again, under the same delivery id.".to_owned()),
        Ok(outbox::AGAIN_MAX) => Ok(format!("{} are on their way again; there may be more.", outbox::AGAIN_MAX)),
        Ok(n) => Ok(format!("{n} are on their way again, under the same delivery ids.")),
        Err(problem) => Err(problem),
    };
    said("/deadletters", result)
}

pub async fn discard(Take(state): Shared, Path(id): Path<String>, posted: Posted) -> Response {
    let reason = clip(posted.field("reason"), 500);
    let result = match () {
        () if reason.is_empty() => Err(Problem::bad("say why it is discarded")),
        () => match outbox::give_up(&state, &posted.visitor, &id, &reason, state.clock.now()).await {
            Ok(true) => Ok("Discarded; nobody will be told of it.".to_owned()),
            Ok(false) => Err(Problem::unknown("dead letter", &id)),
            Err(problem) => Err(problem),
        },
    };
    said("/deadletters", result)
}

pub async fn test_receiver(Take(state): Shared, Path(name): Path<String>, posted: Posted) -> Response {
    let now = state.clock.now();
    let result = async {
        if state.snapshot.load().rules.receiver(&name).is_none() {
            return Err(Problem::unknown("receiver", &name));
        }
        let mut tx = state.store.write().await?;
        crate::web::api::note(&mut tx, &posted.visitor, now, "test receiver", &format!("receiver {name}"), serde_json::json!({})).await?;
        tx.commit().await?;
        let tested = (state.test_receiver)(name.clone(), now).await?;
        if tested.delivered {
            Ok(format!("{} took the test: {}", clip(&name, 80), tested.detail))
        } else {
            Err(Problem::bad(tested.detail))
        }
    };
    said("/receivers", result.await)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snooze_is_typed_as_a_length_or_a_time_of_day() {
        let now: Timestamp = "2026-11-19T03:12:40Z".parse().unwrap();
        let at = |text: &str| read_until(text, now).map(|at| at.to_string()).map_err(|problem| problem.detail().to_owned());
        assert_eq!(at("45m").unwrap(), "2026-11-19T03:57:40Z");
        assert_eq!(at("09:00").unwrap(), "2026-11-19T09:00:00Z");
        assert_eq!(at("03:00").unwrap(), "2026-11-20T03:00:00Z", "a time that has passed is tomorrow's");
        for bad in ["", "soon", "24:00", "9:99", "0s", "90d", "-1h"] {
            assert!(at(bad).is_err(), "{bad}");
        }
    }
}
