//! `POST /v1/logs`, `/v1/traces`, `/v1/metrics`: OTLP/HTTP in JSON and protobuf, decoded into normalised events (RUM-CLIENTS 3).
//!
//! Both encodings are brought to the same records, which are read one after the other: a record that
//! cannot be read or makes no sense costs itself and is named in the answer's `partialSuccess`.

mod answer;
mod json;
mod logs;
mod memory;
mod metrics;
mod model;
mod protobuf;
mod sender;
mod traces;
mod wire;

use std::borrow::Cow;

pub(super) use answer::{accept, refuse};
pub use memory::Memory;

use super::endpoint::{Post, content_type};
use super::reading::{Decoded, Reading};
use super::reason::{Reason, Refusal};
use model::{Group, Kind, LogRecord, Metric, Point, Span};
use sender::Sender;
use wire::Broken;

/// The most resources, scopes, records and points of one request; real ones have a hundred bytes and more each.
const MEMBERS_MAX: usize = 100_000;

/// What a request carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    Logs,
    Traces,
    Metrics,
}

/// How a request is written, and its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    Json,
    Protobuf,
}

impl Encoding {
    /// What a content type says.
    pub fn named(content_type: &str) -> Option<Encoding> {
        let has = |word: &str| content_type.to_ascii_lowercase().contains(word);
        if has("protobuf") { Some(Encoding::Protobuf) } else { has("json").then_some(Encoding::Json) }
    }

    /// What the body is. Proxies and hand-written clients get the type wrong or leave it out, so the body decides where it can.
    pub fn of(content_type: &str, body: &[u8]) -> Encoding {
        let text = body.trim_ascii();
        let is_object = text.starts_with(b"{") && text.ends_with(b"}");
        match Encoding::named(content_type) {
            // Every message begins with the tag of its first field, a line feed; `{` would be a group.
            Some(Encoding::Protobuf) if body.starts_with(b"{") => Encoding::Json,
            Some(Encoding::Protobuf) => Encoding::Protobuf,
            Some(Encoding::Json) if body.starts_with(b"\n") && !is_object => Encoding::Protobuf,
            Some(Encoding::Json) => Encoding::Json,
            None if is_object => Encoding::Json,
            None => Encoding::Protobuf,
        }
    }

    fn resources(self, body: &[u8], signal: Signal) -> Result<Vec<&[u8]>, Refusal> {
        match self {
            Encoding::Json => json::resources(body, signal),
            Encoding::Protobuf => protobuf::resources(body).map_err(|Broken| Refusal::Shape("the body is no OTLP request".into())),
        }
    }

    fn resource(self, piece: &[u8]) -> Result<Group<'_>, Reason> {
        match self {
            Encoding::Json => json::resource(piece),
            Encoding::Protobuf => protobuf::resource(piece).map_err(broken),
        }
    }

    fn scope(self, piece: &[u8]) -> Result<Group<'_>, Reason> {
        match self {
            Encoding::Json => json::scope(piece),
            Encoding::Protobuf => protobuf::scope(piece).map_err(broken),
        }
    }

    fn log_record(self, piece: &[u8]) -> Result<LogRecord<'_>, Reason> {
        match self {
            Encoding::Json => json::log_record(piece),
            Encoding::Protobuf => protobuf::log_record(piece).map_err(broken),
        }
    }

    fn span(self, piece: &[u8]) -> Result<Span<'_>, Reason> {
        match self {
            Encoding::Json => json::span(piece),
            Encoding::Protobuf => protobuf::span(piece).map_err(broken),
        }
    }

    fn metric(self, piece: &[u8]) -> Result<Metric<'_>, Reason> {
        match self {
            Encoding::Json => json::metric(piece),
            Encoding::Protobuf => protobuf::metric(piece).map_err(broken),
        }
    }

    fn point(self, kind: Kind, piece: &[u8]) -> Result<Point<'_>, Reason> {
        match self {
            Encoding::Json => json::point(kind, piece),
            Encoding::Protobuf => protobuf::point(kind, piece).map_err(broken),
        }
    }
}

