//! What every decoder needs to bring a body to normalised events: names cleaned of anything personal,
//! routes instead of URLs, keyed hashes instead of ids, and one meaning of "failed" for all protocols.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use smallvec::SmallVec;

use super::Settings;
use super::enrich::Enrichment;
use super::reason::Reason;
use crate::config::OptOut;
use crate::domain::agent::{Agent, Hints};
use crate::domain::event::{Batch, Event, Repeat, weight_of};
use crate::domain::json::Text;
use crate::domain::keyed::Purpose;
use crate::domain::metric::Metric;
use crate::domain::redact::cut;
use crate::domain::rows::Row;
use crate::domain::time::Timestamp;

/// The largest duration in milliseconds and the largest value of a custom metric that can be true.
pub(super) const DURATION_MAX: f64 = 3_600_000.0;
pub(super) const CUSTOM_MAX: f64 = 1e12;

/// What a request's body says.
#[derive(Debug, Default)]
pub struct Decoded<'a> {
    pub batches: Vec<Batch<'a>>,
    /// Sessions that no event speaks of, but to which events say that they belong. No answer counts them.
    pub sessions: Vec<Batch<'a>>,
    /// What clients have summed up by themselves, with its index.
    pub rows: Vec<(usize, Row<'a>)>,
    /// Events that do not count, by index over all events of the request.
    pub rejected: Vec<(usize, Reason)>,
    /// How many events there were.
    pub events: usize,
    /// Fields out of which something personal was taken, one entry each time.
    pub redacted: SmallVec<[&'static str; 4]>,
    /// Client's time of sending, in milliseconds, as nearly as it says.
    pub sent_at: Option<f64>,
    /// Id by which the client knows what it sent, for the answer.
    pub id: Option<Cow<'a, str>>,
    /// What the client says that it threw away itself: why, what, and how many.
    pub lost: Vec<(&'static str, &'static str, u64)>,
}

/// A field that counts as absent when it has the wrong type.
#[derive(Clone)]
pub(super) struct Loose<T>(pub Option<T>);

impl<T> Default for Loose<T> {
    fn default() -> Loose<T> {
        Loose(None)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Loose<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Loose<T>, D::Error> {
        let raw = <&'de RawValue>::deserialize(deserializer)?;
        Ok(Loose(serde_json::from_str(raw.get()).ok()))
    }
}

/// An object of which only the members count that are texts, numbers or truth values.
#[derive(Default)]
pub(super) struct Attributes<'a>(pub Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'de: 'a, 'a> Deserialize<'de> for Attributes<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Attributes<'a>, D::Error> {
        deserializer.deserialize_map(Members::<Text<'de>>(PhantomData)).map(Attributes)
    }
}

/// Reads the members of an object of which something can be made.
struct Members<V>(PhantomData<V>);

impl<'de, V: Deserialize<'de> + Into<Option<Text<'de>>>> Visitor<'de> for Members<V> {
    type Value = Vec<(Cow<'de, str>, Cow<'de, str>)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::with_capacity(8);
        while let Some(name) = map.next_key::<Text<'de>>()? {
            if let Some(value) = map.next_value::<Loose<V>>()?.0.and_then(Into::into) {
                members.push((name.0, value.0));
            }
        }
        Ok(members)
    }
}

/// Attributes of which each is an object with its `value`, as newer Sentry spans have them.
#[derive(Default)]
pub(super) struct Valued<'a>(pub Attributes<'a>);

impl<'de: 'a, 'a> Deserialize<'de> for Valued<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Valued<'a>, D::Error> {
        deserializer.deserialize_map(Members::<WithValue<'de>>(PhantomData)).map(|members| Valued(Attributes(members)))
    }
}

#[derive(Deserialize)]
struct WithValue<'a> {
    #[serde(borrow, default)]
    value: Loose<Text<'a>>,
}

impl<'a> From<WithValue<'a>> for Option<Text<'a>> {
    fn from(with: WithValue<'a>) -> Option<Text<'a>> {
        with.value.0
    }
}

