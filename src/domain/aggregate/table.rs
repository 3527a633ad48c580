//! The series that are known, found without allocating, and the caps on them (R-2, CONTRACT 3 `series_max`).
//!
//! Always holds: what exists is never evicted by what arrives; `app`, and dimensions and values
//! that rules name, are never folded; every event finds a series, so totals stay exact.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ahash::{AHashMap, AHashSet, RandomState};
use hashbrown::HashTable;
use smallvec::{SmallVec, smallvec};

use super::routes::{Learnt, Routes};
use crate::domain::event::{Event, Source};
use crate::domain::metric::{Metric, Vital};
use crate::domain::series::{OTHER, Series};
use crate::domain::time::Timestamp;

/// A metric code, a value id for each configured dimension, and three for the metric's own.
pub(super) type Key = SmallVec<[u32; 16]>;

/// How many values one app may have in one dimension, beside those that rules name.
pub const VALUES_MAX: usize = 1_000;
/// How many apps may send.
pub const APPS_MAX: usize = 1_000;

/// There are [`APPS_MAX`] apps already; an app is never folded, so a new one is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there are too many apps already")]
pub struct TooManyApps;

const ABSENT: u32 = 0;
const OTHER_ID: u32 = 1;
/// Own dimensions of all metrics; each has a slot after the configured ones.
const OWN: [&str; 8] = ["nav", "host", "method", "status", "fingerprint", "name", "funnel", "step"];
/// Codes from here on are custom metrics: this plus the value id of the name.
const CUSTOM: u32 = 64;
const BUILT_IN: [Metric; 14] = [
    Metric::PageView,
    Metric::Vital(Vital::Lcp),
    Metric::Vital(Vital::Inp),
    Metric::Vital(Vital::Cls),
    Metric::Vital(Vital::Fcp),
    Metric::Vital(Vital::Ttfb),
    Metric::Vital(Vital::Fid),
    Metric::Vital(Vital::Tti),
    Metric::Request,
    Metric::JsError,
    Metric::Crash,
    Metric::Interaction,
    Metric::Session,
    Metric::Step,
];

/// A dimension, the own ones included.
#[derive(Debug)]
struct Slot {
    name: Arc<str>,
    /// Whether a rule uses it.
    named: bool,
    /// The values that rules name.
    values: AHashSet<Box<str>>,
}

/// A set of values by text.
type Values = AHashMap<Arc<str>, u32>;

/// What events of one source share in their keys.
#[derive(Clone, Debug)]
pub(super) struct Scope {
    app: usize,
    base: Key,
    folded: bool,
}

#[derive(Debug)]
pub(super) struct Table {
    /// Configured dimensions, then [`OWN`], then one for the names of custom metrics.
    slots: Vec<Slot>,
    configured: usize,
    apps: AHashMap<Arc<str>, usize>,
    app_names: Vec<Arc<str>>,
    pub routes: Routes,
    /// By app and slot: the values that this app may use.
    known: Vec<Vec<Values>>,
    ids: Values,
    texts: Vec<Arc<str>>,
    texts_max: usize,
    /// The series of a key, which stands in `keys` alone.
    index: HashTable<u32>,
    hasher: RandomState,
    /// By series; `None` where a number is free.
    keys: Vec<Option<Key>>,
    free: Vec<u32>,
    /// Up to here series keep every dimension; the rest of `series_max` is room for folded ones.
    detailed_max: usize,
    /// Up to here series keep the dimensions that rules use.
    series_max: usize,
}

impl Table {
    pub fn new(dimensions: &[String], series_max: usize) -> Table {
        let mut names: Vec<&str> = dimensions.iter().map(String::as_str).collect();
        if !names.contains(&"app") {
            names.insert(0, "app");
        }
        let configured = names.len();
        let all = names.into_iter().chain(OWN).chain(["metric"]);
        let slots = all.map(|name| Slot { name: name.into(), named: name == "app", values: AHashSet::new() }).collect();
        let mut table = Table {
            slots,
            configured,
            apps: AHashMap::new(),
            app_names: Vec::new(),
            routes: Routes::default(),
            known: Vec::new(),
            ids: AHashMap::new(),
            texts: Vec::new(),
            texts_max: series_max.saturating_mul(2).max(1_000),
            index: HashTable::new(),
            hasher: RandomState::new(),
            keys: Vec::new(),
            free: Vec::new(),
            detailed_max: series_max - series_max / 10,
            series_max: series_max - series_max / 30,
        };
        table.clear();
        table
    }

