//! Mail against a small scripted SMTP server on threads of its own.

use std::collections::{HashMap, VecDeque};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use lettre::transport::smtp::client::Certificate;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::json;

use crate::config::{Secret, Smtp, SmtpTls};
use crate::domain::notification::Kind;
use crate::domain::rule::{Receiver, ReceiverKind};
use crate::notify::email::{MailError, Mailer};
use crate::notify::fake::*;
use crate::notify::{Delivery, Next, SendError, Sender, Sent};

/// How the server behaves; queues are used up, then everything is accepted.
#[derive(Default)]
struct Script {
    starttls: bool,
    implicit: bool,
    greeting: Option<&'static str>,
    /// Answers to RCPT by address.
    rcpt: HashMap<&'static str, VecDeque<&'static str>>,
    /// Answers after the mail; `None`: the connection drops once the mail is taken.
    data: VecDeque<Option<&'static str>>,
}

#[derive(Clone)]
struct Server {
    port: u16,
    script: Arc<Mutex<Script>>,
    /// What clients said, but for mails; `(tls)` where it began.
    said: Arc<Mutex<Vec<String>>>,
    mails: Arc<Mutex<Vec<String>>>,
}

/// A connection before or after TLS.
enum Channel {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ServerConnection, TcpStream>>),
}

impl Channel {
    /// Reads up to and with `end`; `None` once the client is gone.
    fn until(&mut self, end: &[u8]) -> Option<String> {
        let mut text = Vec::new();
        let mut byte = [0];
        while !text.ends_with(end) {
            let read = match self {
                Channel::Plain(stream) => stream.read(&mut byte),
                Channel::Tls(stream) => stream.read(&mut byte),
            };
            if read.ok()? == 0 {
                return None;
            }
            text.push(byte[0]);
        }
        Some(String::from_utf8_lossy(&text).into_owned())
    }

    fn say(&mut self, text: &str) -> Option<()> {
        let line = format!("{text}\r\n");
        match self {
            Channel::Plain(stream) => stream.write_all(line.as_bytes()).ok(),
            Channel::Tls(stream) => stream.write_all(line.as_bytes()).and_then(|()| stream.flush()).ok(),
        }
    }

    fn secure(self) -> Channel {
        let Channel::Plain(stream) = self else { return self };
        let _ = rustls::crypto::ring::default_provider().install_default();
        let certificates = vec![CertificateDer::from_pem_slice(include_bytes!("localhost.pem")).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(include_bytes!("localhost.key")).unwrap();
        let config = ServerConfig::builder().with_no_client_auth().with_single_cert(certificates, key).unwrap();
        let connection = ServerConnection::new(Arc::new(config)).unwrap();
        Channel::Tls(Box::new(StreamOwned::new(connection, stream)))
    }
}

impl Server {
    fn start(script: Script) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = Server { port, script: Arc::new(Mutex::new(script)), said: Arc::default(), mails: Arc::default() };
        let shared = server.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = shared.clone();
                std::thread::spawn(move || shared.talk(Channel::Plain(stream)));
            }
        });
        server
    }

    fn talk(&self, mut channel: Channel) -> Option<()> {
        if self.script.lock().unwrap().implicit {
            channel = channel.secure();
        }
        let greeting = self.script.lock().unwrap().greeting.unwrap_or("220 fake");
        channel.say(greeting)?;
        loop {
            let line = channel.until(b"\r\n")?.trim_end().to_owned();
            self.said.lock().unwrap().push(line.clone());
            let verb = line.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
            match verb.as_str() {
                "EHLO" => {
                    let offers = self.script.lock().unwrap().starttls && matches!(channel, Channel::Plain(_));
                    channel.say(if offers {
                        "250-fake\r\n250-STARTTLS\r\n250 8BITMIME"
                    } else {
                        "250-fake\r\n250-AUTH PLAIN LOGIN\r\n250 8BITMIME"
                    })?;
                }
                "STARTTLS" => {
                    channel.say("220 go ahead")?;
                    channel = channel.secure();
                    // The handshake happens with the first read.
                }
                "AUTH" => channel.say("235 welcome")?,
                "RCPT" => {
                    let mut script = self.script.lock().unwrap();
                    let answer =
                        script.rcpt.iter_mut().find(|(address, _)| line.contains(**address)).and_then(|(_, answers)| answers.pop_front());
                    drop(script);
                    channel.say(answer.unwrap_or("250 fine"))?;
                }
                "DATA" => {
                    channel.say("354 go on")?;
                    let mail = channel.until(b"\r\n.\r\n")?;
                    self.mails.lock().unwrap().push(mail);
                    let answer = self.script.lock().unwrap().data.pop_front();
                    channel.say(answer.unwrap_or(Some("250 queued"))?)?;
                }
                "QUIT" => return channel.say("221 bye"),
                _ => channel.say("250 fine")?,
            }
        }
    }

    fn said(&self) -> Vec<String> {
        self.said.lock().unwrap().clone()
    }

    fn mails(&self) -> Vec<String> {
        self.mails.lock().unwrap().clone()
    }

    fn smtp(&self, tls: SmtpTls) -> Smtp {
        Smtp {
            host: "localhost".into(),
            port: self.port,
            tls,
            username: Some("burnwatch".into()),
            password: Some(Secret::new("sm7p-secret")),
            from: "burnwatch <alerts@ops.example.com>".into(),
        }
    }

    /// A sender that mails through it, and trusts its certificate if told so.
    fn sender(&self, tls: SmtpTls, trusted: bool) -> Sender {
        let root = trusted.then(|| Certificate::from_pem(include_bytes!("ca.pem")).unwrap());
        Sender { mailer: Some(Mailer::trusting(&self.smtp(tls), root).unwrap()), ..sender(&[]) }
    }

    async fn send(&self, delivery: &Delivery) -> Result<Sent, SendError> {
        self.sender(SmtpTls::None, false).send(&mail_to(&["ada@example.com", "bob@example.com"]), delivery, NOW).await
    }
}

