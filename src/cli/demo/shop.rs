//! The users of today: they load pages, wait, pay and fail, and their browsers send real beacons to the intake.
//!
//! The daemon learns of them what it would learn of anybody: bodies over HTTP. What breaks is decided here ([`Rollout`]), user by
//! user, and told to nobody.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, ORIGIN, USER_AGENT};
use serde_json::{Value, json};
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

use crate::clock::SharedClock;
use crate::domain::metric::Vital;
use crate::domain::time::Timestamp;

use super::world::{self, Dice, MACHINES, Machine, Page, REGIONS, Region, STABLE};

const TICK: Duration = Duration::from_millis(100);
/// Beacons under way at a time; a browser gives up as well.
const UNDER_WAY_MAX: usize = 64;
/// Visits that are remembered to go on.
const VISITS_MAX: usize = 600;
/// How many people there are.
const PEOPLE: u64 = 40_000;
/// Share of checkout requests that the bad release fails, and what it multiplies the largest paint by.
const BREAKS: f64 = 0.6;
const SLOWS: f64 = 2.3;
/// The error that the bad release throws.
const BROKEN_ERROR: (&str, &str, &str) = (
    "PaymentError",
    "payment provider answered 500",
    "PaymentError: payment provider answered 500\n    at pay (https://shop.example/assets/checkout.js:1:4211)",
);

/// A release on its way to the users.
#[derive(Clone, Debug, PartialEq)]
pub struct Rollout {
    pub release: String,
    /// Share of the users everywhere that have it.
    pub share: f64,
    /// Where it fails.
    pub breaks_in: &'static str,
}

/// What became of the beacons.
#[derive(Debug, Default)]
pub struct Sent {
    pub beacons: AtomicU64,
    /// The intake answered something else than 202, or nothing.
    pub refused: AtomicU64,
}

/// Somebody who is in the shop.
struct Visit {
    user: u64,
    session: u64,
    region: &'static Region,
    machine: &'static Machine,
}

/// What one page load tells: the body, and who sends it.
pub(super) struct Beacon {
    pub body: Value,
    pub region: &'static Region,
    pub machine: &'static Machine,
}

/// Everybody in the shop.
pub(super) struct Crowd {
    dice: Dice,
    visits: Vec<Visit>,
}

/// Sends beacons until told to stop.
pub async fn run(intake: String, rollout: watch::Receiver<Option<Rollout>>, clock: SharedClock, sent: Arc<Sent>, stop: CancellationToken) {
    let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10)).build();
    let Ok(http) = http else { return };
    let mut crowd = Crowd::new(clock.now().0 as u64);
    let room = Arc::new(Semaphore::new(UNDER_WAY_MAX));
    let mut timer = tokio::time::interval(TICK);
    timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    while !stop.is_cancelled() {
        tokio::select! {
            _ = timer.tick() => {}
            () = stop.cancelled() => return,
        }
        let now = clock.now();
        let loads = crowd.dice.poisson(world::loads_per_second(now) * TICK.as_secs_f64());
        for _ in 0..loads {
            let beacon = crowd.load(rollout.borrow().as_ref(), now);
            let Ok(permit) = room.clone().acquire_owned().await else { return };
            let request = http
                .post(&intake)
                .header(USER_AGENT, beacon.machine.user_agent)
                .header("cf-ipcountry", beacon.region.country.to_ascii_uppercase())
                .header(ORIGIN, "https://shop.example")
                // What `navigator.sendBeacon` calls a text.
                .header(CONTENT_TYPE, "text/plain;charset=UTF-8")
                .body(beacon.body.to_string());
            let sent = sent.clone();
            tokio::spawn(async move {
                let accepted = request.send().await.is_ok_and(|answer| answer.status() == reqwest::StatusCode::ACCEPTED);
                sent.beacons.fetch_add(1, Ordering::Relaxed);
                sent.refused.fetch_add(u64::from(!accepted), Ordering::Relaxed);
                drop(permit);
            });
        }
    }
}

impl Crowd {
    pub(super) fn new(seed: u64) -> Crowd {
        Crowd { dice: Dice::new(seed), visits: Vec::new() }
    }

