//! The demo's inbox: an in-process receiver of pages, tickets and mails, kept in memory, bounded.

pub mod mail;

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::domain::time::Timestamp;

/// Most deliveries that are kept; the oldest go first.
const KEPT_MAX: usize = 400;
/// Largest delivery; more is cut.
pub const BYTES_MAX: usize = 256 * 1024;

/// Where a delivery arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Channel {
    Pager,
    /// A webhook, by the name in its path.
    Hook(String),
    Mail,
}

/// One delivery, as it came.
#[derive(Clone, Debug, PartialEq)]
pub struct Delivery {
    pub n: u64,
    pub at: Timestamp,
    pub channel: Channel,
    /// Without credentials.
    pub headers: Vec<(String, String)>,
    pub body: String,
}

/// Everything that arrived. Cheap to share behind an `Arc`.
#[derive(Debug, Default)]
pub struct Inbox {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    last: u64,
    kept: VecDeque<Delivery>,
}

impl Inbox {
    /// An empty inbox.
    pub fn new() -> Inbox {
        Inbox::default()
    }

    /// A call of the pager's `POST /v2/enqueue`.
    pub fn push_page(&self, now: Timestamp, headers: Vec<(String, String)>, body: &[u8]) {
        self.push(now, Channel::Pager, headers, body);
    }

    /// A webhook call.
    pub fn push_hook(&self, now: Timestamp, name: &str, headers: Vec<(String, String)>, body: &[u8]) {
        self.push(now, Channel::Hook(name.chars().take(60).collect()), headers, body);
    }

    /// A mail as SMTP handed it over: header lines, a blank line, the body.
    pub fn push_mail(&self, now: Timestamp, raw: &[u8]) {
        self.push(now, Channel::Mail, Vec::new(), raw);
    }

    fn push(&self, at: Timestamp, channel: Channel, headers: Vec<(String, String)>, body: &[u8]) {
        let body = String::from_utf8_lossy(&body[..body.len().min(BYTES_MAX)]).into_owned();
        let headers = headers.into_iter().take(40).map(|(name, value)| redact(name, value)).collect();
        let mut state = self.state();
        state.last += 1;
        let n = state.last;
        state.kept.push_front(Delivery { n, at, channel, headers, body });
        state.kept.truncate(KEPT_MAX);
    }

    /// The newest deliveries of one kind, newest first.
    pub fn newest(&self, wanted: impl Fn(&Channel) -> bool, max: usize) -> Vec<Delivery> {
        self.state().kept.iter().filter(|delivery| wanted(&delivery.channel)).take(max).cloned().collect()
    }

    /// How many deliveries of one kind are kept.
    pub fn count(&self, wanted: impl Fn(&Channel) -> bool) -> usize {
        self.state().kept.iter().filter(|delivery| wanted(&delivery.channel)).count()
    }

    /// One delivery by its number.
    pub fn get(&self, n: u64) -> Option<Delivery> {
        self.state().kept.iter().find(|delivery| delivery.n == n).cloned()
    }

    /// Number of the last delivery.
    pub fn last(&self) -> u64 {
        self.state().last
    }

    // A panic while the lock was held leaves a list that is still whole.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn redact(name: String, value: String) -> (String, String) {
    let secret = ["authorization", "cookie", "api-key", "token"].iter().any(|word| name.to_ascii_lowercase().contains(word));
    let value = if secret { "[redacted]".to_owned() } else { value.chars().take(1_000).collect() };
    (name, value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_inbox_is_bounded_and_newest_first() {
        let inbox = Inbox::new();
        for i in 0..(KEPT_MAX as i64 + 10) {
            inbox.push_mail(Timestamp(i), b"Subject: x\r\n\r\nbody");
        }
        inbox.push_page(Timestamp(9_999), vec![("Authorization".into(), "Bearer s3cret".into())], &vec![b'x'; BYTES_MAX + 5]);
        assert_eq!(inbox.newest(|_| true, 1_000).len(), KEPT_MAX);
        assert_eq!((inbox.count(|_| true), inbox.count(|channel| *channel == Channel::Pager)), (KEPT_MAX, 1));
        let page = &inbox.newest(|channel| *channel == Channel::Pager, 5)[0];
        assert_eq!((page.at, page.body.len()), (Timestamp(9_999), BYTES_MAX));
        assert_eq!(page.headers[0].1, "[redacted]");
        assert_eq!(inbox.get(page.n).as_ref(), Some(page));
        assert!(inbox.get(1).is_none(), "the oldest went first");
    }
}
