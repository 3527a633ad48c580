//! Envelopes: a header line, then items, each a header line and a payload that either has the length
//! that the header says or ends with the line.

use std::borrow::Cow;

use serde::Deserialize;

use super::super::reading::Loose;
use super::super::reason::{Reason, Refusal};
use crate::domain::json::Text;

/// An envelope, its items unread.
pub(super) struct Envelope<'a> {
    pub header: Header<'a>,
    pub items: Vec<Item<'a>>,
    /// Why nothing behind the last item can be read.
    pub broken: Option<Reason>,
}

pub(super) struct Item<'a> {
    pub kind: Cow<'a, str>,
    pub payload: &'a [u8],
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Header<'a> {
    #[serde(borrow)]
    pub event_id: Loose<Text<'a>>,
    #[serde(borrow)]
    pub sent_at: Loose<Text<'a>>,
    #[serde(borrow)]
    pub sdk: Loose<Sdk<'a>>,
    #[serde(borrow)]
    pub trace: Loose<Trace<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Sdk<'a> {
    #[serde(borrow)]
    pub name: Loose<Text<'a>>,
    #[serde(borrow)]
    pub version: Loose<Text<'a>>,
}

/// What the trace was begun with.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Trace<'a> {
    #[serde(borrow)]
    pub release: Loose<Text<'a>>,
    #[serde(borrow)]
    pub environment: Loose<Text<'a>>,
    #[serde(borrow)]
    pub sample_rate: Loose<Text<'a>>,
}

#[derive(Deserialize)]
struct ItemHeader<'a> {
    #[serde(borrow, default, rename = "type")]
    kind: Loose<Text<'a>>,
    #[serde(default)]
    length: Option<usize>,
}

impl<'a> Envelope<'a> {
    /// An event by itself, as an envelope would have it: the event says what the header would.
    pub fn around(body: &'a [u8]) -> Result<Envelope<'a>, Refusal> {
        let header = object(body, "the body is no event")?;
        let kind = serde_json::from_slice::<ItemHeader<'a>>(body).ok().and_then(|header| header.kind.0);
        let kind = if kind.is_some_and(|kind| kind.0 == "transaction") { "transaction" } else { "event" };
        Ok(Envelope { header, items: vec![Item { kind: kind.into(), payload: body }], broken: None })
    }

    pub fn read(body: &'a [u8]) -> Result<Envelope<'a>, Refusal> {
        let mut rest = body;
        let header = object(line(&mut rest), "the first line is no envelope header")?;
        let mut envelope = Envelope { header, items: Vec::new(), broken: None };
        while !rest.is_empty() {
            let header = line(&mut rest);
            if header.trim_ascii().is_empty() {
                continue;
            }
            let Ok(header) = serde_json::from_slice::<ItemHeader<'a>>(header) else {
                envelope.broken = Some(Reason::Malformed("an item has no header".into()));
                break;
            };
            let payload = match header.length {
                None => line(&mut rest),
                Some(length) if length <= rest.len() => {
                    let (payload, after) = rest.split_at(length);
                    rest = after;
                    payload
                }
                Some(_) => {
                    envelope.broken = Some(Reason::Malformed("an item is shorter than its length".into()));
                    break;
                }
            };
            envelope.items.push(Item { kind: header.kind.0.map_or(Cow::Borrowed(""), |kind| kind.0), payload });
        }
        Ok(envelope)
    }
}

/// An object; a list of the right fields would do for serde.
fn object<'a, T: Deserialize<'a>>(json: &'a [u8], otherwise: &'static str) -> Result<T, Refusal> {
    match serde_json::from_slice(json) {
        Ok(read) if json.trim_ascii_start().starts_with(b"{") => Ok(read),
        Ok(_) => Err(Refusal::Shape(otherwise.into())),
        Err(error) => Err(Refusal::Json(error.to_string())),
    }
}

/// Takes the next line, without its end.
fn line<'a>(rest: &mut &'a [u8]) -> &'a [u8] {
    let end = rest.iter().position(|byte| *byte == b'\n');
    let (line, after) = end.map_or((*rest, &rest[rest.len()..]), |end| (&rest[..end], &rest[end + 1..]));
    *rest = after;
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(text: &str) -> (Vec<(String, String)>, bool) {
        let envelope = Envelope::read(text.as_bytes()).unwrap_or_else(|_| panic!("{text}"));
        let item = |item: &Item<'_>| (item.kind.to_string(), String::from_utf8_lossy(item.payload).into_owned());
        (envelope.items.iter().map(item).collect(), envelope.broken.is_some())
    }

    #[test]
    fn payloads_end_by_length_or_by_line() {
        let one = |kind: &str, payload: &str| (kind.to_owned(), payload.to_owned());
        assert_eq!(
            items("{}\n{\"type\":\"a\"}\n{1}\n\n{\"type\":\"b\",\"length\":3}\nx\ny\n{\"type\":\"c\"}\nend"),
            (vec![one("a", "{1}"), one("b", "x\ny"), one("c", "end")], false)
        );
        assert_eq!(items("{}"), (vec![], false));
        assert_eq!(items("{}\n{\"type\":\"a\",\"length\":9}\nshort"), (vec![], true));
        assert_eq!(items("{}\n{\"type\":\"a\"}\nx\nnonsense\n{\"type\":\"b\"}\ny"), (vec![one("a", "x")], true));
        assert_eq!(items("{}\n{\"type\":\"a\",\"length\":-1}\nx"), (vec![], true));
        assert_eq!(items("{}\n{\"type\":[]}\nx"), (vec![one("", "x")], false));
    }

    #[test]
    fn the_first_line_must_be_an_object() {
        for text in ["", "\n", "nonsense", "[]", "7", "{\"type\":"] {
            assert!(Envelope::read(text.as_bytes()).is_err(), "{text}");
        }
    }
}
