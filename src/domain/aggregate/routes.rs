//! Route templates that are learnt: where one place of a path has shown more values than a bound, they name things and
//! not pages, and are counted together. `/product/red-shoes` and its hundred neighbours become `/product/:slug`.
//!
//! Always holds:
//! - what rules name, by value or by pattern, keeps its name, so that learning changes no rule's figures;
//! - a value that was there for a day keeps its name, so that a burst of made-up ones takes nothing from anybody;
//! - the first place of a path is never learnt: an app's own pages differ there;
//! - what was learnt is learnt for good, here and by whoever reads it from the database;
//! - memory is bounded. Where nothing can be learnt any more, the caps on series fold as ever.

use std::sync::Arc;

use ahash::{AHashMap, AHashSet};

use crate::domain::filter::Match;
use crate::domain::redact::VALUE_MAX;
use crate::domain::time::{Span, Timestamp};

/// What stands for the values of a learnt place.
const SLUG: &str = ":slug";
/// A value that was there so long has a name of its own for good.
const SETTLED: Span = Span::DAY;
/// How many places are learnt, and how many are watched: of one app and of all.
const LEARNT_OF_APP: usize = 64;
const LEARNT_MAX: usize = 4_096;
const WATCHED_OF_APP: usize = 256;
const WATCHED_MAX: usize = 2_048;

/// A place of an app's paths that was learnt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Learnt {
    pub app: String,
    /// What stands before it: `/product`.
    pub prefix: String,
    /// Values that keep their names, sorted.
    pub kept: Vec<String>,
}

impl Learnt {
    /// The template of the values that keep no name.
    pub fn template(&self) -> String {
        format!("{}/{SLUG}", self.prefix)
    }
}

/// Patterns by which rules choose routes.
#[derive(Debug, Default)]
struct Patterns {
    prefixes: AHashSet<Box<str>>,
    others: Vec<Match>,
}

#[derive(Debug, Default)]
struct App {
    learnt: AHashMap<Box<str>, AHashSet<Box<str>>>,
    /// By what stands before them: the values of places that are not learnt, and since when they are there.
    watched: AHashMap<Box<str>, AHashMap<Box<str>, Timestamp>>,
}

/// What is known of the paths of all apps.
#[derive(Debug, Default)]
pub(super) struct Routes {
    /// How many values a place may show; 0: nothing is learnt.
    values_max: usize,
    apps: AHashMap<Arc<str>, App>,
    learnt: usize,
    watched: usize,
    patterns: Patterns,
    /// Templates that somebody has written down keep their names.
    configured: AHashSet<Box<str>>,
    fresh: Vec<Learnt>,
}

impl Routes {
    /// Learns from more than so many values on; templates that are configured stay as they are.
    pub fn new(values_max: usize, configured: &[String]) -> Routes {
        let configured = configured.iter().map(|template| template.as_str().into()).collect();
        Routes { values_max, configured, ..Routes::default() }
    }

    pub fn is_on(&self) -> bool {
        self.values_max > 0
    }

    /// Takes over the patterns by which rules choose routes.
    pub fn set_patterns(&mut self, patterns: &[Match]) {
        self.patterns = Patterns::default();
        // What must meet several is told apart by each of them.
        for pattern in patterns.iter().flat_map(Match::parts) {
            match pattern {
                Match::Prefix(prefix) => drop(self.patterns.prefixes.insert(prefix.as_str().into())),
                Match::Regex(_) | Match::NotRegex(_) if !self.patterns.others.contains(pattern) => {
                    self.patterns.others.push(pattern.clone())
                }
                // Values have their own list.
                Match::Regex(_) | Match::NotRegex(_) | Match::Equal(_) | Match::AnyOf(_) | Match::Not(_) | Match::All(_) => {}
            }
        }
    }

    /// The template of a route of this app, if it is another one than the route itself.
    pub fn template(&self, app: &str, route: &str) -> Option<String> {
        let app = self.apps.get(app).filter(|app| !app.learnt.is_empty())?;
        let mut template = String::new();
        for segment in segments(route)? {
            let folds = app.learnt.get(template.as_str()).is_some_and(|kept| !is_fixed(segment) && !kept.contains(segment));
            template.push('/');
            template.push_str(if folds { SLUG } else { segment });
        }
        template.truncate(template.floor_char_boundary(VALUE_MAX));
        (template != route && !self.configured.contains(route) && !self.patterns.tell_apart(route, &template)).then_some(template)
    }

