//! What arrives and what closes: cells into the windows of the SLIs that select them, slice after slice.

use super::super::cell::{Counts, Limit};
use super::super::route::matches;
use super::super::rule::{Labels, Maintenance, MaintenanceBudget, Slo, SloWindow};
use super::super::schedule::zone;
use super::super::segment::{Brief, Damaged, Run, Seen, Slice};
use super::super::series::SeriesId;
use super::super::time::Timestamp;
use super::super::window::Rolling;
use super::{Evaluator, Plan, StreamTrack, Track, Wiring};

/// What a cell means to one SLI.
#[derive(Clone, Copy, Debug)]
pub(super) enum Take {
    Counts,
    Against(Limit),
    RatioTotal,
    RatioGood,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Target {
    pub track: u32,
    pub group: u32,
    pub take: Take,
}

impl Evaluator {
    /// Adds cells of a known series. What is not selected is not even unpacked.
    pub fn add_run(&mut self, id: SeriesId, mut run: Run<'_>) -> Result<(), Damaged> {
        let Some(mut feeding) = self.feeding(id) else { return Ok(()) };
        for (slice, seen) in run.by_ref() {
            match seen {
                Seen::Plain { raw, raw_bad, pushed } => feeding.plain(slice, raw, raw_bad, pushed),
                Seen::Brief(brief) => feeding.cell(slice, brief.counts, brief.pushed, &|limit| brief.against(limit)),
            }
        }
        run.end()
    }

    /// Adds one cell of a known series.
    pub fn add(&mut self, id: SeriesId, slice: Slice, brief: &Brief<'_>) {
        self.add_with(id, slice, brief.counts, brief.pushed, |limit| brief.against(limit));
    }

    /// Adds counts of a known series; `against` gives the counts of a limit.
    pub fn add_with(&mut self, id: SeriesId, slice: Slice, counts: Counts, pushed: bool, against: impl Fn(Limit) -> Counts) {
        if let Some(mut feeding) = self.feeding(id) {
            feeding.cell(slice, counts, pushed, &against);
        }
    }

    /// What a series feeds; nothing, if no SLI and no coverage is concerned.
    fn feeding(&mut self, id: SeriesId) -> Option<Feeding<'_>> {
        let wiring = self.wiring.get(id.0 as usize)?.as_ref()?;
        if wiring.streams.is_empty() && wiring.targets.is_empty() {
            return None;
        }
        let now = Now { plan: &self.plan, next: self.next, aim: self.aim };
        Some(Feeding { now, wiring, streams: &mut self.streams, tracks: &mut self.tracks })
    }

    /// Adds whole steps of old history of `ratio` buckets each, which only long budgets still hold.
    pub fn add_old(&mut self, id: SeriesId, ratio: i64, mut run: Run<'_>) -> Result<(), Damaged> {
        let Some(Some(wiring)) = self.wiring.get(id.0 as usize) else { return Ok(()) };
        if wiring.targets.is_empty() {
            return Ok(());
        }
        let now = Now { plan: &self.plan, next: self.next, aim: self.aim };
        for (slice, seen) in run.by_ref() {
            let slice = slice * ratio;
            for target in &wiring.targets {
                let taken = take(target.take, seen.counts(), &|limit| seen.against(limit));
                let track = &mut self.tracks[target.track as usize];
                // Coarse history has no time slices any more; it must not be judged as one.
                if track.shape.target.is_none() && !taken.is_zero() {
                    now.add_old(track, target.group as usize, slice, taken);
                }
            }
        }
        run.end()
    }

    /// Ends the reading of old sums: what follows are buckets, one by one.
    pub fn end_of_past(&mut self) {
        for track in &mut self.tracks {
            for group in track.groups.iter_mut().filter(|group| !group.rolling.is_unused()) {
                group.rolling.end_of_past(&track.shape);
            }
        }
    }

    /// Closes the next bucket without judging it: how a start reads history.
    pub fn replay(&mut self, up: bool) {
        self.close(up);
    }

    /// Says that history is read up to `to` by [`Evaluator::replay_to`], and that nothing is asked before
    /// [`Evaluator::end_of_replay`]. Before any history is read.
    pub fn aim_at(&mut self, to: Timestamp) {
        self.aim = Some(to.0.div_euclid(self.plan.settings.bucket.0));
    }

    /// Like [`Evaluator::replay`] of every bucket before `to`, many times faster: an SLO's slices close when its next
    /// cell comes, in a run.
    pub fn replay_to(&mut self, to: Timestamp, up: impl Fn(Timestamp) -> bool) {
        let bucket = self.plan.settings.bucket;
        let (first, end) = (self.next, to.0.div_euclid(bucket.0));
        debug_assert!(self.aim.is_some_and(|aim| end <= aim), "history is read up to where it was aimed at");
        if end <= first {
            return;
        }
        self.next = end;
        for stream in &mut self.streams {
            (first..end).for_each(|closed| stream.stream.close(up(Timestamp(closed * bucket.0))));
        }
        for track in self.tracks.iter_mut().filter(|track| !track.closes_in_runs) {
            for next in first..end {
                let now = Now { plan: &self.plan, next, aim: self.aim };
                now.close(track);
            }
        }
    }

