//! What a failed delivery means: try again, or give up. Decided here and nowhere else.

use chrono::DateTime;
use http::HeaderMap;
use serde_json::Value;

use crate::domain::time::{Span, Timestamp};

use super::escape;

/// How much of an answer's body is kept, in bytes.
const EXCERPT_BYTES_MAX: usize = 1024;

/// What happens next with a delivery that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It is sent again.
    Retry {
        /// The receiver asked to be left alone for this long: all its deliveries wait.
        after: Option<Span>,
    },
    /// It never will be accepted.
    GiveUp {
        /// The receiver is gone (410): nothing more is sent to it until its definition changes.
        disable: bool,
    },
}

/// A delivery that failed, and what happens next.
#[derive(Debug, thiserror::Error)]
#[error("{why}")]
pub struct SendError {
    pub next: Next,
    /// What failed, without secrets; of an answer at most 1 KiB.
    pub why: String,
    /// The HTTP or SMTP status, if there was an answer.
    pub status: Option<u16>,
    /// What was done before it failed: given back as `earlier` with the next attempt.
    pub progress: Option<Value>,
}

/// What went wrong, as far as the decision needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// An HTTP status that is not a success.
    Status(u16),
    /// A refusal in the receiver's own words that a later attempt may not meet.
    Later,
    /// A refusal in the receiver's own words that every attempt will meet.
    Final,
    /// The address is neither public nor allowed.
    NotAllowed,
    /// Something that only the operator or the rules' author can correct: a missing secret, a URL that is none.
    Settings,
    /// No connection, no TLS, a connection that broke.
    Network,
    /// No answer in time. The receiver may have taken it: the next attempt carries the same keys.
    Deadline,
    /// An answer that cannot be understood.
    Unreadable,
}

impl Trouble {
    /// The decision. `after` is how long the receiver asked to be left alone.
    pub fn next(self, after: Option<Span>) -> Next {
        match self {
            Trouble::Status(410) => Next::GiveUp { disable: true },
            // Too early or too often; the receiver's own trouble; and redirects, which are never followed.
            Trouble::Status(408 | 425 | 429 | 500..=599 | 300..=399) => Next::Retry { after },
            // We are at fault, and will be next time.
            Trouble::Status(400..=499) => Next::GiveUp { disable: false },
            // No status that means anything here: nobody says that it was taken.
            Trouble::Status(_) => Next::Retry { after },
            Trouble::Later | Trouble::Network | Trouble::Deadline | Trouble::Unreadable => Next::Retry { after },
            // Waiting helps nobody; the fallback receiver is told at once, and a replay is there when it is corrected.
            Trouble::NotAllowed | Trouble::Settings | Trouble::Final => Next::GiveUp { disable: false },
        }
    }
}

impl SendError {
    /// A failure without an answer.
    pub fn new(trouble: Trouble, why: impl Into<String>) -> SendError {
        SendError { next: trouble.next(None), why: why.into(), status: None, progress: None }
    }

    /// A failure that an answer told.
    pub fn answered(trouble: Trouble, status: u16, after: Option<Span>, why: impl Into<String>) -> SendError {
        SendError { next: trouble.next(after), why: why.into(), status: Some(status), progress: None }
    }

    /// An HTTP answer that is no success.
    pub fn status(status: u16, headers: &HeaderMap, body: &[u8], now: Timestamp) -> SendError {
        let body = excerpt(body);
        let said = if body.is_empty() { String::new() } else { format!(": {body}") };
        let why = match status {
            300..=399 => format!("answered {status}, and redirects are not followed; put the final address into the receiver's URL"),
            410 => format!("answered 410 Gone, so it is disabled until its definition changes{said}"),
            _ => format!("answered {status}{said}"),
        };
        SendError::answered(Trouble::Status(status), status, retry_after(headers, now), why)
    }
}