    fn clear(&mut self) {
        self.apps.clear();
        self.app_names.clear();
        self.known.clear();
        self.index.clear();
        self.texts = vec![Arc::from(""), Arc::from(OTHER)];
        self.ids = self.texts.iter().cloned().zip(0..).collect();
    }

    /// Takes over what rules name.
    pub fn set_named(&mut self, dimensions: &BTreeSet<String>, values: &BTreeMap<String, BTreeSet<String>>) {
        for slot in &mut self.slots {
            let named_values = values.get(&*slot.name);
            slot.named = &*slot.name == "app" || dimensions.contains(&*slot.name) || named_values.is_some();
            slot.values = named_values.into_iter().flatten().map(|value| value.as_str().into()).collect();
        }
    }

    /// How many series there are.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Resolves what the events of one source share.
    pub fn scope(&mut self, source: &Source<'_>) -> Result<Scope, TooManyApps> {
        let app = self.app(&source.app, APPS_MAX)?;
        let mut base: Key = smallvec![ABSENT; 1 + self.configured + 3];
        let mut any_folded = false;
        for slot in 0..self.configured {
            let value: &str = match &*self.slots[slot].name {
                "app" => {
                    base[1 + slot] = self.intern(&source.app);
                    continue;
                }
                "environment" => &source.environment,
                "region" => &source.region,
                "device" => &source.device,
                "browser" => &source.browser,
                "os" => &source.os,
                "release" => &source.release,
                "cohort" => &source.cohort,
                "sdk" => &source.sdk,
                // `route` belongs to the event; other configured dimensions come with ready-made rows only.
                _ => continue,
            };
            let (id, folded) = self.value(app, slot, value);
            base[1 + slot] = id;
            any_folded |= folded;
        }
        Ok(Scope { app, base, folded: any_folded })
    }

    /// The series of an event, and whether it was folded on the way.
    pub fn find(&mut self, scope: &Scope, event: &Event<'_>, now: Timestamp) -> (u32, bool) {
        let mut key = scope.base.clone();
        let (code, mut folded) = self.code(scope.app, &event.metric);
        folded |= scope.folded;
        key[0] = code;
        if let Some(slot) = self.slots[..self.configured].iter().position(|slot| &*slot.name == "route") {
            let (id, other) = self.route(scope.app, slot, &event.route, now);
            key[1 + slot] = id;
            folded |= other;
        }
        for (at, name) in event.metric.own_dimensions().iter().enumerate() {
            let (id, other) = self.value(scope.app, self.own_slot(name), &event.own[at]);
            key[1 + self.configured + at] = id;
            folded |= other;
        }
        let (series, other) = self.place(key);
        (series, folded | other)
    }

