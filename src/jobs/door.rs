//! Door: burnwatch's own beacon, sent to its own intake the way everybody sends theirs. When an app falls silent, this tells
//! people who are gone from an intake that takes nothing: the latter is an incident of the operators.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use super::operator::{self, Matter, Trouble};
use crate::clock::SharedClock;
use crate::domain::desk::Desk;
use crate::domain::rule::Labels;
use crate::domain::time::Timestamp;
use crate::notify::ClientError;
use crate::store::{Store, StoreError};

/// How often it knocks.
const EVERY: Duration = Duration::from_secs(20);
/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// So many times in a row without an answer are trouble: a moment's overload is none.
const PATIENCE: u32 = 3;
/// A beacon in which nothing happened: it goes all the way in and counts nowhere.
const BEACON: &str = r#"{"app":"burnwatch","events":[]}"#;

/// What the job is set up with.
pub struct Setup {
    pub store: Store,
    pub desk: Arc<ArcSwap<Desk>>,
    /// Where the intake listens, and a key that it takes if it wants one.
    pub intake: SocketAddr,
    pub key: Option<String>,
    /// Tells this replica from others.
    pub replica: String,
    pub public_url: String,
    pub new_id: fn() -> String,
}

/// The job.
pub struct Door {
    setup: Setup,
    client: reqwest::Client,
    failed: u32,
    /// What was told last; `None`: an earlier life may have told of something.
    told: Option<bool>,
}

impl Door {
    /// The job, at the start of a process.
    pub fn new(setup: Setup) -> Result<Door, ClientError> {
        Ok(Door { setup, client: crate::notify::plain_client()?, failed: 0, told: None })
    }

    /// Knocks once. Opens an incident when nobody has answered for a while, and closes it with the next answer. Says how many
    /// notifications were queued.
    pub async fn check(&mut self, now: Timestamp) -> Result<usize, StoreError> {
        let wrong = self.knock().await.err();
        self.failed = if wrong.is_some() { self.failed.saturating_add(1) } else { 0 };
        if let Some(why) = &wrong {
            warn!(error = %why, times = self.failed, "the intake did not take burnwatch's own beacon");
        }
        let broken = self.failed >= PATIENCE;
        if self.told == Some(broken) || (wrong.is_some() && !broken) {
            return Ok(0);
        }
        let Setup { store, desk, replica, public_url, new_id, .. } = &self.setup;
        let matter =
            Matter { trouble: Trouble::Intake, group: Labels::from([("replica".to_owned(), replica.clone())]), labels: Labels::new() };
        let summary = wrong.filter(|_| broken).map(|why| {
            format!("the intake of {replica} does not take burnwatch's own beacon ({why}): an app that is silent now may well be used")
        });
        let queued = operator::report_on(store, &desk.load_full(), &matter, summary, now, public_url, *new_id).await?;
        self.told = Some(broken);
        Ok(queued)
    }

    async fn knock(&self) -> Result<(), String> {
        let mut call = self.client.post(format!("http://{}/v1/rum", reachable(self.setup.intake))).timeout(TIMEOUT);
        if let Some(key) = &self.setup.key {
            call = call.header("x-api-key", key);
        }
        match call.header("content-type", "application/json").body(BEACON).send().await {
            Ok(answer) if answer.status().is_success() => Ok(()),
            Ok(answer) => Err(format!("it answers {}", answer.status().as_u16())),
            Err(error) if error.is_timeout() => Err(format!("no answer within {} s", TIMEOUT.as_secs())),
            Err(_) => Err("nobody answers".to_owned()),
        }
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
                Err(error) => error!(error = %error, "how the intake stands could not be told and is told later"),
            }
        }
    }
}

/// Where somebody on this machine reaches who listens on an address.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

/// The name of this machine, with the port that tells processes on it apart.
pub fn replica(intake: SocketAddr) -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = if name.trim().is_empty() { "localhost" } else { name.trim() };
    format!("{name}:{}", intake.port())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::notification::Status;
    use crate::notify::fake::{Fake, NOW, Reply};
    use crate::store::transition;

    #[test]
    fn who_listens_everywhere_is_reached_here() {
        for (listen, at) in [("0.0.0.0:80", "127.0.0.1:80"), ("[::]:80", "[::1]:80"), ("192.0.2.7:80", "192.0.2.7:80")] {
            assert_eq!(reachable(listen.parse().unwrap()), at.parse().unwrap());
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn an_intake_that_takes_nothing_is_an_operator_incident_until_it_does() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&format!("sqlite://{}/b.db", folder.path().display()), NOW).await.unwrap();
        let door = |intake: &Fake| {
            Door::new(Setup {
                store: store.clone(),
                desk: Arc::new(ArcSwap::from_pointee(Desk::new(Arc::default()))),
                intake: intake.url.strip_prefix("http://").unwrap().parse().unwrap(),
                key: Some("k1".into()),
                replica: "here:1".into(),
                public_url: String::new(),
                new_id: crate::chance::id,
            })
            .unwrap()
        };
        let open = async || {
            let open = transition::load_open(&mut store.read().await.unwrap()).await.unwrap();
            open.into_values().filter(|incident| incident.status == Status::Open).map(|incident| incident.title).collect::<Vec<_>>()
        };
        let intake = Fake::start().await;
        let mut first = door(&intake);
        first.check(NOW).await.unwrap();
        let seen = intake.seen();
        assert_eq!(
            (seen[0].line().as_str(), seen[0].header("x-api-key"), seen[0].body.as_slice()),
            ("POST /v1/rum", "k1", BEACON.as_bytes())
        );
        // Twice is a moment's overload, and an answer in between begins anew.
        intake.will([503, 503, 202, 503, 503].map(Reply::status));
        for _ in 0..5 {
            first.check(NOW).await.unwrap();
            assert!(open().await.is_empty());
        }
        intake.will([503, 503].map(Reply::status));
        for _ in 0..2 {
            first.check(NOW).await.unwrap();
            assert!(open().await.len() == 1 && open().await[0].contains("here:1 does not take burnwatch's own beacon (it answers 503)"));
        }
        // Whoever is started anew closes what it opened in its earlier life.
        door(&intake).check(NOW).await.unwrap();
        assert!(open().await.is_empty());
    }
}
