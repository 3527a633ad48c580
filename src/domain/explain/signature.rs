//! What an incident signs with, and when two alerts have one cause.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use super::super::notification::{Values, Verdict};
use super::super::rule::Labels;
use super::super::time::{Span, Timestamp};
use super::Explanation;
use super::table::rank;

/// How many computations in a row another anchor must lead.
const LEADS: u8 = 3;
/// And by how much.
const LEAD: f64 = 1.2;
/// Windows that start within this of each other may have one cause.
const TOGETHER: Span = Span::minutes(15);
/// The same for answers that blame nobody, which say less.
const TOGETHER_GLOBAL: Span = Span::minutes(5);

const GLOBAL: &str = "global";

/// The term of a suspect that stands for it: `release:shop/2.3.1`, `region:at,de`, `global:shop`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Anchor {
    /// A dimension, or `global`.
    pub dimension: String,
    /// Of a release or a route, and of `global`; empty for others, which apps may share.
    pub app: String,
    /// Sorted; empty for `global`.
    pub values: BTreeSet<String>,
}

impl Anchor {
    /// The anchor of a suspect: its first term in the order of dimensions.
    pub fn of(terms: &BTreeMap<String, Values>, app: &str) -> Anchor {
        let Some((dimension, values)) = terms.iter().min_by_key(|(name, _)| (rank(name), *name)) else { return Anchor::global(app) };
        let app = if carries_app(dimension) { app } else { "" };
        Anchor { dimension: dimension.clone(), app: app.to_owned(), values: values.all().iter().cloned().collect() }
    }

    /// Everywhere alike.
    pub fn global(app: &str) -> Anchor {
        Anchor { dimension: GLOBAL.to_owned(), app: app.to_owned(), values: BTreeSet::new() }
    }

    /// Whether nobody in particular is blamed.
    pub fn is_global(&self) -> bool {
        self.values.is_empty()
    }

    fn meets(&self, other: &Anchor) -> bool {
        self.dimension == other.dimension && self.app == other.app && overlap(&self.values, &other.values)
    }
}

impl fmt::Display for Anchor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.dimension, self.app)?;
        for (at, value) in self.values.iter().enumerate() {
            let before = match at {
                0 if self.app.is_empty() => "",
                0 => "/",
                _ => ",",
            };
            write!(f, "{before}{value}")?;
        }
        Ok(())
    }
}

/// Releases and routes mean something else in another app.
fn carries_app(dimension: &str) -> bool {
    dimension == "release" || dimension == "route"
}

/// Whether two sets of values share half of the smaller one.
fn overlap(a: &BTreeSet<String>, b: &BTreeSet<String>) -> bool {
    let shared = a.intersection(b).count();
    shared > 0 && 2 * shared >= a.len().min(b.len())
}

/// What an alert signs with while it lives: set once, changed rarely, so that groups stay together.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Signature {
    /// `None` until the first answer that is not empty.
    pub anchor: Option<Anchor>,
    /// The suspect's words, as long as they ever were under this anchor.
    pub terms: BTreeMap<String, Values>,
    /// Who leads at the moment, and for how many computations.
    challenger: Option<(Anchor, u8)>,
}

/// What a new answer did to a signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Update {
    /// Nothing.
    Kept,
    /// It is the first one.
    Set,
    /// The anchor stays, the words became more precise.
    Refined,
    /// Another anchor took over: a change of explanation, to be recorded. Alerts that are grouped already stay.
    Changed { from: Anchor },
}

impl Signature {
    /// The key, empty while there is none.
    pub fn key(&self) -> String {
        self.anchor.as_ref().map(ToString::to_string).unwrap_or_default()
    }

