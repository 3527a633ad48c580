//! What every HTTP receiver meets: limits, redirects, hangs, lies, hostile addresses and names.

use std::collections::BTreeMap;
use std::time::Instant;

use base64::Engine as _;
use hmac::{Hmac, KeyInit, Mac};

use crate::domain::notification::Kind;
use crate::domain::rule::{Field, Receiver, ReceiverKind};
use crate::domain::time::Span;
use crate::notify::fake::*;
use crate::notify::{Next, SendError, Sender, Sent};

async fn send(receiver: &Receiver) -> Result<Sent, SendError> {
    sender(&[]).send(receiver, &delivery(Kind::Opened), NOW).await
}

async fn answered(reply: Reply) -> Result<Sent, SendError> {
    let fake = Fake::start().await;
    fake.will([reply]);
    send(&webhook_at("hook", &fake.url)).await
}

fn headers(name: &'static str, value: &str) -> Vec<(&'static str, String)> {
    vec![(name, value.to_owned())]
}

#[tokio::test]
async fn a_webhook_is_signed_by_the_rules_of_standard_webhooks() {
    let fake = Fake::start().await;
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let kind = ReceiverKind::Webhook {
        url: plain(&format!("{}/hook", fake.url)),
        secret: Some(Field::Secret("HMAC".into())),
        headers: [("X-Team".to_owned(), plain("checkout")), ("Authorization".to_owned(), Field::Secret("BEARER".into()))].into(),
    };
    let sender = sender(&[("HMAC", secret), ("BEARER", "Bearer s3cret")]);
    let sent = sender.send(&receiver("hook", kind), &delivery(Kind::Opened), NOW).await.unwrap();
    assert_eq!(sent.status, Some(200));

    let seen = &fake.seen()[0];
    assert_eq!(seen.line(), "POST /hook");
    assert_eq!((seen.header("webhook-id"), seen.header("webhook-timestamp")), ("d1e2", "1800000000"));
    assert_eq!((seen.header("x-team"), seen.header("authorization")), ("checkout", "Bearer s3cret"));
    assert_eq!(seen.header("content-type"), "application/json");
    assert!(seen.header("user-agent").starts_with("burnwatch/"));
    // Verified as a receiver would: over the raw body.
    let key = base64::engine::general_purpose::STANDARD.decode(&secret[6..]).unwrap();
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(&key).unwrap();
    mac.update(b"d1e2.1800000000.");
    mac.update(&seen.body);
    let signature = seen.header("webhook-signature").strip_prefix("v1,").unwrap();
    mac.verify_slice(&base64::engine::general_purpose::STANDARD.decode(signature).unwrap()).unwrap();
    let body = seen.json();
    assert_eq!((&body["type"], &body["data"]["incident"]["severity"]), (&"incident.opened".into(), &"page".into()));
}

#[tokio::test]
async fn the_signature_is_made_anew_for_each_attempt_and_the_id_is_not() {
    let fake = Fake::start().await;
    let kind = ReceiverKind::Webhook { url: plain(&fake.url), secret: Some(plain("raw bytes")), headers: BTreeMap::new() };
    let (sender, receiver) = (sender(&[]), receiver("hook", kind));
    sender.send(&receiver, &delivery(Kind::Opened), NOW).await.unwrap();
    sender.send(&receiver, &delivery(Kind::Opened), NOW + Span::MINUTE).await.unwrap();
    let seen = fake.seen();
    assert_eq!(seen[0].header("webhook-id"), seen[1].header("webhook-id"));
    assert_eq!(seen[1].header("webhook-timestamp"), "1800000060");
    assert_ne!(seen[0].header("webhook-signature"), seen[1].header("webhook-signature"));
}

#[tokio::test]
async fn a_limit_is_kept_in_both_forms_of_retry_after() {
    for (value, wait) in [("120", 120), ("Fri, 15 Jan 2027 08:00:45 GMT", 45)] {
        let error = answered(Reply::Status(429, headers("retry-after", value), String::new())).await.unwrap_err();
        assert_eq!(error.next, Next::Retry { after: Some(Span::seconds(wait)) }, "{value}");
        assert_eq!(error.status, Some(429));
    }
}

