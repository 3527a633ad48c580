//! The public listener: what clients report from anywhere on the internet, and no other route.
//!
//! A request is let in (origin, key, limits), read and inflated within bounds, decoded into
//! normalised events, and handed to the [`Sink`]. Whatever is wrong with it has a reason, is
//! counted, and is never answered with a server error. Cookies and addresses are neither logged nor kept.

mod body;
#[cfg(test)]
mod captures;
mod connections;
mod cors;
mod endpoint;
pub mod enrich;
mod faro;
pub mod geo;
mod limits;
mod memory;
#[cfg(test)]
mod mutations;
mod otlp;
pub mod reading;
pub mod reason;
mod reports;
pub mod rum;
mod sentry;
mod serve;
mod uploads;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::ALLOW;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Body;
use metrics::{counter, gauge};
use tokio::time::Instant;

pub use serve::serve;

use crate::clock::SharedClock;
use crate::config::{Config, Network, OptOut};
use crate::domain::cell::UNIT;
use crate::domain::event::Event;
use crate::domain::influence::Influence;
use crate::domain::keyed::{KeyedHash, Purpose};
use crate::domain::metric::Metric;
use crate::domain::redact::Redactor;
use crate::domain::route_template::Templates;
use crate::domain::telemetry;
use crate::domain::time::{Span, Timestamp};
use crate::sink::Sink;
use connections::Connections;
use cors::Origins;
use endpoint::{Endpoint, Outcome, Overload, Post, parameter};
use enrich::Enrichment;
use geo::Geo;
use limits::{Limits, Source};
use memory::Memory;
use reading::Decoded;
use reason::{Reason, Refusal};
use uploads::Uploads;

/// How long a head, and then a body, may take to arrive.
const PATIENCE: Duration = Duration::from_secs(12);
/// The longest wait of `?ack=durable`.
const ACK_PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of a body that cost as much as one event.
const BYTES_PER_EVENT: usize = 1_024;
/// While the daemon is overloaded, at least one in so many beacons is kept.
const THINNING_MAX: u64 = 64;

/// How beacons are taken in.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Empty: open.
    pub keys: BTreeSet<String>,
    pub allowed_origins: Vec<String>,
    pub body_bytes_max: usize,
    pub otlp_bytes_max: usize,
    /// Per app, for senders that do not say.
    pub sample_rates: BTreeMap<String, f64>,
    pub sample_rate_min: f64,
    pub rate_per_source: u32,
    /// Events a minute that one network or person may add to one metric of an app; 0 is no bound.
    pub influence_per_source: u32,
    /// Proxies that are believed when they say for whom they speak, beside those on this machine.
    pub trusted_proxies: Vec<Network>,
    /// Tells the country of an address where no header does.
    pub geo: Option<Geo>,
    /// For people who did not consent.
    pub consent: OptOut,
    /// For browsers that send `Sec-GPC: 1` or `DNT: 1`.
    pub browser_signal: OptOut,
    /// How far back an event may lie: `retention.bucket`.
    pub remember: Span,
    pub hash: KeyedHash,
    pub redactor: Redactor,
    /// Route templates that are configured.
    pub templates: Templates,
    /// Flags whose variants become the `cohort` dimension.
    pub cohort_flags: Vec<String>,
    /// Whether what beacons say about the telemetry itself is counted too.
    pub telemetry: bool,
}

impl Settings {
    /// From the configuration. `hash` has to be the same after a restart; it comes from `privacy.hash_key` or the database.
    pub fn new(config: &Config, hash: KeyedHash) -> Settings {
        let (intake, privacy) = (&config.intake, &config.privacy);
        Settings {
            keys: intake.keys.iter().cloned().collect(),
            allowed_origins: intake.allowed_origins.clone(),
            body_bytes_max: intake.body_bytes_max,
            otlp_bytes_max: intake.otlp_bytes_max,
            sample_rates: intake.sample_rates.clone(),
            sample_rate_min: intake.sample_rate_min,
            rate_per_source: intake.rate_per_source,
            influence_per_source: intake.influence_per_source,
            trusted_proxies: intake.trusted_proxies.clone(),
            geo: None,
            consent: privacy.consent,
            browser_signal: privacy.browser_signal,
            remember: config.retention.bucket,
            hash,
            redactor: Redactor::new(privacy.redact, &privacy.redact_patterns).expect("the configuration was checked with the same limits"),
            templates: Templates::new(&intake.route_templates),
            cohort_flags: intake.cohort_flags.clone(),
            telemetry: true,
        }
    }
}