impl<'a> Attributes<'a> {
    pub fn get(&self, name: &str) -> Option<&Cow<'a, str>> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// The first of these names that is there.
    pub fn any(&self, names: &[&str]) -> Option<&Cow<'a, str>> {
        names.iter().find_map(|name| self.get(name))
    }

    /// A number, however it is written; not a number is no number.
    pub fn number(&self, names: &[&str]) -> Option<f64> {
        self.any(names)?.trim().parse().ok().filter(|number: &f64| number.is_finite())
    }
}

/// One call of a stack, as Faro and Sentry write it.
#[derive(Deserialize)]
pub(super) struct Frame<'a> {
    #[serde(borrow, default)]
    function: Loose<Text<'a>>,
    #[serde(borrow, default)]
    filename: Loose<Text<'a>>,
    #[serde(borrow, default)]
    lineno: Loose<Text<'a>>,
    #[serde(borrow, default)]
    colno: Loose<Text<'a>>,
}

impl Frame<'_> {
    /// As browsers write it.
    pub fn line(self) -> String {
        let [function, file, line, column] =
            [self.function, self.filename, self.lineno, self.colno].map(|field| field.0.map_or(Cow::Borrowed(""), |text| cut(text.0, 512)));
        format!("at {function} ({file}:{line}:{column})")
    }
}

/// The pieces of a list, unread; a field that is missing or no list has none.
pub(super) fn pieces(list: Option<&RawValue>) -> Vec<&RawValue> {
    list.and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default()
}

/// One piece of a list; what is wrong with it costs only itself.
pub(super) fn piece<'a, T: Deserialize<'a>>(raw: &'a RawValue) -> Result<T, Reason> {
    serde_json::from_str(raw.get()).map_err(|error| Reason::Malformed(error.to_string().chars().take(160).collect()))
}

/// Milliseconds of a time that is written as RFC 3339 or as seconds since 1970.
pub(super) fn millis(text: &str) -> Option<f64> {
    let seconds = || text.trim().parse::<f64>().ok().filter(|seconds| seconds.is_finite()).map(|seconds| seconds * 1000.0);
    text.parse::<Timestamp>().ok().map(|at| at.millis() as f64).or_else(seconds)
}

/// An event of which only the kind and the place are known yet.
pub(super) fn event_of<'a>(index: usize, metric: Metric, at: Timestamp, weight: i64) -> Event<'a> {
    Event {
        index,
        metric,
        at,
        weight,
        bad: false,
        value: None,
        user: None,
        repeat: None,
        route: Cow::Borrowed(""),
        own: Default::default(),
        trace: None,
    }
}

/// Device class of what a client says of it, in the words of user agents read here; empty if it says nothing known.
pub(super) fn device_class(text: &str) -> &'static str {
    let text = text.trim();
    let is = |names: &[&str]| names.iter().any(|name| text.eq_ignore_ascii_case(name));
    if is(&["mobile", "phone", "smartphone", "handset"]) {
        "phone"
    } else if is(&["tablet"]) {
        "tablet"
    } else if is(&["desktop", "laptop", "pc"]) {
        "desktop"
    } else if is(&["bot"]) {
        "bot"
    } else {
        ""
    }
}

