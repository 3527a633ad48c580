//! What OTLP clients are answered, in the encoding in which they asked: an empty response, a
//! `partialSuccess`, or a `google.rpc.Status`.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body_util::Full;

use super::{Encoding, Signal};
use crate::intake::endpoint::{json, tell_what_next};
use crate::intake::reason::{Reason, Refusal};

/// How many rejected records a message names.
const NAMED_MAX: usize = 5;

/// 200, and how many records were rejected if any were; `rejected` is in order.
pub fn accept(signal: Signal, encoding: Encoding, rejected: &[(usize, Reason)]) -> Response<Full<Bytes>> {
    if rejected.is_empty() {
        return answer(StatusCode::OK, encoding, || serde_json::json!({}), Vec::new);
    }
    // A record may have been counted in part.
    let count = rejected.chunk_by(|(a, _), (b, _)| a == b).count();
    let named: Vec<String> = rejected.iter().take(NAMED_MAX).map(|(index, reason)| format!("{index}: {reason}")).collect();
    let more = if rejected.len() > named.len() { "; and more" } else { "" };
    let message = format!("{}{more}", named.join("; "));
    let name = match signal {
        Signal::Logs => "rejectedLogRecords",
        Signal::Traces => "rejectedSpans",
        Signal::Metrics => "rejectedDataPoints",
    };
    let in_json = || serde_json::json!({ "partialSuccess": { name: count.to_string(), "errorMessage": message } });
    let in_protobuf = || {
        let mut partial = Vec::new();
        number(&mut partial, 1, count as u64);
        bytes(&mut partial, 2, message.as_bytes());
        let mut whole = Vec::new();
        bytes(&mut whole, 1, &partial);
        whole
    };
    answer(StatusCode::OK, encoding, in_json, in_protobuf)
}

/// A refusal as `google.rpc.Status`. `headers` are the request's.
pub fn refuse(refusal: &Refusal, headers: &HeaderMap) -> Response<Full<Bytes>> {
    let content_type = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or("");
    let encoding = Encoding::named(content_type).unwrap_or(Encoding::Json);
    let status = StatusCode::from_u16(refusal.status()).expect("a valid status");
    // The codes of gRPC.
    let code: u64 = match status.as_u16() {
        401 => 16,
        403 => 7,
        404 => 5,
        405 => 12,
        408 => 4,
        413 | 429 => 8,
        503 => 14,
        _ => 3,
    };
    let message = refusal.to_string();
    let in_protobuf = || {
        let mut whole = Vec::new();
        number(&mut whole, 1, code);
        bytes(&mut whole, 2, message.as_bytes());
        whole
    };
    let mut answer = answer(status, encoding, || serde_json::json!({ "code": code, "message": message }), in_protobuf);
    tell_what_next(refusal, answer.headers_mut());
    answer
}

fn answer(
    status: StatusCode,
    encoding: Encoding,
    in_json: impl Fn() -> serde_json::Value,
    in_protobuf: impl Fn() -> Vec<u8>,
) -> Response<Full<Bytes>> {
    match encoding {
        Encoding::Json => json(status, &in_json()),
        Encoding::Protobuf => {
            let mut answer = Response::new(Full::new(in_protobuf().into()));
            *answer.status_mut() = status;
            answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
            answer
        }
    }
}

fn varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn number(out: &mut Vec<u8>, field: u64, value: u64) {
    varint(out, field << 3);
    varint(out, value);
}

fn bytes(out: &mut Vec<u8>, field: u64, value: &[u8]) {
    varint(out, field << 3 | 2);
    varint(out, value.len() as u64);
    out.extend_from_slice(value);
}
