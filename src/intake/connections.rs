//! Who is connected, and what that holds: a connection costs memory also while nothing is asked on it, so when that is
//! too much in all, those give way that have been quiet for longest.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use ahash::AHashMap;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf, Take};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::limits::Source;

/// How long a connection may be quiet between two requests, if there is room.
const IDLE: Duration = Duration::from_secs(60);
/// Connections in total and from one source (proxies, which speak for many, are spared).
const CONNECTIONS_MAX: usize = 8_192;
const CONNECTIONS_PER_SOURCE: u32 = 256;
/// Bytes that are held for all connections.
const HELD_MAX: usize = 40 << 20;
/// What a connection takes by itself once it has said something: its task and two buffers of 8 KiB, as measured.
pub(super) const BASE: usize = 24 << 10;
/// The most that is read at a time: what one sends ahead of its turn stays where it is, and holds no memory of ours.
const READ_AT_ONCE: u64 = 8 << 10;
/// The most of a head, or of requests that are sent ahead, that is kept.
pub(super) const HEAD_MAX: usize = 32 << 10;
/// How much is made free at a time, of all: looking for who has been quiet for longest takes a look at everybody.
const LOT: usize = 16;
/// After so many requests a connection lets others have their turn. One that sends many at once would else be answered until it
/// has no more, and all others wait.
const TURN: u32 = 2;

/// All connections of the listener.
pub(super) struct Connections {
    max: usize,
    held: AtomicUsize,
    all: Mutex<All>,
}

#[derive(Default)]
struct All {
    next: u64,
    by_number: BTreeMap<u64, Arc<Activity>>,
    by_source: AHashMap<Source, u32>,
}

impl Default for Connections {
    fn default() -> Connections {
        Connections::new(HELD_MAX)
    }
}

