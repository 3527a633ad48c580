//! The simulated shop as numbers: who visits it, on what, which pages, how fast, and how often something goes wrong.
//!
//! Users of today (`shop`) and the thirty days before them (`history`) are made of these same numbers, so that the past is one
//! that today can be compared with. Everything here is a function of its arguments; chance is a seeded [`Dice`].

use crate::domain::agent::{Agent, Hints};
use crate::domain::fingerprint::fingerprint;
use crate::domain::metric::{Metric, Vital};
use crate::domain::series::Series;
use crate::domain::time::{Span, Timestamp};

/// The app of all events.
pub const APP: &str = "shop";
pub const ENVIRONMENT: &str = "production";
/// The release that works.
pub const STABLE: &str = "2.3.0";
/// Page loads per second at the mean of the day.
const LOADS_PER_SECOND: f64 = 20.0;
/// Share of requests to the checkout that fail on an ordinary day.
pub const CHECKOUT_FAILS: f64 = 0.0003;
/// Share of page loads on which a script fails on an ordinary day.
pub const SCRIPT_FAILS: f64 = 0.003;
/// Share of page loads that do not succeed on an ordinary day.
pub const LOAD_FAILS: f64 = 0.001;
/// Share of checkout pages whose visitor thinks better of it.
pub const LEAVES: f64 = 0.04;
/// Share of page loads with an interaction.
pub const INTERACTS: f64 = 0.7;
/// Spread of durations: the standard deviation of their logarithm.
const SIGMA: f64 = 0.3;

/// A country whose users visit the shop.
pub struct Region {
    /// ISO 3166, as delivery networks say it.
    pub country: &'static str,
    pub share: f64,
    /// What durations are multiplied by.
    pub slow: f64,
}

pub const REGIONS: [Region; 5] = [
    Region { country: "de", share: 0.30, slow: 1.0 },
    Region { country: "fr", share: 0.22, slow: 1.0 },
    Region { country: "us", share: 0.22, slow: 1.05 },
    Region { country: "br", share: 0.13, slow: 1.12 },
    Region { country: "in", share: 0.13, slow: 1.15 },
];

/// A machine and a browser on it.
pub struct Machine {
    pub user_agent: &'static str,
    pub share: f64,
    pub slow: f64,
}

impl Machine {
    /// What the intake makes of its user agent.
    pub fn agent(&self) -> Agent {
        Agent::read(self.user_agent, Hints::default())
    }
}

pub const MACHINES: [Machine; 4] = [
    Machine {
        user_agent: "Mozilla/5.0 (Linux; Android 15; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Mobile Safari/537.36",
        share: 0.38,
        slow: 1.1,
    },
    Machine {
        user_agent: "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Mobile/15E148 Safari/604.1",
        share: 0.27,
        slow: 1.0,
    },
    Machine {
        user_agent: "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
        share: 0.27,
        slow: 0.92,
    },
    Machine { user_agent: "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0", share: 0.08, slow: 0.95 },
];

/// A page of the shop, and the request that it makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Page {
    Home,
    Product,
    Cart,
    Checkout,
}

impl Page {
    pub const ALL: [Page; 4] = [Page::Home, Page::Product, Page::Cart, Page::Checkout];

    /// Share of all page loads.
    pub const fn share(self) -> f64 {
        match self {
            Page::Home => 0.28,
            Page::Product => 0.38,
            Page::Cart => 0.18,
            Page::Checkout => 0.16,
        }
    }

    /// The template of its path.
    pub const fn route(self) -> &'static str {
        match self {
            Page::Home => "/",
            Page::Product => "/product/:id",
            Page::Cart => "/cart",
            Page::Checkout => "/checkout",
        }
    }

    /// Method and path of its request.
    pub const fn request(self) -> (&'static str, &'static str) {
        match self {
            Page::Home | Page::Product => ("GET", "/api/catalog"),
            Page::Cart => ("POST", "/api/cart"),
            Page::Checkout => ("POST", "/api/checkout"),
        }
    }

    /// Share of its requests that fail on an ordinary day.
    pub const fn request_fails(self) -> f64 {
        match self {
            Page::Home | Page::Product => 0.0004,
            Page::Cart => 0.0005,
            Page::Checkout => CHECKOUT_FAILS,
        }
    }

    /// The step of the checkout funnel that its load is.
    pub const fn step(self) -> Option<&'static str> {
        match self {
            Page::Home | Page::Product => None,
            Page::Cart => Some("cart"),
            Page::Checkout => Some("started"),
        }
    }
}

/// What a value is like: its median for an ordinary user.
pub const fn median(vital: Vital, page: Page) -> f64 {
    match (vital, page) {
        (Vital::Cls, Page::Home | Page::Cart) => 0.02,
        (Vital::Cls, Page::Product | Page::Checkout) => 0.04,
        (Vital::Inp, Page::Home | Page::Product | Page::Cart) => 90.0,
        (Vital::Inp, Page::Checkout) => 120.0,
        (_, Page::Home) => 1_300.0,
        (_, Page::Product) => 1_450.0,
        (_, Page::Cart) => 1_100.0,
        (_, Page::Checkout) => 1_200.0,
    }
}

