//! Sessions: states of one session, and counts that a client has summed up by itself.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Walk, Who, read, text, time};
use crate::domain::cell::UNIT;
use crate::domain::event::Batch;
use crate::domain::fingerprint::fingerprint;
use crate::domain::json::Text;
use crate::domain::metric::Metric;
use crate::intake::reading::{Loose, event_of, piece, pieces};
use crate::intake::reason::Reason;

/// How many events an item of ready-made session counts becomes at most; what is more becomes weight.
const SESSIONS_MAX: u64 = 1_000;
/// How many sessions one entry of such an item may claim.
const CLAIM_MAX: u64 = 100_000;

impl<'a> Walk<'_, 'a, '_> {
    pub(super) fn session(&mut self, session: Session<'a>, index: usize) -> Result<Vec<Batch<'a>>, Reason> {
        let sid = text(&session.sid).ok_or(Reason::Missing("sid"))?;
        let status = text(&session.status).ok_or(Reason::Missing("status"))?;
        // Without an end an update is of its beginning.
        let ts = time(&session.timestamp).or_else(|| time(&session.started));
        let mut who = session.attrs.0.unwrap_or_default().who();
        who.user = text(&session.did).or_else(|| Some(sid.clone()));
        let (source, user, keep_ids) = self.source(who)?;
        if !keep_ids && text(&session.init).as_deref() != Some("true") {
            // Nobody may be told apart, so nothing can be said of a session again.
            return Ok(vec![]);
        }
        let at = self.at(ts);
        let crashed = status == "crashed";
        let mut events = Vec::new();
        let mut metrics = vec![Metric::Session];
        if crashed && !self.has_fatal {
            metrics.push(Metric::Crash);
        }
        for metric in metrics {
            let mut event = event_of(index, metric, at, UNIT);
            event.bad = crashed;
            event.user = user;
            if keep_ids {
                event.repeat = Some(self.reading.repeat(&source.app, &event.metric.to_string(), &sid, ts));
            }
            if event.metric == Metric::Crash {
                event.own[0] = Cow::Owned(fingerprint("crash", "", ""));
            }
            events.push(event);
        }
        Ok(vec![Batch { id: None, source, events }])
    }

    /// Sessions that the client counted itself.
    pub(super) fn sessions(&mut self, payload: &'a [u8]) {
        let sessions: Sessions<'a> = match read(payload) {
            Ok(sessions) => sessions,
            Err(reason) => return self.one(|_, _| Err(reason)),
        };
        let attrs = sessions.attrs.0.unwrap_or_default();
        let mut room = SESSIONS_MAX;
        for entry in pieces(sessions.aggregates) {
            self.one(|walk, index| {
                let entry: SessionCounts<'a> = piece(entry)?;
                let (source, ..) = walk.source(attrs.who())?;
                let at = walk.at(time(&entry.started));
                let counts = [
                    (entry.exited, false),
                    (entry.errored, false),
                    (entry.abnormal, false),
                    (entry.unhandled, false),
                    (entry.crashed, true),
                ];
                let mut events = Vec::new();
                for (count, crashed) in counts.into_iter().filter(|(count, _)| *count > 0) {
                    if count > CLAIM_MAX {
                        return Err(Reason::Range("aggregates"));
                    }
                    let pieces = count.min(room).max(1);
                    room -= pieces.min(room);
                    for n in 0..pieces {
                        let weight = count * (n + 1) / pieces - count * n / pieces;
                        let mut event = event_of(index, Metric::Session, at, weight as i64 * UNIT);
                        event.bad = crashed;
                        events.push(event);
                    }
                }
                Ok(vec![Batch { id: None, source, events }])
            });
        }
    }
}

#[derive(Deserialize)]
pub(super) struct Session<'a> {
    #[serde(borrow, default)]
    sid: Loose<Text<'a>>,
    #[serde(borrow, default)]
    did: Loose<Text<'a>>,
    #[serde(borrow, default)]
    init: Loose<Text<'a>>,
    #[serde(borrow, default)]
    started: Loose<Text<'a>>,
    #[serde(borrow, default)]
    timestamp: Loose<Text<'a>>,
    #[serde(borrow, default)]
    status: Loose<Text<'a>>,
    #[serde(borrow, default)]
    attrs: Loose<SessionAttributes<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct SessionAttributes<'a> {
    #[serde(borrow)]
    release: Loose<Text<'a>>,
    #[serde(borrow)]
    environment: Loose<Text<'a>>,
    #[serde(borrow)]
    user_agent: Loose<Text<'a>>,
}

impl<'a> SessionAttributes<'a> {
    fn who(&self) -> Who<'a> {
        let (release, environment) = (text(&self.release), text(&self.environment));
        Who { release, environment, user_agent: text(&self.user_agent), ..Who::default() }
    }
}

#[derive(Deserialize)]
struct Sessions<'a> {
    #[serde(borrow)]
    aggregates: Option<&'a RawValue>,
    #[serde(borrow, default)]
    attrs: Loose<SessionAttributes<'a>>,
}

#[derive(Deserialize)]
struct SessionCounts<'a> {
    #[serde(borrow, default)]
    started: Loose<Text<'a>>,
    #[serde(default)]
    exited: u64,
    #[serde(default)]
    errored: u64,
    #[serde(default)]
    abnormal: u64,
    #[serde(default)]
    unhandled: u64,
    #[serde(default)]
    crashed: u64,
}
