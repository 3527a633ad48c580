//! Alerts that others send to `/api/v2/alerts`: what they are, how a repeat joins what is known, and
//! the board of all that are on.
//!
//! An alert is its whole set of labels; everything else about it may change. It ends when its sender
//! says so, or at the end of its lease when nothing is heard of it. Kept small: there may be a
//! hundred thousand of them. `desk` takes them into incidents.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::matcher::Matcher;
use super::rule::{Labels, Severity};
use super::time::{Span, Timestamp};

/// How an alert ends of which nothing is heard, unless `alerts_in` says otherwise.
pub const RESOLVE_TIMEOUT: Span = Span::minutes(5);
/// Alerts that ran out while nobody listened get at most this long to be heard of again.
const GRACE: Span = Span::minutes(2);
/// Most alerts at a time; further new ones are refused aloud.
pub const ALERTS_MAX: usize = 500_000;

/// Label names and values in one piece of memory, sorted: each name and each value followed by 0xFF,
/// which no text contains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packed(Box<[u8]>);

/// What tells alerts apart: a digest of all labels. (Fingerprints of 64 bits can be made to collide.)
pub type Key = [u8; 16];

impl Packed {
    /// Packs labels; those without a value are as good as absent.
    pub fn new(labels: &Labels) -> Packed {
        let mut bytes = Vec::with_capacity(labels.iter().map(|(name, value)| name.len() + value.len() + 2).sum());
        for (name, value) in labels.iter().filter(|(_, value)| !value.is_empty()) {
            for part in [name, value] {
                bytes.extend_from_slice(part.as_bytes());
                bytes.push(0xFF);
            }
        }
        Packed(bytes.into())
    }

    /// Names and values, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut parts = self.0.split(|byte| *byte == 0xFF).map(|part| std::str::from_utf8(part).unwrap_or_default());
        // The last piece is what stands behind the last 0xFF: nothing.
        std::iter::from_fn(move || parts.next().filter(|name| !name.is_empty()).zip(parts.next()))
    }

    /// The value of a label; empty if it is absent.
    pub fn get(&self, name: &str) -> &str {
        self.iter().find(|(have, _)| *have == name).map_or("", |(_, value)| value)
    }

    /// As a map.
    pub fn labels(&self) -> Labels {
        self.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    /// Whether there is no label at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether all matchers hold.
    pub fn matches(&self, matchers: &[Matcher]) -> bool {
        matchers.iter().all(|matcher| matcher.accepts(self.get(&matcher.label)))
    }

    /// Prometheus' name of a set of labels: FNV-1a, 64 bits.
    pub fn fingerprint(&self) -> u64 {
        self.0.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
    }

    /// What tells it apart here.
    pub fn key(&self) -> Key {
        Sha256::digest(&self.0)[..16].try_into().expect("a digest has 32 bytes")
    }
}

/// The fingerprint of labels, as Prometheus and Alertmanager print it.
pub fn fingerprint(labels: &Labels) -> String {
    format!("{:016x}", Packed::new(labels).fingerprint())
}

/// One alert as it was last heard of.
#[derive(Clone, Debug, PartialEq)]
pub struct Posted {
    pub labels: Packed,
    /// A JSON object of texts.
    pub annotations: Box<str>,
    pub generator: Box<str>,
    pub starts: Timestamp,
    pub ends: Timestamp,
    /// The end is only the lease that we gave it.
    pub timed: bool,
    pub updated: Timestamp,
}

impl Posted {
    /// Whether it is over at `now`.
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.ends <= now
    }

    /// How loud it is, by its label `severity`.
    pub fn severity(&self) -> Severity {
        severity(self.labels.get("severity"))
    }

    /// One annotation.
    pub fn annotation(&self, names: &[&str]) -> Option<String> {
        let all: BTreeMap<String, String> = serde_json::from_str(&self.annotations).unwrap_or_default();
        names.iter().find_map(|name| all.get(*name).filter(|text| !text.is_empty()).cloned())
    }

    /// A sentence about it.
    pub fn summary(&self) -> String {
        let name = self.labels.get("alertname");
        let said = self.annotation(&["summary", "title", "message", "description"]);
        said.unwrap_or_else(|| if name.is_empty() { "an alert without a name fires".to_owned() } else { format!("{name} fires") })
    }

    /// Its name: `alertname`, which nothing forces an alert to have.
    pub fn name(&self) -> String {
        let name = self.labels.get("alertname");
        if name.is_empty() { "alert".to_owned() } else { name.to_owned() }
    }
}

