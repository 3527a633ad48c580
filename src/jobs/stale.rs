//! Stale data: evaluation follows the watermark, and when that stands still every alert keeps its state in silence. A
//! person hears of it from an incident of its own (SEMANTICS 5). The same goes for notifications that failed for good.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use super::operator::{self, Matter, Trouble};
use super::watch::PROGRESS;
use crate::clock::SharedClock;
use crate::domain::desk::Desk;
use crate::domain::incident::Member;
use crate::domain::reminder::{FORGOTTEN_AFTER, reminder};
use crate::domain::rule::Labels;
use crate::domain::time::{Span, Timestamp};
use crate::store::{self, Store, StoreError, transition};

/// How often it is looked at.
const EVERY: Duration = Duration::from_secs(5);
/// How far evaluation may fall behind the moment at which it was due.
const STALE_AFTER: Span = Span::minutes(5);

/// Most silences that are reminded of in one look.
const SILENCES_MAX: usize = 100;
/// How many dead letters are looked at, and how many receivers of theirs are named.
const DEAD_MAX: usize = 100;
const NAMED_MAX: usize = 5;

/// What the job is set up with.
pub struct Stale {
    pub store: Store,
    pub desk: Arc<ArcSwap<Desk>>,
    /// From the end of a bucket to its evaluation, when all is well: the bucket's length and its grace.
    pub due_after: Span,
    /// Nothing is stale before this process had its chance.
    pub started: Timestamp,
    pub public_url: String,
    pub new_id: fn() -> String,
    /// What was evaluated last when it was looked at before.
    pub seen: Option<Option<Timestamp>>,
}

impl Stale {
    /// Compares the last evaluation with the clock, and opens or closes the incident. Says how many notifications were queued.
    ///
    /// What counts is what is stored: another replica may be the one that evaluates. It stands still when it is where it was at the
    /// last look: after a jump of the clock, or a night's sleep of the machine, it is behind for a moment and catches up.
    pub async fn check(&mut self, now: Timestamp) -> Result<usize, StoreError> {
        let mut tx = self.store.read().await?;
        let evaluated = store::progress::get(&mut tx, PROGRESS).await?.map(|progress| progress.at);
        drop(tx);
        let since = evaluated.unwrap_or(self.started).max(self.started);
        let stands = self.seen.replace(evaluated) == Some(evaluated);
        let summary = (stands && now - since > self.due_after + STALE_AFTER).then(|| match evaluated {
            Some(at) => format!("nothing was evaluated after {at}: alerts keep their state, and new faults are not noticed"),
            None => "nothing was evaluated since the start: faults are not noticed".to_owned(),
        });
        if let Some(summary) = &summary {
            warn!("{summary}");
        }
        operator::report(&self.store, &self.desk.load_full(), Trouble::StaleData, summary, now, &self.public_url, self.new_id).await
    }

    /// Opens an incident while notifications lie in the dead letters, and closes it once somebody has replayed or discarded
    /// them all. Says how many notifications were queued.
    pub async fn check_deliveries(&self, now: Timestamp) -> Result<usize, StoreError> {
        let dead = store::outbox::Filter { state: vec!["dead".into()], ..store::outbox::Filter::default() };
        let mut tx = self.store.read().await?;
        let (rows, _) = store::outbox::list(&mut tx, &dead, None, DEAD_MAX).await?;
        drop(tx);
        let receivers: BTreeSet<String> = rows.into_iter().map(|row| format!("`{}`", row.receiver)).collect();
        let summary = (!receivers.is_empty()).then(|| {
            let named = receivers.into_iter().take(NAMED_MAX).collect::<Vec<_>>().join(", ");
            format!("notifications to {named} failed for good: replay or discard the dead letters")
        });
        operator::report(&self.store, &self.desk.load_full(), Trouble::DeadLetters, summary, now, &self.public_url, self.new_id).await
    }