    /// Notes a route that this app did not have before. Whether a place was learnt from that.
    pub fn note(&mut self, app: &Arc<str>, route: &str, now: Timestamp) -> bool {
        let Some(places) = places(route).filter(|_| self.is_on() && !self.configured.contains(route)) else { return false };
        let mut has_learnt = false;
        for (prefix, segment) in places {
            let Some(values) = self.watched(app, prefix) else { continue };
            values.entry(segment.into()).or_insert(now);
            if values.len() > self.values_max {
                has_learnt |= self.learn(app, prefix, segment, now);
            }
        }
        has_learnt
    }

    /// Notes a route that was there before anybody counted days. Nothing is learnt from that alone.
    pub fn note_old(&mut self, app: &Arc<str>, route: &str) {
        let Some(places) = places(route).filter(|_| self.is_on()) else { return };
        for (prefix, segment) in places {
            if let Some(values) = self.watched(app, prefix) {
                values.insert(segment.into(), Timestamp(0));
            }
        }
    }

    /// The values of a place that is watched from now on; nothing if it was learnt, or if there are too many places.
    fn watched(&mut self, name: &Arc<str>, prefix: &str) -> Option<&mut AHashMap<Box<str>, Timestamp>> {
        let app = self.apps.entry(name.clone()).or_default();
        if app.learnt.contains_key(prefix) {
            return None;
        }
        if !app.watched.contains_key(prefix) {
            if app.watched.len() >= WATCHED_OF_APP || self.watched >= WATCHED_MAX {
                // Places with one value are the cheapest to make up, and the cheapest to lose.
                let before = app.watched.len();
                app.watched.retain(|_, values| values.len() > 1);
                self.watched -= before - app.watched.len();
            }
            if app.watched.len() >= WATCHED_OF_APP || self.watched >= WATCHED_MAX {
                return None;
            }
            self.watched += 1;
        }
        Some(app.watched.entry(prefix.into()).or_default())
    }

    /// Learns a place of which `newest` is one value too many.
    fn learn(&mut self, name: &Arc<str>, prefix: &str, newest: &str, now: Timestamp) -> bool {
        let app = self.apps.get_mut(name).expect("it is watched");
        let values = app.watched.get_mut(prefix).expect("it is watched");
        if app.learnt.len() >= LEARNT_OF_APP || self.learnt >= LEARNT_MAX {
            values.remove(newest);
            return false;
        }
        let settled = values.iter().filter(|(_, since)| now - **since >= SETTLED);
        let mut kept: Vec<String> = settled.map(|(value, _)| value.to_string()).collect();
        kept.sort_unstable();
        let learnt = Learnt { app: name.to_string(), prefix: prefix.to_owned(), kept };
        self.fresh.push(learnt.clone());
        self.recall(learnt);
        true
    }

    /// Takes over what was learnt before, or elsewhere; where both have learnt something, the database is right.
    pub fn recall(&mut self, learnt: Learnt) {
        let app = self.apps.entry(learnt.app.into()).or_default();
        let kept = learnt.kept.into_iter().map(String::into_boxed_str).collect();
        self.learnt += usize::from(app.learnt.insert(learnt.prefix.as_str().into(), kept).is_none());
        // What stood below the single values is below all of them now.
        let (at, below) = (learnt.prefix.as_str(), format!("{}/", learnt.prefix));
        let before = app.watched.len();
        app.watched.retain(|prefix, _| **prefix != *at && !prefix.starts_with(&below));
        self.watched -= before - app.watched.len();
    }

    /// What was learnt since the last call.
    pub fn drain(&mut self) -> Vec<Learnt> {
        std::mem::take(&mut self.fresh)
    }

