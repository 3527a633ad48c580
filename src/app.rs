//! Wires everything once, in order: store, rules, aggregator, listeners, jobs; and takes it apart again.
//!
//! Read this file to see what the daemon is made of, then the jobs in the order of the flow:
//! flush, watch, deliver.

mod aggregates;
mod posted_alerts;
mod query;
mod receiver_test;

use std::collections::{BTreeMap, HashMap};
use std::future::IntoFuture;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::net::TcpListener;
use tokio::sync::{Notify, Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, info, warn};

use crate::chance;
use crate::clock::SharedClock;
use crate::config::Config;
use crate::domain::aggregate::{self, Aggregator, LocalSeries, REPEATS_MAX, Repeated, SeenKey};
use crate::domain::answer;
use crate::domain::keyed::KeyedHash;
use crate::domain::posted::RESOLVE_TIMEOUT;
use crate::domain::snapshot::Snapshot;
use crate::domain::time::Timestamp;
use crate::domain::user_keys::UserKeys;
use crate::intake::{self, Intake};
use crate::jobs::changes::Changes;
use crate::jobs::deliver::{Deliver, Parts};
use crate::jobs::explain::Explainer;
use crate::jobs::flush::Flush;
use crate::jobs::follow::Follow as Others;
use crate::jobs::git::Remote;
use crate::jobs::operator::{self, Trouble};
use crate::jobs::reload::{Live, Looked, Reload, Source, Surroundings};
use crate::jobs::stale::Stale;
use crate::jobs::watch::{Setup, Watch};
use crate::jobs::{compact, heartbeat, posted, rotate};
use crate::notify::{self, Sender};
use crate::rules;
use crate::sink::Sink;
use crate::store::history::History;
use crate::store::{self, Store, StoreError};
use crate::web;

/// How often what came in is stored: what a SIGKILL can lose at most.
const FLUSH: Duration = Duration::from_secs(1);
/// How often the evaluator looks at what was stored.
const WATCH: Duration = Duration::from_millis(500);
/// How often the rules folder is looked at.
const RELOAD: Duration = Duration::from_secs(1);
const COMPACT: Duration = Duration::from_secs(60);
const PRUNE: Duration = Duration::from_secs(3600);
/// No job may keep the process longer than this after it was told to stop.
const FAREWELL: Duration = Duration::from_secs(9);

/// What a start may be given beside the configuration.
#[derive(Default)]
pub struct Options {
    /// Where `demo` shows what was delivered.
    pub inbox: Option<Arc<web::inbox::Inbox>>,
    /// Rules that stand in for a folder.
    pub rules: Option<BTreeMap<String, String>>,
}

/// Why the daemon does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The report of `check`.
    #[error("the rules have errors:\n{0}")]
    Rules(String),
    #[error("secrets that the rules name have no value: {0}; set them in [secrets] or as environment variables")]
    Secrets(String),
    #[error("cannot listen on {address} ({what}); is another burnwatch running? change {key}")]
    Listen {
        what: &'static str,
        key: &'static str,
        address: SocketAddr,
        #[source]
        source: std::io::Error,
    },
    #[error("cannot read the rules folder `{}`", path.display())]
    Folder {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("cannot set up delivery")]
    Setup(#[source] notify::SetupError),
    #[error(transparent)]
    Geo(#[from] intake::geo::GeoError),
    #[error("the rules repository cannot be read, and there is no earlier good rule set: {0}")]
    Unreachable(String),
}

/// A daemon that runs.
pub struct Running {
    pub admin: SocketAddr,
    pub intake: SocketAddr,
    pub store: Store,
    stop: CancellationToken,
    tasks: TaskTracker,
    _claim: Option<store::Claim>,
}

impl Running {
    /// Stops taking work, finishes what is under way, stores what is left.
    pub async fn stop(self) {
        self.stop.cancel();
        self.tasks.close();
        if tokio::time::timeout(FAREWELL, self.tasks.wait()).await.is_err() {
            warn!("some work did not end in time; its claims end by themselves");
        }
        self.store.close().await;
        info!("burnwatch has stopped");
    }
}

/// Waits for Ctrl-C or SIGTERM.
pub async fn told_to_stop() {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).expect("signals can be listened to");
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}

