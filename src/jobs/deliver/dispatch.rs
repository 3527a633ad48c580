//! From a claimed row to an attempt under way, and from its end to what is to be written down.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::{Id, JoinError};
use tokio::time::Instant;

use super::attempt::{self, Finished, Held, Job};
use super::queue::{Health, Pace, Queue};
use super::settled::{Disabled, Settled};
use super::verdict::{Story, Verdict, decide};
use super::{Deliver, GivenBack, PATIENCE};
use crate::domain::rule::RuleSet;
use crate::domain::time::{Span, Timestamp};
use crate::notify::outcome::Trouble;
use crate::notify::{Queued, SendError};
use crate::store::outbox::OutboxRow;

impl Deliver {
    /// Starts what has room; gives back what would have to wait for long.
    pub(super) fn start(&mut self) {
        let now = self.steady.now(&self.parts.clock);
        let rules = self.parts.rules.load_full();
        let mut waiting = std::mem::take(&mut self.waiting);
        for (name, rows) in &mut waiting {
            let held = self.remembered.get(name).map_or(Timestamp(0), |known| known.paused_until);
            while let Some(front) = rows.front() {
                // Rows are not unpacked again and again while they wait.
                if self.queues.get_mut(name).is_some_and(|queue| queue.room(now) == 0) {
                    break;
                }
                let Some(job) = self.resolve(front, &rules, now) else {
                    rows.pop_front();
                    continue;
                };
                let pace = Pace::of(&job.to.receiver.kind);
                let queue = self.queues.entry(name.clone()).or_insert_with(|| Queue::new(pace, now));
                queue.set_pace(pace);
                if held > now && !queue.is_paused(now) {
                    queue.hold(now, held);
                }
                if queue.room(now) == 0 {
                    break;
                }
                queue.started();
                let front = rows.pop_front().expect("it was looked at above");
                self.spawn(front, job);
            }
            let Some(queue) = self.queues.get_mut(name).filter(|_| !rows.is_empty()) else { continue };
            let Some(at) = queue.room_at(now).filter(|at| *at > now + PATIENCE) else { continue };
            let gap = queue.gap();
            for (n, held) in rows.drain(..).enumerate() {
                self.given_back.push(GivenBack::new(&held.row, at + Span(gap.millis().saturating_mul(n as i64))));
            }
        }
        waiting.retain(|_, rows| !rows.is_empty());
        self.waiting = waiting;
    }

    /// What is to be sent to whom; `None` if it never can be, which is settled here.
    pub(super) fn resolve(&mut self, held: &Held, rules: &Arc<RuleSet>, now: Timestamp) -> Option<Job> {
        let row = &held.row;
        let queued: Queued = match serde_json::from_str(&row.payload) {
            Ok(queued) => queued,
            Err(error) => return self.bury(&held.row, now, format!("the stored notification cannot be read: {error}")),
        };
        let Some(to) = self.addressees.of(rules).get(&row.receiver, queued.definition) else {
            return self.bury(&held.row, now, format!("receiver `{}` is no longer in the rules; put it back and replay", row.receiver));
        };
        let disabled = self.remembered.get(&row.receiver).and_then(|known| known.disabled.as_ref());
        // A row from before is tried: it is a replay, by somebody who thinks that the receiver is back.
        if let Some(disabled) = disabled.filter(|disabled| disabled.definition == to.definition && row.created_at > disabled.at) {
            let why = format!(
                "receiver `{}` answered 410 Gone at {}; change its definition, or replay a dead letter to try again",
                row.receiver, disabled.at
            );
            return self.bury(&held.row, now, why);
        }
        Some(Job { notification: queued.notification, to })
    }

    /// Puts a row with the dead letters without an attempt.
    pub(super) fn bury(&mut self, row: &Arc<OutboxRow>, now: Timestamp, error: String) -> Option<Job> {
        self.settled_at.get_or_insert_with(Instant::now);
        self.settled.push(Settled {
            row: row.clone(),
            at: now,
            took: Duration::ZERO,
            status: None,
            verdict: Verdict::Dead { error, disable: false },
            pause: None,
            disabled: None,
            enabled: false,
        });
        None
    }

    pub(super) fn spawn(&mut self, held: Held, job: Job) {
        let (store, sender, clock) = (self.parts.store.clone(), self.parts.sender.clone(), self.parts.clock.clone());
        let attempt = held.clone();
        let task = self.under_way.spawn(async move { attempt::run(&store, &sender, &clock, attempt, job).await });
        self.rows.insert(task.id(), held);
    }

    /// Takes this outcome and all others that are there by now.
    pub(super) fn take_all(&mut self, first: Result<(Id, Finished), JoinError>) {
        self.take(first);
        while let Some(ended) = self.under_way.try_join_next_with_id() {
            self.take(ended);
        }
    }

    pub(super) fn take(&mut self, ended: Result<(Id, Finished), JoinError>) {
        let now = self.steady.now(&self.parts.clock);
        let finished = match ended {
            // Its claim may have been renewed while it was under way.
            Ok((id, finished)) => match self.rows.remove(&id) {
                Some(held) => Finished { held, ..finished },
                None => finished,
            },
            Err(error) => {
                let Some(held) = self.rows.remove(&error.id()) else { return };
                let result = Err(SendError::new(Trouble::Unreadable, "the attempt ended in a panic; this is a bug in burnwatch"));
                Finished { held, definition: "".into(), at: now, took: Duration::ZERO, result: Some(result) }
            }
        };
        let row = finished.held.row;
        let Some(queue) = self.queues.get_mut(&row.receiver) else { return };
        let Some(result) = finished.result else {
            queue.dropped();
            return self.given_back.push(GivenBack::new(&row, now));
        };
        let status = match &result {
            Ok(sent) => sent.status,
            Err(error) => error.status,
        };
        let chance = (self.parts.chance)();
        let story = Story { created_at: row.created_at, attempts: row.attempts };
        let (verdict, health) = decide(story, result, now, chance);
        queue.finished(health, now, chance);
        let pause = match health {
            Health::Asks(until) => Some(until),
            Health::Answers | Health::Fails => None,
        };
        let gone = matches!(verdict, Verdict::Dead { disable: true, .. });
        let disabled = gone.then_some(Disabled { at: finished.at, definition: finished.definition });
        let was_disabled = self.remembered.get(&row.receiver).is_some_and(|known| known.disabled.is_some());
        let enabled = was_disabled && matches!(verdict, Verdict::Delivered { .. });
        self.settled_at.get_or_insert_with(Instant::now);
        self.settled.push(Settled { at: finished.at, took: finished.took, status, verdict, pause, disabled, enabled, row });
    }
}