    /// Ends the reading of history: all windows end where it was aimed at.
    pub fn end_of_replay(&mut self) {
        for track in self.tracks.iter_mut().filter(|track| track.closes_in_runs) {
            let end = self.next - track.delay;
            for group in track.groups.iter_mut().filter(|group| !group.rolling.is_unused()) {
                group.rolling.close_run(&track.shape, end);
            }
        }
        self.aim = None;
    }

    pub(super) fn close(&mut self, up: bool) {
        let closed = self.next;
        self.next += 1;
        for stream in &mut self.streams {
            stream.stream.close(up);
        }
        let now = Now { plan: &self.plan, next: closed, aim: None };
        for track in &mut self.tracks {
            now.close(track);
        }
    }
}

/// Where the cells of one series go.
struct Feeding<'a> {
    now: Now<'a>,
    wiring: &'a Wiring,
    streams: &'a mut [StreamTrack],
    tracks: &'a mut [Track],
}

impl Feeding<'_> {
    fn cell(&mut self, slice: Slice, counts: Counts, pushed: bool, against: &impl Fn(Limit) -> Counts) {
        self.cover(slice, counts.raw, pushed);
        for target in &self.wiring.targets {
            let taken = take(target.take, counts, against);
            if !taken.is_zero() {
                self.now.add(&mut self.tracks[target.track as usize], target.group as usize, slice, taken);
            }
        }
    }

    /// The same for events that weigh one and have no values.
    #[inline]
    fn plain(&mut self, slice: Slice, raw: u32, raw_bad: u32, pushed: bool) {
        self.cover(slice, i64::from(raw), pushed);
        for target in &self.wiring.targets {
            let track = &mut self.tracks[target.track as usize];
            let group = target.group as usize;
            if matches!(target.take, Take::Counts) && self.now.add_plain(track, group, slice, raw, raw_bad) {
                continue;
            }
            let counts = Counts::plain(i64::from(raw), i64::from(raw_bad));
            let taken = take(target.take, counts, &|_| Counts::ZERO);
            if !taken.is_zero() {
                self.now.add(track, group, slice, taken);
            }
        }
    }

    #[inline]
    fn cover(&mut self, slice: Slice, events: i64, pushed: bool) {
        for stream in &self.wiring.streams {
            let stream = &mut self.streams[*stream as usize].stream;
            if pushed {
                stream.add_row(slice);
            } else {
                stream.add_events(slice, events);
            }
        }
    }
}

/// What a slice needs to know of the evaluator while one of its tracks is borrowed.
pub(super) struct Now<'a> {
    plan: &'a Plan,
    /// The next bucket to close.
    next: Slice,
    /// As [`Evaluator::aim`].
    aim: Option<Slice>,
}