/// The rules that a start without a rules folder uses.
pub fn built_in_rules() -> BTreeMap<String, String> {
    rules::built_in()
}

/// Starts everything.
pub async fn start(config: Config, clock: SharedClock, options: Options) -> Result<Running, StartError> {
    let now = clock.now();
    let config = Arc::new(config);
    for warning in &config.warnings {
        warn!("{warning}");
    }
    let metrics = recorder();
    announce();
    let store = Store::open(&config.database.url, now).await?;
    let claim = store.claim()?;
    if claim.is_some() {
        // Whoever held them was killed, and can hold them no more.
        let mut tx = store.write().await?;
        store::leases::release_all(&mut tx).await?;
        store::writer::close_intakes(&mut tx).await?;
        tx.commit().await?;
    }
    let hash = KeyedHash::new(hash_key(&config, &store).await?);

    let sink = Arc::new(Sink::new(aggregator(&config, &store, now).await?));
    let live = Live::new();
    let around = Surroundings { aggregation: config.aggregation.clone(), retention: config.retention, secrets: config.secrets.clone() };
    let source = source(&config, &options)?;
    let (rules_source, every) = match &source {
        Source::Folder(path) => (path.display().to_string(), Some(RELOAD)),
        Source::Remote(remote) => (remote.shown(), Some(remote.every())),
        Source::Given => ("the built-in pack".to_owned(), None),
    };
    let mut reload = Reload::new(source, around, live.clone(), sink.clone());
    let first = first_rules(&config, &options, &mut reload, &store, now).await?;
    check_secrets(&config, &live)?;
    let rules = live.rules.load_full();
    let start = Snapshot { rules, rules_since: Some(now), rules_source, ..Snapshot::default() };
    let snapshot = Arc::new(ArcSwap::from_pointee(start));

    let intake_listener = listen(config.intake.listen, "intake", "intake.listen").await?;
    let admin_listener = listen(config.server.listen, "pages and API", "server.listen").await?;
    let address = |listener: &TcpListener| listener.local_addr().expect("a bound listener has an address");
    let (admin, intake_at) = (address(&admin_listener), address(&intake_listener));
    let public_url = config.server.public_url.as_str().trim_end_matches('/').to_owned();

    let stop = CancellationToken::new();
    let tasks = TaskTracker::new();
    let deliver_nudge = Arc::new(Notify::new());
    let watch_nudge = Arc::new(Notify::new());
    let pulse = watch::Sender::new(0_u64);
    let history = History::new(store.clone(), config.aggregation.bucket, config.retention.bucket, config.retention.rollup_5m);

    let session_key = web::session::key(&store).await?;
    let answer_key = answer::Key::derive(&session_key);
    let settings = notify::Settings { answer_key: Some(answer_key.clone()), ..notify::Settings::from(&*config) };
    let sender = Arc::new(Sender::new(settings).map_err(StartError::Setup)?);
    let deliver = Deliver::new(Parts {
        store: store.clone(),
        sender: sender.clone(),
        rules: live.rules.clone(),
        clock: clock.clone(),
        chance: Arc::new(chance::fraction),
        fallback: config.delivery.fallback.clone(),
        nudge: deliver_nudge.clone(),
    });
    tasks.spawn(deliver.run(stop.clone()));

    let (store_of, rules_of) = (store.clone(), live.rules.clone());
    let told = Changes { store: store_of, sender: sender.clone(), rules: rules_of, holder: chance::id(), waiting: BTreeMap::new() };
    tasks.spawn(told.run(clock.clone(), stop.clone()));

    let flush = Flush::new(store.clone(), sink.clone(), "intake", chance::id).forgetting(config.retention.bucket);
    let flushed = flush.flushed.clone();
    let others = Others::new(store.clone(), sink.clone());
    tasks.spawn(flush_job(flush, others, clock.clone(), watch_nudge.clone(), stop.clone()));

    let alerts = posted::Shared::default();
    alerts.load(&store, now, live.rules.load().resolve_timeout.unwrap_or(RESOLVE_TIMEOUT)).await?;
    let (receiver, post) = posted::Receiver::new(store.clone(), alerts.clone(), live.desk.clone(), watch_nudge.clone());
    tasks.spawn(receiver.run(stop.clone()));

    let setup = Setup {
        store: store.clone(),
        bucket: config.aggregation.bucket,
        settle: config.aggregation.settle,
        delays: config.aggregation.delay.clone(),
        public_url: public_url.clone(),
        desk: live.desk.clone(),
        snapshot: snapshot.clone(),
        deliver: deliver_nudge.clone(),
        holder: chance::id(),
        new_id: chance::id,
        explainer: Explainer::new(history.clone(), config.aggregation.bucket, live.program.clone()),
        flushed,
        posted: alerts.clone(),
    };
    tasks.spawn(watch_job(Watch::new(setup), clock.clone(), watch_nudge.clone(), pulse.clone(), stop.clone()));

    let follow = Follow {
        reload,
        store: store.clone(),
        snapshot: snapshot.clone(),
        public_url: public_url.clone(),
        nudge: deliver_nudge.clone(),
        watch: watch_nudge.clone(),
    };
    tasks.spawn(follow.run(first, every, clock.clone(), stop.clone()));
    let stale = Stale {
        store: store.clone(),
        desk: live.desk.clone(),
        due_after: config.aggregation.bucket + config.aggregation.settle,
        started: now,
        public_url: public_url.clone(),
        new_id: chance::id,
    };
    tasks.spawn(stale.run(clock.clone(), deliver_nudge.clone(), stop.clone()));
    tasks.spawn(compact_job(store.clone(), config.clone(), sink.clone(), clock.clone(), stop.clone()));
    if let Some(beat) = &config.delivery.heartbeat {
        let health = heartbeat::Health {
            snapshot: snapshot.clone(),
            store: store.clone(),
            sink: sink.clone(),
            bucket: config.aggregation.bucket,
            settle: config.aggregation.settle,
        };
        tasks.spawn(heartbeat::run(beat.clone(), health, clock.clone(), stop.clone()));
    }

    let geo = config.intake.geo_file.as_deref().map(intake::geo::Geo::open).transpose()?;
    let settings = intake::Settings { geo, ..intake::Settings::new(&config, hash.clone()) };
    let intake = Arc::new(Intake::new(settings, sink.clone(), clock.clone()));
    let stopped = stop.clone();
    tasks.spawn(async move { intake::serve(intake_listener, intake, async move { stopped.cancelled().await }).await });

    let nudge = deliver_nudge.clone();
    let also = watch_nudge.clone();
    let state = Arc::new(web::State {
        query: Arc::new(query::Stored::new(history, snapshot.clone(), clock.clone())),
        aggregates: aggregates::taker(&config, hash, sink.clone()),
        alerts: Arc::new(posted_alerts::Alerts::new(alerts, post)),
        started_at: now,
        test_receiver: receiver_test::tester(sender, live.rules.clone(), public_url),
        config: config.clone(),
        clock,
        store: store.clone(),
        snapshot,
        metrics,
        nudge: Arc::new(move || {
            nudge.notify_one();
            also.notify_one();
        }),
        pulse,
        stop: stop.clone(),
        inbox: options.inbox,
        session_key,
        answer_key,
        heeded: Default::default(),
        reads: Default::default(),
        sessions: Default::default(),
        failures: Default::default(),
        overview: Default::default(),
        live: Arc::new(Semaphore::new(web::state::LIVE_MAX)),
    });
    tasks.spawn(web::reads::keep(state.clone()));
    let router = web::router(state).into_make_service_with_connect_info::<SocketAddr>();
    let stopped = stop.clone();
    let serve = axum::serve(admin_listener, router).with_graceful_shutdown(async move { stopped.cancelled().await });
    tasks.spawn(async move {
        if let Err(error) = serve.into_future().await {
            error!(error = %error, "the admin listener failed");
        }
    });
    info!(admin = %admin, intake = %intake_at, database = store.place(), "burnwatch has started");
    Ok(Running { admin, intake: intake_at, store, stop, tasks, _claim: claim })
}

