//! A wire between burnwatch and PostgreSQL that is in our hands: it loses the answer to a COMMIT or the COMMIT itself, delivers one
//! late, or swallows everything while all connections stay open.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What happens to one COMMIT. In each case its sender sees nothing but a connection that ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Loss {
    /// It was committed, and nobody is told.
    Answer,
    /// It never arrives, so nothing is committed.
    Commit,
    /// It arrives when the wire is told to [deliver](Wire::deliver) it.
    Late,
}

/// The wire; it ends with this value.
pub struct Wire {
    /// The database, by way of the wire.
    pub url: String,
    state: Arc<State>,
}

struct State {
    server: url::Url,
    /// What is lost next, after so many COMMITs that are not.
    next: Mutex<Option<(usize, Loss)>>,
    lost: AtomicUsize,
    /// How often the wire was cut: connections of before the last cut are dead for good.
    cuts: AtomicUsize,
    /// Nothing passes, not even on new connections.
    black: AtomicBool,
    late: AtomicBool,
    over: AtomicBool,
}

impl Wire {
    /// A wire to the database behind this URL.
    pub fn new(url: &str) -> Wire {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let server = url::Url::parse(url).expect("a URL");
        let state = Arc::new(State {
            server: server.clone(),
            next: Mutex::new(None),
            lost: AtomicUsize::new(0),
            cuts: AtomicUsize::new(0),
            black: AtomicBool::new(false),
            late: AtomicBool::new(false),
            over: AtomicBool::new(false),
        });
        let shared = state.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if shared.over.load(Ordering::SeqCst) {
                    return;
                }
                let state = shared.clone();
                std::thread::spawn(move || serve(&state, client));
            }
        });
        Wire { url: through(server, address), state }
    }

    /// The COMMIT after the next `spared` ones meets this.
    pub fn lose(&self, spared: usize, loss: Loss) {
        *self.state.next.lock().expect("a lock") = Some((spared, loss));
    }

    /// Nothing more is lost.
    pub fn spare(&self) {
        *self.state.next.lock().expect("a lock") = None;
    }

    /// How much was lost so far.
    pub fn lost(&self) -> usize {
        self.state.lost.load(Ordering::SeqCst)
    }

    /// What is held back arrives.
    pub fn deliver(&self) {
        self.state.late.store(true, Ordering::SeqCst);
    }

    /// Swallows everything from now on; no connection is closed.
    pub fn cut(&self) {
        self.state.black.store(true, Ordering::SeqCst);
        self.state.cuts.fetch_add(1, Ordering::SeqCst);
    }

    /// New connections work again. Those of before the cut stay as dead as they are, as behind a firewall that has forgotten them.
    pub fn mend(&self) {
        self.state.black.store(false, Ordering::SeqCst);
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.state.over.store(true, Ordering::SeqCst);
    }
}

/// The same URL with another server.
fn through(mut url: url::Url, address: SocketAddr) -> String {
    url.set_host(Some("127.0.0.1")).expect("an address is a host");
    url.set_port(Some(address.port())).expect("a port");
    url.set_query(Some("sslmode=disable"));
    url.into()
}

/// One side of a connection to the server.
enum Server {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Server {
    fn connect(url: &url::Url) -> io::Result<Server> {
        let folder = url.query_pairs().find(|(name, _)| name == "host").map(|(_, value)| value.into_owned());
        match folder {
            Some(folder) => Ok(Server::Unix(UnixStream::connect(format!("{folder}/.s.PGSQL.{}", url.port().unwrap_or(5432)))?)),
            None => Ok(Server::Tcp(TcpStream::connect((url.host_str().unwrap_or("localhost"), url.port().unwrap_or(5432)))?)),
        }
    }

    fn again(&self) -> io::Result<Server> {
        match self {
            Server::Tcp(stream) => stream.try_clone().map(Server::Tcp),
            Server::Unix(stream) => stream.try_clone().map(Server::Unix),
        }
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Server::Tcp(stream) => stream.read(buffer),
            Server::Unix(stream) => stream.read(buffer),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Server::Tcp(stream) => stream.write_all(bytes),
            Server::Unix(stream) => stream.write_all(bytes),
        }
    }

    fn close(&self) {
        _ = match self {
            Server::Tcp(stream) => stream.shutdown(Shutdown::Both),
            Server::Unix(stream) => stream.shutdown(Shutdown::Both),
        };
    }
}

/// One connection, both ways.
fn serve(state: &Arc<State>, mut client: TcpStream) {
    let born = state.cuts.load(Ordering::SeqCst);
    let silent = Arc::new(AtomicBool::new(false));
    state.hold(born);
    let Ok(mut server) = Server::connect(&state.server) else { return };
    let (Ok(mut back), Ok(mut answers)) = (client.try_clone(), server.again()) else { return };
    let (shared, quiet) = (state.clone(), silent.clone());
    let answering = std::thread::spawn(move || {
        let mut buffer = [0; 64 * 1024];
        while let Ok(read @ 1..) = answers.read(&mut buffer) {
            shared.hold(born);
            // The first answer after a COMMIT of which nobody is to hear is the one to that.
            if quiet.load(Ordering::SeqCst) || back.write_all(&buffer[..read]).is_err() {
                break;
            }
        }
        _ = back.shutdown(Shutdown::Both);
    });
    let _ = ask(state, born, &mut client, &mut server, &silent);
    if silent.load(Ordering::SeqCst) {
        _ = answering.join();
    }
    server.close();
    _ = client.shutdown(Shutdown::Both);
}

/// Passes on what the client says, message by message.
fn ask(state: &State, born: usize, client: &mut TcpStream, server: &mut Server, silent: &AtomicBool) -> io::Result<()> {
    // The first message has no type.
    let mut head = 0;
    loop {
        let mut message = vec![0; head + 4];
        client.read_exact(&mut message)?;
        let length = u32::from_be_bytes(message[head..].try_into().expect("four bytes")) as usize;
        let from = message.len();
        message.resize(head + length, 0);
        client.read_exact(&mut message[from..])?;
        state.hold(born);
        let loss = if message.starts_with(b"Q") && message[5..].starts_with(b"commit\0") { state.loss() } else { None };
        match loss {
            None => server.write(&message)?,
            Some(Loss::Commit) => return Ok(()),
            Some(Loss::Answer) => {
                silent.store(true, Ordering::SeqCst);
                return server.write(&message);
            }
            Some(Loss::Late) => {
                silent.store(true, Ordering::SeqCst);
                client.shutdown(Shutdown::Both)?;
                while !state.late.load(Ordering::SeqCst) && !state.over.load(Ordering::SeqCst) {
                    std::thread::sleep(Duration::from_millis(5));
                }
                return server.write(&message);
            }
        }
        head = 1;
    }
}

impl State {
    /// Whether this COMMIT is one to be lost.
    fn loss(&self) -> Option<Loss> {
        let mut next = self.next.lock().expect("a lock");
        let (spared, loss) = (*next)?;
        if spared > 0 {
            *next = Some((spared - 1, loss));
            return None;
        }
        *next = None;
        self.lost.fetch_add(1, Ordering::SeqCst);
        Some(loss)
    }

    /// Waits while nothing passes: for ever, on a connection that was there when the wire was cut.
    fn hold(&self, born: usize) {
        while !self.over.load(Ordering::SeqCst) && (self.black.load(Ordering::SeqCst) || self.cuts.load(Ordering::SeqCst) != born) {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}