    /// Reminds authors of silences that hide nothing, or that end while what they hide fires: an alert about each, told to
    /// whom the routes name for its labels `silence` and `author`. Says how many notifications were queued.
    pub async fn check_silences(&self, now: Timestamp) -> Result<usize, StoreError> {
        let mut tx = self.store.read().await?;
        let silences = store::silences::active(&mut tx, now).await?;
        let told = transition::operator_alerts(&mut tx).await?;
        let alerts = if silences.is_empty() { Vec::new() } else { transition::lately(&mut tx, now - FORGOTTEN_AFTER).await? };
        drop(tx);
        // A reminder is nothing that somebody wanted to be silent.
        let alerts: Vec<Member> = alerts.into_iter().filter(|member| member.rule != Trouble::Silence.name()).collect();
        let mut wanted: BTreeMap<String, (Matter, Option<String>)> = BTreeMap::new();
        for (_, member) in told.into_iter().filter(|(_, member)| member.rule == Trouble::Silence.name()) {
            let group: Labels = member.labels.into_iter().filter(|(name, _)| name == "silence").collect();
            let matter = Matter { trouble: Trouble::Silence, group, labels: Labels::new() };
            wanted.insert(matter.alert(), (matter, None));
        }
        for row in silences {
            let Some(text) = reminder(&transition::silence(&row), &row.author, &alerts, now) else { continue };
            let matter = Matter {
                trouble: Trouble::Silence,
                group: [("silence".to_owned(), row.id.clone())].into(),
                labels: [("author".to_owned(), row.author)].into(),
            };
            wanted.insert(matter.alert(), (matter, Some(format!("silence {}: {text}", row.id))));
        }
        let desk = self.desk.load_full();
        let mut queued = 0;
        for (matter, summary) in wanted.into_values().take(SILENCES_MAX) {
            queued += operator::report_on(&self.store, &desk, &matter, summary, now, &self.public_url, self.new_id).await?;
        }
        Ok(queued)
    }