async fn listen(address: SocketAddr, what: &'static str, key: &'static str) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|source| StartError::Listen { what, key, address, source })
}

/// One recorder for the process; several daemons in one test share it.
fn recorder() -> PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    let install = || {
        let seconds = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
        PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &seconds)
            .expect("the list of buckets is not empty")
            .install_recorder()
            .expect("no other recorder is installed in this process")
    };
    HANDLE.get_or_init(install).clone()
}

/// What the metrics mean, and those of them that are there before anything has happened.
fn announce() {
    use ::metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
    describe_counter!("burnwatch_evaluations_total", "Evaluations: one for each bucket that closed.");
    describe_histogram!("burnwatch_evaluation_duration_seconds", "How long an evaluation of all rules took.");
    describe_gauge!("burnwatch_evaluation_lag_seconds", "Wall clock minus the logical time of the last evaluation.");
    describe_counter!("burnwatch_intake_events_total", "Events by protocol and by what became of them.");
    describe_counter!("burnwatch_intake_rejected_total", "Events and requests that were refused, by reason.");
    describe_gauge!("burnwatch_series", "Series that are known.");
    describe_counter!("burnwatch_series_folded_total", "Events whose values were folded into __other__.");
    describe_counter!("burnwatch_notifications_total", "Attempts to deliver, by receiver and outcome.");
    describe_gauge!("burnwatch_rules_last_load_success", "Whether the newest rules took effect: 1, or 0 while older ones stay in force.");
    intake::announce();
    for name in ["burnwatch_evaluations_total", "burnwatch_series_folded_total"] {
        counter!(name).increment(0);
    }
    for name in ["burnwatch_evaluation_lag_seconds", "burnwatch_series"] {
        gauge!(name).increment(0.0);
    }
    let _ = histogram!("burnwatch_evaluation_duration_seconds");
}