/// What all connections of the listener share.
pub struct Intake {
    settings: Settings,
    sink: Arc<Sink>,
    clock: SharedClock,
    limits: Limits,
    influence: Mutex<Influence>,
    origins: Origins,
    memory: Memory,
    otlp: otlp::Memory,
    connections: Arc<Connections>,
    uploads: Uploads,
    /// Of so many beacons one is kept, with that weight; 1 unless the daemon is overloaded.
    thinning: AtomicU64,
    /// How long a head, and then a body, may take to arrive.
    patience: Duration,
}

impl Intake {
    /// Everything that handling a request takes.
    pub fn new(settings: Settings, sink: Arc<Sink>, clock: SharedClock) -> Intake {
        let (limits, origins) = (Limits::new(settings.rate_per_source), Origins::new(&settings.allowed_origins));
        let (memory, otlp) = (Memory::new(), otlp::Memory::new(clock.now()));
        let influence = Mutex::new(Influence::new(settings.influence_per_source));
        let (connections, uploads, thinning) = (Arc::default(), Uploads::default(), AtomicU64::new(1));
        let patience = PATIENCE;
        Intake { settings, sink, clock, limits, influence, origins, memory, otlp, connections, uploads, thinning, patience }
    }

    /// Answers one request.
    pub async fn answer<B>(&self, peer: IpAddr, request: Request<B>) -> Response<Full<Bytes>>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let (head, body) = request.into_parts();
        let origin = self.origins.check(&head.headers);
        let entry = self.enter(peer, &head, origin.is_ok());
        let outcome = match entry {
            Ok(Entry::Preflight) => {
                let mut answer = Response::new(Full::default());
                *answer.status_mut() = StatusCode::NO_CONTENT;
                answer.headers_mut().insert(ALLOW, HeaderValue::from_static("POST, OPTIONS"));
                cors::preflight(answer.headers_mut());
                Ok(answer)
            }
            Ok(Entry::Beacon(beacon)) => self.beacon(beacon, &head.headers, body).await,
            Err(refusal) => {
                body::discard(body, self.patience, &self.uploads).await;
                Err(refusal)
            }
        };
        let mut answer = outcome.unwrap_or_else(|refusal| refuse(&refusal, &head));
        cors::allow(answer.headers_mut(), origin.unwrap_or_default());
        answer
    }

    /// Decides whether a request may come in, before anything of its body is looked at.
    fn enter<'a>(&self, peer: IpAddr, head: &'a http::request::Parts, origin_allowed: bool) -> Result<Entry<'a>, Refusal> {
        let (endpoint, part) = Endpoint::of(head.uri.path()).ok_or(Refusal::NotFound)?;
        if head.method != Method::POST && head.method != Method::OPTIONS {
            return Err(Refusal::Method("POST, OPTIONS"));
        }
        if !origin_allowed {
            return Err(Refusal::Origin);
        }
        if head.method == Method::OPTIONS {
            return Ok(Entry::Preflight);
        }
        let query = head.uri.query().unwrap_or("");
        // Without keys the listener is open, and a key says nothing.
        let key = endpoint.key(part, query, &head.headers).filter(|_| !self.settings.keys.is_empty());
        if !self.settings.keys.is_empty() && !key.is_some_and(|key| self.settings.keys.contains(key)) {
            return Err(Refusal::Key);
        }
        let source = self.source_of(peer, &head.headers);
        self.limits.check(source, key, Instant::now()).map_err(|retry_after| Refusal::Limited { retry_after })?;
        if self.sink.is_failing() {
            return Err(Refusal::Unavailable);
        }
        if self.thinning.load(Ordering::Relaxed) > 1 && endpoint.overload() == Overload::Refuse {
            return Err(Refusal::Overloaded);
        }
        Ok(Entry::Beacon(Beacon { endpoint, part, query, key, source, durable: parameter(query, "ack") == Some("durable") }))
    }

    /// Who sends. Proxies that are trusted say for whom they speak, the nearest one last; nobody else is believed.
    fn source_of(&self, peer: IpAddr, headers: &HeaderMap) -> Source {
        let mut source = peer;
        let mut said =
            headers.get_all("x-forwarded-for").iter().rev().filter_map(|value| value.to_str().ok()).flat_map(|value| value.rsplit(','));
        while self.is_proxy(source)
            && let Some(Ok(before)) = said.next().map(|address| address.trim().parse())
        {
            source = before;
        }
        Source::of(source)
    }

    /// Whether an address is that of a proxy that speaks for others.
    fn is_proxy(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_loopback() || self.settings.trusted_proxies.iter().any(|network| network.contains(address))
    }

    async fn beacon<B>(&self, beacon: Beacon<'_>, headers: &HeaderMap, body: B) -> Result<Response<Full<Bytes>>, Refusal>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let max = beacon.endpoint.bytes_max(&self.settings);
        let encoding = match body::Encoding::of(headers) {
            Ok(encoding) => encoding,
            Err(refusal) => {
                body::discard(body, self.patience, &self.uploads).await;
                return Err(refusal);
            }
        };
        let wire = body::read(body, headers, max, self.patience, &self.uploads).await?;
        let body = body::inflate(encoding, &wire, max);
        let bytes = body.as_ref().map_or(max, |body| body.len());
        // Whatever comes of it, the work was done.
        let charge = |events: usize| {
            let cost = events.max(bytes.div_ceil(BYTES_PER_EVENT)).max(1);
            self.limits.charge(beacon.source, beacon.key, cost, Instant::now());
        };
        let taken = body.and_then(|body| self.take(&beacon, headers, &body, charge).map_err(|refusal| (charge(0), refusal).1));
        if taken.is_err() {
            counter!("burnwatch_intake_events_total", "protocol" => beacon.endpoint.protocol(), "outcome" => "rejected").increment(1);
        }
        let (answer, flush) = taken?;
        if let Some(flush) = flush.filter(|_| beacon.durable)
            && !self.sink.stored(flush, ACK_PATIENCE).await
        {
            return Err(Refusal::Unavailable);
        }
        Ok(answer)
    }

    /// Decodes a body and counts what is in it; the answer, and the flush that will store it.
    fn take(
        &self,
        beacon: &Beacon<'_>,
        headers: &HeaderMap,
        body: &[u8],
        charge: impl Fn(usize),
    ) -> Result<(Response<Full<Bytes>>, Option<u64>), Refusal> {
        let endpoint = beacon.endpoint;
        let protocol = endpoint.protocol();
        let body = &*endpoint.mended(headers, body);
        let hash = |bytes: &[u8]| self.settings.hash.of(Purpose::Body, &[&beacon.source.octets(), bytes]);
        let thinning = self.thinning.load(Ordering::Relaxed);
        if thinning > 1 && !hash(endpoint.lot(body)).is_multiple_of(thinning) {
            // Not decoded, which is the point; what an event looks like is known well enough to count them.
            let events = endpoint.estimate(body);
            charge(events);
            counter!("burnwatch_intake_events_total", "protocol" => protocol, "outcome" => "sampled").increment(events as u64);
            let outcome = Outcome { accepted: events, duplicate: 0, rejected: &[], id: None };
            return Ok((endpoint.accept(headers, body, &outcome), None));
        }
        let (whole, now) = (hash(body), self.clock.now());
        let mut from = Enrichment::of(headers);
        if let Some(geo) = self.settings.geo.as_ref().filter(|_| from.region.is_empty()) {
            from.region = geo.country(beacon.source.address());
        }
        let mut decoded = endpoint.decode(&Post {
            settings: &self.settings,
            from: &from,
            headers,
            part: beacon.part,
            query: beacon.query,
            body,
            whole,
            now,
            memory: &self.memory,
            otlp: &self.otlp,
        })?;
        charge(decoded.events);
        if thinning > 1 {
            for event in decoded.batches.iter_mut().chain(&mut decoded.sessions).flat_map(|batch| &mut batch.events) {
                event.weight = event.weight.saturating_mul(thinning as i64);
            }
        }
        let limited = if beacon.source.is_spared() { 0 } else { self.bound_influence(beacon.source, &mut decoded, now) };
        // The same body again has the same ids again: where they say it all, it needs no memory of its own.
        let more = !(decoded.sessions.is_empty() && decoded.lost.is_empty() && decoded.rows.is_empty());
        let named = !more && !decoded.batches.is_empty() && decoded.batches.iter().all(|batch| batch.id.is_some());
        let measured = if self.settings.telemetry {
            let (sent_at, weight) = (decoded.sent_at, UNIT.saturating_mul(thinning as i64));
            let told = telemetry::Told { sent_at, redacted: &decoded.redacted, lost: &decoded.lost, held_back: limited, now, weight };
            // An app that is one too many has no telemetry either.
            telemetry::measure(&decoded.batches, &told)
        } else {
            Vec::new()
        };
        let beside = [&*decoded.sessions, &*measured];
        let mut done = self.sink.submit_with((!named).then_some(whole), &decoded.batches, beside, now);
        if !decoded.rows.is_empty() {
            // By a hash of their own: the body as a whole has just been noted.
            let whole = self.settings.hash.of(Purpose::Body, &[b"rows", &whole.to_le_bytes()]);
            let rows = self.sink.submit_summed(whole, std::mem::take(&mut decoded.rows), now);
            done.accepted += rows.accepted;
            done.duplicate += rows.duplicate;
            done.refused.extend(rows.refused);
            done.flush = rows.flush;
        }
        let is_known = done.refused.is_empty();
        decoded.rejected.extend(done.refused.into_iter().map(|index| (index, Reason::TooManyApps)));
        decoded.rejected.sort_by_key(|(index, _)| *index);
        let rejected = decoded.rejected.len() - limited;
        let outcomes = [("accepted", done.accepted), ("duplicate", done.duplicate), ("rejected", rejected), ("limited", limited)];
        for (outcome, count) in outcomes.into_iter().filter(|(_, count)| *count > 0) {
            counter!("burnwatch_intake_events_total", "protocol" => protocol, "outcome" => outcome).increment(count as u64);
        }
        for (_, reason) in &decoded.rejected {
            counter!("burnwatch_intake_rejected_total", "reason" => reason.label()).increment(1);
        }
        for (reason, category, count) in decoded.lost.iter().filter(|_| !done.is_repeated) {
            counter!("burnwatch_intake_client_lost_total", "reason" => *reason, "category" => *category).increment(*count);
        }
        if !decoded.redacted.is_empty() {
            // A body speaks for its first app. One that is one too many has no name: names that come would not end.
            let app = decoded.batches.first().filter(|_| is_known).map_or("", |batch| &*batch.source.app);
            for field in &decoded.redacted {
                counter!("burnwatch_intake_redacted_total", "app" => app.to_owned(), "field" => *field).increment(1);
            }
        }
        let outcome =
            Outcome { accepted: done.accepted, duplicate: done.duplicate, rejected: &decoded.rejected, id: decoded.id.as_deref() };
        Ok((endpoint.accept(headers, body, &outcome), Some(done.flush)))
    }

    /// Takes out what is more than one source may add to an SLI; says how many events that are.
    fn bound_influence(&self, source: Source, decoded: &mut Decoded<'_>, now: Timestamp) -> usize {
        if self.settings.influence_per_source == 0 {
            return 0;
        }
        // Every change is one count; a panic elsewhere leaves them whole.
        let mut influence = self.influence.lock().unwrap_or_else(PoisonError::into_inner);
        let (network, before) = (source.network(), decoded.rejected.len());
        let rejected = &mut decoded.rejected;
        let mut refuse = |index: usize| rejected.push((index, Reason::SourceShare));
        for batch in &mut decoded.batches {
            let app = &*batch.source.app;
            batch.events.retain(|event| {
                let sli = influence.sli(app, &event.metric);
                if event.bad {
                    influence.name(sli, app, || event.metric.to_string());
                }
                let admitted = influence.admit(sli, &network, event.user, stands_for(event), now);
                if !admitted {
                    refuse(event.index);
                }
                admitted
            });
        }
        decoded.rows.retain(|(index, row)| {
            let app = row.dims().find(|(name, _)| *name == "app").map_or("", |(_, app)| app);
            let sli = influence.sli(app, &row.metric);
            let counts = (row.cell.counts.raw, row.cell.counts.raw_bad);
            let [events, bad] = [counts.0, counts.1].map(|count| u32::try_from(count).unwrap_or(u32::MAX));
            let admitted = influence.admit(sli, &network, None, (events, bad), now);
            if !admitted {
                refuse(*index);
            }
            admitted
        });
        let tops = influence.top_sources();
        if self.settings.telemetry && !tops.is_empty() {
            let batches: Vec<_> = tops.iter().map(|top| telemetry::top_source(top, now)).collect();
            self.sink.submit(None, &batches, now);
        }
        if let Some(share) = influence.largest() {
            gauge!("burnwatch_intake_top_source_share").set(share.fraction());
        }
        let limited = decoded.rejected.len() - before;
        // A session of which nothing counts does not count either; others are events like any.
        let nothing_left = limited > 0 && decoded.batches.iter().all(|batch| batch.events.is_empty());
        for batch in &mut decoded.sessions {
            let sli = influence.sli(&batch.source.app, &Metric::Session);
            let admit = |event: &Event<'_>| !nothing_left && influence.admit(sli, &network, event.user, stands_for(event), now);
            batch.events.retain(admit);
        }
        limited
    }
}

