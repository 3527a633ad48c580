//! Spans: page loads, navigations, requests, interactions, and the vitals that stand in them.

use std::borrow::Cow;

use super::dialect::{NewSpan, OldSpan, Span, SpanList, Transaction};
use super::written::flags_of;
use super::{Walk, Who, read, text, time};
use crate::domain::event::{Batch, Event};
use crate::domain::metric::{Metric, Vital};
use crate::domain::route_template::host_of;
use crate::domain::time::Timestamp;
use crate::intake::memory::key;
use crate::intake::reading::{
    Attributes, DURATION_MAX, event_of, hard_or_soft, lower, method_name, piece, pieces, status_class, trace_id, within,
};
use crate::intake::reason::Reason;

impl<'a> Walk<'_, 'a, '_> {
    pub(super) fn spans(&mut self, payload: &'a [u8]) {
        let list: SpanList<'a> = match read(payload) {
            Ok(list) => list,
            Err(reason) => return self.one(|_, _| Err(reason)),
        };
        let Some(items) = list.items else {
            return self.one(|walk, index| {
                let span: OldSpan<'a> = read(payload)?;
                let who = span.data.0.as_ref().map(who_of).unwrap_or_default();
                walk.span(span.into(), who, None, index)
            });
        };
        let items: Vec<Result<NewSpan<'a>, Reason>> = pieces(Some(items)).into_iter().map(piece).collect();
        // Vitals may stand before the page load that they belong to.
        for span in items.iter().flatten() {
            let attributes = &span.attributes.0;
            if let (Some(attributes), Some(id)) = (attributes, text(&span.span_id)) {
                self.remember(&id, attributes.0.get("sentry.op").map_or("", |op| op), page_of(&attributes.0, None));
            }
        }
        for span in items {
            self.one(|walk, index| {
                let span = span?;
                let attributes = span.attributes.0.as_ref();
                let who = attributes.map(|attributes| who_of(&attributes.0)).unwrap_or_default();
                walk.span(span.into(), who, None, index)
            });
        }
    }

    /// Remembers the page of a page load or navigation.
    fn remember(&mut self, id: &str, op: &str, page: Option<Cow<'a, str>>) {
        if let Some(page) = page.filter(|_| op == "pageload" || op == "navigation") {
            let route = self.reading.route("page", page);
            self.known.set_route(self.span_key(id), &route);
        }
    }

    fn span_key(&self, id: &str) -> u64 {
        key(&self.reading.settings.hash, &["sentry span", self.project, id])
    }

    pub(super) fn transaction(&mut self, payload: &'a [u8]) {
        let transaction: Transaction<'a> = match read(payload) {
            Ok(transaction) => transaction,
            Err(reason) => return self.one(|_, _| Err(reason)),
        };
        let contexts = transaction.contexts.0.unwrap_or_default();
        let trace = contexts.trace.0.unwrap_or_default();
        let request = transaction.request.0.unwrap_or_default();
        let page = text(&transaction.transaction).or_else(|| text(&request.url));
        let who = || Who {
            release: text(&transaction.release),
            environment: text(&transaction.environment),
            user_agent: request.user_agent(),
            user: transaction.user.0.as_ref().and_then(|user| text(&user.id)),
            flags: transaction.tags.0.as_ref().map_or_else(Vec::new, |tags| flags_of(tags.0.clone(), None)),
            ..Who::default()
        };
        let id = text(&transaction.event_id).or_else(|| text(&self.header.event_id));
        let op = text(&trace.op).unwrap_or_default();
        let root = Span {
            id: text(&trace.span_id),
            trace: text(&trace.trace_id),
            above: Vec::new(),
            start: time(&transaction.start_timestamp),
            end: time(&transaction.timestamp),
            failed: None,
            name: None,
            page,
            attributes: trace.data.0.unwrap_or_default(),
            measurements: transaction.measurements.0.unwrap_or_default().0,
            op,
        };
        if let Some(span_id) = &root.id {
            self.remember(span_id, &root.op, root.page.clone());
        }
        let root_id = root.id.clone();
        self.one(|walk, index| walk.span(root, who(), id.as_deref(), index));
        for span in pieces(transaction.spans) {
            self.one(|walk, index| {
                let mut span = Span::from(piece::<OldSpan<'a>>(span)?);
                span.above.extend(root_id.clone());
                walk.span(span, who(), id.as_deref(), index)
            });
        }
    }

    fn span(&mut self, span: Span<'a>, who: Who<'a>, event_id: Option<&str>, index: usize) -> Result<Vec<Batch<'a>>, Reason> {
        let interaction = span.op.strip_prefix("ui.interaction.").map(str::to_owned);
        let vitals: Vec<(Vital, f64)> = Vital::ALL.into_iter().filter_map(|vital| Some((vital, span.vital(vital)?))).collect();
        if vitals.is_empty() && interaction.is_none() && !["pageload", "navigation", "http.client"].contains(&&*span.op) {
            return Ok(vec![]);
        }
        let (source, user, _) = self.source(who)?;
        let header_rate = self.header.trace.0.as_ref().and_then(|trace| text(&trace.sample_rate));
        let rate = header_rate.as_ref().or_else(|| span.attributes.get("sentry.sample_rate"));
        let rate = rate.map(|rate| rate.trim().parse().map_err(|_| Reason::SampleRate)).transpose()?;
        let weight = self.reading.weight(&source.app, rate)?;
        let (began, ended) = (self.at(span.start.or(span.end)), self.at(span.end.or(span.start)));
        let (project, hash) = (self.project, &self.reading.settings.hash);
        let above = span.above.iter().chain(&span.id).map(|id| key(hash, &["sentry span", project, id]));
        let above: Vec<u64> = above.collect();
        let own_route =
            span.page.clone().filter(|_| ["pageload", "navigation"].contains(&&*span.op)).map(|page| self.reading.route("page", page));
        let known = above.iter().find_map(|id| self.known.route(*id).map(str::to_owned));
        let route = own_route.or(known.map(Cow::Owned)).unwrap_or_default();
        let repeat =
            |walk: &Self, what: &str, id: &Option<Cow<'a, str>>| id.as_ref().map(|id| walk.reading.repeat(&source.app, what, id, span.end));
        let mut events = Vec::new();
        let plain = |metric: Metric, at: Timestamp| {
            let mut event = event_of(index, metric, at, weight);
            event.user = user;
            event.route = route.clone();
            event
        };
        match &*span.op {
            "pageload" | "navigation" => {
                let mut event = plain(Metric::PageView, began);
                event.own[0] = hard_or_soft(if span.op == "navigation" { "soft" } else { "" });
                event.bad = span.attributes.number(&["http.response.status_code"]).is_some_and(|status| status >= 400.0);
                event.repeat = repeat(self, "page_view", &span.id);
                events.push(event);
            }
            "http.client" => {
                let mut event = plain(Metric::Request, ended);
                self.request(&span, &mut event)?;
                event.repeat = repeat(self, "request", &span.id);
                events.push(event);
            }
            _ => {}
        }
        if let Some(name) = interaction {
            let mut event = plain(Metric::Interaction, ended);
            event.own[0] = self.reading.required("name", Some(Cow::Owned(name)))?;
            event.value = span.duration().map(|duration| within(duration, DURATION_MAX)).transpose()?;
            event.repeat = repeat(self, "interaction", &span.id);
            events.push(event);
        }
        // A page load has one of each, however many spans tell of it.
        let page = span.above.first().or(span.id.as_ref()).cloned();
        for (vital, value) in vitals {
            let mut event = plain(Metric::Vital(vital), ended);
            event.value = Some(within(value, vital.value_max())?);
            let soft = span.op == "navigation" || span.attributes.get("browser.navigation.type").is_some_and(|nav| nav.starts_with("soft"));
            event.own[0] = hard_or_soft(if soft { "soft" } else { "" });
            event.repeat = repeat(self, vital.name(), &page);
            events.push(event);
        }
        let id = event_id.map(|id| self.body_id(&source, id));
        Ok(vec![Batch { id, source, events }])
    }

    fn request(&mut self, span: &Span<'a>, event: &mut Event<'a>) -> Result<(), Reason> {
        let attributes = &span.attributes;
        let named = span.name.as_deref().and_then(|name| name.split_once(' ')).filter(|(_, url)| url.contains('/'));
        let url = attributes.any(&["url.full", "http.url", "url"]).cloned().or_else(|| named.map(|(_, url)| Cow::Owned(url.to_owned())));
        let url = url.ok_or(Reason::Missing("url.full"))?;
        let method =
            attributes.any(&["http.request.method", "http.method", "method"]).map(|method| &**method).or(named.map(|(method, _)| method));
        let status = attributes.number(&["http.response.status_code", "http.status_code", "status_code"]).map(status_class).transpose()?;
        let (bad, class) = match (status, span.failed) {
            (Some((failed, class)), said) => (said.unwrap_or(failed) || failed, class),
            // A connection that broke has no status code.
            (None, Some(true)) => (true, "0"),
            (None, Some(false)) => (false, ""),
            (None, None) => return Err(Reason::Missing("status")),
        };
        event.bad = bad;
        event.value = span.duration().map(|duration| within(duration, DURATION_MAX)).transpose()?;
        let host = host_of(&url).map(|host| lower(Cow::Owned(host.to_owned())));
        event.own = [self.reading.clean("host", host), method.map_or("", method_name).into(), class.into()];
        event.trace = span.trace.clone().and_then(trace_id);
        event.route = self.reading.route("url", url);
        Ok(())
    }
}

