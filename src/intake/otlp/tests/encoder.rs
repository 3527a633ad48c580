//! Requests in protobuf, from what they are in JSON: written after the schema and not after the reader.

use super::Json;

pub fn varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn bytes(out: &mut Vec<u8>, field: u64, value: &[u8]) {
    varint(out, field << 3 | 2);
    varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

fn fixed(out: &mut Vec<u8>, field: u64, bits: u64) {
    varint(out, field << 3 | 1);
    out.extend_from_slice(&bits.to_le_bytes());
}

/// Messages of one field each around another, outermost tag first.
pub fn wrapped(tags: &[u8], inner: Vec<u8>) -> Vec<u8> {
    tags.iter().rev().fold(inner, |inner, tag| {
        let mut outer = vec![*tag];
        varint(&mut outer, inner.len() as u64);
        outer.extend_from_slice(&inner);
        outer
    })
}

fn integer(value: &Json) -> u64 {
    value
        .as_u64()
        .or_else(|| value.as_i64().map(|n| n as u64))
        .unwrap_or_else(|| value.as_str().map_or(0, |text| text.parse().unwrap_or(0)))
}

fn each(message: &Json, name: &str, mut write: impl FnMut(&Json)) {
    message[name].as_array().into_iter().flatten().for_each(&mut write);
}

pub fn request(request: &Json) -> Vec<u8> {
    let mut out = Vec::new();
    for (resources, scopes, records, write) in [
        ("resourceLogs", "scopeLogs", "logRecords", log as fn(&Json) -> Vec<u8>),
        ("resourceSpans", "scopeSpans", "spans", span),
        ("resourceMetrics", "scopeMetrics", "metrics", metric),
    ] {
        each(request, resources, |resource| {
            let mut sent = Vec::new();
            bytes(&mut sent, 1, &attributes(&resource["resource"], 1));
            each(resource, scopes, |scope| {
                let mut group = Vec::new();
                let mut library = Vec::new();
                bytes(&mut library, 1, scope["scope"]["name"].as_str().unwrap_or("").as_bytes());
                bytes(&mut library, 2, scope["scope"]["version"].as_str().unwrap_or("").as_bytes());
                bytes(&mut group, 1, &library);
                each(scope, records, |record| bytes(&mut group, 2, &write(record)));
                bytes(&mut sent, 2, &group);
            });
            bytes(&mut out, 1, &sent);
        });
    }
    out
}

fn attributes(message: &Json, field: u64) -> Vec<u8> {
    let mut out = Vec::new();
    each(message, "attributes", |pair| bytes(&mut out, field, &key_value(pair)));
    out
}

fn key_value(pair: &Json) -> Vec<u8> {
    let mut out = Vec::new();
    bytes(&mut out, 1, pair["key"].as_str().unwrap_or("").as_bytes());
    bytes(&mut out, 2, &value(&pair["value"]));
    out
}

fn value(value: &Json) -> Vec<u8> {
    let mut out = Vec::new();
    if let Some(text) = value["stringValue"].as_str() {
        bytes(&mut out, 1, text.as_bytes());
    } else if let Some(truth) = value["boolValue"].as_bool() {
        varint(&mut out, 2 << 3);
        varint(&mut out, u64::from(truth));
    } else if !value["intValue"].is_null() {
        varint(&mut out, 3 << 3);
        varint(&mut out, integer(&value["intValue"]));
    } else if let Some(number) = value["doubleValue"].as_f64() {
        fixed(&mut out, 4, number.to_bits());
    } else if value["kvlistValue"].is_object() {
        let mut map = Vec::new();
        each(&value["kvlistValue"], "values", |pair| bytes(&mut map, 1, &key_value(pair)));
        bytes(&mut out, 6, &map);
    }
    out
}

fn log(log: &Json) -> Vec<u8> {
    let mut out = Vec::new();
    fixed(&mut out, 1, integer(&log["timeUnixNano"]));
    varint(&mut out, 2 << 3);
    varint(&mut out, integer(&log["severityNumber"]));
    bytes(&mut out, 5, &value(&log["body"]));
    out.extend(attributes(log, 6));
    varint(&mut out, 8 << 3 | 5);
    out.extend_from_slice(&[1, 0, 0, 0]);
    fixed(&mut out, 11, integer(&log["observedTimeUnixNano"]));
    bytes(&mut out, 12, log["eventName"].as_str().unwrap_or("").as_bytes());
    out
}

fn span(span: &Json) -> Vec<u8> {
    let mut out = Vec::new();
    bytes(&mut out, 1, &hex::decode(span["traceId"].as_str().unwrap_or("")).unwrap());
    bytes(&mut out, 2, &hex::decode(span["spanId"].as_str().unwrap_or("")).unwrap());
    bytes(&mut out, 5, span["name"].as_str().unwrap_or("").as_bytes());
    varint(&mut out, 6 << 3);
    varint(&mut out, integer(&span["kind"]));
    fixed(&mut out, 7, integer(&span["startTimeUnixNano"]));
    fixed(&mut out, 8, integer(&span["endTimeUnixNano"]));
    out.extend(attributes(span, 9));
    each(span, "events", |event| {
        let mut message = Vec::new();
        fixed(&mut message, 1, integer(&event["timeUnixNano"]));
        bytes(&mut message, 2, event["name"].as_str().unwrap_or("").as_bytes());
        message.extend(attributes(event, 3));
        bytes(&mut out, 11, &message);
    });
    let mut status = Vec::new();
    varint(&mut status, 3 << 3);
    varint(&mut status, integer(&span["status"]["code"]));
    bytes(&mut out, 15, &status);
    out
}

fn metric(metric: &Json) -> Vec<u8> {
    let mut out = Vec::new();
    bytes(&mut out, 1, metric["name"].as_str().unwrap_or("").as_bytes());
    bytes(&mut out, 3, metric["unit"].as_str().unwrap_or("").as_bytes());
    for (name, field, is_histogram) in [("sum", 7, false), ("histogram", 9, true)] {
        if metric[name].is_object() {
            let mut data = Vec::new();
            each(&metric[name], "dataPoints", |point| bytes(&mut data, 1, &self::point(point, is_histogram)));
            varint(&mut data, 2 << 3);
            varint(&mut data, integer(&metric[name]["aggregationTemporality"]));
            bytes(&mut out, field, &data);
        }
    }
    out
}

fn point(point: &Json, is_histogram: bool) -> Vec<u8> {
    let mut out = Vec::new();
    fixed(&mut out, 2, integer(&point["startTimeUnixNano"]));
    fixed(&mut out, 3, integer(&point["timeUnixNano"]));
    if !is_histogram {
        fixed(&mut out, 4, point["asDouble"].as_f64().unwrap().to_bits());
        out.extend(attributes(point, 7));
        return out;
    }
    fixed(&mut out, 4, integer(&point["count"]));
    fixed(&mut out, 5, point["sum"].as_f64().unwrap().to_bits());
    let (mut counts, mut bounds) = (Vec::new(), Vec::new());
    each(point, "bucketCounts", |count| counts.extend_from_slice(&integer(count).to_le_bytes()));
    each(point, "explicitBounds", |bound| bounds.extend_from_slice(&bound.as_f64().unwrap().to_bits().to_le_bytes()));
    bytes(&mut out, 6, &counts);
    bytes(&mut out, 7, &bounds);
    out.extend(attributes(point, 9));
    out
}