    /// The series of a ready-made row, and whether it was folded on the way. Dimensions that the
    /// metric does not have are left out; whoever reads rows has refused them before.
    pub fn find_row<'a>(
        &mut self,
        metric: &Metric,
        dims: impl Iterator<Item = (&'a str, &'a str)> + Clone,
    ) -> Result<(u32, bool), TooManyApps> {
        let app = dims.clone().find(|(name, _)| *name == "app").map_or("", |(_, value)| value);
        let app = self.app(app, APPS_MAX)?;
        Ok(self.find_dims(app, metric, dims, false))
    }

    /// Makes a stored series known under the caps that hold now; it is never folded.
    pub fn recall(&mut self, series: &Series, number: Option<u32>) -> u32 {
        let app = self.app(series.app(), usize::MAX).expect("no cap on what is stored");
        let key = self.key(app, &series.metric, series.dims(), true).0;
        match self.known(&key) {
            Some(series) => series,
            None => self.create(key, number),
        }
    }

    fn find_dims<'a>(&mut self, app: usize, metric: &Metric, dims: impl Iterator<Item = (&'a str, &'a str)>, all: bool) -> (u32, bool) {
        let (key, folded) = self.key(app, metric, dims, all);
        let (series, other) = self.place(key);
        (series, folded | other)
    }

    fn key<'a>(&mut self, app: usize, metric: &Metric, dims: impl Iterator<Item = (&'a str, &'a str)>, all: bool) -> (Key, bool) {
        let mut key: Key = smallvec![ABSENT; 1 + self.configured + 3];
        let (code, mut any_folded) = if all { self.known_code(app, metric) } else { self.code(app, metric) };
        key[0] = code;
        for (name, value) in dims {
            let own = metric.own_dimensions().iter().position(|own| *own == name);
            let (position, slot) = match (self.slots[..self.configured].iter().position(|slot| &*slot.name == name), own) {
                (Some(slot), _) => (1 + slot, slot),
                (None, Some(at)) => (1 + self.configured + at, self.own_slot(name)),
                (None, None) => continue,
            };
            if name == "app" {
                key[position] = self.intern(value);
                continue;
            }
            // A route that has lost its name since is known as a series, but nothing new counts under it.
            let (id, folded) = match all {
                true if name == "route" && self.template(app, slot, value).is_some() => (self.intern(value), false),
                true => (self.admit(app, slot, value), false),
                false => self.value(app, slot, value),
            };
            key[position] = id;
            any_folded |= folded;
        }
        (key, any_folded)
    }

    fn own_slot(&self, name: &str) -> usize {
        self.configured + OWN.iter().position(|own| *own == name).expect("OWN lists the own dimensions of every metric")
    }

    fn app(&mut self, name: &str, max: usize) -> Result<usize, TooManyApps> {
        if let Some(&app) = self.apps.get(name) {
            return Ok(app);
        }
        let named = self.slots.iter().any(|slot| &*slot.name == "app" && slot.values.contains(name));
        if self.apps.len() >= max && !named {
            return Err(TooManyApps);
        }
        let app = self.known.len();
        self.known.push(vec![Values::new(); self.slots.len()]);
        let name: Arc<str> = name.into();
        self.app_names.push(name.clone());
        self.apps.insert(name, app);
        Ok(app)
    }

    fn code(&mut self, app: usize, metric: &Metric) -> (u32, bool) {
        match metric {
            Metric::Custom(name) => {
                let (id, folded) = self.value(app, self.slots.len() - 1, name);
                (CUSTOM + id, folded)
            }
            _ => (code_of(metric), false),
        }
    }

    fn known_code(&mut self, app: usize, metric: &Metric) -> (u32, bool) {
        match metric {
            Metric::Custom(name) => (CUSTOM + self.admit(app, self.slots.len() - 1, name), false),
            _ => (code_of(metric), false),
        }
    }

    /// The id of a route, or of the template that was learnt for it.
    fn route(&mut self, app: usize, slot: usize, text: &str, now: Timestamp) -> (u32, bool) {
        if !self.routes.is_on() || text.is_empty() || self.known[app][slot].contains_key(text) {
            return self.value(app, slot, text);
        }
        let template = self.template(app, slot, text);
        let shown = template.as_deref().unwrap_or(text);
        let is_new = !self.known[app][slot].contains_key(shown) && !self.slots[slot].values.contains(shown);
        if !is_new || !self.routes.note(&self.app_names[app], shown, now) {
            return self.value(app, slot, shown);
        }
        self.forget_names(app, slot);
        let template = self.template(app, slot, text);
        self.value(app, slot, template.as_deref().unwrap_or(text))
    }

    /// The template that was learnt for a route, unless rules name the route itself.
    fn template(&self, app: usize, slot: usize, route: &str) -> Option<String> {
        self.routes.template(&self.app_names[app], route).filter(|_| !self.slots[slot].values.contains(route))
    }

    /// Routes that have just become values of a learnt place give up their names. Their series stay, with what was counted.
    fn forget_names(&mut self, app: usize, slot: usize) {
        let known = std::mem::take(&mut self.known[app][slot]);
        let keeps = |text: &Arc<str>| self.template(app, slot, text).is_none();
        let known = known.into_iter().filter(|(text, _)| keeps(text)).collect();
        self.known[app][slot] = known;
    }

    /// A route that was there before this process.
    pub fn recall_route(&mut self, series: &Series) {
        let (route, app) = (series.get("route"), self.apps.get(series.app()).copied());
        let slot = self.slots[..self.configured].iter().position(|slot| &*slot.name == "route");
        if let (Some(app), Some(slot)) = (app, slot)
            && !self.slots[slot].values.contains(route)
            && self.template(app, slot, route).is_none()
        {
            self.routes.note_old(&self.app_names[app], route);
        }
    }

    /// Takes over what was learnt before, or elsewhere.
    pub fn recall_learnt(&mut self, learnt: Learnt) {
        let app = self.apps.get(learnt.app.as_str()).copied();
        self.routes.recall(learnt);
        let slot = self.slots[..self.configured].iter().position(|slot| &*slot.name == "route");
        if let (Some(app), Some(slot)) = (app, slot) {
            self.forget_names(app, slot);
        }
    }

    /// The id of a value, or of `__other__` when the app has too many in this dimension.
    fn value(&mut self, app: usize, slot: usize, text: &str) -> (u32, bool) {
        if text.is_empty() {
            return (ABSENT, false);
        }
        let known = &self.known[app][slot];
        if let Some(&id) = known.get(text) {
            return (id, false);
        }
        let full = known.len() >= VALUES_MAX || self.texts.len() >= self.texts_max;
        if full && text != OTHER && !self.slots[slot].values.contains(text) {
            return (OTHER_ID, true);
        }
        (self.admit(app, slot, text), false)
    }

    fn admit(&mut self, app: usize, slot: usize, text: &str) -> u32 {
        let id = self.intern(text);
        if id > OTHER_ID {
            let text = self.texts[id as usize].clone();
            self.known[app][slot].insert(text, id);
        }
        id
    }

    fn intern(&mut self, text: &str) -> u32 {
        if let Some(&id) = self.ids.get(text) {
            return id;
        }
        let id = u32::try_from(self.texts.len()).expect("the number of texts is capped far below 2^32");
        let text: Arc<str> = text.into();
        self.texts.push(text.clone());
        self.ids.insert(text, id);
        id
    }

    fn known(&self, key: &Key) -> Option<u32> {
        let is_it = |series: &u32| self.keys[*series as usize].as_ref() == Some(key);
        self.index.find(self.hasher.hash_one(key), is_it).copied()
    }

    /// The series of a key, made if there is room, else the nearest folded one.
    fn place(&mut self, mut key: Key) -> (u32, bool) {
        if let Some(series) = self.known(&key) {
            return (series, false);
        }
        if self.len() < self.detailed_max {
            return (self.create(key, None), false);
        }
        let mut folded = false;
        for values_too in [false, true] {
            // The metric's own dimensions come after the configured ones, so they are the first to go.
            for position in (1..key.len()).rev() {
                if key[position] <= OTHER_ID || !self.may_fold(&key, position, values_too) {
                    continue;
                }
                key[position] = OTHER_ID;
                folded = true;
                if let Some(series) = self.known(&key) {
                    return (series, true);
                }
            }
            if !values_too && self.len() < self.series_max {
                break;
            }
        }
        (self.create(key, None), folded)
    }

    fn may_fold(&self, key: &Key, position: usize, values_too: bool) -> bool {
        let slot = match position.checked_sub(1 + self.configured) {
            None => &self.slots[position - 1],
            Some(at) => &self.slots[self.own_slot(self.metric(key).own_dimensions()[at])],
        };
        if !slot.named {
            return true;
        }
        values_too && &*slot.name != "app" && !slot.values.contains(&*self.texts[key[position] as usize])
    }

    fn create(&mut self, key: Key, number: Option<u32>) -> u32 {
        let series = number.or_else(|| self.free.pop()).unwrap_or(self.keys.len() as u32);
        let at = series as usize;
        if at >= self.keys.len() {
            self.keys.resize(at + 1, None);
        }
        let hash = self.hasher.hash_one(&key);
        self.keys[at] = Some(key);
        self.index.insert_unique(hash, series, |series| self.hasher.hash_one(self.keys[*series as usize].as_ref().expect("it is indexed")));
        series
    }

    fn metric(&self, key: &Key) -> Metric {
        match key[0].checked_sub(CUSTOM) {
            Some(id) => Metric::Custom(self.texts[id as usize].as_ref().to_owned()),
            None => BUILT_IN[key[0] as usize].clone(),
        }
    }

    /// A series as the rest of the program knows it; `None` if there is none of this number.
    pub fn series(&self, series: u32) -> Option<Series> {
        let key = self.keys.get(series as usize)?.as_ref()?;
        let metric = self.metric(key);
        let own = metric.own_dimensions().iter().map(|name| &self.slots[self.own_slot(name)].name);
        let names = self.slots[..self.configured].iter().map(|slot| &slot.name).chain(own);
        let dims: Vec<_> = names.zip(&key[1..]).map(|(name, id)| (name.clone(), self.texts[*id as usize].clone())).collect();
        Some(Series::new(metric, dims))
    }

    /// Forgets every series that `keep` does not want, and all values that only those had.
    pub fn retain(&mut self, mut keep: impl FnMut(u32) -> bool) {
        let numbers = 0..self.keys.len() as u32;
        let kept: Vec<(u32, Series)> = numbers.filter_map(|n| self.series(n).map(|s| (n, s))).filter(|(n, _)| keep(*n)).collect();
        self.clear();
        self.keys.iter_mut().for_each(|key| *key = None);
        for (number, series) in kept {
            self.recall(&series, Some(number));
        }
        let apps = &self.apps;
        self.routes.retain_apps(|app| apps.contains_key(app));
        self.free = (0..self.keys.len() as u32).rev().filter(|n| self.keys[*n as usize].is_none()).collect();
    }
}

fn code_of(metric: &Metric) -> u32 {
    BUILT_IN.iter().position(|known| known == metric).expect("custom metrics are handled by the caller") as u32
}
