//! Cross-origin answers as real browsers need them: the concrete origin, never a bare `*`, because
//! beacons carry credentials and a `*` loses them without a word (RUM-CLIENTS 2).

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderValue};

const METHODS: HeaderValue = HeaderValue::from_static("POST, OPTIONS");
const HEADERS: HeaderValue = HeaderValue::from_static(
    "content-type, content-encoding, idempotency-key, x-api-key, x-faro-session-id, authorization, traceparent, sentry-trace, baggage",
);
const EXPOSED: HeaderValue = HeaderValue::from_static("Retry-After, X-Sentry-Rate-Limits, X-Faro-Session-Status");
/// Exactly one preflight per path and browser profile was seen with ten minutes.
const MAX_AGE: HeaderValue = HeaderValue::from_static("600");

/// Which origins may send.
#[derive(Clone, Debug)]
pub(super) struct Origins(Vec<String>);

impl Origins {
    /// From `intake.allowed_origins`: `*`, an origin, or `https://*.example.com`.
    pub fn new(allowed: &[String]) -> Origins {
        Origins(allowed.iter().map(|origin| origin.to_ascii_lowercase()).collect())
    }

    /// The request's origin, if it may send: `Ok(None)` without an origin (no browser), `Err` if it may not.
    pub fn check(&self, headers: &HeaderMap) -> Result<Option<HeaderValue>, ()> {
        let Some(origin) = headers.get(ORIGIN) else { return Ok(None) };
        let text = origin.to_str().map_err(|_| ())?.to_ascii_lowercase();
        if self.0.iter().any(|allowed| accepts(allowed, &text)) { Ok(Some(origin.clone())) } else { Err(()) }
    }
}

fn accepts(allowed: &str, origin: &str) -> bool {
    if allowed == "*" {
        return true;
    }
    match allowed.split_once("*.") {
        Some((scheme, domain)) => {
            let sub = origin.strip_prefix(scheme).and_then(|rest| rest.strip_suffix(domain)).and_then(|sub| sub.strip_suffix('.'));
            sub.is_some_and(|sub| !sub.is_empty() && sub.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.".contains(&b)))
        }
        None => allowed == origin,
    }
}

/// Puts the headers of an answer to an allowed origin.
pub(super) fn allow(headers: &mut HeaderMap, origin: Option<HeaderValue>) {
    // Also without an origin: a cache must not give this answer to a page.
    headers.insert(VARY, HeaderValue::from_static("Origin"));
    if let Some(origin) = origin {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    }
}

/// Puts the further headers of the answer to a preflight.
pub(super) fn preflight(headers: &mut HeaderMap) {
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HEADERS);
    headers.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(allowed: &[&str], origin: &str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(ORIGIN, origin.parse().unwrap());
        let allowed: Vec<String> = allowed.iter().map(|origin| (*origin).to_owned()).collect();
        Origins::new(&allowed).check(&headers).is_ok()
    }

    #[test]
    fn origins_are_compared_whole() {
        assert!(check(&["*"], "https://any.example") && check(&["*"], "null"));
        assert!(check(&["https://shop.example.com"], "https://shop.example.com"));
        for other in ["http://shop.example.com", "https://shop.example.com.evil.test", "https://shop.example.com:8443", "null"] {
            assert!(!check(&["https://shop.example.com"], other), "{other}");
        }
        assert!(check(&["https://*.example.com"], "https://a.b.example.com"));
        for other in ["https://example.com", "https://evilexample.com", "https://.example.com", "https://evil.test/.example.com"] {
            assert!(!check(&["https://*.example.com"], other), "{other}");
        }
        assert!(!check(&[], "https://shop.example.com"));
    }
}
