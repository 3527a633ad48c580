//! Protobuf to records. Each message is read when it is its turn, so that a broken one costs only itself
//! and a body of millions of empty ones costs no more memory than it has bytes.

use std::borrow::Cow;

use super::model::{Attributes, EXCEPTIONS_MAX, Group, Id, Kind, LogRecord, Metric, Nanos, Point, Powers, Span, SpanEvent, Value};
use super::wire::{Broken, Field, Wire, zigzag};

/// How deep maps may lie in each other before they are not looked into.
const DEPTH_MAX: usize = 16;

/// What a request of any signal holds: one message for each resource.
pub(super) fn resources(body: &[u8]) -> Result<Vec<&[u8]>, Broken> {
    let mut all = Vec::new();
    let mut wire = Wire(body);
    while let Some((number, field)) = wire.next()? {
        if let (1, Field::Bytes(bytes)) = (number, field) {
            all.push(bytes);
        }
    }
    Ok(all)
}

/// A resource and the messages of its scopes; all signals wrap them the same way.
pub(super) fn resource(message: &[u8]) -> Result<Group<'_>, Broken> {
    group(message, |group, bytes| {
        let mut wire = Wire(bytes);
        while let Some((number, field)) = wire.next()? {
            if let (1, Field::Bytes(bytes)) = (number, field) {
                attribute(bytes, 0, &mut group.attributes)?;
            }
        }
        Ok(())
    })
}

/// A scope and the messages of its records.
pub(super) fn scope(message: &[u8]) -> Result<Group<'_>, Broken> {
    group(message, |group, bytes| {
        let mut wire = Wire(bytes);
        while let Some((number, field)) = wire.next()? {
            match (number, field) {
                (1, Field::Bytes(bytes)) => group.name = text(bytes),
                (2, Field::Bytes(bytes)) => group.version = text(bytes),
                _ => {}
            }
        }
        Ok(())
    })
}

/// Field 1 says what the members have in common, each field 2 is one of them.
fn group<'a>(message: &'a [u8], about: impl Fn(&mut Group<'a>, &'a [u8]) -> Result<(), Broken>) -> Result<Group<'a>, Broken> {
    let mut group = Group::default();
    let mut wire = Wire(message);
    while let Some((number, field)) = wire.next()? {
        match (number, field) {
            (1, Field::Bytes(bytes)) => about(&mut group, bytes)?,
            (2, Field::Bytes(bytes)) => group.members.push(bytes),
            _ => {}
        }
    }
    Ok(group)
}

/// Texts must be UTF-8 and now and then are not, when a client has cut them: that is no reason to lose anything.
fn text(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

/// Adds a name and its value, unless one of them is empty.
fn attribute<'a>(message: &'a [u8], depth: usize, to: &mut Attributes<'a>) -> Result<(), Broken> {
    let (mut name, mut given) = (Cow::Borrowed(""), Value::Empty);
    let mut wire = Wire(message);
    while let Some((number, field)) = wire.next()? {
        match (number, field) {
            (1, Field::Bytes(bytes)) => name = text(bytes),
            (2, Field::Bytes(bytes)) => given = value(bytes, depth)?,
            _ => {}
        }
    }
    to.add(name, given);
    Ok(())
}

fn value(message: &[u8], depth: usize) -> Result<Value<'_>, Broken> {
    let mut value = Value::Empty;
    let mut wire = Wire(message);
    while let Some((number, field)) = wire.next()? {
        value = match (number, field) {
            (1, Field::Bytes(bytes)) => Value::Text(text(bytes)),
            (2, Field::Varint(truth)) => Value::Bool(truth != 0),
            (3, Field::Varint(number)) => Value::Int(number as i64),
            (4, Field::Fixed64(bits)) => Value::Double(f64::from_bits(bits)),
            (6, Field::Bytes(bytes)) if depth < DEPTH_MAX => Value::Map(map(bytes, depth + 1)?),
            _ => value,
        }
    }
    Ok(value)
}

fn map(message: &[u8], depth: usize) -> Result<Attributes<'_>, Broken> {
    let mut pairs = Attributes::default();
    let mut wire = Wire(message);
    while let Some((number, field)) = wire.next()? {
        if let (1, Field::Bytes(bytes)) = (number, field) {
            attribute(bytes, depth, &mut pairs)?;
        }
    }
    Ok(pairs)
}