/// Median duration of a request in milliseconds.
pub const fn request_median(page: Page) -> f64 {
    match page {
        Page::Home | Page::Product => 110.0,
        Page::Cart => 140.0,
        Page::Checkout => 320.0,
    }
}

/// The error that scripts throw on an ordinary day: type and message.
pub const ORDINARY_ERROR: (&str, &str) = ("TypeError", "Cannot read properties of undefined (reading 'price')");
/// The funnel.
pub const FUNNEL: &str = "checkout";

/// One stream of events: what history keeps a series of for each region, machine and release.
#[derive(Clone, Debug)]
pub struct Flow {
    pub metric: Metric,
    pub route: &'static str,
    pub own: Vec<(&'static str, String)>,
    /// Events per page load of the whole shop.
    pub per_load: f64,
    pub bad: Bad,
    /// Median of the values, if they have any.
    pub median: Option<f64>,
}

/// Which events of a flow are bad.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bad {
    None,
    Share(f64),
    All,
}

/// Every flow of an ordinary day; `checkout_fails` is the share of failing checkout requests.
pub fn flows(checkout_fails: f64) -> Vec<Flow> {
    let mut flows = Vec::new();
    for page in Page::ALL {
        let flow = |metric, own, per_load, bad, median| Flow { metric, route: page.route(), own, per_load, bad, median };
        let nav = || vec![("nav", "hard".to_owned())];
        let loads = page.share();
        flows.push(flow(Metric::PageView, nav(), loads, Bad::Share(LOAD_FAILS), None));
        for (vital, part) in [(Vital::Lcp, 1.0), (Vital::Cls, 1.0), (Vital::Inp, INTERACTS)] {
            flows.push(flow(Metric::Vital(vital), nav(), loads * part, Bad::None, Some(median(vital, page))));
        }
        let error = vec![("fingerprint", fingerprint(ORDINARY_ERROR.0, ORDINARY_ERROR.1, ""))];
        flows.push(flow(Metric::JsError, error, loads * SCRIPT_FAILS, Bad::All, None));
        let step = |name: &str| vec![("funnel", FUNNEL.to_owned()), ("step", name.to_owned())];
        if let Some(name) = page.step() {
            flows.push(flow(Metric::Step, step(name), loads, Bad::None, None));
        }
        if page == Page::Checkout {
            flows.push(flow(Metric::Step, step("paid"), loads * (1.0 - checkout_fails) * (1.0 - LEAVES), Bad::None, None));
        }
        if page == Page::Home {
            flows.push(flow(Metric::Session, Vec::new(), loads, Bad::None, None));
        }
        let (method, path) = page.request();
        let fails = if page == Page::Checkout { checkout_fails } else { page.request_fails() };
        for (status, share, bad) in [("2xx", 1.0 - fails, Bad::None), ("5xx", fails, Bad::All)] {
            let own = vec![("method", method.to_owned()), ("status", status.to_owned())];
            let request = flow(Metric::Request, own, loads * share, bad, Some(request_median(page)));
            match flows.iter_mut().find(|known| known.metric == Metric::Request && known.route == path && known.own == request.own) {
                // Two pages make the same request.
                Some(known) => known.per_load += request.per_load,
                None => flows.push(Flow { route: path, ..request }),
            }
        }
    }
    flows
}

impl Flow {
    /// Its series for users of one kind.
    pub fn series(&self, region: &Region, machine: &Machine, release: &str) -> Series {
        let agent = machine.agent();
        let shared = [
            ("app", APP),
            ("environment", ENVIRONMENT),
            ("route", self.route),
            ("region", region.country),
            ("device", agent.device),
            ("browser", agent.browser),
            ("os", agent.os),
            ("release", release),
        ];
        let own = self.own.iter().map(|(name, value)| (*name, value.as_str()));
        Series::new(self.metric.clone(), shared.into_iter().chain(own).map(|(name, value)| (name.into(), value.into())))
    }
}

/// Page loads per second of all users at a point in time: quiet nights, busy evenings, fewer people at weekends.
pub fn loads_per_second(at: Timestamp) -> f64 {
    let day = at.floor(Span::DAY);
    let hour = (at - day).as_secs_f64() / 3600.0;
    let curve = 1.0 + 0.3 * ((hour - 17.0) / 24.0 * std::f64::consts::TAU).cos();
    // The epoch was a Thursday.
    let weekday = (day.0.div_euclid(Span::DAY.0) + 4).rem_euclid(7);
    let week = if matches!(weekday, 0 | 6) { 0.9 } else { 1.04 };
    LOADS_PER_SECOND * curve * week
}