impl<'a> Span<'a> {
    fn vital(&self, vital: Vital) -> Option<f64> {
        let measured = self.measurements.iter().find(|(measured, _)| *measured == vital).map(|(_, value)| *value);
        measured.or_else(|| self.attributes.number(&[&format!("browser.web_vital.{}.value", vital.name())]))
    }

    /// Milliseconds.
    fn duration(&self) -> Option<f64> {
        Some(self.end? - self.start?)
    }
}

/// The page of a page load or navigation: the name of its route if it has one, else the address.
pub(super) fn page_of<'a>(attributes: &Attributes<'a>, name: Option<Cow<'a, str>>) -> Option<Cow<'a, str>> {
    let is_route = attributes.any(&["sentry.segment.name.source", "sentry.source"]).is_some_and(|source| source == "route");
    let route = attributes.get("sentry.segment.name").filter(|_| is_route);
    route.or_else(|| attributes.any(&["url.path", "url.full"])).cloned().or(name)
}

fn who_of<'a>(attributes: &Attributes<'a>) -> Who<'a> {
    let flag =
        |(name, value): &(Cow<'a, str>, Cow<'a, str>)| Some((Cow::Owned(name.strip_prefix("flag.evaluation.")?.to_owned()), value.clone()));
    Who {
        release: attributes.get("sentry.release").cloned(),
        environment: attributes.get("sentry.environment").cloned(),
        user_agent: attributes.get("user_agent.original").cloned(),
        user: attributes.get("user.id").cloned(),
        flags: attributes.0.iter().filter_map(flag).collect(),
        ..Who::default()
    }
}
