//! `POST /hooks/{receiver}`: pagers, chats and trackers say what people did there.
//!
//! A signature with the receiver's `callback_secret` is the permission. An acknowledgement there is
//! one here. A close there is an acknowledgement and a note: whether it is over is decided by the
//! rules, and an incident is only open while an alert of it fires.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, Path, State as Take};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::{Extension, Json};
use bytes::Bytes;
use serde_json::json;
use tracing::{error, info, warn};

use super::Answer;
use crate::domain::desk::correlation_key;
use crate::domain::digest;
use crate::domain::rule::Field;
use crate::domain::time::Span;
use crate::store::{outbox, receivers, transition};
use crate::web::answer::{Answered, Answerer, Subject, acknowledge};
use crate::web::callback::{self, Did, Heeded, Key, Provider, Said, Unheard};
use crate::web::problem::Problem;
use crate::web::state::State;

/// Largest body; what we read of one stands in a few hundred bytes of it.
pub const BODY_BYTES_MAX: usize = 1024 * 1024;

pub async fn take(
    Take(state): Take<Arc<State>>,
    Path(name): Path<String>,
    connect: Option<Extension<ConnectInfo<SocketAddr>>>,
    headers: HeaderMap,
    body: Bytes,
) -> Answer {
    let now = state.clock.now();
    let source = connect.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |info| info.0.0.ip());
    if let Some(wait) = state.failures.wait(source, now) {
        let secs = HeaderValue::from((wait.millis() + 999) / Span::SECOND.millis());
        return Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, "too many calls without a good signature came from this address")
            .with(header::RETRY_AFTER, secs));
    }
    // Whether a receiver exists, takes calls or was sent a wrong signature is the same answer to a stranger.
    let refused = || {
        state.failures.note(source, now);
        Problem::new(StatusCode::UNAUTHORIZED, "this call is not signed with the callback_secret of such a receiver")
    };
    let rules = state.snapshot.load().rules.clone();
    let receiver = rules.receiver(&name);
    let Some((receiver, provider, field)) = receiver.and_then(|it| Some((it, Provider::of(&it.kind)?, it.callback_secret.as_ref()?)))
    else {
        return Err(refused());
    };
    let secret = match field {
        Field::Plain(text) => text.clone(),
        Field::Secret(secret) => match state.config.secrets.lookup(secret) {
            Ok(secret) => secret.expose().to_owned(),
            Err(problem) => {
                error!(receiver = name, error = %problem, "a call back cannot be checked");
                return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "its secret has no value here now"));
            }
        },
    };
    let said = match callback::read(provider, &secret, &headers, &body, now) {
        Ok(said) => said,
        Err(Unheard::Unsigned) => {
            warn!(receiver = name, "a call back to `{name}` had no good signature");
            return Err(refused());
        }
        Err(Unheard::Ignored(why)) => return Ok(ignored(why)),
    };
    let call = Heeded::name(&name, &body);
    if state.heeded.has(&call) {
        return Ok(ignored("it was heeded before"));
    }
    let found = find(&state, &receiver.name, &said).await?;
    let who = match said.person.as_str() {
        "" => format!("{} {}", provider.name(), receiver.name),
        person => format!("{person} via {} {}", provider.name(), receiver.name),
    };
    let by = Answerer { who, source: source.to_string() };
    let remark = match said.did {
        Did::Acknowledge => None,
        Did::Close => Some(format!("closed in {}; here it stays open while its alerts fire", provider.name())),
    };
    let mut result = None;
    for (incident, generation) in found {
        let answered = acknowledge(&state, &by, &Subject { incident: &incident, generation }, remark.clone(), now).await?;
        let word = match answered {
            Answered::Done(_) => "acknowledged",
            Answered::Before(_) => "acknowledged before",
            Answered::Over(_) | Answered::Earlier(_) | Answered::Unknown => continue,
        };
        info!(receiver = receiver.name, incident.id = incident, "incident {word} from {}", provider.name());
        result.get_or_insert((word, incident));
    }
    let Some((result, incident)) = result else { return Ok(ignored("no open incident belongs to it")) };
    state.heeded.add(call);
    Ok(Json(json!({ "result": result, "incident": incident })))
}

/// Providers try again and warn their owners after anything but a success.
fn ignored(why: &str) -> Json<serde_json::Value> {
    Json(json!({ "result": "ignored", "reason": why }))
}

