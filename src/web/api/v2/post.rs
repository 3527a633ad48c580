//! `POST /api/v2/alerts`: read, checked one by one, stored together, and only then answered.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State as Take;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, StatusCode, header};
use bytes::Bytes;
use serde::Deserialize;

use super::Refusal;
use crate::domain::posted::{Packed, Posted, RESOLVE_TIMEOUT};
use crate::domain::rule::Labels;
use crate::domain::time::{Span, Timestamp};
use crate::web::problem::Problem;
use crate::web::state::State;
use crate::web::text::clip;

/// Labels name an alert: one that names too much is refused. What only describes it is cut.
const LABELS_MAX: usize = 128;
const LABEL_BYTES_MAX: usize = 32 * 1024;
const ANNOTATIONS_MAX: usize = 64;
const ANNOTATION_BYTES_MAX: usize = 4 * 1024;
const URL_BYTES_MAX: usize = 4 * 1024;

/// An alert as it is sent; what else is in it is left alone, as Alertmanager does.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Sent {
    labels: Option<BTreeMap<String, String>>,
    annotations: Option<BTreeMap<String, String>>,
    starts_at: Option<String>,
    ends_at: Option<String>,
    #[serde(rename = "generatorURL")]
    generator_url: Option<String>,
}

/// The handler.
pub async fn take(Take(state): Take<Arc<State>>, headers: HeaderMap, body: Result<Bytes, BytesRejection>) -> Result<StatusCode, Refusal> {
    is_json(&headers)?;
    let body = body.map_err(|rejection| Problem::new(rejection.status(), rejection.body_text()))?;
    let now = state.clock.now();
    let timeout = state.snapshot.load().rules.resolve_timeout.unwrap_or(RESOLVE_TIMEOUT);
    // `null` is how Go writes an empty list.
    let sent = serde_json::from_slice::<Option<Vec<Sent>>>(&body)
        .map_err(|error| Refusal::unreadable(format!("parsing alerts body from \"\" failed, because {error}")))?
        .unwrap_or_default();
    let (alerts, wrong) = read(sent, now, timeout)?;
    metrics::counter!("burnwatch_posted_alerts_total", "outcome" => "accepted").increment(alerts.len() as u64);
    metrics::counter!("burnwatch_posted_alerts_total", "outcome" => "refused").increment(wrong.len() as u64);
    // The good ones count although others are refused.
    state.alerts.post(alerts, now).await?;
    if wrong.is_empty() {
        return Ok(StatusCode::OK);
    }
    let shown: Vec<String> = wrong.iter().take(20).cloned().collect();
    Err(Refusal::bad(shown.join("; ")))
}

/// A body that does not say that it is JSON is refused: a page of another site could send it.
pub fn is_json(headers: &HeaderMap) -> Result<(), Refusal> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let media = kind.split(';').next().unwrap_or_default().trim();
    if media.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    let shown = if kind.is_empty() { "application/octet-stream".to_owned() } else { clip(kind, 80) };
    let message = format!("unsupported media type \"{shown}\", only [application/json] are allowed");
    Err(Refusal::Said { status: StatusCode::UNSUPPORTED_MEDIA_TYPE, code: 415, message })
}

/// The alerts of a body and what is wrong with the others. A body whose form is wrong is refused whole.
fn read(sent: Vec<Sent>, now: Timestamp, timeout: Span) -> Result<(Vec<Posted>, Vec<String>), Refusal> {
    for (at, alert) in sent.iter().enumerate() {
        if alert.labels.is_none() {
            return Err(Refusal::invalid(602, format!("{at}.labels in body is required")));
        }
        let url = alert.generator_url.as_deref().unwrap_or_default();
        if !is_uri(url) {
            return Err(Refusal::invalid(601, format!("{at}.generatorURL in body must be of type uri: \"{}\"", clip(url, 80))));
        }
    }
    // A time that cannot be read spoils the body, as if it were no JSON.
    let mut times = Vec::with_capacity(sent.len());
    for alert in &sent {
        times.push((when(alert.starts_at.as_deref())?, when(alert.ends_at.as_deref())?));
    }
    let mut alerts = Vec::with_capacity(sent.len());
    let mut wrong = Vec::new();
    for (alert, (starts, ends)) in sent.into_iter().zip(times) {
        let labels = alert.labels.unwrap_or_default();
        // Without a start it is on from now, or over since its end.
        let starts_at = starts.unwrap_or_else(|| ends.map_or(now, |ends| ends.min(now)));
        let (ends_at, timed) = ends.map_or((now + timeout, true), |ends| (ends, false));
        if let Err(why) = check(&labels, starts_at, ends_at) {
            wrong.push(why);
            continue;
        }
        alerts.push(Posted {
            labels: Packed::new(&labels),
            annotations: annotations(alert.annotations.unwrap_or_default()).into(),
            generator: alert.generator_url.unwrap_or_default().into(),
            starts: starts_at,
            ends: ends_at,
            timed,
            updated: now,
        });
    }
    Ok((alerts, wrong))
}

fn check(labels: &Labels, starts: Timestamp, ends: Timestamp) -> Result<(), String> {
    if ends < starts {
        return Err("start time must be before end time".into());
    }
    if labels.values().all(String::is_empty) {
        return Err("at least one label pair required".into());
    }
    // Names of any letters, as later versions of Alertmanager take them.
    if labels.contains_key("") {
        return Err("invalid label set: invalid name \"\"".into());
    }
    let bytes: usize = labels.iter().map(|(name, value)| name.len() + value.len()).sum();
    if labels.len() > LABELS_MAX || bytes > LABEL_BYTES_MAX {
        return Err(format!("invalid label set: more than {LABELS_MAX} labels or {LABEL_BYTES_MAX} bytes"));
    }
    Ok(())
}

