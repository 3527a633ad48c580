//! What has to be remembered between two posts of one page or session: which page a navigation was
//! for, whether a page has moved on, which requests were counted already.
//!
//! Bounded, in memory, keyed hashes only. A restart or another replica forgets it, and what depends
//! on it has an answer without it too.

use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};

use ahash::AHashMap;

use crate::domain::keyed::{KeyedHash, Purpose};

/// How many of each thing are remembered; half of it, seven eighths of a power of two, fills the table of a generation.
const NAVIGATIONS_MAX: usize = 57_344;
const SESSIONS_MAX: usize = 57_344;
const REQUESTS_MAX: usize = 57_344;
const POSTS_MAX: usize = 57_344;
const APPS_MAX: usize = 4_096;
/// How many pages of one session (tabs) are told apart.
const PAGES_MAX: usize = 4;
/// Two reports of a soft navigation within this time are about the same one.
const SAME_NAVIGATION_MS: i64 = 3_000;

/// Shared by all connections.
#[derive(Debug)]
pub(super) struct Memory(Mutex<Known>);

#[derive(Debug)]
pub(super) struct Known {
    /// Posts that were looked at, so that a repeated delivery changes nothing in here.
    posts: Recent<u64, ()>,
    /// Route of the page that a navigation loaded.
    routes: Recent<u64, Box<str>>,
    sessions: Recent<u64, Session>,
    /// Apps and releases that report requests by traces.
    traced: Recent<u64, ()>,
    /// Requests that were counted from their resource timing and may come again as a trace.
    untraced: Recent<u64, u32>,
}

impl Memory {
    pub fn new() -> Memory {
        Memory(Mutex::new(Known {
            posts: Recent::new(POSTS_MAX),
            routes: Recent::new(NAVIGATIONS_MAX),
            sessions: Recent::new(SESSIONS_MAX),
            traced: Recent::new(APPS_MAX),
            untraced: Recent::new(REQUESTS_MAX),
        }))
    }

    pub fn lock(&self) -> MutexGuard<'_, Known> {
        // Each change is one insertion; a panic elsewhere leaves the maps whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What something is known by in here.
pub(super) fn key(hash: &KeyedHash, parts: &[&str]) -> u64 {
    let parts: Vec<&[u8]> = parts.iter().map(|part| part.as_bytes()).collect();
    hash.of(Purpose::Repeat, &parts)
}

impl Known {
    /// Whether this post is looked at for the first time.
    pub fn first_time(&mut self, post: u64) -> bool {
        self.posts.insert(post, ()).is_none()
    }

    pub fn set_route(&mut self, navigation: u64, route: &str) {
        self.routes.insert(navigation, route.into());
    }

    /// The route of the page that a navigation loaded, if that is remembered.
    pub fn route(&mut self, navigation: u64) -> Option<&str> {
        self.routes.get(navigation).map(|route| &**route)
    }

    /// From now on requests of this app are counted from traces only.
    pub fn set_traced(&mut self, app: u64) {
        self.traced.insert(app, ());
    }

    pub fn is_traced(&mut self, app: u64) -> bool {
        self.traced.get(app).is_some()
    }

    /// A request was counted without its trace.
    pub fn counted_untraced(&mut self, request: u64) {
        match self.untraced.get(request) {
            Some(count) => *count = count.saturating_add(1),
            None => drop(self.untraced.insert(request, 1)),
        }
    }

    /// Whether a request whose trace came was counted without it before; each of those only once.
    pub fn was_counted_untraced(&mut self, request: u64) -> bool {
        match self.untraced.get(request) {
            Some(count) if *count > 0 => {
                *count -= 1;
                true
            }
            Some(_) | None => false,
        }
    }

    /// The session of this key; made when there is none.
    pub fn session(&mut self, session: u64) -> &mut Session {
        if self.sessions.get(session).is_none() {
            self.sessions.insert(session, Session::default());
        }
        self.sessions.get(session).expect("just put there")
    }
}

/// Where a session is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Session {
    /// Pages that it has open, the newest first; 0 is none.
    pages: [u64; PAGES_MAX],
    /// Client time of its newest report.
    newest: i64,
    /// Whether a page of it moved on without being loaded.
    moved: bool,
    /// Client time of the last soft navigation.
    soft_at: Option<i64>,
}