/// How long an answer asks to be left alone: seconds, or until a date.
pub fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Span> {
    let text = headers.get(http::header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<u32>() {
        return Some(Span::seconds(i64::from(seconds)));
    }
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        return Some(Span::seconds(i64::from(u32::MAX)));
    }
    let date = DateTime::parse_from_rfc2822(text).ok()?;
    let wait = Timestamp(date.timestamp_millis()) - now;
    Some(wait.max(Span::ZERO))
}

/// A header with a unix time, such as `x-ratelimit-reset`, as the time from now.
pub fn until_reset(headers: &HeaderMap, name: &str, now: Timestamp) -> Option<Span> {
    let seconds: i64 = headers.get(name)?.to_str().ok()?.trim().parse().ok()?;
    Some((Timestamp(seconds.checked_mul(1000)?) - now).max(Span::ZERO))
}

/// What is kept of an answer's body: one line of at most 1 KiB without control characters.
pub fn excerpt(body: &[u8]) -> String {
    // Three bytes a replacement character at most, so what is read here already bounds the work.
    let text = String::from_utf8_lossy(&body[..body.len().min(EXCERPT_BYTES_MAX)]);
    let mut line = escape::clean(&text, EXCERPT_BYTES_MAX);
    if line.len() > EXCERPT_BYTES_MAX {
        let mut end = EXCERPT_BYTES_MAX - escape::MARK.len();
        while !line.is_char_boundary(end) {
            end -= 1;
        }
        line.truncate(end);
        line.push_str(escape::MARK);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_800_000_000_000);

    fn after(value: &str) -> Option<Span> {
        let mut headers = HeaderMap::new();
        headers.insert("retry-after", value.parse().unwrap());
        retry_after(&headers, NOW)
    }

    #[test]
    fn statuses_say_whether_to_try_again() {
        for status in [408, 425, 429, 500, 501, 502, 503, 504, 529, 301, 302, 307, 101, 600] {
            assert_eq!(Trouble::Status(status).next(None), Next::Retry { after: None }, "{status}");
        }
        for status in [400, 401, 403, 404, 405, 413, 415, 422, 451] {
            assert_eq!(Trouble::Status(status).next(None), Next::GiveUp { disable: false }, "{status}");
        }
        assert_eq!(Trouble::Status(410).next(None), Next::GiveUp { disable: true });
    }

    #[test]
    fn what_is_not_known_to_be_final_is_tried_again() {
        for trouble in [Trouble::Network, Trouble::Deadline, Trouble::Unreadable, Trouble::Later] {
            assert_eq!(trouble.next(None), Next::Retry { after: None });
        }
        for trouble in [Trouble::NotAllowed, Trouble::Settings, Trouble::Final] {
            assert_eq!(trouble.next(None), Next::GiveUp { disable: false });
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        assert_eq!(after("120"), Some(Span::seconds(120)));
        assert_eq!(after("0"), Some(Span::ZERO));
        // NOW is Fri, 15 Jan 2027 08:00:00 GMT.
        assert_eq!(after("Fri, 15 Jan 2027 08:01:30 GMT"), Some(Span::seconds(90)));
        assert_eq!(after("Fri, 15 Jan 2027 07:00:00 GMT"), Some(Span::ZERO));
        assert_eq!(after("99999999999999999999"), Some(Span::seconds(i64::from(u32::MAX))));
        for bad in ["", "soon", "-5", "1.5"] {
            assert_eq!(after(bad), None, "{bad}");
        }
    }

    #[test]
    fn of_a_body_one_clean_line_of_at_most_a_kibibyte_is_kept() {
        assert_eq!(excerpt(b"no such\r\n\x1b[31mkey\0"), "no such [31mkey");
        assert!(excerpt(&[b'x'; 10_000]).len() <= EXCERPT_BYTES_MAX);
        assert!(excerpt(&[0xff; 10_000]).len() <= EXCERPT_BYTES_MAX);
        assert!(excerpt("é".repeat(5_000).as_bytes()).len() <= EXCERPT_BYTES_MAX);
    }
}