    /// Who loads a page: someone who has just come, or someone who is here.
    fn visitor(&mut self, page: Page) -> usize {
        if page == Page::Home || self.visits.is_empty() {
            let user = self.dice.next() % PEOPLE;
            // The same people live where they live and have the machine that they have.
            let mut of_user = Dice::new(user);
            let region = of_user.pick(&REGIONS, |region| region.share);
            let machine = of_user.pick(&MACHINES, |machine| machine.share);
            let visit = Visit { user, session: self.dice.next(), region, machine };
            if self.visits.len() < VISITS_MAX {
                self.visits.push(visit);
                return self.visits.len() - 1;
            }
            let at = (self.dice.next() % VISITS_MAX as u64) as usize;
            self.visits[at] = visit;
            return at;
        }
        (self.dice.next() % self.visits.len() as u64) as usize
    }

    /// One page load at `now`, and all that its browser reports of it.
    pub(super) fn load(&mut self, rollout: Option<&Rollout>, now: Timestamp) -> Beacon {
        let page = *self.dice.pick(&Page::ALL, |page| page.share());
        let at = self.visitor(page);
        let Visit { user, session, region, machine } = self.visits[at];
        let dice = &mut self.dice;
        let has_it = |rollout: &&Rollout| Dice::new(user ^ 0xdead_beef).chance(rollout.share);
        let rollout = rollout.filter(has_it);
        let release = rollout.map_or(STABLE, |rollout| &rollout.release);
        let broken = page == Page::Checkout && rollout.is_some_and(|rollout| rollout.breaks_in == region.country);
        let slow = region.slow * machine.slow;

        // Events happened in the last second or so; all clocks are right here.
        let ts = |dice: &mut Dice| now.0 - (dice.fraction() * 900.0) as i64;
        let mut events = Vec::new();
        let mut add = |dice: &mut Dice, mut event: Value| {
            event["ts"] = ts(dice).into();
            events.push(event);
        };
        if page == Page::Home {
            add(dice, json!({ "kind": "session" }));
        }
        let loaded = !dice.chance(world::LOAD_FAILS);
        add(dice, json!({ "kind": "page_view", "nav": "hard", "ok": loaded }));
        for vital in [Vital::Lcp, Vital::Cls, Vital::Inp] {
            if vital == Vital::Inp && !dice.chance(world::INTERACTS) {
                continue;
            }
            let worse = if broken && vital == Vital::Lcp { SLOWS } else { 1.0 };
            let value = world::value(dice, world::median(vital, page) * slow * worse);
            add(dice, json!({ "kind": "web_vital", "name": vital.name().to_ascii_uppercase(), "value": round(value), "nav": "hard" }));
        }
        if dice.chance(world::SCRIPT_FAILS) {
            let (kind, message) = world::ORDINARY_ERROR;
            add(dice, json!({ "kind": "js_error", "type": kind, "message": message }));
        }
        if let Some(step) = page.step() {
            add(dice, json!({ "kind": "step", "funnel": world::FUNNEL, "step": step }));
        }
        let (method, path) = page.request();
        let fails = if broken { BREAKS } else { page.request_fails() };
        let mut failed = dice.chance(fails);
        let mut tries = 1;
        loop {
            let value = round(world::value(dice, world::request_median(page) * slow));
            let status = if failed { 500 } else { 200 };
            add(dice, json!({ "kind": "request", "method": method, "path": path, "status": status, "value": value }));
            // Some press the button once more.
            if !failed || tries == 2 || !dice.chance(0.4) {
                break;
            }
            tries += 1;
            failed = dice.chance(fails);
        }
        if failed && broken {
            let (kind, message, stack) = BROKEN_ERROR;
            add(dice, json!({ "kind": "js_error", "type": kind, "message": message, "stack": stack }));
        }
        if page == Page::Checkout && !failed && !dice.chance(world::LEAVES) {
            add(dice, json!({ "kind": "step", "funnel": world::FUNNEL, "step": "paid" }));
        }
        let url = match page {
            Page::Product => format!("https://shop.example/product/{}?ref=home", 1_000 + user % 977),
            Page::Home | Page::Cart | Page::Checkout => format!("https://shop.example{}", page.route()),
        };
        let body = json!({
            "v": 1, "app": world::APP, "release": release, "environment": world::ENVIRONMENT, "user": format!("user-{user}"),
            "session": format!("{session:016x}"), "page": url, "sent_at": now.0, "events": events,
        });
        Beacon { body, region, machine }
    }
}

/// Browsers round as well.
fn round(value: f64) -> f64 {
    if value < 1.0 { (value * 10_000.0).round() / 10_000.0 } else { (value * 10.0).round() / 10.0 }
}
