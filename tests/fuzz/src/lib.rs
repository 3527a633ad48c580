//! What the targets share: an intake with a clock that stands still, and what must hold whatever it is sent.

use std::net::IpAddr;
use std::sync::Arc;

use burnwatch::clock::FixedClock;
use burnwatch::config::OptOut;
use burnwatch::domain::aggregate::{Aggregator, Settings as Folding};
use burnwatch::domain::cell::Cell;
use burnwatch::domain::keyed::KeyedHash;
use burnwatch::domain::redact::{Redactor, VALUE_MAX};
use burnwatch::domain::route_template::Templates;
use burnwatch::domain::series::Series;
use burnwatch::domain::time::{Span, Timestamp};
use burnwatch::intake::{Intake, Settings};
use burnwatch::sink::Sink;
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};

pub const DIMENSIONS: [&str; 10] = ["app", "environment", "route", "region", "device", "browser", "os", "release", "cohort", "sdk"];
pub const NOW: Timestamp = Timestamp(1_795_362_400_000);
/// After so many bodies everything starts anew: memory that only fills up finds nothing.
const LIFE: u32 = 2_000;

/// An intake that answers on this thread.
pub struct Bench {
    intake: Intake,
    pub sink: Arc<Sink>,
    runtime: tokio::runtime::Runtime,
    bodies: u32,
}

impl Default for Bench {
    fn default() -> Bench {
        let folding = Folding {
            bucket: Span::MINUTE,
            settle: Span::seconds(30),
            dimensions: DIMENSIONS.map(str::to_owned).to_vec(),
            series_max: 1_000,
            remember: Span::days(8),
        };
        let sink = Arc::new(Sink::new(Aggregator::new(folding).learning(5, &["/user/me".to_owned()])));
        let settings = Settings {
            keys: Default::default(),
            allowed_origins: vec!["*".into()],
            body_bytes_max: 64 << 10,
            otlp_bytes_max: 64 << 10,
            sample_rates: Default::default(),
            sample_rate_min: 0.001,
            rate_per_source: 0,
            influence_per_source: 1_000,
            trusted_proxies: Vec::new(),
            geo: None,
            consent: OptOut::Anonymous,
            browser_signal: OptOut::Anonymous,
            remember: Span::days(8),
            hash: KeyedHash::new([7; 16]),
            redactor: Redactor::new(true, &["secret-[0-9]+".to_owned()]).expect("a fixed pattern"),
            templates: Templates::new(&["/user/me".to_owned(), "/shop/:sku/*".to_owned()]),
            cohort_flags: vec!["new_checkout".into()],
            telemetry: true,
        };
        let intake = Intake::new(settings, sink.clone(), Arc::new(FixedClock::new(NOW)));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        Bench { intake, sink, runtime, bodies: 0 }
    }
}

impl Bench {
    /// Posts a body; whatever is in it is answered, and not as the daemon's own failure.
    pub fn post(&mut self, path: &str, headers: &[(&str, &str)], body: &[u8]) {
        if self.bodies >= LIFE {
            *self = Bench::default();
        }
        self.bodies += 1;
        let request = headers.iter().fold(Request::post(path), |request, (name, value)| request.header(*name, *value));
        let request = request.body(Full::new(Bytes::copy_from_slice(body))).expect("fixed headers");
        // An address of the network that is free for examples, so that every bound holds.
        let peer = IpAddr::from([203, 0, 113, self.bodies as u8]);
        let answer = self.runtime.block_on(self.intake.answer(peer, request));
        assert!(answer.status().as_u16() < 500, "{}", answer.status());
        let _ = self.runtime.block_on(answer.into_body().collect()).expect("an answer is there at once");
        self.check();
    }

    /// Looks at what was counted since the last call.
    pub fn check(&self) {
        let drained = self.sink.drain().1;
        for (series, _, cell) in &drained.cells {
            let series = self.sink.with(|aggregator| aggregator.series(*series)).expect("what was counted has a series");
            is_sane(&series, cell);
        }
    }
}

/// Figures that are figures, and texts that are short, of one line, and of one direction.
fn is_sane(series: &Series, cell: &Cell) {
    // Of an update only the difference is in here, so a sum may well be negative.
    assert!(cell.counts.raw >= 0 && cell.counts.raw_bad >= 0 && cell.counts.total >= 0, "{:?}", cell.counts);
    assert!(cell.sum.is_finite(), "{}", cell.sum);
    for (name, value) in series.dims() {
        let is_unsafe = |c: char| c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c);
        assert!(value.len() <= VALUE_MAX && !value.chars().any(is_unsafe), "{name} {value:?}");
    }
}