/// A port that answers with a certificate of an unknown authority.
pub fn tls_server() -> u16 {
    Server::start(Script { implicit: true, ..Script::default() }).port
}

fn mail_to(to: &[&str]) -> Receiver {
    receiver("team mail", ReceiverKind::Email { to: to.iter().map(|to| (*to).to_owned()).collect(), cc: vec![], reply_to: None })
}

fn header<'a>(mail: &'a str, name: &str) -> Vec<&'a str> {
    let head = mail.split("\r\n\r\n").next().unwrap();
    head.split("\r\n").filter_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).collect()
}

#[tokio::test]
async fn r12_each_recipient_gets_one_message_in_the_incidents_thread() {
    let server = Server::start(Script::default());
    let sent = server.send(&delivery(Kind::Opened)).await.unwrap();
    assert_eq!((sent.status, sent.note.as_str()), (Some(250), ""));
    server.send(&Delivery { id: "d3f4".into(), ..delivery(Kind::Resolved) }).await.unwrap();
    let mails = server.mails();
    assert_eq!(mails.len(), 4);
    let ids: std::collections::BTreeSet<&str> = mails.iter().map(|mail| header(mail, "Message-ID")[0]).collect();
    assert_eq!(ids.len(), 4);
    for mail in &mails {
        assert_eq!(header(mail, "To"), ["ada@example.com, bob@example.com"]);
        assert_eq!(header(mail, "From"), ["burnwatch <alerts@ops.example.com>"]);
        assert_eq!(header(mail, "In-Reply-To"), ["<c0ffee.thread@ops.example.com>"]);
        assert_eq!(header(mail, "References"), ["<c0ffee.thread@ops.example.com>"]);
        assert_eq!(header(mail, "Auto-Submitted"), ["auto-generated"]);
        assert!(header(mail, "List-Id")[0].ends_with(".burnwatch.ops.example.com>"));
        assert_eq!(header(mail, "Date"), ["Fri, 15 Jan 2027 08:00:00 +0000"]);
        assert!(header(mail, "Content-Type")[0].starts_with("multipart/alternative"));
        assert!(mail.find("text/plain").unwrap() < mail.find("text/html").unwrap());
    }
    assert!(header(&mails[0], "Message-ID")[0].starts_with("<d1e2."));
    assert_eq!(header(&mails[0], "Subject"), ["PAGE: checkout-api burns its budget (shop)"]);
    assert_eq!(header(&mails[2], "Subject"), ["RESOLVED: checkout-api burns its budget (shop)"]);
}