/// The incidents that are meant, by their correlation key at this receiver or by a sealed claim: one, or all that a
/// digest stands for.
async fn find(state: &State, receiver: &str, said: &Said) -> Result<Vec<(String, i64)>, Problem> {
    match &said.key {
        Key::Sealed(sealed) => {
            let claim = state.answer_key.open(sealed, state.clock.now()).ok();
            Ok(claim.filter(|claim| claim.receiver == receiver).map(|claim| (claim.incident, claim.generation)).into_iter().collect())
        }
        Key::Correlation(keys) => {
            let mut tx = state.store.read().await?;
            let open = transition::load_open(&mut tx).await?;
            let is_meant = |id: &str, generation: i64| keys.contains(&correlation_key(id, generation, receiver));
            if let Some(incident) = open.values().find(|incident| is_meant(&incident.id, incident.generation)) {
                return Ok(vec![(incident.id.clone(), incident.generation)]);
            }
            let known = receivers::load(&mut tx).await?.into_iter().find(|row| row.receiver == receiver);
            let known: Known = known.and_then(|row| serde_json::from_str(&row.data).ok()).unwrap_or_default();
            match known.digests.iter().find(|digest| is_meant(&digest.id, digest.generation)) {
                Some(digest) => Ok(outbox::digest::members(&mut tx, &digest.id).await?),
                None => Ok(Vec::new()),
            }
        }
    }
}

/// What is remembered of a receiver, as far as an answer needs it.
#[derive(Default, serde::Deserialize)]
struct Known {
    #[serde(default)]
    digests: Vec<digest::Open>,
}

#[cfg(test)]
mod tests {
    use axum::http::Method;
    use hmac::{Hmac, KeyInit, Mac};
    use serde_json::Value;
    use sha2::Sha256;

    use super::*;
    use crate::domain::desk::Outcome;
    use crate::domain::incident::Incident;
    use crate::domain::notification::Status;
    use crate::domain::time::Timestamp;
    use crate::store::{audit, incidents};
    use crate::web::fixture::NOW;
    use crate::web::fixture::house::{EVE, House, read, request};

    fn event(kind: &str, key: &str, id: &str) -> String {
        json!({ "event": { "id": id, "event_type": kind, "occurred_at": NOW.to_string(), "agent": { "summary": "Mira", "type": "user_reference" },
            "data": { "incident_key": key } } })
        .to_string()
    }

    async fn call(house: &House, receiver: &str, secret: &str, body: &str) -> (StatusCode, Value) {
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
        mac.update(body.as_bytes());
        let signature = format!("v1={}", hex::encode(mac.finalize().into_bytes()));
        let request = request(Method::POST, &format!("/hooks/{receiver}"), &[("x-pagerduty-signature", &signature)], body);
        let (status, _, body) = read(house.send(request).await).await;
        (status, serde_json::from_str(&body).unwrap())
    }

    async fn incident(house: &House) -> Value {
        let request = request(Method::GET, "/v1/incidents/4127", &[("authorization", &format!("Bearer {EVE}"))], "");
        serde_json::from_str(&read(house.send(request).await).await.2).unwrap()
    }

    #[tokio::test]
    async fn an_acknowledgement_there_is_one_here() {
        let house = House::new(true, false).await;
        let key = correlation_key("4127", 1, "checkout-pager");
        let (status, answer) = call(&house, "checkout-pager", "s3cret", &event("incident.acknowledged", &key, "1")).await;
        assert_eq!((status, answer["result"].as_str()), (StatusCode::OK, Some("acknowledged")));
        let incident = incident(&house).await;
        assert_eq!(incident["acknowledged_by"], "Mira via PagerDuty checkout-pager");
        assert_eq!(incident["status"], "acknowledged");
    }

    #[tokio::test]
    async fn a_close_there_is_an_acknowledgement_and_a_note_here_once() {
        let house = House::new(true, false).await;
        let body = event("incident.resolved", &correlation_key("4127", 1, "checkout-pager"), "1");
        let (_, answer) = call(&house, "checkout-pager", "s3cret", &body).await;
        assert_eq!(answer["result"], "acknowledged");
        let (status, answer) = call(&house, "checkout-pager", "s3cret", &body).await;
        assert_eq!((status, answer["result"].as_str()), (StatusCode::OK, Some("ignored")), "a retry does nothing");
        let incident = incident(&house).await;
        assert_eq!(incident["status"], "acknowledged", "rules decide what is resolved");
        let notes: Vec<&Value> = incident["history"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|entry| entry["text"].as_str().unwrap().contains("closed in PagerDuty"))
            .collect();
        assert_eq!(notes.len(), 1, "{incident}");
    }

