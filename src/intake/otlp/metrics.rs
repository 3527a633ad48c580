//! What a point of a metric means: counts that a client has summed up by itself, as rows of its series.
//!
//! Web vitals and requests by their conventional names are those metrics, unless the same app sends
//! them one by one as logs or spans; all others are `custom:<name>`.

use std::borrow::Cow;

use super::Request;
use super::memory::Instrument;
use super::model::{CUMULATIVE, DELTA, Kind, Metric as Written, Point, Powers, Value};
use super::sender::{Look, Sender, event};
use crate::domain::cell::UNIT;
use crate::domain::event::Event;
use crate::domain::keyed::Purpose;
use crate::domain::metric::{Metric, Vital};
use crate::domain::rows::{BINS_MAX, Row, Summed};
use crate::intake::reading::{CUSTOM_MAX, hard_or_soft, lower, method_name, status_class, within};
use crate::intake::reason::{Reason, Refusal};

/// The flag of a point that says that there is none.
const NO_VALUE: u64 = 1;

/// What a metric is to us.
struct Meaning {
    metric: Metric,
    /// From its unit to ours.
    factor: f64,
    /// The better source of the same, from which it may be counted already.
    twin: Option<Instrument>,
}

impl Meaning {
    fn of(written: &Written<'_>) -> Option<Meaning> {
        let is_histogram = matches!(written.kind, Kind::Histogram | Kind::Powers);
        let factor = match &*written.unit {
            "s" => 1_000.0,
            "us" => 0.001,
            _ => 1.0,
        };
        let vital = written.name.strip_prefix("browser.web_vital.").or_else(|| written.name.strip_prefix("web_vital."));
        let vital = vital.and_then(|name| Vital::ALL.into_iter().find(|vital| vital.name().eq_ignore_ascii_case(name)));
        Some(match (vital, &*written.name) {
            (Some(vital), _) if is_histogram => Meaning { metric: Metric::Vital(vital), factor, twin: Some(Instrument::Vitals) },
            (_, "http.client.request.duration" | "http.client.duration") if is_histogram => {
                Meaning { metric: Metric::Request, factor, twin: Some(Instrument::Requests) }
            }
            (_, name) => Meaning { metric: Metric::custom(name)?, factor: 1.0, twin: None },
        })
    }
}