    /// Checks until it is told to stop.
    pub async fn run(mut self, clock: SharedClock, deliver: Arc<Notify>, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(EVERY) => {}
                () = stop.cancelled() => return,
            }
            match self.check(clock.now()).await {
                Ok(0) => {}
                Ok(_) => deliver.notify_one(),
                Err(error) => error!(error = %error, "whether data is stale could not be found out"),
            }
            match self.check_deliveries(clock.now()).await {
                Ok(0) => {}
                Ok(_) => deliver.notify_one(),
                Err(error) => error!(error = %error, "whether notifications have failed could not be found out"),
            }
            match self.check_silences(clock.now()).await {
                Ok(0) => {}
                Ok(_) => deliver.notify_one(),
                Err(error) => error!(error = %error, "whether silences are forgotten could not be found out"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn stale() -> (Stale, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let started = Timestamp(1_790_000_040_000);
        let store = Store::open(&format!("sqlite://{}/b.db", folder.path().display()), started).await.unwrap();
        let desk = Arc::new(ArcSwap::from_pointee(Desk::new(Arc::default())));
        let stale =
            Stale { store, desk, due_after: Span::seconds(90), started, public_url: String::new(), new_id: crate::chance::id, seen: None };
        (stale, folder)
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_watermark_that_stands_still_is_one_incident_until_it_moves() {
        let (mut stale, _folder) = stale().await;
        let (store, start) = (stale.store.clone(), stale.started);
        let open = async || transition::load_open(&mut store.read().await.unwrap()).await.unwrap();
        let evaluated = async |at: Timestamp| {
            let mut tx = store.write().await.unwrap();
            store::progress::set(&mut tx, PROGRESS, at, "{}").await.unwrap();
            tx.commit().await.unwrap();
        };
        // What an earlier process left behind is old, and no fault of this one.
        evaluated(start - Span::days(3)).await;
        stale.check(start + Span::minutes(6)).await.unwrap();
        assert!(open().await.is_empty());
        evaluated(start + Span::minutes(5)).await;
        stale.check(start + Span::minutes(11)).await.unwrap();
        assert!(open().await.is_empty());
        for minutes in [12, 13] {
            stale.check(start + Span::minutes(minutes)).await.unwrap();
            let open = open().await;
            assert_eq!(open.len(), 1);
            let incident = open.values().next().unwrap();
            let at = start + Span::minutes(5);
            assert!(incident.title.contains(&at.to_string()), "{}", incident.title);
            assert_eq!(incident.members[0].labels["kind"], "operator");
        }
        evaluated(start + Span::minutes(12)).await;
        stale.check(start + Span::minutes(14)).await.unwrap();
        assert!(open().await.is_empty());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_a_clock_that_jumped_ahead_left_behind_and_is_made_up_for_is_nobodys_trouble() {
        let (mut stale, _folder) = stale().await;
        let (store, start) = (stale.store.clone(), stale.started);
        let mut evaluated = start;
        for ahead in [Span::ZERO, Span::hours(2)] {
            for _ in 0..3 {
                // The look comes before the evaluation does.
                stale.check(evaluated + ahead + Span::seconds(5)).await.unwrap();
                evaluated += Span::seconds(5);
                let mut tx = store.write().await.unwrap();
                store::progress::set(&mut tx, PROGRESS, evaluated + ahead, "{}").await.unwrap();
                tx.commit().await.unwrap();
            }
        }
        assert!(transition::load_open(&mut store.read().await.unwrap()).await.unwrap().is_empty());
        let recent = transition::load_recent(&mut store.read().await.unwrap(), start + Span::hours(2) + Span::minutes(1)).await.unwrap();
        assert!(recent.is_empty(), "{recent:?}");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn dead_letters_are_one_incident_until_somebody_has_seen_to_them() {
        let (stale, _folder) = stale().await;
        let (store, start) = (stale.store.clone(), stale.started);
        let open = async || transition::load_open(&mut store.read().await.unwrap()).await.unwrap();
        stale.check_deliveries(start).await.unwrap();
        assert!(open().await.is_empty());
        let row = store::outbox::OutboxRow {
            id: "d".into(),
            incident: "i".into(),
            generation: 1,
            sequence: 1,
            receiver: "pager".into(),
            correlation: "c".into(),
            kind: "incident.opened".into(),
            payload: "{}".into(),
            state: "dead".into(),
            due_at: start,
            created_at: start,
            finished_at: Some(start),
            attempts: 1,
            claimed_until: Timestamp(0),
            last_error: "answered 404".into(),
            reply: String::new(),
        };
        let mut tx = store.write().await.unwrap();
        store::outbox::insert(&mut tx, &row).await.unwrap();
        tx.commit().await.unwrap();
        for _ in 0..2 {
            stale.check_deliveries(start).await.unwrap();
            let open = open().await;
            assert_eq!(open.len(), 1);
            let incident = open.values().next().unwrap();
            assert!(incident.title.contains("`pager`") && incident.members[0].labels["kind"] == "operator", "{}", incident.title);
        }
        let mut tx = store.write().await.unwrap();
        store::outbox::discard(&mut tx, "d", start, "seen").await.unwrap();
        tx.commit().await.unwrap();
        stale.check_deliveries(start).await.unwrap();
        assert!(open().await.is_empty());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn authors_are_reminded_once_and_a_changed_silence_ends_it() {
        let (stale, _folder) = stale().await;
        let (store, start) = (stale.store.clone(), stale.started);
        let silence = |id: &str, matcher: &str, hours: i64| store::silences::SilenceRow {
            id: id.into(),
            matchers: format!("[\"{matcher}\"]"),
            starts_at: start,
            ends_at: start + Span::hours(hours),
            author: "ada".into(),
            comment: String::new(),
            created_at: start,
            updated_at: start,
            expired_at: None,
        };
        let mut tx = store.write().await.unwrap();
        for row in [silence("soon", "rule=burnwatch-stale-data", 2), silence("idle", "service=nothing", 100)] {
            store::silences::insert(&mut tx, &row).await.unwrap();
        }
        tx.commit().await.unwrap();
        let said = async || {
            let alerts = transition::operator_alerts(&mut store.read().await.unwrap()).await.unwrap();
            let mine = alerts.into_iter().filter(|(_, member)| member.rule == "burnwatch-silence");
            mine.map(|(_, member)| (member.severity, member.labels["author"].clone(), member.summary)).collect::<Vec<_>>()
        };
        // Something fires behind the one that ends soon.
        operator::report(&store, &stale.desk.load_full(), Trouble::StaleData, Some("x".into()), start, "", crate::chance::id)
            .await
            .unwrap();
        stale.check_silences(start + Span::minutes(59)).await.unwrap();
        assert!(said().await.is_empty());
        for _ in 0..2 {
            stale.check_silences(start + Span::minutes(61)).await.unwrap();
            let said = said().await;
            assert_eq!(said.len(), 1, "{said:?}");
            assert_eq!((said[0].0, said[0].1.as_str()), (crate::domain::rule::Severity::Ticket, "ada"));
            assert!(
                said[0].2.starts_with("silence soon: it ends at ") && said[0].2.contains("1 alert that it hides still fires"),
                "{said:?}"
            );
        }
        let mut tx = store.write().await.unwrap();
        store::silences::update(&mut tx, &silence("soon", "rule=burnwatch-stale-data", 20)).await.unwrap();
        tx.commit().await.unwrap();
        stale.check_silences(start + Span::minutes(62)).await.unwrap();
        assert!(said().await.is_empty(), "it was prolonged");
        stale.check_silences(start + Span::hours(30)).await.unwrap();
        let said = said().await;
        assert!(said.len() == 1 && said[0].2.starts_with("silence idle: it has hidden nothing"), "{said:?}");
    }
}