/// The severities of others in ours. A word that nobody knows is a ticket: seen, and nobody is woken.
pub fn severity(text: &str) -> Severity {
    match text.to_ascii_lowercase().as_str() {
        "page" | "critical" | "emergency" | "fatal" | "disaster" => Severity::Page,
        "info" | "informational" | "information" | "notice" | "debug" | "none" | "ok" => Severity::Info,
        _ => Severity::Ticket,
    }
}

/// What is known after an alert was heard of (again). `None`: nothing changes.
pub fn take(old: Option<&Posted>, new: Posted, now: Timestamp) -> Option<Posted> {
    let Some(old) = old else {
        // The end of what we never heard of, or of what we told already.
        return (!new.is_over(now)).then_some(new);
    };
    if new.is_over(now) && !old.is_over(now) && old.starts <= now && new.ends <= old.starts && new.starts < old.starts {
        // A late word about an earlier occurrence must not end the one that is on.
        return None;
    }
    let overlap = new.starts <= old.ends && new.ends >= old.starts;
    if !overlap {
        return Some(new);
    }
    let mut merged = new;
    merged.starts = merged.starts.min(old.starts);
    if merged.is_over(now) {
        if old.is_over(now) {
            merged.ends = merged.ends.max(old.ends);
        }
    } else if old.ends > merged.ends && !old.timed {
        // A real end beats a lease, and the later of two real ends counts.
        merged.ends = old.ends;
        merged.timed = false;
    }
    Some(merged)
}

/// Where an alert stands with its incident.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nobody has looked at it yet.
    Fresh,
    /// Its incident is full of alerts that are told to the same people; `class` says which.
    Waiting { incident: Arc<str>, class: u64 },
    /// It is part of this incident, or was when a person closed it.
    Joined { incident: Arc<str> },
}

/// An alert of the board.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub alert: Posted,
    pub standing: Standing,
}

/// All alerts that are on, by what tells them apart.
#[derive(Clone, Debug, Default)]
pub struct Board {
    entries: HashMap<Key, Entry, ahash::RandomState>,
    ends: BTreeSet<(Timestamp, Key)>,
    fresh: BTreeSet<Key>,
    /// Part of an incident, and something to be shown has changed.
    changed: BTreeSet<Key>,
    waiting: BTreeMap<Arc<str>, BTreeMap<Key, u64>>,
}

/// What a look at the board found to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Work {
    pub fresh: Vec<Key>,
    pub changed: Vec<Key>,
    pub over: Vec<Key>,
}

impl Board {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// One of them.
    pub fn get(&self, key: &Key) -> Option<&Entry> {
        self.entries.get(key)
    }

    /// All of them, in no order.
    pub fn entries(&self) -> impl Iterator<Item = (&Key, &Entry)> {
        self.entries.iter()
    }

    /// Fills an empty board from what is stored. What ran out while nobody listened may be on still.
    pub fn recall(&mut self, alert: Posted, incident: &str, now: Timestamp, timeout: Span) {
        let mut alert = alert;
        let lease = alert.ends > alert.updated;
        if lease && alert.is_over(now) {
            alert.ends = now + Span(timeout.0.min(GRACE.0));
        }
        let standing = if incident.is_empty() { Standing::Fresh } else { Standing::Joined { incident: incident.into() } };
        let key = alert.labels.key();
        self.drop_key(&key);
        self.ends.insert((alert.ends, key));
        if standing == Standing::Fresh {
            self.fresh.insert(key);
        }
        self.entries.insert(key, Entry { alert, standing });
    }

    /// Puts what [`take()`] gave in its place.
    pub fn put(&mut self, key: Key, alert: Posted) {
        self.ends.insert((alert.ends, key));
        match self.entries.get_mut(&key) {
            Some(entry) => {
                if entry.alert.ends != alert.ends {
                    self.ends.remove(&(entry.alert.ends, key));
                }
                let news = entry.alert.annotations != alert.annotations || entry.alert.starts != alert.starts;
                if news && matches!(entry.standing, Standing::Joined { .. }) {
                    self.changed.insert(key);
                }
                entry.alert = alert;
            }
            None => {
                self.fresh.insert(key);
                self.entries.insert(key, Entry { alert, standing: Standing::Fresh });
            }
        }
    }

    /// What there is to do at `now`, at most so much of each.
    pub fn work(&self, now: Timestamp, max: usize) -> Work {
        Work {
            fresh: self.fresh.iter().take(max).copied().collect(),
            changed: self.changed.iter().take(max).copied().collect(),
            over: self.ends.iter().take_while(|(ends, _)| *ends <= now).take(max).map(|(_, key)| *key).collect(),
        }
    }

    /// Those that wait for a place in an incident, with their classes.
    pub fn waiting(&self) -> &BTreeMap<Arc<str>, BTreeMap<Key, u64>> {
        &self.waiting
    }