    #[tokio::test]
    async fn an_answer_to_a_digest_is_one_to_every_incident_in_it() {
        let house = House::new(true, false).await;
        let digest = digest::Open { id: digest::id("first"), generation: 9 };
        let mut tx = house.store.write().await.unwrap();
        let known = transition::read(&incidents::get(&mut tx, "4127").await.unwrap().unwrap()).unwrap();
        for (id, generation) in [("4127", known.generation), ("5001", 1), ("5002", 1), ("5003", 1)] {
            let over = id == "5003";
            let status = if over { Status::Resolved } else { Status::Open };
            let resolved_at = over.then_some(NOW);
            let key = format!("{{id=\"{id}\"}}");
            let incident = Incident { id: id.into(), key, generation, status, resolved_at, ..known.clone() };
            if id != "4127" {
                let outcome = Outcome { incident, new: true, effects: vec![] };
                transition::commit(&mut tx, std::slice::from_ref(&outcome), NOW, "http://x").await.unwrap();
            }
            let row = row(id, generation, &digest.id);
            assert!(outbox::insert(&mut tx, &row).await.unwrap());
            assert!(outbox::digest::fold(&mut tx, &row.id, &digest.id, NOW, Some(row.claimed_until), "too many at once").await.unwrap());
        }
        // An incident that the digest does not tell of.
        let other = Incident { id: "6000".into(), key: "{id=\"6000\"}".into(), ..known };
        transition::commit(&mut tx, &[Outcome { incident: other, new: true, effects: vec![] }], NOW, "http://x").await.unwrap();
        let data = json!({ "digests": [digest] }).to_string();
        receivers::save(&mut tx, "checkout-pager", Timestamp(0), &data).await.unwrap();
        tx.commit().await.unwrap();

        let key = correlation_key(&digest.id, digest.generation, "checkout-pager");
        let (status, answer) = call(&house, "checkout-pager", "s3cret", &event("incident.acknowledged", &key, "1")).await;
        assert_eq!((status, answer["result"].as_str()), (StatusCode::OK, Some("acknowledged")), "{answer}");
        let mut tx = house.store.read().await.unwrap();
        for (id, status) in
            [("4127", "acknowledged"), ("5001", "acknowledged"), ("5002", "acknowledged"), ("5003", "resolved"), ("6000", "open")]
        {
            assert_eq!(incidents::get(&mut tx, id).await.unwrap().unwrap().status, status, "{id}");
        }
        let said = audit::list(&mut tx, None, 10, audit::Acts::All).await.unwrap().0;
        let by = "Mira via PagerDuty checkout-pager";
        assert_eq!(said.iter().filter(|row| row.who == by && row.action == "acknowledge").count(), 3, "{said:?}");
    }

    fn row(incident: &str, generation: i64, digest: &str) -> outbox::OutboxRow {
        outbox::OutboxRow {
            id: format!("{digest}-{incident}"),
            incident: incident.into(),
            generation,
            sequence: 90,
            receiver: "checkout-pager".into(),
            correlation: correlation_key(incident, generation, "checkout-pager"),
            kind: "incident.opened".into(),
            payload: "{}".into(),
            state: "pending".into(),
            due_at: NOW,
            created_at: NOW,
            finished_at: None,
            attempts: 0,
            claimed_until: Timestamp(0),
            last_error: String::new(),
            reply: String::new(),
        }
    }

    #[tokio::test]
    async fn what_is_not_for_us_is_taken_and_ignored() {
        let house = House::new(true, false).await;
        let key = correlation_key("4127", 1, "checkout-pager");
        for body in [
            event("incident.acknowledged", "unknown", "1"),
            event("incident.acknowledged", &correlation_key("4127", 2, "checkout-pager"), "2"),
            event("incident.acknowledged", &correlation_key("4127", 1, "another"), "3"),
            event("incident.triggered", &key, "4"),
            "no JSON".to_owned(),
            "{}".to_owned(),
        ] {
            let (status, answer) = call(&house, "checkout-pager", "s3cret", &body).await;
            assert_eq!((status, answer["result"].as_str()), (StatusCode::OK, Some("ignored")), "{body}");
        }
        assert_eq!(incident(&house).await["status"], "open");
    }

    #[tokio::test]
    async fn r23_strangers_learn_nothing_and_have_to_wait() {
        let house = House::new(true, false).await;
        let body = event("incident.acknowledged", &correlation_key("4127", 1, "checkout-pager"), "1");
        let mut answers = Vec::new();
        for (receiver, secret) in [("checkout-pager", "wrong"), ("rollback", "s3cret"), ("none", "s3cret")] {
            answers.push(call(&house, receiver, secret, &body).await);
        }
        assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
        assert_eq!(answers[0].0, StatusCode::UNAUTHORIZED);
        assert_eq!(incident(&house).await["status"], "open");
        for _ in 0..17 {
            call(&house, "checkout-pager", "wrong", &body).await;
        }
        assert_eq!(call(&house, "checkout-pager", "s3cret", &body).await.0, StatusCode::TOO_MANY_REQUESTS);
        let house = House::new(true, false).await;
        let large = "x".repeat(BODY_BYTES_MAX + 1);
        let answer = house.send(request(Method::POST, "/hooks/checkout-pager", &[], &large)).await;
        assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE);
    }
}
