//! Wires everything once, in order: store, rules, aggregator, listeners, jobs; and takes it apart again.
//!
//! Read this file to see what the daemon is made of, then the jobs in the order of the flow:
//! flush, watch, deliver.

mod aggregates;
mod first_rules;
mod follow;
mod known;
mod loops;
mod metrics;
mod posted_alerts;
mod query;
mod receiver_test;

use std::collections::BTreeMap;
use std::future::IntoFuture;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::net::TcpListener;
use tokio::sync::{Notify, Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, info, warn};

use self::first_rules::{check_secrets, first_rules, source};
use self::follow::Follow;
pub use self::known::{aggregator, keyed_hash};
use self::loops::{compact_job, flush_job, watch_job};
use self::metrics::{announce, recorder};
use crate::chance;
use crate::clock::SharedClock;
use crate::config::Config;
use crate::domain::answer;
use crate::domain::posted::RESOLVE_TIMEOUT;
use crate::domain::snapshot::Snapshot;
use crate::intake::{self, Intake};
use crate::jobs::changes::Changes;
use crate::jobs::deliver::{Deliver, Parts};
use crate::jobs::door::{self, Door};
use crate::jobs::explain::Explainer;
use crate::jobs::flush::Flush;
use crate::jobs::follow::Follow as Others;
use crate::jobs::plight::{self, Plight};
use crate::jobs::reload::{Live, Reload, Source, Surroundings};
use crate::jobs::skew::{self, Skew};
use crate::jobs::stale::Stale;
use crate::jobs::watch::{Setup, Watch};
use crate::jobs::{heartbeat, posted, restored};
use crate::notify::{self, Sender};
use crate::rules;
use crate::sink::Sink;
use crate::store::history::History;
use crate::store::{self, Store, StoreError};
use crate::web;

/// How often the rules folder is looked at.
const RELOAD: Duration = Duration::from_secs(1);
/// No job may keep the process longer than this after it was told to stop.
const FAREWELL: Duration = Duration::from_secs(9);

/// What a start may be given beside the configuration.
#[derive(Default)]
pub struct Options {
    /// Where `demo` shows what was delivered.
    pub inbox: Option<Arc<web::inbox::Inbox>>,
    /// Rules that stand in for a folder.
    pub rules: Option<BTreeMap<String, String>>,
    /// The database is an old one.
    pub restored: bool,
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
    let hash = keyed_hash(&config, &store).await?;

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
    let public_url = config.server.public_url.as_str().trim_end_matches('/').to_owned();
    restored::hold(&store, &live.desk.load_full(), options.restored, now, &public_url).await?;
    let rules = live.rules.load_full();
    let start = Snapshot { rules, rules_since: Some(now), rules_source, ..Snapshot::default() };
    let snapshot = Arc::new(ArcSwap::from_pointee(start));

    let intake_listener = listen(config.intake.listen, "intake", "intake.listen").await?;
    let admin_listener = listen(config.server.listen, "pages and API", "server.listen").await?;
    let address = |listener: &TcpListener| listener.local_addr().expect("a bound listener has an address");
    let (admin, intake_at) = (address(&admin_listener), address(&intake_listener));

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
        seen: None,
    };
    tasks.spawn(stale.run(clock.clone(), deliver_nudge.clone(), stop.clone()));
    let door = door::Setup {
        store: store.clone(),
        desk: live.desk.clone(),
        intake: intake_at,
        key: config.intake.keys.first().cloned(),
        replica: door::replica(intake_at),
        public_url: public_url.clone(),
        new_id: chance::id,
    };
    match Door::new(door) {
        Ok(door) => _ = tasks.spawn(door.run(clock.clone(), deliver_nudge.clone(), stop.clone())),
        Err(error) => warn!(error = %error, "burnwatch's own beacon cannot be set up"),
    }
    let plight = plight::Setup { sink: sink.clone(), desk: live.desk.clone(), sender: sender.clone(), public_url: public_url.clone() };
    tasks.spawn(Plight::new(plight).run(clock.clone(), stop.clone()));
    let skew = skew::Setup { store: store.clone(), desk: live.desk.clone(), public_url: public_url.clone(), new_id: chance::id };
    tasks.spawn(Skew::new(skew).run(clock.clone(), deliver_nudge.clone(), stop.clone()));
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
        memory: Default::default(),
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