impl Session {
    /// A page was loaded.
    pub fn load(&mut self, page: u64, at: i64) {
        self.open(page);
        self.moved = false;
        self.newest = self.newest.max(at);
    }

    /// The session reports from a page at `at`; whether it has got there without loading it. Pages
    /// that it has open are not news, so that two tabs that take turns are no navigations.
    pub fn visit(&mut self, page: u64, at: i64) -> bool {
        let known = self.pages.contains(&page);
        let first = self.pages[0] == 0;
        let late = at < self.newest && !first;
        self.newest = self.newest.max(at);
        if known || late {
            return false;
        }
        self.open(page);
        !first && self.soft(at)
    }

    /// A soft navigation was reported for `at`; whether it is another one than the last.
    pub fn soft(&mut self, at: i64) -> bool {
        self.moved = true;
        let again = self.soft_at.is_some_and(|last| last.abs_diff(at) <= SAME_NAVIGATION_MS.unsigned_abs());
        self.soft_at = Some(at);
        !again
    }

    /// The session reports from a page that it came to by a navigation that was counted.
    pub fn open(&mut self, page: u64) {
        if !self.pages.contains(&page) {
            self.pages.rotate_right(1);
            self.pages[0] = page;
        }
    }

    /// Whether what a page says of itself may be about the page before it.
    pub fn has_moved(&self) -> bool {
        self.moved
    }
}

/// A bounded map: two generations, of which the older one is forgotten when the younger one is full.
#[derive(Debug)]
struct Recent<K, V> {
    young: AHashMap<K, V>,
    old: AHashMap<K, V>,
    generation_max: usize,
}

impl<K: Hash + Eq + Copy, V> Recent<K, V> {
    fn new(max: usize) -> Recent<K, V> {
        Recent { young: AHashMap::new(), old: AHashMap::new(), generation_max: (max / 2).max(1) }
    }

    /// What is known; asking for it keeps it.
    fn get(&mut self, key: K) -> Option<&mut V> {
        if let Some(value) = self.old.remove(&key) {
            self.insert(key, value);
        }
        self.young.get_mut(&key)
    }

    /// Puts a value in place of the one that was known.
    fn insert(&mut self, key: K, value: V) -> Option<V> {
        if self.young.len() >= self.generation_max && !self.young.contains_key(&key) {
            // The room of what is forgotten serves again: grown anew each time, it would lie about in pieces.
            std::mem::swap(&mut self.old, &mut self.young);
            self.young.clear();
        }
        let before = self.old.remove(&key);
        self.young.insert(key, value).or(before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_stays_and_memory_is_bounded() {
        let mut recent = Recent::new(10);
        recent.insert(1, 'a');
        for key in 2..100 {
            assert_eq!(recent.insert(key, 'b'), None);
            assert_eq!(recent.get(1), Some(&mut 'a'));
            assert!(recent.young.len() + recent.old.len() <= 10);
        }
        assert_eq!(recent.get(2), None);
        assert_eq!(recent.insert(1, 'c'), Some('a'));
    }

    #[test]
    fn a_new_page_without_a_load_is_one_soft_navigation() {
        let mut session = Session::default();
        assert!(!session.visit(7, 100), "the first page that is seen of a session");
        assert!(!session.has_moved());
        assert!(session.visit(8, 200) && session.has_moved());
        assert!(!session.visit(8, 300));
        assert!(!session.visit(7, 400), "the other tab, or the way back");
        assert!(!session.visit(9, 150), "late news");
        session.load(10, 10_000);
        assert!(!session.has_moved() && !session.visit(10, 10_001));
    }

    #[test]
    fn reports_of_one_navigation_count_once() {
        let mut session = Session::default();
        session.load(1, 0);
        assert!(session.visit(2, 10_000));
        assert!(!session.soft(10_200), "the event of the navigation that the address told already");
        assert!(session.soft(20_000));
        session.open(3);
        assert!(!session.visit(3, 20_100));
    }

    #[test]
    fn a_request_is_taken_off_as_often_as_it_was_counted() {
        let memory = Memory::new();
        let mut known = memory.lock();
        known.counted_untraced(5);
        known.counted_untraced(5);
        assert_eq!([1, 2, 3].map(|_| known.was_counted_untraced(5)), [true, true, false]);
        assert!(!known.was_counted_untraced(6));
        assert!(known.first_time(1) && !known.first_time(1));
    }
}
