//! Who sends and for whom: what a record, its span and its resource say about app, machine and person.

use std::borrow::Cow;

use smallvec::SmallVec;

use super::model::{Attributes, Nanos, Value};
use crate::domain::agent::{Agent, Hints};
use crate::domain::event::{Batch, Event, Source, event_time, weight_of};
use crate::domain::keyed::Purpose;
use crate::domain::metric::Metric;
use crate::domain::rows::Row;
use crate::intake::reading::{Reading, lower, versioned};
use crate::intake::reason::Reason;

/// How many batches are looked through for one of the same source, and how many sessions for the same one.
/// Whatever is beyond is sent twice within the request, which counts the same.
const LOOKED_THROUGH: usize = 16;

/// The attributes that hold for a record: its own, those of its span, those of its resource.
#[derive(Clone, Copy)]
pub(super) struct Look<'m, 'a>([Option<&'m Attributes<'a>>; 3]);

impl<'m, 'a> Look<'m, 'a> {
    /// The nearest attribute of this name.
    pub fn get(&self, name: &str) -> Option<&'m Value<'a>> {
        self.0.iter().flatten().find_map(|layer| layer.get(name))
    }

    /// The nearest text of the first of these names that has one.
    pub fn text<const N: usize>(&self, names: [&str; N]) -> Option<Cow<'a, str>> {
        names.into_iter().find_map(|name| self.get(name)?.text())
    }

    /// The page that the user saw: a path, or the name of an app's screen.
    pub fn page(&self) -> Cow<'a, str> {
        self.text(["url.path", "url.full", "app.screen.name", "screen.name", "http.url"]).unwrap_or_default()
    }
}

/// The person behind a record, as far as they allow.
pub(super) struct Person<'a> {
    pub session: Option<Cow<'a, str>>,
    pub user: Option<u64>,
    pub weight: i64,
}

/// What a record says of its source, not yet cleaned: most records of a resource say the same.
#[derive(Clone, Default, PartialEq)]
struct Told<'a> {
    environment: Option<Cow<'a, str>>,
    release: Option<Cow<'a, str>>,
    region: Option<Cow<'a, str>>,
    agent: Option<Cow<'a, str>>,
    platform: Option<Cow<'a, str>>,
    os: Option<Cow<'a, str>>,
    mobile: Option<bool>,
    /// Variants of the flags that are configured as cohorts.
    flags: SmallVec<[Option<Cow<'a, str>>; 2]>,
    sdk: Cow<'a, str>,
}

/// Events of the same source, with the client's own time of each.
struct Lot<'a> {
    told: Told<'a>,
    batch: Batch<'a>,
    times: Vec<Nanos>,
}

/// One resource.
pub(super) struct Sender<'m, 'a> {
    resource: &'m Attributes<'a>,
    pub app: Cow<'a, str>,
    /// Known by what [`super::Memory`] notes of the app's instrumentation.
    pub instrumentation: u64,
    /// The SDK, or else the library that made the records.
    sdk: Option<Cow<'a, str>>,
    library: Cow<'a, str>,
    lots: Vec<Lot<'a>>,
    /// What it has summed up by itself, by index and with the client's own time.
    rows: Vec<(usize, Row<'a>, Nanos)>,
    sessions: Vec<Cow<'a, str>>,
    /// When the last of its records was made, which is as good as when all of them were sent.
    newest: Nanos,
}

impl<'m, 'a> Sender<'m, 'a> {
    pub fn new(reading: &mut Reading<'a, '_>, resource: &'m Attributes<'a>) -> Sender<'m, 'a> {
        let text = |name: &str| resource.get(name).and_then(Value::text);
        let app = reading.clean("app", text("service.name"));
        let release = text("service.version").unwrap_or_default();
        let sdk = text("telemetry.sdk.name").map(|name| versioned(name, text("telemetry.sdk.version").unwrap_or_default()));
        Sender {
            resource,
            instrumentation: reading.settings.hash.of(Purpose::Repeat, &[b"instrumentation", app.as_bytes(), release.as_bytes()]),
            app,
            sdk,
            library: Cow::Borrowed(""),
            lots: Vec::new(),
            rows: Vec::new(),
            sessions: Vec::new(),
            newest: Nanos(0),
        }
    }

