//! Who holds a connection or a body and does nothing with it, and how connections end.

use super::super::connections::BASE;
use super::*;

#[tokio::test]
async fn slow_senders_are_let_go() {
    let daemon = start_with(settings(), Duration::from_millis(200)).await;
    for opening in ["", "P", "POST /v1/rum HTTP/1.1\r\nhost: x\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
        let mut stream = TcpStream::connect(daemon.at).await.unwrap();
        stream.write_all(opening.as_bytes()).await.unwrap();
        let mut rest = Vec::new();
        let ended = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut rest)).await;
        assert!(ended.is_ok(), "{opening:?} is still connected");
    }
    let mut stream = TcpStream::connect(daemon.at).await.unwrap();
    stream.write_all(b"POST /v1/rum HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{").await.unwrap();
    let answer = tokio::time::timeout(Duration::from_secs(5), read_answer(&mut stream)).await.unwrap();
    assert_eq!(answer.status, 408);
}

#[tokio::test]
async fn half_bodies_hold_so_much_and_no_more() {
    let daemon = start_as(settings(), |intake| Intake { uploads: Uploads::new(2 * (BASE + 9_000) + 1_000), ..intake }).await;
    let head = b"POST /v1/rum HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 9000\r\n\r\n";
    let whole = format!("{}{VIEW}", " ".repeat(9_000 - VIEW.len()));
    let mut halves = Vec::new();
    for _ in 0..4 {
        let mut stream = TcpStream::connect(daemon.at).await.unwrap();
        stream.write_all(head).await.unwrap();
        stream.write_all(&whole.as_bytes()[..8_000]).await.unwrap();
        halves.push(stream);
        // In their order.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // Somebody new is heard at once, and the newest of the others may go on.
    assert_eq!(daemon.post(VIEW).await.status, 202);
    for (number, mut stream) in halves.into_iter().enumerate() {
        if number < 2 {
            let answer = tokio::time::timeout(Duration::from_secs(5), read_answer(&mut stream)).await.expect("it is cut off");
            assert_eq!((answer.status, answer.header("retry-after").is_some()), (503, true));
        } else {
            stream.write_all(&whole.as_bytes()[8_000..]).await.unwrap();
            assert_eq!(read_answer(&mut stream).await.status, 202);
        }
    }
}

#[tokio::test]
async fn whoever_is_quiet_for_longest_gives_way_to_who_has_something_to_say() {
    let daemon = start_as(settings(), |intake| Intake { connections: Arc::new(Connections::new(4 * BASE + 1_000)), ..intake }).await;
    let request = format!("POST /v1/rum HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{VIEW}", VIEW.len());
    let mut kept = TcpStream::connect(daemon.at).await.unwrap();
    let mut streams = Vec::new();
    for opening in ["", "POST /v1/rum HTTP/1.1\r\nx-a: ", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
        let mut stream = TcpStream::connect(daemon.at).await.unwrap();
        stream.write_all(opening.as_bytes()).await.unwrap();
        streams.push(stream);
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    // Came first, but was answered last.
    kept.write_all(request.as_bytes()).await.unwrap();
    let mut answer = [0; 500];
    let length = kept.read(&mut answer).await.unwrap();
    assert!(answer[..length].starts_with(b"HTTP/1.1 202"));
    let mut newer = Vec::new();
    for _ in 0..3 {
        let mut stream = TcpStream::connect(daemon.at).await.unwrap();
        stream.write_all(b"POST /v1/rum HTTP/1.1\r\nx-a: ").await.unwrap();
        newer.push(stream);
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    for mut stream in streams {
        let mut rest = Vec::new();
        let ended = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut rest)).await;
        assert!(ended.is_ok(), "one that was quiet for longer is still connected");
    }
    kept.write_all(request.as_bytes()).await.unwrap();
    let length = kept.read(&mut answer).await.unwrap();
    assert!(answer[..length].starts_with(b"HTTP/1.1 202"), "one that was answered since goes on");
    // What one sends counts, and then it is the one that is left.
    newer[2].write_all("a".repeat(20_000).as_bytes()).await.unwrap();
    let mut rest = Vec::new();
    assert!(tokio::time::timeout(Duration::from_secs(5), newer[0].read_to_end(&mut rest)).await.is_ok());
}

#[tokio::test]
async fn large_bodies_on_one_connection_cost_the_others_nothing() {
    let limit = settings().body_bytes_max;
    let settings = Settings { rate_per_source: 0, ..settings() };
    let daemon = start_as(settings, |intake| Intake { connections: Arc::new(Connections::new(2 * BASE + 30_000)), ..intake }).await;
    let request = |body: &str| format!("POST /v1/rum HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let mut quiet = TcpStream::connect(daemon.at).await.unwrap();
    let mut busy = TcpStream::connect(daemon.at).await.unwrap();
    let large = request(&format!("{}{VIEW}", " ".repeat(limit - VIEW.len())));
    let mut answer = [0; 500];
    for n in 0..50 {
        busy.write_all(large.as_bytes()).await.unwrap();
        let length = busy.read(&mut answer).await.unwrap();
        assert!(answer[..length].starts_with(b"HTTP/1.1 202"), "request {n}");
    }
    quiet.write_all(request(VIEW).as_bytes()).await.unwrap();
    let length = quiet.read(&mut answer).await.unwrap();
    assert!(answer[..length].starts_with(b"HTTP/1.1 202"), "it was let go");
}

#[tokio::test]
async fn the_end_waits_for_open_requests_and_for_nobody_else() {
    let daemon = start(settings()).await;
    let idle = TcpStream::connect(daemon.at).await.unwrap();
    let mut busy = TcpStream::connect(daemon.at).await.unwrap();
    let head = format!("POST /v1/rum HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", VIEW.len());
    busy.write_all(head.as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    daemon.stop.send(()).unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    busy.write_all(VIEW.as_bytes()).await.unwrap();
    assert_eq!(read_answer(&mut busy).await.status, 202);
    tokio::time::timeout(Duration::from_secs(8), daemon.served).await.expect("it ends").unwrap();
    drop(idle);
}
