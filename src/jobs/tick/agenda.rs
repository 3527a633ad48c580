//! Which open incidents are worth a look, and when: those that something happened to at once, the others when their time comes.

use std::collections::{BTreeSet, HashMap};

use crate::domain::time::Timestamp;

/// Incidents by key. One that it does not hold waits for nothing that time brings.
#[derive(Debug, Default)]
pub struct Agenda {
    at: HashMap<String, Timestamp>,
    due: BTreeSet<(Timestamp, String)>,
    touched: BTreeSet<String>,
}

impl Agenda {
    /// Something happened to this incident: the next look is at it.
    pub fn touch(&mut self, key: &str) {
        self.touched.insert(key.to_owned());
    }

    /// Whether a look at `now` would be at anything.
    pub fn is_ready(&self, now: Timestamp) -> bool {
        !self.touched.is_empty() || self.due.first().is_some_and(|(at, _)| *at <= now)
    }

    /// What a look at `now` is at.
    pub fn ready(&self, now: Timestamp) -> BTreeSet<String> {
        let due = self.due.iter().take_while(|(at, _)| *at <= now).map(|(_, key)| key.clone());
        due.chain(self.touched.iter().cloned()).collect()
    }

    /// A look found nothing to do for it before this time; `None`: before something happens to it.
    pub fn wait(&mut self, key: String, until: Option<Timestamp>) {
        self.forget(&key);
        if let Some(until) = until {
            self.due.insert((until, key.clone()));
            self.at.insert(key, until);
        }
    }

    /// Nothing is known of it.
    pub fn forget(&mut self, key: &str) {
        self.touched.remove(key);
        if let Some((key, at)) = self.at.remove_entry(key) {
            self.due.remove(&(at, key));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ready(agenda: &Agenda, now: i64) -> Vec<String> {
        let ready: Vec<String> = agenda.ready(Timestamp(now)).into_iter().collect();
        assert_eq!(agenda.is_ready(Timestamp(now)), !ready.is_empty());
        ready
    }

    #[test]
    fn what_was_touched_is_ready_at_once_and_the_rest_in_its_time() {
        let mut agenda = Agenda::default();
        agenda.wait("a".into(), Some(Timestamp(10)));
        agenda.wait("b".into(), Some(Timestamp(20)));
        agenda.wait("c".into(), None);
        assert!(ready(&agenda, 9).is_empty());
        assert_eq!(ready(&agenda, 10), ["a"]);
        agenda.touch("c");
        assert_eq!(ready(&agenda, 9), ["c"]);
        assert_eq!(ready(&agenda, 20), ["a", "b", "c"]);
        // A new time replaces the old one, and ends what happened before.
        agenda.wait("a".into(), Some(Timestamp(30)));
        agenda.wait("c".into(), Some(Timestamp(40)));
        assert_eq!(ready(&agenda, 29), ["b"]);
        agenda.forget("b");
        assert!(ready(&agenda, 29).is_empty());
        assert_eq!(ready(&agenda, 40), ["a", "c"]);
    }
}
