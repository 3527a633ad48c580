//! Skew: compares the wall clock with the time that really passed. A jump leaves a hole in what was measured, and moves silences and
//! waits by as much, so somebody hears of it.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use super::operator::{self, Trouble};
use crate::clock::SharedClock;
use crate::domain::desk::Desk;
use crate::domain::time::{Span, Timestamp};
use crate::store::{Store, StoreError};

/// How often both are looked at.
const EVERY: Duration = Duration::from_secs(1);
/// From so much on a difference between two looks is a jump. A clock that is only being put right moves by milliseconds a second.
const JUMP_MIN: Span = Span::seconds(10);
/// How long the clock has to be steady until it is no trouble any more.
const STEADY_AFTER: Span = Span::minutes(15);

/// Both clocks, read at the same moment.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    pub wall: Timestamp,
    /// Since some moment in the life of this process, by a clock that only goes on.
    pub passed: Span,
}

/// What is between two readings that does not belong there: positive when the wall clock went ahead. `None`: nothing.
pub fn jump(before: Reading, after: Reading) -> Option<Span> {
    let ahead = (after.wall - before.wall) - (after.passed - before.passed);
    (ahead.millis().saturating_abs() >= JUMP_MIN.millis()).then_some(ahead)
}

/// What the job is set up with.
pub struct Setup {
    pub store: Store,
    pub desk: Arc<ArcSwap<Desk>>,
    pub public_url: String,
    pub new_id: fn() -> String,
}

/// The job.
pub struct Skew {
    setup: Setup,
    last: Option<Reading>,
    /// Since when the clock has been steady, and how it last was not.
    steady_since: Span,
    jumped: Option<String>,
    /// Whether what is known was told; at a start an earlier life may have told of something.
    told: bool,
}

impl Skew {
    /// The job, at the start of a process.
    pub fn new(setup: Setup) -> Skew {
        Skew { setup, last: None, steady_since: Span::ZERO, jumped: None, told: false }
    }

    /// Looks at both clocks. Opens an incident after a jump, and closes it when the clock has been steady for a while. Says how many
    /// notifications were queued.
    pub async fn check(&mut self, now: Reading) -> Result<usize, StoreError> {
        let jump = self.last.replace(now).and_then(|last| jump(last, now));
        if let Some(ahead) = jump {
            let summary = words(ahead, now.wall);
            warn!("{summary}");
            metrics::counter!("burnwatch_clock_jumps_total").increment(1);
            self.jumped = Some(summary);
            self.steady_since = now.passed;
            self.told = false;
        }
        let steady = now.passed - self.steady_since >= STEADY_AFTER;
        if steady && self.jumped.take().is_some() {
            self.told = false;
        }
        // Nothing is known of a clock that was not watched for long, so what was said of it stands.
        if self.told || (self.jumped.is_none() && !steady) {
            return Ok(0);
        }
        let Setup { store, desk, public_url, new_id } = &self.setup;
        let desk = desk.load_full();
        let queued = operator::report(store, &desk, Trouble::Clock, self.jumped.clone(), now.wall, public_url, *new_id).await?;
        self.told = true;
        Ok(queued)
    }

    /// Checks until it is told to stop.
    pub async fn run(mut self, clock: SharedClock, deliver: Arc<Notify>, stop: CancellationToken) {
        let began = Instant::now();
        loop {
            match self.check(Reading { wall: clock.now(), passed: Span::from(began.elapsed()) }).await {
                Ok(0) => {}
                Ok(_) => deliver.notify_one(),
                Err(error) => error!(error = %error, "a jump of the clock could not be told and is told later"),
            }
            tokio::select! {
                () = tokio::time::sleep(EVERY) => {}
                () = stop.cancelled() => return,
            }
        }
    }
}

fn words(ahead: Span, at: Timestamp) -> String {
    let size = Span::seconds((ahead.millis().saturating_abs() + 500) / 1000);
    if ahead > Span::ZERO {
        format!("the clock of this machine went {size} ahead of the time that passed, to {at}: nothing was measured in between")
    } else {
        format!("the clock of this machine went {size} back, to {at}: what comes now counts where it was counted before")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::incident::Incident;
    use crate::store::transition;

    const START: Timestamp = Timestamp(1_800_000_000_000);

    #[test]
    fn a_jump_is_what_no_clock_that_is_put_right_does() {
        let reading = |wall: i64, passed: i64| Reading { wall: Timestamp(wall), passed: Span(passed) };
        assert_eq!(jump(reading(0, 0), reading(1_000, 1_000)), None);
        // An hour in which the process was stopped is an hour by both.
        assert_eq!(jump(reading(0, 0), reading(3_600_000, 3_600_500)), None);
        assert_eq!(jump(reading(0, 0), reading(10_999, 1_000)), None);
        assert_eq!(jump(reading(0, 0), reading(11_000, 1_000)), Some(Span::seconds(10)));
        assert_eq!(jump(reading(7_200_000, 0), reading(3_601_000, 1_000)), Some(Span(-3_600_000)));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_jump_is_one_ticket_until_the_clock_has_been_steady() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&format!("sqlite://{}/b.db", folder.path().display()), START).await.unwrap();
        let desk = Arc::new(ArcSwap::from_pointee(Desk::new(Arc::default())));
        let skew = || {
            let setup = Setup { store: store.clone(), desk: desk.clone(), public_url: String::new(), new_id: crate::chance::id };
            Skew::new(setup)
        };
        let open =
            async || -> Vec<Incident> { transition::load_open(&mut store.read().await.unwrap()).await.unwrap().into_values().collect() };
        let mut first = skew();
        for (seconds, ahead, titles) in [
            (0, 0, vec![]),
            (1, 0, vec![]),
            (2, 7_200, vec!["went 2h ahead"]),
            (3, 7_200, vec!["went 2h ahead"]),
            // Corrected: another jump, and still one incident.
            (4, 0, vec!["went 2h back"]),
            (4 + 899, 0, vec!["went 2h back"]),
        ] {
            let now = Reading { wall: START + Span::seconds(seconds + ahead), passed: Span::seconds(seconds) };
            first.check(now).await.unwrap();
            let open = open().await;
            assert_eq!(open.len(), titles.len(), "{seconds}: {open:?}");
            for (incident, title) in open.iter().zip(titles) {
                assert!(incident.title.contains(title), "{}", incident.title);
                assert_eq!(incident.members[0].labels["kind"], "operator");
            }
        }
        // A new process knows nothing of before, and says so once it does.
        let mut second = skew();
        for (seconds, still) in [(0, 1), (899, 1), (900, 0)] {
            second.check(Reading { wall: START + Span::seconds(2_000 + seconds), passed: Span::seconds(seconds) }).await.unwrap();
            assert_eq!(open().await.len(), still, "{seconds}");
        }
    }
}