/// A duration (or another positive value) around a median.
pub fn value(dice: &mut Dice, median: f64) -> f64 {
    median * (SIGMA * dice.normal()).exp()
}

/// The share of values of [`value`] above a limit (Abramowitz and Stegun 26.2.17).
pub fn share_above(median: f64, limit: f64) -> f64 {
    let z = (limit / median).ln() / SIGMA;
    let t = 1.0 / (1.0 + 0.231_641_9 * z.abs());
    let poly = t * (0.319_381_53 + t * (-0.356_563_782 + t * (1.781_477_937 + t * (-1.821_255_978 + t * 1.330_274_429))));
    let tail = (-z * z / 2.0).exp() / std::f64::consts::TAU.sqrt() * poly;
    if z >= 0.0 { tail } else { 1.0 - tail }
}

/// Points of the distribution of [`value`] in equal shares, for `median` 1.
pub fn points() -> [f64; 20] {
    // Standard normal quantiles at 2.5 %, 7.5 % … 47.5 %; the other half mirrors them.
    const HALF: [f64; 10] = [1.960, 1.440, 1.150, 0.935, 0.755, 0.598, 0.454, 0.319, 0.189, 0.063];
    std::array::from_fn(|at| {
        let z = if at < 10 { -HALF[at] } else { HALF[19 - at] };
        (SIGMA * z).exp()
    })
}

/// Chance that repeats itself: SplitMix64 from a seed.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// The same seed gives the same throws.
    pub const fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    /// Any number.
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number in [0, 1).
    pub fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// True with this probability.
    pub fn chance(&mut self, probability: f64) -> bool {
        self.fraction() < probability
    }

    /// Standard normal (Box and Muller).
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.fraction()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.fraction()).cos()
    }

    /// How many events come when so many are to be expected.
    pub fn poisson(&mut self, expected: f64) -> i64 {
        if expected > 30.0 {
            return (expected + expected.sqrt() * self.normal()).round().max(0.0) as i64;
        }
        let (mut product, limit, mut count) = (self.fraction(), (-expected).exp(), 0);
        while product > limit {
            product *= self.fraction();
            count += 1;
        }
        count
    }

    /// One of several, by their shares, which add up to about one.
    pub fn pick<'a, T>(&mut self, among: &'a [T], share: impl Fn(&T) -> f64) -> &'a T {
        let mut left = self.fraction();
        for one in among {
            left -= share(one);
            if left < 0.0 {
                return one;
            }
        }
        &among[among.len() - 1]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up() {
        let sums = [
            REGIONS.iter().map(|region| region.share).sum::<f64>(),
            MACHINES.iter().map(|machine| machine.share).sum(),
            Page::ALL.iter().map(|page| page.share()).sum(),
        ];
        assert!(sums.iter().all(|sum: &f64| (sum - 1.0).abs() < 1e-9), "{sums:?}");
    }

    #[test]
    fn every_machine_is_told_apart() {
        let agents: Vec<Agent> = MACHINES.iter().map(Machine::agent).collect();
        assert!(agents.iter().all(|agent| !agent.device.is_empty() && !agent.browser.is_empty() && !agent.os.is_empty()), "{agents:?}");
        assert!(agents.iter().all(|agent| agent.device != "bot"));
    }

    #[test]
    fn chance_keeps_its_means() {
        let mut dice = Dice::new(7);
        for expected in [0.2, 5.0, 100.0] {
            let mean = (0..2_000).map(|_| dice.poisson(expected)).sum::<i64>() as f64 / 2_000.0;
            assert!((mean - expected).abs() < 0.05 * expected + 0.05, "{expected}: {mean}");
        }
        let mean = (0..5_000).map(|_| dice.normal()).sum::<f64>() / 5_000.0;
        assert!(mean.abs() < 0.06, "{mean}");
    }

    #[test]
    fn history_and_today_have_the_same_distribution() {
        let mut dice = Dice::new(3);
        let values: Vec<f64> = (0..20_000).map(|_| value(&mut dice, 1_200.0)).collect();
        for limit in [800.0, 1_200.0, 1_700.0] {
            let seen = values.iter().filter(|value| **value > limit).count() as f64 / values.len() as f64;
            assert!((seen - share_above(1_200.0, limit)).abs() < 0.015, "{limit}: {seen}");
            let points = points().iter().filter(|point| *point * 1_200.0 > limit).count() as f64 / 20.0;
            assert!((seen - points).abs() < 0.051, "{limit}: {points}");
        }
    }

    #[test]
    fn a_shop_has_its_hours_but_always_some_visitors() {
        let at = |hour: i64| loads_per_second(Timestamp(0) + Span::hours(hour));
        assert!((0..24 * 7).all(|hour| (10.0..40.0).contains(&at(hour))));
        assert!(at(17) > 1.5 * at(5));
    }
}