impl Connections {
    /// So many bytes for all of them.
    pub fn new(max: usize) -> Connections {
        Connections { max, held: AtomicUsize::new(0), all: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, All> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Somebody comes in; nothing if there are too many that are busy, or too many of this source.
    pub fn enter(this: &Arc<Connections>, peer: IpAddr, is_proxy: bool) -> Option<Place> {
        let source = Source::of(peer);
        if this.held.load(Ordering::Relaxed) + BASE > this.max && this.let_go(this.max / LOT) == 0 {
            return None;
        }
        let place = {
            let mut guard = this.lock();
            let all = &mut *guard;
            // Who is refused leaves nothing behind.
            let here = all.by_source.get(&source).copied().unwrap_or(0);
            if all.by_number.len() >= CONNECTIONS_MAX || (here >= CONNECTIONS_PER_SOURCE && !is_proxy) {
                return None;
            }
            all.by_source.insert(source, here + 1);
            let number = all.next;
            all.next += 1;
            let state = State {
                since: Instant::now(),
                answered: 0,
                open: 0,
                head: 0,
                read: 0,
                parsed: false,
                answers: 0,
                counted: 0,
                is_cut: false,
            };
            let activity = Arc::new(Activity { connections: this.clone(), state: Mutex::new(state), cut: Notify::new() });
            all.by_number.insert(number, activity.clone());
            Place { number, source, activity }
        };
        place.activity.change(|_| {});
        Some(place)
    }

    /// Lets those go that have been quiet for longest, until so much is free, and at least one; gives how much that is.
    fn let_go(&self, bytes: usize) -> usize {
        let guard = self.lock();
        let mut quiet: Vec<_> = guard.by_number.values().filter_map(|activity| Some((activity.quiet_since()?, activity))).collect();
        quiet.sort_by_key(|(since, _)| *since);
        let mut freed = 0;
        for (_, activity) in quiet {
            freed += activity.let_go();
            if freed >= bytes.max(1) {
                break;
            }
        }
        freed
    }

    /// There are no file descriptors left: some have to give way, however little they hold.
    pub fn let_some_go(&self) {
        self.let_go(self.held.load(Ordering::Relaxed) / LOT);
    }
}

/// One connection among all, while it lasts.
pub(super) struct Place {
    number: u64,
    source: Source,
    pub activity: Arc<Activity>,
}

impl Drop for Place {
    fn drop(&mut self) {
        // Requests of it may end later (HTTP/2): that counts no more.
        self.activity.change(|state| state.is_cut = true);
        let mut guard = self.activity.connections.lock();
        let all = &mut *guard;
        all.by_number.remove(&self.number);
        if let Some(here) = all.by_source.get_mut(&self.source) {
            *here -= 1;
            if *here == 0 {
                all.by_source.remove(&self.source);
            }
        }
    }
}

/// What happens on one connection.
pub(super) struct Activity {
    connections: Arc<Connections>,
    state: Mutex<State>,
    cut: Notify,
}

struct State {
    /// When the last request ended; before the first, when it came in.
    since: Instant,
    answered: u32,
    /// Requests that are being answered.
    open: u32,
    /// What it has sent of a head that is not whole yet.
    head: usize,
    /// The most that this ever was: what its buffer is as large as.
    read: usize,
    /// Whether a request has begun since it last sent something.
    parsed: bool,
    /// The most of answers that were to be sent at once: what that buffer is as large as.
    answers: usize,
    /// What it counts for in all that is held.
    counted: usize,
    is_cut: bool,
}

impl Activity {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something happens; if more is held than may be, the quietest go.
    fn change(&self, change: impl FnOnce(&mut State)) {
        let Connections { max, held, .. } = &*self.connections;
        let all = {
            let mut state = self.lock();
            change(&mut state);
            let counts = if state.is_cut { 0 } else { BASE + state.read + state.answers };
            let before = std::mem::replace(&mut state.counted, counts);
            match counts.checked_sub(before) {
                Some(0) => 0,
                Some(grown) => held.fetch_add(grown, Ordering::Relaxed) + grown,
                None => held.fetch_sub(before - counts, Ordering::Relaxed) - before + counts,
            }
        };
        if all > *max {
            self.connections.let_go(max / LOT);
        }
    }

    /// A request begins; it ends with what is returned. Whoever was about to go stays, however soon it is answered.
    pub fn open(&self) -> Open<'_> {
        let mut state = self.lock();
        state.is_cut = false;
        state.open += 1;
        state.parsed = true;
        Open(self)
    }

    /// Whether it is time to let other connections have theirs.
    pub fn took_its_turn(&self) -> bool {
        let mut state = self.lock();
        state.answered = state.answered.wrapping_add(1);
        state.answered.is_multiple_of(TURN)
    }

    /// Whether it has been quiet for too long: before its first request for `patience`.
    pub fn is_stale(&self, patience: Duration) -> bool {
        let state = self.lock();
        state.open == 0 && state.since.elapsed() > if state.answered == 0 { patience } else { IDLE }
    }

    /// Waits until it has to give way. A request that began meanwhile is not disturbed.
    pub async fn has_to_go(&self) {
        loop {
            self.cut.notified().await;
            if self.lock().is_cut {
                return;
            }
        }
    }

    /// Since when nothing is asked of us; nothing if something is, or if it goes already.
    fn quiet_since(&self) -> Option<Instant> {
        let state = self.lock();
        (state.open == 0 && !state.is_cut).then_some(state.since)
    }

    /// It has to go; says how much that makes free.
    fn let_go(&self) -> usize {
        let mut state = self.lock();
        if state.open > 0 {
            return 0;
        }
        state.is_cut = true;
        let freed = std::mem::take(&mut state.counted);
        self.connections.held.fetch_sub(freed, Ordering::Relaxed);
        self.cut.notify_one();
        freed
    }
}

/// A request that is being answered.
pub(super) struct Open<'a>(&'a Activity);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.since = Instant::now();
        state.open -= 1;
    }
}

/// A stream that tells what goes through it.
pub(super) struct Metered<S> {
    stream: Take<S>,
    activity: Arc<Activity>,
}

impl<S: AsyncRead> Metered<S> {
    pub fn new(stream: S, activity: Arc<Activity>) -> Metered<S> {
        Metered { stream: stream.take(READ_AT_ONCE), activity }
    }

    fn took(&self, bytes: usize) {
        self.activity.change(|state| {
            // Bodies are counted where they are gathered.
            let is_new = std::mem::take(&mut state.parsed) || state.open > 0;
            state.head = if is_new { bytes } else { state.head.saturating_add(bytes) };
            // hyper keeps its buffer.
            state.read = state.read.max(state.head.min(HEAD_MAX));
        });
    }

    fn offers(&self, bytes: usize) {
        self.activity.change(|state| state.answers = state.answers.max(bytes));
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let (this, before) = (self.get_mut(), buffer.filled().len());
        this.stream.set_limit(READ_AT_ONCE);
        let done = Pin::new(&mut this.stream).poll_read(context, buffer);
        let bytes = buffer.filled().len() - before;
        if bytes > 0 {
            this.took(bytes);
        }
        done
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.offers(bytes.len());
        Pin::new(this.stream.get_mut()).poll_write(context, bytes)
    }

