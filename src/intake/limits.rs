//! Token buckets: how many events each source address and each key may send.

use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};

use ahash::AHashMap;
use tokio::time::Instant;

/// How many sources are known at a time; seven eighths of a power of two, which fills a table.
const SOURCES_MAX: usize = 57_344;
/// A key may send this many times as much as one source.
const KEY_FACTOR: u32 = 100;
/// The longest time a sender is asked to wait, in seconds.
const WAIT_MAX: f64 = 60.0;

/// Who sends: one IPv4 address, or one IPv6 network of 64 bits (which is what one customer gets).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Source(IpAddr);

impl Source {
    pub fn of(address: IpAddr) -> Source {
        Source(match address.to_canonical() {
            IpAddr::V6(v6) if !v6.is_loopback() => {
                let [a, b, c, d, ..] = v6.segments();
                IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
            }
            address => address,
        })
    }

    /// Loopback is spared: it is the operator, or a test.
    pub fn is_spared(self) -> bool {
        self.0.is_loopback()
    }

    /// Good enough to tell the country.
    pub fn address(self) -> IpAddr {
        self.0
    }

    /// The network that it belongs to: whoever has one address of it can have the others too.
    pub fn network(self) -> IpAddr {
        match self.0 {
            IpAddr::V4(v4) => {
                let [a, b, c, _] = v4.octets();
                IpAddr::from([a, b, c, 0])
            }
            IpAddr::V6(v6) => {
                let [a, b, c, ..] = v6.segments();
                IpAddr::from([a, b, c, 0, 0, 0, 0, 0])
            }
        }
    }

    /// What a keyed hash of the source is made of.
    pub fn octets(self) -> [u8; 16] {
        match self.0 {
            IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
            IpAddr::V6(v6) => v6.octets(),
        }
    }
}

/// Buckets for all sources and keys.
#[derive(Debug)]
pub(super) struct Limits {
    sources: Buckets<Source>,
    keys: Buckets<String>,
}

impl Limits {
    /// With so many events a second per source; 0 = no limits.
    pub fn new(rate_per_source: u32) -> Limits {
        let per_key = rate_per_source.saturating_mul(KEY_FACTOR);
        Limits { sources: Buckets::new(rate_per_source), keys: Buckets::new(per_key) }
    }

    /// Whether there is room for a request; otherwise in how many seconds there is.
    pub fn check(&self, source: Source, key: Option<&str>, now: Instant) -> Result<(), u64> {
        if source.is_spared() {
            return Ok(());
        }
        self.sources.check(&source, now)?;
        key.map_or(Ok(()), |key| self.keys.check(key, now))
    }

    /// Takes the cost of a request that was let in, known only afterwards: a bucket may go below zero,
    /// and whoever sent so much waits that much longer.
    pub fn charge(&self, source: Source, key: Option<&str>, cost: usize, now: Instant) {
        if !source.is_spared() {
            self.sources.charge(&source, || source, cost, now);
            if let Some(key) = key {
                self.keys.charge(key, || key.to_owned(), cost, now);
            }
        }
    }
}

#[derive(Debug)]
struct Buckets<K> {
    rate: f64,
    known: Mutex<Known<K>>,
}

/// Tokens, and when they were counted.
type Bucket = (f64, Instant);

/// Whoever sent lately is in the young generation; when that is full it becomes the old one, and who is still in the old one is
/// forgotten. Nothing to keep in order, and nobody waits while many are forgotten.
#[derive(Debug)]
struct Known<K> {
    young: AHashMap<K, Bucket>,
    old: AHashMap<K, Bucket>,
}

impl<K: Hash + Eq> Known<K> {
    fn get<Q>(&self, key: &Q) -> Option<Bucket>
    where
        K: std::borrow::Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.young.get(key).or_else(|| self.old.get(key)).copied()
    }

    fn insert(&mut self, key: K, bucket: Bucket) {
        if self.young.len() >= SOURCES_MAX / 2 {
            std::mem::swap(&mut self.old, &mut self.young);
            self.young.clear();
        }
        self.young.insert(key, bucket);
    }
}

impl<K: Hash + Eq> Buckets<K> {
    fn new(rate: u32) -> Buckets<K> {
        Buckets { rate: f64::from(rate), known: Mutex::new(Known { young: AHashMap::new(), old: AHashMap::new() }) }
    }

    fn level(&self, (tokens, at): Bucket, now: Instant) -> f64 {
        (tokens + now.saturating_duration_since(at).as_secs_f64() * self.rate).min(self.rate)
    }