    /// The library whose records follow. `@vendor/package/part` is the package: its parts have one version.
    pub fn library(&mut self, name: Cow<'a, str>, version: Cow<'a, str>) {
        let package = match name.match_indices('/').nth(1) {
            Some((end, _)) if name.starts_with('@') => Cow::Owned(name[..end].to_owned()),
            _ => name,
        };
        self.library = versioned(package, version);
    }

    /// What holds for a record, and for an event of a span.
    pub fn look<'r>(&self, record: &'r Attributes<'a>, span: Option<&'r Attributes<'a>>) -> Look<'r, 'a>
    where
        'm: 'r,
    {
        Look([Some(record), span, Some(self.resource)])
    }

    /// What one thing of the app's instrumentation is remembered by.
    pub fn key(&self, reading: &Reading<'_, '_>, what: &str) -> u64 {
        reading.settings.hash.of(Purpose::Repeat, &[b"page load", &self.instrumentation.to_le_bytes(), what.as_bytes()])
    }

    /// Whose cumulative metrics these are: the resource's session or instance, and the library that keeps them.
    pub fn keeper(&self) -> Option<String> {
        let name = ["service.instance.id", "session.id"].into_iter().find_map(|name| self.resource.get(name)?.text())?;
        Some(format!("{name} {}", self.library))
    }

    /// Whose record it is and what it weighs. A session that is new in this request is a session event.
    pub fn person(&mut self, reading: &mut Reading<'a, '_>, look: Look<'_, 'a>, index: usize, time: Nanos) -> Result<Person<'a>, Reason> {
        if self.app.is_empty() {
            return Err(Reason::Missing("service.name"));
        }
        let keep_ids = reading.keep_ids(&look.text(["consent"]).unwrap_or_default())?;
        let given = look.get("sample_rate").and_then(Value::number);
        let rate = given.or_else(|| reading.settings.sample_rates.get(&*self.app).copied()).unwrap_or(1.0);
        let weight = weight_of(rate, reading.settings.sample_rate_min).ok_or(Reason::SampleRate)?;
        let session = look.text(["session.id"]).filter(|_| keep_ids);
        let user = look.text(["user.id", "enduser.id", "enduser.pseudo.id"]).filter(|_| keep_ids);
        // Somebody without a name is still one person as long as the session lasts.
        let user = user.as_ref().or(session.as_ref()).map(|id| reading.settings.hash.of(Purpose::User, &[id.as_bytes()]));
        let person = Person { session, user, weight };
        if let Some(session) = &person.session
            && !self.sessions.iter().rev().take(LOOKED_THROUGH).any(|known| known == session)
        {
            self.sessions.push(session.clone());
            self.session(reading, look, &person, index, time, false);
        }
        Ok(person)
    }

    /// Counts a session, which counts once however often it comes.
    pub fn session(
        &mut self,
        reading: &mut Reading<'a, '_>,
        look: Look<'_, 'a>,
        person: &Person<'a>,
        index: usize,
        time: Nanos,
        crashed: bool,
    ) {
        let Some(session) = &person.session else { return };
        let repeat = Some(reading.repeat(&self.app, "session", session, time.millis()));
        let event = Event { bad: crashed, repeat, ..event(reading, index, Metric::Session, person) };
        let event = Event { route: reading.route("page", look.page()), ..event };
        self.count(reading, look, event, time);
    }

    /// Takes an event in; `time` is the client's.
    pub fn count(&mut self, reading: &mut Reading<'a, '_>, look: Look<'_, 'a>, event: Event<'a>, time: Nanos) {
        let told = self.told(reading, look);
        let known = self.lots.iter().rposition(|lot| lot.told == told);
        let at = known.filter(|at| at + LOOKED_THROUGH >= self.lots.len()).unwrap_or_else(|| {
            let source = self.cleaned(reading, &told);
            self.lots.push(Lot { told, batch: Batch { id: None, source, events: Vec::new() }, times: Vec::new() });
            self.lots.len() - 1
        });
        self.lots[at].batch.events.push(event);
        self.lots[at].times.push(time);
    }

    /// A record was made at this time.
    pub fn made(&mut self, time: Nanos) {
        self.newest = self.newest.max(time);
    }

    /// Takes in what it has summed up by itself.
    pub fn count_row(&mut self, index: usize, row: Row<'a>, time: Nanos) {
        self.rows.push((index, row, time));
    }

