//! What rules cost: `cargo bench --bench rules`.
//!
//! A free-form rule's closure besides its queries (50 microseconds are allowed), a query over a day of one series, from the
//! database and from memory (a millisecond), the check of 1,000 rules (2 s) and the tests of the pack (10 s).
//! CPU time of this thread, median and least of many runs; the last two are wall time.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use burnwatch::domain::archive::{Archive, Ask, MemoryArchive};
use burnwatch::domain::cell::{Cell, Counts};
use burnwatch::domain::filter::{Filter, Match};
use burnwatch::domain::measure::{Answer, Baseline, Change, Counted, Measure, Top};
use burnwatch::domain::metric::Metric;
use burnwatch::domain::rule::Labels;
use burnwatch::domain::segment::Writer;
use burnwatch::domain::series::Series;
use burnwatch::domain::time::{Span, Timestamp};
use burnwatch::rules::{Env, built_in, load};
use burnwatch::simulation::rehearsal::{self, Limits};
use burnwatch::store::archive::levels;
use burnwatch::store::history::History;
use burnwatch::store::{Store, chunk, series, writer};

#[path = "shared/cpu.rs"]
mod cpu;

use cpu::{cpu, median};

const NOW: Timestamp = Timestamp(29_800_080 * 60_000);
const DAY: i64 = 24 * 60;
const RUNS: usize = 200;

/// Closures from plain to long; none of their queries costs anything here.
const CLOSURES: [(&str, &str); 3] = [
    ("one comparison", "|q| q.count(\"request\", #{ app: \"shop\" }, \"5m\").bad > 1e9"),
    (
        "an order funnel against its season",
        "|q| { let paid = q.count(\"step\", #{ step: \"paid\" }, \"1h\"); \
        let usual = q.baseline(\"step\", #{ step: \"paid\" }, \"1h\"); paid.total < 0.7 * usual.median && usual.z < -4.0 }",
    ),
    (
        "twenty rows, sorted by share",
        "|q| { let worst = 0.0; for row in q.top(\"request\", \"release\", #{ app: \"shop\" }, \"1h\") { \
        let share = row.bad / row.total; if share > worst { worst = share; } } worst > 2.0 }",
    ),
];

/// Answers at once.
struct Free;

impl Measure for Free {
    fn count(&self, _: &Metric, _: &Filter, _: Span) -> Answer<Counted> {
        Ok(Counted { total: 10_000.0, bad: 12.0, raw: 10_000.0 })
    }

    fn quantile(&self, _: &Metric, _: f64, _: &Filter, _: Span) -> Answer<f64> {
        Ok(1_800.0)
    }

    fn users(&self, _: &Metric, _: &Filter, _: Span) -> Answer<f64> {
        Ok(900.0)
    }

    fn bad_users(&self, _: &Metric, _: &Filter, _: Span) -> Answer<f64> {
        Ok(11.0)
    }

    fn baseline(&self, _: &Metric, _: &Filter, _: Span) -> Answer<Baseline> {
        Ok(Baseline { median: 9_800.0, mad: 200.0, z: 0.4 })
    }

    fn top(&self, _: &Metric, _: &str, _: &Filter, _: Span) -> Answer<Vec<Top>> {
        let row = |n: i32| Top { value: format!("2.{n}"), share: 0.05, counted: Counted { total: 500.0, bad: 1.0, raw: 500.0 } };
        Ok((0..20).map(row).collect())
    }

    fn burn(&self, _: &str, _: &Labels, _: Span) -> Answer<f64> {
        Ok(0.3)
    }

    fn budget(&self, _: &str, _: &Labels) -> Answer<f64> {
        Ok(0.7)
    }

    fn consumed(&self, _: &str, _: &Labels, _: Option<Span>) -> Answer<f64> {
        Ok(0.3)
    }

    fn exhausted_within(&self, _: &str, _: &Labels, _: Span, _: Option<Span>) -> Answer<bool> {
        Ok(false)
    }

    fn changes(&self, _: &Filter, _: Span) -> Answer<Vec<Change>> {
        Ok(Vec::new())
    }
}

#[tokio::main]
async fn main() {
    closures();
    let filter = Filter([("app".to_owned(), Match::Equal("shop".to_owned()))].into());
    query("memory", &memory(), &filter);
    let folder = tempfile::tempdir().expect("a folder for the database");
    let history = stored(&format!("sqlite://{}", folder.path().join("burnwatch.db").display())).await;
    query("database", &history, &filter);
    check();
    pack();
}