    fn check<Q>(&self, key: &Q, now: Instant) -> Result<(), u64>
    where
        K: std::borrow::Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        if self.rate == 0.0 {
            return Ok(());
        }
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let tokens = known.get(key).map_or(self.rate, |bucket| self.level(bucket, now));
        if tokens >= 1.0 {
            return Ok(());
        }
        // Whoever goes on while in debt is remembered for that.
        if let Some((key, bucket)) = known.old.remove_entry(key) {
            known.insert(key, bucket);
        }
        Err(((1.0 - tokens) / self.rate).clamp(1.0, WAIT_MAX).ceil() as u64)
    }

    fn charge<Q>(&self, key: &Q, owned: impl FnOnce() -> K, cost: usize, now: Instant)
    where
        K: std::borrow::Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        if self.rate == 0.0 {
            return;
        }
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        // A debt of more than the longest wait would never be called in.
        let after = |tokens: f64| ((tokens - cost as f64).max(-WAIT_MAX * self.rate), now);
        if let Some(bucket) = known.young.get_mut(key) {
            *bucket = after(self.level(*bucket, now));
            return;
        }
        let (key, tokens) = match known.old.remove_entry(key) {
            Some((key, bucket)) => (key, self.level(bucket, now)),
            None => (owned(), self.rate),
        };
        known.insert(key, after(tokens));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_source_gets_its_rate_and_a_debt_is_waited_for() {
        let limits = Limits::new(10);
        let (source, now) = (Source::of("203.0.113.7".parse().unwrap()), Instant::now());
        assert_eq!(limits.check(source, None, now), Ok(()));
        limits.charge(source, None, 35, now);
        assert_eq!(limits.check(source, None, now), Err(3));
        assert_eq!(limits.check(source, None, now + Duration::from_secs(3)), Ok(()));
        let other = Source::of("203.0.113.8".parse().unwrap());
        assert_eq!(limits.check(other, None, now), Ok(()));
    }

    #[test]
    fn a_key_has_a_limit_of_its_own() {
        let limits = Limits::new(1);
        let now = Instant::now();
        for n in 0..100_u8 {
            let source = Source::of(IpAddr::from([203, 0, 113, n]));
            assert_eq!(limits.check(source, Some("k"), now), Ok(()));
            limits.charge(source, Some("k"), 1, now);
        }
        let fresh = Source::of("198.51.100.1".parse().unwrap());
        assert_eq!(limits.check(fresh, Some("k"), now), Err(1));
        assert_eq!(limits.check(fresh, Some("other"), now), Ok(()));
    }

    #[test]
    fn loopback_is_spared_and_zero_means_no_limit() {
        for address in ["127.0.0.1", "::1", "::ffff:127.0.0.1"] {
            assert!(Source::of(address.parse().unwrap()).is_spared(), "{address}");
        }
        let limits = Limits::new(0);
        let source = Source::of("203.0.113.7".parse().unwrap());
        limits.charge(source, None, 1_000_000, Instant::now());
        assert_eq!(limits.check(source, None, Instant::now()), Ok(()));
    }

    #[test]
    fn neighbours_are_of_one_network() {
        let network = |address: &str| Source::of(address.parse().unwrap()).network().to_string();
        assert_eq!((network("203.0.113.7"), network("203.0.114.7")), ("203.0.113.0".into(), "203.0.114.0".into()));
        assert_eq!(network("2001:db8:1:2:3::4"), "2001:db8:1::");
    }

    #[test]
    fn addresses_of_one_ipv6_network_are_one_source_and_memory_is_bounded() {
        assert_eq!(Source::of("2001:db8::1".parse().unwrap()), Source::of("2001:db8::ffff:1".parse().unwrap()));
        let limits = Limits::new(5);
        let now = Instant::now();
        for n in 0..200_000_u32 {
            limits.charge(Source::of(IpAddr::from((0xCB00_0000 + n).to_be_bytes())), None, 1, now);
        }
        let known = limits.sources.known.lock().unwrap();
        assert!(known.young.capacity() + known.old.capacity() <= SOURCES_MAX, "tables do not grow, however many come and go");
        drop(known);
        // Who is in debt stays in it while others come and go.
        let debtor = Source::of("203.0.113.7".parse().unwrap());
        limits.charge(debtor, None, 100, now);
        for n in 0..20_u32 {
            for other in 0..2_000 {
                limits.charge(Source::of(IpAddr::from((0xC600_0000 + n * 2_000 + other).to_be_bytes())), None, 1, now);
            }
            assert!(limits.check(debtor, None, now).is_err());
        }
    }
}