#[tokio::test]
async fn r12_a_second_attempt_is_the_same_message_byte_by_byte() {
    let server = Server::start(Script { data: [None].into(), ..Script::default() });
    let one = mail_to(&["ada@example.com"]);
    let sender = server.sender(SmtpTls::None, false);
    // The server took it, but the connection dropped before it said so.
    let error = sender.send(&one, &delivery(Kind::Opened), NOW).await.unwrap_err();
    assert_eq!(error.next, Next::Retry { after: None });
    sender.send(&one, &delivery(Kind::Opened), NOW + crate::domain::time::Span::HOUR).await.unwrap();
    let mails = server.mails();
    assert_eq!(mails.len(), 2);
    assert_eq!(mails[0], mails[1]);
}

#[tokio::test]
async fn a_refusal_for_good_is_for_that_recipient_only() {
    let rcpt = [("ada@", ["550 no such user"].into())].into();
    let server = Server::start(Script { rcpt, ..Script::default() });
    let sent = server.send(&delivery(Kind::Opened)).await.unwrap();
    assert_eq!(server.mails().len(), 1);
    assert!(sent.note.starts_with("1 of 2 recipients refused for good (ada@example.com): "), "{}", sent.note);
    assert!(sent.note.contains("550"), "{}", sent.note);
    let rcpt = [("ada@", ["550 no"].into()), ("bob@", ["553 no"].into())].into();
    let error = Server::start(Script { rcpt, ..Script::default() }).send(&delivery(Kind::Opened)).await.unwrap_err();
    assert_eq!(error.next, Next::GiveUp { disable: false });
}

#[tokio::test]
async fn greylisting_is_waited_out_and_nobody_gets_it_twice() {
    let rcpt = [("ada@", ["451 greylisted"].into())].into();
    let server = Server::start(Script { rcpt, ..Script::default() });
    let error = server.send(&delivery(Kind::Opened)).await.unwrap_err();
    assert_eq!((error.next, error.status), (Next::Retry { after: None }, Some(451)));
    assert_eq!(error.progress.as_ref().unwrap()["done"], json!(["bob@example.com"]));
    server.send(&Delivery { earlier: error.progress, ..delivery(Kind::Opened) }).await.unwrap();
    let said = server.said();
    assert_eq!(said.iter().filter(|line| line.starts_with("RCPT") && line.contains("bob@")).count(), 1);
    assert_eq!(server.mails().len(), 2);
}

#[tokio::test]
async fn what_is_left_of_another_delivery_says_nothing_about_this_one() {
    let server = Server::start(Script::default());
    let earlier = Some(json!({ "delivery": "other", "done": ["ada@example.com", "bob@example.com"] }));
    server.send(&Delivery { earlier, ..delivery(Kind::Resolved) }).await.unwrap();
    assert_eq!(server.mails().len(), 2);
}

#[tokio::test]
async fn a_server_that_is_busy_or_not_there_is_tried_again() {
    let busy = Server::start(Script { greeting: Some("421 too busy"), ..Script::default() });
    assert_eq!(busy.send(&delivery(Kind::Opened)).await.unwrap_err().next, Next::Retry { after: None });
    let server = Server::start(Script { data: [Some("452 disk full")].into(), ..Script::default() });
    let error = server.send(&delivery(Kind::Opened)).await.unwrap_err();
    assert_eq!((error.next, error.status), (Next::Retry { after: None }, Some(452)));
    let gone = Server { port: 9, ..server };
    assert_eq!(gone.send(&delivery(Kind::Opened)).await.unwrap_err().next, Next::Retry { after: None });
}

#[tokio::test]
async fn r20_without_starttls_nothing_is_said_that_matters() {
    let server = Server::start(Script::default());
    let error =
        server.sender(SmtpTls::Starttls, true).send(&mail_to(&["ada@example.com"]), &delivery(Kind::Opened), NOW).await.unwrap_err();
    assert_eq!(error.next, Next::Retry { after: None });
    assert!(server.said().iter().all(|line| !line.starts_with("AUTH") && !line.starts_with("MAIL")), "{:?}", server.said());
}

