//! Follows the source of rules: what takes effect is shown and told, and so is what is refused.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use super::loops::chain;
use crate::chance;
use crate::clock::SharedClock;
use crate::domain::snapshot::Snapshot;
use crate::domain::time::Timestamp;
use crate::jobs::operator::{self, Trouble};
use crate::jobs::reload::{Looked, Reload};
use crate::store::Store;

/// Follows the source of rules and says what came of it.
pub struct Follow {
    pub reload: Reload,
    pub store: Store,
    pub snapshot: Arc<ArcSwap<Snapshot>>,
    pub public_url: String,
    /// Wakes delivery.
    pub nudge: Arc<Notify>,
    /// Wakes the evaluator.
    pub watch: Arc<Notify>,
}

impl Follow {
    /// `first` is what the start saw; without `every` nothing can change.
    pub async fn run(mut self, first: Looked, every: Option<Duration>, clock: SharedClock, stop: CancellationToken) {
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