/// How many events one stands for, and how many of them are bad.
fn stands_for(event: &Event<'_>) -> (u32, u32) {
    let events = u32::try_from(event.weight.div_euclid(UNIT).max(1)).unwrap_or(u32::MAX);
    (events, if event.bad { events } else { 0 })
}

/// Shows all counters of the intake before the first request, so that a rate has something to begin at.
pub fn announce() {
    for protocol in Endpoint::PROTOCOLS {
        for outcome in ["accepted", "duplicate", "rejected", "sampled", "limited"] {
            counter!("burnwatch_intake_events_total", "protocol" => protocol, "outcome" => outcome).increment(0);
        }
    }
    for reason in reason::LABELS {
        counter!("burnwatch_intake_rejected_total", "reason" => reason).increment(0);
    }
}

/// A request that may come in.
enum Entry<'a> {
    Preflight,
    Beacon(Beacon<'a>),
}

struct Beacon<'a> {
    endpoint: Endpoint,
    /// What else stands in the path.
    part: Option<&'a str>,
    query: &'a str,
    key: Option<&'a str>,
    source: Source,
    durable: bool,
}

/// Counts a refusal and says it in the words of the protocol that was spoken, if any was.
fn refuse(refusal: &Refusal, head: &http::request::Parts) -> Response<Full<Bytes>> {
    counter!("burnwatch_intake_rejected_total", "reason" => refusal.label()).increment(1);
    let Some((endpoint, _)) = Endpoint::of(head.uri.path()) else { return endpoint::problem(refusal) };
    if matches!(refusal, Refusal::Limited { .. } | Refusal::Overloaded) {
        counter!("burnwatch_intake_events_total", "protocol" => endpoint.protocol(), "outcome" => "limited").increment(1);
    }
    endpoint.refuse(refusal, &head.headers)
}

#[cfg(test)]
mod tests;
