//! What a log record means: page views, web vitals, errors, crashes, interactions. All others are
//! nobody's failure and are not counted.

use std::borrow::Cow;

use super::Request;
use super::memory::Instrument;
use super::model::{LogRecord, Value};
use super::sender::{Look, Sender, event};
use crate::domain::event::Event;
use crate::domain::fingerprint::fingerprint;
use crate::domain::metric::{Metric, Vital};
use crate::domain::route_template::path_of;
use crate::intake::reading::{Reading, hard_or_soft, within};
use crate::intake::reason::Reason;

/// The least severity of an error.
const ERROR: i64 = 17;

/// Where the two dialects put what they say of a web vital; the third is the body.
const VITAL_PREFIXES: [&str; 2] = ["browser.web_vital.", "web_vital."];

/// What a record is about.
enum Kind<'m> {
    Navigation,
    Vital,
    Exception,
    Crash,
    /// With what was done.
    Interaction(&'m str),
    Other,
}

impl<'m> Kind<'m> {
    fn of(name: &'m str, log: &LogRecord<'_>) -> Kind<'m> {
        match name {
            "browser.navigation" => Kind::Navigation,
            "browser.web_vital" => Kind::Vital,
            "exception" => Kind::Exception,
            "app.crash" | "device.crash" => Kind::Crash,
            "app.widget.click" | "app.screen.click" => Kind::Interaction("click"),
            // An exception that somebody logged.
            "" if (log.severity == 0 || log.severity >= ERROR) && is_exception(log) => Kind::Exception,
            _ => name.strip_prefix("browser.user_action.").map_or(Kind::Other, Kind::Interaction),
        }
    }
}

fn is_exception(log: &LogRecord<'_>) -> bool {
    ["exception.type", "exception.message"].into_iter().any(|name| log.attributes.get(name).is_some())
}

impl<'a> Request<'a, '_> {
    /// Counts a log record.
    pub(super) fn log(&mut self, sender: &mut Sender<'_, 'a>, log: LogRecord<'a>, index: usize) -> Result<(), Reason> {
        let reading = &mut self.reading;
        let made = log.observed.or(log.time);
        let time = log.time.or(log.observed);
        sender.made(made);
        let look = sender.look(&log.attributes, None);
        let person = sender.person(reading, look, index, time)?;
        let name = Some(log.event_name.clone()).filter(|name| !name.is_empty()).or_else(|| look.text(["event.name"])).unwrap_or_default();
        let counted = match Kind::of(&name, &log) {
            Kind::Navigation => {
                self.memory.saw(sender.instrumentation, Instrument::Navigation, reading.now);
                let soft = look.get("browser.navigation.same_document").and_then(Value::truth) == Some(true);
                let page = look.text(["url.full"]).unwrap_or_else(|| look.page());
                if !soft && self.memory.was_loaded(sender.key(reading, path_of(&page)), reading.now) {
                    return Ok(());
                }
                let route = reading.route("page", page);
                let nav = Cow::Borrowed(if soft { "soft" } else { "hard" });
                Event { route, own: [nav, "".into(), "".into()], ..event(reading, index, Metric::PageView, &person) }
            }
            Kind::Vital => {
                self.memory.saw(sender.instrumentation, Instrument::Vitals, reading.now);
                let part = |part: &str| vital_part(&log, part);
                let name = part("name").and_then(|name| name.text()).ok_or(Reason::Missing("browser.web_vital.name"))?;
                let vital = Vital::ALL.into_iter().find(|vital| vital.name().eq_ignore_ascii_case(&name)).ok_or(Reason::Vital)?;
                let value = part("value").and_then(|value| value.number()).ok_or(Reason::Missing("browser.web_vital.value"))?;
                let value = Some(within(value, vital.value_max())?);
                // The record's time is that of the paint; which report is newer says the time of the report.
                let id = part("id").and_then(|id| id.text());
                let repeat = id.map(|id| reading.repeat(&sender.app, vital.name(), &id, made.millis()));
                let nav = hard_or_soft(&part("navigation_type").and_then(|nav| nav.text()).unwrap_or_default());
                let route = reading.route("page", look.page());
                let own = [nav, "".into(), "".into()];
                Event { value, repeat, route, own, ..event(reading, index, Metric::Vital(vital), &person) }
            }
            Kind::Exception => exception(reading, look, event(reading, index, Metric::JsError, &person))?,
            Kind::Crash => {
                sender.session(reading, look, &person, index, time, true);
                let kind = look.text(["exception.type"]).unwrap_or_default();
                let repeat = person.session.as_ref().filter(|_| time.0 > 0).map(|session| {
                    let id = format!("{} {session} {kind}", time.0);
                    reading.repeat(&sender.app, "crash", &id, None)
                });
                let crash = Event { bad: true, repeat, ..event(reading, index, Metric::Crash, &person) };
                cause(reading, look, crash)
            }
            Kind::Interaction(action) => {
                let target = look.text(["browser.css_selector", "app.widget.name", "app.widget.id"]);
                let name = target.map_or_else(|| action.to_owned(), |target| format!("{action} {target}"));
                let name = reading.clean("name", Some(Cow::Owned(name)));
                let route = reading.route("page", look.page());
                Event { route, own: [name, "".into(), "".into()], ..event(reading, index, Metric::Interaction, &person) }
            }
            Kind::Other => return Ok(()),
        };
        sender.count(reading, look, counted, time);
        Ok(())
    }
}

/// `browser.web_vital.value` as shipped, or `value` in the body as the convention has it.
fn vital_part<'m, 'a>(log: &'m LogRecord<'a>, part: &str) -> Option<&'m Value<'a>> {
    let prefixed =
        |prefix: &&str| log.attributes.0.iter().find(|(name, _)| name.strip_prefix(*prefix) == Some(part)).map(|(_, value)| value);
    let body = || match &log.body {
        Value::Map(map) => map.get(part),
        Value::Empty | Value::Text(_) | Value::Bool(_) | Value::Int(_) | Value::Double(_) => None,
    };
    VITAL_PREFIXES.iter().find_map(prefixed).or_else(body)
}

/// A JavaScript error out of `exception.*`.
pub(super) fn exception<'a>(reading: &mut Reading<'a, '_>, look: Look<'_, 'a>, event: Event<'a>) -> Result<Event<'a>, Reason> {
    if look.text(["exception.type", "exception.message", "exception.stacktrace"]).is_none() {
        return Err(Reason::Missing("exception.type"));
    }
    Ok(cause(reading, look, Event { bad: true, ..event }))
}

/// Where it happened and what it is known by.
fn cause<'a>(reading: &mut Reading<'a, '_>, look: Look<'_, 'a>, event: Event<'a>) -> Event<'a> {
    let text = |name: &str| look.text([name]).unwrap_or_default();
    let known_by = fingerprint(&text("exception.type"), &text("exception.message"), &text("exception.stacktrace"));
    let route = reading.route("page", look.page());
    Event { route, own: [Cow::Owned(known_by), "".into(), "".into()], ..event }
}