    /// Takes a new answer into account.
    pub fn update(&mut self, answer: &Explanation) -> Update {
        let Some(new) = answer.anchor.clone().filter(|_| answer.verdict != Verdict::Unknown) else {
            self.challenger = None;
            return Update::Kept;
        };
        let leader = answer.found.iter().find(|found| found.anchor == new);
        let terms = leader.map(|found| found.suspect.terms.clone()).unwrap_or_default();
        let Some(held) = self.anchor.clone() else {
            *self = Signature { anchor: Some(new), terms, challenger: None };
            return Update::Set;
        };
        if new == held {
            self.challenger = None;
            if words(&terms) > words(&self.terms) {
                self.terms = terms;
                return Update::Refined;
            }
            return Update::Kept;
        }
        // A name is never given up for "everywhere".
        let Some(leader) = leader else {
            self.challenger = None;
            return Update::Kept;
        };
        let held_score = answer.scores.get(&held).copied().unwrap_or(0.0);
        let leads = if !held.is_global() && leader.score < LEAD * held_score {
            0
        } else {
            match &self.challenger {
                Some((anchor, leads)) if *anchor == new => leads + 1,
                _ => 1,
            }
        };
        // From "everywhere" to a name is no quarrel between names; it can happen once, as there is no way back.
        if held.is_global() || leads >= LEADS {
            *self = Signature { anchor: Some(new), terms, challenger: None };
            return Update::Changed { from: held };
        }
        self.challenger = (leads > 0).then_some((new, leads));
        Update::Kept
    }
}

fn words(terms: &BTreeMap<String, Values>) -> usize {
    terms.len()
}

/// An alert as far as its cause goes.
#[derive(Clone, Debug, PartialEq)]
pub struct Cause {
    pub anchor: Anchor,
    /// The words of each suspect, the anchor's first; none for `global`.
    pub suspects: Vec<BTreeMap<String, Values>>,
    /// What the alert looks at: the equalities of its `where`, and its `by` labels.
    pub scope: Labels,
    /// The app that it looks at, or empty.
    pub app: String,
    /// Start of its window.
    pub from: Timestamp,
    pub firing: bool,
}

/// Whether two alerts have one cause. Service and SLO do not matter: that is the point.
pub fn same_cause(a: &Cause, b: &Cause) -> bool {
    let apart = Span((a.from - b.from).millis().abs());
    if a.anchor.is_global() && b.anchor.is_global() {
        return a.app == b.app && apart <= TOGETHER_GLOBAL;
    }
    let in_time = apart <= TOGETHER || (a.firing && b.firing);
    in_time && (same_anchor(a, b) || contains(a, b) || contains(b, a))
}

/// Equal anchors; a region needs that nothing else tells the two apart, a release or a route is enough.
fn same_anchor(a: &Cause, b: &Cause) -> bool {
    let (Some(ours), Some(theirs)) = (a.suspects.first(), b.suspects.first()) else { return false };
    a.anchor.meets(&b.anchor) && (carries_app(&a.anchor.dimension) || !conflict(ours, theirs))
}

/// Whether one suspect of `a`, within what `a` looks at, contains the anchor of `b`.
fn contains(a: &Cause, b: &Cause) -> bool {
    let Some(theirs) = b.suspects.first() else { return false };
    let words = |scope: &Labels| scope.iter().map(|(name, value)| (name.clone(), Values::One(value.clone()))).collect();
    let (scope, their_scope): (BTreeMap<String, Values>, BTreeMap<String, Values>) = (words(&a.scope), words(&b.scope));
    let nobody = [BTreeMap::new()];
    // An alert on one region that blames nobody within it still says: this region.
    let suspects = if a.suspects.is_empty() { &nobody[..] } else { &a.suspects[..] };
    suspects.iter().any(|suspect| {
        let mut ours = scope.clone();
        ours.extend(suspect.clone());
        let Some(values) = ours.get(&b.anchor.dimension) else { return false };
        let same_app = b.anchor.app.is_empty() || b.anchor.app == a.app;
        same_app && overlap(&set(values), &b.anchor.values) && !conflict(&ours, theirs) && !conflict(suspect, &their_scope)
    })
}

fn conflict(a: &BTreeMap<String, Values>, b: &BTreeMap<String, Values>) -> bool {
    a.iter().any(|(name, values)| b.get(name).is_some_and(|others| !overlap(&set(values), &set(others))))
}

