//! A shop for browsers, and the load balancer in front of the intake: both are as bad as they are told to be.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long the load balancer tries to reach the intake.
const PATIENCE: Duration = Duration::from_secs(30);

/// A request as it came.
struct Request {
    /// Method, address and headers, each with its line end.
    head: String,
    method: String,
    path: String,
    body: Vec<u8>,
}

impl Request {
    fn read(from: &mut BufReader<TcpStream>) -> Option<Request> {
        let mut head = String::new();
        loop {
            let before = head.len();
            if from.read_line(&mut head).ok()? == 0 {
                return None;
            }
            if head[before..].trim_end().is_empty() {
                head.truncate(before);
                break;
            }
        }
        let mut words = head.split(' ');
        let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
        let length = header(&head, "content-length").map_or(Some(0), |length| length.parse().ok())?;
        let mut body = vec![0; length];
        from.read_exact(&mut body).ok()?;
        Some(Request { head, method, path, body })
    }
}

fn header(head: &str, name: &str) -> Option<String> {
    let fields = head.lines().filter_map(|line| line.split_once(':'));
    fields.into_iter().find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim().to_owned())
}

/// Serves each connection on a thread of its own, request by request, until `answer` says `false`.
fn serve(answer: impl Fn(&Request, &mut TcpStream) -> bool + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let answer = Arc::new(answer);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let answer = answer.clone();
            std::thread::spawn(move || {
                let Ok(reader) = stream.try_clone() else { return };
                let mut reader = BufReader::new(reader);
                while Request::read(&mut reader).is_some_and(|request| answer(&request, &mut stream)) {}
                let _ = stream.shutdown(std::net::Shutdown::Both);
            });
        }
    });
    address
}

fn send(to: &mut TcpStream, status: &str, headers: &str, body: &[u8]) -> bool {
    let head = format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\n\r\n", body.len());
    to.write_all(&[head.as_bytes(), body].concat()).is_ok()
}

/// The web server of the shop: pages with an SDK each, an API that works, fails or hangs up, and what the pages told of themselves.
pub struct Shop {
    pub address: SocketAddr,
    truth: Arc<Mutex<Vec<Value>>>,
}

impl Shop {
    /// `scripts` is the folder of the bundles; pages send to `collector`, with `query` behind the path.
    pub fn start(scripts: PathBuf, collector: SocketAddr, query: &'static str) -> Shop {
        let truth: Arc<Mutex<Vec<Value>>> = Arc::default();
        let told = truth.clone();
        let address = serve(move |request, to| {
            let path = request.path.split('?').next().unwrap_or_default();
            match path {
                "/api/ok" => send(to, "200 OK", "content-type: application/json\r\n", b"{}"),
                "/api/fail" => send(to, "500 Internal Server Error", "content-type: application/json\r\n", b"{}"),
                "/api/drop" => false,
                "/truth" => {
                    let one = serde_json::from_slice(&request.body).expect("the truth is JSON");
                    told.lock().expect("nobody panics with it").push(one);
                    send(to, "204 No Content", "", b"")
                }
                "/favicon.ico" => send(to, "204 No Content", "", b""),
                _ => match path.strip_prefix("/scripts/") {
                    Some(script) => {
                        let script = std::fs::read(scripts.join(script)).expect("a bundle");
                        send(to, "200 OK", "content-type: text/javascript; charset=utf-8\r\n", &script)
                    }
                    None if path == "/" => send(to, "200 OK", "content-type: text/html\r\n", b"<!doctype html><title>Elsewhere</title>"),
                    None => {
                        let sdk = path.split('/').nth(1).unwrap_or_default();
                        let page = format!(
                            "<!doctype html><title>Shop</title><script>collector = 'http://{collector}'; query = '{query}'</script>\
                             <script src=/scripts/{sdk}.js></script><body><h1>The shop</h1><p>Everything must go.<p><button>Buy</button>"
                        );
                        send(to, "200 OK", "content-type: text/html\r\n", page.as_bytes())
                    }
                },
            }
        });
        Shop { address, truth }
    }

    /// How often the pages with this SDK did something, and how often it was bad.
    pub fn truth(&self, sdk: &str, what: &str) -> [u64; 2] {
        let truth = self.truth.lock().expect("nobody panics with it");
        let did = truth.iter().filter(|one| one["sdk"] == sdk && one["what"] == what);
        did.fold([0, 0], |[all, bad], one| [all + 1, bad + u64::from(one["bad"] == true)])
    }
}