    /// Forgets what was watched of apps that are gone.
    pub fn retain_apps(&mut self, mut is_known: impl FnMut(&str) -> bool) {
        self.apps.retain(|name, app| is_known(name) || !app.learnt.is_empty());
        for (name, app) in &mut self.apps {
            if !is_known(name) {
                app.watched.clear();
            }
        }
        self.watched = self.apps.values().map(|app| app.watched.len()).sum();
    }
}

impl Patterns {
    /// Whether a rule chooses a route by a pattern that does not fit its template.
    fn tell_apart(&self, route: &str, template: &str) -> bool {
        let alike = route.bytes().zip(template.bytes()).take_while(|(a, b)| a == b).count();
        // A prefix no longer than what both begin with fits both.
        let prefixed = !self.prefixes.is_empty()
            && (alike + 1..=route.len()).filter_map(|end| route.get(..end)).any(|prefix| self.prefixes.contains(prefix));
        let names = |pattern: &Match| match pattern {
            Match::Regex(_) => pattern.accepts(route) && !pattern.accepts(template),
            Match::NotRegex(_) => !pattern.accepts(route) && pattern.accepts(template),
            Match::Equal(_) | Match::AnyOf(_) | Match::Not(_) | Match::Prefix(_) | Match::All(_) => false,
        };
        prefixed || self.others.iter().any(names)
    }
}

/// The places of a path at which values are watched, each with what stands before it.
fn places(route: &str) -> Option<impl Iterator<Item = (&str, &str)>> {
    let place = move |(at, _): (usize, &str)| {
        let rest = &route[at + 1..];
        (&route[..at], &rest[..rest.find('/').unwrap_or(rest.len())])
    };
    // The first slash has nothing before it.
    route.starts_with('/').then(|| route.match_indices('/').skip(1).map(place).filter(|(_, segment)| !is_fixed(segment)))
}

/// The parts of a path; nothing of what is none, like the name of a view.
fn segments(route: &str) -> Option<impl Iterator<Item = &str>> {
    route.strip_prefix('/').map(|rest| rest.split('/'))
}

