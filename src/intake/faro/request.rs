//! Requests: a fetch is told up to three times, and counts once.

use std::borrow::Cow;

use super::Walk;
use super::written::{WrittenEvent, WrittenTrace};
use crate::domain::event::Event;
use crate::domain::metric::Metric;
use crate::domain::route_template::{host_of, path_of};
use crate::domain::time::Timestamp;
use crate::intake::endpoint::Endpoint;
use crate::intake::reading::{Attributes, DURATION_MAX, lower, method_name, status_class, within};
use crate::intake::reason::Reason;

impl<'a> Walk<'_, 'a, '_> {
    /// A fetch as the browser's resource timing has it; counts only where there are no traces.
    pub(super) fn resource(&mut self, attributes: &Attributes<'a>, index: usize, when: Timestamp) -> Result<Vec<Event<'a>>, Reason> {
        if self.known.is_traced(self.page.build) {
            return Ok(vec![]);
        }
        let url = attributes.get("name").cloned().ok_or(Reason::Missing("name"))?;
        if self.is_report(&url) {
            return Ok(vec![]);
        }
        let status = attributes.number(&["responseStatus"]).ok_or(Reason::Missing("responseStatus"))?;
        let request = self.request_key(&url);
        let made = self.request(index, when, url, Some(status), false, attributes.number(&["duration"]))?;
        if self.fresh {
            self.known.counted_untraced(request);
        }
        Ok(vec![made])
    }

    /// A fetch as its trace has it.
    pub(super) fn traced(&mut self, event: &WrittenEvent<'a>, index: usize, when: Timestamp) -> Result<Vec<Event<'a>>, Reason> {
        let attributes = event.attributes();
        let Some(method) = attributes.any(&["http.request.method", "http.method"]) else { return Ok(vec![]) };
        let url = attributes.any(&["url.full", "http.url"]).cloned().ok_or(Reason::Missing("url.full"))?;
        if self.is_report(&url) {
            return Ok(vec![]);
        }
        let status = attributes.number(&["http.response.status_code", "http.status_code"]);
        let failed = attributes.get("error.type").is_some();
        if status.is_none() && !failed {
            return Err(Reason::Missing("http.response.status_code"));
        }
        let request = self.request_key(&url);
        if self.fresh && self.known.was_counted_untraced(request) {
            return Ok(vec![]);
        }
        let duration = attributes.number(&["duration_ns"]).map(|nanos| nanos / 1e6);
        let mut made = self.request(index, when, url, status, failed, duration)?;
        made.own[1] = Cow::Borrowed(method_name(method));
        made.trace = event.trace.0.clone().and_then(WrittenTrace::id);
        Ok(vec![made])
    }

    /// Whether a request is a post of Faro's own. It leaves them out by itself, but not when its `url` has a query: that it takes for a
    /// pattern, in which `?` is no question mark.
    fn is_report(&self, url: &str) -> bool {
        let host = host_of(url).zip(self.page.collector).is_some_and(|(host, collector)| host.eq_ignore_ascii_case(collector));
        host && Endpoint::of(path_of(url)).is_some_and(|(endpoint, _)| endpoint == Endpoint::Faro)
    }

    fn request(
        &mut self,
        index: usize,
        when: Timestamp,
        url: Cow<'a, str>,
        status: Option<f64>,
        failed: bool,
        duration: Option<f64>,
    ) -> Result<Event<'a>, Reason> {
        let status = status.map(status_class).transpose()?;
        let mut made = self.plain(index, Metric::Request, when);
        made.bad = status.map_or(failed, |(failed, _)| failed);
        made.value = duration.map(|duration| within(duration, DURATION_MAX)).transpose()?;
        let host = host_of(&url).map(|host| lower(Cow::Owned(host.to_owned())));
        made.own = [self.reading.clean("host", host), Cow::Borrowed(""), Cow::Borrowed(status.map_or("", |(_, class)| class))];
        made.route = self.reading.route("url", url);
        Ok(made)
    }

    /// Without a session any fetch of the address will do: what is counted is how many there were.
    fn request_key(&self, url: &str) -> u64 {
        self.key(&["faro request", self.page.session.as_deref().unwrap_or(""), host_of(url).unwrap_or(""), path_of(url)])
    }
}
