//! The keys under which users are counted, which rotate so that nobody can be followed for ever (P).
//!
//! An id is hashed twice: where it comes in, under the key of the installation, and where it is counted, under the key
//! of the event's time. The second one is random, shared by all replicas, and destroyed once its time is over and
//! nothing late can come any more: from then on not even the operator can tell whether somebody is in a sketch.
//!
//! `privacy.hash_rotation` is the longest window over which somebody is the same person. Keys change at its edges, at
//! multiples of it since 1970. A count over a window with an edge inside is the larger one of its sides (`users`),
//! so nobody counts twice.

use super::keyed::{KeyedHash, Purpose};
use super::time::{Span, Timestamp};

/// How long before its time a key is made, so that every replica has it by then.
const AHEAD: Span = Span::DAY;
/// When a key is overdue (nothing ran at the edge, or the rotation was shortened), it holds from the next full hour on
/// that is at least so far away: other replicas may be counting under the old one.
const NOTICE: Span = Span::minutes(10);

/// One key.
#[derive(Clone, Debug)]
pub struct UserKey {
    /// From 0; names the key in stored sets.
    pub number: u32,
    pub since: Timestamp,
    /// `None`: the hash under the key of the installation stands as it is, as before keys rotated.
    pub hash: Option<KeyedHash>,
}

/// All keys under which something can still be counted, by time. Without any, hashes stand as they are.
#[derive(Clone, Debug, Default)]
pub struct UserKeys(Vec<UserKey>);

impl UserKeys {
    /// In any order.
    pub fn new(mut keys: Vec<UserKey>) -> UserKeys {
        keys.sort_by_key(|key| (key.since, key.number));
        UserKeys(keys)
    }

    /// The key that holds at this time, and the user's hash under it. `user` is the hash of the id.
    pub fn of(&self, at: Timestamp, user: u64) -> (u32, u64) {
        let after = self.0.partition_point(|key| key.since <= at);
        // What is older than all keys that are left counts under the oldest.
        match self.0.get(after.saturating_sub(1)) {
            None => (0, user),
            Some(UserKey { number, hash: None, .. }) => (*number, user),
            Some(UserKey { number, hash: Some(hash), .. }) => (*number, hash.of(Purpose::User, &[&user.to_le_bytes()])),
        }
    }
}

/// Number and beginning of the key that has to be made now, if one has to. `known` are those that there are.
pub fn due(known: &[(u32, Timestamp)], now: Timestamp, rotation: Span) -> Option<(u32, Timestamp)> {
    let Some((number, since)) = known.iter().copied().max_by_key(|(number, since)| (*since, *number)) else {
        return Some((0, now.floor(rotation)));
    };
    let edge = since.floor(rotation) + rotation;
    if edge > now + AHEAD {
        return None;
    }
    let since = if edge > now { edge } else { (now + NOTICE).ceil(Span::HOUR) };
    Some((number + 1, since))
}

/// Numbers of the keys under which nothing can be counted any more, because they ended before `before`.
pub fn spent(known: &[(u32, Timestamp)], before: Timestamp) -> Vec<u32> {
    let mut known = known.to_vec();
    known.sort_by_key(|(number, since)| (*since, *number));
    known.windows(2).filter(|pair| pair[1].1 <= before).map(|pair| pair[0].0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MONTH: Span = Span::days(30);
    /// A multiple of thirty days.
    const EDGE: Timestamp = Timestamp(690 * MONTH.0);

    fn key(number: u32, since: Timestamp) -> UserKey {
        UserKey { number, since, hash: Some(KeyedHash::new([number as u8; 16])) }
    }

    #[test]
    fn a_key_holds_from_its_edge_on_and_late_events_count_under_the_key_of_their_time() {
        let keys = UserKeys::new(vec![key(2, EDGE), key(1, EDGE - MONTH)]);
        let before = keys.of(EDGE - Span(1), 7);
        let after = keys.of(EDGE, 7);
        assert_eq!((before.0, after.0), (1, 2));
        assert_ne!(before.1, after.1);
        assert_eq!(keys.of(EDGE - Span::DAY, 7), before);
        assert_eq!(keys.of(EDGE + MONTH - Span(1), 7), after);
        assert_eq!(keys.of(EDGE - MONTH - Span(1), 7), before, "older than every key");
        assert_ne!(keys.of(EDGE, 8), after);
    }

    #[test]
    fn without_keys_and_before_they_rotated_hashes_stand_as_they_are() {
        assert_eq!(UserKeys::default().of(EDGE, 7), (0, 7));
        assert_eq!(UserKeys::new(vec![UserKey { number: 0, since: EDGE, hash: None }]).of(EDGE, 7), (0, 7));
    }

    #[test]
    fn a_key_is_made_a_day_ahead_once() {
        assert_eq!(due(&[], EDGE + Span(5), MONTH), Some((0, EDGE)));
        let mut known = vec![(0, EDGE)];
        let next = EDGE + MONTH;
        assert_eq!(due(&known, EDGE + Span(5), MONTH), None);
        assert_eq!(due(&known, next - Span::DAY - Span(1), MONTH), None);
        assert_eq!(due(&known, next - Span::DAY, MONTH), Some((1, next)));
        known.push((1, next));
        assert_eq!(due(&known, next - Span::DAY, MONTH), None);
        assert_eq!(due(&known, next, MONTH), None);
        assert_eq!(due(&known, next + MONTH - Span(1), MONTH), Some((2, next + MONTH)));
    }

    #[test]
    fn an_overdue_key_never_holds_for_a_time_that_was_counted_already() {
        let now = EDGE + MONTH + Span::minutes(55);
        assert_eq!(due(&[(0, EDGE)], now, MONTH), Some((1, EDGE + MONTH + Span::hours(2))));
        assert_eq!(due(&[(0, EDGE)], EDGE + MONTH, MONTH), Some((1, EDGE + MONTH + Span::HOUR)));
        // The rotation was shortened.
        assert_eq!(due(&[(0, EDGE)], EDGE + Span::days(9), Span::days(7)), Some((1, EDGE + Span::days(9) + Span::HOUR)));
    }

    #[test]
    fn a_key_goes_when_nothing_late_can_come_and_the_last_one_stays() {
        let known = [(1, EDGE + MONTH), (0, EDGE), (2, EDGE + MONTH + MONTH)];
        assert_eq!(spent(&known, EDGE + MONTH - Span(1)), [] as [u32; 0]);
        assert_eq!(spent(&known, EDGE + MONTH), [0]);
        assert_eq!(spent(&known, EDGE + MONTH + MONTH + MONTH), [0, 1]);
    }
}
