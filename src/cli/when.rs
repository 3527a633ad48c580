//! Points in time on the command line: RFC 3339, or so long ago.

use std::str::FromStr;

use crate::domain::time::{Span, Timestamp};

/// A point in time, as it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// `2026-11-22T03:00:00Z`
    At(Timestamp),
    /// `-30d`: so long before now.
    Ago(Span),
}

impl When {
    /// The point itself.
    pub fn resolve(self, now: Timestamp) -> Timestamp {
        match self {
            When::At(at) => at,
            When::Ago(span) => now - span,
        }
    }
}

impl FromStr for When {
    type Err = String;

    fn from_str(text: &str) -> Result<When, String> {
        let read = match text.strip_prefix('-') {
            Some(span) => span.parse().ok().map(When::Ago),
            None => text.parse().ok().map(When::At),
        };
        read.ok_or_else(|| "write a time like 2026-11-22T03:00:00Z, or a time ago like -30d".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_absolute_or_so_long_ago() {
        let now: Timestamp = "2026-11-22T03:00:00Z".parse().unwrap();
        assert_eq!("-1h".parse::<When>().unwrap().resolve(now), now - Span::HOUR);
        assert_eq!("2026-11-22T04:00:00+01:00".parse::<When>().unwrap().resolve(Timestamp(0)), now);
        for bad in ["yesterday", "30d", "-", "--1h", "+1h"] {
            assert!(bad.parse::<When>().is_err(), "{bad}");
        }
    }
}
