//! Answers from people who are not signed in here: by a link that was sent to them, or from the
//! pager or tracker that they were told in. All of them acknowledge, and none can do more.

use serde_json::{Value, json};

use super::api::note_by;
use super::problem::Problem;
use super::state::State;
use crate::domain::desk::Desk;
use crate::domain::incident::{Incident, Input};
use crate::domain::notification::Status;
use crate::domain::time::Timestamp;
use crate::store::{incidents, transition};

/// Who answers, as history and audit name them, and from which address.
pub struct Answerer {
    pub who: String,
    pub source: String,
}

/// Which opening of which incident is meant.
pub struct Subject<'a> {
    pub incident: &'a str,
    pub generation: i64,
}

/// What an acknowledgement came to.
#[derive(Debug)]
pub enum Answered {
    /// It is acknowledged now.
    Done(Incident),
    /// Somebody had acknowledged it before.
    Before(Incident),
    /// It is resolved: there is nothing to acknowledge.
    Over(Incident),
    /// It was about an earlier opening.
    Earlier(Incident),
    /// There is no such incident any more.
    Unknown,
}

/// Where the subject stands, without doing anything.
pub async fn look(state: &State, subject: &Subject<'_>) -> Result<Answered, Problem> {
    let row = incidents::get(&mut state.store.read().await?, subject.incident).await?;
    let Some(row) = row else { return Ok(Answered::Unknown) };
    Ok(place(transition::read(&row)?, subject))
}

/// Where an incident stands to an answer; [`Answered::Done`] is one that waits for it.
fn place(incident: Incident, subject: &Subject<'_>) -> Answered {
    if incident.generation != subject.generation {
        return Answered::Earlier(incident);
    }
    match incident.status {
        Status::Open => Answered::Done(incident),
        Status::Acknowledged => Answered::Before(incident),
        Status::Resolved => Answered::Over(incident),
    }
}

/// Acknowledges, with history, notifications and a line in the audit, in one durable transaction. `remark` goes into the
/// time line also when somebody else was first.
pub async fn acknowledge(
    state: &State,
    by: &Answerer,
    subject: &Subject<'_>,
    remark: Option<String>,
    now: Timestamp,
) -> Result<Answered, Problem> {
    let desk = Desk::new(state.snapshot.load().rules.clone());
    let mut tx = state.store.write_durable().await?;
    let Some(row) = incidents::get_for_update(&mut tx, subject.incident).await? else { return Ok(Answered::Unknown) };
    let mut answered = place(transition::read(&row)?, subject);
    if matches!(answered, Answered::Over(_) | Answered::Earlier(_) | Answered::Unknown) {
        return Ok(answered);
    }
    let thing = format!("incident {}", subject.incident);
    if matches!(answered, Answered::Done(_)) {
        let input = Input::Acknowledge { by: by.who.clone() };
        if let Some((incident, _)) = transition::apply(&mut tx, &desk, subject.incident, input, now, state.public_url()).await? {
            answered = Answered::Done(incident);
        }
        note_by(&mut tx, &by.who, &by.source, now, "acknowledge", &thing, json!({})).await?;
    }
    if let Some(text) = remark {
        let input = Input::Note { by: by.who.clone(), text };
        transition::apply(&mut tx, &desk, subject.incident, input, now, state.public_url()).await?;
        note_by(&mut tx, &by.who, &by.source, now, "note", &thing, Value::Object(Default::default())).await?;
    }
    tx.commit().await?;
    state.changed();
    Ok(answered)
}
