//! How soon a daemon with much history is ready: `cargo bench --bench start`, or with a number of SLOs, `-- 1000`.
//!
//! Writes a database with a month of hours and some days of minutes of one series per SLO, then starts the job
//! that evaluates on it: its first run reads the windows back and evaluates the newest bucket.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use burnwatch::chance;
use burnwatch::domain::cell::{Cell, Counts};
use burnwatch::domain::desk::Desk;
use burnwatch::domain::metric::Metric;
use burnwatch::domain::rule::RuleSet;
use burnwatch::domain::segment::Writer;
use burnwatch::domain::series::{Series, SeriesId};
use burnwatch::domain::snapshot::Snapshot;
use burnwatch::domain::time::{Span, Timestamp};
use burnwatch::jobs::explain::Explainer;
use burnwatch::jobs::watch::{Setup, Watch};
use burnwatch::store::archive::{Level, levels};
use burnwatch::store::history::History;
use burnwatch::store::{Store, chunk, series, writer};

#[path = "shared/slo.rs"]
mod slo;

use slo::slo;

const BUCKET: Span = Span::MINUTE;
const NOW: Timestamp = Timestamp(29_800_001 * 60_000);
/// As `store::archive` groups them.
const GROUP: usize = 64;

#[tokio::main]
async fn main() {
    let slos = std::env::args().skip(1).find_map(|arg| arg.parse().ok()).unwrap_or(10_000);
    let folder = tempfile::tempdir().expect("a folder for the database");
    let url = format!("sqlite://{}", folder.path().join("burnwatch.db").display());
    let began = Instant::now();
    fill(&url, slos).await;
    println!("wrote {slos} series in {:.1} s", began.elapsed().as_secs_f64());
    for _ in 0..3 {
        start(&url, slos).await;
    }
}

async fn start(url: &str, slos: usize) {
    let rules = Arc::new(RuleSet { slos: (0..slos).map(|n| slo(n, 30)).collect(), ..RuleSet::default() });
    let began = Instant::now();
    let store = Store::open(url, NOW).await.expect("the database just written opens");
    let history = History::new(store.clone(), BUCKET, Span::days(35), Span::days(100));
    let snapshot = Arc::new(ArcSwap::from_pointee(Snapshot::default()));
    let setup = Setup {
        store,
        bucket: BUCKET,
        settle: Span::seconds(30),
        delays: BTreeMap::new(),
        public_url: "http://localhost".into(),
        desk: Arc::new(ArcSwap::from_pointee(Desk::new(rules))),
        snapshot: snapshot.clone(),
        deliver: Arc::default(),
        holder: "bench".into(),
        new_id: chance::id,
        explainer: Explainer::new(history, BUCKET, Arc::default()),
        flushed: Arc::default(),
        posted: Default::default(),
    };
    let mut watch = Watch::new(setup);
    watch.run(NOW).await.expect("the first run");
    let built = began.elapsed();
    watch.run(NOW + BUCKET).await.expect("the second run");
    let shown = snapshot.load();
    let with_data = shown.slos.iter().filter(|status| status.total > 0.0).count();
    println!(
        "ready after {:.2} s; {} SLOs, {with_data} with data, evaluated at {}",
        built.as_secs_f64(),
        shown.slos.len(),
        shown.evaluated_at.expect("evaluated")
    );
    watch.finish().await.expect("the lease is given back");
}

async fn fill(url: &str, slos: usize) {
    let store = Store::open(url, NOW).await.expect("a new database");
    let mut tx = store.write().await.expect("a transaction");
    let dims = |n: usize| [("app", "shop".to_owned()), ("route", format!("/{n}"))].map(|(name, value)| (name.into(), value.into()));
    let all: Vec<Series> = (0..slos).map(|n| Series::new(Metric::Request, dims(n))).collect();
    let ids = series::intern(&mut tx, &all).await.expect("ids");
    writer::open(&mut tx, "w", "intake", NOW - Span::days(40)).await.expect("a writer");
    writer::touch(&mut tx, "w", NOW + BUCKET, NOW + Span::HOUR).await.expect("a life");
    let [fine, _, hour] = levels(BUCKET);
    for (level, back) in [(hour, Span::days(31)), (fine, Span::days(4))] {
        let mut at = (NOW - back).floor(level.span);
        while at < NOW {
            write(&mut tx, level, at, &ids).await;
            at += level.span;
        }
    }
    tx.commit().await.expect("a commit");
}

/// One chunk for each group of series: thousands of events in each slice, few of them bad.
async fn write(tx: &mut burnwatch::store::Tx, level: Level, start: Timestamp, ids: &[SeriesId]) {
    let minutes = level.slice.0 / BUCKET.0;
    let mut groups: BTreeMap<i64, Vec<SeriesId>> = BTreeMap::new();
    ids.iter().for_each(|id| groups.entry(i64::from(id.0) / GROUP as i64).or_default().push(*id));
    let mut chunks = Vec::new();
    for (grp, mut ids) in groups {
        ids.sort_unstable();
        let mut writer = Writer::default();
        for id in ids {
            let first = start.0 / level.slice.0;
            for slice in (first..first + level.span.0 / level.slice.0).filter(|slice| slice * level.slice.0 < NOW.0) {
                let noise = (slice * 7 + i64::from(id.0) * 13) % 900;
                let counts = Counts::plain((2_000 + noise) * minutes, (slice + i64::from(id.0)) % 4 * minutes);
                writer.push(id, slice, &Cell { counts, bad_sq: i128::from(counts.bad), ..Cell::default() });
            }
        }
        chunks.push(chunk::Chunk { start: start.0, grp, data: writer.finish() });
    }
    chunk::put(tx, level.slice.0, &chunks).await.expect("chunks are written");
}