    /// The source of one record.
    pub fn source(&self, reading: &mut Reading<'a, '_>, look: Look<'_, 'a>) -> Source<'a> {
        let told = self.told(reading, look);
        self.cleaned(reading, &told)
    }

    fn told(&self, reading: &Reading<'a, '_>, look: Look<'_, 'a>) -> Told<'a> {
        let flag = |name: &String| look.get(&format!("feature_flag.{name}")).or_else(|| look.get(name)).and_then(Value::text);
        Told {
            environment: look.text(["deployment.environment.name", "deployment.environment"]),
            release: look.text(["service.version"]),
            region: look.text(["geo.country.iso_code", "client.geo.country.iso_code", "client.geo.country_iso_code"]),
            agent: look.text(["user_agent.original", "http.user_agent"]),
            platform: look.text(["browser.platform"]),
            os: look.text(["os.name"]),
            mobile: look.get("browser.mobile").and_then(Value::truth),
            flags: reading.settings.cohort_flags.iter().map(flag).collect(),
            sdk: self.sdk.clone().unwrap_or_else(|| self.library.clone()),
        }
    }

    fn cleaned(&self, reading: &mut Reading<'a, '_>, told: &Told<'a>) -> Source<'a> {
        let agent = machine(reading.from.agent, told);
        let region = told.region.clone().map(lower).or((!reading.from.region.is_empty()).then_some(reading.from.region.as_str().into()));
        let flags = reading.settings.cohort_flags.iter().zip(&told.flags);
        let flags: Vec<_> = flags.filter_map(|(name, variant)| Some((Cow::Owned(name.clone()), variant.clone()?))).collect();
        Source {
            app: self.app.clone(),
            environment: reading.clean("environment", told.environment.clone()),
            region: reading.clean("region", region),
            device: agent.device.into(),
            browser: agent.browser.into(),
            os: if agent.os.is_empty() { reading.clean("os", told.os.clone().map(lower)) } else { agent.os.into() },
            release: reading.clean("release", told.release.clone()),
            cohort: reading.cohort(&flags),
            sdk: reading.clean("sdk", Some(told.sdk.clone())),
        }
    }

    /// Gives the events their times and hands them over.
    pub fn finish(self, reading: &mut Reading<'a, '_>) {
        let (now, longest, sent_at) = (reading.now, reading.settings.remember, self.newest.millis());
        reading.decoded.sent_at = sent_at;
        let at = |time: Nanos| event_time(now, sent_at, time.millis(), longest);
        for Lot { mut batch, times, .. } in self.lots {
            for (event, time) in batch.events.iter_mut().zip(times) {
                event.at = at(time);
            }
            reading.decoded.batches.push(batch);
        }
        for (index, mut row, time) in self.rows {
            row.at = at(time);
            reading.decoded.rows.push((index, row));
        }
    }
}

/// The machine that a record speaks of; what the request's headers say counts only if a browser or bot sent
/// it, since a collector in between says nothing of its clients.
fn machine(from: Agent, told: &Told<'_>) -> Agent {
    let hints = Hints {
        platform: told.platform.as_deref().unwrap_or(""),
        mobile: told.mobile.map_or("", |mobile| if mobile { "?1" } else { "?0" }),
        brands: "",
    };
    let mut agent = match &told.agent {
        Some(text) => Agent::read(text, hints),
        None if !from.browser.is_empty() || from.device == "bot" => from,
        None => Agent::read("", hints),
    };
    let os = told.os.as_deref().unwrap_or("");
    let known = [("android", "android"), ("ios", "ios"), ("ipados", "ios"), ("iphone os", "ios")];
    if let Some((_, os)) = known.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(os)) {
        agent.os = os;
        if agent.device.is_empty() {
            agent.device = "phone";
        }
    }
    // Whoever drives it, a bot stays one.
    if told.mobile == Some(true) && (agent.device.is_empty() || agent.device == "desktop") {
        agent.device = "phone";
    }
    agent
}

/// An event about which nothing but its metric is said yet.
pub(super) fn event<'a>(reading: &Reading<'a, '_>, index: usize, metric: Metric, person: &Person<'a>) -> Event<'a> {
    Event {
        index,
        metric,
        at: reading.now,
        weight: person.weight,
        bad: false,
        value: None,
        user: person.user,
        repeat: None,
        route: Cow::Borrowed(""),
        own: Default::default(),
        trace: None,
    }
}
