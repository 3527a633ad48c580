//! The demo's mail server: takes mail over SMTP on a loopback port and hands it to the inbox as it came.
//!
//! As small as SMTP can be (RFC 5321): no relay, no TLS, no sign-in, and a bound on everything a client can send.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::clock::SharedClock;
use crate::web::inbox::{BYTES_MAX, Inbox};

/// Connections at a time.
const CONNECTIONS_MAX: usize = 16;
/// A longer line ends the connection.
const LINE_MAX: usize = 4_096;
/// Commands of one connection.
const COMMANDS_MAX: usize = 10_000;
const PATIENCE: Duration = Duration::from_secs(60);

/// Takes mail until told to stop.
pub async fn serve(listener: TcpListener, inbox: Arc<Inbox>, clock: SharedClock, stop: CancellationToken) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(permit) = room.clone().acquire_owned().await else { return };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => return,
        };
        let Ok((stream, _)) = accepted else {
            // Out of file descriptors, most likely: later there will be some again.
            tokio::time::sleep(Duration::from_millis(200)).await;
            continue;
        };
        let (inbox, clock, stop) = (inbox.clone(), clock.clone(), stop.clone());
        tokio::spawn(async move {
            tokio::select! {
                // A client that breaks off has nothing more to be told.
                _ = converse(stream, &inbox, &clock) => {}
                () = stop.cancelled() => {}
            }
            drop(permit);
        });
    }
}

async fn converse(stream: TcpStream, inbox: &Inbox, clock: &SharedClock) -> io::Result<()> {
    let mut client = BufReader::new(stream);
    say(&mut client, "220 burnwatch demo mail").await?;
    let (mut sender, mut recipients) = (false, 0);
    for _ in 0..COMMANDS_MAX {
        let Some(line) = read_line(&mut client).await? else { return Ok(()) };
        let line = String::from_utf8_lossy(&line).into_owned();
        let verb = line.split([' ', ':']).next().unwrap_or("").to_ascii_uppercase();
        match verb.as_str() {
            "EHLO" => say(&mut client, &format!("250-burnwatch demo mail\r\n250-8BITMIME\r\n250 SIZE {BYTES_MAX}")).await?,
            "HELO" => say(&mut client, "250 burnwatch demo mail").await?,
            "MAIL" => {
                (sender, recipients) = (true, 0);
                say(&mut client, "250 go on").await?;
            }
            "RCPT" if sender && recipients < 100 => {
                recipients += 1;
                say(&mut client, "250 go on").await?;
            }
            "DATA" if recipients > 0 => {
                say(&mut client, "354 end with a line that holds a dot").await?;
                let Some(mail) = read_mail(&mut client).await? else { return Ok(()) };
                (sender, recipients) = (false, 0);
                match mail {
                    Mail::Whole(bytes) => {
                        inbox.push_mail(clock.now(), &bytes);
                        say(&mut client, "250 it is in the inbox").await?;
                    }
                    Mail::TooLarge => say(&mut client, "552 too large").await?,
                }
            }
            "RCPT" | "DATA" => say(&mut client, "503 first who it is from, then whom it is for").await?,
            "RSET" => {
                (sender, recipients) = (false, 0);
                say(&mut client, "250 forgotten").await?;
            }
            "NOOP" => say(&mut client, "250 fine").await?,
            "QUIT" => return say(&mut client, "221 goodbye").await,
            _ => say(&mut client, "502 not known here").await?,
        }
    }
    Ok(())
}

async fn say(client: &mut BufReader<TcpStream>, text: &str) -> io::Result<()> {
    client.write_all(format!("{text}\r\n").as_bytes()).await?;
    client.flush().await
}

enum Mail {
    Whole(Vec<u8>),
    TooLarge,
}