pub(super) fn log_record(message: &[u8]) -> Result<LogRecord<'_>, Broken> {
    let mut log = LogRecord::default();
    let mut wire = Wire(message);
    while let Some((number, field)) = wire.next()? {
        match (number, field) {
            (1, Field::Fixed64(at)) => log.time = Nanos(at),
            (2, Field::Varint(severity)) => log.severity = severity as i64,
            (5, Field::Bytes(bytes)) => log.body = value(bytes, 0)?,
            (6, Field::Bytes(bytes)) => attribute(bytes, 0, &mut log.attributes)?,
            (11, Field::Fixed64(at)) => log.observed = Nanos(at),
            (12, Field::Bytes(bytes)) => log.event_name = text(bytes),
            _ => {}
        }
    }
    Ok(log)
}

pub(super) fn span(message: &[u8]) -> Result<Span<'_>, Broken> {
    let mut span = Span::default();
    let mut wire = Wire(message);
    while let Some((number, field)) = wire.next()? {
        match (number, field) {
            (1, Field::Bytes(bytes)) => span.trace_id = Id::of(bytes),
            (2, Field::Bytes(bytes)) => span.span_id = Id::of(bytes),
            (5, Field::Bytes(bytes)) => span.name = text(bytes),
            (6, Field::Varint(kind)) => span.kind = kind as i64,
            (7, Field::Fixed64(at)) => span.start = Nanos(at),
            (8, Field::Fixed64(at)) => span.end = Nanos(at),
            (9, Field::Bytes(bytes)) => attribute(bytes, 0, &mut span.attributes)?,
            (11, Field::Bytes(bytes)) if span.exceptions.len() < EXCEPTIONS_MAX => {
                span.exceptions.extend(Some(span_event(bytes)?).filter(|event| event.name == "exception"));
            }
            (15, Field::Bytes(bytes)) => span.status = status(bytes)?,
            _ => {}
        }
    }
    Ok(span)
}

fn span_event(message: &[u8]) -> Result<SpanEvent<'_>, Broken> {
    let mut event = SpanEvent::default();
    let mut wire = Wire(message);
    while let Some((number, field)) = wire.next()? {
        match (number, field) {
            (1, Field::Fixed64(at)) => event.time = Nanos(at),
            (2, Field::Bytes(bytes)) => event.name = text(bytes),
            (3, Field::Bytes(bytes)) => attribute(bytes, 0, &mut event.attributes)?,
            _ => {}
        }
    }
    Ok(event)
}

fn status(message: &[u8]) -> Result<i64, Broken> {
    let mut code = 0;
    let mut wire = Wire(message);
    while let Some((number, field)) = wire.next()? {
        if let (3, Field::Varint(given)) = (number, field) {
            code = given as i64;
        }
    }
    Ok(code)
}

pub(super) fn metric(message: &[u8]) -> Result<Metric<'_>, Broken> {
    let mut metric = Metric::default();
    let mut wire = Wire(message);
    while let Some((number, field)) = wire.next()? {
        match (number, field) {
            (1, Field::Bytes(bytes)) => metric.name = text(bytes),
            (3, Field::Bytes(bytes)) => metric.unit = text(bytes),
            (5, Field::Bytes(bytes)) => data(&mut metric, Kind::Gauge, bytes)?,
            (7, Field::Bytes(bytes)) => data(&mut metric, Kind::Sum, bytes)?,
            (9, Field::Bytes(bytes)) => data(&mut metric, Kind::Histogram, bytes)?,
            (10, Field::Bytes(bytes)) => data(&mut metric, Kind::Powers, bytes)?,
            (11, Field::Bytes(bytes)) => data(&mut metric, Kind::Other, bytes)?,
            _ => {}
        }
    }
    Ok(metric)
}

/// The points of any kind of metric, and its temporality.
fn data<'a>(metric: &mut Metric<'a>, kind: Kind, message: &'a [u8]) -> Result<(), Broken> {
    metric.kind = kind;
    let mut wire = Wire(message);
    while let Some((number, field)) = wire.next()? {
        match (number, field) {
            (1, Field::Bytes(bytes)) => metric.points.push(bytes),
            (2, Field::Varint(given)) => metric.temporality = given as i64,
            _ => {}
        }
    }
    Ok(())
}