    /// Notes where an alert stands now.
    pub fn stand(&mut self, key: Key, standing: Standing) {
        let Some(entry) = self.entries.get_mut(&key) else { return };
        let before = std::mem::replace(&mut entry.standing, standing.clone());
        self.fresh.remove(&key);
        self.forget_wait(&key, &before);
        if let Standing::Waiting { incident, class } = standing {
            self.waiting.entry(incident).or_default().insert(key, class);
        }
    }

    /// It does not stand there after all: as if nobody had looked at it yet.
    pub fn stand_back(&mut self, key: &Key) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        let before = std::mem::replace(&mut entry.standing, Standing::Fresh);
        self.changed.remove(key);
        self.forget_wait(key, &before);
        self.fresh.insert(*key);
    }

    /// The change of a joined alert was told to its incident.
    pub fn told(&mut self, key: &Key) {
        self.changed.remove(key);
    }

    /// Takes an alert off the board that is over.
    pub fn remove(&mut self, key: &Key, now: Timestamp) {
        if self.entries.get(key).is_some_and(|entry| entry.alert.is_over(now)) {
            self.drop_key(key);
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        *self = Board::default();
    }

    fn drop_key(&mut self, key: &Key) {
        let Some(entry) = self.entries.remove(key) else { return };
        self.ends.remove(&(entry.alert.ends, *key));
        self.fresh.remove(key);
        self.changed.remove(key);
        self.forget_wait(key, &entry.standing);
    }

    fn forget_wait(&mut self, key: &Key, standing: &Standing) {
        let Standing::Waiting { incident, .. } = standing else { return };
        let Some(keys) = self.waiting.get_mut(incident) else { return };
        keys.remove(key);
        if keys.is_empty() {
            self.waiting.remove(incident);
        }
    }
}

/// The name of an alert inside its incident. Names of rules and groups end in `}`.
pub fn member_name(key: &Key) -> String {
    format!("{PREFIX}{}", hex::encode(key))
}