    fn poll_write_vectored(self: Pin<&mut Self>, context: &mut Context<'_>, parts: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.offers(parts.iter().map(|part| part.len()).sum());
        Pin::new(this.stream.get_mut()).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.get_ref().is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.get_mut().stream.get_mut()).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.get_mut().stream.get_mut()).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn enter(connections: &Arc<Connections>, n: u8) -> Place {
        Connections::enter(connections, IpAddr::from([198, 51, 100, n]), false).expect("there is room")
    }

    fn is_cut(place: &Place) -> bool {
        place.activity.lock().is_cut
    }

    #[tokio::test]
    async fn those_that_were_quiet_for_longest_give_way() {
        let connections = Arc::new(Connections::new(4 * BASE));
        let mut all = Vec::new();
        for n in 0..4 {
            all.push(enter(&connections, n));
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let cut = |all: &[Place]| all.iter().map(is_cut).collect::<Vec<_>>();
        // The first has just been answered, the second is being answered.
        drop(all[0].activity.open());
        let second = all[1].activity.clone();
        let open = second.open();
        all.push(enter(&connections, 4));
        assert_eq!(cut(&all), [false, false, true, false, false]);
        tokio::time::timeout(Duration::from_secs(1), all[2].activity.has_to_go()).await.expect("it is told");
        all.push(enter(&connections, 5));
        assert_eq!(cut(&all), [false, false, true, true, false, false]);
        // One that is asked for something before it hears of it stays, also if it is answered before; with its answer it counts again.
        let fourth = all[3].activity.clone();
        drop(fourth.open());
        assert!(tokio::time::timeout(Duration::from_millis(10), fourth.has_to_go()).await.is_err());
        let asked = fourth.open();
        fourth.change(|state| state.answers = 100);
        assert_eq!(cut(&all), [true, false, true, false, false, false]);
        // Where all are busy nobody comes in.
        let busy = [all[4].activity.open(), all[5].activity.open()];
        assert!(Connections::enter(&connections, IpAddr::from([198, 51, 100, 6]), false).is_none());
        drop((open, asked, busy));
        assert!(Connections::enter(&connections, IpAddr::from([198, 51, 100, 6]), false).is_some());
        // A request that ends after its connection counts for nothing.
        let open = second.open();
        drop(all);
        drop(open);
        assert_eq!(connections.held.load(Ordering::Relaxed), 0);
        assert!(connections.lock().by_number.is_empty() && connections.lock().by_source.is_empty());
    }

    #[tokio::test]
    async fn a_source_has_so_many_and_a_network_of_one_customer_is_one_source() {
        let connections = Arc::new(Connections::default());
        let address = |n: u16| IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, n]);
        let places: Vec<Place> = (0..256).map(|n| Connections::enter(&connections, address(n), false).expect("there is room")).collect();
        assert!(Connections::enter(&connections, address(999), false).is_none());
        assert!(Connections::enter(&connections, address(999), true).is_some(), "a proxy speaks for many");
        drop(places);
        assert!(Connections::enter(&connections, address(999), false).is_some());
    }

    #[tokio::test]
    async fn what_is_sent_and_what_is_answered_counts() {
        use tokio::io::AsyncWriteExt;
        let connections = Arc::new(Connections::default());
        let place = enter(&connections, 1);
        let (here, mut there) = tokio::io::duplex(1_000);
        let mut metered = Metered::new(here, place.activity.clone());
        let held = || connections.held.load(Ordering::Relaxed) - BASE;
        there.write_all(&[b'a'; 300]).await.unwrap();
        let mut buffer = [0; 200];
        assert_eq!(metered.read(&mut buffer).await.unwrap(), 200);
        assert_eq!(metered.read(&mut buffer).await.unwrap(), 100);
        assert_eq!(held(), 300);
        // A request is over; its buffer is not given back.
        drop(place.activity.open());
        there.write_all(&[b'a'; 100]).await.unwrap();
        assert_eq!(metered.read(&mut buffer).await.unwrap(), 100);
        assert_eq!(held(), 300);
        there.write_all(&[b'a'; 150]).await.unwrap();
        assert_eq!(metered.read(&mut buffer).await.unwrap(), 150);
        assert_eq!(held(), 300, "the buffer is as large as the longest head, not as all of them");
        let body = place.activity.open();
        for _ in 0..10 {
            there.write_all(&[b'a'; 200]).await.unwrap();
            assert_eq!(metered.read(&mut buffer).await.unwrap(), 200);
        }
        drop(body);
        assert_eq!(held(), 300, "a body is not counted here");
        assert_eq!(metered.write(&[b'b'; 1_500]).await.unwrap(), 1_000);
        assert_eq!(held(), 1_800);
        let waits = tokio::time::timeout(Duration::from_millis(10), metered.write(&[b'b'; 2_000]));
        assert!(waits.await.is_err());
        assert_eq!(held(), 2_300, "also what is not taken");
    }
}