/// A point of a metric of this kind.
pub(super) fn point(kind: Kind, message: &[u8]) -> Result<Point<'_>, Broken> {
    match kind {
        Kind::Gauge | Kind::Sum => number_point(message),
        Kind::Histogram => histogram_point(message),
        Kind::Powers => power_point(message),
        Kind::Other => Ok(Point::default()),
    }
}

fn number_point(message: &[u8]) -> Result<Point<'_>, Broken> {
    let mut point = Point::default();
    let mut wire = Wire(message);
    while let Some((number, field)) = wire.next()? {
        match (number, field) {
            (2, Field::Fixed64(at)) => point.start = Nanos(at),
            (3, Field::Fixed64(at)) => point.time = Nanos(at),
            (4, Field::Fixed64(bits)) => point.value = Some(f64::from_bits(bits)),
            (6, Field::Fixed64(number)) => point.value = Some(number as i64 as f64),
            (7, Field::Bytes(bytes)) => attribute(bytes, 0, &mut point.attributes)?,
            (8, Field::Varint(flags)) => point.flags = flags,
            _ => {}
        }
    }
    Ok(point)
}

fn histogram_point(message: &[u8]) -> Result<Point<'_>, Broken> {
    let mut point = Point::default();
    let mut wire = Wire(message);
    while let Some((number, field)) = wire.next()? {
        match (number, field) {
            (2, Field::Fixed64(at)) => point.start = Nanos(at),
            (3, Field::Fixed64(at)) => point.time = Nanos(at),
            (4, Field::Fixed64(count)) => point.count = count as f64,
            (5, Field::Fixed64(bits)) => point.sum = Some(f64::from_bits(bits)),
            (6, field) => fixed(field, &mut point.counts, |count| count as f64)?,
            (7, field) => fixed(field, &mut point.bounds, f64::from_bits)?,
            (9, Field::Bytes(bytes)) => attribute(bytes, 0, &mut point.attributes)?,
            (10, Field::Varint(flags)) => point.flags = flags,
            _ => {}
        }
    }
    Ok(point)
}

/// Repeated numbers of eight bytes, packed into one field or each in its own.
fn fixed(field: Field<'_>, numbers: &mut Vec<f64>, read: fn(u64) -> f64) -> Result<(), Broken> {
    match field {
        Field::Fixed64(number) => numbers.push(read(number)),
        Field::Bytes(packed) => {
            let mut wire = Wire(packed);
            while !wire.0.is_empty() {
                numbers.push(read(u64::from_le_bytes(wire.array()?)));
            }
        }
        Field::Varint(_) | Field::Fixed32(_) => {}
    }
    Ok(())
}

fn power_point(message: &[u8]) -> Result<Point<'_>, Broken> {
    let (mut point, mut powers) = (Point::default(), Powers::default());
    let mut wire = Wire(message);
    while let Some((number, field)) = wire.next()? {
        match (number, field) {
            (1, Field::Bytes(bytes)) => attribute(bytes, 0, &mut point.attributes)?,
            (2, Field::Fixed64(at)) => point.start = Nanos(at),
            (3, Field::Fixed64(at)) => point.time = Nanos(at),
            (4, Field::Fixed64(count)) => point.count = count as f64,
            (5, Field::Fixed64(bits)) => point.sum = Some(f64::from_bits(bits)),
            (6, Field::Varint(scale)) => powers.scale = zigzag(scale),
            (7, Field::Fixed64(zeros)) => powers.zeros = zeros as f64,
            (8, Field::Bytes(bytes)) => (powers.offset, powers.counts) = buckets(bytes)?,
            (9, Field::Bytes(bytes)) => powers.negative = buckets(bytes)?.1.iter().any(|count| *count > 0.0),
            (10, Field::Varint(flags)) => point.flags = flags,
            _ => {}
        }
    }
    point.powers = Some(powers);
    Ok(point)
}

fn buckets(message: &[u8]) -> Result<(i64, Vec<f64>), Broken> {
    let (mut offset, mut counts) = (0, Vec::new());
    let mut wire = Wire(message);
    while let Some((number, field)) = wire.next()? {
        match (number, field) {
            (1, Field::Varint(given)) => offset = zigzag(given),
            (2, Field::Varint(count)) => counts.push(count as f64),
            (2, Field::Bytes(packed)) => {
                let mut wire = Wire(packed);
                while !wire.0.is_empty() {
                    counts.push(wire.varint()? as f64);
                }
            }
            _ => {}
        }
    }
    Ok((offset, counts))
}