/// The family of a browser's or system's name as clients write it: "Chrome Headless", "Mobile Safari", "Mac OS X".
pub(super) fn family(name: Cow<'_, str>) -> Cow<'_, str> {
    const FAMILIES: [(&str, &str); 17] = [
        ("edge", "edge"),
        ("opera", "opera"),
        ("samsung", "samsung"),
        ("yandex", "yandex"),
        ("firefox", "firefox"),
        ("vivaldi", "vivaldi"),
        ("chrome os", "chromeos"),
        ("chromium os", "chromeos"),
        ("chrome", "chrome"),
        ("chromium", "chrome"),
        ("safari", "safari"),
        ("windows", "windows"),
        ("android", "android"),
        ("ios", "ios"),
        ("mac", "macos"),
        ("ubuntu", "linux"),
        ("linux", "linux"),
    ];
    let name = lower(cut(name, 128));
    match FAMILIES.iter().find(|(mark, _)| name.contains(mark)) {
        Some((_, family)) => Cow::Borrowed(*family),
        None => name,
    }
}

/// What was read of a machine by its user agent, else the family of what its client says.
pub(super) fn read_or_said<'a>(read: &'static str, said: Option<Cow<'a, str>>) -> Cow<'a, str> {
    match read {
        "" => family(said.unwrap_or_default()),
        _ => Cow::Borrowed(read),
    }
}

/// `name/version`, or what there is of it.
pub(super) fn versioned<'a>(name: Cow<'a, str>, version: Cow<'a, str>) -> Cow<'a, str> {
    if version.is_empty() || name.is_empty() { name } else { Cow::Owned(format!("{name}/{version}")) }
}

/// One request that is being decoded.
pub(super) struct Reading<'a, 's> {
    pub settings: &'s Settings,
    pub from: &'a Enrichment,
    pub now: Timestamp,
    pub decoded: Decoded<'a>,
}

impl<'a, 's> Reading<'a, 's> {
    /// Nothing is decoded yet.
    pub fn new(settings: &'s Settings, from: &'a Enrichment, now: Timestamp) -> Reading<'a, 's> {
        Reading { settings, from, now, decoded: Decoded::default() }
    }

    /// Whether user and session may be looked at, given what the body says of consent.
    pub fn keep_ids(&self, consent: &str) -> Result<bool, Reason> {
        let consent = consent.trim();
        let refused = ["none", "false", "denied", "no", "0"].iter().any(|no| consent.eq_ignore_ascii_case(no));
        let mut keep = !consent.eq_ignore_ascii_case("metrics");
        for (applies, policy) in [(refused, self.settings.consent), (self.from.opted_out, self.settings.browser_signal)] {
            match policy {
                _ if !applies => {}
                OptOut::Count => {}
                OptOut::Anonymous => keep = false,
                OptOut::Drop => return Err(Reason::Consent),
            }
        }
        Ok(keep)
    }

    /// What a user agent in the body says of the machine, else what the request's does.
    pub fn agent(&self, user_agent: Option<&str>) -> Agent {
        let of_request = self.from.agent;
        match user_agent.map(|agent| Agent::read(agent, Hints::default())) {
            // Whoever says anywhere that it is a bot is one.
            Some(agent) if agent != Agent::default() && of_request.device == "bot" => Agent { device: "bot", ..agent },
            Some(agent) if agent != Agent::default() => agent,
            Some(_) | None => of_request,
        }
    }

    /// The region that the request itself tells.
    pub fn region(&self) -> Option<Cow<'a, str>> {
        (!self.from.region.is_empty()).then_some(Cow::Borrowed(self.from.region.as_str()))
    }

    /// `flag=variant` of the flags that are configured as cohorts, in that order.
    pub fn cohort(&mut self, flags: &[(Cow<'_, str>, Cow<'_, str>)]) -> Cow<'a, str> {
        let mut cohort = String::new();
        for name in &self.settings.cohort_flags {
            if let Some((_, variant)) = flags.iter().find(|(flag, _)| flag == name) {
                let comma = if cohort.is_empty() { "" } else { "," };
                cohort.push_str(&format!("{comma}{name}={variant}"));
            }
        }
        self.clean("cohort", Some(cohort.into()))
    }

    /// A dimension's text without anything personal; counts what was taken out.
    pub fn clean(&mut self, field: &'static str, text: Option<Cow<'a, str>>) -> Cow<'a, str> {
        let Some(text) = text else { return Cow::Borrowed("") };
        let (text, redacted) = self.settings.redactor.clean(text);
        if redacted {
            self.decoded.redacted.push(field);
        }
        text
    }

    /// Whether a metric's name may be kept. One in which something personal stands cannot be mended: it would be another metric.
    pub fn fit(&mut self, metric: &Metric) -> bool {
        let Metric::Custom(name) = metric else { return true };
        self.is_impersonal(name)
    }

    /// Whether nothing personal stands in a name that somebody typed.
    pub fn is_impersonal(&mut self, name: &str) -> bool {
        let personal = self.settings.redactor.clean(name).1;
        if personal {
            self.decoded.redacted.push("name");
        }
        !personal
    }

    /// The route of a page or URL.
    pub fn route(&mut self, field: &'static str, url: Cow<'a, str>) -> Cow<'a, str> {
        // Cut first: no route is made of the end of a URL of megabytes.
        let route = match cut(url, 2048) {
            Cow::Borrowed(url) => self.settings.templates.of(url),
            Cow::Owned(url) => Cow::Owned(self.settings.templates.of(&url).into_owned()),
        };
        self.clean(field, Some(route))
    }

    /// A text that must be there.
    pub fn required(&mut self, field: &'static str, text: Option<Cow<'a, str>>) -> Result<Cow<'a, str>, Reason> {
        let text = self.clean(field, text);
        if text.is_empty() { Err(Reason::Missing(field)) } else { Ok(text) }
    }

    /// The weight of an app's events; `given` is the rate that the client says it sampled at.
    pub fn weight(&self, app: &str, given: Option<f64>) -> Result<i64, Reason> {
        let rate = given.or_else(|| self.settings.sample_rates.get(app).copied()).unwrap_or(1.0);
        weight_of(rate, self.settings.sample_rate_min).ok_or(Reason::SampleRate)
    }

    /// What a newer report of the same thing is known by.
    pub fn repeat(&self, app: &str, metric: &str, id: &str, ts: Option<f64>) -> Repeat {
        let key = self.settings.hash.of(Purpose::Repeat, &[app.as_bytes(), metric.as_bytes(), id.as_bytes()]);
        // A float becomes the nearest integer of the range, which keeps the order.
        Repeat { key, ts: ts.map(|ts| ts as i64) }
    }
}