#[tokio::test]
async fn r20_a_certificate_that_nobody_vouches_for_ends_it_before_the_password() {
    for (tls, script) in [
        (SmtpTls::Starttls, Script { starttls: true, ..Script::default() }),
        (SmtpTls::Implicit, Script { implicit: true, ..Script::default() }),
    ] {
        let server = Server::start(script);
        let error = server.sender(tls, false).send(&mail_to(&["ada@example.com"]), &delivery(Kind::Opened), NOW).await.unwrap_err();
        assert_eq!(error.next, Next::Retry { after: None });
        assert!(error.why.to_lowercase().contains("certificate"), "{}", error.why);
        assert!(server.said().iter().all(|line| !line.starts_with("AUTH")));
    }
}

#[tokio::test]
async fn starttls_and_implicit_tls_deliver_and_sign_in_behind_it() {
    for (tls, script) in [
        (SmtpTls::Starttls, Script { starttls: true, ..Script::default() }),
        (SmtpTls::Implicit, Script { implicit: true, ..Script::default() }),
    ] {
        let server = Server::start(script);
        server.sender(tls, true).send(&mail_to(&["ada@example.com"]), &delivery(Kind::Opened), NOW).await.unwrap();
        assert_eq!(server.mails().len(), 1);
        assert!(server.said().iter().any(|line| line.starts_with("AUTH PLAIN")));
    }
}

#[test]
fn r20_a_password_does_not_leave_this_machine_without_tls() {
    let server = Smtp { host: "mail.example.com".into(), ..Server::start(Script::default()).smtp(SmtpTls::None) };
    assert!(matches!(Mailer::new(&server), Err(MailError::PlainCredentials)));
    assert!(Mailer::new(&Smtp { username: None, password: None, ..server }).is_ok());
}

#[tokio::test]
async fn r12_hostile_words_break_out_of_neither_headers_nor_html() {
    let server = Server::start(Script::default());
    let nasty = Delivery { notification: hostile(Kind::Opened), ..delivery(Kind::Opened) };
    let sent = server
        .sender(SmtpTls::None, false)
        .send(&mail_to(&["ada@example.com", "eve@example.com\r\nRCPT TO:<x@y>"]), &nasty, NOW)
        .await
        .unwrap();
    assert!(sent.note.contains("is no mail address"), "{}", sent.note);
    let mails = server.mails();
    assert_eq!(mails.len(), 1);
    for name in ["Subject", "To", "From", "Message-ID", "References", "In-Reply-To", "Date", "Auto-Submitted", "List-Id", "MIME-Version"] {
        assert_eq!(header(&mails[0], name).len(), 1, "{name}");
    }
    assert!(header(&mails[0], "Bcc").is_empty());
    let unfolded = mails[0].replace("=\r\n", "");
    let html = &unfolded[unfolded.find("text/html").unwrap()..];
    for live in ["<script", "<img", "<b>", "javascript:alert(1)\""] {
        assert!(!html.contains(live), "{live} in {html}");
    }
    // Nothing is loaded from elsewhere.
    assert!(!html.contains("src=3D\"") && !html.contains("@import"), "{html}");
    assert_eq!(server.said().iter().filter(|line| line.starts_with("RCPT")).count(), 1);
}

#[tokio::test]
async fn whoever_is_asked_to_act_gets_a_link_that_acknowledges() {
    use crate::domain::answer::{Key, LASTS};
    let server = Server::start(Script::default());
    let key = Key::derive(b"key");
    let settings = crate::notify::Settings { answer_key: Some(key.clone()), smtp: Some(server.smtp(SmtpTls::None)), ..settings(&[]) };
    let sender = Sender::new(settings).unwrap();
    let about = |kind| Delivery { generation: Some(7), ..delivery(kind) };
    for kind in [Kind::Opened, Kind::Acknowledged, Kind::Resolved] {
        sender.send(&mail_to(&["ada@example.com"]), &about(kind), NOW).await.unwrap();
    }
    sender.send(&mail_to(&["ada@example.com"]), &delivery(Kind::Opened), NOW).await.unwrap();
    let mails: Vec<String> = server.mails().iter().map(|mail| mail.replace("=\r\n", "")).collect();
    assert_eq!(mails.iter().map(|mail| mail.contains("/act/")).collect::<Vec<_>>(), [true, false, false, false]);
    let plain = mails[0].split("\r\nAcknowledge: https://burnwatch.example.com/act/").nth(1).expect("a link in the text");
    let sealed = plain.split("\r\n").next().unwrap();
    assert!(mails[0].contains(&format!("href=3D\"https://burnwatch.example.com/act/{sealed}\"")), "and one in the HTML");
    let claim = key.open(sealed, NOW).unwrap();
    assert_eq!((claim.incident.as_str(), claim.generation, claim.receiver.as_str()), ("inc-7", 7, mail_to(&["x@y.z"]).name.as_str()));
    assert_eq!(claim.ends, NOW + LASTS);
}