#[tokio::test]
async fn r13_a_redirect_is_not_followed() {
    let (fake, other) = (Fake::start().await, Fake::start().await);
    fake.will([Reply::Status(307, headers("location", &other.url), String::new())]);
    let error = send(&webhook_at("hook", &fake.url)).await.unwrap_err();
    assert_eq!(error.next, Next::Retry { after: None });
    assert!(error.why.contains("redirects are not followed"), "{}", error.why);
    assert!(other.seen().is_empty());
}

#[tokio::test]
async fn a_receiver_that_hangs_is_left_after_its_timeout() {
    let fake = Fake::start().await;
    fake.will([Reply::Hang]);
    let receiver = Receiver { timeout: Span(200), ..webhook_at("hook", &fake.url) };
    let started = Instant::now();
    let error = send(&receiver).await.unwrap_err();
    assert!(started.elapsed().as_millis() < 2000);
    assert_eq!((error.next, error.why.as_str()), (Next::Retry { after: None }, "no answer within 200ms"));
}

#[tokio::test]
async fn r13_the_status_decides_however_the_body_behaves() {
    for reply in [Reply::Endless(200), Reply::Drip(200), Reply::Status(204, vec![], String::new())] {
        let started = Instant::now();
        answered(reply.clone()).await.unwrap_or_else(|error| panic!("{reply:?}: {error}"));
        assert!(started.elapsed().as_millis() < 4000, "{reply:?}");
    }
    for reply in [Reply::Endless(500), Reply::Drip(500)] {
        let error = answered(reply).await.unwrap_err();
        assert_eq!((error.status, error.next), (Some(500), Next::Retry { after: None }));
        assert!(error.why.len() < 1200);
    }
}

#[tokio::test]
async fn what_is_no_http_or_nobody_listens_to_is_tried_again() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 1024]).await;
            let _ = stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n").await;
        }
    });
    let garbage = send(&webhook_at("hook", &url)).await.unwrap_err();
    assert_eq!(garbage.next, Next::Retry { after: None }, "{}", garbage.why);
    let closed = send(&webhook_at("hook", "http://127.0.0.1:9/secret-path")).await.unwrap_err();
    assert_eq!(closed.next, Next::Retry { after: None });
    assert!(closed.why.starts_with("cannot connect") && !closed.why.contains("secret-path"), "{}", closed.why);
}

#[tokio::test]
async fn r13_addresses_inside_are_refused_by_number_and_by_name() {
    let fake = Fake::start().await;
    let port = fake.url.rsplit(':').next().unwrap();
    let guarded = Sender::new(crate::notify::Settings { allow_private: Vec::new(), ..settings(&[]) }).unwrap();
    let urls = [
        format!("http://127.0.0.1:{port}/"),
        format!("http://localhost:{port}/"),
        format!("http://2130706433:{port}/"),
        format!("http://[::ffff:127.0.0.1]:{port}/"),
        format!("http://user@127.1:{port}/"),
        "http://169.254.169.254/latest/meta-data/".to_owned(),
        "https://[fd00:ec2::254]/".to_owned(),
    ];
    for url in urls {
        let error = guarded.send(&webhook_at("hook", &url), &delivery(Kind::Opened), NOW).await.unwrap_err();
        assert_eq!(error.next, Next::GiveUp { disable: false }, "{url}");
        assert!(error.why.contains("delivery.allow_private"), "{url}: {}", error.why);
    }
    assert!(fake.seen().is_empty());
    for url in ["file:///etc/passwd", "gopher://127.0.0.1/", "not a url"] {
        let error = guarded.send(&webhook_at("hook", url), &delivery(Kind::Opened), NOW).await.unwrap_err();
        assert_eq!(error.next, Next::GiveUp { disable: false }, "{url}");
    }
}