fn broken(_: Broken) -> Reason {
    Reason::Malformed("no protobuf message".into())
}

/// A body in which every text is UTF-8: one byte that a client has cut in half is no reason to lose a batch.
/// Protobuf is left alone, its texts are mended one by one.
pub fn mended<'a>(content_type: &str, body: &'a [u8]) -> Cow<'a, [u8]> {
    match Encoding::of(content_type, body) {
        Encoding::Json if std::str::from_utf8(body).is_err() => Cow::Owned(String::from_utf8_lossy(body).into_owned().into_bytes()),
        Encoding::Json | Encoding::Protobuf => Cow::Borrowed(body),
    }
}

/// Decodes a body; its texts are [`mended`].
pub(super) fn decode<'a>(signal: Signal, post: &Post<'a>) -> Result<Decoded<'a>, Refusal> {
    let encoding = Encoding::of(content_type(post.headers), post.body);
    let reading = Reading::new(post.settings, post.from, post.now);
    let mut request = Request { encoding, memory: post.otlp, reading, left: MEMBERS_MAX };
    for piece in request.few(encoding.resources(post.body, signal)?)? {
        request.resource(signal, piece)?;
    }
    Ok(request.reading.decoded)
}

/// One request that is being decoded.
struct Request<'a, 's> {
    encoding: Encoding,
    memory: &'s Memory,
    reading: Reading<'a, 's>,
    /// How many members there may still be.
    left: usize,
}

impl<'a> Request<'a, '_> {
    fn resource(&mut self, signal: Signal, piece: &'a [u8]) -> Result<(), Refusal> {
        let Some(group) = self.readable(self.encoding.resource(piece)) else { return Ok(()) };
        let mut sender = Sender::new(&mut self.reading, &group.attributes);
        for piece in self.few(group.members)? {
            let Some(scope) = self.readable(self.encoding.scope(piece)) else { continue };
            sender.library(scope.name, scope.version);
            for piece in self.few(scope.members)? {
                match signal {
                    Signal::Logs => {
                        let index = self.next();
                        let done = self.encoding.log_record(piece).and_then(|log| self.log(&mut sender, log, index));
                        self.rejected(index, done);
                    }
                    Signal::Traces => {
                        let index = self.next();
                        let done = self.encoding.span(piece).and_then(|span| self.span(&mut sender, span, index));
                        self.rejected(index, done);
                    }
                    Signal::Metrics => match self.encoding.metric(piece) {
                        Ok(metric) => self.metric(&mut sender, metric)?,
                        Err(reason) => {
                            let index = self.next();
                            self.rejected(index, Err(reason));
                        }
                    },
                }
            }
        }
        sender.finish(&mut self.reading);
        Ok(())
    }

    /// Counts members in, and refuses a request that has no end of them.
    fn few(&mut self, members: Vec<&'a [u8]>) -> Result<Vec<&'a [u8]>, Refusal> {
        self.left = self.left.checked_sub(members.len()).ok_or(Refusal::Shape("there are more than 100000 records".into()))?;
        Ok(members)
    }

    /// The number of the next record.
    fn next(&mut self) -> usize {
        self.reading.decoded.events += 1;
        self.reading.decoded.events - 1
    }

    fn rejected(&mut self, index: usize, done: Result<(), Reason>) {
        self.reading.decoded.rejected.extend(done.err().map(|reason| (index, reason)));
    }

    /// A resource or scope; how many records are in one that cannot be read is not known, so it counts as one.
    fn readable<T>(&mut self, read: Result<T, Reason>) -> Option<T> {
        read.map_err(|reason| {
            let index = self.next();
            self.rejected(index, Err(reason));
        })
        .ok()
    }
}

#[cfg(test)]
mod tests;