/// A value of the domain 0 to `max`; anything else is no measurement.
pub(super) fn within(value: f64, max: f64) -> Result<f64, Reason> {
    if (0.0..=max).contains(&value) { Ok(value + 0.0) } else { Err(Reason::Range("value")) }
}

/// Navigation types of the web-vitals library are all hard but one.
pub(super) fn hard_or_soft(nav: &str) -> Cow<'static, str> {
    Cow::Borrowed(if nav.starts_with("soft") { "soft" } else { "hard" })
}

/// Whether a status means failure, and its class. Status 0 is a connection that failed.
pub(super) fn status_class(status: f64) -> Result<(bool, &'static str), Reason> {
    if status.fract() != 0.0 {
        return Err(Reason::Range("status"));
    }
    Ok(match status as i64 {
        0 => (true, "0"),
        100..=199 => (false, "1xx"),
        200..=299 => (false, "2xx"),
        300..=399 => (false, "3xx"),
        400..=499 => (true, "4xx"),
        500..=599 => (true, "5xx"),
        _ => return Err(Reason::Range("status")),
    })
}

pub(super) fn method_name(method: &str) -> &'static str {
    let known = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"];
    known.into_iter().find(|known| known.eq_ignore_ascii_case(method)).unwrap_or(if method.is_empty() { "" } else { "other" })
}

pub(super) fn lower(text: Cow<'_, str>) -> Cow<'_, str> {
    if text.bytes().any(|b| b.is_ascii_uppercase()) { Cow::Owned(text.to_ascii_lowercase()) } else { text }
}

/// A trace id, by itself or within a W3C `traceparent`.
pub(super) fn trace_id(text: Cow<'_, str>) -> Option<Cow<'_, str>> {
    let id = match text.split('-').nth(1) {
        Some(id) if text.len() == 55 => Cow::Owned(id.to_owned()),
        _ => text,
    };
    ((16..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_hexdigit())).then_some(id)
}