impl Now<'_> {
    /// Closes the bucket [`Now::next`] of one track.
    fn close(&self, track: &mut Track) {
        let end = self.next + 1 - track.delay;
        if track.per_slice != 1 && end.rem_euclid(track.per_slice) != 0 {
            return;
        }
        let since = match &self.plan.rules.slos[track.slo].window {
            SloWindow::Rolling(_) => None,
            SloWindow::Calendar { period, timezone } => {
                let at = Timestamp(end * self.plan.settings.bucket.0);
                if at >= track.period.1 {
                    track.period = period.around(zone(timezone).unwrap_or(chrono_tz::UTC), at);
                }
                Some(track.period.0.0.div_euclid(track.shape.slice.0))
            }
        };
        for at in 0..track.groups.len() {
            if track.groups[at].rolling.is_unused() && track.shape.target.is_none() {
                continue;
            }
            self.wake(track, at, end - track.per_slice);
            let excluded = self.treatment(track, at, end - track.per_slice) == Some(MaintenanceBudget::Exclude);
            track.groups[at].rolling.close(&track.shape, excluded, since);
        }
    }

    #[inline(always)]
    fn add(&self, track: &mut Track, group: usize, slice: Slice, taken: Counts) {
        let good = self.treatment(track, group, slice) == Some(MaintenanceBudget::Good);
        let taken = if good { Counts { bad: 0, raw_bad: 0, ..taken } } else { taken };
        self.wake(track, group, slice);
        let group = &mut track.groups[group];
        let closed = self.next - track.delay;
        if track.closes_in_runs && group.rolling.next() < closed {
            group.rolling.close_run(&track.shape, closed);
        }
        group.rolling.add(&track.shape, slice.div_euclid(track.per_slice), taken);
        group.changed = true;
        track.first_data = Some(track.first_data.map_or(slice, |first| first.min(slice)));
    }

    /// Like [`Now::add`], on a short path: `false`, and nothing is added, where that does not lead.
    #[inline]
    fn add_plain(&self, track: &mut Track, group: usize, slice: Slice, raw: u32, raw_bad: u32) -> bool {
        if raw == 0 || !track.closes_in_runs {
            return false;
        }
        self.wake(track, group, slice);
        let group = &mut track.groups[group];
        let closed = self.next - track.delay;
        if group.rolling.next() < closed {
            group.rolling.close_run(&track.shape, closed);
        }
        if !group.rolling.add_plain(slice, raw, raw_bad) {
            return false;
        }
        group.changed = true;
        track.first_data = Some(track.first_data.map_or(slice, |first| first.min(slice)));
        true
    }

    fn add_old(&self, track: &mut Track, group: usize, slice: Slice, taken: Counts) {
        let taken = match self.treatment(track, group, slice) {
            Some(MaintenanceBudget::Exclude) => return,
            Some(MaintenanceBudget::Good) => Counts { bad: 0, raw_bad: 0, ..taken },
            Some(MaintenanceBudget::Count) | None => taken,
        };
        self.wake(track, group, self.next);
        track.groups[group].rolling.add_old(&track.shape, slice, taken);
        track.first_data = Some(track.first_data.map_or(slice, |first| first.min(slice)));
    }

    /// How maintenance treats a bucket of one group.
    #[inline]
    fn treatment(&self, track: &Track, group: usize, slice: Slice) -> Option<MaintenanceBudget> {
        if track.exclusions.is_empty() { None } else { self.maintained(track, group, slice) }
    }

    fn maintained(&self, track: &Track, group: usize, slice: Slice) -> Option<MaintenanceBudget> {
        let slo = &self.plan.rules.slos[track.slo];
        let at = Timestamp(slice * self.plan.settings.bucket.0);
        let on = track.exclusions.iter().filter(|at| applies(&self.plan.rules.maintenances[**at], slo, &track.groups[group].labels));
        let on = on.filter(|index| self.plan.maintenance[**index].as_ref().is_some_and(|windows| windows.active(at)));
        // Taking time out wins over counting it as good.
        on.map(|at| self.plan.rules.maintenances[*at].budget).max_by_key(|budget| *budget == MaintenanceBudget::Exclude)
    }

    /// Gives a group its windows when its first data comes: groups without any cost nothing.
    #[inline]
    fn wake(&self, track: &mut Track, group: usize, slice: Slice) {
        if track.groups[group].rolling.is_asleep() {
            self.awaken(track, group, slice);
        }
    }

    fn awaken(&self, track: &mut Track, group: usize, slice: Slice) {
        let next = (self.next - track.delay).div_euclid(track.per_slice);
        let first = slice.div_euclid(track.per_slice).clamp(next - track.shape.fine_slices(), next);
        let past = match &self.plan.rules.slos[track.slo].window {
            SloWindow::Rolling(_) => self.plan.past,
            SloWindow::Calendar { period, timezone } => {
                let at = Timestamp((self.next - track.delay) * self.plan.settings.bucket.0);
                period.around(zone(timezone).unwrap_or(chrono_tz::UTC), at).0.0.div_euclid(self.plan.settings.bucket.0)
            }
        };
        let mut rolling = Rolling::new(&track.shape, first, past.div_euclid(track.per_slice));
        if let Some(aim) = self.aim {
            rolling.aim_at((aim - track.delay).div_euclid(track.per_slice));
        }
        for slice in first..next {
            let excluded = self.treatment(track, group, slice * track.per_slice) == Some(MaintenanceBudget::Exclude);
            rolling.close(&track.shape, excluded, None);
        }
        track.groups[group].rolling = rolling;
    }
}

fn take(take: Take, counts: Counts, against: &impl Fn(Limit) -> Counts) -> Counts {
    match take {
        Take::Counts => counts,
        Take::Against(limit) => against(limit),
        Take::RatioTotal => Counts { bad: counts.total, raw_bad: counts.raw, ..counts },
        Take::RatioGood => Counts { total: 0, bad: -counts.total, raw: 0, raw_bad: -counts.raw, sq: 0 },
    }
}

/// Whether maintenance could ever apply to an SLO, whatever the group.
pub fn could_match(maintenance: &Maintenance, slo: &Slo) -> bool {
    let labels = slo.base_labels();
    maintenance.when.0.iter().all(|(name, condition)| {
        slo.by.contains(name) || name == "severity" || condition.accepts(labels.get(name).map_or("", String::as_str))
    })
}

fn applies(maintenance: &Maintenance, slo: &Slo, group: &Labels) -> bool {
    let mut labels = slo.base_labels();
    labels.extend(group.clone());
    matches(&maintenance.when, &labels)
}
