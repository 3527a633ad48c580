//! What an evaluation costs: `cargo bench --bench evaluate`, or with a number of SLOs, `-- 1000`.
//!
//! Each SLO has the workbook's four tiers, a month of history and new traffic in every bucket. A cycle takes in
//! one stored bucket of every SLO, evaluates all of them and makes what pages and API show. CPU time of this
//! thread, median and least of many cycles.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;

use burnwatch::domain::cell::{Cell, Counts};
use burnwatch::domain::evaluate::{Evaluator, Settings};
use burnwatch::domain::metric::Metric;
use burnwatch::domain::rule::RuleSet;
use burnwatch::domain::segment::{self, Slice, Writer};
use burnwatch::domain::series::{Series, SeriesId};
use burnwatch::domain::time::{Span, Timestamp};

#[path = "shared/cpu.rs"]
mod cpu;
#[path = "shared/slo.rs"]
mod slo;

use cpu::{cpu, median};
use slo::slo;

const BUCKET: Span = Span::MINUTE;
/// Minutes since the epoch at which measuring begins.
const NOW: Slice = 29_800_000;
const CYCLES: i64 = 60;

fn main() {
    let wanted = std::env::args().skip(1).find_map(|arg| arg.parse().ok());
    println!("  SLOs  window  traffic   | cycle ms: median  least | ns/SLO: take in  evaluate  statuses | KiB/SLO");
    if let Some(slos) = wanted {
        return table(slos, 30, Traffic::Every);
    }
    table(1_000, 30, Traffic::Every);
    table(10_000, 30, Traffic::Every);
    table(10_000, 1, Traffic::Every);
    table(10_000, 90, Traffic::Every);
    table(10_000, 30, Traffic::Weighted);
    table(10_000, 30, Traffic::Stopped);
    table(10_000, 30, Traffic::Never);
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Traffic {
    /// New events on every SLO in every bucket.
    Every,
    /// The same, of sampled sessions: one in ten, errors always.
    Weighted,
    /// A month of history, nothing new.
    Stopped,
    /// Nothing ever came.
    Never,
}

fn table(slos: usize, days: i64, traffic: Traffic) {
    let mut evaluator = ready(slos, days, traffic);
    let (mut takes, mut evaluations, mut statuses, mut cycles) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut published = evaluator.statuses();
    for slice in NOW..NOW + CYCLES {
        let stored = if matches!(traffic, Traffic::Every | Traffic::Weighted) {
            bucket(slos, slice, 1, traffic)
        } else {
            bucket(0, slice, 1, traffic)
        };
        let began = cpu();
        feed(&mut evaluator, &stored, false);
        let taken = cpu();
        black_box(evaluator.advance(true));
        let evaluated = cpu();
        published = evaluator.statuses();
        let ended = cpu();
        takes.push(taken - began);
        evaluations.push(evaluated - taken);
        statuses.push(ended - evaluated);
        cycles.push(ended - began);
    }
    black_box(published);
    let (bytes, groups) = evaluator.window_bytes();
    let each = |times: &mut Vec<u64>| median(times) as f64 / slos as f64;
    let (middle, least) = (median(&mut cycles), cycles[0]);
    println!(
        "{slos:>6}  {days:>5}d  {:<9} | {:>16.2} {:>6.2} | {:>15.0} {:>9.0} {:>9.0} | {:>7.1}",
        format!("{traffic:?}").to_lowercase(),
        middle as f64 / 1e6,
        least as f64 / 1e6,
        each(&mut takes),
        each(&mut evaluations),
        each(&mut statuses),
        bytes as f64 / groups as f64 / 1024.0
    );
}

/// Filled as a start fills it: older history by the hour, what windows need by the minute.
fn ready(slos: usize, days: i64, traffic: Traffic) -> Evaluator {
    let rules = Arc::new(RuleSet { slos: (0..slos).map(|n| slo(n, days)).collect(), ..RuleSet::default() });
    let settings = || Settings { bucket: BUCKET, delays: BTreeMap::new() };
    let now = Timestamp(NOW * BUCKET.0);
    let probe = Evaluator::new(rules.clone(), settings(), now, now);
    let start = (now - probe.fine_span()).floor(Span::HOUR);
    let past = (now - probe.reach()).floor(Span::HOUR).min(start);
    let mut evaluator = Evaluator::new(rules, settings(), start, past);
    for n in 0..slos {
        let dims = [("app", "shop".to_owned()), ("route", format!("/{n}"))].map(|(name, value)| (name.into(), value.into()));
        evaluator.add_series(SeriesId(n as u32), &Series::new(Metric::Request, dims));
    }
    let slos = if traffic == Traffic::Never { 0 } else { slos };
    let slice_of = |at: Timestamp| at.0 / BUCKET.0;
    for hour in (slice_of(past)..slice_of(start)).step_by(60) {
        feed(&mut evaluator, &bucket(slos, hour, 60, traffic), true);
    }
    evaluator.end_of_past();
    for slice in slice_of(start)..NOW {
        feed(&mut evaluator, &bucket(slos, slice, 1, traffic), false);
        evaluator.replay(true);
    }
    evaluator
}

fn feed(evaluator: &mut Evaluator, stored: &[u8], old: bool) {
    let fed = segment::read_runs(stored, |id, run| if old { evaluator.add_old(id, 1, run) } else { evaluator.add_run(id, run) });
    fed.expect("what was just written can be read");
}

/// One slice of every SLO, packed as a flush packs it: some thousands of events, few of them bad.
fn bucket(slos: usize, slice: Slice, minutes: i64, traffic: Traffic) -> Vec<u8> {
    let mut writer = Writer::default();
    for n in 0..slos {
        let noise = (slice * 7 + n as i64 * 13) % 900;
        let (events, bad) = ((2_000 + noise) * minutes, (slice + n as i64) % 4 * minutes);
        let counts = match traffic {
            Traffic::Weighted => {
                let mut counts = Counts::plain(bad, bad);
                let good = Counts::event(10_000_000, false);
                let kept = events / 10;
                counts += Counts { raw: kept, total: good.total * kept, sq: good.sq * i128::from(kept), ..Counts::ZERO };
                counts
            }
            Traffic::Every | Traffic::Stopped | Traffic::Never => Counts::plain(events, bad),
        };
        writer.push(SeriesId(n as u32), slice, &Cell { counts, bad_sq: i128::from(counts.bad), ..Cell::default() });
    }
    writer.finish()
}