/// The key of all hashes: configured, or made once and kept with the data.
pub async fn hash_key(config: &Config, store: &Store) -> Result<[u8; 16], StoreError> {
    use sha2::{Digest, Sha256};
    let text = match &config.privacy.hash_key {
        Some(key) => key.expose().to_owned(),
        None => {
            let mut tx = store.write().await?;
            let key = store::meta::get_or_set(&mut tx, "hash_key", &hex::encode(chance::bytes::<32>())).await?;
            tx.commit().await?;
            key
        }
    };
    Ok(Sha256::digest(text.as_bytes())[..16].try_into().expect("a digest has 32 bytes"))
}

/// The keys under which users are counted, brought up to date.
async fn user_keys(config: &Config, store: &Store, now: Timestamp) -> Result<UserKeys, StoreError> {
    rotate::rotate(store, config.privacy.hash_rotation, config.retention.bucket, now, chance::bytes).await
}

/// An aggregator that knows what was known before: series, and what was seen.
pub async fn aggregator(config: &Config, store: &Store, now: Timestamp) -> Result<Aggregator, StoreError> {
    let aggregation = &config.aggregation;
    let mut aggregator = Aggregator::new(aggregate::Settings {
        bucket: aggregation.bucket,
        settle: aggregation.settle,
        dimensions: aggregation.dimensions.clone(),
        series_max: aggregation.series_max,
        remember: config.retention.bucket,
    })
    .learning(config.intake.route_values_max, &config.intake.route_templates);
    aggregator.set_user_keys(user_keys(config, store, now).await?);
    let mut tx = store.read().await?;
    aggregator.recall_learnt(store::learnt_routes::since(&mut tx, Timestamp(0)).await?.into_iter().map(|(_, learnt)| learnt));
    let series = store::series::all(&mut tx).await?;
    let numbers = aggregator.recall_series(series.iter().map(|(_, series)| series), now);
    aggregator.recall_routes(series.iter().map(|(_, series)| series));
    let numbers: HashMap<u32, LocalSeries> = series.iter().map(|(id, _)| id.0).zip(numbers).collect();
    let seen = store::seen::load_since(&mut tx, now - config.retention.bucket).await?;
    aggregator.recall_seen(seen.iter().flat_map(|row| SeenKey::unpack(&row.data)));
    for batch in store::repeated::load(&mut tx, now - config.retention.bucket, REPEATS_MAX).await? {
        aggregator.recall_repeated(Repeated::unpack(&batch).renamed(|id| numbers.get(&id).copied()));
    }
    Ok(aggregator)
}