#[tokio::test]
async fn the_default_mail_reads_like_this() {
    let server = Server::start(Script::default());
    server.send(&delivery(Kind::Opened)).await.unwrap();
    let mail = server.mails()[0].replace("=\r\n", "").replace("=C2=A0", " ");
    let plain = mail.split("text/plain").nth(1).unwrap().split("\r\n\r\n").skip(1).collect::<Vec<_>>().join("\n\n");
    let plain = plain.split("--burnwatch-").next().unwrap().replace("\r\n", "\n");
    let expected = "\
PAGE: checkout-api burns its budget (shop)

Who is hit: 812 users, 5,312 bad events
Where: region de, release 2.3.1 (90 % of the failures above normal, 11 % of the traffic; not seen before)
Since: 2027-01-15 07:57 UTC (3m ago)
What changed: deploy shop 2.3.1 at 2027-01-15 07:50 UTC, 7m before it opened (matches the segment)
Error budget: 3.2 % used by this, 41 % left
Alert: checkout-api firing (page), burning 22.4 times the budget's pace over 1h and 151 over 5m, limit 14.4, 2.2 % bad: Checkout fails for many
Why now: burn rate above 14.4
What to do: acknowledge it, then follow the runbook

Incident: https://burnwatch.example.com/incidents/inc-7
Runbook: https://runbooks.example.com/checkout

--=20
burnwatch
";
    assert_eq!(plain.trim_end(), expected.trim_end());
    assert!(mail.contains("<a href=3D\"https://runbooks.example.com/checkout\">Runbook</a>"), "{mail}");
}

/// Debian's aiosmtpd, which takes mail only over STARTTLS and with a password.
#[tokio::test]
async fn a_real_server_takes_mail_over_starttls_with_a_password() {
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};
    let keys = concat!(env!("CARGO_MANIFEST_DIR"), "/src/notify/tests/localhost");
    let mut process = Command::new("/usr/bin/python3")
        .args(["-c", include_str!("../../../tests/it/mail_server.py"), &format!("{keys}.pem"), &format!("{keys}.key"), "strict"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let mut next = || -> serde_json::Value {
        serde_json::from_str(&lines.next().expect("aiosmtpd runs: apt-get install python3-aiosmtpd").unwrap()).unwrap()
    };
    let port = u16::try_from(next()["port"].as_u64().unwrap()).unwrap();
    let scripted = Server::start(Script::default());
    let settings = |password: &str| Smtp {
        port,
        username: Some("burnwatch".into()),
        password: Some(Secret::new(password)),
        ..scripted.smtp(SmtpTls::Starttls)
    };
    let send = async |password: &str, trusted: bool| {
        let root = trusted.then(|| Certificate::from_pem(include_bytes!("ca.pem")).unwrap());
        let sender = Sender { mailer: Some(Mailer::trusting(&settings(password), root).unwrap()), ..sender(&[]) };
        sender.send(&mail_to(&["ada@example.com"]), &delivery(Kind::Opened), NOW).await
    };
    assert_eq!(send("s3cret-mail", false).await.unwrap_err().next, Next::Retry { after: None }, "nobody vouches for it");
    let wrong = send("wrong", true).await.unwrap_err();
    assert!(wrong.why.contains("535"), "{wrong:?}");
    assert_eq!(send("s3cret-mail", true).await.unwrap().status, Some(250));
    let mail = next();
    assert_eq!((&mail["tls"], &mail["user"], &mail["to"]), (&json!(true), &json!("burnwatch"), &json!(["ada@example.com"])));
    assert!(mail["mail"].as_str().unwrap().contains("Subject: PAGE: checkout-api burns its budget (shop)"), "{mail}");
    process.kill().unwrap();
    process.wait().unwrap();
}
