//! Events: exceptions, and what ended a program.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::written::{Contexts, Tags, User, WrittenRequest, flags_of};
use super::{Walk, Who, text, time};
use crate::domain::cell::UNIT;
use crate::domain::event::Batch;
use crate::domain::fingerprint::fingerprint;
use crate::domain::json::Text;
use crate::domain::metric::Metric;
use crate::intake::reading::{Frame, Loose, event_of, trace_id};
use crate::intake::reason::Reason;

impl<'a> Walk<'_, 'a, '_> {
    pub(super) fn event(&mut self, event: WrittenEvent<'a>, index: usize) -> Result<Vec<Batch<'a>>, Reason> {
        let fatal = text(&event.level).as_deref() == Some("fatal");
        let exceptions = event.exception.0.unwrap_or_default().0;
        // The last one is what was thrown; those before it are its causes.
        let exception = exceptions.into_iter().rev().find_map(|exception| exception.0);
        if exception.is_none() && !fatal {
            return Ok(vec![]);
        }
        let (kind, message, stack) = match exception {
            Some(exception) => {
                let frames = exception.stacktrace.0.unwrap_or_default().frames.0.unwrap_or_default();
                let frame = frames.into_iter().rev().find_map(|frame| frame.0);
                (text(&exception.kind).unwrap_or_default(), text(&exception.value).unwrap_or_default(), frame.map(Frame::line))
            }
            None => (Cow::Borrowed(""), Cow::Borrowed(""), None),
        };
        let contexts = event.contexts.0.unwrap_or_default();
        let request = event.request.0.unwrap_or_default();
        let tags = event.tags.0.unwrap_or_default();
        let flags = flags_of(tags.0, contexts.flags.0);
        let mut who = Who {
            release: text(&event.release),
            environment: text(&event.environment),
            user_agent: request.user_agent(),
            browser: contexts.browser.0.and_then(|browser| text(&browser.name)),
            os: contexts.os.0.and_then(|os| text(&os.name)),
            user: event.user.0.and_then(|user| text(&user.id)),
            flags,
        };
        who.user = who.user.take().or_else(|| who.flags.iter().find(|(name, _)| name == "session").map(|(_, session)| session.clone()));
        let (source, user, _) = self.source(who)?;
        let at = self.at(time(&event.timestamp));
        let mut made = event_of(index, if fatal { Metric::Crash } else { Metric::JsError }, at, UNIT);
        made.bad = true;
        made.user = user;
        made.own[0] = Cow::Owned(fingerprint(&kind, &message, &stack.unwrap_or_default()));
        made.trace = contexts.trace.0.and_then(|trace| trace_id(text(&trace.trace_id)?));
        let page = text(&event.transaction).or_else(|| text(&request.url)).unwrap_or_default();
        made.route = self.reading.route("page", page);
        let id = text(&event.event_id).or_else(|| text(&self.header.event_id));
        let id = id.map(|id| self.body_id(&source, &id));
        Ok(vec![Batch { id, source, events: vec![made] }])
    }
}

#[derive(Deserialize)]
pub(super) struct WrittenEvent<'a> {
    #[serde(borrow, default)]
    event_id: Loose<Text<'a>>,
    #[serde(borrow, default)]
    timestamp: Loose<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) level: Loose<Text<'a>>,
    #[serde(borrow, default)]
    release: Loose<Text<'a>>,
    #[serde(borrow, default)]
    environment: Loose<Text<'a>>,
    #[serde(borrow, default)]
    transaction: Loose<Text<'a>>,
    #[serde(borrow, default)]
    request: Loose<WrittenRequest<'a>>,
    #[serde(borrow, default)]
    user: Loose<User<'a>>,
    #[serde(borrow, default)]
    tags: Loose<Tags<'a>>,
    #[serde(borrow, default)]
    contexts: Loose<Contexts<'a>>,
    #[serde(borrow, default)]
    exception: Loose<Exceptions<'a>>,
}

/// `{ values: [...] }`; before that a list, and first of all one exception by itself.
#[derive(Default)]
struct Exceptions<'a>(Vec<Loose<Exception<'a>>>);

impl<'de: 'a, 'a> Deserialize<'de> for Exceptions<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Exceptions<'a>, D::Error> {
        #[derive(Deserialize)]
        struct Within<'a> {
            #[serde(borrow)]
            values: Option<&'a RawValue>,
        }
        let raw = <&'de RawValue>::deserialize(deserializer)?;
        let list = if raw.get().starts_with('[') {
            Some(raw)
        } else {
            serde_json::from_str::<Within<'de>>(raw.get()).ok().and_then(|within| within.values)
        };
        let read = match list {
            Some(list) => serde_json::from_str(list.get()).unwrap_or_default(),
            None => vec![serde_json::from_str(raw.get()).unwrap_or_default()],
        };
        Ok(Exceptions(read))
    }
}

#[derive(Deserialize)]
struct Exception<'a> {
    #[serde(borrow, default, rename = "type")]
    kind: Loose<Text<'a>>,
    #[serde(borrow, default)]
    value: Loose<Text<'a>>,
    #[serde(borrow, default)]
    stacktrace: Loose<Stack<'a>>,
}

#[derive(Default, Deserialize)]
struct Stack<'a> {
    /// The newest call last.
    #[serde(borrow, default)]
    frames: Loose<Vec<Loose<Frame<'a>>>>,
}