/// Reads to the line that holds a dot; `None`: the client broke off.
async fn read_mail(client: &mut BufReader<TcpStream>) -> io::Result<Option<Mail>> {
    let (mut mail, mut bytes) = (Vec::new(), 0);
    while let Some(line) = read_line(client).await? {
        if line == b"." {
            return Ok(Some(if bytes > BYTES_MAX { Mail::TooLarge } else { Mail::Whole(mail) }));
        }
        bytes += line.len() + 2;
        if bytes > 4 * BYTES_MAX {
            return Ok(None);
        }
        if bytes <= BYTES_MAX {
            // A leading dot was doubled on the way.
            mail.extend_from_slice(line.strip_prefix(b".").unwrap_or(&line));
            mail.extend_from_slice(b"\r\n");
        }
    }
    Ok(None)
}

/// A line without its end; `None` at the end of the stream.
async fn read_line(client: &mut BufReader<TcpStream>) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    loop {
        let read = tokio::time::timeout(PATIENCE, client.fill_buf()).await.map_err(|_| io::ErrorKind::TimedOut)?;
        let part = read?;
        if part.is_empty() {
            return Ok(None);
        }
        let end = part.iter().position(|byte| *byte == b'\n');
        let taken = end.map_or(part.len(), |end| end + 1);
        line.extend_from_slice(&part[..taken]);
        client.consume(taken);
        if line.len() > LINE_MAX {
            return Err(io::Error::other("a line is too long"));
        }
        if end.is_some() {
            while line.last().is_some_and(|byte| matches!(byte, b'\r' | b'\n')) {
                line.pop();
            }
            return Ok(Some(line));
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::clock::FixedClock;
    use crate::domain::time::Timestamp;
    use crate::web::inbox::Channel;

    async fn talk(text: &[u8]) -> (String, Arc<Inbox>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let (inbox, stop) = (Arc::new(Inbox::new()), CancellationToken::new());
        let server = tokio::spawn(serve(listener, inbox.clone(), Arc::new(FixedClock::new(Timestamp(7))), stop.clone()));
        let mut stream = TcpStream::connect(at).await.unwrap();
        // The server may hang up before all was said.
        let _ = stream.write_all(text).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        stop.cancel();
        server.await.unwrap();
        (String::from_utf8_lossy(&answer).into_owned(), inbox)
    }

    #[tokio::test]
    async fn a_mail_arrives_as_it_was_sent() {
        let text = b"EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nSubject: page\r\n\r\n..dot \r\nend\r\n.\r\nQUIT\r\n";
        let (answer, inbox) = talk(text).await;
        assert!(answer.ends_with("221 goodbye\r\n"), "{answer}");
        let mails = inbox.newest(|channel| *channel == Channel::Mail, 5);
        assert_eq!(mails.len(), 1);
        assert_eq!((mails[0].body.as_str(), mails[0].at), ("Subject: page\r\n\r\n.dot \r\nend\r\n", Timestamp(7)));
    }

    #[tokio::test]
    async fn data_needs_a_recipient_and_lines_have_an_end() {
        let (answer, inbox) = talk(b"HELO x\r\nDATA\r\nNONSENSE\r\nQUIT\r\n").await;
        assert!(answer.contains("503 ") && answer.contains("502 "), "{answer}");
        let long = [b"EHLO ".as_slice(), &[b'x'; 3 * LINE_MAX]].concat();
        let (answer, _) = talk(&long).await;
        assert!(!answer.contains("250"), "{answer}");
        assert_eq!(inbox.last(), 0);
    }

    #[tokio::test]
    async fn a_mail_that_is_too_large_is_refused() {
        let mut text = b"EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n".to_vec();
        for _ in 0..BYTES_MAX / 1_000 + 10 {
            text.extend_from_slice(&[b'x'; 998]);
            text.extend_from_slice(b"\r\n");
        }
        text.extend_from_slice(b".\r\nQUIT\r\n");
        let (answer, inbox) = talk(&text).await;
        assert!(answer.contains("552 "), "{answer}");
        assert_eq!(inbox.last(), 0);
    }
}
