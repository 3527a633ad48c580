//! Plight: when nothing can be stored (a full disk, a database that is gone), nobody can be told by way of the outbox either. Then
//! whoever the routes name for it is told past the store, from memory; and again when it works.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use super::operator::{Matter, Trouble};
use crate::clock::SharedClock;
use crate::domain::desk::{Desk, correlation_key, delivery_id};
use crate::domain::notification::{Data, Impact, IncidentView, Kind, Links, Notification, Status, Verdict};
use crate::domain::rule::{Labels, Receiver, ReceiverKind, Severity};
use crate::domain::time::{Span, Timestamp};
use crate::notify::{Delivery, Sender};
use crate::sink::Sink;

/// How often it is looked at, and who could not be told is tried again.
const EVERY: Duration = Duration::from_secs(10);
/// How long nothing could be stored before somebody is told: a database may restart.
const PATIENCE: Span = Span::seconds(30);
/// Replicas that share a database lose it together: those that notice within such a stretch tell under one key.
const TOGETHER: Span = Span::minutes(10);

/// What the job is set up with.
pub struct Setup {
    pub sink: Arc<Sink>,
    pub desk: Arc<ArcSwap<Desk>>,
    pub sender: Arc<Sender>,
    pub public_url: String,
}

/// The job.
pub struct Plight {
    setup: Setup,
    since: Option<Since>,
    /// Who was told, as they were defined then, and what they answered.
    told: BTreeMap<String, (Receiver, Option<serde_json::Value>)>,
}

/// When it began, by both clocks.
#[derive(Clone, Copy)]
struct Since {
    wall: Timestamp,
    passed: Span,
}

impl Plight {
    /// The job, at the start of a process.
    pub fn new(setup: Setup) -> Plight {
        Plight { setup, since: None, told: BTreeMap::new() }
    }

    /// Looks whether what comes in can be stored, and tells. `passed`: time in the life of this process, which does not jump.
    pub async fn check(&mut self, now: Timestamp, passed: Span) {
        if self.setup.sink.is_failing() {
            let since = *self.since.get_or_insert(Since { wall: now, passed });
            if passed - since.passed >= PATIENCE {
                self.tell(since, now).await;
            }
        } else if let Some(since) = self.since {
            self.close(since, now).await;
            if self.told.is_empty() {
                self.since = None;
            }
        }
    }

    async fn tell(&mut self, since: Since, now: Timestamp) {
        let desk = self.setup.desk.load_full();
        let labels = labels();
        let names = desk.route(&labels, now).into_iter().filter(|routed| routed.muted.is_none()).flat_map(|routed| routed.to);
        for name in names {
            let Some(receiver) = desk.rules().receiver(&name).cloned() else { continue };
            // What an action rolls back is not what fills a disk.
            if self.told.contains_key(&name) || matches!(receiver.kind, ReceiverKind::Action { .. }) {
                continue;
            }
            match self.send(&receiver, since, Kind::Opened, None, now).await {
                Ok(reply) => {
                    warn!(receiver = %name, "`{name}` was told, past the store, that nothing can be stored");
                    self.told.insert(name, (receiver, reply));
                }
                Err(why) => error!(receiver = %name, error = %why, "nothing can be stored, and `{name}` could not be told"),
            }
        }
    }

    async fn close(&mut self, since: Since, now: Timestamp) {
        for (name, (receiver, reply)) in std::mem::take(&mut self.told) {
            let asked = if receiver.send_resolved {
                self.send(&receiver, since, Kind::Resolved, reply.clone(), now).await.map(|_| ())
            } else {
                Ok(())
            };
            if let Err(why) = asked {
                error!(receiver = %name, error = %why, "`{name}` could not be told that it works again, and is told later");
                self.told.insert(name, (receiver, reply));
            }
        }
    }

    async fn send(
        &self,
        receiver: &Receiver,
        since: Since,
        kind: Kind,
        earlier: Option<serde_json::Value>,
        now: Timestamp,
    ) -> Result<Option<serde_json::Value>, String> {
        let desk = self.setup.desk.load_full();
        let began = since.wall.floor(TOGETHER);
        let id = format!("{}-{}", Trouble::Store.name(), began.seconds());
        let sequence = if kind == Kind::Resolved { 2 } else { 1 };
        let delivery = Delivery {
            id: delivery_id(&id, began.seconds(), sequence, &receiver.name),
            correlation: correlation_key(&id, began.seconds(), &receiver.name),
            // It is not in the store: there is nothing that a link could acknowledge.
            generation: None,
            sequence,
            notification: self.notification(id, since, kind, now, &desk.rules().revision),
            template: receiver.template.as_ref().and_then(|name| desk.rules().templates.get(name)).cloned(),
            earlier,
        };
        self.setup.sender.send(receiver, &delivery, now).await.map(|sent| sent.reply).map_err(|error| error.to_string())
    }