/// Where this process takes its rules from.
fn source(config: &Config, options: &Options) -> Result<Source, StartError> {
    Ok(match (&options.rules, &config.rules.git) {
        (Some(_), _) => Source::Given,
        (None, Some(git)) => Source::Remote(Remote::new(git.clone(), &config.data)),
        (None, None) if config.rules.path.is_dir() => Source::Folder(config.rules.path.clone()),
        (None, None) if config.rules.path_given => {
            let source = std::io::Error::from(std::io::ErrorKind::NotFound);
            return Err(StartError::Folder { path: config.rules.path.clone(), source });
        }
        (None, None) => Source::Given,
    })
}

/// The first rule set: the source's, or the last good one where that is refused or cannot be read.
async fn first_rules(config: &Config, options: &Options, reload: &mut Reload, store: &Store, now: Timestamp) -> Result<Looked, StartError> {
    let looked = match &reload.source {
        Source::Given => reload.take(&options.rules.clone().unwrap_or_else(built_in_rules), None, store, now).await?,
        Source::Folder(_) | Source::Remote(_) => reload.look(store, now).await?,
    };
    let failure = match &looked {
        Looked::Unchanged => return Ok(looked),
        Looked::Taken { warnings, .. } => {
            warnings.iter().for_each(|warning| warn!("{warning}"));
            return Ok(looked);
        }
        Looked::Refused { problems, .. } => StartError::Rules(rules::report(problems)),
        Looked::Unreachable { why } => StartError::Unreachable(why.clone()),
    };
    // Rules that were handed over are part of the program; what was stored before has nothing to do with them.
    let stored = if config.rules.git.is_some() || config.rules.path.is_dir() { reload.take_last_good(store, now).await? } else { None };
    let Some(revision) = stored else { return Err(failure) };
    error!(revision = %revision, "the last good rule set `{revision}` stays in force");
    Ok(looked)
}

/// A daemon without its receivers' secrets would fail at three in the morning: it says so at its start.
fn check_secrets(config: &Config, live: &Live) -> Result<(), StartError> {
    let rules = live.rules.load();
    let missing: std::collections::BTreeSet<String> =
        rules.receivers.iter().flat_map(|receiver| receiver.secrets()).filter(|name| config.secrets.lookup(name).is_err()).collect();
    if missing.is_empty() { Ok(()) } else { Err(StartError::Secrets(missing.into_iter().collect::<Vec<_>>().join(", "))) }
}

async fn flush_job(mut flush: Flush, mut others: Others, clock: SharedClock, nudge: Arc<Notify>, stop: CancellationToken) {
    let mut timer = tokio::time::interval(FLUSH);
    timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = timer.tick() => {}
            () = stop.cancelled() => break,
        }
        match flush.run(clock.now()).await {
            Ok(()) => nudge.notify_one(),
            Err(error) => error!(error = %chain(&error), "a flush failed and is tried again"),
        }
        if let Err(error) = others.run(flush.writer(), clock.now()).await {
            warn!(error = %chain(&error), "what other processes have seen could not be read and is read again");
        }
    }
    // Connections may still be finishing: what they bring in the next moment is stored as well.
    tokio::time::sleep(Duration::from_millis(300)).await;
    if let Err(error) = flush.finish(clock.now()).await {
        error!(error = %chain(&error), "the last flush failed");
    }
}