impl<'a> Request<'a, '_> {
    /// Counts all points of a metric.
    pub(super) fn metric(&mut self, sender: &mut Sender<'_, 'a>, mut written: Written<'a>) -> Result<(), Refusal> {
        let points = self.few(std::mem::take(&mut written.points))?;
        let meaning = Meaning::of(&written).filter(|meaning| self.reading.fit(&meaning.metric));
        for piece in points {
            let index = self.next();
            let done = match &meaning {
                Some(meaning) => {
                    self.encoding.point(written.kind, piece).and_then(|point| self.point(sender, &written, meaning, point, index))
                }
                None => Err(Reason::Name),
            };
            self.rejected(index, done);
        }
        Ok(())
    }

    fn point(
        &mut self,
        sender: &mut Sender<'_, 'a>,
        written: &Written<'a>,
        meaning: &Meaning,
        mut point: Point<'a>,
        index: usize,
    ) -> Result<(), Reason> {
        let reading = &mut self.reading;
        sender.made(point.time);
        let attributes = std::mem::take(&mut point.attributes);
        let look = sender.look(&attributes, None);
        let person = sender.person(reading, look, index, point.time)?;
        if point.flags & NO_VALUE != 0 {
            return Ok(());
        }
        if written.kind == Kind::Gauge {
            let value = Some(within(point.value.ok_or(Reason::Missing("asDouble"))?, CUSTOM_MAX)?);
            let gauge =
                Event { value, route: reading.route("page", look.page()), ..event(reading, index, meaning.metric.clone(), &person) };
            sender.count(reading, look, gauge, point.time);
            return Ok(());
        }
        if written.kind == Kind::Other {
            return Err(Reason::Summed("of this kind cannot be added up".into()));
        }
        if meaning.twin.is_some_and(|twin| self.memory.has(sender.instrumentation, twin, reading.now)) {
            return Ok(());
        }
        if let Some(powers) = point.powers.take() {
            (point.bounds, point.counts) = bins_of(&powers)?;
        }
        match written.temporality {
            DELTA => {}
            CUMULATIVE => {
                let keeper = sender.keeper().ok_or(Reason::Cumulative)?;
                let mut parts: Vec<Cow<'_, str>> =
                    attributes.0.iter().map(|(name, value)| format!("{name}={}", value.text().unwrap_or_default()).into()).collect();
                parts.sort();
                parts.extend([sender.app.clone(), keeper.into(), written.name.clone(), format!("{}", point.start.0).into()]);
                let bytes: Vec<&[u8]> = parts.iter().map(|part| part.as_bytes()).collect();
                let stream = reading.settings.hash.of(Purpose::Repeat, &bytes);
                match self.memory.growth(stream, point, reading.now) {
                    Some(growth) => point = growth,
                    None => return Ok(()),
                }
            }
            _ => return Err(Reason::Summed("without a temporality cannot be added up".into())),
        }
        let Some(mut row) = self.row(sender, look, meaning, &point, person.weight)? else { return Ok(()) };
        if let Some(user) = person.user {
            let users = if row.cell.counts.bad > 0 { &mut row.bad_users } else { &mut row.users };
            users.push(user);
        }
        sender.count_row(index, row, point.time);
        Ok(())
    }

    /// The row of a point; none if nothing happened.
    fn row(
        &mut self,
        sender: &Sender<'_, 'a>,
        look: Look<'_, 'a>,
        meaning: &Meaning,
        point: &Point<'a>,
        weight: i64,
    ) -> Result<Option<Row<'a>>, Reason> {
        let reading = &mut self.reading;
        let raw = point.value.unwrap_or(point.count);
        if raw == 0.0 {
            return Ok(None);
        }
        let rate = weight as f64 / UNIT as f64;
        let status = look.get("http.response.status_code").or_else(|| look.get("http.status_code")).and_then(Value::number);
        let (failed, class) = status.map_or(Ok((false, "")), status_class)?;
        let (route, own, bad) = match &meaning.metric {
            Metric::Request => {
                let host = reading.clean("host", look.text(["server.address", "net.peer.name"]).map(lower));
                let method = look.text(["http.request.method", "http.method"]).map_or("", |method| method_name(&method));
                let own = vec![("host", host), ("method", method.into()), ("status", class.into())];
                let bad = failed || look.text(["error.type"]).is_some();
                (look.text(["url.template", "http.route"]).unwrap_or_default(), own, bad)
            }
            Metric::Vital(_) => {
                let nav = look.text(["browser.web_vital.navigation_type", "navigation_type"]).unwrap_or_default();
                (look.page(), vec![("nav", hard_or_soft(&nav))], false)
            }
            _ => (look.page(), Vec::new(), look.get("ok").and_then(Value::truth) == Some(false)),
        };
        let scaled = |bound: f64| (bound * meaning.factor * 1e6).round() / 1e6;
        let bins = point.counts.iter().enumerate().map(|(at, count)| (point.bounds.get(at).copied().map(scaled), *count * rate));
        let bins = if point.bounds.is_empty() { Vec::new() } else { bins.collect() };
        let sum = point.sum.filter(|sum| sum.is_finite() && *sum >= 0.0).map(|sum| sum * meaning.factor * rate);
        let summed = Summed { total: raw * rate, bad: if bad { raw * rate } else { 0.0 }, raw, sum, bins };
        let cell = summed.cell().map_err(|error| Reason::Summed(error.to_string()))?;
        let source = sender.source(reading, look);
        let mut dims = vec![
            ("app", source.app),
            ("environment", source.environment),
            ("region", source.region),
            ("device", source.device),
            ("browser", source.browser),
            ("os", source.os),
            ("release", source.release),
            ("cohort", source.cohort),
            ("sdk", source.sdk),
            ("route", reading.route("page", route)),
        ];
        dims.extend(own);
        let dims = dims.into_iter().map(|(name, value)| (Cow::Borrowed(name), value)).collect();
        Ok(Some(Row::of(reading.now, meaning.metric.clone(), dims, cell)))
    }
}

/// Bounds and counts of a histogram whose bounds are powers of 2^(2^-scale).
fn bins_of(powers: &Powers) -> Result<(Vec<f64>, Vec<f64>), Reason> {
    if powers.negative {
        return Err(Reason::Summed("has values below zero".into()));
    }
    if powers.counts.len() + 2 > BINS_MAX || !(-10..=20).contains(&powers.scale) {
        return Err(Reason::Summed("has too many buckets".into()));
    }
    let exponent = |at: usize| (powers.offset as f64 + at as f64) * 2_f64.powi(-powers.scale as i32);
    let (mut bounds, mut counts) = (vec![0.0, exponent(0).exp2()], vec![powers.zeros, 0.0]);
    for (at, count) in powers.counts.iter().enumerate() {
        bounds.push(exponent(at + 1).exp2());
        counts.push(*count);
    }
    counts.push(0.0);
    if bounds.iter().any(|bound| !bound.is_finite()) {
        return Err(Reason::Range("offset"));
    }
    Ok((bounds, counts))
}