/// As JSON; too long a text is cut, because an alert that describes too much is still an alert.
fn annotations(sent: BTreeMap<String, String>) -> String {
    let cut = |text: String| {
        if text.len() <= ANNOTATION_BYTES_MAX {
            return text;
        }
        format!("{}…", &text[..text.floor_char_boundary(ANNOTATION_BYTES_MAX)])
    };
    let kept = sent.into_iter().filter(|(name, value)| !value.is_empty() && name.len() <= 256).take(ANNOTATIONS_MAX);
    let kept: BTreeMap<String, String> = kept.map(|(name, value)| (name, cut(value))).collect();
    serde_json::to_string(&kept).expect("texts always serialise")
}

fn is_uri(text: &str) -> bool {
    // An empty one is none; one without a scheme is a path, which Alertmanager's check takes as well.
    text.is_empty()
        || text.len() <= URL_BYTES_MAX
            && !text.contains(|c: char| c.is_control() || c == ' ')
            && (text.starts_with('/') || url::Url::parse(text).is_ok())
}

/// A time; the year 1 is how Go writes none.
fn when(text: Option<&str>) -> Result<Option<Timestamp>, Refusal> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
    let read = text.parse::<Timestamp>().ok().or_else(|| format!("{text}Z").parse().ok());
    let at = read.ok_or_else(|| {
        let shown = clip(text, 60);
        Refusal::unreadable(format!("parsing alerts body from \"\" failed, because parsing time \"{shown}\" as RFC 3339 failed"))
    })?;
    const YEAR_2: Timestamp = Timestamp(-62_104_060_800_000);
    Ok((at >= YEAR_2).then_some(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_795_057_960_000);

    fn body(text: &str) -> Result<(Vec<Posted>, Vec<String>), Refusal> {
        read(serde_json::from_str(text).unwrap(), NOW, Span::minutes(5))
    }

    fn code(text: &str) -> u16 {
        match body(text) {
            Err(Refusal::Said { code, .. }) => code,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn absent_times_are_filled_in_as_alertmanager_does() {
        let times = |text: &str| {
            let (alerts, wrong) = body(text).unwrap();
            assert!(wrong.is_empty(), "{wrong:?}");
            (alerts[0].starts - NOW, alerts[0].ends - NOW, alerts[0].timed)
        };
        let zero = Span::ZERO;
        assert_eq!(times(r#"[{"labels":{"a":"b"}}]"#), (zero, Span::minutes(5), true));
        let go = r#"[{"labels":{"a":"b"},"startsAt":"0001-01-01T00:00:00.000Z","endsAt":"0001-01-01T00:00:00.000Z","x":1}]"#;
        assert_eq!(times(go), (zero, Span::minutes(5), true));
        let ended = format!(r#"[{{"labels":{{"a":"b"}},"endsAt":"{}"}}]"#, NOW - Span::MINUTE);
        assert_eq!(times(&ended), (zero - Span::MINUTE, zero - Span::MINUTE, false));
        let until = format!(r#"[{{"labels":{{"a":"b"}},"endsAt":"{}"}}]"#, NOW + Span::HOUR);
        assert_eq!(times(&until), (zero, Span::HOUR, false));
        let lease = format!(r#"[{{"labels":{{"a":"b"}},"startsAt":"{}","endsAt":"{}"}}]"#, NOW - Span::HOUR, NOW + Span::minutes(4));
        assert_eq!(times(&lease), (zero - Span::HOUR, Span::minutes(4), false));
    }

    #[test]
    fn what_is_wrong_is_refused_and_the_rest_is_not() {
        assert_eq!((code("[{}]"), code(r#"[{"labels":{"a":"b"},"generatorURL":"no uri"}]"#)), (602, 601));
        assert_eq!(code(r#"[{"labels":{"a":"b"},"endsAt":"tomorrow"}]"#), 400);
        let late = format!(r#"[{{"labels":{{"a":"b"}},"startsAt":"{NOW}","endsAt":"{}"}}]"#, NOW - Span::MINUTE);
        for (text, said) in [
            (r#"[{"labels":{}}]"#, "at least one label pair required"),
            (r#"[{"labels":{"a":""}}]"#, "at least one label pair required"),
            (late.as_str(), "start time must be before end time"),
            (r#"[{"labels":{"":"x"}}]"#, "invalid label set: invalid name \"\""),
        ] {
            let (alerts, wrong) = body(text).unwrap();
            assert_eq!((alerts.len(), wrong), (0, vec![said.to_owned()]), "{text}");
        }
        let (alerts, wrong) = body(r#"[{"labels":{"a":"b"}},{"labels":{}}]"#).unwrap();
        assert_eq!((alerts.len(), wrong.len()), (1, 1));
    }

    #[test]
    fn long_descriptions_are_cut_and_empty_ones_are_none() {
        let long = "é".repeat(ANNOTATION_BYTES_MAX);
        let text = annotations([("summary".into(), long), ("empty".into(), String::new())].into());
        assert!(text.len() < ANNOTATION_BYTES_MAX + 100 && text.contains('…') && !text.contains("empty"));
    }
}
