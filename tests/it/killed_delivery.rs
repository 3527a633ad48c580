//! SIGKILL around every step of a delivery, counted by the receiver: before the decision, between decision and claim, while the
//! request is under way, after it has arrived and before it is answered, and between the answer and its being noted.
//! Nothing is lost, and whoever honours the key sees each message once.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::daemon::{Daemon, Got, get, post};

/// Where in the next delivery the daemon dies.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    /// So many milliseconds after the alerts were stored: before, while or after the decision is made and claimed.
    AfterStored(u64),
    /// The receiver has all of the request and has not answered.
    Arrived,
    /// The receiver has answered; so many milliseconds later.
    Answered(u64),
}

/// A receiver that says when a request is there and when it is answered, and remembers everything.
struct Witness {
    address: SocketAddr,
    got: Arc<Mutex<Vec<Got>>>,
    /// Whether the next request waits, with its connection open, until the daemon is dead.
    hold: Arc<AtomicBool>,
    arrived: mpsc::Receiver<()>,
    answered: mpsc::Receiver<()>,
}

impl Witness {
    fn start() -> Witness {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let (got, hold) = (Arc::<Mutex<Vec<Got>>>::default(), Arc::new(AtomicBool::new(false)));
        let ((arrives, arrived), (answers, answered)) = (mpsc::channel(), mpsc::channel());
        let (keep, wait) = (got.clone(), hold.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (keep, wait, arrives, answers) = (keep.clone(), wait.clone(), arrives.clone(), answers.clone());
                std::thread::spawn(move || {
                    let mut stream = BufReader::new(&stream);
                    while let Some(one) = request(&mut stream) {
                        keep.lock().expect("a lock").push(one);
                        _ = arrives.send(());
                        if wait.load(Ordering::SeqCst) {
                            // The other end dies; nothing is ever answered here.
                            _ = stream.read(&mut [0]);
                            return;
                        }
                        let mut socket = *stream.get_ref();
                        if socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").is_err() {
                            return;
                        }
                        _ = answers.send(());
                    }
                });
            }
        });
        Witness { address, got, hold, arrived, answered }
    }

    /// Forgets what was signalled so far.
    fn listen(&self) {
        while self.arrived.try_recv().is_ok() || self.answered.try_recv().is_ok() {}
    }

    /// What a receiver that honours the key sees: each id once, in the order of the first arrivals.
    fn visible(&self) -> Vec<Got> {
        let mut seen = BTreeSet::new();
        self.got.lock().expect("a lock").iter().filter(|one| seen.insert(one.id.clone())).cloned().collect()
    }
}

fn request(stream: &mut BufReader<&TcpStream>) -> Option<Got> {
    let (mut length, mut id, mut line) = (0, String::new(), String::new());
    loop {
        line.clear();
        if stream.read_line(&mut line).ok()? == 0 {
            return None;
        }
        match line.trim_end().split_once(':') {
            None if line.trim_end().is_empty() => break,
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => length = value.trim().parse().ok()?,
            Some((name, value)) if name.eq_ignore_ascii_case("webhook-id") => id = value.trim().to_owned(),
            None | Some(_) => {}
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some(Got { id, payload: serde_json::from_slice(&body).ok()? })
}

static NAMES: AtomicUsize = AtomicUsize::new(0);

fn store(daemon: &Daemon, name: &str, on: bool) {
    let ends = if on { "2999-01-01T00:00:00Z" } else { "2020-01-02T00:00:00Z" };
    let labels = json!({ "alertname": name, "severity": "page" });
    let body = json!([{ "labels": labels, "startsAt": "2020-01-01T00:00:00Z", "endsAt": ends }]);
    let (status, answer) = post(daemon.admin, "/api/v2/alerts", &body.to_string()).expect("it answers");
    assert_eq!(status, 200, "{answer}");
}

/// Stores a change and kills the daemon at this step of telling it.
fn die(daemon: &mut Daemon, witness: &Witness, step: Step, name: &str, on: bool) {
    witness.listen();
    witness.hold.store(step == Step::Arrived, Ordering::SeqCst);
    store(daemon, name, on);
    let patience = Duration::from_secs(30);
    match step {
        Step::AfterStored(millis) => std::thread::sleep(Duration::from_millis(millis)),
        Step::Arrived => witness.arrived.recv_timeout(patience).expect("a request arrives"),
        Step::Answered(millis) => {
            witness.answered.recv_timeout(patience).expect("a request is answered");
            std::thread::sleep(Duration::from_millis(millis));
        }
    }
    daemon.kill();
    witness.hold.store(false, Ordering::SeqCst);
    daemon.start();
}

#[test]
fn a_kill_at_every_step_of_a_delivery_loses_nothing_and_shows_nothing_twice() {
    let witness = Witness::start();
    let rules = format!(
        "receiver(\"hook\", webhook(#{{ url: \"http://{}/\" }}));\nroute(#{{ to: [\"hook\"], group_by: [\"alertname\"], group_wait: \"0s\" }});\n",
        witness.address
    );
    let mut daemon = Daemon::new("", &rules);
    daemon.start();
    let mut steps = vec![Step::Arrived, Step::Answered(0), Step::Answered(1), Step::Answered(3), Step::Answered(10)];
    steps.extend([0, 1, 2, 3, 5, 8, 13, 21, 34, 55].map(Step::AfterStored));
    let mut names = Vec::new();
    for step in steps {
        let name = format!("{step:?} {}", NAMES.fetch_add(1, Ordering::Relaxed));
        // The opening dies at this step, and so does the close.
        die(&mut daemon, &witness, step, &name, true);
        wait(&daemon, "opening", || told(&witness, &name, "incident.opened") > 0);
        die(&mut daemon, &witness, step, &name, false);
        wait(&daemon, "close", || told(&witness, &name, "incident.resolved") > 0);
        names.push(name);
    }
    // What is still to come would be too much.
    wait(&daemon, "quiet outbox", || {
        let text = get(daemon.admin, "/v1/notifications?state=pending").expect("it answers").1;
        serde_json::from_str::<Value>(&text).expect("JSON")["items"].as_array().is_some_and(Vec::is_empty)
    });
    let visible = witness.visible();
    let mut by_name: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for one in &visible {
        by_name.entry(one.payload["data"]["incident"]["labels"]["alertname"].as_str().expect("a name")).or_default().push(one.kind());
    }
    for name in &names {
        assert_eq!(by_name.remove(name.as_str()), Some(vec!["incident.opened", "incident.resolved"]), "{name}:\n{visible:#?}");
    }
    assert!(by_name.is_empty(), "nobody asked for {by_name:?}");
    let all = witness.got.lock().expect("a lock").len();
    assert!(all > visible.len(), "no kill came between an arrival and its being noted: nothing was tried");
}

fn told(witness: &Witness, name: &str, kind: &str) -> usize {
    let visible = witness.visible();
    visible.iter().filter(|one| one.kind() == kind && one.payload["data"]["incident"]["labels"]["alertname"] == name).count()
}

fn wait(daemon: &Daemon, what: &str, mut done: impl FnMut() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < Duration::from_secs(60), "no {what}:\n{}", daemon.log());
        std::thread::sleep(Duration::from_millis(20));
    }
}