async fn watch_job(mut watch: Watch, clock: SharedClock, nudge: Arc<Notify>, pulse: watch::Sender<u64>, stop: CancellationToken) {
    while !stop.is_cancelled() {
        match watch.run(clock.now()).await {
            Ok(report) if report.evaluated > 0 || report.queued > 0 => pulse.send_modify(|n| *n = n.wrapping_add(1)),
            Ok(_) => {}
            Err(error) => {
                error!(error = %chain(&error), "an evaluation failed and is made up for");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
        tokio::select! {
            () = tokio::time::sleep(WATCH) => {}
            () = nudge.notified() => {}
            () = stop.cancelled() => {}
        }
    }
    if let Err(error) = watch.finish().await {
        warn!(error = %chain(&error), "the right to evaluate was not given back; it ends by itself");
    }
}

async fn compact_job(store: Store, config: Arc<Config>, sink: Arc<Sink>, clock: SharedClock, stop: CancellationToken) {
    let mut pruned: Option<tokio::time::Instant> = None;
    loop {
        match user_keys(&config, &store, clock.now()).await {
            Ok(keys) => sink.with(|aggregator| aggregator.set_user_keys(keys)),
            Err(error) => error!(error = %chain(&error), "the keys of user hashes could not be brought up to date and are tried again"),
        }
        if let Err(error) = compact::compact(&store, config.aggregation.bucket, clock.now()).await {
            error!(error = %chain(&error), "compaction failed and is tried again");
        }
        if pruned.is_none_or(|at| at.elapsed() >= PRUNE) {
            pruned = Some(tokio::time::Instant::now());
            if let Err(error) = compact::prune(&store, &config.aggregation, &config.retention, clock.now()).await {
                error!(error = %chain(&error), "retention failed and is tried again");
            }
        }
        tokio::select! {
            () = tokio::time::sleep(COMPACT) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// Follows the source of rules and says what came of it.
struct Follow {
    reload: Reload,
    store: Store,
    snapshot: Arc<ArcSwap<Snapshot>>,
    public_url: String,
    nudge: Arc<Notify>,
    watch: Arc<Notify>,
}

impl Follow {
    /// `first` is what the start saw; without `every` nothing can change.
    async fn run(mut self, first: Looked, every: Option<Duration>, clock: SharedClock, stop: CancellationToken) {
        self.say(first, clock.now()).await;
        let Some(every) = every else { return };
        loop {
            tokio::select! {
                () = tokio::time::sleep(every) => {}
                () = stop.cancelled() => return,
            }
            let now = clock.now();
            let looked = tokio::select! {
                looked = self.reload.look(&self.store, now) => looked,
                () = stop.cancelled() => return,
            };
            match looked {
                Ok(looked) => self.say(looked, clock.now()).await,
                Err(error) => error!(error = %chain(&error), "the rules could not be stored and are read again"),
            }
        }
    }

    async fn say(&self, looked: Looked, now: Timestamp) {
        let reached = |why: Option<String>| {
            if self.snapshot.load().rules_unreachable != why {
                self.snapshot.rcu(|before| Snapshot { rules_unreachable: why.clone(), ..Snapshot::clone(before) });
            }
        };
        match looked {
            Looked::Unchanged => reached(None),
            Looked::Taken { warnings, .. } => {
                warnings.iter().for_each(|warning| warn!("{warning}"));
                let rules = self.reload.live.rules.load_full();
                self.snapshot.rcu(|before| {
                    let since = if before.rules.revision == rules.revision { before.rules_since } else { Some(now) };
                    Snapshot {
                        rules: rules.clone(),
                        rules_since: since,
                        rules_refused: Vec::new(),
                        rules_refused_revision: None,
                        rules_unreachable: None,
                        ..Snapshot::clone(before)
                    }
                });
                self.tell(None, now).await;
                self.watch.notify_one();
            }
            Looked::Refused { revision, problems } => {
                let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
                if self.snapshot.load().rules_refused != lines {
                    lines.iter().for_each(|line| error!("rules refused: {line}"));
                }
                self.snapshot.rcu(|before| Snapshot {
                    rules_refused: lines.clone(),
                    rules_refused_revision: revision.clone(),
                    rules_unreachable: None,
                    ..Snapshot::clone(before)
                });
                self.tell(Some(Looked::refusal(revision.as_deref(), &problems)), now).await;
            }
            Looked::Unreachable { why } => {
                if self.snapshot.load().rules_unreachable.as_ref() != Some(&why) {
                    warn!("the rules repository cannot be read, the rules in force stay: {why}");
                }
                reached(Some(why));
            }
        }
    }

    async fn tell(&self, summary: Option<String>, now: Timestamp) {
        let desk = self.reload.live.desk.load_full();
        match operator::report(&self.store, &desk, Trouble::BadRules, summary, now, &self.public_url, chance::id).await {
            Ok(0) => {}
            Ok(_) => self.nudge.notify_one(),
            Err(error) => error!(error = %chain(&error), "the operator incident could not be stored"),
        }
    }
}

/// An error with all its causes, on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
