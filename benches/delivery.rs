//! From a committed decision to the webhook's arrival: `cargo bench --bench delivery`, or `-- 2000` for so many.
//!
//! Each round opens an incident in an SQLite file on disk, wakes the delivery job when the transaction has
//! been committed, and waits until a webhook on this machine has received the request.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use axum::Router;
use axum::routing::post;
use burnwatch::chance;
use burnwatch::clock::{Clock, SystemClock};
use burnwatch::config::Secrets;
use burnwatch::domain::alert::{AlertChange, AlertState};
use burnwatch::domain::desk::{Book, Desk, Findings, Outcome};
use burnwatch::domain::evaluate::AlertEvent;
use burnwatch::domain::rule::{Field, Receiver, ReceiverKind, Route, RuleSet, Severity};
use burnwatch::domain::time::{Span, Timestamp};
use burnwatch::jobs::deliver::{Deliver, Parts};
use burnwatch::notify::{Sender, Settings};
use burnwatch::store::{Store, transition};
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

#[tokio::main]
async fn main() {
    let rounds: usize = std::env::args().skip(1).find_map(|arg| arg.parse().ok()).unwrap_or(500);
    let (arrived, mut arrivals) = mpsc::unbounded_channel();
    let app = Router::new().route("/", post(async move || _ = arrived.send(Instant::now())));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, app).await });

    let clock = Arc::new(SystemClock);
    let folder = tempfile::tempdir().expect("a folder for the database");
    let url = format!("sqlite://{}", folder.path().join("burnwatch.db").display());
    let store = Store::open(&url, clock.now()).await.expect("a new database");
    let rules = Arc::new(rules(format!("http://{address}/")));
    let settings = Settings {
        public_url: "http://localhost".into(),
        allow_private: vec!["127.0.0.0/8".parse().expect("a network")],
        secrets: Secrets::new(BTreeMap::new(), Default::default()),
        smtp: None,
        answer_key: None,
    };
    let nudge = Arc::new(Notify::new());
    let deliver = Deliver::new(Parts {
        store: store.clone(),
        sender: Arc::new(Sender::new(settings).expect("a sender")),
        rules: Arc::new(ArcSwap::from(rules.clone())),
        clock: clock.clone(),
        chance: Arc::new(chance::fraction),
        fallback: None,
        nudge: nudge.clone(),
    });
    let stop = CancellationToken::new();
    let job = tokio::spawn(deliver.run(stop.clone()));

    let desk = Desk::new(rules);
    let mut took = Vec::with_capacity(rounds);
    for round in 0..rounds + 10 {
        let now = clock.now();
        let outcome = open(&desk, round, now);
        let mut tx = store.write_durable().await.expect("a transaction");
        let queued = transition::commit(&mut tx, &[outcome], now, "http://localhost").await.expect("the decision is stored");
        assert_eq!(queued, 1);
        tx.commit().await.expect("a commit");
        let committed = Instant::now();
        nudge.notify_one();
        let at =
            tokio::time::timeout(Duration::from_secs(10), arrivals.recv()).await.expect("the webhook arrives").expect("the sink lives");
        // The first ones open connections and warm up.
        if round >= 10 {
            took.push(at.saturating_duration_since(committed));
        }
        // Rounds begin at all phases of what the job does after an answer.
        tokio::time::sleep(Duration::from_millis(round as u64 % 7)).await;
    }
    stop.cancel();
    job.await.expect("the job ends");
    took.sort_unstable();
    let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    println!(
        "{} deliveries: least {:.2} ms, median {:.2} ms, 99 % within {:.2} ms, all within {:.2} ms",
        took.len(),
        at(0.0),
        at(0.5),
        at(0.99),
        at(1.0)
    );
}

fn open(desk: &Desk, round: usize, now: Timestamp) -> Outcome {
    let service = format!("service-{round}");
    let event = AlertEvent {
        at: now,
        rule: "requests".into(),
        group: String::new(),
        labels: [("slo", "requests"), ("service", service.as_str())].map(|(name, value)| (name.into(), value.into())).into(),
        change: Some(AlertChange::Opened { severity: Severity::Page }),
        tiers: Vec::new(),
        figures: Default::default(),
        summary: "requests: burns its error budget 20.0x over 1h and 31.5x over 5m".into(),
        reason: "14.4x passed over 1h and 5m".into(),
        subject: None,
        state: AlertState::default(),
    };
    let mut new_id = |_: &str, _: Timestamp| chance::id();
    let mut book = Book::new(desk, now, &[], Default::default(), &mut new_id);
    book.alert(&event, None, Findings::default()).expect("an alert that opens is told")
}

fn rules(url: String) -> RuleSet {
    let receiver = Receiver {
        name: "hook".into(),
        place: Default::default(),
        timeout: Span::seconds(5),
        send_resolved: true,
        callback_secret: None,
        template: None,
        kind: ReceiverKind::Webhook { url: Field::Plain(url), secret: Some(Field::Plain("a secret".into())), headers: BTreeMap::new() },
    };
    let route = Route {
        place: Default::default(),
        when: Default::default(),
        to: vec!["hook".into()],
        group_by: Some(vec!["service".into()]),
        group_wait: Some(Span::ZERO),
        group_interval: None,
        repeat: None,
        escalate: Vec::new(),
        fallthrough: false,
        active: Vec::new(),
        mute: Vec::new(),
        takes_off: Default::default(),
        routes: Vec::new(),
    };
    RuleSet { receivers: vec![receiver], routes: vec![route], ..RuleSet::default() }
}