    fn notification(&self, id: String, since: Since, kind: Kind, now: Timestamp, revision: &str) -> Notification {
        let over = kind == Kind::Resolved;
        let incident = IncidentView {
            id,
            key: format!("{{rule=\"{}\"}}", Trouble::Store.name()),
            status: if over { Status::Resolved } else { Status::Open },
            severity: Severity::Page,
            title: format!("burnwatch cannot store anything since {}: it is blind, and tells of nothing else", since.wall),
            service: "burnwatch".into(),
            owner: String::new(),
            labels: labels(),
            opened_at: since.wall,
            acknowledged_at: None,
            resolved_at: over.then_some(now),
            impact: Impact::default(),
            signature: String::new(),
            verdict: Verdict::Unknown,
            suspects: Vec::new(),
            changes: Vec::new(),
            alerts: Vec::new(),
            revision: revision.to_owned(),
            links: Links { incident: self.setup.public_url.clone(), runbook: None, dashboard: None },
        };
        let reason = if over { "it works again" } else { "the disk is full, or the database does not answer; /readyz says which" };
        Notification { kind, timestamp: now, reason: reason.into(), data: Data { incident } }
    }

    /// Checks until it is told to stop.
    pub async fn run(mut self, clock: SharedClock, stop: CancellationToken) {
        let began = Instant::now();
        loop {
            tokio::select! {
                () = tokio::time::sleep(EVERY) => {}
                () = stop.cancelled() => return,
            }
            self.check(clock.now(), Span::from(began.elapsed())).await;
        }
    }
}

fn labels() -> Labels {
    let matter = Matter { trouble: Trouble::Store, group: Labels::new(), labels: Labels::new() };
    let mut labels = matter.all_labels();
    labels.insert("severity".into(), Severity::Page.name().into());
    labels
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::aggregate::{Aggregator, Settings};
    use crate::domain::rule::RuleSet;
    use crate::notify::fake::{self, Fake, NOW, Reply};
    use crate::rules::{Env, load};

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn who_is_routed_is_told_past_the_store_once_and_of_its_end() {
        let (pager, other) = (Fake::start().await, Fake::start().await);
        let rules = format!(
            "receiver(\"pager\", webhook(#{{ url: \"{}\" }}));\nreceiver(\"other\", webhook(#{{ url: \"{}\" }}));\n\
             route(#{{ when: #{{ kind: \"operator\", severity: \"page\" }}, to: [\"pager\"] }});\nroute(#{{ to: [\"other\"] }});",
            pager.url, other.url
        );
        let set: RuleSet = load(&[("a.rhai".to_owned(), rules)].into(), &Env::defaults()).set.unwrap();
        let (bucket, settle) = (Span::MINUTE, Span::seconds(5));
        let settings = Settings { bucket, settle, dimensions: Vec::new(), series_max: 10, remember: Span::DAY };
        let sink = Arc::new(Sink::new(Aggregator::new(settings)));
        let mut plight = Plight::new(Setup {
            sink: sink.clone(),
            desk: Arc::new(ArcSwap::from_pointee(Desk::new(Arc::new(set)))),
            sender: Arc::new(fake::sender(&[])),
            public_url: "http://burnwatch.example".into(),
        });
        let mut at = async |seconds: i64| plight.check(NOW + Span::seconds(seconds), Span::seconds(seconds)).await;
        at(0).await;
        sink.failed();
        // A restart of the database is nobody's trouble.
        at(10).await;
        at(39).await;
        assert!(pager.seen().is_empty());
        pager.will([Reply::status(503)]);
        for seconds in [40, 50, 60] {
            at(seconds).await;
        }
        let (flush, _) = sink.drain();
        sink.committed(flush);
        for seconds in [70, 80] {
            at(seconds).await;
        }
        let said = pager.seen();
        let kinds: Vec<String> = said.iter().map(|seen| seen.json()["type"].as_str().unwrap().to_owned()).collect();
        assert_eq!(kinds, ["incident.opened", "incident.opened", "incident.resolved"], "the first was not taken");
        assert_eq!(said[0].header("webhook-id"), said[1].header("webhook-id"));
        let title = said[1].json()["data"]["incident"]["title"].as_str().unwrap().to_owned();
        assert!(title.starts_with("burnwatch cannot store anything since 2027-01-15T08:00:10"), "{title}");
        assert_eq!(said[1].json()["data"]["incident"]["id"], said[2].json()["data"]["incident"]["id"]);
        assert!(other.seen().is_empty());
    }
}