/// A POST that the load balancer brought to the intake.
#[derive(Clone, Debug)]
pub struct Passed {
    pub path: String,
    pub content_type: String,
    pub cookie: bool,
    pub status: u16,
    pub allowed_origin: String,
    pub allows_credentials: bool,
    /// The client never saw the answer.
    pub cut: bool,
}

/// A load balancer. It tries again while nobody answers, as they do during a rolling restart.
pub struct Front {
    pub address: SocketAddr,
    state: Arc<State>,
}

struct State {
    intake: SocketAddr,
    /// The answers to how many of five POSTs are cut.
    cut_of_five: usize,
    posts: AtomicUsize,
    under_way: AtomicUsize,
    passed: Mutex<Vec<Passed>>,
    preflights: Mutex<Vec<String>>,
    last: Mutex<Instant>,
}

impl Front {
    pub fn start(intake: SocketAddr, cut_of_five: usize) -> Front {
        let state = Arc::new(State {
            intake,
            cut_of_five,
            posts: AtomicUsize::new(0),
            under_way: AtomicUsize::new(0),
            passed: Mutex::default(),
            preflights: Mutex::default(),
            last: Mutex::new(Instant::now()),
        });
        let shared = state.clone();
        let address = serve(move |request, to| {
            shared.under_way.fetch_add(1, Ordering::SeqCst);
            let goes_on = shared.pass(request, to);
            *shared.last.lock().expect("nobody panics with it") = Instant::now();
            shared.under_way.fetch_sub(1, Ordering::SeqCst);
            goes_on
        });
        Front { address, state }
    }

    /// What was passed on so far.
    pub fn passed(&self) -> Vec<Passed> {
        self.state.passed.lock().expect("nobody panics with it").clone()
    }

    /// The paths for which browsers asked for permission.
    pub fn preflights(&self) -> Vec<String> {
        self.state.preflights.lock().expect("nobody panics with it").clone()
    }

    /// Waits until the clients have had nothing to say for this long.
    pub fn settled(&self, quiet: Duration) {
        let began = Instant::now();
        while self.state.under_way.load(Ordering::SeqCst) > 0 || self.state.last.lock().expect("nobody panics with it").elapsed() < quiet {
            assert!(began.elapsed() < PATIENCE, "the clients do not become quiet");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl State {
    fn pass(&self, request: &Request, to: &mut TcpStream) -> bool {
        let Some((head, body)) = self.forward(request) else { return false };
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        let mut cut = false;
        if request.method == "POST" {
            let number = self.posts.fetch_add(1, Ordering::SeqCst);
            cut = number % 5 < self.cut_of_five;
            self.passed.lock().expect("nobody panics with it").push(Passed {
                path: request.path.clone(),
                content_type: header(&request.head, "content-type").unwrap_or_default(),
                cookie: header(&request.head, "cookie").is_some(),
                status,
                allowed_origin: header(&head, "access-control-allow-origin").unwrap_or_default(),
                allows_credentials: header(&head, "access-control-allow-credentials").is_some_and(|value| value == "true"),
                cut,
            });
        } else {
            self.preflights.lock().expect("nobody panics with it").push(request.path.clone());
        }
        if cut {
            return false;
        }
        let kept = head.lines().skip(1).filter(|line| {
            let name = line.split(':').next().unwrap_or_default().to_ascii_lowercase();
            !["connection", "content-length", ""].contains(&name.as_str())
        });
        let headers: String = kept.map(|line| format!("{line}\r\n")).collect();
        let status = head.lines().next().unwrap_or_default().trim_start_matches("HTTP/1.1 ").to_owned();
        send(to, &status, &headers, &body)
    }

    /// Head and body of the answer. Tried again while the intake is away, was killed before it answered, or cannot store.
    fn forward(&self, request: &Request) -> Option<(String, Vec<u8>)> {
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            if let Some(answer) = self.attempt(request).filter(|(head, _)| !head.starts_with("HTTP/1.1 503")) {
                return Some(answer);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        None
    }

    fn attempt(&self, request: &Request) -> Option<(String, Vec<u8>)> {
        let mut stream = TcpStream::connect(self.intake).ok()?;
        let kept = request.head.lines().filter(|line| !line.to_ascii_lowercase().starts_with("connection:"));
        let head: String = kept.map(|line| format!("{line}\r\n")).collect();
        stream.write_all(&[head.as_bytes(), b"connection: close\r\n\r\n", &request.body].concat()).ok()?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).ok()?;
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
        let body = answer.split_off(end + 4);
        let head = String::from_utf8_lossy(&answer).into_owned();
        let whole = header(&head, "content-length").is_none_or(|length| length.parse() == Ok(body.len()));
        whole.then_some((head, body))
    }
}
