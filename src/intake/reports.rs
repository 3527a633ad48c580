//! `POST /v1/reports`: the browser's own reports (Reporting API, Network Error Logging) and the older
//! `application/csp-report` (RUM-CLIENTS 3.8).
//!
//! - `network-error` is a `request` of the address that could not be reached, weighted by 1 over its
//!   `sampling_fraction`; one of type `ok` with a status below 400 is a good one. `abandoned` says that
//!   the user gave up, which is neither good nor bad, and does not count.
//! - `crash` is a `crash` of the page.
//! - Everything else counts as `custom:report_<type>`, `custom:report_csp_violation` for example; types
//!   that are not known as `custom:report_other`.
//!
//! Reports have no place for an app: it is `?app=` of the endpoint's address (also `environment` and
//! `release`), else the host of the address that the report is about.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::endpoint::Post;
use super::reading::{Attributes, DURATION_MAX, Decoded, Loose, Reading, event_of, lower, method_name, piece, status_class, within};
use super::reason::{Reason, Refusal};
use crate::domain::event::{Batch, Event, Source, event_time, weight_of};
use crate::domain::fingerprint::fingerprint;
use crate::domain::json::Text;
use crate::domain::metric::Metric;
use crate::domain::route_template::host_of;

/// Types that are counted by their own name.
const TYPES: [(&str, &str); 9] = [
    ("csp-violation", "report_csp_violation"),
    ("csp-hash", "report_csp_hash"),
    ("deprecation", "report_deprecation"),
    ("intervention", "report_intervention"),
    ("permissions-policy-violation", "report_permissions_policy_violation"),
    ("document-policy-violation", "report_document_policy_violation"),
    ("integrity-violation", "report_integrity_violation"),
    ("coep", "report_coep"),
    ("coop", "report_coop"),
];

/// Decodes a list of reports, or one.
pub(super) fn decode<'a>(post: &Post<'a>) -> Result<Decoded<'a>, Refusal> {
    let refuse = |error: serde_json::Error| match error.is_data() {
        true => Refusal::Shape("the body is no report or list of them".into()),
        false => Refusal::Json(error.to_string()),
    };
    let is_list = post.body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[');
    let reports: Vec<&'a RawValue> =
        if is_list { serde_json::from_slice(post.body).map_err(refuse)? } else { vec![serde_json::from_slice(post.body).map_err(refuse)?] };
    if !is_list && !reports[0].get().starts_with('{') {
        return Err(Refusal::Shape("the body is no report or list of them".into()));
    }
    let mut reading = Reading::new(post.settings, post.from, post.now);
    reading.decoded.events = reports.len();
    let named = Named::of(post.query);
    for (index, report) in reports.into_iter().enumerate() {
        match piece::<Report<'a>>(report).and_then(|report| reading.report(report, &named, index)) {
            Ok(Some((source, event))) => reading.decoded.batches.push(Batch { id: None, source, events: vec![event] }),
            Ok(None) => {}
            Err(reason) => reading.decoded.rejected.push((index, reason)),
        }
    }
    Ok(reading.decoded)
}

/// What the address of the endpoint says.
#[derive(Default)]
struct Named {
    app: Option<String>,
    environment: Option<String>,
    release: Option<String>,
}

impl Named {
    fn of(query: &str) -> Named {
        let mut named = Named::default();
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()).filter(|(_, value)| !value.trim().is_empty()) {
            match &*name {
                "app" => named.app = Some(value.into_owned()),
                "environment" => named.environment = Some(value.into_owned()),
                "release" => named.release = Some(value.into_owned()),
                _ => {}
            }
        }
        named
    }
}

impl<'a> Reading<'a, '_> {
    fn report(&mut self, report: Report<'a>, named: &Named, index: usize) -> Result<Option<(Source<'a>, Event<'a>)>, Reason> {
        // There is no id to keep, but some want nothing kept at all.
        self.keep_ids("")?;
        let text = |field: Loose<Text<'a>>| field.0.map_or(Cow::Borrowed(""), |text| text.0);
        let (kind, url, body) = match report.csp_report.0 {
            Some(old) => (Cow::Borrowed("csp-violation"), old.get("document-uri").cloned().unwrap_or_default(), old),
            None => (text(report.kind), text(report.url), report.body.0.unwrap_or_default()),
        };
        if kind.is_empty() {
            return Err(Reason::Missing("type"));
        }
        let app = named.app.clone().map(Cow::Owned).or_else(|| host_of(&url).map(|host| lower(Cow::Owned(host.to_owned()))));
        let agent = self.agent(Some(&text(report.user_agent)));
        let source = Source {
            app: self.clean("app", app),
            environment: self.clean("environment", named.environment.clone().map(Cow::Owned)),
            release: self.clean("release", named.release.clone().map(Cow::Owned)),
            region: {
                let region = self.region();
                self.clean("region", region)
            },
            device: agent.device.into(),
            browser: agent.browser.into(),
            os: agent.os.into(),
            cohort: Cow::Borrowed(""),
            sdk: Cow::Borrowed("reporting-api"),
        };
        if source.app.is_empty() {
            return Err(Reason::App);
        }
        // Its age is how long before the sending it was made.
        let at = event_time(self.now, report.age.0, Some(0.0), self.settings.remember);
        let mut event = event_of(index, Metric::Crash, at, crate::domain::cell::UNIT);
        match &*kind {
            "network-error" => {
                let outcome = body.get("type").map_or("", |outcome| outcome);
                if outcome == "abandoned" {
                    return Ok(None);
                }
                let fraction = body.number(&["sampling_fraction"]).unwrap_or(1.0);
                event.weight = weight_of(fraction, self.settings.sample_rate_min).ok_or(Reason::SampleRate)?;
                let status = body.number(&["status_code"]).map(status_class).transpose()?;
                // A connection that worked has a status of its own; without one it is enough that it worked.
                event.bad = outcome != "ok" || status.is_some_and(|(failed, class)| failed && class != "0");
                event.metric = Metric::Request;
                event.value = body.number(&["elapsed_time"]).map(|elapsed| within(elapsed, DURATION_MAX)).transpose()?;
                let host = host_of(&url).map(|host| lower(Cow::Owned(host.to_owned())));
                let method = body.get("method").map_or("", |method| method_name(method));
                event.own = [self.clean("host", host), method.into(), status.map_or("", |(_, class)| class).into()];
                event.route = self.route("url", url);
            }
            "crash" => {
                let part = |name: &str| body.get(name).map_or("", |part| part);
                event.bad = true;
                event.own[0] = Cow::Owned(fingerprint("crash", part("reason"), part("stack")));
                event.route = self.route("page", url);
            }
            kind => {
                let name = TYPES.iter().find(|(known, _)| *known == kind).map_or("report_other", |(_, name)| *name);
                event.metric = Metric::Custom(name.to_owned());
                event.route = self.route("page", url);
            }
        }
        Ok(Some((source, event)))
    }
}

#[derive(Deserialize)]
struct Report<'a> {
    /// Milliseconds.
    #[serde(default)]
    age: Loose<f64>,
    #[serde(borrow, default, rename = "type")]
    kind: Loose<Text<'a>>,
    #[serde(borrow, default)]
    url: Loose<Text<'a>>,
    #[serde(borrow, default)]
    user_agent: Loose<Text<'a>>,
    #[serde(borrow, default)]
    body: Loose<Attributes<'a>>,
    #[serde(borrow, default, rename = "csp-report")]
    csp_report: Loose<Attributes<'a>>,
}

#[cfg(test)]
mod tests;