#[tokio::test]
async fn r14_a_secret_that_an_answer_echoes_is_not_kept() {
    let fake = Fake::start().await;
    fake.will([Reply::Status(400, vec![], "bad path /services/T0/B0/XXsecretXX, token sesame-0pen\r\n\x1b[2J".into())]);
    let url = format!("{}/services/T0/B0/XXsecretXX", fake.url);
    let kind = ReceiverKind::Webhook {
        url: Field::Secret("URL".into()),
        secret: None,
        headers: [("X-Token".to_owned(), Field::Secret("TOKEN".into()))].into(),
    };
    let sender = sender(&[("URL", &url), ("TOKEN", "sesame-0pen")]);
    let error = sender.send(&receiver("hook", kind), &delivery(Kind::Opened), NOW).await.unwrap_err();
    assert_eq!(error.why, "answered 400: bad path [redacted], token [redacted] [2J");
}

#[tokio::test]
async fn a_missing_secret_is_named_and_final() {
    let kind = ReceiverKind::Webhook { url: Field::Secret("NOWHERE".into()), secret: None, headers: BTreeMap::new() };
    let error = send(&receiver("hook", kind)).await.unwrap_err();
    assert_eq!(error.next, Next::GiveUp { disable: false });
    assert!(error.why.contains("`NOWHERE` is not set"), "{}", error.why);
}

#[tokio::test]
async fn r13_a_header_cannot_break_out_of_its_line_or_reframe_the_message() {
    let fake = Fake::start().await;
    for (name, value) in [("X-A", "a\r\nX-B: b"), ("Host", "other"), ("Content-Length", "0"), ("X A", "a")] {
        let kind = ReceiverKind::Webhook { url: plain(&fake.url), secret: None, headers: [(name.to_owned(), plain(value))].into() };
        let error = send(&receiver("hook", kind)).await.unwrap_err();
        assert_eq!(error.next, Next::GiveUp { disable: false }, "{name}");
    }
    assert!(fake.seen().is_empty());
}

#[tokio::test]
async fn r20_a_certificate_that_nobody_vouches_for_is_refused() {
    let port = super::mail::tls_server();
    let error = send(&webhook_at("hook", &format!("https://localhost:{port}/"))).await.unwrap_err();
    assert_eq!(error.next, Next::Retry { after: None });
    assert!(error.why.to_lowercase().contains("certificate"), "{}", error.why);
}

#[tokio::test]
async fn an_action_runs_once_per_incident_and_a_dry_run_never() {
    let fake = Fake::start().await;
    let action = |dry_run| ReceiverKind::Action {
        url: plain(&fake.url),
        secret: Some(plain("k3y")),
        headers: BTreeMap::new(),
        dry_run,
        label: "roll back shop".into(),
    };
    let (sender, real) = (sender(&[]), receiver("rollback", action(false)));
    let first = sender.send(&real, &delivery(Kind::Opened), NOW).await.unwrap();
    let mut later = delivery(Kind::Reminder);
    later.id = "other".into();
    // As if the first answer had been lost: the receiver sees the same id.
    sender.send(&real, &later, NOW).await.unwrap();
    assert_eq!(fake.seen()[0].header("webhook-id"), fake.seen()[1].header("webhook-id"));
    assert_eq!(fake.seen()[0].json()["action"], "roll back shop");
    later.earlier = first.reply;
    let nothing = sender.send(&real, &later, NOW).await.unwrap();
    assert_eq!((nothing.status, nothing.reply.clone()), (None, later.earlier.clone()));
    sender.send(&real, &delivery(Kind::Resolved), NOW).await.unwrap();
    let dry = sender.send(&receiver("rollback", action(true)), &delivery(Kind::Opened), NOW).await.unwrap();
    assert_eq!(dry.note, "dry run: `roll back shop` was not called");
    assert_eq!(fake.seen().len(), 2);
}
