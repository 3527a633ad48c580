//! What a span means: requests, page views of setups that have no better word for them, exceptions.

use std::borrow::Cow;

use super::Request;
use super::logs::exception;
use super::memory::Instrument;
use super::model::{CLIENT, FAILED, OK, Span, Value};
use super::sender::{Look, Person, Sender, event};
use crate::domain::event::Event;
use crate::domain::metric::Metric;
use crate::domain::route_template::{host_of, path_of};
use crate::intake::reading::{DURATION_MAX, Reading, lower, method_name, status_class, within};
use crate::intake::reason::Reason;

impl<'a> Request<'a, '_> {
    /// Counts a span.
    pub(super) fn span(&mut self, sender: &mut Sender<'_, 'a>, span: Span<'a>, index: usize) -> Result<(), Reason> {
        let reading = &mut self.reading;
        let time = span.end.or(span.start);
        sender.made(time);
        let look = sender.look(&span.attributes, None);
        let person = sender.person(reading, look, index, time)?;
        let method = look.text(["http.request.method", "http.method"]).filter(|_| span.kind == CLIENT);
        if let Some(method) = method {
            self.memory.saw(sender.instrumentation, Instrument::Requests, reading.now);
            let counted = request(reading, look, &span, &method, event(reading, index, Metric::Request, &person))?;
            let repeat = repeat(reading, sender, &span, "request");
            sender.count(reading, look, Event { repeat, ..counted }, time);
            // An exception of a request is its failure, which is counted by now.
            return Ok(());
        }
        // Whoever sends `browser.navigation` has said it there.
        if span.name == "documentLoad" && !self.memory.has(sender.instrumentation, Instrument::Navigation, reading.now) {
            let page = look.text(["url.full", "http.url"]).unwrap_or_else(|| look.page());
            if !span.span_id.is_empty() {
                // The first logs of an app may arrive after its first spans.
                let load = sender.key(reading, &hex::encode(&span.span_id.0));
                self.memory.loaded(load, sender.key(reading, path_of(&page)), reading.now);
            }
            let (route, own) = (reading.route("page", page), ["hard".into(), "".into(), "".into()]);
            let repeat = repeat(reading, sender, &span, "page_view");
            let view = Event { route, own, repeat, ..event(reading, index, Metric::PageView, &person) };
            sender.count(reading, look, view, span.start.or(span.end));
        }
        self.exceptions(sender, &span, &person, index)
    }

    fn exceptions(&mut self, sender: &mut Sender<'_, 'a>, span: &Span<'a>, person: &Person<'a>, index: usize) -> Result<(), Reason> {
        let reading = &mut self.reading;
        for (at, thrown) in span.exceptions.iter().enumerate() {
            let look = sender.look(&thrown.attributes, Some(&span.attributes));
            let counted = exception(reading, look, event(reading, index, Metric::JsError, person))?;
            let repeat = repeat(reading, sender, span, &format!("exception {at}"));
            let time = thrown.time.or(span.end);
            sender.made(time);
            sender.count(reading, look, Event { repeat, ..counted }, time);
        }
        Ok(())
    }
}

/// A span that comes again, in a batch that is put together in another way, is the same one.
fn repeat(reading: &Reading<'_, '_>, sender: &Sender<'_, '_>, span: &Span<'_>, what: &str) -> Option<crate::domain::event::Repeat> {
    let id = format!("{} {}", hex::encode(&span.trace_id.0), hex::encode(&span.span_id.0));
    (!span.span_id.is_empty()).then(|| reading.repeat(&sender.app, what, &id, None))
}

fn request<'a>(
    reading: &mut Reading<'a, '_>,
    look: Look<'_, 'a>,
    span: &Span<'a>,
    method: &str,
    event: Event<'a>,
) -> Result<Event<'a>, Reason> {
    let url = look.text(["url.full", "http.url"]);
    let template = look.text(["url.template", "http.route"]);
    let path = template.or_else(|| url.clone()).or_else(|| look.text(["http.target"])).ok_or(Reason::Missing("url.full"))?;
    let status = look.get("http.response.status_code").or_else(|| look.get("http.status_code")).and_then(Value::number);
    // A request without any status got no answer, unless the client says that it went well.
    let (failed, class) = match status {
        None if span.status == OK => (false, ""),
        status => status_class(status.unwrap_or(0.0))?,
    };
    let bad = failed || span.status == FAILED;
    let host = url.as_deref().and_then(host_of).map(|host| Cow::Owned(host.to_owned()));
    let host = host.or_else(|| look.text(["server.address", "net.peer.name", "http.host"]));
    let own = [reading.clean("host", host.map(lower)), Cow::Borrowed(method_name(method)), Cow::Borrowed(class)];
    let value = span.end.millis_since(span.start).map(|millis| within(millis, DURATION_MAX)).transpose()?;
    let trace = (bad && span.trace_id.0.len() == 16).then(|| Cow::Owned(hex::encode(&span.trace_id.0)));
    Ok(Event { bad, value, own, trace, route: reading.route("url", path), ..event })
}
