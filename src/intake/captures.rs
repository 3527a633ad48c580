//! For tests: an intake that is fed with what real clients sent, with the headers with which they did.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};

use super::tests::settings;
use super::{Intake, Settings};
use crate::clock::FixedClock;
use crate::domain::aggregate::{self, Aggregator};
use crate::domain::cell::Cell;
use crate::domain::time::{Span, Timestamp};
use crate::sink::Sink;

pub(super) const DIMENSIONS: [&str; 10] = ["app", "environment", "route", "region", "device", "browser", "os", "release", "cohort", "sdk"];

/// An intake, its sink, and a clock that stands still.
pub(super) struct Bench {
    pub intake: Intake,
    pub sink: Arc<Sink>,
    pub clock: Arc<FixedClock>,
    /// Everything that was counted, by metric and dimensions.
    pub cells: BTreeMap<(String, BTreeMap<String, String>), Cell>,
}

/// A client's post as it was captured.
pub(super) struct Capture {
    pub name: String,
    pub run: String,
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// The captured posts of a client, in the order in which they came.
pub(super) fn captures(client: &str) -> Vec<Capture> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/captures").join(client);
    let mut metas: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    metas.retain(|path| path.to_str().unwrap().ends_with(".meta.json"));
    metas.sort();
    let mut found = Vec::new();
    for meta in metas {
        let name = meta.file_name().unwrap().to_str().unwrap()[..3].to_owned();
        let meta: serde_json::Value = serde_json::from_slice(&std::fs::read(meta).unwrap()).unwrap();
        let text = |names: [&str; 2]| names.iter().find_map(|name| meta[*name].as_str()).unwrap().to_owned();
        if text(["method", "m"]) != "POST" {
            continue;
        }
        let body = ["gzip", "envelope", "json"].iter().find_map(|end| std::fs::read(folder.join(format!("{name}.{end}"))).ok()).unwrap();
        let headers = meta["headers"].as_object().unwrap().iter();
        let headers = headers.map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned())).collect();
        found.push(Capture { name, run: text(["run", "run"]), path: text(["path", "url"]), headers, body });
    }
    found
}

impl Bench {
    pub fn new() -> Bench {
        Bench::with(Settings { body_bytes_max: 1 << 20, rate_per_source: 0, cohort_flags: vec!["new_checkout".into()], ..settings() })
    }

    pub fn with(settings: Settings) -> Bench {
        let sink = Arc::new(Sink::new(Aggregator::new(aggregate::Settings {
            bucket: Span::MINUTE,
            settle: Span::seconds(30),
            dimensions: DIMENSIONS.map(str::to_owned).to_vec(),
            series_max: 10_000,
            remember: Span::days(8),
        })));
        let clock = Arc::new(FixedClock::new(Timestamp(1_795_362_400_000)));
        let intake = Intake::new(settings, sink.clone(), clock.clone());
        Bench { intake, sink, clock, cells: BTreeMap::new() }
    }

    /// Status, headers and body of the answer to a post.
    pub async fn post(&mut self, path: &str, headers: &[(&str, &str)], body: impl Into<Vec<u8>>) -> (u16, HeaderMap, String) {
        let mut request = Request::post(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(Bytes::from(body.into()))).unwrap();
        let answer: Response<Full<Bytes>> = self.intake.answer(IpAddr::from([127, 0, 0, 1]), request).await;
        let (head, body) = answer.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        (head.status.as_u16(), head.headers, String::from_utf8(body.to_vec()).unwrap())
    }

    pub async fn replay(&mut self, capture: &Capture) -> (u16, HeaderMap, String) {
        let headers: Vec<(&str, &str)> = capture.headers.iter().map(|(name, value)| (&**name, &**value)).collect();
        self.post(&capture.path, &headers, capture.body.clone()).await
    }

    /// Takes over what was counted since the last call.
    pub fn count(&mut self) {
        let mut drained = self.sink.drain().1;
        for (series, _, cell) in drained.cells.drain(..) {
            let series = self.sink.with(|aggregator| aggregator.series(series)).unwrap();
            let key = (series.metric.to_string(), series.dims().map(|(name, value)| (name.to_owned(), value.to_owned())).collect());
            self.cells.entry(key).or_default().merge(&cell);
        }
    }

    /// Weighted total and bad of a metric where the dimensions have these values, in whole events.
    pub fn total(&mut self, metric: &str, dims: &[(&str, &str)]) -> (i64, i64) {
        self.count();
        let fits = |have: &BTreeMap<String, String>| dims.iter().all(|(name, value)| have.get(*name).map_or("", |v| v) == *value);
        let cells = self.cells.iter().filter(|((name, have), _)| name == metric && fits(have));
        cells.fold((0, 0), |(total, bad), (_, cell)| (total + cell.counts.total / 1_000_000, bad + cell.counts.bad / 1_000_000))
    }

    /// The values that a dimension has, over all metrics.
    pub fn values(&mut self, dimension: &str) -> Vec<String> {
        self.count();
        let mut values: Vec<String> = self.cells.keys().map(|(_, dims)| dims.get(dimension).cloned().unwrap_or_default()).collect();
        values.sort();
        values.dedup();
        values
    }

    /// Sum of a metric's values where the dimensions have these values.
    pub fn sum(&mut self, metric: &str, dims: &[(&str, &str)]) -> f64 {
        self.count();
        let fits = |have: &BTreeMap<String, String>| dims.iter().all(|(name, value)| have.get(*name).map_or("", |v| v) == *value);
        self.cells.iter().filter(|((name, have), _)| name == metric && fits(have)).map(|(_, cell)| cell.sum).sum()
    }
}