/// What stands for many values by itself, or for no value.
fn is_fixed(segment: &str) -> bool {
    segment.is_empty() || segment.starts_with(':') || segment == "*"
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_800_000_000_000);

    fn shop() -> Arc<str> {
        "shop".into()
    }

    fn routes(values_max: usize, known: &[&str]) -> Routes {
        let mut routes = Routes::new(values_max, &["/p/me".to_owned()]);
        for route in known {
            routes.note(&shop(), route, NOW);
        }
        routes
    }

    fn template(routes: &Routes, route: &str) -> String {
        routes.template("shop", route).unwrap_or_else(|| route.to_owned())
    }

    #[test]
    fn a_place_with_more_values_than_the_bound_is_learnt() {
        let mut routes = routes(3, &["/product/a", "/product/b", "/product/c", "/product/:id", "/about", "/help", "/jobs", "/team"]);
        assert_eq!(template(&routes, "/product/d"), "/product/d");
        assert!(routes.note(&shop(), "/product/d", NOW));
        for (route, expected) in [
            ("/product/a", "/product/:slug"),
            ("/product/zebra", "/product/:slug"),
            ("/product/zebra/reviews", "/product/:slug/reviews"),
            ("/product/:id", "/product/:id"),
            ("/product", "/product"),
            ("/products/a", "/products/a"),
            ("/about", "/about"),
            ("Basket", "Basket"),
        ] {
            assert_eq!(template(&routes, route), expected);
        }
        let learnt = routes.drain();
        assert_eq!(learnt, [Learnt { app: "shop".into(), prefix: "/product".into(), kept: vec![] }]);
        assert_eq!(learnt[0].template(), "/product/:slug");
        assert_eq!((routes.drain(), routes.template("other", "/product/a")), (vec![], None));
        // What stands for a short value is no reason to be longer than any value.
        let long = format!("/product/a/{}", "é".repeat(58));
        assert!(long.len() <= VALUE_MAX && (VALUE_MAX - 1..=VALUE_MAX).contains(&template(&routes, &long).len()));
        // Below a learnt place another one is learnt.
        for n in ["a", "b", "c", "d"] {
            routes.note(&shop(), &format!("/product/:slug/by/{n}"), NOW);
        }
        assert_eq!(template(&routes, "/product/x/by/y"), "/product/:slug/by/:slug");
    }

    #[test]
    fn what_was_there_for_a_day_keeps_its_name() {
        let mut routes = routes(3, &["/api/cart", "/api/items"]);
        let tomorrow = NOW + Span::DAY;
        for made_up in ["aa", "bb", "cc", "dd"] {
            routes.note(&shop(), &format!("/api/{made_up}"), tomorrow);
        }
        assert_eq!([template(&routes, "/api/cart"), template(&routes, "/api/aa")], ["/api/cart", "/api/:slug"]);
        assert_eq!(routes.drain()[0].kept, ["cart", "items"]);
    }

    #[test]
    fn what_was_there_before_the_start_keeps_its_name_too() {
        let mut routes = Routes::new(2, &[]);
        for n in 0..9 {
            routes.note_old(&shop(), &format!("/docs/page-{}", ["a", "b", "c", "d", "e", "f", "g", "h", "i"][n]));
        }
        assert_eq!(template(&routes, "/docs/new"), "/docs/new", "from what is old nothing is learnt");
        assert!(routes.note(&shop(), "/docs/new", NOW));
        assert_eq!([template(&routes, "/docs/new"), template(&routes, "/docs/page-i")], ["/docs/:slug", "/docs/page-i"]);
    }

    #[test]
    fn what_rules_choose_by_a_pattern_is_not_split() {
        let mut routes = routes(1, &["/p/red-shoe", "/p/blue-shoe"]);
        let patterns = ["/p/red*", "/.*-hat/", "!/.*-sale/", "/p/*", "x"].map(|text| Match::parse(text).unwrap());
        routes.set_patterns(&patterns);
        for (route, expected) in [
            ("/p/red-shoe", "/p/red-shoe"),
            ("/p/blue-shoe", "/p/:slug"),
            ("/p/green-hat", "/p/green-hat"),
            ("/p/grey-sale", "/p/grey-sale"),
            ("/p/reed", "/p/:slug"),
            ("/p/me", "/p/me"),
        ] {
            assert_eq!(template(&routes, route), expected);
        }
    }

    #[test]
    fn what_was_learnt_elsewhere_is_the_same_here() {
        let mut first = routes(2, &["/p/a", "/p/b", "/p/c", "/q/1/a"]);
        let mut second = Routes::new(2, &[]);
        first.drain().into_iter().for_each(|learnt| second.recall(learnt));
        for route in ["/p/a", "/p/z/y", "/q/1/a"] {
            assert_eq!(template(&first, route), template(&second, route));
        }
        // The database has the last word on what keeps its name.
        first.recall(Learnt { app: "shop".into(), prefix: "/p".into(), kept: vec!["a".into()] });
        assert_eq!([template(&first, "/p/a"), template(&first, "/p/b")], ["/p/a", "/p/:slug"]);
    }

    #[test]
    fn memory_is_bounded_whatever_comes() {
        let mut routes = Routes::new(2, &[]);
        for n in 0..20_000 {
            let app: Arc<str> = format!("app{}", n % 100).into();
            routes.note(&app, &format!("/a{}/b{}/c{n}/d", n % 7, n % 977), NOW);
        }
        let (learnt, watched): (usize, usize) =
            routes.apps.values().map(|app| (app.learnt.len(), app.watched.len())).fold((0, 0), |(a, b), (c, d)| (a + c, b + d));
        assert_eq!((routes.learnt, routes.watched), (learnt, watched));
        assert!(learnt > 0 && learnt <= LEARNT_MAX && watched <= WATCHED_MAX, "{learnt} {watched}");
        assert!(routes.apps.values().all(|app| app.learnt.len() <= LEARNT_OF_APP && app.watched.len() <= WATCHED_OF_APP));
        assert!(routes.apps.values().flat_map(|app| app.watched.values()).all(|values| values.len() <= 2));
        routes.retain_apps(|app| app == "app7");
        assert_eq!(routes.watched, routes.apps.get("app7").map_or(0, |app| app.watched.len()));
    }
}