fn closures() {
    for (what, when) in CLOSURES {
        let text = format!("alert(\"it\", #{{ severity: \"ticket\", when: {when} }});");
        let loaded = load(&[("a.rhai".to_owned(), text)].into(), &Env::defaults());
        assert!(loaded.is_good(), "{:?}", loaded.problems);
        let mut times = Vec::new();
        for _ in 0..RUNS {
            // One closure is shorter than what a thread's CPU time can tell apart.
            let began = cpu();
            for _ in 0..100 {
                black_box(loaded.program.ask("it", &Labels::new(), Arc::new(Free)).expect("it does not fail"));
            }
            times.push((cpu() - began) / 100);
        }
        println!("closure   {what:<36} {:>8.1} µs, least {:.1}", median(&mut times) as f64 / 1e3, times[0] as f64 / 1e3);
    }
}

fn cell(minute: i64) -> Cell {
    Cell { counts: Counts::plain(2_000 + minute % 97, minute % 5), ..Cell::default() }
}

fn one_series() -> Series {
    Series::new(Metric::Request, [("app", "shop"), ("route", "/api/checkout")].map(|(name, value)| (name.into(), value.into())))
}

fn memory() -> MemoryArchive {
    let mut archive = MemoryArchive::new(Span::MINUTE);
    let id = archive.intern(&one_series());
    let now = NOW.0 / Span::MINUTE.0;
    (now - 2 * DAY..now).for_each(|minute| archive.add(id, minute, &cell(minute)));
    archive.seal();
    archive
}

/// Two days by the minute, in chunks as the compaction leaves them.
async fn stored(url: &str) -> History {
    let store = Store::open(url, NOW).await.expect("a new database");
    let mut tx = store.write().await.expect("a transaction");
    let ids = series::intern(&mut tx, &[one_series()]).await.expect("an id");
    writer::open(&mut tx, "w", "intake", NOW - Span::days(3)).await.expect("a writer");
    let fine = levels(Span::MINUTE)[0];
    let mut at = (NOW - Span::days(2)).floor(fine.span);
    let mut chunks = Vec::new();
    while at < NOW {
        let mut packed = Writer::default();
        let first = at.0 / fine.slice.0;
        (first..first + fine.span.0 / fine.slice.0).for_each(|minute| packed.push(ids[0], minute, &cell(minute)));
        chunks.push(chunk::Chunk { start: at.0, grp: 0, data: packed.finish() });
        at += fine.span;
    }
    chunk::put(&mut tx, fine.slice.0, &chunks).await.expect("chunks are written");
    tx.commit().await.expect("a commit");
    History::new(store, Span::MINUTE, Span::days(8), Span::days(40))
}

fn query(whence: &str, archive: &dyn Archive, filter: &Filter) {
    let ask = Ask { metric: &Metric::Request, filter, from: NOW - Span::DAY, to: NOW, step: Span::MINUTE, detail: false };
    let mut times = Vec::new();
    let mut sum = Counts::ZERO;
    for _ in 0..RUNS {
        sum = Counts::ZERO;
        // Wall time: a database reads in threads of its own.
        let began = Instant::now();
        archive.cells(&ask, &mut |_, _, cell| sum += cell.counts).expect("it can be read");
        times.push(began.elapsed().as_nanos() as u64);
    }
    let events = sum.raw;
    println!(
        "query     a day of one series, {whence:<15} {:>8.1} µs, least {:.1}; {events} events",
        median(&mut times) as f64 / 1e3,
        times[0] as f64 / 1e3
    );
}

fn check() {
    let one = |n: usize| {
        format!(
            "slo(\"s{n}\", #{{ objective: 99.9, service: \"s\", sli: good(\"request\", #{{ app: \"shop\", route: \"/{n}\" }}), alert: burn_rate() }});\n\
             alert(\"a{n}\", #{{ severity: \"ticket\", when: |q| q.count(\"request\", #{{ route: \"/{n}\" }}, \"5m\").bad > 100.0 }});\n"
        )
    };
    let files: BTreeMap<String, String> = [("a.rhai".to_owned(), (0..500).map(one).collect())].into();
    let began = Instant::now();
    assert!(load(&files, &Env::defaults()).is_good());
    println!("check     1,000 rules                          {:>8.2} s", began.elapsed().as_secs_f64());
}

fn pack() {
    let loaded = load(&built_in(), &Env::defaults());
    let began = Instant::now();
    let report = rehearsal::run(&loaded, &|_| true, Limits::default(), &mut |_| {});
    assert!(report.outcomes.iter().all(|outcome| outcome.passed()), "the pack's own tests pass");
    println!("pack      {} tests{:>37.2} s", report.outcomes.len(), began.elapsed().as_secs_f64());
}