fn set(values: &Values) -> BTreeSet<String> {
    values.all().iter().cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::super::super::notification::Suspect;
    use super::super::{Found, Reason};
    use super::*;

    fn terms(list: &[(&str, &str)]) -> BTreeMap<String, Values> {
        let values = |text: &str| match text.split(',').map(str::to_owned).collect::<Vec<_>>() {
            one if one.len() == 1 => Values::One(one[0].clone()),
            any => Values::Any(any),
        };
        list.iter().map(|(name, text)| ((*name).to_owned(), values(text))).collect()
    }

    fn answer(list: &[(&str, &str)], score: f64, others: &[(&str, &str, f64)]) -> Explanation {
        let terms = terms(list);
        let anchor = Anchor::of(&terms, "shop");
        let suspect = Suspect { terms, bad_share: 0.9, traffic_share: 0.1, excess_share: 0.9, users: 50, new: false, change: None };
        let mut scores: BTreeMap<Anchor, f64> =
            others.iter().map(|(name, value, score)| (Anchor::of(&self::terms(&[(name, value)]), "shop"), *score)).collect();
        scores.insert(anchor.clone(), score);
        let global = list.is_empty();
        Explanation {
            verdict: if global { Verdict::Global } else { Verdict::Segment },
            reason: if global { Reason::CommonRise } else { Reason::Carried },
            found: if global {
                Vec::new()
            } else {
                vec![Found { suspect, rows: vec![], anchor: anchor.clone(), score, weight: 1.0, users_known: true }]
            },
            anchor: Some(anchor),
            scores,
            excess: 100.0,
            app: "shop".into(),
        }
    }

    fn cause(list: &[(&str, &str)], scope: &[(&str, &str)], minute: i64) -> Cause {
        let terms = terms(list);
        Cause {
            anchor: Anchor::of(&terms, "shop"),
            suspects: if terms.is_empty() { vec![] } else { vec![terms] },
            scope: scope.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
            app: "shop".into(),
            from: Timestamp(0) + Span::minutes(minute),
            firing: false,
        }
    }

    #[test]
    fn releases_and_routes_carry_their_app_and_sets_are_sorted() {
        let key = |list| Anchor::of(&terms(list), "shop").to_string();
        assert_eq!(key(&[("region", "DE"), ("release", "2.3.1")]), "release:shop/2.3.1");
        assert_eq!(key(&[("route", "/checkout"), ("zone", "a")]), "route:shop//checkout");
        assert_eq!(key(&[("region", "US,DE")]), "region:DE,US");
        assert_eq!(key(&[("zone", "b"), ("host", "a")]), "host:a");
        assert_eq!(key(&[]), "global:shop");
    }

    #[test]
    fn the_first_answer_sets_it_and_an_empty_one_does_not() {
        let mut signature = Signature::default();
        let mut empty = answer(&[], 0.0, &[]);
        (empty.verdict, empty.anchor) = (Verdict::Unknown, None);
        assert_eq!(signature.update(&empty), Update::Kept);
        assert_eq!(signature.key(), "");
        assert_eq!(signature.update(&answer(&[("region", "DE")], 50.0, &[])), Update::Set);
        assert_eq!(signature.key(), "region:DE");
    }

    #[test]
    fn a_longer_suspect_refines_the_words_never_the_key() {
        let mut signature = Signature::default();
        signature.update(&answer(&[("release", "2")], 50.0, &[]));
        assert_eq!(signature.update(&answer(&[("release", "2"), ("region", "DE")], 50.0, &[])), Update::Refined);
        assert_eq!((signature.key().as_str(), signature.terms.len()), ("release:shop/2", 2));
        assert_eq!(signature.update(&answer(&[("release", "2")], 50.0, &[])), Update::Kept);
        assert_eq!(signature.terms.len(), 2);
    }

    #[test]
    fn another_anchor_takes_over_after_three_clear_leads_in_a_row() {
        let mut signature = Signature::default();
        signature.update(&answer(&[("region", "DE")], 50.0, &[]));
        let clear = answer(&[("os", "iOS")], 121.0, &[("region", "DE", 100.0)]);
        let close = answer(&[("os", "iOS")], 119.0, &[("region", "DE", 100.0)]);
        for step in [&clear, &clear, &close, &clear, &clear] {
            assert_eq!(signature.update(step), Update::Kept);
        }
        let Update::Changed { from } = signature.update(&clear) else { panic!("three in a row") };
        assert_eq!((from.to_string().as_str(), signature.key().as_str()), ("region:DE", "os:iOS"));
    }

    #[test]
    fn a_different_challenger_or_an_empty_answer_starts_the_count_anew() {
        let mut signature = Signature::default();
        signature.update(&answer(&[("region", "DE")], 50.0, &[]));
        let (ios, safari) = (answer(&[("os", "iOS")], 100.0, &[]), answer(&[("browser", "Safari")], 100.0, &[]));
        for step in [&ios, &ios, &safari, &ios, &ios, &answer(&[], 0.0, &[]), &ios, &ios] {
            assert_eq!(signature.update(step), Update::Kept);
        }
        assert_eq!(signature.key(), "region:DE");
    }

    #[test]
    fn from_global_to_a_name_is_allowed_once_and_never_back() {
        let mut signature = Signature::default();
        assert_eq!(signature.update(&answer(&[], 0.0, &[])), Update::Set);
        assert_eq!(signature.update(&answer(&[("region", "DE")], 20.0, &[])), Update::Changed { from: Anchor::global("shop") });
        for _ in 0..5 {
            assert_eq!(signature.update(&answer(&[], 0.0, &[])), Update::Kept);
        }
        assert_eq!(signature.key(), "region:DE");
    }

    #[test]
    fn equal_anchors_are_one_cause_unless_another_dimension_disagrees() {
        let a = cause(&[("region", "DE"), ("os", "iOS")], &[], 0);
        assert!(same_cause(&a, &cause(&[("region", "DE")], &[], 10)));
        assert!(!same_cause(&a, &cause(&[("region", "DE"), ("os", "Android")], &[], 10)));
        let a = cause(&[("release", "2"), ("os", "iOS")], &[], 0);
        assert!(same_cause(&a, &cause(&[("release", "2"), ("os", "Android")], &[], 10)));
        let mut elsewhere = a.clone();
        elsewhere.anchor.app = "blog".into();
        elsewhere.app = "blog".into();
        assert!(!same_cause(&a, &elsewhere));
    }

    #[test]
    fn causes_meet_in_time_or_while_both_fire() {
        let (mut a, mut b) = (cause(&[("region", "DE")], &[], 0), cause(&[("region", "DE")], &[], 16));
        assert!(!same_cause(&a, &b));
        assert!(same_cause(&a, &cause(&[("region", "DE")], &[], 15)));
        (a.firing, b.firing) = (true, true);
        assert!(same_cause(&a, &b));
    }

    #[test]
    fn an_alert_on_one_region_meets_a_suspect_that_names_the_region() {
        let everything_in_de = cause(&[], &[("region", "DE")], 0);
        let checkout = cause(&[("region", "DE")], &[("route", "/checkout")], 3);
        assert!(same_cause(&everything_in_de, &checkout));
        assert!(same_cause(&checkout, &everything_in_de));
        assert!(!same_cause(&cause(&[], &[("region", "US")], 0), &checkout));
    }

    #[test]
    fn a_scope_that_contradicts_a_suspect_keeps_them_apart() {
        let us = cause(&[("release", "2")], &[("region", "US")], 0);
        let de = cause(&[("os", "iOS"), ("region", "DE")], &[("release", "2")], 0);
        assert!(!same_cause(&us, &de));
    }

    #[test]
    fn sets_meet_when_half_of_the_smaller_is_shared() {
        let a = cause(&[("region", "AT,CH,DE")], &[], 0);
        assert!(same_cause(&a, &cause(&[("region", "DE")], &[], 0)));
        assert!(same_cause(&a, &cause(&[("region", "DE,US")], &[], 0)));
        assert!(!same_cause(&a, &cause(&[("region", "DE,FR,US")], &[], 0)));
    }

    #[test]
    fn global_meets_only_global_of_the_same_app_within_five_minutes() {
        let a = cause(&[], &[], 0);
        assert!(same_cause(&a, &cause(&[], &[], 5)));
        assert!(!same_cause(&a, &cause(&[], &[], 6)));
        assert!(!same_cause(&a, &cause(&[("region", "DE")], &[], 0)));
        let mut other = cause(&[], &[], 0);
        other.app = "blog".into();
        assert!(!same_cause(&a, &other));
    }
}