/// Whether a member of an incident came from outside, by its name.
pub fn is_member_name(alert: &str) -> bool {
    alert.strip_prefix(PREFIX).is_some_and(|rest| rest.len() == 32 && rest.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

const PREFIX: &str = "posted/";

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect()
    }

    fn posted(starts: i64, ends: i64, timed: bool) -> Posted {
        Posted {
            labels: Packed::new(&labels(&[("alertname", "a")])),
            annotations: "{}".into(),
            generator: "".into(),
            starts: Timestamp(starts),
            ends: Timestamp(ends),
            timed,
            updated: Timestamp(starts),
        }
    }

    fn times(alert: Option<Posted>) -> Option<(i64, i64, bool)> {
        alert.map(|alert| (alert.starts.0, alert.ends.0, alert.timed))
    }

    #[test]
    fn fingerprints_are_those_of_prometheus() {
        assert_eq!(fingerprint(&labels(&[("alertname", "foo"), ("node", "bar"), ("severity", "warning")])), "6a6b5ac10f0eae0e");
        // Labels without a value do not count, and no label at all is the basis of the hash.
        assert_eq!(fingerprint(&labels(&[("x", "")])), "cbf29ce484222325");
    }

    #[test]
    fn labels_read_back_and_cannot_be_forged() {
        let own = labels(&[("a", "1"), ("b", "x\"=ü\n")]);
        let packed = Packed::new(&own);
        assert_eq!(packed.labels(), own);
        assert_eq!((packed.get("b"), packed.get("c")), ("x\"=ü\n", ""));
        assert_ne!(Packed::new(&labels(&[("a", "bc")])).key(), Packed::new(&labels(&[("ab", "c")])).key());
        assert!(packed.matches(&[Matcher::parse("a=1").unwrap(), Matcher::parse("c=\"\"").unwrap()]));
        assert!(!packed.matches(&[Matcher::parse("a!=1").unwrap()]));
    }

    #[test]
    fn a_repeat_extends_and_a_real_end_beats_a_lease() {
        let now = Timestamp(1_000);
        assert_eq!(times(take(None, posted(900, 2_000, true), now)), Some((900, 2_000, true)));
        assert_eq!(times(take(Some(&posted(900, 2_000, true)), posted(1_000, 2_100, true), now)), Some((900, 2_100, true)));
        // An explicit end in the future is not cut short by a lease, but a lease is by an explicit end.
        assert_eq!(times(take(Some(&posted(900, 5_000, false)), posted(1_000, 2_100, true), now)), Some((900, 5_000, false)));
        assert_eq!(times(take(Some(&posted(900, 5_000, true)), posted(1_000, 2_100, false), now)), Some((900, 2_100, false)));
    }

    #[test]
    fn fact_1_an_alert_is_its_labels_without_the_empty_ones() {
        let key = |pairs: &[(&str, &str)]| Packed::new(&labels(pairs)).key();
        assert_eq!(key(&[("alertname", "a"), ("empty", "")]), key(&[("alertname", "a")]));
        assert_ne!(key(&[("alertname", "a"), ("node", "x")]), key(&[("alertname", "a")]));
        let one = Posted { annotations: r#"{"summary":"x"}"#.into(), generator: "http://x".into(), ..posted(1, 2, true) };
        assert_eq!(one.labels.key(), posted(500, 900, false).labels.key(), "whatever else it says");
    }

    #[test]
    fn fact_2_what_overlaps_is_one_alert_from_the_earliest_start_to_the_latest_end() {
        let now = Timestamp(1_000);
        let say = |annotations: &str, alert: Posted| Posted { annotations: annotations.into(), ..alert };
        let both = take(Some(&say("{}", posted(900, 2_000, false))), say(r#"{"summary":"new"}"#, posted(950, 3_000, false)), now);
        assert_eq!(both.as_ref().map(|alert| &*alert.annotations), Some(r#"{"summary":"new"}"#), "the newest words");
        assert_eq!(times(both), Some((900, 3_000, false)));
        assert_eq!(times(take(Some(&posted(900, 2_000, false)), posted(700, 3_000, false), now)), Some((700, 3_000, false)));
    }

    #[test]
    fn an_end_ends_and_a_late_one_of_an_earlier_occurrence_does_not() {
        let now = Timestamp(1_000);
        assert_eq!(times(take(Some(&posted(900, 2_000, false)), posted(900, 990, false), now)), Some((900, 990, false)));
        assert_eq!(take(Some(&posted(900, 2_000, false)), posted(500, 600, false), now), None);
        assert_eq!(take(None, posted(500, 600, false), now), None);
        // What has not begun yet can be taken back.
        assert_eq!(times(take(Some(&posted(5_000, 9_000, false)), posted(990, 990, false), now)), Some((990, 990, false)));
        // Fired again after its end: an occurrence with a start of its own.
        assert_eq!(times(take(Some(&posted(500, 600, false)), posted(900, 2_000, false), now)), Some((900, 2_000, false)));
    }

    #[test]
    fn the_board_knows_what_is_due_and_forgets_what_is_over() {
        let mut board = Board::default();
        let alert = posted(0, 100, true);
        let key = alert.labels.key();
        board.put(key, alert);
        assert_eq!(board.work(Timestamp(50), 10), Work { fresh: vec![key], ..Work::default() });
        board.stand(key, Standing::Waiting { incident: "i".into(), class: 7 });
        assert_eq!(board.waiting().get("i").map(BTreeMap::len), Some(1));
        board.stand(key, Standing::Joined { incident: "i".into() });
        assert!(board.waiting().is_empty() && board.work(Timestamp(50), 10) == Work::default());
        // The same again with a later end: nothing to do, and the old end is forgotten.
        board.put(key, posted(0, 200, true));
        assert_eq!(board.work(Timestamp(150), 10), Work::default());
        board.put(key, Posted { annotations: r#"{"summary":"x"}"#.into(), ..posted(0, 200, true) });
        assert_eq!(board.work(Timestamp(200), 10), Work { changed: vec![key], over: vec![key], ..Work::default() });
        board.remove(&key, Timestamp(199));
        assert_eq!(board.len(), 1);
        board.remove(&key, Timestamp(200));
        assert!(board.is_empty() && board.work(Timestamp(900), 10) == Work::default());
    }

    #[test]
    fn what_ran_out_while_nobody_listened_may_be_on_still() {
        let mut board = Board::default();
        let now = Timestamp(1_000_000);
        board.recall(posted(0, 1_000, true), "i", now, RESOLVE_TIMEOUT);
        assert_eq!(board.work(now, 10), Work::default());
        assert_eq!(board.work(now + GRACE, 10).over.len(), 1);
        // What had ended before it was stored stays ended.
        let ended = Posted { updated: Timestamp(2_000), ..posted(0, 1_000, false) };
        board.recall(ended, "i", now, RESOLVE_TIMEOUT);
        assert_eq!(board.work(now, 10).over.len(), 1);
    }

    #[test]
    fn severities_of_others_have_ours() {
        for (text, ours) in [
            ("critical", Severity::Page),
            ("page", Severity::Page),
            ("warning", Severity::Ticket),
            ("", Severity::Ticket),
            ("none", Severity::Info),
        ] {
            assert_eq!(severity(text), ours, "{text}");
        }
    }

    #[test]
    fn members_from_outside_are_known_by_name() {
        assert!(is_member_name(&member_name(&[7; 16])));
        assert!(!is_member_name("posted/x{}") && !is_member_name("checkout{region=\"de\"}"));
    }
}
